//! A model's promise against what it brings: the live effect among the best scores beside the
//! effect that was measured there on held-out rows.
//!
//! One endless average would hide a late decay behind a good past, so the live effect starts
//! anew every epoch, and the chance of a false alarm is spread over the epochs: the k-th gets
//! α/(k(k + 1)), which sums to α over all of them.

use serde::{Deserialize, Serialize};

use crate::confidence_sequence::{EffectConfig, EffectSequence};
use crate::error::MetricsError;
use crate::estimate::Estimate;

/// The state: the epoch that is filling, and the first alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecayMonitor {
    promised: Estimate,
    alpha: f64,
    epoch_rows: u64,
    epoch: u64,
    current: EffectSequence,
    n: u64,
    alarm_after: Option<u64>,
}

/// What is known of a promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecayState {
    /// The effect on held-out rows.
    pub promised: Estimate,
    /// The live effect in this epoch, valid at every look at this epoch's level.
    pub live: Estimate,
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Events that counted before the first alarm; `None` while there was none.
    pub alarm_after: Option<u64>,
}

impl DecayMonitor {
    /// Watches a promise with a chance of at most `alpha` of ever giving a false alarm, beside that
    /// of the promise's own 95 % interval being too high. Epochs are `epoch_rows` counted events.
    ///
    /// # Errors
    /// [`MetricsError::BadSetting`] for alpha outside (0, 1), an epoch shorter than twice the
    /// burn-in, and as [`EffectSequence::new`].
    pub fn new(promised: Estimate, alpha: f64, epoch_rows: u64, effect: EffectConfig) -> Result<Self, MetricsError> {
        if !(alpha > 0.0 && alpha < 1.0) {
            let allowed = "it must lie between 0 and 1";
            return Err(MetricsError::BadSetting { what: "alpha", value: alpha.to_string(), allowed });
        }
        if epoch_rows < 2 * effect.burn_in.n_rows {
            let allowed = "an epoch needs at least twice the rows of the burn-in";
            return Err(MetricsError::BadSetting { what: "epoch_rows", value: epoch_rows.to_string(), allowed });
        }
        let current = EffectSequence::new(EffectConfig { tuned_for: epoch_rows as f64, ..effect })?;
        Ok(DecayMonitor { promised, alpha, epoch_rows, epoch: 1, current, n: 0, alarm_after: None })
    }

    /// Adds an event among the best scores; true where this one gives the first alarm: the live
    /// interval lies wholly below the promised one.
    ///
    /// # Errors
    /// As [`EffectSequence::observe`].
    pub fn observe(&mut self, treated: bool, probability: f64, outcome: f64) -> Result<bool, MetricsError> {
        if !self.current.observe(treated, probability, outcome)? {
            return Ok(false);
        }
        self.n += 1;
        let is_below = match (self.live().upper(), self.promised.lower()) {
            (Some(live), Some(promised)) => live < promised,
            _ => false,
        };
        let is_first = is_below && self.alarm_after.is_none();
        if is_first {
            self.alarm_after = Some(self.n);
        }
        if self.current.n() >= self.epoch_rows {
            self.current = EffectSequence::new(*self.current.config())?;
            self.epoch += 1;
        }
        Ok(is_first)
    }

    /// What is known by now.
    pub fn state(&self) -> DecayState {
        DecayState {
            promised: self.promised.clone(),
            live: self.live(),
            epoch: self.epoch,
            alarm_after: self.alarm_after,
        }
    }

    fn live(&self) -> Estimate {
        let k = self.epoch as f64;
        self.current.asymptotic(self.alpha / (k * (k + 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use impactiq_data::Seed;

    use super::*;

    fn watch(effect: f64, n: u64) -> DecayMonitor {
        let config = EffectConfig { probability_min: 0.1, ..EffectConfig::default() };
        let mut monitor = DecayMonitor::new(Estimate::new(0.10, 0.01, 10_000), 0.01, 5_000, config).unwrap();
        let seed = Seed::new(11);
        for event in 0..n {
            let treated = seed.child(1).uniform(event) < 0.9;
            let rate = 0.1 + if treated { effect } else { 0.0 };
            let outcome = f64::from(u8::from(seed.child(2).uniform(event) < rate));
            monitor.observe(treated, 0.9, outcome).unwrap();
        }
        monitor
    }

    #[test]
    fn a_promise_that_is_kept_is_quiet_and_one_that_is_broken_is_told() {
        let kept = watch(0.10, 20_000).state();
        assert_eq!((kept.alarm_after, kept.epoch), (None, 5));
        let broken = watch(-0.02, 20_000).state();
        assert!(broken.alarm_after.is_some_and(|n| n <= 10_000), "{broken:?}");
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let promised = Estimate::new(0.1, 0.01, 100);
        assert!(DecayMonitor::new(promised.clone(), 0.0, 5_000, EffectConfig::default()).is_err());
        assert!(DecayMonitor::new(promised, 0.01, 100, EffectConfig::default()).is_err());
    }
}
