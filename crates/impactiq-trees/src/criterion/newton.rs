//! Second-order boosting: gradient, hessian and row count.
//!
//! Sums are fixed-point. A gradient and a hessian are rounded once per row to a grid
//! fine enough for n rows (53 bits less the bits of n; hessians 32 at most) and coarse enough
//! that every sum of the tree is an integer below 2^53 of that grid: exact in an `i64`
//! lane of the kernel *and* in the f64 of [`NewtonStats`]. So sums do not depend on the
//! order of rows, on chunks or on threads, and a sibling by subtraction equals the direct
//! sum to the bit. At 1 M rows the grid is 2^-33 of the largest gradient, finer than f32.

use std::ops::{AddAssign, SubAssign};

use crate::criterion::{CELL_ROWS, Criterion};
use crate::stats::Stats;

/// Bits a cell keeps for its row count: [`CELL_ROWS`] is 2^15, inclusive.
const COUNT_BITS: u32 = 16;

/// Sums of gradients and hessians over rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NewtonStats {
    /// Σ gradient.
    pub gradient: f64,
    /// Σ hessian.
    pub hessian: f64,
    /// Rows.
    pub n_rows: u32,
}

impl AddAssign for NewtonStats {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        self.gradient += other.gradient;
        self.hessian += other.hessian;
        self.n_rows += other.n_rows;
    }
}

impl SubAssign for NewtonStats {
    #[inline(always)]
    fn sub_assign(&mut self, other: Self) {
        self.gradient -= other.gradient;
        self.hessian -= other.hessian;
        self.n_rows -= other.n_rows;
    }
}

impl Stats for NewtonStats {
    const ZERO: Self = NewtonStats { gradient: 0.0, hessian: 0.0, n_rows: 0 };

    #[inline(always)]
    fn n_rows(&self) -> u32 {
        self.n_rows
    }

    #[inline(always)]
    fn weight(&self) -> f64 {
        self.hessian
    }
}

/// One row, or the sum of at most [`CELL_ROWS`] rows: two 64-bit lanes, so that adding a
/// row to a cell is one 128-bit load, add and store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct NewtonCell {
    /// Gradient in units of the grid.
    gradient: i64,
    /// Hessian in units of its grid, shifted left by [`COUNT_BITS`], plus the row count.
    hessian_and_rows: i64,
}

/// The grids on which gradients and hessians are rounded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    per_gradient: f64,
    per_hessian: f64,
    gradient_unit: f64,
    hessian_unit: f64,
}

impl Grid {
    /// The finest exact grid for `n_rows` rows whose gradients and hessians are at most
    /// the given sizes in absolute value.
    pub fn new(n_rows: usize, max_gradient: f64, max_hessian: f64) -> Self {
        // A sum of n integers below 2^bits stays below 2^53; a cell of 2^15 below 2^48.
        let row_bits = usize::BITS - n_rows.max(CELL_ROWS).leading_zeros();
        let bits = 53 - row_bits as i32;
        let units = |largest: f64, bits: i32| -> (f64, f64) {
            let exponent = if largest > 0.0 && largest.is_finite() { largest.log2().floor() as i32 + 1 } else { 0 };
            let exponent = exponent.clamp(-900, 900);
            (2f64.powi(bits - exponent), 2f64.powi(exponent - bits))
        };
        let (per_gradient, gradient_unit) = units(max_gradient, bits);
        let (per_hessian, hessian_unit) = units(max_hessian, bits.min(64 - 1 - COUNT_BITS as i32 - 15));
        Grid { per_gradient, per_hessian, gradient_unit, hessian_unit }
    }

    /// A row on the grid.
    #[inline(always)]
    pub fn row(&self, gradient: f64, hessian: f64) -> NewtonCell {
        NewtonCell {
            gradient: nearest(gradient * self.per_gradient),
            hessian_and_rows: (nearest(hessian * self.per_hessian) << COUNT_BITS) + 1,
        }
    }
}

/// The nearest integer of a number below 2^51 in absolute value, ties to even.
///
/// Adding 1.5 × 2^52 leaves the integer in the low bits of the mantissa: two vector
/// instructions where `as i64` needs a saturating scalar conversion.
#[inline(always)]
fn nearest(value: f64) -> i64 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    ((value + MAGIC).to_bits() as i64).wrapping_sub(MAGIC.to_bits() as i64)
}

/// Constants of a node.
#[derive(Clone, Copy, Debug)]
pub struct NewtonNode {
    score: f64,
    mean_gradient: f64,
    mean_hessian: f64,
}

/// The second-order gain of Chen and Guestrin (2016, eq. 7), without the factor ½ and
/// without a price per leaf (compare it with `min_gain`).
#[derive(Clone, Copy, Debug)]
pub struct Newton {
    /// Ridge penalty λ on leaf values.
    pub l2: f64,
    /// Categories are sorted by their gradient per hessian, drawn to the node's with the
    /// strength of this many average rows.
    pub category_smoothing: f64,
    /// The grid the rows were rounded on.
    pub grid: Grid,
}

impl Newton {
    #[inline(always)]
    fn score(&self, stats: &NewtonStats) -> f64 {
        stats.gradient * stats.gradient / (stats.hessian + self.l2)
    }

    /// The Newton step of a leaf: −G / (H + λ).
    #[inline]
    pub fn step(&self, stats: &NewtonStats) -> f64 {
        let curvature = stats.hessian + self.l2;
        if curvature > 0.0 { -stats.gradient / curvature } else { 0.0 }
    }
}

