//! Balance of features between arms, and the guard that stops a feature which the treatment
//! moves.
//!
//! In a randomised trial a feature known before treatment differs between arms by chance only.
//! One that differs beyond chance and by a size that matters is either known only after
//! treatment (an exposure, a visit before a conversion) or the randomisation is broken; the
//! data cannot tell which, so both are named.

use impactiq_data::{Assignment, ColumnView, Dataset, MISSING_LEVEL};
use impactiq_metrics::averages::{Sample, difference_in_means};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::effect::design_weights;
use crate::error::{CausalError, MovedFeature};

/// Bonferroni p-value below which a difference is no chance.
pub const GUARD_P: f64 = 1e-6;
/// Standardised difference above which it matters: with 14 M rows everything is significant.
pub const GUARD_SMD: f64 = 0.02;
/// Levels of a category that are compared one by one; the rest together.
const MAX_LEVELS: usize = 32;

/// How one feature compares between an arm and the control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BalanceRow {
    /// The feature, or `name = level`, or `name is missing`.
    pub feature: String,
    /// The arm compared with the control.
    pub arm: String,
    /// Mean in the arm.
    pub treated_mean: f64,
    /// Mean in the control.
    pub control_mean: f64,
    /// Standardised mean difference: over the root of the average of the two variances.
    pub smd: f64,
    /// Two-sided p-value of equal means; clusters count as one observation each.
    pub p: f64,
    /// The same times the number of comparisons, at most 1.
    pub p_bonferroni: f64,
}

impl BalanceRow {
    /// Whether the guard refuses the feature.
    pub fn is_moved(&self) -> bool {
        self.p_bonferroni < GUARD_P && self.smd.abs() > GUARD_SMD
    }
}

/// One number per row to be compared: a feature's values, a level's indicator, missingness.
struct Comparison {
    feature: String,
    values: Vec<f64>,
    present: Option<Vec<bool>>,
}

/// Compares every feature and control between each arm and the control, in the features'
/// order, weighted by the design. Features that never vary have no row.
pub fn balance(data: &Dataset) -> Vec<BalanceRow> {
    let weights = design_weights(data);
    let arms = data.treatment.arms.labels();
    let freedom: Option<Vec<f64>> = data.clusters.as_ref().map(|clusters| cluster_freedom(data, clusters));
    let mut rows: Vec<BalanceRow> = data
        .raw
        .names()
        .par_iter()
        .zip(data.raw.columns())
        .flat_map_iter(|(name, column)| {
            let mut rows = Vec::new();
            for comparison in comparisons(name, column.view()) {
                for (arm, label) in arms.iter().enumerate().skip(1) {
                    let row = compare(data, &comparison, arm, weights.as_deref(), freedom.as_deref());
                    rows.extend(row.map(|row| BalanceRow { arm: label.clone(), ..row }));
                }
            }
            rows
        })
        .collect();
    let n_tests = rows.len() as f64;
    rows.iter_mut().for_each(|row| row.p_bonferroni = (row.p * n_tests).min(1.0));
    rows
}

/// Refuses a randomised trial with a feature that the treatment moves; gives the balance table
/// otherwise. Observational data pass: there, features are expected to differ.
///
/// # Errors
/// [`CausalError::PostTreatment`] naming the features, the largest difference first.
pub fn guard(data: &Dataset) -> Result<Vec<BalanceRow>, CausalError> {
    let rows = balance(data);
    if data.assignment == Assignment::Observational {
        return Ok(rows);
    }
    let mut moved: Vec<&BalanceRow> = rows.iter().filter(|row| row.is_moved()).collect();
    if moved.is_empty() {
        return Ok(rows);
    }
    moved.sort_by(|a, b| b.smd.abs().total_cmp(&a.smd.abs()));
    let features = moved
        .into_iter()
        .map(|row| MovedFeature {
            feature: row.feature.clone(),
            arm: row.arm.clone(),
            smd: row.smd,
            p_bonferroni: row.p_bonferroni,
        })
        .collect();
    Err(CausalError::PostTreatment { features })
}

