//! Curves over the ranking, thinned to what a chart can show.
//!
//! Rows are first merged into blocks of neighbouring scores (never splitting equal ones); a
//! curve has its exact value at some of the blocks' ends. Areas are computed elsewhere, from
//! every row.

use serde::{Deserialize, Serialize};

use crate::scored::{Sorted, Sums};

/// A point of a curve with its pointwise 95 % band.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Share of the rows (by weight) that stand above this point, 0 to 1.
    pub fraction: f64,
    /// The curve's value.
    pub value: f64,
    /// Lower end of the band, where there is one.
    pub lower: Option<f64>,
    /// Upper end of the band, where there is one.
    pub upper: Option<f64>,
}

/// What a curve shows of the rows above a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurveKind {
    /// Incremental outcomes Y_t − Y_c · N_t / N_c (Radcliffe).
    Qini,
    /// Difference in means.
    Uplift,
    /// Difference in means times the share of rows.
    Gain,
    /// Mean doubly robust score minus its overall mean.
    Toc,
}

/// Neighbouring rows merged: equal scores together, and at most so many blocks.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    /// Position after the last row of each block.
    pub(crate) ends: Vec<usize>,
}

impl CurveKind {
    /// The curve's value after the rows summed in `above`, of all rows summed in `total`.
    pub(crate) fn value(self, above: &Sums, total: &Sums) -> f64 {
        match self {
            CurveKind::Qini => above.radcliffe(),
            CurveKind::Uplift => above.uplift(),
            CurveKind::Gain => above.gain() / total.weight(),
            CurveKind::Toc => above.gamma / above.weight() - total.gamma / total.weight(),
        }
    }

    /// Whether the curve starts at (0, 0) rather than at its first rows.
    pub(crate) fn has_origin(self) -> bool {
        matches!(self, CurveKind::Qini | CurveKind::Gain)
    }
}

impl Blocks {
    /// Merges groups of equal scores until at most about `limit` blocks of similar size remain.
    pub(crate) fn new(sorted: &Sorted<'_>, limit: usize) -> Self {
        let groups = &sorted.starts()[1..];
        if groups.len() <= limit {
            return Blocks { ends: groups.iter().map(|&end| end as usize).collect() };
        }
        let size = sorted.n().div_ceil(limit);
        let mut ends = Vec::with_capacity(limit + 1);
        let mut last = 0;
        for &end in groups {
            if end as usize >= last + size || end as usize == sorted.n() {
                last = end as usize;
                ends.push(last);
            }
        }
        Blocks { ends }
    }

    /// Sums of the rows above each block's end.
    pub(crate) fn cumulative(&self, sorted: &Sorted<'_>) -> Vec<Sums> {
        let (mut start, mut above) = (0, Sums::default());
        self.ends
            .iter()
            .map(|&end| {
                above.add(&sorted.sums(start..end));
                start = end;
                above
            })
            .collect()
    }

    /// At most `n_points` blocks at evenly spaced shares of the weight, the last included.
    pub(crate) fn grid(&self, cumulative: &[Sums], n_points: usize) -> Vec<usize> {
        let total = cumulative.last().map_or(0.0, Sums::weight);
        let n_points = n_points.max(1);
        let mut picked: Vec<usize> = (1..=n_points)
            .map(|j| {
                let target = total * j as f64 / n_points as f64 * (1.0 - 1e-12);
                cumulative.partition_point(|s| s.weight() < target).min(cumulative.len() - 1)
            })
            .collect();
        picked.dedup();
        picked
    }
}

/// The points of a curve, without bands: the origin where the curve has one, then one point
/// per picked block.
pub(crate) fn points(kind: CurveKind, cumulative: &[Sums], grid: &[usize]) -> Vec<CurvePoint> {
    let Some(total) = cumulative.last() else { return Vec::new() };
    let origin = CurvePoint { fraction: 0.0, value: 0.0, lower: None, upper: None };
    let rest = grid.iter().filter_map(|&block| {
        let above = &cumulative[block];
        let value = kind.value(above, total);
        let fraction = above.weight() / total.weight();
        (value.is_finite() && fraction > 0.0).then_some(CurvePoint { fraction, value, lower: None, upper: None })
    });
    kind.has_origin().then_some(origin).into_iter().chain(rest).collect()
}

/// The whole curve at every distinct score, without bands: for small data and tests.
pub fn full_curve(sorted: &Sorted<'_>, kind: CurveKind) -> Vec<CurvePoint> {
    let blocks = Blocks::new(sorted, usize::MAX);
    let cumulative = blocks.cumulative(sorted);
    let all: Vec<usize> = (0..cumulative.len()).collect();
    points(kind, &cumulative, &all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scored::Scored;

    #[test]
    fn blocks_never_split_equal_scores_and_end_at_the_last_row() {
        let score: Vec<f64> = (0..1000).map(|i| f64::from(i * 37 % 301)).collect();
        let treated: Vec<u8> = (0..1000).map(|i| (i % 2) as u8).collect();
        let outcome = vec![0.5; 1000];
        let sorted = Scored::new(&score, &treated, &outcome).sort().unwrap();
        let blocks = Blocks::new(&sorted, 20);
        assert!(blocks.ends.len() <= 20 && blocks.ends.len() >= 15);
        assert_eq!(*blocks.ends.last().unwrap(), 1000);
        assert!(blocks.ends.iter().all(|&end| sorted.starts().contains(&(end as u32))));
        let cumulative = blocks.cumulative(&sorted);
        assert_eq!(cumulative.last().unwrap().weight(), 1000.0);
        let grid = blocks.grid(&cumulative, 10);
        assert!(grid.len() <= 10 && *grid.last().unwrap() == blocks.ends.len() - 1);
    }
}
