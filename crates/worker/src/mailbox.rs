//! What two workers send each other: frames for ports of the other, and receipts for frames that are done.
//!
//! Each direction has single-producer rings. A frame is copied into one of them, as much of it as is used, and is delivered from
//! where it lies there; beside it a handoff tells of all frames of a run. A frame that must be given back is sent only while a
//! receipt for it is sure to find room, so that a receipt never waits.

use std::sync::Arc;

use helio_frame::{BURST_BYTES, BURST_FRAMES, Frame, Origin, Wakeups};
use helio_switch::Tci;
use helio_types::{PortSet, VlanId};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::legs::LegTargets;
use crate::run::Run;
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

/// Whether a frame is read by others than who gets it now: the worker that delivers it, or the port that it is offered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Other workers or ports get it too, or it is part of something that is read later.
    Others,
    /// Who gets it here last may keep what it lies in.
    NoOthers,
}

/// Frames for ports of another worker that go the same way there: their run, as far as it goes there. They lie in a ring beside
/// this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handoff {
    pub(crate) run: Run,
    pub(crate) targets: Targets,
    pub(crate) legs: LegTargets,
}

/// Whether the worker that took a frame waits for it: it lies in memory that must not be given back before. Any other one is
/// complete in itself.
#[inline]
pub(crate) fn wants_receipt(frame: &Frame) -> bool {
    !frame.rest.is_empty()
}

/// One worker's ends of the rings to another worker.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Sent before the handoff that tells of them.
    frames_out: Producer<Frame>,
    handoffs_out: Producer<Handoff>,
    frames_in: Consumer<Frame>,
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
    let (out_a, in_b) = ways();
    let (out_b, in_a) = ways();
    (Peer::new(out_a, in_a, bed_b), Peer::new(out_b, in_b, bed_a))
}

/// The ends of the rings of one direction, of frames, handoffs, and receipts for what goes in that direction.
type Outwards = (Producer<Frame>, Producer<Handoff>, Consumer<Origin>);
type Inwards = (Consumer<Frame>, Consumer<Handoff>, Producer<Origin>);

fn ways() -> (Outwards, Inwards) {
    let (frames_out, frames_in) = RingBuffer::new(SLOTS);
    // Each handoff tells of one frame at least, and is taken before its frames are: there is always room for it.
    let (handoffs_out, handoffs_in) = RingBuffer::new(SLOTS);
    let (receipts_out, receipts_in) = RingBuffer::new(SLOTS);
    ((frames_out, handoffs_out, receipts_in), (frames_in, handoffs_in, receipts_out))
}

impl Peer {
    fn new(outwards: Outwards, inwards: Inwards, bed: &Arc<Bed>) -> Self {
        let (frames_out, handoffs_out, receipts_in) = outwards;
        let (frames_in, handoffs_in, receipts_out) = inwards;
        let (bed, outstanding, sent) = (Arc::clone(bed), 0, false);
        Self {
            frames_out,
            handoffs_out,
            frames_in,
            handoffs_in,
            receipts_out,
            receipts_in,
            outstanding,
            bed,
            sent,
        }
    }

    /// Sends the first of some frames, which all go as `handoff` says: copies of those that can be delivered together there.
    /// Returns their number; 0 when there is no room for the first one.
    ///
    /// Half of the room is for production alone, so that mirror copies never take the place of a frame that somebody
    /// waits for.
    pub(crate) fn send(&mut self, frames: &[Frame], handoff: &Handoff) -> usize {
        let reserve = if handoff.targets.production.is_empty() { SLOTS / 2 } else { 0 };
        let room = self.room_for(frames, reserve);
        let fit = self.fit(frames.get(..room).unwrap_or_default(), reserve);
        if fit == 0 {
            return 0;
        }
        // There is: what follows must not end between the two rings, or all later handoffs would go with other frames.
        debug_assert!(!self.handoffs_out.is_full(), "a handoff finds no room");
        if self.handoffs_out.is_full() {
            return 0;
        }
        let Ok(mut chunk) = self.frames_out.write_chunk(fit) else { return 0 };
        // Where the ring ends a run ends.
        let (places, _) = chunk.as_mut_slices();
        let count = places.len();
        let sent = frames.get(..count).unwrap_or_default();
        let Some(run) = handoff.run.of_part(sent) else { return 0 };
        for (place, frame) in places.iter_mut().zip(sent) {
            place.clone_from(frame);
        }
        chunk.commit(count);
        let told = self.handoffs_out.push(Handoff { run, ..*handoff });
        debug_assert!(told.is_ok(), "a handoff found no room");
        self.outstanding += sent.iter().filter(|frame| wants_receipt(frame)).count();
        self.sent = true;
        count
    }

