//! The matrix: what is measured, with which guests, against whom, and what it should come to.
//!
//! Read from `perf/cells.toml` once, at the start, and checked as a whole.

use std::collections::BTreeMap;
use std::fmt;
use std::path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::copies::Copies;
use crate::error::PerfError;
use crate::peer_name::PeerName;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// In the tests: that everything can be driven and counted.
    Smoke,
    /// The table.
    Daily,
    /// The same, with more rounds.
    Full,
}

impl Tier {
    /// Rounds that count.
    #[must_use]
    pub fn rounds(self) -> usize {
        match self {
            Self::Smoke => 1,
            Self::Daily => 7,
            Self::Full => 21,
        }
    }

    /// How long it may take, all cells together; nothing that does not count is repeated any more then.
    #[must_use]
    pub fn time(self) -> Duration {
        let minutes = match self {
            Self::Smoke => 2,
            Self::Daily => 20,
            Self::Full => 90,
        };
        Duration::from_secs(60 * minutes)
    }
}

/// What is measured in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Service time by draining a filled ring.
    Drain,
    /// Sustained rate in a closed loop.
    Rate,
    /// Latency at a tenth of the rate.
    Latency,
    /// From the command to mirror until the first copy.
    MirrorOn,
    /// Processor time of a process that has nothing to do.
    IdleCpu,
    /// Memory that a port takes.
    Memory,
    /// From the start of the program until the first frame is through.
    Start,
    /// Sustained rate as an independent generator counts it.
    OtherGenerator,
    /// Frames over wires: service time and sustained rate.
    Wire,
}

impl Measure {
    /// The figure that counts unless a line names another.
    #[must_use]
    pub fn figure(self) -> &'static str {
        match self {
            Self::Drain => "service_ns",
            Self::Rate | Self::OtherGenerator | Self::Wire => "mpps",
            Self::Latency => "p50_ns",
            Self::MirrorOn => "first_copy_us",
            Self::IdleCpu => "cpu_percent",
            Self::Memory => "attached_port_kib",
            Self::Start => "start_ms",
        }
    }
}

/// What guests there are besides the two that talk, and what the switch is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scene {
    /// Guests that receive copies when they should, and read them.
    #[serde(default)]
    pub watchers: usize,
    /// To how many of them the switch mirrors.
    #[serde(default)]
    pub mirrors: usize,
    /// One guest more that is attached to a destination and never reads.
    #[serde(default)]
    pub dead_watchers: usize,
    /// Whether the switch mirrors to those.
    #[serde(default)]
    pub dead_mirrors: usize,
    /// Guests that are attached and silent.
    #[serde(default)]
    pub idle_guests: usize,
    /// Ethernet addresses of all guests together; 0 is as 2.
    #[serde(default)]
    pub macs: u32,
    /// A session with a name makes the copies, and does this to them.
    pub copies: Option<Copies>,
}

impl Scene {
    /// Ports that a switch needs.
    #[must_use]
    pub fn ports(&self) -> usize {
        2 + self.watchers + self.dead_watchers + self.idle_guests
    }

    /// Ports that copies go to.
    #[must_use]
    pub fn destinations(&self) -> Vec<usize> {
        let dead = 2 + self.watchers;
        (2..2 + self.mirrors).chain(dead..dead + self.dead_mirrors).collect()
    }

    /// The part that cannot change while guests are attached.
    #[must_use]
    pub fn standing(&self) -> Self {
        Self { mirrors: 0, dead_mirrors: 0, ..*self }
    }
}

/// What frames carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Carried {
    /// UDP, as it is.
    #[default]
    Udp,
    /// TCP to be segmented.
    Tso,
}

/// The way of frames over wires, in the words of those who measure switches: P is a port on a wire, V is a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Path {
    /// From one wire to another.
    P2p,
    /// From a wire to a guest.
    P2v,
    /// From a guest to a wire.
    V2p,
    /// From a wire to a guest, which sends it on to another wire.
    Pvp,
}

/// What a port of a switch leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// A guest.
    Guest,
    /// A wire.
    Wire,
}

impl Path {
    /// What the ports of a switch lead to, in order; `watchers` more wires take copies.
    #[must_use]
    pub fn faces(self, watchers: usize) -> Vec<Face> {
        let mut faces = match self {
            Self::P2p => vec![Face::Wire, Face::Wire],
            Self::P2v => vec![Face::Wire, Face::Guest],
            Self::V2p => vec![Face::Guest, Face::Wire],
            Self::Pvp => vec![Face::Wire, Face::Guest, Face::Guest, Face::Wire],
        };
        faces.extend(std::iter::repeat_n(Face::Wire, watchers));
        faces
    }
}

