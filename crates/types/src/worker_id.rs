//! Which worker.

use std::fmt;

/// Most workers one switch can have.
pub const MAX_WORKERS: usize = 64;

/// A worker thread, counted from 0 in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(u8);

impl WorkerId {
    /// The worker at `index`, or `None` from [`MAX_WORKERS`] on.
    #[must_use]
    pub fn new(index: usize) -> Option<Self> {
        u8::try_from(index).ok().filter(|_| index < MAX_WORKERS).map(Self)
    }

    /// Position in the configuration.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.0)
    }
}
