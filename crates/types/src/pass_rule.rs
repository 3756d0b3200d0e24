//! Frames of an uplink that are the host's.

use std::fmt;
use std::str::FromStr;

use crate::MacAddr;

/// Which frames that arrive on an uplink go to the host instead of the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PassRule {
    /// Those with this type right behind the addresses; 0x0600 or more. IEEE 802.3-2018, 3.2.6.
    EtherType(u16),
    /// Those for this address.
    Destination(MacAddr),
}

impl PassRule {
    /// Types below are lengths.
    pub const FIRST_ETHER_TYPE: u16 = 0x0600;
}

impl fmt::Display for PassRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EtherType(number) => write!(f, "{number:#06x}"),
            Self::Destination(mac) => mac.fmt(f),
        }
    }
}

/// The text is neither an EtherType nor an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePassRuleError;

impl fmt::Display for ParsePassRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("frames for the host are named by an EtherType, as \"0x88cc\", or by a destination, as \"52:54:00:12:34:56\"")
    }
}

impl std::error::Error for ParsePassRuleError {}

impl FromStr for PassRule {
    type Err = ParsePassRuleError;

    fn from_str(text: &str) -> Result<Self, ParsePassRuleError> {
        if let Some(digits) = text.strip_prefix("0x") {
            let number = u16::from_str_radix(digits, 16).map_err(|_| ParsePassRuleError)?;
            // Without a sign, which the conversion would take.
            let is_plain =
                digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let is_type = is_plain && number >= Self::FIRST_ETHER_TYPE;
            return if is_type { Ok(Self::EtherType(number)) } else { Err(ParsePassRuleError) };
        }
        text.parse().map(Self::Destination).map_err(|_| ParsePassRuleError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_back() {
        for rule in [
            PassRule::EtherType(0x0600),
            PassRule::EtherType(0x88cc),
            PassRule::Destination(MacAddr([2, 0, 0, 0, 0, 1])),
        ] {
            assert_eq!(rule.to_string().parse(), Ok(rule));
        }
    }

    #[test]
    fn lengths_and_other_text_are_refused() {
        for text in ["", "0x", "0x05ff", "0x88c", "0x+8cc", "0x088cc", "88cc", "arp", "52:54:00"] {
            assert_eq!(text.parse::<PassRule>(), Err(ParsePassRuleError), "{text}");
        }
    }
}
