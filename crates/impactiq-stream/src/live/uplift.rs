//! The live uplift of every model in use: one state, told of events, outcomes and the time.

use std::collections::BTreeMap;

use impactiq_metrics::confidence_sequence::EffectConfig;
use impactiq_metrics::drift::{Cell, DriftMonitor};
use serde::{Deserialize, Serialize};

use super::model::{DecayConfig, Levels, LiveModel, ModelReport};
use super::ranking::TrainingRanking;
use super::waiting::{Join, JoinCounts, Outcome, ScoredEvent};
use crate::error::StreamError;
use crate::windows::Span;

const VERSION: u32 = 1;

/// How live uplift is measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LiveConfig {
    /// How long after an event its outcome counts.
    pub window: Span,
    /// How long after the window closed an outcome may still arrive.
    pub grace: Span,
    /// The outcome of an event that had none.
    pub no_outcome: f64,
    /// Events (and outcomes without an event) that may wait at once.
    pub max_waiting: usize,
    /// Chance of any one interval ever being wrong.
    pub alpha: f64,
    /// A mismatch is called below this anytime-valid p-value.
    pub srm_alpha: f64,
    /// Outcome range, overlap and burn-in of the effect.
    pub effect: EffectConfig,
    /// How the promise of the ranking is watched.
    pub decay: DecayConfig,
}

impl Default for LiveConfig {
    fn default() -> Self {
        LiveConfig {
            window: Span::seconds(7 * 86_400),
            grace: Span::seconds(3_600),
            no_outcome: 0.0,
            max_waiting: 5_000_000,
            alpha: 0.05,
            srm_alpha: 0.001,
            effect: EffectConfig::default(),
            decay: DecayConfig::default(),
        }
    }
}

/// Everything that is known by now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveReport {
    /// Chance of any one interval ever being wrong.
    pub alpha: f64,
    /// Events that wait for their window to close.
    pub n_waiting: u64,
    /// What happened on the way.
    pub counts: JoinCounts,
    /// Models by name.
    pub models: Vec<ModelReport>,
}

/// The state. The same history gives the same bytes.
///
/// ```
/// use impactiq_stream::live::{LiveConfig, LiveUplift, Outcome, ScoredEvent};
/// let mut live = LiveUplift::new(LiveConfig::default()).unwrap();
/// let (model, day) = ("m".to_owned(), 86_400_000_000);
/// let event = ScoredEvent { id: "e".into(), time: 0, model, score: 0.1, treated: true, assignment_probability: 0.9 };
/// live.event(event).unwrap();
/// live.outcome(Outcome { id: "e".into(), value: 1.0, time: day }).unwrap();
/// assert_eq!(live.report().models[0].n, 0); // its window is still open
/// live.advance(8 * day).unwrap();
/// assert_eq!(live.report().models[0].n, 1);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveUplift {
    config: LiveConfig,
    join: Join,
    models: BTreeMap<String, LiveModel>,
}

/// The state as it is stored.
#[derive(Serialize)]
struct Stored<'a> {
    version: u32,
    state: &'a LiveUplift,
}

/// What is stored, before it is believed.
#[derive(Deserialize)]
struct Restored {
    version: u32,
    state: serde_json::Value,
}

impl LiveUplift {
    /// Nothing known.
    ///
    /// # Errors
    /// [`StreamError::Setting`] and [`StreamError::Metrics`] for settings outside their range.
    pub fn new(config: LiveConfig) -> Result<Self, StreamError> {
        let bad = |key, value: String, allowed| Err(StreamError::Setting { key, value, allowed });
        let between = |value: f64| value > 0.0 && value < 1.0;
        if !between(config.alpha) || !between(config.srm_alpha) {
            let value = format!("{} (alpha), {} (srm_alpha)", config.alpha, config.srm_alpha);
            return bad("a level of live uplift", value, "write a chance between 0 and 1");
        }
        if config.window.micros() == 0 {
            return bad("live.window", config.window.to_string(), "outcomes need time: write e.g. 7d");
        }
        let live = LiveUplift {
            join: Join::new(config.window.micros(), config.grace.micros(), config.max_waiting.max(1)),
            config,
            models: BTreeMap::new(),
        };
        if !live.in_range(config.no_outcome) {
            let allowed = "it must lie within effect.outcome_range";
            return bad("live.no_outcome", config.no_outcome.to_string(), allowed);
        }
        // Settings of the effect are refused now and not at the first event.
        live.new_model(None, None)?;
        Ok(live)
    }

