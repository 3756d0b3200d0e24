//! The XDP program of an uplink: it brings frames to the sockets, and lets those pass that are the host's. Loaded and
//! attached by the control thread.
//!
//! It is assembled here, so no compiler for BPF is needed, and attached by a link that belongs to this process: however the
//! process ends, the kernel takes the program away.

use std::ffi::CStr;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use helio_types::PassRule;
use libbpf_sys::{
    BPF_F_XDP_HAS_FRAGS, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_XSKMAP, BPF_PROG_TYPE_XDP, BPF_XDP,
    XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE, XDP_PASS, bpf_link_create, bpf_link_create_opts,
    bpf_link_get_info_by_fd, bpf_link_info, bpf_map_create, bpf_map_update_elem,
    bpf_prog_get_fd_by_id, bpf_prog_get_info_by_fd, bpf_prog_info, bpf_prog_load,
    bpf_prog_load_opts, bpf_xdp_query, bpf_xdp_query_opts, xdp_md,
};

/// Which code runs the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// The driver, before the kernel has the frame.
    Driver,
    /// The kernel, on frames of any driver.
    Kernel,
}

/// A program that was loaded, and its maps.
#[derive(Debug)]
pub(crate) struct Program {
    program: OwnedFd,
    sockets: OwnedFd,
    _pass: Option<OwnedFd>,
}

/// A program that is attached. Dropping it takes the program away.
#[derive(Debug)]
pub(crate) struct Attached {
    link: OwnedFd,
    program: Program,
}

impl Program {
    /// Loads the program for `queues` queues.
    pub(crate) fn load(queues: u32, rules: &[PassRule]) -> io::Result<Self> {
        let sockets = make_map(BPF_MAP_TYPE_XSKMAP, c"helio_sockets", 4, 4, queues)?;
        let pass = if rules.is_empty() { None } else { Some(make_pass_map(rules)?) };
        let code = assemble(sockets.as_raw_fd(), pass.as_ref().map(AsRawFd::as_raw_fd));
        let mut options = bpf_prog_load_opts {
            sz: size_of::<bpf_prog_load_opts>() as _,
            expected_attach_type: BPF_XDP,
            prog_flags: BPF_F_XDP_HAS_FRAGS,
            ..bpf_prog_load_opts::default()
        };
        // SAFETY: all pointers lead to what lives as long as the call; the code has as many instructions as is said, and an
        // `Instruction` is laid out as the kernel demands.
        let program = unsafe {
            bpf_prog_load(
                BPF_PROG_TYPE_XDP,
                c"helio_uplink".as_ptr(),
                c"Dual MIT/GPL".as_ptr(),
                code.as_ptr().cast(),
                code.len() as _,
                &raw mut options,
            )
        };
        Ok(Self { program: owned(program)?, sockets, _pass: pass })
    }

    /// Lets frames of `queue` go to `socket`.
    pub(crate) fn connect(&self, queue: u32, socket: RawFd) -> io::Result<()> {
        update(&self.sockets, &queue, &socket, 0)
    }

    /// Attaches the program to the interface with number `index`.
    pub(crate) fn attach(self, index: u32, hook: Hook) -> Result<Attached, (Self, io::Error)> {
        let options = bpf_link_create_opts {
            sz: size_of::<bpf_link_create_opts>() as _,
            flags: match hook {
                Hook::Driver => XDP_FLAGS_DRV_MODE,
                Hook::Kernel => XDP_FLAGS_SKB_MODE,
            },
            ..bpf_link_create_opts::default()
        };
        let index = i32::try_from(index).unwrap_or(0);
        // SAFETY: the options live as long as the call.
        let link = unsafe {
            bpf_link_create(self.program.as_raw_fd(), index, BPF_XDP, &raw const options)
        };
        match owned(link) {
            Ok(link) => Ok(Attached { link, program: self }),
            Err(error) => Err((self, error)),
        }
    }
}

impl Attached {
    /// Lets frames of `queue` go to `socket`.
    pub(crate) fn connect(&self, queue: u32, socket: RawFd) -> io::Result<()> {
        self.program.connect(queue, socket)
    }

    /// Whether the program is still attached: an operator can force it off.
    pub(crate) fn is_attached(&self) -> bool {
        let mut info = bpf_link_info::default();
        let mut bytes = u32::try_from(size_of_val(&info)).unwrap_or(0);
        // SAFETY: the kernel writes at most `bytes` bytes to `info`, which has as many.
        let result = unsafe {
            bpf_link_get_info_by_fd(self.link.as_raw_fd(), &raw mut info, &raw mut bytes)
        };
        // SAFETY: the link is one of XDP, so this is the member that the kernel has written; before, it was zero.
        result == 0 && unsafe { info.__bindgen_anon_1.xdp.ifindex } != 0
    }
}

