//! The file of the control socket: made with the right mode, taken over only from the dead, removed at the
//! end if it is still ours.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use helio_config::{HostError, SocketAccess};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Why the control socket could not be opened. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another switch answers there.
    #[error(
        "another helio is running: it answers on the control socket {path}; stop it, or name another path by --control, HELIO_CONTROL or \"control\" under [switch]"
    )]
    AlreadyRunning {
        /// Path of the socket.
        path: PathBuf,
    },
    /// A file that is no socket has the name.
    #[error(
        "{path} exists and is no socket; remove it, or name another path by --control, HELIO_CONTROL or \"control\" under [switch]"
    )]
    NotASocket {
        /// Path of the file.
        path: PathBuf,
    },
    /// This process may not make the file.
    #[error(
        "the control socket {path} cannot be made by user {user}, group {group}: permission denied; start helio as a user who may write to its directory, or name another path by --control, HELIO_CONTROL or \"control\" under [switch]"
    )]
    Denied {
        /// Path of the socket.
        path: PathBuf,
        /// Effective user of this process.
        user: u32,
        /// Effective group of this process.
        group: u32,
    },
    /// The group of the socket is not known here.
    #[error(transparent)]
    UnknownGroup(#[from] HostError),
    /// This process may not give the socket to its group.
    #[error(
        "the control socket {path} cannot be given to group {group}: {cause}; start helio as root or as a member of that group, or write another one at \"socket-group\" under [switch]"
    )]
    Group {
        /// Path of the socket.
        path: PathBuf,
        /// The group, as a number.
        group: u32,
        /// What the host said.
        cause: io::Error,
    },
    /// Any other refusal of the host.
    #[error("the control socket {path} cannot be made: {cause}")]
    Host {
        /// Path of the socket.
        path: PathBuf,
        /// What the host said.
        cause: io::Error,
    },
    /// The thread that serves the socket cannot be started.
    #[error("the thread of the control socket cannot be started: {0}")]
    Thread(io::Error),
}

/// A listening control socket. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    path: PathBuf,
    /// The file we made, opened without being connected: as long as this lives, no other file can have
    /// its inode number.
    file: OwnedFd,
}

impl ControlSocket {
    /// Listens at `path`, for those whom `access` names only.
    pub(crate) fn bind(
        path: &Path,
        access: &SocketAccess,
    ) -> Result<(Self, UnixListener), ServeError> {
        let mode = Mode::from_raw_mode(access.mode);
        let group = access.group_id()?;
        let refused = |errno: Errno| host_error(path, errno.into());
        make_directory(path)?;
        let socket = new_socket().map_err(refused)?;
        // Linux takes the mode of the file from the socket, so at no time can others connect.
        rustix::fs::fchmod(&socket, mode).map_err(refused)?;
        let address = SocketAddrUnix::new(path).map_err(refused)?;
        if let Err(errno) = rustix::net::bind(&socket, &address) {
            if errno != Errno::ADDRINUSE {
                return Err(refused(errno));
            }
            remove_stale(path, &address)?;
            rustix::net::bind(&socket, &address).map_err(refused)?;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(refused)?;
        // From here on the file goes when this fails.
        let bound = Self { path: path.to_owned(), file };
        if let Some(group) = group {
            std::os::unix::fs::lchown(path, None, Some(group))
                .map_err(|cause| ServeError::Group { path: path.to_owned(), group, cause })?;
        }
        rustix::net::listen(&socket, 128).map_err(refused)?;
        // Again, because the umask took bits away from the group.
        rustix::fs::chmod(path, mode).map_err(refused)?;
        Ok((bound, UnixListener::from(socket)))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = rustix::fs::fstat(&self.file).ok().map(|stat| (stat.st_dev, stat.st_ino));
        let there = rustix::fs::lstat(&self.path).ok().map(|stat| (stat.st_dev, stat.st_ino));
        if ours == there
            && ours.is_some()
            && let Err(cause) = std::fs::remove_file(&self.path)
        {
            tracing::warn!("the control socket {} stays behind: {cause}", self.path.display());
        }
    }
}

fn new_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Makes the last directory of `path` when it is missing: /run is empty after every start of the machine.
fn make_directory(path: &Path) -> Result<(), ServeError> {
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty())
    else {
        return Ok(());
    };
    match std::fs::create_dir(directory) {
        Ok(()) => Ok(()),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(cause) => Err(host_error(path, cause)),
    }
}

