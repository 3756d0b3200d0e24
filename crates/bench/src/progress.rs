//! A word on how far a run is, for people who wait.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Runs shorter than this need no word.
const SHORT: Duration = Duration::from_secs(3);

/// How often a word is said.
const PAUSE: Duration = Duration::from_millis(200);

/// Cells of the bar.
const CELLS: usize = 30;

/// Says how far a run is, on stderr and only when a person looks at it.
#[derive(Debug)]
pub struct Progress {
    is_shown: bool,
    /// Whether it will take long: then a word is said at once.
    is_long: bool,
    began: Instant,
    said: Option<Instant>,
}

impl Progress {
    /// For whoever sits in front of stderr, if anybody does.
    #[must_use]
    pub fn for_people() -> Self {
        Self { is_shown: std::io::stderr().is_terminal(), ..Self::silent() }
    }

    /// Says nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self { is_shown: false, is_long: false, began: Instant::now(), said: None }
    }

    /// What comes next takes so long.
    pub fn expect(&mut self, time: Duration) {
        self.is_long = time >= SHORT;
    }

    /// `done` of `all` steps are done, and `what` comes next.
    pub fn step(&mut self, done: usize, all: usize, what: &str) {
        let is_due = self.said.is_none_or(|said| said.elapsed() >= PAUSE);
        if !self.is_shown || !is_due || (!self.is_long && self.began.elapsed() < SHORT) {
            return;
        }
        self.said = Some(Instant::now());
        // Who closed stderr does not want to know.
        let _ = write!(std::io::stderr(), "\r{}", bar(done, all, what));
    }

    /// Takes the bar away.
    pub fn end(&mut self) {
        if self.said.take().is_some() {
            let _ = write!(std::io::stderr(), "\r{:CELLS$}{:60}\r", "", "");
        }
    }
}

/// As long for every step, so that each covers the one before.
fn bar(done: usize, all: usize, what: &str) -> String {
    let filled = (done * CELLS).checked_div(all).unwrap_or(0).min(CELLS);
    let cells = "█".repeat(filled) + &"·".repeat(CELLS - filled);
    format!("{cells} {:<9} {what:<40.40}", format!("{done}/{all}"))
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_filled_as_far_as_the_run_is_and_always_as_long() {
        let cells = |done, all| bar(done, all, "draining").matches('█').count();
        assert_eq!([cells(0, 4), cells(2, 4), cells(4, 4)], [0, CELLS / 2, CELLS]);
        // Searches may take more steps than was thought.
        assert_eq!([cells(9, 4), cells(1, 0)], [CELLS, 0]);
        let lens = ["draining", "", "something that takes more than forty letters to say"]
            .map(|what| bar(1, 200, what).chars().count());
        assert_eq!(lens, [lens[0]; 3]);
        assert!(bar(1, 200, "draining").contains(" 1/200 "));
    }

    #[test]
    fn nothing_is_said_of_a_run_that_just_began_or_to_nobody() {
        let mut shown = Progress { is_shown: true, ..Progress::silent() };
        shown.step(1, 2, "draining");
        assert!(shown.said.is_none());
        let long_ago = Instant::now() - 2 * SHORT;
        let mut silent = Progress { began: long_ago, ..Progress::silent() };
        silent.step(1, 2, "draining");
        assert!(silent.said.is_none());
        let mut due = Progress { is_shown: true, began: long_ago, ..Progress::silent() };
        due.step(1, 2, "draining");
        assert!(due.said.is_some());
        due.end();
        assert!(due.said.is_none());
    }

    #[test]
    fn of_a_run_that_will_take_long_something_is_said_at_once() {
        for (time, is_said) in [(SHORT / 2, false), (SHORT, true)] {
            let mut shown = Progress { is_shown: true, ..Progress::silent() };
            shown.expect(time);
            shown.step(0, 1, "latency");
            assert_eq!(shown.said.is_some(), is_said, "{time:?}");
        }
    }
}
