//! How linear final stages are learned: one least-squares fit per arm on numbers that no row's
//! own outcome had a hand in, with a robust covariance.

use impactiq_metrics::least_squares::{Penalty, Regression};
use impactiq_metrics::robust::Covariance;

use super::interactions::choose;
use super::model::{LinearContrast, LinearStage, with_products};
use super::report::{LinearReport, Terms};
use crate::base::Inputs;
use crate::error::CausalError;
use crate::learners::config::{LearnerConfig, LearnerKind};
use crate::learners::pseudo::Pair;
use crate::learners::task::LearnerTask;
use crate::linear::{Design, MAX_INDICATORS, Source};
use impactiq_data::Seed;

impl LinearStage {
    /// Learns the linear effect of every arm.
    ///
    /// # Errors
    /// [`CausalError::TooFewRows`] unless there are more rows than coefficients,
    /// [`CausalError::Collinear`] naming the features that are combinations of others,
    /// [`CausalError::BadSetting`] for a covariance by cluster without clusters.
    pub(in crate::learners) fn fit(
        config: &LearnerConfig,
        inputs: &Inputs<'_>,
        task: &LearnerTask<'_>,
        seed: Seed,
    ) -> Result<(LinearStage, Vec<LinearReport>), CausalError> {
        for arm in 0..task.arms.len() {
            task.arm_rows(arm)?;
        }
        let source = Source::new(inputs.raw);
        let design = Design::learn(&source, inputs.names, task.rows, task.weights, MAX_INDICATORS)?;
        let plain = Terms::of(&design);
        let solve = |arm: usize, names, products| Solve {
            design: &design,
            products,
            source: &source,
            names,
            weights: task.weights,
            clusters: task.clusters,
            label: task.arms.labels()[arm].as_str(),
        };
        let residuals = (1..task.arms.len())
            .map(|arm| Stage { task, pair: Pair::new(task, arm)? }.regression(config.kind))
            .collect::<Result<Vec<Residuals>, CausalError>>()?;
        let (mut products, mut chosen) = (Vec::new(), vec![None; residuals.len()]);
        if let Some(interactions) = config.interactions {
            let folds = folds(task)?;
            for (index, residuals) in residuals.iter().enumerate() {
                let (arm, most) = (index + 1, interactions.most());
                let seed = seed.child(INTERACTIONS + arm as u64);
                let found = choose(&solve(arm, plain.names(), &[]), residuals, (folds, task.row_ids), most, seed)?;
                products.extend(found.products);
                chosen[index] = Some(found.report);
            }
            // One design for all arms.
            products.sort_unstable();
            products.dedup();
        }
        let terms = Terms::of(&design).with_products(&products);
        let (mut contrasts, mut reports) = (Vec::new(), Vec::new());
        for (index, (residuals, interactions)) in residuals.iter().zip(chosen).enumerate() {
            let solve = solve(index + 1, terms.names(), &products);
            let kind = solve.covariance(config)?;
            let (contrast, n) = solve.fit(residuals, kind)?;
            let own = seed.child(index as u64 + 1);
            let report = terms.report((task.outcome, solve.label), &contrast, (kind, n), own);
            reports.push(LinearReport { interactions, ..report });
            contrasts.push(contrast);
        }
        Ok((LinearStage { design, products, contrasts }, reports))
    }
}

/// The child of the seed that draws rows for the choice of products, before arms.
const INTERACTIONS: u64 = 1 << 42;

/// The fold of every row.
fn folds<'a>(task: &LearnerTask<'a>) -> Result<&'a [u8], CausalError> {
    match task.nuisances {
        Some(nuisances) if !nuisances.folds.is_empty() => Ok(&nuisances.folds),
        _ => Err(CausalError::Mismatch { problem: "a choice of products without folds".into() }),
    }
}

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

/// The rows of one contrast and its nuisances.
struct Stage<'a> {
    task: &'a LearnerTask<'a>,
    pair: Pair<'a>,
}

impl Stage<'_> {
    /// Rows, target, and what every number of the design is multiplied by.
    fn regression(&self, learner: LearnerKind) -> Result<Residuals, CausalError> {
        let pair = &self.pair;
        let label = &self.task.arms.labels()[pair.arm];
        let made: Residuals = if learner == LearnerKind::LinearDr {
            let rows = self.task.rows.to_vec();
            let target = rows.iter().map(|&row| pair.score(row as usize)).collect();
            (rows, target, None)
        } else {
            let Some(pooled) = pair.nuisances.pooled.get(pair.arm - 1) else {
                return Err(CausalError::Mismatch { problem: "linear_dml without pooled means".into() });
            };
            let rows = pair.rows();
            let (target, slopes) =
                rows.iter().map(|&row| pair.residuals(row as usize, pooled.get(row as usize))).unzip();
            (rows, target, Some(slopes))
        };
        let finite = |values: &[f64]| values.iter().all(|v| v.is_finite());
        if finite(&made.1) && made.2.as_deref().is_none_or(finite) {
            return Ok(made);
        }
        Err(CausalError::NotFinite { what: format!("residuals of '{}' for arm '{label}'", self.task.outcome) })
    }
}

fn n_distinct(codes: &[u32]) -> usize {
    let mut sorted = codes.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len()
}
