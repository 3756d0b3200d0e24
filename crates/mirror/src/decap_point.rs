//! Where mirror streams of other hosts arrive.

use helio_types::PortId;
use helio_underlay::Endpoint;

/// A port whose far side is other hosts: their mirror streams arrive on an uplink for an address of ours, and the frames in them
/// are copied to the destinations of the sessions that watch the port. They are not switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecapPoint {
    /// Tells this point from all others there ever were.
    pub number: u64,
    /// The port that the frames seem to come from.
    pub port: PortId,
    /// The port on which the streams arrive.
    pub uplink: PortId,
    /// Our address there, listening.
    pub endpoint: Endpoint,
    /// UDP port of VXLAN.
    pub vxlan_port: u16,
}
