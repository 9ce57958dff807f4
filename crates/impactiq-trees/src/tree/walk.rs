//! Walks rows through trees without branches.
//!
//! A single walk waits at every node: for the node, for the row's code, for a branch guessed
//! wrong half of the time. Many walks in step hide each other's waits: a step is two loads, a
//! compare and an add, and leaves lead to themselves, so nobody has to ask who has arrived until all
//! have. Batches walk rows in step through one tree; a single row walks through many trees in step.

use std::ops::Range;

use crate::split::Rule;
use crate::tree::Tree;

/// Walks in step.
const LANES: usize = 16;

/// Steps between looks at who has arrived.
const STRIDE: usize = 3;

/// A code no rule tells apart from missing: `code + 1` wraps to 0.
const LAST_VALUE: u8 = impactiq_data::MISSING_CODE - 1;

/// A node in eight bytes.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Left child; the right one is next. A leaf's is the leaf itself.
    child: u32,
    /// The feature; of a leaf, the low bits of its number.
    feature: u16,
    /// Right when `code + shift > limit` (wrapping): with shift 1 the code of missing
    /// becomes the smallest and goes left. Of a leaf, the high bits of its number.
    shift: u8,
    /// A leaf's is 255, which nothing exceeds.
    limit: u8,
}

impl Step {
    /// `None` when the leaf's number does not fit.
    fn leaf(node: u32, number: u32) -> Option<Self> {
        let shift = u8::try_from(number >> 16).ok()?;
        Some(Step { child: node, feature: number as u16, shift, limit: u8::MAX })
    }

    #[inline(always)]
    fn number(&self) -> u32 {
        u32::from(self.feature) | u32::from(self.shift) << 16
    }
}

/// Trees laid out for walking, one after another.
#[derive(Clone, Debug)]
pub struct Walkers {
    steps: Vec<Step>,
    /// By tree, its root.
    roots: Vec<u32>,
    /// By node, its set in `sets`, 0 for none; empty when no rule is a set.
    set_of: Vec<u32>,
    sets: Vec<[u64; 4]>,
}

impl Walkers {
    /// Lays trees out; `None` when one splits on a feature beyond the 256th or has more than
    /// 2^24 leaves.
    pub fn new(trees: &[Tree]) -> Option<Self> {
        let n_nodes = trees.iter().map(|tree| tree.nodes().len()).sum();
        u32::try_from(n_nodes).ok()?;
        let any_set = trees.iter().any(|tree| !tree.sets().is_empty());
        let mut walkers = Walkers {
            steps: Vec::with_capacity(n_nodes),
            roots: Vec::with_capacity(trees.len()),
            set_of: vec![0; if any_set { n_nodes } else { 0 }],
            sets: vec![[0; 4]],
        };
        for tree in trees {
            walkers.push(tree)?;
        }
        Some(walkers)
    }

    fn push(&mut self, tree: &Tree) -> Option<()> {
        let root = self.steps.len() as u32;
        self.roots.push(root);
        for (i, node) in tree.nodes().iter().enumerate() {
            let at = root + i as u32;
            if node.is_leaf() {
                self.steps.push(Step::leaf(at, node.left)?);
                continue;
            }
            let feature = u16::try_from(node.feature).ok().filter(|&feature| feature < 256)?;
            let (shift, limit) = match tree.rule(node) {
                Rule::AtMost { code, missing_left: false } => (0, code.min(LAST_VALUE)),
                Rule::AtMost { code, missing_left: true } => (1, code.min(LAST_VALUE) + 1),
                Rule::In { mut codes, missing_left } => {
                    codes[3] = codes[3] & (u64::MAX >> 1) | u64::from(missing_left) << 63;
                    self.set_of[at as usize] = self.sets.len() as u32;
                    self.sets.push(codes);
                    (0, 0)
                }
            };
            self.steps.push(Step { child: root + node.left, feature, shift, limit });
        }
        Some(())
    }

    /// The leaf in a tree of every row of the block.
    ///
    /// # Panics
    /// When the tree does not exist or `out` has another length than the block.
    pub fn leaves(&self, tree: usize, block: &CodeBlock, out: &mut [u32]) {
        match block {
            CodeBlock::Narrow(codes) => self.rows_in_step(tree, codes, out),
            CodeBlock::Middle(codes) => self.rows_in_step(tree, codes, out),
            CodeBlock::Wide(codes) => self.rows_in_step(tree, codes, out),
        }
    }

