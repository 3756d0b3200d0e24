//! Writes numbered frames into the buffers of a sender, and judges them where they arrive.
//!
//! Used by the thread that plays the guests, once per frame: nothing allocates, and what is done for each frame is made
//! part of its caller's loop (19 instead of 28 ns for writing, sending, receiving and judging). The proof of a frame is 18 bytes:
//! magic, lane and half of a check in one word, the sequence number, and more of the check. The bytes behind it are taken from a
//! private pattern at a place that depends on the number, so that stale bytes of another frame are found out too.

use helio_guest::{FrameSlot, FrameView};

use crate::frame_plan::{FramePlan, PROOF_BYTES, Payload, mac_address};

/// First two bytes of a proof.
const MAGIC: u64 = 0x4842;

/// Where the VLAN of a tagged frame is.
const VLAN_AT: usize = 14;

/// Distances in the pattern at which the bytes of a frame may begin.
const PATTERN_STARTS: usize = 512;

/// The bytes that frames are filled with.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Box<[u8]>);

impl Pattern {
    /// For frames of up to `max_bytes`.
    pub(crate) fn new(max_bytes: u32) -> Self {
        let words = PATTERN_STARTS + (max_bytes as usize).div_ceil(8);
        let bytes = (1..).map(mix).take(words).flat_map(u64::to_le_bytes);
        Self(bytes.collect())
    }

    /// The bytes of frame `sequence`.
    #[inline(always)]
    fn of(&self, sequence: u64, len: usize) -> &[u8] {
        // The top nine bits of a product in which all bits of the number have a part.
        let start =
            usize::try_from(sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55).unwrap_or(0);
        self.0.get(start * 8..start * 8 + len).unwrap_or_default()
    }
}

/// Writes the frames of one lane.
#[derive(Debug)]
pub(crate) struct Forge {
    plan: FramePlan,
    lane: u16,
    from: usize,
    to: usize,
    proof_at: usize,
    /// All bytes before the proof, for each size of the plan.
    fronts: Vec<Vec<u8>>,
    pattern: Pattern,
    sources: Addresses,
    destinations: Addresses,
    /// Whether all frames have the addresses that their front has.
    are_addresses_fixed: bool,
    /// Whether anything before the proof differs from frame to frame.
    is_varied: bool,
    /// Where in the plan the next frame is.
    size_at: usize,
    source_at: u32,
    destination_at: u32,
    flow_at: u32,
    vlan_at: usize,
}

/// Some of the addresses of a guest, used one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) first: u32,
    /// At least one.
    pub(crate) count: u32,
}

impl Forge {
    pub(crate) fn new(plan: &FramePlan, lane: u16, from: usize, to: usize) -> Self {
        let front = |size: &u32| plan.front(mac_address(to, 0), mac_address(from, 0), *size);
        Self {
            lane,
            from,
            to,
            proof_at: plan.proof_at(),
            fronts: plan.sizes.iter().map(front).collect(),
            pattern: Pattern::new(plan.max_bytes()),
            sources: Addresses { first: 0, count: plan.macs },
            destinations: Addresses { first: 0, count: plan.macs },
            are_addresses_fixed: plan.macs == 1,
            is_varied: plan.sizes.len() > 1
                || plan.macs > 1
                || plan.flows > 1
                || plan.vlans.len() > 1,
            size_at: 0,
            source_at: 0,
            // Pairs of a source and a destination do not all repeat together.
            destination_at: plan.macs / 2,
            flow_at: 0,
            vlan_at: 0,
            plan: plan.clone(),
        }
    }

    /// Uses these addresses from now on, instead of those of the plan. The plan begins anew, so that the same number of an
    /// address meets the same VLAN on every lane.
    pub(crate) fn set_addresses(&mut self, sources: Addresses, destinations: Addresses) {
        (self.sources, self.destinations) = (sources, destinations);
        (self.source_at, self.destination_at) = (0, 0);
        (self.size_at, self.flow_at, self.vlan_at) = (0, 0, 0);
        (self.are_addresses_fixed, self.is_varied) = (false, true);
    }

