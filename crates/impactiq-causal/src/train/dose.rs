//! Training with a dose: the same stages on residuals of outcome and dose instead of arms.

use impactiq_data::{Assignment, Dataset, Dose, Watch};

use super::outcomes::{Learned, Outcomes, learning_rows};
use super::report::{ArmCounts, DoseSummary, TrainReport, Trained, smaller};
use crate::config::CheckedConfig;
use crate::dose::{averages, free_share};
use crate::error::CausalError;
use crate::health;
use crate::learners::{DoseTask, fit_dose_effect};
use crate::nuisance::{self, DoseNuisances, OutOfFold};

/// Guard → nuisances and averages on all rows → learner outside the hold-out.
pub(super) fn train(
    config: &CheckedConfig,
    data: &Dataset,
    dose: &Dose,
    watch: &dyn Watch,
) -> Result<Trained, CausalError> {
    watch.progress("guard", 0, 1);
    let balance = health::guard_dose(data, dose)?;
    watch.progress("guard", 1, 1);
    let nuisances = dose_nuisances(config, data, dose, watch)?;
    watch.progress("averages", 0, 1);
    let contrasts = averages(data, dose, &nuisances)?;
    let summary = summary(data, dose, &nuisances.dose);
    let mut warnings = health::dose_warnings(data, dose, &balance, &nuisances.dose);
    watch.progress("averages", 1, 1);
    let two_stage = super::two_stage::reports(config, data)?;
    let dml = super::dml::estimate(config, data, watch)?;
    let report_nuisance = nuisances.report.clone();
    let rows = learning_rows(config, data)?;
    let centring = centring(config, (data, dose), &rows, nuisances, watch)?;
    let outcomes = Outcomes::new(config, data);
    let Learned { model, forests, linear, choices, tuning } = outcomes.learn(watch, |index| {
        let outcome = &data.outcomes[index];
        let task = DoseTask {
            rows: &rows,
            name: &dose.name,
            dose: &dose.values,
            outcome: &outcome.name,
            target: &outcome.values,
            weights: data.weights.as_deref(),
            row_ids: &outcomes.ids,
            outcome_mean: &centring.outcome[index],
            dose_mean: &centring.dose,
        };
        fit_dose_effect(&config.config().learner, &outcomes.inputs(), &task, outcomes.seed(index), watch)
    })?;
    warnings.extend(super::two_stage::weak(&two_stage));
    warnings.extend(smaller(&forests));
    let report = TrainReport {
        n_rows: data.n_rows() as u64,
        n_holdout: (data.n_rows() - rows.len()) as u64,
        arms: ArmCounts::of(&data.treatment),
        dose: Some(summary),
        instruments: Vec::new(),
        contrasts,
        nuisance: report_nuisance,
        overlap: Vec::new(),
        weighted_balance: Vec::new(),
        two_stage,
        dml,
        forests,
        linear,
        choices,
        tuning,
        warnings,
    };
    Ok(Trained { model, report })
}

/// The hold-out must stay unseen: the learner centres by nuisances of its own rows.
fn centring(
    config: &CheckedConfig,
    (data, dose): (&Dataset, &Dose),
    rows: &[u32],
    nuisances: DoseNuisances,
    watch: &dyn Watch,
) -> Result<DoseNuisances, CausalError> {
    if rows.len() == data.n_rows() {
        return Ok(nuisances);
    }
    drop(nuisances);
    Ok(dose_nuisances(config, &data.subset(rows), &dose.subset(rows), watch)?.spread(rows, data.n_rows()))
}

/// Out-of-fold means of outcomes and dose over all rows of a data set.
pub(crate) fn dose_nuisances(
    config: &CheckedConfig,
    data: &Dataset,
    dose: &Dose,
    watch: &dyn Watch,
) -> Result<DoseNuisances, CausalError> {
    let folds = config.folds(data)?;
    nuisance::fit_dose_nuisances(data, dose, &folds, &config.config().nuisance, config.seed(), watch)
}

/// The dose's mean alone, for `check`.
pub(super) fn mean(
    config: &CheckedConfig,
    data: &Dataset,
    dose: &Dose,
    watch: &dyn Watch,
) -> Result<OutOfFold, CausalError> {
    if data.assignment != Assignment::Observational {
        return Ok(OutOfFold::same(dose.mean(data.weights.as_deref()), data.n_rows()));
    }
    let folds = config.folds(data)?;
    nuisance::fit_dose_mean(data, dose, &folds, &config.config().nuisance, config.seed(), watch)
}

pub(super) fn summary(data: &Dataset, dose: &Dose, mean: &OutOfFold) -> DoseSummary {
    DoseSummary {
        column: dose.name.clone(),
        mean: dose.mean(data.weights.as_deref()),
        smallest: dose.values.iter().copied().fold(f64::INFINITY, f64::min),
        largest: dose.values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        free_share: free_share(data, dose, mean),
    }
}