    /// The leaf of one row of the block in each of the `trees`.
    ///
    /// # Panics
    /// As [`Walkers::leaves`].
    pub fn leaves_of_row(&self, trees: Range<usize>, block: &CodeBlock, row: usize, out: &mut [u32]) {
        match block {
            CodeBlock::Narrow(codes) => self.trees_in_step(trees, &codes[row], out),
            CodeBlock::Middle(codes) => self.trees_in_step(trees, &codes[row], out),
            CodeBlock::Wide(codes) => self.trees_in_step(trees, &codes[row], out),
        }
    }

    fn rows_in_step<const P: usize>(&self, tree: usize, codes: &[[u8; P]], out: &mut [u32]) {
        assert_eq!(codes.len(), out.len(), "one leaf per row");
        let root = self.roots[tree];
        let (groups, rest) = codes.as_chunks::<LANES>();
        for (codes, out) in groups.iter().zip(out.chunks_mut(LANES)) {
            self.walk([root; LANES], |lane| &codes[lane], out);
        }
        if let Some(last) = rest.len().checked_sub(1) {
            // A short last group walks its last row several times.
            let out = &mut out[groups.len() * LANES..];
            self.walk([root; LANES], |lane| &rest[lane.min(last)], out);
        }
    }

    fn trees_in_step<const P: usize>(&self, trees: Range<usize>, codes: &[u8; P], out: &mut [u32]) {
        let roots = &self.roots[trees];
        assert_eq!(roots.len(), out.len(), "one leaf per tree");
        for (roots, out) in roots.chunks(LANES).zip(out.chunks_mut(LANES)) {
            let at = std::array::from_fn(|lane| roots[lane.min(roots.len() - 1)]);
            self.walk(at, |_| codes, out);
        }
    }

    #[inline(always)]
    fn walk<'c, const P: usize>(&self, mut at: [u32; LANES], codes: impl Fn(usize) -> &'c [u8; P], out: &mut [u32]) {
        loop {
            let before = at;
            for _ in 0..STRIDE {
                if self.set_of.is_empty() {
                    for (lane, at) in at.iter_mut().enumerate() {
                        let step = self.steps[*at as usize];
                        let code = codes(lane)[usize::from(step.feature) & (P - 1)];
                        *at = step.child + u32::from(code.wrapping_add(step.shift) > step.limit);
                    }
                } else {
                    for (lane, at) in at.iter_mut().enumerate() {
                        *at = self.step_of_sets(*at as usize, codes(lane));
                    }
                }
            }
            if at == before {
                break;
            }
        }
        for (out, at) in out.iter_mut().zip(at) {
            *out = self.steps[at as usize].number();
        }
    }

    #[inline(always)]
    fn step_of_sets<const P: usize>(&self, node: usize, codes: &[u8; P]) -> u32 {
        let step = self.steps[node];
        let code = codes[usize::from(step.feature) & (P - 1)];
        let set = self.set_of[node] as usize;
        let outside = self.sets[set][usize::from(code >> 6)] >> (code & 63) & 1 == 0;
        let above = code.wrapping_add(step.shift) > step.limit;
        step.child + u32::from(if set == 0 { above } else { outside })
    }
}

/// The codes of some rows, padded to a power of two per row so that a code is read
/// without a bounds check.
#[derive(Clone, Debug)]
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

    /// Replaces the rows by those of `from` at `rows`, reusing the memory.
    pub fn select(&mut self, from: &CodeBlock, rows: &[u32]) {
        fn copy<const P: usize>(own: &mut Vec<[u8; P]>, from: &[[u8; P]], rows: &[u32]) {
            own.clear();
            own.extend(rows.iter().map(|&row| from[row as usize]));
        }
        match (&mut *self, from) {
            (CodeBlock::Narrow(own), CodeBlock::Narrow(from)) => copy(own, from, rows),
            (CodeBlock::Middle(own), CodeBlock::Middle(from)) => copy(own, from, rows),
            (CodeBlock::Wide(own), CodeBlock::Wide(from)) => copy(own, from, rows),
            (_, from) => {
                *self = from.clone();
                self.select(from, rows);
            }
        }
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
