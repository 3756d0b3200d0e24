//! One window: what was measured of one contestant in one round. Every one of them is written down; nothing is averaged
//! away before.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::cells::{Measure, Scene};
use crate::cores::Cores;

/// What a measurement found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// The figures that lines of the table name.
    pub figures: BTreeMap<&'static str, f64>,
    /// All that the generator reports.
    pub detail: Value,
    /// Frames that should have arrived and did not.
    pub lost: u64,
    /// Frames that arrived in another way than they should; one word for each kind.
    pub oddities: BTreeMap<&'static str, u64>,
}

impl Measured {
    /// One figure.
    #[must_use]
    pub fn with(mut self, name: &'static str, figure: f64) -> Self {
        self.figures.insert(name, figure);
        self
    }
}

/// One line of the results.
#[derive(Clone, Debug, Serialize)]
pub struct Window {
    /// Of this form.
    pub schema: u32,
    /// Time of the run.
    pub run: String,
    /// The cell.
    pub cell: String,
    /// What was measured.
    pub measure: Measure,
    /// Round, counted from 0; those that were discarded too.
    pub round: usize,
    /// All contestants in the order of this round.
    pub order: Vec<String>,
    /// Who was measured.
    pub contestant: String,
    /// Its version.
    pub version: String,
    /// Guests, and what the switch was told.
    pub scene: Scene,
    /// Bytes of a frame on a wire.
    pub wire_bytes: u32,
    /// Descriptors of each ring.
    pub ring: u16,
    /// Features in use.
    pub features: Vec<String>,
    /// What was found.
    #[serde(flatten)]
    pub measured: Measured,
    /// How long the window took, in seconds.
    pub seconds: f64,
    /// The floor before the window and after it.
    pub floor_ns: Option<[f64; 2]>,
    /// What the generator cost then.
    pub generator_ns: Option<[f64; 2]>,
    /// Where the two cores were.
    pub cores: Option<Cores>,
    /// Nanoseconds of a cache line from one of them to the other and back, after the window.
    pub round_trip_ns: Option<f64>,
    /// Share of time that other machines had, in percent.
    pub stolen_percent: f64,
    /// How often the worker was taken off its core.
    pub involuntary_switches: u64,
    /// Why the window does not count, or its round.
    pub discarded: Option<String>,
}

impl Window {
    /// One of its figures, or what was lost.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<f64> {
        match name {
            "lost" => Some(crate::proc::as_f64(self.measured.lost)),
            _ => self.measured.figures.get(name).copied(),
        }
    }

    /// The floor around it.
    #[must_use]
    pub fn floor(&self) -> Option<f64> {
        self.floor_ns.map(|[before, after]| f64::midpoint(before, after))
    }
}
