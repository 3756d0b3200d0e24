//! Two guests on two ports of any switch that forwards between them, for instance DPDK's testpmd:
//!
//! ```text
//! dpdk-testpmd --no-pci --file-prefix X --socket-mem 128 --lcores '0@0,1@0' \
//!   --vdev net_vhost0,iface=/tmp/a.sock --vdev net_vhost1,iface=/tmp/b.sock -- --forward-mode=io --auto-start
//! through_testpmd connect /tmp/a.sock /tmp/b.sock
//! ```
//!
//! With `listen`, start this first and give the devices `client=1`. Every case sends numbered frames both ways
//! at once and prints what arrived; the program fails if one is missing, changed, doubled or out of order, or
//! if the back-end broke a rule.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use helio_guest::{
    ChainForm, ChainLayout, Faults, Flow, Guest, GuestConfig, Ledger, Listener, NetHeader,
    Numbered, SetupOrder, features,
};

const FRAMES: u64 = 50_000;
/// Frames on the way at once: fewer than a ring holds, so that nothing is lost for want of buffers.
const WINDOW: u64 = 40;
const PROBE_PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);

/// How the two guests come to their back-end.
enum Ports {
    Connect(PathBuf, PathBuf),
    Listen(Listener, Listener),
}

impl Ports {
    fn guests(&self, config: &GuestConfig) -> Result<[Guest; 2], Box<dyn Error>> {
        let mut second = config.clone();
        second.mac = [0x52, 0x54, 0, 0, 0, 2];
        let mut guests = match self {
            Self::Connect(a, b) => [Guest::connect(a, config.clone())?, Guest::connect(b, second)?],
            Self::Listen(a, b) => {
                [a.accept(config.clone(), PATIENCE)?, b.accept(second, PATIENCE)?]
            }
        };
        for guest in &mut guests {
            guest.start()?;
        }
        Ok(guests)
    }
}

/// One way: numbered frames from one guest, and what arrived at the other.
struct Way {
    source: Numbered,
    arrived: Ledger,
    sender: u16,
    first: u64,
}

impl Way {
    fn new(from: &Guest, to: &Guest, frame_bytes: usize) -> Self {
        let flow = Flow { frame_bytes, ..Flow::between(from.mac(), to.mac()) };
        Self { source: Numbered::new(flow), arrived: Ledger::new(), sender: flow.sender, first: 0 }
    }

    fn on_the_way(&self) -> u64 {
        self.source.next() - self.arrived.received()
    }

    fn fill(
        &mut self,
        guest: &mut Guest,
        layout: ChainLayout<'_>,
        until: u64,
        frame: &mut Vec<u8>,
    ) {
        while self.source.next() < until && self.on_the_way() < WINDOW {
            let number = self.source.next();
            let header = self.source.write_next(frame);
            let sent = if layout == ChainLayout::WHOLE {
                guest.send_on(0, &header, frame)
            } else {
                guest.send_with(&header, frame, layout)
            };
            if sent.is_err() {
                self.source.set_next(number);
                break;
            }
        }
        guest.kick();
    }
}

/// Sends a probe now and then until one has come through both ways, then waits until no more come: a switch may
/// drop frames until all parts of it know that a port is there.
fn open_ways(guests: &mut [Guest; 2]) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let (mut open, mut probe) = ([false; 2], Vec::new());
    while open != [true; 2] {
        for guest in guests.iter_mut() {
            Numbered::new(Flow { sender: 0, source: guest.mac(), ..Flow::default() })
                .write_next(&mut probe);
            guest.send_blocking(&probe, PATIENCE)?;
        }
        for (guest, open) in guests.iter_mut().zip(&mut open) {
            *open |= !guest.receive_for(PROBE_PAUSE)?.is_empty();
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("no probe came through: {open:?}").into());
        }
    }
    for guest in guests {
        while !guest.receive_for(PROBE_PAUSE)?.is_empty() {}
    }
    Ok(())
}

