//! Sends rows through trees: which leaf, and the sum of leaf values.
//!
//! Trees of at most 64 leaves are answered by bit vectors, a relative of QuickScorer
//! (Lucchese and others 2015): a feature's code rules out the leaves on the other side of
//! every split on that feature, so the leaf is what is left after one table look-up and
//! one AND per feature used. No branches, and columns are read as they are. Larger trees
//! walk rows in step ([`crate::tree::walk`]), calls too small to pay for either row by row. All read blocks of rows that stay in the
//! cache and add trees in order, so every row's sum is the same on any number of threads.

use impactiq_data::{BinColumns, MISSING_CODE};
use rayon::prelude::*;

use crate::split::Rule;
use crate::tree::walk::{CodeBlock, Walkers};
use crate::tree::{Leaves, Tree};

/// Rows routed together.
const BLOCK_ROWS: usize = 2048;

/// Below this many rows building tables costs more than walking.
const TABLE_ROWS: usize = 512;

/// Leaves of a tree with tables: as many as a word has bits.
const TABLE_LEAVES: usize = 64;

/// For each feature a tree uses, by code: the leaves that remain possible.
#[derive(Clone, Debug)]
struct LeafTables {
    by_feature: Vec<(u32, Box<[u64; 256]>)>,
}

/// A split between two codes.
#[derive(Clone, Copy)]
struct Cut {
    feature: u32,
    /// The first code that goes right.
    first_right: usize,
    missing_left: bool,
    not_right: u64,
    not_left: u64,
}

impl LeafTables {
    /// The tables of a tree of at most [`TABLE_LEAVES`].
    fn new(tree: &Tree) -> Option<Self> {
        if tree.n_leaves() > TABLE_LEAVES {
            return None;
        }
        // Children come after parents, so one backward pass gathers the leaves below.
        let nodes = tree.nodes();
        let mut below = vec![0u64; nodes.len()];
        for (i, node) in nodes.iter().enumerate().rev() {
            below[i] =
                if node.is_leaf() { 1 << node.left } else { below[node.left as usize] | below[node.right as usize] };
        }
        let (mut cuts, mut sets) = (Vec::with_capacity(nodes.len()), Vec::new());
        for node in nodes.iter().filter(|node| !node.is_leaf()) {
            let (feature, not_left, not_right) =
                (node.feature, !below[node.left as usize], !below[node.right as usize]);
            match tree.rule(node) {
                Rule::AtMost { code, missing_left } => {
                    let first_right = usize::from(code.min(MISSING_CODE - 1)) + 1;
                    cuts.push(Cut { feature, first_right, missing_left, not_right, not_left });
                }
                rule => sets.push((feature, rule, [not_left, not_right])),
            }
        }
        cuts.sort_unstable_by_key(|cut| (cut.feature, cut.first_right));
        let mut by_feature: Vec<(u32, Box<[u64; 256]>)> =
            cuts.chunk_by(|a, b| a.feature == b.feature).map(|cuts| (cuts[0].feature, of_cuts(cuts))).collect();
        for (feature, rule, [not_left, not_right]) in sets {
            let at = by_feature.iter().position(|(known, _)| *known == feature).unwrap_or_else(|| {
                by_feature.push((feature, Box::new([u64::MAX; 256])));
                by_feature.len() - 1
            });
            for (mask, left) in by_feature[at].1.iter_mut().zip(rule.table()) {
                *mask &= if left { not_right } else { not_left };
            }
        }
        Some(LeafTables { by_feature })
    }

    /// The leaf of each row of a block, as a bit.
    fn route(&self, n_leaves: usize, columns: &[&[u8]], block: &Block<'_>, masks: &mut [u64]) {
        masks.fill(if n_leaves == 64 { u64::MAX } else { (1 << n_leaves) - 1 });
        for (feature, table) in &self.by_feature {
            let codes = columns[*feature as usize];
            match block {
                Block::Run(first) => {
                    for (mask, &code) in masks.iter_mut().zip(&codes[*first..]) {
                        *mask &= table[code as usize];
                    }
                }
                Block::Rows(rows) => {
                    for (mask, &row) in masks.iter_mut().zip(*rows) {
                        *mask &= table[codes[row as usize] as usize];
                    }
                }
            }
        }
    }
}

