//! Why a list of instructions is no program.

use std::fmt;

/// The first rule that a list of instructions breaks, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instruction {at} {fault}")]
pub struct ProgramFault {
    /// The index of the instruction.
    pub at: usize,
    /// The rule.
    pub fault: Fault,
}

/// A rule of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no instruction.
    Empty,
    /// There are more than [`MAX_INSTRUCTIONS`](crate::MAX_INSTRUCTIONS).
    TooLong,
    /// No instruction has this code.
    UnknownCode(u16),
    /// A jump leads backwards, or behind the last instruction. libpcap writes loops for `protochain`.
    JumpOutside,
    /// The last instruction is no return.
    NoReturnAtEnd,
    /// There are 16 memory slots.
    MemorySlot(u32),
    /// A division by the constant zero.
    DivisionByZero,
    /// A shift by a constant of 32 or more.
    Shift(u32),
    /// A load of what only the kernel knows of a frame: how it came (`inbound`, `ifindex`), or a tag that a card took out.
    NotInFrame,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is missing: the program is empty"),
            Self::TooLong => write!(f, "is one too many: at most {}", crate::MAX_INSTRUCTIONS),
            Self::UnknownCode(code) => write!(f, "has the unknown code {code:#x}"),
            Self::JumpOutside => f.write_str(
                "jumps backwards or out of the program; \"protochain\" does, and cannot be used here",
            ),
            Self::NoReturnAtEnd => f.write_str("is the last one and no return"),
            Self::MemorySlot(slot) => write!(f, "uses memory slot {slot} of 16"),
            Self::DivisionByZero => f.write_str("divides by zero"),
            Self::Shift(by) => write!(f, "shifts by {by} bits of 32"),
            Self::NotInFrame => f.write_str(
                "loads what is not in a frame; \"inbound\", \"outbound\" and \"ifindex\" do, and cannot be used here",
            ),
        }
    }
}