/// Lets each guest send `FRAMES` more; the time it took.
fn exchange(
    guests: &mut [Guest; 2],
    ways: &mut [Way; 2],
    layout: ChainLayout<'_>,
) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    let mut frame = Vec::with_capacity(65_600);
    let [a, b] = guests;
    let [there, back] = ways;
    let until = there.first + FRAMES;
    (there.first, back.first) = (until, until);
    while there.arrived.received() < until || back.arrived.received() < until {
        there.fill(a, layout, until, &mut frame);
        back.fill(b, layout, until, &mut frame);
        let mut moved = b.poll_once(|_, _: &NetHeader, frame| {
            there.arrived.record(frame);
        });
        moved += a.poll_once(|_, _, frame| {
            back.arrived.record(frame);
        });
        if moved == 0 {
            std::thread::yield_now();
        }
        if begun.elapsed() > PATIENCE {
            let [there, back] = [&*there, &*back].map(|way| {
                format!(
                    "{} of {} ({} changed)",
                    way.arrived.received(),
                    until,
                    way.arrived.corrupt()
                )
            });
            let [a, b] = [&*a, &*b].map(|guest| (guest.driver().unfinished(), guest.faults()));
            return Err(
                format!("stuck: {there}, {back}; unfinished and faults {a:?}, {b:?}").into()
            );
        }
    }
    Ok(begun.elapsed())
}

fn check(guests: &[Guest; 2], ways: &[Way; 2]) -> Result<(), Box<dyn Error>> {
    for (guest, way) in guests.iter().zip(ways) {
        // DPDK leaves `num_buffers` as it was when buffers are not mergeable; no driver looks at it then.
        let faults = Faults { unmerged_count: 0, ..guest.faults() };
        if faults.total() != 0 {
            return Err(format!("broken rules: {faults:?}").into());
        }
        let tally = way.arrived.from(way.sender);
        if !tally.is_complete(way.first) || way.arrived.corrupt() != 0 {
            return Err(format!("sender {}: {tally:?}", way.sender).into());
        }
    }
    Ok(())
}

/// Sends, stops and starts, loads the drivers again, and sends after each.
fn run_case(
    ports: &Ports,
    name: &str,
    config: &GuestConfig,
    layout: ChainLayout<'_>,
    frame_bytes: usize,
) -> Result<(), Box<dyn Error>> {
    let mut guests = ports.guests(config)?;
    let [a, b] = &guests;
    let mut ways = [Way::new(a, b, frame_bytes), Way::new(b, a, frame_bytes)];
    open_ways(&mut guests)?;
    let time = exchange(&mut guests, &mut ways, layout)?;
    for guest in &mut guests {
        guest.stop()?;
        guest.start()?;
        guest.driver().kick_all();
    }
    open_ways(&mut guests)?;
    exchange(&mut guests, &mut ways, layout)?;
    for guest in &mut guests {
        guest.restart()?;
    }
    open_ways(&mut guests)?;
    exchange(&mut guests, &mut ways, layout)?;
    check(&guests, &ways)?;
    let kframes = 2 * u128::from(FRAMES) / time.as_millis().max(1);
    println!("{name}: all arrived, {kframes} kframes/s, features {:#x}", guests[0].features());
    Ok(())
}

fn config(features: u64) -> GuestConfig {
    GuestConfig { features, ..GuestConfig::default() }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ports = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["connect", a, b] => Ports::Connect(a.into(), b.into()),
        ["listen", a, b] => Ports::Listen(Listener::bind(a.as_ref())?, Listener::bind(b.as_ref())?),
        _ => return Err("usage: through_testpmd connect|listen SOCKET SOCKET".into()),
    };
    let v1 = features::VERSION_1;
    let indirect = ChainLayout { cuts: &[12, 20], form: ChainForm::Indirect };
    let bytewise = ChainLayout { cuts: &[1; 12], form: ChainForm::Direct };
    let small = GuestConfig { rx_buffer_bytes: 256, ..config(features::PLAIN) };
    let user = GuestConfig { setup_order: SetupOrder::VirtioUser, ..config(features::PLAIN) };
    let whole = ChainLayout::WHOLE;
    run_case(&ports, "plain, 60 bytes", &config(v1), whole, 60)?;
    run_case(&ports, "mergeable", &config(v1 | features::MRG_RXBUF), whole, 1514)?;
    run_case(&ports, "mergeable, small buffers", &small, whole, 1514)?;
    run_case(&ports, "header apart", &config(v1), ChainLayout::HEADER_APART, 60)?;
    run_case(&ports, "header in 12 pieces", &config(v1), bytewise, 60)?;
    run_case(&ports, "indirect", &config(v1 | features::INDIRECT_DESC), indirect, 1000)?;
    run_case(&ports, "by index", &config(v1 | features::EVENT_IDX), whole, 60)?;
    run_case(&ports, "in order", &config(v1 | features::IN_ORDER), whole, 60)?;
    run_case(&ports, "legacy header", &config(0), whole, 60)?;
    run_case(&ports, "all, order of virtio-user", &user, indirect, 1514)
}
