//! Training with a library, and answers of what it left behind.

use impactiq_data::dose::weighted_mean;
use impactiq_data::{DataError, Seed, Watch};
use impactiq_trees::{BoostConfig, EarlyStopping, sample};

use super::job::{Job, Library};
#[cfg(feature = "lightgbm")]
use super::lightgbm;
use super::trees::RawTrees;
#[cfg(feature = "xgboost")]
use super::xgboost;
use crate::base::{FitTask, Inputs, Loss};
use crate::error::CausalError;
use crate::linear::{ARM, Design, Link, MAX_INDICATORS};

/// Trees that a library grew.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalModel {
    /// Who grew them.
    pub library: Library,
    /// From raw columns to the numbers the trees ask for; the intercept is none of them.
    pub design: Design,
    /// From sums to means.
    pub link: Link,
    /// The trees.
    pub trees: RawTrees,
}

impl ExternalModel {
    /// Trains once: with early stopping on the rows not set aside for it.
    ///
    /// # Errors
    /// [`CausalError::NotBuilt`], [`CausalError::Library`] with what the library says,
    /// [`CausalError::Data`], [`CausalError::Stopped`].
    pub(in crate::base) fn fit(
        (library, config): (Library, &BoostConfig),
        inputs: &Inputs<'_>,
        task: &FitTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<ExternalModel, CausalError> {
        let source = inputs.source();
        let mut names = inputs.names.to_vec();
        names.extend(inputs.arm.map(|_| ARM.to_owned()));
        let design = Design::learn_raw(&source, &names, task.rows, task.weights, MAX_INDICATORS)?;
        let (training, held) = parts(task, config.early_stopping, seed);
        let make = |rows: &[u32]| -> Result<Job<'_>, DataError> { job(&design, inputs, task, (rows, config, seed)) };
        let job = make(&training)?;
        if watch.should_stop() {
            return Err(CausalError::Stopped);
        }
        let mut trees = train(library, &job)?;
        if let (Some(stopping), false) = (config.early_stopping, held.is_empty()) {
            let n_trees = best_n_trees(&trees, &make(&held)?, stopping.patience);
            trees.truncate(n_trees);
            if n_trees == 0 {
                // The first tree of LightGBM holds the mean: without trees it must be given.
                trees = constant(&job, trees.single);
            }
        }
        let link = match task.loss {
            Loss::Squared => Link::Identity,
            Loss::Logistic => Link::Logit,
        };
        Ok(ExternalModel { library, design, link, trees })
    }

    /// Number of trees.
    pub fn n_trees(&self) -> usize {
        self.trees.len()
    }

    pub(in crate::base) fn predict(
        &self,
        inputs: &Inputs<'_>,
        rows: Option<&[u32]>,
        out: &mut [f64],
    ) -> Result<(), DataError> {
        self.design.bind(&inputs.source())?.answer(rows, out, |x, out| {
            // The design's intercept is of no use to trees.
            self.trees.sums(&x[out.len()..], out);
            if self.link == Link::Logit {
                out.iter_mut().for_each(|sum| *sum = 1.0 / (1.0 + (-*sum).exp()));
            }
        });
        Ok(())
    }
}

fn train(library: Library, job: &Job<'_>) -> Result<RawTrees, CausalError> {
    // Two leaves need twice the rows of one.
    if 2 * job.config.min_leaf_rows as usize > job.n_rows() || job.width == 0 {
        return Ok(constant(job, library == Library::Xgboost));
    }
    match library {
        #[cfg(feature = "lightgbm")]
        Library::Lightgbm => lightgbm::train(job),
        #[cfg(feature = "xgboost")]
        Library::Xgboost => xgboost::train(job),
        #[cfg(not(all(feature = "lightgbm", feature = "xgboost")))]
        other => Err(CausalError::NotBuilt { library: other.name() }),
    }
}

/// No trees: everybody has the mean.
fn constant(job: &Job<'_>, single: bool) -> RawTrees {
    let start = match job.loss {
        Loss::Squared => job.mean,
        Loss::Logistic => (job.mean / (1.0 - job.mean)).ln(),
    };
    RawTrees::new(if single { f64::from(start as f32) } else { start }, single)
}

/// Rows to train on and rows that decide when to stop; rows of weight 0 take no part.
fn parts(task: &FitTask<'_>, stopping: Option<EarlyStopping>, seed: Seed) -> (Vec<u32>, Vec<u32>) {
    let counts = |row: &u32| task.weights.is_none_or(|weights| weights[*row as usize] > 0.0);
    let rows: Vec<u32> = task.rows.iter().copied().filter(counts).collect();
    let Some(stopping) = stopping else { return (rows, Vec::new()) };
    let ids: Vec<u64> = rows.iter().map(|&row| task.row_ids[row as usize]).collect();
    let (training, held) = sample::validation(&ids, stopping.fraction, seed);
    let varies = |positions: &[u32]| {
        let target = |position: u32| task.target[rows[position as usize] as usize];
        positions.iter().any(|&position| target(position) != target(positions[0]))
    };
    if training.is_empty() || held.is_empty() || !varies(&training) {
        return (rows, Vec::new());
    }
    let of = |positions: Vec<u32>| positions.into_iter().map(|position| rows[position as usize]).collect();
    (of(training), of(held))
}

fn job<'a>(
    design: &Design,
    inputs: &Inputs<'_>,
    task: &FitTask<'_>,
    (rows, config, seed): (&[u32], &'a BoostConfig, Seed),
) -> Result<Job<'a>, DataError> {
    let source = inputs.source();
    let bound = design.bind(&source)?;
    let n = rows.len();
    let mut columns = vec![0.0; n * bound.width()];
    bound.fill(rows, &mut columns);
    // The design's intercept is of no use to trees.
    columns.drain(..n);
    let target: Vec<f64> = rows.iter().map(|&row| task.target[row as usize]).collect();
    let weights: Option<Vec<f64>> = task.weights.map(|w| rows.iter().map(|&row| w[row as usize]).collect());
    let mean = weighted_mean(&target, weights.as_deref());
    let (width, seed) = (bound.width() - 1, (seed.hash(0) >> 33) as u32);
    Ok(Job { columns, width, target, weights, mean, loss: task.loss, config, seed })
}

/// How many trees the rows set aside like best: trees are added until `patience` of them in
/// a row have not made the loss smaller.
fn best_n_trees(trees: &RawTrees, held: &Job<'_>, patience: usize) -> usize {
    let mut sums = vec![trees.start; held.n_rows()];
    // Without trees a library that hides the mean in its first tree would start from 0.
    let constant = constant(held, trees.single).start;
    let loss = |sum: &dyn Fn(usize) -> f64| -> f64 {
        let of_row = |row: usize| match held.loss {
            Loss::Squared => (held.target[row] - sum(row)).powi(2),
            // ln(1 + eˢ) − y·s without overflow.
            Loss::Logistic => {
                let s = sum(row);
                s.max(0.0) + (-s.abs()).exp().ln_1p() - held.target[row] * s
            }
        };
        (0..held.n_rows()).map(|row| held.weight(row) * of_row(row)).sum()
    };
    let (mut best, mut least) = (0, loss(&|_| constant));
    for tree in 0..trees.len() {
        trees.add(tree, &held.columns, &mut sums);
        let now = loss(&|row| sums[row]);
        if now < least {
            (best, least) = (tree + 1, now);
        } else if tree + 1 - best >= patience {
            break;
        }
    }
    best
}