/// How a worker of ours waits for frames. The peers never sleep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Poll {
    /// It sleeps when it is idle, as by default.
    #[default]
    Adaptive,
    /// It never sleeps, as the peers.
    Busy,
}

/// One line of the table.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Line {
    /// What the line is called when not as its cell.
    pub title: Option<String>,
    /// Variant of ours that is judged.
    pub of: Option<String>,
    /// A peer, `best` of the peers, `floor`, or a variant of ours as `=NAME`. Without it the figure itself is judged.
    pub against: Option<String>,
    /// Which figure, when not the usual one of the measure.
    pub figure: Option<String>,
    /// The most that the ratio can come to: the share of it is judged.
    pub limit: Option<f64>,
    /// Least ratio that is good.
    pub at_least: Option<f64>,
    /// Highest ratio, or figure, that is good.
    pub at_most: Option<f64>,
    /// What to aim at.
    pub aim: Option<f64>,
}

/// One thing to measure.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Cell {
    /// Short name, unique.
    pub name: String,
    /// What it is, for the table.
    pub title: String,
    /// Tiers that have it.
    pub tiers: Vec<Tier>,
    /// What is measured.
    pub measure: Measure,
    /// Length of frames on a wire, in bytes.
    #[serde(default = "shortest")]
    pub wire_bytes: u32,
    /// What they carry.
    #[serde(default)]
    pub carried: Carried,
    /// Their way, when wires are part of it.
    pub path: Option<Path>,
    /// How our worker waits for frames.
    #[serde(default)]
    pub poll: Poll,
    /// 1: the first guest sends to the second; 2: both send.
    #[serde(default = "one")]
    pub lanes: usize,
    /// Guests and what the switch is told.
    #[serde(default)]
    pub scene: Scene,
    /// Other scenes of ours, by name; then the one above is not measured.
    #[serde(default)]
    pub variants: BTreeMap<String, Scene>,
    /// Peers that are measured without being in a line.
    #[serde(default)]
    pub also: Vec<PeerName>,
    /// Highest number of rounds, for what hardly differs from round to round.
    pub most_rounds: Option<usize>,
    /// What is judged.
    #[serde(default, rename = "line")]
    pub lines: Vec<Line>,
}

fn shortest() -> u32 {
    64
}

fn one() -> usize {
    1
}

/// Who is measured: a peer, and for ours perhaps a variant of the scene.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contestant {
    /// The switch.
    pub peer: PeerName,
    /// Name of the scene.
    pub variant: Option<String>,
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.variant {
            Some(variant) => write!(f, "{}={variant}", self.peer),
            None => write!(f, "{}", self.peer),
        }
    }
}

impl Cell {
    /// All that are measured of the peers in `wanted`.
    #[must_use]
    pub fn contestants(&self, wanted: &[PeerName]) -> Vec<Contestant> {
        let mut peers: Vec<PeerName> = vec![PeerName::Helio, PeerName::Helio2];
        for line in &self.lines {
            match line.against.as_deref() {
                Some("best") => peers.extend(PeerName::OTHERS),
                Some(name) => peers.extend(PeerName::of(name)),
                None => {}
            }
        }
        peers.extend(&self.also);
        peers.sort_unstable();
        peers.dedup();
        peers.retain(|peer| wanted.contains(peer));
        peers.into_iter().flat_map(|peer| self.scenes_of(peer)).collect()
    }

    fn scenes_of(&self, peer: PeerName) -> Vec<Contestant> {
        if self.variants.is_empty() || !peer.is_ours() {
            return vec![Contestant { peer, variant: None }];
        }
        let named = |variant: &String| Contestant { peer, variant: Some(variant.clone()) };
        self.variants.keys().map(named).collect()
    }

    /// The scene of one of them.
    #[must_use]
    pub fn scene_of(&self, contestant: &Contestant) -> Scene {
        let variant = contestant.variant.as_ref().and_then(|name| self.variants.get(name));
        variant.copied().unwrap_or(self.scene)
    }

    /// Rounds in a tier.
    #[must_use]
    pub fn rounds(&self, asked: usize) -> usize {
        self.most_rounds.map_or(asked, |most| asked.min(most)).max(1)
    }

    fn check(&self) -> Result<(), String> {
        let scenes = self.variants.values().chain(std::iter::once(&self.scene));
        for scene in scenes {
            if scene.mirrors > scene.watchers || scene.dead_mirrors > scene.dead_watchers {
                return Err("it mirrors to more guests than watch".to_owned());
            }
        }
        if self.path.is_some() != (self.measure == Measure::Wire) {
            return Err("it has a path if it measures wires, and only then".to_owned());
        }
        if !(1..=2).contains(&self.lanes) {
            return Err("there are one or two lanes".to_owned());
        }
        self.lines.iter().try_for_each(|line| self.check_line(line))
    }

