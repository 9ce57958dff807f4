//! Features seen by arm: who is compared with whom, and how far their values, missing shares
//! and levels stand apart.

use std::collections::BTreeMap;

use crate::averages::{Sample, difference_test};
use crate::error::{MetricsError, same_length};
use crate::tails::t_two_sided_p;

/// The level code of a missing category.
pub const MISSING: u32 = u32::MAX;
/// Standardised differences end here: a column that the arm determines has no spread.
const MAX_SMD: f64 = 1e3;
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

    pub(crate) fn is_missing(&self, row: usize) -> bool {
        match self {
            Covariate::Number(values) => values[row].is_nan(),
            Covariate::Category(codes) => codes[row] == MISSING,
        }
    }
}

impl Arms<'_> {
    pub(crate) fn check(&self, n: usize) -> Result<(), MetricsError> {
        same_length("covariate", self.arm.len(), n)?;
        if let Some(weights) = self.weights {
            same_length("weight", n, weights.len())?;
        }
        match self.clusters {
            Some(clusters) => same_length("cluster", n, clusters.len()),
            None => Ok(()),
        }
    }

    pub(crate) fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |w| w[row])
    }

    /// 0 for the arm, 1 for the control, nothing for other arms.
    pub(crate) fn side(&self, row: usize) -> Option<usize> {
        match self.arm[row] {
            0 => Some(1),
            code if code == self.contrast => Some(0),
            _ => None,
        }
    }

    pub(crate) fn indicator(&self, row: usize) -> f64 {
        f64::from(u8::from(self.arm[row] == self.contrast))
    }

    /// The weighted share of rows with a property, in the arm and in the control.
    pub(crate) fn shares(&self, property: impl Fn(usize) -> bool) -> [f64; 2] {
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
    pub(crate) fn mean_smd(&self, values: &[f64]) -> f64 {
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
    pub(crate) fn difference_p(&self, values: &[f64], counts: impl Fn(usize) -> bool) -> f64 {
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
    pub(crate) fn level_table(&self, codes: &[u32]) -> BTreeMap<u32, [f64; 2]> {
        let mut table: BTreeMap<u32, [f64; 2]> = BTreeMap::new();
        for (row, &code) in codes.iter().enumerate() {
            if let Some(side) = self.side(row) {
                table.entry(code).or_default()[side] += self.weight(row);
            }
        }
        table
    }
}

/// The standardised difference of two shares.
pub(crate) fn indicator_smd(share: [f64; 2]) -> f64 {
    standardised(share[0] - share[1], share.map(|p| p * (1.0 - p)))
}

fn standardised(gap: f64, variance: [f64; 2]) -> f64 {
    if gap == 0.0 {
        return 0.0;
    }
    let smd = gap / ((variance[0] + variance[1]) / 2.0).sqrt();
    if smd.is_finite() { smd.clamp(-MAX_SMD, MAX_SMD) } else { MAX_SMD * gap.signum() }
}
