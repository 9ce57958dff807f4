//! Health of an experiment: sample-ratio mismatch, balance of covariates one by one and
//! jointly, power, and the statistic behind the post-treatment guard.
//!
//! Everything compares one arm with the control (code 0). Missing values are part of what is
//! compared. Bonferroni over features is the caller's: it alone knows how many were tested.

use std::collections::BTreeMap;

use faer::Mat;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::{beta::checked_beta_reg, gamma::checked_gamma_ur};

use crate::averages::{Sample, difference_test};
use crate::error::{MetricsError, same_length};
use crate::estimate::two_sided_p;
use crate::least_squares::{factor, solve};
use crate::robust::DenseClusters;

/// The level code of a missing category.
pub const MISSING: u32 = u32::MAX;
/// A feature is suspected of being known only after treatment below this p-value …
pub const GUARD_P: f64 = 1e-6;
/// … and above this standardised difference.
pub const GUARD_SMD: f64 = 0.02;
/// Standardised differences end here: a column that the arm determines has no spread.
const MAX_SMD: f64 = 1e3;
/// Levels of a category that get an indicator of their own in joint tests.
const MAX_LEVELS: usize = 20;

/// A feature of each row.
#[derive(Clone, Copy, Debug)]
pub enum Covariate<'a> {
    /// Numbers; NaN is missing.
    Number(&'a [f64]),
    /// Level codes; [`MISSING`] is missing.
    Category(&'a [u32]),
}

/// Who is compared with whom.
#[derive(Clone, Copy, Debug)]
pub struct Arms<'a> {
    /// Arm code of each row; 0 is the control.
    pub arm: &'a [u8],
    /// The arm compared with the control.
    pub contrast: u8,
    /// Sampling weights.
    pub weights: Option<&'a [f64]>,
    /// Cluster of each row.
    pub clusters: Option<&'a [u32]>,
}

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

/// A joint test that no covariate predicts the arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JointBalance {
    /// Wald's statistic over its rank.
    pub f: f64,
    /// Columns tested after dropping constant and collinear ones.
    pub rank: u32,
    /// Second degrees of freedom: rows or clusters minus the rank.
    pub degrees_of_freedom: f64,
    /// The chance of a larger statistic under balance.
    pub p: f64,
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

/// Tests all covariates at once: the covariance of the arm with each, squared by the inverse
/// of their joint (cluster-robust) variance (Hansen & Bowers 2008), referred to F.
///
/// Missing numbers count as the mean and get an indicator; categories get indicators of
/// their most frequent levels.
///
/// # Errors
/// [`MetricsError::Length`], [`MetricsError::NoRows`] for an empty arm,
/// [`MetricsError::TooFewRows`] where there are no more rows (clusters) than columns.
pub fn joint_balance(covariates: &[Covariate<'_>], arms: &Arms<'_>) -> Result<JointBalance, MetricsError> {
    for covariate in covariates {
        arms.check(covariate.len())?;
    }
    let rows: Vec<u32> = (0..arms.arm.len() as u32).filter(|&row| arms.side(row as usize).is_some()).collect();
    let total: f64 = rows.iter().map(|&row| arms.weight(row as usize)).sum();
    let share = rows.iter().map(|&row| arms.weight(row as usize) * arms.indicator(row as usize)).sum::<f64>() / total;
    if !(share > 0.0 && share < 1.0) {
        return Err(MetricsError::NoRows { what: "an arm" });
    }
    let columns: Vec<Encoded<'_>> = covariates.iter().flat_map(|c| arms.encode(*c, &rows, total)).collect();
    let score = |row: usize, out: &mut [f64]| {
        let residual = arms.weight(row) * (arms.indicator(row) - share);
        out.iter_mut().zip(&columns).for_each(|(o, column)| *o += residual * column.value(row));
    };
    let width = columns.len();
    let Some(clusters) = arms.clusters else {
        let chunk = rows.len().div_ceil(16).max(1);
        let parts: Vec<Moments> = rows
            .par_chunks(chunk)
            .map(|rows| {
                let (mut moments, mut buffer) = (Moments::zero(width), vec![0.0; width]);
                for &row in rows {
                    buffer.fill(0.0);
                    score(row as usize, &mut buffer);
                    moments.observe(&buffer);
                }
                moments
            })
            .collect();
        let mut moments = Moments::zero(width);
        parts.iter().for_each(|part| moments.add(part));
        return moments.wald(rows.len());
    };
    let dense = DenseClusters::new(&rows.iter().map(|&row| clusters[row as usize]).collect::<Vec<_>>());
    let mut scores = vec![0.0; width * dense.n];
    for (&row, &g) in rows.iter().zip(&dense.of_row) {
        score(row as usize, &mut scores[g as usize * width..(g as usize + 1) * width]);
    }
    let mut moments = Moments::zero(width);
    scores.chunks_exact(width.max(1)).for_each(|score| moments.observe(score));
    moments.wald(dense.n)
}

/// Sum of scores and of their products (lower triangle).
struct Moments {
    sum: Vec<f64>,
    square: Vec<f64>,
}

impl Moments {
    fn zero(width: usize) -> Self {
        Moments { sum: vec![0.0; width], square: vec![0.0; width * width] }
    }

    fn observe(&mut self, score: &[f64]) {
        let width = score.len();
        for (i, a) in score.iter().enumerate() {
            self.sum[i] += a;
            self.square[i * width..i * width + i + 1].iter_mut().zip(score).for_each(|(s, b)| *s += a * b);
        }
    }

    fn add(&mut self, other: &Moments) {
        self.sum.iter_mut().zip(&other.sum).for_each(|(a, b)| *a += b);
        self.square.iter_mut().zip(&other.square).for_each(|(a, b)| *a += b);
    }

    fn wald(&self, n_units: usize) -> Result<JointBalance, MetricsError> {
        let width = self.sum.len();
        let square = Mat::from_fn(width, width, |i, j| self.square[i.max(j) * width + i.min(j)]);
        let (kept, inverse) = factor(&square, &vec![0.0; width]);
        let rank = kept.len();
        if n_units <= rank + 1 {
            return Err(MetricsError::TooFewRows { what: "joint balance test", found: n_units, needed: rank + 2 });
        }
        let picked: Vec<f64> = kept.iter().map(|&j| self.sum[j]).collect();
        let wald: f64 = solve(&inverse, &picked).iter().zip(&picked).map(|(a, b)| a * b).sum();
        let n = n_units as f64;
        // The scores' own mean inflates their squares: W / (1 − W/n) is Hotelling's statistic.
        let hotelling = wald / (1.0 - (wald / n).min(1.0 - 1e-12)) * (n - 1.0) / n;
        let free = n - rank as f64;
        let f = if rank == 0 { 0.0 } else { hotelling * free / (rank as f64 * (n - 1.0)) };
        Ok(JointBalance { f, rank: rank as u32, degrees_of_freedom: free, p: f_tail(f, rank as f64, free) })
    }
}

/// A complete, centred column made from a covariate, computed row by row.
struct Encoded<'a> {
    source: Source<'a>,
    centre: f64,
    scale: f64,
}

