//! What needs a switch of its own for every window: how fast it starts, and how much memory a port takes.

use std::time::Duration;

use helio_guest::Pages;
use helio_lab::LabDir;
use serde_json::json;

use super::Effort;
use crate::cells::{Cell, Scene};
use crate::error::PerfError;
use crate::peer_name::PeerName;
use crate::peers::{self, Machine, Peer, Sockets};
use crate::proc;
use crate::station::{WaitingGuests, bring_up, order, stage_plan, with_rings_of};
use crate::window::Measured;

/// From the start of the program until the first frame is through. The guests listen already.
///
/// # Errors
///
/// When the switch cannot be started, or no frame comes through.
pub fn start(name: PeerName, machine: &Machine, cell: &Cell) -> Result<Measured, PerfError> {
    let folder = LabDir::new()?;
    let scene = cell.scene;
    let order = order(&folder, cell, &scene, Sockets::Guests);
    let plan = stage_plan(cell, &scene, &peers::sockets(name, &order), Pages::Huge);
    let up = bring_up(name, machine, &order, plan);
    if up.is_err() {
        folder.keep();
    }
    let (peer, subject) = up?;
    let through =
        subject.first_frame_at().ok_or_else(|| PerfError::peer(name.name(), "is silent"))?;
    let took = through.saturating_duration_since(peer.started_at());
    Ok(Measured::default().with("start_ms", took.as_secs_f64() * 1e3))
}

/// Memory of a port: what a switch with many more takes beyond one with two, divided by how many more there are.
/// Once with nobody attached to them, once with a guest at each that has posted its buffers and says nothing.
///
/// # Errors
///
/// When a switch cannot be started, or refuses a guest.
pub fn memory(
    name: PeerName,
    machine: &Machine,
    cell: &Cell,
    effort: &Effort,
) -> Result<Measured, PerfError> {
    let few = taken(name, machine, cell, 2)?;
    let many = taken(name, machine, cell, 2 + effort.ports)?;
    let per_port = |few: [u64; 2], many: [u64; 2]| {
        let sum = |pages: [u64; 2]| proc::as_f64(pages.iter().sum());
        (sum(many) - sum(few)) / proc::as_f64(effort.ports as u64)
    };
    let measured = Measured {
        detail: json!({ "ports": [2, 2 + effort.ports], "kib": "ordinary pages, huge pages",
            "bare": [few.bare, many.bare], "attached": [few.attached, many.attached] }),
        ..Measured::default()
    };
    Ok(measured
        .with("bare_port_kib", per_port(few.bare, many.bare))
        .with("attached_port_kib", per_port(few.attached, many.attached)))
}

/// KiB of a process, in ordinary and in huge pages.
struct Taken {
    bare: [u64; 2],
    attached: [u64; 2],
}

fn taken(name: PeerName, machine: &Machine, cell: &Cell, ports: usize) -> Result<Taken, PerfError> {
    let folder = LabDir::new()?;
    let scene = Scene { idle_guests: ports - 2, ..cell.scene };
    let order = order(&folder, cell, &scene, peers::usual_sockets(name));
    let mut peer = peers::start(name, machine, &order)?;
    peer.wait_ready()?;
    let bare = settled(peer.as_ref());
    let guests =
        WaitingGuests::new(&peer.sockets(), order.sockets, with_rings_of(256))?.attach()?;
    let attached = settled(peer.as_ref());
    drop(guests);
    Ok(Taken { bare, attached })
}

/// The memory of a process when it does not change any more, or after some seconds.
fn settled(peer: &dyn Peer) -> [u64; 2] {
    let process = peer.process().id();
    let mut last = proc::memory_kib(process);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(200));
        let now = proc::memory_kib(process);
        if now == last {
            break;
        }
        last = now;
    }
    last
}
