//! What an effect learner is given, and what it answers.

use impactiq_data::{Arms, Folds, OutcomeKind};

use super::config::LearnerConfig;
use crate::base::{BaseLearner, Inputs, Loss, Place, Target};
use crate::dml::DmlLearner;
use crate::error::CausalError;
use crate::nuisance::{OutOfFold, loss_of};

/// What an effect learner sees; vectors are indexed by row of the inputs.
#[derive(Clone, Copy)]
pub struct LearnerTask<'a> {
    /// Rows to learn from.
    pub rows: &'a [u32],
    /// Arm code of every row.
    pub codes: &'a [u8],
    /// The arms.
    pub arms: &'a Arms,
    /// The outcome's name, for messages.
    pub outcome: &'a str,
    /// The outcome's kind.
    pub kind: OutcomeKind,
    /// The outcome of every row.
    pub target: &'a [f64],
    /// The weight of every row.
    pub weights: Option<&'a [f64]>,
    /// What sampling keeps together: a row number, or a cluster.
    pub row_ids: &'a [u64],
    /// The cluster of every row, where rows come in clusters: then `row_ids` are these.
    pub clusters: Option<&'a [u32]>,
    /// Nuisances of the outcome and the arms; for all kinds but s and t.
    pub nuisances: Option<&'a LearnerNuisances>,
}

/// What a learner sees of an instrument; vectors are indexed by row of the inputs.
#[derive(Clone, Copy)]
pub struct InstrumentTask<'a> {
    /// Rows to learn from.
    pub rows: &'a [u32],
    /// The instrument's column, for messages.
    pub name: &'a str,
    /// The instrument of every row.
    pub instrument: &'a [f64],
    /// The treatment's column or arm, for reports.
    pub treatment_name: &'a str,
    /// The treatment of every row, 0/1 or a dose.
    pub treatment: &'a [f64],
    /// The outcome's name.
    pub outcome: &'a str,
    /// The outcome of every row.
    pub target: &'a [f64],
    /// The weight of every row.
    pub weights: Option<&'a [f64]>,
    /// What sampling keeps together: a row number, or a cluster.
    pub row_ids: &'a [u64],
    /// Means given features; rows that do not learn are never looked at.
    pub outcome_mean: &'a OutOfFold,
    /// Of the treatment.
    pub treatment_mean: &'a OutOfFold,
    /// Of the instrument.
    pub instrument_mean: &'a OutOfFold,
}

/// What a learner sees of an offer that was made by chance and not always taken; all rows of the
/// inputs learn.
#[derive(Clone, Copy)]
pub struct OfferTask<'a> {
    /// Features and controls, for nuisances.
    pub inputs: Inputs<'a>,
    /// The offer's column, for messages.
    pub name: &'a str,
    /// Whether it was offered, 0 or 1.
    pub offered: &'a [f64],
    /// Probability of the offer.
    pub probability: f64,
    /// The treatment's arm, for reports.
    pub treatment_name: &'a str,
    /// Whether the treatment was taken, 0 or 1.
    pub taken: &'a [f64],
    /// The outcome's name.
    pub outcome: &'a str,
    /// The outcome of every row.
    pub target: &'a [f64],
    /// The weight of every row.
    pub weights: Option<&'a [f64]>,
    /// The cluster of every row.
    pub clusters: Option<&'a [u32]>,
    /// What sampling keeps together: a row number, or a cluster.
    pub row_ids: &'a [u64],
    /// Folds of the nuisances.
    pub folds: &'a Folds,
    /// What learns the outcome's mean.
    pub outcome_learner: &'a DmlLearner,
    /// What learns the probability of taking.
    pub taken_learner: &'a DmlLearner,
}

/// What a learner sees of a dose; vectors are indexed by row of the inputs.
#[derive(Clone, Copy)]
pub struct DoseTask<'a> {
    /// Rows to learn from.
    pub rows: &'a [u32],
    /// The dose's column, for messages and reports.
    pub name: &'a str,
    /// The dose of every row.
    pub dose: &'a [f64],
    /// The outcome's name.
    pub outcome: &'a str,
    /// The outcome of every row.
    pub target: &'a [f64],
    /// The weight of every row.
    pub weights: Option<&'a [f64]>,
    /// What sampling keeps together: a row number, or a cluster.
    pub row_ids: &'a [u64],
    /// The outcome's mean given features; rows that do not learn are never looked at.
    pub outcome_mean: &'a OutOfFold,
    /// The dose's mean given features.
    pub dose_mean: &'a OutOfFold,
}

/// What most learners need beside their rows: nuisances whose values no row's own outcome had a
/// hand in, indexed by row of the inputs; rows that do not learn are never looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnerNuisances {
    /// Per arm: the outcome's mean given features.
    pub means: Vec<OutOfFold>,
    /// Per arm: its probability given features.
    pub propensity: Vec<OutOfFold>,
    /// Whether the probabilities come from the design, not from assignments and features.
    pub declared: bool,
    /// Per contrast: the outcome's mean given features among the arm and the control, whatever
    /// the arm; empty for learners that compose it of `means`.
    pub pooled: Vec<OutOfFold>,
    /// The fold of every row, for learners that are chosen or recalibrated; else empty.
    pub folds: Vec<u8>,
}

/// What an effect model says about rows; one vector of n per contrast or arm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// Effect per arm but the control.
    pub cate: Vec<Vec<f64>>,
    /// Mean per arm, the control first; empty where the learner knows effects alone.
    pub mean: Vec<Vec<f64>>,
    /// Lower ends of row intervals per contrast; empty where there are none, NaN for rows
    /// without one.
    pub lower: Vec<Vec<f64>>,
    /// Upper ends.
    pub upper: Vec<Vec<f64>>,
}

impl LearnerTask<'_> {
    /// The loss that suits the outcome.
    pub(super) fn loss(&self) -> Loss {
        loss_of(self.kind)
    }

    /// The base learner for one part of the rows.
    pub(super) fn base_learner(&self, config: &LearnerConfig, place: Place, rows: &[u32]) -> BaseLearner {
        let sum: f64 = rows.iter().map(|&row| self.target[row as usize]).sum();
        let mean = sum / rows.len().max(1) as f64;
        config.settings().learner(config.base, place, Target { loss: self.loss(), n_rows: rows.len(), mean })
    }

    /// The rows of one arm.
    pub(super) fn arm_rows(&self, arm: usize) -> Result<Vec<u32>, CausalError> {
        let rows: Vec<u32> =
            self.rows.iter().copied().filter(|&row| usize::from(self.codes[row as usize]) == arm).collect();
        if rows.len() < 2 {
            return Err(CausalError::TooFewRows {
                what: format!("arm '{}' outside the hold-out", self.arms.labels()[arm]),
                found: rows.len(),
                needed: 2,
            });
        }
        Ok(rows)
    }
}
