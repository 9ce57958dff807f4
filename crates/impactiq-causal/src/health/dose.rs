//! Experiment health of a dose: balance along it, the guard, how much of it features leave free,
//! power. Arms have their checks in `balance` and `gates`.

use impactiq_data::{Assignment, ColumnView, Dataset, Dose};
use impactiq_metrics::dose_balance::{Doses, dose_imbalance};
use impactiq_metrics::experiment::{Part, minimal_detectable_effect};
use rayon::prelude::*;

use super::GatesConfig;
use super::balance::{BalanceRow, covariate, moved};
use super::gates::{CheckReport, Gate};
use super::warnings::{Warning, warnings};
use crate::dose::{NO_ARMS, Residuals, free_share};
use crate::error::CausalError;
use crate::nuisance::{DoseNuisances, OutOfFold};

/// Below this share of free variation a warning is due: the estimate stands on few rows.
const LITTLE_FREE: f64 = 0.1;

/// How every feature and control differs along the dose: `smd` is the difference between rows one
/// standard deviation above the mean dose and rows one below.
///
/// # Errors
/// [`CausalError::Metrics`] (a bug: lengths agree by construction).
pub fn dose_balance(data: &Dataset, dose: &Dose) -> Result<Vec<BalanceRow>, CausalError> {
    let columns = data.raw.columns();
    let n_tests = columns.len() as f64;
    let doses = Doses { dose: &dose.values, weights: data.weights.as_deref(), clusters: data.clusters.as_deref() };
    (0..columns.len())
        .into_par_iter()
        .map(|column| {
            let view = columns[column].view();
            let found = dose_imbalance(covariate(view), &doses)?;
            let part = match (found.part, view) {
                (Part::Mean, _) => "mean".to_owned(),
                (Part::Missing, _) => "missing".to_owned(),
                (Part::Level(code), ColumnView::Category { levels, .. }) => levels[code as usize].clone(),
                (Part::Level(code), ColumnView::Number(_)) => code.to_string(),
            };
            Ok(BalanceRow {
                feature: data.raw.names()[column].clone(),
                arm: dose.name.clone(),
                smd: found.smd,
                part,
                p: found.p,
                p_bonferroni: (found.p * n_tests).min(1.0),
                missing_treated: found.missing_treated,
                missing_control: found.missing_control,
            })
        })
        .collect()
}

/// Refuses a randomised dose that moves a feature; gives the balance table otherwise.
///
/// # Errors
/// [`CausalError::PostTreatment`] naming the features, the largest difference first.
pub fn guard_dose(data: &Dataset, dose: &Dose) -> Result<Vec<BalanceRow>, CausalError> {
    let rows = dose_balance(data, dose)?;
    let features = moved(data, &rows);
    if features.is_empty() { Ok(rows) } else { Err(CausalError::PostTreatment { features }) }
}

/// What should be kept in mind about a dose and its rows.
pub fn dose_warnings(data: &Dataset, dose: &Dose, balance: &[BalanceRow], mean: &OutOfFold) -> Vec<Warning> {
    let mut all = warnings(data, balance, &[]);
    let share = free_share(data, dose, mean);
    if share < LITTLE_FREE {
        all.push(Warning::LittleDose { dose: dose.name.clone(), share });
    }
    all
}

/// Checks the health of an experiment with a dose; `nuisances` are out of fold.
///
/// # Errors
/// [`CausalError::Metrics`] (a bug: lengths agree by construction).
pub fn check_dose(
    data: &Dataset,
    dose: &Dose,
    mean: &OutOfFold,
    limits: &GatesConfig,
) -> Result<CheckReport, CausalError> {
    let rows = dose_balance(data, dose)?;
    let mut gates = vec![
        Gate::untested("sample_ratio", NO_ARMS),
        super::gates::post_treatment(data, &rows),
        largest(data, dose, &rows, limits),
        Gate::untested("joint_balance", NO_ARMS),
    ];
    let share = free_share(data, dose, mean);
    let detail = if data.assignment == Assignment::Observational {
        format!("features leave {:.1} % of the variance of '{}' unexplained", 100.0 * share, dose.name)
    } else {
        format!("chance dealt '{}' out: all of its variance is free of the features", dose.name)
    };
    let limit = limits.overlap_min;
    gates.push(Gate::new("overlap", share >= limit, Some(share), Some(limit), detail));
    gates.extend(power(data, dose, mean));
    let passed = gates.iter().all(|gate| gate.passed);
    let warnings = dose_warnings(data, dose, &rows, mean);
    Ok(CheckReport { gates, balance: rows, warnings, passed })
}

fn largest(data: &Dataset, dose: &Dose, rows: &[BalanceRow], limits: &GatesConfig) -> Gate {
    let Some(worst) = rows.iter().max_by(|a, b| a.smd.abs().total_cmp(&b.smd.abs())) else {
        return Gate::untested("balance", "there are no features");
    };
    let observational = data.assignment == Assignment::Observational;
    let note = if observational { " (reported only: observational data)" } else { "" };
    let detail = format!(
        "the largest standardised difference between high and low '{}' is {:+.4}, of '{}'{note}",
        dose.name,
        worst.smd,
        worst.label()
    );
    let passed = observational || worst.smd.abs() <= limits.smd_max;
    Gate::new("balance", passed, Some(worst.smd.abs()), Some(limits.smd_max), detail)
}

/// What could be found per outcome with the outcome's own spread: information, never a failure.
fn power(data: &Dataset, dose: &Dose, mean: &OutOfFold) -> Vec<Gate> {
    let weights = data.weights.as_deref();
    let outcome = data.outcomes.iter().map(|outcome| {
        let average = Dose { name: String::new(), values: outcome.values.clone() }.mean(weights);
        OutOfFold::same(average, data.n_rows())
    });
    let nuisances = DoseNuisances { outcome: outcome.collect(), dose: mean.clone(), report: Default::default() };
    let gate = |index: usize| {
        let estimate = Residuals::of(data, dose, index, &nuisances).average(data);
        let Some(error) = estimate.ok().and_then(|estimate| estimate.std_error()) else {
            return Gate::untested("power", "too few rows or clusters for a standard error");
        };
        let least = minimal_detectable_effect(error, 0.05, 0.8);
        let detail = format!(
            "outcome '{}': an effect of {least:.6} per unit of '{}' is found with 80 % probability at the 5 % level",
            data.outcomes[index].name, dose.name
        );
        Gate::new("power", true, Some(least), None, detail)
    };
    (0..data.outcomes.len()).map(gate).collect()
}
