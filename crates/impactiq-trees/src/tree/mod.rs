//! The shape of a tree, apart from what its leaves hold; node layout version 1.
//!
//! Nodes stand in a flat array, the root first and every parent before its children, so
//! a walk ends after at most as many steps as there are nodes. [`Tree::from_nodes`]
//! checks this and everything else a walk relies on: arrays from outside can be wrong,
//! they cannot loop or point out of bounds.

pub mod arrays;
mod prune;
pub mod route;
pub mod walk;

use crate::error::TreesError;
use crate::split::Rule;

/// `feature` of a leaf.
pub const LEAF: u32 = u32::MAX;

/// Flag of [`Node::flags`]: missing values go left.
pub const MISSING_LEFT: u8 = 1;
/// Flag of [`Node::flags`]: the rule is a set of codes, not a threshold.
pub const IS_SET: u8 = 2;

/// A node of layout version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The feature split on, or [`LEAF`].
    pub feature: u32,
    /// Left child, or the number of the leaf.
    pub left: u32,
    /// Right child, always next to the left one (0 for a leaf).
    pub right: u32,
    /// Number of the set among the tree's sets (0 without one).
    pub set: u32,
    /// Last code on the left (0 for sets and leaves).
    pub code: u8,
    /// [`MISSING_LEFT`] and [`IS_SET`].
    pub flags: u8,
}

impl Node {
    /// A leaf by number.
    pub const fn leaf(number: u32) -> Self {
        Node { feature: LEAF, left: number, right: 0, set: 0, code: 0, flags: 0 }
    }

    /// Whether the node is a leaf.
    #[inline(always)]
    pub const fn is_leaf(&self) -> bool {
        self.feature == LEAF
    }
}

/// The shape of a tree. Leaves are numbered from 0 in the order of their nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    nodes: Vec<Node>,
    sets: Vec<[u64; 4]>,
    gains: Vec<f64>,
    n_leaves: u32,
}

impl Tree {
    /// A tree that is one leaf.
    pub fn stump() -> Self {
        Tree { nodes: vec![Node::leaf(0)], sets: Vec::new(), gains: vec![0.0], n_leaves: 1 }
    }

    /// A tree from nodes, the sets of its rules, and a gain per node (0 for leaves).
    ///
    /// # Errors
    /// [`TreesError::BadArrays`] unless: there is a node and a gain per node; features are
    /// below `n_features`; children come side by side after their parent and every node but
    /// the first is a child exactly once; sets exist; leaves are numbered in order; gains are finite.
    pub fn from_nodes(
        nodes: Vec<Node>,
        sets: Vec<[u64; 4]>,
        gains: Vec<f64>,
        n_features: usize,
    ) -> Result<Self, TreesError> {
        let bad = |problem, node| TreesError::BadArrays { problem, tree: 0, node };
        if nodes.is_empty() || nodes.len() > u32::MAX as usize / 2 {
            return Err(bad("a tree has no nodes or too many", 0));
        }
        if gains.len() != nodes.len() {
            return Err(bad("there is not one gain per node", 0));
        }
        let mut is_child = vec![false; nodes.len()];
        let mut n_leaves = 0;
        for (i, node) in nodes.iter().enumerate() {
            if !gains[i].is_finite() {
                return Err(bad("a gain is not finite", i));
            }
            if node.is_leaf() {
                if node.left != n_leaves {
                    return Err(bad("leaves are not numbered in order", i));
                }
                n_leaves += 1;
                continue;
            }
            if node.feature as usize >= n_features {
                return Err(bad("a split is on a feature that does not exist", i));
            }
            if node.flags & !(MISSING_LEFT | IS_SET) != 0 {
                return Err(bad("a node has unknown flags", i));
            }
            if node.flags & IS_SET != 0 && node.set as usize >= sets.len() {
                return Err(bad("a split uses a set that does not exist", i));
            }
            if node.right.checked_sub(1) != Some(node.left) {
                return Err(bad("a node's children do not stand side by side", i));
            }
            for child in [node.left as usize, node.right as usize] {
                if child <= i || child >= nodes.len() {
                    return Err(bad("a child does not come after its parent", i));
                }
                if std::mem::replace(&mut is_child[child], true) {
                    return Err(bad("a node has two parents", child));
                }
            }
        }
        if let Some(orphan) = is_child.iter().skip(1).position(|&is_child| !is_child) {
            return Err(bad("a node has no parent", orphan + 1));
        }
        Ok(Tree { nodes, sets, gains, n_leaves })
    }

    /// The nodes: parents before children, the root first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The sets of codes that rules refer to.
    pub fn sets(&self) -> &[[u64; 4]] {
        &self.sets
    }

    /// The gain of every node's split, 0 for leaves.
    pub fn gains(&self) -> &[f64] {
        &self.gains
    }

    /// Number of leaves.
    pub fn n_leaves(&self) -> usize {
        self.n_leaves as usize
    }

    /// The rule of an inner node.
    pub fn rule(&self, node: &Node) -> Rule {
        let missing_left = node.flags & MISSING_LEFT != 0;
        if node.flags & IS_SET != 0 {
            Rule::In { codes: self.sets[node.set as usize], missing_left }
        } else {
            Rule::AtMost { code: node.code, missing_left }
        }
    }

    /// The leaf of a row, given its code by feature.
    #[inline]
    pub fn leaf(&self, code: impl Fn(usize) -> u8) -> u32 {
        let mut node = &self.nodes[0];
        while !node.is_leaf() {
            let left = self.rule(node).goes_left(code(node.feature as usize));
            node = &self.nodes[if left { node.left } else { node.right } as usize];
        }
        node.left
    }
}

