//! Uplift trees: splits by how differently the arms' outcomes behave in the children.
//!
//! * **kl, euclidean, chi_square** (Rzepakowski and Jaroszewicz 2012): the outcome's distribution
//!   under treatment differs from the control's more within the children than in the parent,
//!   divided on request by a factor that punishes splits which separate the arms themselves.
//! * **ddp** (Hansotia and Rukstales 2002): the difference of the children's uplifts.
//! * **interaction** (Su, Tsai, Wang, Nickerson and Li 2009): the squared t statistic, with
//!   several treatments the F statistic, of the interaction of split and treatment.
//! * **cts** (Zhao, Fang and Simchi-Levi 2017): how much better the best arm of each child is.
//!
//! Outcomes other than 0/1 have no distribution to diverge: euclidean then compares arm
//! means, and kl and chi_square do not exist. Arms without rows in a node take no part.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::criterion::Criterion;
use crate::criterion::arms::{ArmForm, ArmSums, Counted, Moments};

/// Probabilities are kept this far from 0 and 1, where logarithms and ratios end.
const EDGE: f64 = 1e-6;

/// What a split of an uplift tree is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpliftKind {
    /// Divergence Σ p log(p / q) of treatment from control; 0/1 outcomes.
    #[serde(rename = "kl")]
    KullbackLeibler,
    /// Σ (p − q)²; squared differences of means for other outcomes.
    #[default]
    Euclidean,
    /// Σ (p − q)² / q; 0/1 outcomes.
    ChiSquare,
    /// |uplift left − uplift right|.
    #[serde(rename = "ddp")]
    DeltaDeltaP,
    /// F statistic of the interaction of split and treatment.
    Interaction,
    /// Mean outcome if everybody got the best arm of their child.
    #[serde(rename = "cts")]
    ContextualSelection,
}

impl UpliftKind {
    /// All kinds.
    pub const ALL: [UpliftKind; 6] = [
        UpliftKind::KullbackLeibler,
        UpliftKind::Euclidean,
        UpliftKind::ChiSquare,
        UpliftKind::DeltaDeltaP,
        UpliftKind::Interaction,
        UpliftKind::ContextualSelection,
    ];

    /// The kind as the config writes it.
    pub fn name(self) -> &'static str {
        match self {
            UpliftKind::KullbackLeibler => "kl",
            UpliftKind::Euclidean => "euclidean",
            UpliftKind::ChiSquare => "chi_square",
            UpliftKind::DeltaDeltaP => "ddp",
            UpliftKind::Interaction => "interaction",
            UpliftKind::ContextualSelection => "cts",
        }
    }

    /// Whether it compares distributions of 0/1 outcomes and means nothing for others.
    pub fn needs_binary(self) -> bool {
        matches!(self, UpliftKind::KullbackLeibler | UpliftKind::ChiSquare)
    }

    /// Whether the papers divide its gain by a normalising factor.
    pub fn is_normalised(self) -> bool {
        matches!(self, UpliftKind::KullbackLeibler | UpliftKind::Euclidean | UpliftKind::ChiSquare)
    }

    /// Whether it draws a child's means to its node's: the interaction statistic has its own
    /// standard errors.
    pub fn is_shrunk(self) -> bool {
        self != UpliftKind::Interaction
    }

    /// The divergence of a yes/no distribution with P(yes) = p from one with P(yes) = q; 0 for
    /// kinds that are none.
    #[inline(always)]
    pub fn divergence(self, p: f64, q: f64) -> f64 {
        let (p, q) = (p.clamp(EDGE, 1.0 - EDGE), q.clamp(EDGE, 1.0 - EDGE));
        match self {
            UpliftKind::KullbackLeibler => p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln(),
            UpliftKind::Euclidean => 2.0 * (p - q) * (p - q),
            UpliftKind::ChiSquare => (p - q) * (p - q) / (q * (1.0 - q)),
            _ => 0.0,
        }
    }

    /// The impurity of a yes/no distribution that goes with the divergence: entropy, or Gini.
    #[inline(always)]
    fn impurity(self, p: f64) -> f64 {
        let p = p.clamp(EDGE, 1.0 - EDGE);
        match self {
            UpliftKind::KullbackLeibler => -p * p.ln() - (1.0 - p) * (1.0 - p).ln(),
            _ => 2.0 * p * (1.0 - p),
        }
    }
}

