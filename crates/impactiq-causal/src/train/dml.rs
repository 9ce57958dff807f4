//! Double machine learning as a config asks for it: which rows, which learners, which folds.

use std::borrow::Cow;

use impactiq_data::dose::{is_zero_one, weighted_mean};
use impactiq_data::folds::Split;
use impactiq_data::{Assignment, Dataset, Folds, OutcomeKind, Stream, Watch};
use serde::{Deserialize, Serialize};

use crate::base::{BaseKind, Inputs, Loss, Place, Target};
use crate::config::{AssignmentKind, CheckedConfig};
use crate::dml::{self, DmlEstimate, DmlKind, DmlLearner, DmlLearners, DmlRows};
use crate::error::CausalError;
use crate::nuisance::{self, OutOfFold};

/// The seed's child of these fits, away from those of the run's nuisances.
const SEED: u64 = 1 << 41;

/// The answer of one model about one outcome and arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DmlReport {
    /// The outcome.
    pub outcome: String,
    /// The arm compared with the control, or the dose.
    pub arm: String,
    /// The model.
    pub model: DmlKind,
    /// Rows of arm and control.
    pub n_rows: u64,
    /// Folds of each repetition.
    pub n_folds: u64,
    /// Whether the mean of the treatment (pliv and iivm: of the instrument) is the design's and not learned.
    pub design: bool,
    /// The answer.
    #[serde(flatten)]
    pub fit: DmlEstimate,
}

/// All models of a config: by outcome, by arm, by model.
///
/// # Errors
/// What the models and their nuisances find; [`CausalError::NotBinary`] for logistic nuisances of
/// numbers that are not 0/1.
pub(super) fn estimate(
    config: &CheckedConfig,
    data: &Dataset,
    watch: &dyn Watch,
) -> Result<Vec<DmlReport>, CausalError> {
    let models = &config.config().dml.models;
    let mut reports = Vec::new();
    if models.is_empty() {
        return Ok(reports);
    }
    let contrasts = contrasts(config, data)?;
    for outcome in 0..data.outcomes.len() {
        for contrast in &contrasts {
            for &kind in models {
                if watch.should_stop() {
                    return Err(CausalError::Stopped);
                }
                reports.push(contrast.report(outcome, kind, watch)?);
            }
        }
    }
    Ok(reports)
}

/// The rows of one arm and the control, or all rows of a dose.
struct Contrast<'a> {
    config: &'a CheckedConfig,
    data: Cow<'a, Dataset>,
    name: String,
    treatment: Vec<f64>,
    ids: Vec<u64>,
}

fn contrasts<'a>(config: &'a CheckedConfig, data: &'a Dataset) -> Result<Vec<Contrast<'a>>, CausalError> {
    let of = |data: Cow<'a, Dataset>, name: &str, treatment: Vec<f64>| Contrast {
        config,
        ids: nuisance::sampling_ids(&data),
        data,
        name: name.to_owned(),
        treatment,
    };
    if let Some(dose) = &data.dose {
        return Ok(vec![of(Cow::Borrowed(data), &dose.name, dose.values.clone())]);
    }
    let labels = data.treatment.arms.labels();
    let one = |arm: usize| {
        let part = if labels.len() == 2 {
            Cow::Borrowed(data)
        } else {
            let rows = (0..data.n_rows() as u32).filter(|&row| {
                let code = usize::from(data.treatment.codes[row as usize]);
                code == 0 || code == arm
            });
            Cow::Owned(data.subset(&rows.collect::<Vec<_>>()))
        };
        let treatment = part.treatment.codes.iter().map(|&code| f64::from(u8::from(usize::from(code) == arm)));
        let treatment = treatment.collect();
        of(part, &labels[arm], treatment)
    };
    Ok((1..labels.len()).map(one).collect())
}

/// Rows of the smaller side of a 0/1 treatment: interactive models learn outcomes there alone.
fn smaller_side(treatment: &[f64]) -> usize {
    let treated = treatment.iter().filter(|&&t| t == 1.0).count();
    treated.min(treatment.len() - treated)
}

/// What learns the mean of some numbers by the config's nuisances; `probability`: of a treatment or
/// an offer.
pub(super) fn learner(
    config: &CheckedConfig,
    (name, values): (&str, &[f64]),
    binary: bool,
    probability: bool,
) -> Result<DmlLearner, CausalError> {
    learner_of(config, (name, values, values.len()), binary, probability)
}

fn learner_of(
    config: &CheckedConfig,
    (name, values, n_rows): (&str, &[f64], usize),
    binary: bool,
    probability: bool,
) -> Result<DmlLearner, CausalError> {
    let nuisance = &config.config().nuisance;
    let loss = if binary { Loss::Logistic } else { Loss::Squared };
    if nuisance.kind == BaseKind::Logistic && !binary {
        return Err(CausalError::NotBinary { key: "nuisance.kind", column: name.to_owned() });
    }
    let target = Target { loss, n_rows, mean: weighted_mean(values, None) };
    let settings = nuisance.settings();
    let is_observational = config.config().assignment.kind == AssignmentKind::Observational;
    let is_propensity = probability && binary;
    let place = if is_propensity && is_observational { Place::Assignment } else { Place::nuisance(is_observational) };
    let base = match is_propensity {
        true => settings.propensity_learner(nuisance.kind, place, target),
        false => settings.learner(nuisance.kind, place, target),
    };
    Ok(DmlLearner { base, loss, candidates: nuisance.candidates(place, target) })
}

