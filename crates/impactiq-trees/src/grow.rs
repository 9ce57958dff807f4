//! The one grower: from a tile to a tree and the rows of its leaves.
//!
//! Leaf-wise growth splits the leaf with the largest gain next, depth-wise growth the
//! shallowest. The histogram of the smaller child is summed, its sibling's is the
//! parent's less that. What a gain means is the criterion's business; what leaves hold,
//! the caller's.

use std::ops::Range;

use impactiq_data::{Seed, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::criterion::{Criterion, summarise};
use crate::histogram::{self, Layout, Scratch};
use crate::partition::partition;
use crate::split::{Limits, Split, best_split};
use crate::stats::Stats;
use crate::tile::Tile;
use crate::tree::{Tree, TreeBuilder};

/// Which leaf is split next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Growth {
    /// The leaf with the largest gain.
    #[default]
    LeafWise,
    /// The shallowest leaf, level by level.
    DepthWise,
}

/// How large a tree may become.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GrowConfig {
    /// Leaves at most.
    pub n_leaves: usize,
    /// Splits above a leaf at most.
    pub max_depth: Option<u32>,
    /// What every split must leave.
    pub limits: Limits,
    /// Which leaf is split next.
    pub growth: Growth,
    /// Features each node considers, drawn per node; `None`: all allowed ones.
    pub features_per_node: Option<usize>,
    /// Rows of the estimation half each child must keep in an honest tile.
    pub min_estimate_rows: usize,
}

/// The rows of a leaf.
#[derive(Clone, Debug, PartialEq)]
pub struct LeafRows<S> {
    /// Where the splitting rows stand in the order of `tile.split`.
    pub split: Range<usize>,
    /// Where the estimating rows stand in the order of `tile.estimate` (empty without).
    pub estimate: Range<usize>,
    /// Sums of the splitting rows.
    pub stats: S,
}

/// A grown tree.
#[derive(Clone, Debug)]
pub struct Grown<S> {
    /// Its shape.
    pub tree: Tree,
    /// Its leaves by number.
    pub leaves: Vec<LeafRows<S>>,
}

/// A leaf that may still be split.
struct Open<S> {
    node: u32,
    depth: u32,
    split: Range<usize>,
    estimate: Range<usize>,
    stats: S,
    histogram: Option<Vec<S>>,
    best: Option<Split<S>>,
}

/// Grows trees one after another, reusing its memory.
pub struct Grower<C: Criterion> {
    layout: Layout,
    scratch: Scratch<C::Cell>,
    pool: Vec<Vec<C::Stats>>,
}

/// What stays the same while one tree grows.
struct Task<'a, C: Criterion> {
    criterion: &'a C,
    config: &'a GrowConfig,
    features: &'a [u32],
    min_estimate_rows: usize,
    seed: Seed,
}

impl<C: Criterion> Grower<C> {
    /// A grower of trees on these features.
    pub fn new(layout: Layout) -> Self {
        Grower { layout, scratch: Scratch::default(), pool: Vec::new() }
    }

    /// The features.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Grows a tree on `features` (ascending) of the tile and leaves its rows in order of
    /// the leaves.
    pub fn grow(
        &mut self,
        tile: &mut Tile<C::Row>,
        criterion: &C,
        config: &GrowConfig,
        features: &[u32],
        seed: Seed,
    ) -> Grown<C::Stats> {
        let min_estimate_rows = if tile.estimate.is_some() { config.min_estimate_rows } else { 0 };
        let seed = seed.stream(Stream::Features);
        let task = Task { criterion, config, features, min_estimate_rows, seed };
        let mut builder = TreeBuilder::default();
        let mut leaves = vec![self.root(tile, &task)];
        while leaves.len() < config.n_leaves {
            let Some(next) = choose(&leaves, config.growth) else { break };
            let last = leaves.len() + 1 == config.n_leaves;
            let Some([left, right]) = self.split(tile, &task, &mut builder, &mut leaves[next], last) else {
                leaves[next].best = None;
                continue;
            };
            let parent = std::mem::replace(&mut leaves[next], left);
            debug_assert!(parent.histogram.is_none());
            leaves.push(right);
        }
        self.pool.extend(leaves.iter_mut().filter_map(|leaf| leaf.histogram.take()));
        leaves.sort_by_key(|leaf| leaf.node);
        let (tree, _) = builder.finish();
        let leaves = leaves
            .into_iter()
            .map(|leaf| LeafRows { split: leaf.split, estimate: leaf.estimate, stats: leaf.stats })
            .collect();
        Grown { tree, leaves }
    }

    fn root(&mut self, tile: &Tile<C::Row>, task: &Task<'_, C>) -> Open<C::Stats> {
        let split = 0..tile.split.n_rows();
        let estimate = 0..tile.estimate.as_ref().map_or(0, |part| part.n_rows());
        let mut histogram = self.buffer();
        let rows = tile.split.node(split.clone());
        histogram::build(task.criterion, &self.layout, task.features, rows, &mut self.scratch, &mut histogram);
        let stats = match task.features.first() {
            Some(&feature) => histogram::total(&histogram[self.layout.range(feature as usize)]),
            None => summarise(task.criterion, tile.split.node_rows(split.clone())),
        };
        let mut root = Open { node: 0, depth: 0, split, estimate, stats, histogram: Some(histogram), best: None };
        if self.may_split(&root, task) {
            self.scan(&mut root, task);
        }
        root
    }

