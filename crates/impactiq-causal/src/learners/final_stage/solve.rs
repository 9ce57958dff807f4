//! The least-squares fit of one linear effect, with a robust covariance.
//!
//! What must not live here: which residuals an effect has, and which products it takes up.

use impactiq_metrics::least_squares::{Penalty, Regression};
use impactiq_metrics::robust::Covariance;

use super::model::{LinearContrast, with_products};
use crate::error::CausalError;
use crate::learners::config::LearnerConfig;
use crate::linear::{Design, Source};

/// Rows, their targets, and what their numbers are multiplied by: the treatment's residual.
pub(super) type Residuals = (Vec<u32>, Vec<f64>, Option<Vec<f64>>);

/// What the least-squares fit of one effect sees beside its residuals.
pub(super) struct Solve<'a> {
    pub design: &'a Design,
    /// Products of its numbers that stand after them.
    pub products: &'a [[usize; 2]],
    pub source: &'a Source<'a>,
    /// Names of the design's numbers and of the products.
    pub names: &'a [String],
    /// By row of the source.
    pub weights: Option<&'a [f64]>,
    /// By row of the source.
    pub clusters: Option<&'a [u32]>,
    /// The arm or treatment, for messages.
    pub label: &'a str,
}

impl Solve<'_> {
    /// The covariance that is asked for, or the default.
    pub fn covariance(&self, config: &LearnerConfig) -> Result<Covariance, CausalError> {
        let kind = config.covariance.unwrap_or_else(|| Covariance::robust(self.clusters));
        if kind.by_cluster() && self.clusters.is_none() {
            let allowed = "a covariance by cluster needs roles.cluster";
            return Err(CausalError::setting("learner.covariance", kind.name(), allowed));
        }
        Ok(kind)
    }

    pub fn fit(
        &self,
        (rows, target, slopes): &Residuals,
        kind: Covariance,
    ) -> Result<(LinearContrast, u64), CausalError> {
        let (n, k, label) = (rows.len(), self.design.width() + self.products.len(), self.label);
        if n <= k {
            let what = format!("the linear final stage of arm '{label}' with {k} coefficients");
            return Err(CausalError::TooFewRows { what, found: n, needed: k + 1 });
        }
        let mut x = vec![0.0; self.design.width() * n];
        self.design.bind(self.source)?.fill(rows, &mut x);
        let mut x = if self.products.is_empty() { x } else { with_products(&x, n, self.products) };
        if let Some(slopes) = slopes {
            x.chunks_exact_mut(n).for_each(|column| column.iter_mut().zip(slopes).for_each(|(x, t)| *x *= t));
        }
        let columns: Vec<&[f64]> = x.chunks_exact(n).collect();
        let pick = |values: &[f64]| -> Vec<f64> { rows.iter().map(|&row| values[row as usize]).collect() };
        let weights = self.weights.map(pick);
        let clusters: Option<Vec<u32>> = self.clusters.map(|all| rows.iter().map(|&row| all[row as usize]).collect());
        let regression = Regression {
            columns: &columns,
            outcome: target,
            weights: weights.as_deref(),
            clusters: clusters.as_deref(),
            intercept: false,
        };
        let model = regression.fit(Penalty::None)?;
        if !model.dropped.is_empty() {
            let features = model.dropped.iter().map(|&j| self.names[j].clone()).collect();
            return Err(CausalError::Collinear { features, arm: label.to_owned() });
        }
        let covariance = regression.covariance(&model, kind)?;
        let covariance: Vec<f64> = (1..=k).flat_map(|i| covariance[i][1..].to_vec()).collect();
        let finite = model.coefficients.iter().chain(&covariance).all(|v| v.is_finite());
        if !finite {
            return Err(CausalError::NotFinite { what: format!("the linear final stage of arm '{label}'") });
        }
        let freedom = match &clusters {
            Some(clusters) if kind.by_cluster() => n_distinct(clusters) as f64 - 1.0,
            _ => f64::INFINITY,
        };
        Ok((LinearContrast { coefficients: model.coefficients, covariance, freedom }, model.n_rows as u64))
    }
}

fn n_distinct(codes: &[u32]) -> usize {
    let mut sorted = codes.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len()
}
