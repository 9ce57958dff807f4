//! Two-stage least squares with any robust covariance, and Wald's ratio for one instrument.
//!
//! The second stage is a regression of Y − (D − D̂)β on (X, D̂): its coefficients are the
//! two-stage ones, its residuals the structural ones Y − Xγ − Dβ, so every covariance of an
//! ordinary regression is that of two-stage least squares (Wooldridge 2010, section 5.2).

use faer::Mat;
use impactiq_metrics::Estimate;
use impactiq_metrics::least_squares::{LeastSquaresModel, Penalty, Regression};
use impactiq_metrics::robust::Covariance;
use serde::{Deserialize, Serialize};

use super::first_stage::{FirstStage, Test, chi_square_tail, f_quantile, f_tail, freedom, judge};
use super::weak::{ConfidenceSet, ReducedForms};
use crate::dml::varies;
use crate::error::CausalError;

/// What two-stage least squares sees: columns of n finite values each; a constant is always
/// estimated.
#[derive(Clone, Copy, Debug)]
pub struct Instrumented<'a> {
    /// Outcome.
    pub outcome: &'a [f64],
    /// Columns that were chosen, not assigned: the treatment.
    pub endogenous: &'a [&'a [f64]],
    /// Columns that are their own instruments: controls.
    pub exogenous: &'a [&'a [f64]],
    /// Instruments, at least as many as endogenous columns.
    pub instruments: &'a [&'a [f64]],
    /// Weight per row.
    pub weights: Option<&'a [f64]>,
    /// Cluster per row.
    pub clusters: Option<&'a [u32]>,
}

/// A two-stage fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwoStage {
    /// Effect of each endogenous column.
    pub effects: Vec<Estimate>,
    /// Coefficient of each exogenous column; undefined for one that is a linear combination
    /// of others.
    pub exogenous: Vec<Estimate>,
    /// The constant.
    pub intercept: Estimate,
    /// Covariance of (constant, exogenous, endogenous).
    pub covariance: Vec<Vec<f64>>,
    /// How strongly the instruments pull each endogenous column.
    pub first_stages: Vec<FirstStage>,
    /// Anderson–Rubin set of the effect; with one endogenous column only.
    pub anderson_rubin: Option<ConfidenceSet>,
    /// Sargan's test that the instruments agree; with more instruments than endogenous columns.
    pub sargan: Option<Test>,
    /// Wu–Hausman test that ordinary least squares would do; with one endogenous column.
    pub wu_hausman: Option<Test>,
}

/// Wald's ratio: what one instrument does to the outcome over what it does to the treatment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wald {
    /// Effect of the treatment on those whom the instrument moves.
    pub effect: Estimate,
    /// Effect of the instrument on the outcome (intention to treat).
    pub reduced_form: Estimate,
    /// Effect of the instrument on the treatment.
    pub compliance: Estimate,
    /// F of the instrument and its partial R².
    pub first_stage: FirstStage,
    /// Anderson–Rubin set of the effect.
    pub anderson_rubin: ConfidenceSet,
}

