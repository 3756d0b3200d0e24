//! What the worker that owns an uplink keeps for each collector behind it: where its next hop is, and outer headers. How far the
//! copies are numbered outlives that: it comes with the destination.

use std::time::{Duration, Instant};

use helio_encap::{CopyFields, OuterHeader, Path, SnapLen, Template};
use helio_frame::{Delivery, Port, Precedence, RestBytes};
use helio_mirror::{Leg, LegForm, Remote};
use helio_offload::{NetHeader, Rest, RunningSum};
use helio_switch::PortSettings;
use helio_types::{DropReason, LegId, LegSet, MAX_LEGS, MAX_WORKERS, MacAddr, PortId, WorkerId};
use helio_underlay::{Endpoint, Neighbour, Observed, OwnFrame};

use crate::core::Core;

/// Neighbours are asked, and what is known of them grows old, in steps of so many nanoseconds.
const TICK_NS: u64 = 20_000_000;

/// Answers to those who ask for our addresses, in one such step: whoever asks more often asks in vain for a moment.
const ANSWERS_PER_TICK: u32 = 64;

/// One collector at work.
#[derive(Debug)]
pub(crate) struct Collector {
    /// Its number.
    number: u64,
    neighbour: Neighbour,
    /// Whether its next hop is asked for, and not configured.
    is_asked_for: bool,
    /// Whether its uplink had a link when it was last looked at.
    had_link: bool,
    /// The outer headers, for the next hop they were compiled for.
    template: Option<(MacAddr, Template)>,
    outer: OuterHeader,
}

/// A collector that copies are sent to now.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    collector: &'a mut Collector,
    /// What the next copy in fragments is told apart by.
    identification: &'a mut u32,
}

/// The collectors behind ports of one worker, by their legs.
#[derive(Debug)]
pub(crate) struct Collectors {
    by_leg: Vec<Option<Box<Collector>>>,
    legs: LegSet,
    /// One for all: who puts fragments together looks at their addresses and at this, and several collectors can share those,
    /// also with those of other workers. RFC 791, section 3.2; RFC 8200, section 4.5.
    identification: u32,
    next_tick_ns: u64,
    /// Answers that may be given until then.
    answers_left: u32,
    answers_until_ns: u64,
    /// What clocks of the library count from, and what the worker's clock said then.
    epoch: (Instant, u64),
}

impl Collector {
    fn new(remote: &Remote) -> Self {
        Self {
            number: remote.number,
            neighbour: Neighbour::new(remote.endpoint),
            is_asked_for: remote.next_hop.is_none(),
            had_link: true,
            template: None,
            outer: OuterHeader::new(),
        }
    }

    /// Has another way there, if its way is another one: then nothing is known of it. The counts go on. The outer headers are
    /// compiled anew in any case: more than the way may have changed.
    fn take_way(&mut self, remote: &Remote) {
        self.neighbour.replace_endpoint(remote.endpoint);
        let was_asked_for = std::mem::replace(&mut self.is_asked_for, remote.next_hop.is_none());
        if self.is_asked_for && !was_asked_for {
            // It did not answer because it was not asked: that is no reason to wait.
            self.neighbour.restart();
        }
        self.template = None;
    }

    /// What is known of its next hop.
    pub(crate) fn neighbour(&self) -> &Neighbour {
        &self.neighbour
    }
}

impl Sending<'_> {
    /// Sends a copy of `seen`, in as many datagrams as it takes. Each copy has a number, also one that cannot be sent: the
    /// collector sees by it what it lost. Adds what was sent to `sent`, also when not all of it could be.
    ///
    /// # Errors
    ///
    /// Why the collector will not have it all. Some of it may have left all the same.
    pub(crate) fn send(
        &mut self,
        remote: &Remote,
        seen: &Delivery<'_>,
        limits: Limits,
        facts: CopyFields,
        port: &mut dyn Port,
        sent: &mut Sent,
    ) -> Result<(), DropReason> {
        let Collector { neighbour, template, outer, .. } = &mut *self.collector;
        let sequence = remote.numbering.take();
        let next_hop = remote.next_hop.or_else(|| neighbour.use_mac());
        let next_hop = next_hop.ok_or(DropReason::NoNeighbour)?;
        if template.as_ref().is_none_or(|(compiled_for, _)| *compiled_for != next_hop) {
            *template = remote.template(next_hop).map(|template| (next_hop, template));
        }
        let (_, template) = template.as_ref().ok_or(DropReason::NoNeighbour)?;
        let mtu_bytes = neighbour.mtu_bytes().min(limits.link_bytes);
        let path = Path { mtu_bytes, oversize: remote.oversize };
        let plan = template.plan(seen.bytes(), limits.snap_len, path)?;
        let inner_sum = match template.wants_inner_sum() {
            true => sum(&seen.range(0, plan.inner_bytes())),
            false => 0,
        };
        let copy =
            CopyFields { sequence, identification: *self.identification, inner_sum, ..facts };
        if plan.count() > 1 {
            // Whole datagrams need none of their own: RFC 6864, section 4.1.
            *self.identification = self.identification.wrapping_add(1);
        }
        for part in plan.parts() {
            template.fill(&copy, &part, outer);
            let piece = seen.range(part.inner_start(), part.inner_bytes());
            outer.append(piece.header).ok_or(DropReason::HeaderLong)?;
            let (net, precedence) = (NetHeader::PLAIN, Precedence::Copy);
            let delivery = Delivery { net, header: outer.bytes(), precedence, ..piece };
            port.offer(&delivery)?;
            sent.add(&delivery);
        }
        Ok(())
    }
}

