//! Average effects on everybody, on the treated, on the controls and where arms overlap, each by
//! inverse-probability weighting, doubly robust scores and targeted learning.
//!
//! Nuisances come in as numbers; they must not have seen the rows they are given for. Errors
//! are those of the scores' mean, by cluster where clusters are given, as in `averages`.

use serde::{Deserialize, Serialize};

use crate::averages::{ArmNuisances, Sample, mean_score};
use crate::estimate::Estimate;

/// Whose effect is averaged. Weights of rows are those of the target group: with h the
/// density ratio of target to population, 1, p₁, p₀ or p₁p₀ up to a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Estimand {
    /// Everybody.
    Ate,
    /// Rows in the arm.
    Att,
    /// Rows in control.
    Atc,
    /// Rows weighted by p₁p₀/(p₁ + p₀)²: where arm and control are both likely (Li, Morgan &
    /// Zaslavsky 2018).
    Overlap,
}

/// How far predicted outcomes stay from the ends of their range in targeted learning.
const EDGE: f64 = 5e-4;

/// A sample with its nuisances.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// Outcomes, arms, weights, clusters.
    pub sample: Sample<'a>,
    /// Predicted means and probabilities.
    pub nuisances: ArmNuisances<'a>,
}

/// Normalised inverse-probability weighting (Hajek): the difference of two weighted means. The
/// error takes the probabilities as known, which for learned ones is on the safe side on
/// average over everybody (Hirano, Imbens & Ridder 2003).
///
/// ```
/// use impactiq_metrics::averages::{ArmNuisances, Sample};
/// use impactiq_metrics::estimands::{Comparison, Estimand, ipw};
/// let (y, arm, half, zero) = ([3.0, 5.0, 1.0, 2.0], [1, 1, 0, 0], [0.5; 4], [0.0; 4]);
/// let nuisances = ArmNuisances { mean_treated: &zero, mean_control: &zero, p_treated: &half, p_control: &half };
/// let sample = Sample { outcome: &y, arm: &arm, contrast: 1, weights: None, clusters: None };
/// assert_eq!(ipw(&Comparison { sample, nuisances }, Estimand::Ate).value(), Some(2.5));
/// ```
pub fn ipw(data: &Comparison<'_>, estimand: Estimand) -> Estimate {
    data.answer(|| {
        let scores = |treated: bool| -> Option<(f64, Vec<f64>)> {
            let weight = |row: usize| data.inverse(row, treated) * data.target(row, estimand);
            let n = data.n();
            let total: f64 = (0..n).map(|row| data.weight(row) * weight(row)).sum();
            let sum: f64 = (0..n).map(|row| data.weight(row) * weight(row) * data.sample.outcome[row]).sum();
            let (mean, size) = (sum / total, total / data.total());
            let score = |row: usize| mean + weight(row) * (data.sample.outcome[row] - mean) / size;
            (total > 0.0).then(|| (mean, (0..n).map(score).collect()))
        };
        let ((_, treated), (_, control)) = (scores(true)?, scores(false)?);
        Some(treated.iter().zip(control).map(|(t, c)| t - c).collect())
    })
}

/// Doubly robust scores averaged over the target group. On everybody: the scores of
/// `averages`. On the treated, A(Y − μ₀) − (p₁/p₀)C(Y − μ₀) over the share of the arm; on the
/// controls its mirror image. For overlap the score of the partially linear model, residual on
/// residual among the rows of both arms, which stays unbiased to first order in the
/// probabilities although they are its weights (Robinson 1988).
pub fn aipw(data: &Comparison<'_>, estimand: Estimand) -> Estimate {
    let (y, nuisances) = (data.sample.outcome, data.nuisances);
    let score = |row: usize| -> (f64, f64) {
        let (a, c) = (data.inside(row, true), data.inside(row, false));
        let (mu1, mu0) = (nuisances.mean_treated[row], nuisances.mean_control[row]);
        let (p1, p0) = (nuisances.p_treated[row], nuisances.p_control[row]);
        match estimand {
            Estimand::Ate => (mu1 - mu0 + a * (y[row] - mu1) / p1 - c * (y[row] - mu0) / p0, 1.0),
            Estimand::Att => ((a - c * p1 / p0) * (y[row] - mu0), a),
            Estimand::Atc => ((a * p0 / p1 - c) * (y[row] - mu1), c),
            Estimand::Overlap => {
                let p = p1 / (p1 + p0);
                let mean = p * mu1 + (1.0 - p) * mu0;
                let residual = (a + c) * (a - p);
                (residual * (y[row] - mean), residual * residual)
            }
        }
    };
    data.answer(|| ratio_scores(data, &score))
}

