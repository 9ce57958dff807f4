//! Cuts leaves off a tree: honest leaves that no estimating row reached.

use crate::tree::{Node, Tree};

impl Tree {
    /// The tree without the leaves that `keep` (one flag per leaf) refuses, and by new
    /// leaf its old number; `None` when nothing would be left.
    ///
    /// A split with one side gone is replaced by its other side, so rows that would have
    /// reached a cut leaf fall into its nearest relatives.
    pub fn prune(&self, keep: &[bool]) -> Option<(Tree, Vec<u32>)> {
        if keep.iter().all(|&keep| keep) {
            return Some((self.clone(), (0..self.n_leaves).collect()));
        }
        // Children come after parents, so one backward pass says what is left below.
        let mut alive = vec![false; self.nodes.len()];
        for (i, node) in self.nodes.iter().enumerate().rev() {
            alive[i] = if node.is_leaf() {
                keep[node.left as usize]
            } else {
                alive[node.left as usize] || alive[node.right as usize]
            };
        }
        if !alive[0] {
            return None;
        }
        let kept = |mut at: u32| loop {
            let node = &self.nodes[at as usize];
            at = match node.is_leaf() {
                true => return at,
                false if !alive[node.left as usize] => node.right,
                false if !alive[node.right as usize] => node.left,
                false => return at,
            };
        };
        let mut pruned = Tree { nodes: Vec::new(), sets: Vec::new(), gains: Vec::new(), n_leaves: 0 };
        let mut old_nodes = vec![kept(0)];
        let mut old_leaves = Vec::new();
        let mut at = 0;
        while at < old_nodes.len() {
            let old = old_nodes[at] as usize;
            let mut node = self.nodes[old];
            if node.is_leaf() {
                old_leaves.push(node.left);
                node = Node::leaf(old_leaves.len() as u32 - 1);
            } else {
                let next = old_nodes.len() as u32;
                old_nodes.extend([kept(node.left), kept(node.right)]);
                (node.left, node.right) = (next, next + 1);
                if node.flags & crate::tree::IS_SET != 0 {
                    pruned.sets.push(self.sets[node.set as usize]);
                    node.set = pruned.sets.len() as u32 - 1;
                }
            }
            pruned.nodes.push(node);
            pruned.gains.push(self.gains[old]);
            at += 1;
        }
        pruned.n_leaves = old_leaves.len() as u32;
        Some((pruned, old_leaves))
    }
}

#[cfg(test)]
mod tests {
    use crate::split::Rule;
    use crate::tree::{Tree, TreeBuilder};
    use impactiq_data::Seed;
    use proptest::prelude::*;

    fn random_tree(n_leaves: usize, seed: Seed) -> Tree {
        let mut builder = TreeBuilder::default();
        let mut open = vec![0u32];
        for step in 1..n_leaves as u64 {
            let node = open.swap_remove(seed.below(step, open.len() as u64) as usize);
            let rule = if seed.hash(step) & 1 == 0 {
                Rule::AtMost { code: seed.child(1).below(step, 200) as u8, missing_left: true }
            } else {
                Rule::In { codes: [seed.hash(step); 4], missing_left: false }
            };
            let left = builder.split(node, seed.child(2).below(step, 3) as u32, &rule, 1.0);
            open.extend([left, left + 1]);
        }
        builder.finish().0
    }

    proptest! {
        #[test]
        fn pruning_moves_only_rows_of_cut_leaves(n_leaves in 1usize..40, seed: u64, cut in 0u64..12) {
            let seed = Seed::new(seed);
            let tree = random_tree(n_leaves, seed);
            let keep: Vec<bool> = (0..n_leaves as u64).map(|leaf| seed.child(5).below(leaf, 12) >= cut).collect();
            let Some((pruned, old)) = tree.prune(&keep) else {
                prop_assert!(keep.iter().all(|keep| !keep));
                return Ok(());
            };
            prop_assert_eq!(pruned.n_leaves(), keep.iter().filter(|&&keep| keep).count());
            let rebuilt =
                Tree::from_nodes(pruned.nodes().to_vec(), pruned.sets().to_vec(), pruned.gains().to_vec(), 3);
            prop_assert_eq!(rebuilt.as_ref(), Ok(&pruned));
            for row in 0..200u64 {
                let code = |f: usize| seed.child(30 + f as u64).hash(row) as u8;
                let (before, after) = (tree.leaf(code), old[pruned.leaf(code) as usize]);
                prop_assert!(keep[after as usize]);
                prop_assert!(before == after || !keep[before as usize]);
            }
        }
    }
}
