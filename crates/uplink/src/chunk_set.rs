//! A set of chunks, by number. Used by the worker.

/// Chunks in one word.
const WORD: u32 = u64::BITS;

/// Some of the chunks that a queue can have.
#[derive(Clone, Debug)]
pub(crate) struct ChunkSet {
    words: Box<[u64]>,
}

impl ChunkSet {
    /// None of the chunks with numbers below `count`. Only those can be put in.
    pub(crate) fn empty(count: u16) -> Self {
        Self { words: vec![0; u32::from(count).div_ceil(WORD) as usize].into_boxed_slice() }
    }

    fn place(chunk: u16) -> (usize, u64) {
        ((u32::from(chunk) / WORD) as usize, 1 << (u32::from(chunk) % WORD))
    }

    #[inline]
    pub(crate) fn insert(&mut self, chunk: u16) {
        let (word, bit) = Self::place(chunk);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, chunk: u16) {
        let (word, bit) = Self::place(chunk);
        if let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
        }
    }

    pub(crate) fn contains(&self, chunk: u16) -> bool {
        let (word, bit) = Self::place(chunk);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Those in it, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        let count = self.words.len() * WORD as usize;
        (0..u16::try_from(count).unwrap_or(u16::MAX)).filter(|chunk| self.contains(*chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_there_until_it_is_taken_out_and_nothing_beyond_the_end_is() {
        let mut set = ChunkSet::empty(100);
        for chunk in [0, 63, 64, 99, 99, 500] {
            set.insert(chunk);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 99]);
        set.remove(64);
        set.remove(65);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 99]);
        assert!(set.contains(63) && !set.contains(64) && !set.contains(500));
    }
}
