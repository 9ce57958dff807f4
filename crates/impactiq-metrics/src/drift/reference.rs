//! What a column looked like in the training rows: bins with their shares, and how far a
//! window's counts are from them.
//!
//! Bin 0 holds missing values. Numbers keep up to some twenty fine bins for the
//! Kolmogorov-Smirnov distance; for the stability index neighbours are joined until each holds
//! about a tenth of the rows, and rare categories are joined into one.

use serde::{Deserialize, Serialize};

use crate::error::MetricsError;
use crate::tails::chi2_tail;

/// A joined bin of numbers holds at least this share of the rows where ties allow.
const GROUP_SHARE: f64 = 0.095;
/// A category with less than this share is joined with the other rare ones.
const RARE_SHARE: f64 = 0.02;

/// A column of the training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The column.
    pub name: String,
    bins: Bins,
    /// Share of the training rows per bin, the missing first.
    shares: Vec<f64>,
    /// The joined bin of each bin; joined bins are numbered from 0 without gaps.
    groups: Vec<usize>,
    n_rows: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Bins {
    /// Upper ends of all bins of numbers but the last.
    Ends(Vec<f64>),
    /// Names in order of their bytes; one more bin holds every other.
    Levels(Vec<String>),
}

impl Reference {
    /// A column of numbers from `edges`: ascending values, each with the share of the values that
    /// are present up to and including it; as a model's profile has them.
    ///
    /// # Errors
    /// [`MetricsError::BadSetting`] for edges or shares that don't ascend within [0, 1],
    /// [`MetricsError::NoRows`].
    pub fn numbers(
        name: impl Into<String>,
        edges: &[(f64, f64)],
        missing: f64,
        n_rows: u64,
    ) -> Result<Self, MetricsError> {
        let ascending = edges.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let within = |share: f64| (0.0..=1.0).contains(&share);
        let good = edges.iter().all(|(value, share)| value.is_finite() && within(*share));
        if !ascending || !good || !within(missing) {
            return Err(bad_setting("edges of a column", format!("{edges:?}, {missing} missing")));
        }
        let present = 1.0 - missing;
        let (mut ends, mut shares, mut told) = (Vec::new(), vec![missing], 0.0);
        for &(end, up_to) in edges {
            // An edge that closes the column has nothing above it.
            if up_to > told && up_to < 1.0 {
                ends.push(end);
                shares.push((up_to - told) * present);
                told = up_to;
            }
        }
        shares.push((1.0 - told) * present);
        let groups = joined_neighbours(&shares, GROUP_SHARE * present);
        Reference { name: name.into(), bins: Bins::Ends(ends), shares, groups, n_rows }.checked()
    }

