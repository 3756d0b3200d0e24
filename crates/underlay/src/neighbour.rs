//! One endpoint at work: what is known of its next hop and of its path. Owned by the worker that owns the uplink.

use std::time::Instant;

use helio_types::MacAddr;

use crate::claim::{Claim, Message};
use crate::endpoint::Way;
use crate::ethernet::{ARP, Body, Ethernet};
use crate::resolution::{Heard, Resolution};
use crate::{
    Endpoint, NeighbourState, Observed, OwnFrame, PathMtu, PathMtuError, Refusal, RefusalCounts,
    arp, icmp,
};

/// The neighbour that copies of one endpoint are handed to.
#[derive(Clone, Debug)]
pub struct Neighbour {
    resolution: Resolution,
    path_mtu: PathMtu,
    endpoint: Endpoint,
    /// Longest copy that goes the same way, ours or another's.
    longest_bytes: u16,
    refused: RefusalCounts,
}

impl Neighbour {
    /// Of which nothing is known. The first turn asks.
    #[must_use]
    pub const fn new(endpoint: Endpoint) -> Self {
        let path_mtu = match endpoint.way {
            Way::V4(_) => PathMtu::v4(endpoint.mtu_bytes()),
            Way::V6(_) => PathMtu::v6(endpoint.mtu_bytes()),
        };
        let (resolution, longest_bytes) = (Resolution::new(), endpoint.mtu_bytes());
        Self { resolution, path_mtu, endpoint, longest_bytes, refused: RefusalCounts::NONE }
    }

    /// Has other settings from now on, and forgets what it knew if they are others indeed: of the path, and of the next hop if that
    /// is asked from elsewhere or is another one. Returns whether they are. What was counted stays.
    pub fn replace_endpoint(&mut self, endpoint: Endpoint) -> bool {
        let is_other = self.endpoint != endpoint;
        if is_other {
            let anew = Self { refused: self.refused, ..Self::new(endpoint) };
            let is_same_hop = endpoint.has_hop_of(&self.endpoint);
            let resolution = if is_same_hop { self.resolution } else { anew.resolution };
            *self = Self { resolution, ..anew };
        }
        is_other
    }

    /// Says that the longest copies that go this way, those of others as well, have `bytes`. What a router says of one of those
    /// is true of the way, and no lie.
    pub const fn share_path(&mut self, bytes: u16) {
        self.longest_bytes = bytes;
    }

    /// Its settings.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where it is, for those who look. `None` while it is not known.
    #[inline]
    #[must_use]
    pub fn mac(&self) -> Option<MacAddr> {
        self.resolution.mac()
    }

    /// Where a copy goes that is sent now. `None` when it must be refused. A neighbour that is used is asked again, every
    /// 30 s, whether it is still there; one that is not is left in peace.
    #[inline]
    pub fn use_mac(&mut self) -> Option<MacAddr> {
        self.resolution.use_mac()
    }

    /// Longest datagram of the path, IP header included: configured, or less since a router said so.
    #[inline]
    #[must_use]
    pub const fn mtu_bytes(&self) -> u16 {
        self.path_mtu.bytes()
    }

    /// What is known of it.
    #[must_use]
    pub const fn state(&self) -> NeighbourState {
        self.resolution.state()
    }

    /// Frames that should have concerned it and were not believed.
    #[must_use]
    pub const fn refused(&self) -> &RefusalCounts {
        &self.refused
    }

    /// Says that the uplink carries frames again: what is known is asked anew, what is not at once.
    pub fn restart(&mut self) {
        self.resolution.restart();
    }

    /// Lets time pass. Returns the frame to be sent on the uplink now, if any; if that fails, a later turn repeats it.
    /// To be called several times a second; more is not needed, and does no harm.
    pub fn turn(&mut self, now: Instant) -> Option<OwnFrame> {
        self.path_mtu.age(now);
        let ask = self.resolution.turn(now)?;
        Some(self.endpoint.solicitation(ask))
    }

    /// Looks at a frame of `frame_bytes` that came from the uplink and begins with `head`. It changes nothing about
    /// whether the frame is forwarded.
    pub fn observe(&mut self, head: &[u8], frame_bytes: u32, now: Instant) -> Observed {
        let heeded = match self.read(head, frame_bytes) {
            Ok(None) => Ok(Observed::NotOurs),
            Ok(Some(message)) => self.heed(message, now),
            Err(refusal) => Err(refusal),
        };
        heeded.unwrap_or_else(|refusal| {
            self.refused.add(refusal);
            Observed::Refused(refusal)
        })
    }

    fn read(&self, head: &[u8], frame_bytes: u32) -> Result<Option<Message>, Refusal> {
        let endpoint = &self.endpoint;
        let ethernet = Ethernet::read(head, endpoint.tag);
        let ours = ethernet.filter(|ethernet| endpoint.is_for_us(ethernet, head));
        let Some(ethernet) = ours else { return Ok(None) };
        let body = Body::new(head, frame_bytes, ethernet.bytes);
        match &endpoint.way {
            Way::V4(hops) if ethernet.kind == ARP => arp::read(endpoint, hops, &ethernet, &body),
            Way::V4(hops) => icmp::read_v4(endpoint, hops, &ethernet, &body),
            Way::V6(hops) => icmp::read_v6(endpoint, hops, &ethernet, &body),
        }
    }

    fn heed(&mut self, message: Message, now: Instant) -> Result<Observed, Refusal> {
        match message {
            Message::Told(claim) => self.hear(&claim, now),
            Message::TooBig { mtu_bytes, copy_bytes } => self.shorten(mtu_bytes, copy_bytes, now),
            Message::Asked { asker, claim } => {
                // It is answered whatever its word is worth: it has asked, and where it is was checked.
                let heard = claim.map(|claim| self.hear(&claim, now));
                let told = heard.unwrap_or(Ok(Observed::Unchanged));
                self.endpoint.answer(asker).map_or(told, |frame| Ok(Observed::Reply(frame)))
            }
        }
    }

    /// Heeds a router whose next link takes `mtu_bytes`, and not a copy of `copy_bytes`.
    fn shorten(
        &mut self,
        mtu_bytes: u32,
        copy_bytes: u32,
        now: Instant,
    ) -> Result<Observed, Refusal> {
        if mtu_bytes >= copy_bytes || copy_bytes > u32::from(self.longest_bytes) {
            return Err(Refusal::NotQuoted);
        }
        if mtu_bytes > u32::from(self.endpoint.mtu_bytes()) {
            // It was another's: ours pass.
            return Ok(Observed::Unchanged);
        }
        let learned = self.path_mtu.learn(mtu_bytes, now);
        let is_news = learned.map_err(|error| match error {
            PathMtuError::Bounds { .. } => Refusal::MtuBounds,
            PathMtuError::TooSoon => Refusal::MtuTooSoon,
        })?;
        let counts = Observed::PathMtu(self.path_mtu.bytes());
        Ok(if is_news { counts } else { Observed::Unchanged })
    }

    fn hear(&mut self, claim: &Claim, now: Instant) -> Result<Observed, Refusal> {
        Ok(match self.resolution.hear(claim, now)? {
            Heard::Unchanged => Observed::Unchanged,
            Heard::Learned => Observed::Learned,
        })
    }
}
