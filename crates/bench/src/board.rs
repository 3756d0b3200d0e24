//! What arrived at one guest, by lane and by what it was.
//!
//! Owned by the thread that plays the guests; entered once for each frame.

use helio_guest::FrameView;

use crate::forge::Judgement;
use crate::frame_plan::Payload;
use crate::tally::Tally;

/// Lane numbers from here on mark frames that only make guests known.
pub(crate) const INTRODUCTIONS: u16 = 0xff00;

/// What arrived at one guest.
#[derive(Debug)]
pub(crate) struct Board {
    payload: Payload,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) corrupt: u64,
    pub(crate) foreign: u64,
    pub(crate) introductions: u64,
    /// By lane.
    pub(crate) tallies: Vec<Tally>,
}

impl Board {
    pub(crate) fn new(payload: Payload, lanes: usize, receiveqs: usize) -> Self {
        Self {
            payload,
            frames: 0,
            bytes: 0,
            corrupt: 0,
            foreign: 0,
            introductions: 0,
            tallies: (0..lanes).map(|_| Tally::new(0, receiveqs)).collect(),
        }
    }

    #[inline]
    pub(crate) fn count(&mut self, view: &FrameView<'_>) {
        self.frames += 1;
        self.bytes += view.len() as u64;
    }

    /// Counts a frame that came on this receiveq by what it is; its lane and number when it is one of a lane.
    #[inline]
    pub(crate) fn enter(
        &mut self,
        judgement: Judgement,
        view: &FrameView<'_>,
        receiveq: usize,
    ) -> Option<(usize, u64)> {
        match judgement {
            Judgement::Intact { lane, sequence } => {
                let number = usize::from(lane);
                let Some(tally) = self.tallies.get_mut(number) else {
                    self.introductions += u64::from(lane >= INTRODUCTIONS);
                    return None;
                };
                tally.record(sequence, view.len() as u64, receiveq);
                self.frames += 1;
                Some((number, sequence))
            }
            Judgement::Corrupt => {
                self.corrupt += 1;
                None
            }
            Judgement::Foreign => {
                self.foreign += 1;
                None
            }
        }
    }

    /// The number up to which frames of a lane have passed.
    #[inline]
    pub(crate) fn passed(&self, lane: usize) -> u64 {
        match self.payload {
            // Without numbers there is one lane to this guest, and all frames are of it.
            Payload::None => self.frames,
            Payload::Line | Payload::All => self.tallies.get(lane).map_or(0, Tally::end),
        }
    }
}
