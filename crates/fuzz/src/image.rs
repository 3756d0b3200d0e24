//! What guest memory must hold, kept privately and changed byte by byte as the rules say.

use std::ops::Range;

/// A private copy of guest memory. It finds addresses by itself, so that it checks the memory table too.
#[derive(Debug)]
pub(crate) struct Image {
    regions: Vec<(u64, Vec<u8>)>,
}

impl Image {
    /// Zeroed memory of regions `(first address, bytes)`.
    pub(crate) fn new(ranges: &[(u64, usize)]) -> Self {
        Self { regions: ranges.iter().map(|&(start, bytes)| (start, vec![0; bytes])).collect() }
    }

    pub(crate) fn regions(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.regions.iter().map(|(start, bytes)| (*start, bytes.as_slice()))
    }

    /// Region and offset of `addr`.
    fn locate(&self, addr: u64) -> Option<(usize, usize)> {
        self.regions.iter().enumerate().find_map(|(index, (start, bytes))| {
            let offset = usize::try_from(addr.checked_sub(*start)?).ok()?;
            (offset < bytes.len()).then_some((index, offset))
        })
    }

    /// Passes the range, cut where regions meet, to `visit`, up to the first byte that lies in no region. Returns whether
    /// there was none. The address of an empty range must lie in a region nevertheless.
    fn each(&self, addr: u64, bytes: u32, mut visit: impl FnMut(usize, Range<usize>)) -> bool {
        let Some(mut place) = self.locate(addr) else { return false };
        let mut left = bytes as usize;
        let mut done = 0;
        while left > 0 {
            let (region, offset) = place;
            let len = left.min(self.regions[region].1.len() - offset);
            visit(region, offset..offset + len);
            left -= len;
            done += u64::try_from(len).unwrap();
            match addr.checked_add(done).and_then(|next| self.locate(next)) {
                Some(next) => place = next,
                None => break,
            }
        }
        left == 0
    }

    /// Whether every byte of the range lies in a region.
    pub(crate) fn holds(&self, addr: u64, bytes: u32) -> bool {
        self.each(addr, bytes, |_, _| ())
    }

    /// Pieces of the range, up to the first byte that lies in no region.
    pub(crate) fn count_pieces(&self, addr: u64, bytes: u32) -> usize {
        let mut count = 0;
        self.each(addr, bytes, |_, _| count += 1);
        count
    }

    pub(crate) fn read(&self, addr: u64, bytes: u32) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let add = |region: usize, range| out.extend_from_slice(&self.regions[region].1[range]);
        self.each(addr, bytes, add).then_some(out)
    }

    pub(crate) fn read_array<const N: usize>(&self, addr: u64) -> Option<[u8; N]> {
        let mut out = [0; N];
        let mut left = &mut out[..];
        let all = self.each(addr, u32::try_from(N).ok()?, |region, range| {
            let (now, later) = std::mem::take(&mut left).split_at_mut(range.len());
            now.copy_from_slice(&self.regions[region].1[range]);
            left = later;
        });
        all.then_some(out)
    }

    /// The little-endian word at `addr`, which must be mapped.
    pub(crate) fn u16(&self, addr: u64) -> u16 {
        u16::from_le_bytes(self.read_array(addr).unwrap())
    }

    /// Writes `data`, if all of it has a place. Returns whether it had.
    pub(crate) fn write(&mut self, addr: u64, data: &[u8]) -> bool {
        let mut places = Vec::new();
        let Ok(bytes) = u32::try_from(data.len()) else { return false };
        if !self.each(addr, bytes, |region, range| places.push((region, range))) {
            return false;
        }
        let mut left = data;
        for (region, range) in places {
            let (now, later) = left.split_at(range.len());
            self.regions[region].1[range].copy_from_slice(now);
            left = later;
        }
        true
    }
}
