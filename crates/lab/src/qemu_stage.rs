//! The story with real guests: columbia, crusader and pegasus in QEMU.

use std::thread;
use std::time::{Duration, Instant};

use helio_types::{Mirroring, SessionId};

use crate::error::LabError;
use crate::guest_image::GuestImage;
use crate::lab_dir::LabDir;
use crate::qemu::{GuestJob, GuestPlan, Qemu};
use crate::story::Stage;
use crate::switch::Switch;
use crate::switch_config::{PortPlan, SwitchPlan};
use crate::vnic::Vnic;

/// How long copies may take to come out of the sniffer's capture.
const COPIES: Duration = Duration::from_secs(10);

/// How long is listened for copies that must not come.
const SURPRISES: Duration = Duration::from_secs(1);

/// Three guests and a switch.
#[derive(Debug)]
pub struct QemuStage {
    // Fields are dropped in this order: the guests before the switch.
    columbia: Qemu,
    crusader: Qemu,
    pegasus: Qemu,
    switch: Switch,
    capture: Option<GuestJob>,
}

impl QemuStage {
    /// Starts the switch, boots all three guests side by side, and waits until they are ready.
    ///
    /// # Errors
    ///
    /// When something is missing, or does not come up.
    pub fn set(dir: &LabDir) -> Result<Self, LabError> {
        let image = GuestImage::prepare()?;
        let sniffie = PortPlan::new("sniffie").mirroring(Mirroring::Destination, SessionId(0));
        let ports = vec![PortPlan::new("columbia"), PortPlan::new("crusader"), sniffie];
        let switch = Switch::start(dir, &SwitchPlan::new(ports))?;
        let boot =
            |guest: &str, vnic: Vnic| Qemu::start(dir, &image, &GuestPlan::new(guest, vec![vnic]));
        let nic = |port: &str, mac: &str| Vnic::new(port, mac, switch.socket(port));
        let columbia =
            boot("columbia", nic("columbia", "02:00:00:00:00:01").address("10.0.0.1/24"))?;
        let crusader =
            boot("crusader", nic("crusader", "02:00:00:00:00:02").address("10.0.0.2/24"))?;
        let pegasus = boot("pegasus", nic("sniffie", "02:00:00:00:00:03"))?;
        let mut stage = Self { columbia, crusader, pegasus, switch, capture: None };
        for guest in [&mut stage.columbia, &mut stage.crusader, &mut stage.pegasus] {
            guest.wait_ready()?;
        }
        Ok(stage)
    }

    /// The switch, for its figures.
    #[must_use]
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    fn capture(&self) -> Result<GuestJob, LabError> {
        self.capture.ok_or(LabError::Missing {
            what: "a running capture".to_owned(),
            remedy: "start it first",
        })
    }

    fn seen(output: &str) -> Vec<String> {
        output.lines().filter(|line| line.contains("ICMP")).map(str::to_owned).collect()
    }
}

impl Stage for QemuStage {
    fn set_mirroring(&mut self, port: &str, mirroring: Mirroring) -> Result<(), LabError> {
        self.switch.set_mirroring(port, mirroring, SessionId(0))
    }

    fn start_capture(&mut self) -> Result<(), LabError> {
        // tcpdump makes the card promiscuous; immediate mode shows each frame when it comes.
        let capture = self.pegasus.spawn("tcpdump -nel --immediate-mode -i sniffie icmp")?;
        self.pegasus.job_says(capture, "listening on")?;
        self.capture = Some(capture);
        Ok(())
    }

    fn ping(&mut self, count: u16) -> Result<u16, LabError> {
        let outcome = self.columbia.exec(&format!("ping -c {count} -i 0.2 -W 2 10.0.0.2"))?;
        let replies = outcome.output.lines().filter(|line| line.contains(" bytes from 10.0.0.2"));
        Ok(u16::try_from(replies.count()).unwrap_or(u16::MAX))
    }

    fn end_capture(&mut self, expected: usize) -> Result<Vec<String>, LabError> {
        let capture = self.capture()?;
        let deadline = Instant::now() + COPIES;
        while Self::seen(&self.pegasus.job_output(capture)?).len() < expected {
            if Instant::now() > deadline {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        thread::sleep(SURPRISES);
        self.capture = None;
        Ok(Self::seen(&self.pegasus.finish(capture)?))
    }
}
