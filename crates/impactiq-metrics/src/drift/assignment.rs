//! Sample-ratio mismatch that may be looked at after every event.
//!
//! A chi-square test promises something about one look. Both tests here are wealth processes:
//! under the recorded probabilities the wealth ever reaches 1/α with probability at most α
//! (Ville), so they may be watched forever.

use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

use crate::error::MetricsError;

/// How concentrated the alternatives are around the expected shares: deviations of about
/// 1.6 points at one half are found soonest.
const CONCENTRATION: f64 = 1_000.0;
/// Alternatives of the two-arm test: odds multiplied by exp(± these).
const TILTS: [f64; 10] = [0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.0, 1.7, 3.0];

/// Arms with constant expected shares: a Dirichlet mixture against the multinomial
/// (Lindon & Malek 2022).
///
/// ```
/// use impactiq_metrics::drift::SequentialSrm;
/// let mut test = SequentialSrm::new(&[1.0, 1.0]).unwrap();
/// for event in 0..20_000 {
///     test.observe(usize::from(event % 20 < 11)).unwrap(); // 55 % instead of 50 %
/// }
/// assert!(test.p() < 0.001);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequentialSrm {
    shares: Vec<f64>,
    counts: Vec<u64>,
    ln_peak: f64,
}

impl SequentialSrm {
    /// Expected shares by arm, in any unit.
    ///
    /// # Errors
    /// [`MetricsError::NoRows`] for fewer than two arms, [`MetricsError::BadValue`] for a share that
    /// isn't positive.
    pub fn new(shares: &[f64]) -> Result<Self, MetricsError> {
        if shares.len() < 2 {
            return Err(MetricsError::NoRows { what: "arms" });
        }
        if let Some(row) = shares.iter().position(|share| !(*share > 0.0 && share.is_finite())) {
            let value = shares[row];
            return Err(MetricsError::BadValue { what: "expected share", row, value, allowed: "it must be positive" });
        }
        let total: f64 = shares.iter().sum();
        let shares: Vec<f64> = shares.iter().map(|share| share / total).collect();
        Ok(SequentialSrm { counts: vec![0; shares.len()], shares, ln_peak: 0.0 })
    }

    /// Adds an event of an arm.
    ///
    /// # Errors
    /// [`MetricsError::BadValue`] for an arm that has no expected share.
    pub fn observe(&mut self, arm: usize) -> Result<(), MetricsError> {
        let row = usize::try_from(self.n()).unwrap_or(usize::MAX);
        let Some(count) = self.counts.get_mut(arm) else {
            let allowed = "it must be one of the arms with an expected share";
            return Err(MetricsError::BadValue { what: "arm", row, value: arm as f64, allowed });
        };
        *count += 1;
        self.ln_peak = self.ln_peak.max(self.ln_wealth());
        Ok(())
    }

    /// Events so far.
    pub fn n(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The anytime-valid p-value: the chance that the wealth would ever have come this high.
    pub fn p(&self) -> f64 {
        (-self.ln_peak).exp().min(1.0)
    }

    fn ln_wealth(&self) -> f64 {
        let arms = self.shares.iter().zip(&self.counts).map(|(share, &count)| {
            let prior = CONCENTRATION * share;
            ln_gamma(prior + count as f64) - ln_gamma(prior) - count as f64 * share.ln()
        });
        ln_gamma(CONCENTRATION) - ln_gamma(CONCENTRATION + self.n() as f64) + arms.sum::<f64>()
    }
}

/// Two arms whose probability is recorded with every event and may differ between them: wealth
/// spread over alternatives that multiply everybody's odds by the same factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssignmentMonitor {
    /// ln of the likelihood ratio by alternative: the tilts downwards, then upwards.
    ln_ratios: Vec<f64>,
    ln_peak: f64,
    n: u64,
    n_treated: u64,
    expected: f64,
}

impl Default for AssignmentMonitor {
    fn default() -> Self {
        Self::new()
    }
}

impl AssignmentMonitor {
    /// No events yet.
    pub fn new() -> Self {
        let ln_ratios = vec![0.0; 2 * TILTS.len()];
        AssignmentMonitor { ln_ratios, ln_peak: 0.0, n: 0, n_treated: 0, expected: 0.0 }
    }