/// How long copies may be, whatever is known of their path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Of the frame.
    pub(crate) snap_len: SnapLen,
    /// Longest datagram that leaves by the port.
    pub(crate) link_bytes: u16,
}

/// Longest datagram that leaves by a port with these settings: its link may take less than they allow.
pub(crate) fn link_bytes(settings: &PortSettings, port: &dyn Port) -> u16 {
    u16::try_from(port.link_mtu()).unwrap_or(u16::MAX).min(settings.mtu)
}

/// Frames that copies took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

impl Sent {
    /// One more.
    pub(crate) fn add(&mut self, delivery: &Delivery<'_>) {
        self.frames += 1;
        self.bytes += u64::from(delivery.bytes());
    }
}

/// The sum of the bytes of a frame, as the checksum of UDP wants it.
fn sum(frame: &Delivery<'_>) -> u16 {
    let mut sum = RunningSum::new();
    sum.push(frame.header);
    sum.push(frame.tail);
    let of_rest = frame.rest.sum(frame.rest_skip, frame.rest_bytes);
    sum.push_summed(of_rest, frame.rest_bytes as usize);
    sum.value()
}

/// Where a worker begins: as far from all others as can be, in the 16 bits that IPv4 has and in the 32 of IPv6.
fn first_identification(worker: WorkerId) -> u32 {
    const APART: usize = (1 << 16) / MAX_WORKERS + (1 << 32) / MAX_WORKERS;
    u32::try_from(worker.index() * APART).unwrap_or(0)
}

impl Collectors {
    pub(crate) fn new(worker: WorkerId, now_ns: u64) -> Self {
        Self {
            by_leg: (0..MAX_LEGS).map(|_| None).collect(),
            legs: LegSet::EMPTY,
            identification: first_identification(worker),
            next_tick_ns: 0,
            answers_left: 0,
            answers_until_ns: 0,
            epoch: (Instant::now(), now_ns),
        }
    }

    /// The legs with a collector here.
    #[inline]
    pub(crate) fn legs(&self) -> LegSet {
        self.legs
    }

    /// The collector of `leg`, to be sent copies.
    #[inline]
    pub(crate) fn sending(&mut self, leg: LegId) -> Option<Sending<'_>> {
        let Self { by_leg, identification, .. } = self;
        let collector = by_leg.get_mut(leg.index())?.as_deref_mut()?;
        Some(Sending { collector, identification })
    }

    /// The collector of `leg`.
    #[inline]
    fn get_mut(&mut self, leg: LegId) -> Option<&mut Collector> {
        self.by_leg.get_mut(leg.index())?.as_deref_mut()
    }

    pub(crate) fn get(&self, leg: LegId) -> Option<&Collector> {
        self.by_leg.get(leg.index())?.as_deref()
    }

    /// Keeps the collectors that go on, and makes those that are new.
    fn adopt<'a>(&mut self, remotes: impl Iterator<Item = (LegId, &'a Remote)>) {
        let mut before = std::mem::take(&mut self.by_leg);
        self.by_leg = (0..MAX_LEGS).map(|_| None).collect();
        self.legs = LegSet::EMPTY;
        for (leg, remote) in remotes {
            let is_it = |kept: &Option<Box<Collector>>| {
                kept.as_ref().is_some_and(|kept| kept.number == remote.number)
            };
            let kept = before.iter().position(is_it).and_then(|place| before.swap_remove(place));
            if let Some(place) = self.by_leg.get_mut(leg.index()) {
                let mut collector = kept.unwrap_or_else(|| Box::new(Collector::new(remote)));
                collector.take_way(remote);
                *place = Some(collector);
                self.legs = self.legs.union(LegSet::of(leg));
            }
        }
        self.share_paths();
        self.next_tick_ns = 0;
    }

    /// Tells each collector how long the copies are that a router cannot tell from its own. Not part of a turn: it compares
    /// each with all.
    fn share_paths(&mut self) {
        for leg in self.legs {
            let Some(own) = self.get(leg).map(|it| *it.neighbour.endpoint()) else { continue };
            let all = self.by_leg.iter().flatten().map(|it| it.neighbour.endpoint());
            let longest = all.filter(|other| other.is_way_of(&own)).map(Endpoint::mtu_bytes).max();
            if let (Some(collector), Some(bytes)) = (self.get_mut(leg), longest) {
                collector.neighbour.share_path(bytes);
            }
        }
    }

    /// Whether one more answer may be given now.
    fn may_answer(&mut self, now_ns: u64) -> bool {
        if now_ns >= self.answers_until_ns {
            self.answers_until_ns = now_ns.saturating_add(TICK_NS);
            self.answers_left = ANSWERS_PER_TICK;
        }
        let may = self.answers_left > 0;
        self.answers_left = self.answers_left.saturating_sub(1);
        may
    }

    /// The time as the library has it.
    fn instant(&self, now_ns: u64) -> Instant {
        self.epoch.0 + Duration::from_nanos(now_ns.saturating_sub(self.epoch.1))
    }
}

