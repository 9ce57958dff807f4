//! Grows a forest of any kind: draws rows, fills tiles, grows trees, sums their leaves.
//!
//! Trees are independent, so bags grow in parallel and the forest does not depend on the
//! number of threads. Codes and moments of all rows are laid out once; each tree copies its
//! own into a tile. What rows contribute is the business of [`super::effect`] and its siblings.

use impactiq_data::{BinColumns, Seed, Stream, Watch};
use rayon::prelude::*;

use crate::criterion::{Criterion, summarise};
use crate::error::{TreesError, check_length};
use crate::forest::config::{ForestConfig, LeafSize};
use crate::forest::kind::ForestKind;
use crate::forest::model::Forest;
use crate::grow::{GrowConfig, Grower, Growth};
use crate::histogram::Layout;
use crate::matrix::{CodeMatrix, features};
use crate::sample::Bags;
use crate::split::Limits;
use crate::stats::Stats;
use crate::tile::{Part, Store, Tile};
use crate::tree::Tree;

/// A criterion whose sums fill the leaves of a forest.
pub(super) trait ForestCriterion: Criterion {
    /// Adds the weighted mean moments of a leaf's rows (one at least) to `out`, in the order of
    /// [`ForestKind::n_moments`].
    fn push_means(sums: &Self::Stats, out: &mut Vec<f32>);
}

/// The rows of a task and how they are drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Members<'a> {
    pub rows: &'a [u32],
    pub weights: Option<&'a [f64]>,
    pub clusters: Option<&'a [u32]>,
    pub row_ids: &'a [u64],
}

impl Members<'_> {
    /// The key by which a row is drawn.
    #[inline(always)]
    pub fn key(&self, row: u32) -> u64 {
        match self.clusters {
            Some(clusters) => u64::from(clusters[row as usize]),
            None => self.row_ids[row as usize],
        }
    }

    #[inline(always)]
    pub fn weight(&self, row: u32) -> f64 {
        self.weights.map_or(1.0, |weights| weights[row as usize])
    }

    /// The rows of positive weight among n, their `numbers` checked.
    ///
    /// # Errors
    /// [`TreesError::Length`], [`TreesError::RowOutOfRange`], [`TreesError::BadValue`],
    /// [`TreesError::NoRows`].
    pub fn checked(&self, n: usize, numbers: &[(&'static str, &[f64])]) -> Result<Vec<u32>, TreesError> {
        numbers.iter().try_for_each(|(what, values)| check_length(what, n, values.len()))?;
        check_length("row_ids", n, self.row_ids.len())?;
        self.weights.map_or(Ok(()), |weights| check_length("weights", n, weights.len()))?;
        self.clusters.map_or(Ok(()), |clusters| check_length("clusters", n, clusters.len()))?;
        if let Some(&row) = self.rows.iter().find(|&&row| row as usize >= n) {
            return Err(TreesError::RowOutOfRange { row, n_rows: n });
        }
        let mut rows = Vec::with_capacity(self.rows.len());
        for &row in self.rows {
            let bad = |what, value, allowed| Err(TreesError::BadValue { what, value, row: row as usize, allowed });
            let weight = self.weight(row);
            if !(0.0..1e30).contains(&weight) {
                return bad("weight", weight, "it must be finite and not negative");
            }
            for (what, values) in numbers {
                // Products of three such numbers must fit f32.
                let value = values[row as usize];
                if value.is_nan() || value.abs() > 1e12 {
                    return bad(what, value, "it must be a number of at most 1e12");
                }
            }
            if weight > 0.0 {
                rows.push(row);
            }
        }
        if rows.is_empty() { Err(TreesError::NoRows) } else { Ok(rows) }
    }
}

/// What all trees grow from.
pub(super) struct Ground<'a, C: ForestCriterion> {
    kind: ForestKind,
    layout: Layout,
    store: Store<C::Row>,
    keys: Vec<u64>,
    /// Bags take these in turn.
    turns: Vec<(C, GrowConfig)>,
    config: &'a ForestConfig,
}

/// Memory a thread reuses from tree to tree.
struct Workbench<C: ForestCriterion> {
    tile: Tile<C::Row>,
    grower: Grower<C>,
}