    fn check_line(&self, line: &Line) -> Result<(), String> {
        let known = |name: &str| match self.variants.contains_key(name) {
            true => Ok(()),
            false => Err(format!("there is no variant \"{name}\"")),
        };
        match line.of.as_deref() {
            Some(name) => known(name)?,
            None if self.variants.is_empty() => {}
            None => return Err("a line must say of which variant it is".to_owned()),
        }
        match line.against.as_deref() {
            None | Some("best" | "floor") => {}
            Some(name) => match name.strip_prefix('=') {
                Some(variant) => known(variant)?,
                None if PeerName::of(name).is_some() => {}
                None => return Err(format!("there is no peer \"{name}\"")),
            },
        }
        match (line.at_least, line.at_most) {
            (Some(_), Some(_)) => Err("a line is \"at-least\" or \"at-most\"".to_owned()),
            _ => Ok(()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    cell: Vec<Cell>,
}

/// Reads the cells of a file.
///
/// # Errors
///
/// When it cannot be read or contradicts itself.
pub fn read(path: &path::Path) -> Result<Vec<Cell>, PerfError> {
    let text =
        std::fs::read_to_string(path).map_err(PerfError::io(format!("read {}", path.display())))?;
    parse(&text).map_err(|what| PerfError::Plan(format!("{}: {what}", path.display())))
}

/// Reads cells from text.
///
/// # Errors
///
/// The first contradiction.
pub fn parse(text: &str) -> Result<Vec<Cell>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut names: Vec<&str> = Vec::new();
    for cell in &file.cell {
        if names.contains(&cell.name.as_str()) {
            return Err(format!("there are two cells \"{}\"", cell.name));
        }
        names.push(&cell.name);
        cell.check().map_err(|what| format!("cell \"{}\": {what}", cell.name))?;
    }
    Ok(file.cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../../perf/cells.toml");

    #[test]
    fn the_cells_of_the_tree_are_free_of_contradictions() {
        let cells = parse(FILE).unwrap();
        let daily = cells.iter().filter(|cell| cell.tiers.contains(&Tier::Daily));
        assert!(daily.count() >= 15);
        for cell in cells.iter().filter(|cell| cell.tiers.contains(&Tier::Smoke)) {
            assert!(cell.tiers.contains(&Tier::Daily), "{}", cell.name);
        }
    }

    #[test]
    fn only_those_who_were_asked_for_take_part() {
        let cells = parse(FILE).unwrap();
        let drain = cells.iter().find(|cell| cell.name == "v2v-64-drain").unwrap();
        let wanted = [PeerName::Helio, PeerName::Testpmd];
        let names: Vec<_> = drain.contestants(&wanted).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["helio", "testpmd"]);
    }

    #[test]
    fn variants_are_ours_alone() {
        let text = r#"
            [[cell]]
            name = "a"
            title = "A"
            tiers = ["daily"]
            measure = "drain"
            scene = { watchers = 1, mirrors = 1 }
            variants = { with = { watchers = 1, mirrors = 1 }, without = { watchers = 1 } }
            [[cell.line]]
            of = "with"
            against = "=without"
            [[cell.line]]
            of = "with"
            against = "ovs"
        "#;
        let cells = parse(text).unwrap();
        let all = [PeerName::Ovs, PeerName::Helio];
        let names: Vec<_> = cells[0].contestants(&all).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["helio=with", "helio=without", "ovs"]);
        assert_eq!(cells[0].scene_of(&cells[0].contestants(&all)[0]).destinations(), [2]);
    }

    #[test]
    fn a_cell_that_contradicts_itself_is_refused_by_name() {
        let with = |lines: &str| {
            let head = "[[cell]]\nname = \"x\"\ntitle = \"X\"\ntiers = []\nmeasure = \"drain\"\n";
            parse(&format!("{head}{lines}")).unwrap_err()
        };
        for (lines, what) in [
            ("scene = { mirrors = 1 }", "more guests than watch"),
            ("lanes = 3", "one or two lanes"),
            ("path = \"p2p\"", "measures wires"),
            ("[[cell.line]]\nagainst = \"snabb\"", "no peer"),
            ("[[cell.line]]\nof = \"y\"", "no variant"),
            ("[[cell.line]]\nat-least = 1.0\nat-most = 2.0", "\"at-least\" or \"at-most\""),
        ] {
            let error = with(lines);
            assert!(error.contains(what) && error.contains("\"x\""), "{error}");
        }
    }

    #[test]
    fn a_dead_watcher_has_the_port_behind_the_living_ones() {
        let scene = Scene {
            watchers: 2,
            mirrors: 1,
            dead_watchers: 1,
            dead_mirrors: 1,
            ..Scene::default()
        };
        assert_eq!((scene.ports(), scene.destinations()), (5, vec![2, 4]));
    }
}
