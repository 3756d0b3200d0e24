//! Filters, and frames for them.

use crate::Seed;

/// An instruction: code, jumps, constant.
type Line = (u16, u8, u8, u32);

/// The program, where the head ends, and the frame.
fn program(lines: &[Line], cut: u16, frame: &[u8]) -> Vec<u8> {
    let mut input = vec![u8::try_from(lines.len()).unwrap()];
    for (code, jump_true, jump_false, k) in lines {
        input.extend(code.to_le_bytes());
        input.extend([*jump_true, *jump_false]);
        input.extend(k.to_le_bytes());
    }
    [&input[..], &cut.to_le_bytes(), frame].concat()
}

pub(crate) fn seeds() -> Vec<Seed> {
    let seed = |name, bytes, outcome| Seed::new("filter_program", name, bytes, outcome);
    let ethernet = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    let ip = [0x46, 0, 0, 60, 0, 7, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 1];
    let frame = [&ethernet[..], &ip, &[5, 0x99, 0, 80], &[7; 16]].concat();
    let (wanted, unwanted) = ((0x06, 0, 0, 65535), (0x06, 0, 0, 0));
    let tcp_port_1433 = [
        (0x28, 0, 0, 12),
        (0x15, 0, 8, 0x0800),
        (0x30, 0, 0, 23),
        (0x15, 0, 6, 6),
        (0x28, 0, 0, 20),
        (0x45, 4, 0, 0x1fff),
        (0xb1, 0, 0, 14),
        (0x48, 0, 0, 14),
        (0x15, 0, 1, 1433),
        wanted,
        unwanted,
    ];
    let slots_and_arithmetic = [
        (0x80, 0, 0, 0),
        (0x02, 0, 0, 15),
        (0x01, 0, 0, 3),
        (0x2c, 0, 0, 0),
        (0x94, 0, 0, 7),
        (0x07, 0, 0, 0),
        (0x60, 0, 0, 15),
        (0x3c, 0, 0, 0),
        (0x84, 0, 0, 0),
        (0x6c, 0, 0, 0),
        (0x03, 0, 0, 0),
        (0x61, 0, 0, 0),
        (0x87, 0, 0, 0),
        (0x05, 0, 0, 1),
        unwanted,
        (0x16, 0, 0, 0),
    ];
    vec![
        seed("tcp_port_1433", program(&tcp_port_1433, 24, &frame), [1, 0]),
        seed("slots_and_arithmetic", program(&slots_and_arithmetic, 0, &frame), [1, 0]),
        seed("a_load_beyond_the_frame", program(&[(0x20, 0, 0, 55), wanted], 9, &frame), [1, 0]),
        seed(
            "an_offset_that_wraps",
            program(&[(0x81, 0, 0, 0), (0x40, 0, 0, u32::MAX), wanted], 9, &frame),
            [1, 0],
        ),
        seed(
            "a_loop",
            program(&[(0, 0, 0, 1), (0x05, 0, 0, u32::MAX - 1), wanted], 9, &frame),
            [0, 1],
        ),
        seed("a_branch_behind_the_end", program(&[(0x15, 0, 1, 0), wanted], 9, &frame), [0, 1]),
        seed("a_seventeenth_slot", program(&[(0x60, 0, 0, 16), wanted], 9, &frame), [0, 1]),
        seed("how_a_frame_came", program(&[(0x28, 0, 0, 0xffff_f004), wanted], 9, &frame), [0, 1]),
    ]
}