/// The settings of an uplift criterion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UpliftRules {
    /// What a split is good for.
    pub kind: UpliftKind,
    /// Whether the outcome is 0/1.
    pub binary: bool,
    /// Divide the gain by the paper's normalising factor, where there is one.
    pub normalise: bool,
    /// Rows of every arm present in the node that each child must keep.
    pub min_arm_rows: u32,
    /// A child's means are drawn to the node's with the strength of this many rows.
    pub shrinkage: f64,
}

/// An uplift criterion for A arms (control included), summed in the form F.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uplift<const A: usize, F> {
    rules: UpliftRules,
    form: PhantomData<F>,
}

/// Treatment against control, 0/1 outcomes.
pub type TwoArms = Uplift<2, Counted<1>>;
/// Two or three treatments against control, 0/1 outcomes.
pub type FourArms = Uplift<4, Counted<2>>;
/// Treatment against control, any outcome and weights.
pub type TwoArmMoments = Uplift<2, Moments>;

/// Constants of a node.
#[derive(Clone, Copy, Debug)]
pub struct UpliftNode<const A: usize> {
    /// Arms with rows.
    present: [bool; A],
    n_treatments: f64,
    weight: f64,
    arm_weights: [f64; A],
    means: [f64; A],
    /// Divergence, or the best arm's mean.
    value: f64,
    /// Variance of the outcome within arms.
    variance: f64,
    /// By treatment: impurity of its share beside the control's.
    pair_impurity: [f64; A],
}

impl<const A: usize, F: ArmForm<A>> Uplift<A, F> {
    /// A criterion of these rules.
    pub fn new(rules: UpliftRules) -> Self {
        Uplift { rules, form: PhantomData }
    }

    /// What a child's arms do on average, drawn to the node's means.
    #[inline(always)]
    fn child_means(&self, node: &UpliftNode<A>, sums: &F::Sums) -> [f64; A] {
        let strength = self.rules.shrinkage;
        std::array::from_fn(|arm| (sums.arm_sum(arm) + strength * node.means[arm]) / (sums.arm_weight(arm) + strength))
    }

    /// Σ over treatments of the divergence from control, or the best arm's mean.
    #[inline(always)]
    fn value(&self, present: &[bool; A], means: &[f64; A]) -> f64 {
        let treatments = (1..A).filter(|&arm| present[arm]);
        let kind = self.rules.kind;
        match kind {
            UpliftKind::ContextualSelection => treatments.map(|arm| means[arm]).fold(means[0], f64::max),
            UpliftKind::Euclidean if !self.rules.binary => {
                treatments.map(|arm| (means[arm] - means[0]) * (means[arm] - means[0])).sum()
            }
            _ => treatments.map(|arm| kind.divergence(means[arm], means[0])).sum(),
        }
    }

    /// The normalising factor of a split (equations 10 to 12 of the paper): how unevenly it
    /// spreads the arms, and how finely it cuts each.
    #[inline(always)]
    fn factor(&self, node: &UpliftNode<A>, left: &F::Sums) -> f64 {
        let kind = self.rules.kind;
        let left_share = |arm: usize| left.arm_weight(arm) / node.arm_weights[arm];
        let share = |arm: usize| node.arm_weights[arm] / node.weight;
        let control = left_share(0);
        let mut factor = 0.5 + share(0) * kind.impurity(control);
        for arm in (1..A).filter(|&arm| node.present[arm]) {
            let treated = left_share(arm);
            factor += node.pair_impurity[arm] * kind.divergence(treated, control);
            factor += share(arm) * kind.impurity(treated);
        }
        factor
    }

    /// F of the interaction of split and treatment: for two arms the squared t of Su et al.,
    /// ((ȳ1L − ȳ0L) − (ȳ1R − ȳ0R))² / (σ² Σ 1/n), σ² pooled over the cells.
    #[inline(always)]
    fn interaction(&self, node: &UpliftNode<A>, left: &F::Sums, right: &F::Sums) -> Option<f64> {
        let (mut squares, mut freedom) = (0.0, 0.0);
        let (mut sum_w, mut sum_wd, mut sum_wdd) = (0.0, 0.0, 0.0);
        for arm in (0..A).filter(|&arm| node.present[arm]) {
            let (n_left, n_right) = (left.arm_weight(arm), right.arm_weight(arm));
            let (mean_left, mean_right) = (left.arm_sum(arm) / n_left, right.arm_sum(arm) / n_right);
            squares += left.arm_squares(arm) - left.arm_sum(arm) * mean_left;
            squares += right.arm_squares(arm) - right.arm_sum(arm) * mean_right;
            freedom += n_left + n_right - 2.0;
            let (difference, weight) = (mean_left - mean_right, n_left * n_right / (n_left + n_right));
            sum_w += weight;
            sum_wd += weight * difference;
            sum_wdd += weight * difference * difference;
        }
        // Also false for NaN.
        if !(freedom > 0.0 && node.variance > 0.0) {
            return None;
        }
        // Cells without any variation would make every difference infinitely sure.
        let variance = (squares / freedom).max(1e-9 * node.variance);
        Some((sum_wdd - sum_wd * sum_wd / sum_w) / (node.n_treatments * variance))
    }
}

