//! One frame in N.

use std::num::NonZeroU32;

/// Takes one frame of every N, from a random one on. Of any N frames in a row exactly one is taken. Each worker has its own for
/// each session.
///
/// A frame is what a guest sends: one of TSO is taken with all its segments, or left. So a count of frames taken times N is a
/// count of frames, short of N at most; copies are counted as on a wire, and where guests leave segmentation to the switch,
/// their number times N is that of the frames on a wire only in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// Frames to let pass before the next one that is taken.
    left: u32,
    one_in: NonZeroU32,
}

impl Sampler {
    /// Takes one frame of every `one_in`; with 1, all. `random` is any number, and decides which of the first `one_in`
    /// frames is taken, so that hosts and workers do not take the same places of a pattern.
    #[must_use]
    pub fn new(one_in: NonZeroU32, random: u32) -> Self {
        Self { left: random % one_in, one_in }
    }

    /// Counts a frame, and says whether it is taken.
    #[inline]
    #[must_use]
    pub fn takes(&mut self) -> bool {
        let taken = self.left == 0;
        self.left = if taken { self.one_in.get() } else { self.left } - 1;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(one_in: u32, random: u32, frames: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(NonZeroU32::new(one_in).unwrap(), random);
        (0..frames).filter(|_| sampler.takes()).collect()
    }

    #[test]
    fn of_any_n_frames_in_a_row_exactly_one_is_taken() {
        for one_in in [1_u32, 2, 3, 7, 100] {
            let n = one_in as usize;
            for random in [0, 1, one_in - 1, one_in, u32::MAX] {
                let taken = taken(one_in, random, 5 * n);
                for start in 0..=4 * n {
                    let of_window = taken.iter().filter(|&&at| (start..start + n).contains(&at));
                    assert_eq!(of_window.count(), 1, "1 in {one_in}, from {start}");
                }
            }
        }
    }

    #[test]
    fn each_of_the_first_n_frames_can_be_the_first_that_is_taken() {
        let first: Vec<_> = (0..5).map(|random| taken(5, random, 5)).collect();
        assert_eq!(first, [[0], [1], [2], [3], [4]]);
    }

    #[test]
    fn the_rarest_sampling_takes_its_frame() {
        let mut sampler = Sampler::new(NonZeroU32::MAX, 1);
        assert_eq!([sampler.takes(), sampler.takes(), sampler.takes()], [false, true, false]);
    }
}
