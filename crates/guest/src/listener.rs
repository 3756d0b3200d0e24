//! The socket role in which the back-end connects to us, as with QEMU's `server=on`.

use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use crate::connection::Connection;
use crate::error::GuestError;
use crate::guest::Guest;
use crate::guest_config::GuestConfig;

/// A socket on which a back-end is waited for. Its file is removed at the end.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Listens on `path`; a socket file that was left there is replaced.
    ///
    /// # Errors
    ///
    /// [`GuestError::Socket`] when the path cannot be used.
    pub fn bind(path: &Path) -> Result<Self, GuestError> {
        // Another file may have been named by mistake: that stays, and binding fails.
        let is_socket = |found: std::fs::Metadata| found.file_type().is_socket();
        if std::fs::symlink_metadata(path).is_ok_and(is_socket) {
            std::fs::remove_file(path)?;
        }
        let socket = UnixListener::bind(path)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// The connection of the next back-end.
    ///
    /// # Errors
    ///
    /// [`GuestError::Timeout`] when none came, [`GuestError::Socket`] when the host refused.
    pub fn accept_connection(&self, timeout: Duration) -> Result<Connection, GuestError> {
        let wait = rustix::time::Timespec::try_from(timeout)
            .map_err(|_| GuestError::Config("a timeout longer than time itself"))?;
        let mut polled = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
        let ready = rustix::event::poll(&mut polled, Some(&wait))
            .map_err(GuestError::host("wait for a back-end"))?;
        if ready == 0 {
            return Err(GuestError::Timeout { what: "a back-end to connect", waited: timeout });
        }
        let (socket, _address) = self.socket.accept()?;
        socket.set_nonblocking(false)?;
        Ok(Connection::new(socket))
    }

    /// A guest for the next back-end that connects; negotiated, not started.
    ///
    /// # Errors
    ///
    /// As [`Listener::accept_connection`] and [`Guest::new`].
    pub fn accept(&self, config: GuestConfig, timeout: Duration) -> Result<Guest, GuestError> {
        Guest::new(self.accept_connection(timeout)?, config)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Somebody may have removed it already; nobody can be told here.
        let _removed = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_was_left_is_replaced_and_any_other_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (left, other) = (folder.path().join("left.sock"), folder.path().join("notes"));
        drop(UnixListener::bind(&left).unwrap());
        assert!(Listener::bind(&left).is_ok());
        std::fs::write(&other, "kept").unwrap();
        assert!(Listener::bind(&other).is_err());
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "kept");
    }
}
