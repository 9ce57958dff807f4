//! Balance of features between arms, and the guard that stops a feature which the treatment
//! moves.
//!
//! In a randomised trial a feature known before treatment differs between arms by chance only.
//! One that differs beyond chance and by a size that matters is either known only after
//! treatment (an exposure, a visit before a conversion) or the randomisation is broken; the
//! data cannot tell which, so both are named. The statistics live in metrics.

use std::borrow::Cow;

use impactiq_data::{Assignment, ColumnView, Dataset};
use impactiq_metrics::estimate::two_sided_p;
use impactiq_metrics::experiment::{Arms, Covariate, GUARD_P, GUARD_SMD, Part, imbalance, joint_balance};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::effect::comparable;
use crate::error::{CausalError, MovedFeature};
use crate::nuisance::OutOfFold;
use crate::overlap::Trim;

/// How one feature compares between an arm and the control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BalanceRow {
    /// The feature.
    pub feature: String,
    /// The arm compared with the control.
    pub arm: String,
    /// Standardised mean difference of the part that differs most, with its sign.
    pub smd: f64,
    /// That part: `mean`, `missing`, or the level of a category.
    pub part: String,
    /// p-value of no difference; clusters count as one observation each.
    pub p: f64,
    /// The same times the number of comparisons, at most 1.
    pub p_bonferroni: f64,
    /// Share of missing values in the arm.
    pub missing_treated: f64,
    /// Share of missing values in the control.
    pub missing_control: f64,
}

impl BalanceRow {
    /// Whether the guard refuses the feature.
    pub fn is_moved(&self) -> bool {
        self.p_bonferroni <= GUARD_P && self.smd.abs() > GUARD_SMD
    }

    /// The feature with the part that differs: `age`, `age is missing`, `region = north`.
    pub fn label(&self) -> String {
        match self.part.as_str() {
            "mean" => self.feature.clone(),
            "missing" => format!("{} is missing", self.feature),
            level => format!("{} = {level}", self.feature),
        }
    }
}

/// Compares every feature and control between each arm and the control, in the features'
/// order, weighted by the design: where its probabilities vary by row, with overlap weights
/// (Li, Morgan & Zaslavsky 2018), which balance as well as inverse ones in expectation and are
/// bounded. A row with a probability of .003 would otherwise decide the test alone.
///
/// # Errors
/// [`CausalError::Metrics`] (a bug: lengths agree by construction).
pub fn balance(data: &Dataset) -> Result<Vec<BalanceRow>, CausalError> {
    let labels = data.treatment.arms.labels();
    let weights: Vec<_> = (1..labels.len()).map(|arm| overlap_weights(data, arm)).collect();
    let columns = data.raw.columns();
    let counts = data.treatment.counts();
    let n_tests = columns.len() * (labels.len() - 1);
    let pairs: Vec<(usize, usize)> = (0..columns.len()).flat_map(|c| (1..labels.len()).map(move |a| (c, a))).collect();
    pairs
        .into_par_iter()
        .map(|(column, arm)| {
            let view = columns[column].view();
            let found = imbalance(covariate(view), &arms(data, arm, weights[arm - 1].as_deref()))?;
            let part = match (found.part, view) {
                (Part::Mean, _) => "mean".to_owned(),
                (Part::Missing, _) => "missing".to_owned(),
                (Part::Level(code), ColumnView::Category { levels, .. }) => levels[code as usize].clone(),
                (Part::Level(code), ColumnView::Number(_)) => code.to_string(),
            };
            // Robust errors fail where an arm is small and a feature rare: an arm without a single
            // 1 has no spread at all. One spread for both arms keeps such accidents likely.
            let size = 1.0 / counts[arm] as f64 + 1.0 / counts[0] as f64;
            let p = found.p.max(two_sided_p(found.smd / size.sqrt()));
            Ok(BalanceRow {
                feature: data.raw.names()[column].clone(),
                arm: labels[arm].clone(),
                smd: found.smd,
                part,
                p,
                p_bonferroni: (p * n_tests as f64).min(1.0),
                missing_treated: found.missing_treated,
                missing_control: found.missing_control,
            })
        })
        .collect()
}

