//! Mirror streams of other hosts that arrive on an uplink: the frame in each datagram is copied to the destinations of the
//! sessions that watch the decap port, as if that port had sent it.

use std::sync::{Arc, Weak};

use helio_encap::{
    Assembled, Decapsulated, Fragment, FragmentCounts, Reassembly, Refusal, RemoteSession,
    SequenceCounts, SequenceTracker, Truncation, parse, parse_assembled,
};
use helio_filter::Tail;
use helio_frame::{Frame, HEAD_BYTES, RestBytes};
use helio_mirror::DecapPoint;
use helio_switch::{Decision, DecisionKind, L2};
use helio_types::{DropReason, PortId, VlanId};
use helio_underlay::{Neighbour, RefusalCounts};

use crate::DecapShelf;
use crate::core::Core;
use crate::mailbox::{Readers, Targets};
use crate::run::{Nature, Run, Verdict};

/// Remote sessions of one decap port whose numbers are followed. More are delivered and not followed, because anybody can make
/// up more.
const MOST_SESSIONS: usize = 64;

/// A session that was silent for so long gives its place to another one when all are taken, in nanoseconds.
const SILENT_NS: u64 = 10_000_000_000;

/// Where a tag stands in a frame: behind both addresses. IEEE 802.1Q-2018, section 9.5.
const ADDRESSES_BYTES: usize = 12;

/// A remote session whose numbers are followed.
#[derive(Debug)]
struct Followed {
    session: RemoteSession,
    tracker: SequenceTracker,
    /// When its last copy came.
    heard_ns: u64,
}

/// One decap port at work.
#[derive(Debug)]
pub(crate) struct Decap {
    pub(crate) point: DecapPoint,
    /// Where it lies when its uplink goes. The port has it, and when that is no more, nobody wants to know.
    shelf: Weak<DecapShelf>,
    /// Answers for our address; it never asks.
    pub(crate) neighbour: Neighbour,
    /// Datagrams that come in pieces.
    pub(crate) fragments: Reassembly,
    refused: [u64; Refusal::COUNT],
    sessions: Vec<Followed>,
    unfollowed: u64,
}

/// What came for a decap port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// A copy.
    Copy(Decapsulated),
    /// Maybe a part of one.
    Fragment(Fragment),
}

/// What a decap port has seen.
#[derive(Clone, Debug)]
pub struct DecapReport {
    /// The port.
    pub port: PortId,
    /// Datagrams for our address that were no copies, and fragments that became none, by [`Refusal::index`].
    pub refused: [u64; Refusal::COUNT],
    /// What became of the other fragments.
    pub fragments: FragmentCounts,
    /// What neighbours there said that was not believed.
    pub neighbour_refused: RefusalCounts,
    /// The remote sessions that are followed, in the order they came.
    pub sessions: Vec<(RemoteSession, SequenceCounts)>,
    /// Copies of numbered sessions that are not followed, because 64 others were heard lately.
    pub unfollowed: u64,
}

impl Decap {
    /// Before the first datagram. Allocates all it will ever need.
    pub(crate) fn new(point: DecapPoint) -> Self {
        Self {
            point,
            shelf: Weak::new(),
            neighbour: Neighbour::new(point.endpoint),
            fragments: Reassembly::new(),
            refused: [0; Refusal::COUNT],
            sessions: Vec::with_capacity(MOST_SESSIONS),
            unfollowed: 0,
        }
    }

    /// Is at `point` from now on, which has the same number. What it counted stays.
    fn take_point(&mut self, point: &DecapPoint, shelf: &Arc<DecapShelf>) {
        self.neighbour.replace_endpoint(point.endpoint);
        self.point = *point;
        self.shelf = Arc::downgrade(shelf);
    }

    /// Leaves its worker.
    fn put_away(self) {
        if let Some(shelf) = self.shelf.upgrade() {
            shelf.put(self);
        }
    }

