//! Trees as plain arrays and back: what a model file stores.
//!
//! Everything is checked on the way in: lengths first, then each tree by
//! [`Tree::from_nodes`]. Bytes and file formats live elsewhere.

use crate::error::{TreesError, check_length};
use crate::tree::{Leaves, Node, Tree};

/// The node layout written here.
pub const LAYOUT_VERSION: u32 = 1;

/// The trees of a forest, all nodes one after another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TreeArrays {
    /// Layout of the arrays, [`LAYOUT_VERSION`].
    pub version: u32,
    /// Nodes of each tree.
    pub n_nodes: Vec<u32>,
    /// Sets of codes of each tree.
    pub n_sets: Vec<u32>,
    /// By node: [`Node::feature`].
    pub feature: Vec<u32>,
    /// By node: [`Node::left`].
    pub left: Vec<u32>,
    /// By node: [`Node::right`].
    pub right: Vec<u32>,
    /// By node: [`Node::set`].
    pub set: Vec<u32>,
    /// By node: [`Node::code`].
    pub code: Vec<u8>,
    /// By node: [`Node::flags`].
    pub flags: Vec<u8>,
    /// By node: the gain of its split.
    pub gain: Vec<f64>,
    /// Four words per set.
    pub sets: Vec<u64>,
}

impl TreeArrays {
    /// Lays trees out.
    pub fn from_trees<'t>(trees: impl IntoIterator<Item = &'t Tree>) -> Self {
        let mut arrays = TreeArrays { version: LAYOUT_VERSION, ..TreeArrays::default() };
        for tree in trees {
            arrays.n_nodes.push(tree.nodes().len() as u32);
            arrays.n_sets.push(tree.sets().len() as u32);
            arrays.gain.extend(tree.gains());
            arrays.sets.extend(tree.sets().iter().flatten());
            for node in tree.nodes() {
                arrays.feature.push(node.feature);
                arrays.left.push(node.left);
                arrays.right.push(node.right);
                arrays.set.push(node.set);
                arrays.code.push(node.code);
                arrays.flags.push(node.flags);
            }
        }
        arrays
    }

    /// Reads trees on `n_features` features.
    ///
    /// # Errors
    /// [`TreesError::Layout`] for another version, [`TreesError::Length`] when arrays do not
    /// fit together, [`TreesError::BadArrays`] when a tree is not one.
    pub fn to_trees(&self, n_features: usize) -> Result<Vec<Tree>, TreesError> {
        if self.version != LAYOUT_VERSION {
            return Err(TreesError::Layout { found: self.version, supported: LAYOUT_VERSION });
        }
        let n_trees = self.n_nodes.len();
        check_length("n_sets", n_trees, self.n_sets.len())?;
        let n_nodes = total(&self.n_nodes);
        for (what, found) in [
            ("feature", self.feature.len()),
            ("left", self.left.len()),
            ("right", self.right.len()),
            ("set", self.set.len()),
            ("code", self.code.len()),
            ("flags", self.flags.len()),
            ("gain", self.gain.len()),
        ] {
            check_length(what, n_nodes, found)?;
        }
        check_length("sets", total(&self.n_sets).saturating_mul(4), self.sets.len())?;
        let (mut node, mut set) = (0, 0);
        let mut trees = Vec::with_capacity(n_trees);
        for (i, (&n_nodes, &n_sets)) in self.n_nodes.iter().zip(&self.n_sets).enumerate() {
            let (end, set_end) = (node + n_nodes as usize, set + 4 * n_sets as usize);
            let nodes = (node..end).map(|k| self.node(k)).collect();
            let sets = self.sets[set..set_end].chunks_exact(4).map(|w| [w[0], w[1], w[2], w[3]]).collect();
            let gains = self.gain[node..end].to_vec();
            trees.push(Tree::from_nodes(nodes, sets, gains, n_features).map_err(|error| in_tree(error, i))?);
            (node, set) = (end, set_end);
        }
        Ok(trees)
    }

    fn node(&self, k: usize) -> Node {
        Node {
            feature: self.feature[k],
            left: self.left[k],
            right: self.right[k],
            set: self.set[k],
            code: self.code[k],
            flags: self.flags[k],
        }
    }
}

/// Cuts the values of all leaves, tree after tree, into one [`Leaves`] per tree.
///
/// # Errors
/// [`TreesError::Length`] when there is not one value per leaf.
pub fn leaves_of<V: Clone>(trees: &[Tree], values: &[V]) -> Result<Vec<Leaves<V>>, TreesError> {
    check_length("leaf values", trees.iter().map(Tree::n_leaves).sum(), values.len())?;
    let mut rest = values;
    Ok(trees
        .iter()
        .map(|tree| {
            let (own, others) = rest.split_at(tree.n_leaves());
            rest = others;
            Leaves(own.to_vec())
        })
        .collect())
}

fn total(counts: &[u32]) -> usize {
    counts.iter().map(|&n| n as usize).sum()
}

fn in_tree(error: TreesError, tree: usize) -> TreesError {
    match error {
        TreesError::BadArrays { problem, node, .. } => TreesError::BadArrays { problem, tree, node },
        other => other,
    }
}
