//! One instruction of a program, decoded.

use crate::{Fault, Instruction};

/// Memory slots of a program.
pub(crate) const SLOTS: u32 = 16;

/// An instruction that can be carried out. A is the accumulator, X the index register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A = the bytes at the offset.
    Load(Width, u32),
    /// A = the bytes at X and the offset.
    LoadIndexed(Width, u32),
    /// A = the number.
    LoadConstant(u32),
    /// A = the slot.
    LoadSlot(u8),
    /// A = length of the frame.
    LoadLength,
    /// X = the number.
    IndexConstant(u32),
    /// X = the slot.
    IndexSlot(u8),
    /// X = length of the frame.
    IndexLength,
    /// X = length of the IPv4 header at the offset.
    IndexHeader(u32),
    /// The slot = A.
    Store(u8),
    /// The slot = X.
    StoreIndex(u8),
    /// A = A and the number.
    Calculate(Operator, u32),
    /// A = A and X.
    CalculateIndex(Operator),
    /// A = 0 - A.
    Negate,
    /// Skips that many steps.
    Jump(u32),
    /// Compares A with the number.
    Branch(Comparison, Ways, u32),
    /// Compares A with X.
    BranchIndex(Comparison, Ways),
    /// The end, and whether the frame is wanted.
    Return(Wanted),
    /// The end: wanted unless A is zero.
    ReturnAccumulator,
    /// X = A.
    ToIndex,
    /// A = X.
    FromIndex,
}

// A cache line holds eight of them, which is most filters whole in two or three.
const _: () = assert!(size_of::<Step>() == 8);

/// How many bytes a load takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Word,
    Half,
    Byte,
}

/// What is done to A.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Or,
    And,
    Xor,
    ShiftLeft,
    ShiftRight,
}

/// What A is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    AnyBit,
}

/// Steps to skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ways {
    pub(crate) when_true: u8,
    pub(crate) when_false: u8,
}

/// A verdict that the program has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Yes,
    No,
}

/// The instruction `it` decoded, if it keeps the rules that do not depend on where it stands.
pub(crate) fn decode(it: Instruction) -> Result<Step, Fault> {
    let slot = || match u8::try_from(it.k) {
        Ok(slot) if it.k < SLOTS => Ok(slot),
        _ => Err(Fault::MemorySlot(it.k)),
    };
    Ok(match it.code {
        0x00 => Step::LoadConstant(it.k),
        0x20 => Step::Load(Width::Word, in_frame(it.k)?),
        0x28 => Step::Load(Width::Half, in_frame(it.k)?),
        0x30 => Step::Load(Width::Byte, in_frame(it.k)?),
        0x40 => Step::LoadIndexed(Width::Word, it.k),
        0x48 => Step::LoadIndexed(Width::Half, it.k),
        0x50 => Step::LoadIndexed(Width::Byte, it.k),
        0x60 => Step::LoadSlot(slot()?),
        0x80 => Step::LoadLength,
        0x01 => Step::IndexConstant(it.k),
        0x61 => Step::IndexSlot(slot()?),
        0x81 => Step::IndexLength,
        0xb1 => Step::IndexHeader(in_frame(it.k)?),
        0x02 => Step::Store(slot()?),
        0x03 => Step::StoreIndex(slot()?),
        0x84 => Step::Negate,
        0x05 => Step::Jump(it.k),
        0x06 => Step::Return(if it.k == 0 { Wanted::No } else { Wanted::Yes }),
        0x16 => Step::ReturnAccumulator,
        0x07 => Step::ToIndex,
        0x87 => Step::FromIndex,
        code => match branch(it) {
            Some(step) => step,
            None => calculation(code, it.k)?,
        },
    })
}

/// Offsets that are negative when they are signed are how Linux names what is not in a frame.
fn in_frame(offset: u32) -> Result<u32, Fault> {
    i32::try_from(offset).map(|_| offset).map_err(|_| Fault::NotInFrame)
}

fn calculation(code: u16, k: u32) -> Result<Step, Fault> {
    let operator = match code & !0x08 {
        0x04 => Operator::Add,
        0x14 => Operator::Sub,
        0x24 => Operator::Mul,
        0x34 => Operator::Div,
        0x44 => Operator::Or,
        0x54 => Operator::And,
        0x64 => Operator::ShiftLeft,
        0x74 => Operator::ShiftRight,
        0x94 => Operator::Mod,
        0xa4 => Operator::Xor,
        _ => return Err(Fault::UnknownCode(code)),
    };
    match operator {
        _ if code & 0x08 != 0 => Ok(Step::CalculateIndex(operator)),
        Operator::Div | Operator::Mod if k == 0 => Err(Fault::DivisionByZero),
        Operator::ShiftLeft | Operator::ShiftRight if k >= 32 => Err(Fault::Shift(k)),
        _ => Ok(Step::Calculate(operator, k)),
    }
}

fn branch(it: Instruction) -> Option<Step> {
    let comparison = match it.code & !0x08 {
        0x15 => Comparison::Equal,
        0x25 => Comparison::Greater,
        0x35 => Comparison::GreaterOrEqual,
        0x45 => Comparison::AnyBit,
        _ => return None,
    };
    let ways = Ways { when_true: it.jump_true, when_false: it.jump_false };
    Some(match it.code & 0x08 {
        0 => Step::Branch(comparison, ways, it.k),
        _ => Step::BranchIndex(comparison, ways),
    })
}
