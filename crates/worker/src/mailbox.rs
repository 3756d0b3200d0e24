//! What two workers send each other: frames for ports of the other, and receipts for frames that are done.
//!
//! Each direction is a single-producer ring. A frame that must be given back is sent only while a receipt for it is sure
//! to find room, so that a receipt never waits.

use std::sync::Arc;

use helio_frame::{Frame, Origin, Wakeups};
use helio_switch::Tci;
use helio_types::{PortSet, VlanId};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::legs::LegTargets;
use crate::wake::Bed;

/// Frames under way from one worker to another, at most; and frames at the other worker that wait for their receipt.
pub(crate) const SLOTS: usize = 1024;

/// Where a frame came from, as far as its delivery needs to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tagging {
    /// The VLAN it belongs to.
    pub(crate) vlan: VlanId,
    /// The tag it came with.
    pub(crate) tag: Option<Tci>,
}

/// Which ports get a frame, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Targets {
    /// Those the switch chose.
    pub(crate) production: PortSet,
    /// Mirror destinations among them: what becomes of the frame there counts for their session too.
    pub(crate) production_for_mirror: PortSet,
    /// Mirror destinations beside them.
    pub(crate) copies: PortSet,
}

impl Targets {
    pub(crate) const NONE: Self = Self {
        production: PortSet::EMPTY,
        production_for_mirror: PortSet::EMPTY,
        copies: PortSet::EMPTY,
    };

    /// Those among `ports`.
    pub(crate) fn within(&self, ports: &PortSet) -> Self {
        Self {
            production: self.production.intersection(ports),
            production_for_mirror: self.production_for_mirror.intersection(ports),
            copies: self.copies.intersection(ports),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.production.is_empty() && self.copies.is_empty()
    }
}

/// Whether the worker that took a frame waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// The frame lies in memory that must not be given back before.
    Wanted,
    /// The frame is complete in itself.
    NotNeeded,
}

/// Whether a frame is read by others than who gets it now: the worker that delivers it, or the port that it is offered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Other workers or ports get it too, or it is part of something that is read later.
    Others,
    /// Who gets it here last may keep what it lies in.
    NoOthers,
}

/// A frame for ports of another worker.
#[derive(Debug)]
pub(crate) struct Handoff {
    pub(crate) frame: Frame,
    pub(crate) tagging: Tagging,
    pub(crate) targets: Targets,
    pub(crate) legs: LegTargets,
    pub(crate) receipt: Receipt,
    pub(crate) readers: Readers,
}

/// One worker's ends of the rings to another worker.
#[derive(Debug)]
pub(crate) struct Peer {
    handoffs_out: Producer<Handoff>,
    handoffs_in: Consumer<Handoff>,
    receipts_out: Producer<Origin>,
    receipts_in: Consumer<Origin>,
    /// Frames over there that a receipt is still to come for.
    outstanding: usize,
    bed: Arc<Bed>,
    /// Something was sent since the other worker was last woken.
    sent: bool,
}

/// Joins two workers: the first end is for the worker that sleeps in `bed_a`.
pub(crate) fn join(bed_a: &Arc<Bed>, bed_b: &Arc<Bed>) -> (Peer, Peer) {
    let (frames_ab, frames_b) = RingBuffer::new(SLOTS);
    let (frames_ba, frames_a) = RingBuffer::new(SLOTS);
    let (receipts_ab, receipts_b) = RingBuffer::new(SLOTS);
    let (receipts_ba, receipts_a) = RingBuffer::new(SLOTS);
    let end = |handoffs_out, handoffs_in, receipts_out, receipts_in, bed: &Arc<Bed>| Peer {
        handoffs_out,
        handoffs_in,
        receipts_out,
        receipts_in,
        outstanding: 0,
        bed: Arc::clone(bed),
        sent: false,
    };
    (
        end(frames_ab, frames_a, receipts_ab, receipts_a, bed_b),
        end(frames_ba, frames_b, receipts_ba, receipts_b, bed_a),
    )
}

impl Peer {
    /// Sends a frame. `false` when there is no room: nothing was sent then.
    ///
    /// Half of the room is for production alone, so that mirror copies never take the place of a frame that somebody
    /// waits for.
    pub(crate) fn send(&mut self, handoff: Handoff) -> bool {
        let wanted = handoff.receipt == Receipt::Wanted;
        let reserve = if handoff.targets.production.is_empty() { SLOTS / 2 } else { 0 };
        if self.handoffs_out.slots() <= reserve || (wanted && self.outstanding + reserve >= SLOTS) {
            return false;
        }
        if self.handoffs_out.push(handoff).is_err() {
            return false;
        }
        self.outstanding += usize::from(wanted);
        self.sent = true;
        true
    }