    pub(crate) fn report(&self) -> DecapReport {
        let followed = |it: &Followed| (it.session, it.tracker.counts());
        let sessions = self.sessions.iter().map(followed);
        let mut refused = self.refused;
        for (count, of_fragments) in refused.iter_mut().zip(self.fragments.refused()) {
            *count += of_fragments;
        }
        DecapReport {
            port: self.point.port,
            refused,
            fragments: self.fragments.counts(),
            neighbour_refused: *self.neighbour.refused(),
            sessions: sessions.collect(),
            unfollowed: self.unfollowed,
        }
    }

    /// Reads a frame that came for our address.
    fn read(&mut self, frame: &Frame, now_ns: u64) -> Option<Arrival> {
        if !frame.is_plain() {
            // A guest's offloads on an uplink: nobody sends that.
            self.refuse(Refusal::IpLength);
            return None;
        }
        match parse(frame.head.bytes(), frame.bytes, self.point.vxlan_port) {
            Err(Refusal::Fragment) => self.read_fragment(frame).map(Arrival::Fragment),
            found => self.judge(found, now_ns).map(Arrival::Copy),
        }
    }

    fn read_fragment(&mut self, frame: &Frame) -> Option<Fragment> {
        match Fragment::read(frame.head.bytes(), frame.bytes) {
            Ok(fragment) => fragment,
            Err(refusal) => {
                self.refuse(refusal);
                None
            }
        }
    }

    /// Reads a datagram that was put together. `head` is how its payload begins.
    pub(crate) fn read_assembled(
        &mut self,
        head: &[u8],
        datagram: &Assembled,
        now_ns: u64,
    ) -> Option<Decapsulated> {
        self.judge(parse_assembled(head, datagram, self.point.vxlan_port), now_ns)
    }

    /// Counts what was read, whether it is a copy or none.
    fn judge(&mut self, found: Result<Decapsulated, Refusal>, now_ns: u64) -> Option<Decapsulated> {
        match &found {
            Ok(copy) => self.follow(copy, now_ns),
            Err(refusal) => self.refuse(*refusal),
        }
        found.ok()
    }

    fn refuse(&mut self, refusal: Refusal) {
        if let Some(count) = self.refused.get_mut(refusal.index()) {
            *count += 1;
        }
    }

    fn follow(&mut self, copy: &Decapsulated, now_ns: u64) {
        let Some(sequence) = copy.stream.sequence() else { return };
        let session = copy.remote_session();
        let known = self.sessions.iter().position(|it| it.session == session);
        let Some(place) = known.or_else(|| self.begin(session, now_ns)) else {
            self.unfollowed += 1;
            return;
        };
        if let Some(followed) = self.sessions.get_mut(place) {
            followed.tracker.observe(sequence);
            followed.heard_ns = now_ns;
        }
    }

    /// Finds a place for a session that was not heard before: a free one, or that of the one which is silent longest, if that is
    /// long.
    fn begin(&mut self, session: RemoteSession, now_ns: u64) -> Option<usize> {
        let followed = Followed { session, tracker: SequenceTracker::new(), heard_ns: now_ns };
        if self.sessions.len() < MOST_SESSIONS {
            self.sessions.push(followed);
            return self.sessions.len().checked_sub(1);
        }
        let oldest = self.sessions.iter_mut().enumerate().min_by_key(|(_, it)| it.heard_ns);
        let (place, oldest) = oldest?;
        if now_ns.saturating_sub(oldest.heard_ns) < SILENT_NS {
            return None;
        }
        *oldest = followed;
        Some(place)
    }
}

impl Core {
    /// Keeps what is kept for decap ports that go on, here or after their uplink was away, and begins it for new ones. Not part
    /// of a turn: it allocates, and takes locks.
    #[cold]
    pub(crate) fn adopt_decaps(&mut self) {
        let own = self.snapshot.owned_by(self.id.index());
        let mut before = std::mem::take(&mut self.decaps);
        let served = self.snapshot.decaps.iter().filter(|(point, _)| own.contains(point.uplink));
        let adopt = |(point, shelf): &(DecapPoint, Arc<DecapShelf>)| {
            let place = before.iter().position(|decap| decap.point.number == point.number);
            let kept = place.map(|place| before.swap_remove(place)).or_else(|| shelf.take());
            let mut decap = kept.unwrap_or_else(|| Decap::new(*point));
            decap.take_point(point, shelf);
            decap
        };
        self.decaps = served.map(adopt).collect();
        for mut decap in before {
            // They lie in buffers of this worker.
            self.give_up_fragments(&mut decap);
            decap.put_away();
        }
    }

