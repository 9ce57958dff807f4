//! The one grower: from a tile to a tree and the rows of its leaves.
//!
//! Leaf-wise growth splits the leaf with the largest gain next, depth-wise growth the
//! shallowest. The histogram of the smaller child is summed, its sibling's is the
//! parent's less that. What a gain means is the criterion's business; what leaves hold,
//! the caller's.

use std::collections::BinaryHeap;
use std::ops::Range;

use impactiq_data::{Seed, Stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::criterion::{Criterion, summarise};
use crate::histogram::{self, Layout, Scratch};
use crate::partition::partition;
use crate::split::{Limits, SearchSpace, Split, best_split, best_split_of_rows};
use crate::stats::Stats;
use crate::tile::Tile;
use crate::tree::{Tree, TreeBuilder};

/// Nodes of at most this many rows are split straight from their rows.
const SMALL_ROWS: usize = 2048;

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
    /// Leaves at most; `usize::MAX`: no bound.
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
        let mut queue = Queue::new(config);
        queue.push(&leaves, 0);
        while leaves.len() < config.n_leaves {
            let Some(next) = queue.pop() else { break };
            let last = leaves.len() + 1 == config.n_leaves;
            let Some([left, right]) = self.split(tile, &task, &mut builder, &mut leaves[next], last) else {
                continue;
            };
            let parent = std::mem::replace(&mut leaves[next], left);
            debug_assert!(parent.histogram.is_none());
            leaves.push(right);
            queue.push(&leaves, next);
            queue.push(&leaves, leaves.len() - 1);
        }
        self.pool.extend(leaves.iter_mut().filter_map(|leaf| leaf.histogram.take()));
        let mut leaves: Vec<(u32, LeafRows<C::Stats>)> = leaves
            .into_iter()
            .map(|leaf| (leaf.node, LeafRows { split: leaf.split, estimate: leaf.estimate, stats: leaf.stats }))
            .collect();
        leaves.sort_unstable_by_key(|(node, _)| *node);
        let (tree, _) = builder.finish();
        let leaves = leaves.into_iter().map(|(_, leaf)| leaf).collect();
        Grown { tree, leaves }
    }

    fn root(&mut self, tile: &Tile<C::Row>, task: &Task<'_, C>) -> Open<C::Stats> {
        let split = 0..tile.split.n_rows();
        let estimate = 0..tile.estimate.as_ref().map_or(0, |part| part.n_rows());
        let histogram = (split.len() > SMALL_ROWS).then(|| self.histogram(tile, task, split.clone()));
        let stats = match (&histogram, task.features.first()) {
            (Some(histogram), Some(&first)) => histogram::total(&histogram[self.layout.range(first as usize)]),
            _ => summarise(task.criterion, tile.split.node_rows(split.clone())),
        };
        let mut root = Open { node: 0, depth: 0, split, estimate, stats, histogram, best: None };
        if self.may_split(&root, task) {
            self.scan(tile, &mut root, task);
        }
        root
    }

    fn histogram(&mut self, tile: &Tile<C::Row>, task: &Task<'_, C>, range: Range<usize>) -> Vec<C::Stats> {
        let mut histogram = self.buffer();
        let rows = tile.split.node(range);
        histogram::build(task.criterion, &self.layout, task.features, rows, &mut self.scratch, &mut histogram);
        histogram
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
            && task.criterion.node(&leaf.stats).is_some()
    }

    /// Finds the best split of a leaf, from its histogram where it has one.
    fn scan(&mut self, tile: &Tile<C::Row>, leaf: &mut Open<C::Stats>, task: &Task<'_, C>) {
        let drawn;
        let features = match task.config.features_per_node {
            Some(k) if k < task.features.len() => {
                drawn = draw(task.features, k, task.seed.child(u64::from(leaf.node)));
                &drawn[..]
            }
            _ => task.features,
        };
        let space = SearchSpace { layout: &self.layout, features, limits: &task.config.limits };
        leaf.best = match &leaf.histogram {
            Some(histogram) => best_split(task.criterion, &leaf.stats, histogram, &space),
            None => {
                let rows = tile.split.node(leaf.split.clone());
                best_split_of_rows(task.criterion, &leaf.stats, rows, &space, &mut self.scratch)
            }
        };
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
        let histogram = leaf.histogram.take();
        if last {
            self.pool.extend(histogram);
        } else {
            self.children(tile, task, histogram, [&mut left, &mut right]);
        }
        Some([left, right])
    }

    /// Finds the children's best splits, by way of histograms where they are large.
    fn children(
        &mut self,
        tile: &Tile<C::Row>,
        task: &Task<'_, C>,
        histogram: Option<Vec<C::Stats>>,
        [left, right]: [&mut Open<C::Stats>; 2],
    ) {
        let (small, large) = if left.split.len() <= right.split.len() { (left, right) } else { (right, left) };
        let (small_may, large_may) = (self.may_split(small, task), self.may_split(large, task));
        if let Some(mut histogram) = histogram {
            if large_may && large.split.len() > SMALL_ROWS {
                let own = self.histogram(tile, task, small.split.clone());
                histogram::subtract(&mut histogram, &own);
                large.histogram = Some(histogram);
                small.histogram = Some(own);
            } else {
                self.pool.push(histogram);
                if small_may && small.split.len() > SMALL_ROWS {
                    small.histogram = Some(self.histogram(tile, task, small.split.clone()));
                }
            }
        }
        for (child, may) in [(small, small_may), (large, large_may)] {
            if may {
                self.scan(tile, child, task);
            } else {
                self.pool.extend(child.histogram.take());
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

/// Which leaf is split next. Ties go to the node made first.
struct Queue {
    heap: BinaryHeap<(u64, u32, usize)>,
    growth: Growth,
    unbounded: bool,
}

impl Queue {
    fn new(config: &GrowConfig) -> Self {
        Queue { heap: BinaryHeap::new(), growth: config.growth, unbounded: config.n_leaves == usize::MAX }
    }

    /// Adds a leaf if it has a split.
    fn push<S>(&mut self, leaves: &[Open<S>], at: usize) {
        let leaf = &leaves[at];
        let Some(best) = &leaf.best else { return };
        let (priority, node) = match self.growth {
            // Without a bound every leaf is split in the end, and a subtree at a time keeps
            // its rows in the cache.
            _ if self.unbounded => (u64::from(leaf.node), 0),
            // Gains are positive, so their bits are in their order.
            Growth::LeafWise => (best.gain.to_bits(), !leaf.node),
            Growth::DepthWise => (u64::from(!leaf.depth), !leaf.node),
        };
        self.heap.push((priority, node, at));
    }

    fn pop(&mut self) -> Option<usize> {
        self.heap.pop().map(|(_, _, at)| at)
    }
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
