//! Filters: any instructions, and any frame.
//!
//! A list of instructions that breaks a rule is refused; a program has the verdict of an interpreter that is written as
//! plainly as the reference, from one slice, wherever the head of the frame ends.

use helio_filter::{Instruction, Program, ProgramFault};

use crate::Outcome;
use crate::input::Input;

/// Runs one input: a list of instructions, and a frame that is cut into head and tail.
///
/// # Panics
///
/// When something does not hold.
pub fn run(data: &[u8]) -> Outcome {
    let mut input = Input::new(data);
    let count = input.u8();
    let instructions: Vec<_> = (0..count).map(|_| instruction(&mut input)).collect();
    let (cut, frame) = (usize::from(input.u16()), input.bytes(2048));
    let verified = Program::verify(&instructions);
    match &verified {
        Ok(program) => {
            let frame_bytes = u32::try_from(frame.len()).unwrap();
            let expected = verdict(&instructions, frame);
            for head_bytes in [0, cut.min(frame.len()), frame.len()] {
                let (head, tail) = frame.split_at(head_bytes);
                assert_eq!(program.accepts(head, tail, frame_bytes), expected, "{head_bytes}");
            }
            assert_eq!(program.instruction_count(), instructions.len());
            // No end of a program is left when its last instruction is gone, unless one more return is before it.
            let shorter = Program::verify(&instructions[..instructions.len() - 1]);
            let returns = instructions.iter().rev().nth(1).is_some_and(|it| it.code & 7 == 6);
            assert!(returns || shorter.is_err());
        }
        Err(ProgramFault { at, .. }) => assert!(*at <= instructions.len()),
    }
    let mut outcome = Outcome::default();
    outcome.count(&verified);
    outcome
}

fn instruction(input: &mut Input<'_>) -> Instruction {
    let code = input.u16();
    Instruction { code, jump_true: input.u8(), jump_false: input.u8(), k: input.u32() }
}

/// The verdict of a verified program. The fields of a code are those of `linux/bpf_common.h`.
fn verdict(program: &[Instruction], frame: &[u8]) -> bool {
    let (mut a, mut x, mut slots, mut at) = (0_u32, 0_u32, [0_u32; 16], 0);
    // Forward jumps only: an instruction is met once at most.
    for _ in 0..program.len() {
        let it = program[at];
        let (class, mode) = (it.code & 0x07, it.code & 0xe0);
        let source = if it.code & 0x08 == 0 { it.k } else { x };
        at += 1;
        match class {
            0 | 1 => {
                let Some(value) = loaded(it, x, &slots, frame) else { return false };
                *(if class == 0 { &mut a } else { &mut x }) = value;
            }
            2 => slots[it.k as usize] = a,
            3 => slots[it.k as usize] = x,
            4 => match calculated(it.code & 0xf0, a, source) {
                Some(value) => a = value,
                None => return false,
            },
            5 if it.code == 0x05 => at += it.k as usize,
            5 => {
                let holds = match it.code & 0xf0 {
                    0x10 => a == source,
                    0x20 => a > source,
                    0x30 => a >= source,
                    _ => a & source != 0,
                };
                at += usize::from(if holds { it.jump_true } else { it.jump_false });
            }
            6 => return if it.code & 0x10 == 0 { it.k != 0 } else { a != 0 },
            _ if mode == 0x80 => a = x,
            _ => x = a,
        }
    }
    panic!("a verified program came to no end");
}

fn loaded(it: Instruction, x: u32, slots: &[u32; 16], frame: &[u8]) -> Option<u32> {
    let start = match it.code & 0xe0 {
        0x00 => return Some(it.k),
        0x60 => return Some(slots[it.k as usize]),
        0x80 => return u32::try_from(frame.len()).ok(),
        0x40 => u64::from(x) + u64::from(it.k),
        _ => u64::from(it.k),
    };
    let bytes = [4, 2, 1][usize::from(it.code >> 3 & 3)];
    let start = usize::try_from(start).ok()?;
    let bytes = frame.get(start..start.checked_add(bytes)?)?;
    let value = bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte));
    Some(if it.code & 0xe0 == 0xa0 { (value & 0xf) * 4 } else { value })
}

fn calculated(operator: u16, a: u32, by: u32) -> Option<u32> {
    let (wide, by_wide) = (u64::from(a), u64::from(by));
    let wide = match operator {
        0x00 => wide + by_wide,
        0x10 => wide + (1 << 32) - by_wide,
        0x20 => wide * by_wide,
        0x30 => wide.checked_div(by_wide)?,
        0x40 => wide | by_wide,
        0x50 => wide & by_wide,
        0x60 => wide << by_wide.min(32),
        0x70 => wide >> by_wide.min(32),
        0x80 => (1 << 32) - wide,
        0x90 => wide.checked_rem(by_wide)?,
        _ => wide ^ by_wide,
    };
    u32::try_from(wide & u64::from(u32::MAX)).ok()
}
