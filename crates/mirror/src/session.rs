//! A named mirror session as it is configured, with the ports that its words stand for.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;

use helio_encap::SnapLen;
use helio_filter::Program;
use helio_types::{LegId, LegSet, MacAddr, PortId, PortSet, VlanId, VlanSet};

use crate::{Exactness, RateLimit, Remote};

/// One named mirror session, with the settings it has now.
#[derive(Clone, Debug)]
pub struct Session {
    /// Tells this session from all others there ever were. Workers go on sampling, and go on earning its rate, where they were
    /// for the one with the same number, as far as those settings are the same.
    pub number: u64,
    /// What it watches.
    pub sources: Sources,
    /// Which way frames cross the sources.
    pub directions: Directions,
    /// Copies only what this accepts of the frame as it crosses the source; without one, everything.
    pub filter: Option<Program>,
    /// Of each N frames that are left, as guests send them, one is copied.
    pub one_in: NonZeroU32,
    /// How much may be copied, over all workers.
    pub rate: Option<Rate>,
    /// How many bytes of each frame are copied.
    pub snap_len: SnapLen,
    /// Whether all copies show the same bytes.
    pub exactness: Exactness,
    /// Whether frames that policy refuses at ingress are copied as well.
    pub refused: RefusedFrames,
    /// Where the copies go.
    pub legs: Vec<Leg>,
}

/// What a session watches: a frame concerns it if one of these says so.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Everything that these ports send and receive.
    pub ports: PortSet,
    /// Everything in these VLANs.
    pub vlans: VlanSet,
    /// Everything from and to these addresses.
    pub macs: Vec<MacAddr>,
}

/// Which way a frame crosses a source, seen from the switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Directions {
    /// Into the switch: what ports, and addresses, send.
    Ingress,
    /// Out of the switch: what ports, and addresses, receive.
    Egress,
    /// Both.
    #[default]
    Both,
}

impl Directions {
    /// Whether frames on their way in are watched.
    #[must_use]
    pub const fn ingress(self) -> bool {
        matches!(self, Self::Ingress | Self::Both)
    }

    /// Whether frames on their way out are watched.
    #[must_use]
    pub const fn egress(self) -> bool {
        matches!(self, Self::Egress | Self::Both)
    }
}

/// What becomes of frames that policy refuses at ingress. What is too short to be a frame is copied by nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RefusedFrames {
    /// They are not copied.
    #[default]
    Left,
    /// They are copied too, marked where the form of the copy has room for a mark.
    Included,
}

/// How much of a session may be copied in a second, each frame as it is on a wire, and once however many legs get it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Bytes of copies, after they were cut to the snap length.
    Bytes {
        /// In a second.
        per_second: NonZeroU64,
        /// At once.
        burst: u32,
    },
    /// Copies.
    Frames {
        /// In a second.
        per_second: NonZeroU64,
        /// At once.
        burst: NonZeroU32,
    },
}

impl Rate {
    /// What holds it, with a full bucket.
    #[must_use]
    pub fn limit(self) -> RateLimit {
        match self {
            Self::Bytes { per_second, burst } => RateLimit::bytes_per_second(per_second, burst),
            Self::Frames { per_second, burst } => RateLimit::frames_per_second(per_second, burst),
        }
    }
}

/// One destination of a named session.
#[derive(Clone, Debug)]
pub struct Leg {
    /// Its number.
    pub id: LegId,
    /// The port through which the copies leave.
    pub port: PortId,
    /// What is done to them.
    pub form: LegForm,
}

/// The form of the copies of a leg.
#[derive(Clone, Debug)]
pub enum LegForm {
    /// As the port would get the frame from the switch: SPAN.
    Plain,
    /// With the tag of this VLAN in front of any other: RSPAN.
    RemoteVlan(VlanId),
    /// In an IP datagram to a collector: ERSPAN, GRE or VXLAN. The port is an uplink.
    Remote(Arc<Remote>),
}

impl Leg {
    /// Whether its port gets the frame as from the switch.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(self.form, LegForm::Plain)
    }
}

impl Session {
    /// The numbers of its legs.
    #[must_use]
    pub fn leg_set(&self) -> LegSet {
        self.legs.iter().map(|leg| leg.id).collect()
    }

    /// Whether it may copy one frame and leave out the next, or needs each for itself, although both cross its sources alike.
    #[must_use]
    pub fn judges_one_by_one(&self) -> bool {
        self.filter.is_some()
            || self.one_in > NonZeroU32::MIN
            || self.rate.is_some()
            || self.exactness == Exactness::Exact
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direction_is_watched_alone_or_with_the_other() {
        let watched = [Directions::Ingress, Directions::Egress, Directions::Both]
            .map(|directions| (directions.ingress(), directions.egress()));
        assert_eq!(watched, [(true, false), (false, true), (true, true)]);
    }
}
