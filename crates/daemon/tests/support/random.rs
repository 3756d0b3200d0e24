//! Numbers without a pattern, the same ones in each run.

/// xorshift64, which is enough to lie with.
pub struct Random(u64);

impl Random {
    pub fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % u64::from(end)) as u32
    }

    /// As [`Random::below`], for the indices of rings.
    pub fn index_below(&mut self, end: u16) -> u16 {
        self.below(u32::from(end)) as u16
    }
}
