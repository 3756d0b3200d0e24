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
    began: Instant,
    said: Option<Instant>,
}

impl Progress {
    /// For whoever sits in front of stderr, if anybody does.
    #[must_use]
    pub fn for_people() -> Self {
        Self { is_shown: std::io::stderr().is_terminal(), began: Instant::now(), said: None }
    }

    /// Says nothing.
    #[must_use]
    pub fn silent() -> Self {
        Self { is_shown: false, began: Instant::now(), said: None }
    }

    /// `done` of `all` steps are done, and `what` comes next.
    pub fn step(&mut self, done: usize, all: usize, what: &str) {
        let is_due = self.said.is_none_or(|said| said.elapsed() >= PAUSE);
        if !self.is_shown || !is_due || self.began.elapsed() < SHORT {
            return;
        }
        self.said = Some(Instant::now());
        let filled = (done * CELLS).checked_div(all).unwrap_or(0).min(CELLS);
        let bar = format!("{}{}", "█".repeat(filled), "·".repeat(CELLS - filled));
        // Who closed stderr does not want to know.
        let _ = write!(std::io::stderr(), "\r{bar} {done}/{all} {what:<40.40}");
    }

    /// Takes the bar away.
    pub fn end(&mut self) {
        if self.said.take().is_some() {
            let _ = write!(std::io::stderr(), "\r{:CELLS$}{:60}\r", "", "");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
