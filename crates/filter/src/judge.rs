//! The interpreter.
//!
//! Called by workers, for each frame and session with a filter. It does what `bpf_filter` of libpcap does: a load that is
//! not wholly in the frame, and a division by an X of zero, end the program with "no match".

use std::ops::ControlFlow;

use crate::step::{Comparison, Operator, SLOTS, Step, Wanted, Ways, Width};
use crate::{Program, Tail};

impl Program {
    /// Whether the filter wants the frame of `frame_bytes` bytes that begins with `head` and goes on with `tail`.
    ///
    /// Bytes are taken from `head` wherever it has them. Only a load beyond it reads `tail`, and it does so once: jumps lead
    /// forward, so each load is made once at most. A guest that rewrites its frame between two loads of one place can
    /// get a verdict that fits neither, and nothing else.
    #[inline]
    #[must_use]
    pub fn accepts<T: Tail + ?Sized>(&self, head: &[u8], tail: &T, frame_bytes: u32) -> bool {
        let mut machine = Machine {
            a: 0,
            x: 0,
            slots: [0; SLOTS as usize],
            bytes: Bytes { head, tail, frame_bytes },
        };
        let mut at = 0;
        while let Some(step) = self.steps.get(at) {
            match machine.take(*step) {
                ControlFlow::Continue(skip) => at = at.saturating_add(1).saturating_add(skip),
                ControlFlow::Break(Wanted::Yes) => return true,
                ControlFlow::Break(Wanted::No) => return false,
            }
        }
        debug_assert!(false, "a verified program ends by a return");
        false
    }
}

/// What a step leads to: a number of steps to skip, or the end.
type Next = ControlFlow<Wanted, usize>;

const GO_ON: Next = ControlFlow::Continue(0);
const NO_MATCH: Next = ControlFlow::Break(Wanted::No);

/// The registers of a program that runs.
struct Machine<'a, T: ?Sized> {
    a: u32,
    x: u32,
    slots: [u32; SLOTS as usize],
    bytes: Bytes<'a, T>,
}

impl<T: Tail + ?Sized> Machine<'_, T> {
    #[inline]
    fn take(&mut self, step: Step) -> Next {
        match step {
            Step::Load(width, offset) => return self.load(width, Some(offset)),
            Step::LoadIndexed(width, offset) => {
                return self.load(width, self.x.checked_add(offset));
            }
            Step::LoadConstant(number) => self.a = number,
            Step::LoadSlot(slot) => self.a = self.slot(slot),
            Step::LoadLength => self.a = self.bytes.frame_bytes,
            Step::IndexConstant(number) => self.x = number,
            Step::IndexSlot(slot) => self.x = self.slot(slot),
            Step::IndexLength => self.x = self.bytes.frame_bytes,
            Step::IndexHeader(offset) => match self.bytes.load(Width::Byte, offset) {
                Some(byte) => self.x = (byte & 0xf) << 2,
                None => return NO_MATCH,
            },
            Step::Store(slot) => self.store(slot, self.a),
            Step::StoreIndex(slot) => self.store(slot, self.x),
            Step::Calculate(operator, number) => return self.calculate(operator, number),
            Step::CalculateIndex(operator) => return self.calculate(operator, self.x),
            Step::Negate => self.a = self.a.wrapping_neg(),
            Step::Jump(skip) => return ControlFlow::Continue(skip as usize),
            Step::Branch(comparison, ways, number) => return self.branch(comparison, ways, number),
            Step::BranchIndex(comparison, ways) => return self.branch(comparison, ways, self.x),
            Step::Return(wanted) => return ControlFlow::Break(wanted),
            Step::ReturnAccumulator => {
                return ControlFlow::Break(if self.a == 0 { Wanted::No } else { Wanted::Yes });
            }
            Step::ToIndex => self.x = self.a,
            Step::FromIndex => self.a = self.x,
        }
        GO_ON
    }

    #[inline]
    fn load(&mut self, width: Width, offset: Option<u32>) -> Next {
        match offset.and_then(|offset| self.bytes.load(width, offset)) {
            Some(value) => self.a = value,
            None => return NO_MATCH,
        }
        GO_ON
    }

    fn slot(&self, slot: u8) -> u32 {
        self.slots.get(usize::from(slot)).copied().unwrap_or(0)
    }

    fn store(&mut self, slot: u8, value: u32) {
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            *place = value;
        }
    }

    #[inline]
    fn calculate(&mut self, operator: Operator, by: u32) -> Next {
        self.a = match operator {
            Operator::Add => self.a.wrapping_add(by),
            Operator::Sub => self.a.wrapping_sub(by),
            Operator::Mul => self.a.wrapping_mul(by),
            Operator::Or => self.a | by,
            Operator::And => self.a & by,
            Operator::Xor => self.a ^ by,
            // All bits are gone after 32.
            Operator::ShiftLeft => self.a.checked_shl(by).unwrap_or(0),
            Operator::ShiftRight => self.a.checked_shr(by).unwrap_or(0),
            Operator::Div | Operator::Mod if by == 0 => return NO_MATCH,
            Operator::Div => self.a.wrapping_div(by),
            Operator::Mod => self.a.wrapping_rem(by),
        };
        GO_ON
    }

    #[inline]
    fn branch(&self, comparison: Comparison, ways: Ways, with: u32) -> Next {
        let holds = match comparison {
            Comparison::Equal => self.a == with,
            Comparison::Greater => self.a > with,
            Comparison::GreaterOrEqual => self.a >= with,
            Comparison::AnyBit => self.a & with != 0,
        };
        ControlFlow::Continue(usize::from(if holds { ways.when_true } else { ways.when_false }))
    }
}

