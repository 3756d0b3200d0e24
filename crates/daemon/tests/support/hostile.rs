//! A switch on which a pair exchanges frames while a liar breaks rules on a port of its own.

use std::os::fd::AsFd;

use helio_api::PortState;
use helio_frame::PortFault;
use helio_guest::{Descriptor, Flow, Guest, GuestConfig, Numbered, TestFrame};
use helio_types::DropReason;

use rustix::net::Shutdown;

use super::liar::{self, Liar, Side};
use super::pair::{Pair, VLAN};
use super::switch::{Placement, Plan, TestSwitch, mac};
use super::{PATIENCE, wait_until};

/// The scene. [`Hostile::end`] says whether the others were harmed.
pub struct Hostile {
    pub liar: Liar,
    pub pair: Pair,
    /// Sends frames to the liar, and gets those that it sends.
    pub tempter: Guest,
    pub temptation: Numbered,
    // Dropped last.
    pub switch: TestSwitch,
}

/// A plan with the ports of the pair, one for the liar, and one for frames to it and from it.
pub fn plan() -> Plan {
    let plan = Plan::new(Placement::OneWorker);
    plan.port("columbia", VLAN).port("crusader", VLAN).port("liar", "").port("tempter", "")
}

impl Hostile {
    pub fn new() -> Self {
        Self::with(liar::config(mac(2)))
    }

    pub fn with(config: GuestConfig) -> Self {
        let switch = plan().start();
        let pair = Pair::start(switch.guest("columbia"), switch.guest("crusader"));
        let guest = switch.guest_with("liar", config);
        let tempter = switch.guest("tempter");
        let flow = Flow { frame_bytes: 300, ..Flow::between(tempter.mac(), guest.mac()) };
        let liar = Liar::new(guest, tempter.mac());
        Self { liar, pair, tempter, temptation: Numbered::new(flow), switch }
    }

    /// Offers a chain by hand, whose head is the first descriptor, and waits until it has come back.
    #[track_caller]
    pub fn offer(&mut self, side: Side, chain: &[(u16, Descriptor)], head: u16) {
        let returned = self.liar.ring(side).raw_returned();
        self.liar.write_descriptors(side, chain);
        self.liar.offer(side, head);
        self.liar.wait_returned(side, returned + 1);
    }

    /// A chain on the transmitq is dropped for `reason`, comes back, and counts once.
    #[track_caller]
    pub fn refuses(&mut self, what: &str, reason: DropReason, chain: &[(u16, Descriptor)]) {
        let head = chain.first().map_or(0, |(index, _)| *index);
        self.refuses_head(what, reason, chain, head);
    }

    /// The same with another head.
    #[track_caller]
    pub fn refuses_head(
        &mut self,
        what: &str,
        reason: DropReason,
        chain: &[(u16, Descriptor)],
        head: u16,
    ) {
        let before = self.switch.port("liar");
        self.offer(Side::Transmit, chain, head);
        let mut expected = before.drops;
        *expected.entry(reason.name().to_owned()).or_default() += 1;
        let after = self.switch.port("liar");
        assert_eq!(after.drops, expected, "{what}");
        assert_eq!(after.ingress_frames, before.ingress_frames, "{what}");
        assert_eq!(after.state, PortState::Up, "{what}: {}", after.detail);
    }

    /// A chain on the transmitq is taken as a frame, and comes back.
    #[track_caller]
    pub fn accepts(&mut self, what: &str, chain: &[(u16, Descriptor)]) {
        let before = self.switch.port("liar");
        self.offer(Side::Transmit, chain, chain[0].0);
        let after = self.switch.port("liar");
        assert_eq!(after.drops, before.drops, "{what}");
        assert_eq!(after.ingress_frames, before.ingress_frames + 1, "{what}");
    }

    /// A chain on the transmitq is taken as a frame, which is delivered as it is, and comes back.
    #[track_caller]
    pub fn delivers(&mut self, what: &str, chain: &[(u16, Descriptor)]) {
        // What others sent before is none of this.
        self.tempter.poll_once(|_, _, _| ());
        self.accepts(what, chain);
        let received = self.tempter.wait_received(1, PATIENCE).unwrap();
        let is_intact = TestFrame::parse(&received[0].frame).is_some();
        assert!(received.len() == 1 && is_intact, "{what}: {received:?}");
    }

    /// A chain on the receiveq is refused for `reason`, with nothing written to it, when a frame would go there.
    #[track_caller]
    pub fn refuses_receive(&mut self, what: &str, reason: DropReason, chain: &[(u16, Descriptor)]) {
        let before = self.switch.drops("liar", reason);
        let area = self.liar.area(Side::Receive);
        let slot = area.used_idx() % area.size();
        let returned = self.liar.ring(Side::Receive).raw_returned();
        self.liar.write_descriptors(Side::Receive, chain);
        self.liar.offer(Side::Receive, chain[0].0);
        self.tempt();
        self.liar.wait_returned(Side::Receive, returned + 1);
        assert_eq!(area.used_entry(slot), (u32::from(chain[0].0), 0), "{what}");
        assert_eq!(self.switch.drops("liar", reason), before + 1, "{what}");
    }

    /// Sends one frame to the liar.
    #[track_caller]
    pub fn tempt(&mut self) {
        let mut frame = Vec::new();
        self.temptation.write_next(&mut frame);
        self.tempter.send_blocking(&frame, PATIENCE).unwrap();
        self.tempter.wait_all_sent(PATIENCE).unwrap();
    }

    /// The liar has lost its port for this reason.
    #[track_caller]
    pub fn is_faulted(&self, fault: PortFault) {
        let info = self.switch.wait_state("liar", PortState::Faulted);
        assert!(info.detail.contains(&fault.to_string()), "{}", info.detail);
    }

    /// The liar's driver is loaded again, and the port works.
    #[track_caller]
    pub fn liar_behaves_again(&mut self) {
        self.liar.guest.restart().unwrap();
        self.switch.wait_state("liar", PortState::Up);
        self.assert_liar_is_heard();
    }

    /// An honest frame of the liar is taken.
    #[track_caller]
    pub fn assert_liar_is_heard(&mut self) {
        let before = self.switch.port("liar").ingress_frames;
        self.liar.send_honestly();
        let mut after = before;
        wait_until("the frame is taken", || {
            after = self.switch.port("liar").ingress_frames;
            after > before
        });
        assert_eq!(after, before + 1);
    }

    /// The liar's front-end comes back with a new session.
    #[track_caller]
    pub fn reconnect(&mut self) {
        // One session at a time: the old one must have ended before the new one is served.
        let old = self.liar.guest.session().connection().as_fd();
        rustix::net::shutdown(old, Shutdown::Both).unwrap();
        let config = self.liar.guest.config().clone();
        let guest = self.switch.guest_with("liar", config);
        self.liar.guest = guest;
    }

    /// The pair went on all the time and lost nothing; nor did it get a frame of the liar that was changed on the way.
    #[track_caller]
    pub fn end(self) {
        self.pair.go_on();
        self.pair.end();
    }
}
