//! What came of one input.

/// Counts what the code under test took and what it refused, so that tests can tell an input that reaches nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Frames, headers or texts that were taken.
    pub accepted: u32,
    /// Those that were refused, and queues that faulted or did not start.
    pub refused: u32,
}

impl Outcome {
    /// Counts one, by whether it was taken.
    pub(crate) fn count<T, E>(&mut self, result: &Result<T, E>) {
        match result {
            Ok(_) => self.accepted += 1,
            Err(_) => self.refused += 1,
        }
    }
}
