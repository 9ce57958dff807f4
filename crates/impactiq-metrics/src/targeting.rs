//! What treating the best share of a ranking brings, share by share, before anybody has named a
//! price: everything a budget can be chosen by is a scaling of these points.
//!
//! With Γ a doubly robust score of the effect and t the share at which a row counts among the
//! best q, a point holds the mean of Γ·t (outcomes caused per person of the whole population)
//! and that of Γ·(t − q) (the same minus treating as many at random). A row at the cut counts
//! in part, as in [`crate::rate::toc`], so equal scores are averaged. Standard errors hold the cut
//! fixed. Prices themselves are the caller's: [`TargetingPoint::priced`].

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::averages::mean_score_in;
use crate::estimate::Estimate;
use crate::policy_value::Economics;
use crate::robust::DenseClusters;
use crate::scored::Sorted;
use crate::slice::{Cut, NO_GAMMA, Side, dense_clusters};

/// Steps of the share: 0, 1 %, … 100 %.
pub const N_STEPS: usize = 100;

/// What treating the best rows brings, for 101 shares from nobody to everybody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Targeting {
    /// Rows it was measured on.
    pub n_holdout: u64,
    /// One point per share, ascending from 0 to 1.
    pub points: Vec<TargetingPoint>,
}

/// What treating the best `fraction` brings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetingPoint {
    /// Share treated, 0 to 1.
    pub fraction: f64,
    /// The score of the last row that is treated; `None` where nobody is.
    pub threshold: Option<f64>,
    /// Weight of the rows treated (their number without weights).
    pub n_targeted: f64,
    /// Outcomes caused, per person of the whole population.
    pub incremental: Estimate,
    /// The same, minus those of treating as many at random.
    pub over_random: Estimate,
}

/// A point at given prices, for a population of a given size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PricedPoint {
    /// Share treated, 0 to 1.
    pub fraction: f64,
    /// The score of the last one who is treated; `None` where nobody is.
    pub threshold: Option<f64>,
    /// People treated.
    pub n_targeted: f64,
    /// What treating them costs.
    pub cost: f64,
    /// What they bring less what they cost.
    pub profit: Estimate,
    /// Outcomes caused.
    pub incremental_outcomes: Estimate,
    /// Profit beyond that of treating as many at random.
    pub over_random: Estimate,
}

impl TargetingPoint {
    /// The point at these prices for so many people. Exact: value and bounds are scaled and
    /// shifted, nothing is measured again.
    pub fn priced(&self, prices: Economics, population: f64) -> PricedPoint {
        let n_targeted = self.fraction * population;
        let cost = prices.cost_per_treatment * n_targeted;
        let incremental_outcomes = self.incremental.scaled(population);
        PricedPoint {
            fraction: self.fraction,
            threshold: self.threshold,
            n_targeted,
            cost,
            profit: incremental_outcomes.scaled(prices.value_per_outcome).shifted(-cost),
            incremental_outcomes,
            over_random: self.over_random.scaled(population * prices.value_per_outcome),
        }
    }
}

/// What treating the best share of a ranking brings, for every whole per cent.
pub fn targeting(sorted: &Sorted<'_>) -> Targeting {
    let fractions: Vec<f64> = (0..=N_STEPS).map(|step| step as f64 / N_STEPS as f64).collect();
    let cuts = sorted.cuts(&fractions, Side::Both);
    let dense = dense_clusters(sorted).map(|dense| in_order(dense, sorted));
    let weights: Option<Vec<f64>> =
        sorted.rows().weights.map(|_| (0..sorted.n()).map(|place| sorted.weight(place)).collect());
    let points = fractions.par_iter().zip(cuts).map(|(&fraction, cut)| {
        let at = At { sorted, cut, weights: weights.as_deref(), dense: dense.as_ref() };
        at.point(fraction)
    });
    Targeting { n_holdout: sorted.n() as u64, points: points.collect() }
}

/// Clusters by position instead of by row.
fn in_order(dense: DenseClusters, sorted: &Sorted<'_>) -> DenseClusters {
    let of_row = sorted.order().iter().map(|&row| dense.of_row[row as usize]).collect();
    DenseClusters { of_row, n: dense.n }
}

/// A cut of the ranking, and what means are made with.
struct At<'a> {
    sorted: &'a Sorted<'a>,
    cut: Cut,
    weights: Option<&'a [f64]>,
    dense: Option<&'a DenseClusters>,
}

