//! What the host says of an interface, and is told of it. Asked by a control thread, in the network namespace that the thread
//! lives in.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use helio_types::MacAddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// Whether frames can pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// They can.
    Up,
    /// They cannot.
    Down,
}

/// An interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its number; another interface of the same name has another one.
    pub index: u32,
    /// Whether it carries frames.
    pub link: Link,
    /// Whether the operator has set it up.
    pub is_set_up: bool,
    /// Bytes of the longest packet, without link headers.
    pub mtu: u32,
    /// The address of its card; zero if it has none.
    pub mac: MacAddr,
}

/// A way to ask about interfaces.
#[derive(Debug)]
pub struct Interfaces {
    socket: OwnedFd,
}

impl Interfaces {
    /// Asks in the network namespace of the calling thread, from now on.
    ///
    /// # Errors
    ///
    /// When the host has no descriptor for us.
    pub fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        Ok(Self { socket: socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)? })
    }

    /// The interface `name`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When the host does not tell.
    pub fn find(&self, name: &str) -> io::Result<Option<Interface>> {
        match self.look_at(name) {
            Ok(interface) => Ok(Some(interface)),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The name that the interface with this number has now.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn name_of(&self, index: u32) -> io::Result<String> {
        Ok(rustix::net::netdevice::index_to_name(&self.socket, index)?)
    }

    fn look_at(&self, name: &str) -> io::Result<Interface> {
        let index = rustix::net::netdevice::name_to_index(&self.socket, name)?;
        let flags = i32::from(self.flags(name)?);
        let mut request = InterfaceRequest::new(name)?;
        self.ask_number(libc::SIOCGIFMTU, &mut request)?;
        // SAFETY: the kernel has written the MTU.
        let mtu = unsafe { request.0.ifr_ifru.ifru_mtu };
        let is_set_up = flags & libc::IFF_UP != 0;
        let carries = is_set_up && flags & libc::IFF_RUNNING != 0;
        Ok(Interface {
            index,
            link: if carries { Link::Up } else { Link::Down },
            is_set_up,
            mtu: u32::try_from(mtu).unwrap_or(0),
            mac: self.mac(name)?,
        })
    }

    fn mac(&self, name: &str) -> io::Result<MacAddr> {
        let mut request = InterfaceRequest::new(name)?;
        self.ask_number(libc::SIOCGIFHWADDR, &mut request)?;
        // SAFETY: the kernel has written the address.
        let address = unsafe { request.0.ifr_ifru.ifru_hwaddr };
        let bytes = address.sa_data.map(libc::c_char::cast_unsigned);
        Ok(bytes.first_chunk().map_or(MacAddr([0; 6]), |bytes| MacAddr(*bytes)))
    }

    fn flags(&self, name: &str) -> io::Result<libc::c_short> {
        let mut request = InterfaceRequest::new(name)?;
        self.ask_number(libc::SIOCGIFFLAGS, &mut request)?;
        // SAFETY: the kernel has written the flags.
        Ok(unsafe { request.0.ifr_ifru.ifru_flags })
    }

    /// Sets the interface up.
    ///
    /// # Errors
    ///
    /// When it is not there, or the host refuses.
    pub fn set_up(&self, name: &str) -> io::Result<()> {
        let up = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
        let flags = self.flags(name)?;
        let mut request = InterfaceRequest::new(name)?;
        request.0.ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_flags: flags | up };
        self.ask_number(libc::SIOCSIFFLAGS, &mut request)
    }

    /// Sets the longest packet of the interface, in bytes without link headers.
    ///
    /// # Errors
    ///
    /// When it is not there, or cannot have that.
    pub fn set_mtu(&self, name: &str, mtu: u32) -> io::Result<()> {
        let mut request = InterfaceRequest::new(name)?;
        request.0.ifr_ifru.ifru_mtu = i32::try_from(mtu).unwrap_or(i32::MAX);
        self.ask_number(libc::SIOCSIFMTU, &mut request)
    }

    fn ask_number(&self, what: libc::Ioctl, request: &mut InterfaceRequest) -> io::Result<()> {
        // SAFETY: the requests made in this file carry numbers, no pointers.
        unsafe { self.ask(what, request) }
    }

    /// Carries out a request about an interface.
    ///
    /// # Safety
    ///
    /// `what` must be a request that reads and writes an `ifreq`, and what a pointer in `request` leads to must be what `what`
    /// demands, for as long as the call takes.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub unsafe fn ask(&self, what: libc::Ioctl, request: &mut InterfaceRequest) -> io::Result<()> {
        // SAFETY: the caller's promise; the request is exclusively borrowed.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), what, &raw mut request.0) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// A request about the interface of a name.
pub struct InterfaceRequest(pub libc::ifreq);

impl InterfaceRequest {
    /// A request about the interface `name`, with nothing else in it.
    ///
    /// # Errors
    ///
    /// ENODEV when no interface can have that name.
    pub fn new(name: &str) -> io::Result<Self> {
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
        Ok(Self(request))
    }
}

impl fmt::Debug for InterfaceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterfaceRequest").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_an_index_and_what_is_not_there_is_none() {
        let interfaces = Interfaces::new().unwrap();
        let lo = interfaces.find("lo").unwrap().unwrap();
        assert!(lo.index > 0 && lo.mtu >= 1500);
        assert_eq!(interfaces.name_of(lo.index).unwrap(), "lo");
        assert!(interfaces.name_of(u32::MAX >> 1).is_err());
        for name in ["", "none-such", "a-name-that-is-too-long"] {
            assert_eq!(interfaces.find(name).unwrap(), None, "{name}");
        }
    }
}
