//! The far end of a wire, by a packet socket of the host.

use std::io;
use std::mem::{MaybeUninit, size_of_val};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long a frame may be on its way.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct FarEnd {
    socket: OwnedFd,
}

impl FarEnd {
    pub fn new() -> Self {
        Self::on("far")
    }

    pub fn on(interface: &str) -> Self {
        let all = i32::from(u16::try_from(libc::ETH_P_ALL).unwrap().to_be());
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no pointers are passed.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, all) };
        assert!(fd >= 0);
        // SAFETY: it was just opened, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let name = std::ffi::CString::new(interface).unwrap();
        // SAFETY: the name ends with a zero and lives as long as the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        // SAFETY: all zeroes are an address.
        let mut address: libc::sockaddr_ll = unsafe { MaybeUninit::zeroed().assume_init() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
        address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap().to_be();
        address.sll_ifindex = i32::try_from(index).unwrap();
        let bytes = u32::try_from(size_of_val(&address)).unwrap();
        // SAFETY: the kernel reads `bytes` bytes from the address, which has as many.
        let bound = unsafe { libc::bind(fd, (&raw const address).cast(), bytes) };
        assert_eq!(bound, 0, "{}", io::Error::last_os_error());
        let end = Self { socket };
        end.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 256 << 20);
        // What it sends itself does not come back, and tags that the kernel takes out are told beside the frame.
        end.set(libc::SOL_PACKET, 23, 1);
        end.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, 1);
        end
    }

    fn set(&self, level: i32, option: i32, value: i32) {
        let bytes = u32::try_from(size_of_val(&value)).unwrap();
        let fd = self.socket.as_raw_fd();
        // SAFETY: the kernel reads `bytes` bytes from the value, which has as many.
        let done = unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), bytes) };
        assert_eq!(done, 0, "{level} {option}: {}", io::Error::last_os_error());
    }

    /// Sends a frame. `false` when the interface did not take it.
    pub fn try_send(&self, frame: &[u8]) -> bool {
        // SAFETY: the kernel reads the frame only.
        let sent =
            unsafe { libc::send(self.socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        usize::try_from(sent) == Ok(frame.len())
    }

    pub fn send(&self, frame: &[u8]) {
        let until = Instant::now() + PATIENCE;
        while !self.try_send(frame) {
            assert!(Instant::now() < until, "{}", io::Error::last_os_error());
            std::thread::yield_now();
        }
    }

    /// The next frame, if one has come.
    pub fn try_receive(&self) -> Option<Vec<u8>> {
        let mut bytes = vec![0_u8; 70_000];
        let mut control = [0_u64; 16];
        let mut place = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        // SAFETY: all zeroes are a message without places.
        let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_iov = &raw mut place;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: the kernel writes into the places of the message, which live longer than the call.
        let got = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) };
        bytes.truncate(usize::try_from(got).ok()?);
        if let Some(tag) = tag_beside(&message) {
            bytes.splice(12..12, tag);
        }
        Some(bytes)
    }
}

/// The VLAN tag that the kernel took out of a frame.
fn tag_beside(message: &libc::msghdr) -> Option<[u8; 4]> {
    // SAFETY: the kernel has filled in the control part.
    let first = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: it is null, or leads to a header in the control part.
    let header = unsafe { first.as_ref() }?;
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    // SAFETY: the header is one of the control part.
    let data = unsafe { libc::CMSG_DATA(first) }.cast::<libc::tpacket_auxdata>();
    // SAFETY: such a header is followed by auxiliary data, though not aligned for it.
    let data = unsafe { data.read_unaligned() };
    let valid = data.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
    let [a, b] = data.tp_vlan_tci.to_be_bytes();
    valid.then_some([0x81, 0, a, b])
}