/// Two-stage least squares. [`Covariance::Classical`] has n − k in its denominator (Stata's
/// `small`), HC1 and CR1 are Stata's `small` robust and cluster ones.
///
/// # Errors
/// [`CausalError::NoVariation`] for a constant instrument or treatment, for instruments that are
/// linear combinations of the exogenous columns, and for endogenous columns that the
/// instruments cannot tell apart; [`CausalError::TooFewInstruments`]; [`CausalError::Metrics`] for
/// lengths, values that are not finite, too few rows or clusters.
pub fn two_stage_least_squares(data: &Instrumented<'_>, kind: Covariance) -> Result<TwoStage, CausalError> {
    data.check()?;
    let (p, m) = (data.exogenous.len(), data.endogenous.len());
    let design: Vec<&[f64]> = data.exogenous.iter().chain(data.instruments).copied().collect();
    let stage = Stage { data, design: &design };
    let first: Vec<LeastSquaresModel> =
        data.endogenous.iter().map(|column| stage.fit(column)).collect::<Result<_, _>>()?;
    let kept: Vec<usize> = (p..design.len()).filter(|j| !first[0].dropped.contains(j)).collect();
    if kept.is_empty() {
        return Err(CausalError::NoVariation { what: "what the exogenous columns leave of the instruments".into() });
    }
    if kept.len() < m {
        return Err(CausalError::TooFewInstruments { found: kept.len(), needed: m });
    }
    let fitted = first.iter().map(|model| stage.predict(model)).collect::<Result<Vec<_>, _>>()?;
    let second: Vec<&[f64]> = data.exogenous.iter().copied().chain(fitted.iter().map(Vec::as_slice)).collect();
    let rough = data.regression(data.outcome, &second).fit(Penalty::None)?;
    if let Some(&j) = rough.dropped.iter().find(|&&j| j >= p) {
        let what = format!("what instruments and exogenous columns say of endogenous column {}", j - p + 1);
        return Err(CausalError::NoVariation { what });
    }
    let structural: Vec<f64> = (0..data.outcome.len())
        .map(|row| {
            let gap = |j: usize| rough.coefficients[p + j] * (data.endogenous[j][row] - fitted[j][row]);
            data.outcome[row] - (0..m).map(gap).sum::<f64>()
        })
        .collect();
    let regression = data.regression(&structural, &second);
    let model = regression.fit(Penalty::None)?;
    let first_stages = data
        .endogenous
        .iter()
        .zip(&first)
        .map(|(column, model)| judge(&stage.of(column), model, p, &kept, kind))
        .collect::<Result<_, _>>()?;
    let coefficient = |j: usize| -> Result<Estimate, CausalError> {
        if j > 0 && model.dropped.contains(&(j - 1)) {
            return Ok(Estimate::undefined("the column is a linear combination of the others"));
        }
        let unit: Vec<f64> = (0..=p + m).map(|i| f64::from(u8::from(i == j))).collect();
        Ok(regression.contrast(&model, &unit, kind)?)
    };
    Ok(TwoStage {
        effects: (0..m).map(|j| coefficient(1 + p + j)).collect::<Result<_, _>>()?,
        exogenous: (0..p).map(|j| coefficient(1 + j)).collect::<Result<_, _>>()?,
        intercept: coefficient(0)?,
        covariance: regression.covariance(&model, kind)?,
        first_stages,
        anderson_rubin: if m == 1 { Some(stage.anderson_rubin(&first[0], &kept, kind)?) } else { None },
        sargan: if kept.len() > m {
            Some(stage.sargan(&structural, &regression, &model, kept.len() - m)?)
        } else {
            None
        },
        wu_hausman: if m == 1 { Some(stage.wu_hausman(&fitted[0])?) } else { None },
    })
}

/// Wald's ratio for one instrument, adjusted for exogenous columns where there are some.
///
/// # Errors
/// As [`two_stage_least_squares`]; [`CausalError::TooFewInstruments`] unless there is one
/// instrument and one endogenous column.
pub fn wald(data: &Instrumented<'_>, kind: Covariance) -> Result<Wald, CausalError> {
    if data.instruments.len() != 1 || data.endogenous.len() != 1 {
        return Err(CausalError::TooFewInstruments { found: data.instruments.len(), needed: data.endogenous.len() });
    }
    let fit = two_stage_least_squares(data, kind)?;
    let design: Vec<&[f64]> = data.exogenous.iter().chain(data.instruments).copied().collect();
    let slope = |outcome: &[f64]| -> Result<Estimate, CausalError> {
        let regression = data.regression(outcome, &design);
        let unit: Vec<f64> = (0..=design.len()).map(|i| f64::from(u8::from(i == design.len()))).collect();
        Ok(regression.contrast(&regression.fit(Penalty::None)?, &unit, kind)?)
    };
    Ok(Wald {
        effect: fit.effects[0].clone(),
        reduced_form: slope(data.outcome)?,
        compliance: slope(data.endogenous[0])?,
        first_stage: fit.first_stages[0],
        anderson_rubin: fit
            .anderson_rubin
            .unwrap_or(ConfidenceSet { shape: super::weak::SetShape::Empty, intervals: Vec::new() }),
    })
}

impl<'a> Instrumented<'a> {
    fn regression<'b>(&self, outcome: &'b [f64], columns: &'b [&'b [f64]]) -> Regression<'b>
    where
        'a: 'b,
    {
        Regression { columns, outcome, weights: self.weights, clusters: self.clusters, intercept: true }
    }

    fn check(&self) -> Result<(), CausalError> {
        if self.endogenous.is_empty() || self.instruments.len() < self.endogenous.len() {
            let needed = self.endogenous.len().max(1);
            return Err(CausalError::TooFewInstruments { found: self.instruments.len(), needed });
        }
        let columns = |what: &str, columns: &[&[f64]]| {
            columns.iter().enumerate().try_for_each(|(j, c)| {
                let what = if columns.len() == 1 { format!("the {what}") } else { format!("{what} {}", j + 1) };
                varies(&what, c)
            })
        };
        columns("treatment", self.endogenous)?;
        columns("instrument", self.instruments)
    }
}

/// The columns of the first stage: exogenous ones, then instruments.
struct Stage<'a> {
    data: &'a Instrumented<'a>,
    design: &'a [&'a [f64]],
}