/// Targeted learning (van der Laan & Rubin 2006; weighted form): both arms' predictions are moved
/// along a logistic model, weighted by the inverse probability, until the residuals of the
/// target group's score cancel, then averaged. Outcomes are brought to [0, 1] by their range,
/// so that no prediction leaves it. `overlap` has no such form here and is undefined.
pub fn tmle(data: &Comparison<'_>, estimand: Estimand) -> Estimate {
    if estimand == Estimand::Overlap {
        return Estimate::undefined("targeted learning is given for ate, att and atc");
    }
    data.answer(|| {
        let (low, high) = data.range()?;
        let nuisances = data.nuisances;
        let sides = [true, false].map(|treated| {
            let initial = if treated { nuisances.mean_treated } else { nuisances.mean_control };
            let weight = |row: usize| data.inverse(row, treated) * data.target(row, estimand);
            targeted(data, initial, (low, high), &weight)
        });
        let [Some(treated), Some(control)] = sides else { return None };
        let y = data.sample.outcome;
        let score = |row: usize| -> (f64, f64) {
            let (a, c) = (data.inside(row, true), data.inside(row, false));
            let (p1, p0) = (nuisances.p_treated[row], nuisances.p_control[row]);
            let (q1, q0) = (treated[row], control[row]);
            match estimand {
                Estimand::Att => ((a - c * p1 / p0) * (y[row] - q0), a),
                Estimand::Atc => ((a * p0 / p1 - c) * (y[row] - q1), c),
                _ => (q1 - q0 + a * (y[row] - q1) / p1 - c * (y[row] - q0) / p0, 1.0),
            }
        };
        ratio_scores(data, &score)
    })
}

/// CUPED (Deng, Xu, Kohavi & Walker 2013): the difference in means of outcomes less what one
/// pooled regression on pre-treatment covariates explains of them; columns of n finite values.
/// Lin's estimator, which lets the slopes differ by arm, is never worse in large trials.
pub fn cuped(sample: &Sample<'_>, covariates: &[&[f64]]) -> Estimate {
    use crate::least_squares::{Penalty, Regression};
    let inside: Vec<f64> = (0..sample.arm.len())
        .map(|row| {
            let used = sample.arm[row] == 0 || sample.arm[row] == sample.contrast;
            if used { sample.weights.map_or(1.0, |w| w[row]) } else { 0.0 }
        })
        .collect();
    let regression = Regression {
        columns: covariates,
        outcome: sample.outcome,
        weights: Some(&inside),
        clusters: None,
        intercept: true,
    };
    let adjusted = regression.fit(Penalty::None).and_then(|model| {
        let mut fitted = vec![0.0; sample.outcome.len()];
        model.predict(covariates, &mut fitted)?;
        Ok(sample.outcome.iter().zip(fitted).map(|(y, f)| y - f).collect::<Vec<f64>>())
    });
    match adjusted {
        Ok(adjusted) => crate::averages::difference_in_means(&Sample { outcome: &adjusted, ..*sample }),
        Err(error) => Estimate::undefined(error.to_string()),
    }
}

