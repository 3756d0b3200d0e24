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

    /// These bytes and those of `next` as one, when `next` lies right behind them in the same region.
    #[inline]
    #[must_use]
    pub fn join(self, next: Self) -> Option<Self> {
        let is_behind = self.region == next.region
            && self.offset.checked_add(u64::from(self.bytes)) == Some(next.offset);
        let bytes = self.bytes.checked_add(next.bytes)?;
        is_behind.then_some(Self { bytes, ..self })
    }

    /// The first `limit` of these bytes.
    #[must_use]
    pub fn limit(self, limit: u32) -> Self {
        Self { bytes: self.bytes.min(limit), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Segment = Segment { offset: 100, bytes: 10, region: 3 };

    #[test]
    fn skipping_moves_the_start_up_to_the_end_and_no_further() {
        assert_eq!(WHOLE.skip(0), WHOLE);
        assert_eq!(WHOLE.skip(4), Segment { offset: 104, bytes: 6, region: 3 });
        assert_eq!(WHOLE.skip(10), Segment { offset: 110, bytes: 0, region: 3 });
        assert_eq!(WHOLE.skip(u32::MAX), WHOLE.skip(10));
    }

    #[test]
    fn only_neighbours_in_one_region_are_joined() {
        let next = Segment { offset: 110, bytes: 5, region: 3 };
        assert_eq!(WHOLE.join(next), Some(Segment { bytes: 15, ..WHOLE }));
        assert_eq!(next.join(WHOLE), None);
        let elsewhere = [
            Segment { offset: 109, ..next },
            Segment { offset: 111, ..next },
            Segment { region: 2, ..next },
        ];
        assert_eq!(elsewhere.map(|other| WHOLE.join(other)), [None; 3]);
        let longest = Segment { bytes: u32::MAX, ..next };
        assert_eq!(WHOLE.join(longest), None);
        let last = Segment { offset: u64::MAX, ..WHOLE };
        assert_eq!(last.join(Segment { offset: 9, ..last }), None);
    }

    #[test]
    fn a_limit_shortens_and_never_lengthens() {
        assert_eq!(WHOLE.limit(4), Segment { bytes: 4, ..WHOLE });
        assert_eq!(WHOLE.limit(11), WHOLE);
        assert_eq!(WHOLE.skip(3).limit(5), Segment { offset: 103, bytes: 5, region: 3 });
    }
}
