//! The serial line to a guest's command loop (`guest_init.sh`): one command a line, one answer with an exit status.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::LabError;
use crate::transcript::Transcript;

/// How long QEMU may take to open its sockets.
const OPENING: Duration = Duration::from_secs(30);

/// What a command in a guest gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit status; 0 is success.
    pub status: i32,
    /// Output and errors together.
    pub output: String,
}

/// Connects to a socket that QEMU is about to open.
pub(crate) fn connect(path: &Path) -> Result<UnixStream, LabError> {
    let deadline = Instant::now() + OPENING;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            Err(source) => return Err(LabError::io(format!("connect {}", path.display()))(source)),
        }
    }
}

/// The line to one guest.
#[derive(Debug)]
pub(crate) struct Console {
    line: UnixStream,
    transcript: Transcript,
    last_number: u32,
}

impl Console {
    pub(crate) fn open(path: &Path) -> Result<Self, LabError> {
        let line = connect(path)?;
        let reading = line.try_clone().map_err(LabError::io("share the guest's serial line"))?;
        Ok(Self { line, transcript: Transcript::follow(reading), last_number: 0 })
    }

    /// Waits until the guest has booted.
    pub(crate) fn wait_ready(&mut self, patience: Duration) -> Result<(), LabError> {
        self.transcript.until("@ready\n", patience).map(|_| ())
    }

    /// Runs one command; what an earlier one that took too long said is passed over.
    pub(crate) fn exec(&mut self, command: &str, patience: Duration) -> Result<Outcome, LabError> {
        self.last_number += 1;
        let number = self.last_number;
        self.line
            .write_all(format!("{number} {command}\n").as_bytes())
            .map_err(LabError::io("write to the guest's serial line"))?;
        let said = self.transcript.until(&format!("\n@done {number} "), patience)?;
        let status = self.transcript.until("\n", patience)?;
        let status = status.parse().map_err(|_| LabError::Unreadable {
            what: "the exit status of a guest's command",
            text: status,
        })?;
        Ok(Outcome { status, output: after_last_answer(&said).to_owned() })
    }
}

/// What follows the last marker of an earlier answer in `said`.
fn after_last_answer(said: &str) -> &str {
    match said.rsplit_once("\n@done ") {
        Some((_, rest)) => rest.split_once('\n').map_or("", |(_, output)| output),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::lab_dir::LabDir;

    const SOON: Duration = Duration::from_secs(5);

    /// Answers each command with what `answers` says, whatever the command was.
    fn guest_that_says(dir: &LabDir, answers: &'static [&'static str]) -> Console {
        let listener = UnixListener::bind(dir.file("line")).unwrap();
        thread::spawn(move || {
            let (mut line, _) = listener.accept().unwrap();
            let mut commands = BufReader::new(line.try_clone().unwrap()).lines();
            for answer in answers {
                commands.next();
                line.write_all(answer.as_bytes()).unwrap();
            }
            commands.next();
        });
        Console::open(&dir.file("line")).unwrap()
    }

    #[test]
    fn an_answer_is_the_output_and_the_status() {
        let dir = LabDir::new().unwrap();
        let mut console = guest_that_says(&dir, &["no newline\n@done 1 7\n", "\n@done 2 0\n"]);
        let first = console.exec("x", SOON).unwrap();
        assert_eq!(first, Outcome { status: 7, output: "no newline".to_owned() });
        let second = console.exec("y", SOON).unwrap();
        assert_eq!(second, Outcome { status: 0, output: String::new() });
    }

    #[test]
    fn the_late_answer_of_an_earlier_command_is_passed_over() {
        let dir = LabDir::new().unwrap();
        let mut console = guest_that_says(&dir, &["slow", " end\n@done 1 0\nquick\n@done 2 0\n"]);
        assert!(console.exec("x", Duration::from_millis(50)).is_err());
        assert_eq!(console.exec("y", SOON).unwrap().output, "quick");
    }
}
