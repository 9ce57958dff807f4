//! How strongly instruments pull: F of the excluded instruments and their partial R².

use faer::Mat;
use impactiq_metrics::MetricsError;
use impactiq_metrics::least_squares::{LeastSquaresModel, Penalty, Regression};
use impactiq_metrics::robust::Covariance;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF, FisherSnedecor};

/// A test statistic with its p-value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// The statistic.
    pub statistic: f64,
    /// Its p-value.
    pub p_value: f64,
}

/// The regression of one endogenous column on exogenous columns and instruments.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirstStage {
    /// F of the excluded instruments under the covariance asked for; below about 10 the
    /// two-stage interval is not to be trusted, the Anderson–Rubin set is.
    pub f: Test,
    /// Share of what the exogenous columns leave of the column that the instruments explain.
    pub partial_r2: f64,
    /// Instruments that are not linear combinations of others and the exogenous columns.
    pub n_instruments: usize,
}

/// The F distribution's upper tail; chi-square where there are no denominator degrees.
pub(super) fn f_tail(statistic: f64, q: f64, freedom: f64) -> f64 {
    if !statistic.is_finite() {
        return if statistic.is_nan() { f64::NAN } else { 0.0 };
    }
    match FisherSnedecor::new(q, freedom) {
        Ok(f) if freedom.is_finite() => f.sf(statistic.max(0.0)),
        _ => chi_square_tail(statistic * q, q),
    }
}

pub(super) fn chi_square_tail(statistic: f64, q: f64) -> f64 {
    ChiSquared::new(q).map_or(f64::NAN, |c| c.sf(statistic.max(0.0)))
}

/// The 95 % quantile of F.
pub(super) fn f_quantile(q: f64, freedom: f64) -> f64 {
    FisherSnedecor::new(q, freedom).map_or(f64::NAN, |f| f.inverse_cdf(0.95))
}

/// gᵀ V⁻¹ g by Cholesky; infinite where V has no positive definite part left.
pub(super) fn quadratic_form(g: &[f64], v: &Mat<f64>) -> f64 {
    let q = g.len();
    let mut factor = vec![0.0; q * q];
    let mut z = vec![0.0; q];
    let mut total = 0.0;
    for i in 0..q {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| factor[i * q + k] * factor[j * q + k]).sum();
            if i == j {
                let pivot = v[(i, i)] - sum;
                if pivot.is_nan() || pivot <= 1e-14 * v[(i, i)].abs() {
                    return f64::INFINITY;
                }
                factor[i * q + i] = pivot.sqrt();
            } else {
                factor[i * q + j] = (v[(i, j)] - sum) / factor[j * q + j];
            }
        }
        let sum: f64 = (0..i).map(|k| factor[i * q + k] * z[k]).sum();
        z[i] = (g[i] - sum) / factor[i * q + i];
        total += z[i] * z[i];
    }
    total
}

/// Denominator degrees of freedom of a fit under a covariance.
pub(super) fn freedom(regression: &Regression<'_>, model: &LeastSquaresModel, kind: Covariance) -> f64 {
    match (kind, regression.clusters) {
        (Covariance::Cr1 | Covariance::Cr2, Some(clusters)) => {
            let mut codes = clusters.to_vec();
            codes.sort_unstable();
            codes.dedup();
            codes.len() as f64 - 1.0
        }
        _ => model.n_rows.saturating_sub(model.rank) as f64,
    }
}

/// Judges the first stage: `regression` has the exogenous columns, then the instruments, of
/// which those at `kept` (positions among all columns) were not dropped.
pub(super) fn judge(
    regression: &Regression<'_>,
    model: &LeastSquaresModel,
    n_exogenous: usize,
    kept: &[usize],
    kind: Covariance,
) -> Result<FirstStage, MetricsError> {
    let covariance = regression.covariance(model, kind)?;
    let g: Vec<f64> = kept.iter().map(|&j| model.coefficients[j]).collect();
    let v = Mat::from_fn(g.len(), g.len(), |i, j| covariance[kept[i] + 1][kept[j] + 1]);
    let q = kept.len() as f64;
    let statistic = quadratic_form(&g, &v) / q;
    let restricted = Regression { columns: &regression.columns[..n_exogenous], ..*regression };
    let without = restricted.fit(Penalty::None)?.residual_sum_of_squares;
    Ok(FirstStage {
        f: Test { statistic, p_value: f_tail(statistic, q, freedom(regression, model, kind)) },
        partial_r2: 1.0 - model.residual_sum_of_squares / without,
        n_instruments: kept.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quadratic_forms_and_tails_match_hand_and_tables() {
        let v = Mat::from_fn(2, 2, |i, j| if i == j { 2.0 } else { 1.0 });
        // The inverse of [[2, 1], [1, 2]] is [[2, −1], [−1, 2]] / 3.
        assert!((quadratic_form(&[1.0, 2.0], &v) - 2.0).abs() < 1e-14);
        assert_eq!(quadratic_form(&[1.0], &Mat::zeros(1, 1)), f64::INFINITY);
        assert!((f_quantile(1.0, 10.0) - 4.964_602_7).abs() < 1e-5);
        assert!((f_tail(4.964_602_7, 1.0, 10.0) - 0.05).abs() < 1e-6);
        assert!((chi_square_tail(3.841_458_8, 1.0) - 0.05).abs() < 1e-7);
    }
}
