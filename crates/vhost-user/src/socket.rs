//! The socket of a port: one on which we listen, or one to which we connect.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::parts::{PortError, SocketAccess};

/// Longest path the kernel takes, without its end mark.
const MAX_PATH_BYTES: usize = 107;

/// Front-ends that wait while one is served.
const BACKLOG: i32 = 16;

/// A socket that listens, and its file, which is removed at the end.
pub(crate) struct ServerSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file, so that nobody else's is removed.
    identity: (u64, u64),
}

/// Refuses a path that cannot name a socket.
pub(crate) fn check_path(path: &Path) -> Result<(), PortError> {
    let bytes = path.as_os_str().len();
    if bytes > MAX_PATH_BYTES {
        return Err(PortError::PathTooLong { path: path.to_owned(), bytes });
    }
    match path.to_str() {
        Some(_) => Ok(()),
        None => Err(PortError::PathNotText(path.to_owned())),
    }
}

impl ServerSocket {
    /// Listens on `path`, for those whom `access` names. A socket file that nobody answers on is replaced.
    pub(crate) fn open(path: &Path, access: SocketAccess) -> Result<Self, PortError> {
        remove_stale(path)?;
        let failed = |cause: io::Error| match cause.kind() {
            io::ErrorKind::NotFound => PortError::NoDirectory(path.to_owned()),
            io::ErrorKind::AddrInUse => PortError::InUse(path.to_owned()),
            _ => PortError::Socket { path: path.to_owned(), cause },
        };
        let listener = UnixListener::from(bind(path).map_err(failed)?);
        // From here on the file goes when this fails.
        let identity = identity(path).map_err(failed)?;
        let socket = Self { listener, path: path.to_owned(), identity };
        // Nobody can connect before owner and mode are right: the socket listens only afterwards.
        give_access(path, access)?;
        rustix::net::listen(&socket.listener, BACKLOG).map_err(|errno| failed(errno.into()))?;
        Ok(socket)
    }

    /// Takes the next front-end that waits, without waiting for one.
    pub(crate) fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept()?.0)
    }
}

/// Readable when a front-end waits.
impl AsFd for ServerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// Connects to a front-end that listens on `path`, without waiting for it.
pub(crate) fn connect(path: &Path) -> rustix::io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

/// Why we could not connect, in words.
pub(crate) fn connect_sentence(error: rustix::io::Errno) -> String {
    match error {
        rustix::io::Errno::NOENT => "no such file".to_owned(),
        rustix::io::Errno::CONNREFUSED => "nobody listens there".to_owned(),
        rustix::io::Errno::ACCESS => "permission denied".to_owned(),
        rustix::io::Errno::AGAIN => "the front-end does not accept connections".to_owned(),
        other => io::Error::from(other).to_string(),
    }
}

impl Drop for ServerSocket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            // Nobody is left to be told that the file stays: the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

fn bind(path: &Path) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

fn give_access(path: &Path, access: SocketAccess) -> Result<(), PortError> {
    if let Some(group) = access.group {
        lchown(path, None, Some(group)).map_err(|cause| PortError::Group {
            path: path.to_owned(),
            group,
            cause,
        })?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(access.mode))
        .map_err(|cause| PortError::Socket { path: path.to_owned(), cause })
}

/// Removes a socket file that a process left behind.
fn remove_stale(path: &Path) -> Result<(), PortError> {
    let Ok(file) = fs::symlink_metadata(path) else { return Ok(()) };
    if !file.file_type().is_socket() {
        return Err(PortError::NotASocket(path.to_owned()));
    }
    if is_answered(path) {
        return Err(PortError::InUse(path.to_owned()));
    }
    fs::remove_file(path).map_err(|cause| PortError::Socket { path: path.to_owned(), cause })
}

/// Whether a process listens there: everything but a refusal says so, also that its backlog is full.
fn is_answered(path: &Path) -> bool {
    !matches!(connect(path), Err(rustix::io::Errno::CONNREFUSED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c162_a_path_of_108_bytes_is_refused_and_one_of_107_is_not() {
        let path = |bytes: usize| PathBuf::from("x".repeat(bytes));
        assert!(check_path(&path(107)).is_ok());
        let refused = check_path(&path(108)).unwrap_err();
        assert!(refused.to_string().contains("has 108 bytes, and at most 107"), "{refused}");
    }

    #[test]
    fn a_socket_is_for_user_and_group_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let socket = ServerSocket::open(&path, SocketAccess::default()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        assert!(UnixStream::connect(&path).is_ok());
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_gets_the_mode_and_the_group_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        // A group of ours, or any number at all when we may choose.
        let is_root = rustix::process::geteuid().is_root();
        let group = if is_root { 54_321 } else { rustix::process::getegid().as_raw() };
        let access = SocketAccess { mode: 0o666, group: Some(group) };
        let _socket = ServerSocket::open(&path, access).unwrap();
        let file = fs::metadata(&path).unwrap();
        assert_eq!((file.mode() & 0o777, file.gid()), (0o666, group));
    }

    #[test]
    fn a_socket_that_cannot_be_given_to_its_group_is_named_with_the_group() {
        let dir = tempfile::tempdir().unwrap();
        // The file went meanwhile: who may give away what differs from user to user, this does not.
        let access = SocketAccess { mode: 0o660, group: Some(54_321) };
        let error = give_access(&dir.path().join("a.sock"), access).unwrap_err().to_string();
        assert!(error.contains("a.sock\" cannot be given to group 54321: No such file"), "{error}");
        assert!(error.ends_with("choose another group"), "{error}");
    }

    #[test]
    fn a_file_that_nobody_answers_on_is_replaced_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        let open = |path: &Path| ServerSocket::open(path, SocketAccess::default());
        let socket = open(&path).unwrap();
        assert!(matches!(open(&path), Err(PortError::InUse(_))));
        // Somebody else's file under the same name is not removed.
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
    }

    #[test]
    fn what_is_not_a_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();
        let open = |path: &Path| ServerSocket::open(path, SocketAccess::default());
        assert!(matches!(open(&path), Err(PortError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"data");
        let nowhere = dir.path().join("no/such/a.sock");
        assert!(matches!(open(&nowhere), Err(PortError::NoDirectory(_))));
    }
}
