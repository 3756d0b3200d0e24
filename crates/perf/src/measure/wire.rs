//! Frames over wires: what one costs the switch alone, and how many go through.
//!
//! The service time is that of the switch's core: frames are put before it while it is parked, and the clock runs from when it
//! goes on until all of them have arrived. Done with many and with few in turn, so that waking up cancels out. It contains
//! what the kernel does on that core to send, down to the far end; what it does to receive happens where the frame was sent,
//! on the core of the generator. So that core, too, sets the rate: where its time went is measured with it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Effort;
use crate::cells::{Path, Scene};
use crate::error::PerfError;
use crate::peer_name::PeerName;
use crate::proc::{self, as_f64};
use crate::statistics::median;
use crate::window::Measured;
use crate::wire_station::{BETWEEN_LOOKS, WireStation, pause};

/// Frames of a long ring and of a short one. As many as the rings of the guests hold, and as ours has chunks for at any time.
const LONG: u16 = 1024;
const SHORT: u16 = 256;
/// How long nothing may arrive before the rest counts as lost.
const SILENCE: Duration = Duration::from_millis(50);
/// How long it takes until what was sent lies before a switch that is parked.
const UNTIL_THERE: Duration = Duration::from_micros(100);

/// Measures a switch that runs.
///
/// # Errors
///
/// When the switch is gone.
pub(crate) fn measure(
    station: &mut WireStation,
    name: PeerName,
    scene: &Scene,
    effort: &Effort,
) -> Result<Measured, PerfError> {
    station.settle();
    station.introduce()?;
    let odd = station.odd();
    let (sent, copies) = (station.sent(), station.copies());
    let mut measured = rate(station, effort);
    if scene.mirrors > 0 {
        let sent = station.sent() - sent;
        let now = station.copies();
        let came = now.iter().zip(&copies).take(scene.mirrors).map(|(now, was)| now - was);
        let lost = came.map(|came| sent.saturating_sub(came)).max().unwrap_or(sent);
        measured = measured.with("copies_lost_percent", 100.0 * as_f64(lost) / as_f64(sent.max(1)));
    }
    // The kernel forwards on its own, and cannot be parked.
    if name != PeerName::Bridge {
        measured = drain(station, effort, measured)?;
    }
    let odd = station.odd() - odd;
    if odd > 0 {
        measured.oddities.insert("changed", odd);
    }
    Ok(measured)
}

/// The closed loop: as many frames as go through, none lost by a ring that is full.
fn rate(station: &mut WireStation, effort: &Effort) -> Measured {
    let lost = station.lost();
    run_for(station, effort.window / 16);
    let (mut mpps, mut through, spent) = (Vec::new(), 0, station.spent());
    for _ in 0..4 {
        let (began, before) = (Instant::now(), station.arrived());
        run_for(station, effort.window / 8);
        let frames = station.arrived() - before;
        through += frames;
        mpps.push(as_f64(frames) / began.elapsed().as_secs_f64() / 1e6);
    }
    let (was, spent) = (spent, station.spent());
    let per_frame = |time: Duration| time.as_secs_f64() * 1e9 / as_f64(through.max(1));
    station.settle();
    let lost = station.lost() - lost;
    let detail = json!({ "windows_mpps": mpps });
    let measured = Measured { lost, detail, ..Measured::default() };
    measured
        .with("mpps", median(&mpps).unwrap_or(0.0))
        .with("generator_sends_ns", per_frame(spent.sending - was.sending))
        .with("generator_serves_ns", per_frame(spent.serving - was.serving))
        .with("generator_waits_ns", per_frame(spent.waiting - was.waiting))
}

fn run_for(station: &mut WireStation, time: Duration) {
    let began = Instant::now();
    let mut last = (station.seen(), began);
    loop {
        station.turn();
        let now = Instant::now();
        if now - began > time {
            return;
        }
        if station.seen() != last.0 {
            last = (station.seen(), now);
        } else if now - last.1 > SILENCE {
            // What is on the way is not there any more.
            station.settle();
            last = (station.seen(), Instant::now());
        }
    }
}

fn drain(
    station: &mut WireStation,
    effort: &Effort,
    measured: Measured,
) -> Result<Measured, PerfError> {
    if station.path() == Path::Pvp {
        // The guest works in between: that is not the switch alone.
        return Ok(measured);
    }
    let (mut service, mut start) = (Vec::new(), Vec::new());
    let mut lost = 0;
    for _ in 0..effort.drains / 4 + 1 {
        let (few, many) = (once(station, SHORT)?, once(station, LONG)?);
        lost += few.lost + many.lost;
        if few.lost + many.lost == 0 {
            let slope = (many.ns - few.ns) / f64::from(LONG - SHORT);
            service.push(slope);
            start.push(few.ns - slope * f64::from(SHORT));
        }
    }
    let measured = Measured { lost: measured.lost + lost, ..measured };
    let Some(service) = median(&service) else { return Ok(measured) };
    Ok(measured.with("service_ns", service).with("start_ns", median(&start).unwrap_or(0.0)))
}

struct Once {
    ns: f64,
    lost: u64,
}

fn once(station: &mut WireStation, count: u16) -> Result<Once, PerfError> {
    let (before, copies) = (station.arrived(), station.copies());
    let comes_from_guest = station.path() == Path::V2p;
    if !comes_from_guest {
        station.peer.park()?;
        proc::wait_until_parked(station.peer.process().id());
        station.offer_all(count);
        pause(UNTIL_THERE);
    }
    if comes_from_guest && !station.wait_for_room(count) {
        return Err(PerfError::Plan("the guest gets its buffers back too late".to_owned()));
    }
    let began = Instant::now();
    if comes_from_guest {
        station.offer(count);
    } else {
        station.peer.go_on()?;
    }
    let (mut last, mut changed) = (0, Instant::now());
    loop {
        let arrived = station.arrived_everywhere(&copies, before);
        let now = Instant::now();
        if arrived >= u64::from(count) {
            station.serve();
            return Ok(Once { ns: (now - began).as_secs_f64() * 1e9, lost: 0 });
        }
        if arrived != last {
            (last, changed) = (arrived, now);
        } else if now - changed > SILENCE {
            station.settle();
            return Ok(Once { ns: 0.0, lost: u64::from(count) - arrived });
        }
        pause(BETWEEN_LOOKS);
    }
}
