//! Whether predicted effects have the right level: groups of predictions against their
//! doubly robust effects, the best linear predictor of the effect, and grf's calibration test.
//!
//! All of it is for rows the predictions were not trained on.

use serde::{Deserialize, Serialize};

use crate::error::{MetricsError, all_finite, same_length};
use crate::estimate::{Estimate, NO_HETEROGENEITY, upper_tail_p};
use crate::least_squares::{Penalty, Regression};
use crate::robust::Covariance;
use crate::scored::{Scored, Sorted};
use crate::slice::{ClusterParts, NO_GAMMA, Shares, Side, SliceMean, dense_clusters, gamma_mean};
use crate::tails::t_two_sided_p;

/// A group of neighbouring predictions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupEffect {
    /// 1 for the group with the largest predictions.
    pub group: u32,
    /// Weight of its rows (their number without weights).
    pub n: f64,
    /// Mean prediction.
    pub mean_score: f64,
    /// Mean doubly robust score: the group average treatment effect.
    pub effect: Estimate,
}

/// Sorted group average treatment effects (Chernozhukov, Demirer, Duflo & Fernández-Val 2018).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// Groups of equal weight, largest predictions first.
    pub groups: Vec<GroupEffect>,
    /// Effect of the first group minus that of the last.
    pub most_minus_least: Estimate,
    /// Mean over groups of (effect − mean prediction)², less what chance alone would give;
    /// near 0 (it can be negative) for well-calibrated predictions.
    pub calibration_error: Estimate,
}

/// Best linear predictor of the effect from a prediction: effect ≈ average + slope · (S − S̄).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestLinearPredictor {
    /// The average effect.
    pub average: Estimate,
    /// 1 where predictions are calibrated, 0 where they say nothing about the effect.
    pub slope: Estimate,
    /// One-sided p-value of "the slope is not positive".
    pub p_slope: Option<f64>,
}

/// grf's omnibus test: Y − Ŷ regressed on (W − Ŵ) τ̄ and (W − Ŵ)(τ̂ − τ̄).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationTest {
    /// 1 where the average prediction is right.
    pub mean_prediction: Estimate,
    /// 1 where differences between predictions are right.
    pub differential_prediction: Estimate,
    /// One-sided p-value of "the mean coefficient is not positive".
    pub p_mean: Option<f64>,
    /// One-sided p-value of "the differential coefficient is not positive": no heterogeneity.
    pub p_differential: Option<f64>,
    /// Two-sided p-value of "the mean coefficient is zero".
    #[serde(default)]
    pub p_mean_two_sided: Option<f64>,
    /// Two-sided p-value of "the differential coefficient is zero".
    #[serde(default)]
    pub p_differential_two_sided: Option<f64>,
}

/// Residuals for tests on out-of-fold predictions; n values each.
#[derive(Clone, Copy, Debug)]
pub struct Residuals<'a> {
    /// Outcome.
    pub outcome: &'a [f64],
    /// Predicted mean outcome, out of fold.
    pub outcome_hat: &'a [f64],
    /// Treatment: 0, 1 or a dose.
    pub treatment: &'a [f64],
    /// Its predicted or declared mean.
    pub treatment_hat: &'a [f64],
    /// Predicted effect, out of fold.
    pub effect_hat: &'a [f64],
    /// Sampling weights.
    pub weights: Option<&'a [f64]>,
    /// Cluster of each row.
    pub clusters: Option<&'a [u32]>,
}

