//! What a few noisy figures are worth: the median, and an interval in which the true one lies 95 times of 100.
//!
//! The interval is a percentile bootstrap: the figures are drawn again and again with replacement, and the medians of
//! those draws are what is looked at. Seeded, so that the same figures always give the same interval.

use serde::Serialize;

/// Draws of the bootstrap.
const DRAWS: usize = 2000;

/// A median with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The middle one.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How many figures there were.
    pub count: usize,
}

impl Estimate {
    /// Of these figures; `None` without any.
    #[must_use]
    pub fn of(figures: &[f64]) -> Option<Self> {
        let median = median(figures)?;
        let mut rng = fastrand::Rng::with_seed(0x6865_6c69_6f00);
        let mut drawn = vec![0.0; figures.len()];
        let mut medians = Vec::with_capacity(DRAWS);
        for _ in 0..DRAWS {
            for slot in &mut drawn {
                *slot = rng.choice(figures).copied().unwrap_or(median);
            }
            medians.extend(self::median(&drawn));
        }
        medians.sort_by(f64::total_cmp);
        // 2.5 and 97.5 of 100.
        let (low, high) = (medians.get(DRAWS / 40), medians.get(DRAWS - DRAWS / 40 - 1));
        let (low, high) = (low.copied().unwrap_or(median), high.copied().unwrap_or(median));
        Some(Self { median, low, high, count: figures.len() })
    }
}

/// The middle figure, or the mean of the two in the middle.
#[must_use]
pub fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    match sorted.len() % 2 {
        1 => Some(*upper),
        _ => sorted.get(sorted.len() / 2 - 1).map(|lower| (lower + upper) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[4.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn an_interval_holds_its_median_and_no_figure_beyond_those_measured() {
        let figures = [2.0, 2.1, 1.9, 2.2, 1.8, 2.05, 5.0];
        let estimate = Estimate::of(&figures).unwrap();
        assert_eq!((estimate.median, estimate.count), (2.05, 7));
        assert!(1.8 <= estimate.low && estimate.low < 2.05, "{estimate:?}");
        assert!(2.05 < estimate.high && estimate.high <= 5.0, "{estimate:?}");
    }

    #[test]
    fn figures_that_agree_have_a_narrow_interval_and_one_alone_has_none() {
        let close: Vec<f64> = (0..15).map(|step| 1.0 + f64::from(step) / 1000.0).collect();
        let estimate = Estimate::of(&close).unwrap();
        assert!(estimate.high - estimate.low < 0.012, "{estimate:?}");
        let alone = Estimate::of(&[3.0]).unwrap();
        assert_eq!((alone.low, alone.high), (3.0, 3.0));
        assert_eq!(Estimate::of(&[]), None);
    }

    #[test]
    fn the_same_figures_give_the_same_interval() {
        let figures = [1.0, 5.0, 2.0, 4.0, 3.0];
        assert_eq!(Estimate::of(&figures), Estimate::of(&figures));
    }
}
