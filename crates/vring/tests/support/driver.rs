//! A ring as its driver sees it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use helio_mem::GuestAddr;
use helio_vring::{Call, RingSetup};
use vm_memory::{Bytes, GuestAddress};

use super::{AVAIL, DESCRIPTORS, Map, USED};

pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

/// One descriptor, as it is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Descriptor {
    pub addr: u64,
    pub len: u32,
    pub flags: u16,
    pub next: u16,
}

impl Descriptor {
    pub fn new(addr: u64, len: u32, flags: u16, next: u16) -> Self {
        Self { addr, len, flags, next }
    }

    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.addr.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.flags.to_le_bytes());
        bytes[14..].copy_from_slice(&self.next.to_le_bytes());
        bytes
    }
}

/// The driver of one ring.
#[derive(Debug)]
pub struct Driver {
    pub map: Arc<Map>,
    pub size: u16,
    /// The avail index, as it was last written.
    pub avail: u16,
    /// Used entries looked at.
    pub seen: u16,
    /// Where the next chain goes.
    free: u16,
}

impl Driver {
    pub fn new(map: Arc<Map>, size: u16) -> Self {
        Self { map, size, avail: 0, seen: 0, free: 0 }
    }

    /// A driver whose ring has run already, up to `index`.
    pub fn resumed(map: Arc<Map>, size: u16, index: u16) -> Self {
        let driver = Self { map, size, avail: index, seen: index, free: 0 };
        driver.set_avail_index(index);
        driver.store_u16(USED + 2, index);
        driver
    }

    pub fn setup(&self, features: u64, call: Call) -> RingSetup {
        RingSetup {
            size: self.size,
            descriptors: GuestAddr(DESCRIPTORS),
            avail: GuestAddr(AVAIL),
            used: GuestAddr(USED),
            features,
            call,
        }
    }

    pub fn store_u16(&self, addr: u64, value: u16) {
        self.map.store(value.to_le(), GuestAddress(addr), Ordering::Release).unwrap();
    }

    pub fn load_u16(&self, addr: u64) -> u16 {
        u16::from_le(self.map.load(GuestAddress(addr), Ordering::Acquire).unwrap())
    }

    pub fn write(&self, addr: u64, bytes: &[u8]) {
        self.map.write_slice(bytes, GuestAddress(addr)).unwrap();
    }

    pub fn read(&self, addr: u64, bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        self.map.read_slice(&mut out, GuestAddress(addr)).unwrap();
        out
    }

    /// Writes `data` over `pieces`.
    pub fn scatter(&self, pieces: &[(u64, u32)], data: &[u8]) {
        let mut left = data;
        for &(addr, len) in pieces {
            let (now, later) = left.split_at((len as usize).min(left.len()));
            self.write(addr, now);
            left = later;
        }
    }

    /// Reads what lies in `pieces`.
    pub fn gather(&self, pieces: &[(u64, u32)]) -> Vec<u8> {
        pieces.iter().flat_map(|&(addr, len)| self.read(addr, len as usize)).collect()
    }

    pub fn put(&self, index: u16, descriptor: Descriptor) {
        self.write(DESCRIPTORS + 16 * u64::from(index), &descriptor.to_bytes());
    }

    pub fn put_table(&self, addr: u64, table: &[Descriptor]) {
        for (at, descriptor) in (0..).zip(table) {
            self.write(addr + 16 * at, &descriptor.to_bytes());
        }
    }

    /// The descriptors of a chain over `pieces`, which go on from `first` in a table of `count`.
    pub fn linked(pieces: &[(u64, u32)], flags: u16, first: u16, count: u16) -> Vec<Descriptor> {
        let last = pieces.len() - 1;
        (0_u16..)
            .zip(pieces)
            .map(|(at, &(addr, len))| {
                let more = if usize::from(at) < last { NEXT } else { 0 };
                let next = u16::try_from((u32::from(first) + u32::from(at) + 1) % u32::from(count));
                Descriptor::new(addr, len, flags | more, next.unwrap())
            })
            .collect()
    }

    /// Writes a chain over `pieces` to the next places of the table. Returns its head.
    pub fn chain(&mut self, pieces: &[(u64, u32)], flags: u16) -> u16 {
        let head = self.free;
        for descriptor in Self::linked(pieces, flags, head, self.size) {
            self.put(self.free, descriptor);
            self.free = (self.free + 1) % self.size;
        }
        head
    }

    /// Writes a table over `pieces` at `addr`, and a descriptor that names it. Returns its head.
    pub fn indirect_chain(&mut self, addr: u64, pieces: &[(u64, u32)], flags: u16) -> u16 {
        let count = u16::try_from(pieces.len()).unwrap();
        self.put_table(addr, &Self::linked(pieces, flags, 0, count));
        let head = self.free;
        self.put(head, Descriptor::new(addr, 16 * u32::from(count), INDIRECT, 0));
        self.free = (self.free + 1) % self.size;
        head
    }

    /// Offers the chain at `head`.
    pub fn offer(&mut self, head: u16) {
        let slot = u64::from(self.avail % self.size);
        self.store_u16(AVAIL + 4 + 2 * slot, head);
        self.avail = self.avail.wrapping_add(1);
        self.set_avail_index(self.avail);
    }

    pub fn set_avail_index(&self, index: u16) {
        self.store_u16(AVAIL + 2, index);
    }

    pub fn set_avail_flags(&self, flags: u16) {
        self.store_u16(AVAIL, flags);
    }

    /// With EVENT_IDX: tell me when the used index passes `index`.
    pub fn set_used_event(&self, index: u16) {
        self.store_u16(AVAIL + 4 + 2 * u64::from(self.size), index);
    }

    /// With EVENT_IDX: the avail index that the device wants to be told of.
    pub fn avail_event(&self) -> u16 {
        self.load_u16(USED + 4 + 8 * u64::from(self.size))
    }

    pub fn used_flags(&self) -> u16 {
        self.load_u16(USED)
    }

    pub fn used_index(&self) -> u16 {
        self.load_u16(USED + 2)
    }

    /// The used entries that came since this was last asked: head and length.
    pub fn used(&mut self) -> Vec<(u32, u32)> {
        let mut entries = Vec::new();
        while self.seen != self.used_index() {
            let at = USED + 4 + 8 * u64::from(self.seen % self.size);
            let word = |addr| u32::from_le(self.map.read_obj(GuestAddress(addr)).unwrap());
            entries.push((word(at), word(at + 4)));
            self.seen = self.seen.wrapping_add(1);
        }
        entries
    }
}