    /// How many of the first frames find room in the ring, and leave the reserve alone.
    fn room_for(&self, frames: &[Frame], reserve: usize) -> usize {
        let wanted = frames.len() + reserve;
        // The line with the other end's index is another core's: it is read only when what was seen of it is not enough.
        let known = self.frames_out.cached_slots();
        let slots = if known < wanted { self.frames_out.slots() } else { known };
        slots.saturating_sub(reserve).min(frames.len())
    }

    /// How many of the first frames are sure to find room for their receipts.
    fn fit(&self, frames: &[Frame], reserve: usize) -> usize {
        let mut receipts = SLOTS.saturating_sub(self.outstanding + reserve);
        if receipts >= frames.len() {
            return frames.len();
        }
        let finds_room = |frame: &Frame| match (wants_receipt(frame), receipts.checked_sub(1)) {
            (false, _) => true,
            (true, None) => false,
            (true, Some(left)) => {
                receipts = left;
                true
            }
        };
        frames.iter().map(finds_room).take_while(|finds| *finds).count()
    }

    /// Whether the other worker sent receipts.
    #[inline]
    pub(crate) fn has_receipts(&self) -> bool {
        !self.receipts_in.is_empty()
    }

    /// Whether the other worker sent frames.
    #[inline]
    pub(crate) fn has_handoffs(&self) -> bool {
        !self.handoffs_in.is_empty()
    }

    /// Takes the next handoffs, in order, together no more than a burst. Returns the number of their frames, which are to be
    /// delivered before this is asked again.
    pub(crate) fn receive(&mut self, mut take: impl FnMut(&Handoff)) -> usize {
        let waiting = self.handoffs_in.slots().min(BURST_FRAMES);
        // They lie there: they were sent before.
        let room = self.in_one_piece();
        let Ok(chunk) = self.handoffs_in.read_chunk(waiting) else { return 0 };
        let (first, second) = chunk.as_slices();
        let (mut handoffs, mut frames, mut weight) = (0, 0, 0);
        for handoff in first.iter().chain(second) {
            let together = frames + handoff.run.frames;
            if together > room || weight >= u64::from(BURST_BYTES) {
                break;
            }
            take(handoff);
            (handoffs, frames) = (handoffs + 1, together);
            weight += handoff.run.traits.weight();
        }
        chunk.commit(handoffs);
        frames
    }

    /// Frames that wait before the ring ends, no more than a burst. A run never goes on at the other end.
    fn in_one_piece(&mut self) -> usize {
        let waiting = self.frames_in.slots().min(BURST_FRAMES);
        self.frames_in.read_chunk(waiting).map_or(0, |chunk| chunk.as_slices().0.len())
    }

    /// Delivers the next `count` frames, and tells the other worker of those that are done then: by their origin, which says if
    /// something else was given for it.
    pub(crate) fn deliver(&mut self, count: usize, deliver: impl FnOnce(&mut [Frame])) {
        let Ok(mut chunk) = self.frames_in.read_chunk(count) else { return };
        let (frames, others) = chunk.as_mut_slices();
        debug_assert!(others.is_empty(), "a run went on at the other end of the ring");
        deliver(frames);
        let done = || frames.iter().filter(|frame| wants_receipt(frame));
        let receipts = done().count();
        if receipts > 0 {
            // The other worker has at most SLOTS frames here that want a receipt, so there is room for each.
            let room = self.receipts_out.write_chunk_uninit(receipts);
            debug_assert!(room.is_ok(), "a receipt found no room");
            let _ = room.map(|room| room.fill_from_iter(done().map(|frame| frame.origin)));
            self.sent = true;
        }
        chunk.commit_all();
    }

    /// Takes all receipts that are there, in order. Returns their number.
    pub(crate) fn settle(&mut self, mut take: impl FnMut(Origin)) -> usize {
        let waiting = self.receipts_in.slots();
        let Ok(chunk) = self.receipts_in.read_chunk(waiting) else { return 0 };
        let (first, second) = chunk.as_slices();
        first.iter().chain(second).for_each(|origin| take(*origin));
        chunk.commit_all();
        self.outstanding = self.outstanding.saturating_sub(waiting);
        waiting
    }