/// How far weighting makes an arm and the control alike in one feature: a love plot's row.
/// Each difference is in standard deviations of the rows as they are weighted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightedBalance {
    /// The feature.
    pub feature: String,
    /// The arm compared with the control.
    pub arm: String,
    /// Standardised mean difference as the rows are.
    pub smd: f64,
    /// The same with rows weighted by the inverse of their own arm's probability: what `ipw` and
    /// `aipw` on everybody stand on.
    pub smd_ipw: f64,
    /// The same with overlap weights, the other arm's probability: 0 for a logistic model of
    /// the same features.
    pub smd_overlap: f64,
    /// That of `smd_ipw` among the rows that `averages.trim` keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smd_trimmed: Option<f64>,
}

/// Balance of every feature and control before and after weighting by the probabilities of
/// assignment, the largest difference that is left first.
///
/// # Errors
/// [`CausalError::Metrics`] (a bug: lengths agree by construction).
pub fn weighted_balance(
    data: &Dataset,
    propensity: &[OutOfFold],
    trim: Option<Trim>,
) -> Result<Vec<WeightedBalance>, CausalError> {
    let labels = data.treatment.arms.labels();
    let own = |row: usize| data.weights.as_ref().map_or(1.0, |w| w[row]);
    let mut rows = Vec::new();
    for arm in 1..labels.len() {
        let p = |row: usize| [propensity[0].get(row), propensity[arm].get(row)];
        let weights = |of_row: &dyn Fn([f64; 2], usize) -> f64| -> Vec<f64> {
            let side = |row: usize| usize::from(usize::from(data.treatment.codes[row]) == arm);
            (0..data.n_rows()).map(|row| own(row) * of_row(p(row), side(row))).collect()
        };
        let inverse = weights(&|p, side| 1.0 / p[side]);
        let overlap = weights(&|p, side| p[1 - side] / (p[0] + p[1]));
        let plain = data.weights.as_deref();
        let trimmed: Option<Vec<f64>> = trim.map(|trim| {
            let (_, kept) = comparable(trim, &propensity[arm], &propensity[0], plain);
            inverse.iter().zip(kept).map(|(&w, kept)| if kept { w } else { 0.0 }).collect()
        });
        let of_column = |column: usize| -> Result<WeightedBalance, CausalError> {
            let view = data.raw.columns()[column].view();
            let smd = |weights: Option<&[f64]>| -> Result<f64, CausalError> {
                Ok(imbalance(covariate(view), &arms(data, arm, weights))?.smd)
            };
            Ok(WeightedBalance {
                feature: data.raw.names()[column].clone(),
                arm: labels[arm].clone(),
                smd: smd(plain)?,
                smd_ipw: smd(Some(&inverse))?,
                smd_overlap: smd(Some(&overlap))?,
                smd_trimmed: trimmed.as_deref().map(|weights| smd(Some(weights))).transpose()?,
            })
        };
        let found: Vec<_> = (0..data.raw.columns().len()).into_par_iter().map(of_column).collect();
        rows.extend(found.into_iter().collect::<Result<Vec<_>, _>>()?);
    }
    rows.sort_by(|a, b| b.smd_ipw.abs().total_cmp(&a.smd_ipw.abs()));
    Ok(rows)
}

pub(super) fn covariate(view: ColumnView<'_>) -> Covariate<'_> {
    match view {
        ColumnView::Number(values) => Covariate::Number(values),
        ColumnView::Category { codes, .. } => Covariate::Category(codes),
    }
}

/// Weights that make an arm and the control alike: the sampling weight, times the other arm's
/// share of the row's probability where the design varies it by row.
fn overlap_weights(data: &Dataset, arm: usize) -> Option<Cow<'_, [f64]>> {
    let weights = data.weights.as_deref();
    let Assignment::PerRow(p) = &data.assignment else { return weights.map(Cow::Borrowed) };
    let of_row = |row: usize| {
        let pair = [p[0][row], p[arm][row]];
        let other = if usize::from(data.treatment.codes[row]) == arm { pair[0] } else { pair[1] };
        weights.map_or(1.0, |w| w[row]) * other / (pair[0] + pair[1])
    };
    Some(Cow::Owned((0..data.n_rows()).map(of_row).collect()))
}

fn arms<'a>(data: &'a Dataset, arm: usize, weights: Option<&'a [f64]>) -> Arms<'a> {
    let (codes, clusters) = (&data.treatment.codes, data.clusters.as_deref());
    Arms { arm: codes, contrast: arm as u8, weights, clusters }
}