/// Outcomes cut at their (unweighted, over all arms) quantiles: for means that a few giant
/// values would rule. The estimand becomes the effect on the cut outcome.
///
/// ```
/// use impactiq_metrics::estimands::winsorised;
/// let y: Vec<f64> = (1..=100).map(f64::from).collect();
/// assert_eq!(winsorised(&y, 0.0, 0.9).iter().copied().fold(0.0, f64::max), 90.0);
/// ```
pub fn winsorised(outcome: &[f64], lower: f64, upper: f64) -> Vec<f64> {
    let mut sorted = outcome.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    let quantile = |q: f64| sorted[((q.clamp(0.0, 1.0) * n as f64).ceil() as usize).clamp(1, n) - 1];
    if n == 0 {
        return Vec::new();
    }
    let (low, high) = (quantile(lower), quantile(upper));
    outcome.iter().map(|y| y.clamp(low, high.max(low))).collect()
}

/// Difference of the arms' ratios Σ outcome / Σ denominator, arm minus control (revenue per visit,
/// say): the denominator is an outcome too, so its own variation is part of the error (delta
/// method: the outcome is replaced by r + (y − r·d)/d̄ with the arm's own ratio r and mean d̄).
///
/// ```
/// use impactiq_metrics::averages::Sample;
/// use impactiq_metrics::estimands::ratio_of_means;
/// let sample = Sample { outcome: &[2.0, 8.0, 1.0, 3.0], arm: &[1, 1, 0, 0], contrast: 1, weights: None, clusters: None };
/// let difference = ratio_of_means(&sample, &[1.0, 4.0, 1.0, 1.0]);
/// assert_eq!(difference.value(), Some(0.0));
/// assert!((difference.std_error().unwrap() - 1.0).abs() < 1e-15);
/// ```
pub fn ratio_of_means(sample: &Sample<'_>, denominator: &[f64]) -> Estimate {
    if denominator.len() != sample.outcome.len() || sample.arm.len() != sample.outcome.len() {
        return Estimate::undefined("the inputs have different numbers of rows");
    }
    let weight = |row: usize| sample.weights.map_or(1.0, |w| w[row]);
    let mut linear = sample.outcome.to_vec();
    for code in [0, sample.contrast] {
        let rows: Vec<usize> = (0..linear.len()).filter(|&row| sample.arm[row] == code).collect();
        let sum = |values: &[f64]| rows.iter().map(|&row| weight(row) * values[row]).sum::<f64>();
        let total: f64 = rows.iter().map(|&row| weight(row)).sum();
        let (ratio, size) = (sum(sample.outcome) / sum(denominator), sum(denominator) / total);
        if !(ratio.is_finite() && size != 0.0) {
            return Estimate::undefined("the denominator's mean is 0");
        }
        rows.iter().for_each(|&row| linear[row] = ratio + (sample.outcome[row] - ratio * denominator[row]) / size);
    }
    crate::averages::difference_in_means(&Sample { outcome: &linear, ..*sample })
}

/// Scores whose mean is Σw·num / Σw·den, linearised.
fn ratio_scores(data: &Comparison<'_>, score: &dyn Fn(usize) -> (f64, f64)) -> Option<Vec<f64>> {
    let n = data.n();
    let parts: Vec<(f64, f64)> = (0..n).map(score).collect();
    let sum = |pick: &dyn Fn(&(f64, f64)) -> f64| (0..n).map(|row| data.weight(row) * pick(&parts[row])).sum::<f64>();
    let (numerator, denominator) = (sum(&|p| p.0), sum(&|p| p.1));
    let (value, size) = (numerator / denominator, denominator / data.total());
    (denominator > 0.0).then(|| parts.iter().map(|(num, den)| value + (num - value * den) / size).collect())
}

