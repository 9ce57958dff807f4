//! Effect learners: from rows to the effect of each arm given features.
//!
//! The S- and T-learner predict each arm's mean; an effect is the difference of two of them, so
//! `mean_t − mean_c = cate` holds to the last bit, as it does for uplift trees and forests. The causal forest knows effects alone, with
//! row-level intervals; so do the regressions of pseudo-outcomes, without intervals. What must not live here: hold-outs, averages over a data set.

mod blend;
mod causal_forest;
mod choose;
mod config;
mod direct;
mod final_stage;
mod forest_dr;
mod held_out;
mod interactions;
mod keys;
mod pseudo;
mod s;
mod t;
mod task;
mod tune;
mod uplift;
mod x;

use impactiq_data::{Arms, DataError, Seed, Watch};

pub use blend::{Blend, Curve};
pub use causal_forest::{
    Candidate, Coefficient, ContrastRows, ForestAverages, ForestCalibration, ForestModel, ForestReport, LinearPart,
    MAX_JOINT, Whom, best_linear_projection, calibration_test, effect_scores, forest_average, forest_averages,
};
pub use choose::{CandidateScore, ChoiceReport, ContrastChoice};
pub use config::{LearnerConfig, LearnerKind, Recalibration};
pub use direct::DirectModel;
pub use final_stage::{FoundProduct, InteractionReport, LinearContrast, LinearReport, LinearStage, Term};
pub use forest_dr::ScoreForests;
pub use interactions::Interactions;
pub use s::SModel;
pub use t::TModel;
pub use task::{DoseTask, Effects, InstrumentTask, LearnerNuisances, LearnerTask, OfferTask};
pub use uplift::{UpliftForestModel, UpliftTreeModel, n_groups};
pub use x::{XContrast, XModel};

use crate::base::{BaseKind, Inputs, Loss, TuneReport};
use crate::error::CausalError;
use crate::nuisance::loss_of;

/// A learned effect of each arm on one outcome.
#[derive(Clone, Debug, PartialEq)]
pub enum EffectModel {
    /// S-learner.
    S(SModel),
    /// T-learner.
    T(TModel),
    /// Causal forest.
    CausalForest(ForestModel),
    /// Forest of the effect by way of an instrument.
    InstrumentalForest(ForestModel),
    /// Forests of doubly robust scores.
    ForestDr(ScoreForests),
    /// X-learner.
    X(XModel),
    /// A regression of pseudo-outcomes: r, dr, nonparam_dml, transformed_outcome,
    /// class_transformation.
    Direct(DirectModel),
    /// A linear final stage: linear_dml, linear_dr, intent_to_treat_driv.
    Linear(LearnerKind, LinearStage),
    /// Uplift forest.
    UpliftForest(UpliftForestModel),
    /// Uplift tree.
    UpliftTree(UpliftTreeModel),
    /// Learners whose answers become one: auto, and what is recalibrated.
    Blended(BlendedModel),
}

/// Some learners and how their answers become one.
#[derive(Clone, Debug, PartialEq)]
pub struct BlendedModel {
    /// `auto`, or the learner that is recalibrated.
    pub kind: LearnerKind,
    /// Learners with a say; none where one effect for everybody was best.
    pub members: Vec<EffectModel>,
    /// By contrast.
    pub blends: Vec<Blend>,
}

/// A learned effect, and what the train report says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The effect.
    pub effect: EffectModel,
    /// One entry per forest; empty for other learners.
    pub forests: Vec<ForestReport>,
    /// One entry per contrast of a linear final stage; empty for other learners.
    pub linear: Vec<LinearReport>,
    /// What was chosen on held-out rows, if anything was.
    pub choice: Option<ChoiceReport>,
    /// What was tried, where settings were to be chosen.
    pub tuned: Vec<TuneReport>,
}

impl Fitted {
    /// An effect of which there is no more to say.
    fn of(effect: EffectModel) -> Self {
        Fitted { effect, forests: Vec::new(), linear: Vec::new(), choice: None, tuned: Vec::new() }
    }
}

