//! One instruction of classic BPF, as compilers write it.

use std::str::FromStr;

/// An instruction that nothing is known of yet. The fields are those of `struct sock_filter`
/// (Documentation/networking/filter.rst of Linux).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instruction {
    /// What is done.
    pub code: u16,
    /// Instructions to skip when the comparison holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// The constant: a number, an offset, a memory slot, or a distance.
    pub k: u32,
}

/// The text is no instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an instruction is four numbers: code, jump if true, jump if false, constant")]
pub struct ParseInstructionError;

/// Four decimal numbers with spaces between them, as `tcpdump -ddd` prints them.
impl FromStr for Instruction {
    type Err = ParseInstructionError;

    fn from_str(text: &str) -> Result<Self, ParseInstructionError> {
        let mut words = text.split_whitespace();
        let instruction = Self {
            code: number(words.next())?,
            jump_true: number(words.next())?,
            jump_false: number(words.next())?,
            k: number(words.next())?,
        };
        words.next().is_none().then_some(instruction).ok_or(ParseInstructionError)
    }
}

fn number<N: FromStr>(word: Option<&str>) -> Result<N, ParseInstructionError> {
    word.and_then(|word| word.parse().ok()).ok_or(ParseInstructionError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_four_numbers_that_fit() {
        let read = "21 3 255 4294967295".parse();
        let meant = Instruction { code: 21, jump_true: 3, jump_false: 255, k: u32::MAX };
        assert_eq!(read, Ok(meant));
        for text in ["", "21 3 255", "21 3 256 0", "65536 0 0 0", "21 3 4 5 6", "21 x 4 5"] {
            assert_eq!(text.parse::<Instruction>(), Err(ParseInstructionError), "{text}");
        }
    }
}