/// The table of a feature's cuts, sorted: between two of them all codes leave the same leaves, so a tree's tables
/// cost a fill each and not a pass over all codes for every split.
fn of_cuts(cuts: &[Cut]) -> Box<[u64; 256]> {
    let mut table = Box::new([u64::MAX; 256]);
    let mut from = 0;
    for place in 0..=cuts.len() {
        let end = cuts.get(place).map_or(usize::from(MISSING_CODE), |cut| cut.first_right);
        if end > from {
            let (passed, ahead) = cuts.split_at(place);
            let left = ahead.iter().fold(u64::MAX, |mask, cut| mask & cut.not_right);
            table[from..end].fill(passed.iter().fold(left, |mask, cut| mask & cut.not_left));
            from = end;
        }
    }
    table[usize::from(MISSING_CODE)] =
        cuts.iter().fold(u64::MAX, |mask, cut| mask & if cut.missing_left { cut.not_right } else { cut.not_left });
    table
}

/// Which rows of the columns a block holds.
enum Block<'a> {
    /// Consecutive rows from this one on.
    Run(usize),
    /// These rows.
    Rows(&'a [u32]),
}

impl Block<'_> {
    fn row(&self, i: usize) -> usize {
        match self {
            Block::Run(first) => first + i,
            Block::Rows(rows) => rows[i] as usize,
        }
    }
}

/// How a tree is routed.
enum Route {
    Tables(LeafTables),
    Walker(Walkers),
    Plain,
}

impl Route {
    fn new(tree: &Tree, (n_rows, n_features): (usize, usize)) -> Self {
        if n_rows < TABLE_ROWS {
            return Route::Plain;
        }
        match LeafTables::new(tree) {
            Some(tables) => Route::Tables(tables),
            None => Walkers::new(std::slice::from_ref(tree), n_features).map_or(Route::Plain, Route::Walker),
        }
    }
}

/// Adds to `out`, for every row (all of them, or those at `rows`), the value of its leaf
/// in every tree.
///
/// # Panics
/// When `out` has another length than the rows, or `x` fewer features than the trees use.
pub fn add_leaf_values(
    trees: &[Tree],
    values: &[Leaves<f64>],
    x: &dyn BinColumns,
    rows: Option<&[u32]>,
    out: &mut [f64],
) {
    assert_eq!(out.len(), rows.map_or(x.n_rows(), <[u32]>::len), "one output per row");
    let columns: Vec<&[u8]> = (0..x.n_features()).map(|f| x.codes(f)).collect();
    let shape = (out.len(), columns.len());
    let by_walker = out.len() >= TABLE_ROWS && trees.iter().any(|tree| tree.n_leaves() > TABLE_LEAVES);
    let routed = |first: usize, n_rows: usize| {
        let block = match rows {
            None => Block::Run(first),
            Some(rows) => Block::Rows(&rows[first..first + n_rows]),
        };
        Routed::new(&columns, block, by_walker.then_some(n_rows))
    };
    if out.len() <= BLOCK_ROWS {
        // Each tree's tables are used while they are warm.
        let mut block = routed(0, out.len());
        trees.iter().zip(values).for_each(|(tree, values)| block.add((tree, values), &Route::new(tree, shape), out));
        return;
    }
    let routes: Vec<Route> = trees.par_iter().map(|tree| Route::new(tree, shape)).collect();
    out.par_chunks_mut(BLOCK_ROWS).enumerate().for_each(|(i, out)| {
        let mut block = routed(i * BLOCK_ROWS, out.len());
        let trees = trees.iter().zip(values).zip(&routes);
        trees.for_each(|(tree, route)| block.add(tree, route, out));
    });
}

/// A block of rows being routed.
struct Routed<'a> {
    columns: &'a [&'a [u8]],
    rows: Block<'a>,
    /// Row-major codes, where a walker needs them.
    codes: Option<CodeBlock>,
    masks: [u64; BLOCK_ROWS],
    leaves: [u32; BLOCK_ROWS],
}

