//! Averages from sums that can be added: one pass over any number of rows, on any number of
//! machines, and `a + b` answers for both. For what fits no memory, and for experiments whose
//! rows arrive day by day.
//!
//! Per arm: the number of rows, and means and co-moments of outcome and companion (a covariate
//! from before the trial for CUPED, a denominator for ratio metrics). Rows are independent and
//! weigh the same; clusters are handed in as rows (their sums), weights are not kept.

use serde::{Deserialize, Serialize};

use crate::estimate::Estimate;

/// Mergeable moments of pairs (outcome, companion).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PairMoments {
    /// Rows.
    pub n: u64,
    /// Means of outcome and companion.
    pub mean: [f64; 2],
    /// Sums of squared deviations of outcome and companion, and of their products.
    pub co_moment: [f64; 3],
}

impl PairMoments {
    /// Adds one row (Welford's update).
    pub fn observe(&mut self, outcome: f64, companion: f64) {
        let one = PairMoments { n: 1, mean: [outcome, companion], co_moment: [0.0; 3] };
        *self = self.merged(&one);
    }

    /// The moments of both parts' rows together (Chan, Golub & LeVeque 1983).
    pub fn merged(&self, other: &PairMoments) -> PairMoments {
        if self.n == 0 || other.n == 0 {
            return if self.n == 0 { *other } else { *self };
        }
        let (a, b) = (self.n as f64, other.n as f64);
        let gap = [0, 1].map(|i| other.mean[i] - self.mean[i]);
        let share = b / (a + b);
        let cross = [gap[0] * gap[0], gap[1] * gap[1], gap[0] * gap[1]].map(|product| product * a * share);
        PairMoments {
            n: self.n + other.n,
            mean: [0, 1].map(|i| self.mean[i] + gap[i] * share),
            co_moment: [0, 1, 2].map(|i| self.co_moment[i] + other.co_moment[i] + cross[i]),
        }
    }

    /// Sample variance of outcome − slope · companion, over n.
    fn variance_of_mean(&self, slope: f64) -> f64 {
        let [yy, xx, xy] = self.co_moment;
        let n = self.n as f64;
        (yy - 2.0 * slope * xy + slope * slope * xx).max(0.0) / (n - 1.0) / n
    }
}

/// Moments by arm, the control first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmMoments {
    /// By arm code.
    pub arms: Vec<PairMoments>,
}

impl ArmMoments {
    /// No rows yet.
    pub fn new(n_arms: usize) -> Self {
        ArmMoments { arms: vec![PairMoments::default(); n_arms] }
    }

    /// Adds one row; an arm never seen before makes room for itself.
    pub fn observe(&mut self, arm: u8, outcome: f64, companion: f64) {
        let place = usize::from(arm);
        if place >= self.arms.len() {
            self.arms.resize(place + 1, PairMoments::default());
        }
        self.arms[place].observe(outcome, companion);
    }

    /// The moments of both parts' rows together.
    pub fn merged(&self, other: &ArmMoments) -> ArmMoments {
        let n = self.arms.len().max(other.arms.len());
        let of = |moments: &ArmMoments, arm: usize| moments.arms.get(arm).copied().unwrap_or_default();
        ArmMoments { arms: (0..n).map(|arm| of(self, arm).merged(&of(other, arm))).collect() }
    }

    /// Difference in mean outcomes, arm minus control, with Neyman's error.
    pub fn difference(&self, arm: u8) -> Estimate {
        self.contrast(arm, 0.0)
    }

    /// CUPED: the same of outcome − θ·companion, θ the pooled within-arm slope (Deng et al. 2013).
    pub fn cuped(&self, arm: u8) -> Estimate {
        let [treated, control] = match self.pair(arm) {
            Ok(pair) => pair,
            Err(reason) => return Estimate::undefined(reason),
        };
        let spread = treated.co_moment[1] + control.co_moment[1];
        let slope = if spread > 0.0 { (treated.co_moment[2] + control.co_moment[2]) / spread } else { 0.0 };
        self.contrast(arm, slope)
    }

    /// Difference of the arms' ratios Σ outcome / Σ companion (revenue per visit, say), by the
    /// delta method.
    pub fn ratio_difference(&self, arm: u8) -> Estimate {
        let pair = match self.pair(arm) {
            Ok(pair) => pair,
            Err(reason) => return Estimate::undefined(reason),
        };
        if pair.iter().any(|side| side.mean[1] == 0.0) {
            return Estimate::undefined("the denominator's mean is 0");
        }
        let ratio = |side: &PairMoments| side.mean[0] / side.mean[1];
        let variance: f64 =
            pair.iter().map(|side| side.variance_of_mean(ratio(side)) / (side.mean[1] * side.mean[1])).sum();
        Estimate::new(ratio(&pair[0]) - ratio(&pair[1]), variance.sqrt(), pair[0].n + pair[1].n)
    }

