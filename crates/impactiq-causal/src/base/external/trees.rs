//! Trees on raw values, as LightGBM and XGBoost grow them: their shapes, thresholds and leaves as
//! numbers, so that a model trained with one of them is stored and answers without it.
//!
//! A row goes left where its value is at most the node's threshold. What must not live here: how a
//! library writes its trees, and how raw columns become numbers.

/// The feature of a leaf.
pub const LEAF: u32 = u32::MAX;

/// Where a row without a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Missing {
    /// To the right.
    Right = 0,
    /// To the left.
    Left = 1,
    /// Where 0 goes: no training row lacked a value.
    Zero = 2,
}

/// A node: a question, or an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawNode {
    /// The number asked for, or [`LEAF`].
    pub feature: u32,
    /// The threshold of a question, the value of a leaf.
    pub value: f64,
    /// Place of the left child among all nodes; 0 for a leaf.
    pub left: u32,
    /// Place of the right child.
    pub right: u32,
    /// Where rows without a value go.
    pub missing: Missing,
}

impl RawNode {
    /// A leaf.
    pub fn leaf(value: f64) -> Self {
        RawNode { feature: LEAF, value, left: 0, right: 0, missing: Missing::Right }
    }
}

/// A sum of trees over rows of `width` numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawTrees {
    /// What every row's sum starts with.
    pub start: f64,
    /// Numbers and sums are rounded to 32 bits, as XGBoost does.
    pub single: bool,
    /// The root of each tree among the nodes; trees follow one another.
    roots: Vec<u32>,
    nodes: Vec<RawNode>,
}

impl RawTrees {
    /// No trees yet.
    pub fn new(start: f64, single: bool) -> Self {
        RawTrees { start, single, roots: Vec::new(), nodes: Vec::new() }
    }

    /// Trees from their parts, checked: children follow their parents inside their own tree, so
    /// that every way down ends.
    ///
    /// # Errors
    /// The problem in words.
    pub fn from_parts(
        (start, single): (f64, bool),
        width: usize,
        roots: Vec<u32>,
        nodes: Vec<RawNode>,
    ) -> Result<Self, String> {
        if !start.is_finite() {
            return Err("the sums start with no number".into());
        }
        if roots.first().is_some_and(|&root| root != 0) || (roots.is_empty() != nodes.is_empty()) {
            return Err(format!("{} roots of {} nodes", roots.len(), nodes.len()));
        }
        for (tree, &root) in roots.iter().enumerate() {
            let end = roots.get(tree + 1).map_or(nodes.len(), |&next| next as usize);
            let own = nodes.get(root as usize..end).ok_or_else(|| format!("tree {tree} ends before it begins"))?;
            if own.is_empty() {
                return Err(format!("tree {tree} has no nodes"));
            }
            for (at, node) in own.iter().enumerate() {
                check_node(node, root as usize + at, end, width)
                    .map_err(|problem| format!("tree {tree}: {problem}"))?;
            }
        }
        Ok(RawTrees { start, single, roots, nodes })
    }

    /// Adds a tree whose children are counted from its own first node.
    ///
    /// # Errors
    /// As [`RawTrees::from_parts`]; the trees are then as they were.
    #[cfg_attr(not(any(feature = "lightgbm", feature = "xgboost", test)), allow(dead_code))]
    pub fn push(&mut self, width: usize, mut tree: Vec<RawNode>) -> Result<(), String> {
        let root = self.nodes.len();
        if tree.is_empty() {
            return Err("a tree has no nodes".into());
        }
        let end = root + tree.len();
        u32::try_from(end).map_err(|_| "too many nodes".to_string())?;
        for (at, node) in tree.iter_mut().enumerate() {
            if node.feature != LEAF {
                node.left = node.left.saturating_add(root as u32);
                node.right = node.right.saturating_add(root as u32);
            }
            check_node(node, root + at, end, width)?;
        }
        self.roots.push(root as u32);
        self.nodes.append(&mut tree);
        Ok(())
    }

    /// Number of trees.
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// True without trees.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// The root of each tree.
    pub fn roots(&self) -> &[u32] {
        &self.roots
    }

    /// All nodes, tree after tree.
    pub fn nodes(&self) -> &[RawNode] {
        &self.nodes
    }

    /// Keeps the first trees.
    #[cfg_attr(not(any(feature = "lightgbm", feature = "xgboost", test)), allow(dead_code))]
    pub fn truncate(&mut self, n_trees: usize) {
        if let Some(&end) = self.roots.get(n_trees) {
            self.roots.truncate(n_trees);
            self.nodes.truncate(end as usize);
        }
    }

