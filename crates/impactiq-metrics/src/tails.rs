//! Tail probabilities and quantiles of the distributions tests refer to.

use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::{beta::checked_beta_reg, gamma::checked_gamma_ur};

use crate::estimate::two_sided_p;

/// A quantile of the standard normal distribution.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p.clamp(0.0, 1.0))
}

/// The chance of a larger chi-square statistic.
pub fn chi2_tail(statistic: f64, degrees_of_freedom: f64) -> f64 {
    if statistic.is_nan() || statistic <= 0.0 || degrees_of_freedom <= 0.0 {
        return 1.0;
    }
    checked_gamma_ur(degrees_of_freedom / 2.0, statistic / 2.0).unwrap_or(0.0).clamp(0.0, 1.0)
}

/// The chance of a larger F statistic.
pub(crate) fn f_tail(f: f64, first: f64, second: f64) -> f64 {
    if f.is_nan() || f <= 0.0 || first <= 0.0 || second <= 0.0 {
        return 1.0;
    }
    checked_beta_reg(second / 2.0, first / 2.0, second / (second + first * f)).unwrap_or(1.0).clamp(0.0, 1.0)
}

/// Two-sided p of Student's t; normal for very many degrees of freedom.
pub(crate) fn t_two_sided_p(t: f64, freedom: f64) -> f64 {
    if freedom > 1e6 { two_sided_p(t) } else { f_tail(t * t, 1.0, freedom) }
}
