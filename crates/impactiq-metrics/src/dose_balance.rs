//! Balance of a feature along a dose: how far it differs between high and low doses.
//!
//! The standardised difference of a dose is twice the correlation: the gap, in standard deviations
//! of the feature, between rows one standard deviation above the mean dose and rows one below
//! (Gelman 2008). A treatment given to half of the rows is such a dose, and there this is the
//! standardised mean difference of its arms: limits and charts mean the same for both.

use std::collections::BTreeMap;

use crate::arms::{Covariate, MISSING};
use crate::error::{MetricsError, same_length};
use crate::experiment::{Imbalance, Part};
use crate::least_squares::{Penalty, Regression};
use crate::robust::Covariance;

/// Levels of a category that are compared, the most frequent ones.
const MAX_LEVELS: usize = 20;

/// A dose of each row.
#[derive(Clone, Copy, Debug)]
pub struct Doses<'a> {
    /// n finite values.
    pub dose: &'a [f64],
    /// Sampling weights.
    pub weights: Option<&'a [f64]>,
    /// Cluster of each row.
    pub clusters: Option<&'a [u32]>,
}

/// The imbalance of a feature along a dose; `missing_treated` and `missing_control` are the missing
/// shares above and at or below the mean dose. The p-value is of the slope on the dose, robust
/// or by cluster, times the number of parts that were compared.
///
/// # Errors
/// [`MetricsError::Length`], and what least squares finds.
pub fn dose_imbalance(covariate: Covariate<'_>, doses: &Doses<'_>) -> Result<Imbalance, MetricsError> {
    let n = doses.dose.len();
    same_length("covariate", n, covariate.len())?;
    let missing: Vec<f64> = (0..n).map(|row| f64::from(u8::from(covariate.is_missing(row)))).collect();
    let [missing_treated, missing_control] = doses.missing_shares(&missing);
    let mut parts = vec![(doses.compare(&missing, |_| true)?, Part::Missing)];
    match covariate {
        Covariate::Number(values) => parts.push((doses.compare(values, |row| !values[row].is_nan())?, Part::Mean)),
        Covariate::Category(codes) => {
            let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
            codes.iter().filter(|code| **code != MISSING).for_each(|code| *counts.entry(*code).or_default() += 1);
            let mut levels: Vec<(usize, u32)> = counts.into_iter().map(|(code, n)| (n, code)).collect();
            levels.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
            for &(_, level) in levels.iter().take(MAX_LEVELS) {
                let is: Vec<f64> = codes.iter().map(|&code| f64::from(u8::from(code == level))).collect();
                parts.push((doses.compare(&is, |row| codes[row] != MISSING)?, Part::Level(level)));
            }
        }
    }
    let varies: Vec<(Difference, Part)> = parts.into_iter().filter(|(part, _)| part.varies).collect();
    let n_parts = varies.len().max(1) as f64;
    let p = varies.iter().map(|(part, _)| part.p).fold(1.0, f64::min);
    let worst = varies.into_iter().max_by(|a, b| a.0.smd.abs().total_cmp(&b.0.smd.abs()));
    let (smd, part) = worst.map_or((0.0, Part::Mean), |(difference, part)| (difference.smd, part));
    Ok(Imbalance { smd, part, p: (p * n_parts).min(1.0), missing_treated, missing_control })
}

struct Difference {
    smd: f64,
    p: f64,
    varies: bool,
}

