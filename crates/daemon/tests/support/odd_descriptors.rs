//! Descriptors that are not what anybody expects.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::event::EventfdFlags;

/// Descriptors of all kinds that are not what a call should be.
pub fn odd_descriptors() -> Vec<(&'static str, OwnedFd)> {
    let full = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    rustix::io::write(&full, &(u64::MAX - 1).to_ne_bytes()).unwrap();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let (_, orphan) = rustix::pipe::pipe().unwrap();
    let (socket, other) = UnixStream::pair().unwrap();
    drop(other);
    let (mut stuffed, unread) = UnixStream::pair().unwrap();
    stuffed.set_nonblocking(true).unwrap();
    while stuffed.write(&[0; 4096]).is_ok() {}
    vec![
        ("a full eventfd that blocks", full),
        ("the end of a pipe to read from", reader),
        ("the end of a pipe to write to", writer),
        ("a pipe that nobody reads", orphan),
        ("a socket that nobody reads", OwnedFd::from(socket)),
        ("a socket that is full", OwnedFd::from(stuffed)),
        ("its other end", OwnedFd::from(unread)),
        ("a file", OwnedFd::from(tempfile::tempfile().unwrap())),
        ("a folder", OwnedFd::from(File::open("/").unwrap())),
        ("a device", OwnedFd::from(File::open("/dev/zero").unwrap())),
    ]
}

/// Descriptors that cannot be mapped as memory.
pub fn no_memory() -> Vec<(&'static str, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    vec![
        ("a pipe", reader),
        ("its other end", writer),
        ("a folder", OwnedFd::from(File::open("/").unwrap())),
        ("a device", OwnedFd::from(File::open("/dev/null").unwrap())),
        ("an empty file", OwnedFd::from(tempfile::tempfile().unwrap())),
        ("a socket", OwnedFd::from(UnixStream::pair().unwrap().0)),
    ]
}
