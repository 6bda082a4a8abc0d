//! Percentiles, medians and ratios of small samples.

use std::time::Duration;

/// The percentile by nearest rank: the smallest value that at least `percent` of all do not exceed.
pub(crate) fn percentile<T: Copy + Ord>(values: &[T], percent: usize) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[sorted.len() / 2 - 1], upper))
}

/// How two series that were measured in turns compare: each round's ratio.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Ratio {
    /// The ratios of `ours` to `theirs`, round by round; none if a round of theirs is nought.
    pub(crate) fn of(ours: &[f64], theirs: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        if ratios.iter().any(|ratio| !ratio.is_finite()) {
            return None;
        }
        Some(Self {
            median: median(&ratios)?,
            least: ratios.iter().copied().min_by(f64::total_cmp)?,
            most: ratios.iter().copied().max_by(f64::total_cmp)?,
        })
    }
}

/// A duration in milliseconds, to a hundredth.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<u32> = (1..=200).rev().collect();
        assert_eq!(percentile(&values, 50), Some(100));
        assert_eq!(percentile(&values, 99), Some(198));
        assert_eq!(percentile(&values, 100), Some(200));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile::<u32>(&[], 50), None);
    }

    #[test]
    fn a_median_of_an_even_number_is_the_middles_mean() {
        assert_eq!(median(&[4.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_ratio_is_taken_round_by_round() {
        let ratio = Ratio::of(&[2.0, 6.0, 5.0], &[1.0, 2.0, 10.0]).expect("a ratio");
        assert_eq!(ratio, Ratio { median: 2.0, least: 0.5, most: 3.0 });
    }

    #[test]
    fn a_round_without_a_figure_has_no_ratio() {
        assert_eq!(Ratio::of(&[1.0], &[0.0]), None);
        assert_eq!(Ratio::of(&[], &[]), None);
    }

    #[test]
    fn milliseconds_are_rounded() {
        assert_eq!(milliseconds(Duration::from_micros(1_234)), 1.23);
    }
}