    /// Takes the copy out of a frame that came from `uplink` for the address of a decap port, and delivers it to those who
    /// watch that port. Whether the frame was for one. What neighbours and routers say is no copy: that is for
    /// [`Core::observe`], also where it comes to the same address.
    pub(crate) fn decapsulate(&mut self, uplink: PortId, frame: &Frame) -> bool {
        let head = frame.head.bytes();
        let is_for =
            |decap: &Decap| decap.point.uplink == uplink && decap.point.endpoint.is_addressed(head);
        let Some(place) = self.decaps.iter().position(is_for) else { return false };
        let Some(decap) = self.decaps.get_mut(place) else { return false };
        // No stream, but a neighbour: one that asks whether we are still there asks nobody else.
        if decap.point.endpoint.may_concern(head) {
            return false;
        }
        let port = decap.point.port;
        match decap.read(frame, self.now_ns) {
            Some(Arrival::Copy(copy)) => self.deliver_copy(port, frame, &copy),
            Some(Arrival::Fragment(fragment)) => self.join_fragment(place, frame, &fragment),
            None => {}
        }
        true
    }

    /// Delivers the copy in a datagram to those who watch the decap port `port`.
    pub(crate) fn deliver_copy(&mut self, port: PortId, outer: &Frame, copy: &Decapsulated) {
        match self.inner(outer, copy) {
            // Where the form cannot tell, it is taken to be whole.
            Some(mut inner) => {
                self.copy_only(port, &mut inner, copy.stream.truncation().unwrap_or_default());
            }
            None => self.counters.port(port).drop_ingress(DropReason::PortDown, 1),
        }
    }

    /// The frame that a datagram carries, with the tag that its sender took out, if that is told. It lies where the datagram
    /// lies, and is held by itself.
    fn inner(&mut self, outer: &Frame, copy: &Decapsulated) -> Option<Frame> {
        let table = self.memories.get(outer.memory.index()).and_then(Option::as_deref);
        if table.is_none() && !outer.rest.is_empty() {
            return None;
        }
        let rest = RestBytes::new(table, &outer.rest);
        let outer_head = outer.head.bytes();
        let head_bytes = u32::try_from(outer_head.len()).ok()?;
        let end = copy.inner_start.checked_add(copy.inner_bytes)?;
        let from_head = outer_head
            .get(copy.inner_start.min(head_bytes) as usize..end.min(head_bytes) as usize)?;
        let tag = copy.stream.removed_tag();
        let tag_bytes = tag.map_or(0, |tag| tag.len());
        let most = (HEAD_BYTES - tag_bytes).min(copy.inner_bytes as usize);
        let rest_skip = copy.inner_start.saturating_sub(head_bytes);
        let mut inner = Frame::vacant();
        let room = inner.head.room().get_mut(..most)?;
        let (first, second) = room.split_at_mut_checked(from_head.len().min(most))?;
        first.copy_from_slice(from_head.get(..first.len())?);
        let read = rest.read(rest_skip, second);
        if read != second.len() {
            return None;
        }
        if let Some(tag) = tag {
            insert_tag(inner.head.room(), tag);
        }
        inner.head.set_len(most + tag_bytes);
        inner.bytes = copy.inner_bytes + u32::try_from(tag_bytes).ok()?;
        inner.memory = outer.memory;
        // What of the datagram's head is not in this one, because that is full, has to be in the rest of both: all of it is, as
        // what stands before the copy is no shorter than the tag.
        let after = rest_skip + u32::try_from(read).ok()?;
        for piece in rest.range(after, inner.rest_bytes()) {
            inner.rest.try_push(piece).ok()?;
        }
        inner.origin = outer.origin;
        self.hold(inner.origin);
        Some(inner)
    }

