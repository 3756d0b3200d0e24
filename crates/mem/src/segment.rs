//! A contiguous piece of one memory table.

/// Bytes of one region of a [`MemoryTable`](crate::MemoryTable): a place, not a pointer. The table checks it again at
/// each access, so a segment that outlives its table reads or writes other bytes of that guest at worst, and
/// never bytes of anybody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// First byte, counted from the start of the region.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u32,
    /// Which region of the table.
    pub region: u16,
}

impl Segment {
    /// The same bytes without the first `skip`; empty when there are no more.
    #[must_use]
    pub fn skip(self, skip: u32) -> Self {
        let skip = skip.min(self.bytes);
        Self {
            offset: self.offset + u64::from(skip),
            bytes: self.bytes - skip,
            region: self.region,
        }
    }

    /// The first `limit` of these bytes.
    #[must_use]
    pub fn limit(self, limit: u32) -> Self {
        Self { bytes: self.bytes.min(limit), ..self }
    }
}
