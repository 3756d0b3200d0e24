//! The socket pair between the gate and `vhost-user-backend`.
//!
//! That crate takes no connected socket, only a listener from which it accepts. So we listen on a name of our own that the
//! kernel chooses, connect to it, and close the listener once the connection was accepted. The backlog is one connection:
//! as ours found room, nobody else's did.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use vhost::vhost_user::Listener;

/// A name may be taken by somebody who is faster; the next one is another one.
const TRIES: usize = 8;

/// One end of a connection, and the listener from which the other end is accepted at once.
pub(crate) fn private_link() -> io::Result<(UnixStream, Listener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        match try_link() {
            Ok(link) => return Ok(link),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn try_link() -> io::Result<(UnixStream, Listener)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = || rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let listener = socket()?;
    // Without a path the kernel chooses an abstract name. unix(7), "Autobind feature".
    rustix::net::bind(&listener, &SocketAddrUnix::new_unnamed())?;
    // Room for one that waits, as the kernel counts.
    rustix::net::listen(&listener, 0)?;
    let name = SocketAddrUnix::try_from(rustix::net::getsockname(&listener)?)?;
    let near = socket()?;
    // Fails when somebody else waits already: this one does not wait for its turn.
    rustix::net::connect(&near, &name)?;
    let listener = UnixListener::from(listener);
    listener.set_nonblocking(false)?;
    Ok((UnixStream::from(near), Listener::from(listener)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn the_accepted_end_is_ours_and_nobody_else_can_connect() {
        let (mut near, listener) = private_link().unwrap();
        let name = near.peer_addr().unwrap();
        let intruder = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        let name = std::os::linux::net::SocketAddrExt::as_abstract_name(&name).unwrap();
        let address = SocketAddrUnix::new_abstract_name(name).unwrap();
        let refused = rustix::net::connect(&intruder, &address);
        assert_eq!(refused, Err(rustix::io::Errno::AGAIN));
        let mut far = listener.accept().unwrap().unwrap();
        near.write_all(b"hello").unwrap();
        let mut bytes = [0; 5];
        far.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"hello");
    }
}
