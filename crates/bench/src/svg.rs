//! A report as a picture: bars for figures that stand beside each other, lines for latency by percentile.

use std::fmt::Write as _;

use crate::frame_plan::as_f64;
use crate::latency::{LoadLatency, Percentiles};
use crate::report::{Outcome, Report};

const WIDTH: f64 = 720.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 40.0;
const BAR: f64 = 26.0;
const COLOURS: [&str; 6] = ["#1f6f8b", "#d1603d", "#5b8e3e", "#7a5195", "#bc8f1f", "#555555"];

/// The picture, or `None` when there is nothing to be drawn.
#[must_use]
pub fn to_svg(report: &Report) -> Option<String> {
    let loads: Vec<(String, &LoadLatency)> = report
        .cells
        .iter()
        .filter_map(|cell| match &cell.outcome {
            Outcome::Latency(latency) => Some((cell.name.clone(), latency)),
            _ => None,
        })
        .flat_map(|(name, latency)| latency.loads.iter().map(move |load| (name.clone(), load)))
        .collect();
    if !loads.is_empty() {
        return Some(lines(&loads));
    }
    let bars = bars_of(report);
    (!bars.is_empty()).then(|| bar_chart(unit_of(report), &bars))
}

/// Name, value, and how far it spreads.
type Bar = (String, f64, [f64; 2]);

fn bars_of(report: &Report) -> Vec<Bar> {
    let mut bars = Vec::new();
    for cell in &report.cells {
        match &cell.outcome {
            Outcome::Rate { sustained, .. } => {
                let mpps = sustained.mpps;
                bars.push((cell.name.clone(), mpps.median, [mpps.p25, mpps.p75]));
            }
            Outcome::Drain(drain) => {
                let ns = drain.service_ns;
                bars.push((cell.name.clone(), ns.median, [ns.p25, ns.p75]));
            }
            Outcome::Throughput(throughput) => {
                for found in &throughput.found {
                    let name = format!("{}, loss {} %", cell.name, found.loss_percent());
                    bars.push((name, found.mpps, [found.mpps; 2]));
                }
            }
            Outcome::Learning(learning) => {
                let count = f64::from(learning.capacity);
                bars.push((cell.name.clone(), count, [count; 2]));
            }
            Outcome::Latency(_) => {}
        }
    }
    bars
}

fn unit_of(report: &Report) -> &'static str {
    match report.cells.first().map(|cell| &cell.outcome) {
        Some(Outcome::Drain(_)) => "Service time, nanoseconds per frame",
        Some(Outcome::Learning(_)) => "Addresses learned",
        _ => "Millions of frames per second",
    }
}

fn bar_chart(title: &str, bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.1.max(bar.2[1])).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / most;
    let height = TOP + BAR * 1.5 * as_f64(bars.len() as u64) + 20.0;
    let mut svg = head(title, height);
    for (number, (name, value, [low, high])) in bars.iter().enumerate() {
        let y = TOP + BAR * 1.5 * as_f64(number as u64);
        let (width, middle) = (value * scale, y + BAR / 2.0);
        let (x1, x2) = (LEFT + low * scale, LEFT + high * scale);
        let colour = COLOURS[0];
        // Writing to text cannot fail.
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
             <line x1=\"{x1:.1}\" x2=\"{x2:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" stroke=\"#000\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{value:.2}</text>\n",
            LEFT - 8.0,
            middle + 4.0,
            escape(name),
            LEFT + width.max(high * scale) + 6.0,
            middle + 4.0,
        );
    }
    svg + "</svg>\n"
}

/// Latency over percentile, both so that each step is ten times the one before.
fn lines(loads: &[(String, &LoadLatency)]) -> String {
    let height = 400.0;
    let mut svg = head("Latency in nanoseconds by percentile", height + 24.0 * 4.0);
    let bottom = height - 30.0;
    let x = |step: f64| LEFT + (WIDTH - LEFT - RIGHT) * step / 4.0;
    let largest = loads.iter().map(|(_, load)| load.latency_ns.p9999).max().unwrap_or(1).max(10);
    let decades = as_f64(largest).log10().ceil().max(3.0);
    let y =
        |ns: u64| bottom - (bottom - TOP) * (as_f64(ns.max(100)).log10() - 2.0) / (decades - 2.0);
    for (step, name) in ["p50", "p90", "p99", "p99.9", "p99.99"].iter().enumerate() {
        let at = x(as_f64(step as u64));
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{height:.1}\" text-anchor=\"middle\">{name}</text>"
        );
    }
    let mut ns = 100;
    while as_f64(ns).log10() <= decades {
        let (at, end) = (y(ns), WIDTH - RIGHT);
        let _ = write!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{end}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{ns}</text>\n",
            LEFT - 8.0,
            at + 4.0
        );
        ns *= 10;
    }
    for ((name, load), (number, colour)) in
        loads.iter().zip(COLOURS.iter().cycle().enumerate().map(|(n, c)| (n, *c)))
    {
        let points = points_of(&load.latency_ns)
            .iter()
            .enumerate()
            .map(|(step, ns)| format!("{:.1},{:.1}", x(as_f64(step as u64)), y(*ns)))
            .collect::<Vec<_>>();
        let at = height + 20.0 + 16.0 * as_f64(number as u64);
        let _ = write!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <text x=\"{LEFT}\" y=\"{at:.1}\" fill=\"{colour}\">{}, {:.3} Mpps</text>\n",
            points.join(" "),
            escape(name),
            load.mpps
        );
    }
    svg + "</svg>\n"
}

fn points_of(latency: &Percentiles) -> [u64; 5] {
    [latency.p50, latency.p90, latency.p99, latency.p999, latency.p9999]
}

fn head(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-weight=\"bold\">{title}</text>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
