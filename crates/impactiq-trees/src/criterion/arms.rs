//! Sums per arm: what uplift criteria see of a set of rows.
//!
//! Two forms. Unweighted 0/1 outcomes are counted: rows and events per arm, packed four
//! to a word in the kernel, exact in any order. Everything else is summed as moments per arm
//! (rows, weight, Σ weight·y, Σ weight·y²), f32 in the kernel and f64 above it. What must not
//! live here: gains.

use std::fmt::Debug;
use std::ops::{AddAssign, SubAssign};

use crate::stats::Stats;

/// Sums per arm of A arms; arm 0 is the control.
pub trait ArmSums<const A: usize>: Stats {
    /// Rows of an arm.
    fn arm_rows(&self, arm: usize) -> u32;
    /// Their weight.
    fn arm_weight(&self, arm: usize) -> f64;
    /// Σ weight · outcome.
    fn arm_sum(&self, arm: usize) -> f64;
    /// Σ weight · outcome².
    fn arm_squares(&self, arm: usize) -> f64;
}

/// A way to sum rows per arm: counts or moments.
pub trait ArmForm<const A: usize>: Copy + Debug + PartialEq + Send + Sync + 'static {
    /// What a row contributes.
    type Row: Copy + Send + Sync;
    /// A compact accumulator of at most [`crate::criterion::CELL_ROWS`] rows.
    type Cell: Copy + Send + Sync;
    /// Sums of any number of rows.
    type Sums: ArmSums<A>;
    /// The cell of no rows.
    const EMPTY: Self::Cell;
    /// Whether sums are exact: they are then what leaves are filled from.
    const EXACT: bool;

    /// A row: its arm, outcome and weight.
    fn row(arm: u8, outcome: f64, weight: f64) -> Self::Row;
    /// Adds a row to a cell.
    fn observe(row: &Self::Row, into: &mut Self::Cell);
    /// Whether a cell holds no rows.
    fn is_empty(cell: &Self::Cell) -> bool;
    /// Adds a cell to sums.
    fn flush(cell: &Self::Cell, into: &mut Self::Sums);
}

/// Rows and events of one arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArmCounts {
    /// Rows.
    pub rows: u32,
    /// Rows whose outcome is 1.
    pub events: u32,
}

/// Counts per arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts<const A: usize>(pub [ArmCounts; A]);

impl<const A: usize> AddAssign for Counts<A> {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        for (arm, other) in self.0.iter_mut().zip(other.0) {
            arm.rows += other.rows;
            arm.events += other.events;
        }
    }
}

impl<const A: usize> SubAssign for Counts<A> {
    #[inline(always)]
    fn sub_assign(&mut self, other: Self) {
        for (arm, other) in self.0.iter_mut().zip(other.0) {
            arm.rows -= other.rows;
            arm.events -= other.events;
        }
    }
}

impl<const A: usize> Stats for Counts<A> {
    const ZERO: Self = Counts([ArmCounts { rows: 0, events: 0 }; A]);

    #[inline(always)]
    fn n_rows(&self) -> u32 {
        self.0.iter().map(|arm| arm.rows).sum()
    }

    #[inline(always)]
    fn weight(&self) -> f64 {
        f64::from(self.n_rows())
    }
}

impl<const A: usize> ArmSums<A> for Counts<A> {
    #[inline(always)]
    fn arm_rows(&self, arm: usize) -> u32 {
        self.0[arm].rows
    }

    #[inline(always)]
    fn arm_weight(&self, arm: usize) -> f64 {
        f64::from(self.0[arm].rows)
    }

    #[inline(always)]
    fn arm_sum(&self, arm: usize) -> f64 {
        f64::from(self.0[arm].events)
    }

    /// A 0/1 outcome is its own square.
    #[inline(always)]
    fn arm_squares(&self, arm: usize) -> f64 {
        self.arm_sum(arm)
    }
}

/// Counts of at most 2^15 rows: four 16-bit lanes a word, rows and events of two arms each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedCounts<const W: usize>([u64; W]);

