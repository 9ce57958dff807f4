//! Training with an instrument: the same stages, by way of what the instrument moves.

use impactiq_data::{Dataset, Dose, Stream, Watch};

use super::report::{ArmCounts, TrainReport, Trained};
use crate::base::Inputs;
use crate::config::CheckedConfig;
use crate::error::CausalError;
use crate::health::{self, CheckReport};
use crate::instrument::{Chosen, WEAK_F, averages, plain_first_stage};
use crate::learners::{ForestReport, InstrumentTask, fit_instrument_effect};
use crate::model::{CausalModel, OutcomeModel};
use crate::nuisance::{self, InstrumentNuisances, OutOfFold};

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
    let held_out = config.holdout(data)?;
    let rows: Vec<u32> = (0..data.n_rows() as u32).filter(|&row| !held_out[row as usize]).collect();
    let centring = if rows.len() == data.n_rows() {
        nuisances
    } else {
        drop(nuisances);
        let part = data.subset(&rows);
        let of_part = Chosen::of(&part, &chosen.instrument_name)?;
        instrument_nuisances(config, &part, &of_part, watch)?.spread(&rows, data.n_rows())
    };
    let (model, forests) = learn(config, data, &chosen, &rows, &centring, watch)?;
    let counts = data.treatment.counts();
    let arms = data.treatment.arms.labels().iter().cloned().zip(counts.iter().map(|&n| n as u64)).collect();
    let dose = data.dose.as_ref().map(|dose| super::dose::summary(data, dose, &centring.treatment));
    let report = TrainReport {
        n_rows: data.n_rows() as u64,
        n_holdout: (data.n_rows() - rows.len()) as u64,
        arms: ArmCounts(arms),
        dose,
        instruments,
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
    let mean = if data.assignment == impactiq_data::Assignment::Observational {
        let folds = config.folds(data)?;
        nuisance::fit_dose_mean(data, &instrument, &folds, &config.config().nuisance, config.seed(), watch)?
    } else {
        OutOfFold::known(instrument.mean(data.weights.as_deref()), data.n_rows())
    };
    let report = health::check_dose(data, &instrument, &mean, &config.config().gates)?;
    Ok(report.with_first_stage(&chosen.instrument_name, &plain_first_stage(data, &chosen)?))
}

fn learn(
    config: &CheckedConfig,
    data: &Dataset,
    chosen: &Chosen,
    rows: &[u32],
    centring: &InstrumentNuisances,
    watch: &dyn Watch,
) -> Result<(CausalModel, Vec<ForestReport>), CausalError> {
    let features = data.features.names()[..data.n_modifiers].to_vec();
    let inputs = Inputs { binned: &data.features, raw: &data.raw, names: &features, arm: None };
    let ids = nuisance::sampling_ids(data);
    let seed = config.seed().stream(Stream::Learner);
    let total = data.outcomes.len() as u64;
    let (mut outcomes, mut forests) = (Vec::with_capacity(data.outcomes.len()), Vec::new());
    for (index, outcome) in data.outcomes.iter().enumerate() {
        watch.progress("learner", index as u64, total);
        let task = InstrumentTask {
            rows,
            name: &chosen.instrument_name,
            instrument: &chosen.instrument,
            treatment_name: &chosen.name,
            treatment: &chosen.treatment,
            outcome: &outcome.name,
            target: &outcome.values,
            weights: data.weights.as_deref(),
            row_ids: &ids,
            outcome_mean: &centring.outcome[index],
            treatment_mean: &centring.treatment,
            instrument_mean: &centring.instrument,
        };
        let fitted = fit_instrument_effect(&config.config().learner, &inputs, &task, seed.child(index as u64), watch)?;
        forests.extend(fitted.forests);
        outcomes.push(OutcomeModel { name: outcome.name.clone(), kind: outcome.kind, effect: fitted.effect });
    }
    watch.progress("learner", total, total);
    let bins = data.features.bins()[..data.n_modifiers].to_vec();
    let model = CausalModel::new(data.treatment.arms.clone(), features, bins, outcomes);
    Ok((model.of_dose(data.dose.as_ref().map(|dose| dose.name.clone())), forests))
}
