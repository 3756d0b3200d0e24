//! Lines of the table, judged: the ratio inside each round, its median, and whether the interval lies on the right side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::cells::{Cell, Line};
use crate::cores::Cores;
use crate::peer_name::PeerName;
use crate::statistics::Estimate;
use crate::window::Window;

/// Rounds from which on a placement of the cores is judged even if another one was met more often.
const ENOUGH_ROUNDS: usize = 3;

/// What came of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The whole interval is as good as asked for.
    Reached,
    /// None of it is.
    NotReached,
    /// Some of it is.
    Undecided,
    /// Nothing was asked for.
    Shown,
    /// One of the two was not measured.
    NotMeasured,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reached => "reached",
            Self::NotReached => "not reached",
            Self::Undecided => "undecided",
            Self::Shown => "shown",
            Self::NotMeasured => "not measured",
        })
    }
}

/// One line with what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// Name of the cell.
    pub cell: String,
    /// What the line is called.
    pub title: String,
    /// Against whom, in words.
    pub against: String,
    /// Where the two cores were, if that matters.
    pub cores: Option<Cores>,
    /// Ratio or figure of each round that counts.
    pub rounds: Vec<f64>,
    /// What they are worth.
    pub estimate: Option<Estimate>,
    /// What was asked for, in words.
    pub asked: String,
    /// What is aimed at.
    pub aim: Option<f64>,
    /// What came of it.
    pub verdict: Verdict,
    /// Whether the aim is reached too, by the median.
    pub is_aim_reached: bool,
}

/// Figures of one round by contestant.
type Round<'a> = BTreeMap<&'a str, &'a Window>;

/// Judges all lines of a cell, and the two builds of ours against each other when both took part: once with near cores
/// and once with far ones, as far as there are rounds. Figures of the two cannot stand beside each other.
#[must_use]
pub fn judge(cell: &Cell, windows: &[Window]) -> Vec<Judged> {
    let lines: Vec<Line> = cell.lines.iter().cloned().chain(builds(cell, windows)).collect();
    let placements = placements(windows);
    let judged =
        |line| placements.iter().map(move |(cores, rounds)| judge_line(cell, line, *cores, rounds));
    lines.iter().flat_map(judged).collect()
}

/// A line for each variant in which another build of ours took part.
fn builds(cell: &Cell, windows: &[Window]) -> Vec<Line> {
    let names: BTreeSet<&str> = windows.iter().map(|window| window.contestant.as_str()).collect();
    let line = |name: &str| Line {
        title: Some(format!("{}: helio{name} against helio2{name}", cell.title)),
        of: name.strip_prefix('=').map(str::to_owned),
        against: Some(format!("helio2{name}")),
        ..Line::default()
    };
    names.iter().filter_map(|name| name.strip_prefix("helio2")).map(line).collect()
}

/// The rounds that count, by where the cores were: placements with enough of them, or the one that was met most often.
fn placements(windows: &[Window]) -> Vec<(Option<Cores>, Vec<Round<'_>>)> {
    let mut placements: BTreeMap<Option<Cores>, BTreeMap<usize, Round<'_>>> = BTreeMap::new();
    for window in windows.iter().filter(|window| window.discarded.is_none()) {
        let rounds = placements.entry(window.cores).or_default();
        rounds.entry(window.round).or_default().insert(&window.contestant, window);
    }
    let most = placements.values().map(BTreeMap::len).max().unwrap_or(0);
    placements.retain(|_cores, rounds| rounds.len() >= ENOUGH_ROUNDS.min(most));
    if placements.is_empty() {
        return vec![(None, Vec::new())];
    }
    let rounds = |(cores, rounds): (_, BTreeMap<_, _>)| (cores, rounds.into_values().collect());
    placements.into_iter().map(rounds).collect()
}

