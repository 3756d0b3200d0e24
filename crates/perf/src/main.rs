//! The comparison as a program: `perf/run` builds and starts it.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use helio_bench::{Host, pin};
use helio_guest::Pages;
use helio_perf::cells::{self, Cell, Measure, Tier};
use helio_perf::contest::{self, Settings};
use helio_perf::measure::Effort;
use helio_perf::peers::{self, Machine};
use helio_perf::report::{About, Played, Report, lines_table};
use helio_perf::results::{self, Results};
use helio_perf::{Cores, PeerName, PerfError, verdict};

/// Compare this switch with its peers, on the same guests, frames, rings and cores.
#[derive(Debug, Parser)]
#[command(name = "helio-perf")]
struct Args {
    /// How much to measure
    #[arg(long, default_value = "daily", value_parser = tier)]
    tier: Tier,
    /// Only these cells, whatever the tier
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    cells: Vec<String>,
    /// Who takes part; the cells say against whom each is measured
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "PEER",
        default_value = "helio,testpmd,ovs,vpp,raw,bridge"
    )]
    peers: Vec<PeerName>,
    /// Rounds that must count [default: 1, 7 or 21 by the tier]
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// Our program
    #[arg(long, value_name = "PATH")]
    helio: PathBuf,
    /// Another build of it, for the peer "helio2"
    #[arg(long, value_name = "PATH")]
    helio2: Option<PathBuf>,
    /// The matrix
    #[arg(long, value_name = "FILE", default_value = "perf/cells.toml")]
    matrix: PathBuf,
    /// Where results go
    #[arg(long, value_name = "FOLDER", default_value = "perf/results")]
    results: PathBuf,
    /// Write the table into this file, between its marks, and what stands behind it to last-run.md in the same folder
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "perf/README.md")]
    record: Option<PathBuf>,
    /// Seed of the order inside the rounds
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Memory of the guests
    #[arg(long, default_value = "huge", value_parser = ["huge", "usual"])]
    pages: String,
    /// Count only rounds in which the host runs the two cores "near" each other, as neighbours that share a cache, or
    /// "far" apart [default: all, and each is judged apart]
    #[arg(long, value_parser = cores)]
    cores: Option<Cores>,
    /// Core of the switches' workers
    #[arg(long, default_value_t = 1, value_name = "CORE")]
    worker_core: usize,
    /// Core of the generator and of everything else
    #[arg(long, default_value_t = 0, value_name = "CORE")]
    other_core: usize,
    /// Print nothing but the table
    #[arg(long)]
    quiet: bool,
}

fn tier(word: &str) -> Result<Tier, String> {
    match word {
        "smoke" => Ok(Tier::Smoke),
        "daily" => Ok(Tier::Daily),
        "full" => Ok(Tier::Full),
        _ => Err("the tiers are smoke, daily and full".to_owned()),
    }
}

fn cores(word: &str) -> Result<Cores, String> {
    match word {
        "near" => Ok(Cores::Near),
        "far" => Ok(Cores::Far),
        _ => Err("the cores are near or far".to_owned()),
    }
}

