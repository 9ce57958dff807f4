//! The gates of `check`: what passed, what failed, by how much.

use impactiq_data::{Assignment, Dataset};
use impactiq_metrics::averages::{Sample, difference_lift};
use impactiq_metrics::experiment::{minimal_detectable_effect, srm};
use serde::{Deserialize, Serialize};

use super::GatesConfig;
use super::balance::{BalanceRow, balance, joint_p, moved};
use super::warnings::{Warning, warnings};
use crate::effect::design_weights;
use crate::error::CausalError;
use crate::instrument::WEAK_F;
use crate::iv::FirstStage;
use crate::nuisance::OutOfFold;
use crate::overlap;

/// The share of rows that may lie below the overlap limit where probabilities are learned.
const OVERLAP_SLACK: f64 = 0.01;

/// What `check` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Every gate.
    pub gates: Vec<Gate>,
    /// Every feature's balance, in the features' order.
    pub balance: Vec<BalanceRow>,
    /// What to keep in mind.
    pub warnings: Vec<Warning>,
    /// Whether every gate passed.
    pub passed: bool,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// `sample_ratio`, `post_treatment`, `balance`, `joint_balance`, `overlap`, `power`, and with an
    /// instrument `first_stage`.
    pub name: String,
    /// Whether it passed; what can't be tested passes and says so.
    pub passed: bool,
    /// The value found.
    pub value: Option<f64>,
    /// The limit it was compared with.
    pub limit: Option<f64>,
    /// What it means.
    pub detail: String,
}

impl Gate {
    pub(super) fn new(name: &str, passed: bool, value: Option<f64>, limit: Option<f64>, detail: String) -> Self {
        Gate { name: name.into(), passed, value, limit, detail }
    }

    pub(super) fn untested(name: &str, why: &str) -> Self {
        Gate::new(name, true, None, None, why.into())
    }
}

impl CheckReport {
    /// The same with how strongly an instrument pulls; below F = 10 it fails.
    pub(crate) fn with_first_stage(mut self, instrument: &str, first_stage: &FirstStage) -> Self {
        let f = first_stage.f.statistic;
        let detail = format!(
            "'{instrument}' moves the treatment with F = {f:.1} and explains {:.2} % of its variance",
            100.0 * first_stage.partial_r2
        );
        let gate = Gate::new("first_stage", f >= WEAK_F, f.is_finite().then_some(f), Some(WEAK_F), detail);
        self.passed &= gate.passed;
        self.gates.push(gate);
        self
    }
}

/// Checks the health of an experiment. `propensity` is each arm's probability: declared, shares,
/// or learned out of fold.
///
/// # Errors
/// [`CausalError::Metrics`] (a bug: lengths agree by construction).
pub fn check(data: &Dataset, propensity: &[OutOfFold], limits: &GatesConfig) -> Result<CheckReport, CausalError> {
    let rows = balance(data)?;
    let overlap = overlap::measure(data, propensity, limits.overlap_min);
    let mut gates = vec![sample_ratio(data, propensity, limits)?, post_treatment(data, &rows)];
    gates.push(largest_difference(data, &rows, limits));
    gates.push(joint(data, limits));
    gates.push(overlap_gate(data, propensity, limits));
    gates.extend(power(data));
    let passed = gates.iter().all(|gate| gate.passed);
    let warnings = warnings(data, &rows, &overlap);
    Ok(CheckReport { gates, balance: rows, warnings, passed })
}

/// Rows per arm, or clusters where every cluster lies in one arm.
fn counts(data: &Dataset) -> (Vec<u64>, &'static str) {
    let by_row = || data.treatment.counts().into_iter().map(|n| n as u64).collect();
    let Some(clusters) = &data.clusters else { return (by_row(), "rows") };
    let mut pairs: Vec<(u32, u8)> = clusters.iter().copied().zip(data.treatment.codes.iter().copied()).collect();
    pairs.sort_unstable();
    pairs.dedup();
    if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return (by_row(), "rows");
    }
    let mut counts = vec![0; data.treatment.arms.len()];
    pairs.iter().for_each(|&(_, arm)| counts[arm as usize] += 1);
    (counts, "clusters")
}

