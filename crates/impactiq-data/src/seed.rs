//! Seeds and counter hashes: the only source of randomness in the workspace.
//!
//! A [`Seed`] is a value, never a global. Membership (folds, subsamples, hold-out,
//! bootstrap halves) is a *counter hash* of (seed, key): it needs no state and no
//! order, so the same row lands in the same place on any number of threads and from
//! any file layout. Sequential draws (generators) come from [`Seed::rng`].
//! What must not live here: anything that reads a clock or the operating system.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

/// A 64-bit seed; children are derived by name or number and never collide by accident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(u64);

/// The purposes randomness is used for. One stream per purpose keeps, say, the folds
/// of a run independent of its subsamples although both come from one seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Stream {
    /// Which rows are held out for evaluation.
    Holdout = 1,
    /// Which fold a row belongs to.
    Folds = 2,
    /// Which rows a tree sees.
    Subsample = 3,
    /// Which half (splitting or estimation) a row of an honest tree belongs to.
    Honesty = 4,
    /// Which features a node considers.
    Features = 5,
    /// Half-sample bootstrap of a metric.
    Bootstrap = 6,
    /// Rows used to stop boosting early.
    Validation = 7,
    /// Draws of a known-truth generator.
    Synth = 8,
    /// Rows sampled for quantile sketches.
    Sketch = 9,
    /// Nuisance models.
    Nuisance = 10,
    /// Effect learners.
    Learner = 11,
    /// Random permutations (placebo, importance).
    Permutation = 12,
}

/// Mixes 64 bits so that every input bit moves every output bit (Stafford's variant 13
/// of the splitmix64 finaliser).
#[inline(always)]
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Seed {
    /// Wraps a user's number.
    pub const fn new(seed: u64) -> Self {
        Seed(seed)
    }

    /// The number behind the seed.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The seed of a purpose.
    pub const fn stream(self, stream: Stream) -> Seed {
        self.child(0x5EED_0000_0000_0000 | stream as u64)
    }

    /// The seed of the `index`-th thing (tree, fold, arm, replication) below this one.
    pub const fn child(self, index: u64) -> Seed {
        Seed(mix(mix(self.0.wrapping_add(0x9E37_79B9_7F4A_7C15)) ^ mix(index.wrapping_add(0xD1B5_4A32_D192_ED03))))
    }

    /// The counter hash of a key under this seed: 64 uniform bits.
    ///
    /// ```
    /// use impactiq_data::Seed;
    /// assert_eq!(Seed::new(7).hash(3), Seed::new(7).hash(3));
    /// assert_ne!(Seed::new(7).hash(3), Seed::new(8).hash(3));
    /// ```
    #[inline(always)]
    pub const fn hash(self, key: u64) -> u64 {
        mix(mix(key.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.0).wrapping_add(self.0))
    }

    /// A uniform number in [0, 1) for a key.
    #[inline(always)]
    pub const fn uniform(self, key: u64) -> f64 {
        (self.hash(key) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A uniform integer in `0..n` for a key (multiply-shift; bias below n / 2^64).
    #[inline(always)]
    pub const fn below(self, key: u64, n: u64) -> u64 {
        ((self.hash(key) as u128 * n as u128) >> 64) as u64
    }

    /// A sequential generator for draws that have a natural order.
    pub fn rng(self) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_and_streams_differ() {
        let seed = Seed::new(1);
        let mut seen: Vec<u64> = (0..1000).map(|i| seed.child(i).value()).collect();
        seen.push(seed.stream(Stream::Folds).value());
        seen.push(seed.stream(Stream::Holdout).value());
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1002);
    }

    #[test]
    fn counter_hash_is_uniform_over_consecutive_keys() {
        let seed = Seed::new(42).stream(Stream::Folds);
        let n = 100_000u64;
        let mut counts = [0u32; 10];
        for key in 0..n {
            counts[seed.below(key, 10) as usize] += 1;
        }
        // Chi-square with 9 degrees of freedom: 27.9 is its 99.9 % quantile.
        let expected = n as f64 / 10.0;
        let chi2: f64 = counts.iter().map(|&c| (c as f64 - expected).powi(2) / expected).sum();
        assert!(chi2 < 27.9, "chi-square {chi2}");
    }

    #[test]
    fn neighbouring_seeds_give_independent_membership() {
        let (a, b) = (Seed::new(1).stream(Stream::Subsample), Seed::new(2).stream(Stream::Subsample));
        let both = (0..100_000u64).filter(|&k| a.uniform(k) < 0.5 && b.uniform(k) < 0.5).count();
        assert!((both as f64 / 100_000.0 - 0.25).abs() < 0.006);
    }
}
