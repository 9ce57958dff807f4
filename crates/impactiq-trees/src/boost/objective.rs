//! How a boosting target moves: losses with their derivatives.
//!
//! One of the workspace's five seams. Derivatives are taken at the raw score (the
//! identity for squared loss, log-odds for logistic loss), without weights. What must not
//! live here: trees.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::TreesError;

/// The objectives a configuration can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObjectiveKind {
    /// Squared loss; the prediction is a mean.
    Squared,
    /// Logistic loss; targets lie in [0, 1], the prediction is a probability.
    Logistic,
}

impl ObjectiveKind {
    /// The objective of this name.
    pub fn objective(self) -> &'static dyn Objective {
        match self {
            ObjectiveKind::Squared => &Squared,
            ObjectiveKind::Logistic => &Logistic,
        }
    }
}

/// A loss with first and second derivatives in the raw score.
pub trait Objective: Sync {
    /// The raw score whose mean is the constant `mean`.
    fn start(&self, mean: f64) -> f64;

    /// The mean scale of a raw score.
    fn mean(&self, raw: f64) -> f64;

    /// First and second derivatives of each row's loss; all slices have one length.
    fn derivatives(&self, raw: &[f64], target: &[f64], gradient: &mut [f64], hessian: &mut [f64]);

    /// The largest |gradient| and hessian possible, when the loss bounds them.
    fn bounds(&self) -> Option<(f64, f64)>;

    /// One row's loss.
    fn loss(&self, raw: f64, target: f64) -> f64;

    /// Checks one row's target.
    ///
    /// # Errors
    /// [`TreesError::BadValue`].
    fn check(&self, target: f64, row: usize) -> Result<(), TreesError>;
}

/// Squared loss, (raw − target)² / 2: gradient raw − target, hessian 1.
#[derive(Clone, Copy, Debug)]
pub struct Squared;

impl Objective for Squared {
    fn start(&self, mean: f64) -> f64 {
        mean
    }

    fn mean(&self, raw: f64) -> f64 {
        raw
    }

    fn derivatives(&self, raw: &[f64], target: &[f64], gradient: &mut [f64], hessian: &mut [f64]) {
        for ((gradient, raw), target) in gradient.iter_mut().zip(raw).zip(target) {
            *gradient = raw - target;
        }
        hessian.fill(1.0);
    }

    fn bounds(&self) -> Option<(f64, f64)> {
        None
    }

    fn loss(&self, raw: f64, target: f64) -> f64 {
        0.5 * (raw - target) * (raw - target)
    }

    fn check(&self, target: f64, row: usize) -> Result<(), TreesError> {
        if target.is_finite() && target.abs() < 1e150 {
            return Ok(());
        }
        Err(TreesError::BadValue { what: "target", value: target, row, allowed: "it must be a finite number" })
    }
}

/// Logistic loss, log(1 + e^raw) − target · raw: gradient p − target, hessian p (1 − p).
#[derive(Clone, Copy, Debug)]
pub struct Logistic;

impl Objective for Logistic {
    fn start(&self, mean: f64) -> f64 {
        // A part without events still gets a finite score.
        let mean = mean.clamp(1e-9, 1.0 - 1e-9);
        (mean / (1.0 - mean)).ln()
    }

    fn mean(&self, raw: f64) -> f64 {
        // Both forms avoid overflow and keep small probabilities exact.
        if raw >= 0.0 {
            1.0 / (1.0 + (-raw).exp())
        } else {
            let odds = raw.exp();
            odds / (1.0 + odds)
        }
    }

    fn derivatives(&self, raw: &[f64], target: &[f64], gradient: &mut [f64], hessian: &mut [f64]) {
        let n = raw.len();
        let (target, gradient, hessian) = (&target[..n], &mut gradient[..n], &mut hessian[..n]);
        for i in 0..n {
            let p = 1.0 / (1.0 + exp(-raw[i]));
            gradient[i] = p - target[i];
            hessian[i] = p * (1.0 - p);
        }
    }

    fn bounds(&self) -> Option<(f64, f64)> {
        Some((1.0, 0.25))
    }

    fn loss(&self, raw: f64, target: f64) -> f64 {
        raw.max(0.0) + (-raw.abs()).exp().ln_1p() - target * raw
    }

    fn check(&self, target: f64, row: usize) -> Result<(), TreesError> {
        if (0.0..=1.0).contains(&target) {
            return Ok(());
        }
        Err(TreesError::BadValue { what: "target", value: target, row, allowed: "it must lie between 0 and 1" })
    }
}

/// e^x to a relative 1e-11, clamped to |x| ≤ 700, in a form that compiles to vector code:
/// the library's exponential is a scalar call and would cost a fifth of a tree.
#[inline(always)]
fn exp(x: f64) -> f64 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let x = x.clamp(-700.0, 700.0);
    // x = k ln 2 + r with |r| ≤ ln 2 / 2; k stands in the low bits of the shifted sum.
    let shifted = x * std::f64::consts::LOG2_E + MAGIC;
    let k = shifted - MAGIC;
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    // Taylor to degree 9: the remainder is below 7e-12 of e^r.
    let mut sum = 1.0 / 362_880.0;
    for c in [1.0 / 40_320.0, 1.0 / 5_040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * r + c;
    }
    let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    sum * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_exponential_keeps_eleven_digits() {
        for i in -7000..=7000 {
            let x = f64::from(i) * 0.1 + 0.037;
            let x = x.clamp(-699.0, 699.0);
            assert!((exp(x) / x.exp() - 1.0).abs() < 2e-11, "{x}: {} {}", exp(x), x.exp());
        }
        assert!(exp(1e9).is_finite() && exp(-1e9) > 0.0);
    }

    #[test]
    fn derivatives_agree_with_differences_of_the_loss() {
        for objective in [&Squared as &dyn Objective, &Logistic] {
            for (raw, target) in [(-3.0, 0.0), (0.4, 1.0), (2.0, 0.3), (-0.1, 1.0)] {
                let (mut g, mut h) = ([0.0], [0.0]);
                objective.derivatives(&[raw], &[target], &mut g, &mut h);
                let step = 1e-4;
                let (low, mid, high) = (
                    objective.loss(raw - step, target),
                    objective.loss(raw, target),
                    objective.loss(raw + step, target),
                );
                assert!((g[0] - (high - low) / (2.0 * step)).abs() < 1e-7);
                assert!((h[0] - (high - 2.0 * mid + low) / (step * step)).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn start_and_mean_are_inverse_and_targets_are_checked() {
        for mean in [0.003, 0.5, 0.97] {
            assert!((Logistic.mean(Logistic.start(mean)) - mean).abs() < 1e-12);
        }
        assert!(Logistic.start(0.0).is_finite());
        assert!(Logistic.check(1.2, 3).is_err() && Logistic.check(f64::NAN, 3).is_err());
        assert!(Squared.check(f64::INFINITY, 0).is_err());
    }
}
