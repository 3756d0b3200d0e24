//! The device side of one split ring, written from VIRTIO 1.2, 2.7.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;

use super::memory::Memory;

/// One piece of a chain: guest address, length, whether the device may write it.
pub(crate) type Piece = (u64, u32, bool);

/// How a guest says whether it wants to be called.
#[derive(Clone, Copy)]
pub(crate) enum Wish {
    ByFlag,
    ByIndex,
}

/// A ring as the messages described it.
#[derive(Default)]
pub(crate) struct Ring {
    pub(crate) size: u16,
    pub(crate) table: u64,
    pub(crate) avail: u64,
    pub(crate) used: u64,
    pub(crate) next_avail: u16,
    pub(crate) kick: Option<OwnedFd>,
    pub(crate) call: Option<OwnedFd>,
    pub(crate) is_enabled: bool,
    used_idx: u16,
    /// Used index at the last call.
    called: u16,
}

impl Ring {
    /// Goes on from the used index that the guest has.
    pub(crate) fn start(&mut self, memory: &Memory, kick: OwnedFd) {
        self.kick = Some(kick);
        self.used_idx = memory.u16_at(self.used + 2).load(Relaxed);
        self.called = self.used_idx;
    }

    pub(crate) fn runs(&self) -> bool {
        self.kick.is_some() && self.is_enabled
    }

    /// The head `ahead` of the next one, if the guest has offered it.
    pub(crate) fn peek(&self, memory: &Memory, ahead: u16) -> Option<u16> {
        let offered = memory.u16_at(self.avail + 2).load(Acquire).wrapping_sub(self.next_avail);
        assert!(offered <= self.size, "more chains offered than the ring has descriptors");
        let slot = self.next_avail.wrapping_add(ahead) % self.size;
        (ahead < offered).then(|| memory.u16_at(self.avail + 4 + 2 * u64::from(slot)).load(Relaxed))
    }

    /// The pieces of the chain at `head`, direct or indirect.
    pub(crate) fn chain(&self, memory: &Memory, head: u16) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut index = u64::from(head);
        loop {
            let at = self.table + 16 * index;
            let addr = memory.u64_at(at).load(Relaxed);
            let len = memory.u32_at(at + 8).load(Relaxed);
            let flags = memory.u16_at(at + 12).load(Relaxed);
            if flags & 4 != 0 {
                assert_eq!((flags & 3, len % 16), (0, 0), "an indirect descriptor stands alone");
                return indirect(memory, addr, len);
            }
            pieces.push((addr, len, flags & 2 != 0));
            if flags & 1 == 0 {
                return pieces;
            }
            index = u64::from(memory.u16_at(at + 14).load(Relaxed));
            assert!(index < u64::from(self.size) && pieces.len() <= usize::from(self.size));
        }
    }

    /// Writes a used entry, which is not visible yet; the next one goes `step` slots further.
    pub(crate) fn push(&mut self, memory: &Memory, head: u32, len: u32, step: u16) {
        let at = self.used + 4 + 8 * u64::from(self.used_idx % self.size);
        memory.u32_at(at).store(head, Relaxed);
        memory.u32_at(at + 4).store(len, Relaxed);
        self.used_idx = self.used_idx.wrapping_add(step);
    }

    /// Shows all entries. Whether the guest wants to be called.
    pub(crate) fn publish(&mut self, memory: &Memory, wish: Wish) -> bool {
        memory.u16_at(self.used + 2).store(self.used_idx, Release);
        fence(SeqCst);
        let before = std::mem::replace(&mut self.called, self.used_idx);
        match wish {
            Wish::ByIndex => {
                let event = memory.u16_at(self.avail + 4 + 2 * u64::from(self.size)).load(Relaxed);
                let passed = self.used_idx.wrapping_sub(event).wrapping_sub(1);
                passed < self.used_idx.wrapping_sub(before)
            }
            Wish::ByFlag => {
                self.used_idx != before && memory.u16_at(self.avail).load(Relaxed) & 1 == 0
            }
        }
    }

    /// Asks for a kick after `more` further chains.
    pub(crate) fn want_kick(&self, memory: &Memory, more: u16) {
        let event = self.next_avail.wrapping_add(more);
        memory.u16_at(self.used + 4 + 8 * u64::from(self.size)).store(event, Relaxed);
        fence(SeqCst);
    }
}

fn indirect(memory: &Memory, addr: u64, len: u32) -> Vec<Piece> {
    let table = memory.read(addr, u64::from(len));
    let entry =
        |index: u16| -> [u8; 16] { table[16 * usize::from(index)..][..16].try_into().unwrap() };
    let mut pieces = Vec::new();
    let mut index = 0;
    loop {
        let [a, b, c, d, e, f, g, h, i, j, k, l, flags, _, next, _] = entry(index);
        let addr = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        assert_eq!(flags & 4, 0, "no table in a table");
        pieces.push((addr, u32::from_le_bytes([i, j, k, l]), flags & 2 != 0));
        if flags & 1 == 0 {
            return pieces;
        }
        index = u16::from(next);
    }
}