/// Group average treatment effects by the ranking, `n_groups` of equal weight.
///
/// Undefined estimates carry their reason: no doubly robust scores, equal predictions.
///
/// # Errors
/// [`MetricsError::BadSetting`] for fewer than two groups or more groups than rows.
pub fn gates(sorted: &Sorted<'_>, n_groups: usize) -> Result<Gates, MetricsError> {
    if n_groups < 2 || n_groups > sorted.n() {
        let allowed = "there must be at least two groups and no more than rows";
        return Err(MetricsError::BadSetting { what: "number of groups", value: n_groups.to_string(), allowed });
    }
    if sorted.is_constant() || !sorted.has_gamma() {
        let none = || Estimate::undefined(if sorted.is_constant() { NO_HETEROGENEITY } else { NO_GAMMA });
        return Ok(Gates { groups: Vec::new(), most_minus_least: none(), calibration_error: none() });
    }
    let dense = dense_clusters(sorted);
    let fractions: Vec<f64> = (0..=n_groups).map(|i| i as f64 / n_groups as f64).collect();
    let cuts = sorted.cuts(&fractions, Side::Both);
    let slices: Vec<Shares> = cuts.windows(2).map(|pair| sorted.between(pair[0], pair[1])).collect();
    let score = |place: usize| Some(sorted.rows().score[sorted.order()[place] as usize]);
    let groups: Vec<GroupEffect> = slices
        .iter()
        .enumerate()
        .map(|(index, shares)| {
            let scores = SliceMean::of(sorted, shares, score);
            let effect = gamma_mean(sorted, shares, dense.as_ref());
            GroupEffect { group: index as u32 + 1, n: scores.weight, mean_score: scores.mean, effect }
        })
        .collect();
    let (first, last) = (&slices[0], &slices[n_groups - 1]);
    let mean = |shares: &Shares| SliceMean::of(sorted, shares, |place| Some(sorted.gamma(place)));
    let (a, b) = (mean(first), mean(last));
    let most_minus_least = match &dense {
        None => Estimate::new(a.mean - b.mean, (a.variance() + b.variance()).sqrt(), a.n + b.n),
        Some(dense) => {
            let mut parts = ClusterParts::new(dense);
            parts.add(sorted, first, |place| Some((sorted.gamma(place) - a.mean) / a.weight));
            parts.add(sorted, last, |place| Some((b.mean - sorted.gamma(place)) / b.weight));
            parts.estimate(a.mean - b.mean, a.n + b.n)
        }
    };
    let calibration_error = calibration_error(&groups, sorted.n() as u64);
    Ok(Gates { groups, most_minus_least, calibration_error })
}

fn calibration_error(groups: &[GroupEffect], n: u64) -> Estimate {
    let mut sum = 0.0;
    for group in groups {
        let (Some(effect), Some(std_error)) = (group.effect.value(), group.effect.std_error()) else {
            return Estimate::undefined("a group has too few rows");
        };
        sum += (effect - group.mean_score).powi(2) - std_error.powi(2);
    }
    Estimate::point(sum / groups.len() as f64, n)
}

/// Best linear predictor of the effect from the score, on doubly robust scores: Γ regressed on
/// 1 and S − S̄ with HC3 errors, or by cluster with CR2.
///
/// # Errors
/// As [`Scored::sort`] for bad rows.
pub fn best_linear_predictor(scored: &Scored<'_>) -> Result<BestLinearPredictor, MetricsError> {
    let Some(gamma) = scored.gamma else { return Ok(BestLinearPredictor::undefined(NO_GAMMA)) };
    same_length("doubly robust score", scored.score.len(), gamma.len())?;
    all_finite("score", scored.score)?;
    if scored.score.windows(2).all(|pair| pair[0] == pair[1]) {
        return Ok(BestLinearPredictor::undefined(NO_HETEROGENEITY));
    }
    let mean = weighted_mean(scored.score, scored.weights);
    let centred: Vec<f64> = scored.score.iter().map(|s| s - mean).collect();
    let columns: [&[f64]; 1] = [&centred];
    let regression = Regression {
        columns: &columns,
        outcome: gamma,
        weights: scored.weights,
        clusters: scored.clusters,
        intercept: true,
    };
    let [average, slope] = two_contrasts(&regression)?;
    let p_slope = slope.z().map(upper_tail_p);
    Ok(BestLinearPredictor { average, slope, p_slope })
}

impl BestLinearPredictor {
    fn undefined(reason: &'static str) -> Self {
        let none = || Estimate::undefined(reason);
        BestLinearPredictor { average: none(), slope: none(), p_slope: None }
    }
}

