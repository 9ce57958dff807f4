//! What a forest answers: values and their variances, in bag or out.
//!
//! A row's leaf moments are averaged over trees and the answer is one regression on the
//! averages. Its sampling variance follows from what little bags disagree about (Athey,
//! Tibshirani and Wager 2019, section 4): the between-bag variance of the influence ρ, for effects
//! A⁻¹ (t − t̄)(y − c − t'θ), less what trees within a bag differ by anyway. ρ is linear in the
//! moments, but its coefficients are known only after the averages are: a block of rows goes through
//! the trees once, its leaves are kept, and the second pass reads leaves, not trees.

use std::ops::Range;

use impactiq_data::BinColumns;
use rayon::prelude::*;

use crate::forest::kind::{ForestKind, Solution, Solve, effects, instrument, mean};
use crate::forest::model::Forest;
use crate::kernel::prefetch_all;
use crate::tree::walk::{CodeBlock, Walkers};

/// Rows answered together: their codes and sums stay in the second-level cache while the trees
/// pass by.
const BLOCK_ROWS: usize = 2048;

/// Below this many rows each walks alone, through many trees at once.
const ROWS_IN_STEP: usize = 8;

/// Values by row; NaN where no tree can answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ForestPredictions {
    /// V vectors of n values, see [`ForestKind::n_values`]: effects by contrast, or means.
    pub values: Vec<Vec<f64>>,
    /// V vectors of n sampling variances, when asked for and trees grew in bags of two or more.
    pub variances: Option<Vec<Vec<f64>>>,
}

/// The key of a row, by which its bags are known.
pub type RowKey<'a> = &'a (dyn Fn(u32) -> u64 + Sync);

impl Forest {
    /// Predicts for all rows, or for those at `rows`, from all trees. The trees stand ready for
    /// walking, so a single row costs no more than its walks.
    ///
    /// # Panics
    /// When a row does not exist or `x` does not have [`Forest::n_features`] features.
    pub fn predict(&self, x: &dyn BinColumns, rows: Option<&[u32]>, variances: bool) -> ForestPredictions {
        let all: Vec<u32>;
        let rows = match rows {
            Some(rows) => rows,
            None => {
                all = (0..x.n_rows() as u32).collect();
                &all
            }
        };
        self.answer(x, rows, None, variances)
    }

    /// Predicts for training rows, each from the bags that have not seen its key (its row id,
    /// or its cluster if the forest was grown by clusters).
    ///
    /// # Panics
    /// As [`Forest::predict`].
    pub fn predict_out_of_bag(
        &self,
        x: &dyn BinColumns,
        rows: &[u32],
        key: RowKey<'_>,
        variances: bool,
    ) -> ForestPredictions {
        self.answer(x, rows, Some(key), variances)
    }

    fn answer(&self, x: &dyn BinColumns, rows: &[u32], key: Option<RowKey<'_>>, variances: bool) -> ForestPredictions {
        assert_eq!(x.n_features(), self.n_features, "features of the forest");
        let variances = variances && self.bags.trees_per_bag > 1;
        let columns: Vec<&[u8]> = (0..x.n_features()).map(|f| x.codes(f)).collect();
        let walkers = self.walkers();
        let block = |rows: &[u32]| -> Vec<f64> {
            let ask = Ask { forest: self, walkers, columns: &columns, rows, key, variances };
            match self.kind {
                ForestKind::Effect { n_contrasts: 1 } => ask.answer(effects::<1, 5, 8>),
                ForestKind::Effect { n_contrasts: 2 } => ask.answer(effects::<2, 9, 12>),
                ForestKind::Effect { n_contrasts: 3 } => ask.answer(effects::<3, 14, 20>),
                ForestKind::Effect { .. } => ask.answer(effects::<4, 20, 28>),
                ForestKind::Instrument => ask.answer(instrument),
                ForestKind::Mean { .. } => ask.answer(mean),
            }
        };
        // A block's answers do not depend on where it begins, so its size may follow the threads.
        let size = rows.len().div_ceil(rayon::current_num_threads()).clamp(1, BLOCK_ROWS);
        let blocks: Vec<Vec<f64>> =
            if rows.len() <= size { vec![block(rows)] } else { rows.par_chunks(size).map(block).collect() };
        // A row's answer: V values, then V variances.
        let n_values = self.kind.n_values();
        let centre = if let ForestKind::Mean { centre } = self.kind { centre } else { 0.0 };
        let column = |at: usize| blocks.iter().flatten().skip(at).step_by(2 * n_values).copied();
        ForestPredictions {
            values: (0..n_values).map(|at| column(at).map(|value| value + centre).collect()).collect(),
            variances: variances.then(|| (n_values..2 * n_values).map(|at| column(at).collect()).collect()),
        }
    }
}

