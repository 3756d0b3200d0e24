//! A report as Markdown: one table, and below it what one must know to judge the figures.

use std::fmt::Write as _;

use crate::drain::Drain;
use crate::latency::{Latency, LoadLatency};
use crate::learning::Learning;
use crate::rate::{Loop, Rate};
use crate::report::{Cell, Outcome, Report};
use crate::schedule::MAY_BE_MISSED;
use crate::spread::Spread;
use crate::stage::Oddities;
use crate::throughput::Throughput;

/// Share of its time that a generator may wait for its core without a word: what the kernel's own threads take is less.
const MAY_WAIT: f64 = 0.02;

/// Rows of a table, the heading first.
type Rows = Vec<Vec<String>>;

/// The report for people.
#[must_use]
pub fn to_markdown(report: &Report) -> String {
    let mut text = table(&rows(report));
    text.push('\n');
    for cell in &report.cells {
        line(&mut text, &self_test(cell));
        for remark in remarks(cell) {
            line(&mut text, &remark);
        }
    }
    let setting = &report.setting;
    let lanes = setting.lanes.iter().map(|lane| format!("{}→{}", lane.from, lane.to));
    line(
        &mut text,
        &format!(
            "Guests: {} ({}), lanes {}; {} queue {} each, rings of {}, bursts of {}, descriptors {}, net header in the \
             {}, chains {}, pages {}.",
            setting.sockets.len(),
            setting.sockets.join(", "),
            lanes.collect::<Vec<_>>().join(" "),
            setting.queue_pairs,
            if setting.queue_pairs == 1 { "pair" } else { "pairs" },
            setting.ring_size,
            setting.burst,
            descriptors(report),
            setting.header,
            setting.chains,
            setting.pages,
        ),
    );
    let host = &report.host;
    let load = f64::from(u32::try_from(host.load_percent).unwrap_or(u32::MAX)) / 100.0;
    let machine = format!(
        "Machine: {}, {} cores, Linux {}, load {load:.2} at the start.",
        host.processor, host.cores, host.kernel
    );
    line(&mut text, &machine);
    text
}

fn rows(report: &Report) -> Rows {
    let heading: &[&str] = match report.cells.first().map(|cell| &cell.outcome) {
        Some(Outcome::Rate { .. }) => &[
            "frames",
            "payload",
            "Mpps",
            "quartiles",
            "Gbit/s",
            "lost",
            "service ns",
            "quartiles",
            "busy ns",
            "copies",
        ],
        Some(Outcome::Drain(_)) => {
            &["frames", "payload", "service ns", "quartiles", "Mpps", "start ns", "rounds", "lost"]
        }
        Some(Outcome::Latency(_)) => {
            &["frames", "Mpps", "p50 ns", "p90", "p99", "p99.9", "p99.99", "max", "loss", "count"]
        }
        Some(Outcome::Throughput(_)) => &[
            "frames",
            "loss allowed",
            "Mpps",
            "Gbit/s",
            "first that failed",
            "limited by",
            "loads tried",
        ],
        Some(Outcome::Learning(_)) => &["frames", "addresses", "addresses/s", "trials"],
        None => &["frames"],
    };
    let mut rows = vec![heading.iter().map(|text| (*text).to_owned()).collect()];
    for cell in &report.cells {
        match &cell.outcome {
            Outcome::Rate { sustained, drain } => rows.push(rate(cell, sustained, drain.as_ref())),
            Outcome::Drain(found) => rows.push(drain(cell, found)),
            Outcome::Latency(found) => rows.extend(latency(cell, found)),
            Outcome::Throughput(found) => rows.extend(throughput(cell, found)),
            Outcome::Learning(found) => rows.push(learning(cell, found)),
        }
    }
    rows
}

