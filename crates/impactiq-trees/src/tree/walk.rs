//! Walks rows through trees without branches.
//!
//! A single walk waits at every node: for the node, for the row's code, for a branch guessed
//! wrong half of the time. Many walks in step hide each other's waits: a step is two loads, a
//! compare and an add, and leaves lead to themselves, so nobody has to ask who has arrived until all
//! have. Batches walk rows in step through one tree; a single row walks through many trees in step.

use std::ops::Range;

use impactiq_data::MISSING_CODE;

use crate::kernel::prefetch_all;
use crate::split::Rule;
use crate::tree::Tree;

/// Rows of one tree in step: their places stay in registers, eight are enough to hide the waits.
const ROW_LANES: usize = 8;

/// Trees of one row in step: more, because their nodes are far apart in memory.
const TREE_LANES: usize = 16;

/// Steps between looks at who has arrived.
const STRIDE: usize = 3;

/// Steps beyond the depth of a balanced tree before the first look.
const UNEVEN: u32 = 4;

/// The last code that is a value: the next one is missing.
const LAST_VALUE: u8 = MISSING_CODE - 1;

/// A node in eight bytes.
#[derive(Clone, Copy, Debug)]
#[repr(align(8))]
struct Step {
    /// Left child; the right one is next. A leaf's is the leaf itself.
    child: u32,
    /// Where the row's code stands, see [`CodeBlock`]; of a leaf, the low bits of its number.
    code: u16,
    /// Right when the code is larger; a leaf's is 255, which nothing exceeds.
    limit: u8,
    /// Of a leaf, the high bits of its number.
    high: u8,
}

impl Step {
    /// `None` when the leaf's number does not fit.
    fn leaf(node: u32, number: u32) -> Option<Self> {
        let high = u8::try_from(number >> 16).ok()?;
        Some(Step { child: node, code: number as u16, limit: u8::MAX, high })
    }

    #[inline(always)]
    fn number(&self) -> u32 {
        u32::from(self.code) | u32::from(self.high) << 16
    }
}

/// Trees laid out for walking, one after another.
#[derive(Clone, Debug)]
pub struct Walkers {
    steps: Vec<Step>,
    /// By tree, its root.
    roots: Vec<u32>,
    /// By tree, steps nearly every walk needs.
    sure_steps: Vec<u32>,
    /// Codes of a row, half of [`CodeBlock`]'s.
    width: u16,
    /// By node, its set in `sets`, 0 for none; empty when no rule is a set.
    set_of: Vec<u32>,
    sets: Vec<[u64; 4]>,
}

impl Walkers {
    /// Lays trees on `n_features` features out; `None` beyond 256 features or 2^24 leaves.
    pub fn new(trees: &[Tree], n_features: usize) -> Option<Self> {
        let n_nodes = trees.iter().map(|tree| tree.nodes().len()).sum();
        u32::try_from(n_nodes).ok()?;
        let any_set = trees.iter().any(|tree| !tree.sets().is_empty());
        let mut walkers = Walkers {
            steps: Vec::with_capacity(n_nodes),
            roots: Vec::with_capacity(trees.len()),
            sure_steps: Vec::with_capacity(trees.len()),
            width: width(n_features)?,
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
        let mut depth = vec![0u32; tree.nodes().len()];
        for (i, node) in tree.nodes().iter().enumerate() {
            let at = root + i as u32;
            if node.is_leaf() {
                self.steps.push(Step::leaf(at, node.left)?);
                continue;
            }
            depth[node.left as usize] = depth[i] + 1;
            depth[node.right as usize] = depth[i] + 1;
            let feature = u16::try_from(node.feature).ok().filter(|&feature| feature < self.width)?;
            let (code, limit) = match tree.rule(node) {
                Rule::AtMost { code, missing_left: false } => (feature, code.min(LAST_VALUE)),
                // Among the codes plus one missing is 0 and goes left.
                Rule::AtMost { code, missing_left: true } => (self.width + feature, code.min(LAST_VALUE) + 1),
                Rule::In { mut codes, missing_left } => {
                    codes[3] = codes[3] & (u64::MAX >> 1) | u64::from(missing_left) << 63;
                    self.set_of[at as usize] = self.sets.len() as u32;
                    self.sets.push(codes);
                    (feature, 0)
                }
            };
            self.steps.push(Step { child: root + node.left, code, limit, high: 0 });
        }
        let deepest = depth.into_iter().max().unwrap_or_default();
        let balanced = (tree.n_leaves() as u32).ilog2() + UNEVEN;
        self.roots.push(root);
        self.sure_steps.push(deepest.min(balanced));
        Some(())
    }

    /// Asks for a tree's nodes early; nothing where there is no such tree.
    pub fn prefetch(&self, tree: usize) {
        if let Some(&root) = self.roots.get(tree) {
            let end = self.roots.get(tree + 1).map_or(self.steps.len(), |&next| next as usize);
            prefetch_all(&self.steps[root as usize..end]);
        }
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
        let (root, sure) = (self.roots[tree], self.sure_steps[tree]);
        let (groups, rest) = codes.as_chunks::<ROW_LANES>();
        for (codes, out) in groups.iter().zip(out.chunks_mut(ROW_LANES)) {
            self.walk([root; ROW_LANES], sure, |lane| &codes[lane], out);
        }
        if let Some(last) = rest.len().checked_sub(1) {
            // A short last group walks its last row several times.
            let out = &mut out[groups.len() * ROW_LANES..];
            self.walk([root; ROW_LANES], sure, |lane| &rest[lane.min(last)], out);
        }
    }

    fn trees_in_step<const P: usize>(&self, trees: Range<usize>, codes: &[u8; P], out: &mut [u32]) {
        let roots = &self.roots[trees];
        assert_eq!(roots.len(), out.len(), "one leaf per tree");
        for (roots, out) in roots.chunks(TREE_LANES).zip(out.chunks_mut(TREE_LANES)) {
            let at: [u32; TREE_LANES] = std::array::from_fn(|lane| roots[lane.min(roots.len() - 1)]);
            self.walk(at, 0, |_| codes, out);
        }
    }

    #[inline(always)]
    fn walk<'c, const P: usize, const LANES: usize>(
        &self,
        mut at: [u32; LANES],
        sure_steps: u32,
        codes: impl Fn(usize) -> &'c [u8; P],
        out: &mut [u32],
    ) {
        for _ in 0..sure_steps {
            self.step(&codes, &mut at);
        }
        loop {
            for _ in 1..STRIDE {
                self.step(&codes, &mut at);
            }
            // Who does not move has arrived. Asked lane by lane: comparing whole arrays would wait
            // for the stores of their parts.
            if self.step(&codes, &mut at) == 0 {
                break;
            }
        }
        for (out, at) in out.iter_mut().zip(at) {
            *out = self.steps[at as usize].number();
        }
    }