    fn buffer(&mut self) -> Vec<C::Stats> {
        self.pool.pop().unwrap_or_else(|| vec![C::Stats::ZERO; self.layout.n_cells()])
    }

    fn may_split(&self, leaf: &Open<C::Stats>, task: &Task<'_, C>) -> bool {
        let limits = &task.config.limits;
        task.config.max_depth.is_none_or(|depth| leaf.depth < depth)
            && u64::from(leaf.stats.n_rows()) >= 2 * u64::from(limits.min_rows.max(1))
            && leaf.stats.weight() >= 2.0 * limits.min_weight
            && leaf.estimate.len() >= 2 * task.min_estimate_rows
    }

    fn scan(&mut self, leaf: &mut Open<C::Stats>, task: &Task<'_, C>) {
        let Some(histogram) = &leaf.histogram else { return };
        let drawn;
        let features = match task.config.features_per_node {
            Some(k) if k < task.features.len() => {
                drawn = draw(task.features, k, task.seed.child(u64::from(leaf.node)));
                &drawn[..]
            }
            _ => task.features,
        };
        leaf.best = best_split(task.criterion, &leaf.stats, histogram, &self.layout, features, &task.config.limits);
        if leaf.best.is_none() {
            self.pool.extend(leaf.histogram.take());
        }
    }

    /// Splits a leaf; `None` when an honest child would be too small (the rows then stand
    /// in another order within the leaf, which nothing depends on).
    fn split(
        &mut self,
        tile: &mut Tile<C::Row>,
        task: &Task<'_, C>,
        builder: &mut TreeBuilder,
        leaf: &mut Open<C::Stats>,
        last: bool,
    ) -> Option<[Open<C::Stats>; 2]> {
        let best = leaf.best.take()?;
        let n_left_estimate = match &mut tile.estimate {
            None => 0,
            Some(part) => partition(part, leaf.estimate.clone(), best.feature, &best.rule),
        };
        let min = task.min_estimate_rows;
        if n_left_estimate < min || leaf.estimate.len() - n_left_estimate < min {
            self.pool.extend(leaf.histogram.take());
            return None;
        }
        let n_left = partition(&mut tile.split, leaf.split.clone(), best.feature, &best.rule);
        let node = builder.split(leaf.node, best.feature, &best.rule, best.gain);
        let child = |node, split, estimate, stats| Open {
            node,
            depth: leaf.depth + 1,
            split,
            estimate,
            stats,
            histogram: None,
            best: None,
        };
        let (middle, estimate_middle) = (leaf.split.start + n_left, leaf.estimate.start + n_left_estimate);
        let mut left = child(node, leaf.split.start..middle, leaf.estimate.start..estimate_middle, best.left);
        let mut right = child(node + 1, middle..leaf.split.end, estimate_middle..leaf.estimate.end, best.right);
        self.histograms(tile, task, leaf, [&mut left, &mut right], last);
        Some([left, right])
    }

    /// Gives the children their histograms and best splits, where they may be split.
    fn histograms(
        &mut self,
        tile: &Tile<C::Row>,
        task: &Task<'_, C>,
        parent: &mut Open<C::Stats>,
        [left, right]: [&mut Open<C::Stats>; 2],
        last: bool,
    ) {
        let Some(mut histogram) = parent.histogram.take() else { return };
        let (small, large) = if left.split.len() <= right.split.len() { (left, right) } else { (right, left) };
        let (small_may, large_may) = (self.may_split(small, task), self.may_split(large, task));
        if last || !(small_may || large_may) {
            self.pool.push(histogram);
            return;
        }
        let mut own = self.buffer();
        let rows = tile.split.node(small.split.clone());
        histogram::build(task.criterion, &self.layout, task.features, rows, &mut self.scratch, &mut own);
        histogram::subtract(&mut histogram, &own);
        for (child, may, histogram) in [(small, small_may, own), (large, large_may, histogram)] {
            if may {
                child.histogram = Some(histogram);
                self.scan(child, task);
            } else {
                self.pool.push(histogram);
            }
        }
    }
}

/// Grows one tree on all features; [`Grower`] is the same for many.
pub fn grow<C: Criterion>(
    tile: &mut Tile<C::Row>,
    criterion: &C,
    layout: &Layout,
    config: &GrowConfig,
    seed: Seed,
) -> Grown<C::Stats> {
    let features: Vec<u32> = (0..layout.n_features() as u32).collect();
    Grower::new(layout.clone()).grow(tile, criterion, config, &features, seed)
}

/// The leaf to split next; ties go to the node made first.
fn choose<S>(leaves: &[Open<S>], growth: Growth) -> Option<usize> {
    let open = leaves.iter().enumerate().filter_map(|(i, leaf)| leaf.best.as_ref().map(|best| (i, leaf, best.gain)));
    let next = match growth {
        Growth::LeafWise => open.max_by(|a, b| a.2.total_cmp(&b.2).then(b.1.node.cmp(&a.1.node))),
        Growth::DepthWise => open.min_by_key(|(_, leaf, _)| (leaf.depth, leaf.node)),
    };
    next.map(|(i, _, _)| i)
}

/// `k` of the features, drawn without replacement, ascending.
fn draw(features: &[u32], k: usize, seed: Seed) -> Vec<u32> {
    let mut keyed: Vec<(u64, u32)> = features.iter().map(|&feature| (seed.hash(u64::from(feature)), feature)).collect();
    keyed.sort_unstable();
    let mut drawn: Vec<u32> = keyed.into_iter().take(k.max(1)).map(|(_, feature)| feature).collect();
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests;
