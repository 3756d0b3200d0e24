//! Verified programs.

use crate::step::{Step, Ways, decode};
use crate::{Fault, Instruction, ProgramFault};

/// Most instructions of a program, as in Linux.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// A program of classic BPF that ends, whatever the frame. Only [`Program::verify`] makes one: every jump leads forward
/// to another step, and the last step is a return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub(crate) steps: Box<[Step]>,
}

impl Program {
    /// Checks a list of instructions.
    ///
    /// # Errors
    ///
    /// The first rule broken. Stricter than libpcap, which lets jumps go backwards, shifts by more than a word, and loads
    /// what is not in a frame.
    pub fn verify(instructions: &[Instruction]) -> Result<Self, ProgramFault> {
        let last = match instructions.len() {
            0 => return Err(ProgramFault { at: 0, fault: Fault::Empty }),
            count if count > MAX_INSTRUCTIONS => {
                return Err(ProgramFault { at: MAX_INSTRUCTIONS, fault: Fault::TooLong });
            }
            count => count - 1,
        };
        let step = |(at, instruction): (usize, &Instruction)| {
            let step = decode(*instruction).and_then(|step| in_place(step, last - at));
            step.map_err(|fault| ProgramFault { at, fault })
        };
        let steps = instructions.iter().enumerate().map(step).collect::<Result<_, _>>()?;
        Ok(Self { steps })
    }

    /// How many instructions it has: at most as many steps are taken for a frame.
    #[must_use]
    pub fn instruction_count(&self) -> usize {
        self.steps.len()
    }
}

/// `step` if it can stand where `following` steps come after it.
fn in_place(step: Step, following: usize) -> Result<Step, Fault> {
    let skips = match step {
        Step::Return(_) | Step::ReturnAccumulator => return Ok(step),
        _ if following == 0 => return Err(Fault::NoReturnAtEnd),
        Step::Jump(skip) => skip,
        Step::Branch(_, Ways { when_true, when_false }, _)
        | Step::BranchIndex(_, Ways { when_true, when_false }) => when_true.max(when_false).into(),
        _ => 0,
    };
    match usize::try_from(skips) {
        Ok(skips) if skips < following => Ok(step),
        _ => Err(Fault::JumpOutside),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETURN: Instruction = Instruction { code: 0x06, jump_true: 0, jump_false: 0, k: 1 };

    fn with(code: u16, k: u32) -> Instruction {
        Instruction { code, k, ..Instruction::default() }
    }

    fn fault(instructions: &[Instruction]) -> Option<(usize, Fault)> {
        Program::verify(instructions).err().map(|fault| (fault.at, fault.fault))
    }

    #[test]
    fn a_program_has_at_least_one_and_at_most_4096_instructions() {
        assert_eq!(fault(&[]), Some((0, Fault::Empty)));
        let most = vec![RETURN; MAX_INSTRUCTIONS + 1];
        assert_eq!(fault(&most[1..]), None);
        assert_eq!(fault(&most), Some((MAX_INSTRUCTIONS, Fault::TooLong)));
        assert_eq!(Program::verify(&most[1..]).unwrap().instruction_count(), MAX_INSTRUCTIONS);
    }

    #[test]
    fn the_last_instruction_is_a_return_of_a_constant_or_of_the_accumulator() {
        assert_eq!(fault(&[RETURN]), None);
        assert_eq!(fault(&[with(0x16, 0)]), None);
        assert_eq!(fault(&[RETURN, with(0, 7)]), Some((1, Fault::NoReturnAtEnd)));
        assert_eq!(fault(&[with(0x05, 0)]), Some((0, Fault::NoReturnAtEnd)));
    }

    #[test]
    fn a_jump_reaches_the_last_instruction_and_none_behind_it() {
        assert_eq!(fault(&[with(0x05, 1), RETURN, RETURN]), None);
        assert_eq!(fault(&[with(0x05, 2), RETURN, RETURN]), Some((0, Fault::JumpOutside)));
        for (jump_true, jump_false, outside) in [(1, 1, false), (2, 0, true), (0, 2, true)] {
            for code in [0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d] {
                let branch = Instruction { code, jump_true, jump_false, k: 0 };
                let found = fault(&[branch, RETURN, RETURN]);
                assert_eq!(found, outside.then_some((0, Fault::JumpOutside)), "{code:#x}");
            }
        }
    }

    #[test]
    fn a_jump_backwards_is_refused() {
        for k in [u32::MAX, u32::MAX - 1, 0x8000_0000] {
            assert_eq!(fault(&[with(0, 0), with(0x05, k), RETURN]), Some((1, Fault::JumpOutside)));
        }
    }

    #[test]
    fn there_are_sixteen_memory_slots() {
        for code in [0x60, 0x61, 0x02, 0x03] {
            assert_eq!(fault(&[with(code, 15), RETURN]), None);
            assert_eq!(fault(&[with(code, 16), RETURN]), Some((0, Fault::MemorySlot(16))));
            let far = with(code, 0x0100_000f);
            assert_eq!(fault(&[far, RETURN]), Some((0, Fault::MemorySlot(far.k))));
        }
    }

    #[test]
    fn a_constant_divisor_is_not_zero_and_a_constant_shift_less_than_a_word() {
        for code in [0x34, 0x94] {
            assert_eq!(fault(&[with(code, 1), RETURN]), None);
            assert_eq!(fault(&[with(code, 0), RETURN]), Some((0, Fault::DivisionByZero)));
            assert_eq!(fault(&[with(code | 8, 0), RETURN]), None);
        }
        for code in [0x64, 0x74] {
            assert_eq!(fault(&[with(code, 31), RETURN]), None);
            assert_eq!(fault(&[with(code, 32), RETURN]), Some((0, Fault::Shift(32))));
            assert_eq!(fault(&[with(code | 8, 32), RETURN]), None);
        }
    }

    #[test]
    fn a_load_of_what_is_not_in_a_frame_is_refused() {
        for code in [0x20, 0x28, 0x30, 0xb1] {
            assert_eq!(fault(&[with(code, 0x7fff_ffff), RETURN]), None);
            // SKF_AD_OFF + SKF_AD_PKTTYPE of Linux.
            assert_eq!(fault(&[with(code, 0xffff_f004), RETURN]), Some((0, Fault::NotInFrame)));
        }
    }

    #[test]
    fn every_code_that_the_reference_does_not_have_is_refused() {
        let known: [u16; 49] = [
            0x00, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x60, 0x80, // A =
            0x01, 0x61, 0x81, 0xb1, 0x02, 0x03, // X =, memory
            0x04, 0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0x94, 0xa4, // A and a constant
            0x0c, 0x1c, 0x2c, 0x3c, 0x4c, 0x5c, 0x6c, 0x7c, 0x9c, 0xac, 0x84, // A and X
            0x05, 0x15, 0x25, 0x35, 0x45, 0x1d, 0x2d, 0x3d, 0x4d, // jumps
            0x06, 0x16, 0x07, 0x87, // returns, copies between A and X
        ];
        for code in 0..=u16::MAX {
            let found = fault(&[with(code, 1), RETURN, RETURN, RETURN]);
            let expected = (!known.contains(&code)).then_some((0, Fault::UnknownCode(code)));
            assert_eq!(found, expected, "{code:#x}");
        }
    }

    #[test]
    fn a_fault_says_where_and_what() {
        let told = Program::verify(&[RETURN, with(0xff, 0)]).unwrap_err().to_string();
        assert_eq!(told, "instruction 1 has the unknown code 0xff");
    }
}
