//! What is known of an uplink, for operators and for its worker: written by its control thread.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use helio_host::{Interface, Link, PortState, Stage};
use helio_types::UplinkMode;

use crate::sockets::{KERNEL_TX_BUDGET, KernelDrops, LINK_BYTES, Mover, Source};
use crate::umem::{CHUNKS, Pages};

/// The way in which an interface is used; what is asked for is an [`UplinkMode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UplinkWay {
    /// The card reads and writes the chunks itself.
    ZeroCopy,
    /// The driver runs the XDP program, and the kernel copies.
    Copy,
    /// The kernel runs the XDP program on frames that it has taken, and copies.
    Skb,
}

impl UplinkWay {
    /// The ways that `mode` allows, best first.
    pub(crate) fn of(mode: UplinkMode) -> &'static [Self] {
        match mode {
            UplinkMode::Auto => &[Self::ZeroCopy, Self::Copy, Self::Skb],
            UplinkMode::ZeroCopy => &[Self::ZeroCopy],
            UplinkMode::Copy => &[Self::Copy],
            UplinkMode::Skb => &[Self::Skb],
        }
    }

    /// Who moves the bytes.
    pub(crate) fn mover(self) -> Mover {
        match self {
            Self::ZeroCopy => Mover::Card,
            Self::Copy | Self::Skb => Mover::Kernel,
        }
    }

    /// The name in lists and JSON: the same word as the mode that asks for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy => UplinkMode::ZeroCopy.name(),
            Self::Copy => UplinkMode::Copy.name(),
            Self::Skb => UplinkMode::Skb.name(),
        }
    }
}

impl fmt::Display for UplinkWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whose memory the chunks of an uplink lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UmemUse {
    /// Its own: frames to and from other uplinks are copied.
    Own,
    /// That of several uplinks: a frame from one to another stays where it is.
    Shared,
}

impl UmemUse {
    pub(crate) fn of(source: &Source) -> Self {
        match source {
            Source::Own(_) => Self::Own,
            Source::Shared(_) => Self::Shared,
        }
    }
}

/// How an interface is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkFacts {
    /// The way that was got.
    pub way: UplinkWay,
    /// Queues in use: on each of them frames are received.
    pub queues: u32,
    /// On how many of them, from the first on, frames are sent: an interface can have fewer for that.
    pub sending_queues: u32,
    /// Bytes of the longest packet that the interface sends, without link headers.
    pub mtu: u32,
    /// Whether a frame may lie in several chunks, as one longer than 3840 bytes must.
    pub multi_buffer: bool,
    /// What its chunks lie in.
    pub pages: Pages,
    /// Whose memory they lie in.
    pub umem: UmemUse,
    /// Whether the worker makes the driver look for frames, so that the card need not interrupt.
    pub busy_poll: bool,
    /// Most frames that one call of the kernel sends; `None` where the card takes them by itself.
    pub tx_budget: Option<u32>,
}

impl UplinkFacts {
    /// Chunks of all its queues.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        self.queues * CHUNKS
    }
}

#[derive(Debug, Default)]
struct Details {
    stage: Stage<UplinkFacts>,
    /// The sockets, while the interface is open.
    sockets: Vec<OwnedFd>,
    /// What is not as an operator would expect, while the interface is open.
    note: Option<String>,
    /// The same of its driver, which may change.
    driver_note: Option<String>,
    /// The operator has set it down: that it has no link is no fault of the wire.
    is_set_down: bool,
    /// What the kernel dropped before the sockets that are open now.
    dropped_before: KernelDrops,
}

/// Status of one uplink.
#[derive(Debug, Default)]
pub(crate) struct Status {
    /// Read by the worker.
    has_link: AtomicBool,
    /// Longest frame that the interface sends, in bytes. Read by the worker.
    longest: AtomicU32,
    details: Mutex<Details>,
}

