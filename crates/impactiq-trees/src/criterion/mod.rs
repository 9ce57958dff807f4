//! What a split is good for.
//!
//! A criterion is a group of additive sums plus a gain. The histogram, the one scan and
//! the grower know nothing else, so boosting, causal and uplift trees differ in this
//! folder only. What must not live here: loops over rows or bins.

pub mod arms;
pub mod effect;
pub mod instrument;
pub mod mean;
pub mod newton;
pub mod uplift;

use crate::stats::Stats;

/// Rows a [`Criterion::Cell`] may hold before it must be flushed.
pub const CELL_ROWS: usize = 1 << 15;

/// What a split is good for.
///
/// Sums live in two forms. A [`Criterion::Cell`] is small and fast (packed integers, f32
/// lanes): the histogram kernel adds rows to it and flushes it into [`Criterion::Stats`]
/// at the latest every [`CELL_ROWS`] rows. `Stats` are wide and exact enough to be
/// summed over all rows, subtracted between siblings and scanned.
///
/// The rows themselves come from whoever fills the tile: a criterion holds constants only.
pub trait Criterion: Sync {
    /// What one row contributes, written once per tree into the tile.
    type Row: Copy + Send + Sync;
    /// A compact accumulator of at most [`CELL_ROWS`] rows.
    type Cell: Copy + Send + Sync;
    /// The additive summary of any number of rows.
    type Stats: Stats;
    /// Constants of the node being split.
    type Node: Copy;
    /// The cell of no rows.
    const EMPTY: Self::Cell;

    /// Adds a row to a cell.
    fn observe(row: &Self::Row, into: &mut Self::Cell);

    /// Whether a cell holds no rows.
    fn is_empty(cell: &Self::Cell) -> bool;

    /// Adds a cell to a summary.
    fn flush(&self, cell: &Self::Cell, into: &mut Self::Stats);

    /// The constants of a node, from the sums of all its rows; `None` makes it a leaf.
    fn node(&self, total: &Self::Stats) -> Option<Self::Node>;

    /// How much better two children are than their parent; `None`: not admissible.
    fn gain(&self, node: &Self::Node, left: &Self::Stats, right: &Self::Stats) -> Option<f64>;

    /// Sorts the categories of a feature, so that the scan over prefixes finds a good set.
    fn order(&self, node: &Self::Node, category: &Self::Stats) -> f64;
}

/// The sums of some rows, without a histogram.
pub fn summarise<'r, C: Criterion>(criterion: &C, rows: impl Iterator<Item = &'r C::Row>) -> C::Stats
where
    C::Row: 'r,
{
    let mut total = C::Stats::ZERO;
    let mut cell = C::EMPTY;
    let mut n = 0;
    for row in rows {
        C::observe(row, &mut cell);
        n += 1;
        if n == CELL_ROWS {
            criterion.flush(&cell, &mut total);
            (cell, n) = (C::EMPTY, 0);
        }
    }
    if n > 0 {
        criterion.flush(&cell, &mut total);
    }
    total
}
