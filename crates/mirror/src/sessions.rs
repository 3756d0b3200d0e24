//! All named sessions, compiled so that a worker finds those that a frame concerns by a few masks.

use std::sync::Arc;

use helio_types::{LegId, LegSet, MAX_LEGS, MAX_PORTS, MacAddr, PortId, PortSet, VlanId, VlanSet};

use crate::own_copies::OwnCopies;
use crate::session::RefusedFrames;
use crate::{Leg, LegForm, RateLimit, Session};

/// A set of named sessions, by their place in [`Sessions`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionSet(u64);

impl SessionSet {
    /// No session.
    pub const EMPTY: Self = Self(0);

    /// Whether there is no member.
    #[inline]
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the session at `place` is a member.
    #[must_use]
    pub const fn contains(self, place: usize) -> bool {
        place < 64 && self.0 >> place & 1 == 1
    }

    /// Members of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    const fn of(place: usize) -> Self {
        if place < 64 { Self(1 << place) } else { Self::EMPTY }
    }

    fn insert(&mut self, place: usize) {
        *self = self.union(Self::of(place));
    }

    /// The places of the members, lowest first.
    pub fn places(self) -> impl Iterator<Item = usize> {
        let mut bits = self.0;
        std::iter::from_fn(move || {
            let place = bits.trailing_zeros() as usize;
            bits &= bits.wrapping_sub(1);
            (place < 64).then_some(place)
        })
    }
}

/// The sessions that a frame concerns, by the way it crosses their sources. A frame that crosses both ways is in both sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Concerned {
    /// On its way in.
    pub ingress: SessionSet,
    /// On its way out.
    pub egress: SessionSet,
}

impl Concerned {
    /// No session.
    pub const NONE: Self = Self { ingress: SessionSet::EMPTY, egress: SessionSet::EMPTY };

    /// All of them.
    #[inline]
    #[must_use]
    pub const fn all(self) -> SessionSet {
        self.ingress.union(self.egress)
    }
}

/// What of a frame decides which sessions it concerns.
#[derive(Clone, Copy, Debug)]
pub struct Crossing<'a> {
    /// The port that sent it.
    pub ingress: PortId,
    /// The ports that the switch forwards it to.
    pub production: &'a PortSet,
    /// The VLAN it was classified into.
    pub vlan: VlanId,
    /// Its source address.
    pub source: MacAddr,
    /// Its destination address.
    pub destination: MacAddr,
}