impl Status {
    #[inline]
    pub(crate) fn link(&self) -> Link {
        if self.has_link.load(Ordering::Relaxed) { Link::Up } else { Link::Down }
    }

    pub(crate) fn set_link(&self, link: Link) {
        self.has_link.store(link == Link::Up, Ordering::Relaxed);
    }

    /// Notes whether the interface carries frames, and if not, whose turn it is.
    pub(crate) fn look(&self, interface: &Interface) {
        self.details().is_set_down = !interface.is_set_up;
        self.set_link(interface.link);
    }

    #[inline]
    pub(crate) fn longest(&self) -> u32 {
        self.longest.load(Ordering::Relaxed)
    }

    /// Longest packet, in bytes; not known, and no limit, before the interface was opened first.
    pub(crate) fn mtu(&self) -> u32 {
        self.longest().checked_sub(LINK_BYTES).unwrap_or(u32::MAX)
    }

    pub(crate) fn set_mtu(&self, mtu: u32) {
        self.longest.store(mtu.saturating_add(LINK_BYTES), Ordering::Relaxed);
        if let Stage::Open(facts) = &mut self.details().stage {
            facts.mtu = mtu;
        }
    }

    fn details(&self) -> MutexGuard<'_, Details> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self) {
        self.details().stage = Stage::Opening;
    }

    pub(crate) fn end(&self) {
        self.details().stage = Stage::Stopped;
    }

    /// Notes why there is no interface. Whether that is another reason than before.
    pub(crate) fn refuse(&self, why: &str) -> bool {
        self.details().stage.refuse(why)
    }

    /// The worker has not answered for too long.
    pub(crate) fn worker_silent(&self) {
        self.details().stage = Stage::Silent;
    }

    /// A worker that has the queues, and may have been silent, has answered.
    pub(crate) fn has_answered(&self, facts: Option<UplinkFacts>) {
        if let Some(facts) = facts {
            self.details().stage = Stage::Open(facts);
        }
    }

    /// The worker has the queues of these sockets.
    pub(crate) fn open(&self, facts: UplinkFacts, sockets: Vec<OwnedFd>, note: Option<String>) {
        let mut details = self.details();
        details.stage = Stage::Open(facts);
        details.sockets = sockets;
        details.note = note;
        drop(details);
        self.set_mtu(facts.mtu);
    }

    /// The sockets are about to be closed. What they had dropped stays counted.
    pub(crate) fn close(&self, why: String) {
        let dropped = self.drops();
        let mut details = self.details();
        details.dropped_before = dropped;
        details.sockets.clear();
        details.note = None;
        details.driver_note = None;
        details.stage = Stage::Refused(why);
        drop(details);
        self.set_link(Link::Down);
    }

    /// Notes what is not as an operator would expect of the driver now.
    pub(crate) fn note_driver(&self, note: Option<&str>) {
        self.details().driver_note = note.map(str::to_owned);
    }

    pub(crate) fn facts(&self) -> Option<UplinkFacts> {
        self.details().stage.facts().copied()
    }

    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.details().stage, Stage::Opening)
    }

    /// What the kernel has dropped since the uplink was made.
    pub(crate) fn drops(&self) -> KernelDrops {
        let details = self.details();
        let mut drops = details.dropped_before;
        // There are sockets while the interface is open.
        let Some(facts) = details.stage.facts() else { return drops };
        for socket in &details.sockets {
            // A socket whose interface is gone still tells.
            drops.add(&KernelDrops::read(socket, facts).unwrap_or_default());
        }
        drops
    }

    /// The state of an uplink on `interface`.
    pub(crate) fn describe(&self, interface: &str) -> PortState {
        let details = self.details();
        let stage = &details.stage;
        let no_link = match details.is_set_down {
            true => format!("is set down: set it up by ip link set {interface} up"),
            false => "has no link".to_owned(),
        };
        let mut state =
            stage.describe(interface, self.link(), &no_link, |facts| sentence(interface, facts));
        for note in [&details.note, &details.driver_note].into_iter().flatten() {
            state.detail.push_str("; ");
            state.detail.push_str(note);
        }
        state
    }
}

