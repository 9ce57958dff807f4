//! What a double machine learning model is asked, sees and answers.

use impactiq_metrics::{Estimate, MetricsError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::score::ScoreRows;
use crate::base::{BaseLearner, Candidates, Inputs, Loss, TuneReport};
use crate::error::CausalError;
use crate::nuisance::{NuisanceLoss, OutOfFold};

/// Learned probabilities are kept this far from 0 and 1.
pub const CLIP: f64 = 0.01;

/// How the score of a partially linear model uses the treatment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartialScore {
    /// (Y − ℓ(X) − θ(D − m(X)))·(D − m(X)), Robinson's (1988).
    #[default]
    PartiallingOut,
    /// (Y − θD − g(X))·(D − m(X)): g is learned from Y − θ̃D, θ̃ the partialling-out answer.
    IvType,
}

/// Whose average effect an interactive model answers for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DmlEstimand {
    /// Everybody.
    #[default]
    Ate,
    /// The treated.
    Atte,
}

/// A model of DoubleML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DmlModel {
    /// Partially linear regression: one effect of a treatment or dose for everybody.
    Plr(PartialScore),
    /// Interactive regression: average effect of a 0/1 treatment, effects may differ.
    Irm(DmlEstimand),
    /// Partially linear with an instrument.
    Pliv,
    /// Interactive with a 0/1 instrument of a 0/1 treatment: the effect on compliers.
    Iivm,
}

/// A model as configs and reports name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DmlKind {
    /// Partially linear, partialling-out score.
    Plr,
    /// Partially linear, IV-type score.
    PlrIvType,
    /// Interactive, average over everybody.
    Irm,
    /// Interactive, average over the treated.
    IrmAtte,
    /// Partially linear with an instrument.
    Pliv,
    /// Interactive with a 0/1 instrument: compliers.
    Iivm,
}

impl DmlKind {
    /// The name as configs and reports write it.
    pub fn name(self) -> &'static str {
        match self {
            DmlKind::Plr => "plr",
            DmlKind::PlrIvType => "plr_iv_type",
            DmlKind::Irm => "irm",
            DmlKind::IrmAtte => "irm_atte",
            DmlKind::Pliv => "pliv",
            DmlKind::Iivm => "iivm",
        }
    }

    /// The model.
    pub fn model(self) -> DmlModel {
        match self {
            DmlKind::Plr => DmlModel::Plr(PartialScore::PartiallingOut),
            DmlKind::PlrIvType => DmlModel::Plr(PartialScore::IvType),
            DmlKind::Irm => DmlModel::Irm(DmlEstimand::Ate),
            DmlKind::IrmAtte => DmlModel::Irm(DmlEstimand::Atte),
            DmlKind::Pliv => DmlModel::Pliv,
            DmlKind::Iivm => DmlModel::Iivm,
        }
    }

    /// Whether it needs an instrument.
    pub fn needs_instrument(self) -> bool {
        matches!(self, DmlKind::Pliv | DmlKind::Iivm)
    }

    /// Whether the treatment must be 0/1.
    pub fn needs_arms(self) -> bool {
        matches!(self, DmlKind::Irm | DmlKind::IrmAtte | DmlKind::Iivm)
    }
}

/// What learns a nuisance.
#[derive(Clone, Debug, PartialEq)]
pub struct DmlLearner {
    /// The base learner.
    pub base: BaseLearner,
    /// The loss; logistic only for 0/1 targets.
    pub loss: Loss,
    /// Learners to choose from, in every training part anew; then `base` is not asked.
    pub candidates: Option<Candidates>,
}

impl DmlLearner {
    /// A learner with settings of its own: nothing to choose.
    pub fn fixed(base: BaseLearner, loss: Loss) -> Self {
        DmlLearner { base, loss, candidates: None }
    }
}

/// One learner for outcomes, one for treatments and instruments.
#[derive(Clone, Debug, PartialEq)]
pub struct DmlLearners {
    /// E[Y | ·].
    pub outcome: DmlLearner,
    /// E[D | ·]; of a 0/1 treatment: its probability.
    pub treatment: DmlLearner,
    /// E[Z | ·]; of a 0/1 instrument: its probability. Used by pliv and iivm.
    pub instrument: DmlLearner,
}