/// Learns the effect of each arm on one outcome from the rows of a task.
///
/// # Errors
/// [`CausalError::NotBinary`] for a logistic learner of another outcome,
/// [`CausalError::BinaryOnly`] for a class transformation of one,
/// [`CausalError::TooFewRows`] for an arm without rows, and what base learners find.
pub fn fit_effect(
    config: &LearnerConfig,
    inputs: &Inputs<'_>,
    task: &LearnerTask<'_>,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<Fitted, CausalError> {
    if config.base == BaseKind::Logistic && loss_of(task.kind) != Loss::Logistic {
        return Err(CausalError::NotBinary { key: "learner.base", column: task.outcome.to_owned() });
    }
    if let Some(budget) = config.budget() {
        let ask = |learner: &LearnerConfig, training: &[u32], asked: &[u32], fold: u64| {
            held_out_answer(learner, inputs, task, (training, asked, fold), (seed, watch))
        };
        let (chosen, report) = tune::tune(config, budget, task, &ask, watch)?;
        let fitted = fit_effect(&chosen, inputs, task, seed, watch)?;
        return Ok(Fitted { tuned: vec![report], ..fitted });
    }
    if config.is_judged() {
        return fit_blended(config, inputs, task, seed, watch);
    }
    let effect = match config.kind {
        LearnerKind::S => EffectModel::S(SModel::fit(config, inputs, task, seed, watch)?),
        LearnerKind::T => EffectModel::T(TModel::fit(config, inputs, task, seed, watch)?),
        LearnerKind::UpliftForest => {
            EffectModel::UpliftForest(UpliftForestModel::fit(config, inputs, task, seed, watch)?)
        }
        LearnerKind::UpliftTree => EffectModel::UpliftTree(UpliftTreeModel::fit(config, inputs, task, seed, watch)?),
        LearnerKind::CausalForest => {
            let (model, forests) = ForestModel::fit(config, inputs, task, seed, watch)?;
            return Ok(Fitted { forests, ..Fitted::of(EffectModel::CausalForest(model)) });
        }
        LearnerKind::LinearDml | LearnerKind::LinearDr => {
            let (model, linear) = LinearStage::fit(config, inputs, task, seed)?;
            return Ok(Fitted { linear, ..Fitted::of(EffectModel::Linear(config.kind, model)) });
        }
        LearnerKind::InstrumentalForest | LearnerKind::IntentToTreatDriv => {
            // Only a caller inside this crate could come here: the door goes by the kind.
            return Err(CausalError::MissingRole { role: "instrument", needed_by: config.kind.name() });
        }
        LearnerKind::X => EffectModel::X(XModel::fit(config, inputs, task, seed, watch)?),
        LearnerKind::R
        | LearnerKind::Dr
        | LearnerKind::NonparamDml
        | LearnerKind::TransformedOutcome
        | LearnerKind::ClassTransformation => EffectModel::Direct(DirectModel::fit(config, inputs, task, seed, watch)?),
        LearnerKind::ForestDr => EffectModel::ForestDr(ScoreForests::fit(config, inputs, task, seed, watch)?),
        // It needs folds and was answered above.
        LearnerKind::Auto => return Err(CausalError::Mismatch { problem: "auto without folds".into() }),
    };
    Ok(Fitted::of(effect))
}

/// Seeds of held-out fits start here, away from those of the fits on all rows.
const HELD_OUT_SEEDS: u64 = 1 << 40;

/// Learns from some rows, answers for those of a fold: effects by contrast.
fn held_out_answer(
    learner: &LearnerConfig,
    inputs: &Inputs<'_>,
    task: &LearnerTask<'_>,
    (training, asked, fold): (&[u32], &[u32], u64),
    (seed, watch): (Seed, &dyn Watch),
) -> Result<Vec<Vec<f64>>, CausalError> {
    let part = LearnerTask { rows: training, ..*task };
    let effect = fit_effect(learner, inputs, &part, seed.child(HELD_OUT_SEEDS + fold), watch)?.effect;
    let part = held_out::Part::new(inputs, asked, (effect.needs_raw(), &effect.models()))?;
    Ok(effect.effects(&part.inputs(), task.arms, false)?.cate)
}