fn comparisons(name: &str, view: ColumnView<'_>) -> Vec<Comparison> {
    let n = view.len();
    let missing: Vec<bool> = (0..n).map(|row| view.is_missing(row)).collect();
    let any_missing = missing.contains(&true);
    let indicator = |feature: String, is: &dyn Fn(usize) -> bool| Comparison {
        feature,
        values: (0..n).map(|row| f64::from(u8::from(is(row)))).collect(),
        present: None,
    };
    let mut all = Vec::new();
    match view {
        ColumnView::Number(values) => {
            let filled = values.iter().map(|&v| if v.is_nan() { 0.0 } else { v }).collect();
            let present = any_missing.then(|| missing.iter().map(|m| !m).collect());
            all.push(Comparison { feature: name.to_owned(), values: filled, present });
        }
        ColumnView::Category { codes, levels } => {
            let mut counts = vec![0usize; levels.len()];
            codes.iter().filter(|&&code| code != MISSING_LEVEL).for_each(|&code| counts[code as usize] += 1);
            let mut order: Vec<usize> = (0..levels.len()).filter(|&level| counts[level] > 0).collect();
            order.sort_by(|&a, &b| counts[b].cmp(&counts[a]).then_with(|| levels[a].cmp(&levels[b])));
            for &level in order.iter().take(MAX_LEVELS) {
                let feature = format!("{name} = {}", levels[level]);
                all.push(indicator(feature, &|row| codes[row] as usize == level));
            }
            if order.len() > MAX_LEVELS {
                let mut rare = vec![false; levels.len()];
                order[MAX_LEVELS..].iter().for_each(|&level| rare[level] = true);
                let feature = format!("{name} = other");
                all.push(indicator(feature, &|row| rare.get(codes[row] as usize) == Some(&true)));
            }
        }
    }
    if any_missing {
        all.push(indicator(format!("{name} is missing"), &|row| missing[row]));
    }
    all
}

/// Weighted mean and variance of one arm's present rows.
fn moments(data: &Dataset, comparison: &Comparison, arm: usize, weights: Option<&[f64]>) -> (f64, f64) {
    let rows = || {
        data.treatment.codes.iter().enumerate().filter(|&(row, &code)| {
            usize::from(code) == arm && comparison.present.as_ref().is_none_or(|present| present[row])
        })
    };
    let weight = |row: usize| weights.map_or(1.0, |w| w[row]);
    let total: f64 = rows().map(|(row, _)| weight(row)).sum();
    let mean = rows().map(|(row, _)| weight(row) * comparison.values[row]).sum::<f64>() / total;
    let variance = rows().map(|(row, _)| weight(row) * (comparison.values[row] - mean).powi(2)).sum::<f64>() / total;
    (mean, variance)
}

fn compare(
    data: &Dataset,
    comparison: &Comparison,
    arm: usize,
    weights: Option<&[f64]>,
    freedom: Option<&[f64]>,
) -> Option<BalanceRow> {
    let (treated_mean, treated_variance) = moments(data, comparison, arm, weights);
    let (control_mean, control_variance) = moments(data, comparison, 0, weights);
    let sd = (0.5 * (treated_variance + control_variance)).sqrt();
    let difference = treated_mean - control_mean;
    if !difference.is_finite() || (sd == 0.0 && difference == 0.0) {
        return None;
    }
    // Missing rows take part with weight 0.
    let masked: Option<Vec<f64>> = comparison.present.as_ref().map(|present| {
        present.iter().enumerate().map(|(row, &p)| if p { weights.map_or(1.0, |w| w[row]) } else { 0.0 }).collect()
    });
    let estimate = difference_in_means(&Sample {
        outcome: &comparison.values,
        arm: &data.treatment.codes,
        contrast: arm as u8,
        weights: masked.as_deref().or(weights),
        clusters: data.clusters.as_deref(),
    });
    let p = match (estimate.std_error(), freedom) {
        // Without any variation inside the arms, equal means would be a miracle.
        (Some(0.0), _) => 0.0,
        (Some(error), Some(freedom)) => student_p(difference / error, freedom[arm].min(freedom[0])),
        (Some(_), None) => estimate.p_value().unwrap_or(1.0),
        (None, _) => 1.0,
    };
    // Arms that are constant at different values differ without bound; JSON needs a number.
    let smd = if sd > 0.0 { difference / sd } else { difference.signum() * 1e6 };
    let (feature, arm) = (comparison.feature.clone(), String::new());
    Some(BalanceRow { feature, arm, treated_mean, control_mean, smd, p, p_bonferroni: p })
}

