//! The few instructions that our programs are made of, and how programs, maps and links are made.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use libbpf_sys::{
    bpf_link_create, bpf_link_create_opts, bpf_map_create, bpf_map_create_opts, bpf_prog_load,
};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// One instruction. Linux 6.18, include/uapi/linux/bpf.h, struct bpf_insn.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instruction {
    code: u8,
    /// Destination in the lower half, source in the upper one.
    registers: u8,
    offset: i16,
    value: i32,
}

// RFC 9669, sections 4 and 5: the codes that are used here.
pub(crate) const LOAD_64_BITS: u8 = 0x18;
pub(crate) const LOAD_WORD: u8 = 0x61;
pub(crate) const STORE_WORD_VALUE: u8 = 0x62;
pub(crate) const MOVE_VALUE: u8 = 0xb7;
pub(crate) const MOVE: u8 = 0xbf;
pub(crate) const ADD_VALUE: u8 = 0x07;
pub(crate) const ADD_ATOMIC: u8 = 0xdb;
pub(crate) const JUMP_IF_VALUE: u8 = 0x15;
pub(crate) const CALL: u8 = 0x85;
pub(crate) const EXIT: u8 = 0x95;
/// The source register of a load whose value is the descriptor of a map.
const OF_MAP: u8 = 1;
/// Helpers, by their numbers.
pub(crate) const LOOK_UP: i32 = 1;
pub(crate) const REDIRECT: i32 = 51;
/// The register that leads to the end of the stack.
pub(crate) const STACK: u8 = 10;

pub(crate) fn op(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Instruction {
    Instruction { code, registers: to | from << 4, offset, value }
}

pub(crate) fn load_map(to: u8, map: RawFd) -> [Instruction; 2] {
    [op(LOAD_64_BITS, to, OF_MAP, 0, map), op(0, 0, 0, 0, 0)]
}

/// Makes a map of one entry.
pub(crate) fn make_map(kind: u32, name: &CStr, value: u32, flags: u32) -> io::Result<OwnedFd> {
    let options = bpf_map_create_opts {
        sz: size_of::<bpf_map_create_opts>() as _,
        map_flags: flags,
        ..bpf_map_create_opts::default()
    };
    // SAFETY: name and options live as long as the call.
    owned(unsafe { bpf_map_create(kind, name.as_ptr(), 4, value, 1, &raw const options) })
}

/// Loads a program.
pub(crate) fn load(kind: u32, name: &CStr, code: &[Instruction]) -> io::Result<OwnedFd> {
    // SAFETY: all pointers lead to what lives as long as the call; the code has as many instructions as is said, and an
    // `Instruction` is laid out as the kernel demands.
    owned(unsafe {
        bpf_prog_load(
            kind,
            name.as_ptr(),
            c"Dual MIT/GPL".as_ptr(),
            code.as_ptr().cast(),
            code.len() as _,
            std::ptr::null_mut(),
        )
    })
}

/// Attaches a program to an interface until the link is closed.
pub(crate) fn attach(
    program: &OwnedFd,
    interface: &str,
    place: u32,
    flags: u32,
) -> io::Result<OwnedFd> {
    let options = bpf_link_create_opts {
        sz: size_of::<bpf_link_create_opts>() as _,
        flags,
        ..bpf_link_create_opts::default()
    };
    let index = i32::try_from(index_of(interface)?).unwrap_or(0);
    // SAFETY: the options live as long as the call.
    owned(unsafe { bpf_link_create(program.as_raw_fd(), index, place, &raw const options) })
}

fn index_of(interface: &str) -> io::Result<u32> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    Ok(name_to_index(&socket, interface)?)
}

/// The descriptor that the library made, or what it says.
pub(crate) fn owned(result: i32) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    // SAFETY: the library has just opened it and keeps no copy.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}
