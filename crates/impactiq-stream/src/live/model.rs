//! What is watched of one model: effects overall and by part of its ranking, the promise and the
//! assignment.

use impactiq_metrics::Estimate;
use impactiq_metrics::confidence_sequence::{EffectConfig, EffectSequence};
use impactiq_metrics::drift::{AssignmentMonitor, Cell, DecayMonitor, DecayState, DriftMonitor, DriftReport};
use serde::{Deserialize, Serialize};

use super::ranking::TrainingRanking;
use super::waiting::ScoredEvent;
use crate::error::StreamError;

/// The state of one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LiveModel {
    ranking: Option<TrainingRanking>,
    all: Followed,
    parts: Vec<Followed>,
    assignment: AssignmentMonitor,
    /// Events whose arm their probability rules out; they are not counted in effects.
    n_impossible: u64,
    decay: Option<DecayMonitor>,
    decay_parts: usize,
    drift: Option<DriftMonitor>,
}

/// An effect and the mean of the scores that predicted it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Followed {
    effect: EffectSequence,
    mean_score: f64,
}

/// How a promise is watched.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecayConfig {
    /// Best parts of the ranking whose effect is watched.
    pub best_parts: usize,
    /// Chance of ever giving a false alarm.
    pub alpha: f64,
    /// Events after which the live effect starts anew.
    pub epoch_rows: u64,
}

impl Default for DecayConfig {
    fn default() -> Self {
        DecayConfig { best_parts: 2, alpha: 0.01, epoch_rows: 10_000 }
    }
}

/// The levels of a report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Levels {
    pub alpha: f64,
    pub srm_alpha: f64,
}

/// What is known of a model's live effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    /// The model.
    pub model: String,
    /// Events that count: closed, with 0 < p < 1.
    pub n: u64,
    /// Treated among them.
    pub n_treated: u64,
    /// Control among them.
    pub n_control: u64,
    /// Closed events with probability 0 or 1: nothing to compare with.
    pub n_without_choice: u64,
    /// Closed events with a probability below `probability_min` or as close to 1.
    pub n_beyond_overlap: u64,
    /// Effect, valid at every look from the first event on.
    pub exact: Estimate,
    /// Effect, narrower, valid at every look after the burn-in.
    pub asymptotic: Estimate,
    /// Score against effect.
    pub predicted: PredictedAgainstRealised,
    /// Parts of the training ranking, best first; none where it isn't known.
    pub deciles: Vec<DecileReport>,
    /// Do the arms come as recorded?
    pub srm: SrmReport,
    /// The best scores' effect against what was promised; none without a ranking.
    pub decay: Option<DecayState>,
    /// The last complete window of scored rows; none without references.
    pub drift: Option<DriftReport>,
}

/// What the scores predicted of the events that count, and what happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictedAgainstRealised {
    /// Mean score; none before the first event.
    pub predicted: Option<f64>,
    /// Live effect minus mean score, valid at every look: the asymptotic interval after the burn-in,
    /// the exact one before.
    pub realised_minus_predicted: Estimate,
}

/// One part of the training ranking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecileReport {
    /// 1 for the best.
    pub decile: u32,
    /// Events that count.
    pub n: u64,
    /// Effect on held-out rows.
    pub promised: Estimate,
    /// Mean score of the events that count.
    pub predicted: Option<f64>,
    /// Live effect from the first event on.
    pub exact: Estimate,
    /// Live effect after the burn-in.
    pub asymptotic: Estimate,
}

/// Do the arms come as their recorded probabilities say?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SrmReport {
    /// Events with 0 < p < 1.
    pub n: u64,
    /// Treated among them.
    pub n_treated: u64,
    /// How many were to be expected.
    pub expected: f64,
    /// Anytime-valid p-value.
    pub p: f64,
    /// Events in an arm that their probability rules out.
    pub n_impossible: u64,
    /// Something is wrong with the assignment, or with what is recorded of it.
    pub alarm: bool,
}

impl Followed {
    fn new(config: EffectConfig) -> Result<Self, StreamError> {
        Ok(Followed { effect: EffectSequence::new(config)?, mean_score: 0.0 })
    }

    fn observe(&mut self, event: &ScoredEvent, outcome: f64) -> Result<bool, StreamError> {
        let counts = self.effect.observe(event.treated, event.assignment_probability, outcome)?;
        if counts {
            self.mean_score += (event.score - self.mean_score) / self.effect.n() as f64;
        }
        Ok(counts)
    }

