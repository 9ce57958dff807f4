//! The effect of a treatment whose probability is known for every event, watched live.
//!
//! Each event contributes (y − h)·(t/p − (1 − t)/(1 − p)), whose expectation is the effect for
//! any h that was fixed before the event (Horvitz & Thompson 1952; h as in augmented weighting).
//! h is a running mean of the outcome, so a common level cancels. Only events with 0 < p < 1
//! count: where a policy leaves no choice there is nothing to compare with.

use serde::{Deserialize, Serialize};

use super::mean::{BurnIn, ConfidenceSequence};
use crate::error::MetricsError;
use crate::estimate::Estimate;

/// What must be said before the first event.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EffectConfig {
    /// Where outcomes lie, [0, 1] for a binary one; `None`: anywhere, and intervals are asymptotic only.
    pub outcome_range: Option<[f64; 2]>,
    /// Events whose treatment or control was less likely than this are not counted. The exact
    /// interval pays for small ones: terms reach range / `probability_min`.
    pub probability_min: f64,
    /// Rows at which the asymptotic interval is narrowest.
    pub tuned_for: f64,
    /// When the asymptotic interval begins.
    pub burn_in: BurnIn,
}

impl Default for EffectConfig {
    fn default() -> Self {
        EffectConfig {
            outcome_range: Some([0.0, 1.0]),
            probability_min: 0.05,
            tuned_for: 10_000.0,
            burn_in: BurnIn::default(),
        }
    }
}

/// The state of a live effect: O(1), storable, can be added.
///
/// ```
/// use impactiq_metrics::confidence_sequence::{EffectConfig, EffectSequence};
/// let mut live = EffectSequence::new(EffectConfig::default()).unwrap();
/// live.observe(true, 0.9, 1.0).unwrap();
/// live.observe(false, 0.9, 0.0).unwrap();
/// live.observe(true, 1.0, 1.0).unwrap(); // no chance of control: it teaches nothing
/// assert_eq!((live.n(), live.n_without_choice()), (2, 1));
/// assert!(live.exact(0.05).lower().unwrap() <= 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EffectSequence {
    config: EffectConfig,
    terms: ConfidenceSequence,
    /// Σw·y and Σw of the level h; w is the odds against the arm the event is in, which makes h
    /// the level of least variance.
    level: [f64; 2],
    n_treated: u64,
    n_control: u64,
    n_without_choice: u64,
    n_beyond_overlap: u64,
}

impl EffectSequence {
    /// No events yet.
    ///
    /// # Errors
    /// [`MetricsError::BadSetting`] for a range out of order, or a least probability outside
    /// (0, 0.5].
    pub fn new(config: EffectConfig) -> Result<Self, MetricsError> {
        let least = config.probability_min;
        if !(least > 0.0 && least <= 0.5) {
            return Err(MetricsError::BadSetting {
                what: "probability_min",
                value: least.to_string(),
                allowed: "it must be above 0 and at most 0.5",
            });
        }
        let terms = match config.outcome_range {
            None => ConfidenceSequence::unbounded(),
            Some([lower, upper]) => {
                let reach = upper - lower;
                ConfidenceSequence::within([-reach / least, reach / least], [-reach, reach])?
            }
        };
        Ok(EffectSequence {
            config,
            terms,
            level: [0.0; 2],
            n_treated: 0,
            n_control: 0,
            n_without_choice: 0,
            n_beyond_overlap: 0,
        })
    }

    /// Adds an event: whether it was treated, how likely that was, and its outcome. True where it
    /// counts; an event without a choice (0, 1) or beyond the overlap is only numbered.
    ///
    /// # Errors
    /// [`MetricsError::BadValue`] for a probability outside [0, 1] or an outcome outside its range;
    /// the state is then as it was.
    pub fn observe(&mut self, treated: bool, probability: f64, outcome: f64) -> Result<bool, MetricsError> {
        self.check(probability, outcome)?;
        if probability == 0.0 || probability == 1.0 {
            self.n_without_choice += 1;
            return Ok(false);
        }
        let least = self.config.probability_min;
        // 1 − 0.95 is a hair below 0.05 in binary.
        if probability.min(1.0 - probability) < least - 1e-12 {
            self.n_beyond_overlap += 1;
            return Ok(false);
        }
        let own = if treated { probability } else { 1.0 - probability }.max(least);
        let sign = if treated { 1.0 } else { -1.0 };
        self.terms.observe(sign * (outcome - self.level()) / own)?;
        let odds_against = (1.0 - own) / own;
        self.level[0] += odds_against * outcome;
        self.level[1] += odds_against;
        *(if treated { &mut self.n_treated } else { &mut self.n_control }) += 1;
        Ok(true)
    }

    /// The state of both parts' events together.
    ///
    /// # Errors
    /// [`MetricsError::BadSetting`] for parts with different settings.
    pub fn merged(&self, other: &Self) -> Result<Self, MetricsError> {
        if self.config != other.config {
            return Err(MetricsError::BadSetting {
                what: "a live effect to add",
                value: format!("{:?}", other.config),
                allowed: "only states with the same settings can be added",
            });
        }
        Ok(EffectSequence {
            config: self.config,
            terms: self.terms.merged(&other.terms)?,
            level: [self.level[0] + other.level[0], self.level[1] + other.level[1]],
            n_treated: self.n_treated + other.n_treated,
            n_control: self.n_control + other.n_control,
            n_without_choice: self.n_without_choice + other.n_without_choice,
            n_beyond_overlap: self.n_beyond_overlap + other.n_beyond_overlap,
        })
    }

    /// Events that count.
    pub fn n(&self) -> u64 {
        self.terms.n()
    }

    /// Treated events that count.
    pub fn n_treated(&self) -> u64 {
        self.n_treated
    }