fn main() -> ExitCode {
    match compare(&Args::parse()) {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            for problem in problems {
                eprintln!("perf: {problem}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("perf: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays all cells and writes the results; what went wrong that should not.
fn compare(args: &Args) -> Result<Vec<String>, PerfError> {
    let began = Instant::now();
    let about = |seconds| About {
        run: String::new(),
        command: command_line(),
        host: Host::this(),
        seconds,
        left_out: Vec::new(),
    };
    let mut about = about(0);
    about.run = results::name_of_now();
    let all = cells::read(&args.matrix)?;
    let cells = wanted(args, &all)?;
    about.left_out = left_out(args.tier, &all, &cells);
    pin(args.other_core)?;
    let settings = settings(args, &about.run);
    let results = Results::create(&args.results, &about.run)?;
    let mut played = Vec::new();
    let mut problems = Vec::new();
    let count = u32::try_from(cells.len()).unwrap_or(u32::MAX);
    for (number, cell) in (1..).zip(cells) {
        // What a cell leaves of its share, later ones have.
        let until = began + args.tier.time() * number / count;
        let say = |text: &str| {
            if !args.quiet {
                eprintln!("[{:4} s] {text}", began.elapsed().as_secs());
            }
        };
        say(&cell.name);
        let outcome = contest::play(&cell, &settings, until, say)?;
        let lines = verdict::judge(&cell, &outcome.windows);
        let cell = Played { cell, outcome, lines };
        results.add(&cell)?;
        problems.extend(problems_of(&cell, &settings.machine));
        played.push(cell);
    }
    about.seconds = began.elapsed().as_secs();
    let report = Report::of(&about, &played);
    results.write("report.md", &report.whole())?;
    println!("{}", lines_table(&played));
    println!("{}", results.folder().display());
    if let Some(file) = &args.record {
        results::record(file, &about.run, &report)?;
    }
    Ok(problems)
}

fn command_line() -> String {
    let words: Vec<String> = std::env::args().skip(1).collect();
    format!("perf/run {}", words.join(" ")).trim_end().to_owned()
}

fn wanted(args: &Args, all: &[Cell]) -> Result<Vec<Cell>, PerfError> {
    for name in &args.cells {
        if !all.iter().any(|cell| cell.name == *name) {
            let names: Vec<&str> = all.iter().map(|cell| cell.name.as_str()).collect();
            let text = format!("there is no cell \"{name}\"; the cells are {}", names.join(", "));
            return Err(PerfError::Plan(text));
        }
    }
    let is_wanted = |cell: &Cell| match args.cells.is_empty() {
        true => cell.tiers.contains(&args.tier),
        false => args.cells.contains(&cell.name),
    };
    Ok(all.iter().filter(|cell| is_wanted(cell)).cloned().collect())
}

/// Cells of the tier that are not among those that are played: a table without them must say so.
fn left_out(tier: Tier, all: &[Cell], played: &[Cell]) -> Vec<String> {
    let is_played = |cell: &Cell| played.iter().any(|other| other.name == cell.name);
    let left_out = all.iter().filter(|cell| cell.tiers.contains(&tier) && !is_played(cell));
    left_out.map(|cell| cell.name.clone()).collect()
}

fn settings(args: &Args, run: &str) -> Settings {
    Settings {
        run: run.to_owned(),
        machine: Machine {
            worker_core: args.worker_core,
            other_core: args.other_core,
            helio: args.helio.clone(),
            helio2: args.helio2.clone(),
        },
        peers: args.peers.clone(),
        rounds: args.rounds.unwrap_or_else(|| args.tier.rounds()),
        effort: Effort::of(args.tier),
        pages: if args.pages == "huge" { Pages::Huge } else { Pages::Usual },
        seed: args.seed,
        cores: args.cores,
    }
}

/// What must not happen, however fast or slow anybody is: a switch that is there and cannot be driven, no figures, or
/// frames of a drained ring that are lost or come out wrong.
fn problems_of(played: &Played, machine: &Machine) -> Vec<String> {
    let name = &played.cell.name;
    let mut problems = Vec::new();
    for (who, why) in &played.outcome.failures {
        if peers::find(who.peer, machine).is_ok() {
            problems.push(format!("{name}: {who}: {why}"));
        }
    }
    if played.outcome.windows.is_empty() {
        problems.push(format!("{name}: nothing was measured"));
    }
    // What others count is a finding; that ours counts every frame is a promise.
    let of_ours = played.outcome.counted.iter().filter(|counted| counted.peer.is_ours());
    for counted in of_ours.filter(|counted| !counted.agrees()) {
        problems.push(format!("{name}: {}", counted.difference()));
    }
    for window in &played.outcome.windows {
        let who = &window.contestant;
        if window.measured.figures.is_empty() {
            problems.push(format!("{name}: no figure of {who}"));
        }
        let is_lossless = matches!(played.cell.measure, Measure::Drain | Measure::Rate);
        if is_lossless && window.measured.lost > 0 {
            problems.push(format!("{name}: {who} lost {} frames", window.measured.lost));
        }
        if who.starts_with(PeerName::Helio.name())
            && window.figure("without_effect").is_some_and(|count| count > 0.0)
        {
            problems.push(format!("{name}: {who} did not mirror when it was told to"));
        }
        if !window.measured.oddities.is_empty() {
            problems.push(format!("{name}: {who}: {:?}", window.measured.oddities));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_free_of_contradictions() {
        Args::command().debug_assert();
        let line = "x --helio /h --peers helio,helio2 --cells a,b --record --tier smoke";
        let args = Args::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(args.peers, [PeerName::Helio, PeerName::Helio2]);
        assert_eq!(args.record.as_deref(), Some(Path::new("perf/README.md")));
        assert_eq!(args.tier, Tier::Smoke);
    }
}