impl<'a, C: ForestCriterion> Ground<'a, C> {
    /// `criterion` belongs to a least number of an arm's rows per leaf; `rows` are checked
    /// members; `cell` says what a row contributes.
    ///
    /// # Errors
    /// [`TreesError::NoFeatures`], [`TreesError::Length`].
    pub fn new(
        (kind, criterion): (ForestKind, impl Fn(u32) -> C),
        x: &dyn BinColumns,
        config: &'a ForestConfig,
        (members, rows): (&Members<'_>, &[u32]),
        cell: impl Fn(u32) -> C::Row + Sync,
    ) -> Result<Self, TreesError> {
        let layout = Layout::new(features(x)?);
        let p = layout.n_features();
        let features_per_node = config.features_per_node.unwrap_or((p as f64).sqrt().ceil() as usize + 20).min(p);
        let rules = |leaf: LeafSize| GrowConfig {
            n_leaves: usize::MAX,
            max_depth: config.max_depth,
            limits: Limits { min_rows: leaf.min_leaf_rows, min_weight: 0.0, min_gain: 0.0 },
            growth: Growth::DepthWise,
            features_per_node: Some(features_per_node),
            min_estimate_rows: 0,
        };
        Ok(Ground {
            kind,
            store: Store::new(CodeMatrix::gather(x, rows), rows.par_iter().map(|&row| cell(row)).collect()),
            keys: rows.iter().map(|&row| members.key(row)).collect(),
            turns: config.leaf_sizes().into_iter().map(|leaf| (criterion(leaf.min_arm_rows), rules(leaf))).collect(),
            config,
            layout,
        })
    }

    /// Grows the bags that are missing from `earlier`, all of them without.
    ///
    /// # Errors
    /// [`TreesError::Stopped`] when stopped before the first bag; [`TreesError::FeatureCount`] and
    /// [`TreesError::BadSetting`] when `earlier` has grown otherwise.
    pub fn grow(&self, earlier: Option<Forest>, seed: Seed, watch: &dyn Watch) -> Result<Forest, TreesError> {
        let n_features = self.layout.n_features();
        let n_bags = self.config.n_trees / self.config.trees_per_bag;
        let bags = self.config.bags();
        let none = Forest::assemble((n_features, self.kind), bags, Vec::new(), Vec::new(), Vec::new());
        let mut forest = match earlier {
            Some(forest) => {
                forest.check_same_kind(&none)?;
                check_seed(&forest, seed)?;
                forest
            }
            None => none,
        };
        let batch = 2 * rayon::current_num_threads();
        let (mut bag_seeds, mut trees, mut moments) = (Vec::new(), Vec::new(), Vec::new());
        let mut first = forest.n_bags();
        while first < n_bags {
            if watch.should_stop() {
                if first == 0 {
                    return Err(TreesError::Stopped);
                }
                break;
            }
            let next: Vec<(usize, Seed)> =
                (first..n_bags.min(first + batch)).map(|bag| (bag, Bags::seed(seed, bag as u64))).collect();
            let grown: Vec<Vec<(Tree, Vec<f32>)>> =
                next.par_iter().map_init(|| self.workbench(), |bench, &bag| self.bag(bench, bag)).collect();
            for (tree, leaves) in grown.into_iter().flatten() {
                trees.push(tree);
                moments.extend(leaves);
            }
            first += next.len();
            bag_seeds.extend(next.into_iter().map(|(_, seed)| seed));
            watch.progress("growing trees", (first * self.config.trees_per_bag) as u64, self.config.n_trees as u64);
        }
        if !trees.is_empty() {
            let grown = Forest::assemble((n_features, self.kind), bags, bag_seeds, trees, moments);
            forest = if forest.n_trees() == 0 { grown } else { forest.merge(grown)? };
        }
        Ok(forest)
    }

    fn workbench(&self) -> Workbench<C> {
        let tile =
            if self.config.honest { Tile::honest(Part::empty(), Part::empty()) } else { Tile::adaptive(Part::empty()) };
        Workbench { tile, grower: Grower::new(self.layout.clone()) }
    }

    /// The trees of a bag with their leaves' moments.
    fn bag(&self, bench: &mut Workbench<C>, (number, bag): (usize, Seed)) -> Vec<(Tree, Vec<f32>)> {
        let turn = &self.turns[number % self.turns.len()];
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
                self.tree(bench, turn, bag.child(tree))
            })
            .collect()
    }

    fn tree(&self, bench: &mut Workbench<C>, (criterion, rules): &(C, GrowConfig), seed: Seed) -> (Tree, Vec<f32>) {
        let all: Vec<u32> = (0..self.layout.n_features() as u32).collect();
        let seed = seed.stream(Stream::Learner);
        let grown = bench.grower.grow(&mut bench.tile, criterion, rules, &all, seed);
        let sums: Vec<C::Stats> = grown
            .leaves
            .iter()
            .map(|leaf| match &bench.tile.estimate {
                Some(part) => summarise(criterion, part.node_rows(leaf.estimate.clone())),
                None => leaf.stats,
            })
            .collect();
        let keep: Vec<bool> = sums.iter().map(|sums| sums.n_rows() > 0).collect();
        let mut moments = Vec::with_capacity(sums.len() * self.kind.n_moments());
        match grown.tree.prune(&keep) {
            Some((tree, old)) => {
                old.iter().for_each(|&leaf| C::push_means(&sums[leaf as usize], &mut moments));
                (tree, moments)
            }
            // No estimating row at all: a tree that says nothing.
            None => (Tree::stump(), vec![0.0; self.kind.n_moments()]),
        }
    }
}

/// Whether bags of this seed can follow those of `forest`.
fn check_seed(forest: &Forest, seed: Seed) -> Result<(), TreesError> {
    if forest.bag_seeds.iter().zip(0..).all(|(&own, bag)| own == Bags::seed(seed, bag)) {
        return Ok(());
    }
    let allowed = "a forest is continued with the seed it was started with";
    Err(TreesError::BadSetting { key: "seed", value: seed.value().to_string(), allowed })
}
