//! Treatment effects: the gradient criterion of generalized random forests.
//!
//! Athey, Tibshirani and Wager (2019, section 2.3): at a node, regress y on t with an intercept
//! (here: t a vector of K contrasts), replace each row by the pseudo-outcome
//! ρ = A⁻¹ (t − t̄)(y − ȳ − (t − t̄)'θ) with A the variance of t, and cut where the sums of ρ differ
//! most: Σρ_L² / w_L + Σρ_R² / w_R. Because ρ is linear in the moments 1, y, t, ty, tt', its
//! sum over any set of rows follows from the sums of the moments: no pass over the rows per node.
//! The multi-arm form adds the squares of the K components, as grf does.
//!
//! Centre y and t (globally, by out-of-fold nuisances) before: moments of numbers around 0 do not cancel.
//! Cells are f32 (exact counts, sums of at most 2^15 rows), summaries f64; leaf
//! estimates belong to the caller, who sums the original numbers of a leaf's rows in f64.

use std::ops::{AddAssign, SubAssign};

use crate::criterion::Criterion;
use crate::stats::Stats;

/// Where the lanes of a moment vector stand; K contrasts.
const ROWS: usize = 0;
const WEIGHT: usize = 1;
const OUTCOME: usize = 2;
/// Then K lanes each: rows of the arm, Σ t, Σ ty; then Σ tt' by lower triangle.
const ARMS: usize = 3;

/// Sums of moments in f64; `L` lanes hold K contrasts, see [`lanes`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EffectStats<const K: usize, const L: usize>([f64; L]);

/// One row's moments, or sums of at most 2^15 rows, in f32 lanes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(16))]
pub struct EffectCell<const K: usize, const L: usize>([f32; L]);

/// One contrast: a binary or continuous treatment.
pub type OneContrast = Effect<1, 8>;
/// Two contrasts: three arms.
pub type TwoContrasts = Effect<2, 12>;
/// Three contrasts: four arms.
pub type ThreeContrasts = Effect<3, 20>;
/// Four contrasts: five arms.
pub type FourContrasts = Effect<4, 28>;

/// Lanes that K contrasts need.
pub const fn lanes(k: usize) -> usize {
    3 + 3 * k + k * (k + 1) / 2
}

/// Where t_k t_l stands, l ≤ k.
const fn product<const K: usize>(k: usize, l: usize) -> usize {
    ARMS + 3 * K + k * (k + 1) / 2 + l
}

impl<const K: usize, const L: usize> EffectCell<K, L> {
    /// A row: its weight, centred outcome, centred contrasts, and its arm (0: control;
    /// 1 to K; anything else for a dose, which belongs to no arm).
    pub fn row(weight: f64, outcome: f64, contrasts: &[f64; K], arm: u8) -> Self {
        const { assert!(lanes(K) <= L, "too few lanes") };
        let mut lanes = [0f32; L];
        lanes[ROWS] = 1.0;
        lanes[WEIGHT] = weight as f32;
        lanes[OUTCOME] = (weight * outcome) as f32;
        for k in 0..K {
            lanes[ARMS + k] = if usize::from(arm) == k + 1 { 1.0 } else { 0.0 };
            lanes[ARMS + K + k] = (weight * contrasts[k]) as f32;
            lanes[ARMS + 2 * K + k] = (weight * contrasts[k] * outcome) as f32;
            for l in 0..=k {
                lanes[product::<K>(k, l)] = (weight * contrasts[k] * contrasts[l]) as f32;
            }
        }
        EffectCell(lanes)
    }
}