fn judge_line(cell: &Cell, line: &Line, cores: Option<Cores>, rounds: &[Round<'_>]) -> Judged {
    let ours = match &line.of {
        Some(variant) => format!("{}={variant}", PeerName::Helio),
        None => PeerName::Helio.to_string(),
    };
    let figure = line.figure.as_deref().unwrap_or_else(|| cell.measure.figure());
    let figures: Vec<f64> =
        rounds.iter().filter_map(|round| value(line, figure, &ours, round)).collect();
    let estimate = Estimate::of(&figures);
    let is_aim_reached = estimate.zip(line.aim).is_some_and(|(estimate, aim)| {
        if is_figure_or_floor(line) { estimate.median <= aim } else { estimate.median >= aim }
    });
    Judged {
        cell: cell.name.clone(),
        title: line.title.clone().unwrap_or_else(|| cell.title.clone()),
        against: match line.against.as_deref() {
            None => "-".to_owned(),
            Some("best") => "best of the peers".to_owned(),
            Some("floor") => "the floor (times it)".to_owned(),
            Some(name) => name.trim_start_matches('=').to_owned(),
        },
        cores,
        rounds: figures,
        estimate,
        asked: match (line.at_least, line.at_most) {
            (Some(least), _) => format!("≥ {least}"),
            (_, Some(most)) => format!("≤ {most}"),
            _ => "-".to_owned(),
        },
        aim: line.aim,
        verdict: verdict(line, estimate),
        is_aim_reached,
    }
}

/// Whether less is better in what the line shows.
fn is_figure_or_floor(line: &Line) -> bool {
    matches!(line.against.as_deref(), None | Some("floor"))
}

fn verdict(line: &Line, estimate: Option<Estimate>) -> Verdict {
    let Some(Estimate { low, high, .. }) = estimate else { return Verdict::NotMeasured };
    let (worst_is_good, best_is_good) = match (line.at_least, line.at_most) {
        (Some(least), _) => (low >= least, high >= least),
        (_, Some(most)) => (high <= most, low <= most),
        _ => return Verdict::Shown,
    };
    match (worst_is_good, best_is_good) {
        (true, _) => Verdict::Reached,
        (_, false) => Verdict::NotReached,
        _ => Verdict::Undecided,
    }
}

/// What the line shows in one round; `None` when somebody is missing.
fn value(line: &Line, figure: &str, ours: &str, round: &Round<'_>) -> Option<f64> {
    let window = round.get(ours)?;
    let own = window.figure(figure)?;
    let other = match line.against.as_deref() {
        None => return Some(own),
        Some("floor") => return window.floor().map(|floor| own / floor),
        Some("best") => best(figure, round)?,
        Some(name) => {
            let name = match name.strip_prefix('=') {
                Some(variant) => format!("{}={variant}", PeerName::Helio),
                None => name.to_owned(),
            };
            round.get(name.as_str())?.figure(figure)?
        }
    };
    let ratio = if is_more_better(figure) { own / other } else { other / own };
    let ratio = ratio / line.limit.unwrap_or(1.0);
    ratio.is_finite().then_some(ratio)
}

fn best(figure: &str, round: &Round<'_>) -> Option<f64> {
    let theirs = PeerName::OTHERS.iter().filter_map(|peer| round.get(peer.name())?.figure(figure));
    theirs.reduce(if is_more_better(figure) { f64::max } else { f64::min })
}

fn is_more_better(figure: &str) -> bool {
    matches!(figure, "mpps" | "gbps")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cells::{Measure, Scene, parse};
    use crate::window::Measured;

    /// A window with one figure.
    pub(crate) fn window(round: usize, contestant: &str, figure: f64) -> Window {
        Window {
            schema: 1,
            run: "test".into(),
            cell: "c".into(),
            measure: Measure::Drain,
            round,
            order: vec![],
            contestant: contestant.into(),
            version: "1".into(),
            scene: Scene::default(),
            wire_bytes: 64,
            ring: 1024,
            features: vec![],
            measured: Measured::default().with("service_ns", figure),
            seconds: 0.1,
            floor_ns: Some([40.0, 50.0]),
            generator_ns: Some([20.0, 20.0]),
            cores: None,
            round_trip_ns: None,
            stolen_percent: 0.0,
            involuntary_switches: 0,
            discarded: None,
        }
    }

    /// A drain cell with these lines.
    pub(crate) fn cell(lines: &str) -> Cell {
        let head = "[[cell]]\nname = \"c\"\ntitle = \"C\"\ntiers = []\nmeasure = \"drain\"\n";
        parse(&format!("{head}{lines}")).unwrap().remove(0)
    }

    const AGAINST_OVS: &str = "[[cell.line]]\nagainst = \"ovs\"\nat-least = 2.0\naim = 3.0\n";

    fn verdict_with(theirs: &[f64]) -> Verdict {
        let rounds = theirs.iter().enumerate();
        let windows: Vec<Window> = rounds
            .flat_map(|(at, theirs)| [window(at, "helio", 50.0), window(at, "ovs", *theirs)])
            .collect();
        judge(&cell(AGAINST_OVS), &windows)[0].verdict
    }

    #[test]
    fn a_line_is_reached_when_its_whole_interval_is() {
        assert_eq!(verdict_with(&[110.0, 111.0, 112.0, 113.0]), Verdict::Reached);
        assert_eq!(verdict_with(&[90.0, 91.0, 92.0, 93.0]), Verdict::NotReached);
        assert_eq!(verdict_with(&[90.0, 91.0, 112.0, 113.0]), Verdict::Undecided);
        assert_eq!(verdict_with(&[]), Verdict::NotMeasured);
    }

    #[test]
    fn ratios_are_taken_inside_rounds_and_only_of_those_that_count() {
        let mut slow = window(1, "helio", 1000.0);
        slow.discarded = Some("noise".into());
        let windows = [
            window(0, "helio", 50.0),
            window(0, "ovs", 150.0),
            slow,
            window(1, "ovs", 150.0),
            window(2, "helio", 100.0),
            window(2, "ovs", 300.0),
        ];
        let judged = judge(&cell(AGAINST_OVS), &windows);
        assert_eq!(judged[0].rounds, [3.0, 3.0]);
        assert!(judged[0].is_aim_reached);
    }

    #[test]
    fn the_floor_is_the_mean_of_before_and_after_and_less_is_better() {
        let lines = "[[cell.line]]\nagainst = \"floor\"\nat-most = 1.8\naim = 1.5\n";
        let judged = judge(&cell(lines), &[window(0, "helio", 90.0)]);
        assert_eq!((judged[0].rounds[0], judged[0].verdict), (2.0, Verdict::NotReached));
        assert!(!judged[0].is_aim_reached);
    }

    #[test]
    fn the_best_peer_is_found_anew_in_each_round() {
        let lines = "[[cell.line]]\nagainst = \"best\"\nat-least = 1.0\n";
        let windows = [
            window(0, "helio", 10.0),
            window(0, "ovs", 30.0),
            window(0, "testpmd", 20.0),
            window(1, "helio", 10.0),
            window(1, "ovs", 15.0),
            window(1, "testpmd", 20.0),
        ];
        assert_eq!(judge(&cell(lines), &windows)[0].rounds, [2.0, 1.5]);
    }

    #[test]
    fn a_share_is_judged_by_its_limit() {
        let lines = "variants = { a = {}, b = {} }\n[[cell.line]]\nof = \"a\"\nagainst = \"=b\"\nlimit = 0.5\nat-least = 0.85\n";
        let windows = [window(0, "helio=a", 100.0), window(0, "helio=b", 45.0)];
        let judged = judge(&cell(lines), &windows);
        assert!((judged[0].rounds[0] - 0.9).abs() < 1e-9);
        assert_eq!(judged[0].verdict, Verdict::Reached);
    }

    #[test]
    fn near_and_far_cores_are_judged_apart() {
        let at = |round, cores, theirs| {
            ["helio", "ovs"].map(|who| {
                let figure = if who == "helio" { 50.0 } else { theirs };
                Window { cores: Some(cores), ..window(round, who, figure) }
            })
        };
        let near = (0..4).flat_map(|round| at(round, Cores::Near, 150.0));
        let far = (4..7).flat_map(|round| at(round, Cores::Far, 75.0));
        let windows: Vec<Window> = near.chain(far).collect();
        let judged = judge(&cell(AGAINST_OVS), &windows);
        let found = judged.iter().map(|line| (line.cores, line.rounds.len(), line.verdict));
        assert_eq!(
            found.collect::<Vec<_>>(),
            [(Some(Cores::Near), 4, Verdict::Reached), (Some(Cores::Far), 3, Verdict::NotReached)]
        );
        // Two rounds far are not enough beside four near.
        let judged = judge(&cell(AGAINST_OVS), &windows[..12]);
        assert_eq!(judged.len(), 1);
        assert_eq!((judged[0].cores, judged[0].rounds.len()), (Some(Cores::Near), 4));
    }

    #[test]
    fn a_placement_with_few_rounds_is_judged_when_there_is_no_other() {
        let windows =
            ["helio", "ovs"].map(|who| Window { cores: Some(Cores::Far), ..window(0, who, 50.0) });
        let judged = judge(&cell(AGAINST_OVS), &windows);
        assert_eq!((judged.len(), judged[0].cores), (1, Some(Cores::Far)));
    }

    #[test]
    fn two_builds_of_ours_are_compared_without_being_asked() {
        let windows = [window(0, "helio", 50.0), window(0, "helio2", 60.0)];
        let judged = judge(&cell(""), &windows);
        assert_eq!((judged.len(), judged[0].rounds[0]), (1, 1.2));
    }
}