    /// Takes a frame that the other worker sent.
    pub(crate) fn receive(&mut self) -> Option<Handoff> {
        self.handoffs_in.pop().ok()
    }

    /// Tells the other worker that a frame of it is done: by its origin, which says if something else was given for it.
    pub(crate) fn acknowledge(&mut self, origin: Origin) {
        // The other worker has at most SLOTS frames here that want a receipt, so there is room for each.
        let sent = self.receipts_out.push(origin);
        debug_assert!(sent.is_ok(), "a receipt found no room");
        self.sent = true;
    }

    /// Takes the receipt for a frame that was sent.
    pub(crate) fn settled(&mut self) -> Option<Origin> {
        let origin = self.receipts_in.pop().ok()?;
        self.outstanding = self.outstanding.saturating_sub(1);
        Some(origin)
    }

    /// Whether something waits to be taken.
    pub(crate) fn has_mail(&self) -> bool {
        !self.handoffs_in.is_empty() || !self.receipts_in.is_empty()
    }

    /// Wakes the other worker if it sleeps beside something new.
    pub(crate) fn wake(&mut self) {
        if std::mem::take(&mut self.sent) {
            self.bed.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helio_frame::{Head, MemoryId, SegmentList};
    use helio_offload::NetHeader;
    use helio_types::PortId;

    fn peers() -> (Peer, Peer) {
        let bed = || Arc::new(Bed::new().unwrap());
        join(&bed(), &bed())
    }

    fn handoff(slot: u16, receipt: Receipt) -> Handoff {
        let port = PortId::new(0).unwrap();
        let frame = Frame {
            bytes: 0,
            head: Head::EMPTY,
            net: NetHeader::PLAIN,
            memory: MemoryId::of_port(port),
            rest: SegmentList::new(),
            origin: Origin::Chain { port, queue: 0, slot },
        };
        let targets = Targets { production: PortSet::of(port), ..Targets::NONE };
        let legs = LegTargets::none(port);
        let readers = Readers::Others;
        Handoff { frame, tagging: Tagging::default(), targets, legs, receipt, readers }
    }

    fn copy(slot: u16) -> Handoff {
        Handoff { targets: Targets::NONE, ..handoff(slot, Receipt::Wanted) }
    }

    #[test]
    fn copies_leave_half_of_the_room_to_production() {
        let (mut here, _there) = peers();
        let copies = (0..1024).filter(|slot| here.send(copy(*slot))).count();
        assert_eq!(copies, 512);
        let production =
            (0..1024).filter(|slot| here.send(handoff(*slot, Receipt::Wanted))).count();
        assert_eq!(production, 512);
    }

    fn deliver_all(peer: &mut Peer) {
        while let Some(handoff) = peer.receive() {
            peer.acknowledge(handoff.frame.origin);
        }
    }

    #[test]
    fn no_more_frames_are_away_than_receipts_find_room() {
        let (mut here, mut there) = peers();
        for slot in 0..1024 {
            assert!(here.send(handoff(slot, Receipt::Wanted)));
        }
        deliver_all(&mut there);
        // The ring of frames is empty, that of receipts is full.
        assert!(!here.send(handoff(1024, Receipt::Wanted)));
        assert!(here.send(handoff(1024, Receipt::NotNeeded)));
        assert!(matches!(here.settled(), Some(Origin::Chain { slot: 0, .. })));
        assert!(here.send(handoff(1025, Receipt::Wanted)));
        assert!(!here.send(handoff(1026, Receipt::Wanted)));
        assert_eq!(std::iter::from_fn(|| here.settled()).count(), 1023);
    }

    #[test]
    fn a_frame_that_finds_no_room_is_not_waited_for() {
        let (mut here, there) = peers();
        for _ in 0..1024 {
            assert!(here.send(handoff(0, Receipt::NotNeeded)));
        }
        assert!(!here.send(handoff(0, Receipt::Wanted)));
        assert_eq!(here.outstanding, 0);
        assert!(there.has_mail() && !here.has_mail());
    }
}
