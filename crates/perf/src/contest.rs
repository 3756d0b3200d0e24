//! One cell from beginning to end: switches are started and parked, rounds are played until enough of them count.
//!
//! In a round every contestant has one window, in an order that is shuffled anew. The floor is measured before and after
//! each window on the same two cores. A window in which the floor was another one than at the beginning of the round is kept in
//! the results, does not count, and is repeated; when that does not help, the round does not count.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use helio_guest::Pages;

use crate::cells::{Cell, Contestant, Measure, Scene};
use crate::cores::{Cores, round_trip_ns};
use crate::counted::Counted;
use crate::error::PerfError;
use crate::floor::Floor;
use crate::measure::{self, Common, Effort};
use crate::peer_name::PeerName;
use crate::peers::Machine;
use crate::place::Place;
use crate::proc::{self, CoreTicks};
use crate::quiet;
use crate::station::RING;
use crate::window::{Measured, Window};

/// How long is waited before a round for a host that runs the cores elsewhere.
const MAY_BE_ELSEWHERE: Duration = Duration::from_secs(20);

/// Rounds that are tried for each one that must count, and windows for each one of a round.
const TRIES: usize = 4;

/// How often is looked whether the machine is again what it was when the round began.
const LOOKS: usize = 16;

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the run.
    pub run: String,
    /// Where programs are and threads run.
    pub machine: Machine,
    /// Who takes part.
    pub peers: Vec<PeerName>,
    /// Rounds that must count.
    pub rounds: usize,
    /// How long windows are.
    pub effort: Effort,
    /// Of the guests' memory.
    pub pages: Pages,
    /// Seed of the order.
    pub seed: u64,
    /// Where the cores must be for a round to count; without it, near and far are judged apart.
    pub cores: Option<Cores>,
}

/// What came out of a cell.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// All windows, those that do not count too.
    pub windows: Vec<Window>,
    /// Who could not be measured, and why.
    pub failures: Vec<(Contestant, String)>,
    /// How each switch was started and configured.
    pub commands: Vec<(Contestant, Vec<String>)>,
    /// What each switch says it took in, beside what its guests sent.
    pub counted: Vec<Counted>,
    /// Whether rounds were not repeated because the time was up.
    pub is_cut_short: bool,
}

/// Where the cores were in a round, or why it does not count.
type Counts = Result<Option<Cores>, String>;

/// Where a contestant is.
struct Seat {
    contestant: Contestant,
    scene: Scene,
    version: String,
    /// Number of its station, unless every window has a new one.
    station: Option<usize>,
}

/// A round that is played.
struct Round {
    number: usize,
    /// Contestants in their order.
    order: Vec<String>,
    /// The floor when it began, and the last one that was measured.
    reference: Option<Floor>,
    floor: Option<Floor>,
    /// Windows are repeated until then.
    until: Instant,
    windows: Vec<Window>,
    /// Who failed, and why.
    failed: Vec<(usize, String)>,
    /// Why it does not count.
    discarded: Option<String>,
}

/// A cell that is played.
struct Contest<'a> {
    cell: &'a Cell,
    settings: &'a Settings,
    seats: Vec<Seat>,
    stations: Vec<(PeerName, Scene, Place)>,
    outcome: Outcome,
    common: Common,
}