fn rate(cell: &Cell, rate: &Rate, drain: Option<&Drain>) -> Vec<String> {
    let (service, spread) = match drain {
        Some(drain) => (number(drain.service_ns.median), quartiles(&drain.service_ns)),
        None => (dash(), dash()),
    };
    let copies: Vec<_> = rate.copies.iter().map(u64::to_string).collect();
    vec![
        cell.name.clone(),
        payload(cell),
        format!("{:.3}", rate.mpps.median),
        format!("{:.3}–{:.3}", rate.mpps.p25, rate.mpps.p75),
        format!("{:.2}", rate.gbps),
        rate.lost.to_string(),
        service,
        spread,
        rate.busy_ns.map_or_else(dash, number),
        if copies.is_empty() { dash() } else { copies.join(" ") },
    ]
}

fn drain(cell: &Cell, drain: &Drain) -> Vec<String> {
    let service = drain.service_ns.median;
    vec![
        cell.name.clone(),
        payload(cell),
        number(service),
        quartiles(&drain.service_ns),
        if service > 0.0 { format!("{:.2}", 1e3 / service) } else { dash() },
        format!("{:.0}", drain.start_ns),
        drain.service_ns.count.to_string(),
        drain.lost.to_string(),
    ]
}

fn latency(cell: &Cell, latency: &Latency) -> Rows {
    let row = |name: &str, mpps: String, at: &crate::Percentiles, loss: String| {
        let seen = |ns: u64| if at.count == 0 { dash() } else { ns.to_string() };
        let [p50, p90, p99, p999, p9999, max] =
            [at.p50, at.p90, at.p99, at.p999, at.p9999, at.max].map(seen);
        vec![name.to_owned(), mpps, p50, p90, p99, p999, p9999, max, loss, at.count.to_string()]
    };
    let mut rows: Rows = latency
        .loads
        .iter()
        .flat_map(|load| {
            let (loss, mpps) = (format!("{:.4} %", load.loss * 100.0), format!("{:.3}", load.mpps));
            [
                row(&cell.name, mpps, &load.latency_ns, loss),
                row("while the generator ran", dash(), &load.undisturbed_ns, dash()),
            ]
        })
        .collect();
    rows.push(row("the machine itself", dash(), &latency.machine_ns, dash()));
    rows
}

fn throughput(cell: &Cell, throughput: &Throughput) -> Rows {
    let gbps = |mpps: f64| mpps * cell.frames.mean_wire_bytes() * 8.0 / 1e3;
    let row = |found: &crate::Found| {
        vec![
            cell.name.clone(),
            format!("{} %", found.loss_percent()),
            format!("{:.3}", found.mpps),
            format!("{:.2}", gbps(found.mpps)),
            found.upper_mpps.map_or_else(dash, |mpps| format!("{mpps:.3}")),
            match found.upper_mpps {
                None => dash(),
                Some(_) if found.is_generator_limit => "the generator".to_owned(),
                Some(_) => "the switch".to_owned(),
            },
            throughput.tried.len().to_string(),
        ]
    };
    throughput.found.iter().map(row).collect()
}

fn learning(cell: &Cell, learning: &Learning) -> Vec<String> {
    let at_least = |is_open: bool| if is_open { "at least " } else { "" };
    vec![
        cell.name.clone(),
        format!("{}{}", at_least(learning.is_capacity_open), learning.capacity),
        format!("{}{:.0}", at_least(learning.is_fps_open), learning.fps),
        learning.lessons.len().to_string(),
    ]
}

/// What was done to descriptors that were as they should be already: the drain may differ from the rest.
fn descriptors(report: &Report) -> String {
    let flowing = report.setting.descriptors;
    match report.cells.first().map(|cell| &cell.outcome) {
        Some(Outcome::Drain(drain)) => drain.descriptors.to_owned(),
        Some(Outcome::Rate { drain: Some(drain), .. }) if drain.descriptors != flowing => {
            format!("{flowing} while frames flowed and {} for the service time", drain.descriptors)
        }
        _ => flowing.to_owned(),
    }
}

/// What the generator costs, and with it the floor.
fn self_test(cell: &Cell) -> String {
    let test = &cell.self_test;
    let mut text = format!(
        "Generator, {}: {} ns per frame for sending and receiving in one cache",
        cell.name,
        number(test.alone_ns.median)
    );
    if let (Some(beside), Some(floor)) = (&test.beside_ns, &test.floor_ns) {
        let beside = number(beside.median);
        // Writing to text cannot fail.
        let _ = write!(text, ", {beside} beside another core; floor {} ns", number(floor.median));
    }
    text + "."
}