impl Contrast<'_> {
    fn report(&self, outcome: usize, kind: DmlKind, watch: &dyn Watch) -> Result<DmlReport, CausalError> {
        let data = &*self.data;
        let settings = &self.config.config().dml;
        let design = self.design(kind)?;
        let rows = DmlRows {
            inputs: Inputs { binned: &data.features, raw: &data.raw, names: data.features.names(), arm: None },
            outcome: &data.outcomes[outcome].values,
            treatment: &self.treatment,
            instrument: data.instrument.as_deref(),
            weights: data.weights.as_deref(),
            clusters: data.clusters.as_deref(),
            row_ids: &self.ids,
            design: design.as_ref(),
        };
        let folds = self.folds(kind, settings.repetitions)?;
        let seed = self.config.seed().stream(Stream::Nuisance).child(SEED + outcome as u64);
        let fit =
            dml::estimate(kind.model(), &rows, &self.learners(outcome, kind)?, &folds, (settings.clip, seed), watch)?;
        Ok(DmlReport {
            outcome: data.outcomes[outcome].name.clone(),
            arm: self.name.clone(),
            model: kind,
            n_rows: data.n_rows() as u64,
            n_folds: folds[0].n_folds() as u64,
            design: design.is_some(),
            fit,
        })
    }

    /// What the design fixes: with an instrument it was that which chance dealt out.
    fn design(&self, kind: DmlKind) -> Result<Option<OutOfFold>, CausalError> {
        let data = &*self.data;
        let n = data.n_rows();
        let mean = |values: &[f64]| OutOfFold::same(weighted_mean(values, data.weights.as_deref()), n);
        if data.assignment == Assignment::Observational {
            return Ok(None);
        }
        if let Some(instrument) = &data.instrument {
            let declared = self.config.offer_probability().map(|p| OutOfFold::same(p, n));
            return Ok(kind.needs_instrument().then(|| declared.unwrap_or_else(|| mean(instrument))));
        }
        if data.dose.is_some() {
            return Ok(Some(mean(&self.treatment)));
        }
        let arm = data.treatment.arms.code(&self.name).map_or(1, usize::from);
        Ok(nuisance::declared_propensity(data).map(|of_arms| of_arms[arm].share_with(&of_arms[0])))
    }

    fn learners(&self, outcome: usize, kind: DmlKind) -> Result<DmlLearners, CausalError> {
        let data = &*self.data;
        let of_outcome = &data.outcomes[outcome];
        // The IV-type score learns Y − θD, which is no 0/1 number.
        let binary = of_outcome.kind == OutcomeKind::Binary && kind != DmlKind::PlrIvType;
        let roles = self.config.roles();
        let instrument = data.instrument.as_deref().unwrap_or(&self.treatment);
        let name = roles.instrument.as_deref().unwrap_or(&self.name);
        let n_rows = if kind.needs_arms() { smaller_side(&self.treatment) } else { self.treatment.len() };
        let of = |name: &str, values: &[f64], binary: bool, probability: bool| {
            learner_of(self.config, (name, values, n_rows), binary, probability)
        };
        Ok(DmlLearners {
            outcome: of(&of_outcome.name, &of_outcome.values, binary, false)?,
            treatment: of(&self.name, &self.treatment, is_zero_one(&self.treatment), true)?,
            instrument: of(name, instrument, is_zero_one(instrument), true)?,
        })
    }

    /// The run's own folds first, then others; stratified by a 0/1 instrument too where outcomes are
    /// learned on its sides.
    fn folds(&self, kind: DmlKind, repetitions: u32) -> Result<Vec<Folds>, CausalError> {
        let data = &*self.data;
        if data.fixed_folds.is_some() {
            return Ok(vec![self.config.folds(data)?]);
        }
        let mut strata = data.strata();
        if let Some(instrument) = data.instrument.as_ref().filter(|z| kind.needs_instrument() && is_zero_one(z)) {
            strata.iter_mut().zip(instrument).for_each(|(stratum, &z)| *stratum = 2 * *stratum + u32::from(z == 1.0));
        }
        let split = Split { row_ids: &data.row_ids, strata: Some(&strata), clusters: data.clusters.as_deref() };
        let n_folds = self.config.config().nuisance.folds;
        (0..u64::from(repetitions))
            .map(|repetition| {
                let seed = self.config.seed();
                let seed = if repetition == 0 { seed } else { seed.child(SEED + repetition) };
                Ok(Folds::assign(split, n_folds, seed)?)
            })
            .collect()
    }
}
