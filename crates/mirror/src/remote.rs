//! A collector elsewhere, as it is configured: how its copies are encapsulated, and the way to it.

use std::net::IpAddr;
use std::num::NonZeroU8;

use helio_encap::{
    Addresses, Cos, DontFragment, Dscp, Encapsulation, OuterTag, Oversize, Template, Underlay,
};
use helio_types::MacAddr;
use helio_underlay::Endpoint;

use crate::Numbering;

/// A destination of a named session outside the host.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Tells this destination from all others there ever were, so that what is known of its next hop stays when something else of
    /// its session changes.
    pub number: u64,
    /// How far its copies are numbered. Whatever else changes, it is the same one.
    pub numbering: Numbering,
    /// The way there.
    pub endpoint: Endpoint,
    /// Where the next hop is, if nobody need be asked.
    pub next_hop: Option<MacAddr>,
    /// What stands in front of a copy.
    pub encapsulation: Encapsulation,
    /// What becomes of a copy that is longer than the path takes.
    pub oversize: Oversize,
    /// How routers treat the copies.
    pub dscp: Dscp,
    /// How many routers may forward them.
    pub hop_limit: NonZeroU8,
}

impl Remote {
    /// The outer headers of copies that are handed to `next_hop`. Routers are told not to fragment them, so that they say how
    /// much the path takes.
    ///
    /// `None` when the two ends are of different versions of IP, which an [`Endpoint`] never is.
    #[must_use]
    pub fn template(&self, next_hop: MacAddr) -> Option<Template> {
        let (own, remote): (IpAddr, IpAddr) = (self.endpoint.own_address(), self.endpoint.remote());
        let tag = self.endpoint.tag();
        let underlay = Underlay {
            source_mac: self.endpoint.own_mac(),
            destination_mac: next_hop,
            tag: tag.map(|tag| OuterTag { vlan: tag.vlan, cos: Cos::of_low_bits(tag.priority) }),
            addresses: Addresses::new(own, remote)?,
            dscp: self.dscp,
            hop_limit: self.hop_limit,
            dont_fragment: DontFragment::Set,
        };
        Some(Template::new(&underlay, self.encapsulation))
    }
}
