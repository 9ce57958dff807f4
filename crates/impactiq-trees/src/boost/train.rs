//! The boosting loop.
//!
//! Raw scores and targets stand in the order of the training rows; a tree's leaves are
//! ranges of the tile's order, so moving the scores needs no walk. All sums that decide
//! anything are exact (see [`crate::criterion::newton`]), so the model does not depend on
//! the order of rows or the number of threads.

use impactiq_data::{BinColumns, Seed, Stream, Watch};
use rayon::prelude::*;

use crate::boost::config::BoostConfig;
use crate::boost::model::BoostModel;
use crate::boost::objective::{Objective, ObjectiveKind};
use crate::boost::ready::Ready;
use crate::criterion::Criterion;
use crate::criterion::newton::{Grid, Newton, NewtonCell, NewtonStats};
use crate::error::{TreesError, check_length};
use crate::grow::{GrowConfig, Grower, Grown};
use crate::histogram::Layout;
use crate::matrix::{CodeMatrix, features};
use crate::sample;
use crate::split::Limits;
use crate::tile::{Part, Store, Tile};
use crate::tree::Leaves;
use crate::tree::route::add_leaf_values;

/// Rows whose derivatives are taken together: five arrays of them fit the first-level cache.
const CHUNK_ROWS: usize = 512;

/// What to learn from which rows.
#[derive(Clone, Copy, Debug)]
pub struct BoostTask<'a> {
    /// The rows to learn from, numbers into the features; repeated rows count repeatedly.
    pub rows: &'a [u32],
    /// The target of every row of the features.
    pub target: &'a [f64],
    /// The weight of every row of the features; rows of weight 0 are left out.
    pub weights: Option<&'a [f64]>,
    /// A stable number of every row of the features: the key of sampling and validation.
    pub row_ids: &'a [u64],
    /// The loss.
    pub objective: ObjectiveKind,
}