/// An XDP program that somebody has attached.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OtherProgram {
    /// Its number and name, in brackets behind a space.
    pub(crate) which: String,
    /// The word by which `ip link` takes it away: one attached before the kernel stays if it is told "xdp" alone and the driver
    /// can have one, too.
    pub(crate) word: &'static str,
}

/// The XDP program on an interface, if there is one.
pub(crate) fn attached_to(index: u32) -> Option<OtherProgram> {
    let mut found =
        bpf_xdp_query_opts { sz: size_of::<bpf_xdp_query_opts>() as _, ..Default::default() };
    let index = i32::try_from(index).unwrap_or(0);
    // SAFETY: the library writes to `found`, which is as long as it says.
    let result = unsafe { bpf_xdp_query(index, 0, &raw mut found) };
    let hooks = [
        (found.drv_prog_id, "xdpdrv"),
        (found.skb_prog_id, "xdpgeneric"),
        (found.hw_prog_id, "xdpoffload"),
    ];
    let (id, word) = hooks.into_iter().find(|(id, _)| result == 0 && *id != 0)?;
    let which = match program_name(id) {
        Some(name) => format!(" ({name}, number {id})"),
        None => format!(" (number {id})"),
    };
    Some(OtherProgram { which, word })
}

fn program_name(id: u32) -> Option<String> {
    // SAFETY: only a number is passed.
    let program = owned(unsafe { bpf_prog_get_fd_by_id(id) }).ok()?;
    let mut info = bpf_prog_info::default();
    let mut bytes = u32::try_from(size_of_val(&info)).ok()?;
    // SAFETY: the kernel writes at most `bytes` bytes to `info`, which has as many. All its pointers are null.
    let result =
        unsafe { bpf_prog_get_info_by_fd(program.as_raw_fd(), &raw mut info, &raw mut bytes) };
    let letters = info.name.iter().map(|letter| letter.to_ne_bytes()[0]);
    let name: Vec<u8> = letters.take_while(|letter| *letter != 0).collect();
    (result == 0 && !name.is_empty()).then(|| String::from_utf8_lossy(&name).into_owned())
}

/// The descriptor that the library made, or what it says.
fn owned(result: i32) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    // SAFETY: the library has just opened it and keeps no copy.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

fn make_map(kind: u32, name: &CStr, key: u32, value: u32, entries: u32) -> io::Result<OwnedFd> {
    // SAFETY: the name lives as long as the call, and no options are passed.
    owned(unsafe { bpf_map_create(kind, name.as_ptr(), key, value, entries, std::ptr::null()) })
}

fn update<K, V>(map: &OwnedFd, key: &K, value: &V, flags: u32) -> io::Result<()> {
    // SAFETY: all maps here are made with keys and values of these sizes.
    let result = unsafe {
        bpf_map_update_elem(
            map.as_raw_fd(),
            (&raw const *key).cast(),
            (&raw const *value).cast(),
            u64::from(flags),
        )
    };
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

/// The rules as a set of keys: what is read of a frame is looked up there.
fn make_pass_map(rules: &[PassRule]) -> io::Result<OwnedFd> {
    let entries = u32::try_from(rules.len()).unwrap_or(u32::MAX);
    let map = make_map(BPF_MAP_TYPE_HASH, c"helio_pass", 8, 1, entries)?;
    for rule in rules {
        update(&map, &key_of(rule), &1_u8, 0)?;
    }
    Ok(map)
}

/// Marks the key of a type; that of an address has a zero there.
const TYPE_MARK: i32 = 1;

/// Bits that an address has. The mark stands above them, so no address looks like a type.
const ADDRESS_BITS: i32 = 48;

/// The six bytes of an address in memory order, or the two of a type with the mark where an address has nothing.
fn key_of(rule: &PassRule) -> u64 {
    match rule {
        PassRule::Destination(mac) => {
            let [a, b, c, d, e, f] = mac.0;
            u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
        }
        PassRule::EtherType(number) => {
            let stored = u64::from(u16::from_ne_bytes(number.to_be_bytes()));
            stored | u64::from(TYPE_MARK.unsigned_abs()) << ADDRESS_BITS
        }
    }
}

/// One instruction. Linux 6.18, include/uapi/linux/bpf.h, struct bpf_insn.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u8,
    /// Destination in the lower half, source in the upper one.
    registers: u8,
    offset: i16,
    value: i32,
}

// RFC 9669, section 4 and 5: the codes that are used here.
const LOAD_64_BITS: u8 = 0x18;
const LOAD_WORD: u8 = 0x61;
const LOAD_HALF: u8 = 0x69;
const STORE_DOUBLE: u8 = 0x7b;
const MOVE_VALUE: u8 = 0xb7;
const MOVE: u8 = 0xbf;
const ADD_VALUE: u8 = 0x07;
const OR: u8 = 0x4f;
const SHIFT_LEFT: u8 = 0x67;
const JUMP_IF_GREATER: u8 = 0x2d;
const JUMP_IF_VALUE_NOT: u8 = 0x55;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// The source register of a load whose value is the descriptor of a map.
const OF_MAP: u8 = 1;
/// Helpers, by their numbers.
const LOOK_UP: i32 = 1;
const REDIRECT: i32 = 51;
/// The stack.
const STACK: u8 = 10;

