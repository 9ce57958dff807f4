//! The tile: the rows one tree sees, copied once and kept in order of its leaves.
//!
//! A tile has a half that chooses splits and, for honest trees, a half that estimates
//! leaves (Athey and Imbens 2016). Both are partitioned side by side as the tree grows, so every
//! node is a contiguous range of both and honest leaves fall out of the partition.
//! What must not live here: the growing itself.

use std::ops::Range;

use crate::histogram::{Rows, Selection};
use crate::matrix::CodeMatrix;
use crate::records::Records;

/// Rows laid out for trees: codes by column for partitions, records for histograms.
#[derive(Clone, Debug)]
pub struct Store<R> {
    matrix: CodeMatrix,
    records: Records<R>,
}

impl<R: Copy + Send + Sync> Store<R> {
    /// Lays out n rows with their codes (n × p).
    ///
    /// # Panics
    /// When `rows` and the matrix differ in length (a bug of the caller).
    pub fn new(matrix: CodeMatrix, rows: Vec<R>) -> Self {
        Store { records: Records::new(&matrix, rows), matrix }
    }

    /// Number of rows n.
    pub fn n_rows(&self) -> usize {
        self.records.n_rows()
    }

    /// What a row contributes.
    #[inline(always)]
    pub fn row(&self, row: usize) -> &R {
        self.records.row(row)
    }

    /// Replaces what all rows contribute, see [`Records::fill_rows`].
    pub fn fill_rows(&mut self, empty: R, fill: impl Fn(usize, &mut [R]) + Sync) {
        self.records.fill_rows(empty, fill);
    }
}

/// Rows and the order a growing tree has put them in.
#[derive(Clone, Debug)]
pub struct Part<R> {
    store: Store<R>,
    order: Vec<u32>,
    scratch: Vec<u32>,
    /// True while `order` is 0, 1, 2, …: the root can be read without it.
    in_order: bool,
}

impl<R: Copy + Send + Sync> Part<R> {
    /// A part of n rows with their codes (n × p).
    ///
    /// # Panics
    /// As [`Store::new`].
    pub fn new(matrix: CodeMatrix, rows: Vec<R>) -> Self {
        let order = (0..rows.len() as u32).collect();
        Part { store: Store::new(matrix, rows), order, scratch: Vec::new(), in_order: true }
    }

    /// A part without rows, to be refilled.
    pub fn empty() -> Self {
        Part::new(CodeMatrix::default(), Vec::new())
    }

    /// Number of rows n.
    pub fn n_rows(&self) -> usize {
        self.order.len()
    }

    /// The rows in the order they came.
    pub fn store(&self) -> &Store<R> {
        &self.store
    }

    /// The rows in the order they came; write the next tree's contributions here.
    pub fn store_mut(&mut self) -> &mut Store<R> {
        &mut self.store
    }

    /// Row numbers within the part, sorted by the leaf they fall into.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Forgets the last tree's order.
    pub fn reset_order(&mut self) {
        if !self.in_order {
            self.order.iter_mut().enumerate().for_each(|(position, row)| *row = position as u32);
            self.in_order = true;
        }
    }

    /// Replaces the rows by those of `from` at `positions`, reusing the memory.
    pub fn refill(&mut self, from: &Store<R>, positions: &[u32]) {
        self.store.matrix.take(&from.matrix, positions);
        self.store.records.take(&from.records, positions);
        self.order.clear();
        self.order.extend(0..positions.len() as u32);
        self.in_order = true;
    }

    /// The rows of a node, ready for a histogram.
    pub fn node(&self, range: Range<usize>) -> Rows<'_, R> {
        let selection = if self.in_order {
            Selection::Run { first: range.start, n: range.len() }
        } else {
            Selection::Positions(&self.order[range])
        };
        Rows { records: &self.store.records, selection }
    }

    /// What the rows of a node contribute.
    pub fn node_rows(&self, range: Range<usize>) -> impl Iterator<Item = &R> {
        self.order[range].iter().map(|&position| self.store.row(position as usize))
    }

    /// The codes, the order to change and room of the same size; the order is no longer
    /// the natural one afterwards.
    pub(crate) fn split_borrow(&mut self) -> (&CodeMatrix, &mut [u32], &mut [u32]) {
        self.in_order = false;
        self.scratch.resize(self.order.len(), 0);
        (&self.store.matrix, &mut self.order, &mut self.scratch)
    }
}

/// The rows one tree sees.
#[derive(Clone, Debug)]
pub struct Tile<R> {
    /// Rows that choose the splits.
    pub split: Part<R>,
    /// Rows that fill the leaves of an honest tree.
    pub estimate: Option<Part<R>>,
}

impl<R> Tile<R> {
    /// A tile whose rows both choose splits and fill leaves.
    pub fn adaptive(split: Part<R>) -> Self {
        Tile { split, estimate: None }
    }

    /// A tile whose leaves are filled by other rows than those that chose the splits.
    pub fn honest(split: Part<R>, estimate: Part<R>) -> Self {
        Tile { split, estimate: Some(estimate) }
    }
}