fn sample_ratio(data: &Dataset, propensity: &[OutOfFold], limits: &GatesConfig) -> Result<Gate, CausalError> {
    if !matches!(data.assignment, Assignment::PerArm(_) | Assignment::PerRow(_)) {
        return Ok(Gate::untested(
            "sample_ratio",
            "no assignment.probability is declared: there is nothing to compare with",
        ));
    }
    let (counts, units) = counts(data);
    let n = data.n_rows();
    let shares: Vec<f64> = propensity
        .iter()
        .map(|p| p.constant().unwrap_or_else(|| (0..n).map(|row| p.get(row)).sum::<f64>() / n as f64))
        .collect();
    let test = srm(&counts, &shares)?;
    let found: Vec<String> = counts.iter().map(u64::to_string).collect();
    let wanted: Vec<String> = shares.iter().map(|s| format!("{:.2} %", 100.0 * s)).collect();
    let passed = test.p >= limits.srm_p_min;
    let detail = format!(
        "{} {units} per arm where {} were declared: chi-square {:.2} on {} degrees of freedom, p = {:.2e}",
        found.join(" / "),
        wanted.join(" / "),
        test.chi2,
        test.degrees_of_freedom,
        test.p
    );
    Ok(Gate::new("sample_ratio", passed, Some(test.p), Some(limits.srm_p_min), detail))
}

pub(super) fn post_treatment(data: &Dataset, rows: &[BalanceRow]) -> Gate {
    if data.assignment == Assignment::Observational {
        return Gate::untested("post_treatment", "observational data: features are expected to differ between arms");
    }
    let features = moved(data, rows);
    let detail = if features.is_empty() {
        "no feature is moved by the treatment".to_owned()
    } else {
        CausalError::PostTreatment { features: features.clone() }.to_string()
    };
    Gate::new("post_treatment", features.is_empty(), Some(features.len() as f64), Some(0.0), detail)
}

fn largest_difference(data: &Dataset, rows: &[BalanceRow], limits: &GatesConfig) -> Gate {
    let Some(worst) = rows.iter().max_by(|a, b| a.smd.abs().total_cmp(&b.smd.abs())) else {
        return Gate::untested("balance", "there are no features");
    };
    let observational = data.assignment == Assignment::Observational;
    let passed = observational || worst.smd.abs() <= limits.smd_max;
    let note = if observational { " (reported only: observational data)" } else { "" };
    let detail = format!(
        "the largest standardised difference is {:+.4}, of '{}' between arm '{}' and the control{note}",
        worst.smd,
        worst.label(),
        worst.arm
    );
    Gate::new("balance", passed, Some(worst.smd.abs()), Some(limits.smd_max), detail)
}

fn joint(data: &Dataset, limits: &GatesConfig) -> Gate {
    if data.assignment == Assignment::Observational {
        return Gate::untested("joint_balance", "observational data: features are expected to tell the arm");
    }
    match joint_p(data) {
        None => Gate::untested("joint_balance", "too few rows or clusters for a joint test"),
        Some(p) => {
            let detail = format!("the chance of features telling the arm at least this well is {p:.2e}");
            Gate::new("joint_balance", p >= limits.srm_p_min, Some(p), Some(limits.srm_p_min), detail)
        }
    }
}

fn smallest(propensity: &[OutOfFold], row: usize) -> f64 {
    propensity.iter().map(|p| p.get(row)).fold(f64::INFINITY, f64::min)
}

fn overlap_gate(data: &Dataset, propensity: &[OutOfFold], limits: &GatesConfig) -> Gate {
    let n = data.n_rows();
    let mut least: Vec<f64> = (0..n).map(|row| smallest(propensity, row)).collect();
    let learned = data.assignment == Assignment::Observational;
    // One odd prediction among millions is no lack of overlap; a declared 0.001 is.
    let place = if learned { (OVERLAP_SLACK * n as f64) as usize } else { 0 };
    let (_, value, _) = least.select_nth_unstable_by(place.min(n - 1), f64::total_cmp);
    let value = *value;
    let detail = if learned {
        format!("for 99 % of the rows every arm has a learned probability of at least {value:.4}")
    } else {
        format!("the smallest probability of any arm is {value:.4}")
    };
    Gate::new("overlap", value >= limits.overlap_min, Some(value), Some(limits.overlap_min), detail)
}

