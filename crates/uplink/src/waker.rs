//! What wakes a sleeping worker for the frames of one queue. Used by the worker; made and closed by the control thread.
//!
//! The kernel tells whoever watches a socket of each frame that arrives, and of each that was sent: a tenth of what sending
//! costs. So the socket is watched only while the worker sleeps.

use std::os::fd::{AsFd, OwnedFd};

use helio_frame::Wakeups;

/// A second descriptor of a socket, watched or not.
#[derive(Debug)]
pub(crate) struct Waker {
    socket: OwnedFd,
    is_watched: bool,
}

impl Waker {
    /// Of this socket, which is not watched yet.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, is_watched: false }
    }

    /// From here on frames wake the worker; those that have come before wake it at once. `false` when the host refuses: then
    /// it must not sleep.
    pub(crate) fn arm(&mut self, wakeups: &dyn Wakeups) -> bool {
        self.is_watched = self.is_watched || wakeups.watch(self.socket.as_fd()).is_ok();
        self.is_watched
    }

    /// Frames cost nothing more than themselves again.
    pub(crate) fn disarm(&mut self, wakeups: &dyn Wakeups) {
        if std::mem::take(&mut self.is_watched) {
            wakeups.unwatch(self.socket.as_fd());
        }
    }
}
