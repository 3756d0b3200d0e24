//! When the generator itself stood still: an interrupt or the host took its core away, and nothing was sent or seen.
//!
//! What was due or on its way then is late whatever the switch did, so its latency stands apart. A standstill lasts until
//! all that became due meanwhile has left. One of the switch is none: the generator goes on sending and looking beside it,
//! and what then comes at once may take the time that so many frames take.

/// The longest step of the generator between two looks at the clock when it neither sends nor receives, in picoseconds.
const LONGEST_STEP_PS: u64 = 2_000_000;

/// What each frame that was sent or received may add to a step: more than the lines of a long frame take.
const LONGEST_FRAME_PS: u64 = 200_000;

/// The standstills of one schedule.
#[derive(Debug)]
pub(crate) struct Standstills {
    /// The last look at the clock, in picoseconds.
    last_ps: u64,
    /// Frames that were sent or received since.
    moved: u64,
    /// By lane: frames of bursts before this one are touched by a standstill.
    touched: Box<[u64]>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// What became due while nothing ran is still being sent.
    CatchingUp,
}

impl Standstills {
    pub(crate) fn new(lanes: usize) -> Self {
        let touched = vec![0; lanes].into_boxed_slice();
        Self { last_ps: 0, moved: 0, touched, state: State::Running }
    }

    /// So many frames were sent or received.
    #[inline]
    pub(crate) fn moved(&mut self, frames: u64) {
        self.moved += frames;
    }

    /// The clock was looked at.
    #[inline]
    pub(crate) fn look(&mut self, now_ps: u64) {
        let longest_ps = LONGEST_STEP_PS + self.moved * LONGEST_FRAME_PS;
        if now_ps.saturating_sub(self.last_ps) > longest_ps {
            self.state = State::CatchingUp;
            self.touched.fill(u64::MAX);
        }
        self.last_ps = now_ps;
        self.moved = 0;
    }

    /// Nothing is due any more; `gone` are the bursts of each lane that have left.
    #[inline]
    pub(crate) fn caught_up(&mut self, gone: impl Iterator<Item = u64>) {
        if self.state == State::CatchingUp {
            self.state = State::Running;
            self.touched.iter_mut().zip(gone).for_each(|(touched, gone)| *touched = gone);
        }
    }

    /// Whether a frame of this burst was due, or on its way, while the generator stood still.
    #[inline]
    pub(crate) fn touches(&self, lane: usize, burst: u64) -> bool {
        self.touched.get(lane).is_some_and(|touched| burst < *touched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: u64 = LONGEST_STEP_PS;

    #[test]
    fn a_step_is_a_standstill_only_beyond_its_longest() {
        let mut standstills = Standstills::new(1);
        standstills.look(STEP);
        assert!(!standstills.touches(0, 0));
        standstills.look(2 * STEP + 1);
        assert!(standstills.touches(0, 0));
    }

    #[test]
    fn a_step_may_be_longer_for_each_frame_of_it() {
        let longest = STEP + 1024 * LONGEST_FRAME_PS;
        for (step, frames, is_one) in
            [(longest, 1024, false), (longest + 1, 1024, true), (longest, 1023, true)]
        {
            let mut standstills = Standstills::new(1);
            standstills.moved(frames);
            standstills.look(step);
            assert_eq!(standstills.touches(0, 0), is_one, "{frames} frames in {step} ps");
        }
    }

    #[test]
    fn frames_are_touched_until_all_that_was_due_has_left() {
        let mut standstills = Standstills::new(2);
        standstills.look(3 * STEP);
        standstills.look(3 * STEP + 1);
        assert!(standstills.touches(0, 1_000_000) && standstills.touches(1, 1_000_000));
        standstills.caught_up([10, 12].into_iter());
        assert!(standstills.touches(0, 9) && !standstills.touches(0, 10));
        assert!(standstills.touches(1, 11) && !standstills.touches(1, 12));
        // Later ones do not take back what was touched before.
        standstills.caught_up([20, 20].into_iter());
        assert!(standstills.touches(0, 9) && !standstills.touches(0, 10));
    }
}