    /// Adds one tree's answers to the sums of n rows, whose numbers stand column by column:
    /// `columns[feature * n + row]`.
    ///
    /// # Panics
    /// When there are fewer columns than the trees ask for (a bug of the caller).
    pub fn add(&self, tree: usize, columns: &[f64], sums: &mut [f64]) {
        let n = sums.len();
        let root = self.roots[tree] as usize;
        for (row, sum) in sums.iter_mut().enumerate() {
            let mut node = &self.nodes[root];
            while node.feature != LEAF {
                let value = columns[node.feature as usize * n + row];
                // XGBoost knows numbers of 32 bits only, and so did the thresholds it chose.
                let value = if self.single { f64::from(value as f32) } else { value };
                let left = match node.missing {
                    Missing::Left if value.is_nan() => true,
                    Missing::Right if value.is_nan() => false,
                    Missing::Zero if value.is_nan() => 0.0 <= node.value,
                    _ => value <= node.value,
                };
                node = &self.nodes[if left { node.left } else { node.right } as usize];
            }
            *sum = if self.single { f64::from(*sum as f32 + node.value as f32) } else { *sum + node.value };
        }
    }

    /// The sums of n rows, whose numbers stand column by column.
    ///
    /// # Panics
    /// As [`RawTrees::add`].
    pub fn sums(&self, columns: &[f64], out: &mut [f64]) {
        out.fill(self.start);
        (0..self.len()).for_each(|tree| self.add(tree, columns, out));
    }
}

fn check_node(node: &RawNode, at: usize, end: usize, width: usize) -> Result<(), String> {
    // An infinite threshold keeps all numbers together, apart from rows without a value.
    let leaf = node.feature == LEAF;
    if node.value.is_nan() || (leaf && node.value.is_infinite()) {
        return Err(format!("node {at} has no number"));
    }
    if leaf {
        return Ok(());
    }
    if node.feature as usize >= width {
        return Err(format!("node {at} asks for number {} of {width}", node.feature));
    }
    let follows = |child: u32| child as usize > at && (child as usize) < end;
    if follows(node.left) && follows(node.right) {
        Ok(())
    } else {
        Err(format!("the children of node {at} are {} and {}", node.left, node.right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stump(missing: Missing) -> Vec<RawNode> {
        let question = RawNode { feature: 0, value: 1.5, left: 1, right: 2, missing };
        vec![question, RawNode::leaf(-1.0), RawNode::leaf(2.0)]
    }

    #[test]
    fn rows_go_left_up_to_the_threshold_and_where_the_node_says_without_a_value() {
        for (missing, expected) in [(Missing::Left, -1.0), (Missing::Right, 2.0), (Missing::Zero, -1.0)] {
            let mut trees = RawTrees::new(0.5, false);
            trees.push(1, stump(missing)).unwrap();
            trees.push(1, vec![RawNode::leaf(10.0)]).unwrap();
            let mut out = [0.0; 3];
            trees.sums(&[1.5, 1.6, f64::NAN], &mut out);
            assert_eq!(out, [9.5, 12.5, 10.5 + expected], "{missing:?}");
            trees.truncate(1);
            trees.sums(&[1.5, 1.6, f64::NAN], &mut out);
            assert_eq!(out[0], -0.5);
            assert_eq!(trees.nodes().len(), 3);
        }
    }

    #[test]
    fn trees_whose_ways_do_not_end_are_refused() {
        let question = RawNode { feature: 0, value: 1.0, left: 1, right: 2, missing: Missing::Left };
        let broken = [
            vec![RawNode { left: 0, ..question }, RawNode::leaf(0.0), RawNode::leaf(0.0)],
            vec![RawNode { right: 3, ..question }, RawNode::leaf(0.0), RawNode::leaf(0.0)],
            vec![RawNode { feature: 1, ..question }, RawNode::leaf(0.0), RawNode::leaf(0.0)],
            vec![RawNode { value: f64::NAN, ..question }, RawNode::leaf(0.0), RawNode::leaf(0.0)],
            vec![question, RawNode::leaf(f64::INFINITY), RawNode::leaf(0.0)],
        ];
        for nodes in broken {
            assert!(RawTrees::from_parts((0.0, false), 1, vec![0], nodes.clone()).is_err(), "{nodes:?}");
        }
        let good = stump(Missing::Left);
        for roots in [vec![], vec![1], vec![0, 0], vec![0, 4], vec![0, 2]] {
            assert!(RawTrees::from_parts((0.0, false), 1, roots.clone(), good.clone()).is_err(), "{roots:?}");
        }
        assert!(RawTrees::from_parts((f64::NAN, false), 1, vec![0], good.clone()).is_err());
        assert!(RawTrees::from_parts((0.0, false), 1, vec![0], good).is_ok());
    }
}
