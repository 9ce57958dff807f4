//! Sequential draws of one block: uniforms, normals and coin tosses.
//!
//! Every row draws all it needs before the next row starts, so a shorter block is a
//! prefix of a longer one. What must not live here: anything about a particular design.

use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::Rng;

use crate::seed::Seed;

/// A stream of draws.
pub(super) struct Draw {
    rng: Xoshiro256PlusPlus,
}

impl Draw {
    /// The stream of a seed.
    pub(super) fn new(seed: Seed) -> Self {
        Draw { rng: seed.rng() }
    }

    /// Uniform in [0, 1), on a grid of 2^-53.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Standard normal.
    pub(super) fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.rng)
    }

    /// True with probability `p`.
    pub(super) fn coin(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// A uniform integer in `0..n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        // A double has 53 bits: no `n` that memory allows is noticeably favoured.
        ((self.uniform() * n as f64) as usize).min(n - 1)
    }
}

/// The logistic function.
pub(super) fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// log(1 + exp(z)) without overflow.
pub(super) fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// The nearest 32-bit float, as files carry it. Truth is computed from this value, so it
/// is exactly a function of what a reader of the file sees.
pub(super) fn single(value: f64) -> f64 {
    f64::from(value as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softplus_neither_overflows_nor_loses_small_values() {
        assert_eq!(softplus(1000.0), 1000.0);
        assert!((softplus(0.0) - 2f64.ln()).abs() < 1e-15);
        assert!((softplus(-40.0) / (-40f64).exp() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn draws_have_the_moments_of_their_distributions() {
        let mut draw = Draw::new(Seed::new(5));
        let n = 200_000;
        let normals: Vec<f64> = (0..n).map(|_| draw.normal()).collect();
        let mean = normals.iter().sum::<f64>() / n as f64;
        let square = normals.iter().map(|z| z * z).sum::<f64>() / n as f64;
        let fourth = normals.iter().map(|z| z.powi(4)).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.01 && (square - 1.0).abs() < 0.015 && (fourth - 3.0).abs() < 0.1);
        let mut counts = [0u32; 7];
        (0..70_000).for_each(|_| counts[draw.below(7)] += 1);
        assert!(counts.iter().all(|c| (9_600..10_400).contains(c)), "{counts:?}");
    }
}
