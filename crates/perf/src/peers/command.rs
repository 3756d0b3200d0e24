//! An order to a switch over its control socket, ready to be issued while frames flow.
//!
//! Issuing it is one write. What must follow when it was answered is said by a thread of its own, which is there before and
//! sleeps until then: the thread that plays the guests goes on. It has the same core, as an operator's shell would.

use std::io::{BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use serde_json::Value;

use crate::error::PerfError;

/// An order.
#[derive(Debug)]
pub struct Command {
    stream: UnixStream,
    request: Vec<u8>,
    words: String,
    then: Option<Then>,
}

/// What follows the answer.
#[derive(Debug)]
struct Then {
    /// Ends the thread when the answer does not come.
    hears: UnixStream,
    thread: JoinHandle<Result<(), PerfError>>,
}

impl Command {
    /// The whole `request`, to be sent over `stream`; `words` say what it is, for a report.
    pub(super) fn new(stream: UnixStream, request: Vec<u8>, words: String) -> Self {
        Self { stream, request, words, then: None }
    }

    /// The same; when all of it was answered well, by so many answers in JSON, `next` is sent over `other`.
    ///
    /// # Errors
    ///
    /// When the host refuses.
    pub(super) fn then(
        self,
        answers: usize,
        other: UnixStream,
        next: Vec<u8>,
    ) -> Result<Self, PerfError> {
        let clone = || self.stream.try_clone().map_err(PerfError::io("share a control socket"));
        let (hears, listens) = (clone()?, clone()?);
        let thread = std::thread::Builder::new().name("then".to_owned());
        let thread = thread.spawn(move || follow(listens, answers, other, &next));
        let thread = thread.map_err(PerfError::io("start a thread"))?;
        Ok(Self { then: Some(Then { hears, thread }), ..self })
    }

    /// What it is.
    #[must_use]
    pub fn words(&self) -> &str {
        &self.words
    }

    /// Sends the request and does not wait for the answer.
    ///
    /// # Errors
    ///
    /// When nobody takes it.
    pub fn issue(&mut self) -> std::io::Result<()> {
        self.stream.write_all(&self.request)
    }

    /// Waits no more for the answer, and says what became of that which followed it.
    ///
    /// # Errors
    ///
    /// When the switch refused the request, or did not answer, and something should have followed.
    pub fn end(self) -> Result<(), PerfError> {
        let Some(Then { hears, thread }) = self.then else { return Ok(()) };
        // One that has its answer does not listen any more.
        let _ = hears.shutdown(Shutdown::Both);
        let panicked = |_| PerfError::Plan("the thread of a command panicked".to_owned());
        thread.join().map_err(panicked)?
    }
}

/// Waits for the answers, and sends what follows.
fn follow(
    listens: impl Read,
    answers: usize,
    mut other: impl Write,
    next: &[u8],
) -> Result<(), PerfError> {
    let plan = PerfError::Plan;
    let mut said = serde_json::Deserializer::from_reader(BufReader::new(listens)).into_iter();
    for _ in 0..answers {
        let answer: Option<Value> = said.next().transpose().map_err(|e| plan(e.to_string()))?;
        let answer = answer.ok_or_else(|| plan("a command was not answered".to_owned()))?;
        if let Some(error) = complaint(&answer) {
            return Err(plan(format!("a command was refused: {error}")));
        }
    }
    other.write_all(next).map_err(PerfError::io("say what follows a command"))
}

/// What a JSON-RPC answer says against the request, or against a part of it.
fn complaint(answer: &Value) -> Option<&Value> {
    let whole = answer.get("error");
    let parts = answer.get("result").and_then(Value::as_array).into_iter().flatten();
    whole.into_iter().chain(parts.filter_map(|part| part.get("error"))).find(|e| !e.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        UnixStream::pair().unwrap()
    }

    #[test]
    fn what_follows_is_said_when_the_answer_is_there() {
        let ((ours, mut switch), (other, mut hears)) = (pair(), pair());
        let command = Command::new(ours, b"do".to_vec(), "do".to_owned());
        let mut command = command.then(2, other, b"then".to_vec()).unwrap();
        command.issue().unwrap();
        let mut said = [0; 2];
        switch.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"do");
        let good = br#"{"id":1,"error":null,"result":[{},{"count":1}]}"#;
        switch.write_all(good).unwrap();
        hears.set_nonblocking(true).unwrap();
        assert!(hears.read(&mut said).is_err(), "it was said before the last answer");
        hears.set_nonblocking(false).unwrap();
        switch.write_all(good).unwrap();
        let mut then = [0; 4];
        hears.read_exact(&mut then).unwrap();
        assert_eq!(&then, b"then");
        command.end().unwrap();
    }

    #[test]
    fn nothing_follows_a_request_that_was_refused() {
        let refused = br#"{"id":1,"error":null,"result":[{},{"error":"constraint violation"}]}"#;
        let mut said = Vec::new();
        let error = follow(refused.as_slice(), 1, &mut said, b"then").unwrap_err();
        assert!(error.to_string().contains("constraint violation"), "{error}");
        assert!(said.is_empty());
        assert!(complaint(&serde_json::json!({ "error": "no", "result": null })).is_some());
    }

    #[test]
    fn a_command_that_is_not_answered_ends_all_the_same() {
        let ((ours, _switch), (other, _hears)) = (pair(), pair());
        let command = Command::new(ours, b"do".to_vec(), "do".to_owned());
        let command = command.then(1, other, b"then".to_vec()).unwrap();
        assert!(command.end().unwrap_err().to_string().contains("not answered"));
    }
}
