//! What a TAP port is, beside what every port is.

use std::fmt;

use helio_config::TapInterface;
use serde::{Deserialize, Serialize};

/// The interface that a TAP port makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapInfo {
    /// Its name.
    pub interface: String,
    /// Bytes of the longest packet that it sends; 0 while it is not there.
    pub interface_mtu: u32,
}

impl TapInfo {
    /// A TAP that is not there.
    #[must_use]
    pub fn new(tap: &TapInterface) -> Self {
        Self { interface: tap.name.clone(), interface_mtu: 0 }
    }
}

impl fmt::Display for TapInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.interface_mtu {
            0 => write!(f, "{} (not there)", self.interface),
            mtu => write!(f, "{} (MTU {mtu})", self.interface),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_that_is_not_there_says_so() {
        let mut info = TapInfo::new(&TapInterface { name: "helio0".to_owned() });
        assert_eq!(info.to_string(), "helio0 (not there)");
        info.interface_mtu = 9000;
        assert_eq!(info.to_string(), "helio0 (MTU 9000)");
    }
}