impl<const K: usize, const L: usize> EffectStats<K, L> {
    /// Adds a row in full precision; arguments as in [`EffectCell::row`].
    pub fn add(&mut self, weight: f64, outcome: f64, contrasts: &[f64; K], arm: u8) {
        let lanes = &mut self.0;
        lanes[ROWS] += 1.0;
        lanes[WEIGHT] += weight;
        lanes[OUTCOME] += weight * outcome;
        for k in 0..K {
            lanes[ARMS + k] += if usize::from(arm) == k + 1 { 1.0 } else { 0.0 };
            lanes[ARMS + K + k] += weight * contrasts[k];
            lanes[ARMS + 2 * K + k] += weight * contrasts[k] * outcome;
            for l in 0..=k {
                lanes[product::<K>(k, l)] += weight * contrasts[k] * contrasts[l];
            }
        }
    }

    /// Sums that were kept as moments: weight, y, t (K), ty (K), tt' (lower triangle).
    ///
    /// # Panics
    /// When there are fewer numbers than [`EffectStats::outcome`] and its siblings read.
    pub fn from_moments(moments: &[f64]) -> Self {
        let mut lanes = [0.0; L];
        lanes[ROWS] = 1.0;
        lanes[WEIGHT..ARMS].copy_from_slice(&moments[..2]);
        lanes[ARMS + K..ARMS + 3 * K].copy_from_slice(&moments[2..2 + 2 * K]);
        let n_products = K * (K + 1) / 2;
        lanes[ARMS + 3 * K..][..n_products].copy_from_slice(&moments[2 + 2 * K..][..n_products]);
        EffectStats(lanes)
    }

    /// Σ weight · outcome.
    pub fn outcome(&self) -> f64 {
        self.0[OUTCOME]
    }

    /// Rows of arm k + 1.
    pub fn arm_rows(&self, k: usize) -> f64 {
        self.0[ARMS + k]
    }

    /// Σ weight · t_k.
    pub fn contrast(&self, k: usize) -> f64 {
        self.0[ARMS + K + k]
    }

    /// Σ weight · t_k · outcome.
    pub fn contrast_outcome(&self, k: usize) -> f64 {
        self.0[ARMS + 2 * K + k]
    }

    /// Σ weight · t_k · t_l.
    pub fn contrast_product(&self, k: usize, l: usize) -> f64 {
        self.0[product::<K>(k.max(l), k.min(l))]
    }

    /// Rows of the smallest arm, the control included.
    fn smallest_arm(&self) -> f64 {
        let treated: f64 = (0..K).map(|k| self.arm_rows(k)).sum();
        (0..K).map(|k| self.arm_rows(k)).fold(self.0[ROWS] - treated, f64::min)
    }

    /// Σ weight · (t_k − t̄_k)² around the rows' own mean.
    fn spread(&self, k: usize) -> f64 {
        self.contrast_product(k, k) - self.contrast(k) * self.contrast(k) / self.0[WEIGHT]
    }

    /// The effects θ of the regression of y on t with an intercept: K numbers, `None` when
    /// t does not vary enough to tell.
    pub fn effect(&self) -> Option<[f64; K]> {
        Some(Regression::new(self)?.theta)
    }
}

impl<const K: usize, const L: usize> AddAssign for EffectStats<K, L> {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        for (lane, other) in self.0.iter_mut().zip(other.0) {
            *lane += other;
        }
    }
}

impl<const K: usize, const L: usize> SubAssign for EffectStats<K, L> {
    #[inline(always)]
    fn sub_assign(&mut self, other: Self) {
        for (lane, other) in self.0.iter_mut().zip(other.0) {
            *lane -= other;
        }
    }
}

impl<const K: usize, const L: usize> Stats for EffectStats<K, L> {
    const ZERO: Self = EffectStats([0.0; L]);

    #[inline(always)]
    fn n_rows(&self) -> u32 {
        self.0[ROWS] as u32
    }

    #[inline(always)]
    fn weight(&self) -> f64 {
        self.0[WEIGHT]
    }
}

/// The regression of y on t with an intercept, over the rows of a node.
#[derive(Clone, Copy, Debug)]
pub struct Regression<const K: usize> {
    weight: f64,
    mean_contrast: [f64; K],
    /// The effects.
    pub theta: [f64; K],
    intercept: f64,
    /// W A⁻¹, A = Σ weight (t − t̄)(t − t̄)'.
    inverse: [[f64; K]; K],
}

