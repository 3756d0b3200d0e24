//! The interpreter does what libpcap's own does, on programs and bytes that nobody would write.
#![cfg(test)]

use helio_filter::{Instruction, Program};
use pcap as _; // Links libpcap.
use proptest::prelude::*;

/// `struct bpf_insn`.
#[repr(C)]
struct BpfInstruction {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

unsafe extern "C" {
    fn bpf_filter(program: *const BpfInstruction, frame: *const u8, wire: u32, bytes: u32) -> u32;
    fn bpf_validate(program: *const BpfInstruction, count: i32) -> i32;
}

fn of_libpcap(program: &[Instruction]) -> Vec<BpfInstruction> {
    let instruction = |it: &Instruction| BpfInstruction {
        code: it.code,
        jt: it.jump_true,
        jf: it.jump_false,
        k: it.k,
    };
    program.iter().map(instruction).collect()
}

fn libpcap_takes(program: &[Instruction]) -> bool {
    let program = of_libpcap(program);
    let count = i32::try_from(program.len()).unwrap();
    // SAFETY: `program` has `count` instructions in the layout of `struct bpf_insn`, and they are only read.
    unsafe { bpf_validate(program.as_ptr(), count) != 0 }
}

/// Only for programs that have been verified.
fn libpcap_accepts(program: &[Instruction], frame: &[u8]) -> bool {
    let program = of_libpcap(program);
    let bytes = u32::try_from(frame.len()).unwrap();
    // SAFETY: the program was verified: it has no unknown code, its jumps stay inside, its slots are below 16 and it ends
    // with a return. `frame` has `bytes` bytes, and libpcap checks each load against that. Both are only read.
    unsafe { bpf_filter(program.as_ptr(), frame.as_ptr(), bytes, bytes) != 0 }
}

const CODES: [u16; 48] = [
    0x00, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x60, 0x80, 0x01, 0x61, 0x81, 0xb1, 0x02, 0x03, 0x04,
    0x14, 0x24, 0x34, 0x44, 0x54, 0x64, 0x74, 0x94, 0xa4, 0x0c, 0x1c, 0x2c, 0x3c, 0x4c, 0x5c, 0x6c,
    0x7c, 0x9c, 0xac, 0x84, 0x05, 0x15, 0x25, 0x35, 0x45, 0x1d, 0x2d, 0x3d, 0x4d, 0x16, 0x07, 0x87,
];

fn instruction(code: impl Strategy<Value = u16>) -> impl Strategy<Value = Instruction> {
    let k = prop_oneof![4 => 0..40_u32, 1 => 0..0x7fff_ffff_u32, 1 => any::<u32>()];
    (code, any::<u8>(), any::<u8>(), k).prop_map(|(code, jump_true, jump_false, k)| Instruction {
        code,
        jump_true,
        jump_false,
        k,
    })
}

/// An instruction that keeps the rules where `following` more come after it.
fn lawful(mut it: Instruction, following: usize) -> Instruction {
    let furthest = u8::try_from((following - 1).min(255)).unwrap();
    let near = |jump: u8| jump % 6 % (furthest + 1);
    (it.jump_true, it.jump_false) = (near(it.jump_true), near(it.jump_false));
    it.k = match it.code {
        0x60 | 0x61 | 0x02 | 0x03 => it.k % 16,
        0x34 | 0x94 => it.k.max(1),
        0x64 | 0x74 => it.k % 32,
        0x05 => it.k % 6 % (u32::from(furthest) + 1),
        0x20 | 0x28 | 0x30 | 0xb1 => it.k & 0x7fff_ffff,
        _ => it.k,
    };
    it
}

/// A program that keeps the rules. It begins by filling the slots, which libpcap leaves as they are.
fn program() -> impl Strategy<Value = Vec<Instruction>> {
    let body = prop::collection::vec(instruction(prop::sample::select(&CODES[..])), 1..60);
    body.prop_map(|body| {
        let fill =
            (0..16).map(|slot| Instruction { code: 0x02, k: slot, ..Instruction::default() });
        let first = Instruction { code: 0x80, ..Instruction::default() };
        let count = body.len();
        let body = body.into_iter().enumerate().map(|(at, it)| lawful(it, count - at));
        let last = Instruction { code: 0x16, ..Instruction::default() };
        [first].into_iter().chain(fill).chain(body).chain([last]).collect()
    })
}

fn frame() -> impl Strategy<Value = (Vec<u8>, usize)> {
    prop::collection::vec(prop_oneof![0..8_u8, any::<u8>()], 0..120)
        .prop_flat_map(|frame| (0..=frame.len()).prop_map(move |cut| (frame.clone(), cut)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_verified_program_has_the_verdict_of_libpcap_whatever_is_in_the_head(
        program in program(),
        (frame, cut) in frame(),
    ) {
        prop_assert!(libpcap_takes(&program));
        let (head, tail) = frame.split_at(cut);
        let verified = Program::verify(&program).unwrap();
        let wanted = verified.accepts(head, tail, u32::try_from(frame.len()).unwrap());
        prop_assert_eq!(wanted, libpcap_accepts(&program, &frame));
    }

    #[test]
    fn any_instructions_are_refused_or_run(
        program in prop::collection::vec(
            instruction(prop_oneof![9 => prop::sample::select(&CODES[..]), 1 => any::<u16>()])
                .prop_map(|it| Instruction { jump_true: it.jump_true % 8, jump_false: it.jump_false % 8, ..it }),
            0..12,
        ),
        ends in any::<bool>(),
        (frame, cut) in frame(),
    ) {
        let last = Instruction { code: 0x16, ..Instruction::default() };
        let program: Vec<_> = program.into_iter().chain(ends.then_some(last)).collect();
        if let Ok(verified) = Program::verify(&program) {
            prop_assert!(libpcap_takes(&program), "libpcap is stricter");
            let (head, tail) = frame.split_at(cut);
            let _ = verified.accepts(head, tail, u32::try_from(frame.len()).unwrap());
        }
    }
}