/// Plays all rounds of a cell; `tell` hears of those that do not count. They are repeated until then.
///
/// # Errors
///
/// When the machine itself cannot be measured. What a peer cannot do is part of the outcome.
pub fn play(
    cell: &Cell,
    settings: &Settings,
    until: Instant,
    mut tell: impl FnMut(&str),
) -> Result<Outcome, PerfError> {
    let mut contest = Contest {
        cell,
        settings,
        seats: Vec::new(),
        stations: Vec::new(),
        outcome: Outcome::default(),
        common: Common::default(),
    };
    for contestant in cell.contestants(&settings.peers) {
        contest.seat(contestant);
    }
    if contest.seats.is_empty() {
        return Ok(contest.outcome);
    }
    contest.find_load();
    let rounds = cell.rounds(settings.rounds);
    let mut rng = fastrand::Rng::with_seed(settings.seed);
    // Rounds that may count, by where the cores were.
    let mut counted: BTreeMap<Option<Cores>, usize> = BTreeMap::new();
    for round in 0..rounds * TRIES {
        if round >= rounds && Instant::now() >= until {
            contest.outcome.is_cut_short = true;
            break;
        }
        let mut order: Vec<usize> = (0..contest.seats.len()).collect();
        rng.shuffle(&mut order);
        match contest.round(round, &order, until)? {
            Ok(cores) => *counted.entry(cores).or_default() += 1,
            Err(why) => tell(&format!("{}: round {round} does not count: {why}", cell.name)),
        }
        let is_wanted =
            |cores: Option<Cores>| settings.cores.is_none_or(|w| cores.is_none_or(|c| c == w));
        let is_enough = counted.iter().any(|(cores, count)| *count == rounds && is_wanted(*cores));
        if is_enough || contest.seats.is_empty() {
            break;
        }
    }
    contest.count();
    if let Some(wanted) = settings.cores {
        keep(&mut contest.outcome.windows, wanted);
    }
    Ok(contest.outcome)
}

