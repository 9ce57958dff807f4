//! One effect model per outcome, from the rows outside the hold-out, whatever the treatment is.
//! What a treatment's learners are told of these rows is the business of its own file.

use impactiq_data::{Dataset, Seed, Stream, Watch};

use crate::base::{Inputs, TuneReport};
use crate::config::CheckedConfig;
use crate::error::CausalError;
use crate::learners::{ChoiceReport, Fitted, ForestReport, LinearReport};
use crate::model::{CausalModel, OutcomeModel};
use crate::nuisance;

/// A model and what the report says of how it came about.
pub(super) struct Learned {
    pub model: CausalModel,
    pub forests: Vec<ForestReport>,
    pub linear: Vec<LinearReport>,
    pub choices: Vec<ChoiceReport>,
    pub tuning: Vec<TuneReport>,
}

/// Numbers of the rows outside the hold-out.
pub(super) fn learning_rows(config: &CheckedConfig, data: &Dataset) -> Result<Vec<u32>, CausalError> {
    let held_out = config.holdout(data)?;
    Ok((0..data.n_rows() as u32).filter(|&row| !held_out[row as usize]).collect())
}

/// What the learners of all outcomes see alike.
pub(super) struct Outcomes<'a> {
    data: &'a Dataset,
    features: Vec<String>,
    /// What sampling keeps together, by row.
    pub ids: Vec<u64>,
    seed: Seed,
}

impl<'a> Outcomes<'a> {
    pub fn new(config: &CheckedConfig, data: &'a Dataset) -> Self {
        let features = data.features.names()[..data.n_modifiers].to_vec();
        let seed = config.seed().stream(Stream::Learner);
        Outcomes { data, features, ids: nuisance::sampling_ids(data), seed }
    }

    pub fn inputs(&self) -> Inputs<'_> {
        Inputs { binned: &self.data.features, raw: &self.data.raw, names: &self.features, arm: None }
    }

    /// The seed of an outcome's learner.
    pub fn seed(&self, outcome: usize) -> Seed {
        self.seed.child(outcome as u64)
    }

    /// The model of all outcomes; `fit` learns the effect on the outcome of a number.
    pub fn learn(
        &self,
        watch: &dyn Watch,
        fit: impl Fn(usize) -> Result<Fitted, CausalError>,
    ) -> Result<Learned, CausalError> {
        let data = self.data;
        let total = data.outcomes.len() as u64;
        let mut outcomes = Vec::with_capacity(data.outcomes.len());
        let (mut forests, mut linear, mut choices, mut tuning) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (index, outcome) in data.outcomes.iter().enumerate() {
            watch.progress("learner", index as u64, total);
            let fitted = fit(index)?;
            forests.extend(fitted.forests);
            linear.extend(fitted.linear);
            choices.extend(fitted.choice);
            tuning.extend(fitted.tuned);
            outcomes.push(OutcomeModel { name: outcome.name.clone(), kind: outcome.kind, effect: fitted.effect });
        }
        watch.progress("learner", total, total);
        let bins = data.features.bins()[..data.n_modifiers].to_vec();
        let model = CausalModel::new(data.treatment.arms.clone(), self.features.clone(), bins, outcomes);
        let model = model.of_dose(data.dose.as_ref().map(|dose| dose.name.clone()));
        Ok(Learned { model, forests, linear, choices, tuning })
    }
}
