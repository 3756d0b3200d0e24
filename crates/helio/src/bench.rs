//! `helio bench`: from the command line to a run, and from its report to what people and scripts read.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use helio_api::{FlushReply, WorkerInfo};
use helio_bench::{
    Attach, BenchError, Busy, BusyMeter, Carried, DrainPlan, FCS_BYTES, FramePlan, Helpers, IMIX,
    LanePlan, LatencyPlan, LearningPlan, Loop, Payload, ProcessTime, Progress, RatePlan, Report,
    RingPlan, StagePlan, SwitchControl, Task, ThroughputPlan, pin, run, to_markdown, to_svg,
};
use helio_guest::{Cutting, HeaderPlace, Pages, Rewriting, SetupOrder, features};
use hyper::Method;

use crate::args::Form;
use crate::bench_args::{
    BenchArgs, BenchTask, CommonArgs, FrameKind, PagesArg, PayloadArg, RateArgs,
};
use crate::client::Client;
use crate::failure::Failure;

/// Bytes of one piece when descriptors are indirect and nobody says how long: a page, as Linux cuts.
const PAGE_BYTES: u32 = 4096;

/// Runs the task and prints its report.
pub(crate) fn bench(args: &BenchArgs, control: Option<PathBuf>, form: Form) -> Result<(), Failure> {
    let (task, common) = task(&args.task);
    if let Some(core) = common.core {
        pin(core)?;
    }
    let (mut workers, mut table) =
        (control.clone().map(Workers::of), control.map(AddressTable::of));
    let pid = match &args.task {
        BenchTask::Rate { rate, .. } => rate.pid,
        _ => None,
    };
    let mut process = pid.map(ProcessTime::of);
    let mut helpers = Helpers {
        meter: match (&mut process, &mut workers) {
            (Some(process), _) => Some(process),
            (None, Some(workers)) => Some(workers),
            (None, None) => None,
        },
        control: table.as_mut().map(|table| -> &mut dyn SwitchControl { table }),
    };
    let kinds: Vec<_> = common.frame.iter().map(|kind| frames(*kind, common)).collect();
    let report = run(&stage(common), &kinds, &task, &mut helpers, &mut Progress::for_people())?;
    // First, so that it is not lost when a file cannot be written.
    let text = if form.json { report.to_json() } else { to_markdown(&report) };
    io::stdout().write_all(text.as_bytes())?;
    save(&report, common)
}

