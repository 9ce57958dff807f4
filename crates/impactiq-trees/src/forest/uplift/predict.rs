//! What an uplift forest answers: the mean outcome of every arm.

use impactiq_data::BinColumns;
use rayon::prelude::*;

use crate::forest::uplift::model::UpliftForest;
use crate::tree::walk::{CodeBlock, Walker};

/// Below this many rows laying trees out for walking costs more than it saves.
const WALKER_ROWS: usize = 256;

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
        let worth_it = rows.len() >= WALKER_ROWS;
        let walkers: Vec<Option<Walker>> =
            self.trees.par_iter().map(|tree| worth_it.then(|| Walker::new(tree)).flatten()).collect();
        let blocks: Vec<Vec<f64>> =
            rows.par_chunks(BLOCK_ROWS).map(|rows| self.block(&walkers, &columns, rows)).collect();
        let column = |arm: usize| blocks.iter().flatten().skip(arm).step_by(self.n_arms).copied().collect();
        (0..self.n_arms).map(column).collect()
    }

    /// Means of some rows, arms within a row. Trees are added in order: the same bits wherever
    /// a block begins.
    fn block(&self, walkers: &[Option<Walker>], columns: &[&[u8]], rows: &[u32]) -> Vec<f64> {
        let n_arms = self.n_arms;
        let codes = CodeBlock::new(columns, rows.iter().map(|&row| row as usize));
        let numbers: Vec<u32> = (0..rows.len() as u32).collect();
        let mut sums = vec![0.0; rows.len() * n_arms];
        let mut at = vec![0u32; rows.len()];
        for (tree, shape) in self.trees.iter().enumerate() {
            match (&walkers[tree], &codes) {
                (Some(walker), Some(codes)) => walker.leaves(codes, &numbers, &mut at),
                _ => {
                    for (at, &row) in at.iter_mut().zip(rows) {
                        *at = shape.leaf(|f| columns[f][row as usize]);
                    }
                }
            }
            let means = &self.means[self.first_leaf[tree] * n_arms..][..shape.n_leaves() * n_arms];
            for (sums, &leaf) in sums.chunks_exact_mut(n_arms).zip(&at) {
                let of_leaf = &means[leaf as usize * n_arms..][..n_arms];
                sums.iter_mut().zip(of_leaf).for_each(|(sum, mean)| *sum += mean);
            }
        }
        let n_trees = self.trees.len() as f64;
        sums.iter_mut().for_each(|sum| *sum /= n_trees);
        sums
    }
}