impl At<'_> {
    fn point(&self, fraction: f64) -> TargetingPoint {
        let sorted = self.sorted;
        let shares = sorted.between(Cut { group: 0, share: 0.0 }, self.cut);
        let mut treated = vec![0.0; sorted.n()];
        for (places, share) in &shares {
            treated[places.clone()].fill(*share);
        }
        let n_targeted: f64 = shares
            .iter()
            .map(|(places, share)| share * places.clone().map(|place| sorted.weight(place)).sum::<f64>())
            // A sum of nothing would be -0.
            .fold(0.0, |sum, weight| sum + weight);
        let last = shares.last().map(|(places, _)| sorted.order()[places.end - 1] as usize);
        let share = n_targeted / sorted.total().weight();
        TargetingPoint {
            fraction,
            threshold: last.map(|row| sorted.rows().score[row]),
            n_targeted,
            incremental: self.mean(|place| treated[place]),
            over_random: self.mean(|place| treated[place] - share),
        }
    }

    /// The mean of the doubly robust scores, each times its factor.
    fn mean(&self, factor: impl Fn(usize) -> f64) -> Estimate {
        if !self.sorted.has_gamma() {
            return Estimate::undefined(NO_GAMMA);
        }
        let values: Vec<f64> = (0..self.sorted.n()).map(|place| factor(place) * self.sorted.gamma(place)).collect();
        mean_score_in(&values, self.weights, self.dense)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scored::Scored;

    const GAMMA: [f64; 4] = [4.0, 2.0, -1.0, 3.0];

    fn of(score: &[f64]) -> Targeting {
        let scored = Scored { gamma: Some(&GAMMA), ..Scored::new(score, &[1, 0, 1, 0], &[0.0; 4]) };
        targeting(&scored.sort().unwrap())
    }

    #[test]
    fn four_rows_by_hand() {
        let found = of(&[0.4, 0.3, 0.2, 0.1]);
        assert_eq!((found.n_holdout, found.points.len()), (4, 101));
        let half = &found.points[50];
        assert_eq!((half.fraction, half.threshold, half.n_targeted), (0.5, Some(0.3), 2.0));
        // (4 + 2) / 4, and with (½, ½, −½, −½): (2 + 1 + 0.5 − 1.5) / 4.
        assert_eq!(half.incremental.value(), Some(1.5));
        assert_eq!(half.over_random.value(), Some(0.5));
        // Values 4, 2, 0, 0 about 1.5: squares 6.25 + 0.25 + 2.25 + 2.25 = 11, over 4 · 3.
        assert!((half.incremental.std_error().unwrap() - (11.0f64 / 12.0).sqrt()).abs() < 1e-12);
        let nobody = &found.points[0];
        assert_eq!((nobody.threshold, nobody.n_targeted, nobody.incremental.value()), (None, 0.0, Some(0.0)));
        assert!(nobody.n_targeted.is_sign_positive());
    }

    #[test]
    fn rows_of_equal_score_count_in_equal_parts() {
        let found = of(&[0.4, 0.1, 0.1, 0.1]);
        // One whole row and a third of each of three: 4 + (2 − 1 + 3) / 3.
        let half = &found.points[50];
        assert!((half.incremental.value().unwrap() - (4.0 + 4.0 / 3.0) / 4.0).abs() < 1e-12);
        assert_eq!(half.threshold, Some(0.1));
    }

    #[test]
    fn prices_scale_and_shift_and_nothing_else() {
        let point = of(&[0.4, 0.3, 0.2, 0.1]).points.swap_remove(50);
        let prices = Economics { value_per_outcome: 10.0, cost_per_treatment: 3.0 };
        let priced = point.priced(prices, 1000.0);
        assert_eq!((priced.n_targeted, priced.cost), (500.0, 1500.0));
        assert_eq!(priced.incremental_outcomes.value(), Some(1500.0));
        assert_eq!(priced.profit.value(), Some(15_000.0 - 1500.0));
        assert_eq!(priced.over_random.value(), Some(5000.0));
        let width = |e: &Estimate| e.upper().unwrap() - e.lower().unwrap();
        assert!((width(&priced.profit) / width(&point.incremental) - 10_000.0).abs() < 1e-6);
        assert_eq!(priced.profit.n(), Some(4));
    }

    #[test]
    fn without_doubly_robust_scores_there_is_a_reason_and_no_number() {
        let sorted = Scored::new(&[1.0, 2.0], &[0, 1], &[0.0, 1.0]).sort().unwrap();
        let found = targeting(&sorted);
        assert!(found.points.iter().all(|p| p.incremental.reason() == Some(NO_GAMMA)));
    }
}