    /// One step of every lane; 0 when nobody has moved.
    #[inline(always)]
    fn step<'c, const P: usize, const LANES: usize>(
        &self,
        codes: &impl Fn(usize) -> &'c [u8; P],
        at: &mut [u32; LANES],
    ) -> u32 {
        let mut moved = 0;
        if self.set_of.is_empty() {
            for (lane, at) in at.iter_mut().enumerate() {
                let step = self.steps[*at as usize];
                let next = step.child + u32::from(codes(lane)[usize::from(step.code) & (P - 1)] > step.limit);
                moved |= next ^ *at;
                *at = next;
            }
        } else {
            for (lane, at) in at.iter_mut().enumerate() {
                let next = self.step_of_sets(*at as usize, codes(lane));
                moved |= next ^ *at;
                *at = next;
            }
        }
        moved
    }

    #[inline(always)]
    fn step_of_sets<const P: usize>(&self, node: usize, codes: &[u8; P]) -> u32 {
        let step = self.steps[node];
        let code = codes[usize::from(step.code) & (P - 1)];
        let set = self.set_of[node] as usize;
        let outside = self.sets[set][usize::from(code >> 6)] >> (code & 63) & 1 == 0;
        step.child + u32::from(if set == 0 { code > step.limit } else { outside })
    }
}

/// Codes that rows of `n_features` are padded to: a power of two, so that a code is read
/// without a bounds check; `None` beyond 256 features.
fn width(n_features: usize) -> Option<u16> {
    Some(match n_features {
        0..=16 => 16,
        17..=64 => 64,
        65..=256 => 256,
        _ => return None,
    })
}

/// The codes of some rows: padded, then once more plus one (wrapping), which is how rules that
/// send missing values left read them.
#[derive(Clone, Debug)]
pub enum CodeBlock {
    /// Up to 16 features.
    Narrow(Vec<[u8; 32]>),
    /// Up to 64 features.
    Middle(Vec<[u8; 128]>),
    /// Up to 256 features.
    Wide(Vec<[u8; 512]>),
}

impl CodeBlock {
    /// Copies the codes of rows out of columns; `None` beyond 256 features.
    pub fn new(columns: &[&[u8]], rows: impl ExactSizeIterator<Item = usize> + Clone) -> Option<Self> {
        Some(match width(columns.len())? {
            16 => CodeBlock::Narrow(gather(columns, rows)),
            64 => CodeBlock::Middle(gather(columns, rows)),
            _ => CodeBlock::Wide(gather(columns, rows)),
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
            out[P / 2 + f] = column[row].wrapping_add(1);
        }
    }
    codes
}