    /// Whether something waits to be taken.
    pub(crate) fn has_mail(&self) -> bool {
        self.has_handoffs() || self.has_receipts()
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
    use crate::run::{Company, Traits};
    use helio_mem::Segment;
    use helio_mirror::Concerned;
    use helio_types::{DropReason, PortId};
    use std::ops::Range;

    fn peers() -> (Peer, Peer) {
        let bed = || Arc::new(Bed::new().unwrap());
        join(&bed(), &bed())
    }

    /// Frames with these slots as their origins; a rest makes a receipt wanted.
    fn frames(slots: Range<u16>, rest: &[Segment]) -> Vec<Frame> {
        let port = PortId::new(0).unwrap();
        let frame = |slot| Frame {
            bytes: 60 + u32::from(slot),
            origin: Origin::Chain { port, queue: 0, slot },
            rest: rest.iter().copied().collect(),
            ..Frame::vacant()
        };
        slots.map(frame).collect()
    }

    const REST: [Segment; 1] = [Segment { offset: 0, bytes: 500, region: 0 }];

    fn held(slots: Range<u16>) -> Vec<Frame> {
        frames(slots, &REST)
    }

    fn whole(slots: Range<u16>) -> Vec<Frame> {
        frames(slots, &[])
    }

    fn handoff(frames: &[Frame], production: PortSet) -> Handoff {
        let traits = Traits::of_all(frames).unwrap();
        let verdict = Err(DropReason::Runt);
        let run = Run::begin(frames.len(), traits, verdict, Company::Welcome, Concerned::NONE);
        let targets = Targets { production, ..Targets::NONE };
        Handoff { run, targets, legs: LegTargets::none(PortId::new(0).unwrap()) }
    }

    /// Sends all that finds room, as workers do. Returns the number of frames.
    fn send_for(peer: &mut Peer, production: PortSet, frames: &[Frame]) -> usize {
        let handoff = handoff(frames, production);
        let (mut left, mut sent) = (frames, 0);
        while !left.is_empty() {
            let count = peer.send(left, &handoff);
            (left, sent) = (&left[count.max(1)..], sent + count);
        }
        sent
    }

    fn send(peer: &mut Peer, frames: &[Frame]) -> usize {
        send_for(peer, PortSet::of(PortId::new(0).unwrap()), frames)
    }

    /// Takes the next handoffs and their frames: how many each says that it has, and the lengths of all.
    fn take(peer: &mut Peer) -> (Vec<usize>, Vec<u32>) {
        let (mut counts, mut lengths) = (Vec::new(), Vec::new());
        let mut said = Vec::new();
        let count = peer.receive(|handoff| {
            counts.push(handoff.run.frames);
            said.push(handoff.run.traits);
        });
        peer.deliver(count, |frames| {
            lengths.extend(frames.iter().map(|frame| frame.bytes));
            let mut left = &*frames;
            for (count, traits) in counts.iter().zip(said) {
                assert_eq!(Traits::of_all(&left[..*count]), Some(traits));
                left = &left[*count..];
            }
        });
        (counts, lengths)
    }

    fn take_all(peer: &mut Peer) -> Vec<u32> {
        let taken = std::iter::from_fn(|| Some(take(peer).1).filter(|taken| !taken.is_empty()));
        taken.flatten().collect()
    }

    /// The slots that receipts tell of.
    fn settled(peer: &mut Peer) -> Vec<u16> {
        let mut slots = Vec::new();
        peer.settle(|origin| match origin {
            Origin::Chain { slot, .. } => slots.push(slot),
            _ => panic!("another origin"),
        });
        slots
    }

    fn lengths(slots: Range<u16>) -> Vec<u32> {
        slots.map(|slot| 60 + u32::from(slot)).collect()
    }

    #[test]
    fn copies_leave_half_of_the_room_to_production() {
        for frames in [held, whole] {
            let (mut here, _there) = peers();
            assert_eq!(send_for(&mut here, PortSet::EMPTY, &frames(0..40)), 40);
            let copies = (0..30).map(|_| send_for(&mut here, PortSet::EMPTY, &frames(0..40)));
            assert_eq!(copies.sum::<usize>(), 512 - 40);
            let production = (0..30).map(|_| send(&mut here, &frames(0..40)));
            assert_eq!(production.sum::<usize>(), 512);
        }
    }

    #[test]
    fn no_more_frames_are_away_than_receipts_find_room() {
        let (mut here, mut there) = peers();
        for first in (0..1024).step_by(64) {
            assert_eq!(send(&mut here, &held(first..first + 64)), 64);
        }
        assert_eq!(take_all(&mut there), lengths(0..1024));
        // The ring of frames is empty, that of receipts is full.
        let [one, other] = [held(1024..1025), whole(1025..1026)];
        let mixed = [&one[..], &other, &one, &other, &other].concat();
        assert_eq!(send(&mut here, &mixed), 3);
        assert!(settled(&mut here).into_iter().eq(0..1024));
        assert_eq!(take_all(&mut there), [1085, 1085, 1085]);
        for first in (0..1023).step_by(33) {
            assert_eq!(send(&mut here, &held(first..first + 33)), 33);
        }
        assert_eq!(take_all(&mut there), lengths(0..1023));
        assert_eq!(send(&mut here, &held(1023..1025)), 1);
        assert_eq!(take_all(&mut there), lengths(1023..1024));
        assert!(settled(&mut here).into_iter().eq(0..1024));
    }

    #[test]
    fn a_frame_that_finds_no_room_is_not_waited_for() {
        let (mut here, there) = peers();
        for _ in 0..16 {
            assert_eq!(send(&mut here, &whole(0..64)), 64);
        }
        assert_eq!(send(&mut here, &held(0..2)), 0);
        assert_eq!(here.outstanding, 0);
        assert!(there.has_mail() && !here.has_mail());
    }

    #[test]
    fn frames_arrive_in_order_by_the_run_and_a_run_ends_where_the_ring_does() {
        let (mut here, mut there) = peers();
        for _ in 0..15 {
            assert_eq!(send(&mut here, &held(0..60)), 60);
            assert_eq!(take(&mut there), (vec![60], lengths(0..60)));
            assert!(settled(&mut here).into_iter().eq(0..60));
        }
        // 124 places are left before the end.
        assert_eq!(send(&mut here, &held(0..64)), 64);
        assert_eq!(send(&mut here, &held(64..128)), 64);
        assert_eq!(take(&mut there), (vec![64], lengths(0..64)));
        assert_eq!(take(&mut there), (vec![60], lengths(64..124)));
        assert_eq!(take(&mut there), (vec![4], lengths(124..128)));
        assert_eq!(take(&mut there), (vec![], vec![]));
        assert!(settled(&mut here).into_iter().eq(0..128));
    }

    #[test]
    fn no_more_handoffs_are_taken_at_once_than_a_burst_has_frames_and_bytes() {
        let (mut here, mut there) = peers();
        for first in [0, 30, 60] {
            assert_eq!(send(&mut here, &whole(first..first + 30)), 30);
        }
        assert_eq!(take(&mut there), (vec![30, 30], lengths(0..60)));
        assert_eq!(take(&mut there), (vec![30], lengths(60..90)));
        let large = |bytes| vec![Frame { bytes, ..Frame::vacant() }];
        for bytes in [40_000, BURST_BYTES - 40_001, 50_000, 1] {
            assert_eq!(send(&mut here, &large(bytes)), 1);
        }
        assert_eq!(take(&mut there).0, [1, 1, 1]);
        assert_eq!(take(&mut there), (vec![1], vec![1]));
    }

    #[test]
    fn a_handoff_that_is_seen_tells_of_frames_that_are_there_whoever_is_faster() {
        const COUNT: u16 = 50_000;
        let (mut here, mut there) = peers();
        let sender = std::thread::spawn(move || {
            let mut next = 0;
            while next < COUNT {
                // Of all lengths, so that runs end where the ring does, too.
                let end = (next + 1 + next % 61).min(COUNT);
                let some = whole(next..end);
                let sent = here.send(&some, &handoff(&some, PortSet::of(PortId::new(0).unwrap())));
                next += u16::try_from(sent).unwrap();
                std::thread::yield_now();
            }
        });
        let mut next = 0_u16;
        while next < COUNT {
            let mut told = Vec::new();
            let count = there.receive(|handoff| told.push(handoff.run));
            assert_eq!(told.iter().map(|run| run.frames).sum::<usize>(), count);
            let bytes: u64 = told.iter().map(|run| run.traits.bytes).sum();
            there.deliver(count, |frames| {
                assert_eq!(frames.iter().map(|frame| u64::from(frame.bytes)).sum::<u64>(), bytes);
                for frame in frames {
                    assert_eq!(frame.bytes, 60 + u32::from(next));
                    next += 1;
                }
            });
            std::thread::yield_now();
        }
        sender.join().unwrap();
    }
}