/// How an interface is used, in words.
pub(crate) fn sentence(interface: &str, facts: &UplinkFacts) -> String {
    let UplinkFacts { way, queues, sending_queues, mtu, tx_budget, .. } = facts;
    let mut queues = if *queues == 1 { "1 queue".to_owned() } else { format!("{queues} queues") };
    if *sending_queues < facts.queues {
        queues.push_str(&format!(" ({sending_queues} to send on)"));
    }
    let small = tx_budget.filter(|budget| *budget <= KERNEL_TX_BUDGET);
    let small = small.map(|budget| format!(", {budget} frames sent by a call"));
    format!("{interface} in mode {way}, {queues}, MTU {mtu}{}", small.unwrap_or_default())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const FACTS: UplinkFacts = UplinkFacts {
        way: UplinkWay::Copy,
        queues: 1,
        sending_queues: 1,
        mtu: 1500,
        multi_buffer: true,
        pages: Pages::Ordinary,
        umem: UmemUse::Own,
        busy_poll: false,
        tx_budget: Some(256),
    };

    #[test]
    fn an_interface_with_fewer_queues_to_send_on_is_told() {
        let facts = UplinkFacts { queues: 4, sending_queues: 1, ..FACTS };
        assert_eq!(
            sentence("eth1", &facts),
            "eth1 in mode copy, 4 queues (1 to send on), MTU 1500"
        );
    }

    #[test]
    fn a_kernel_that_sends_few_frames_by_a_call_is_told() {
        let facts = UplinkFacts { tx_budget: Some(32), ..FACTS };
        let told = "eth1 in mode copy, 1 queue, MTU 1500, 32 frames sent by a call";
        assert_eq!(sentence("eth1", &facts), told);
    }

    #[test]
    fn each_stage_says_what_it_waits_for() {
        let status = Status::default();
        let told = |status: &Status| {
            let state = status.describe("eth1");
            (state.word.name(), state.detail)
        };
        assert_eq!(told(&status), ("down", "stopped".to_owned()));
        status.begin();
        assert_eq!(told(&status), ("waiting", "opening eth1".to_owned()));
        assert!(
            status.refuse("there is no interface eth1")
                && !status.refuse("there is no interface eth1")
        );
        assert_eq!(told(&status), ("waiting", "there is no interface eth1".to_owned()));
        status.open(FACTS, Vec::new(), None);
        assert_eq!(told(&status), ("waiting", "eth1 has no link".to_owned()));
        status.set_link(Link::Up);
        assert_eq!(told(&status), ("up", "eth1 in mode copy, 1 queue, MTU 1500".to_owned()));
        status.set_mtu(9000);
        assert_eq!((status.longest(), status.facts().unwrap().mtu), (9018, 9000));
        assert_eq!((status.mtu(), Status::default().mtu()), (9000, u32::MAX));
        status.note_driver(Some("the driver refuses"));
        let detail = "eth1 in mode copy, 1 queue, MTU 9000; the driver refuses";
        assert_eq!(told(&status), ("up", detail.to_owned()));
        status.note_driver(None);
        assert!(told(&status).1.ends_with("MTU 9000"));
        status.note_driver(Some("the driver refuses"));
        status.close("eth1 is gone".to_owned());
        assert_eq!(told(&status), ("waiting", "eth1 is gone".to_owned()));
    }

    #[test]
    fn auto_allows_all_ways_and_every_other_mode_one() {
        assert_eq!(UplinkWay::of(UplinkMode::Auto).len(), 3);
        for mode in [UplinkMode::ZeroCopy, UplinkMode::Copy, UplinkMode::Skb] {
            let ways = UplinkWay::of(mode);
            assert_eq!((ways.len(), ways[0].name()), (1, mode.name()));
        }
    }
}