    /// Writes a buffer whole, before the run: the frame that stays in it when nothing is rewritten.
    pub(crate) fn prepare(&mut self, slot: &FrameSlot<'_>) {
        let chain = u32::from(slot.chain());
        self.size_at = usize::from(slot.chain()) % self.plan.sizes.len();
        self.source_at = chain % self.sources.count;
        self.destination_at = (chain + self.destinations.count / 2) % self.destinations.count;
        self.flow_at = chain % self.plan.flows;
        self.vlan_at = usize::from(slot.chain()) % self.plan.vlans.len().max(1);
        let len = self.size();
        self.write_front(slot);
        self.write_addresses(slot);
        self.write_proof(slot, u64::from(chain), len);
        self.write_rest(slot, u64::from(chain), len);
        (self.size_at, self.source_at, self.flow_at, self.vlan_at) = (0, 0, 0, 0);
        self.destination_at = self.destinations.count / 2;
    }

    /// Rewrites what the plan says, as frame `sequence`; its length.
    #[inline(always)]
    pub(crate) fn write(&mut self, slot: &FrameSlot<'_>, sequence: u64) -> u32 {
        if self.plan.payload == Payload::None {
            let at = usize::from(slot.chain()) % self.plan.sizes.len();
            return self.plan.sizes.get(at).copied().unwrap_or(60);
        }
        // Its length before the plan goes on.
        let len = self.size();
        if self.is_varied {
            // A copy: the slot itself stays in registers.
            self.write_varied(&{ *slot });
        }
        self.write_proof(slot, sequence, len);
        if self.plan.payload == Payload::All {
            self.write_rest(slot, sequence, len);
        }
        len
    }

    /// Rewrites what differs from frame to frame before the proof, and goes on to the next.
    #[inline(never)]
    fn write_varied(&mut self, slot: &FrameSlot<'_>) {
        if self.fronts.len() > 1 {
            self.write_front(slot);
        }
        self.write_addresses(slot);
        self.size_at = if self.size_at + 1 >= self.fronts.len() { 0 } else { self.size_at + 1 };
        self.source_at = after(self.source_at, self.sources.count);
        self.destination_at = after(self.destination_at, self.destinations.count);
        self.flow_at = after(self.flow_at, self.plan.flows);
        self.vlan_at = if self.vlan_at + 1 >= self.plan.vlans.len() { 0 } else { self.vlan_at + 1 };
    }

    #[inline]
    fn size(&self) -> u32 {
        self.plan.sizes.get(self.size_at).copied().unwrap_or(60)
    }

    fn write_front(&self, slot: &FrameSlot<'_>) {
        slot.write(0, self.fronts.get(self.size_at).map(Vec::as_slice).unwrap_or_default());
    }

    /// Ethernet addresses, VLAN and ports of this frame.
    #[inline]
    fn write_addresses(&self, slot: &FrameSlot<'_>) {
        if !self.are_addresses_fixed {
            let [a, b, c, d, e, f] =
                mac_address(self.to, self.destinations.first + self.destination_at);
            let [g, h, i, j, k, l] = mac_address(self.from, self.sources.first + self.source_at);
            slot.write(0, &[a, b, c, d, e, f, g, h, i, j, k, l]);
        }
        if self.plan.vlans.len() > 1 {
            let vlan = self.plan.vlans.get(self.vlan_at).copied().unwrap_or(0);
            slot.write(VLAN_AT, &vlan.to_be_bytes());
        }
        if self.plan.flows > 1 {
            let ports = self.flow_at.wrapping_add(0x0400_1000).to_be_bytes();
            slot.write(self.plan.link_bytes() + 20, &ports);
        }
    }

    #[inline(always)]
    fn write_proof(&self, slot: &FrameSlot<'_>, sequence: u64, len: u32) {
        let rest = len as usize - self.proof_at;
        let proof = proof(self.lane, sequence, rest);
        for (at, word) in [0, 8, 10].into_iter().zip(proof.words()) {
            slot.write_word(self.proof_at + at, word);
        }
    }

    #[inline(always)]
    fn write_rest(&self, slot: &FrameSlot<'_>, sequence: u64, len: u32) {
        let at = self.proof_at + PROOF_BYTES;
        let rest = self.pattern.of(sequence, len as usize - at);
        if !rest.is_empty() {
            slot.write(at, rest);
        }
    }
}

