//! Training with an instrument: the same stages, by way of what the instrument moves.

use impactiq_data::{Dataset, Dose, Watch};

use super::outcomes::{Learned, Outcomes, learning_rows};
use super::report::{ArmCounts, TrainReport, Trained};
use crate::config::CheckedConfig;
use crate::error::CausalError;
use crate::health::{self, CheckReport};
use crate::instrument::{Chosen, WEAK_F, averages, plain_first_stage};
use crate::learners::{InstrumentTask, fit_instrument_effect};
use crate::nuisance::{self, InstrumentNuisances};

/// Treatment and instrument of the data.
pub(crate) fn chosen(config: &CheckedConfig, data: &Dataset) -> Result<Chosen, CausalError> {
    Chosen::of(data, config.roles().instrument.as_deref().unwrap_or_default())
}

/// The instrument as an amount along which features are balanced where chance dealt it out.
fn as_dose(chosen: &Chosen) -> Dose {
    Dose { name: chosen.instrument_name.clone(), values: chosen.instrument.clone() }
}

/// Guard → nuisances and averages on all rows → learner outside the hold-out.
pub(super) fn train(config: &CheckedConfig, data: &Dataset, watch: &dyn Watch) -> Result<Trained, CausalError> {
    let chosen = chosen(config, data)?;
    watch.progress("guard", 0, 1);
    let balance = health::guard_dose(data, &as_dose(&chosen))?;
    watch.progress("guard", 1, 1);
    let nuisances = instrument_nuisances(config, data, &chosen, watch)?;
    watch.progress("averages", 0, 1);
    let (contrasts, instruments) = averages(data, &chosen, &nuisances)?;
    let mut warnings = health::dose_warnings(data, &as_dose(&chosen), &balance, &nuisances.instrument);
    warnings.extend(instruments.first().filter(|report| report.first_stage.f.statistic < WEAK_F).map(|report| {
        health::Warning::WeakInstrument { instrument: report.instrument.clone(), f: report.first_stage.f.statistic }
    }));
    watch.progress("averages", 1, 1);
    let report_nuisance = nuisances.report.clone();
    let rows = learning_rows(config, data)?;
    let centring = if rows.len() == data.n_rows() {
        nuisances
    } else {
        drop(nuisances);
        let part = data.subset(&rows);
        let of_part = Chosen::of(&part, &chosen.instrument_name)?;
        instrument_nuisances(config, &part, &of_part, watch)?.spread(&rows, data.n_rows())
    };
    let outcomes = Outcomes::new(config, data);
    let Learned { model, forests, linear, choices, tuning } = outcomes.learn(watch, |index| {
        let outcome = &data.outcomes[index];
        let task = InstrumentTask {
            rows: &rows,
            name: &chosen.instrument_name,
            instrument: &chosen.instrument,
            treatment_name: &chosen.name,
            treatment: &chosen.treatment,
            outcome: &outcome.name,
            target: &outcome.values,
            weights: data.weights.as_deref(),
            row_ids: &outcomes.ids,
            outcome_mean: &centring.outcome[index],
            treatment_mean: &centring.treatment,
            instrument_mean: &centring.instrument,
        };
        fit_instrument_effect(&config.config().learner, &outcomes.inputs(), &task, outcomes.seed(index), watch)
    })?;
    let dose = data.dose.as_ref().map(|dose| super::dose::summary(data, dose, &centring.treatment));
    let report = TrainReport {
        n_rows: data.n_rows() as u64,
        n_holdout: (data.n_rows() - rows.len()) as u64,
        arms: ArmCounts::of(&data.treatment),
        dose,
        instruments,
        contrasts,
        nuisance: report_nuisance,
        overlap: Vec::new(),
        weighted_balance: Vec::new(),
        forests,
        linear,
        choices,
        tuning,
        warnings,
    };
    Ok(Trained { model, report })
}

/// Out-of-fold nuisances over all rows of a data set.
pub(crate) fn instrument_nuisances(
    config: &CheckedConfig,
    data: &Dataset,
    chosen: &Chosen,
    watch: &dyn Watch,
) -> Result<InstrumentNuisances, CausalError> {
    let folds = config.folds(data)?;
    let settings = &config.config().nuisance;
    nuisance::fit_instrument_nuisances(data, &chosen.encouragement(), &folds, settings, config.seed(), watch)
}

/// Health of an experiment with an instrument: balance along it, and how strongly it pulls.
pub(super) fn check(config: &CheckedConfig, data: &Dataset, watch: &dyn Watch) -> Result<CheckReport, CausalError> {
    let chosen = chosen(config, data)?;
    let instrument = as_dose(&chosen);
    let mean = super::dose::mean(config, data, &instrument, watch)?;
    let report = health::check_dose(data, &instrument, &mean, &config.config().gates)?;
    Ok(report.with_first_stage(&chosen.instrument_name, &plain_first_stage(data, &chosen)?))
}
