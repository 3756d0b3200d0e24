//! The descriptors that were read from an rx ring and have not become frames yet, cut where frames end. Used by the worker.

use helio_frame::BURST_FRAMES;
use xsk_rs::FrameDesc;

/// Descriptors that are read ahead: a burst, behind a frame that the last one cut in two.
const WINDOW: usize = 2 * BURST_FRAMES;

/// What descriptors at the beginning of a window are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A frame.
    Frame,
    /// The beginning of a frame in more chunks than any frame has.
    Endless,
    /// More of such a frame, whose beginning was cut off before.
    Remainder,
}

#[derive(Debug)]
pub(crate) struct Window {
    descriptors: Box<[FrameDesc; WINDOW]>,
    /// Those from here on have not been cut off yet,
    start: usize,
    /// and here they end.
    end: usize,
    /// The beginning of a frame without end was cut off, and its end was not.
    is_amid_endless: bool,
}

impl Window {
    pub(crate) fn new() -> Self {
        let descriptors = Box::new([FrameDesc::default(); WINDOW]);
        Self { descriptors, start: 0, end: 0, is_amid_endless: false }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// All that were not cut off yet, in order.
    #[inline]
    pub(crate) fn waiting(&self) -> &[FrameDesc] {
        self.descriptors.get(self.start..self.end).unwrap_or_default()
    }

    /// Lets `read` write descriptors behind those that are there, a burst at most. It returns how many it wrote.
    #[inline]
    pub(crate) fn read_on(&mut self, read: impl FnOnce(&mut [FrameDesc]) -> usize) {
        self.descriptors.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let last = (self.end + BURST_FRAMES).min(WINDOW);
        let Some(room) = self.descriptors.get_mut(self.end..last) else { return };
        self.end += read(room).min(room.len());
    }

    /// The frame at the beginning, if it lies in one chunk.
    #[inline]
    pub(crate) fn only(&self) -> Option<&FrameDesc> {
        let first = self.waiting().first()?;
        (!first.has_more_frames() && !self.is_amid_endless).then_some(first)
    }

    /// Cuts the frame off that [`Window::only`] told.
    #[inline]
    pub(crate) fn cut_only(&mut self) {
        debug_assert!(self.only().is_some(), "no frame in one chunk stands at the beginning");
        self.start += 1;
    }

    /// What stands at the beginning, and in how many descriptors. `None`: nothing, or a part of a frame.
    #[inline]
    pub(crate) fn next(&self) -> Option<(Cut, usize)> {
        let window = self.waiting();
        let whole = window.iter().position(|desc| !desc.has_more_frames()).map(|last| last + 1);
        match (whole, self.is_amid_endless) {
            (Some(count), false) => Some((Cut::Frame, count)),
            (Some(count), true) => Some((Cut::Remainder, count)),
            (None, true) if !window.is_empty() => Some((Cut::Remainder, window.len())),
            (None, false) if window.len() == WINDOW => Some((Cut::Endless, WINDOW)),
            (None, _) => None,
        }
    }

    /// Cuts that off.
    #[inline]
    pub(crate) fn cut(&mut self) -> Option<(Cut, &[FrameDesc])> {
        let (cut, count) = self.next()?;
        let pieces = self.descriptors.get(self.start..self.start + count)?;
        self.start += count;
        self.is_amid_endless =
            cut != Cut::Frame && pieces.last().is_some_and(FrameDesc::has_more_frames);
        Some((cut, pieces))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Descriptors of frames in so many chunks each.
    fn ring(frames: &[usize]) -> Vec<FrameDesc> {
        let chunks = frames.iter().flat_map(|chunks| (1..=*chunks).map(move |at| at < *chunks));
        chunks
            .map(|goes_on| {
                let mut desc = FrameDesc::default();
                desc.set_options(u32::from(goes_on));
                desc
            })
            .collect()
    }

    /// All that is cut off when the kernel brings `ring`, `step` descriptors at a time.
    fn cuts(ring: &[FrameDesc], step: usize) -> Vec<(Cut, usize)> {
        let (mut window, mut left, mut cuts) = (Window::new(), ring, Vec::new());
        while !left.is_empty() {
            window.read_on(|room| {
                let count = step.min(room.len()).min(left.len());
                room[..count].copy_from_slice(&left[..count]);
                left = &left[count..];
                count
            });
            while let Some(next) = window.next() {
                let (cut, pieces) = window.cut().unwrap();
                assert_eq!((cut, pieces.len()), next);
                cuts.push(next);
            }
        }
        assert!(window.is_empty());
        cuts
    }

    fn count(cuts: &[(Cut, usize)], wanted: Cut) -> usize {
        cuts.iter().filter(|(cut, _)| *cut == wanted).count()
    }

    #[test]
    fn frames_are_cut_where_they_end_however_the_kernel_brings_them() {
        let frames = [1, 3, 1, WINDOW, 17, 1];
        for step in [1, 5, BURST_FRAMES] {
            let expected: Vec<_> = frames.iter().map(|chunks| (Cut::Frame, *chunks)).collect();
            assert_eq!(cuts(&ring(&frames), step), expected, "{step}");
        }
    }

    #[test]
    fn frames_in_one_chunk_are_cut_off_by_themselves_and_no_others_are() {
        let frames = [1, 1, 3, 1, WINDOW + 1, 1, 1];
        let (ring, mut window) = (ring(&frames), Window::new());
        let (mut left, mut alone, mut others) = (ring.as_slice(), 0, Vec::new());
        while !left.is_empty() {
            window.read_on(|room| {
                let count = room.len().min(left.len());
                room[..count].copy_from_slice(&left[..count]);
                left = &left[count..];
                count
            });
            while let Some(next) = window.next() {
                assert_eq!(window.only().is_some(), next == (Cut::Frame, 1));
                if window.only().is_some() {
                    window.cut_only();
                    alone += 1;
                } else {
                    others.push(window.cut().unwrap().0);
                }
            }
            assert!(window.only().is_none());
        }
        assert_eq!((alone, others), (5, vec![Cut::Frame, Cut::Endless, Cut::Remainder]));
    }

    #[test]
    fn a_frame_without_end_has_one_beginning_however_long_it_is() {
        for chunks in [WINDOW + 1, 2 * WINDOW, 5 * WINDOW + 3] {
            for step in [1, 5, BURST_FRAMES] {
                let cuts = cuts(&ring(&[2, chunks, 1, 1]), step);
                assert_eq!(count(&cuts, Cut::Endless), 1, "{chunks} {step}");
                assert_eq!(count(&cuts, Cut::Frame), 3, "{chunks} {step}");
                let all: usize = cuts.iter().map(|(_, chunks)| chunks).sum();
                assert_eq!(all, chunks + 4, "{chunks} {step}");
            }
        }
    }

    #[test]
    fn a_second_frame_without_end_has_a_beginning_of_its_own() {
        let cuts = cuts(&ring(&[WINDOW + 1, WINDOW + 1]), BURST_FRAMES);
        assert_eq!((count(&cuts, Cut::Endless), count(&cuts, Cut::Frame)), (2, 0));
    }
}