    fn predicted(&self) -> Option<f64> {
        (self.effect.n() > 0).then_some(self.mean_score)
    }
}

impl LiveModel {
    pub fn new(
        effect: EffectConfig,
        ranking: Option<TrainingRanking>,
        decay: DecayConfig,
        drift: Option<DriftMonitor>,
    ) -> Result<Self, StreamError> {
        let n_parts = ranking.as_ref().map_or(0, TrainingRanking::n_parts);
        let promise = ranking.as_ref().map(|ranking| ranking.effect_of_best(decay.best_parts));
        let watch = |promise: Estimate| DecayMonitor::new(promise, decay.alpha, decay.epoch_rows, effect);
        Ok(LiveModel {
            ranking,
            all: Followed::new(effect)?,
            parts: (0..n_parts).map(|_| Followed::new(effect)).collect::<Result<_, _>>()?,
            assignment: AssignmentMonitor::new(),
            n_impossible: 0,
            decay: promise.map(watch).transpose()?,
            decay_parts: decay.best_parts,
            drift,
        })
    }

    /// An event came.
    pub fn assigned(&mut self, event: &ScoredEvent) {
        if self.assignment.observe(event.treated, event.assignment_probability).is_err() {
            self.n_impossible += 1;
        }
    }

    /// An event's window closed.
    pub fn closed(&mut self, event: &ScoredEvent, outcome: f64) -> Result<(), StreamError> {
        if !self.all.observe(event, outcome)? {
            return Ok(());
        }
        let Some(ranking) = &self.ranking else { return Ok(()) };
        let part = ranking.part(event.score);
        self.parts[part].observe(event, outcome)?;
        if let Some(decay) = self.decay.as_mut().filter(|_| part < self.decay_parts) {
            decay.observe(event.treated, event.assignment_probability, outcome)?;
        }
        Ok(())
    }

    /// A row was scored; true where it completed a window with an alarm.
    pub fn scored_row(&mut self, row: &[Cell<'_>]) -> Result<bool, StreamError> {
        let Some(drift) = &mut self.drift else { return Ok(false) };
        Ok(drift.observe(row)?.is_some_and(DriftReport::alarm))
    }

    pub fn report(&self, model: &str, levels: Levels) -> ModelReport {
        let (effect, alpha) = (&self.all.effect, levels.alpha);
        let (exact, asymptotic) = (effect.exact(alpha), effect.asymptotic(alpha));
        let best = if asymptotic.value().is_some() { &asymptotic } else { &exact };
        let predicted = self.all.predicted();
        // The mean score is known, so its interval is the effect's, moved.
        let realised_minus_predicted = best.shifted(-predicted.unwrap_or(0.0));
        ModelReport {
            model: model.to_owned(),
            n: effect.n(),
            n_treated: effect.n_treated(),
            n_control: effect.n_control(),
            n_without_choice: effect.n_without_choice(),
            n_beyond_overlap: effect.n_beyond_overlap(),
            predicted: PredictedAgainstRealised { predicted, realised_minus_predicted },
            deciles: self.deciles(alpha),
            srm: self.srm(levels.srm_alpha),
            decay: self.decay.as_ref().map(DecayMonitor::state),
            drift: self.drift.as_ref().and_then(DriftMonitor::last).cloned(),
            exact,
            asymptotic,
        }
    }

    fn deciles(&self, alpha: f64) -> Vec<DecileReport> {
        let Some(ranking) = &self.ranking else { return Vec::new() };
        let report = |(part, live): (usize, &Followed)| DecileReport {
            decile: part as u32 + 1,
            n: live.effect.n(),
            promised: ranking.effect(part).clone(),
            predicted: live.predicted(),
            exact: live.effect.exact(alpha),
            asymptotic: live.effect.asymptotic(alpha),
        };
        self.parts.iter().enumerate().map(report).collect()
    }

    fn srm(&self, alpha: f64) -> SrmReport {
        let (n_treated, expected) = self.assignment.treated();
        let p = self.assignment.p();
        let alarm = p < alpha || self.n_impossible > 0;
        SrmReport { n: self.assignment.n(), n_treated, expected, p, n_impossible: self.n_impossible, alarm }
    }
}