impl<'a> Routed<'a> {
    /// With codes of so many rows for walkers, if any.
    fn new(columns: &'a [&'a [u8]], rows: Block<'a>, walked: Option<usize>) -> Self {
        let codes = walked.and_then(|n_rows| CodeBlock::new(columns, (0..n_rows).map(|i| rows.row(i))));
        Routed { columns, rows, codes, masks: [0; BLOCK_ROWS], leaves: [0; BLOCK_ROWS] }
    }

    fn add(&mut self, (tree, values): (&Tree, &Leaves<f64>), route: &Route, out: &mut [f64]) {
        match route {
            Route::Tables(tables) => self.by_tables(tables, values, out),
            Route::Walker(walker) => self.by_walker((tree, walker), values, out),
            Route::Plain => self.plain(tree, values, out),
        }
    }

    fn by_tables(&mut self, tables: &LeafTables, values: &Leaves<f64>, out: &mut [f64]) {
        let masks = &mut self.masks[..out.len()];
        tables.route(values.0.len(), self.columns, &self.rows, masks);
        let mut of_bit = [0.0; 64];
        of_bit[..values.0.len()].copy_from_slice(&values.0);
        for (out, mask) in out.iter_mut().zip(masks) {
            *out += of_bit[mask.trailing_zeros() as usize & 63];
        }
    }

    fn by_walker(&mut self, (tree, walker): (&Tree, &Walkers), values: &Leaves<f64>, out: &mut [f64]) {
        let Some(codes) = &self.codes else { return self.plain(tree, values, out) };
        let leaves = &mut self.leaves[..out.len()];
        walker.leaves(0, codes, leaves);
        for (out, leaf) in out.iter_mut().zip(leaves) {
            *out += *values.get(*leaf);
        }
    }

    fn plain(&self, tree: &Tree, values: &Leaves<f64>, out: &mut [f64]) {
        for (i, out) in out.iter_mut().enumerate() {
            let row = self.rows.row(i);
            *out += *values.get(tree.leaf(|feature| self.columns[feature][row]));
        }
    }
}

/// The leaf of every row (all of them, or those at `rows`) in one tree.
pub fn leaf_of_rows(tree: &Tree, x: &dyn BinColumns, rows: Option<&[u32]>) -> Vec<u32> {
    let columns: Vec<&[u8]> = (0..x.n_features()).map(|f| x.codes(f)).collect();
    let leaf = |row: usize| tree.leaf(|feature| columns[feature][row]);
    match rows {
        None => (0..x.n_rows()).into_par_iter().map(leaf).collect(),
        Some(rows) => rows.par_iter().map(|&row| leaf(row as usize)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::columns::Columns;
    use crate::tree::TreeBuilder;
    use impactiq_data::Seed;
    use proptest::prelude::*;

    /// A random tree: random open leaf, random rule.
    fn random_tree(n_leaves: usize, n_features: u64, seed: Seed) -> Tree {
        let mut builder = TreeBuilder::default();
        let mut open = vec![0u32];
        for step in 1..n_leaves as u64 {
            let node = open.swap_remove(seed.below(step, open.len() as u64) as usize);
            let missing_left = seed.child(1).hash(step) & 1 == 1;
            let rule = if seed.child(2).hash(step) & 1 == 1 {
                Rule::AtMost { code: seed.child(3).below(step, 255) as u8, missing_left }
            } else {
                Rule::In { codes: std::array::from_fn(|w| seed.child(4 + w as u64).hash(step)), missing_left }
            };
            let left = builder.split(node, seed.child(9).below(step, n_features) as u32, &rule, 1.0);
            open.extend([left, left + 1]);
        }
        builder.finish().0
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn tables_and_walks_agree(n_leaves in 1usize..100, seed in 0u64..1_000_000) {
            let seed = Seed::new(seed);
            let n = 700;
            let codes = (0..4u64).map(|f| (0..n as u64).map(|i| seed.child(20 + f).hash(i) as u8).collect()).collect();
            let x = Columns::ordered(codes);
            let trees: Vec<Tree> = (0..3).map(|t| random_tree(n_leaves, 4, seed.child(50 + t))).collect();
            let values: Vec<Leaves<f64>> =
                trees.iter().map(|tree| Leaves((0..tree.n_leaves()).map(|l| l as f64 * 1.5 - 7.0).collect())).collect();
            let by_walk = |row: usize| -> f64 {
                trees.iter().zip(&values).map(|(t, v)| v.get(t.leaf(|f| x.codes[f][row]))).sum()
            };
            let mut out = vec![0.0; n];
            add_leaf_values(&trees, &values, &x, None, &mut out);
            prop_assert!((0..n).all(|row| out[row] == by_walk(row)));
            let rows: Vec<u32> = (0..n as u32).rev().chain([5, 5]).collect();
            let mut out = vec![0.0; rows.len()];
            add_leaf_values(&trees, &values, &x, Some(&rows), &mut out);
            prop_assert!(rows.iter().zip(&out).all(|(&row, &out)| out == by_walk(row as usize)));
            let leaves = leaf_of_rows(&trees[0], &x, Some(&rows));
            prop_assert!(rows.iter().zip(leaves).all(|(&r, leaf)| leaf == trees[0].leaf(|f| x.codes[f][r as usize])));
        }
    }
}