/// Boosts trees.
///
/// When the watch says stop, the trees finished so far are the model. With early
/// stopping, the number of trees with the least validation loss is kept (0 trees, the constant,
/// when none helped); a part too small to be divided is trained without.
///
/// # Errors
/// [`TreesError::BadSetting`] for a setting out of range; [`TreesError::Length`],
/// [`TreesError::RowOutOfRange`], [`TreesError::NoRows`], [`TreesError::NoFeatures`] and
/// [`TreesError::BadValue`] (a target or weight) for a task that cannot be;
/// [`TreesError::Stopped`] when stopped before the first tree.
pub fn boost(
    x: &dyn BinColumns,
    task: &BoostTask<'_>,
    config: &BoostConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<BoostModel, TreesError> {
    config.check()?;
    let layout = Layout::new(features(x)?);
    let rows = checked_rows(x, task)?;
    let (training, validation) = parts(task, config, rows, seed);
    let mut booster = Booster::new(x, task, config, layout, training);
    let mut validation = Validation::new(task, booster.model.start, validation);
    let stages = config.n_trees as u64;
    for tree in 0..stages {
        if watch.should_stop() {
            if tree == 0 {
                return Err(TreesError::Stopped);
            }
            break;
        }
        let grew = booster.step(x, config, seed.child(tree));
        if !grew && config.row_fraction == 1.0 && config.feature_fraction == 1.0 {
            break;
        }
        if let (true, Some(stopping)) = (grew, config.early_stopping) {
            validation.measure(x, &booster.model);
            if validation.since_best() >= stopping.patience {
                break;
            }
        }
        watch.progress("boosting", tree + 1, stages);
    }
    let mut model = booster.model;
    if let Some(best) = validation.best_n_trees() {
        model.trees.truncate(best);
        model.values.truncate(best);
    }
    Ok(model)
}

/// The rows that take part: in range, of positive weight, with valid targets.
fn checked_rows(x: &dyn BinColumns, task: &BoostTask<'_>) -> Result<Vec<u32>, TreesError> {
    let n = x.n_rows();
    check_length("target", n, task.target.len())?;
    check_length("row_ids", n, task.row_ids.len())?;
    if let Some(weights) = task.weights {
        check_length("weights", n, weights.len())?;
    }
    if let Some(&row) = task.rows.iter().find(|&&row| row as usize >= n) {
        return Err(TreesError::RowOutOfRange { row, n_rows: n });
    }
    let objective = task.objective.objective();
    let mut rows = Vec::with_capacity(task.rows.len());
    for &row in task.rows {
        let weight = task.weights.map_or(1.0, |weights| weights[row as usize]);
        if !(0.0..1e150).contains(&weight) {
            let allowed = "it must be finite and not negative";
            return Err(TreesError::BadValue { what: "weight", value: weight, row: row as usize, allowed });
        }
        objective.check(task.target[row as usize], row as usize)?;
        if weight > 0.0 {
            rows.push(row);
        }
    }
    if rows.is_empty() { Err(TreesError::NoRows) } else { Ok(rows) }
}

/// Rows to train on and rows that decide when to stop.
fn parts(task: &BoostTask<'_>, config: &BoostConfig, rows: Vec<u32>, seed: Seed) -> (Vec<u32>, Vec<u32>) {
    let Some(stopping) = config.early_stopping else { return (rows, Vec::new()) };
    let ids: Vec<u64> = rows.iter().map(|&row| task.row_ids[row as usize]).collect();
    let (training, validation) = sample::validation(&ids, stopping.fraction, seed);
    if training.is_empty() || validation.is_empty() {
        return (rows, Vec::new());
    }
    let of = |positions: Vec<u32>| positions.into_iter().map(|position| rows[position as usize]).collect();
    (of(training), of(validation))
}

/// Scores, targets and weights of some rows.
struct Scored {
    rows: Vec<u32>,
    raw: Vec<f64>,
    target: Vec<f64>,
    weights: Option<Vec<f64>>,
}

impl Scored {
    fn new(task: &BoostTask<'_>, rows: Vec<u32>) -> Self {
        let target = rows.iter().map(|&row| task.target[row as usize]).collect();
        let weights = task.weights.map(|weights| rows.iter().map(|&row| weights[row as usize]).collect());
        Scored { raw: vec![0.0; rows.len()], rows, target, weights }
    }

    fn mean(&self) -> f64 {
        match &self.weights {
            None => self.target.iter().sum::<f64>() / self.target.len() as f64,
            Some(weights) => {
                self.target.iter().zip(weights).map(|(y, w)| y * w).sum::<f64>() / weights.iter().sum::<f64>()
            }
        }
    }

    /// The derivatives of rows `first ..`, as many as the slices hold.
    fn derivatives(&self, objective: &dyn Objective, first: usize, gradient: &mut [f64], hessian: &mut [f64]) {
        let range = first..first + gradient.len();
        objective.derivatives(&self.raw[range.clone()], &self.target[range.clone()], gradient, hessian);
        if let Some(weights) = &self.weights {
            for ((gradient, hessian), weight) in gradient.iter_mut().zip(hessian).zip(&weights[range]) {
                *gradient *= weight;
                *hessian *= weight;
            }
        }
    }

    /// The largest |gradient| and hessian. A maximum does not depend on order.
    fn bounds(&self, objective: &dyn Objective) -> (f64, f64) {
        if let Some((gradient, hessian)) = objective.bounds() {
            let weight = self.weights.as_ref().map_or(1.0, |weights| weights.iter().copied().fold(0.0, f64::max));
            return (gradient * weight, hessian * weight);
        }
        let n = self.raw.len();
        (0..n.div_ceil(CHUNK_ROWS))
            .into_par_iter()
            .map(|chunk| {
                let (mut gradient, mut hessian) = ([0.0; CHUNK_ROWS], [0.0; CHUNK_ROWS]);
                let first = chunk * CHUNK_ROWS;
                let k = CHUNK_ROWS.min(n - first);
                self.derivatives(objective, first, &mut gradient[..k], &mut hessian[..k]);
                let largest = |values: &[f64]| values.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
                (largest(&gradient[..k]), largest(&hessian[..k]))
            })
            .reduce(|| (0.0, 0.0), |a, b| (a.0.max(b.0), a.1.max(b.1)))
    }

    /// Writes every row's derivatives on the grid.
    fn write_rows(&self, objective: &dyn Objective, grid: Grid, out: &mut Store<NewtonCell>) {
        out.fill_rows(<Newton as Criterion>::EMPTY, |first, out| {
            for (chunk, out) in out.chunks_mut(CHUNK_ROWS).enumerate() {
                let (mut gradient, mut hessian) = ([0.0; CHUNK_ROWS], [0.0; CHUNK_ROWS]);
                let (gradient, hessian) = (&mut gradient[..out.len()], &mut hessian[..out.len()]);
                self.derivatives(objective, first + chunk * CHUNK_ROWS, gradient, hessian);
                for ((out, gradient), hessian) in out.iter_mut().zip(gradient).zip(hessian) {
                    *out = grid.row(*gradient, *hessian);
                }
            }
        });
    }
}

/// The state of boosting between two trees.
struct Booster {
    objective: &'static dyn Objective,
    training: Scored,
    /// All training rows, when a tree sees them all; else this tree's rows.
    tile: Tile<NewtonCell>,
    /// Codes and derivatives of all training rows, when trees see samples.
    sampled_from: Option<(Store<NewtonCell>, Vec<u64>)>,
    grower: Grower<Newton>,
    grow_config: GrowConfig,
    model: BoostModel,
}

impl Booster {
    fn new(x: &dyn BinColumns, task: &BoostTask<'_>, config: &BoostConfig, layout: Layout, rows: Vec<u32>) -> Self {
        let objective = task.objective.objective();
        let matrix = CodeMatrix::gather(x, &rows);
        let mut training = Scored::new(task, rows);
        let start = objective.start(training.mean());
        training.raw.fill(start);
        let rows = vec![<Newton as Criterion>::EMPTY; matrix.n_rows()];
        let (part, sampled_from) = if config.row_fraction < 1.0 {
            let ids = training.rows.iter().map(|&row| task.row_ids[row as usize]).collect();
            (Part::empty(), Some((Store::new(matrix, rows), ids)))
        } else {
            (Part::new(matrix, rows), None)
        };
        let grow_config = GrowConfig {
            n_leaves: config.n_leaves,
            max_depth: config.max_depth,
            limits: Limits {
                min_rows: config.min_leaf_rows,
                min_weight: config.min_leaf_weight,
                min_gain: config.min_gain,
            },
            growth: config.growth,
            features_per_node: None,
            min_estimate_rows: 0,
        };
        let n_features = layout.n_features();
        Booster {
            objective,
            training,
            tile: Tile::adaptive(part),
            sampled_from,
            grower: Grower::new(layout),
            grow_config,
            model: BoostModel {
                objective: task.objective,
                n_features,
                start,
                trees: Vec::new(),
                values: Vec::new(),
                ready: Ready::default(),
            },
        }
    }

    /// Grows a tree and moves the scores; false when no split helped.
    fn step(&mut self, x: &dyn BinColumns, config: &BoostConfig, seed: Seed) -> bool {
        let (max_gradient, max_hessian) = self.training.bounds(self.objective);
        if max_gradient == 0.0 {
            return false;
        }
        let grid = Grid::new(self.training.rows.len(), max_gradient, max_hessian);
        match &mut self.sampled_from {
            None => {
                self.tile.split.reset_order();
                self.training.write_rows(self.objective, grid, self.tile.split.store_mut());
            }
            Some((all, ids)) => {
                self.training.write_rows(self.objective, grid, all);
                let positions = sample::rows(ids, config.row_fraction, seed);
                self.tile.split.refill(all, &positions);
            }
        }
        let newton = Newton { l2: config.l2, category_smoothing: config.category_smoothing, grid };
        let features = sample::features(self.model.n_features, config.feature_fraction, seed);
        let grown =
            self.grower.grow(&mut self.tile, &newton, &self.grow_config, &features, seed.stream(Stream::Learner));
        if grown.leaves.len() < 2 {
            return false;
        }
        self.keep(x, &newton, config.learning_rate, grown);
        true
    }

    /// Adds a tree to the model and its values to the scores.
    fn keep(&mut self, x: &dyn BinColumns, newton: &Newton, learning_rate: f64, grown: Grown<NewtonStats>) {
        let values = Leaves(grown.leaves.iter().map(|leaf| learning_rate * newton.step(&leaf.stats)).collect());
        let (trees, all_values) = (&mut self.model.trees, &mut self.model.values);
        trees.push(grown.tree);
        all_values.push(values);
        let last = trees.len() - 1;
        if self.sampled_from.is_some() {
            let rows = Some(&self.training.rows[..]);
            add_leaf_values(&trees[last..], &all_values[last..], x, rows, &mut self.training.raw);
            return;
        }
        for (leaf, value) in grown.leaves.iter().zip(&all_values[last].0) {
            for &position in &self.tile.split.order()[leaf.split.clone()] {
                self.training.raw[position as usize] += value;
            }
        }
    }
}

/// Rows that decide when to stop.
struct Validation {
    scored: Scored,
    objective: &'static dyn Objective,
    best: (f64, usize),
    n_trees: usize,
}

impl Validation {
    fn new(task: &BoostTask<'_>, start: f64, rows: Vec<u32>) -> Self {
        let mut scored = Scored::new(task, rows);
        scored.raw.fill(start);
        let mut validation = Validation { scored, objective: task.objective.objective(), best: (0.0, 0), n_trees: 0 };
        validation.best.0 = validation.loss();
        validation
    }

    /// The sum of losses, in chunks of fixed size summed in order.
    fn loss(&self) -> f64 {
        let Scored { raw, target, weights, .. } = &self.scored;
        let sums: Vec<f64> = (0..raw.len().div_ceil(CHUNK_ROWS))
            .into_par_iter()
            .map(|chunk| {
                let rows = chunk * CHUNK_ROWS..raw.len().min((chunk + 1) * CHUNK_ROWS);
                let weight = |i: usize| weights.as_ref().map_or(1.0, |weights| weights[i]);
                rows.map(|i| weight(i) * self.objective.loss(raw[i], target[i])).sum()
            })
            .collect();
        sums.iter().sum()
    }

    /// Adds the model's last tree and measures.
    fn measure(&mut self, x: &dyn BinColumns, model: &BoostModel) {
        if self.scored.rows.is_empty() {
            return;
        }
        self.n_trees = model.trees.len();
        let last = self.n_trees - 1;
        let rows = Some(&self.scored.rows[..]);
        add_leaf_values(&model.trees[last..], &model.values[last..], x, rows, &mut self.scored.raw);
        let loss = self.loss();
        if loss < self.best.0 {
            self.best = (loss, self.n_trees);
        }
    }

    fn since_best(&self) -> usize {
        self.n_trees - self.best.1
    }

    fn best_n_trees(&self) -> Option<usize> {
        (!self.scored.rows.is_empty()).then_some(self.best.1)
    }
}

#[cfg(test)]
mod tests;