/// The next of `count` numbers, round and round.
#[inline]
fn after(at: u32, count: u32) -> u32 {
    if at + 1 >= count { 0 } else { at + 1 }
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// As it was sent.
    Intact { lane: u16, sequence: u64 },
    /// One of ours whose bytes changed.
    Corrupt,
    /// None of ours.
    Foreign,
}

/// Judges the frames that arrive.
#[derive(Debug)]
pub(crate) struct Judge {
    proof_at: usize,
    payload: Payload,
    pattern: Pattern,
    rest: Box<[u8]>,
}

impl Judge {
    pub(crate) fn new(plan: &FramePlan) -> Self {
        Self {
            proof_at: plan.proof_at(),
            payload: plan.payload,
            pattern: Pattern::new(plan.max_bytes()),
            rest: vec![0; plan.max_bytes() as usize].into(),
        }
    }

    /// Judges by as many bytes as the plan reads: one cache line, or all.
    #[inline(always)]
    pub(crate) fn judge(&mut self, frame: &FrameView<'_>) -> Judgement {
        let Some((at, judgement)) = self.find(frame) else { return Judgement::Foreign };
        match judgement {
            Judgement::Intact { sequence, .. }
                if self.payload == Payload::All && !self.is_rest_intact(at, sequence, frame) =>
            {
                Judgement::Corrupt
            }
            judgement => judgement,
        }
    }

    /// Judges by the first cache line, whatever the plan says.
    pub(crate) fn judge_first_line(&self, frame: &FrameView<'_>) -> Judgement {
        self.find(frame).map_or(Judgement::Foreign, |(_at, judgement)| judgement)
    }

    /// Where the proof is, and what it says.
    #[inline(always)]
    fn find(&self, frame: &FrameView<'_>) -> Option<(usize, Judgement)> {
        match read_proof(frame, self.proof_at) {
            Some(judgement @ Judgement::Intact { .. }) => Some((self.proof_at, judgement)),
            other => {
                // A copy: the view itself stays in registers.
                self.find_elsewhere(&{ *frame })
                    .or(other.map(|judgement| (self.proof_at, judgement)))
            }
        }
    }

    /// A tag that the switch added or took away moves everything. At a wrong place other bytes may look like the beginning
    /// of a proof, so that a right one counts wherever it is.
    #[cold]
    fn find_elsewhere(&self, frame: &FrameView<'_>) -> Option<(usize, Judgement)> {
        let places = [self.proof_at + 4, self.proof_at - 4];
        let found = places.map(|at| read_proof(frame, at).map(|judgement| (at, judgement)));
        let is_intact = |found: &&(usize, Judgement)| found.1 != Judgement::Corrupt;
        found.iter().flatten().find(is_intact).or(found.iter().flatten().next()).copied()
    }

    #[inline(always)]
    fn is_rest_intact(&mut self, at: usize, sequence: u64, frame: &FrameView<'_>) -> bool {
        let from = at + PROOF_BYTES;
        if frame.len() == from {
            return true;
        }
        let Some(rest) = self.rest.get_mut(..frame.len() - from) else { return false };
        frame.read(from, rest) && *rest == *self.pattern.of(sequence, rest.len())
    }
}

/// What the proof at `at` says about a frame; `None` when there is nothing that looks like one.
#[inline(always)]
fn read_proof(frame: &FrameView<'_>, at: usize) -> Option<Judgement> {
    let first = word(frame, at)?;
    if first >> 48 != MAGIC {
        return None;
    }
    let (sequence, last) = (word(frame, at + 8)?, word(frame, at + 10)?);
    let lane = u16::try_from(first >> 32 & 0xffff).unwrap_or(0);
    let expected = proof(lane, sequence, frame.len() - at);
    Some(match first == expected.word && last == expected.last() {
        true => Judgement::Intact { lane, sequence },
        false => Judgement::Corrupt,
    })
}

#[inline(always)]
fn word(frame: &FrameView<'_>, at: usize) -> Option<u64> {
    frame.word(at).map(u64::from_be_bytes)
}

/// What proves a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Proof {
    /// Magic, lane, upper half of the check.
    word: u64,
    sequence: u64,
    /// The lowest bits of the check.
    tail: u16,
}

