//! Training with a dose: the same stages on residuals of outcome and dose instead of arms.

use impactiq_data::{Assignment, Dataset, Dose, Stream, Watch};

use super::report::{ArmCounts, DoseSummary, TrainReport, Trained, smaller};
use crate::base::Inputs;
use crate::config::CheckedConfig;
use crate::dose::{averages, free_share};
use crate::error::CausalError;
use crate::health;
use crate::learners::{DoseTask, fit_dose_effect};
use crate::model::{CausalModel, OutcomeModel};
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
    let report_nuisance = nuisances.report.clone();
    let held_out = config.holdout(data)?;
    let rows: Vec<u32> = (0..data.n_rows() as u32).filter(|&row| !held_out[row as usize]).collect();
    // The hold-out must stay unseen: the learner centres by nuisances of its own rows.
    let centring = if rows.len() == data.n_rows() {
        nuisances
    } else {
        drop(nuisances);
        let part = data.subset(&rows);
        dose_nuisances(config, &part, &dose.subset(&rows), watch)?.spread(&rows, data.n_rows())
    };
    let (model, forests) = learn(config, data, dose, &rows, &centring, watch)?;
    warnings.extend(smaller(&forests));
    let report = TrainReport {
        n_rows: data.n_rows() as u64,
        n_holdout: (data.n_rows() - rows.len()) as u64,
        arms: ArmCounts::default(),
        dose: Some(summary),
        instruments: Vec::new(),
        contrasts,
        nuisance: report_nuisance,
        overlap: Vec::new(),
        forests,
        linear: Vec::new(),
        choices: Vec::new(),
        warnings,
    };
    Ok(Trained { model, report })
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
        return Ok(OutOfFold::known(dose.mean(data.weights.as_deref()), data.n_rows()));
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

fn learn(
    config: &CheckedConfig,
    data: &Dataset,
    dose: &Dose,
    rows: &[u32],
    centring: &DoseNuisances,
    watch: &dyn Watch,
) -> Result<(CausalModel, Vec<crate::learners::ForestReport>), CausalError> {
    let features = data.features.names()[..data.n_modifiers].to_vec();
    let inputs = Inputs { binned: &data.features, raw: &data.raw, names: &features, arm: None };
    let ids = nuisance::sampling_ids(data);
    let seed = config.seed().stream(Stream::Learner);
    let total = data.outcomes.len() as u64;
    let (mut outcomes, mut forests) = (Vec::with_capacity(data.outcomes.len()), Vec::new());
    for (index, outcome) in data.outcomes.iter().enumerate() {
        watch.progress("learner", index as u64, total);
        let task = DoseTask {
            rows,
            name: &dose.name,
            dose: &dose.values,
            outcome: &outcome.name,
            target: &outcome.values,
            weights: data.weights.as_deref(),
            row_ids: &ids,
            outcome_mean: &centring.outcome[index],
            dose_mean: &centring.dose,
        };
        let fitted = fit_dose_effect(&config.config().learner, &inputs, &task, seed.child(index as u64), watch)?;
        forests.extend(fitted.forests);
        outcomes.push(OutcomeModel { name: outcome.name.clone(), kind: outcome.kind, effect: fitted.effect });
    }
    watch.progress("learner", total, total);
    let bins = data.features.bins()[..data.n_modifiers].to_vec();
    let model = CausalModel::new(data.treatment.arms.clone(), features, bins, outcomes);
    Ok((model.of_dose(Some(dose.name.clone())), forests))
}
