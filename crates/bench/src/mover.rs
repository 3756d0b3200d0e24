//! The least that any switch must do: takes frames from one ring and copies each of them once into another.
//!
//! No lookup, no check, no notification: its guests are ours. Burst by burst it asks for all lines first, those of
//! the destination for writing, and copies afterwards.

use helio_guest::{Descriptor, RingArea, Window};

/// Frames that are looked at together.
const BURST: usize = BURST_FRAMES as usize;

/// The same, as rings count.
const BURST_FRAMES: u16 = 32;

/// Bytes of a net header, which is left as it is unless it must change.
const HEADER_BYTES: usize = 12;

const LINE_BYTES: usize = 64;

/// Lines of a frame that are asked for ahead: the processor finds the rest by itself.
const LINES_AHEAD: usize = 24;

/// The device side of one ring.
#[derive(Debug)]
struct Side {
    area: RingArea,
    memory: Window,
    next: u16,
}

/// Moves frames between two rings.
#[derive(Debug)]
pub(crate) struct Mover {
    from: Side,
    to: Side,
}

/// One frame to be moved: heads and descriptors on both sides.
type Move = [(u16, Descriptor); 2];

impl Side {
    fn new(area: &RingArea) -> Option<Self> {
        let region = *area.memory().table().first()?;
        let memory = area.memory().window(region.guest_addr, region.size_bytes)?;
        Some(Self { area: area.clone(), memory, next: 0 })
    }

    #[inline]
    fn offered(&self) -> u16 {
        self.area.avail_idx_acquire().wrapping_sub(self.next)
    }

    #[inline]
    fn slot(&self, ahead: u16) -> u16 {
        self.next.wrapping_add(ahead) & (self.area.size() - 1)
    }

    #[inline]
    fn look(&self, ahead: u16) -> (u16, Descriptor) {
        let head = self.area.avail_entry(self.slot(ahead));
        (head, self.area.descriptor(head))
    }

    #[inline]
    fn complete(&mut self, count: u16) {
        self.next = self.next.wrapping_add(count);
        self.area.set_used_idx(self.next);
    }
}

impl Mover {
    /// Between rings in memory of one region each.
    pub(crate) fn new(from: &RingArea, to: &RingArea) -> Option<Self> {
        Some(Self { from: Side::new(from)?, to: Side::new(to)? })
    }

    /// Moves all frames for which there are buffers; how many.
    pub(crate) fn drain(&mut self) -> u16 {
        let mut moves: [Move; BURST] = [[(0, Descriptor::default()); 2]; BURST];
        let mut total = 0;
        loop {
            let count = self.from.offered().min(self.to.offered()).min(BURST_FRAMES);
            if count == 0 {
                return total;
            }
            for (slot, ahead) in moves.iter_mut().zip(0..count) {
                *slot = [self.from.look(ahead), self.to.look(ahead)];
                self.prefetch(slot);
            }
            for (one, ahead) in moves.iter().zip(0..count) {
                self.move_one(one, ahead);
            }
            self.to.complete(count);
            self.from.complete(count);
            total += count;
        }
    }

    #[inline]
    fn prefetch(&self, one: &Move) {
        let [(_, source), (_, target)] = one;
        let lines = (source.len as usize - HEADER_BYTES).div_ceil(LINE_BYTES);
        for line in 0..lines.min(LINES_AHEAD) {
            let offset = HEADER_BYTES + line * LINE_BYTES;
            self.from.memory.prefetch(place(source) + offset);
            self.to.memory.prefetch_to_write(place(target) + offset);
        }
    }

    #[inline]
    fn move_one(&self, one: &Move, ahead: u16) {
        let [(source_head, source), (target_head, target)] = one;
        let (from, to) = (place(source), place(target));
        // A header that is right already keeps its line with the guest: reading is cheaper than writing.
        let mut header = [0; HEADER_BYTES];
        self.to.memory.read(to, &mut header);
        let right = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        if header != right {
            self.to.memory.write(to, &right);
        }
        let len = source.len as usize - HEADER_BYTES;
        self.from.memory.copy_to(from + HEADER_BYTES, &self.to.memory, to + HEADER_BYTES, len);
        self.to.area.set_used_entry(self.to.slot(ahead), u32::from(*target_head), source.len);
        self.from.area.set_used_entry(self.from.slot(ahead), u32::from(*source_head), 0);
    }
}

/// Where a buffer begins: guest addresses begin with 0 here.
#[inline]
fn place(descriptor: &Descriptor) -> usize {
    usize::try_from(descriptor.addr).unwrap_or(usize::MAX)
}
