//! Grows a causal forest: draws rows, fills tiles, grows honest trees, sums their leaves.
//!
//! Trees are independent, so bags grow in parallel and the forest does not depend on the
//! number of threads. Codes and moments of all rows are laid out once; each tree copies its
//! own into a tile.

use impactiq_data::{BinColumns, Seed, Stream, Watch};
use rayon::prelude::*;

use crate::criterion::effect::{Effect, EffectCell, EffectStats};
use crate::criterion::summarise;
use crate::error::TreesError;
use crate::forest::config::ForestConfig;
use crate::forest::model::{EffectForest, n_moments};
use crate::grow::{GrowConfig, Grower, Growth};
use crate::histogram::Layout;
use crate::matrix::{CodeMatrix, features};
use crate::sample::Bags;
use crate::split::Limits;
use crate::stats::Stats;
use crate::tile::{Part, Store, Tile};
use crate::tree::Tree;

/// What to learn from which rows; K contrasts.
#[derive(Clone, Copy, Debug)]
pub struct EffectTask<'a, const K: usize> {
    /// The rows to learn from, numbers into the features.
    pub rows: &'a [u32],
    /// The outcome of every row of the features, less its expectation.
    pub outcome: &'a [f64],
    /// The contrasts of every row of the features, less their expectation (the propensity).
    pub contrasts: [&'a [f64]; K],
    /// The arm of every row of the features: 0 control, k contrast k; `None` for doses.
    pub arms: Option<&'a [u8]>,
    /// The weight of every row of the features; rows of weight 0 are left out.
    pub weights: Option<&'a [f64]>,
    /// The cluster of every row of the features: drawn whole.
    pub clusters: Option<&'a [u32]>,
    /// A stable number of every row of the features: the key of sampling.
    pub row_ids: &'a [u64],
}

impl<const K: usize> EffectTask<'_, K> {
    /// The key by which a row is drawn.
    #[inline(always)]
    pub fn key(&self, row: u32) -> u64 {
        match self.clusters {
            Some(clusters) => u64::from(clusters[row as usize]),
            None => self.row_ids[row as usize],
        }
    }

    /// The rows that take part, checked.
    fn checked_rows(&self, n: usize) -> Result<Vec<u32>, TreesError> {
        let length =
            |what, found| if found == n { Ok(()) } else { Err(TreesError::Length { what, expected: n, found }) };
        length("outcome", self.outcome.len())?;
        length("row_ids", self.row_ids.len())?;
        self.contrasts.iter().try_for_each(|contrast| length("contrasts", contrast.len()))?;
        self.arms.map_or(Ok(()), |arms| length("arms", arms.len()))?;
        self.weights.map_or(Ok(()), |weights| length("weights", weights.len()))?;
        self.clusters.map_or(Ok(()), |clusters| length("clusters", clusters.len()))?;
        if let Some(&row) = self.rows.iter().find(|&&row| row as usize >= n) {
            return Err(TreesError::RowOutOfRange { row, n_rows: n });
        }
        let mut rows = Vec::with_capacity(self.rows.len());
        for &row in self.rows {
            let i = row as usize;
            let bad = |what, value, allowed| Err(TreesError::BadValue { what, value, row: i, allowed });
            let weight = self.weights.map_or(1.0, |weights| weights[i]);
            if !(0.0..1e30).contains(&weight) {
                return bad("weight", weight, "it must be finite and not negative");
            }
            let numbers = self.contrasts.iter().map(|contrast| contrast[i]).chain([self.outcome[i]]);
            for value in numbers {
                // Products of three such numbers must fit f32.
                if value.is_nan() || value.abs() > 1e12 {
                    return bad("outcome or contrast", value, "it must be a number of at most 1e12");
                }
            }
            if weight > 0.0 {
                rows.push(row);
            }
        }
        if rows.is_empty() { Err(TreesError::NoRows) } else { Ok(rows) }
    }

    fn cell<const L: usize>(&self, row: u32) -> EffectCell<K, L> {
        let i = row as usize;
        let contrasts = self.contrasts.map(|contrast| contrast[i]);
        let arm = self.arms.map_or(u8::MAX, |arms| arms[i]);
        EffectCell::row(self.weights.map_or(1.0, |weights| weights[i]), self.outcome[i], &contrasts, arm)
    }
}

/// Grows a causal forest of K contrasts; L lanes, see [`crate::criterion::effect::lanes`].
///
/// When the watch says stop, the bags finished so far are the forest. To continue one, grow
/// with another seed and [`EffectForest::merge`].
///
/// # Errors
/// [`TreesError::BadSetting`] for a setting out of range; [`TreesError::Length`],
/// [`TreesError::RowOutOfRange`], [`TreesError::NoRows`], [`TreesError::NoFeatures`] and
/// [`TreesError::BadValue`] for a task that cannot be; [`TreesError::Stopped`] when stopped
/// before the first bag.
pub fn grow_effect_forest<const K: usize, const L: usize>(
    x: &dyn BinColumns,
    task: &EffectTask<'_, K>,
    config: &ForestConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<EffectForest, TreesError> {
    config.check()?;
    let layout = Layout::new(features(x)?);
    let rows = task.checked_rows(x.n_rows())?;
    let ground = Ground::<K, L>::new(x, task, config, layout, rows);
    let n_bags = config.n_trees / config.trees_per_bag;
    let batch = 2 * rayon::current_num_threads();
    let mut bag_seeds = Vec::with_capacity(n_bags);
    let (mut trees, mut moments) = (Vec::with_capacity(config.n_trees), Vec::new());
    while bag_seeds.len() < n_bags {
        if watch.should_stop() {
            if bag_seeds.is_empty() {
                return Err(TreesError::Stopped);
            }
            break;
        }
        let first = bag_seeds.len();
        let seeds: Vec<Seed> = (first..n_bags.min(first + batch)).map(|bag| Bags::seed(seed, bag as u64)).collect();
        let grown: Vec<Vec<(Tree, Vec<f32>)>> =
            seeds.par_iter().map_init(|| ground.workbench(), |bench, &bag| ground.bag(bench, bag)).collect();
        for (tree, leaves) in grown.into_iter().flatten() {
            trees.push(tree);
            moments.extend(leaves);
        }
        bag_seeds.extend(seeds);
        watch.progress("growing trees", (bag_seeds.len() * config.trees_per_bag) as u64, config.n_trees as u64);
    }
    Ok(EffectForest::assemble((x.n_features(), K), config.bags(), bag_seeds, trees, moments))
}

/// What all trees grow from.
struct Ground<'a, const K: usize, const L: usize> {
    layout: Layout,
    store: Store<EffectCell<K, L>>,
    keys: Vec<u64>,
    criterion: Effect<K, L>,
    grow_config: GrowConfig,
    config: &'a ForestConfig,
}