impl<const W: usize> PackedCounts<W> {
    /// A row of an arm with its outcome.
    ///
    /// # Panics
    /// When the arm is 2 W or more (a bug of the caller).
    pub fn row(arm: u8, event: bool) -> Self {
        let mut words = [0; W];
        words[usize::from(arm) / 2] = (1 | u64::from(event) << 16) << (32 * (arm % 2));
        PackedCounts(words)
    }
}

/// 0/1 outcomes without weights, counted in W words: two arms each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counted<const W: usize>;

impl<const A: usize, const W: usize> ArmForm<A> for Counted<W> {
    type Row = PackedCounts<W>;
    type Cell = PackedCounts<W>;
    type Sums = Counts<A>;
    const EMPTY: PackedCounts<W> = PackedCounts([0; W]);
    const EXACT: bool = true;

    fn row(arm: u8, outcome: f64, _weight: f64) -> PackedCounts<W> {
        PackedCounts::row(arm, outcome == 1.0)
    }

    #[inline(always)]
    fn observe(row: &PackedCounts<W>, into: &mut PackedCounts<W>) {
        for (word, row) in into.0.iter_mut().zip(row.0) {
            *word = word.wrapping_add(row);
        }
    }

    #[inline(always)]
    fn is_empty(cell: &PackedCounts<W>) -> bool {
        cell.0.iter().all(|&word| word == 0)
    }

    #[inline(always)]
    fn flush(cell: &PackedCounts<W>, into: &mut Counts<A>) {
        const { assert!(A <= 2 * W && A >= 2, "too few words") };
        for (arm, counts) in into.0.iter_mut().enumerate() {
            let lanes = (cell.0[arm / 2] >> (32 * (arm % 2))) as u32;
            counts.rows += lanes & 0xFFFF;
            counts.events += lanes >> 16;
        }
    }
}

/// Moments per arm: rows, weight, Σ weight·y, Σ weight·y².
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ArmMoments<const A: usize>(pub [[f64; 4]; A]);

impl<const A: usize> AddAssign for ArmMoments<A> {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        for (lane, other) in self.0.iter_mut().flatten().zip(other.0.as_flattened()) {
            *lane += other;
        }
    }
}

impl<const A: usize> SubAssign for ArmMoments<A> {
    /// An arm without rows left has exactly no sums: residue must not look like evidence.
    #[inline(always)]
    fn sub_assign(&mut self, other: Self) {
        for (arm, other) in self.0.iter_mut().zip(other.0) {
            for (lane, other) in arm.iter_mut().zip(other) {
                *lane -= other;
            }
            if arm[0] == 0.0 {
                *arm = [0.0; 4];
            }
        }
    }
}

impl<const A: usize> Stats for ArmMoments<A> {
    const ZERO: Self = ArmMoments([[0.0; 4]; A]);

    #[inline(always)]
    fn n_rows(&self) -> u32 {
        self.0.iter().map(|arm| arm[0]).sum::<f64>() as u32
    }

    #[inline(always)]
    fn weight(&self) -> f64 {
        self.0.iter().map(|arm| arm[1]).sum()
    }
}

impl<const A: usize> ArmSums<A> for ArmMoments<A> {
    #[inline(always)]
    fn arm_rows(&self, arm: usize) -> u32 {
        self.0[arm][0] as u32
    }

    #[inline(always)]
    fn arm_weight(&self, arm: usize) -> f64 {
        self.0[arm][1]
    }

    #[inline(always)]
    fn arm_sum(&self, arm: usize) -> f64 {
        self.0[arm][2]
    }

    #[inline(always)]
    fn arm_squares(&self, arm: usize) -> f64 {
        self.0[arm][3]
    }
}

/// One row's moments, in 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MomentRow {
    arm: u32,
    /// Weight, weight·y, weight·y².
    lanes: [f32; 3],
}

/// Sums of at most 2^15 rows in f32 lanes, four per arm.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(16))]
pub struct MomentCell<const A: usize>([[f32; 4]; A]);