impl Criterion for Newton {
    type Row = NewtonCell;
    type Cell = NewtonCell;
    type Stats = NewtonStats;
    type Node = NewtonNode;
    const EMPTY: NewtonCell = NewtonCell { gradient: 0, hessian_and_rows: 0 };

    #[inline(always)]
    fn observe(row: &NewtonCell, into: &mut NewtonCell) {
        into.gradient = into.gradient.wrapping_add(row.gradient);
        into.hessian_and_rows = into.hessian_and_rows.wrapping_add(row.hessian_and_rows);
    }

    #[inline(always)]
    fn is_empty(cell: &NewtonCell) -> bool {
        cell.hessian_and_rows & ((1 << COUNT_BITS) - 1) == 0
    }

    #[inline(always)]
    fn flush(&self, cell: &NewtonCell, into: &mut NewtonStats) {
        into.gradient += cell.gradient as f64 * self.grid.gradient_unit;
        into.hessian += (cell.hessian_and_rows >> COUNT_BITS) as f64 * self.grid.hessian_unit;
        into.n_rows += (cell.hessian_and_rows & ((1 << COUNT_BITS) - 1)) as u32;
    }

    fn node(&self, total: &NewtonStats) -> Option<NewtonNode> {
        let n = f64::from(total.n_rows);
        let mean_hessian = total.hessian / n;
        (total.n_rows > 1 && total.hessian + self.l2 > 0.0).then(|| NewtonNode {
            score: self.score(total),
            mean_gradient: total.gradient / n,
            mean_hessian,
        })
    }

    #[inline(always)]
    fn gain(&self, node: &NewtonNode, left: &NewtonStats, right: &NewtonStats) -> Option<f64> {
        let children = self.score(left) + self.score(right);
        let gain = children - node.score;
        // Below the rounding of the scores a gain is noise; NaN (0/0) is refused too.
        (gain > children * 1e-13).then_some(gain)
    }

    fn order(&self, node: &NewtonNode, category: &NewtonStats) -> f64 {
        let smooth = self.category_smoothing;
        let hessian = category.hessian + smooth * node.mean_hessian;
        let gradient = category.gradient + smooth * node.mean_gradient;
        if hessian > 0.0 { gradient / hessian } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::criterion::summarise;
    use proptest::prelude::*;

    fn stats(gradient: f64, hessian: f64, n_rows: u32) -> NewtonStats {
        NewtonStats { gradient, hessian, n_rows }
    }

    #[test]
    fn gain_and_step_agree_with_hand_arithmetic() {
        let newton = Newton { l2: 1.0, category_smoothing: 0.0, grid: Grid::new(10, 8.0, 1.0) };
        let (left, right) = (stats(-6.0, 2.0, 2), stats(4.0, 3.0, 3));
        let mut total = left;
        total += right;
        let node = newton.node(&total).unwrap();
        // 36/3 + 16/4 − 4/6
        let expected = 12.0 + 4.0 - 4.0 / 6.0;
        assert!((newton.gain(&node, &left, &right).unwrap() - expected).abs() < 1e-12);
        assert_eq!(newton.step(&left), 2.0);
        assert_eq!(newton.order(&node, &left), -3.0);
    }

    #[test]
    fn equal_children_have_no_gain() {
        let newton = Newton { l2: 0.0, category_smoothing: 0.0, grid: Grid::new(10, 1.0, 1.0) };
        let half = stats(0.3, 3.0, 3);
        let mut total = half;
        total += half;
        assert_eq!(newton.gain(&newton.node(&total).unwrap(), &half, &half), None);
    }

    proptest! {
        #[test]
        fn sums_on_the_grid_are_exact_whatever_the_order(
            values in prop::collection::vec((-1e3f64..1e3, 0f64..3.0), 1..300),
            n_rows in 300usize..50_000_000,
        ) {
            let grid = Grid::new(n_rows, 1e3, 3.0);
            let newton = Newton { l2: 0.0, category_smoothing: 0.0, grid };
            let mut rows: Vec<NewtonCell> = values.iter().map(|&(g, h)| grid.row(g, h)).collect();
            let forward = summarise(&newton, rows.iter());
            rows.reverse();
            let (a, b) = rows.split_at(rows.len() / 3);
            let mut backward = summarise(&newton, a.iter());
            backward += summarise(&newton, b.iter());
            prop_assert_eq!(forward, backward);
            let exact: f64 = values.iter().map(|v| v.0).sum();
            let tolerance = values.len() as f64 * grid.gradient_unit;
            prop_assert!((forward.gradient - exact).abs() <= tolerance);
        }
    }

    #[test]
    fn a_full_cell_of_the_largest_rows_does_not_overflow() {
        for n in [1, CELL_ROWS, 1 << 24, 1 << 31] {
            let grid = Grid::new(n, 1.0, 0.25);
            let newton = Newton { l2: 0.0, category_smoothing: 0.0, grid };
            let mut cell = Newton::EMPTY;
            for _ in 0..CELL_ROWS {
                Newton::observe(&grid.row(-1.0, 0.25), &mut cell);
            }
            let mut total = NewtonStats::ZERO;
            newton.flush(&cell, &mut total);
            assert_eq!(total, stats(-(CELL_ROWS as f64), CELL_ROWS as f64 * 0.25, CELL_ROWS as u32));
        }
    }
}
