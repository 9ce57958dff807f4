//! A learner's settings chosen on held-out folds: each candidate learns without a fold and is judged
//! by what it says of the fold, as `choose` judges learners.
//!
//! The judge of `dr` is the squared distance from the doubly robust scores, that of all others the R-loss; their means
//! have the error of the effects and a constant. What must not live here: which settings are tried.

use impactiq_data::Watch;

use super::config::{LearnerConfig, LearnerKind};
use super::held_out::{Ask, HeldOut, Residuals, held_out_effects};
use super::pseudo::Pair;
use super::task::LearnerTask;
use crate::base::{Budget, Clock, Loss, Place, Target, Tried, TuneReport, candidates, default_leaf, smallest};
use crate::error::CausalError;

/// The settings that did best, and what was tried.
///
/// # Errors
/// What learners find, [`CausalError::Mismatch`] without nuisances or folds (a bug).
pub(super) fn tune(
    config: &LearnerConfig,
    budget: Budget,
    task: &LearnerTask<'_>,
    ask: &Ask<'_>,
    watch: &dyn Watch,
) -> Result<(LearnerConfig, TuneReport), CausalError> {
    let held = HeldOut::new(task)?;
    let own = config.settings();
    let (place, target) = typical(config.kind, task);
    let settings = candidates(&own, config.base, default_leaf(config.base, place, target), budget.trials as usize);
    let clock = Clock::start(budget, watch);
    let mut losses: Vec<f64> = Vec::new();
    for settings in &settings {
        if !losses.is_empty() && clock.is_over() {
            break;
        }
        let candidate = LearnerConfig { tune: None, recalibrate: None, ..config.with_settings(settings) };
        let effects = held_out_effects(&candidate, task, &held, ask)?;
        let loss = loss(config.kind, task, &held, &effects)?;
        losses.push(if loss.is_finite() { loss } else { f64::INFINITY });
    }
    let best = smallest(losses.iter().copied());
    let tried = losses.iter().zip(&settings).enumerate();
    let report = TuneReport {
        what: format!("the effect on '{}'", task.outcome),
        loss: if config.kind == LearnerKind::Dr { "dr_loss".into() } else { "r_loss".into() },
        trials: losses.len() as u64,
        hurried: losses.len() < settings.len(),
        tried: tried
            .map(|(place, (&loss, settings))| Tried::new(settings, &own, loss, u64::from(place == best)))
            .collect(),
    };
    Ok((LearnerConfig { tune: None, ..config.with_settings(&settings[best]) }, report))
}

/// What most of the learner's models are for: candidates' leaves are multiples of that default.
fn typical(kind: LearnerKind, task: &LearnerTask<'_>) -> (Place, Target) {
    let (place, loss) = match kind {
        LearnerKind::S => (Place::AllArms, task.loss()),
        LearnerKind::T => (Place::OneArm, task.loss()),
        LearnerKind::ClassTransformation => (Place::Effect, Loss::Logistic),
        _ => (Place::Effect, Loss::Squared),
    };
    let n_rows = if kind == LearnerKind::T { task.rows.len() / task.arms.len() } else { task.rows.len() };
    let mean = match kind {
        LearnerKind::ClassTransformation => 0.5,
        _ => task.rows.iter().map(|&row| task.target[row as usize]).sum::<f64>() / task.rows.len().max(1) as f64,
    };
    (place, Target { loss, n_rows, mean })
}

/// The mean over contrasts of the loss of held-out effects, by contrast and held-out row.
fn loss(kind: LearnerKind, task: &LearnerTask<'_>, held: &HeldOut, effects: &[Vec<f64>]) -> Result<f64, CausalError> {
    let mut sum = 0.0;
    for (contrast, effects) in effects.iter().enumerate() {
        sum += match kind {
            LearnerKind::Dr => {
                let pair = Pair::new(task, contrast + 1)?;
                let (mut squares, mut total) = (0.0, 0.0);
                for (&row, effect) in held.rows.iter().zip(effects) {
                    let weight = pair.weight(row as usize);
                    squares += weight * (pair.score(row as usize) - effect).powi(2);
                    total += weight;
                }
                squares / total
            }
            _ => {
                let residuals = Residuals::new(task, held, contrast + 1)?;
                residuals.loss(&|i| effects[residuals.places[i] as usize])
            }
        };
    }
    Ok(sum / effects.len().max(1) as f64)
}
