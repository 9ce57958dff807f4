//! What a treatment policy is worth: doubly robust values of any assignment of arms, profit
//! of treating the best share of a ranking, and the held-out value of a chosen threshold.
//!
//! Choosing a policy and valuing it on the same rows flatters it; [`held_out_threshold`]
//! keeps the two apart.

use serde::{Deserialize, Serialize};

use crate::averages::mean_score;
use crate::error::{MetricsError, all_finite, same_length};
use crate::estimate::Estimate;
use crate::scored::Sorted;
use crate::slice::{Cut, NO_GAMMA, Shares, Side};

/// Rows on which policies over arms 0 to K are valued.
#[derive(Clone, Copy, Debug)]
pub struct PolicyRows<'a> {
    /// Per arm, n doubly robust scores of the arm's mean outcome.
    pub scores: &'a [&'a [f64]],
    /// What an outcome is worth: the unit of the value.
    pub value_per_outcome: f64,
    /// Per arm, the cost of giving it to a row; empty for none.
    pub costs: &'a [f64],
    /// Sampling weights.
    pub weights: Option<&'a [f64]>,
    /// Cluster of each row.
    pub clusters: Option<&'a [u32]>,
}

/// What outcomes and treatments are worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Economics {
    /// Value of one unit of outcome.
    pub value_per_outcome: f64,
    /// Cost of one treatment.
    pub cost_per_treatment: f64,
}

/// Profit of treating the top of a ranking, against treating nobody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profit {
    /// Share of the rows treated.
    pub fraction: f64,
    /// Weight of the rows treated (their number without weights).
    pub n_targeted: f64,
    /// Rows with a score of at least this are treated.
    pub threshold: Option<f64>,
    /// Profit per row of the whole population.
    pub per_row: Estimate,
    /// Profit over all rows.
    pub total: Estimate,
    /// Outcomes caused over all rows.
    pub incremental_outcomes: Estimate,
    /// Profit over all rows minus that of treating the same share at random.
    pub over_random: Estimate,
}

/// The value per row of giving each row its chosen arm.
///
/// # Errors
/// [`MetricsError::Length`]; [`MetricsError::BadValue`] for an arm without scores or a score
/// that isn't finite.
pub fn policy_value(rows: &PolicyRows<'_>, chosen: &[u8]) -> Result<Estimate, MetricsError> {
    Ok(mean_score(&row_values(rows, chosen)?, rows.weights, rows.clusters))
}

/// The value per row of one policy minus that of another, on the same rows (paired).
///
/// # Errors
/// As [`policy_value`].
pub fn policy_difference(rows: &PolicyRows<'_>, chosen: &[u8], other: &[u8]) -> Result<Estimate, MetricsError> {
    let mut values = row_values(rows, chosen)?;
    values.iter_mut().zip(row_values(rows, other)?).for_each(|(a, b)| *a -= b);
    Ok(mean_score(&values, rows.weights, rows.clusters))
}

fn row_values(rows: &PolicyRows<'_>, chosen: &[u8]) -> Result<Vec<f64>, MetricsError> {
    let n = chosen.len();
    for scores in rows.scores {
        same_length("arm score", n, scores.len())?;
        all_finite("arm score", scores)?;
    }
    if let Some(row) = chosen.iter().position(|&arm| arm as usize >= rows.scores.len()) {
        let value = f64::from(chosen[row]);
        return Err(MetricsError::BadValue {
            what: "chosen arm",
            row,
            value,
            allowed: "it must be an arm with scores",
        });
    }
    let cost = |arm: u8| rows.costs.get(arm as usize).copied().unwrap_or(0.0);
    let value = |(row, &arm): (usize, &u8)| rows.value_per_outcome * rows.scores[arm as usize][row] - cost(arm);
    Ok(chosen.iter().enumerate().map(value).collect())
}