impl Stage<'_> {
    fn of<'b>(&'b self, target: &'b [f64]) -> Regression<'b> {
        self.data.regression(target, self.design)
    }

    fn fit(&self, target: &[f64]) -> Result<LeastSquaresModel, CausalError> {
        Ok(self.of(target).fit(Penalty::None)?)
    }

    fn predict(&self, model: &LeastSquaresModel) -> Result<Vec<f64>, CausalError> {
        let mut fitted = vec![0.0; self.data.outcome.len()];
        model.predict(self.design, &mut fitted)?;
        Ok(fitted)
    }

    fn anderson_rubin(
        &self,
        treatment: &LeastSquaresModel,
        kept: &[usize],
        kind: Covariance,
    ) -> Result<ConfidenceSet, CausalError> {
        let data = self.data;
        let (of_outcome, of_treatment) = (self.of(data.outcome), self.of(data.endogenous[0]));
        let outcome = of_outcome.fit(Penalty::None)?;
        let q = kept.len();
        let unit =
            |j: usize| -> Vec<f64> { (0..=self.design.len()).map(|i| f64::from(u8::from(i == j + 1))).collect() };
        let (outcome_variance, treatment_variance, covariance);
        if kind == Covariance::Classical {
            let block = |regression: &Regression<'_>, model: &LeastSquaresModel| -> Result<Mat<f64>, CausalError> {
                let all = regression.covariance(model, kind)?;
                Ok(Mat::from_fn(q, q, |i, j| all[kept[i] + 1][kept[j] + 1]))
            };
            outcome_variance = block(&of_outcome, &outcome)?;
            treatment_variance = block(&of_treatment, treatment)?;
            // The inverse Gram matrix is shared; only the error's (co)variance differs.
            let cross = self.residual_product(&outcome, treatment)?;
            let ratio = cross / outcome.residual_sum_of_squares;
            covariance = Mat::from_fn(q, q, |i, j| ratio * outcome_variance[(i, j)]);
        } else {
            let parts = |regression: &Regression<'_>, model: &LeastSquaresModel| {
                kept.iter()
                    .map(|&j| regression.contributions(model, &unit(j), kind).map(|c| c.values))
                    .collect::<Result<Vec<_>, _>>()
            };
            let (a, b) = (parts(&of_outcome, &outcome)?, parts(&of_treatment, treatment)?);
            let cross = |a: &[Vec<f64>], b: &[Vec<f64>]| {
                Mat::from_fn(q, q, |i, j| a[i].iter().zip(&b[j]).map(|(x, y)| x * y).sum::<f64>())
            };
            (outcome_variance, treatment_variance, covariance) = (cross(&a, &a), cross(&b, &b), cross(&a, &b));
        }
        let forms = ReducedForms {
            outcome: kept.iter().map(|&j| outcome.coefficients[j]).collect(),
            treatment: kept.iter().map(|&j| treatment.coefficients[j]).collect(),
            outcome_variance,
            treatment_variance,
            covariance,
            critical: q as f64 * f_quantile(q as f64, freedom(&of_outcome, &outcome, kind)),
        };
        Ok(forms.confidence_set())
    }

    /// Σ w eʸ eᵈ over the residuals of both reduced forms.
    fn residual_product(&self, outcome: &LeastSquaresModel, treatment: &LeastSquaresModel) -> Result<f64, CausalError> {
        let data = self.data;
        let (y, d) = (self.predict(outcome)?, self.predict(treatment)?);
        let weight = |row: usize| data.weights.map_or(1.0, |w| w[row]);
        Ok((0..y.len())
            .map(|row| weight(row) * (data.outcome[row] - y[row]) * (data.endogenous[0][row] - d[row]))
            .sum())
    }

    /// n · R² of the structural residuals on all instruments (Sargan 1958).
    fn sargan(
        &self,
        structural: &[f64],
        regression: &Regression<'_>,
        model: &LeastSquaresModel,
        freedom: usize,
    ) -> Result<Test, CausalError> {
        let mut fitted = vec![0.0; structural.len()];
        model.predict(regression.columns, &mut fitted)?;
        let residuals: Vec<f64> = structural.iter().zip(&fitted).map(|(y, f)| y - f).collect();
        let left = self.fit(&residuals)?.residual_sum_of_squares;
        let statistic = model.n_rows as f64 * (1.0 - left / model.residual_sum_of_squares);
        Ok(Test { statistic, p_value: chi_square_tail(statistic, freedom as f64) })
    }

    /// F of the first stage's residuals in the ordinary regression (Hausman 1978).
    fn wu_hausman(&self, fitted: &[f64]) -> Result<Test, CausalError> {
        let data = self.data;
        let residuals: Vec<f64> = data.endogenous[0].iter().zip(fitted).map(|(d, f)| d - f).collect();
        let columns: Vec<&[f64]> =
            data.exogenous.iter().copied().chain([data.endogenous[0], residuals.as_slice()]).collect();
        let regression = Regression { clusters: None, ..data.regression(data.outcome, &columns) };
        let model = regression.fit(Penalty::None)?;
        let unit: Vec<f64> = (0..=columns.len()).map(|i| f64::from(u8::from(i == columns.len()))).collect();
        let z = regression.contrast(&model, &unit, Covariance::Classical)?.z().unwrap_or(f64::NAN);
        let free = model.n_rows.saturating_sub(model.rank) as f64;
        Ok(Test { statistic: z * z, p_value: f_tail(z * z, 1.0, free) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::Seed;

    fn noise(seed: u64, n: usize) -> Vec<f64> {
        (0..n as u64).map(|i| (0..12).map(|k| Seed::new(seed).child(k).uniform(i)).sum::<f64>() - 6.0).collect()
    }

    /// D is moved by Z and by U, Y by 2 D and U.
    fn confounded(n: usize) -> [Vec<f64>; 4] {
        let (z, u, e, x) = (noise(1, n), noise(2, n), noise(3, n), noise(4, n));
        let d: Vec<f64> = (0..n).map(|i| 0.5 * z[i] + u[i] + x[i]).collect();
        let y = (0..n).map(|i| 2.0 * d[i] + 3.0 * u[i] + e[i] - x[i]).collect();
        [y, d, z, x]
    }

    #[test]
    fn an_instrument_finds_what_ordinary_regression_misses() {
        let [y, d, z, x] = confounded(4000);
        let data = Instrumented {
            outcome: &y,
            endogenous: &[&d],
            exogenous: &[&x],
            instruments: &[&z],
            weights: None,
            clusters: None,
        };
        let fit = two_stage_least_squares(&data, Covariance::Hc1).unwrap();
        let effect = &fit.effects[0];
        assert!((effect.value().unwrap() - 2.0).abs() < 4.0 * effect.std_error().unwrap());
        assert!(fit.first_stages[0].f.statistic > 100.0 && fit.wu_hausman.unwrap().p_value < 1e-6);
        assert!(fit.anderson_rubin.unwrap().contains(2.0) && fit.sargan.is_none());
        // Wald with one instrument is the ratio of the two reduced forms.
        let ratio = wald(&data, Covariance::Hc1).unwrap();
        let by_hand = ratio.reduced_form.value().unwrap() / ratio.compliance.value().unwrap();
        assert!((ratio.effect.value().unwrap() - by_hand).abs() < 1e-10);
    }

    #[test]
    fn weights_count_rows_twice_as_two_rows_would() {
        let [y, d, z, x] = confounded(300);
        let twice = |v: &[f64]| -> Vec<f64> { v.iter().chain(&v[..100]).copied().collect() };
        let weights: Vec<f64> = (0..300).map(|i| if i < 100 { 2.0 } else { 1.0 }).collect();
        let [y2, d2, z2, x2] = [&y, &d, &z, &x].map(|v| twice(v));
        let fit = |y: &[f64], d: &[f64], z: &[f64], x: &[f64], weights: Option<&[f64]>| {
            let data = Instrumented {
                outcome: y,
                endogenous: &[d],
                exogenous: &[x],
                instruments: &[z],
                weights,
                clusters: None,
            };
            two_stage_least_squares(&data, Covariance::Hc0).unwrap().effects[0].value().unwrap()
        };
        let gap = fit(&y, &d, &z, &x, Some(&weights)) - fit(&y2, &d2, &z2, &x2, None);
        assert!(gap.abs() < 1e-10, "{gap}");
    }

    #[test]
    fn instruments_that_say_nothing_are_named() {
        let [y, d, z, x] = confounded(100);
        let flat = vec![1.0; 100];
        let copy: Vec<f64> = x.iter().map(|x| 3.0 * x + 1.0).collect();
        let fit = |endogenous: &[&[f64]], instruments: &[&[f64]]| {
            let exogenous: [&[f64]; 1] = [&x];
            let data = Instrumented {
                outcome: &y,
                endogenous,
                exogenous: &exogenous,
                instruments,
                weights: None,
                clusters: None,
            };
            two_stage_least_squares(&data, Covariance::Hc1).unwrap_err()
        };
        assert_eq!(fit(&[&d], &[&flat]).to_string(), "the instrument does not vary");
        assert_eq!(fit(&[&flat], &[&z]).to_string(), "the treatment does not vary");
        assert!(fit(&[&d], &[&copy]).to_string().contains("leave of the instruments"));
        assert!(matches!(fit(&[&d, &z], &[&z]), CausalError::TooFewInstruments { found: 1, needed: 2 }));
        assert!(matches!(fit(&[&d, &d], &[&z, &y]), CausalError::NoVariation { .. }));
    }
}