impl Contest<'_> {
    /// Finds a place for a contestant: with a switch that has the same guests already, or with a new one.
    fn seat(&mut self, contestant: Contestant) {
        let scene = self.cell.scene_of(&contestant);
        let station = match measure::starts_anew(self.cell.measure) {
            true => crate::peers::find(contestant.peer, &self.settings.machine).map(|()| None),
            false => self.station_for(contestant.peer, &scene).map(Some),
        };
        match station {
            Ok(station) => {
                let peer = station.and_then(|at| self.stations.get(at));
                let peer = peer.map(|(_, _, station)| station.peer());
                let version = peer.map(|peer| peer.version()).unwrap_or_default();
                self.seats.push(Seat { contestant, scene, version, station });
            }
            Err(error) => self.outcome.failures.push((contestant, error.to_string())),
        }
    }

    fn station_for(&mut self, peer: PeerName, scene: &Scene) -> Result<usize, PerfError> {
        let standing = scene.standing();
        let same =
            |(name, there, _): &(PeerName, Scene, Place)| *name == peer && *there == standing;
        if let Some(at) = self.stations.iter().position(same) {
            return Ok(at);
        }
        let Settings { machine, pages, .. } = self.settings;
        let station = Place::open(peer, machine, self.cell, scene, *pages)?;
        let named = Contestant { peer, variant: None };
        self.outcome.commands.push((named, station.peer().commands()));
        self.stations.push((peer, standing, station));
        Ok(self.stations.len() - 1)
    }

    /// Latencies are compared at the same load: a tenth of what the slowest of them carries.
    fn find_load(&mut self) {
        if self.cell.measure != Measure::Latency {
            return;
        }
        let mut slowest = f64::MAX;
        for (_, _, place) in &mut self.stations {
            let Place::Guests(station) = place else { continue };
            let fps = station.peer.go_on().and_then(|()| measure::closed_loop_fps(station));
            let parked = station.peer.park();
            // One that fails here fails in its window too, and is reported there.
            if let (Ok(fps), Ok(())) = (fps, parked) {
                slowest = slowest.min(fps);
            }
        }
        self.common.load_fps = slowest / 10.0;
    }

    /// One window for each. Where the cores were, or why the round does not count.
    fn round(
        &mut self,
        number: usize,
        order: &[usize],
        until: Instant,
    ) -> Result<Counts, PerfError> {
        let name = |at: &usize| Some(self.seats.get(*at)?.contestant.to_string());
        let names = order.iter().filter_map(name).collect();
        self.wait_for_cores()?;
        let floor = self.floor()?;
        let mut round = Round {
            number,
            order: names,
            reference: floor,
            floor,
            until,
            windows: Vec::new(),
            failed: Vec::new(),
            discarded: None,
        };
        for at in order {
            // Also when the round does not count any more: so everybody is driven once at least.
            self.window_that_counts(*at, &mut round)?;
        }
        let Round { mut windows, failed, discarded, floor, .. } = round;
        for window in &mut windows {
            window.discarded.clone_from(&discarded);
        }
        self.outcome.windows.append(&mut windows);
        self.dismiss(failed);
        Ok(discarded.map_or_else(|| Ok(floor.map(|floor| floor.cores())), Err))
    }

    /// A window of one contestant, repeated when the floor moved. That says nothing of the contestant; what may come of itself, as
    /// when its own threads take its worker's core, is not repeated.
    fn window_that_counts(&mut self, at: usize, round: &mut Round) -> Result<(), PerfError> {
        for tried in 1..=TRIES {
            let window = self.window(at);
            let before = std::mem::replace(&mut round.floor, self.floor()?);
            let mut window = match window {
                Ok(window) => with_floors(window, before, round.floor),
                Err(error) => {
                    round.failed.push((at, error.to_string()));
                    return Ok(());
                }
            };
            window.round = round.number;
            window.order.clone_from(&round.order);
            let moved = quiet::moved_around(round.reference, [before, round.floor]);
            let is_repeated = moved.is_some()
                && round.discarded.is_none()
                && tried < TRIES
                && Instant::now() < round.until
                && self.is_as_it_was(round)?;
            if !is_repeated {
                let why = moved.or_else(|| quiet::disturbance(&window));
                let why = why.or_else(|| lost_copies(&window));
                round.discarded = round.discarded.take().or(why);
                round.windows.push(window);
                return Ok(());
            }
            window.discarded = moved.map(|moved| format!("repeated, {moved}"));
            self.outcome.windows.push(window);
        }
        Ok(())
    }

    /// Waits until the floor is what it was when the round began. Whether it is.
    fn is_as_it_was(&self, round: &mut Round) -> Result<bool, PerfError> {
        for _ in 0..LOOKS {
            if quiet::moved(round.reference, round.floor).is_none() {
                return Ok(true);
            }
            round.floor = self.floor()?;
        }
        Ok(quiet::moved(round.reference, round.floor).is_none())
    }

    /// Asks each switch what it has counted. Nothing is measured after it.
    fn count(&mut self) {
        let stations = self.stations.iter_mut();
        let counted = stations.filter_map(|(name, scene, place)| place.counted(*name, *scene));
        self.outcome.counted.extend(counted);
    }

    /// Waits until the host runs the cores where they are wanted, or for too long.
    fn wait_for_cores(&self) -> Result<(), PerfError> {
        let Some(wanted) = self.settings.cores else { return Ok(()) };
        let began = Instant::now();
        while began.elapsed() < MAY_BE_ELSEWHERE {
            let round_trip = round_trip_ns(self.settings.machine.worker_core)?;
            if Cores::by(round_trip) == wanted {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// The floor now, for measures that depend on the speed of the machine.
    fn floor(&self) -> Result<Option<Floor>, PerfError> {
        let is_needed = match self.cell.measure {
            Measure::Drain | Measure::Rate | Measure::Latency => true,
            Measure::OtherGenerator | Measure::Wire => true,
            Measure::MirrorOn | Measure::IdleCpu | Measure::Memory | Measure::Start => false,
        };
        let Settings { machine, pages, .. } = self.settings;
        is_needed.then(|| Floor::measure(self.cell, *pages, machine.worker_core)).transpose()
    }

    /// Who fails once takes no further part.
    fn dismiss(&mut self, mut failed: Vec<(usize, String)>) {
        failed.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        for (at, why) in failed {
            let seat = self.seats.remove(at);
            self.outcome.failures.push((seat.contestant, why));
        }
    }

    fn window(&mut self, at: usize) -> Result<Window, PerfError> {
        let Some(seat) = self.seats.get(at) else {
            return Err(PerfError::Plan("there is no such seat".to_owned()));
        };
        let began = Instant::now();
        let ticks = CoreTicks::now()?;
        let core = self.settings.machine.worker_core;
        let (measured, features, switches) =
            match seat.station.and_then(|at| self.stations.get_mut(at)) {
                None => (self.anew(seat)?, Vec::new(), 0),
                Some((_, _, place)) => {
                    place.peer_mut().process_mut().must_run()?;
                    place.peer().go_on()?;
                    let process = place.peer().process().id();
                    let switches = proc::involuntary_switches(process, core);
                    let Settings { effort, .. } = self.settings;
                    let Seat { contestant, scene, .. } = seat;
                    let measured =
                        place.window(contestant.peer, self.cell, scene, effort, &self.common);
                    let switches =
                        proc::involuntary_switches(process, core).saturating_sub(switches);
                    place.peer().park()?;
                    (measured?, place.features(), switches)
                }
            };
        Ok(Window {
            schema: 1,
            run: self.settings.run.clone(),
            cell: self.cell.name.clone(),
            measure: self.cell.measure,
            round: 0,
            order: Vec::new(),
            contestant: seat.contestant.to_string(),
            version: seat.version.clone(),
            scene: seat.scene,
            wire_bytes: self.cell.wire_bytes,
            ring: RING,
            features,
            measured,
            seconds: began.elapsed().as_secs_f64(),
            floor_ns: None,
            generator_ns: None,
            cores: None,
            round_trip_ns: None,
            stolen_percent: CoreTicks::now()?.stolen_percent(&ticks),
            involuntary_switches: switches,
            discarded: None,
        })
    }

    fn anew(&self, seat: &Seat) -> Result<Measured, PerfError> {
        let Settings { machine, effort, .. } = self.settings;
        let peer = seat.contestant.peer;
        match self.cell.measure {
            Measure::Memory => measure::memory(peer, machine, self.cell, effort),
            Measure::Start => measure::start(peer, machine, self.cell),
            _ => measure::rate_by_testpmd(peer, machine, self.cell, effort),
        }
    }
}

/// Only rounds of one placement of the cores were asked for.
fn keep(windows: &mut [Window], wanted: Cores) {
    for window in windows.iter_mut().filter(|window| window.discarded.is_none()) {
        if let Some(cores) = window.cores.filter(|cores| *cores != wanted) {
            window.discarded = Some(format!("the cores were {cores}, asked for was {wanted}"));
        }
    }
}

/// Writes down what the floor was around a window.
fn with_floors(window: Window, before: Option<Floor>, after: Option<Floor>) -> Window {
    let both = before.zip(after);
    Window {
        floor_ns: both.map(|(before, after)| [before.floor_ns, after.floor_ns]),
        generator_ns: both.map(|(before, after)| [before.generator_ns, after.generator_ns]),
        cores: after.map(|floor| floor.cores()),
        round_trip_ns: after.map(|floor| floor.round_trip_ns),
        ..window
    }
}

/// Why a round with this window does not count: what is compared has then not been done.
fn lost_copies(window: &Window) -> Option<String> {
    let lost = window.figure("copies_lost_percent").unwrap_or(0.0);
    (lost > 0.0).then(|| format!("{} lost {lost:.1} % of the copies", window.contestant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::tests::window;

    fn windows_of(rounds: &[Cores]) -> Vec<Window> {
        let rounds = rounds.iter().enumerate();
        rounds
            .map(|(at, cores)| Window { cores: Some(*cores), ..window(at, "helio", 1.0) })
            .collect()
    }

    #[test]
    fn only_rounds_with_cores_as_asked_for_count() {
        let mut windows = windows_of(&[Cores::Far, Cores::Near, Cores::Near]);
        keep(&mut windows, Cores::Near);
        let kept = windows.iter().filter(|window| window.discarded.is_none());
        assert_eq!(kept.map(|window| window.round).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_round_does_not_count_when_copies_were_lost() {
        let mut incomplete = window(0, "helio", 1.0);
        assert_eq!(lost_copies(&incomplete), None);
        incomplete.measured = incomplete.measured.with("copies_lost_percent", 0.1);
        assert!(lost_copies(&incomplete).unwrap().contains("0.1 % of the copies"));
    }
}
