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
    /// Lays a tree out; `None` when it splits on a feature beyond the 256th.
    pub fn new(tree: &Tree) -> Option<Self> {
        let mut walker = Walker { steps: Vec::new(), leaf_of: Vec::new(), sets: Vec::new() };
        let any_set = !tree.sets().is_empty();
        for (i, node) in tree.nodes().iter().enumerate() {
            let (step, leaf, set) = if node.is_leaf() {
                (Step { child: i as u32, feature: 0, shift: 0, limit: u8::MAX }, node.left, None)
            } else {
                let feature = u16::try_from(node.feature).ok().filter(|&feature| feature < 256)?;
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

    /// The leaf of each of the `rows`, numbers into the block.
    pub fn leaves(&self, block: &CodeBlock, rows: &[u32], out: &mut [u32]) {
        match block {
            CodeBlock::Narrow(codes) => self.walk(codes, rows, out),
            CodeBlock::Middle(codes) => self.walk(codes, rows, out),
            CodeBlock::Wide(codes) => self.walk(codes, rows, out),
        }
    }

    fn walk<const P: usize>(&self, codes: &[[u8; P]], rows: &[u32], out: &mut [u32]) {
        for (rows, out) in rows.chunks(LANES).zip(out.chunks_mut(LANES)) {
            // A short last group walks its last row several times.
            let lanes: [&[u8; P]; LANES] = std::array::from_fn(|lane| &codes[rows[lane.min(rows.len() - 1)] as usize]);
            let mut at = [0u32; LANES];
            loop {
                let before = at;
                for _ in 0..STRIDE {
                    self.step(&lanes, &mut at);
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
    fn step<const P: usize>(&self, lanes: &[&[u8; P]; LANES], at: &mut [u32; LANES]) {
        if self.sets.is_empty() {
            for lane in 0..LANES {
                let step = self.steps[at[lane] as usize];
                let code = lanes[lane][usize::from(step.feature) & (P - 1)];
                at[lane] = step.child + u32::from(code.wrapping_add(step.shift) > step.limit);
            }
            return;
        }
        for lane in 0..LANES {
            let node = at[lane] as usize;
            let step = self.steps[node];
            let code = lanes[lane][usize::from(step.feature) & (P - 1)];
            let right = match &self.sets[node] {
                Some(table) => !table[code as usize],
                None => code.wrapping_add(step.shift) > step.limit,
            };
            at[lane] = step.child + u32::from(right);
        }
    }
}

/// The codes of some rows, padded to a power of two per row so that a code is read
/// without a bounds check.
pub enum CodeBlock {
    /// Up to 16 features.
    Narrow(Vec<[u8; 16]>),
    /// Up to 64 features.
    Middle(Vec<[u8; 64]>),
    /// Up to 256 features.
    Wide(Vec<[u8; 256]>),
}

impl CodeBlock {
    /// Copies the codes of rows out of columns; `None` beyond 256 features.
    pub fn new(columns: &[&[u8]], rows: impl ExactSizeIterator<Item = usize> + Clone) -> Option<Self> {
        Some(match columns.len() {
            0..=16 => CodeBlock::Narrow(gather(columns, rows)),
            17..=64 => CodeBlock::Middle(gather(columns, rows)),
            65..=256 => CodeBlock::Wide(gather(columns, rows)),
            _ => return None,
        })
    }
}

fn gather<const P: usize>(columns: &[&[u8]], rows: impl ExactSizeIterator<Item = usize> + Clone) -> Vec<[u8; P]> {
    let mut codes = vec![[0; P]; rows.len()];
    for (f, column) in columns.iter().enumerate() {
        for (out, row) in codes.iter_mut().zip(rows.clone()) {
            out[f] = column[row];
        }
    }
    codes
}