/// One block of rows.
struct Ask<'a> {
    forest: &'a Forest,
    walkers: Option<&'a Walkers>,
    columns: &'a [&'a [u8]],
    rows: &'a [u32],
    key: Option<RowKey<'a>>,
    variances: bool,
}

/// Who asks which bag, and the leaves they reach: bag after bag, tree after tree, asking row after
/// row.
#[derive(Default)]
struct Reached {
    /// By bag: rows of the block that ask it; empty when all rows ask all bags.
    asking: Vec<Vec<u32>>,
    leaves: Vec<u32>,
}

/// What a row has of the trees so far.
#[derive(Clone, Copy)]
struct Sums<const M: usize> {
    n_bags: u32,
    /// Σ over trees of the leaves' moments.
    moments: [f64; M],
}

/// How a row's trees differ.
#[derive(Clone, Copy)]
struct Spread<const M: usize, const V: usize> {
    solution: Solution<M, V>,
    /// Σ ρ² over trees.
    total: [f64; V],
    /// Σ over bags of (Σ ρ over the bag's trees)².
    between: [f64; V],
}

impl Ask<'_> {
    /// V values and V variances per row.
    fn answer<const M: usize, const V: usize>(&self, solve: Solve<M, V>) -> Vec<f64> {
        let everybody: Vec<u32> = (0..self.rows.len() as u32).collect();
        let mut reached = Reached::default();
        let mut sums = vec![Sums { n_bags: 0, moments: [0.0; M] }; self.rows.len()];
        self.walk(&everybody, &mut reached, &mut sums);
        let n_trees = self.forest.bags.trees_per_bag as f64;
        let solutions: Vec<Option<Solution<M, V>>> =
            sums.iter().map(|sums| solve(&sums.moments.map(|sum| sum / (f64::from(sums.n_bags) * n_trees)))).collect();
        let unknown = Solution { values: [f64::NAN; V], influence: [[f64::NAN; M]; V] };
        let spread = |solution: &Option<Solution<M, V>>| Spread {
            solution: solution.unwrap_or(unknown),
            total: [0.0; V],
            between: [0.0; V],
        };
        let mut spreads: Vec<Spread<M, V>> = solutions.iter().map(spread).collect();
        if self.variances {
            self.disagreement(&everybody, &reached, &mut spreads);
        }
        let mut out = Vec::with_capacity(2 * V * self.rows.len());
        for (spread, sums) in spreads.iter().zip(&sums) {
            out.extend(spread.solution.values);
            out.extend(
                (0..V).map(|v| if self.variances { spread.variance(v, sums.n_bags, n_trees) } else { f64::NAN }),
            );
        }
        out
    }

    /// First pass: leaves by tree, moments summed over trees.
    fn walk<const M: usize>(&self, everybody: &[u32], reached: &mut Reached, sums: &mut [Sums<M>]) {
        let codes = CodeBlock::new(self.columns, self.rows.iter().map(|&row| row as usize));
        let keys: Option<Vec<u64>> = self.key.map(|key| self.rows.iter().map(|&row| key(row)).collect());
        let alone = self.leaves_alone(codes.as_ref());
        let keeps = self.variances || alone.is_some();
        let found = alone.is_some();
        reached.leaves = alone.unwrap_or_default();
        let mut next = 0;
        let mut chosen = keys.as_ref().and(codes.clone());
        for bag in 0..self.forest.n_bags() {
            if let Some(keys) = &keys {
                let (bags, seed) = (&self.forest.bags, self.forest.bag_seeds[bag]);
                let asking: Vec<u32> =
                    everybody.iter().copied().filter(|&i| !bags.holds(seed, keys[i as usize])).collect();
                if let (Some(chosen), Some(codes)) = (&mut chosen, &codes) {
                    chosen.select(codes, &asking);
                }
                reached.asking.push(asking);
            }
            let asking = reached.asking.last().map_or(everybody, |asking| asking);
            let trees = self.trees(bag);
            let first = if keeps { next } else { 0 };
            next = first + asking.len() * trees.len();
            if !found {
                trees.clone().for_each(|tree| prefetch_all(self.moments::<M>(tree)));
                reached.leaves.resize(next, 0);
                let codes = if keys.is_some() { &chosen } else { &codes };
                self.leaves(trees.clone(), asking, codes.as_ref(), &mut reached.leaves[first..]);
            }
            let bag = self.bag::<M>(trees, &reached.leaves[first..next], asking.len());
            for (at, &i) in asking.iter().enumerate() {
                let mut of_bag = [0.0; M];
                for (moments, leaves) in &bag {
                    let leaf = &moments[leaves[at] as usize];
                    of_bag.iter_mut().zip(leaf).for_each(|(sum, &moment)| *sum += f64::from(moment));
                }
                let sums = &mut sums[i as usize];
                sums.n_bags += 1;
                sums.moments.iter_mut().zip(of_bag).for_each(|(sum, own)| *sum += own);
            }
        }
    }

    /// The leaves of a few rows that ask all trees, tree after tree.
    fn leaves_alone(&self, codes: Option<&CodeBlock>) -> Option<Vec<u32>> {
        let n = self.rows.len();
        let (walkers, codes) = (self.walkers?, codes?);
        if n >= ROWS_IN_STEP || self.key.is_some() {
            return None;
        }
        let n_trees = self.forest.n_trees();
        let mut own = vec![0; n_trees];
        let mut leaves = vec![0; n_trees * n];
        for row in 0..n {
            walkers.leaves_of_row(0..n_trees, codes, row, &mut own);
            leaves[row..].iter_mut().step_by(n).zip(&own).for_each(|(out, leaf)| *out = *leaf);
        }
        Some(leaves)
    }

    /// Second pass: squares of ρ by tree and by bag.
    fn disagreement<const M: usize, const V: usize>(
        &self,
        everybody: &[u32],
        reached: &Reached,
        spreads: &mut [Spread<M, V>],
    ) {
        let mut first = 0;
        for bag in 0..self.forest.n_bags() {
            let asking = reached.asking.get(bag).map_or(everybody, |asking| asking);
            let trees = self.trees(bag);
            let next = first + asking.len() * trees.len();
            if asking.len() >= ROWS_IN_STEP && bag + 1 < self.forest.n_bags() {
                self.trees(bag + 1).for_each(|tree| prefetch_all(self.moments::<M>(tree)));
            }
            let bag = self.bag::<M>(trees, &reached.leaves[first..next], asking.len());
            first = next;
            for (at, &i) in asking.iter().enumerate() {
                let spread = &mut spreads[i as usize];
                let mut of_bag = [0.0; V];
                for (moments, leaves) in &bag {
                    spread.add(&moments[leaves[at] as usize], &mut of_bag);
                }
                spread.between.iter_mut().zip(of_bag).for_each(|(sum, own)| *sum += own * own);
            }
        }
    }

    /// The trees of a bag: their leaves' moments and the leaf every asking row has reached.
    fn bag<'l, const M: usize>(
        &self,
        trees: Range<usize>,
        leaves: &'l [u32],
        n_asking: usize,
    ) -> Vec<(&[[f32; M]], &'l [u32])> {
        trees.zip(leaves.chunks(n_asking.max(1))).map(|(tree, leaves)| (self.moments::<M>(tree), leaves)).collect()
    }

    fn trees(&self, bag: usize) -> Range<usize> {
        let n_trees = self.forest.bags.trees_per_bag;
        bag * n_trees..(bag + 1) * n_trees
    }

    /// The moments of a tree's leaves.
    fn moments<const M: usize>(&self, tree: usize) -> &[[f32; M]] {
        let first = self.forest.first_leaf[tree];
        let n_leaves = self.forest.trees[tree].n_leaves();
        self.forest.moments[first * M..(first + n_leaves) * M].as_chunks().0
    }

    /// The leaf of every asking row, tree after tree; `codes` are those of the asking rows.
    fn leaves(&self, trees: Range<usize>, asking: &[u32], codes: Option<&CodeBlock>, out: &mut [u32]) {
        for (tree, out) in trees.zip(out.chunks_mut(asking.len().max(1))) {
            match (self.walkers, codes) {
                (Some(walkers), Some(codes)) => {
                    walkers.prefetch(tree + 1);
                    walkers.leaves(tree, codes, out);
                }
                _ => {
                    for (out, &i) in out.iter_mut().zip(asking) {
                        let row = self.rows[i as usize] as usize;
                        *out = self.forest.trees[tree].leaf(|f| self.columns[f][row]);
                    }
                }
            }
        }
    }
}

