//! Additive summaries of sets of rows.
//!
//! What a criterion sees of a node is a [`Stats`]: sums that can be added and taken
//! away, so that a histogram's cells add up to the node and a sibling is the parent
//! less the other child. What the sums mean lives with each criterion.

use std::fmt::Debug;
use std::ops::{AddAssign, SubAssign};

/// An additive summary of a set of rows.
pub trait Stats: Copy + Debug + AddAssign + SubAssign + Send + Sync + 'static {
    /// The summary of no rows.
    const ZERO: Self;

    /// Rows summed.
    fn n_rows(&self) -> u32;

    /// Their weight: what `min_leaf_weight` is compared with.
    fn weight(&self) -> f64;

    /// The summary of the rows of `self` that are not in `part`.
    ///
    /// When no row is left the answer is exactly [`Stats::ZERO`]: rounding residue of
    /// floating-point sums must not look like evidence.
    #[inline(always)]
    fn without(mut self, part: &Self) -> Self {
        self -= *part;
        if self.n_rows() == 0 { Self::ZERO } else { self }
    }
}
