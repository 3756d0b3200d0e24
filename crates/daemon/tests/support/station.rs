//! Those who exchange frames: guests on VM ports, and cards at the far ends of other ports. Each frame has a number of its own.

use std::time::{Duration, Instant};

use helio_guest::Guest;

use super::PATIENCE;
use super::wire::Card;

/// Type of frames that no reader takes for anything. IEEE 802-2014, 9.2.3.
const EXPERIMENT: [u8; 2] = [0x88, 0xb5];

/// A frame with a number, and with a tag if there is to be one.
pub fn numbered(
    from: [u8; 6],
    to: [u8; 6],
    tci: Option<u16>,
    number: u32,
    bytes: usize,
) -> Vec<u8> {
    let mut frame = [to, from].concat();
    if let Some(tci) = tci {
        frame.extend([0x81, 0]);
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(EXPERIMENT);
    frame.extend(number.to_be_bytes());
    let filler = (frame.len()..).map(|place| (place as u32).wrapping_mul(number + 1) as u8);
    let missing = bytes.saturating_sub(frame.len());
    frame.extend(filler.take(missing));
    frame
}

/// The number in a frame that [`numbered`] made, behind any tags; `None` for the frames of others.
pub fn number_of(frame: &[u8]) -> Option<u32> {
    let mut at = 12;
    while frame.get(at..at + 2)? == [0x81, 0] {
        at += 4;
    }
    let number = frame.get(at + 2..at + 6)?.try_into().ok()?;
    (frame.get(at..at + 2)? == EXPERIMENT).then(|| u32::from_be_bytes(number))
}

/// Somebody at the far end of a port.
pub enum Station {
    Guest(Box<Guest>),
    Card(Card),
}

impl Station {
    pub fn guest(guest: Guest) -> Self {
        Self::Guest(Box::new(guest))
    }

    #[track_caller]
    pub fn send(&mut self, frame: &[u8]) {
        match self {
            Self::Guest(guest) => guest.send_blocking(frame, PATIENCE).unwrap(),
            Self::Card(card) => card.send(frame),
        }
    }

    /// What arrived since the last time.
    pub fn take(&mut self) -> Vec<Vec<u8>> {
        match self {
            Self::Card(card) => card.take(),
            Self::Guest(guest) => {
                let mut frames = Vec::new();
                guest.poll_once(|_, _, frame| frames.push(frame.to_vec()));
                frames
            }
        }
    }
}

/// How long is listened for frames that must not come.
pub const SURPRISES: Duration = Duration::from_millis(30);

/// Takes frames until `count` with a number have come, and a little longer for those that should not; frames of others too,
/// unless they are what the kernel tells its neighbours behind an uplink.
pub fn collect(station: &mut Station, count: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while frames.len() < count && Instant::now() < deadline {
        frames.extend(station.take());
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(SURPRISES);
    frames.extend(station.take());
    frames.retain(|frame| !is_underlay(frame));
    frames
}

/// Whether a frame belongs to the network behind an uplink, which is on VLAN 4000 or 4001: what neighbours ask everybody there
/// is flooded to ports that have no VLAN.
fn is_underlay(frame: &[u8]) -> bool {
    frame[12..15] == [0x81, 0, 0x0f] && matches!(frame[15], 0xa0 | 0xa1)
}

fn sorted(mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    frames.sort_by_key(|frame| number_of(frame));
    frames
}

/// These frames came, each once, and nothing else, whatever the order.
#[track_caller]
pub fn assert_same(what: &str, got: Vec<Vec<u8>>, wanted: &[Vec<u8>]) {
    let numbers = |frames: &[Vec<u8>]| frames.iter().map(|f| number_of(f)).collect::<Vec<_>>();
    let (got, wanted) = (sorted(got), sorted(wanted.to_vec()));
    let foreign: Vec<_> = got.iter().filter(|frame| number_of(frame).is_none()).collect();
    assert!(foreign.is_empty(), "{what}: {foreign:02x?}");
    assert_eq!(numbers(&got), numbers(&wanted), "{what}");
    for (got, wanted) in got.iter().zip(wanted) {
        assert_eq!(*got, wanted, "{what}");
    }
}
