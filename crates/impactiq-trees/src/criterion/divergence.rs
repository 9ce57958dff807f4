//! Uplift trees by divergence of outcome distributions between arms, from exact counts.
//!
//! Rzepakowski and Jaroszewicz (2012): a split is good when the outcome's distribution
//! under treatment differs from the control's more within the children than within the
//! parent. Binary outcomes; sums are counts per arm, packed four to a word in the kernel and
//! hence exact in any order. Natural logarithms. Weights do not exist here: a row counts once.

use std::ops::{AddAssign, SubAssign};

use serde::{Deserialize, Serialize};

use crate::criterion::Criterion;
use crate::stats::Stats;

/// Probabilities are kept this far from 0 and 1, where logarithms and ratios end.
const EDGE: f64 = 1e-6;

/// How different two outcome distributions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DivergenceKind {
    /// Σ p log(p / q).
    KullbackLeibler,
    /// Σ (p − q)².
    Euclidean,
    /// Σ (p − q)² / q.
    ChiSquare,
}

impl DivergenceKind {
    /// The divergence of a yes/no distribution with P(yes) = p from one with P(yes) = q.
    pub fn of(self, p: f64, q: f64) -> f64 {
        let (p, q) = (p.clamp(EDGE, 1.0 - EDGE), q.clamp(EDGE, 1.0 - EDGE));
        match self {
            DivergenceKind::KullbackLeibler => p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln(),
            DivergenceKind::Euclidean => 2.0 * (p - q) * (p - q),
            DivergenceKind::ChiSquare => (p - q) * (p - q) * (1.0 / q + 1.0 / (1.0 - q)),
        }
    }

    /// The impurity of a yes/no distribution that goes with the divergence when a split's
    /// gain is normalised: entropy, or Gini.
    fn impurity(self, p: f64) -> f64 {
        let p = p.clamp(EDGE, 1.0 - EDGE);
        match self {
            DivergenceKind::KullbackLeibler => -p * p.ln() - (1.0 - p) * (1.0 - p).ln(),
            DivergenceKind::Euclidean | DivergenceKind::ChiSquare => 2.0 * p * (1.0 - p),
        }
    }
}

/// Rows and events of one arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArmCounts {
    /// Rows.
    pub rows: u32,
    /// Rows whose outcome is 1.
    pub events: u32,
}

/// Counts per arm; arm 0 is the control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts<const A: usize>(pub [ArmCounts; A]);

impl<const A: usize> AddAssign for Counts<A> {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        for (arm, other) in self.0.iter_mut().zip(other.0) {
            arm.rows += other.rows;
            arm.events += other.events;
        }
    }
}

impl<const A: usize> SubAssign for Counts<A> {
    #[inline(always)]
    fn sub_assign(&mut self, other: Self) {
        for (arm, other) in self.0.iter_mut().zip(other.0) {
            arm.rows -= other.rows;
            arm.events -= other.events;
        }
    }
}

impl<const A: usize> Stats for Counts<A> {
    const ZERO: Self = Counts([ArmCounts { rows: 0, events: 0 }; A]);

    #[inline(always)]
    fn n_rows(&self) -> u32 {
        self.0.iter().map(|arm| arm.rows).sum()
    }

    #[inline(always)]
    fn weight(&self) -> f64 {
        f64::from(self.n_rows())
    }
}

/// Counts of at most 2^15 rows: four 16-bit lanes a word, rows and events of two arms each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedCounts<const W: usize>([u64; W]);

impl<const W: usize> PackedCounts<W> {
    /// A row of an arm with its outcome.
    ///
    /// # Panics
    /// When the arm is 2 W or more (a bug of the caller).
    pub fn row(arm: u8, event: bool) -> Self {
        let mut words = [0; W];
        words[usize::from(arm) / 2] = (1 | u64::from(event) << 16) << (32 * (arm % 2));
        PackedCounts(words)
    }
}