/// Judges learners on held-out rows, then fits those with a say on all rows.
fn fit_blended(
    config: &LearnerConfig,
    inputs: &Inputs<'_>,
    task: &LearnerTask<'_>,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<Fitted, CausalError> {
    let ask = |learner: &LearnerConfig, training: &[u32], asked: &[u32], fold: u64| {
        held_out_answer(learner, inputs, task, (training, asked, fold), (seed, watch))
    };
    let plan = choose::plan(config, task, &ask, watch)?;
    let (mut members, mut forests, mut linear) = (Vec::new(), Vec::new(), Vec::new());
    for member in &plan.members {
        let fitted = fit_effect(member, inputs, task, seed, watch)?;
        members.push(fitted.effect);
        forests.extend(fitted.forests);
        linear.extend(fitted.linear);
    }
    let effect = EffectModel::Blended(BlendedModel { kind: config.kind, members, blends: plan.blends });
    Ok(Fitted { forests, linear, choice: Some(plan.report), ..Fitted::of(effect) })
}

impl BlendedModel {
    fn effects(&self, inputs: &Inputs<'_>, arms: &Arms) -> Result<Effects, DataError> {
        let members = self
            .members
            .iter()
            .map(|member| Ok(member.effects(inputs, arms, false)?.cate))
            .collect::<Result<Vec<_>, DataError>>()?;
        let answer = |(k, blend): (usize, &Blend)| {
            (0..inputs.n_rows()).map(|row| blend.answer(|j| members[j][k][row])).collect()
        };
        Ok(Effects { cate: self.blends.iter().enumerate().map(answer).collect(), ..Effects::default() })
    }
}

/// Learns the effect of a treatment on one outcome by way of an instrument.
///
/// # Errors
/// [`CausalError::NoVariation`] for an instrument that moves nobody, and what growing finds.
pub fn fit_instrument_effect(
    config: &LearnerConfig,
    inputs: &Inputs<'_>,
    task: &InstrumentTask<'_>,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<Fitted, CausalError> {
    let (model, forests) = ForestModel::fit_instrument(config, inputs, task, seed, watch)?;
    Ok(Fitted { forests, ..Fitted::of(EffectModel::InstrumentalForest(model)) })
}

/// Learns the effect of taking what was offered by chance.
///
/// # Errors
/// [`CausalError::NoVariation`] for an offer that moves nobody, [`CausalError::Collinear`],
/// [`CausalError::TooFewRows`], and what nuisances find.
pub fn fit_offer_effect(
    config: &LearnerConfig,
    inputs: &Inputs<'_>,
    task: &OfferTask<'_>,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<Fitted, CausalError> {
    let (model, linear, tuned) = LinearStage::fit_offer(config, inputs, task, seed, watch)?;
    Ok(Fitted { linear, tuned, ..Fitted::of(EffectModel::Linear(config.kind, model)) })
}

/// Learns the effect of one unit of a dose on one outcome.
///
/// # Errors
/// [`CausalError::NotForDoses`] for a learner of arms, [`CausalError::NoVariation`], and what base
/// learners find.
pub fn fit_dose_effect(
    config: &LearnerConfig,
    inputs: &Inputs<'_>,
    task: &DoseTask<'_>,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<Fitted, CausalError> {
    match config.kind {
        LearnerKind::CausalForest => {
            let (model, forests) = ForestModel::fit_dose(config, inputs, task, seed, watch)?;
            Ok(Fitted { forests, ..Fitted::of(EffectModel::CausalForest(model)) })
        }
        LearnerKind::NonparamDml => {
            let model = DirectModel::fit_dose(config, inputs, task, seed, watch)?;
            Ok(Fitted::of(EffectModel::Direct(model)))
        }
        kind => Err(CausalError::NotForDoses {
            kind: kind.name().to_owned(),
            dose: task.name.to_owned(),
            learners: LearnerKind::names_for_doses(),
        }),
    }
}