    /// A column of numbers from the training values themselves, with a bin per twentieth; NaN is
    /// missing.
    ///
    /// # Errors
    /// As [`Reference::numbers`].
    pub fn of_values(name: impl Into<String>, values: &[f64]) -> Result<Self, MetricsError> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let n = sorted.len();
        let mut edges: Vec<(f64, f64)> = Vec::new();
        for step in 1..20 {
            let Some(&value) = sorted.get((step * n).div_ceil(20).saturating_sub(1)) else { break };
            if edges.last().is_none_or(|last| last.0 < value) {
                let up_to = sorted.partition_point(|other| *other <= value);
                edges.push((value, up_to as f64 / n as f64));
            }
        }
        let missing = (values.len() - n) as f64 / values.len().max(1) as f64;
        Self::numbers(name, &edges, missing, values.len() as u64)
    }

    /// A column of categories: the known ones with their shares of all rows, the share of all
    /// others, and of missing values.
    ///
    /// # Errors
    /// [`MetricsError::BadSetting`] for shares that don't sum to 1 or a name that stands twice,
    /// [`MetricsError::NoRows`].
    pub fn categories(
        name: impl Into<String>,
        levels: &[(String, f64)],
        other: f64,
        missing: f64,
        n_rows: u64,
    ) -> Result<Self, MetricsError> {
        let mut sorted = levels.to_vec();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let mut shares = vec![missing];
        shares.extend(sorted.iter().map(|level| level.1));
        shares.push(other);
        let sum: f64 = shares.iter().sum();
        let twice = sorted.windows(2).any(|pair| pair[0].0 == pair[1].0);
        if twice || shares.iter().any(|share| !(0.0..=1.0).contains(share)) || (sum - 1.0).abs() > 1e-6 {
            return Err(bad_setting("shares of categories", format!("{shares:?}")));
        }
        let last = shares.len() - 1;
        let is_own = |bin: usize| bin == 0 || (bin < last && shares[bin] >= RARE_SHARE);
        let n_own = (0..=last).filter(|&bin| is_own(bin)).count();
        let mut next = 0;
        let groups = (0..=last)
            .map(|bin| {
                if !is_own(bin) {
                    return n_own;
                }
                next += 1;
                next - 1
            })
            .collect();
        let levels = sorted.into_iter().map(|level| level.0).collect();
        Reference { name: name.into(), bins: Bins::Levels(levels), shares, groups, n_rows }.checked()
    }

    fn checked(self) -> Result<Self, MetricsError> {
        if self.n_rows == 0 { Err(MetricsError::NoRows { what: "training rows" }) } else { Ok(self) }
    }

    /// Bins, the one of missing values included.
    pub fn n_bins(&self) -> usize {
        self.shares.len()
    }

    /// True for a column of numbers.
    pub fn is_number(&self) -> bool {
        matches!(self.bins, Bins::Ends(_))
    }

    /// The bin of a number; NaN is missing. A number in a column of categories is another one.
    pub fn bin_of_number(&self, value: f64) -> usize {
        match &self.bins {
            _ if value.is_nan() => 0,
            Bins::Ends(ends) => 1 + ends.partition_point(|end| *end < value),
            Bins::Levels(_) => self.shares.len() - 1,
        }
    }

    /// The bin of a category. A category in a column of numbers is missing.
    pub fn bin_of_level(&self, value: Option<&str>) -> usize {
        match (&self.bins, value) {
            (Bins::Levels(levels), Some(value)) => {
                let found = levels.binary_search_by(|level| level.as_str().cmp(value));
                found.map_or(self.shares.len() - 1, |place| place + 1)
            }
            _ => 0,
        }
    }

    /// Population stability index of a window's counts, Σ (now − then)·ln(now/then) over joined
    /// bins, and the chance of a larger one if nothing moved.
    ///
    /// Without drift PSI/(1/n + 1/m) is about chi-square with one degree of freedom less than
    /// there are bins (Yurdakul & Naranjo 2020): n rows of the window, m of training. Half a row is
    /// added to every bin on both sides, because an empty one has no logarithm.
    pub fn stability(&self, counts: &[u64]) -> (f64, f64) {
        let n_groups = self.groups.iter().max().map_or(0, |last| last + 1);
        let (mut now, mut then) = (vec![0.5; n_groups], vec![0.5; n_groups]);
        let n: u64 = counts.iter().sum();
        for (bin, &group) in self.groups.iter().enumerate() {
            now[group] += counts.get(bin).copied().unwrap_or(0) as f64;
            then[group] += self.shares[bin] * self.n_rows as f64;
        }
        // A bin that neither side has ever filled tells nothing and has no degree of freedom.
        let filled: Vec<usize> = (0..n_groups).filter(|&group| now[group] + then[group] > 1.5).collect();
        let total = |side: &[f64]| filled.iter().map(|&group| side[group]).sum::<f64>();
        let (of_now, of_then) = (total(&now), total(&then));
        let index = filled
            .iter()
            .map(|&group| {
                let (a, b) = (now[group] / of_now, then[group] / of_then);
                (a - b) * (a / b).ln()
            })
            .sum::<f64>();
        if n == 0 || filled.len() < 2 {
            return (0.0, 1.0);
        }
        let noise = 1.0 / n as f64 + 1.0 / self.n_rows as f64;
        (index, chi2_tail(index / noise, filled.len() as f64 - 1.0))
    }

    /// Kolmogorov-Smirnov distance of a window's numbers over the bins' ends, and the chance of a
    /// larger one if nothing moved; `None` for categories.
    ///
    /// Between the ends the distance may be larger than what is seen, never smaller, so the
    /// chance (Kolmogorov's limit for two samples) errs on the quiet side.
    pub fn distance(&self, counts: &[u64]) -> Option<(f64, f64)> {
        if !self.is_number() {
            return None;
        }
        let present = 1.0 - self.shares[0];
        let n: u64 = counts.iter().skip(1).sum();
        let m = present * self.n_rows as f64;
        if n == 0 || m < 1.0 {
            return Some((0.0, 1.0));
        }
        let (mut now, mut then, mut largest) = (0.0, 0.0, 0f64);
        for (count, share) in counts.iter().zip(&self.shares).skip(1) {
            now += *count as f64 / n as f64;
            then += share / present;
            largest = largest.max((now - then).abs());
        }
        let n = n as f64;
        Some((largest, kolmogorov_tail((n * m / (n + m)).sqrt() * largest)))
    }
}

