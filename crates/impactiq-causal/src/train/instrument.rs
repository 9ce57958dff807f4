//! Training with an instrument: the same stages, by way of what the instrument moves.

use std::borrow::Cow;

use impactiq_data::dose::{is_zero_one, weighted_mean};
use impactiq_data::{Dataset, Dose, OutcomeKind, Watch};

use super::outcomes::{Learned, Outcomes, learning_rows};
use super::report::{ArmCounts, TrainReport, Trained};
use super::two_stage::chosen;
use crate::base::Inputs;
use crate::config::CheckedConfig;
use crate::error::CausalError;
use crate::health::{self, CheckReport};
use crate::instrument::{Chosen, WEAK_F, averages, plain_first_stage};
use crate::learners::{InstrumentTask, LearnerKind, OfferTask, fit_instrument_effect, fit_offer_effect};
use crate::nuisance::{self, InstrumentNuisances};

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
    let two_stage = super::two_stage::reports(config, data)?;
    let dml = super::dml::estimate(config, data, watch)?;
    let report_nuisance = nuisances.report.clone();
    let dose = data.dose.as_ref().map(|dose| super::dose::summary(data, dose, &nuisances.treatment));
    let rows = learning_rows(config, data)?;
    let side = Side { config, data, chosen: &chosen, rows: &rows };
    let Learned { model, forests, linear, choices, tuning } = match config.config().learner.kind {
        LearnerKind::IntentToTreatDriv => side.offer(watch)?,
        _ => side.forests(nuisances, watch)?,
    };
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

/// What learners by instrument learn from.
struct Side<'a> {
    config: &'a CheckedConfig,
    data: &'a Dataset,
    chosen: &'a Chosen,
    /// Rows outside the hold-out.
    rows: &'a [u32],
}

impl Side<'_> {
    /// The instrumental forest of every outcome; `nuisances` are those of all rows.
    fn forests(&self, nuisances: InstrumentNuisances, watch: &dyn Watch) -> Result<Learned, CausalError> {
        let Side { config, data, chosen, rows } = *self;
        let centring = if rows.len() == data.n_rows() {
            nuisances
        } else {
            drop(nuisances);
            let part = data.subset(rows);
            let of_part = super::two_stage::chosen(config, &part)?;
            instrument_nuisances(config, &part, &of_part, watch)?.spread(rows, data.n_rows())
        };
        let outcomes = Outcomes::new(config, data);
        outcomes.learn(watch, |index| {
            let outcome = &data.outcomes[index];
            let task = InstrumentTask {
                rows,
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
        })
    }

    /// The linear effect of taking what was offered, on every outcome.
    fn offer(&self, watch: &dyn Watch) -> Result<Learned, CausalError> {
        let config = self.config;
        let whole = self.rows.len() == self.data.n_rows();
        let part = if whole { Cow::Borrowed(self.data) } else { Cow::Owned(self.data.subset(self.rows)) };
        let data = &*part;
        let chosen = chosen(config, data)?;
        if !is_zero_one(&chosen.instrument) {
            let allowed = "intent_to_treat_driv needs an offer of 0 and 1: choose instrumental_forest";
            return Err(CausalError::setting("roles.instrument", &chosen.instrument_name, allowed));
        }
        let folds = config.folds(data)?;
        let probability = chosen.design.unwrap_or_else(|| weighted_mean(&chosen.instrument, data.weights.as_deref()));
        let outcomes = Outcomes::new(config, data);
        let all = Inputs { names: data.features.names(), ..outcomes.inputs() };
        let taken_learner = super::dml::learner(config, (&chosen.name, &chosen.treatment), true, true)?;
        outcomes.learn(watch, |index| {
            let outcome = &data.outcomes[index];
            let binary = outcome.kind == OutcomeKind::Binary;
            let outcome_learner = super::dml::learner(config, (&outcome.name, &outcome.values), binary, false)?;
            let task = OfferTask {
                inputs: all,
                name: &chosen.instrument_name,
                offered: &chosen.instrument,
                probability,
                treatment_name: &chosen.name,
                taken: &chosen.treatment,
                outcome: &outcome.name,
                target: &outcome.values,
                weights: data.weights.as_deref(),
                clusters: data.clusters.as_deref(),
                row_ids: &outcomes.ids,
                folds: &folds,
                outcome_learner: &outcome_learner,
                taken_learner: &taken_learner,
            };
            fit_offer_effect(&config.config().learner, &outcomes.inputs(), &task, outcomes.seed(index), watch)
        })
    }
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
    watch.progress("nuisance", 0, 1);
    nuisance::fit_instrument_nuisances(data, &chosen.encouragement(), &folds, settings, config.seed(), watch)
}

/// Health of an experiment with an instrument: balance along it, and how strongly it pulls.
pub(super) fn check(config: &CheckedConfig, data: &Dataset, watch: &dyn Watch) -> Result<CheckReport, CausalError> {
    let chosen = chosen(config, data)?;
    let instrument = as_dose(&chosen);
    let mean = super::dose::mean(config, data, &instrument, watch)?;
    with_first_stage(config, data, health::check_dose(data, &instrument, &mean, &config.config().gates)?)
}

/// The same with how strongly the instrument pulls, where there is one.
pub(super) fn with_first_stage(
    config: &CheckedConfig,
    data: &Dataset,
    report: CheckReport,
) -> Result<CheckReport, CausalError> {
    if data.instrument.is_none() {
        return Ok(report);
    }
    let chosen = chosen(config, data)?;
    Ok(report.with_first_stage(&chosen.instrument_name, &plain_first_stage(data, &chosen)?))
}
