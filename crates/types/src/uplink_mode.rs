//! How an uplink reaches its interface.

use std::fmt;
use std::str::FromStr;

/// The way that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UplinkMode {
    /// The best that the driver has: zero-copy, then copy, then skb.
    #[default]
    Auto,
    /// The card reads and writes the chunks itself.
    ZeroCopy,
    /// The driver runs the XDP program, and the kernel copies.
    Copy,
    /// The kernel runs the XDP program on its own packets, behind any driver, and copies.
    Skb,
}

impl UplinkMode {
    /// All of them, best first after [`UplinkMode::Auto`].
    pub const ALL: [Self; 4] = [Self::Auto, Self::ZeroCopy, Self::Copy, Self::Skb];

    /// The word in configuration and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::ZeroCopy => "zero-copy",
            Self::Copy => "copy",
            Self::Skb => "skb",
        }
    }
}

impl fmt::Display for UplinkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The word is none of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseUplinkModeError;

impl fmt::Display for ParseUplinkModeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the mode of an uplink is \"auto\", \"zero-copy\", \"copy\" or \"skb\"")
    }
}

impl std::error::Error for ParseUplinkModeError {}

impl FromStr for UplinkMode {
    type Err = ParseUplinkModeError;

    fn from_str(text: &str) -> Result<Self, ParseUplinkModeError> {
        Self::ALL.into_iter().find(|mode| mode.name() == text).ok_or(ParseUplinkModeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_is_read_back_from_its_word_and_no_other_word_is_one() {
        for mode in UplinkMode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        for word in ["", "Auto", "zerocopy", "native"] {
            assert_eq!(word.parse::<UplinkMode>(), Err(ParseUplinkModeError), "{word}");
        }
    }
}
