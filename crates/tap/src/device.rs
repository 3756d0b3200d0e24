//! A TAP: how it is made, and how one frame is read from it and written to it. Made and closed by the control thread, read
//! and written by the worker.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use helio_offload::Offloads;
use helio_types::MAX_FRAME_BYTES;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};

use crate::parts::TapError;

// Linux 6.18, include/uapi/linux/if_tun.h.
/// Whether checksums may be left partial, and which segments joined, in what the kernel gives us.
const GIVES_CSUM: libc::c_ulong = 1;
const GIVES_TSO4: libc::c_ulong = 2;
const GIVES_TSO6: libc::c_ulong = 4;
const GIVES_ECN: libc::c_ulong = 8;

/// Length of the net header before each frame: without a count of buffers.
pub(crate) const HEADER_BYTES: usize = 10;
/// Room for the longest frame with its net header.
pub(crate) const ROOM_BYTES: usize = HEADER_BYTES + MAX_FRAME_BYTES as usize;

/// What is left to do in frames, in both directions.
pub(crate) const OFFLOADS: Offloads =
    Offloads::CSUM.union(Offloads::TSO4).union(Offloads::TSO6).union(Offloads::ECN);

/// A TAP that is open. The interface is gone when all its descriptors are closed, however the process ends.
#[derive(Debug)]
pub(crate) struct Device {
    tap: OwnedFd,
}

impl Device {
    /// Makes the interface `name`, or takes a persistent TAP of that name.
    pub(crate) fn open(name: &str) -> Result<Self, TapError> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let tap = rustix::fs::open("/dev/net/tun", flags, Mode::empty())
            .map_err(|cause| TapError::NoTaps(cause.into()))?;
        let device = Self { tap };
        device.attach(name)?;
        let host = |what, cause| TapError::Host { interface: name.to_owned(), what, cause };
        device
            .configure()
            .map_err(|cause| host("it does not leave checksums and segments to us", cause))?;
        Ok(device)
    }

    fn attach(&self, name: &str) -> Result<(), TapError> {
        let interface = name.to_owned();
        let refused = |cause: io::Error| match cause.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => TapError::NotPermitted { interface },
            Some(libc::EINVAL) => TapError::OtherKind { interface },
            Some(libc::EBUSY) => TapError::InUse { interface },
            _ => TapError::Host { interface, what: "it cannot be made", cause },
        };
        let mut request = match helio_host::InterfaceRequest::new(name) {
            Ok(request) => request,
            Err(cause) => return Err(refused(cause)),
        };
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        request.0.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).unwrap_or(0);
        // SAFETY: the kernel reads and writes an `ifreq`, which is exclusively borrowed.
        let made =
            unsafe { libc::ioctl(self.tap.as_raw_fd(), libc::TUNSETIFF, &raw mut request.0) };
        if made < 0 { Err(refused(io::Error::last_os_error())) } else { Ok(()) }
    }

    /// Net headers are little-endian and have 10 bytes, and all that we can do is left to us.
    fn configure(&self) -> io::Result<()> {
        let bytes = libc::c_int::try_from(HEADER_BYTES).unwrap_or(0);
        for (what, value) in [(libc::TUNSETVNETLE, 1), (libc::TUNSETVNETHDRSZ, bytes)] {
            // SAFETY: the kernel reads an `int` from the pointer, which leads to one that outlives the call.
            let done = unsafe { libc::ioctl(self.tap.as_raw_fd(), what, &raw const value) };
            if done < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        let gives = GIVES_CSUM | GIVES_TSO4 | GIVES_TSO6 | GIVES_ECN;
        // SAFETY: the argument is a number.
        let done = unsafe { libc::ioctl(self.tap.as_raw_fd(), libc::TUNSETOFFLOAD, gives) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// A second descriptor of the same TAP.
    pub(crate) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.tap.try_clone()
    }

    /// Whether a frame waits.
    pub(crate) fn has_frames(&self) -> bool {
        let mut tap = [PollFd::new(&self.tap, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let asked = rustix::event::poll(&mut tap, Some(&now));
        let [tap] = tap;
        // When the host does not say, one may.
        asked.is_err() || tap.revents().contains(PollFlags::IN)
    }

    /// Reads net header and frame. Returns how many bytes both have.
    #[inline]
    pub(crate) fn read(&self, room: &mut [u8]) -> rustix::io::Result<usize> {
        rustix::io::read(&self.tap, room)
    }

    /// Writes net header and frame.
    #[inline]
    pub(crate) fn write(&self, pieces: &[IoSlice<'_>]) -> rustix::io::Result<usize> {
        rustix::io::writev(&self.tap, pieces)
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tap.as_fd()
    }
}