/// Memory a thread reuses from tree to tree.
struct Workbench<const K: usize, const L: usize> {
    tile: Tile<EffectCell<K, L>>,
    grower: Grower<Effect<K, L>>,
}

impl<'a, const K: usize, const L: usize> Ground<'a, K, L> {
    fn new(
        x: &dyn BinColumns,
        task: &EffectTask<'_, K>,
        config: &'a ForestConfig,
        layout: Layout,
        rows: Vec<u32>,
    ) -> Self {
        let p = layout.n_features();
        let features_per_node = config.features_per_node.unwrap_or((p as f64).sqrt().ceil() as usize + 20).min(p);
        let min_arm_rows = if task.arms.is_some() { config.min_arm_rows } else { 0 };
        Ground {
            store: Store::new(CodeMatrix::gather(x, &rows), rows.par_iter().map(|&row| task.cell(row)).collect()),
            keys: rows.iter().map(|&row| task.key(row)).collect(),
            criterion: Effect { min_arm_rows, alpha: config.alpha, imbalance_penalty: config.imbalance_penalty },
            grow_config: GrowConfig {
                n_leaves: usize::MAX,
                max_depth: config.max_depth,
                limits: Limits { min_rows: config.min_leaf_rows, min_weight: 0.0, min_gain: 0.0 },
                growth: Growth::DepthWise,
                features_per_node: Some(features_per_node),
                min_estimate_rows: 0,
            },
            config,
            layout,
        }
    }

    fn workbench(&self) -> Workbench<K, L> {
        let tile =
            if self.config.honest { Tile::honest(Part::empty(), Part::empty()) } else { Tile::adaptive(Part::empty()) };
        Workbench { tile, grower: Grower::new(self.layout.clone()) }
    }

    /// The trees of a bag with their leaves' moments.
    fn bag(&self, bench: &mut Workbench<K, L>, bag: Seed) -> Vec<(Tree, Vec<f32>)> {
        let bags = self.config.bags();
        let rows: Vec<u32> =
            (0..self.keys.len() as u32).filter(|&position| bags.holds(bag, self.keys[position as usize])).collect();
        (0..self.config.trees_per_bag as u64)
            .map(|tree| {
                let (split, estimate) = bags.tree_rows(bag, tree, &rows, |position| self.keys[position as usize]);
                bench.tile.split.refill(&self.store, &split);
                if let Some(part) = &mut bench.tile.estimate {
                    part.refill(&self.store, &estimate);
                }
                self.tree(bench, bag.child(tree))
            })
            .collect()
    }

    fn tree(&self, bench: &mut Workbench<K, L>, seed: Seed) -> (Tree, Vec<f32>) {
        let all: Vec<u32> = (0..self.layout.n_features() as u32).collect();
        let seed = seed.stream(Stream::Learner);
        let grown = bench.grower.grow(&mut bench.tile, &self.criterion, &self.grow_config, &all, seed);
        let sums: Vec<EffectStats<K, L>> = grown
            .leaves
            .iter()
            .map(|leaf| match &bench.tile.estimate {
                Some(part) => summarise(&self.criterion, part.node_rows(leaf.estimate.clone())),
                None => leaf.stats,
            })
            .collect();
        let keep: Vec<bool> = sums.iter().map(|sums| sums.n_rows() > 0).collect();
        match grown.tree.prune(&keep) {
            Some((tree, old)) => {
                let moments = old.iter().flat_map(|&leaf| means(&sums[leaf as usize])).collect();
                (tree, moments)
            }
            // No estimating row at all: a tree that says nothing.
            None => (Tree::stump(), vec![0.0; n_moments(K)]),
        }
    }
}

/// A leaf's mean moments, in the order of [`n_moments`].
fn means<const K: usize, const L: usize>(sums: &EffectStats<K, L>) -> impl Iterator<Item = f32> {
    let n = f64::from(sums.n_rows());
    let mut moments = Vec::with_capacity(n_moments(K));
    moments.extend([sums.weight(), sums.outcome()]);
    moments.extend((0..K).map(|k| sums.contrast(k)));
    moments.extend((0..K).map(|k| sums.contrast_outcome(k)));
    for k in 0..K {
        moments.extend((0..=k).map(|l| sums.contrast_product(k, l)));
    }
    moments.into_iter().map(move |moment| (moment / n) as f32)
}