impl<const M: usize, const V: usize> Spread<M, V> {
    /// Adds a tree's answer here and to its bag's.
    #[inline(always)]
    fn add(&mut self, moments: &[f32; M], of_bag: &mut [f64; V]) {
        let of_value = self.solution.influence.iter().zip(&mut self.total).zip(of_bag);
        for ((influence, total), of_bag) in of_value {
            let rho: f64 = influence.iter().zip(moments).map(|(part, &moment)| part * f64::from(moment)).sum();
            *of_bag += rho;
            *total += rho * rho;
        }
    }

    fn variance(&self, v: usize, n_bags: u32, trees_per_bag: f64) -> f64 {
        let n_bags = f64::from(n_bags);
        let between = self.between[v] / (n_bags * trees_per_bag * trees_per_bag);
        let total = self.total[v] / (n_bags * trees_per_bag);
        let noise = ((total - between) / (trees_per_bag - 1.0)).max(0.0);
        debias(between, noise, n_bags)
    }
}

/// The variance between bags less the noise of trees within, never negative.
///
/// The plain difference can be below 0. With a flat prior on variances from 0 up, and the
/// difference normal around the truth, the posterior mean is the mean of a normal cut off
/// at 0 (the correction grf documents).
fn debias(between: f64, noise: f64, n_bags: f64) -> f64 {
    let difference = between - noise;
    let error = between.max(noise) * (2.0 / n_bags).sqrt();
    if error > 0.0 { difference + error * hazard(difference / error) } else { difference.max(0.0) }
}

/// φ(x) / Φ(x) of the standard normal distribution.
fn hazard(x: f64) -> f64 {
    if x < -4.0 {
        // Laplace's continued fraction of the Mills ratio at −x.
        let tail = (1..=40).rev().fold(-x, |fraction, k| -x + f64::from(k) / fraction);
        return tail;
    }
    if x > 38.0 {
        return 0.0;
    }
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    // Φ(x) = ½ + φ(x) (x + x³/3 + x⁵/15 + …)
    let (mut term, mut sum, mut k) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() && k < 2000.0 {
        k += 2.0;
        term *= x * x / k;
        sum += term;
    }
    density / (0.5 + density * sum)
}

#[cfg(test)]
mod tests;
