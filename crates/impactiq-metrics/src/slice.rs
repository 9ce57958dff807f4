//! Slices of the ranking: the top K %, a decile, an arm's own top; and what can be said of a
//! slice's effect.
//!
//! A cut that falls into a group of equal scores takes the same share of each of the group's
//! rows, so ties are averaged. Standard errors are analytic and hold the cut fixed.

use std::ops::Range;

use crate::estimate::Estimate;
use crate::robust::DenseClusters;
use crate::scored::Sorted;

/// Which rows a quantity of weight is counted over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Treated and control rows.
    Both,
    /// Treated rows.
    Treated,
    /// Control rows.
    Control,
}

/// A place between rows: so many whole groups, and a share of the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cut {
    pub(crate) group: usize,
    pub(crate) share: f64,
}

/// Positions with the share at which each range's rows count.
pub(crate) type Shares = Vec<(Range<usize>, f64)>;

impl Sorted<'_> {
    fn side_weight(&self, side: Side, places: Range<usize>) -> f64 {
        if self.rows().weights.is_none() && side == Side::Both {
            return places.len() as f64;
        }
        let sums = self.sums(places);
        match side {
            Side::Both => sums.weight(),
            Side::Treated => sums.treated,
            Side::Control => sums.control,
        }
    }

    /// Finds the cuts after ascending fractions (0 to 1) of a side's weight.
    pub(crate) fn cuts(&self, fractions: &[f64], side: Side) -> Vec<Cut> {
        let total = match side {
            Side::Both => self.total().weight(),
            Side::Treated => self.total().treated,
            Side::Control => self.total().control,
        };
        let end = Cut { group: self.n_groups(), share: 0.0 };
        let mut cuts = Vec::with_capacity(fractions.len());
        let (mut group, mut before) = (0, 0.0);
        let weight_of =
            |group: usize| self.side_weight(side, self.starts()[group] as usize..self.starts()[group + 1] as usize);
        let mut here = weight_of(0);
        for &fraction in fractions {
            let target = fraction * total;
            // A hair of slack: 0.3 · 10 must not open a fourth row.
            let slack = 1e-9 * total.max(1e-300);
            while group < self.n_groups() && before + here <= target + slack.min(1e-6 * here) {
                before += here;
                group += 1;
                here = if group < self.n_groups() { weight_of(group) } else { 0.0 };
            }
            let share = if here > 0.0 { ((target - before) / here).clamp(0.0, 1.0) } else { 0.0 };
            cuts.push(if group < self.n_groups() { Cut { group, share } } else { end });
        }
        cuts
    }

    /// The positions between two cuts with their shares.
    pub(crate) fn between(&self, from: Cut, to: Cut) -> Shares {
        let places = |group: usize| self.starts()[group] as usize..self.starts()[group + 1] as usize;
        let mut shares = Shares::new();
        if from.group == to.group {
            if to.share > from.share {
                shares.push((places(from.group), to.share - from.share));
            }
            return shares;
        }
        let mut first = from.group;
        if from.share > 0.0 {
            shares.push((places(from.group), 1.0 - from.share));
            first += 1;
        }
        if first < to.group {
            shares.push((self.starts()[first] as usize..self.starts()[to.group] as usize, 1.0));
        }
        if to.share > 0.0 {
            shares.push((places(to.group), to.share));
        }
        shares
    }
}

/// A mean over a slice: value, weight, rows, and sums of squares for its variance.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SliceMean {
    pub(crate) mean: f64,
    pub(crate) weight: f64,
    pub(crate) n: u64,
    squares: f64,
}

impl SliceMean {
    /// Means `value` over the positions for which it is something.
    pub(crate) fn of(sorted: &Sorted<'_>, shares: &Shares, value: impl Fn(usize) -> Option<f64>) -> Self {
        let mut slice = SliceMean::default();
        let mut sum = 0.0;
        let walk = |visit: &mut dyn FnMut(f64, f64)| {
            for (places, share) in shares {
                for place in places.clone() {
                    let weight = share * sorted.weight(place);
                    if weight > 0.0
                        && let Some(value) = value(place)
                    {
                        visit(weight, value);
                    }
                }
            }
        };
        walk(&mut |weight, value| {
            slice.n += 1;
            slice.weight += weight;
            sum += weight * value;
        });
        slice.mean = sum / slice.weight;
        let mean = slice.mean;
        let mut squares = 0.0;
        walk(&mut |weight, value| squares += (weight * (value - mean)).powi(2));
        slice.squares = squares;
        slice
    }

    /// Variance of the mean, rows drawn one by one; NaN for a single row.
    pub(crate) fn variance(&self) -> f64 {
        let n = self.n as f64;
        self.squares / (self.weight * self.weight) * n / (n - 1.0)
    }
}

/// Clusters of a ranking, dense, found once.
pub(crate) fn dense_clusters(sorted: &Sorted<'_>) -> Option<DenseClusters> {
    sorted.rows().clusters.map(DenseClusters::new)
}

