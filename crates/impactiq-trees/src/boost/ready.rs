//! A model's trees laid out for a few rows: many trees are walked in step, their leaf values stand side by side.
//!
//! One row through one tree after another waits at every node; that was a third of a scoring
//! request. The layout is made by the first small question and kept; it is no part of the model.

use std::sync::OnceLock;

use impactiq_data::BinColumns;

use crate::tree::walk::{CodeBlock, Walkers};
use crate::tree::{Leaves, Tree, first_leaves};

/// From here on tables of leaves are faster, see [`crate::tree::route`].
const FEW_ROWS: usize = 512;

/// Below this many rows each walks alone, through many trees at once.
const ROWS_IN_STEP: usize = 8;

/// The layout, once somebody asked for it.
#[derive(Debug, Default)]
pub(super) struct Ready(OnceLock<Option<Box<Layout>>>);

#[derive(Debug)]
struct Layout {
    walkers: Walkers,
    /// Tree after tree.
    values: Vec<f64>,
    /// By tree, where its values start.
    first: Vec<usize>,
    n_features: usize,
}

impl Clone for Ready {
    /// A copy makes its own when it is asked.
    fn clone(&self) -> Self {
        Ready::default()
    }
}

impl PartialEq for Ready {
    /// Whether anybody has asked yet makes no other model.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Ready {
    /// Adds to `out` the value of each row's leaf in every tree, in the trees' order, as
    /// [`crate::tree::route::add_leaf_values`] does; false, and nothing is added, where that is the better way.
    pub fn add_leaf_values(
        &self,
        (trees, values): (&[Tree], &[Leaves<f64>]),
        x: &dyn BinColumns,
        rows: Option<&[u32]>,
        out: &mut [f64],
    ) -> bool {
        if out.len() >= FEW_ROWS {
            return false;
        }
        let layout = self.0.get_or_init(|| Layout::new(trees, values, x.n_features()).map(Box::new));
        let fits = |layout: &&Layout| layout.n_features == x.n_features() && layout.first.len() == trees.len();
        let Some(layout) = layout.as_deref().filter(fits) else { return false };
        let columns: Vec<&[u8]> = (0..x.n_features()).map(|feature| x.codes(feature)).collect();
        let block = match rows {
            None => CodeBlock::new(&columns, 0..out.len()),
            Some(rows) => CodeBlock::new(&columns, rows.iter().map(|&row| row as usize)),
        };
        let Some(block) = block else { return false };
        if out.len() < ROWS_IN_STEP {
            layout.row_by_row(&block, out)
        } else {
            layout.tree_by_tree(&block, out)
        }
        true
    }
}

impl Layout {
    fn new(trees: &[Tree], values: &[Leaves<f64>], n_features: usize) -> Option<Self> {
        Some(Layout {
            walkers: Walkers::new(trees, n_features)?,
            values: values.iter().flat_map(|leaves| leaves.0.iter().copied()).collect(),
            first: first_leaves(trees),
            n_features,
        })
    }

    fn row_by_row(&self, block: &CodeBlock, out: &mut [f64]) {
        let n_trees = self.first.len();
        let mut leaves = vec![0; n_trees];
        for (row, out) in out.iter_mut().enumerate() {
            self.walkers.leaves_of_row(0..n_trees, block, row, &mut leaves);
            for (leaf, first) in leaves.iter().zip(&self.first) {
                *out += self.values[first + *leaf as usize];
            }
        }
    }

    fn tree_by_tree(&self, block: &CodeBlock, out: &mut [f64]) {
        let mut leaves = vec![0; out.len()];
        for (tree, first) in self.first.iter().enumerate() {
            self.walkers.leaves(tree, block, &mut leaves);
            for (out, leaf) in out.iter_mut().zip(&leaves) {
                *out += self.values[first + *leaf as usize];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::columns::Columns;
    use crate::split::Rule;
    use crate::tree::TreeBuilder;
    use crate::tree::route::add_leaf_values;
    use impactiq_data::Seed;

    /// Trees of random rules, some of them sets, on three features.
    fn trees(n: u64) -> (Vec<Tree>, Vec<Leaves<f64>>) {
        (0..n)
            .map(|tree| {
                let seed = Seed::new(tree);
                let mut builder = TreeBuilder::default();
                let mut open = vec![0u32];
                for step in 1..20u64 {
                    let node = open.swap_remove(seed.below(step, open.len() as u64) as usize);
                    let missing_left = step % 2 == 0;
                    let rule = if step % 5 == 0 {
                        Rule::In { codes: std::array::from_fn(|w| seed.child(w as u64).hash(step)), missing_left }
                    } else {
                        Rule::AtMost { code: seed.child(9).below(step, 255) as u8, missing_left }
                    };
                    let left = builder.split(node, seed.child(7).below(step, 3) as u32, &rule, 1.0);
                    open.extend([left, left + 1]);
                }
                let tree = builder.finish().0;
                let values = (0..tree.n_leaves() as u64).map(|leaf| seed.child(3).uniform(leaf) - 0.5).collect();
                (tree, Leaves(values))
            })
            .unzip()
    }

    #[test]
    fn a_few_rows_get_the_bits_that_many_rows_get() {
        let (trees, values) = trees(40);
        let n = 600usize;
        let codes = (0..3u64).map(|f| (0..n as u64).map(|i| Seed::new(50 + f).hash(i) as u8).collect()).collect();
        let x = Columns::ordered(codes);
        let mut wanted = vec![0.25; n];
        add_leaf_values(&trees, &values, &x, None, &mut wanted);
        let ready = Ready::default();
        for rows in [vec![3u32], vec![5, 5, 0], (0..8).collect(), (100..611).map(|row| row % 600).collect()] {
            let mut out = vec![0.25; rows.len()];
            assert!(ready.add_leaf_values((&trees, &values), &x, Some(&rows), &mut out));
            assert!(rows.iter().zip(&out).all(|(&row, out)| out.to_bits() == wanted[row as usize].to_bits()));
        }
        assert!(!ready.add_leaf_values((&trees, &values), &x, None, &mut wanted), "many rows go another way");
        let few = Columns::ordered((0..3).map(|f| x.codes[f][..4].to_vec()).collect());
        let mut out = vec![0.25; 4];
        assert!(ready.clone().add_leaf_values((&trees, &values), &few, None, &mut out));
        assert_eq!(out, wanted[..4]);
    }
}
