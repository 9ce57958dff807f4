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
}
