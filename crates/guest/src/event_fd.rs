//! The eventfds between guest and back-end: kick (guest to back-end), call and err (back-end to guest).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::io::Errno;

use crate::error::GuestError;

/// An eventfd of our own, non-blocking on both ends.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// A new one, not signalled.
    ///
    /// # Errors
    ///
    /// [`GuestError::Host`] when the host has no descriptors left.
    pub fn new() -> Result<Self, GuestError> {
        rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map(Self)
            .map_err(GuestError::host("make an eventfd"))
    }

    /// Signals it. A counter at its limit is as good as signalled.
    pub fn signal(&self) {
        // The only other failure is a full counter, and then the reader is woken anyway.
        let _written = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Takes back all signals; their number since the last time.
    #[must_use]
    pub fn take(&self) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(&self.0, &mut count) {
            Ok(8) => u64::from_ne_bytes(count),
            Ok(_) | Err(_) => 0,
        }
    }

    /// Another descriptor for the same eventfd.
    ///
    /// # Errors
    ///
    /// [`GuestError::Host`] when the host has no descriptors left.
    pub fn try_clone(&self) -> Result<Self, GuestError> {
        let duplicate = rustix::io::fcntl_dupfd_cloexec(&self.0, 0);
        duplicate.map(Self).map_err(|cause: Errno| GuestError::host("copy an eventfd")(cause))
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The three eventfds of one ring.
#[derive(Debug)]
pub struct RingEvents {
    /// Signalled by us: there are new chains.
    pub kick: EventFd,
    /// Signalled by the back-end: chains are completed.
    pub call: EventFd,
    /// Signalled by the back-end: it will not use the ring any more.
    pub err: EventFd,
}

impl RingEvents {
    /// Fresh ones.
    ///
    /// # Errors
    ///
    /// [`GuestError::Host`] when the host has no descriptors left.
    pub fn new() -> Result<Self, GuestError> {
        Ok(Self { kick: EventFd::new()?, call: EventFd::new()?, err: EventFd::new()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_add_up_until_they_are_taken() {
        let event = EventFd::new().unwrap();
        assert_eq!(event.take(), 0);
        event.signal();
        event.try_clone().unwrap().signal();
        assert_eq!(event.take(), 2);
        assert_eq!(event.take(), 0);
    }
}