impl Proof {
    /// As bytes of a frame: from 0, from 8, and from 10 on.
    #[inline(always)]
    fn words(self) -> [[u8; 8]; 3] {
        [self.word, self.sequence, self.last()].map(u64::to_be_bytes)
    }

    #[inline(always)]
    fn last(self) -> u64 {
        self.sequence << 16 | u64::from(self.tail)
    }
}

/// The proof of a frame with `rest` bytes from the proof on.
#[inline(always)]
fn proof(lane: u16, sequence: u64, rest: usize) -> Proof {
    let check = mix(sequence ^ u64::from(lane) << 48 ^ (rest as u64) << 24);
    let word = MAGIC << 48 | u64::from(lane) << 32 | check >> 32;
    Proof { word, sequence, tail: u16::try_from(check & 0xffff).unwrap_or(0) }
}

/// Every bit of the number has a part in the upper half of what comes out.
#[inline(always)]
fn mix(number: u64) -> u64 {
    let product = (number ^ 0x5851_f42d_4c95_7f2d).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (product ^ product >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93)
}

#[cfg(test)]
mod tests {
    use helio_guest::{BurstConfig, BurstQueues};

    use super::*;
    use crate::mover::Mover;

    /// What `judge` says about frame `sequence` of `forge`, whose bytes `spoil` may change first.
    fn judged(
        judge: &mut Judge,
        forge: &mut Forge,
        sequence: u64,
        spoil: impl Fn(&FrameSlot<'_>),
    ) -> Judgement {
        let config = BurstConfig { ring_size: 4, ..BurstConfig::default() };
        let (mut from, mut to) =
            (BurstQueues::new(&config).unwrap(), BurstQueues::new(&config).unwrap());
        from.sender.prepare(|slot| forge.prepare(slot));
        from.sender.offer(1, |slot| {
            let len = forge.write(slot, sequence);
            spoil(slot);
            len
        });
        from.sender.publish();
        assert_eq!(Mover::new(from.sender.area(), to.receiver.area()).unwrap().drain(), 1);
        let mut judgement = None;
        to.receiver.receive(|frame| judgement = Some(judge.judge(frame)));
        judgement.unwrap()
    }

    #[test]
    fn every_changed_byte_behind_the_headers_is_noticed() {
        let plan = FramePlan { sizes: vec![100], ..FramePlan::default() };
        let (mut judge, mut forge) = (Judge::new(&plan), Forge::new(&plan, 3, 0, 1));
        let intact = judged(&mut judge, &mut forge, 77, |_slot| {});
        assert_eq!(intact, Judgement::Intact { lane: 3, sequence: 77 });
        for at in 42..100 {
            let spoiled = judged(&mut judge, &mut forge, 77, |slot| slot.write(at, &[0xa5]));
            // Without its magic nobody knows that it was one of ours.
            let expected = if at < 44 { Judgement::Foreign } else { Judgement::Corrupt };
            assert_eq!(spoiled, expected, "byte {at}");
        }
    }

    #[test]
    fn bytes_left_of_the_frame_before_are_noticed() {
        let plan = FramePlan { sizes: vec![1514], ..FramePlan::default() };
        let (mut judge, mut forge) = (Judge::new(&plan), Forge::new(&plan, 0, 0, 1));
        let old = Pattern::new(1514);
        // The same buffer is used again after as many frames as a ring holds.
        let stale = old.of(77, 64).to_vec();
        let spoiled = judged(&mut judge, &mut forge, 77 + 1024, |slot| slot.write(60, &stale));
        assert_eq!(spoiled, Judgement::Corrupt);
    }

    #[test]
    fn a_check_that_looks_like_the_magic_is_not_taken_for_a_proof() {
        let untagged = FramePlan { sizes: vec![64], ..FramePlan::default() };
        let tagged = FramePlan { vlans: vec![10], ..untagged.clone() };
        let rest = 64 - untagged.proof_at();
        let looks_alike = |sequence: &u64| proof(0, *sequence, rest).word >> 16 & 0xffff == MAGIC;
        let sequence = (0..1 << 20).find(looks_alike).unwrap();
        let mut forge = Forge::new(&untagged, 0, 0, 1);
        let judgement = judged(&mut Judge::new(&tagged), &mut forge, sequence, |_slot| {});
        assert_eq!(judgement, Judgement::Intact { lane: 0, sequence });
    }
}