impl Doses<'_> {
    fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |w| w[row])
    }

    fn missing_shares(&self, missing: &[f64]) -> [f64; 2] {
        let n = missing.len();
        let total: f64 = (0..n).map(|row| self.weight(row)).sum();
        let mean = (0..n).map(|row| self.weight(row) * self.dose[row]).sum::<f64>() / total;
        let (mut with, mut all) = ([0.0; 2], [0.0; 2]);
        for (row, missing) in missing.iter().enumerate() {
            let side = usize::from(self.dose[row] <= mean);
            all[side] += self.weight(row);
            with[side] += self.weight(row) * missing;
        }
        [0, 1].map(|side| if all[side] > 0.0 { with[side] / all[side] } else { 0.0 })
    }

    /// Twice the correlation over the rows that count, and the p-value of the slope.
    fn compare(&self, values: &[f64], counts: impl Fn(usize) -> bool) -> Result<Difference, MetricsError> {
        let n = values.len();
        let weights: Vec<f64> = (0..n).map(|row| if counts(row) { self.weight(row) } else { 0.0 }).collect();
        let filled: Vec<f64> = values.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect();
        let total: f64 = weights.iter().sum();
        let none = Difference { smd: 0.0, p: 1.0, varies: false };
        if total <= 0.0 {
            return Ok(none);
        }
        let mean = |v: &[f64]| weights.iter().zip(v).map(|(w, v)| w * v).sum::<f64>() / total;
        let (mean_v, mean_d) = (mean(&filled), mean(self.dose));
        let moment = |f: &dyn Fn(usize) -> f64| (0..n).map(|row| weights[row] * f(row)).sum::<f64>() / total;
        let variance_v = moment(&|row| (filled[row] - mean_v).powi(2));
        let variance_d = moment(&|row| (self.dose[row] - mean_d).powi(2));
        if variance_v <= 1e-24 * mean_v.abs().max(1e-300).powi(2) || variance_v == 0.0 || variance_d == 0.0 {
            return Ok(none);
        }
        let together = moment(&|row| (filled[row] - mean_v) * (self.dose[row] - mean_d));
        let columns = [self.dose];
        let regression = Regression {
            columns: &columns,
            outcome: &filled,
            weights: Some(&weights),
            clusters: self.clusters,
            intercept: true,
        };
        let model = regression.fit(Penalty::None)?;
        let kind = Covariance::robust(self.clusters);
        // Too few rows or clusters for an error are too few to accuse.
        let p = regression.contrast(&model, &[0.0, 1.0], kind).ok().and_then(|slope| slope.p_value()).unwrap_or(1.0);
        Ok(Difference { smd: 2.0 * together / (variance_v * variance_d).sqrt(), p, varies: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::Seed;

    #[test]
    fn a_treatment_of_half_of_the_rows_has_the_standardised_difference_of_its_arms() {
        let n = 4_000;
        let dose: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i % 2 == 0))).collect();
        let x: Vec<f64> = (0..n).map(|i| Seed::new(1).uniform(i as u64) + 0.05 * dose[i]).collect();
        let found =
            dose_imbalance(Covariate::Number(&x), &Doses { dose: &dose, weights: None, clusters: None }).unwrap();
        // A uniform number has a standard deviation of 1/√12.
        assert!((found.smd - 0.05 * 12f64.sqrt()).abs() < 0.05 && found.p < 1e-3, "{found:?}");
        assert_eq!((found.part, found.missing_treated), (Part::Mean, 0.0));
    }

    #[test]
    fn missing_values_and_levels_that_follow_the_dose_are_found_and_noise_is_not() {
        let n = 3_000;
        let dose: Vec<f64> = (0..n).map(|i| Seed::new(2).uniform(i as u64) * 10.0).collect();
        let doses = Doses { dose: &dose, weights: None, clusters: None };
        let gone: Vec<f64> = dose.iter().map(|d| if *d > 7.0 { f64::NAN } else { 1.0 }).collect();
        let found = dose_imbalance(Covariate::Number(&gone), &doses).unwrap();
        assert!(found.part == Part::Missing && found.p < 1e-12 && found.missing_treated > found.missing_control);
        let level: Vec<u32> = dose.iter().map(|d| if *d > 5.0 { 3 } else { MISSING }).collect();
        assert!(dose_imbalance(Covariate::Category(&level), &doses).unwrap().p < 1e-12);
        let noise: Vec<f64> = (0..n).map(|i| Seed::new(3).uniform(i as u64)).collect();
        let found = dose_imbalance(Covariate::Number(&noise), &doses).unwrap();
        assert!(found.p > 1e-3 && found.smd.abs() < 0.1, "{found:?}");
        let same = vec![4.0; n as usize];
        assert_eq!(dose_imbalance(Covariate::Number(&same), &doses).unwrap().p, 1.0);
    }
}
