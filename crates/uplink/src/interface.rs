//! What the host says of an interface. Asked by the control thread, in the network namespace that thread lives in.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::ethtool;
use crate::status::Link;

/// An interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Its number; another interface of the same name has another one.
    pub(crate) index: u32,
    pub(crate) link: Link,
    /// Whether the operator has set it up.
    pub(crate) is_set_up: bool,
    /// Bytes of the longest packet, without link headers.
    pub(crate) mtu: u32,
    /// Queues that it receives on.
    pub(crate) queues: u32,
}

/// A way to ask about interfaces.
#[derive(Debug)]
pub(crate) struct Interfaces {
    socket: OwnedFd,
}

impl Interfaces {
    /// Asks in the network namespace of the calling thread, from now on.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        Ok(Self { socket: socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)? })
    }

    /// The interface `name`; `None` when there is none.
    pub(crate) fn find(&self, name: &str) -> io::Result<Option<Interface>> {
        match self.look_at(name) {
            Ok(interface) => Ok(Some(interface)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn look_at(&self, name: &str) -> io::Result<Interface> {
        let index = rustix::net::netdevice::name_to_index(&self.socket, name)?;
        let mut request = request(name)?;
        self.ask(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: the kernel has written the flags.
        let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
        self.ask(libc::SIOCGIFMTU, &mut request)?;
        // SAFETY: the kernel has written the MTU.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu };
        let is_set_up = flags & libc::IFF_UP != 0;
        let carries = is_set_up && flags & libc::IFF_RUNNING != 0;
        Ok(Interface {
            index,
            link: if carries { Link::Up } else { Link::Down },
            is_set_up,
            mtu: u32::try_from(mtu).unwrap_or(0),
            queues: ethtool::receive_queues(self, name)?,
        })
    }

    /// Carries out a request about an interface.
    pub(crate) fn ask(&self, what: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: all requests made here read and write an `ifreq`, and what an ethtool request points to lives as long as the
        // call, by `ethtool::ask`.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), what, &raw mut *request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// A request about the interface `name`.
pub(crate) fn request(name: &str) -> io::Result<libc::ifreq> {
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_mtu: 0 },
    };
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_an_index_and_a_queue_and_what_is_not_there_is_none() {
        let interfaces = Interfaces::new().unwrap();
        let lo = interfaces.find("lo").unwrap().unwrap();
        assert!(lo.index > 0 && lo.queues == 1 && lo.mtu >= 1500);
        for name in ["", "none-such", "a-name-that-is-too-long"] {
            assert_eq!(interfaces.find(name).unwrap(), None, "{name}");
        }
    }
}
