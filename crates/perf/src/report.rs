//! What a run found, as Markdown: the table, the figures behind it, what was discarded, and how it was done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use helio_bench::Host;

use crate::cells::Cell;
use crate::contest::Outcome;
use crate::cores::Cores;
use crate::statistics::Estimate;
use crate::verdict::{Judged, Verdict};
use crate::window::Window;

/// A cell, what came out, and how its lines were judged.
#[derive(Debug)]
pub struct Played {
    /// The cell.
    pub cell: Cell,
    /// What came out.
    pub outcome: Outcome,
    /// Its lines.
    pub lines: Vec<Judged>,
}

/// What the report says about the run as a whole.
#[derive(Debug)]
pub struct About {
    /// When it began.
    pub run: String,
    /// The command line.
    pub command: String,
    /// The machine.
    pub host: Host,
    /// Seconds that it took.
    pub seconds: u64,
    /// Cells of the tier that were not asked for.
    pub left_out: Vec<String>,
}

/// What a run found, in two parts: the second is long, and stands in a file of its own where a run is recorded.
#[derive(Debug)]
pub struct Report {
    /// The run, the machine, how many lines are reached, and the table of verdicts.
    pub table: String,
    /// Figures, counters, commands, what does not count, and configurations.
    pub behind: String,
}

impl Report {
    /// Of a run.
    #[must_use]
    pub fn of(about: &About, played: &[Played]) -> Self {
        let table = format!("{}\n{}\n{}", headline(about), summary(played), lines_table(played));
        let behind = [
            figures_table(played),
            generator(played),
            counted(played),
            mirror_commands(played),
            discarded(played),
            failures(played, &about.left_out),
            commands(played),
        ];
        Self { table, behind: behind.concat() }
    }

    /// All of it.
    #[must_use]
    pub fn whole(&self) -> String {
        format!("{}\n{}", self.table, self.behind)
    }
}

/// Which run it was, and where.
fn headline(about: &About) -> String {
    let About { run, command, host, seconds, .. } = about;
    let Host { processor, cores, kernel, load_percent } = host;
    let (load, hundredths) = (load_percent / 100, load_percent % 100);
    format!(
        "Run {run} in {seconds} s: `{command}`, on {processor}, {cores} cores, Linux {kernel}, load {load}.{hundredths:02} before.\n"
    )
}

/// How many of the lines that ask for something are reached, and of which cells the others are.
fn summary(played: &[Played]) -> String {
    let asked = |played: &Played, wanted: Option<Verdict>| {
        let lines = played.lines.iter().filter(|line| line.asked != "-");
        lines.filter(|line| wanted.is_none_or(|verdict| line.verdict == verdict)).count()
    };
    let all = |verdict| played.iter().map(|played| asked(played, Some(verdict))).sum::<usize>();
    let mut text = format!("**Reached: {}.**", all(Verdict::Reached));
    let others = [
        ("Not reached", Verdict::NotReached),
        ("Undecided", Verdict::Undecided),
        ("Not measured", Verdict::NotMeasured),
    ];
    for (name, verdict) in others {
        let of_cell = |played: &Played| {
            let (count, lines) = (asked(played, Some(verdict)), asked(played, None));
            (count > 0).then(|| format!("{} {count} of {lines}", played.cell.name))
        };
        let cells: Vec<String> = played.iter().filter_map(of_cell).collect();
        if !cells.is_empty() {
            let _ = write!(text, " **{name}: {}**, by cell: {}.", all(verdict), cells.join(", "));
        }
    }
    text + "\n"
}