fn save(report: &Report, common: &CommonArgs) -> Result<(), Failure> {
    if let Some(path) = &common.save {
        write(path, &report.to_json())?;
    }
    if let (Some(path), Some(picture)) = (&common.svg, to_svg(report)) {
        write(path, &picture)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |cause| BenchError::Host { what: format!("write {}", path.display()), cause };
    Ok(std::fs::write(path, text).map_err(failed)?)
}

fn task(task: &BenchTask) -> (Task, &CommonArgs) {
    match task {
        BenchTask::Rate { common, rate } => (rate_task(rate), common),
        BenchTask::Drain { common, rounds } => {
            (Task::Drain(DrainPlan { rounds: *rounds, ..DrainPlan::default() }), common)
        }
        BenchTask::Latency { common, load, duration, load_burst } => {
            let duration = Duration::from_secs_f64(*duration);
            (
                Task::Latency(LatencyPlan { loads: load.clone(), duration, burst: *load_burst }),
                common,
            )
        }
        BenchTask::Throughput { common, loss, trial, trials } => {
            let plan = ThroughputPlan {
                losses: loss.clone(),
                trial: Duration::from_secs_f64(*trial),
                trials: *trials,
                burst: common.rings.burst,
                ..ThroughputPlan::default()
            };
            (Task::Throughput(plan), common)
        }
        BenchTask::Learning { common, max_addresses, ageing } => {
            let plan = LearningPlan {
                max_addresses: *max_addresses,
                ageing: Duration::from_secs_f64(*ageing),
                ..LearningPlan::default()
            };
            (Task::Learning(plan), common)
        }
    }
}

fn rate_task(args: &RateArgs) -> Task {
    let rate = RatePlan {
        kind: if args.open_loop { Loop::Open } else { Loop::Closed },
        windows: usize::from(args.windows),
        window: Duration::from_secs_f64(args.window),
        ..RatePlan::default()
    };
    let drain = DrainPlan { rounds: args.rounds, ..DrainPlan::default() };
    Task::Rate(rate, (args.rounds > 0).then_some(drain))
}

fn stage(common: &CommonArgs) -> StagePlan {
    let mut plan = StagePlan::new(common.socket.clone());
    if !common.pair.is_empty() {
        plan.lanes = common.pair.iter().map(|&(from, to)| LanePlan { from, to }).collect();
    }
    plan.attach = if common.listen { Attach::Listen } else { Attach::Connect };
    plan.rings = rings(common);
    plan.burst = common.rings.burst;
    plan.patience = Duration::from_secs_f64(common.patience);
    plan
}

fn rings(common: &CommonArgs) -> RingPlan {
    let args = &common.rings;
    let optional = [
        (args.mergeable, features::MRG_RXBUF),
        (args.indirect, features::INDIRECT_DESC),
        (args.event_idx, features::EVENT_IDX),
        (args.in_order, features::IN_ORDER),
        (
            common.tso,
            features::CSUM | features::GUEST_CSUM | features::HOST_TSO4 | features::GUEST_TSO4,
        ),
    ];
    let wanted = optional.iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, bits)| bits);
    RingPlan {
        queue_pairs: args.queue_pairs,
        size: args.ring,
        features: wanted.fold(features::VERSION_1, |all, bits| all | bits),
        rx_buffer_bytes: args.rx_buffer,
        cutting: match (args.indirect, args.piece) {
            (true, piece) => Cutting::Indirect(piece.unwrap_or(PAGE_BYTES)),
            (false, Some(piece)) => Cutting::Linked(piece),
            (false, None) => Cutting::Whole,
        },
        header_place: if args.header_in_line {
            HeaderPlace::SameLine
        } else {
            HeaderPlace::LineBefore
        },
        rewriting: if args.rewrite_descriptors { Rewriting::Always } else { Rewriting::Changes },
        pages: match args.pages {
            PagesArg::Usual => Pages::Usual,
            PagesArg::Huge => Pages::Huge,
        },
        setup_order: if args.virtio_user_order { SetupOrder::VirtioUser } else { SetupOrder::Qemu },
    }
}

/// The name of a run, and its frames.
fn frames(kind: FrameKind, common: &CommonArgs) -> (String, FramePlan) {
    let plan = FramePlan {
        vlans: common.vlan.clone(),
        macs: common.macs,
        flows: common.flows,
        payload: match common.payload {
            PayloadArg::None => Payload::None,
            PayloadArg::Line => Payload::Line,
            PayloadArg::All => Payload::All,
        },
        carried: if common.tso { Carried::Tso } else { Carried::Udp },
        ..FramePlan::default()
    };
    match kind {
        FrameKind::Bytes(bytes) => {
            let plan = plan.with_wire_sizes(&[bytes]);
            // What a tag or TCP leaves no room for makes a frame longer than was asked for.
            ((plan.max_bytes() + FCS_BYTES).to_string(), plan)
        }
        FrameKind::Imix => ("imix".to_owned(), plan.with_wire_sizes(&IMIX)),
    }
}

/// The workers of our own switch, who know how busy they were.
struct Workers(Client);

impl Workers {
    fn of(control: PathBuf) -> Self {
        Self(Client::new(control))
    }
}

impl BusyMeter for Workers {
    fn source(&self) -> &'static str {
        "what the workers say"
    }

    fn read(&mut self) -> Result<Busy, BenchError> {
        let workers: Vec<WorkerInfo> = self.0.ask(Method::GET, "/v1/workers").map_err(not_asked)?;
        Ok(Busy { busy_ns: workers.iter().map(|worker| worker.busy_ns).sum() })
    }
}

/// The addresses that our own switch has learned.
struct AddressTable(Client);

impl AddressTable {
    fn of(control: PathBuf) -> Self {
        Self(Client::new(control))
    }
}

impl SwitchControl for AddressTable {
    fn forget_addresses(&mut self) -> Result<(), BenchError> {
        let _forgotten: FlushReply = self.0.ask(Method::DELETE, "/v1/fdb").map_err(not_asked)?;
        Ok(())
    }
}

fn not_asked(failure: Failure) -> BenchError {
    BenchError::Host {
        what: "ask the switch".to_owned(),
        cause: io::Error::other(failure.to_string()),
    }
}
