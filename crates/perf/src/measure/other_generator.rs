//! The sustained rate as an independent generator sees it: DPDK's testpmd with two virtio-user ports, which sends on each
//! what it received on the other. It shows whether ours flatters anybody.

use std::time::{Duration, Instant};

use helio_lab::{Feature, ForwardMode, LabDir, Testpmd, TestpmdPlan, VirtioUser};
use serde_json::json;

use super::Effort;
use crate::cells::Cell;
use crate::error::PerfError;
use crate::peer_name::PeerName;
use crate::peers::{self, Machine, Sockets};
use crate::proc::as_f64;
use crate::station::{RING, order};
use crate::window::Measured;

const MACS: [&str; 2] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];

/// Bursts of 32 that go round: half of what a ring holds.
const BURSTS: u16 = 16;

/// Starts the switch and the generator, and counts for a window.
///
/// # Errors
///
/// When either cannot be started, or nothing goes round.
pub fn rate(
    name: PeerName,
    machine: &Machine,
    cell: &Cell,
    effort: &Effort,
) -> Result<Measured, PerfError> {
    let folder = LabDir::new()?;
    let mut peer =
        peers::start(name, machine, &order(&folder, cell, &cell.scene, Sockets::Switch))?;
    peer.wait_ready()?;
    let plan = generator(machine, cell, &peer.sockets());
    let mut generator = Testpmd::start(&folder, &plan)?;
    std::thread::sleep(Duration::from_millis(300));
    generator.forward_after_bursts(BURSTS)?;
    std::thread::sleep(effort.window / 4);
    let (began, before) = (Instant::now(), received(&mut generator)?);
    std::thread::sleep(effort.window);
    let (seconds, after) = (began.elapsed().as_secs_f64(), received(&mut generator)?);
    let frames = after.saturating_sub(before);
    if frames == 0 {
        folder.keep();
        return Err(PerfError::peer(name.name(), "nothing goes round between testpmd's ports"));
    }
    let measured =
        Measured { detail: json!({ "frames": frames, "seconds": seconds }), ..Measured::default() };
    Ok(measured.with("mpps", as_f64(frames) / seconds / 1e6))
}

fn generator(machine: &Machine, cell: &Cell, sockets: &[std::path::PathBuf]) -> TestpmdPlan {
    let port = |(socket, mac): (&std::path::PathBuf, &&str)| {
        let mut port = VirtioUser::new(mac, socket.clone());
        port.queue_size = RING;
        port.mergeable = Feature::Off;
        port
    };
    let ports: Vec<VirtioUser> = sockets.iter().zip(&MACS).map(port).collect();
    let name = format!("helio-perf-generator-{}", std::process::id());
    let mut plan = TestpmdPlan::new(&name, ForwardMode::Io, &ports);
    plan.core = machine.other_core;
    plan.peers = MACS.iter().rev().map(|mac| (*mac).to_owned()).collect();
    // As in a ring: without the checksum.
    plan.frame_bytes = u16::try_from(cell.wire_bytes.saturating_sub(4)).unwrap_or(60);
    plan
}

fn received(generator: &mut Testpmd) -> Result<u64, PerfError> {
    Ok(generator.port_stats()?.iter().map(|port| port.received_frames).sum())
}