    /// Copies a frame to those who watch `port`, and gives it to nobody else. `truncation` is what is left of it.
    fn copy_only(&mut self, port: PortId, frame: &mut Frame, truncation: Truncation) {
        self.counters.port(port).ingress.add(1, u64::from(frame.bytes));
        let tag = L2::parse(frame.head.bytes()).ok().and_then(|l2| l2.tag);
        let vlan = tag.and_then(|tag| VlanId::new(tag.vid())).unwrap_or(VlanId::UNTAGGED);
        let kind = DecisionKind::Nowhere(DropReason::NoDestination);
        let verdict: Verdict = Ok(Decision { vlan, tag, kind });
        let concerned = self.snapshot.sessions.concerned_by_stream(port);
        let mut run = Run::alone(frame, verdict, concerned);
        run.nature = Nature::Streamed;
        if self.snapshot.sessions.is_own_copy(frame.head.bytes()) {
            run = run.of_own_copies();
        }
        let mut targets = Targets::NONE;
        self.plan_copies(port, std::slice::from_mut(frame), &run, &mut targets);
        if !run.concerned.all().is_empty() {
            self.plan_legs(port, frame, &mut run);
            if let Some(plan) = self.leg_plan_mut(run.legs) {
                plan.truncation = truncation;
            }
        }
        // The datagram around it lies in the same place.
        run.readers = Readers::Others;
        self.forward(port, std::slice::from_mut(frame), &run, &targets);
        self.release(frame.origin);
    }
}

/// Puts a tag behind the addresses of a frame that begins with `head`; what is last in the room is lost.
fn insert_tag(head: &mut [u8; HEAD_BYTES], tag: [u8; 4]) {
    let Some((_, behind)) = head.split_at_mut_checked(ADDRESSES_BYTES) else { return };
    behind.rotate_right(tag.len());
    for (to, from) in behind.iter_mut().zip(tag) {
        *to = from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_encap::Stream;
    use helio_types::MacAddr;
    use helio_underlay::{Endpoint, IpNet};
    use std::net::{IpAddr, Ipv4Addr};

    const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn decap() -> Decap {
        let own = IpNet::new_assert(OWN, 24);
        let endpoint = Endpoint::listening(MacAddr([2, 0, 0, 0, 0, 1]), own, None).unwrap();
        let port = |index| PortId::new(index).unwrap();
        let (port, uplink) = (port(1), port(0));
        Decap::new(DecapPoint { number: 1, port, uplink, endpoint, vxlan_port: 4789 })
    }

    /// The first copy of stream number `key`.
    fn first_of(key: u32) -> Decapsulated {
        Decapsulated {
            source: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)),
            destination: OWN,
            outer_tci: None,
            stream: Stream::Gre { key: Some(key), sequence: Some(0) },
            inner_start: 50,
            inner_bytes: 60,
        }
    }

    #[test]
    fn sessions_that_are_heard_keep_their_places_and_one_that_is_silent_for_long_loses_it() {
        let mut decap = decap();
        for key in 0..64 {
            decap.follow(&first_of(key), u64::from(key));
        }
        decap.follow(&first_of(64), SILENT_NS - 1);
        assert_eq!((decap.sessions.len(), decap.unfollowed), (64, 1));
        // The first one is heard again, so the second is the one that is silent longest.
        decap.follow(&first_of(0), SILENT_NS);
        decap.follow(&first_of(64), SILENT_NS + 1);
        let followed: Vec<_> =
            decap.report().sessions.iter().map(|(session, _)| session.session).collect();
        assert!(followed.contains(&Some(64)) && followed.contains(&Some(0)));
        assert!(!followed.contains(&Some(1)));
        assert_eq!((followed.len(), decap.unfollowed), (64, 1));
    }
}
