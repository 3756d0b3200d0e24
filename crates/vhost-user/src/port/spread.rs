//! Delivering to a guest that receives on several queues. Used by the worker.
//!
//! A burst is delivered in two passes, as it is to one queue: first each queue looks at as many buffers as frames will go to it,
//! and fetches them; then neighbours that go to the same queue are offered to it together. Both passes serve one pair after the
//! other, each as if it were the only one. So each queue gets its frames in order, and nothing is said of frames on different
//! ones: those are of different flows.
//!
//! The pair of a frame follows from its headers. It is found out for each pass, but only once when a burst is one run. A frame
//! that is refused ends a run, and what is left of that comes again: it is not prepared for again, and as few frames are offered
//! together from then on as are taken together ([`Stride`]), as the pair of each was found out. So what a frame costs does not grow
//! with how many are refused: 52 ns where each of a burst for one of two queues was too long, which took 232 when all others behind it
//! were looked at again. Nor does what is walked in a turn grow with the number of queues: it counts together.
//!
//! Between near cores a frame of 64 bytes takes 24 ns so with two pairs, where it took 97 when frames were offered one by one and
//! nothing was fetched; 32 instead of 96 when its neighbours are of another pair, 35 instead of 155 with four pairs.

use arrayvec::ArrayVec;
use helio_frame::{BURST_FRAMES, Frame, Port, Readiness, Run, RunEnd};
use helio_offload::flow_hash;
use helio_types::DropReason;

use super::VhostPort;

/// The pairs that the first frames of a run go to.
type Receivers = ArrayVec<Option<u8>, BURST_FRAMES>;

/// How many neighbours for the same queue are offered to it together: all, until one of them is refused and others may not be. Then
/// one, and twice as many each time that all are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stride(usize);

impl Stride {
    pub(super) const ALL: Self = Self(usize::MAX);

    /// After `frames` frames were offered together, and this became of them.
    #[inline]
    fn after(self, frames: usize, end: &RunEnd) -> Self {
        match end.refused {
            None => Self(self.0.saturating_mul(2)),
            Some((_, count)) if end.written + count >= frames => self,
            Some(_) => Self(1),
        }
    }
}

impl VhostPort {
    /// As [`Port::prepare`], for several receiveqs.
    #[inline(never)]
    pub(super) fn prepare_several(&mut self, frames: &[Frame]) -> Readiness {
        let (readiness, receivers) = self.look_ahead(frames);
        // Frames that there is no buffer for need not be offered.
        if readiness != Readiness::NoBuffer {
            self.foreseen += receivers.len();
        }
        readiness
    }

    /// Lets each receiveq look at buffers for those of the frames that it will get. Returns whether there are any, and where the
    /// first frames will go.
    fn look_ahead(&mut self, frames: &[Frame]) -> (Readiness, Receivers) {
        let receivers = frames.iter().map(|frame| self.receiver_of(frame));
        let receivers: Receivers = receivers.take(BURST_FRAMES).collect();
        let (mut readiness, mut left) = (None, frames);
        for same in receivers.chunk_by(|one, next| one == next) {
            let (these, others) = left.split_at(same.len().min(left.len()));
            if let Some(pair) = same.first().copied().flatten() {
                let here = self.serve(pair, |port| port.prepare(these));
                readiness = Some(readiness.map_or(here, |others| of_both(others, here)));
            }
            left = others;
        }
        // Nobody looked for buffers for frames beyond the first.
        let readiness = readiness.filter(|_| left.is_empty()).unwrap_or(Readiness::Unknown);
        (readiness, receivers)
    }

    /// As [`Port::offer_run`], for several receiveqs, or none.
    #[inline(never)]
    pub(super) fn offer_to_several(&mut self, run: Run<'_>) -> RunEnd {
        let mut known = Receivers::new();
        if self.foreseen == 0 {
            (_, known) = self.look_ahead(run.frames);
            self.foreseen = known.len();
        }
        let end = self.offer_spread(&known, run);
        let refused = end.refused.map_or(0, |(_, count)| count);
        self.foreseen = self.foreseen.saturating_sub(end.written + refused);
        end
    }

