//! What a causal forest answers: effects and their variances, in bag or out.
//!
//! A row's leaf moments are averaged over trees and the effect is one regression on the
//! averages. Its sampling variance follows from what little bags disagree about (Athey,
//! Tibshirani and Wager 2019, section 4): the between-bag variance of the influence
//! ρ = A⁻¹ (t − t̄)(y − c − t'θ), less what trees within a bag differ by anyway. ρ is linear in the
//! moments, so its squares come from sums of outer products gathered in the same pass.

use impactiq_data::BinColumns;
use rayon::prelude::*;

use crate::criterion::effect::{EffectStats, Regression};
use crate::forest::model::{EffectForest, n_moments};
use crate::tree::Tree;
use crate::tree::walk::{CodeBlock, Walker};

/// Below this many rows laying trees out for walking costs more than it saves.
const WALKER_ROWS: usize = 256;

/// Rows answered together: their codes and sums stay in the first- and second-level cache while
/// the trees pass by.
const BLOCK_ROWS: usize = 512;

/// Effects by contrast and row; NaN where no tree can answer.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectPredictions {
    /// K vectors of n effects.
    pub effects: Vec<Vec<f64>>,
    /// K vectors of n sampling variances, when asked for and trees grew in bags of two or more.
    pub variances: Option<Vec<Vec<f64>>>,
}

/// The key of a row, by which its bags are known.
pub type RowKey<'a> = &'a (dyn Fn(u32) -> u64 + Sync);

impl EffectForest {
    /// Predicts for all rows, or for those at `rows`, from all trees.
    ///
    /// # Panics
    /// When a row does not exist or `x` does not have [`EffectForest::n_features`] features.
    pub fn predict(&self, x: &dyn BinColumns, rows: Option<&[u32]>, variances: bool) -> EffectPredictions {
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
    /// As [`EffectForest::predict`].
    pub fn predict_out_of_bag(
        &self,
        x: &dyn BinColumns,
        rows: &[u32],
        key: RowKey<'_>,
        variances: bool,
    ) -> EffectPredictions {
        self.answer(x, rows, Some(key), variances)
    }

    fn answer(&self, x: &dyn BinColumns, rows: &[u32], key: Option<RowKey<'_>>, variances: bool) -> EffectPredictions {
        assert_eq!(x.n_features(), self.n_features, "features of the forest");
        let variances = variances && self.bags.trees_per_bag > 1;
        let columns: Vec<&[u8]> = (0..x.n_features()).map(|f| x.codes(f)).collect();
        let worth_it = rows.len() >= WALKER_ROWS;
        let walkers: Vec<Option<Walker>> =
            self.trees.par_iter().map(|tree| worth_it.then(|| Walker::new(tree)).flatten()).collect();
        let block = |rows: &[u32]| -> Vec<f64> {
            let ask = Ask { forest: self, walkers: &walkers, columns: &columns, rows, key, variances };
            match self.n_contrasts {
                1 => ask.answer::<1, 5, 8>(),
                2 => ask.answer::<2, 9, 12>(),
                3 => ask.answer::<3, 14, 20>(),
                _ => ask.answer::<4, 20, 28>(),
            }
        };
        let blocks: Vec<Vec<f64>> = rows.par_chunks(BLOCK_ROWS).map(block).collect();
        // A row's answer: K effects, then K variances.
        let width = 2 * self.n_contrasts;
        let column = |at: usize| blocks.iter().flatten().skip(at).step_by(width).copied().collect();
        EffectPredictions {
            effects: (0..self.n_contrasts).map(column).collect(),
            variances: variances.then(|| (self.n_contrasts..width).map(column).collect()),
        }
    }
}

/// One block of rows.
struct Ask<'a> {
    forest: &'a EffectForest,
    walkers: &'a [Option<Walker>],
    columns: &'a [&'a [u8]],
    rows: &'a [u32],
    key: Option<RowKey<'a>>,
    variances: bool,
}

/// What is summed for a row over trees and bags; M moments.
#[derive(Clone, Copy)]
struct Sums<const M: usize> {
    n_bags: u32,
    moments: [f64; M],
    /// Σ over bags of the outer product of the bag's mean moments (lower triangle).
    between: [[f64; M]; M],
    /// Σ over trees of the outer product of the tree's moments (lower triangle).
    total: [[f64; M]; M],
}

impl<const M: usize> Sums<M> {
    const ZERO: Self = Sums { n_bags: 0, moments: [0.0; M], between: [[0.0; M]; M], total: [[0.0; M]; M] };
}

#[inline(always)]
fn add_outer<const M: usize>(into: &mut [[f64; M]; M], vector: &[f64; M]) {
    for i in 0..M {
        for j in 0..=i {
            into[i][j] += vector[i] * vector[j];
        }
    }
}

