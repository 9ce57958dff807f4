//! One uplift tree, with what every node holds: a tree to be read.
//!
//! Rows, means and the standard errors of the effects belong to the rows that fill leaves:
//! those that did not choose the splits if the tree is honest. What must not live here: text
//! and pictures, which need the features' names and cut values.

use impactiq_data::{BinColumns, Seed, Watch};

use crate::criterion::arms::ArmForm;
use crate::error::{TreesError, check_length};
use crate::forest::uplift::config::UpliftConfig;
use crate::forest::uplift::ground::{CheckedTask, Ground, Planted, UpliftTask, WithGround, with_ground};
use crate::forest::uplift::model::{checked_numbers, checked_trees};
use crate::sample::Bags;
use crate::tree::arrays::TreeArrays;
use crate::tree::{Leaves, Tree, route};

/// An uplift tree of 2 to [`super::config::MAX_ARMS`] arms.
#[derive(Clone, Debug, PartialEq)]
pub struct UpliftTree {
    n_features: usize,
    n_arms: usize,
    honest: bool,
    tree: Tree,
    nodes: Nodes,
}

/// By node and arm (effects: by node and treatment), arms within a node.
#[derive(Clone, Debug, Default, PartialEq)]
struct Nodes {
    rows: Vec<u64>,
    means: Vec<f64>,
    errors: Vec<f64>,
}

/// An uplift tree as plain arrays.
#[derive(Clone, Debug, PartialEq)]
pub struct UpliftTreeArrays {
    /// Features the tree was grown on.
    pub n_features: usize,
    /// Arms, the control included.
    pub n_arms: usize,
    /// Whether leaves were filled by other rows than those that chose the splits.
    pub honest: bool,
    /// The shape: one tree.
    pub trees: TreeArrays,
    /// Rows by node and arm.
    pub rows: Vec<u64>,
    /// Mean outcomes by node and arm.
    pub means: Vec<f64>,
    /// Standard errors of the effects by node and treatment; NaN where one cannot be told.
    pub errors: Vec<f64>,
}

/// What one node holds.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeSummary<'a> {
    /// Rows by arm.
    pub rows: &'a [u64],
    /// Mean outcomes by arm.
    pub means: &'a [f64],
    errors: &'a [f64],
}

impl NodeSummary<'_> {
    /// The effect of a treatment (1 and up): difference of means.
    pub fn effect(&self, arm: usize) -> f64 {
        self.means[arm] - self.means[0]
    }

    /// Its standard error; `None` with fewer than two rows (or clusters) in either arm.
    pub fn error(&self, arm: usize) -> Option<f64> {
        Some(self.errors[arm - 1]).filter(|error| error.is_finite())
    }
}

impl UpliftTree {
    /// Number of features p.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Number of arms, the control included.
    pub fn n_arms(&self) -> usize {
        self.n_arms
    }

    /// Whether leaves were filled by other rows than those that chose the splits: only then do
    /// their effects and errors mean what they say.
    pub fn honest(&self) -> bool {
        self.honest
    }

    /// The shape.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What a node holds.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn node(&self, node: usize) -> NodeSummary<'_> {
        let (a, t) = (self.n_arms, self.n_arms - 1);
        NodeSummary {
            rows: &self.nodes.rows[node * a..][..a],
            means: &self.nodes.means[node * a..][..a],
            errors: &self.nodes.errors[node * t..][..t],
        }
    }

    /// Mean outcomes by arm for all rows, or for those at `rows`.
    ///
    /// # Panics
    /// When a row does not exist or `x` does not have [`UpliftTree::n_features`] features.
    pub fn predict(&self, x: &dyn BinColumns, rows: Option<&[u32]>) -> Vec<Vec<f64>> {
        assert_eq!(x.n_features(), self.n_features, "features of the tree");
        let leaf_nodes = self.tree.nodes().iter().enumerate().filter(|(_, node)| node.is_leaf());
        let leaf_nodes: Vec<usize> = leaf_nodes.map(|(at, _)| at).collect();
        let n = rows.map_or(x.n_rows(), <[u32]>::len);
        (0..self.n_arms)
            .map(|arm| {
                let of_leaf = leaf_nodes.iter().map(|&node| self.node(node).means[arm]).collect();
                let mut means = vec![0.0; n];
                route::add_leaf_values(std::slice::from_ref(&self.tree), &[Leaves(of_leaf)], x, rows, &mut means);
                means
            })
            .collect()
    }

    /// The tree as plain arrays.
    pub fn to_arrays(&self) -> UpliftTreeArrays {
        UpliftTreeArrays {
            n_features: self.n_features,
            n_arms: self.n_arms,
            honest: self.honest,
            trees: TreeArrays::from_trees([&self.tree]),
            rows: self.nodes.rows.clone(),
            means: self.nodes.means.clone(),
            errors: self.nodes.errors.clone(),
        }
    }

    /// The tree of plain arrays, which may come from anywhere.
    ///
    /// # Errors
    /// [`TreesError::Layout`], [`TreesError::Length`], [`TreesError::BadArrays`],
    /// [`TreesError::BadSetting`], [`TreesError::BadValue`] when a mean is not finite or an
    /// error negative or infinite.
    pub fn from_arrays(arrays: &UpliftTreeArrays) -> Result<Self, TreesError> {
        let (mut trees, _) = checked_trees(&arrays.trees, arrays.n_features, arrays.n_arms)?;
        check_length("trees", 1, trees.len())?;
        let tree = trees.remove(0);
        let (n, a) = (tree.nodes().len(), arrays.n_arms);
        check_length("node rows", n.saturating_mul(a), arrays.rows.len())?;
        checked_numbers("node mean", n.saturating_mul(a), &arrays.means)?;
        check_length("node errors", n.saturating_mul(a - 1), arrays.errors.len())?;
        if let Some(row) = arrays.errors.iter().position(|error| *error < 0.0 || error.is_infinite()) {
            let (value, allowed) = (arrays.errors[row], "it must be at least 0 and finite");
            return Err(TreesError::BadValue { what: "node error", value, row, allowed });
        }
        let nodes = Nodes { rows: arrays.rows.clone(), means: arrays.means.clone(), errors: arrays.errors.clone() };
        Ok(UpliftTree { n_features: arrays.n_features, n_arms: arrays.n_arms, honest: arrays.honest, tree, nodes })
    }
}