    fn pair(&self, arm: u8) -> Result<[PairMoments; 2], &'static str> {
        let of = |arm: usize| self.arms.get(arm).copied().filter(|side| side.n > 0);
        match (arm, of(usize::from(arm)), of(0)) {
            (0, ..) => Err("the control cannot be compared with itself"),
            (_, None, _) => Err("no treated rows"),
            (_, _, None) => Err("no control rows"),
            (_, Some(treated), Some(control)) => Ok([treated, control]),
        }
    }

    fn contrast(&self, arm: u8, slope: f64) -> Estimate {
        match self.pair(arm) {
            Err(reason) => Estimate::undefined(reason),
            Ok([treated, control]) => {
                let value = |side: &PairMoments| side.mean[0] - slope * side.mean[1];
                let variance = treated.variance_of_mean(slope) + control.variance_of_mean(slope);
                Estimate::new(value(&treated) - value(&control), variance.sqrt(), treated.n + control.n)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::averages::{Sample, difference_in_means};
    use impactiq_data::Seed;

    fn rows(n: usize) -> (Vec<f64>, Vec<f64>, Vec<u8>) {
        let uniform = |stream: u64, i: usize| Seed::new(9).child(stream).uniform(i as u64);
        let x: Vec<f64> = (0..n).map(|i| 1e6 + uniform(1, i)).collect();
        let y = (0..n).map(|i| 3.0 * x[i] + uniform(2, i)).collect();
        (y, x, (0..n).map(|i| u8::from(uniform(3, i) < 0.4)).collect())
    }

    fn all(range: std::ops::Range<usize>, (y, x, arm): &(Vec<f64>, Vec<f64>, Vec<u8>)) -> ArmMoments {
        let mut moments = ArmMoments::new(2);
        range.for_each(|i| moments.observe(arm[i], y[i], x[i]));
        moments
    }

    #[test]
    fn parts_added_answer_as_the_whole_does() {
        let data = rows(3000);
        let whole = all(0..3000, &data);
        let parts = all(0..700, &data).merged(&all(700..701, &data)).merged(&all(701..3000, &data));
        for answer in [ArmMoments::difference, ArmMoments::cuped, ArmMoments::ratio_difference] {
            let (a, b) = (answer(&whole, 1), answer(&parts, 1));
            // Outcomes near 3e6 leave this much of a double's digits.
            assert!((a.value().unwrap() - b.value().unwrap()).abs() < 1e-7);
            assert!((a.std_error().unwrap() / b.std_error().unwrap() - 1.0).abs() < 1e-9);
        }
        let sample = Sample { outcome: &data.0, arm: &data.2, contrast: 1, weights: None, clusters: None };
        let (direct, pooled) = (difference_in_means(&sample), whole.difference(1));
        assert!((direct.value().unwrap() - pooled.value().unwrap()).abs() < 1e-8);
        assert!((direct.std_error().unwrap() / pooled.std_error().unwrap() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_covariate_from_before_takes_its_share_of_the_error_away() {
        let moments = all(0..3000, &rows(3000));
        let (plain, adjusted) = (moments.difference(1).std_error().unwrap(), moments.cuped(1).std_error().unwrap());
        // Outcome variance 9/12 + 1/12, of which 9/12 goes: the error falls to √(1/10).
        assert!((adjusted / plain - 0.1f64.sqrt()).abs() < 0.02, "{}", adjusted / plain);
    }

    #[test]
    fn ratios_of_sums_have_the_delta_methods_error() {
        let mut moments = ArmMoments::new(2);
        for (arm, y, x) in [(0, 1.0, 1.0), (0, 3.0, 1.0), (1, 2.0, 1.0), (1, 8.0, 4.0)] {
            moments.observe(arm, y, x);
        }
        let estimate = moments.ratio_difference(1);
        // Ratios 10/5 and 4/2; the arm's deviations y − 2x are 0, the control's ∓1.
        assert_eq!(estimate.value(), Some(0.0));
        assert!((estimate.std_error().unwrap() - 1.0).abs() < 1e-15);
        assert!(ArmMoments::new(2).difference(1).reason().is_some());
    }
}
