//! Two means with their joint sampling variance, and what follows from them: the difference,
//! its share of the control mean (Fieller's interval) and the outcomes it stands for.

use serde::{Deserialize, Serialize};

use crate::estimate::{Estimate, t_quantile};

/// How the interval of a relative lift was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelativeMethod {
    /// Fieller's exact set for a ratio of normal means (Fieller 1954).
    Fieller,
    /// The delta method: Fieller's set is unbounded because the control mean itself is not
    /// clearly different from 0.
    Delta,
}

/// An average effect in all its units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lift {
    /// Mean outcome under the arm minus mean outcome under control.
    pub ate: Estimate,
    /// The effect as a share of the control mean: 0.1 is ten per cent more.
    pub relative: Estimate,
    /// How the interval of `relative` was made.
    pub relative_method: Option<RelativeMethod>,
    /// The effect times the (weighted) number of rows in the arm: outcomes it caused.
    pub incremental: Estimate,
    /// Mean outcome under control.
    pub control_mean: Estimate,
    /// Mean outcome under the arm.
    pub treated_mean: Estimate,
}

/// Two means and their joint sampling variance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeanPair {
    pub(crate) treated: f64,
    pub(crate) control: f64,
    pub(crate) variance_treated: f64,
    pub(crate) variance_control: f64,
    pub(crate) covariance: f64,
    /// Degrees of freedom of each mean and of the difference; infinite for normal intervals.
    pub(crate) freedom: [f64; 3],
    pub(crate) n: u64,
}

impl MeanPair {
    pub(crate) fn new(treated: f64, control: f64, n: u64) -> Self {
        MeanPair {
            treated,
            control,
            variance_treated: 0.0,
            variance_control: 0.0,
            covariance: 0.0,
            freedom: [f64::INFINITY; 3],
            n,
        }
    }

    pub(crate) fn fill(&mut self, parts: &[[f64; 2]]) {
        self.variance_treated = parts.iter().map(|p| p[0] * p[0]).sum();
        self.variance_control = parts.iter().map(|p| p[1] * p[1]).sum();
        self.covariance = parts.iter().map(|p| p[0] * p[1]).sum();
    }

    pub(crate) fn treated_estimate(&self) -> Estimate {
        Estimate::with_t(self.treated, self.variance_treated.sqrt(), self.freedom[0], self.n)
    }

    pub(crate) fn lift(&self, n_treated: f64) -> Lift {
        let variance = self.variance_treated + self.variance_control - 2.0 * self.covariance;
        let ate = Estimate::with_t(self.treated - self.control, root(variance), self.freedom[2], self.n);
        let (relative, relative_method) = self.relative();
        Lift {
            incremental: ate.scaled(n_treated),
            ate,
            relative,
            relative_method,
            control_mean: Estimate::with_t(self.control, self.variance_control.sqrt(), self.freedom[1], self.n),
            treated_mean: self.treated_estimate(),
        }
    }

    /// Treated over control mean, minus one.
    fn relative(&self) -> (Estimate, Option<RelativeMethod>) {
        if self.control.is_nan() || self.control <= 0.0 {
            return (Estimate::undefined("the control mean is not positive"), None);
        }
        let ratio = self.treated / self.control;
        let (v1, v0, c) = (self.variance_treated, self.variance_control, self.covariance);
        let std_error = root(v1 - 2.0 * ratio * c + ratio * ratio * v0) / self.control;
        let q = t_quantile(self.freedom[2]);
        let (a, b) = (self.control.powi(2) - q * q * v0, self.treated * self.control - q * q * c);
        let inside = b * b - a * (self.treated.powi(2) - q * q * v1);
        if a > 0.0 && inside >= 0.0 {
            let (lower, upper) = ((b - inside.sqrt()) / a - 1.0, (b + inside.sqrt()) / a - 1.0);
            let estimate = Estimate::with_bounds(ratio - 1.0, std_error, lower, upper, self.n);
            return (estimate, Some(RelativeMethod::Fieller));
        }
        (Estimate::with_t(ratio - 1.0, std_error, self.freedom[2], self.n), Some(RelativeMethod::Delta))
    }
}

/// The square root of a variance that rounding may have made barely negative; NaN stays NaN.
pub(crate) fn root(variance: f64) -> f64 {
    if variance < 0.0 { 0.0 } else { variance.sqrt() }
}

impl Lift {
    pub(crate) fn undefined(reason: String) -> Self {
        let none = || Estimate::undefined(reason.clone());
        Lift {
            ate: none(),
            relative: none(),
            relative_method: None,
            incremental: none(),
            control_mean: none(),
            treated_mean: none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fiellers_bounds_are_where_the_linearised_difference_is_just_significant() {
        for covariance in [-0.02, 0.0, 0.03] {
            let pair =
                MeanPair { variance_treated: 0.05, variance_control: 0.04, covariance, ..MeanPair::new(2.5, 2.0, 500) };
            let (relative, method) = pair.relative();
            assert_eq!(method, Some(RelativeMethod::Fieller));
            let q = t_quantile(f64::INFINITY);
            for bound in [relative.lower().unwrap(), relative.upper().unwrap()] {
                // T − r C has variance v₁ − 2 r c + r² v₀ whatever the ratio r of the means.
                let ratio = 1.0 + bound;
                let variance = 0.05 - 2.0 * ratio * covariance + ratio * ratio * 0.04;
                let z = (2.5 - ratio * 2.0).abs() / variance.sqrt();
                assert!((z - q).abs() < 1e-9, "{covariance}: {z} at {bound}");
            }
            // Delta method: Var(T/C) = (v₁ − 2 R c + R² v₀) / C², R = 1.25.
            let delta = (0.05 - 2.5 * covariance + 1.5625 * 0.04_f64).sqrt() / 2.0;
            assert!((relative.std_error().unwrap() - delta).abs() < 1e-12);
        }
    }
}