/// Profit of treating the top `fraction` (0 to 1) of a ranking, on doubly robust scores; ties
/// at the cut are treated in part. The interval holds the cut fixed.
///
/// # Errors
/// [`MetricsError::BadSetting`] for a fraction outside [0, 1].
pub fn budget_profit(sorted: &Sorted<'_>, fraction: f64, economics: Economics) -> Result<Profit, MetricsError> {
    if !(0.0..=1.0).contains(&fraction) {
        return Err(MetricsError::BadSetting {
            what: "budget",
            value: fraction.to_string(),
            allowed: "the treated share must lie between 0 and 1",
        });
    }
    let shares = sorted.between(Cut { group: 0, share: 0.0 }, sorted.cuts(&[fraction], Side::Both)[0]);
    Ok(profit(sorted, &shares, economics))
}

/// Profit of treating every row whose score is at least `threshold`.
pub fn threshold_profit(sorted: &Sorted<'_>, threshold: f64, economics: Economics) -> Profit {
    let score = |place: usize| sorted.rows().score[sorted.order()[place] as usize];
    let end = (0..sorted.n()).position(|place| score(place) < threshold).unwrap_or(sorted.n());
    let shares: Shares = if end == 0 { Vec::new() } else { vec![(0..end, 1.0)] };
    Profit { threshold: Some(threshold), ..profit(sorted, &shares, economics) }
}

/// Chooses the threshold with the largest profit on one ranking and values it on another, so
/// the value carries no winner's curse. The choice looks at every distinct score.
pub fn held_out_threshold(choose: &Sorted<'_>, value: &Sorted<'_>, economics: Economics) -> Profit {
    let (mut best, mut threshold) = (0.0, f64::INFINITY);
    let mut sum = 0.0;
    choose.for_each_group(|group, places| {
        sum += economics.value_per_outcome * group.gamma - economics.cost_per_treatment * group.weight();
        if sum > best {
            best = sum;
            threshold = choose.rows().score[choose.order()[places.end - 1] as usize];
        }
    });
    let profit = threshold_profit(value, threshold, economics);
    Profit { threshold: threshold.is_finite().then_some(threshold), ..profit }
}

fn profit(sorted: &Sorted<'_>, shares: &Shares, economics: Economics) -> Profit {
    let weight = sorted.total().weight();
    let n = sorted.n();
    let mut treated = vec![0.0; n];
    for (places, share) in shares {
        treated[places.clone()].fill(*share);
    }
    let n_targeted: f64 = treated.iter().enumerate().map(|(place, t)| t * sorted.weight(place)).sum();
    let fraction = n_targeted / weight;
    if !sorted.has_gamma() {
        let none = || Estimate::undefined(NO_GAMMA);
        let (per_row, total, incremental_outcomes, over_random) = (none(), none(), none(), none());
        return Profit { fraction, n_targeted, threshold: None, per_row, total, incremental_outcomes, over_random };
    }
    let (value, cost) = (economics.value_per_outcome, economics.cost_per_treatment);
    let weights: Option<Vec<f64>> = sorted.rows().weights.map(|_| (0..n).map(|p| sorted.weight(p)).collect());
    let clusters: Option<Vec<u32>> =
        sorted.rows().clusters.map(|c| sorted.order().iter().map(|&row| c[row as usize]).collect());
    let mean = |per_row: &dyn Fn(usize) -> f64| {
        let values: Vec<f64> = (0..n).map(per_row).collect();
        mean_score(&values, weights.as_deref(), clusters.as_deref())
    };
    let per_row = mean(&|p| treated[p] * (value * sorted.gamma(p) - cost));
    let incremental_outcomes = mean(&|p| treated[p] * sorted.gamma(p)).scaled(weight);
    let over_random = mean(&|p| (treated[p] - fraction) * value * sorted.gamma(p)).scaled(weight);
    let total = per_row.scaled(weight);
    Profit { fraction, n_targeted, threshold: None, per_row, total, incremental_outcomes, over_random }
}