impl<const K: usize> Regression<K> {
    /// The regression over the rows summed in `total`; `None` when t does not vary enough.
    pub fn new<const L: usize>(total: &EffectStats<K, L>) -> Option<Self> {
        let weight = total.weight();
        if weight.is_nan() || weight <= 0.0 {
            return None;
        }
        let mean_contrast: [f64; K] = std::array::from_fn(|k| total.contrast(k) / weight);
        let mean_outcome = total.outcome() / weight;
        let mut spread = [[0.0; K]; K];
        for k in 0..K {
            for l in 0..K {
                spread[k][l] = total.contrast_product(k, l) - weight * mean_contrast[k] * mean_contrast[l];
            }
            // Contrasts that hardly vary here against their size: nothing to learn.
            if spread[k][k].is_nan() || spread[k][k] <= 1e-10 * total.contrast_product(k, k) {
                return None;
            }
        }
        let inverse = invert(spread)?;
        let covariance: [f64; K] =
            std::array::from_fn(|k| total.contrast_outcome(k) - weight * mean_contrast[k] * mean_outcome);
        let theta = times(&inverse, &covariance);
        let intercept = mean_outcome - dot(&mean_contrast, &theta);
        let inverse = inverse.map(|row| row.map(|value| value * weight));
        Some(Regression { weight, mean_contrast, theta, intercept, inverse })
    }

    /// Σ ρ over some rows: the node's own, or others whose influence is asked for.
    #[inline(always)]
    pub fn pseudo_outcome<const L: usize>(&self, part: &EffectStats<K, L>) -> [f64; K] {
        let mut residual = part.outcome() - self.intercept * part.weight();
        for k in 0..K {
            residual -= part.contrast(k) * self.theta[k];
        }
        let score: [f64; K] = std::array::from_fn(|k| {
            let mut score = part.contrast_outcome(k) - self.intercept * part.contrast(k);
            for l in 0..K {
                score -= part.contrast_product(k, l) * self.theta[l];
            }
            score - self.mean_contrast[k] * residual
        });
        times(&self.inverse, &score)
    }
}

fn dot<const K: usize>(a: &[f64; K], b: &[f64; K]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn times<const K: usize>(matrix: &[[f64; K]; K], vector: &[f64; K]) -> [f64; K] {
    std::array::from_fn(|k| dot(&matrix[k], vector))
}

/// The inverse of a symmetric positive definite matrix by Gauss-Jordan; `None` when it is
/// singular to twelve digits.
fn invert<const K: usize>(mut a: [[f64; K]; K]) -> Option<[[f64; K]; K]> {
    let mut inverse = [[0.0; K]; K];
    let scale: [f64; K] = std::array::from_fn(|k| a[k][k]);
    (0..K).for_each(|k| inverse[k][k] = 1.0);
    for pivot in 0..K {
        let value = a[pivot][pivot];
        if value.is_nan() || value <= 1e-12 * scale[pivot] {
            return None;
        }
        for column in 0..K {
            a[pivot][column] /= value;
            inverse[pivot][column] /= value;
        }
        for row in (0..K).filter(|&row| row != pivot) {
            let factor = a[row][pivot];
            for column in 0..K {
                a[row][column] -= factor * a[pivot][column];
                inverse[row][column] -= factor * inverse[pivot][column];
            }
        }
    }
    Some(inverse)
}

/// Constants of a node.
#[derive(Clone, Copy, Debug)]
pub struct EffectNode<const K: usize> {
    regression: Regression<K>,
    min_spread: [f64; K],
}

/// The gradient criterion with its balance rules, for K contrasts in L lanes.
///
/// All rules follow from additive sums: rows are counted per arm, and a child's treatment
/// variation is compared with its parent's (grf counts rows on either side of the node's
/// own mean treatment, which cannot be added up; for arms the two agree).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effect<const K: usize, const L: usize> {
    /// Rows of every arm (control included) that each child must keep; 0 for doses.
    pub min_arm_rows: u32,
    /// Share of the node's treatment variation, per contrast, that each child must keep.
    pub alpha: f64,
    /// Price of uneven splits: this times Σ 1 / variation of the children.
    pub imbalance_penalty: f64,
}

