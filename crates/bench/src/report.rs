//! What a run found, with all that one must know to judge it.

use helio_guest::{Cutting, HeaderPlace, Pages, Rewriting, features};
use serde::Serialize;

use crate::drain::Drain;
use crate::frame_plan::FramePlan;
use crate::host::Host;
use crate::latency::Latency;
use crate::learning::Learning;
use crate::rate::Rate;
use crate::self_test::SelfTest;
use crate::stage::Oddities;
use crate::stage_plan::{Attach, LanePlan, StagePlan};
use crate::throughput::Throughput;

/// The form of this report; it grows when a field changes its meaning.
const SCHEMA: u32 = 1;

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The form of this report.
    pub schema: u32,
    /// Version of the program.
    pub version: &'static str,
    /// The machine.
    pub host: Host,
    /// Guests and rings.
    pub setting: Setting,
    /// One entry for each kind of frames.
    pub cells: Vec<Cell>,
}

/// How the guests were attached and made.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// One for each guest.
    pub sockets: Vec<String>,
    /// Which end of them we were.
    pub attach: Attach,
    /// Who sent to whom.
    pub lanes: Vec<LanePlan>,
    /// Queue pairs of each guest.
    pub queue_pairs: u16,
    /// Descriptors of each ring.
    pub ring_size: u16,
    /// Frames offered with one store.
    pub burst: u16,
    /// Whether unchanged descriptors were stored again while frames flowed; a drain tells for itself.
    pub descriptors: &'static str,
    /// Where net headers lay.
    pub header: &'static str,
    /// How sent frames were cut into descriptors.
    pub chains: String,
    /// What guest memory was made of.
    pub pages: &'static str,
}

/// One kind of frames.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// A short name: the length on the wire, or that of a mix.
    pub name: String,
    /// The frames.
    pub frames: FramePlan,
    /// Features that were negotiated, by name.
    pub features: Vec<String>,
    /// What the generator itself costs with these frames and rings of this size.
    pub self_test: SelfTest,
    /// Share of its time that the generator was ready to run while somebody else had its core; `None` when nobody knows.
    pub generator_waited: Option<f64>,
    /// What became of frames besides arriving and being lost.
    pub oddities: Oddities,
    /// What was found.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What was found, by what was asked.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The three figures that belong together: sustained rate with busy time, and service time.
    Rate {
        /// Frames that go through for a while.
        sustained: Box<Rate>,
        /// What one frame costs; `None` when nobody asked.
        drain: Option<Drain>,
    },
    /// Service time alone.
    Drain(Drain),
    /// Latency by load.
    Latency(Latency),
    /// Highest rates for given losses.
    Throughput(Throughput),
    /// What the switch can learn.
    Learning(Learning),
}

impl Report {
    /// Nothing found yet.
    #[must_use]
    pub fn new(plan: &StagePlan) -> Self {
        let setting = Setting::of(plan);
        let version = env!("CARGO_PKG_VERSION");
        Self { schema: SCHEMA, version, host: Host::this(), setting, cells: Vec::new() }
    }

    /// As JSON, with a line break at its end.
    #[must_use]
    pub fn to_json(&self) -> String {
        // All keys are text and all numbers finite: nothing can fail.
        serde_json::to_string_pretty(self).map(|text| text + "\n").unwrap_or_default()
    }
}

impl Setting {
    fn of(plan: &StagePlan) -> Self {
        Self {
            sockets: plan.sockets.iter().map(|path| path.display().to_string()).collect(),
            attach: plan.attach,
            lanes: plan.lanes.clone(),
            queue_pairs: plan.rings.queue_pairs,
            ring_size: plan.rings.size,
            burst: plan.burst,
            descriptors: descriptors(plan.rings.rewriting),
            header: match plan.rings.header_place {
                HeaderPlace::LineBefore => "line before",
                HeaderPlace::SameLine => "same line",
            },
            chains: match plan.rings.cutting {
                Cutting::Whole => "whole".to_owned(),
                Cutting::Linked(piece) => format!("linked, {piece} bytes each"),
                Cutting::Indirect(piece) => format!("indirect, {piece} bytes each"),
            },
            pages: match plan.rings.pages {
                Pages::Usual => "usual",
                Pages::Huge => "2 MiB",
            },
        }
    }
}

/// What becomes of descriptors that are as they should be already.
pub(crate) fn descriptors(rewriting: Rewriting) -> &'static str {
    match rewriting {
        Rewriting::Changes => "kept",
        Rewriting::Always => "rewritten",
    }
}

/// Names of the features of interest among `bits`.
pub(crate) fn feature_names(bits: u64) -> Vec<String> {
    const NAMES: [(u64, &str); 11] = [
        (features::CSUM, "CSUM"),
        (features::GUEST_CSUM, "GUEST_CSUM"),
        (features::GUEST_TSO4, "GUEST_TSO4"),
        (features::HOST_TSO4, "HOST_TSO4"),
        (features::MRG_RXBUF, "MRG_RXBUF"),
        (features::MQ, "MQ"),
        (features::INDIRECT_DESC, "INDIRECT_DESC"),
        (features::EVENT_IDX, "EVENT_IDX"),
        (features::VERSION_1, "VERSION_1"),
        (features::RING_PACKED, "RING_PACKED"),
        (features::IN_ORDER, "IN_ORDER"),
    ];
    let named = NAMES.iter().filter(|(bit, _name)| bits & bit != 0);
    named.map(|(_bit, name)| (*name).to_owned()).collect()
}