/// Any outcome, with weights, summed as moments. Bring outcomes near 0 first: squares of
/// numbers far from it cancel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments;

impl<const A: usize> ArmForm<A> for Moments {
    type Row = MomentRow;
    type Cell = MomentCell<A>;
    type Sums = ArmMoments<A>;
    const EMPTY: MomentCell<A> = MomentCell([[0.0; 4]; A]);
    const EXACT: bool = false;

    fn row(arm: u8, outcome: f64, weight: f64) -> MomentRow {
        let lanes = [weight, weight * outcome, weight * outcome * outcome].map(|lane| lane as f32);
        MomentRow { arm: u32::from(arm), lanes }
    }

    #[inline(always)]
    fn observe(row: &MomentRow, into: &mut MomentCell<A>) {
        let arm = &mut into.0[row.arm as usize];
        arm[0] += 1.0;
        for (lane, row) in arm[1..].iter_mut().zip(row.lanes) {
            *lane += row;
        }
    }

    #[inline(always)]
    fn is_empty(cell: &MomentCell<A>) -> bool {
        cell.0.iter().all(|arm| arm[0] == 0.0)
    }

    #[inline(always)]
    fn flush(cell: &MomentCell<A>, into: &mut ArmMoments<A>) {
        for (lane, cell) in into.0.iter_mut().flatten().zip(cell.0.as_flattened()) {
            *lane += f64::from(*cell);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::criterion::CELL_ROWS;

    #[test]
    fn counts_and_moments_of_the_same_rows_agree() {
        let n = CELL_ROWS;
        let (mut packed, mut cell) = (<Counted<4> as ArmForm<8>>::EMPTY, <Moments as ArmForm<8>>::EMPTY);
        for i in 0..n {
            let (arm, event) = ((i * 7 % 11 % 8) as u8, f64::from(u8::from(i % 3 == 0)));
            <Counted<4> as ArmForm<8>>::observe(&<Counted<4> as ArmForm<8>>::row(arm, event, 1.0), &mut packed);
            <Moments as ArmForm<8>>::observe(&<Moments as ArmForm<8>>::row(arm, event, 1.0), &mut cell);
        }
        let (mut counts, mut moments) = (Counts::<8>::ZERO, ArmMoments::<8>::ZERO);
        for _ in 0..2 {
            Counted::<4>::flush(&packed, &mut counts);
            Moments::flush(&cell, &mut moments);
        }
        assert_eq!((counts.n_rows(), moments.n_rows()), (2 * n as u32, 2 * n as u32));
        for arm in 0..8 {
            assert!(counts.arm_rows(arm) > 0);
            assert_eq!(counts.arm_rows(arm), moments.arm_rows(arm));
            assert_eq!(counts.arm_weight(arm), moments.arm_weight(arm));
            assert_eq!(counts.arm_sum(arm), moments.arm_sum(arm));
            assert_eq!(counts.arm_squares(arm), moments.arm_squares(arm));
        }
        let empty = moments.without(&moments.clone());
        assert_eq!(empty, ArmMoments::ZERO);
    }

    #[test]
    fn an_arm_that_is_taken_away_leaves_nothing() {
        let row = |arm, y| <Moments as ArmForm<2>>::row(arm, y, 0.3);
        let sums = |rows: &[MomentRow]| {
            let mut cell = <Moments as ArmForm<2>>::EMPTY;
            rows.iter().for_each(|row| <Moments as ArmForm<2>>::observe(row, &mut cell));
            let mut sums = ArmMoments::<2>::ZERO;
            Moments::flush(&cell, &mut sums);
            sums
        };
        let parent = sums(&[row(0, 0.1), row(0, 0.7), row(1, 0.2)]);
        let left = parent.without(&sums(&[row(0, 0.7), row(0, 0.1)]));
        assert_eq!(left.0[0], [0.0; 4]);
        assert_eq!(left.arm_rows(1), 1);
    }
}