fn op(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Instruction {
    Instruction { code, registers: to | from << 4, offset, value }
}

fn load_map(to: u8, map: RawFd) -> [Instruction; 2] {
    [op(LOAD_64_BITS, to, OF_MAP, 0, map), op(0, 0, 0, 0, 0)]
}

fn assemble(sockets: RawFd, pass: Option<RawFd>) -> Vec<Instruction> {
    let mut code = vec![op(MOVE, 6, 1, 0, 0)];
    let redirect = redirect(sockets);
    let Some(map) = pass else {
        code.extend(redirect);
        return code;
    };
    code.extend(pass_to_host(map, redirect.len()));
    code.extend(redirect);
    // Here the program lets a frame pass. Without rules nothing led here, which the kernel does not accept.
    code.extend([op(MOVE_VALUE, 0, 0, 0, pass_verdict()), op(EXIT, 0, 0, 0, 0)]);
    code
}

fn pass_verdict() -> i32 {
    i32::try_from(XDP_PASS).unwrap_or(0)
}

/// Offsets in the context: register 6 leads to it.
fn at(offset: usize) -> i16 {
    i16::try_from(offset).unwrap_or(0)
}

/// `return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_PASS)`: a queue without a socket is the host's.
fn redirect(sockets: RawFd) -> Vec<Instruction> {
    let mut code = vec![op(LOAD_WORD, 2, 6, at(offset_of!(xdp_md, rx_queue_index)), 0)];
    code.extend(load_map(1, sockets));
    code.extend([
        op(MOVE_VALUE, 3, 0, 0, pass_verdict()),
        op(CALL, 0, 0, 0, REDIRECT),
        op(EXIT, 0, 0, 0, 0),
    ]);
    code
}

/// Jumps over what follows and `redirect` more instructions if address or type of the frame is in the map.
fn pass_to_host(map: RawFd, redirect: usize) -> Vec<Instruction> {
    let mut address = vec![
        op(LOAD_WORD, 5, 7, 0, 0),
        op(LOAD_HALF, 9, 7, 4, 0),
        op(SHIFT_LEFT, 9, 0, 0, 32),
        op(OR, 5, 9, 0, 0),
        op(STORE_DOUBLE, STACK, 5, -8, 0),
    ];
    address.extend(look_up(map));
    let mut kind = vec![
        op(MOVE_VALUE, 5, 0, 0, TYPE_MARK),
        op(SHIFT_LEFT, 5, 0, 0, ADDRESS_BITS),
        op(OR, 8, 5, 0, 0),
        op(STORE_DOUBLE, STACK, 8, -8, 0),
    ];
    kind.extend(look_up(map));
    // Found: over the rest and the redirection. Each list is followed by the jump that looks at its answer.
    let over = |rest: usize| i16::try_from(rest + redirect).unwrap_or(0);
    let (address_bytes, kind_bytes) = (address.len(), kind.len());
    let mut code = vec![
        op(LOAD_WORD, 7, 6, at(offset_of!(xdp_md, data)), 0),
        op(LOAD_WORD, 2, 6, at(offset_of!(xdp_md, data_end)), 0),
        op(MOVE, 1, 7, 0, 0),
        op(ADD_VALUE, 1, 0, 0, 14),
        // Shorter than its header: not for us to judge.
        op(JUMP_IF_GREATER, 1, 2, i16::try_from(address_bytes + kind_bytes + 3).unwrap_or(0), 0),
        op(LOAD_HALF, 8, 7, 12, 0),
    ];
    code.extend(address);
    code.push(op(JUMP_IF_VALUE_NOT, 0, 0, over(kind_bytes + 1), 0));
    code.extend(kind);
    code.push(op(JUMP_IF_VALUE_NOT, 0, 0, over(0), 0));
    code
}

/// Looks up the key at the top of the stack; the answer is not 0 when it is there.
fn look_up(map: RawFd) -> Vec<Instruction> {
    let mut code = vec![op(MOVE, 2, STACK, 0, 0), op(ADD_VALUE, 2, 0, 0, -8)];
    code.extend(load_map(1, map));
    code.push(op(CALL, 0, 0, 0, LOOK_UP));
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_accepts_the_program_with_and_without_rules() {
        for rules in [
            &[][..],
            &[
                PassRule::EtherType(0x88cc),
                PassRule::Destination("52:54:00:00:00:01".parse().unwrap()),
            ],
        ] {
            Program::load(4, rules).unwrap();
        }
    }

    #[test]
    fn a_program_is_not_attached_to_an_interface_that_is_not_there() {
        let program = Program::load(1, &[]).unwrap();
        let (_, error) = program.attach(i32::MAX.unsigned_abs(), Hook::Kernel).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert_eq!(attached_to(1), None);
    }
}