enum Source<'a> {
    Filled(&'a [f64], f64),
    MissingNumber(&'a [f64]),
    Level(&'a [u32], u32),
}

impl Encoded<'_> {
    fn raw(&self, row: usize) -> f64 {
        match self.source {
            Source::Filled(values, mean) => {
                if values[row].is_nan() {
                    mean
                } else {
                    values[row]
                }
            }
            Source::MissingNumber(values) => f64::from(u8::from(values[row].is_nan())),
            Source::Level(codes, level) => f64::from(u8::from(codes[row] == level)),
        }
    }

    fn value(&self, row: usize) -> f64 {
        (self.raw(row) - self.centre) * self.scale
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

impl Covariate<'_> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Covariate::Number(values) => values.len(),
            Covariate::Category(codes) => codes.len(),
        }
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn is_missing(&self, row: usize) -> bool {
        match self {
            Covariate::Number(values) => values[row].is_nan(),
            Covariate::Category(codes) => codes[row] == MISSING,
        }
    }
}

impl Arms<'_> {
    fn check(&self, n: usize) -> Result<(), MetricsError> {
        same_length("covariate", self.arm.len(), n)?;
        if let Some(weights) = self.weights {
            same_length("weight", n, weights.len())?;
        }
        match self.clusters {
            Some(clusters) => same_length("cluster", n, clusters.len()),
            None => Ok(()),
        }
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |w| w[row])
    }

    /// 0 for the arm, 1 for the control, nothing for other arms.
    fn side(&self, row: usize) -> Option<usize> {
        match self.arm[row] {
            0 => Some(1),
            code if code == self.contrast => Some(0),
            _ => None,
        }
    }

    fn indicator(&self, row: usize) -> f64 {
        f64::from(u8::from(self.arm[row] == self.contrast))
    }

    /// The weighted share of rows with a property, in the arm and in the control.
    fn shares(&self, property: impl Fn(usize) -> bool) -> [f64; 2] {
        let (mut with, mut all) = ([0.0; 2], [0.0; 2]);
        for row in 0..self.arm.len() {
            if let Some(side) = self.side(row) {
                all[side] += self.weight(row);
                with[side] += if property(row) { self.weight(row) } else { 0.0 };
            }
        }
        [0, 1].map(|side| if all[side] > 0.0 { with[side] / all[side] } else { 0.0 })
    }

    /// The standardised difference in means of the values that are there.
    fn mean_smd(&self, values: &[f64]) -> f64 {
        let (mut weight, mut mean, mut square) = ([0.0; 2], [0.0; 2], [0.0; 2]);
        let present = || (0..values.len()).filter(|&row| !values[row].is_nan());
        for row in present() {
            if let Some(side) = self.side(row) {
                weight[side] += self.weight(row);
                mean[side] += self.weight(row) * values[row];
            }
        }
        if weight.iter().any(|w| *w <= 0.0) {
            return 0.0;
        }
        let mean = [mean[0] / weight[0], mean[1] / weight[1]];
        for row in present() {
            if let Some(side) = self.side(row) {
                square[side] += self.weight(row) * (values[row] - mean[side]).powi(2);
            }
        }
        // Means of equal values differ by rounding alone.
        let gap = mean[0] - mean[1];
        let gap = if gap.abs() <= 1e-12 * mean[0].abs().max(mean[1].abs()) { 0.0 } else { gap };
        standardised(gap, [square[0] / weight[0], square[1] / weight[1]])
    }

    /// Two-sided p of a difference in means over the rows that count.
    fn difference_p(&self, values: &[f64], counts: impl Fn(usize) -> bool) -> f64 {
        let weights: Vec<f64> = (0..values.len()).map(|r| if counts(r) { self.weight(r) } else { 0.0 }).collect();
        let outcome: Vec<f64> = values.iter().map(|&v| if v.is_nan() { 0.0 } else { v }).collect();
        let sample = Sample {
            outcome: &outcome,
            arm: self.arm,
            contrast: self.contrast,
            weights: Some(&weights),
            clusters: self.clusters,
        };
        let Some((gap, std_error, freedom)) = difference_test(&sample) else { return 1.0 };
        let scale = outcome.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        if gap.abs() <= 1e-12 * scale {
            return 1.0;
        }
        if !std_error.is_finite() {
            return 1.0;
        }
        if std_error <= 1e-12 * gap.abs() { 0.0 } else { t_two_sided_p(gap / std_error, freedom) }
    }

    /// Weight of each level in the arm and in the control.
    fn level_table(&self, codes: &[u32]) -> BTreeMap<u32, [f64; 2]> {
        let mut table: BTreeMap<u32, [f64; 2]> = BTreeMap::new();
        for (row, &code) in codes.iter().enumerate() {
            if let Some(side) = self.side(row) {
                table.entry(code).or_default()[side] += self.weight(row);
            }
        }
        table
    }

    /// Complete, centred columns of a covariate over some rows of known total weight.
    fn encode<'a>(&self, covariate: Covariate<'a>, rows: &[u32], total: f64) -> Vec<Encoded<'a>> {
        let mean = |value: &dyn Fn(usize) -> f64| {
            rows.iter().map(|&r| self.weight(r as usize) * value(r as usize)).sum::<f64>()
        };
        let sources: Vec<Source<'a>> = match covariate {
            Covariate::Number(values) => {
                let missing = mean(&|r| f64::from(u8::from(values[r].is_nan())));
                let sum = mean(&|r| if values[r].is_nan() { 0.0 } else { values[r] });
                let filled = Source::Filled(values, sum / (total - missing).max(1e-300));
                std::iter::once(filled).chain((missing > 0.0).then_some(Source::MissingNumber(values))).collect()
            }
            Covariate::Category(codes) => {
                let table = self.level_table(codes);
                let mut levels: Vec<(u32, f64)> = table.iter().map(|(&l, w)| (l, w[0] + w[1])).collect();
                levels.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                levels.iter().take(MAX_LEVELS).map(|&(level, _)| Source::Level(codes, level)).collect()
            }
        };
        let encode = |source| {
            let raw = Encoded { source, centre: 0.0, scale: 1.0 };
            let centre = mean(&|r| raw.raw(r)) / total;
            let spread = rows.iter().fold(0.0f64, |m, &r| m.max((raw.raw(r as usize) - centre).abs()));
            // A constant column must be exactly 0, not rounding noise.
            let scale = if spread > 1e-12 * centre.abs() { 1.0 / spread } else { 0.0 };
            Encoded { centre, scale, ..raw }
        };
        sources.into_iter().map(encode).collect()
    }
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

