//! Health of an experiment: sample-ratio mismatch, balance of covariates, power, and the
//! statistic behind the post-treatment guard.
//!
//! Everything compares one arm with the control (code 0). Missing values are part of what is
//! compared. Bonferroni over features is the caller's: it alone knows how many were tested.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arms::indicator_smd;
pub use crate::arms::{Arms, Covariate, MISSING};
pub use crate::balance::{JointBalance, joint_balance};
use crate::error::{MetricsError, same_length};
pub use crate::tails::chi2_tail;
use crate::tails::normal_quantile;

/// A feature is suspected of being known only after treatment below this p-value …
pub const GUARD_P: f64 = 1e-6;
/// … and above this standardised difference.
pub const GUARD_SMD: f64 = 0.02;
/// A chi-square test of the arms' sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SrmTest {
    /// Pearson's statistic.
    pub chi2: f64,
    /// Arms minus one.
    pub degrees_of_freedom: u32,
    /// The chance of a larger statistic under the expected shares.
    pub p: f64,
}

/// What of a feature differs most between the arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The mean of the values that are there.
    Mean,
    /// The share of missing values.
    Missing,
    /// The share of a level, by code.
    Level(u32),
}

/// How much a feature differs between an arm and the control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Imbalance {
    /// The largest standardised mean difference over the feature's parts, with its sign.
    pub smd: f64,
    /// The part with the largest difference.
    pub part: Part,
    /// p-value of "no difference": two-sample z of mean and missing share (Bonferroni over the
    /// two), chi-square over levels; by cluster or with weights from robust errors.
    pub p: f64,
    /// Share of missing values in the arm.
    pub missing_treated: f64,
    /// Share of missing values in the control.
    pub missing_control: f64,
}

/// Tests the arms' sizes against the shares they were meant to have (Fabijan et al. 2019; a
/// mismatch is called at p < 0.001). Clustered assignment: give counts of clusters.
///
/// # Errors
/// [`MetricsError::Length`] for other numbers of shares, [`MetricsError::NoRows`],
/// [`MetricsError::BadValue`] for a share that isn't positive.
///
/// ```
/// let test = impactiq_metrics::experiment::srm(&[5_000, 5_300], &[0.5, 0.5]).unwrap();
/// assert!((test.chi2 - 8.737864).abs() < 1e-6 && (test.p - 0.003117).abs() < 1e-6);
/// ```
pub fn srm(counts: &[u64], shares: &[f64]) -> Result<SrmTest, MetricsError> {
    same_length("expected shares", counts.len(), shares.len())?;
    let n: u64 = counts.iter().sum();
    if n == 0 || counts.len() < 2 {
        return Err(MetricsError::NoRows { what: "arms" });
    }
    if let Some(row) = shares.iter().position(|s| !(*s > 0.0 && s.is_finite())) {
        let value = shares[row];
        return Err(MetricsError::BadValue { what: "expected share", row, value, allowed: "it must be positive" });
    }
    let total: f64 = shares.iter().sum();
    let terms = counts.iter().zip(shares).map(|(&count, share)| {
        let expected = n as f64 * share / total;
        (count as f64 - expected).powi(2) / expected
    });
    let chi2 = terms.sum();
    let degrees_of_freedom = counts.len() as u32 - 1;
    Ok(SrmTest { chi2, degrees_of_freedom, p: chi2_tail(chi2, f64::from(degrees_of_freedom)) })
}

