//! Treatment effects by way of an instrument: the gradient criterion of instrumental forests.
//!
//! Athey, Tibshirani and Wager (2019, section 7.1): at a node θ = cov(z, y) / cov(z, t), each row
//! becomes the pseudo-outcome ρ = A⁻¹ (z − z̄)(y − ȳ − (t − t̄)θ) with A = cov(z, t), and the cut is
//! where the sums of ρ differ most. ρ is linear in the moments 1, y, t, z, zy, zt, so its sums follow
//! from sums of moments; zz and tt say whether there is anything to divide by.
//!
//! Centre y, t and z (by out-of-fold nuisances) before. With z = t this is the criterion of one
//! contrast. grf's option to mix in the reduced form (z's effect on y) is left out.

use std::ops::{AddAssign, SubAssign};

use crate::criterion::Criterion;
use crate::stats::Stats;

/// Where the lanes of a moment vector stand.
const ROWS: usize = 0;
const WEIGHT: usize = 1;
const OUTCOME: usize = 2;
const TREATMENT: usize = 3;
const INSTRUMENT: usize = 4;
const INSTRUMENT_OUTCOME: usize = 5;
const INSTRUMENT_TREATMENT: usize = 6;
const INSTRUMENT_SQUARE: usize = 7;
const TREATMENT_SQUARE: usize = 8;
/// Rows whose instrument is on; the rest, off.
const ENCOURAGED: usize = 9;
/// Two more than needed: whole vector registers.
const LANES: usize = 12;

/// Sums of moments in f64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InstrumentStats([f64; LANES]);

/// One row's moments, or sums of at most 2^15 rows, in f32 lanes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(16))]
pub struct InstrumentCell([f32; LANES]);

/// A row as numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InstrumentRow {
    /// Its weight.
    pub weight: f64,
    /// Its outcome, centred.
    pub outcome: f64,
    /// Its treatment, centred.
    pub treatment: f64,
    /// Its instrument, centred.
    pub instrument: f64,
    /// Whether a binary instrument is on; not looked at without `min_arm_rows`.
    pub encouraged: bool,
}

impl InstrumentRow {
    fn lanes(&self) -> [f64; LANES] {
        let InstrumentRow { weight, outcome, treatment, instrument, encouraged } = *self;
        let mut lanes = [0.0; LANES];
        lanes[ROWS] = 1.0;
        lanes[WEIGHT] = weight;
        lanes[OUTCOME] = weight * outcome;
        lanes[TREATMENT] = weight * treatment;
        lanes[INSTRUMENT] = weight * instrument;
        lanes[INSTRUMENT_OUTCOME] = weight * instrument * outcome;
        lanes[INSTRUMENT_TREATMENT] = weight * instrument * treatment;
        lanes[INSTRUMENT_SQUARE] = weight * instrument * instrument;
        lanes[TREATMENT_SQUARE] = weight * treatment * treatment;
        lanes[ENCOURAGED] = f64::from(u8::from(encouraged));
        lanes
    }

    /// The row as the kernel adds it.
    pub fn cell(&self) -> InstrumentCell {
        InstrumentCell(self.lanes().map(|lane| lane as f32))
    }
}

impl InstrumentStats {
    /// Adds a row in full precision.
    pub fn add(&mut self, row: &InstrumentRow) {
        *self += InstrumentStats(row.lanes());
    }

    /// The moments a leaf keeps: weight, y, t, z, zy, zt.
    pub fn moments(&self) -> [f64; 6] {
        std::array::from_fn(|moment| self.0[WEIGHT + moment])
    }

    /// Σ weight · (z − z̄)².
    fn spread(&self) -> f64 {
        self.0[INSTRUMENT_SQUARE] - self.0[INSTRUMENT] * self.0[INSTRUMENT] / self.0[WEIGHT]
    }

    fn smallest_arm(&self) -> f64 {
        self.0[ENCOURAGED].min(self.0[ROWS] - self.0[ENCOURAGED])
    }
}

impl AddAssign for InstrumentStats {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(lane, other)| *lane += other);
    }
}

impl SubAssign for InstrumentStats {
    #[inline(always)]
    fn sub_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(lane, other)| *lane -= other);
    }
}

impl Stats for InstrumentStats {
    const ZERO: Self = InstrumentStats([0.0; LANES]);

    #[inline(always)]
    fn n_rows(&self) -> u32 {
        self.0[ROWS] as u32
    }

    #[inline(always)]
    fn weight(&self) -> f64 {
        self.0[WEIGHT]
    }
}

/// The instrumental regression of y on t with an intercept: Wald's ratio of covariances.
#[derive(Clone, Copy, Debug)]
pub struct Wald {
    /// The effect.
    pub theta: f64,
    /// By moment (weight, y, t, z, zy, zt): its part in a row's influence ρ.
    pub influence: [f64; 6],
}