/// What is out of the ordinary.
fn remarks(cell: &Cell) -> Vec<String> {
    let mut remarks = Vec::new();
    if !cell.features.is_empty() {
        remarks.push(format!("Features, {}: {}.", cell.name, cell.features.join(", ")));
    }
    let odd = odd(&cell.oddities);
    if !odd.is_empty() {
        remarks.push(format!("Besides, {}: {odd}.", cell.name));
    }
    remarks.extend(generator_waited(cell));
    if let Outcome::Latency(latency) = &cell.outcome {
        remarks.extend(latency.loads.iter().filter_map(|load| could_not_offer(cell, load)));
    }
    let Outcome::Rate { sustained, .. } = &cell.outcome else { return remarks };
    if sustained.kind == Loop::Open {
        remarks.push(format!("{}: open loop, {} frames sent.", cell.name, sustained.sent));
    }
    if let Some(source) = sustained.busy_source {
        remarks.push(format!("Busy time: {source}."));
    }
    remarks
}

/// A generator without a core of its own makes any switch look slow, that of the worker on that core most of all.
fn generator_waited(cell: &Cell) -> Option<String> {
    let waited = cell.generator_waited.filter(|share| *share > MAY_WAIT)?;
    Some(format!(
        "Generator, {}: waited {:.0} % of the time for its core, which others used. The figures say little of the switch: \
         give the generator a core of its own (--core).",
        cell.name,
        waited * 100.0
    ))
}

fn could_not_offer(cell: &Cell, load: &LoadLatency) -> Option<String> {
    (load.missed > MAY_BE_MISSED).then(|| {
        format!(
            "Generator, {} at {:.3} Mpps: could not offer {:.1} % of the frames in time. That part of the loss is its own.",
            cell.name,
            load.mpps,
            load.missed * 100.0
        )
    })
}

/// Those that there were, in words.
fn odd(oddities: &Oddities) -> String {
    let Oddities { corrupt, foreign, duplicates, reordered, strayed } = *oddities;
    let all = [
        (corrupt, "corrupt"),
        (foreign, "of others"),
        (duplicates, "twice"),
        (reordered, "out of order"),
        (strayed, "at a guest they were not for"),
    ];
    let some = all.iter().filter(|(count, _what)| *count > 0);
    some.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

fn payload(cell: &Cell) -> String {
    format!("{:?}", cell.frames.payload).to_lowercase()
}

fn quartiles(spread: &Spread) -> String {
    format!("{}–{}", number(spread.p25), number(spread.p75))
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

fn dash() -> String {
    "–".to_owned()
}

/// Aligned, so that it can be read as it is.
fn table(rows: &Rows) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let blanks = " ".repeat(width - cell.chars().count());
            // Names to the left, figures to the right.
            let first = std::ptr::eq(cell, row.first().unwrap_or(cell));
            let (before, after) = if first { ("", blanks.as_str()) } else { (blanks.as_str(), "") };
            text.extend(["| ", before, cell.as_str(), after, " "]);
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let dashes = "-".repeat(*width);
                text.push('|');
                text.push_str(&dashes);
                text.push_str(if column == 0 { "--" } else { "-:" });
            }
            text.push_str("|\n");
        }
    }
    text
}

fn line(text: &mut String, remark: &str) {
    text.push_str(remark);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_odd_is_named() {
        assert_eq!(odd(&Oddities::default()), "");
        let some = Oddities { corrupt: 2, duplicates: 1, ..Oddities::default() };
        assert_eq!(odd(&some), "2 corrupt, 1 twice");
    }

    #[test]
    fn a_table_is_aligned_and_has_a_rule_below_its_heading() {
        let rows = [["frames", "Mpps"], ["64", "12.345"], ["größe", "1"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec()).to_vec();
        let expected = "\
| frames |   Mpps |
|--------|-------:|
| 64     | 12.345 |
| größe  |      1 |
";
        assert_eq!(table(&rows), expected);
    }
}
