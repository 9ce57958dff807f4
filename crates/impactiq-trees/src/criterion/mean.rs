//! Means: the least-squares criterion of regression forests.
//!
//! A cut is as good as the sum of squares it explains (Breiman and others 1984): with ȳ the node's
//! mean, (Σ_L w (y − ȳ))² (1 / w_L + 1 / w_R). Sums are boosting's fixed-point pair (weighted target,
//! weight), so they are exact and do not depend on the order of rows. For targets of 0 and 1 the means
//! are probabilities.

use crate::criterion::Criterion;
use crate::criterion::newton::{Grid, Newton, NewtonCell, NewtonStats};
use crate::stats::Stats;

/// Constants of a node.
#[derive(Clone, Copy, Debug)]
pub struct MeanNode {
    mean: f64,
    /// What explained sums must exceed to be more than rounding.
    noise: f64,
    weight: f64,
    min_weight: f64,
}

/// The least-squares criterion with its balance rules. A row is
/// `grid.row(weight · target, weight)`.
#[derive(Clone, Copy, Debug)]
pub struct Mean {
    /// The grid the rows were rounded on.
    pub grid: Grid,
    /// Share of the node's weight that each child must keep.
    pub alpha: f64,
    /// Price of uneven splits: this times Σ 1 / weight of the children.
    pub imbalance_penalty: f64,
}

impl Mean {
    /// The moments a leaf keeps: weight and weighted target.
    pub fn moments(stats: &NewtonStats) -> [f64; 2] {
        [stats.hessian, stats.gradient]
    }

    /// How the fixed-point sums are flushed; boosting's way.
    fn sums(&self) -> Newton {
        Newton { l2: 0.0, category_smoothing: 0.0, grid: self.grid }
    }
}

impl Criterion for Mean {
    type Row = NewtonCell;
    type Cell = NewtonCell;
    type Stats = NewtonStats;
    type Node = MeanNode;
    const EMPTY: NewtonCell = Newton::EMPTY;

    #[inline(always)]
    fn observe(row: &NewtonCell, into: &mut NewtonCell) {
        Newton::observe(row, into);
    }

    #[inline(always)]
    fn is_empty(cell: &NewtonCell) -> bool {
        Newton::is_empty(cell)
    }

    #[inline(always)]
    fn flush(&self, cell: &NewtonCell, into: &mut NewtonStats) {
        self.sums().flush(cell, into);
    }

    fn node(&self, total: &NewtonStats) -> Option<MeanNode> {
        let weight = total.weight();
        (total.n_rows > 1 && weight > 0.0).then(|| {
            let mean = total.gradient / weight;
            MeanNode { mean, noise: 1e-13 * mean * mean * weight, weight, min_weight: weight * self.alpha }
        })
    }

    #[inline(always)]
    fn gain(&self, node: &MeanNode, left: &NewtonStats, right: &NewtonStats) -> Option<f64> {
        let (on_left, on_right) = (left.weight(), right.weight());
        let lighter = on_left.min(on_right);
        if lighter.is_nan() || lighter <= 0.0 || lighter < node.min_weight {
            return None;
        }
        let each = 1.0 / on_left + 1.0 / on_right;
        let sum = left.gradient - on_left * node.mean;
        let explained = sum * sum * each;
        let gain = explained - self.imbalance_penalty * each;
        (gain > 0.0 && explained > node.noise).then_some(gain)
    }

    /// Categories by mean.
    fn order(&self, node: &MeanNode, category: &NewtonStats) -> f64 {
        let smooth = 1e-3 * node.weight;
        (category.gradient + smooth * node.mean) / (category.weight() + smooth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(rows: &[(f64, f64)]) -> NewtonStats {
        let gradient = rows.iter().map(|(weight, target)| weight * target).sum();
        NewtonStats { gradient, hessian: rows.iter().map(|row| row.0).sum(), n_rows: rows.len() as u32 }
    }

    fn plain() -> Mean {
        Mean { grid: Grid::new(10, 8.0, 1.0), alpha: 0.0, imbalance_penalty: 0.0 }
    }

    #[test]
    fn the_gain_is_the_sum_of_squares_explained() {
        // Means 1 and 4, node 2: between sum of squares 2·(1−2)² + 1·(4−2)² = 6.
        let (left, right) = (stats(&[(1.0, 0.0), (1.0, 2.0)]), stats(&[(1.0, 4.0)]));
        let mut total = left;
        total += right;
        let node = plain().node(&total).unwrap();
        assert!((plain().gain(&node, &left, &right).unwrap() - 6.0).abs() < 1e-12);
        let dear = Mean { imbalance_penalty: 2.0, ..plain() };
        assert!((dear.gain(&node, &left, &right).unwrap() - 3.0).abs() < 1e-12);
        assert!(plain().order(&node, &left) < plain().order(&node, &right));
    }

    #[test]
    fn a_child_below_its_share_of_the_weight_is_refused() {
        let (left, right) = (stats(&[(1.0, 0.0)]), stats(&[(3.0, 1.0)]));
        let mut total = left;
        total += right;
        let asked = |alpha| {
            let mean = Mean { alpha, ..plain() };
            mean.gain(&mean.node(&total).unwrap(), &left, &right).is_some()
        };
        assert!(asked(0.25) && !asked(0.26));
    }

    #[test]
    fn equal_means_have_no_gain() {
        let half = stats(&[(1.0, 0.3), (1.0, 0.3), (1.0, 0.3)]);
        let mut total = half;
        total += half;
        assert_eq!(plain().gain(&plain().node(&total).unwrap(), &half, &half), None);
    }
}