/// The gain of all splits on each feature, over all trees.
pub fn gain_by_feature<'t>(trees: impl IntoIterator<Item = &'t Tree>, n_features: usize) -> Vec<f64> {
    let mut gain = vec![0.0; n_features];
    for tree in trees {
        for (node, split_gain) in tree.nodes.iter().zip(&tree.gains).filter(|(node, _)| !node.is_leaf()) {
            gain[node.feature as usize] += split_gain;
        }
    }
    gain
}

/// A tree under construction.
#[derive(Clone, Debug)]
pub struct TreeBuilder {
    nodes: Vec<Node>,
    sets: Vec<[u64; 4]>,
    gains: Vec<f64>,
}

impl Default for TreeBuilder {
    fn default() -> Self {
        TreeBuilder { nodes: vec![Node::leaf(0)], sets: Vec::new(), gains: vec![0.0] }
    }
}

impl TreeBuilder {
    /// Turns a leaf into a split; returns its left child's node, the right one is next.
    pub fn split(&mut self, node: u32, feature: u32, rule: &Rule, gain: f64) -> u32 {
        let left = self.nodes.len() as u32;
        self.nodes.extend([Node::leaf(0), Node::leaf(0)]);
        self.gains.extend([0.0, 0.0]);
        self.gains[node as usize] = gain;
        let missing = |missing_left: bool| if missing_left { MISSING_LEFT } else { 0 };
        let (set, code, flags) = match *rule {
            Rule::AtMost { code, missing_left } => (0, code, missing(missing_left)),
            Rule::In { codes, missing_left } => {
                self.sets.push(codes);
                (self.sets.len() as u32 - 1, 0, IS_SET | missing(missing_left))
            }
        };
        self.nodes[node as usize] = Node { feature, left, right: left + 1, set, code, flags };
        left
    }

    /// The finished tree and, by leaf, its node.
    pub fn finish(mut self) -> (Tree, Vec<u32>) {
        let mut leaf_nodes = Vec::new();
        for (i, node) in self.nodes.iter_mut().enumerate().filter(|(_, node)| node.is_leaf()) {
            node.left = leaf_nodes.len() as u32;
            leaf_nodes.push(i as u32);
        }
        let n_leaves = leaf_nodes.len() as u32;
        (Tree { nodes: self.nodes, sets: self.sets, gains: self.gains, n_leaves }, leaf_nodes)
    }
}

/// What a tree's leaves hold, by leaf number.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaves<V>(pub Vec<V>);

impl<V> Leaves<V> {
    /// The value of a leaf.
    #[inline(always)]
    pub fn get(&self, leaf: u32) -> &V {
        &self.0[leaf as usize]
    }
}

/// By tree: the leaves of the trees before it, which is where its own start in arrays of all leaves.
pub(crate) fn first_leaves(trees: &[Tree]) -> Vec<usize> {
    let starts = trees.iter().scan(0, |leaves, tree| {
        let first = *leaves;
        *leaves += tree.n_leaves();
        Some(first)
    });
    starts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::MISSING_CODE;

    fn small() -> (Tree, Vec<u32>) {
        let mut builder = TreeBuilder::default();
        let left = builder.split(0, 1, &Rule::AtMost { code: 4, missing_left: true }, 2.0);
        builder.split(left, 0, &Rule::In { codes: [0b101, 0, 0, 0], missing_left: false }, 1.0);
        builder.finish()
    }

    #[test]
    fn rows_reach_the_leaf_their_rules_say() {
        let (tree, leaf_nodes) = small();
        assert_eq!((tree.n_leaves(), leaf_nodes), (3, vec![2, 3, 4]));
        let leaf = |codes: [u8; 2]| tree.leaf(|f| codes[f]);
        assert_eq!(leaf([0, 9]), 0);
        assert_eq!(leaf([0, 4]), 1);
        assert_eq!(leaf([1, 4]), 2);
        assert_eq!(leaf([2, MISSING_CODE]), 1);
        assert_eq!(leaf([MISSING_CODE, 0]), 2);
    }

    #[test]
    fn nodes_survive_a_round_trip_and_damage_is_named() {
        let (tree, _) = small();
        let rebuild = |change: &dyn Fn(&mut Vec<Node>)| {
            let mut nodes = tree.nodes().to_vec();
            change(&mut nodes);
            Tree::from_nodes(nodes, tree.sets().to_vec(), tree.gains().to_vec(), 2)
        };
        assert_eq!(rebuild(&|_| ()).unwrap(), tree);
        let problem = |change: &dyn Fn(&mut Vec<Node>)| match rebuild(change).unwrap_err() {
            TreesError::BadArrays { problem, .. } => problem,
            other => panic!("{other}"),
        };
        let children = |n: &mut Vec<Node>, at: usize, left: u32| (n[at].left, n[at].right) = (left, left + 1);
        assert_eq!(problem(&|n| children(n, 1, 0)), "a child does not come after its parent");
        assert_eq!(problem(&|n| children(n, 1, 2)), "a node has two parents");
        assert_eq!(problem(&|n| children(n, 1, 99)), "a child does not come after its parent");
        assert_eq!(problem(&|n| n[1].right = 3), "a node's children do not stand side by side");
        assert_eq!(problem(&|n| n[1].set = 1), "a split uses a set that does not exist");
        assert_eq!(problem(&|n| n[0].feature = 2), "a split is on a feature that does not exist");
        assert_eq!(problem(&|n| n[4].left = 7), "leaves are not numbered in order");
        assert_eq!(problem(&|n| n[0].flags = 9), "a node has unknown flags");
        assert_eq!(problem(&|n| n[0] = Node::leaf(0)), "leaves are not numbered in order");
    }
}