/// Removes the file at `path` if it is a socket that nobody answers.
fn remove_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), ServeError> {
    let meta = std::fs::symlink_metadata(path).map_err(|cause| host_error(path, cause))?;
    if !meta.file_type().is_socket() {
        return Err(ServeError::NotASocket { path: path.to_owned() });
    }
    // The probe does not block: a full queue of connections says that somebody is there.
    let probe = new_socket().map_err(|errno| host_error(path, errno.into()))?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => {
            tracing::info!("removing the control socket {} that nobody answers", path.display());
            std::fs::remove_file(path).map_err(|cause| host_error(path, cause))
        }
        Err(Errno::NOENT) => Ok(()),
        Ok(()) | Err(Errno::AGAIN) => Err(ServeError::AlreadyRunning { path: path.to_owned() }),
        Err(errno) => Err(host_error(path, errno.into())),
    }
}

fn host_error(path: &Path, cause: io::Error) -> ServeError {
    let path = path.to_owned();
    if cause.kind() == io::ErrorKind::PermissionDenied {
        let user = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        return ServeError::Denied { path, user, group };
    }
    ServeError::Host { path, cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::net::UnixStream;

    use helio_config::SocketGroup;

    fn bind(path: &Path) -> Result<(ControlSocket, UnixListener), ServeError> {
        ControlSocket::bind(path, &SocketAccess::default())
    }

    #[test]
    fn the_socket_gets_the_mode_and_the_group_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        // A group of ours, or any number at all when we may choose.
        let is_root = rustix::process::geteuid().is_root();
        let group = if is_root { 54_321 } else { rustix::process::getegid().as_raw() };
        let access = SocketAccess { mode: 0o666, group: Some(SocketGroup::Id(group)) };
        let _bound = ControlSocket::bind(&path, &access).unwrap();
        let file = std::fs::metadata(&path).unwrap();
        assert_eq!((file.mode() & 0o777, file.gid()), (0o666, group));
    }

    #[test]
    fn a_group_that_is_not_known_is_named_and_no_file_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let group = Some(SocketGroup::Name("no-such-group".to_owned()));
        let access = SocketAccess { group, ..SocketAccess::default() };
        let error = ControlSocket::bind(&path, &access).unwrap_err().to_string();
        assert!(error.contains("no group \"no-such-group\""), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn the_socket_is_for_user_and_group_and_its_directory_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/control.sock");
        let (socket, _listener) = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(UnixStream::connect(socket.path()).is_ok());
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_somebody_answers_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let _first = bind(&path).unwrap();
        let error = bind(&path).unwrap_err();
        assert!(matches!(error, ServeError::AlreadyRunning { .. }), "{error}");
        assert!(UnixStream::connect(&path).is_ok());
    }

    #[test]
    fn a_socket_that_nobody_answers_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert!(bind(&path).is_ok());
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        std::fs::write(&path, "precious").unwrap();
        let error = bind(&path).unwrap_err();
        assert!(matches!(error, ServeError::NotASocket { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn c162_a_permission_problem_names_user_group_and_path() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = host_error(Path::new("/run/helio/control.sock"), denied).to_string();
        let user = format!("user {}, group", rustix::process::geteuid().as_raw());
        assert!(error.contains("/run/helio/control.sock") && error.contains(&user), "{error}");
    }

    #[test]
    fn the_socket_of_a_successor_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let (socket, listener) = bind(&path).unwrap();
        drop(listener);
        let (successor, _listener) = bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
        drop(successor);
        assert!(!path.exists());
    }
}
