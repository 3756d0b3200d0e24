//! The switches that are compared, by name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A switch.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Deserialize,
    Serialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum PeerName {
    /// Ours.
    Helio,
    /// Another build of ours.
    Helio2,
    /// DPDK's testpmd with vhost ports: it forwards without looking at frames.
    Testpmd,
    /// Open vSwitch on DPDK.
    Ovs,
    /// VPP.
    Vpp,
    /// Two AF_XDP sockets and nothing in between: the floor between wires.
    Raw,
    /// The bridge of Linux.
    Bridge,
}

impl PeerName {
    /// Those that are not ours and take guests.
    pub const OTHERS: [Self; 3] = [Self::Testpmd, Self::Ovs, Self::Vpp];

    /// By its name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let all = [Self::Helio, Self::Helio2, Self::Raw, Self::Bridge].into_iter();
        all.chain(Self::OTHERS).find(|peer| peer.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Helio => "helio",
            Self::Helio2 => "helio2",
            Self::Testpmd => "testpmd",
            Self::Ovs => "ovs",
            Self::Vpp => "vpp",
            Self::Raw => "raw",
            Self::Bridge => "bridge",
        }
    }

    /// Whether it is a build of ours.
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Helio | Self::Helio2)
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
