//! A guest that writes its rings by hand. Its memory has two regions that touch, and one apart.

use std::time::Duration;

use helio_guest::{
    Descriptor, Flow, Guest, GuestConfig, GuestError, MemoryLayout, NetHeader, Numbered,
    RegionPlan, RingArea, RingPlace, RingSetup, Sealing, SplitRing, Window,
};

use super::wait_until;

/// Where the first region ends and the second begins.
pub const SEAM: u64 = 8 << 20;
/// Where the second region ends, and nothing follows.
pub const END: u64 = 9 << 20;
/// The region apart.
pub const APART: u64 = 32 << 20;
pub const APART_BYTES: u64 = 1 << 20;
/// Memory that rings and buffers of the driver do not use.
pub const SCRATCH: u64 = 6 << 20;
/// Where indirect tables are written.
pub const TABLES: u64 = 5 << 20;

/// Bytes of the net header that all features here lead to.
const NET_HEADER_BYTES: usize = 12;

/// Which ring a lie is told on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Transmit,
    Receive,
}

/// The memory of a liar.
pub fn memory() -> MemoryLayout {
    let region = |guest_addr, size_bytes| RegionPlan {
        guest_addr,
        size_bytes,
        file_offset: 0,
        sealing: Sealing::Open,
    };
    let regions = [region(0, SEAM), region(SEAM, END - SEAM), region(APART, APART_BYTES)];
    MemoryLayout::Regions(regions.to_vec())
}

/// What a liar is like.
pub fn config(mac: [u8; 6]) -> GuestConfig {
    GuestConfig { memory: memory(), ..GuestConfig::with_mac(mac) }
}

/// The guest, and the frames it sends.
pub struct Liar {
    pub guest: Guest,
    numbered: Numbered,
}

impl Liar {
    /// It sends to the guest with this address.
    pub fn new(guest: Guest, receiver: [u8; 6]) -> Self {
        let flow = Flow { frame_bytes: 300, ..Flow::between(guest.mac(), receiver) };
        Self { guest, numbered: Numbered::new(flow) }
    }

    /// The next honest frame behind a net header of 12 bytes.
    pub fn frame(&mut self) -> Vec<u8> {
        let mut frame = Vec::new();
        let header = self.numbered.write_next(&mut frame);
        [header.encode().as_slice(), &frame].concat()
    }

    /// As [`Liar::frame`], but without a number, so that nobody minds when its bytes change.
    pub fn nameless_frame(&mut self) -> Vec<u8> {
        let mut frame = self.frame();
        frame[NET_HEADER_BYTES + 12..].fill(0x77);
        frame
    }

    #[track_caller]
    pub fn window(&self, addr: u64, len: u64) -> Window {
        self.guest.memory().window(addr, len).unwrap()
    }

    #[track_caller]
    pub fn write(&self, addr: u64, bytes: &[u8]) {
        self.window(addr, bytes.len() as u64).write(0, bytes);
    }

    /// Writes a table of descriptors to [`TABLES`]; its length in bytes.
    pub fn write_table(&self, descriptors: &[Descriptor]) -> u32 {
        let bytes: Vec<u8> =
            descriptors.iter().flat_map(|d| super::descriptors::to_bytes(*d)).collect();
        self.write(TABLES, &bytes);
        bytes.len() as u32
    }

    pub fn ring(&mut self, side: Side) -> &mut SplitRing {
        let driver = self.guest.driver_mut();
        match side {
            Side::Transmit => driver.transmit_queue(0).unwrap().ring_mut(),
            Side::Receive => driver.receive_queue(0).unwrap().ring_mut(),
        }
    }

    pub fn area(&mut self, side: Side) -> RingArea {
        self.ring(side).area().clone()
    }

    /// Writes descriptors at their places in the table.
    pub fn write_descriptors(&mut self, side: Side, chain: &[(u16, Descriptor)]) {
        let area = self.area(side);
        for (index, descriptor) in chain {
            area.write_descriptor(*index, *descriptor);
        }
    }

    /// Offers a head, any number, and kicks.
    pub fn offer(&mut self, side: Side, head: u16) {
        self.ring(side).offer_raw(head);
        self.guest.kick();
    }

    /// Waits until all heads offered by hand have come back; how many there ever were.
    #[track_caller]
    pub fn wait_returned(&mut self, side: Side, count: u64) {
        wait_until("the chain comes back", || {
            self.guest.poll_once(|_, _, _| ());
            self.ring(side).raw_returned() >= count
        });
        assert_eq!(self.ring(side).raw_returned(), count, "a chain came back twice");
    }

    /// Stops its rings and starts others in their place, as the front-end would for another driver.
    pub fn start_rings(&mut self, rings: &[RingArea; 2]) -> Result<(), GuestError> {
        self.guest.stop()?;
        let session = self.guest.session();
        session.set_features()?;
        session.share_memory(self.guest.memory())?;
        for (index, (area, (_, events))) in (0..).zip(rings.iter().zip(self.guest.driver().rings()))
        {
            let (kick, call, err) = (&events.kick, &events.call, &events.err);
            session.set_up_ring(&RingSetup { index, area, base: 0, kick, call, err })?;
        }
        (0..2).try_for_each(|index| session.enable_ring(index))
    }

    /// Places of the driver's own rings: receiveq, transmitq.
    pub fn places(&self) -> [RingPlace; 2] {
        let mut places = self.guest.driver().rings().map(|(area, _)| area.place());
        [places.next().unwrap(), places.next().unwrap()]
    }

    /// A ring of the usual size at a place of the caller's choice.
    #[track_caller]
    pub fn ring_at(&self, place: RingPlace) -> RingArea {
        RingArea::at(self.guest.memory(), self.guest.config().ring_size, place).unwrap()
    }

    /// Sends an honest frame through the driver.
    #[track_caller]
    pub fn send_honestly(&mut self) {
        let bytes = self.frame();
        self.guest.send_on(0, &NetHeader::default(), &bytes[NET_HEADER_BYTES..]).unwrap();
        self.guest.kick();
        self.guest.wait_all_sent(Duration::from_secs(10)).unwrap();
    }
}