impl Wald {
    /// The regression over rows with these mean moments (weight, y, t, z, zy, zt); `None`
    /// when z and t do not move together.
    pub fn new([weight, outcome, treatment, instrument, with_outcome, with_treatment]: [f64; 6]) -> Option<Self> {
        if weight.is_nan() || weight <= 0.0 {
            return None;
        }
        let (mean_outcome, mean_treatment, mean) = (outcome / weight, treatment / weight, instrument / weight);
        let covariance = with_treatment - mean * treatment;
        // What is left of numbers that cancel to ten digits is their rounding.
        let size = with_treatment.abs() + (mean * treatment).abs();
        if covariance.is_nan() || covariance.abs() <= 1e-10 * size {
            return None;
        }
        let theta = (with_outcome - mean * outcome) / covariance;
        let intercept = mean_outcome - theta * mean_treatment;
        // ρ = (z − z̄)(y − c − θ t) / cov(z, t), term by term.
        let influence = [mean * intercept, -mean, mean * theta, -intercept, 1.0, -theta];
        Some(Wald { theta, influence: influence.map(|part| part / covariance) })
    }

    /// Σ ρ over the rows with these moments.
    #[inline(always)]
    pub fn pseudo_outcome(&self, moments: &[f64; 6]) -> f64 {
        self.influence.iter().zip(moments).map(|(part, moment)| part * moment).sum()
    }
}

/// Constants of a node.
#[derive(Clone, Copy, Debug)]
pub struct InstrumentNode {
    wald: Wald,
    weight: f64,
    min_spread: f64,
}

/// The gradient criterion with an instrument, and its balance rules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instrument {
    /// Rows with the instrument on, and off, that each child must keep; 0 for instruments that
    /// are not binary.
    pub min_arm_rows: u32,
    /// Share of the node's variation of z that each child must keep.
    pub alpha: f64,
    /// Price of uneven splits: this times Σ 1 / variation of the children.
    pub imbalance_penalty: f64,
}

impl Instrument {
    #[inline(always)]
    fn variation(&self, node: &InstrumentNode, child: &InstrumentStats) -> Option<f64> {
        if self.min_arm_rows > 0 && child.smallest_arm() < f64::from(self.min_arm_rows) {
            return None;
        }
        let spread = child.spread();
        (spread > node.min_spread).then_some(spread)
    }
}

impl Criterion for Instrument {
    type Row = InstrumentCell;
    type Cell = InstrumentCell;
    type Stats = InstrumentStats;
    type Node = InstrumentNode;
    const EMPTY: InstrumentCell = InstrumentCell([0.0; LANES]);

    #[inline(always)]
    fn observe(row: &InstrumentCell, into: &mut InstrumentCell) {
        into.0.iter_mut().zip(row.0).for_each(|(lane, row)| *lane += row);
    }

    #[inline(always)]
    fn is_empty(cell: &InstrumentCell) -> bool {
        cell.0[ROWS] == 0.0
    }

    #[inline(always)]
    fn flush(&self, cell: &InstrumentCell, into: &mut InstrumentStats) {
        into.0.iter_mut().zip(cell.0).for_each(|(lane, cell)| *lane += f64::from(cell));
    }

    fn node(&self, total: &InstrumentStats) -> Option<InstrumentNode> {
        if total.smallest_arm() < 2.0 * f64::from(self.min_arm_rows) {
            return None;
        }
        let weight = total.weight();
        let spread = total.spread();
        let of_treatment = total.0[TREATMENT_SQUARE] - total.0[TREATMENT] * total.0[TREATMENT] / weight;
        let varies = spread > 1e-10 * total.0[INSTRUMENT_SQUARE] && of_treatment > 1e-10 * total.0[TREATMENT_SQUARE];
        let wald = Wald::new(total.moments())?;
        let covariance = total.0[INSTRUMENT_TREATMENT] - total.0[INSTRUMENT] * total.0[TREATMENT] / weight;
        // A correlation of 1e-6 is what rounding leaves of none.
        if !varies || covariance * covariance <= 1e-12 * spread * of_treatment {
            return None;
        }
        // ρ's scale does not depend on how many rows were summed.
        let wald = Wald { influence: wald.influence.map(|part| part * weight), ..wald };
        Some(InstrumentNode { wald, weight, min_spread: spread * self.alpha.max(1e-10) })
    }

    #[inline(always)]
    fn gain(&self, node: &InstrumentNode, left: &InstrumentStats, right: &InstrumentStats) -> Option<f64> {
        let (left_variation, right_variation) = (self.variation(node, left)?, self.variation(node, right)?);
        // The node's own pseudo-outcomes sum to 0, so the right side's sum is minus the left's.
        let rho = node.wald.pseudo_outcome(&left.moments());
        let gain = rho * rho * (1.0 / left.weight() + 1.0 / right.weight());
        let gain = gain - self.imbalance_penalty * (1.0 / left_variation + 1.0 / right_variation);
        (gain > 0.0).then_some(gain)
    }

    /// Categories by mean pseudo-outcome.
    fn order(&self, node: &InstrumentNode, category: &InstrumentStats) -> f64 {
        node.wald.pseudo_outcome(&category.moments()) / (category.weight() + 1e-3 * node.weight)
    }
}

#[cfg(test)]
mod tests;
