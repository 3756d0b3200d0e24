//! Messages that break rules.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use helio_guest::{Connection, FrontEnd, MessageId, features};

use super::PATIENCE;

/// A session in the state in which a guest has set its features but shared nothing.
pub fn opened(path: &Path) -> FrontEnd {
    let connection = Connection::connect(path).unwrap();
    FrontEnd::open(connection, features::PLAIN, features::protocol::USUAL).unwrap()
}

/// Sends bytes; the back-end closes the connection.
#[track_caller]
pub fn is_refused(path: &Path, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let connection = Connection::connect(path).unwrap();
    // Closed in the middle is closed as well.
    let _ = connection.send_raw(bytes, fds);
    assert!(connection.wait_closed(PATIENCE), "{bytes:?} was accepted");
}

/// Sends a message in `session`; the back-end says no, and closes the connection.
#[track_caller]
pub fn command_is_refused(
    session: &FrontEnd,
    message: MessageId,
    payload: &[u8],
    fds: &[BorrowedFd<'_>],
) {
    let answer = session.command(message, payload, fds);
    assert!(answer.is_err(), "{message:?} was accepted");
    assert!(session.connection().wait_closed(PATIENCE), "{message:?}: the session goes on");
}

/// Descriptors of all kinds that are not what anybody expects.
pub fn odd_descriptors() -> Vec<OwnedFd> {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let (socket, other) = std::os::unix::net::UnixStream::pair().unwrap();
    let file = tempfile::tempfile().unwrap();
    let directory = File::open("/").unwrap();
    let zero = File::open("/dev/zero").unwrap();
    vec![
        reader,
        writer,
        OwnedFd::from(socket),
        OwnedFd::from(other),
        OwnedFd::from(file),
        OwnedFd::from(directory),
        OwnedFd::from(zero),
    ]
}

/// `count` copies of a descriptor.
pub fn copies(of: &impl AsFd, count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| of.as_fd().try_clone_to_owned().unwrap()).collect()
}