    /// Adds an event: whether it was treated and how likely that was. Certain events (0, 1) are
    /// not tested: one that went the other way would be a mistake, not chance.
    ///
    /// # Errors
    /// [`MetricsError::BadValue`] for a probability outside [0, 1], or for an event that was
    /// impossible.
    pub fn observe(&mut self, treated: bool, probability: f64) -> Result<(), MetricsError> {
        let row = usize::try_from(self.n).unwrap_or(usize::MAX);
        let bad = |allowed| MetricsError::BadValue { what: "assignment probability", row, value: probability, allowed };
        if !(0.0..=1.0).contains(&probability) {
            return Err(bad("it must lie between 0 and 1"));
        }
        let certain = probability == 0.0 || probability == 1.0;
        if certain && treated != (probability == 1.0) {
            return Err(bad("the event is in an arm that this probability rules out"));
        }
        if certain {
            return Ok(());
        }
        self.n += 1;
        self.n_treated += u64::from(treated);
        self.expected += probability;
        let tilts = TILTS.iter().map(|tilt| -tilt).chain(TILTS);
        for (ln_ratio, tilt) in self.ln_ratios.iter_mut().zip(tilts) {
            let normaliser = (probability * tilt.exp_m1()).ln_1p();
            *ln_ratio += if treated { tilt - normaliser } else { -normaliser };
        }
        let largest = self.ln_ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mean =
            self.ln_ratios.iter().map(|ratio| (ratio - largest).exp()).sum::<f64>() / self.ln_ratios.len() as f64;
        self.ln_peak = self.ln_peak.max(largest + mean.ln());
        Ok(())
    }

    /// Events tested.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Treated events among them, and how many were to be expected.
    pub fn treated(&self) -> (u64, f64) {
        (self.n_treated, self.expected)
    }

    /// The anytime-valid p-value: the chance that the wealth would ever have come this high.
    pub fn p(&self) -> f64 {
        (-self.ln_peak).exp().min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use impactiq_data::Seed;

    use super::*;

    #[test]
    fn wealth_after_one_event_averages_to_one() {
        for p in [0.1, 0.5, 0.93] {
            let wealth = |treated| {
                let mut monitor = AssignmentMonitor::new();
                monitor.observe(treated, p).unwrap();
                monitor.ln_ratios.iter().map(|ratio| ratio.exp()).sum::<f64>() / monitor.ln_ratios.len() as f64
            };
            assert!((p * wealth(true) + (1.0 - p) * wealth(false) - 1.0).abs() < 1e-12);
        }
        let wealth = |arm| {
            let mut test = SequentialSrm::new(&[0.2, 0.3, 0.5]).unwrap();
            test.observe(arm).unwrap();
            test.ln_wealth().exp()
        };
        assert!((0.2 * wealth(0) + 0.3 * wealth(1) + 0.5 * wealth(2) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_policy_that_varies_its_probability_is_no_mismatch_but_a_leak_is() {
        let (mut good, mut leaking) = (AssignmentMonitor::new(), AssignmentMonitor::new());
        for event in 0..30_000u64 {
            let p = [0.1, 0.5, 0.9][(event % 3) as usize];
            let draw = Seed::new(7).uniform(event);
            good.observe(draw < p, p).unwrap();
            // One in twelve of the treated is lost.
            if draw >= p || event % 12 != 0 {
                leaking.observe(draw < p, p).unwrap();
            }
        }
        assert!(good.p() > 0.05, "{}", good.p());
        assert!(leaking.p() < 1e-3, "{}", leaking.p());
        let (treated, expected) = good.treated();
        assert!((treated as f64 - expected).abs() < 300.0);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut monitor = AssignmentMonitor::new();
        monitor.observe(true, 1.0).unwrap();
        assert_eq!(monitor.n(), 0);
        assert!(monitor.observe(false, 1.0).unwrap_err().to_string().contains("rules out"));
        assert!(monitor.observe(true, -0.1).is_err());
        let mut test = SequentialSrm::new(&[1.0, 1.0]).unwrap();
        assert!(test.observe(2).is_err());
        assert!(SequentialSrm::new(&[1.0]).is_err() && SequentialSrm::new(&[1.0, 0.0]).is_err());
    }
}