/// The calibration test (Athey & Wager 2019, after Chernozhukov et al. 2018): no intercept,
/// HC3 errors, or CR2 by cluster.
///
/// # Errors
/// [`MetricsError::Length`], [`MetricsError::BadValue`] for a value that isn't finite,
/// [`MetricsError::TooFewRows`].
pub fn calibration_test(rows: &Residuals<'_>) -> Result<CalibrationTest, MetricsError> {
    let n = rows.outcome.len();
    let inputs = [
        ("predicted outcome", rows.outcome_hat),
        ("treatment", rows.treatment),
        ("predicted treatment", rows.treatment_hat),
        ("predicted effect", rows.effect_hat),
    ];
    for (what, values) in inputs {
        same_length(what, n, values.len())?;
        all_finite(what, values)?;
    }
    let mean = weighted_mean(rows.effect_hat, rows.weights);
    let residual = |values: &[f64], hat: &[f64]| values.iter().zip(hat).map(|(v, h)| v - h).collect::<Vec<f64>>();
    let (outcome, treatment) = (residual(rows.outcome, rows.outcome_hat), residual(rows.treatment, rows.treatment_hat));
    let average: Vec<f64> = treatment.iter().map(|w| w * mean).collect();
    let differential: Vec<f64> = treatment.iter().zip(rows.effect_hat).map(|(w, t)| w * (t - mean)).collect();
    let columns: [&[f64]; 2] = [&average, &differential];
    let regression = Regression {
        columns: &columns,
        outcome: &outcome,
        weights: rows.weights,
        clusters: rows.clusters,
        intercept: false,
    };
    let model = regression.fit(Penalty::None)?;
    let kind = robust_kind(rows.clusters);
    // Equal predictions leave rounding errors of their mean, which must not pass for differences.
    let constant = rows.effect_hat.windows(2).all(|pair| pair[0] == pair[1]);
    let contrast = |index: usize| -> Result<Tested, MetricsError> {
        if model.dropped.contains(&index) || (index == 1 && constant) {
            let reason = if index == 1 { NO_HETEROGENEITY } else { "the mean prediction is 0" };
            return Ok((Estimate::undefined(reason), None, None));
        }
        let direction = [0.0, f64::from(u8::from(index == 0)), f64::from(u8::from(index == 1))];
        let estimate = regression.contrast(&model, &direction, kind)?;
        let freedom = match rows.clusters {
            // As the intervals: few clusters make the normal distribution too narrow.
            Some(_) => regression.contributions(&model, &direction, kind)?.degrees_of_freedom,
            None => f64::INFINITY,
        };
        let two_sided = estimate.z().map(|z| t_two_sided_p(z, freedom));
        let upper = estimate.z().zip(two_sided).map(|(z, p)| if z > 0.0 { 0.5 * p } else { 1.0 - 0.5 * p });
        Ok((estimate, upper, two_sided))
    };
    let (mean_prediction, p_mean, p_mean_two_sided) = contrast(0)?;
    let (differential_prediction, p_differential, p_differential_two_sided) = contrast(1)?;
    Ok(CalibrationTest {
        mean_prediction,
        differential_prediction,
        p_mean,
        p_differential,
        p_mean_two_sided,
        p_differential_two_sided,
    })
}

/// A coefficient with its one-sided and two-sided p-values.
type Tested = (Estimate, Option<f64>, Option<f64>);

fn robust_kind(clusters: Option<&[u32]>) -> Covariance {
    if clusters.is_some() { Covariance::Cr2 } else { Covariance::Hc3 }
}

fn two_contrasts(regression: &Regression<'_>) -> Result<[Estimate; 2], MetricsError> {
    let model = regression.fit(Penalty::None)?;
    let kind = robust_kind(regression.clusters);
    let first = regression.contrast(&model, &[1.0, 0.0], kind)?;
    Ok([first, regression.contrast(&model, &[0.0, 1.0], kind)?])
}

fn weighted_mean(values: &[f64], weights: Option<&[f64]>) -> f64 {
    match weights {
        None => values.iter().sum::<f64>() / values.len().max(1) as f64,
        Some(w) => values.iter().zip(w).map(|(v, w)| v * w).sum::<f64>() / w.iter().sum::<f64>(),
    }
}
