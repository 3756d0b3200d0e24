//! Who plays, where, and with which rings.

use std::path::PathBuf;
use std::time::Duration;

use helio_guest::{BurstConfig, Cutting, HeaderPlace, Pages, Rewriting, SetupOrder, features};
use serde::Serialize;

use crate::error::BenchError;
use crate::frame_plan::{FramePlan, Payload};

/// Bytes before each frame in a ring.
const NET_HEADER_BYTES: u32 = 12;

/// Which end of the sockets we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// The switch listens.
    #[default]
    Connect,
    /// The switch connects.
    Listen,
}

/// Frames go from one guest to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LanePlan {
    /// Number of the guest that sends, in the order of the sockets.
    pub from: usize,
    /// Number of the guest that receives.
    pub to: usize,
}

/// How the rings of all guests are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingPlan {
    /// Queue pairs of each guest; at least one.
    pub queue_pairs: u16,
    /// Descriptors of each ring.
    pub size: u16,
    /// Features that the guests take when they are offered. See [`helio_guest::features`].
    pub features: u64,
    /// Bytes of a receive buffer, net header included; `None` chooses by the frames.
    pub rx_buffer_bytes: Option<u32>,
    /// How sent frames are cut into descriptors.
    pub cutting: Cutting,
    /// Where net headers lie.
    pub header_place: HeaderPlace,
    /// Whether unchanged ring bytes are stored again.
    pub rewriting: Rewriting,
    /// What guest memory is made of.
    pub pages: Pages,
    /// The order of messages at the start.
    pub setup_order: SetupOrder,
}

impl Default for RingPlan {
    /// One pair, 1024 descriptors and no feature that costs time.
    fn default() -> Self {
        Self {
            queue_pairs: 1,
            size: 1024,
            features: features::VERSION_1,
            rx_buffer_bytes: None,
            cutting: Cutting::Whole,
            header_place: HeaderPlace::LineBefore,
            rewriting: Rewriting::Changes,
            pages: Pages::Usual,
            setup_order: SetupOrder::Qemu,
        }
    }
}

/// Everything about the guests of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagePlan {
    /// One socket for each guest.
    pub sockets: Vec<PathBuf>,
    /// Which end of them we are.
    pub attach: Attach,
    /// Who sends to whom. Guests that take no part in any lane watch.
    pub lanes: Vec<LanePlan>,
    /// What is sent.
    pub frames: FramePlan,
    /// Through which rings.
    pub rings: RingPlan,
    /// Frames that are offered with one store.
    pub burst: u16,
    /// How long the switch may take to connect and to pass the first frame.
    pub patience: Duration,
}

impl StagePlan {
    /// The first two guests send to each other; those at the other sockets watch.
    #[must_use]
    pub fn new(sockets: Vec<PathBuf>) -> Self {
        let lanes = vec![LanePlan { from: 0, to: 1 }, LanePlan { from: 1, to: 0 }];
        Self {
            sockets,
            attach: Attach::Connect,
            lanes,
            frames: FramePlan::default(),
            rings: RingPlan::default(),
            burst: 32,
            patience: Duration::from_secs(10),
        }
    }

    /// Whether the plan can be carried out.
    ///
    /// # Errors
    ///
    /// The first contradiction.
    pub fn check(&self) -> Result<(), BenchError> {
        let refuse = |text: &str| Err(BenchError::Plan(text.to_owned()));
        let guests = self.sockets.len();
        if guests < 2 {
            return refuse("there must be two guests at least: name the sockets of two ports");
        }
        if self.lanes.is_empty() {
            return refuse("nobody sends: there must be at least one pair");
        }
        if self.lanes.iter().any(|lane| lane.from == lane.to) {
            return refuse("a guest cannot send to itself");
        }
        if self.lanes.iter().any(|lane| lane.from >= guests || lane.to >= guests) {
            return refuse("a pair names a guest for which there is no socket");
        }
        for guest in 0..guests {
            if self.lanes.iter().filter(|lane| lane.from == guest).count() > 1 {
                return refuse("a guest sends to one other guest only");
            }
            let receives = self.lanes.iter().filter(|lane| lane.to == guest).count();
            if receives > 1 && self.frames.payload == Payload::None {
                return refuse("with payload \"none\" a guest receives from one other guest only");
            }
        }
        if self.rings.queue_pairs == 0 || self.rings.queue_pairs > 128 {
            return refuse("a guest has 1 to 128 queue pairs");
        }
        if self.rings.queue_pairs > 1 && self.frames.payload == Payload::None {
            return refuse("with payload \"none\" a guest has one queue pair");
        }
        if !self.is_mergeable()
            && self.rx_buffer_bytes() < self.frames.max_bytes() + NET_HEADER_BYTES
        {
            return refuse(
                "receive buffers are shorter than the frames: take longer ones, or mergeable ones",
            );
        }
        if self.window() == 0 {
            return refuse(
                "the rings hold not one frame for each sender: take larger rings, shorter frames, or fewer senders",
            );
        }
        if self.burst == 0 || self.burst > self.rings.size {
            let (burst, ring) = (self.burst, self.rings.size);
            return refuse(&format!(
                "a ring of {ring} holds no burst of {burst} frames: take smaller bursts or larger rings"
            ));
        }
        Ok(())
    }

