//! The story with guests in user space: the same switch and the same sockets, but no machine to boot.

use std::thread;
use std::time::{Duration, Instant};

use helio_guest::{Guest, GuestConfig};
use helio_types::{Mirroring, SessionId};

use crate::echo::{Echo, EchoKind};
use crate::echo_frame::{Host, announcement, describe, echo_frame};
use crate::error::LabError;
use crate::lab_dir::LabDir;
use crate::story::Stage;
use crate::switch::Switch;
use crate::switch_config::{PortPlan, SwitchPlan};

const COLUMBIA: Host = Host { mac: [2, 0, 0, 0, 0, 1], address: [10, 0, 0, 1] };
const CRUSADER: Host = Host { mac: [2, 0, 0, 0, 0, 2], address: [10, 0, 0, 2] };
const SNIFFIE: Host = Host { mac: [2, 0, 0, 0, 0, 3], address: [10, 0, 0, 3] };

/// How long a frame may take.
const FRAME: Duration = Duration::from_secs(2);

/// How long is listened for copies that must not come.
const SURPRISES: Duration = Duration::from_millis(200);

/// How long after its first try a guest may find the switch not listening yet.
const CONNECTING: Duration = Duration::from_secs(5);

/// Three guests and a switch.
#[derive(Debug)]
pub struct UserSpaceStage {
    columbia: Guest,
    crusader: Guest,
    sniffie: Guest,
    switch: Switch,
}

impl UserSpaceStage {
    /// Starts the switch and the guests, and lets everyone know where columbia and crusader are.
    ///
    /// # Errors
    ///
    /// When something does not come up.
    pub fn set(dir: &LabDir) -> Result<Self, LabError> {
        let sniffie = PortPlan::new("sniffie").mirroring(Mirroring::Destination, SessionId(0));
        let ports = vec![PortPlan::new("columbia"), PortPlan::new("crusader"), sniffie];
        let switch = Switch::start(dir, &SwitchPlan::new(ports))?;
        let mut columbia = join(&switch, "columbia", COLUMBIA)?;
        let mut crusader = join(&switch, "crusader", CRUSADER)?;
        let sniffie = join(&switch, "sniffie", SNIFFIE)?;
        columbia.send_blocking(&announcement(COLUMBIA), FRAME)?;
        crusader.wait_received(1, FRAME)?;
        crusader.send_blocking(&announcement(CRUSADER), FRAME)?;
        columbia.wait_received(1, FRAME)?;
        Ok(Self { columbia, crusader, sniffie, switch })
    }

    /// The switch, for its figures.
    #[must_use]
    pub fn switch(&self) -> &Switch {
        &self.switch
    }
}

/// Plays a guest that has just booted.
fn join(switch: &Switch, port: &str, host: Host) -> Result<Guest, LabError> {
    let deadline = Instant::now() + CONNECTING;
    let mut guest = loop {
        match Guest::connect(&switch.socket(port), GuestConfig::with_mac(host.mac)) {
            Ok(guest) => break guest,
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    };
    guest.start()?;
    switch.wait_up(port)?;
    Ok(guest)
}

/// Sends one echo; whether it arrived in time.
fn carry(from: (&mut Guest, Host), to: (&mut Guest, Host), echo: Echo) -> Result<bool, LabError> {
    let frame = echo_frame(from.1, to.1, echo);
    from.0.send_blocking(&frame, FRAME)?;
    let arrived = to.0.wait_received(1, FRAME).unwrap_or_default();
    Ok(arrived.iter().any(|received| received.frame == frame))
}

fn echoes(sniffie: &mut Guest, time: Duration) -> Result<Vec<String>, LabError> {
    let received = sniffie.receive_for(time)?;
    Ok(received.iter().filter_map(|received| describe(&received.frame)).collect())
}

impl Stage for UserSpaceStage {
    fn set_mirroring(&mut self, port: &str, mirroring: Mirroring) -> Result<(), LabError> {
        self.switch.set_mirroring(port, mirroring, SessionId(0))
    }

    fn start_capture(&mut self) -> Result<(), LabError> {
        // What came before does not belong to the phase.
        self.sniffie.poll_once(|_, _, _| ());
        Ok(())
    }

    fn ping(&mut self, count: u16) -> Result<u16, LabError> {
        let (columbia, crusader) = (&mut self.columbia, &mut self.crusader);
        let mut answered = 0;
        for sequence in 0..count {
            let request = Echo { kind: EchoKind::Request, sequence };
            let reply = Echo { kind: EchoKind::Reply, sequence };
            if carry((columbia, COLUMBIA), (crusader, CRUSADER), request)?
                && carry((crusader, CRUSADER), (columbia, COLUMBIA), reply)?
            {
                answered += 1;
            }
        }
        Ok(answered)
    }

    fn end_capture(&mut self, expected: usize) -> Result<Vec<String>, LabError> {
        let deadline = Instant::now() + FRAME;
        let mut seen = echoes(&mut self.sniffie, SURPRISES)?;
        while seen.len() < expected && Instant::now() < deadline {
            seen.extend(echoes(&mut self.sniffie, SURPRISES)?);
        }
        Ok(seen)
    }
}
