//! Hearing that some interface has changed. Done by a control thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// Changes of links. Linux 6.18, include/uapi/linux/rtnetlink.h, RTMGRP_LINK.
const LINK_GROUP: u32 = 1;

/// Becomes readable whenever some interface of the network namespace has changed.
#[derive(Debug)]
pub struct LinkEvents {
    socket: OwnedFd,
}

impl LinkEvents {
    /// Those of the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// When the host has no descriptor for us.
    pub fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Protocol 0 is that of routes and links.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, LINK_GROUP))?;
        Ok(Self { socket })
    }

    /// Forgets what has come. Its content is of no use: the interface is asked anew, which also covers what was lost because
    /// too much came at once.
    pub fn forget(&self) {
        let mut bytes = [0_u8; 512];
        for _ in 0..1024 {
            match recv(&self.socket, &mut bytes, RecvFlags::DONTWAIT) {
                Ok(_) | Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl AsFd for LinkEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