/// Joins neighbouring bins until each group holds the share asked for; the missing stay alone
/// and a last group that is too small joins the one before.
fn joined_neighbours(shares: &[f64], least: f64) -> Vec<usize> {
    let (mut groups, mut held, mut group) = (vec![0], 0.0, 1);
    for share in &shares[1..] {
        if held >= least - 1e-9 {
            group += 1;
            held = 0.0;
        }
        groups.push(group);
        held += share;
    }
    if held < least - 1e-9 && group > 1 {
        groups.iter_mut().filter(|other| **other == group).for_each(|other| *other -= 1);
    }
    groups
}

/// The chance that the supremum of a Brownian bridge is larger (Kolmogorov 1933).
fn kolmogorov_tail(x: f64) -> f64 {
    if x < 0.2 {
        return 1.0;
    }
    let term = |k: i32| (if k % 2 == 1 { 2.0 } else { -2.0 }) * (-2.0 * f64::from(k * k) * x * x).exp();
    (1..=50).map(term).sum::<f64>().clamp(0.0, 1.0)
}

fn bad_setting(what: &'static str, value: String) -> MetricsError {
    MetricsError::BadSetting { what, value, allowed: "values ascend, shares lie in [0, 1] and sum to 1" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bin_holds_about_a_tenth_and_the_missing_stay_alone() {
        let values: Vec<f64> = (0..1_000).map(f64::from).chain([f64::NAN; 100]).collect();
        let reference = Reference::of_values("x", &values).unwrap();
        assert_eq!(reference.n_bins(), 21);
        assert_eq!(reference.groups.iter().max(), Some(&10));
        assert_eq!((reference.bin_of_number(f64::NAN), reference.bin_of_number(-5.0)), (0, 1));
        assert_eq!((reference.bin_of_number(49.0), reference.bin_of_number(50.0)), (1, 2));
        assert_eq!(reference.bin_of_number(1e9), 20);
        let constant = Reference::of_values("x", &[3.0; 50]).unwrap();
        assert_eq!(constant.stability(&vec![0; constant.n_bins()]), (0.0, 1.0));
    }

    #[test]
    fn the_index_is_its_definition() {
        let reference = Reference::numbers("x", &[(0.0, 0.5)], 0.0, 1_000_000_000).unwrap();
        let (index, p) = reference.stability(&[0, 600_000, 400_000]);
        let expected = 0.1 * (0.6f64 / 0.5).ln() - 0.1 * (0.4f64 / 0.5).ln();
        assert!((index - expected).abs() < 1e-5 && p < 1e-9, "{index} {expected}");
        let (distance, p) = reference.distance(&[0, 600_000, 400_000]).unwrap();
        assert!((distance - 0.1).abs() < 1e-12 && p < 1e-9);
    }

    #[test]
    fn the_tail_is_kolmogorovs() {
        assert!((kolmogorov_tail(1.358_1) - 0.05).abs() < 1e-4);
        assert!((kolmogorov_tail(1.627_6) - 0.01).abs() < 1e-4);
        assert_eq!(kolmogorov_tail(0.0), 1.0);
    }

    #[test]
    fn rare_and_unknown_categories_stand_together() {
        let levels = [("b".to_owned(), 0.6), ("a".to_owned(), 0.385), ("rare".to_owned(), 0.005)];
        let reference = Reference::categories("c", &levels, 0.01, 0.0, 1_000).unwrap();
        assert_eq!(reference.groups, [0, 1, 2, 3, 3]);
        assert_eq!((reference.bin_of_level(Some("a")), reference.bin_of_level(None)), (1, 0));
        assert_eq!((reference.bin_of_level(Some("new")), reference.bin_of_level(Some("rare"))), (4, 3));
        assert!(reference.distance(&[0; 5]).is_none());
        assert!(Reference::categories("c", &levels, 0.5, 0.0, 10).is_err());
        assert!(Reference::numbers("x", &[(1.0, 0.5), (0.0, 0.7)], 0.0, 10).is_err());
        assert!(Reference::numbers("x", &[], 0.0, 0).is_err());
    }
}
