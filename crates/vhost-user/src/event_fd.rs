//! Event descriptors that a front-end hands us. They are used by a worker, which must never block: anything but an
//! eventfd is refused, and an eventfd is made non-blocking. Called by session threads.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::event::EventfdFlags;

/// An eventfd shared by a session and the worker.
pub(crate) type EventFd = Arc<OwnedFd>;

/// Takes over `file` if it is an eventfd; `None` when it is something else, which is closed.
pub(crate) fn accept(file: File) -> Option<EventFd> {
    let fd = OwnedFd::from(file);
    let kind = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    if kind != Path::new("anon_inode:[eventfd]") {
        return None;
    }
    rustix::io::ioctl_fionbio(&fd, true).ok()?;
    Some(Arc::new(fd))
}

/// An eventfd of our own.
pub(crate) fn make() -> io::Result<OwnedFd> {
    Ok(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Raises the count. A count that is full already says what this would say.
pub(crate) fn signal(fd: &OwnedFd) {
    let _ = rustix::io::write(fd, &1_u64.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c027_only_an_eventfd_is_accepted() {
        assert!(accept(File::from(make().unwrap())).is_some());
        assert!(accept(tempfile::tempfile().unwrap()).is_none());
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        assert!(accept(File::from(reader)).is_none());
        assert!(accept(File::from(writer)).is_none());
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(accept(File::from(OwnedFd::from(socket))).is_none());
    }

    #[test]
    fn c027_a_full_eventfd_that_was_made_to_block_does_not_block_us() {
        let blocking = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let accepted = accept(File::from(blocking)).unwrap();
        rustix::io::write(&accepted, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        signal(&accepted);
        let mut count = [0; 8];
        rustix::io::read(&accepted, &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), u64::MAX - 1);
    }
}