impl<const A: usize, F: ArmForm<A>> Criterion for Uplift<A, F> {
    type Row = F::Row;
    type Cell = F::Cell;
    type Stats = F::Sums;
    type Node = UpliftNode<A>;
    const EMPTY: F::Cell = F::EMPTY;

    #[inline(always)]
    fn observe(row: &F::Row, into: &mut F::Cell) {
        F::observe(row, into);
    }

    #[inline(always)]
    fn is_empty(cell: &F::Cell) -> bool {
        F::is_empty(cell)
    }

    #[inline(always)]
    fn flush(&self, cell: &F::Cell, into: &mut F::Sums) {
        F::flush(cell, into);
    }

    fn node(&self, total: &F::Sums) -> Option<UpliftNode<A>> {
        let present: [bool; A] = std::array::from_fn(|arm| total.arm_rows(arm) > 0);
        let least = self.rules.min_arm_rows.saturating_mul(2);
        let short = (0..A).any(|arm| present[arm] && total.arm_rows(arm) < least);
        let n_treatments = (1..A).filter(|&arm| present[arm]).count();
        if !present[0] || n_treatments == 0 || short {
            return None;
        }
        let of_arm = |f: &dyn Fn(usize) -> f64| -> [f64; A] {
            std::array::from_fn(|arm| if present[arm] { f(arm) } else { 0.0 })
        };
        let arm_weights = of_arm(&|arm| total.arm_weight(arm));
        let means = of_arm(&|arm| total.arm_sum(arm) / total.arm_weight(arm));
        let squares = of_arm(&|arm| total.arm_squares(arm) - total.arm_sum(arm) * means[arm]);
        let weight: f64 = arm_weights.iter().sum();
        let pair_impurity =
            of_arm(&|arm| self.rules.kind.impurity(arm_weights[arm] / (arm_weights[arm] + arm_weights[0])));
        Some(UpliftNode {
            value: self.value(&present, &means),
            variance: squares.iter().sum::<f64>() / weight,
            n_treatments: n_treatments as f64,
            present,
            weight,
            arm_weights,
            means,
            pair_impurity,
        })
    }

    #[inline(always)]
    fn gain(&self, node: &UpliftNode<A>, left: &F::Sums, right: &F::Sums) -> Option<f64> {
        for arm in 0..A {
            let rows = left.arm_rows(arm).min(right.arm_rows(arm));
            if node.present[arm] && rows < self.rules.min_arm_rows.max(1) {
                return None;
            }
        }
        let kind = self.rules.kind;
        let gain = match kind {
            UpliftKind::Interaction => self.interaction(node, left, right)?,
            UpliftKind::DeltaDeltaP => {
                let (left, right) = (self.child_means(node, left), self.child_means(node, right));
                let treatments = (1..A).filter(|&arm| node.present[arm]);
                treatments.map(|arm| ((left[arm] - left[0]) - (right[arm] - right[0])).abs()).sum()
            }
            _ => {
                let side = |sums: &F::Sums| {
                    let weight: f64 = (0..A).map(|arm| sums.arm_weight(arm)).sum();
                    weight * self.value(&node.present, &self.child_means(node, sums))
                };
                let gain = (side(left) + side(right)) / node.weight - node.value;
                if self.rules.normalise && kind.is_normalised() && gain > 0.0 {
                    gain / self.factor(node, left)
                } else {
                    gain
                }
            }
        };
        (gain > 0.0 && gain.is_finite()).then_some(gain)
    }

    /// Categories by their (shrunk) mean uplift over the treatments.
    fn order(&self, node: &UpliftNode<A>, category: &F::Sums) -> f64 {
        let smooth = self.rules.shrinkage.max(1.0);
        let mean =
            |arm: usize| (category.arm_sum(arm) + smooth * node.means[arm]) / (category.arm_weight(arm) + smooth);
        let treatments = (1..A).filter(|&arm| node.present[arm]);
        treatments.map(|arm| mean(arm) - mean(0)).sum::<f64>() / node.n_treatments
    }
}

#[cfg(test)]
mod tests;