/// Rows of a double machine learning model; vectors are indexed by row of the inputs.
#[derive(Clone, Copy)]
pub struct DmlRows<'a> {
    /// Features and controls.
    pub inputs: Inputs<'a>,
    /// Outcome, n finite values.
    pub outcome: &'a [f64],
    /// Treatment or dose, n finite values; 0/1 for interactive models.
    pub treatment: &'a [f64],
    /// Instrument, for pliv and iivm (0/1).
    pub instrument: Option<&'a [f64]>,
    /// Weight per row.
    pub weights: Option<&'a [f64]>,
    /// Cluster per row: errors are by cluster. Folds should not split them.
    pub clusters: Option<&'a [u32]>,
    /// What sampling keeps together: a row number, or a cluster.
    pub row_ids: &'a [u64],
    /// E[D | X] (of pliv and iivm E[Z | X]) where the design fixes it: used as it is, neither
    /// learned nor clipped.
    pub design: Option<&'a OutOfFold>,
}

/// An answer and what it was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DmlEstimate {
    /// The median over repetitions.
    pub estimate: Estimate,
    /// One answer per repetition of the folds.
    pub repetitions: Vec<Estimate>,
    /// Out-of-fold losses of the first repetition's nuisances, by name.
    pub nuisances: Vec<NamedLoss>,
    /// Rows whose learned probability was moved to the limit, in the first repetition.
    pub n_clipped: u64,
    /// What the first repetition tried for each nuisance, where settings were to be chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tuning: Vec<TuneReport>,
}

/// The loss of one nuisance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedLoss {
    /// DoubleML's name: `ml_l`, `ml_m`, `ml_g0`, `ml_g1`, `ml_r`, `ml_r0`, `ml_r1`, `ml_g`.
    pub name: String,
    /// Its loss.
    #[serde(flatten)]
    pub loss: NuisanceLoss,
}

impl DmlRows<'_> {
    pub(super) fn score_rows(&self) -> ScoreRows<'_> {
        ScoreRows { weights: self.weights, clusters: self.clusters }
    }

    pub(super) fn check(&self, model: DmlModel) -> Result<(), CausalError> {
        let n = self.inputs.n_rows();
        let interactive = matches!(model, DmlModel::Irm(_) | DmlModel::Iivm);
        column("outcome", self.outcome, n, false)?;
        column("treatment", self.treatment, n, interactive)?;
        if matches!(model, DmlModel::Pliv | DmlModel::Iivm) {
            let Some(instrument) = self.instrument else {
                return Err(CausalError::MissingRole { role: "instrument", needed_by: "pliv and iivm" });
            };
            column("instrument", instrument, n, interactive)?;
            varies("the instrument", instrument)?;
        }
        varies("the treatment", self.treatment)?;
        match self.design {
            Some(design) if design.n_rows() != n => {
                Err(MetricsError::Length { what: "design", expected: n, found: design.n_rows() }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Checks one column of numbers: n of them, finite, 0/1 where asked.
fn column(what: &'static str, values: &[f64], n: usize, zero_one: bool) -> Result<(), MetricsError> {
    if values.len() != n {
        return Err(MetricsError::Length { what, expected: n, found: values.len() });
    }
    let good = |v: f64| if zero_one { v == 0.0 || v == 1.0 } else { v.is_finite() };
    match values.iter().position(|&v| !good(v)) {
        None => Ok(()),
        Some(row) => Err(MetricsError::BadValue {
            what,
            row,
            value: values[row],
            allowed: if zero_one { "it must be 0 or 1" } else { "it must be a finite number" },
        }),
    }
}

/// Checks that a column has two values at least.
pub(crate) fn varies(what: &str, values: &[f64]) -> Result<(), CausalError> {
    match values.first() {
        Some(first) if values.iter().any(|v| v != first) => Ok(()),
        _ => Err(CausalError::NoVariation { what: what.to_owned() }),
    }
}