/// Grows one uplift tree from all rows of the task, or from [`UpliftConfig::sample_fraction`]
/// of them; `n_trees` is not read.
///
/// # Errors
/// As [`super::ground::grow_uplift_forest`].
pub fn grow_uplift_tree(
    x: &dyn BinColumns,
    task: &UpliftTask<'_>,
    config: &UpliftConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<UpliftTree, TreesError> {
    config.check()?;
    let checked = CheckedTask::new(*task, config, x.n_rows())?;
    if watch.should_stop() {
        return Err(TreesError::Stopped);
    }
    let Planted { tree, filling, .. } = with_ground(x, &checked, config, GrowOne(Bags::seed(seed, 0)))?;
    let nodes = summaries(x, &checked, &tree, &filling);
    Ok(UpliftTree { n_features: x.n_features(), n_arms: task.n_arms, honest: config.honest, tree, nodes })
}

struct GrowOne(Seed);

impl WithGround for GrowOne {
    type Answer = Planted;

    fn run<const A: usize, F: ArmForm<A>>(self, ground: &Ground<'_, A, F>) -> Planted {
        ground.plant(&mut ground.workbench(), self.0)
    }
}

/// What every node holds. Rows travel down in the order of their keys, so that a cluster's
/// rows stand together everywhere.
fn summaries(x: &dyn BinColumns, task: &CheckedTask<'_>, tree: &Tree, filling: &[u32]) -> Nodes {
    let mut rows: Vec<u32> = filling.iter().map(|&at| task.rows[at as usize]).collect();
    rows.sort_by_key(|&row| (task.task.keys[row as usize], row));
    let columns: Vec<&[u8]> = (0..x.n_features()).map(|f| x.codes(f)).collect();
    let mut waiting: Vec<Vec<u32>> = vec![Vec::new(); tree.nodes().len()];
    waiting[0] = rows;
    let mut nodes = Nodes::default();
    // Parents come before their children.
    for (at, node) in tree.nodes().iter().enumerate() {
        let rows = std::mem::take(&mut waiting[at]);
        summarise_node(task, &rows, &mut nodes);
        if !node.is_leaf() {
            let (codes, goes_left) = (columns[node.feature as usize], tree.rule(node).table());
            let (left, right) = rows.iter().partition(|&&row| goes_left[usize::from(codes[row as usize])]);
            (waiting[node.left as usize], waiting[node.right as usize]) = (left, right);
        }
    }
    nodes
}

/// Adds what a node holds, given its rows in the order of their keys.
///
/// The variance of a difference of means is the sum over keys of the squared influence of the
/// key's rows: without clusters s²/n of either arm, with them robust to what they share
/// (Liang and Zeger 1986, with the factor G / (G − 1) per arm).
fn summarise_node(task: &CheckedTask<'_>, rows: &[u32], nodes: &mut Nodes) {
    let UpliftTask { outcome, arms, n_arms, keys, .. } = task.task;
    let (mut n, mut n_keys) = (vec![0u64; n_arms], vec![0u64; n_arms]);
    let (mut weights, mut sums) = (vec![0.0; n_arms], vec![0.0; n_arms]);
    let mut last_key = vec![None; n_arms];
    for &row in rows {
        let (i, arm) = (row as usize, usize::from(arms[row as usize]));
        n[arm] += 1;
        n_keys[arm] += u64::from(last_key[arm].replace(keys[i]) != Some(keys[i]));
        weights[arm] += task.weight(row);
        sums[arm] += task.weight(row) * (outcome[i] - task.mean);
    }
    // Only a tree without any split can lack an arm: what holds for everybody stands in.
    let mean = |arm: usize| match weights[arm] > 0.0 {
        true => task.mean + sums[arm] / weights[arm],
        false => task.arm_means[arm],
    };
    let means: Vec<f64> = (0..n_arms).map(mean).collect();
    let mut variances = vec![0.0; n_arms - 1];
    for cluster in rows.chunk_by(|&a, &b| keys[a as usize] == keys[b as usize]) {
        let mut influence = vec![0.0; n_arms];
        for &row in cluster {
            let arm = usize::from(arms[row as usize]);
            influence[arm] += task.weight(row) * (outcome[row as usize] - means[arm]) / weights[arm];
        }
        let scaled = |arm: usize| match n_keys[arm] {
            0 | 1 => influence[arm],
            g => influence[arm] * (g as f64 / (g - 1) as f64).sqrt(),
        };
        let control = scaled(0);
        for (k, variance) in variances.iter_mut().enumerate() {
            *variance += (scaled(k + 1) - control).powi(2);
        }
    }
    let known = |arm: usize| n_keys[0] > 1 && n_keys[arm] > 1;
    nodes.errors.extend(variances.iter().enumerate().map(|(k, v)| if known(k + 1) { v.sqrt() } else { f64::NAN }));
    nodes.rows.extend(n);
    nodes.means.extend(means);
}

#[cfg(test)]
mod tests;