/// What could be found, per outcome and arm: information, never a failure.
fn power(data: &Dataset) -> Vec<Gate> {
    let weights = design_weights(data);
    let mut gates = Vec::new();
    for outcome in &data.outcomes {
        for (arm, label) in data.treatment.arms.labels().iter().enumerate().skip(1) {
            let lift = difference_lift(&Sample {
                outcome: &outcome.values,
                arm: &data.treatment.codes,
                contrast: arm as u8,
                weights: weights.as_deref(),
                clusters: data.clusters.as_deref(),
            });
            let Some(error) = lift.ate.std_error() else {
                gates.push(Gate::untested("power", "an arm has too few rows or clusters for a standard error"));
                continue;
            };
            let least = minimal_detectable_effect(error, 0.05, 0.8);
            let share = lift.control_mean.value().filter(|mean| *mean > 0.0).map(|mean| 100.0 * least / mean);
            let relative = share.map(|share| format!(" ({share:.1} % of the control mean)")).unwrap_or_default();
            let detail = format!(
                "outcome '{}', arm '{label}': an effect of {least:.6}{relative} is found with 80 % probability at the 5 % level",
                outcome.name
            );
            gates.push(Gate::new("power", true, Some(least), None, detail));
        }
    }
    gates
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::dataset::number_table;
    use impactiq_data::{DatasetBuilder, RolesSpec, Seed};

    fn data(n_treated: usize, n_control: usize, assignment: Assignment) -> Dataset {
        let n = n_treated + n_control;
        let uniform = |s: u64| (0..n as u64).map(|i| Seed::new(s).uniform(i)).collect::<Vec<f64>>();
        let table = number_table(vec![
            ("x".into(), uniform(1)),
            ("t".into(), (0..n).map(|i| f64::from(u8::from(i < n_treated))).collect()),
            ("y".into(), uniform(2)),
        ])
        .unwrap();
        let (treatment, control, outcomes) = ("t".into(), "0".into(), vec!["y".into()]);
        let spec = RolesSpec { treatment, control, outcomes, ..RolesSpec::default() };
        let roles = spec.resolve(table.names(), &[]).unwrap();
        let mut builder = DatasetBuilder::new(&roles, (0..n as u64).collect(), Seed::new(1));
        builder.assignment = assignment;
        builder.build(table).unwrap()
    }

    fn report(data: &Dataset) -> CheckReport {
        check(data, &crate::nuisance::declared_propensity(data).unwrap(), &GatesConfig::default()).unwrap()
    }

    fn gate<'r>(report: &'r CheckReport, name: &str) -> &'r Gate {
        report.gates.iter().find(|gate| gate.name == name).unwrap()
    }

    #[test]
    fn a_sound_trial_passes_every_gate() {
        let report = report(&data(2500, 2500, Assignment::PerArm(vec![0.5, 0.5])));
        assert!(report.passed, "{:?}", report.gates);
        let names: Vec<&str> = report.gates.iter().map(|gate| gate.name.as_str()).collect();
        assert_eq!(names, ["sample_ratio", "post_treatment", "balance", "joint_balance", "overlap", "power"]);
    }

    #[test]
    fn a_sample_ratio_mismatch_fails_and_shares_cannot_be_tested() {
        let mismatch = report(&data(2700, 2300, Assignment::PerArm(vec![0.5, 0.5])));
        assert!(!mismatch.passed && !gate(&mismatch, "sample_ratio").passed);
        assert!((gate(&mismatch, "sample_ratio").value.unwrap() - 1.5417e-8).abs() < 1e-11);
        let shares = report(&data(2700, 2300, Assignment::Shares));
        assert!(shares.passed && gate(&shares, "sample_ratio").value.is_none());
    }

    #[test]
    fn whole_clusters_are_counted_as_clusters() {
        let mut data = data(3000, 2000, Assignment::PerArm(vec![0.5, 0.5]));
        assert!(!report(&data).passed);
        data.clusters = Some((0..5000).map(|row| if row < 3000 { row / 300 } else { 10 + row / 200 - 15 }).collect());
        let report = report(&data);
        assert!(gate(&report, "sample_ratio").passed, "{:?}", report.gates);
        assert!(gate(&report, "sample_ratio").detail.starts_with("10 / 10 clusters"));
    }

    #[test]
    fn a_tiny_declared_probability_fails_overlap() {
        let report = report(&data(60, 9940, Assignment::PerArm(vec![0.995, 0.005])));
        assert!(!gate(&report, "overlap").passed);
    }
}
