//! What an uplift forest answers: the mean outcome of every arm.

use impactiq_data::BinColumns;
use rayon::prelude::*;

use crate::forest::uplift::model::UpliftForest;
use crate::tree::walk::{CodeBlock, Walkers};

/// Below this many rows each walks alone, through many trees at once.
const ROWS_IN_STEP: usize = 8;

/// Rows answered together: their codes and sums stay in the cache while the trees pass by.
const BLOCK_ROWS: usize = 512;

impl UpliftForest {
    /// Mean outcomes by arm for all rows, or for those at `rows`: the mean over trees of the
    /// arm's mean in the row's leaf. Always finite.
    ///
    /// # Panics
    /// When a row does not exist or `x` does not have [`UpliftForest::n_features`] features.
    pub fn predict(&self, x: &dyn BinColumns, rows: Option<&[u32]>) -> Vec<Vec<f64>> {
        assert_eq!(x.n_features(), self.n_features, "features of the forest");
        let columns: Vec<&[u8]> = (0..x.n_features()).map(|f| x.codes(f)).collect();
        let all: Vec<u32>;
        let rows = match rows {
            Some(rows) => rows,
            None => {
                all = (0..x.n_rows() as u32).collect();
                &all
            }
        };
        let walkers = self.walkers.as_ref();
        let block = |rows: &[u32]| self.block(walkers, &columns, rows);
        // A block's answers do not depend on where it begins, so its size may follow the threads.
        let size = rows.len().div_ceil(rayon::current_num_threads()).clamp(1, BLOCK_ROWS);
        let blocks: Vec<Vec<f64>> =
            if rows.len() <= size { vec![block(rows)] } else { rows.par_chunks(size).map(block).collect() };
        let column = |arm: usize| blocks.iter().flatten().skip(arm).step_by(self.n_arms).copied().collect();
        (0..self.n_arms).map(column).collect()
    }

    /// Means of some rows, arms within a row. A row's trees are added in order: the same bits
    /// wherever a block begins, and however few its rows are.
    fn block(&self, walkers: Option<&Walkers>, columns: &[&[u8]], rows: &[u32]) -> Vec<f64> {
        let mut sums = vec![0.0; rows.len() * self.n_arms];
        let codes = walkers.and_then(|_| CodeBlock::new(columns, rows.iter().map(|&row| row as usize)));
        match (walkers, &codes) {
            (Some(walkers), Some(codes)) if rows.len() < ROWS_IN_STEP => {
                let mut leaves = vec![0; self.trees.len()];
                for (row, sums) in sums.chunks_exact_mut(self.n_arms).enumerate() {
                    walkers.leaves_of_row(0..self.trees.len(), codes, row, &mut leaves);
                    leaves.iter().enumerate().for_each(|(tree, &leaf)| self.add(tree, leaf, sums));
                }
            }
            _ => {
                let mut leaves = vec![0; rows.len()];
                for (tree, shape) in self.trees.iter().enumerate() {
                    match (walkers, &codes) {
                        (Some(walkers), Some(codes)) => walkers.leaves(tree, codes, &mut leaves),
                        _ => {
                            let leaf = |row: u32| shape.leaf(|f| columns[f][row as usize]);
                            leaves.iter_mut().zip(rows).for_each(|(out, &row)| *out = leaf(row));
                        }
                    }
                    let rows = sums.chunks_exact_mut(self.n_arms).zip(&leaves);
                    rows.for_each(|(sums, &leaf)| self.add(tree, leaf, sums));
                }
            }
        }
        let n_trees = self.trees.len() as f64;
        sums.iter_mut().for_each(|sum| *sum /= n_trees);
        sums
    }

    /// Adds the means of a tree's leaf.
    #[inline(always)]
    fn add(&self, tree: usize, leaf: u32, sums: &mut [f64]) {
        let means = &self.means[(self.first_leaf[tree] + leaf as usize) * self.n_arms..][..self.n_arms];
        sums.iter_mut().zip(means).for_each(|(sum, mean)| *sum += mean);
    }
}
