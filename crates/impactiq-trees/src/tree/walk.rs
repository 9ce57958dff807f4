//! Walks many rows through one tree at once, without branches.
//!
//! A single walk waits at every node: for the node, for the row's code, for a branch guessed
//! wrong half of the time. Sixteen rows walked in step hide each other's waits: a step is two
//! loads, a compare and an add, and leaves lead to themselves, so nobody has to ask who has
//! arrived until all have.

use impactiq_data::MISSING_CODE;

use crate::split::Rule;
use crate::tree::Tree;

/// Rows walked in step.
const LANES: usize = 16;

/// Steps between looks at who has arrived.
const STRIDE: usize = 3;

/// A node in eight bytes.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Left child; the right one is next. A leaf's is the leaf itself.
    child: u32,
    feature: u16,
    /// Right when `code + shift > limit` (wrapping): with shift 1 the code of missing
    /// becomes the smallest and goes left.
    shift: u8,
    limit: u8,
}

/// A tree laid out for walking.
#[derive(Clone, Debug)]
pub struct Walker {
    steps: Vec<Step>,
    leaf_of: Vec<u32>,
    /// Tables of the rules that are sets, by node; empty when no rule is.
    sets: Vec<Option<Box<[bool; 256]>>>,
}

impl Walker {
    /// Lays a tree out; `None` when it splits on a feature beyond 65,535.
    pub fn new(tree: &Tree) -> Option<Self> {
        let mut walker = Walker { steps: Vec::new(), leaf_of: Vec::new(), sets: Vec::new() };
        let any_set = !tree.sets().is_empty();
        for (i, node) in tree.nodes().iter().enumerate() {
            let (step, leaf, set) = if node.is_leaf() {
                (Step { child: i as u32, feature: 0, shift: 0, limit: u8::MAX }, node.left, None)
            } else {
                let feature = u16::try_from(node.feature).ok()?;
                let rule = tree.rule(node);
                let (shift, limit, set) = match rule {
                    Rule::AtMost { code, missing_left: false } => (0, code.min(MISSING_CODE - 1), None),
                    Rule::AtMost { code, missing_left: true } => (1, code.min(MISSING_CODE - 1) + 1, None),
                    Rule::In { .. } => (0, 0, Some(Box::new(rule.table()))),
                };
                (Step { child: node.left, feature, shift, limit }, 0, set)
            };
            walker.steps.push(step);
            walker.leaf_of.push(leaf);
            if any_set {
                walker.sets.push(set);
            }
        }
        Some(walker)
    }

    /// The leaf of each of the `rows`, numbers into `codes` (p bytes a row, row after row).
    pub fn leaves(&self, codes: &[u8], p: usize, rows: &[u32], out: &mut [u32]) {
        for (rows, out) in rows.chunks(LANES).zip(out.chunks_mut(LANES)) {
            // A short last group walks its last row several times.
            let start: [usize; LANES] = std::array::from_fn(|lane| rows[lane.min(rows.len() - 1)] as usize * p);
            let mut at = [0u32; LANES];
            loop {
                let before = at;
                for _ in 0..STRIDE {
                    self.step(codes, &start, &mut at);
                }
                if at == before {
                    break;
                }
            }
            for (out, at) in out.iter_mut().zip(at) {
                *out = self.leaf_of[at as usize];
            }
        }
    }

    #[inline(always)]
    fn step(&self, codes: &[u8], start: &[usize; LANES], at: &mut [u32; LANES]) {
        if self.sets.is_empty() {
            for lane in 0..LANES {
                let step = self.steps[at[lane] as usize];
                let code = codes[start[lane] + usize::from(step.feature)];
                at[lane] = step.child + u32::from(code.wrapping_add(step.shift) > step.limit);
            }
            return;
        }
        for lane in 0..LANES {
            let node = at[lane] as usize;
            let step = self.steps[node];
            let code = codes[start[lane] + usize::from(step.feature)];
            let right = match &self.sets[node] {
                Some(table) => !table[code as usize],
                None => code.wrapping_add(step.shift) > step.limit,
            };
            at[lane] = step.child + u32::from(right);
        }
    }
}