impl EffectModel {
    /// The kind of learner.
    pub fn kind(&self) -> LearnerKind {
        match self {
            EffectModel::S(_) => LearnerKind::S,
            EffectModel::T(_) => LearnerKind::T,
            EffectModel::CausalForest(_) => LearnerKind::CausalForest,
            EffectModel::InstrumentalForest(_) => LearnerKind::InstrumentalForest,
            EffectModel::X(_) => LearnerKind::X,
            EffectModel::Direct(model) => model.kind,
            EffectModel::Linear(kind, _) => *kind,
            EffectModel::UpliftForest(_) => LearnerKind::UpliftForest,
            EffectModel::UpliftTree(_) => LearnerKind::UpliftTree,
            EffectModel::ForestDr(_) => LearnerKind::ForestDr,
            EffectModel::Blended(model) => model.kind,
        }
    }

    /// Effects for every row of the inputs, with what else the learner knows; row intervals only
    /// when asked for, as they cost time.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`] when a linear model's raw column is not there.
    pub fn effects(&self, inputs: &Inputs<'_>, arms: &Arms, intervals: bool) -> Result<Effects, DataError> {
        let mean = match self {
            EffectModel::S(model) => model.means(inputs, arms)?,
            EffectModel::T(model) => model.means(inputs)?,
            EffectModel::CausalForest(model)
            | EffectModel::InstrumentalForest(model)
            | EffectModel::ForestDr(ScoreForests(model)) => return model.effects(inputs, intervals),
            EffectModel::X(model) => return Ok(Effects { cate: model.effects(inputs)?, ..Effects::default() }),
            EffectModel::Blended(model) => return model.effects(inputs, arms),
            EffectModel::Direct(model) => return Ok(Effects { cate: model.effects(inputs)?, ..Effects::default() }),
            EffectModel::Linear(_, model) => return model.effects(inputs, intervals),
            EffectModel::UpliftForest(model) => model.means(inputs),
            EffectModel::UpliftTree(model) => model.means(inputs),
        };
        let cate = mean[1..].iter().map(|arm| arm.iter().zip(&mean[0]).map(|(t, c)| t - c).collect()).collect();
        Ok(Effects { cate, mean, ..Effects::default() })
    }

    /// Whether answers need the raw columns beside the codes.
    pub fn needs_raw(&self) -> bool {
        match self {
            EffectModel::CausalForest(model) => model.needs_raw(),
            EffectModel::Blended(model) => model.members.iter().any(EffectModel::needs_raw),
            EffectModel::Linear(..) => true,
            _ => self.models().iter().any(|model| model.needs_raw()),
        }
    }

    /// The base models, for whoever stores them: the S-learner's one, the T-learner's by arm,
    /// one per contrast of a regression of pseudo-outcomes, three of an X-learner (as control
    /// rows know the effect, as the arm's do, the share of the former), none of forests, trees
    /// and linear final stages, its members' of a blend.
    pub fn models(&self) -> Vec<&crate::base::BaseModel> {
        match self {
            EffectModel::S(model) => vec![&model.model],
            EffectModel::T(model) => model.models.iter().collect(),
            EffectModel::X(model) => {
                model.contrasts.iter().flat_map(|c| [&c.of_control, &c.of_arm, &c.share]).collect()
            }
            EffectModel::Direct(model) => model.models.iter().collect(),
            EffectModel::CausalForest(_)
            | EffectModel::InstrumentalForest(_)
            | EffectModel::ForestDr(_)
            | EffectModel::Linear(..)
            | EffectModel::UpliftForest(_)
            | EffectModel::UpliftTree(_) => Vec::new(),
            EffectModel::Blended(model) => model.members.iter().flat_map(EffectModel::models).collect(),
        }
    }
}