/// Treatment against control.
pub type TwoArms = Divergence<2, 1>;
/// Two or three treatments against control.
pub type FourArms = Divergence<4, 2>;

/// A divergence criterion for A arms (control included) in W words. Arms without any rows take
/// no part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divergence<const A: usize, const W: usize> {
    /// Which divergence.
    pub kind: DivergenceKind,
    /// Divide the gain by the paper's normalising factor, which punishes splits that
    /// separate the arms themselves (equations 10 to 12).
    pub normalise: bool,
    /// Rows of every arm present in the node that each child must keep.
    pub min_arm_rows: u32,
    /// A child's event rates are drawn to the node's with the strength of this many rows.
    pub shrinkage: f64,
}

/// Constants of a node.
#[derive(Clone, Copy, Debug)]
pub struct DivergenceNode<const A: usize> {
    total: Counts<A>,
    rates: [f64; A],
    divergence: f64,
}

impl<const A: usize, const W: usize> Divergence<A, W> {
    /// Σ over treatments of the divergence from control.
    #[inline(always)]
    fn divergence(&self, counts: &Counts<A>, node_rates: Option<&[f64; A]>) -> f64 {
        let rate = |arm: usize| {
            let (rows, events) = (f64::from(counts.0[arm].rows), f64::from(counts.0[arm].events));
            match node_rates {
                Some(rates) => (events + self.shrinkage * rates[arm]) / (rows + self.shrinkage),
                None => events / rows,
            }
        };
        let control = rate(0);
        (1..A).filter(|&arm| counts.0[arm].rows > 0).map(|arm| self.kind.of(rate(arm), control)).sum()
    }

    /// The normalising factor of a split; `left_share` is its test's distribution by arm.
    fn factor(&self, node: &DivergenceNode<A>, left: &Counts<A>) -> f64 {
        let n = f64::from(node.total.n_rows());
        let left_share = |arm: usize| f64::from(left.0[arm].rows) / f64::from(node.total.0[arm].rows);
        let share = |arm: usize| f64::from(node.total.0[arm].rows) / n;
        let treatments = (1..A).filter(|&arm| node.total.0[arm].rows > 0);
        let mut factor = 0.5 + share(0) * self.kind.impurity(left_share(0));
        for arm in treatments {
            let pair = share(arm) + share(0);
            factor += self.kind.impurity(share(arm) / pair) * self.kind.of(left_share(arm), left_share(0));
            factor += share(arm) * self.kind.impurity(left_share(arm));
        }
        factor
    }
}

impl<const A: usize, const W: usize> Criterion for Divergence<A, W> {
    type Row = PackedCounts<W>;
    type Cell = PackedCounts<W>;
    type Stats = Counts<A>;
    type Node = DivergenceNode<A>;
    const EMPTY: PackedCounts<W> = PackedCounts([0; W]);

    #[inline(always)]
    fn observe(row: &PackedCounts<W>, into: &mut PackedCounts<W>) {
        for (word, row) in into.0.iter_mut().zip(row.0) {
            *word = word.wrapping_add(row);
        }
    }

    #[inline(always)]
    fn is_empty(cell: &PackedCounts<W>) -> bool {
        cell.0.iter().all(|&word| word == 0)
    }

    #[inline(always)]
    fn flush(&self, cell: &PackedCounts<W>, into: &mut Counts<A>) {
        const { assert!(A <= 2 * W && A >= 2, "too few words") };
        for (arm, counts) in into.0.iter_mut().enumerate() {
            let lanes = (cell.0[arm / 2] >> (32 * (arm % 2))) as u32;
            counts.rows += lanes & 0xFFFF;
            counts.events += lanes >> 16;
        }
    }

    fn node(&self, total: &Counts<A>) -> Option<DivergenceNode<A>> {
        if total.0[0].rows == 0 || total.0[1..].iter().all(|arm| arm.rows == 0) {
            return None;
        }
        let rates = total.0.map(|arm| if arm.rows == 0 { 0.0 } else { f64::from(arm.events) / f64::from(arm.rows) });
        Some(DivergenceNode { total: *total, rates, divergence: self.divergence(total, None) })
    }