/// The named sessions of a switch. Made by the control thread; never changes.
#[derive(Debug)]
pub struct Sessions {
    sessions: Vec<Session>,
    /// What holds the rate of each; one for all workers.
    limits: Vec<Option<Arc<RateLimit>>>,
    /// For each port the sessions that watch what it sends, and what it receives.
    sent: Box<[SessionSet]>,
    received: Box<[SessionSet]>,
    /// Ports of which some session watches what they receive.
    receivers: PortSet,
    by_vlan: SessionSet,
    by_mac: SessionSet,
    /// VLANs that copies are sent on.
    remote_vlans: VlanSet,
    /// How copies for collectors look.
    own_copies: OwnCopies,
    on_ingress: SessionSet,
    on_egress: SessionSet,
    with_refused: SessionSet,
    /// Those that do not treat frames alike that cross their sources alike.
    one_by_one: SessionSet,
    /// Where each leg stands: the session, and the place among its legs.
    legs: Box<[Option<(usize, usize)>]>,
    /// For each port the legs that give it plain copies.
    plain: Box<[LegSet]>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Sessions {
    /// Compiles the sessions. More than there can be legs are left out, as each has one at least.
    #[must_use]
    pub fn new(mut sessions: Vec<Session>) -> Self {
        sessions.truncate(MAX_LEGS);
        let mut all = Self {
            sent: vec![SessionSet::EMPTY; MAX_PORTS].into_boxed_slice(),
            received: vec![SessionSet::EMPTY; MAX_PORTS].into_boxed_slice(),
            receivers: PortSet::EMPTY,
            by_vlan: SessionSet::EMPTY,
            by_mac: SessionSet::EMPTY,
            remote_vlans: VlanSet::EMPTY,
            own_copies: OwnCopies::default(),
            on_ingress: SessionSet::EMPTY,
            on_egress: SessionSet::EMPTY,
            with_refused: SessionSet::EMPTY,
            one_by_one: SessionSet::EMPTY,
            legs: vec![None; MAX_LEGS].into_boxed_slice(),
            plain: vec![LegSet::EMPTY; MAX_PORTS].into_boxed_slice(),
            sessions: Vec::new(),
            limits: Vec::new(),
        };
        for (place, session) in sessions.iter_mut().enumerate() {
            session.sources.macs.sort_unstable();
            all.compile_sources(place, session);
            all.compile_legs(place, session);
        }
        let limit = |session: &Session| session.rate.map(|rate| Arc::new(rate.limit()));
        let limits = sessions.iter().map(limit).collect();
        Self { sessions, limits, ..all }
    }

    fn compile_sources(&mut self, place: usize, session: &Session) {
        let ports = &session.sources.ports;
        if session.directions.ingress() {
            self.on_ingress.insert(place);
            watch(&mut self.sent, ports, place);
        }
        if session.directions.egress() {
            self.on_egress.insert(place);
            watch(&mut self.received, ports, place);
            self.receivers = self.receivers.union(ports);
        }
        if session.sources.vlans.iter().next().is_some() {
            self.by_vlan.insert(place);
        }
        if !session.sources.macs.is_empty() {
            self.by_mac.insert(place);
        }
        if session.refused == RefusedFrames::Included {
            self.with_refused.insert(place);
        }
        if session.judges_one_by_one() {
            self.one_by_one.insert(place);
        }
    }

    fn compile_legs(&mut self, place: usize, session: &Session) {
        for (at, leg) in session.legs.iter().enumerate() {
            if let Some(entry) = self.legs.get_mut(leg.id.index()) {
                *entry = Some((place, at));
            }
            if leg.is_plain()
                && let Some(legs) = self.plain.get_mut(leg.port.index())
            {
                *legs = legs.union(LegSet::of(leg.id));
            }
            match &leg.form {
                LegForm::Plain => {}
                LegForm::RemoteVlan(vlan) => self.remote_vlans.insert(*vlan),
                LegForm::Remote(remote) => self.own_copies.add(&remote.endpoint),
            }
        }
    }

    /// Whether there is none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// All sessions, each at its place.
    #[must_use]
    pub fn all(&self) -> &[Session] {
        &self.sessions
    }

    /// Whether it depends on the addresses of a frame which sessions it concerns.
    #[inline]
    #[must_use]
    pub fn tell_addresses_apart(&self) -> bool {
        !self.by_mac.is_empty()
    }

    /// The sessions that a frame concerns which the switch took.
    #[must_use]
    pub fn concerned(&self, crossing: &Crossing<'_>) -> Concerned {
        if self.is_empty() || self.is_remote_vlan(crossing.vlan) {
            return Concerned::NONE;
        }
        let mut concerned =
            Concerned { ingress: self.sent_by(crossing.ingress), egress: SessionSet::EMPTY };
        for port in &crossing.production.intersection(&self.receivers) {
            let received = self.received.get(port.index()).copied().unwrap_or_default();
            concerned.egress = concerned.egress.union(received);
        }
        let leaves = !crossing.production.is_empty();
        for place in self.by_vlan.places() {
            if self.session(place).is_some_and(|s| s.sources.vlans.contains(crossing.vlan)) {
                concerned.ingress = concerned.ingress.union(self.watching_ingress(place));
                if leaves {
                    concerned.egress = concerned.egress.union(self.watching_egress(place));
                }
            }
        }
        for place in self.by_mac.places() {
            if self.has_mac(place, crossing.source) {
                concerned.ingress = concerned.ingress.union(self.watching_ingress(place));
            }
            if leaves && self.has_mac(place, crossing.destination) {
                concerned.egress = concerned.egress.union(self.watching_egress(place));
            }
        }
        concerned
    }

    /// Whether some session sends its copies on `vlan`: then a frame there is a copy, of another switch or ours that came back,
    /// and is not copied again. Not by any other session either: two that watch one port would copy each other's for ever.
    #[inline]
    #[must_use]
    pub fn is_remote_vlan(&self, vlan: VlanId) -> bool {
        self.remote_vlans.contains(vlan)
    }

    /// Whether some session copies to a collector.
    #[inline]
    #[must_use]
    pub const fn have_collectors(&self) -> bool {
        !self.own_copies.is_empty()
    }

    /// Whether a frame from `source` can be a copy for a collector that came back.
    #[inline]
    #[must_use]
    pub fn may_be_own_copy(&self, source: MacAddr) -> bool {
        self.own_copies.are_from(source)
    }

    /// Whether a frame that begins with `head` is a copy for a collector, whoever's of these sessions, that came back. No session
    /// copies it again: each round would put one more header in front, and none would be the last.
    #[must_use]
    pub fn is_own_copy(&self, head: &[u8]) -> bool {
        self.own_copies.contain(head)
    }

    /// The sessions that a frame concerns which policy refused, for whatever reason, when `ingress` sent it. `came_on` is the
    /// VLAN that its tag names, whether the port is a member of that or not; without a tag, that which the port has for such.
    #[must_use]
    pub fn concerned_by_refused(
        &self,
        ingress: PortId,
        source: MacAddr,
        came_on: VlanId,
    ) -> Concerned {
        if self.is_remote_vlan(came_on) {
            return Concerned::NONE;
        }
        let mut sessions = self.sent_by(ingress);
        for place in self.by_mac.places().filter(|place| self.has_mac(*place, source)) {
            sessions = sessions.union(self.watching_ingress(place));
        }
        let ingress = sessions.intersection(self.with_refused);
        Concerned { ingress, egress: SessionSet::EMPTY }
    }

    /// The sessions that watch a port whose frames are not this switch's: neither its VLANs nor its addresses are meant.
    #[must_use]
    pub fn concerned_by_stream(&self, port: PortId) -> Concerned {
        Concerned { ingress: self.sent_by(port), egress: SessionSet::EMPTY }
    }

    /// Whether frames that policy refuses are copied by some session.
    #[inline]
    #[must_use]
    pub fn want_refused(&self) -> bool {
        !self.with_refused.is_empty()
    }

    /// Whether some of these sessions decide about each frame by itself.
    #[inline]
    #[must_use]
    pub fn judge_one_by_one(&self, concerned: Concerned) -> bool {
        !concerned.all().intersection(self.one_by_one).is_empty()
    }

    /// The session at `place`, if it watches frames on their way in.
    fn watching_ingress(&self, place: usize) -> SessionSet {
        SessionSet::of(place).intersection(self.on_ingress)
    }

    /// The session at `place`, if it watches frames on their way out.
    fn watching_egress(&self, place: usize) -> SessionSet {
        SessionSet::of(place).intersection(self.on_egress)
    }

    fn has_mac(&self, place: usize, mac: MacAddr) -> bool {
        self.session(place).is_some_and(|s| s.sources.macs.binary_search(&mac).is_ok())
    }

    fn sent_by(&self, port: PortId) -> SessionSet {
        self.sent.get(port.index()).copied().unwrap_or_default()
    }

    /// The session at `place`.
    #[must_use]
    pub fn session(&self, place: usize) -> Option<&Session> {
        self.sessions.get(place)
    }

    /// What holds the rate of the session at `place`. The bucket is full: whoever went on from one with the same number and
    /// the same rate goes on with the limit of that.
    #[must_use]
    pub fn limit(&self, place: usize) -> Option<&Arc<RateLimit>> {
        self.limits.get(place)?.as_ref()
    }

    /// A leg with its session.
    #[must_use]
    pub fn leg(&self, leg: LegId) -> Option<(&Session, &Leg)> {
        let (place, at) = self.legs.get(leg.index()).copied().flatten()?;
        let session = self.session(place)?;
        Some((session, session.legs.get(at)?))
    }

    /// The legs whose copies leave through `ports`.
    #[must_use]
    pub fn legs_through(&self, ports: &PortSet) -> LegSet {
        let legs = self.sessions.iter().flat_map(|session| &session.legs);
        legs.filter(|leg| ports.contains(leg.port)).map(|leg| leg.id).collect()
    }

    /// The legs that give `port` plain copies: of one frame it gets one, whatever their number.
    #[inline]
    #[must_use]
    pub fn plain_legs(&self, port: PortId) -> LegSet {
        self.plain.get(port.index()).copied().unwrap_or_default()
    }

    /// The ports that get plain copies by some of `legs`.
    #[must_use]
    pub fn plain_ports(&self, legs: LegSet) -> PortSet {
        let found = legs.into_iter().filter_map(|id| self.leg(id));
        found.filter(|(_, leg)| leg.is_plain()).map(|(_, leg)| leg.port).collect()
    }

    /// The port through which a frame leaves that a session watches on its way out: the first of its sources, or of all where
    /// it is watched for its VLAN or its address.
    #[must_use]
    pub fn left_through(session: &Session, production: &PortSet) -> Option<PortId> {
        let watched = production.intersection(&session.sources.ports);
        watched.iter().next().or_else(|| production.iter().next())
    }
}

/// Adds the session at `place` to those of `ports`.
fn watch(by_port: &mut [SessionSet], ports: &PortSet, place: usize) {
    for port in ports {
        if let Some(sessions) = by_port.get_mut(port.index()) {
            sessions.insert(place);
        }
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