/// One row for each line.
#[must_use]
pub fn lines_table(played: &[Played]) -> String {
    let mut text = String::from(
        "| what | against | cores | median | 95 % interval | rounds | asked | aim | verdict |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for line in played.iter().flat_map(|played| &played.lines) {
        let (median, interval) = match &line.estimate {
            Some(estimate) => (short(estimate.median), interval(estimate)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let aim = line.aim.map_or_else(|| "-".to_owned(), short);
        let verdict = match (line.verdict, line.is_aim_reached) {
            (Verdict::Reached | Verdict::Shown, true) => format!("{}, aim too", line.verdict),
            (verdict, _) => verdict.to_string(),
        };
        let Judged { title, against, rounds, asked, .. } = line;
        let cores = placement(line.cores);
        let rounds = rounds.len();
        let _ = writeln!(
            text,
            "| {title} | {against} | {cores} | {median} | {interval} | {rounds} | {asked} | {aim} | {verdict} |"
        );
    }
    text
}

/// One row for each contestant and figure of each cell, by the rounds that count.
fn figures_table(played: &[Played]) -> String {
    let mut text = String::from(
        "## Figures\n\n| cell | who | figure | cores | median | 95 % interval | ÷ floor | windows | frames lost |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for Played { cell, outcome, .. } in played {
        let mut by_figure: BTreeMap<(&str, &str, Option<Cores>), Vec<&Window>> = BTreeMap::new();
        for window in outcome.windows.iter().filter(|window| window.discarded.is_none()) {
            for name in window.measured.figures.keys() {
                let key = (window.contestant.as_str(), *name, window.cores);
                by_figure.entry(key).or_default().push(window);
            }
        }
        for ((who, figure, cores), windows) in by_figure {
            let figures: Vec<f64> = windows.iter().filter_map(|w| w.figure(figure)).collect();
            let Some(estimate) = Estimate::of(&figures) else { continue };
            let floors: Vec<f64> = match figure {
                "service_ns" => {
                    windows.iter().filter_map(|w| Some(w.figure(figure)? / w.floor()?)).collect()
                }
                _ => Vec::new(),
            };
            let floors = crate::statistics::median(&floors).map_or_else(|| "-".to_owned(), short);
            let lost: u64 = windows.iter().map(|window| window.measured.lost).sum();
            let _ = writeln!(
                text,
                "| {} | {who} | {figure} | {} | {} | {} | {floors} | {} | {lost} |",
                cell.name,
                placement(cores),
                short(estimate.median),
                interval(&estimate),
                windows.len()
            );
        }
    }
    text
}

/// Where the host ran the two cores.
fn placement(cores: Option<Cores>) -> &'static str {
    cores.map_or("-", Cores::word)
}

/// What the generator cost, by the length of frames.
fn generator(played: &[Played]) -> String {
    let mut by_length = BTreeMap::<_, (Vec<f64>, Vec<f64>)>::new();
    let windows = played.iter().flat_map(|played| &played.outcome.windows);
    for window in windows.filter(|window| window.discarded.is_none()) {
        let (Some(floor), Some(generator)) = (window.floor_ns, window.generator_ns) else {
            continue;
        };
        let (floors, generators) = by_length.entry((window.wire_bytes, window.cores)).or_default();
        floors.extend(floor);
        generators.extend(generator);
    }
    let mut text = String::from("\n## Generator and floor, in ns per frame\n\n");
    for ((bytes, cores), (floors, generators)) in by_length {
        let line = Estimate::of(&generators).zip(Estimate::of(&floors));
        let Some((generator, floor)) = line else { continue };
        let _ = writeln!(
            text,
            "- {bytes} B, {}: sending and receiving {} [{}], the floor {} [{}]",
            placement(cores),
            short(generator.median),
            interval(&generator),
            short(floor.median),
            interval(&floor)
        );
    }
    text
}

/// How many switches say that they took in what their guests sent, and which say something else.
fn counted(played: &[Played]) -> String {
    let all = || played.iter().flat_map(|played| &played.outcome.counted);
    if all().next().is_none() {
        return String::new();
    }
    let (agree, asked) = (all().filter(|counted| counted.agrees()).count(), all().count());
    let mut text = format!(
        "\n## What the switches counted themselves\n\n- as many frames taken in as their guests sent: {agree} of {asked}\n"
    );
    for Played { cell, outcome, .. } in played {
        for counted in outcome.counted.iter().filter(|counted| !counted.agrees()) {
            let _ = writeln!(text, "- {}, {}", cell.name, counted.difference());
        }
    }
    text
}

/// What each switch was told in cells that measure how soon it obeys.
fn mirror_commands(played: &[Played]) -> String {
    let windows = played.iter().flat_map(|played| &played.outcome.windows);
    let told: BTreeMap<&str, &str> = windows
        .filter_map(|window| {
            Some((window.contestant.as_str(), window.measured.detail.get("command")?.as_str()?))
        })
        .collect();
    if told.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n## What the command was that switched a mirror on\n\n");
    for (who, what) in told {
        let _ = writeln!(text, "- {who}: {what}");
    }
    text
}

fn discarded(played: &[Played]) -> String {
    let mut rounds: BTreeSet<(&str, usize, &str)> = BTreeSet::new();
    for window in played.iter().flat_map(|played| &played.outcome.windows) {
        if let Some(why) = &window.discarded {
            rounds.insert((&window.cell, window.round, why));
        }
    }
    let mut text = format!("\n## Rounds and windows that do not count: {}\n\n", rounds.len());
    for (cell, round, why) in rounds {
        let _ = writeln!(text, "- {cell}, round {round}: {why}");
    }
    for Played { cell, .. } in played.iter().filter(|played| played.outcome.is_cut_short) {
        let _ = writeln!(text, "- {}: no more rounds, its time was up", cell.name);
    }
    text
}

fn failures(played: &[Played], left_out: &[String]) -> String {
    let mut text = String::from("\n## Not measured\n\n");
    let mut any = !left_out.is_empty();
    if any {
        let _ =
            writeln!(text, "- cells of this tier that were not asked for: {}", left_out.join(", "));
    }
    for Played { cell, outcome, .. } in played {
        for (who, why) in &outcome.failures {
            any = true;
            let why = why.lines().next().unwrap_or_default();
            let _ = writeln!(text, "- {}, {who}: {why}", cell.name);
        }
    }
    if !any {
        text.push_str("Nobody is missing.\n");
    }
    text
}

/// Each command once, without what differs only by the temporary folder.
fn commands(played: &[Played]) -> String {
    let mut seen = BTreeSet::new();
    let mut text = String::from("\n## How the switches were started and configured\n");
    for (who, commands) in played.iter().flat_map(|played| &played.outcome.commands) {
        let commands = without_folders(&commands.join("\n"));
        // Hundreds of ports look all the same.
        let shown: Vec<&str> = commands.lines().take(40).collect();
        if seen.insert(commands.clone()) {
            let _ = write!(text, "\n{who}:\n\n```text\n{}\n```\n", shown.join("\n"));
        }
    }
    text
}

/// Replaces the names of temporary folders and the ids of processes in a text by `$RUN` and `$PID`, and leaves out the
/// folder that the comparison was started in: none of them says how a switch was configured.
fn without_folders(text: &str) -> String {
    let own = format!("-{}", std::process::id());
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("helio-lab-") {
        let (before, behind) = rest.split_at(at);
        let folder_from = before.rfind([' ', '"', ':', '=', '\n', ',']).map_or(0, |at| at + 1);
        out.push_str(before.get(..folder_from).unwrap_or_default());
        out.push_str("$RUN");
        let end = behind.find(['/', ' ', '"', '\n', ',']).unwrap_or(behind.len());
        rest = behind.get(end..).unwrap_or_default();
    }
    out.push_str(rest);
    let out = out.replace(&own, "-$PID");
    match std::env::current_dir() {
        Ok(here) => out.replace(&format!(" {}/", here.display()), " "),
        Err(_gone) => out,
    }
}

fn interval(estimate: &Estimate) -> String {
    format!("{} – {}", short(estimate.low), short(estimate.high))
}

/// Three significant digits, as far as they are behind the point.
fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::{Contestant, Scene};
    use crate::counted::Counted;
    use crate::peer_name::PeerName;
    use crate::verdict::judge;
    use crate::verdict::tests::{cell, window};

    fn counted_of(sent: u64, taken_in: u64) -> Counted {
        let (peer, scene, said) = (PeerName::Ovs, Scene::default(), String::new());
        Counted { peer, scene, sent, taken_in: Some(taken_in), said }
    }

    fn played() -> Vec<Played> {
        let cell = cell("[[cell.line]]\nagainst = \"ovs\"\nat-least = 2.0\naim = 3.0\n");
        let mut noisy = window(1, "helio", 500.0);
        noisy.discarded = Some("the floor moved from 40.0 to 60.0 ns".into());
        let mut told = window(0, "ovs", 120.0);
        told.measured.detail = serde_json::json!({ "command": "do this" });
        let windows = vec![window(0, "helio", 50.0), told, noisy];
        let lines = judge(&cell, &windows);
        let vpp = Contestant { peer: PeerName::Vpp, variant: None };
        let commands = vec!["helio run -c /tmp/helio-lab-Ab12/helio.toml".to_owned()];
        let helio = Contestant { peer: PeerName::Helio, variant: None };
        let outcome = Outcome {
            windows,
            failures: vec![(vpp, "vpp is missing".into())],
            commands: vec![(helio, commands)],
            counted: [7, 6].map(|sent| counted_of(sent, 7)).to_vec(),
            is_cut_short: true,
        };
        vec![Played { cell, outcome, lines }]
    }

    #[test]
    fn the_report_says_what_was_judged_discarded_and_missing() {
        let about = About {
            run: "2001-02-03T04-05-06".into(),
            command: "perf/run".into(),
            host: Host { processor: "P".into(), cores: 2, kernel: "6".into(), load_percent: 7 },
            seconds: 3,
            left_out: vec!["idle-cpu".into()],
        };
        let report = Report::of(&about, &played());
        let text = report.whole();
        for part in [
            "| C | ovs | - | 2.40 | 2.40 – 2.40 | 1 | ≥ 2 | 3.00 | reached |",
            "| c | helio | service_ns | - | 50.0 | 50.0 – 50.0 | 1.11 | 1 | 0 |",
            "- 64 B, -: sending and receiving 20.0",
            "## What the command was that switched a mirror on\n\n- ovs: do this\n\n##",
            "- c, round 1: the floor moved from 40.0 to 60.0 ns",
            "- c: no more rounds, its time was up",
            "- c, vpp: vpp is missing",
            "- as many frames taken in as their guests sent: 1 of 2\n- c, ovs: guests sent 6 frames, it says it took in 7\n",
            "- cells of this tier that were not asked for: idle-cpu",
            "load 0.07 before.\n\n**Reached: 1.**\n\n| what",
            "helio run -c $RUN/helio.toml",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(report.table.ends_with("| reached |\n") && report.behind.starts_with("## Figures"));
    }

    #[test]
    fn the_summary_counts_the_lines_that_are_not_reached_by_cell() {
        let mut played = played();
        let asked = |at_least| {
            let line = format!("[[cell.line]]\nagainst = \"ovs\"\nat-least = {at_least}\n");
            judge(&cell(&line), &played[0].outcome.windows).remove(0)
        };
        let missed = asked("9.0");
        let absent = Judged { verdict: Verdict::NotMeasured, ..asked("9.0") };
        let shown = Judged { asked: "-".into(), ..absent.clone() };
        played[0].lines.extend([missed.clone(), missed, absent, shown]);
        let expected = "**Reached: 1.** **Not reached: 2**, by cell: c 2 of 4. **Not measured: 1**, by cell: c 1 of 4.\n";
        assert_eq!(summary(&played), expected);
    }

    #[test]
    fn commands_are_shown_without_folders_of_this_machine() {
        let here = std::env::current_dir().unwrap();
        let typed = format!("taskset -c 1 {}/target/x a/helio-lab-Q/p0 b", here.display());
        assert_eq!(without_folders(&typed), "taskset -c 1 target/x $RUN/p0 b");
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!([1234.5, 99.94, 9.876, 0.5].map(short), ["1234", "99.9", "9.88", "0.50"]);
    }
}