    /// Guests that take no part in any lane.
    pub(crate) fn watchers(&self) -> impl Iterator<Item = usize> {
        let takes_part =
            |guest: usize| self.lanes.iter().any(|lane| lane.from == guest || lane.to == guest);
        (0..self.sockets.len()).filter(move |guest| !takes_part(*guest))
    }

    /// Frames of one transmitq that may be on the way without any ring running full, watchers' included. All of them may go
    /// to the same receiveq: which one is up to the switch.
    pub(crate) fn window(&self) -> u16 {
        let shared = if self.watchers().next().is_some() { self.lanes.len() } else { 1 };
        let most = (0..self.sockets.len())
            .map(|guest| self.lanes.iter().filter(|lane| lane.to == guest).count())
            .max()
            .unwrap_or(1)
            .max(shared);
        let buffers = u32::from(self.rings.size) / self.buffers_per_frame();
        let senders = most * usize::from(self.rings.queue_pairs.max(1));
        let frames = usize::try_from(buffers).unwrap_or(usize::MAX) / senders;
        u16::try_from(frames).unwrap_or(u16::MAX)
    }

    /// Receive buffers that the longest frame takes.
    pub(crate) fn buffers_per_frame(&self) -> u32 {
        (self.frames.max_bytes() + NET_HEADER_BYTES).div_ceil(self.rx_buffer_bytes()).max(1)
    }

    fn rx_buffer_bytes(&self) -> u32 {
        let needed = self.frames.max_bytes() + 16;
        let usual = if self.is_mergeable() { 1536 } else { needed.max(1536) };
        self.rings.rx_buffer_bytes.unwrap_or(usual)
    }

    fn is_mergeable(&self) -> bool {
        self.rings.features & features::MRG_RXBUF != 0
    }

    /// The guest that plays by this plan.
    pub(crate) fn guest(&self) -> BurstConfig {
        BurstConfig {
            features: self.rings.features,
            queue_pairs: self.rings.queue_pairs,
            ring_size: self.rings.size,
            rx_buffer_bytes: self.rx_buffer_bytes(),
            max_frame_bytes: self.frames.max_bytes(),
            rewritten_bytes: self.frames.touched_bytes(),
            read_bytes: self.frames.touched_bytes(),
            cutting: self.rings.cutting,
            net_header: self.frames.net_header(),
            header_place: self.rings.header_place,
            rewriting: self.rings.rewriting,
            pages: self.rings.pages,
            setup_order: self.rings.setup_order,
            ..BurstConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(guests: usize, lanes: &[(usize, usize)]) -> StagePlan {
        let sockets = (0..guests).map(|guest| PathBuf::from(format!("/g{guest}"))).collect();
        let lanes = lanes.iter().map(|&(from, to)| LanePlan { from, to }).collect();
        StagePlan { lanes, ..StagePlan::new(sockets) }
    }

    #[test]
    fn a_plan_that_contradicts_itself_is_refused() {
        assert!(plan(2, &[(0, 1), (1, 0)]).check().is_ok());
        for (guests, lanes) in
            [(2, &[][..]), (2, &[(0, 0)]), (2, &[(0, 2)]), (3, &[(0, 1), (0, 2)])]
        {
            assert!(plan(guests, lanes).check().is_err(), "{lanes:?}");
        }
        let mut counted = plan(3, &[(0, 2), (1, 2)]);
        assert!(counted.check().is_ok());
        counted.frames.payload = Payload::None;
        assert!(counted.check().is_err());
    }

    #[test]
    fn watchers_are_the_guests_in_no_lane_and_share_the_window() {
        let plan = plan(4, &[(0, 1), (1, 0)]);
        assert_eq!(plan.watchers().collect::<Vec<_>>(), [2, 3]);
        assert_eq!(plan.window(), 512);
        assert_eq!(super::tests::plan(2, &[(0, 1), (1, 0)]).window(), 1024);
        assert_eq!(super::tests::plan(3, &[(0, 2), (1, 2)]).window(), 512);
    }

    #[test]
    fn queue_pairs_share_the_window_because_all_may_end_in_one_receiveq() {
        let mut plan = plan(2, &[(0, 1), (1, 0)]);
        plan.rings.queue_pairs = 4;
        assert_eq!(plan.window(), 256);
        plan.rings.size = 64;
        plan.rings.queue_pairs = 64;
        assert!(plan.check().is_ok());
        plan.rings.queue_pairs = 65;
        assert!(plan.check().is_err(), "no frame could be on the way");
        plan.rings.queue_pairs = 2;
        plan.frames.payload = Payload::None;
        assert!(plan.check().is_err());
    }

    #[test]
    fn buffers_hold_a_whole_frame_unless_they_are_merged() {
        let mut plan = plan(2, &[(0, 1)]);
        plan.frames.sizes = vec![600];
        plan.rings.rx_buffer_bytes = Some(612);
        assert!(plan.check().is_ok());
        plan.rings.rx_buffer_bytes = Some(611);
        assert!(plan.check().is_err());
        plan.rings.features |= features::MRG_RXBUF;
        assert!(plan.check().is_ok());
    }

    #[test]
    fn long_frames_take_several_merged_buffers() {
        let mut plan = plan(2, &[(0, 1)]);
        plan.rings.features |= features::MRG_RXBUF;
        plan.frames.sizes = vec![9014];
        assert_eq!(plan.window(), 1024 / 6);
    }
}