/// The bytes of one frame.
struct Bytes<'a, T: ?Sized> {
    head: &'a [u8],
    tail: &'a T,
    frame_bytes: u32,
}

impl<T: Tail + ?Sized> Bytes<'_, T> {
    /// The big-endian number at `offset`, if it lies in the frame.
    #[inline]
    fn load(&self, width: Width, offset: u32) -> Option<u32> {
        match width {
            Width::Word => self.array(offset).map(u32::from_be_bytes),
            Width::Half => self.array(offset).map(|bytes| u16::from_be_bytes(bytes).into()),
            Width::Byte => self.array(offset).map(|[byte]| byte.into()),
        }
    }

    #[inline]
    fn array<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let bytes = u32::try_from(N).ok()?;
        if offset.checked_add(bytes)? > self.frame_bytes {
            return None;
        }
        let in_head = self.head.get(offset as usize..).and_then(<[u8]>::first_chunk);
        in_head.copied().or_else(|| self.beyond_head(offset))
    }

    /// Some of the bytes are not in the head.
    #[cold]
    fn beyond_head<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut out = [0; N];
        let of_head = self.head.get(offset as usize..).unwrap_or_default();
        let (from_head, from_tail) = out.split_at_mut_checked(of_head.len())?;
        from_head.copy_from_slice(of_head);
        let head_bytes = u32::try_from(self.head.len()).ok()?;
        let read = self.tail.read(offset.saturating_sub(head_bytes), from_tail);
        (read == from_tail.len()).then_some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instruction;

    fn with(code: u16, k: u32) -> Instruction {
        Instruction { code, k, ..Instruction::default() }
    }

    /// What the program that ends with a return of A makes of a frame of 10 bytes, 4 of them in the head.
    fn accepts(steps: &[Instruction]) -> bool {
        let program = Program::verify(&[steps, &[with(0x16, 0)]].concat()).unwrap();
        program.accepts(&[1, 2, 3, 4], &[5, 6, 7, 8, 0x49, 10][..], 10)
    }

    /// Whether A is `expected` after `steps`.
    fn leaves(steps: &[Instruction], expected: u32) -> bool {
        let equal = Instruction { code: 0x15, jump_true: 1, jump_false: 0, k: expected };
        accepts(&[steps, &[equal, with(0x06, 0), with(0, 1)]].concat())
    }

    #[test]
    fn loads_are_big_endian_and_cross_the_end_of_the_head() {
        assert!(leaves(&[with(0x20, 0)], 0x0102_0304));
        assert!(leaves(&[with(0x20, 1)], 0x0203_0405));
        assert!(leaves(&[with(0x20, 4)], 0x0506_0708));
        assert!(leaves(&[with(0x28, 3)], 0x0405));
        assert!(leaves(&[with(0x30, 9)], 10));
        assert!(leaves(&[with(0x01, 2), with(0x40, 1)], 0x0405_0607));
        assert!(leaves(&[with(0xb1, 8), with(0x87, 0)], 36));
    }

    #[test]
    fn a_load_that_is_not_wholly_in_the_frame_is_no_match() {
        for (code, bytes) in [(0x20, 4), (0x28, 2), (0x30, 1)] {
            assert!(accepts(&[with(code, 10 - bytes)]));
            for offset in [11 - bytes, 10, 11, 0x7fff_ffff] {
                assert!(!accepts(&[with(code, offset), with(0, 1)]), "{offset}");
            }
            let indexed = code ^ 0x60;
            assert!(accepts(&[with(0x01, 5), with(indexed, 5 - bytes)]));
            assert!(!accepts(&[with(0x01, 5), with(indexed, 6 - bytes), with(0, 1)]));
            // A sum that wraps is not an offset.
            assert!(!accepts(&[with(0x01, 5), with(indexed, u32::MAX), with(0, 1)]));
        }
        assert!(!accepts(&[with(0xb1, 10), with(0, 1)]));
    }

    #[test]
    fn what_the_tail_does_not_have_is_no_match_though_the_frame_is_longer() {
        let program = Program::verify(&[with(0x30, 5), with(0x06, 1)]).unwrap();
        assert!(program.accepts(&[0; 4], &[0; 2][..], 6));
        assert!(!program.accepts(&[0; 4], &[0; 1][..], 6));
        // And what a head has behind the end of the frame is not looked at.
        assert!(!program.accepts(&[0; 8], &[][..], 5));
    }

    #[test]
    fn the_length_is_that_of_the_whole_frame() {
        assert!(leaves(&[with(0x80, 0)], 10));
        assert!(leaves(&[with(0x81, 0), with(0x87, 0)], 10));
    }

    #[test]
    fn arithmetic_wraps_and_long_shifts_leave_nothing() {
        let of = |a, code, by| vec![with(0x01, by), with(0, a), with(code, by)];
        for (a, code, by, expected) in [
            (u32::MAX, 0x04, 2, 1),
            (1, 0x14, 2, u32::MAX),
            (0x8000_0001, 0x24, 2, 2),
            (17, 0x34, 5, 3),
            (17, 0x94, 5, 2),
            (0b1100, 0x44, 0b1010, 0b1110),
            (0b1100, 0x54, 0b1010, 0b1000),
            (0b1100, 0xa4, 0b1010, 0b0110),
            (3, 0x64, 31, 0x8000_0000),
            (0x8000_0000, 0x74, 31, 1),
        ] {
            assert!(leaves(&of(a, code, by), expected), "{code:#x}");
            assert!(leaves(&of(a, code | 8, by), expected), "{code:#x} with X");
        }
        assert!(leaves(&[with(0, 5), with(0x84, 0)], 0u32.wrapping_sub(5)));
        for code in [0x6c, 0x7c] {
            assert!(leaves(&of(u32::MAX, code, 32), 0));
        }
    }

    #[test]
    fn a_division_by_an_index_of_zero_is_no_match() {
        for code in [0x3c, 0x9c] {
            assert!(!accepts(&[with(0, 7), with(code, 0), with(0, 1)]));
        }
    }

    #[test]
    fn slots_keep_what_was_stored_and_begin_with_zero() {
        assert!(leaves(&[with(0, 7), with(0x02, 15), with(0, 0), with(0x60, 15)], 7));
        assert!(leaves(&[with(0x01, 8), with(0x03, 0), with(0x61, 15), with(0x60, 0)], 8));
        assert!(leaves(&[with(0, 7), with(0x60, 3)], 0));
        assert!(leaves(&[with(0, 7), with(0x07, 0), with(0, 0), with(0x87, 0)], 7));
    }

    #[test]
    fn each_comparison_tells_both_sides_of_its_edge() {
        let holds = |code, a, with_number| {
            let branch = Instruction { code, jump_true: 1, jump_false: 0, k: with_number };
            accepts(&[with(0x01, with_number), with(0, a), branch, with(0x06, 0), with(0, 1)])
        };
        for (code, below, equal, above) in
            [(0x15, false, true, false), (0x25, false, false, true), (0x35, false, true, true)]
        {
            for code in [code, code | 8] {
                let told = [4, 5, 6].map(|a| holds(code, a, 5));
                assert_eq!(told, [below, equal, above], "{code:#x}");
            }
        }
        for code in [0x45, 0x4d] {
            assert_eq!([1, 2, 3].map(|a| holds(code, a, 0b110)), [false, true, true]);
        }
    }

    #[test]
    fn a_long_jump_skips_what_is_between() {
        let mut steps = vec![with(0, 1), with(0x05, 1000)];
        steps.extend(vec![with(0x06, 0); 1000]);
        assert!(accepts(&steps));
    }
}