fn indicator_smd(share: [f64; 2]) -> f64 {
    standardised(share[0] - share[1], share.map(|p| p * (1.0 - p)))
}

fn standardised(gap: f64, variance: [f64; 2]) -> f64 {
    if gap == 0.0 {
        return 0.0;
    }
    let smd = gap / ((variance[0] + variance[1]) / 2.0).sqrt();
    if smd.is_finite() { smd.clamp(-MAX_SMD, MAX_SMD) } else { MAX_SMD * gap.signum() }
}

fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p.clamp(0.0, 1.0))
}

/// The chance of a larger chi-square statistic.
pub fn chi2_tail(statistic: f64, degrees_of_freedom: f64) -> f64 {
    if !(statistic > 0.0) || degrees_of_freedom <= 0.0 {
        return 1.0;
    }
    checked_gamma_ur(degrees_of_freedom / 2.0, statistic / 2.0).unwrap_or(0.0).clamp(0.0, 1.0)
}

/// The chance of a larger F statistic.
pub(crate) fn f_tail(f: f64, first: f64, second: f64) -> f64 {
    if !(f > 0.0) || first <= 0.0 || second <= 0.0 {
        return 1.0;
    }
    checked_beta_reg(second / 2.0, first / 2.0, second / (second + first * f)).unwrap_or(1.0).clamp(0.0, 1.0)
}

/// Two-sided p of Student's t; normal for very many degrees of freedom.
pub(crate) fn t_two_sided_p(t: f64, freedom: f64) -> f64 {
    if freedom > 1e6 { two_sided_p(t) } else { f_tail(t * t, 1.0, freedom) }
}
