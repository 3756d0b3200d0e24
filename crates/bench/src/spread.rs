//! What a row of measurements says: its middle and how far it spreads. Never its best value alone.

use serde::Serialize;

use crate::frame_plan::as_f64;

/// Median and quartiles of a row of measurements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How many there were.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// A quarter is below.
    pub p25: f64,
    /// Half is below.
    pub median: f64,
    /// Three quarters are below.
    pub p75: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of `values`, in any order; zeroes when there are none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (values.first(), values.last()) else {
            return Self::default();
        };
        Self {
            count: values.len(),
            min: *min,
            p25: quantile(&values, 1),
            median: quantile(&values, 2),
            p75: quantile(&values, 3),
            max: *max,
        }
    }
}

/// The value below which `quarters` quarters of the sorted `values` lie, between two of them if need be.
fn quantile(values: &[f64], quarters: usize) -> f64 {
    let last = values.len() - 1;
    let (whole, part) = (last * quarters / 4, last * quarters % 4);
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    let share = as_f64(part as u64) / 4.0;
    at(whole) + (at((whole + 1).min(last)) - at(whole)) * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_values_when_they_must() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.min, spread.p25, spread.median, spread.p75), (1.0, 1.75, 2.5, 3.25));
        assert_eq!((spread.max, spread.count), (4.0, 4));
        assert_eq!(Spread::of(vec![7.0]).median, 7.0);
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