impl Core {
    /// Keeps what is kept for collectors that go on, and begins it for new ones. Not part of a turn: it allocates.
    #[cold]
    pub(crate) fn adopt_collectors(&mut self) {
        let own = self.own_legs();
        let sessions = &self.snapshot.sessions;
        let remotes = own.into_iter().filter_map(|id| match &sessions.leg(id)?.1.form {
            LegForm::Remote(remote) => Some((id, &**remote)),
            LegForm::Plain | LegForm::RemoteVlan(_) => None,
        });
        self.collectors.adopt(remotes);
    }

    /// Lets time pass for the neighbours of collectors, and asks for those that are not known. Returns the number of questions.
    #[inline]
    pub(crate) fn tend_collectors(&mut self) -> u64 {
        if self.collectors.legs.is_empty() || self.now_ns < self.collectors.next_tick_ns {
            return 0;
        }
        self.ask_neighbours()
    }

    #[cold]
    fn ask_neighbours(&mut self) -> u64 {
        let mut asked = 0;
        self.collectors.next_tick_ns = self.now_ns.saturating_add(TICK_NS);
        let now = self.collectors.instant(self.now_ns);
        for leg in self.collectors.legs {
            let Some((_, Leg { port, .. })) = self.snapshot.sessions.leg(leg) else { continue };
            let port = *port;
            let local = self.place(port).and_then(|place| self.locals.get(place));
            let has_link = local.is_some_and(|local| local.port.has_link());
            let Some(collector) = self.collectors.get_mut(leg) else { continue };
            let had_link = std::mem::replace(&mut collector.had_link, has_link);
            if has_link && !had_link {
                // Who does not answer is asked less and less often; behind a wire that was plugged in again, at once.
                collector.neighbour.restart();
            }
            let asks = collector.neighbour.turn(now);
            // Where the next hop was configured, it need not even have an address to ask for.
            if let Some(frame) = asks.filter(|_| collector.is_asked_for) {
                self.send_own(port, &frame);
                asked += 1;
            }
        }
        asked
    }

    /// Sends a frame of the switch itself. One that finds no room is repeated later, as on any network.
    fn send_own(&mut self, port: PortId, frame: &OwnFrame) {
        let place = self.place(port);
        self.give(place);
        let Some(local) = place.and_then(|place| self.locals.get_mut(place)) else { return };
        let delivery = Delivery::whole(NetHeader::PLAIN, frame.bytes(), &[], RestBytes::EMPTY);
        let block = self.counters.port(port);
        match local.port.offer(&delivery) {
            Ok(()) => block.egress.add(1, u64::from(delivery.bytes())),
            Err(reason) => block.drop_egress(reason, 1),
        }
    }

    /// Shows a frame that came from `ingress` to those who have an address of ours behind that port. Whether it was for the
    /// switch itself, and for nobody else.
    pub(crate) fn observe(&mut self, ingress: PortId, head: &[u8], frame_bytes: u32) -> bool {
        let now = self.collectors.instant(self.now_ns);
        let Self { collectors, decaps, snapshot, .. } = self;
        let legs = collectors.legs;
        let behind =
            |leg: &LegId| snapshot.sessions.leg(*leg).is_some_and(|(_, leg)| leg.port == ingress);
        let mut answer = None;
        let mut is_own = false;
        let mut show = |neighbour: &mut Neighbour| {
            let endpoint = *neighbour.endpoint();
            // Also what tells nothing: a collector that complains must not be heard by all others, and copied to itself.
            is_own |= endpoint.is_addressed(head);
            if endpoint.may_concern(head) {
                let observed = neighbour.observe(head, frame_bytes, now);
                is_own |= observed != Observed::NotOurs && head.starts_with(&endpoint.own_mac().0);
                // Several can share our address: one answer is enough.
                if let Observed::Reply(frame) = observed {
                    answer = Some(frame);
                }
            }
        };
        for leg in legs.into_iter().filter(behind) {
            if let Some(collector) = collectors.get_mut(leg) {
                show(&mut collector.neighbour);
            }
        }
        for decap in decaps.iter_mut().filter(|decap| decap.point.uplink == ingress) {
            show(&mut decap.neighbour);
        }
        if let Some(frame) = answer
            && self.collectors.may_answer(self.now_ns)
        {
            self.send_own(ingress, &frame);
        }
        is_own
    }
}
