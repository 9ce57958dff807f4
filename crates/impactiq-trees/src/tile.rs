//! The tile: the rows one tree sees, copied once and kept in order of its leaves.
//!
//! A tile has a half that chooses splits and, for honest trees, a half that estimates
//! leaves (Athey and Imbens 2016). Both are partitioned side by side as the tree grows, so every
//! node is a contiguous range of both and honest leaves fall out of the partition.
//! What must not live here: the growing itself.

use std::ops::Range;

use crate::histogram::{Rows, Selection};
use crate::matrix::CodeMatrix;

/// Rows with their codes and the order the growing tree has put them in.
#[derive(Clone, Debug)]
pub struct Part<R> {
    matrix: CodeMatrix,
    rows: Vec<R>,
    order: Vec<u32>,
    scratch: Vec<u32>,
    /// True while `order` is 0, 1, 2, …: the root can be read without it.
    in_order: bool,
}

impl<R: Copy + Send + Sync> Part<R> {
    /// A part of n rows with their codes (n × p).
    ///
    /// # Panics
    /// When `rows` and the matrix differ in length (a bug of the caller).
    pub fn new(matrix: CodeMatrix, rows: Vec<R>) -> Self {
        assert_eq!(matrix.n_rows(), rows.len(), "tile rows");
        let order = (0..rows.len() as u32).collect();
        Part { matrix, rows, order, scratch: Vec::new(), in_order: true }
    }

    /// Number of rows n.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// The codes, in the order the rows came.
    pub fn matrix(&self) -> &CodeMatrix {
        &self.matrix
    }

    /// What the rows contribute, in the order they came; write the next tree's here.
    pub fn rows_mut(&mut self) -> &mut [R] {
        &mut self.rows
    }

    /// What the rows contribute, in the order they came.
    pub fn rows(&self) -> &[R] {
        &self.rows
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

    /// Replaces the rows by those of `from` at `positions`, reusing the memory; `row`
    /// gives what each contributes.
    pub fn refill(&mut self, from: &CodeMatrix, positions: &[u32], row: impl Fn(u32) -> R) {
        self.matrix.take(from, positions);
        self.rows.clear();
        self.rows.extend(positions.iter().map(|&position| row(position)));
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
        Rows { matrix: &self.matrix, rows: &self.rows, selection }
    }

    /// What the rows of a node contribute.
    pub fn node_rows(&self, range: Range<usize>) -> impl Iterator<Item = &R> {
        self.order[range].iter().map(|&position| &self.rows[position as usize])
    }

    /// The codes, the order to change and room of the same size; the order is no longer
    /// the natural one afterwards.
    pub(crate) fn split_borrow(&mut self) -> (&CodeMatrix, &mut [u32], &mut [u32]) {
        self.in_order = false;
        self.scratch.resize(self.order.len(), 0);
        (&self.matrix, &mut self.order, &mut self.scratch)
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
