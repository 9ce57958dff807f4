//! How linear final stages are learned: one least-squares fit per arm on numbers that no row's
//! own outcome had a hand in. The fit itself is `solve`'s.

use impactiq_data::Seed;

use super::interactions::choose;
use super::model::LinearStage;
use super::report::{LinearReport, Terms};
use super::solve::{Residuals, Solve};
use crate::base::Inputs;
use crate::error::CausalError;
use crate::learners::config::{LearnerConfig, LearnerKind};
use crate::learners::pseudo::Pair;
use crate::learners::task::LearnerTask;
use crate::linear::{Design, MAX_INDICATORS, Source};

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