impl<const K: usize, const L: usize> Effect<K, L> {
    /// Whether a child keeps enough of every arm and of the treatment's variation.
    #[inline(always)]
    fn admits(&self, node: &EffectNode<K>, child: &EffectStats<K, L>) -> bool {
        if self.min_arm_rows > 0 && child.smallest_arm() < f64::from(self.min_arm_rows) {
            return false;
        }
        // Σ w (t − t̄)² > limit, times w: divisions cost more than the rest of a candidate.
        let weight = child.weight();
        (0..K).all(|k| {
            let (sum, product) = (child.contrast(k), child.contrast_product(k, k));
            product * weight - sum * sum > node.min_spread[k] * weight
        })
    }

    /// The smallest variation of a contrast in a child.
    fn variation(child: &EffectStats<K, L>) -> f64 {
        (0..K).map(|k| child.spread(k)).fold(f64::INFINITY, f64::min)
    }
}

impl<const K: usize, const L: usize> Criterion for Effect<K, L> {
    type Row = EffectCell<K, L>;
    type Cell = EffectCell<K, L>;
    type Stats = EffectStats<K, L>;
    type Node = EffectNode<K>;
    const EMPTY: EffectCell<K, L> = EffectCell([0.0; L]);

    #[inline(always)]
    fn observe(row: &Self::Row, into: &mut Self::Cell) {
        for (lane, row) in into.0.iter_mut().zip(row.0) {
            *lane += row;
        }
    }

    #[inline(always)]
    fn is_empty(cell: &Self::Cell) -> bool {
        cell.0[ROWS] == 0.0
    }

    #[inline(always)]
    fn flush(&self, cell: &Self::Cell, into: &mut Self::Stats) {
        for (lane, cell) in into.0.iter_mut().zip(cell.0) {
            *lane += f64::from(cell);
        }
    }

    fn node(&self, total: &Self::Stats) -> Option<EffectNode<K>> {
        if total.smallest_arm() < 2.0 * f64::from(self.min_arm_rows) {
            return None;
        }
        let regression = Regression::new(total)?;
        let min_spread = std::array::from_fn(|k| total.spread(k) * self.alpha.max(1e-10));
        Some(EffectNode { regression, min_spread })
    }

    #[inline(always)]
    fn gain(&self, node: &EffectNode<K>, left: &Self::Stats, right: &Self::Stats) -> Option<f64> {
        if !(self.admits(node, left) && self.admits(node, right)) {
            return None;
        }
        // The node's own pseudo-outcomes sum to 0, so the right side's sum is minus the left's.
        let rho = node.regression.pseudo_outcome(left);
        let (on_left, on_right) = (left.weight(), right.weight());
        let mut gain = dot(&rho, &rho) * (on_left + on_right) / (on_left * on_right);
        if self.imbalance_penalty > 0.0 {
            gain -= self.imbalance_penalty * (1.0 / Self::variation(left) + 1.0 / Self::variation(right));
        }
        (gain > 0.0).then_some(gain)
    }

    /// Categories by mean pseudo-outcome; with several contrasts by its average over them.
    fn order(&self, node: &EffectNode<K>, category: &Self::Stats) -> f64 {
        let rho = node.regression.pseudo_outcome(category);
        let weight = category.weight() + 1e-3 * node.regression.weight;
        rho.iter().sum::<f64>() / (K as f64 * weight)
    }
}

#[cfg(test)]
mod tests;