/// The imbalance of a feature: one row of the balance table, and the statistic of the
/// post-treatment guard.
///
/// # Errors
/// [`MetricsError::Length`].
pub fn imbalance(covariate: Covariate<'_>, arms: &Arms<'_>) -> Result<Imbalance, MetricsError> {
    arms.check(covariate.len())?;
    let missing = arms.shares(|row| covariate.is_missing(row));
    let mut worst = (indicator_smd(missing), Part::Missing);
    let mut consider = |smd: f64, part| {
        if smd.abs() > worst.0.abs() || (worst.0 == 0.0 && part == Part::Mean) {
            worst = (smd, part);
        }
    };
    let p = match covariate {
        Covariate::Number(values) => {
            consider(arms.mean_smd(values), Part::Mean);
            let mean = arms.difference_p(values, |row| !values[row].is_nan());
            let flags: Vec<f64> = values.iter().map(|v| f64::from(u8::from(v.is_nan()))).collect();
            if missing == [0.0, 0.0] { mean } else { (2.0 * mean.min(arms.difference_p(&flags, |_| true))).min(1.0) }
        }
        Covariate::Category(codes) => {
            let table = arms.level_table(codes);
            let totals = table.values().fold([0.0; 2], |t, w| [t[0] + w[0], t[1] + w[1]]);
            for (&level, weights) in table.iter().filter(|(level, _)| **level != MISSING) {
                let share = [weights[0] / totals[0].max(1e-300), weights[1] / totals[1].max(1e-300)];
                consider(indicator_smd(share), Part::Level(level));
            }
            if arms.weights.is_none() && arms.clusters.is_none() {
                pearson_p(&table)
            } else {
                joint_balance(&[covariate], arms).map_or(1.0, |test| test.p)
            }
        }
    };
    let [missing_treated, missing_control] = missing;
    Ok(Imbalance { smd: worst.0, part: worst.1, p, missing_treated, missing_control })
}

impl Imbalance {
    /// True where the post-treatment guard must speak: too large and too sure a difference for
    /// chance, `n_tests` features and arms having been looked at. The data cannot tell a
    /// post-treatment feature from broken randomisation.
    pub fn is_suspicious(&self, n_tests: usize) -> bool {
        self.p * n_tests.max(1) as f64 <= GUARD_P && self.smd.abs() > GUARD_SMD
    }
}

/// The effect that a two-sided test at `alpha` finds with probability `power`, given the
/// standard error the experiment will have.
///
/// ```
/// let mde = impactiq_metrics::experiment::minimal_detectable_effect(0.1, 0.05, 0.8);
/// assert!((mde - 0.280158).abs() < 1e-6);
/// ```
pub fn minimal_detectable_effect(std_error: f64, alpha: f64, power: f64) -> f64 {
    (normal_quantile(1.0 - alpha / 2.0) + normal_quantile(power)) * std_error
}

/// The standard error of a difference in means of arms with these standard deviations.
pub fn std_error_of_difference(deviation: [f64; 2], n: [f64; 2]) -> f64 {
    (deviation[0].powi(2) / n[0] + deviation[1].powi(2) / n[1]).sqrt()
}

/// The chance that a two-sided test at `alpha` finds an effect, given its standard error.
pub fn power(effect: f64, std_error: f64, alpha: f64) -> f64 {
    let (z, shift) = (normal_quantile(1.0 - alpha / 2.0), effect.abs() / std_error);
    let tail = |x: f64| 0.5 * statrs::function::erf::erfc(x / std::f64::consts::SQRT_2);
    tail(z - shift) + tail(z + shift)
}

/// Pearson's chi-square of levels by arm; levels expected fewer than five times are pooled.
fn pearson_p(table: &BTreeMap<u32, [f64; 2]>) -> f64 {
    let totals = table.values().fold([0.0; 2], |t, w| [t[0] + w[0], t[1] + w[1]]);
    let n = totals[0] + totals[1];
    if totals.iter().any(|t| *t <= 0.0) {
        return 1.0;
    }
    let (mut cells, mut rest): (Vec<[f64; 2]>, [f64; 2]) = (Vec::new(), [0.0; 2]);
    for weights in table.values() {
        let level = weights[0] + weights[1];
        if totals.iter().any(|t| level * t / n < 5.0) {
            rest = [rest[0] + weights[0], rest[1] + weights[1]];
        } else {
            cells.push(*weights);
        }
    }
    if rest[0] + rest[1] > 0.0 {
        cells.push(rest);
    }
    let statistic: f64 = cells
        .iter()
        .flat_map(|cell| {
            [0, 1].map(|side| {
                let expected = (cell[0] + cell[1]) * totals[side] / n;
                (cell[side] - expected).powi(2) / expected
            })
        })
        .sum();
    if cells.len() < 2 { 1.0 } else { chi2_tail(statistic, cells.len() as f64 - 1.0) }
}
