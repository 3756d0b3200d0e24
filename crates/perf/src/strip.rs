//! Ratios of all rounds as a strip for each line: noise can be seen.

use std::fmt::Write as _;

use crate::verdict::Judged;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 60.0;
const ROW: f64 = 34.0;
const TOP: f64 = 36.0;

/// The picture of the lines of a cell, or `None` when none has figures.
#[must_use]
pub(crate) fn draw(title: &str, lines: &[Judged]) -> Option<String> {
    let lines: Vec<&Judged> = lines.iter().filter(|line| !line.rounds.is_empty()).collect();
    if lines.is_empty() {
        return None;
    }
    let height = lines.iter().fold(TOP, |height, _| height + ROW) + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"22\" font-weight=\"bold\">{}</text>\n",
        escape(title)
    );
    let mut y = TOP + ROW / 2.0;
    for line in lines {
        draw_line(&mut svg, line, y);
        y += ROW;
    }
    Some(svg + "</svg>\n")
}

/// One strip with a scale of its own: points are rounds, the bar is the interval, the dashes are what was asked for.
fn draw_line(svg: &mut String, line: &Judged, y: f64) {
    let asked = line.asked.split(' ').nth(1).and_then(|number| number.parse::<f64>().ok());
    let shown = line.rounds.iter().copied().chain(asked);
    let (low, high) = shown.fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(x), high.max(x)));
    let margin = ((high - low) * 0.05).max(high.abs() * 0.01).max(1e-6);
    let (low, high) = (low - margin, high + margin);
    let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low);
    let cores = line.cores.map(|cores| format!(", {}", cores.word())).unwrap_or_default();
    let name = escape(&format!("{} / {}{cores}", line.title, line.against));
    // Writing to text cannot fail.
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
        LEFT - 8.0,
        y + 4.0
    );
    if let Some(asked) = asked {
        let (at, top, bottom) = (x(asked), y - 12.0, y + 12.0);
        let _ = writeln!(
            svg,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\" stroke=\"#d1603d\" stroke-dasharray=\"3\"/>"
        );
    }
    if let Some(estimate) = &line.estimate {
        let (from, to) = (x(estimate.low), x(estimate.high));
        let _ = writeln!(
            svg,
            "<rect x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"8\" fill=\"#1f6f8b\" opacity=\"0.35\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\">{:.2}</text>",
            y - 4.0,
            (to - from).max(1.0),
            WIDTH - RIGHT + 8.0,
            y + 4.0,
            estimate.median
        );
    }
    for value in &line.rounds {
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#1f6f8b\"/>",
            x(*value)
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::judge;
    use crate::verdict::tests::{cell, window};

    #[test]
    fn every_round_is_a_point() {
        let cell = cell("[[cell.line]]\nagainst = \"ovs\"\nat-least = 2.0\n");
        let windows = [
            window(0, "helio", 50.0),
            window(0, "ovs", 120.0),
            window(1, "helio", 50.0),
            window(1, "ovs", 130.0),
        ];
        let svg = draw("A & B", &judge(&cell, &windows)).unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("A &amp; B") && svg.ends_with("</svg>\n"));
        assert_eq!(draw("nothing", &judge(&cell, &[])), None);
    }
}