/// Predictions of one arm moved along logit(q) + ε until Σ w·ω·(y − q) = 0.
fn targeted(
    data: &Comparison<'_>,
    initial: &[f64],
    (low, high): (f64, f64),
    weight: &dyn Fn(usize) -> f64,
) -> Option<Vec<f64>> {
    let span = high - low;
    let logits: Vec<f64> = initial
        .iter()
        .map(|q| {
            let q = ((q - low) / span).clamp(EDGE, 1.0 - EDGE);
            (q / (1.0 - q)).ln()
        })
        .collect();
    // Only the arm's rows have weight.
    let rows: Vec<(f64, f64, f64)> = (0..data.n())
        .map(|row| (data.weight(row) * weight(row), (data.sample.outcome[row] - low) / span, logits[row]))
        .filter(|(weight, _, _)| *weight > 0.0)
        .collect();
    let total: f64 = rows.iter().map(|(weight, _, _)| weight).sum();
    if total <= 0.0 {
        return None;
    }
    let expit = |z: f64| 1.0 / (1.0 + (-z).exp());
    let score = |shift: f64| -> (f64, f64) {
        rows.iter().fold((0.0, 0.0), |(score, slope), (weight, y, logit)| {
            let q = expit(logit + shift);
            (score + weight * (y - q), slope + weight * q * (1.0 - q))
        })
    };
    // The score falls in the shift: Newton steps kept inside a shrinking bracket.
    let (mut left, mut right, mut shift) = (-40.0, 40.0, 0.0);
    for _ in 0..100 {
        let (value, slope) = score(shift);
        if value.abs() <= 1e-14 * total {
            break;
        }
        if value > 0.0 {
            left = shift
        } else {
            right = shift
        }
        let newton = shift + value / slope;
        shift = if newton > left && newton < right { newton } else { 0.5 * (left + right) };
    }
    Some(logits.iter().map(|logit| low + span * expit(logit + shift)).collect())
}

impl Comparison<'_> {
    fn n(&self) -> usize {
        self.sample.outcome.len()
    }

    fn weight(&self, row: usize) -> f64 {
        self.sample.weights.map_or(1.0, |w| w[row])
    }

    fn total(&self) -> f64 {
        (0..self.n()).map(|row| self.weight(row)).sum()
    }

    /// 1 when the row is in the arm (or in control).
    fn inside(&self, row: usize, treated: bool) -> f64 {
        let code = if treated { self.sample.contrast } else { 0 };
        f64::from(u8::from(self.sample.arm[row] == code))
    }

    fn inverse(&self, row: usize, treated: bool) -> f64 {
        let p = if treated { self.nuisances.p_treated[row] } else { self.nuisances.p_control[row] };
        self.inside(row, treated) / p
    }

    /// The target group's density ratio, up to a constant.
    fn target(&self, row: usize, estimand: Estimand) -> f64 {
        let (p1, p0) = (self.nuisances.p_treated[row], self.nuisances.p_control[row]);
        match estimand {
            Estimand::Ate => 1.0,
            Estimand::Att => p1,
            Estimand::Atc => p0,
            Estimand::Overlap => p1 * p0,
        }
    }

    /// The outcome's range among rows of positive weight; `None` for one value.
    fn range(&self) -> Option<(f64, f64)> {
        let used = (0..self.n()).filter(|&row| self.weight(row) > 0.0).map(|row| self.sample.outcome[row]);
        let (low, high) = used.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), y| (l.min(y), h.max(y)));
        (high > low).then_some((low, high))
    }

    /// The mean of scores, after the inputs were checked.
    fn answer(&self, scores: impl FnOnce() -> Option<Vec<f64>>) -> Estimate {
        let n = self.n();
        let parts = self.nuisances;
        let columns = [parts.mean_treated, parts.mean_control, parts.p_treated, parts.p_control];
        if columns.iter().any(|c| c.len() != n) {
            return Estimate::undefined("the inputs have different numbers of rows");
        }
        if let Err(reason) = self.sample.check(&[]) {
            return Estimate::undefined(reason);
        }
        let outside = |p: &f64| !(*p > 0.0 && *p <= 1.0);
        if parts.p_treated.iter().chain(parts.p_control).any(outside) {
            return Estimate::undefined("a probability is not above 0 and at most 1");
        }
        match scores() {
            Some(scores) => mean_score(&scores, self.sample.weights, self.sample.clusters),
            None => Estimate::undefined("the target group has no weight, or the outcome one value"),
        }
    }
}