    /// Offers each frame to its pair, neighbours for the same one together, until one is refused. Of the first frames it is
    /// `known` which pair that is.
    fn offer_spread(&mut self, known: &[Option<u8>], run: Run<'_>) -> RunEnd {
        let (mut written, mut next) = (0, self.receiver_at(0, known, run));
        while let Some(receiver) = next {
            let mut end = written;
            while next == Some(receiver) && end - written < self.stride.0 {
                end += 1;
                next = self.receiver_at(end, known, run);
            }
            let frames = run.frames.get(written..end).unwrap_or_default();
            let part = self.serve(receiver, |port| port.offer_run(Run { frames, ..run }));
            self.stride = self.stride.after(frames.len(), &part);
            written += part.written;
            if part.refused.is_some() {
                return RunEnd { written, ..part };
            }
        }
        let left = RunEnd::none(run.frames.len() - written, DropReason::PortDown);
        RunEnd { written, ..left }
    }

    /// Does `what` while the receiveq of `pair` is the only one. What it walks of what the guest offers counts with that of the
    /// others.
    #[inline]
    pub(super) fn serve<T>(&mut self, pair: u8, what: impl FnOnce(&mut Self) -> T) -> T {
        self.steering.narrow(pair);
        let walked = self.walked;
        // Nearly always none: what is found ahead is not walked.
        if walked > 0 {
            self.receiveq(pair).into_iter().for_each(|queue| queue.go_on_from(walked));
        }
        let done = what(self);
        self.steering.widen();
        done
    }

    /// The pair of the frame at `place` in a run; `None` behind its end too.
    #[inline]
    fn receiver_at(&self, place: usize, known: &[Option<u8>], run: Run<'_>) -> Option<u8> {
        let found = || run.frames.get(place).and_then(|frame| self.receiver_of(frame));
        known.get(place).copied().unwrap_or_else(found)
    }

    #[inline]
    fn receiver_of(&self, frame: &Frame) -> Option<u8> {
        self.steering.receiver_of(|| flow_hash(frame.head.bytes()))
    }
}

/// What is known of two queues together.
fn of_both(one: Readiness, other: Readiness) -> Readiness {
    match (one, other) {
        (Readiness::NoBuffer, Readiness::NoBuffer) => Readiness::NoBuffer,
        (Readiness::Room, _) | (_, Readiness::Room) => Readiness::Room,
        _ => Readiness::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_behind_a_refused_one_are_offered_one_by_one_until_they_are_taken() {
        let too_small = |written| RunEnd::refused(written, DropReason::RxBufferTooSmall);
        assert_eq!(Stride::ALL.after(64, &RunEnd::all(64)), Stride::ALL);
        // Nothing is left that would be found out again.
        assert_eq!(Stride::ALL.after(64, &RunEnd::none(64, DropReason::NoRxBuffer)), Stride::ALL);
        assert_eq!(Stride::ALL.after(64, &too_small(63)), Stride::ALL);
        let careful = Stride::ALL.after(64, &too_small(62));
        assert_eq!(careful, Stride(1));
        assert_eq!(careful.after(1, &too_small(0)), Stride(1));
        let taken = careful.after(1, &RunEnd::all(1));
        assert_eq!(taken, Stride(2));
        assert_eq!(taken.after(2, &RunEnd::all(2)), Stride(4));
        assert_eq!(Stride(4).after(4, &too_small(1)), Stride(1));
    }

    #[test]
    fn queues_are_without_a_buffer_only_if_all_are_and_have_room_if_one_has() {
        use Readiness::{NoBuffer, Room, Unknown};
        for (one, other, both) in [
            (NoBuffer, NoBuffer, NoBuffer),
            (NoBuffer, Unknown, Unknown),
            (Unknown, Unknown, Unknown),
            (NoBuffer, Room, Room),
            (Unknown, Room, Room),
            (Room, Room, Room),
        ] {
            assert_eq!((of_both(one, other), of_both(other, one)), (both, both));
        }
    }
}