/// Clusters of each arm minus one: few clusters make the normal tail far too thin.
fn cluster_freedom(data: &Dataset, clusters: &[u32]) -> Vec<f64> {
    (0..data.treatment.arms.len())
        .map(|arm| {
            let mut seen: Vec<u32> = data
                .treatment
                .codes
                .iter()
                .zip(clusters)
                .filter(|(code, _)| usize::from(**code) == arm)
                .map(|(_, &cluster)| cluster)
                .collect();
            seen.sort_unstable();
            seen.dedup();
            (seen.len() as f64 - 1.0).max(1.0)
        })
        .collect()
}

fn student_p(t: f64, freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(1.0, |d| (2.0 * d.cdf(-t.abs())).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::synth::{SynthKind, SynthOptions, generate};
    use impactiq_data::{DatasetBuilder, RolesSpec, Seed};

    fn criteo(features: &[&str], n: usize) -> Dataset {
        let made = generate(SynthKind::Criteo, &SynthOptions::default(), n, Seed::new(1)).unwrap();
        let spec = RolesSpec {
            treatment: "treatment".into(),
            control: "0".into(),
            outcomes: vec!["visit".into()],
            features: Some(features.iter().map(|f| (*f).to_owned()).collect()),
            ..RolesSpec::default()
        };
        let roles = spec.resolve(made.table.names(), &[]).unwrap();
        DatasetBuilder::new(&roles, (0..n as u64).collect(), Seed::new(2)).build(made.table).unwrap()
    }

    #[test]
    fn exposure_is_refused_and_features_known_before_pass() {
        assert!(guard(&criteo(&["f*"], 50_000)).is_ok());
        let err = guard(&criteo(&["f*", "exposure"], 50_000)).unwrap_err();
        let CausalError::PostTreatment { features } = &err else { panic!("{err}") };
        assert_eq!(features.len(), 1);
        assert_eq!(features[0].feature, "exposure");
        assert!(err.to_string().starts_with("post-treatment or broken randomisation: 'exposure'"), "{err}");
        assert!(err.hint().unwrap().contains("roles.post_treatment: [exposure]"));
    }

    #[test]
    fn a_feature_that_is_missing_only_for_controls_is_refused() {
        let mut data = criteo(&["f0", "f2"], 20_000);
        let mut table = impactiq_data::Table::new();
        for (name, column) in data.raw.names().iter().zip(data.raw.columns()) {
            let impactiq_data::Column::Number(mut values) = column.clone() else { unreachable!() };
            if name == "f2" {
                for (value, code) in values.iter_mut().zip(&data.treatment.codes) {
                    *value = if *code == 0 { f64::NAN } else { *value };
                }
            }
            table.push(name.clone(), impactiq_data::Column::Number(values)).unwrap();
        }
        data.raw = table;
        let CausalError::PostTreatment { features } = guard(&data).unwrap_err() else { panic!() };
        assert_eq!(features[0].feature, "f2 is missing");
    }

    #[test]
    fn clusters_count_once_each() {
        let made = generate(SynthKind::Clustered, &SynthOptions::default(), 20_000, Seed::new(5)).unwrap();
        // A feature that is constant within clusters differs between arms by chance, and with
        // 200 rows per cluster a test of rows would call it impossible.
        let mut table = made.table;
        let cluster_name = table.names().iter().find(|name| name.contains("cluster")).unwrap().clone();
        let values = match table.column(&cluster_name).unwrap() {
            ColumnView::Number(values) => values.iter().map(|&c| Seed::new(11).uniform(c as u64)).collect(),
            ColumnView::Category { codes, .. } => codes.iter().map(|&c| Seed::new(11).uniform(u64::from(c))).collect(),
        };
        table.push("of_cluster", impactiq_data::Column::Number(values)).unwrap();
        let spec = RolesSpec {
            treatment: "treatment".into(),
            control: "0".into(),
            outcomes: vec!["y".into()],
            cluster: Some(cluster_name),
            ..RolesSpec::default()
        };
        let roles = spec.resolve(table.names(), &[]).unwrap();
        let mut data = DatasetBuilder::new(&roles, (0..20_000).collect(), Seed::new(2)).build(table).unwrap();
        let row = |data: &Dataset| balance(data).into_iter().find(|r| r.feature == "of_cluster").unwrap();
        assert!(row(&data).p > 1e-3, "{:?}", row(&data));
        data.clusters = None;
        assert!(row(&data).p < 1e-3, "{:?}", row(&data));
    }
}
