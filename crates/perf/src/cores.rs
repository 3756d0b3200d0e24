//! How far the two cores are from each other. A host moves virtual cores as it likes: now they are neighbours that share a
//! cache, now they are not, and every figure changes by half.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use helio_bench::pin;
use serde::Serialize;

use crate::error::PerfError;
use crate::proc::as_f64;

/// Round trips that are timed together, and how often; the shortest counts.
const TRIPS: u64 = 500;
const BATCHES: usize = 20;

/// Between neighbours a cache line goes to and fro in 45 ns here, between others in 370 to 440.
const NEAR_NS: f64 = 150.0;

/// The word that ends the other side; round trips never come so far.
const END: u64 = u64::MAX;

/// Where the host runs our two cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cores {
    /// They share a cache.
    Near,
    /// They do not.
    Far,
}

impl std::fmt::Display for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Near => "near each other",
            Self::Far => "far apart",
        })
    }
}

impl Cores {
    /// As the command line and tables say it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
        }
    }

    /// By the time that a cache line takes to and fro.
    pub(crate) fn by(round_trip_ns: f64) -> Self {
        if round_trip_ns < NEAR_NS { Self::Near } else { Self::Far }
    }
}

/// A word in a cache line of its own, and of the neighbour that is fetched with it.
#[repr(align(128))]
struct Word(AtomicU64);

/// Nanoseconds that a cache line takes from this core to `other` and back.
pub(crate) fn round_trip_ns(other: usize) -> Result<f64, PerfError> {
    let word = Word(AtomicU64::new(0));
    std::thread::scope(|scope| {
        let echo = scope.spawn(|| pin(other).map(|()| echo(&word.0)));
        let mut shortest = f64::MAX;
        let mut number = 0;
        for _ in 0..BATCHES {
            let began = Instant::now();
            for _ in 0..TRIPS {
                word.0.store(number + 1, Ordering::Release);
                number += 2;
                // An echo that could not be pinned never answers.
                while word.0.load(Ordering::Acquire) != number && !echo.is_finished() {
                    std::hint::spin_loop();
                }
            }
            shortest = shortest.min(began.elapsed().as_secs_f64() * 1e9 / as_f64(TRIPS));
        }
        word.0.store(END, Ordering::Release);
        match echo.join() {
            Ok(pinned) => pinned.map(|()| shortest).map_err(PerfError::from),
            Err(_panic) => Err(PerfError::Plan("the echo of the cores broke off".to_owned())),
        }
    })
}

/// Answers every odd number with the next one.
fn echo(word: &AtomicU64) {
    loop {
        match word.load(Ordering::Acquire) {
            END => return,
            number if number % 2 == 1 => word.store(number + 1, Ordering::Release),
            _ => std::hint::spin_loop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_near_when_a_line_is_quickly_there_and_back() {
        assert_eq!((Cores::by(45.0), Cores::by(400.0)), (Cores::Near, Cores::Far));
    }

    #[test]
    fn a_core_that_is_not_there_is_an_error() {
        assert!(round_trip_ns(1 << 14).is_err());
    }
}