/// The p-value that all features together tell nothing about the arm, the smallest over arms
/// (Bonferroni); `None` where there are too few rows or clusters to say.
pub fn joint_p(data: &Dataset) -> Option<f64> {
    let covariates: Vec<Covariate<'_>> = data.raw.columns().iter().map(|column| covariate(column.view())).collect();
    let n_contrasts = data.treatment.arms.n_contrasts();
    (1..=n_contrasts)
        .map(|arm| joint_balance(&covariates, &arms(data, arm, overlap_weights(data, arm).as_deref())).ok())
        .try_fold(1.0f64, |least, test| test.map(|test| least.min(test.p * n_contrasts as f64)))
}

/// Refuses a randomised trial with a feature that the treatment moves; gives the balance table
/// otherwise. Observational data pass: there, features are expected to differ.
///
/// # Errors
/// [`CausalError::PostTreatment`] naming the features, the largest difference first.
pub fn guard(data: &Dataset) -> Result<Vec<BalanceRow>, CausalError> {
    let rows = balance(data)?;
    let features = moved(data, &rows);
    if features.is_empty() { Ok(rows) } else { Err(CausalError::PostTreatment { features }) }
}

/// The features that the guard refuses, the largest difference first.
pub(super) fn moved(data: &Dataset, rows: &[BalanceRow]) -> Vec<MovedFeature> {
    if data.assignment == Assignment::Observational {
        return Vec::new();
    }
    let mut moved: Vec<&BalanceRow> = rows.iter().filter(|row| row.is_moved()).collect();
    moved.sort_by(|a, b| b.smd.abs().total_cmp(&a.smd.abs()));
    moved
        .into_iter()
        .map(|row| MovedFeature {
            feature: row.label(),
            arm: row.arm.clone(),
            smd: row.smd,
            p_bonferroni: row.p_bonferroni,
        })
        .collect()
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
    fn a_rare_feature_that_a_small_arm_never_shows_is_no_alarm() {
        let n = 20_000;
        let rare = (0..n).map(|i| f64::from(u8::from(i >= 60 && i % 10 == 0))).collect();
        let table = impactiq_data::dataset::number_table(vec![
            ("x".into(), rare),
            ("t".into(), (0..n).map(|i| f64::from(u8::from(i < 60))).collect()),
            ("y".into(), (0..n).map(|i| f64::from(i % 2)).collect()),
        ])
        .unwrap();
        let (treatment, control, outcomes) = ("t".into(), "0".into(), vec!["y".into()]);
        let spec = RolesSpec { treatment, control, outcomes, ..RolesSpec::default() };
        let roles = spec.resolve(table.names(), &[]).unwrap();
        let data = DatasetBuilder::new(&roles, (0..n as u64).collect(), Seed::new(2)).build(table).unwrap();
        // 60 rows without a feature of 10 %: a chance of 0.2 %, not of one in a million.
        let row = balance(&data).unwrap().remove(0);
        assert!(!row.is_moved() && row.p > 1e-4, "{row:?}");
    }

    #[test]
    fn probabilities_near_zero_raise_no_more_alarms_than_promised() {
        let (mut n_tests, mut n_alarms) = (0, 0);
        for seed in 0..200 {
            let made = generate(SynthKind::NieWagerC, &SynthOptions::default(), 1_000, Seed::new(seed)).unwrap();
            let mut table = made.table;
            let known = made.truth.column("propensity").unwrap().numbers().unwrap().to_vec();
            table.push("p", impactiq_data::Column::Number(known)).unwrap();
            let spec = RolesSpec {
                treatment: "treatment".into(),
                control: "0".into(),
                outcomes: vec!["y".into()],
                features: Some(vec!["x*".into()]),
                probability: Some("p".into()),
                ..RolesSpec::default()
            };
            let roles = spec.resolve(table.names(), &[]).unwrap();
            let data = DatasetBuilder::new(&roles, (0..1_000).collect(), Seed::new(2)).build(table).unwrap();
            for row in balance(&data).unwrap() {
                n_tests += 1;
                n_alarms += usize::from(row.p < 0.01);
            }
        }
        // 12 are expected of 1,200; with inverse weights it is the rarest rows that decide.
        assert!(n_tests == 1_200 && n_alarms <= 24, "{n_alarms} alarms in {n_tests} tests at 1 %");
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
        let row = |data: &Dataset| balance(data).unwrap().into_iter().find(|r| r.feature == "of_cluster").unwrap();
        assert!(row(&data).p > 1e-3, "{:?}", row(&data));
        data.clusters = None;
        assert!(row(&data).p < 1e-3, "{:?}", row(&data));
    }
}
