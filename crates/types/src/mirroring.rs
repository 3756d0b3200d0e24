//! The mirroring setting of a port, as Hyper-V has it.

use std::fmt;
use std::str::FromStr;

/// What a port is in port mirroring: nothing, watched, or watching. Never both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mirroring {
    /// Takes no part.
    #[default]
    None,
    /// Everything it sends and receives goes to the destinations of its session.
    Source,
    /// Receives everything that the sources of its session send and receive.
    Destination,
}

impl Mirroring {
    /// The word in configuration and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

impl fmt::Display for Mirroring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The word is none of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseMirroringError;

impl fmt::Display for ParseMirroringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("mirroring is \"none\", \"source\" or \"destination\"")
    }
}

impl std::error::Error for ParseMirroringError {}

impl FromStr for Mirroring {
    type Err = ParseMirroringError;

    fn from_str(text: &str) -> Result<Self, ParseMirroringError> {
        match text {
            "none" => Ok(Self::None),
            "source" => Ok(Self::Source),
            "destination" => Ok(Self::Destination),
            _ => Err(ParseMirroringError),
        }
    }
}
