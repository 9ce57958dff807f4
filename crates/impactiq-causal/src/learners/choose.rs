//! Learners judged on rows they did not see: `auto` blends the good ones, or none, and
//! `recalibrate` sets the level of one.
//!
//! What must not live here: what a learner is; fitting and predicting are passed in.

use impactiq_data::Watch;
use impactiq_metrics::Estimate;
use serde::{Deserialize, Serialize};

use super::blend::{Blend, Moments, isotonic};
use super::config::{LearnerConfig, LearnerKind, Recalibration};
use super::held_out::{Ask, HeldOut, Residuals, held_out_effects};
use super::pseudo::Pair;
use super::task::LearnerTask;
use crate::base::BaseKind;
use crate::error::CausalError;

/// What `auto` tries, in order.
const CANDIDATES: [(LearnerKind, BaseKind); 7] = [
    (LearnerKind::S, BaseKind::Boosted),
    (LearnerKind::T, BaseKind::Boosted),
    (LearnerKind::R, BaseKind::Boosted),
    (LearnerKind::X, BaseKind::Boosted),
    (LearnerKind::Dr, BaseKind::Boosted),
    (LearnerKind::R, BaseKind::Ridge),
    (LearnerKind::CausalForest, BaseKind::Boosted),
];

/// Trials `auto` makes when not told: all but the forest, which costs more than the others together.
const TRIALS: usize = 6;

/// Standard errors of the difference in R-loss that speak against one effect for everybody. A loss
/// is quadratic: at the best slope its gain is half of slope × covariance, so half a standard error here is
/// one of the slope.
const EVIDENCE: f64 = 0.5;

/// How far weights are thought to lie from those of the plain average, before data speak. With
/// rare outcomes the level is the least certain part of a blend, and every candidate was
/// regularised for a slope of one.
const PRIOR_SPREAD: f64 = 0.3;

/// A weight whose part of the answer varies less than this share of the whole is dropped, and its
/// learner is not fitted again.
const LEAST_WEIGHT: f64 = 1e-3;

/// What was chosen on held-out rows for one outcome, as `train` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChoiceReport {
    /// The outcome.
    pub outcome: String,
    /// `auto`, `linear` or `isotonic`.
    pub method: String,
    /// Learners that were tried.
    pub trials: u64,
    /// True when the watch said to hurry before all were tried.
    pub hurried: bool,
    /// Folds held out in turn.
    pub n_folds: u64,
    /// Rows held out.
    pub n_rows: u64,
    /// By arm.
    pub contrasts: Vec<ContrastChoice>,
}

/// What was chosen for one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContrastChoice {
    /// The arm.
    pub arm: String,
    /// True when nothing was better than one effect for everybody by a standard error.
    pub constant: bool,
    /// R-loss of one effect for everybody.
    pub r_loss_constant: f64,
    /// R-loss of the blend, its weights learned on other folds.
    pub r_loss: f64,
    /// The difference of the two, with the standard error of the paired difference.
    pub gain: Estimate,
    /// The learners.
    pub candidates: Vec<CandidateScore>,
}

/// One learner on held-out rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CandidateScore {
    /// The learner.
    pub learner: String,
    /// Its base learner.
    pub base: String,
    /// Its R-loss as it stands.
    pub r_loss: f64,
    /// How much smaller that is than the constant's.
    pub gain: Estimate,
    /// Its weight in the blend.
    pub weight: f64,
}

/// What to do: which learners to fit on all rows, and how their answers become one.
pub(super) struct Plan {
    /// Learners with a say.
    pub members: Vec<LearnerConfig>,
    /// By contrast.
    pub blends: Vec<Blend>,
    /// For the train report.
    pub report: ChoiceReport,
}

/// The learners a config asks to be compared: those of `auto`, or the one that is recalibrated.
fn candidates(config: &LearnerConfig) -> Vec<LearnerConfig> {
    if config.kind != LearnerKind::Auto {
        return vec![LearnerConfig { recalibrate: None, ..config.clone() }];
    }
    let n = config.trials.map_or(TRIALS, |trials| trials as usize);
    CANDIDATES
        .into_iter()
        .take(n)
        .map(|(kind, base)| {
            let own = LearnerConfig { kind, base, ..LearnerConfig::default() };
            // A forest's number of trees is another matter.
            if kind == LearnerKind::CausalForest {
                return own;
            }
            LearnerConfig { n_trees: config.n_trees, max_depth: config.max_depth, ..own }
        })
        .collect()
}

/// Tries the learners of a config on held-out rows.
///
/// # Errors
/// What learners find, [`CausalError::Mismatch`] without nuisances or folds (a bug).
pub(super) fn plan(
    config: &LearnerConfig,
    task: &LearnerTask<'_>,
    ask: &Ask<'_>,
    watch: &dyn Watch,
) -> Result<Plan, CausalError> {
    let held = HeldOut::new(task)?;
    let asked = candidates(config);
    let mut tried: Vec<LearnerConfig> = Vec::new();
    // By learner, by contrast: an effect for every held-out row.
    let mut effects: Vec<Vec<Vec<f64>>> = Vec::new();
    for candidate in &asked {
        if !tried.is_empty() && watch.should_hurry() {
            break;
        }
        effects.push(held_out_effects(candidate, task, &held, ask)?);
        tried.push(candidate.clone());
    }
    let method = match (config.kind, config.recalibrate) {
        (LearnerKind::Auto, _) => "auto",
        (_, Some(Recalibration::Isotonic)) => "isotonic",
        _ => "linear",
    };
    let mut report = ChoiceReport {
        outcome: task.outcome.to_owned(),
        method: method.to_owned(),
        trials: tried.len() as u64,
        hurried: tried.len() < asked.len(),
        n_folds: held.n_folds() as u64,
        n_rows: held.rows.len() as u64,
        contrasts: Vec::new(),
    };
    let mut blends = Vec::new();
    for arm in 1..task.arms.len() {
        let residuals = Residuals::new(task, &held, arm)?;
        let of_arm = |of_learner: &Vec<Vec<f64>>| -> Vec<f64> {
            residuals.places.iter().map(|&place| of_learner[arm - 1][place as usize]).collect()
        };
        let members: Vec<Vec<f64>> = effects.iter().map(of_arm).collect();
        let judged = Judged { residuals: &residuals, members: &members, n_folds: held.n_folds() };
        let (blend, choice) = judged.choose(config, &tried, task, arm)?;
        blends.push(blend);
        report.contrasts.push(choice);
    }
    Ok(keep(tried, blends, report))
}