    /// Gives a model its training ranking and the columns to watch for drift. A model that is
    /// there already keeps what it has seen.
    ///
    /// # Errors
    /// [`StreamError::Metrics`] for settings that cannot work.
    pub fn add_model(
        &mut self,
        model: &str,
        ranking: Option<TrainingRanking>,
        drift: Option<DriftMonitor>,
    ) -> Result<(), StreamError> {
        if !self.models.contains_key(model) {
            let new = self.new_model(ranking, drift)?;
            self.models.insert(model.to_owned(), new);
        }
        Ok(())
    }

    /// Takes a scored event. One that came before is counted and ignored.
    ///
    /// # Errors
    /// [`StreamError::EventValue`] for a probability outside [0, 1] or a score that isn't finite;
    /// the state is then as it was.
    pub fn event(&mut self, event: ScoredEvent) -> Result<(), StreamError> {
        let bad = |what, value, allowed| Err(StreamError::EventValue { what, id: event.id.clone(), value, allowed });
        if !(0.0..=1.0).contains(&event.assignment_probability) {
            return bad("assignment probability", event.assignment_probability, "it must lie between 0 and 1");
        }
        if !event.score.is_finite() {
            return bad("score", event.score, "it must be a finite number");
        }
        if !self.models.contains_key(&event.model) {
            self.add_model(&event.model.clone(), None, None)?;
        }
        if self.join.event(event.clone())
            && let Some(model) = self.models.get_mut(&event.model)
        {
            model.assigned(&event);
        }
        Ok(())
    }

    /// Takes an outcome. Late, early, second and unknown ones are counted and ignored.
    ///
    /// # Errors
    /// [`StreamError::EventValue`] for an outcome outside its range; the state is then as it was.
    pub fn outcome(&mut self, outcome: Outcome) -> Result<(), StreamError> {
        if !self.in_range(outcome.value) {
            let allowed = "it must be finite and lie within the stated range";
            return Err(StreamError::EventValue { what: "outcome", id: outcome.id, value: outcome.value, allowed });
        }
        self.join.outcome(outcome);
        Ok(())
    }

    /// Looks at a row that was scored; true where it completed a window with a drift alarm.
    ///
    /// # Errors
    /// [`StreamError::Metrics`] for another number of cells than the model's references.
    pub fn scored_row(&mut self, model: &str, row: &[Cell<'_>]) -> Result<bool, StreamError> {
        self.models.get_mut(model).map_or(Ok(false), |model| model.scored_row(row))
    }

    /// Tells the time, in microseconds since 1970: events whose window has closed are counted.
    /// Gives their number.
    ///
    /// # Errors
    /// [`StreamError::Metrics`] never for events and outcomes that were taken.
    pub fn advance(&mut self, now: i64) -> Result<usize, StreamError> {
        let closed = self.join.advance(now);
        for (event, outcome) in &closed {
            if let Some(model) = self.models.get_mut(&event.model) {
                model.closed(event, outcome.unwrap_or(self.config.no_outcome))?;
            }
        }
        Ok(closed.len())
    }

    /// Everything that is known by now.
    pub fn report(&self) -> LiveReport {
        let levels = Levels { alpha: self.config.alpha, srm_alpha: self.config.srm_alpha };
        LiveReport {
            alpha: self.config.alpha,
            n_waiting: self.join.n_waiting() as u64,
            counts: self.join.counts,
            models: self.models.iter().map(|(name, model)| model.report(name, levels)).collect(),
        }
    }

    /// The state as bytes for a store.
    ///
    /// # Errors
    /// [`StreamError::Damaged`] for a state that cannot be written (a bug).
    pub fn to_bytes(&self) -> Result<Vec<u8>, StreamError> {
        serde_json::to_vec(&Stored { version: VERSION, state: self }).map_err(|error| damaged(&error.to_string()))
    }

    /// A state from its bytes.
    ///
    /// # Errors
    /// [`StreamError::Damaged`] for bytes of another version or that are no state.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StreamError> {
        let stored: Restored = serde_json::from_slice(bytes).map_err(|error| damaged(&error.to_string()))?;
        if stored.version != VERSION {
            return Err(damaged(&format!("version {}; this program reads version {VERSION}", stored.version)));
        }
        serde_json::from_value(stored.state).map_err(|error| damaged(&error.to_string()))
    }

    fn new_model(
        &self,
        ranking: Option<TrainingRanking>,
        drift: Option<DriftMonitor>,
    ) -> Result<LiveModel, StreamError> {
        LiveModel::new(self.config.effect, ranking, self.config.decay, drift)
    }

    fn in_range(&self, outcome: f64) -> bool {
        let [lower, upper] = self.config.effect.outcome_range.unwrap_or([f64::MIN, f64::MAX]);
        (lower..=upper).contains(&outcome)
    }
}

fn damaged(problem: &str) -> StreamError {
    StreamError::Damaged { what: "live uplift", problem: problem.into() }
}