/// a' S a, S given by its lower triangle.
fn quadratic<const M: usize>(s: &[[f64; M]; M], a: &[f64; M]) -> f64 {
    let mut sum = 0.0;
    for i in 0..M {
        for j in 0..i {
            sum += 2.0 * a[i] * a[j] * s[i][j];
        }
        sum += a[i] * a[i] * s[i][i];
    }
    sum
}

impl Ask<'_> {
    fn answer<const K: usize, const M: usize, const L: usize>(&self) -> Vec<f64> {
        const { assert!(n_moments(K) == M) };
        let codes = CodeBlock::new(self.columns, self.rows.iter().map(|&row| row as usize));
        let keys: Option<Vec<u64>> = self.key.map(|key| self.rows.iter().map(|&row| key(row)).collect());
        let mut sums = vec![Sums::<M>::ZERO; self.rows.len()];
        let mut asking = Vec::with_capacity(self.rows.len());
        for bag in 0..self.forest.n_bags() {
            asking.clear();
            let seed = self.forest.bag_seeds[bag];
            asking.extend((0..self.rows.len() as u32).filter(|&i| match &keys {
                None => true,
                Some(keys) => !self.forest.bags.holds(seed, keys[i as usize]),
            }));
            self.bag::<M>(bag, codes.as_ref(), &asking, &mut sums);
        }
        sums.iter().flat_map(|sums| self.solve::<K, M, L>(sums)).collect()
    }

    /// Adds the trees of a bag to the rows of the block that ask it.
    fn bag<const M: usize>(&self, bag: usize, codes: Option<&CodeBlock>, asking: &[u32], sums: &mut [Sums<M>]) {
        let n_trees = self.forest.bags.trees_per_bag;
        let mut means = [[0.0; M]; BLOCK_ROWS];
        for tree in bag * n_trees..(bag + 1) * n_trees {
            let first = self.forest.first_leaf[tree];
            let shape: &Tree = &self.forest.trees[tree];
            let leaves = &self.forest.moments[first * M..][..shape.n_leaves() * M];
            let mut at = [0u32; BLOCK_ROWS];
            match (&self.walkers[tree], codes) {
                (Some(walker), Some(codes)) => walker.leaves(codes, asking, &mut at[..asking.len()]),
                _ => {
                    for (at, &i) in at.iter_mut().zip(asking) {
                        let row = self.rows[i as usize] as usize;
                        *at = shape.leaf(|f| self.columns[f][row]);
                    }
                }
            }
            for ((&i, leaf), mean) in asking.iter().zip(at).zip(&mut means) {
                let (i, leaf) = (i as usize, leaf as usize);
                let moments: [f64; M] = std::array::from_fn(|m| f64::from(leaves[leaf * M + m]));
                (0..M).for_each(|m| mean[m] += moments[m]);
                if self.variances {
                    add_outer(&mut sums[i].total, &moments);
                }
            }
        }
        for (&i, mean) in asking.iter().zip(&means) {
            let sums = &mut sums[i as usize];
            let mean = mean.map(|sum| sum / n_trees as f64);
            sums.n_bags += 1;
            (0..M).for_each(|m| sums.moments[m] += mean[m]);
            if self.variances {
                add_outer(&mut sums.between, &mean);
            }
        }
    }

    /// K effects and K variances of a row.
    fn solve<const K: usize, const M: usize, const L: usize>(&self, sums: &Sums<M>) -> Vec<f64> {
        let n_bags = f64::from(sums.n_bags);
        let average = EffectStats::<K, L>::from_moments(&sums.moments.map(|sum| sum / n_bags));
        let Some(regression) = Regression::new(&average) else { return vec![f64::NAN; 2 * K] };
        let mut out = regression.theta.to_vec();
        if !self.variances {
            out.extend([f64::NAN; K]);
            return out;
        }
        // ρ is linear in the moments: its coefficients are its values at the unit vectors.
        let weight = average_weight(&average);
        let mut coefficients = [[0.0; M]; K];
        for m in 0..M {
            let mut unit = [0.0; M];
            unit[m] = 1.0;
            let rho = regression.pseudo_outcome(&EffectStats::<K, L>::from_moments(&unit));
            (0..K).for_each(|k| coefficients[k][m] = rho[k] / weight);
        }
        let trees_per_bag = self.forest.bags.trees_per_bag as f64;
        out.extend(coefficients.iter().map(|a| {
            let between = quadratic(&sums.between, a) / n_bags;
            let total = quadratic(&sums.total, a) / (n_bags * trees_per_bag);
            let noise = ((total - between) / (trees_per_bag - 1.0)).max(0.0);
            debias(between, noise, n_bags)
        }));
        out
    }
}

fn average_weight<const K: usize, const L: usize>(average: &EffectStats<K, L>) -> f64 {
    use crate::stats::Stats;
    average.weight()
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