/// Difference in means between the treated rows of one slice and the control rows of another
/// (usually the same).
pub(crate) fn difference(
    sorted: &Sorted<'_>,
    treated: &Shares,
    control: &Shares,
    dense: Option<&DenseClusters>,
) -> (Estimate, SliceMean, SliceMean) {
    let value = |wanted: bool| move |place: usize| (sorted.treated(place) == wanted).then(|| sorted.outcome(place));
    let t = SliceMean::of(sorted, treated, value(true));
    let c = SliceMean::of(sorted, control, value(false));
    if t.n == 0 || c.n == 0 {
        let reason = if t.n == 0 { "no treated rows in this slice" } else { "no control rows in this slice" };
        return (Estimate::undefined(reason), t, c);
    }
    let (gap, n) = (t.mean - c.mean, t.n + c.n);
    let Some(dense) = dense else {
        return (Estimate::new(gap, (t.variance() + c.variance()).sqrt(), n), t, c);
    };
    let mut parts = ClusterParts::new(dense);
    parts.add(sorted, treated, |place| sorted.treated(place).then(|| (sorted.outcome(place) - t.mean) / t.weight));
    parts.add(sorted, control, |place| (!sorted.treated(place)).then(|| (c.mean - sorted.outcome(place)) / c.weight));
    (parts.estimate(gap, n), t, c)
}

/// Mean of the doubly robust scores in a slice.
pub(crate) fn gamma_mean(sorted: &Sorted<'_>, shares: &Shares, dense: Option<&DenseClusters>) -> Estimate {
    if !sorted.has_gamma() {
        return Estimate::undefined(NO_GAMMA);
    }
    let slice = SliceMean::of(sorted, shares, |place| Some(sorted.gamma(place)));
    if slice.n == 0 {
        return Estimate::undefined("no rows in this slice");
    }
    let Some(dense) = dense else { return Estimate::new(slice.mean, slice.variance().sqrt(), slice.n) };
    let mut parts = ClusterParts::new(dense);
    parts.add(sorted, shares, |place| Some((sorted.gamma(place) - slice.mean) / slice.weight));
    parts.estimate(slice.mean, slice.n)
}

/// The reason given where a metric needs doubly robust scores and there are none.
pub(crate) const NO_GAMMA: &str = "no doubly robust scores were given";

/// Influence summed by cluster.
pub(crate) struct ClusterParts<'a> {
    dense: &'a DenseClusters,
    sums: Vec<f64>,
    seen: Vec<bool>,
}

impl<'a> ClusterParts<'a> {
    pub(crate) fn new(dense: &'a DenseClusters) -> Self {
        ClusterParts { dense, sums: vec![0.0; dense.n], seen: vec![false; dense.n] }
    }

    /// Adds weight · share · `influence` of the positions for which it is something.
    pub(crate) fn add(&mut self, sorted: &Sorted<'_>, shares: &Shares, influence: impl Fn(usize) -> Option<f64>) {
        for (places, share) in shares {
            for place in places.clone() {
                let weight = share * sorted.weight(place);
                if weight > 0.0
                    && let Some(influence) = influence(place)
                {
                    let cluster = self.dense.of_row[sorted.order()[place] as usize] as usize;
                    self.sums[cluster] += weight * influence;
                    self.seen[cluster] = true;
                }
            }
        }
    }

    /// √(G/(G−1) · Σ sums²), and G − 1 degrees of freedom.
    pub(crate) fn estimate(&self, value: f64, n: u64) -> Estimate {
        let many = self.seen.iter().filter(|s| **s).count() as f64;
        let squares: f64 = self.sums.iter().map(|s| s * s).sum();
        Estimate::with_t(value, (squares * many / (many - 1.0)).sqrt(), many - 1.0, n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scored::Scored;

    #[test]
    fn a_cut_inside_a_tied_group_takes_a_share_of_each_of_its_rows() {
        let score = [5.0, 4.0, 4.0, 4.0, 4.0, 1.0];
        let treated = [1, 1, 0, 1, 0, 0];
        let outcome = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let sorted = Scored::new(&score, &treated, &outcome).sort().unwrap();
        let cut = sorted.cuts(&[0.5], Side::Both)[0];
        assert_eq!((cut.group, cut.share), (1, 0.5));
        let top = sorted.between(Cut { group: 0, share: 0.0 }, cut);
        let (gap, t, c) = difference(&sorted, &top, &top, None);
        assert!((t.mean - (1.0 + 0.5 * 6.0) / 2.0).abs() < 1e-12 && (c.mean - 4.0).abs() < 1e-12);
        assert!((gap.value().unwrap() - (2.0 - 4.0)).abs() < 1e-12);
    }

    #[test]
    fn slices_partition_the_rows_whatever_the_ties() {
        let score: Vec<f64> = (0..103).map(|i| f64::from(i * 7 % 11)).collect();
        let treated: Vec<u8> = (0..103).map(|i| (i % 2) as u8).collect();
        let outcome = vec![1.0; 103];
        let sorted = Scored::new(&score, &treated, &outcome).sort().unwrap();
        let fractions: Vec<f64> = (0..=10).map(|i| f64::from(i) / 10.0).collect();
        let cuts = sorted.cuts(&fractions, Side::Both);
        let weights: Vec<f64> = cuts
            .windows(2)
            .map(|c| sorted.between(c[0], c[1]).iter().map(|(places, share)| places.len() as f64 * share).sum())
            .collect();
        assert!(weights.iter().all(|w| (w - 10.3).abs() < 1e-9), "{weights:?}");
    }

    #[test]
    fn whole_numbers_of_rows_are_not_split() {
        let score: Vec<f64> = (0..10).map(f64::from).collect();
        let sorted = Scored::new(&score, &[1; 10], &[0.0; 10]).sort().unwrap();
        for k in 1..10 {
            let cut = sorted.cuts(&[f64::from(k) / 10.0], Side::Both)[0];
            assert_eq!(cut.group, k as usize);
            assert!(cut.share < 1e-9, "{cut:?}");
        }
    }
}
