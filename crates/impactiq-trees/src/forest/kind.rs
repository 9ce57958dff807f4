//! What a forest answers, and how: from mean moments to values and their influence.
//!
//! Every kind keeps additive moments in its leaves, averages them over trees and solves one small
//! regression on the averages. A row's influence ρ on a value is linear in its moments, so the
//! solution comes with one coefficient per moment, and variances need nothing else of the kind.

use serde::{Deserialize, Serialize};

use crate::criterion::effect::{EffectStats, Regression};
use crate::criterion::instrument::Wald;
use crate::stats::Stats;

/// What a forest answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForestKind {
    /// Effects of K contrasts, 1 to 4, by regression.
    Effect {
        /// Contrasts K.
        n_contrasts: usize,
    },
    /// The effect of a treatment by way of an instrument.
    Instrument,
    /// Means.
    Mean {
        /// What was taken away from targets before, added to every answer.
        centre: f64,
    },
}

impl ForestKind {
    /// Moments a leaf holds, weight and outcome first: t (K), ty (K), tt' (lower triangle) of
    /// contrasts; t, z, zy, zt with an instrument.
    pub const fn n_moments(self) -> usize {
        match self {
            ForestKind::Effect { n_contrasts } => n_effect_moments(n_contrasts),
            ForestKind::Instrument => 6,
            ForestKind::Mean { .. } => 2,
        }
    }

    /// Values per row: K effects, or one.
    pub const fn n_values(self) -> usize {
        match self {
            ForestKind::Effect { n_contrasts } => n_contrasts,
            ForestKind::Instrument | ForestKind::Mean { .. } => 1,
        }
    }

    /// Whether there is such a forest; kinds may come from a file.
    pub(super) fn is_valid(self) -> bool {
        match self {
            ForestKind::Effect { n_contrasts } => (1..=4).contains(&n_contrasts),
            ForestKind::Instrument => true,
            ForestKind::Mean { centre } => centre.is_finite(),
        }
    }
}

/// Moments a leaf holds for K contrasts.
pub(super) const fn n_effect_moments(n_contrasts: usize) -> usize {
    2 + 2 * n_contrasts + n_contrasts * (n_contrasts + 1) / 2
}

/// V values, and what each of M moments contributes to a tree's influence on them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Solution<const M: usize, const V: usize> {
    pub values: [f64; V],
    pub influence: [[f64; M]; V],
}

/// Solves from mean moments; `None` where they cannot tell.
pub(super) type Solve<const M: usize, const V: usize> = fn(&[f64; M]) -> Option<Solution<M, V>>;

/// Effects by regression on K contrasts.
pub(super) fn effects<const K: usize, const M: usize, const L: usize>(mean: &[f64; M]) -> Option<Solution<M, K>> {
    const { assert!(n_effect_moments(K) == M) };
    let mean = EffectStats::<K, L>::from_moments(mean);
    let regression = Regression::new(&mean)?;
    // ρ is linear in the moments: its coefficients are its values at the unit vectors.
    let mut influence = [[0.0; M]; K];
    for moment in 0..M {
        let mut unit = [0.0; M];
        unit[moment] = 1.0;
        let rho = regression.pseudo_outcome(&EffectStats::<K, L>::from_moments(&unit));
        (0..K).for_each(|k| influence[k][moment] = rho[k] / mean.weight());
    }
    Some(Solution { values: regression.theta, influence })
}

/// The effect by way of an instrument.
pub(super) fn instrument(mean: &[f64; 6]) -> Option<Solution<6, 1>> {
    let Wald { theta, influence } = Wald::new(*mean)?;
    Some(Solution { values: [theta], influence: [influence] })
}

/// The mean, less what was taken away.
pub(super) fn mean(&[weight, outcome]: &[f64; 2]) -> Option<Solution<2, 1>> {
    let mean = outcome / weight;
    // ρ = (y − ȳ) w / w̄
    (weight > 0.0 && mean.is_finite())
        .then_some(Solution { values: [mean], influence: [[-mean / weight, 1.0 / weight]] })
}
