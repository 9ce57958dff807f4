//! Which rows and features a tree sees: computed from counter hashes, never stored.
//!
//! Membership depends on the seed and on row numbers, so it is the same from any file
//! layout, in any row order and on any number of threads, and can be computed again for rows
//! that are not in memory.

use impactiq_data::{Seed, Stream};

/// Positions of the rows a tree sees: each with probability `fraction`, by its row id.
pub fn rows(row_ids: &[u64], fraction: f64, seed: Seed) -> Vec<u32> {
    members(row_ids, fraction, seed.stream(Stream::Subsample)).0
}

/// Positions of the rows to train on and of those that decide when to stop.
pub fn validation(row_ids: &[u64], fraction: f64, seed: Seed) -> (Vec<u32>, Vec<u32>) {
    let (validation, training) = members(row_ids, fraction, seed.stream(Stream::Validation));
    (training, validation)
}

/// Positions of the two halves of an honest tree: rows that choose splits, rows that
/// fill leaves.
pub fn honest_halves(row_ids: &[u64], positions: &[u32], seed: Seed) -> (Vec<u32>, Vec<u32>) {
    let seed = seed.stream(Stream::Honesty);
    positions.iter().partition(|&&position| seed.hash(row_ids[position as usize]) >> 63 == 0)
}

fn members(row_ids: &[u64], fraction: f64, seed: Seed) -> (Vec<u32>, Vec<u32>) {
    (0..row_ids.len() as u32).partition(|&position| seed.uniform(row_ids[position as usize]) < fraction)
}

/// A share of the features, at least one, ascending.
pub fn features(n_features: usize, fraction: f64, seed: Seed) -> Vec<u32> {
    let all = 0..n_features as u32;
    let k = ((n_features as f64 * fraction).round() as usize).clamp(1, n_features.max(1));
    if k == n_features {
        return all.collect();
    }
    let seed = seed.stream(Stream::Features);
    let mut keyed: Vec<(u64, u32)> = all.map(|feature| (seed.hash(u64::from(feature)), feature)).collect();
    keyed.sort_unstable();
    let mut drawn: Vec<u32> = keyed.into_iter().take(k).map(|(_, feature)| feature).collect();
    drawn.sort_unstable();
    drawn
}

/// How the trees of a forest draw their rows: in little bags.
///
/// Trees of a bag draw from the same half of the rows (Athey, Tibshirani and Wager 2019,
/// section 4), so what bags disagree about measures the sampling error. Membership is by
/// key: the row's id, or its cluster, which then is drawn whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bags {
    /// Trees per bag; 1: every tree draws for itself.
    pub trees_per_bag: usize,
    /// Share of the rows a tree sees; at most ½ in bags of several trees.
    pub fraction: f64,
    /// Share of them that chooses splits; 1 without honesty.
    pub split_fraction: f64,
}

impl Bags {
    /// The seed of a bag.
    pub fn seed(forest: Seed, bag: u64) -> Seed {
        forest.stream(Stream::Subsample).child(bag)
    }

    /// Share of the rows a bag draws from.
    pub fn bag_fraction(&self) -> f64 {
        if self.trees_per_bag > 1 { 0.5 } else { self.fraction }
    }

    /// Whether a bag draws from the rows of this key. If not, its trees have never seen them.
    #[inline(always)]
    pub fn holds(&self, bag: Seed, key: u64) -> bool {
        bag.uniform(key) < self.bag_fraction()
    }

    /// Positions (ascending, out of `bag_rows`) of the rows that choose the splits of the
    /// `tree`-th tree of a bag, and of those that fill its leaves.
    pub fn tree_rows(&self, bag: Seed, tree: u64, bag_rows: &[u32], key: impl Fn(u32) -> u64) -> (Vec<u32>, Vec<u32>) {
        let seed = bag.child(tree);
        let (draw, half) = (seed.stream(Stream::Subsample), seed.stream(Stream::Honesty));
        let fraction = self.fraction / self.bag_fraction();
        let drawn = |key: u64| fraction >= 1.0 || draw.uniform(key) < fraction;
        let keyed = bag_rows.iter().map(|&position| (position, key(position))).filter(|&(_, key)| drawn(key));
        let (mut split, mut estimate) = (Vec::with_capacity(bag_rows.len()), Vec::new());
        for (position, key) in keyed {
            let splits = self.split_fraction >= 1.0 || half.uniform(key) < self.split_fraction;
            if splits { &mut split } else { &mut estimate }.push(position);
        }
        (split, estimate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_follows_the_row_id_not_the_position() {
        let ids: Vec<u64> = (0..10_000).collect();
        let back: Vec<u64> = ids.iter().rev().copied().collect();
        let of = |ids: &[u64]| {
            let mut members: Vec<u64> =
                rows(ids, 0.3, Seed::new(4)).iter().map(|&position| ids[position as usize]).collect();
            members.sort_unstable();
            members
        };
        assert_eq!(of(&ids), of(&back));
        assert!((of(&ids).len() as f64 / 10_000.0 - 0.3).abs() < 0.02);
        assert_ne!(of(&ids), rows(&ids, 0.3, Seed::new(5)).iter().map(|&p| u64::from(p)).collect::<Vec<_>>());
    }

    #[test]
    fn halves_are_disjoint_and_complete() {
        let ids: Vec<u64> = (100..1100).collect();
        let chosen = rows(&ids, 0.5, Seed::new(1));
        let (split, estimate) = honest_halves(&ids, &chosen, Seed::new(1));
        let mut both: Vec<u32> = split.iter().chain(&estimate).copied().collect();
        both.sort_unstable();
        assert_eq!(both, chosen);
        assert!(split.len().abs_diff(estimate.len()) < 100);
    }

    #[test]
    fn feature_draws_keep_their_share_and_at_least_one() {
        assert_eq!(features(10, 1.0, Seed::new(1)), (0..10).collect::<Vec<u32>>());
        assert_eq!(features(10, 0.01, Seed::new(1)).len(), 1);
        let drawn = features(10, 0.5, Seed::new(1));
        assert!(drawn.len() == 5 && drawn.is_sorted());
    }

    #[test]
    fn bags_keep_clusters_whole_and_trees_within_their_bag() {
        let bags = Bags { trees_per_bag: 2, fraction: 0.4, split_fraction: 0.5 };
        let bag = Bags::seed(Seed::new(3), 7);
        let cluster = |position: u32| u64::from(position / 10);
        let bag_rows: Vec<u32> = (0..5000).filter(|&row| bags.holds(bag, cluster(row))).collect();
        assert!((bag_rows.len() as f64 / 5000.0 - 0.5).abs() < 0.08);
        let (split, estimate) = bags.tree_rows(bag, 1, &bag_rows, cluster);
        assert!(((split.len() + estimate.len()) as f64 / 5000.0 - 0.4).abs() < 0.08);
        let of = |rows: &[u32]| {
            let mut clusters: Vec<u64> = rows.iter().map(|&row| cluster(row)).collect();
            clusters.dedup();
            assert_eq!(clusters.len() * 10, rows.len());
            clusters
        };
        let (split, estimate) = (of(&split), of(&estimate));
        assert!(split.iter().all(|cluster| estimate.binary_search(cluster).is_err()));
    }
}