    #[inline(always)]
    fn gain(&self, node: &DivergenceNode<A>, left: &Counts<A>, right: &Counts<A>) -> Option<f64> {
        for arm in 0..A {
            let rows = left.0[arm].rows.min(right.0[arm].rows);
            if node.total.0[arm].rows > 0 && rows < self.min_arm_rows.max(1) {
                return None;
            }
        }
        let n = f64::from(node.total.n_rows());
        let side = |counts: &Counts<A>| f64::from(counts.n_rows()) / n * self.divergence(counts, Some(&node.rates));
        let gain = side(left) + side(right) - node.divergence;
        let gain = if self.normalise { gain / self.factor(node, left) } else { gain };
        (gain > 0.0).then_some(gain)
    }

    /// Categories by their (shrunk) mean uplift over the treatments.
    fn order(&self, node: &DivergenceNode<A>, category: &Counts<A>) -> f64 {
        let smooth = self.shrinkage.max(1.0);
        let rate = |arm: usize| {
            let counts = category.0[arm];
            (f64::from(counts.events) + smooth * node.rates[arm]) / (f64::from(counts.rows) + smooth)
        };
        let present = (1..A).filter(|&arm| node.total.0[arm].rows > 0);
        present.clone().map(|arm| rate(arm) - rate(0)).sum::<f64>() / present.count() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::criterion::{CELL_ROWS, summarise};

    fn counts<const A: usize>(arms: [(u32, u32); A]) -> Counts<A> {
        Counts(arms.map(|(rows, events)| ArmCounts { rows, events }))
    }

    fn criterion<const A: usize, const W: usize>(kind: DivergenceKind, normalise: bool) -> Divergence<A, W> {
        Divergence { kind, normalise, min_arm_rows: 1, shrinkage: 0.0 }
    }

    fn gain<const A: usize, const W: usize>(c: Divergence<A, W>, left: Counts<A>, right: Counts<A>) -> Option<f64> {
        let mut total = left;
        total += right;
        c.gain(&c.node(&total).unwrap(), &left, &right)
    }

    #[test]
    fn divergences_agree_with_hand_arithmetic() {
        let (p, q) = (0.5, 0.2);
        let kl = 0.5 * 2.5f64.ln() + 0.5 * 0.625f64.ln();
        assert!((DivergenceKind::KullbackLeibler.of(p, q) - kl).abs() < 1e-12);
        assert!((DivergenceKind::Euclidean.of(p, q) - 0.18).abs() < 1e-12);
        assert!((DivergenceKind::ChiSquare.of(p, q) - (0.45 + 0.1125)).abs() < 1e-12);
        assert!(DivergenceKind::KullbackLeibler.of(0.0, 1.0).is_finite());
    }

    #[test]
    fn gains_agree_with_hand_arithmetic() {
        // Left: control 1/10, treated 5/10. Right: control 3/10, treated 3/10.
        // Node: control 4/20 = 0.2, treated 8/20 = 0.4. Halves weigh ½ each.
        let (left, right) = (counts([(10, 1), (10, 5)]), counts([(10, 3), (10, 3)]));
        let euclidean = gain(criterion::<2, 1>(DivergenceKind::Euclidean, false), left, right).unwrap();
        assert!((euclidean - (0.5 * 0.32 - 0.08)).abs() < 1e-12);
        let chi = gain(criterion::<2, 1>(DivergenceKind::ChiSquare, false), left, right).unwrap();
        let (left_chi, node_chi) = (0.16 / 0.1 + 0.16 / 0.9, 0.04 / 0.2 + 0.04 / 0.8);
        assert!((chi - (0.5 * left_chi - node_chi)).abs() < 1e-12);
        let kl = gain(criterion::<2, 1>(DivergenceKind::KullbackLeibler, false), left, right).unwrap();
        let left_kl = 0.5 * 5f64.ln() + 0.5 * (0.5f64 / 0.9).ln();
        let node_kl = 0.4 * 2f64.ln() + 0.6 * 0.75f64.ln();
        assert!((kl - (0.5 * left_kl - node_kl)).abs() < 1e-12);
        // The arms are split alike (½ each): the factor is Gini ½ for both arms, plus ½.
        let normalised = gain(criterion::<2, 1>(DivergenceKind::Euclidean, true), left, right).unwrap();
        assert!((normalised - euclidean / 1.0).abs() < 1e-12);
        let entropy = gain(criterion::<2, 1>(DivergenceKind::KullbackLeibler, true), left, right).unwrap();
        assert!((entropy - kl / (0.5 + std::f64::consts::LN_2)).abs() < 1e-12);
    }

    #[test]
    fn a_split_that_separates_the_arms_is_punished() {
        // Same rates in every cell of the split, arms unevenly spread.
        let (left, right) = (counts([(90, 9), (10, 5)]), counts([(10, 3), (90, 27)]));
        let plain = gain(criterion::<2, 1>(DivergenceKind::Euclidean, false), left, right).unwrap();
        let normalised = gain(criterion::<2, 1>(DivergenceKind::Euclidean, true), left, right).unwrap();
        // Gini(½)·2·0.8² + ½·Gini(.9) + ½·Gini(.1) + ½ = 0.64 + 0.18 + 0.5
        assert!((plain / normalised - (0.5 * 1.28 + 0.18 + 0.5)).abs() < 1e-12);
    }

    #[test]
    fn several_treatments_add_their_divergences_and_absent_arms_take_no_part() {
        let (left, right) = (counts([(10, 1), (10, 5), (10, 2), (0, 0)]), counts([(10, 3), (10, 3), (10, 4), (0, 0)]));
        let found = gain(criterion::<4, 2>(DivergenceKind::Euclidean, false), left, right).unwrap();
        // Arm 1 as above; arm 2: left .2 against .1, right .4 against .3, node .3 against .2.
        let arm_two = 0.5 * 0.02 + 0.5 * 0.02 - 0.02;
        assert!((found - (0.08 + arm_two)).abs() < 1e-12);
        let strict = Divergence { min_arm_rows: 11, ..criterion::<4, 2>(DivergenceKind::Euclidean, false) };
        assert_eq!(gain(strict, left, right), None);
        let no_control = counts([(0, 0), (10, 5)]);
        assert!(criterion::<2, 1>(DivergenceKind::Euclidean, false).node(&no_control).is_none());
    }

    #[test]
    fn shrinkage_draws_children_to_their_node() {
        let (left, right) = (counts([(10, 1), (10, 5)]), counts([(10, 3), (10, 3)]));
        let shrunk = Divergence { shrinkage: 10.0, ..criterion::<2, 1>(DivergenceKind::Euclidean, false) };
        // Left: treated (5 + 4)/20 = .45, control (1 + 2)/20 = .15; right: .35 and .25.
        let expected = 0.5 * (2.0 * 0.09) + 0.5 * (2.0 * 0.01) - 0.08;
        assert!((gain(shrunk, left, right).unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn packed_counts_hold_a_full_cell_and_more() {
        let criterion = criterion::<4, 2>(DivergenceKind::Euclidean, false);
        let rows: Vec<PackedCounts<2>> =
            (0..2 * CELL_ROWS + 5).map(|i| PackedCounts::row(3 - u8::from(i % 9 == 0), i % 2 == 0)).collect();
        let sums = summarise(&criterion, rows.iter());
        let n = rows.len() as u32;
        assert_eq!(sums.n_rows(), n);
        let ninth = n.div_ceil(9);
        assert_eq!((sums.0[2].rows, sums.0[3].rows), (ninth, n - ninth));
        assert_eq!(sums.0[2].events + sums.0[3].events, n.div_ceil(2));
    }
}