/// The held-out rows of one contrast and what the learners say of them.
struct Judged<'a> {
    residuals: &'a Residuals,
    members: &'a [Vec<f64>],
    n_folds: usize,
}

impl Judged<'_> {
    fn choose(
        &self,
        config: &LearnerConfig,
        tried: &[LearnerConfig],
        task: &LearnerTask<'_>,
        arm: usize,
    ) -> Result<(Blend, ContrastChoice), CausalError> {
        let (residuals, n_members) = (self.residuals, self.members.len());
        let moments = Moments::new(residuals, self.members, self.n_folds);
        let average = average(task, arm)?;
        let blend = |without: Option<usize>| match config.recalibrate {
            Some(Recalibration::Isotonic) => match isotonic(residuals, &self.members[0], without) {
                Some(curve) => Blend { intercept: 0.0, weights: vec![1.0], curve: Some(curve) },
                None => Blend::constant(average, n_members),
            },
            Some(Recalibration::Linear) => moments.blend(without, 0.0),
            None => moments.blend(without, residuals.noise() / (PRIOR_SPREAD * PRIOR_SPREAD)),
        };
        // What a fold is judged by never saw it.
        let by_fold: Vec<Blend> = (0..self.n_folds).map(|fold| blend(Some(fold))).collect();
        let constants: Vec<f64> = (0..self.n_folds).map(|fold| moments.constant(Some(fold))).collect();
        let fold = |i: usize| usize::from(residuals.fold[i]);
        let blended = |i: usize| by_fold[fold(i)].answer(|j| self.members[j][i]);
        let constant = |i: usize| constants[fold(i)];
        let gain = residuals.gain(&blended, &constant);
        let evidence = gain.value().zip(gain.std_error()).is_some_and(|(gain, error)| gain > EVIDENCE * error);
        // A recalibration was asked for: it needs no evidence, its slope is the evidence.
        let mut chosen = if evidence || config.kind != LearnerKind::Auto {
            blend(None)
        } else {
            Blend::constant(average, n_members)
        };
        self.drop_idle(&mut chosen);
        if chosen.is_constant() {
            chosen = Blend::constant(average, n_members);
        }
        let candidates = tried.iter().enumerate().map(|(j, learner)| CandidateScore {
            learner: learner.kind.name().to_owned(),
            base: learner.base.name().to_owned(),
            r_loss: residuals.loss(&|i| self.members[j][i]),
            gain: residuals.gain(&|i| self.members[j][i], &constant),
            weight: chosen.weights[j],
        });
        let choice = ContrastChoice {
            arm: task.arms.labels()[arm].clone(),
            constant: chosen.is_constant(),
            r_loss_constant: residuals.loss(&constant),
            r_loss: residuals.loss(&blended),
            gain,
            candidates: candidates.collect(),
        };
        Ok((chosen, choice))
    }

    /// Takes out members whose part of the answer hardly varies.
    fn drop_idle(&self, blend: &mut Blend) {
        let n = self.residuals.len().max(1) as f64;
        let moments: Vec<(f64, f64)> = self
            .members
            .iter()
            .map(|member| {
                let mean = member.iter().sum::<f64>() / n;
                (mean, (member.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
            })
            .collect();
        let total: f64 = blend.weights.iter().zip(&moments).map(|(weight, (_, spread))| weight * spread).sum();
        for (weight, (mean, spread)) in blend.weights.iter_mut().zip(&moments) {
            if *weight > 0.0 && *weight * spread <= LEAST_WEIGHT * total {
                blend.intercept += *weight * mean;
                *weight = 0.0;
            }
        }
    }
}

/// The average effect of an arm among the learner's rows: the mean of doubly robust scores.
fn average(task: &LearnerTask<'_>, arm: usize) -> Result<f64, CausalError> {
    let pair = Pair::new(task, arm)?;
    let (mut sum, mut total) = (0.0, 0.0);
    for row in task.rows.iter().map(|&row| row as usize) {
        sum += pair.weight(row) * pair.score(row);
        total += pair.weight(row);
    }
    Ok(sum / total)
}

/// Leaves out learners without a say for any arm.
fn keep(tried: Vec<LearnerConfig>, mut blends: Vec<Blend>, report: ChoiceReport) -> Plan {
    let used: Vec<bool> = (0..tried.len()).map(|j| blends.iter().any(|blend| blend.weights[j] != 0.0)).collect();
    for blend in &mut blends {
        blend.weights = blend.weights.iter().zip(&used).filter(|(_, used)| **used).map(|(weight, _)| *weight).collect();
    }
    let members = tried.into_iter().zip(used).filter(|(_, used)| *used).map(|(learner, _)| learner).collect();
    Plan { members, blends, report }
}