    /// Control events that count.
    pub fn n_control(&self) -> u64 {
        self.n_control
    }

    /// Events with probability 0 or 1.
    pub fn n_without_choice(&self) -> u64 {
        self.n_without_choice
    }

    /// Events with a probability too close to 0 or 1.
    pub fn n_beyond_overlap(&self) -> u64 {
        self.n_beyond_overlap
    }

    /// Settings it was made with.
    pub fn config(&self) -> &EffectConfig {
        &self.config
    }

    /// Exact from the first event on; see [`ConfidenceSequence::exact`].
    pub fn exact(&self, alpha: f64) -> Estimate {
        self.refusal().unwrap_or_else(|| self.terms.exact(alpha))
    }

    /// True where [`EffectSequence::exact`] would not contain `effect`.
    pub fn exact_excludes(&self, effect: f64, alpha: f64) -> bool {
        self.terms.exact_excludes(effect, alpha)
    }

    /// Narrower, after the burn-in; see [`ConfidenceSequence::asymptotic`].
    pub fn asymptotic(&self, alpha: f64) -> Estimate {
        let (tuned_for, burn_in) = (self.config.tuned_for, self.config.burn_in);
        self.refusal().unwrap_or_else(|| self.terms.asymptotic(alpha, tuned_for, &burn_in))
    }

    /// For one planned look only; see [`ConfidenceSequence::single_look`].
    pub fn single_look(&self) -> Estimate {
        self.refusal().unwrap_or_else(|| self.terms.single_look())
    }

    /// What the outcome is expected to be whatever the arm, from the events so far. One
    /// imagined event at the value closest to 0 keeps it inside the range from the start.
    fn level(&self) -> f64 {
        let start = self.config.outcome_range.map_or(0.0, |[lower, upper]| 0f64.clamp(lower, upper));
        (self.level[0] + start) / (self.level[1] + 1.0)
    }

    fn check(&self, probability: f64, outcome: f64) -> Result<(), MetricsError> {
        let row = usize::try_from(self.n()).unwrap_or(usize::MAX);
        if !(0.0..=1.0).contains(&probability) {
            let allowed = "it must lie between 0 and 1";
            return Err(MetricsError::BadValue { what: "assignment probability", row, value: probability, allowed });
        }
        let [lower, upper] = self.config.outcome_range.unwrap_or([f64::MIN, f64::MAX]);
        if !(lower..=upper).contains(&outcome) {
            let allowed = "it must be finite and lie within the stated range";
            return Err(MetricsError::BadValue { what: "outcome", row, value: outcome, allowed });
        }
        Ok(())
    }

    fn refusal(&self) -> Option<Estimate> {
        (self.n() == 0).then(|| Estimate::undefined("no event yet whose assignment left a choice (0 < p < 1)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_without_a_choice_changes_nothing_but_its_count() {
        let mut live = EffectSequence::new(EffectConfig::default()).unwrap();
        assert!(live.exact(0.05).reason().unwrap().contains("0 < p < 1"));
        for p in [0.0, 1.0, 0.01, 0.99] {
            assert!(!live.observe(true, p, 1.0).unwrap());
        }
        assert_eq!((live.n(), live.n_without_choice(), live.n_beyond_overlap()), (0, 2, 2));
        assert!(live.observe(true, 0.95, 1.0).unwrap() && live.observe(false, 0.95, 1.0).unwrap());
        assert_eq!((live.n_treated(), live.n_control()), (1, 1));
    }

    #[test]
    fn a_common_level_cancels() {
        let run = |level: f64| {
            let config = EffectConfig { outcome_range: Some([0.0, 100.0]), ..EffectConfig::default() };
            let mut live = EffectSequence::new(config).unwrap();
            for row in 0..4_000u32 {
                live.observe(row % 2 == 0, 0.5, level + f64::from(row % 7)).unwrap();
            }
            live.asymptotic(0.05)
        };
        let (low, high) = (run(0.0), run(90.0));
        // Without a level the error would be thirty times as large; the first rows still have none.
        assert!(high.std_error().unwrap() < 1.5 * low.std_error().unwrap(), "{low:?} {high:?}");
        assert!(high.value().unwrap().abs() < 0.2, "{high:?}");
    }

    #[test]
    fn bad_events_are_refused_by_name() {
        let mut live = EffectSequence::new(EffectConfig::default()).unwrap();
        assert!(live.observe(true, 1.5, 0.0).unwrap_err().to_string().contains("assignment probability"));
        assert!(live.observe(true, f64::NAN, 0.0).is_err());
        assert!(live.observe(true, 0.5, 2.0).unwrap_err().to_string().contains("outcome"));
        assert_eq!(live, EffectSequence::new(EffectConfig::default()).unwrap());
        let config = EffectConfig { probability_min: 0.0, ..EffectConfig::default() };
        assert!(EffectSequence::new(config).is_err());
    }

    #[test]
    fn parts_add_up() {
        let config = EffectConfig { outcome_range: None, ..EffectConfig::default() };
        let (mut a, mut b) = (EffectSequence::new(config).unwrap(), EffectSequence::new(config).unwrap());
        for row in 0..2_000u32 {
            let part = if row < 700 { &mut a } else { &mut b };
            part.observe(row % 3 != 0, 0.7, f64::from(row % 11)).unwrap();
        }
        let both = a.merged(&b).unwrap();
        assert_eq!((both.n(), both.n_treated()), (2_000, a.n_treated() + b.n_treated()));
        assert!(both.asymptotic(0.05).value().is_some() && both.exact(0.05).reason().is_some());
        assert!(a.merged(&EffectSequence::new(EffectConfig::default()).unwrap()).is_err());
    }
}
