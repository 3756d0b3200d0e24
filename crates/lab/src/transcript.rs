//! What an interactive process says, collected by a thread of its own so that waiting for it can have a deadline.

use std::io::Read;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{LabError, tail};

/// The output of a process, read up to one marker after another.
#[derive(Debug)]
pub(crate) struct Transcript {
    chunks: Receiver<Vec<u8>>,
    unread: Vec<u8>,
}

impl Transcript {
    /// Follows `source` until it ends or the transcript is dropped.
    pub(crate) fn follow(mut source: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = channel();
        thread::spawn(move || {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                let Some(chunk) = buffer.get(..count) else { return };
                if sender.send(chunk.to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { chunks, unread: Vec::new() }
    }

    /// Everything up to and without `marker`; the marker itself is passed over.
    pub(crate) fn until(&mut self, marker: &str, patience: Duration) -> Result<String, LabError> {
        let deadline = Instant::now() + patience;
        let mut searched = 0;
        loop {
            if let Some(at) = find(&self.unread, marker.as_bytes(), searched) {
                let rest = self.unread.split_off(at + marker.len());
                self.unread.truncate(at);
                let before = std::mem::replace(&mut self.unread, rest);
                return Ok(String::from_utf8_lossy(&before).into_owned());
            }
            searched = self.unread.len().saturating_sub(marker.len());
            let left = deadline.saturating_duration_since(Instant::now());
            match self.chunks.recv_timeout(left) {
                Ok(chunk) => self.unread.extend(chunk),
                Err(RecvTimeoutError::Timeout) => return Err(self.too_late(marker)),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended(marker)),
            }
        }
    }

    fn too_late(&self, marker: &str) -> LabError {
        LabError::TooLate { waiting_for: format!("{marker:?}"), seen: self.seen() }
    }

    fn ended(&self, marker: &str) -> LabError {
        LabError::Ended {
            who: format!("the process asked for {marker:?}"),
            last_words: self.seen(),
        }
    }

    fn seen(&self) -> String {
        tail(&String::from_utf8_lossy(&self.unread))
    }
}

fn find(text: &[u8], marker: &[u8], from: usize) -> Option<usize> {
    text.get(from..)?.windows(marker.len()).position(|window| window == marker).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn a_text_is_read_marker_by_marker() {
        let mut transcript = Transcript::follow(&b"one> two> three"[..]);
        assert_eq!(transcript.until("> ", SOON).unwrap(), "one");
        assert_eq!(transcript.until("> ", SOON).unwrap(), "two");
        assert!(matches!(transcript.until("> ", SOON), Err(LabError::Ended { .. })));
    }

    #[test]
    fn a_marker_that_comes_in_two_pieces_is_found() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let mut transcript = Transcript::follow(there);
        here.write_all(b"text\n@do").unwrap();
        assert!(matches!(
            transcript.until("\n@done", Duration::from_millis(50)),
            Err(LabError::TooLate { .. })
        ));
        here.write_all(b"ne rest").unwrap();
        assert_eq!(transcript.until("\n@done", SOON).unwrap(), "text");
    }
}
