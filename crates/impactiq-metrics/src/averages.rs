//! Average effects of one arm against the control: difference in means, Lin's regression
//! adjustment and doubly robust (AIPW) scores, with weights and clusters; relative lift and
//! incremental outcomes beside them.
//!
//! Standard errors are for the population the rows were drawn from. Without clusters: Neyman
//! (difference), HC2 plus the sampling of covariate means (Lin), the variance of the scores
//! (AIPW). With clusters: CR2 with Satterthwaite's degrees of freedom, so intervals are
//! Student's t. Nuisance models do not live here; they come in as numbers.

use crate::estimate::Estimate;
use crate::least_squares::{Penalty, Regression};
pub use crate::lift::{Lift, RelativeMethod};
use crate::lift::{MeanPair, root};
use crate::robust::{Covariance, DenseClusters, Group, satterthwaite};

/// Rows of an experiment seen as one contrast: an arm against the control (code 0). Rows of
/// other arms may be present and are left out where they don't help.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Outcome, n finite values.
    pub outcome: &'a [f64],
    /// Arm code of each row; 0 is the control.
    pub arm: &'a [u8],
    /// The arm code that is compared with the control.
    pub contrast: u8,
    /// Sampling weights, n values from 0 up.
    pub weights: Option<&'a [f64]>,
    /// Cluster of each row.
    pub clusters: Option<&'a [u32]>,
}

/// Nuisances of one contrast: predicted mean outcomes and assignment probabilities per row.
#[derive(Clone, Copy, Debug)]
pub struct ArmNuisances<'a> {
    /// Predicted outcome under the arm, n values.
    pub mean_treated: &'a [f64],
    /// Predicted outcome under control, n values.
    pub mean_control: &'a [f64],
    /// Probability of the arm, n values in (0, 1].
    pub p_treated: &'a [f64],
    /// Probability of control, n values in (0, 1].
    pub p_control: &'a [f64],
}

/// Difference in means, arm minus control, with Neyman's standard error (by cluster: CR2).
///
/// ```
/// use impactiq_metrics::averages::{Sample, difference_in_means};
/// let sample = Sample { outcome: &[3.0, 5.0, 1.0, 2.0], arm: &[1, 1, 0, 0], contrast: 1, weights: None, clusters: None };
/// let ate = difference_in_means(&sample);
/// assert_eq!(ate.value(), Some(2.5));
/// assert!((ate.std_error().unwrap() - 1.25f64.sqrt()).abs() < 1e-12);
/// ```
pub fn difference_in_means(sample: &Sample<'_>) -> Estimate {
    difference_lift(sample).ate
}

/// Difference in means with relative lift, incremental outcomes and both means.
pub fn difference_lift(sample: &Sample<'_>) -> Lift {
    match sample.check(&[]).and_then(|()| difference_pair(sample)) {
        Ok(pair) => pair.lift(sample.size_of_arm()),
        Err(reason) => Lift::undefined(reason),
    }
}

/// Lin's (2013) estimator: outcome regressed on covariates within each arm, both regressions
/// read off at the covariates' means over all rows.
///
/// Covariates are columns of n values; NaN is replaced by the column's mean and marked by an
/// indicator of its own; constant and collinear columns drop out. The standard error is HC2
/// plus the sampling of the covariate means, without which heterogeneous effects give
/// intervals that are too short for the population (Negi & Wooldridge 2021).
pub fn lin(sample: &Sample<'_>, covariates: &[&[f64]]) -> Estimate {
    lin_lift(sample, covariates).ate
}

/// Lin's estimator with relative lift, incremental outcomes and both adjusted means.
pub fn lin_lift(sample: &Sample<'_>, covariates: &[&[f64]]) -> Lift {
    let pair = sample.check(covariates).and_then(|()| lin_pair(sample, covariates));
    match pair {
        Ok(pair) => pair.lift(sample.size_of_arm()),
        Err(reason) => Lift::undefined(reason),
    }
}

/// Doubly robust scores of arm `k` against control for every row:
/// Γᵢ = μₖ − μ₀ + 1{armᵢ = k}(yᵢ − μₖ)/pₖ − 1{armᵢ = 0}(yᵢ − μ₀)/p₀ (Robins, Rotnitzky & Zhao 1994).
pub fn aipw_scores(outcome: &[f64], arm: &[u8], k: u8, nuisances: &ArmNuisances<'_>) -> Vec<f64> {
    let treated = aipw_mean_scores(outcome, arm, k, nuisances.mean_treated, nuisances.p_treated);
    let control = aipw_mean_scores(outcome, arm, 0, nuisances.mean_control, nuisances.p_control);
    treated.iter().zip(control).map(|(t, c)| t - c).collect()
}

/// Doubly robust scores of one arm's mean: μ + 1{armᵢ = code}(yᵢ − μ)/p.
pub fn aipw_mean_scores(outcome: &[f64], arm: &[u8], code: u8, mean: &[f64], p: &[f64]) -> Vec<f64> {
    (outcome.iter().zip(arm).zip(mean).zip(p))
        .map(|(((y, &a), mu), p)| if a == code { mu + (y - mu) / p } else { *mu })
        .collect()
}

/// The (weighted) mean of scores with its standard error, by cluster where clusters are given.
pub fn mean_score(scores: &[f64], weights: Option<&[f64]>, clusters: Option<&[u32]>) -> Estimate {
    match score_pair(scores, None, weights, clusters) {
        Ok(pair) => pair.treated_estimate(),
        Err(reason) => Estimate::undefined(reason),
    }
}

/// The same with clusters that were found before; all of one length.
pub(crate) fn mean_score_in(scores: &[f64], weights: Option<&[f64]>, dense: Option<&DenseClusters>) -> Estimate {
    match dense_score_pair(scores, None, weights, dense) {
        Ok(pair) => pair.treated_estimate(),
        Err(reason) => Estimate::undefined(reason),
    }
}

/// Effect, relative lift and incremental outcomes from the doubly robust scores of the two
/// arms' means; `n_treated` is the (weighted) number of rows in the arm.
pub fn score_lift(
    treated: &[f64],
    control: &[f64],
    weights: Option<&[f64]>,
    clusters: Option<&[u32]>,
    n_treated: f64,
) -> Lift {
    match score_pair(treated, Some(control), weights, clusters) {
        Ok(pair) => pair.lift(n_treated),
        Err(reason) => Lift::undefined(reason),
    }
}

/// Difference, standard error and degrees of freedom, for tests; `None` where undefined.
pub(crate) fn difference_test(sample: &Sample<'_>) -> Option<(f64, f64, f64)> {
    let pair = sample.check(&[]).and_then(|()| difference_pair(sample)).ok()?;
    let variance = pair.variance_treated + pair.variance_control - 2.0 * pair.covariance;
    Some((pair.treated - pair.control, root(variance), pair.freedom[2]))
}

impl Sample<'_> {
    fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |w| w[row])
    }

    fn size_of_arm(&self) -> f64 {
        (0..self.arm.len()).filter(|&row| self.arm[row] == self.contrast).map(|row| self.weight(row)).sum()
    }

    pub(crate) fn check(&self, covariates: &[&[f64]]) -> Result<(), String> {
        let n = self.outcome.len();
        let same = self.arm.len() == n
            && self.weights.is_none_or(|w| w.len() == n)
            && self.clusters.is_none_or(|c| c.len() == n)
            && covariates.iter().all(|c| c.len() == n);
        if !same {
            return Err("the inputs have different numbers of rows".into());
        }
        if self.contrast == 0 {
            return Err("the control cannot be compared with itself".into());
        }
        let present = |code: u8| (0..n).any(|row| self.arm[row] == code && self.weight(row) > 0.0);
        if !present(self.contrast) {
            return Err("no treated rows".into());
        }
        if !present(0) {
            return Err("no control rows".into());
        }
        Ok(())
    }
}

/// Weighted sums of one arm.
#[derive(Clone, Copy, Debug, Default)]
struct ArmSums {
    n: u64,
    weight: f64,
    mean: f64,
    squares: f64,
}

fn arm_sums(sample: &Sample<'_>, code: u8) -> ArmSums {
    let rows = || (0..sample.arm.len()).filter(|&r| sample.arm[r] == code && sample.weight(r) > 0.0);
    let mut sums = ArmSums::default();
    let mut total = 0.0;
    for row in rows() {
        sums.n += 1;
        sums.weight += sample.weight(row);
        total += sample.weight(row) * sample.outcome[row];
    }
    sums.mean = total / sums.weight;
    sums.squares = rows().map(|r| (sample.weight(r) * (sample.outcome[r] - sums.mean)).powi(2)).sum();
    sums
}

fn difference_pair(sample: &Sample<'_>) -> Result<MeanPair, String> {
    let (treated, control) = (arm_sums(sample, sample.contrast), arm_sums(sample, 0));
    let n = treated.n + control.n;
    let mut pair = MeanPair::new(treated.mean, control.mean, n);
    if let Some(clusters) = sample.clusters {
        cluster_difference(sample, &DenseClusters::new(clusters), [treated, control], &mut pair);
        return Ok(pair);
    }
    let variance = |s: ArmSums| s.squares / (s.weight * s.weight) * s.n as f64 / (s.n as f64 - 1.0);
    pair.variance_treated = variance(treated);
    pair.variance_control = variance(control);
    pair.covariance = 0.0;
    Ok(pair)
}

/// CR2 of two means that share clusters: the regression on two arm indicators in closed form.
fn cluster_difference(sample: &Sample<'_>, dense: &DenseClusters, sums: [ArmSums; 2], pair: &mut MeanPair) {
    let mut score = vec![[0.0f64; 2]; dense.n];
    let mut share = vec![[0.0f64; 2]; dense.n];
    for (row, &g) in dense.of_row.iter().enumerate() {
        let side = match sample.arm[row] {
            0 => 1,
            code if code == sample.contrast => 0,
            _ => continue,
        };
        let weight = sample.weight(row) / sums[side].weight;
        score[g as usize][side] += weight * (sample.outcome[row] - sums[side].mean);
        share[g as usize][side] += weight;
    }
    let corrected = |g: usize, side: usize| {
        let left = 1.0 - share[g][side];
        if left < 1e-9 { 0.0 } else { score[g][side] / left.sqrt() }
    };
    let parts: Vec<[f64; 2]> = (0..dense.n).map(|g| [corrected(g, 0), corrected(g, 1)]).collect();
    pair.fill(&parts);
    let lengths = sums.map(|s| 1.0 / s.weight.sqrt());
    let freedom = |signs: [f64; 2]| {
        let groups: Vec<Group> =
            share.iter().map(|h| Group::diagonal(*h, [0, 1].map(|i| signs[i] * lengths[i]))).collect();
        satterthwaite(&groups, 2)
    };
    pair.freedom = [freedom([1.0, 0.0]), freedom([0.0, 1.0]), freedom([1.0, -1.0])];
    let single = |side: usize| share.iter().filter(|h| h[side] > 0.0).count() < 2;
    if single(0) || single(1) {
        // One cluster says nothing about how clusters differ.
        pair.variance_treated = if single(0) { f64::NAN } else { pair.variance_treated };
        pair.variance_control = if single(1) { f64::NAN } else { pair.variance_control };
    }
}

fn lin_pair(sample: &Sample<'_>, covariates: &[&[f64]]) -> Result<MeanPair, String> {
    let filled: Vec<Vec<f64>> = covariates.iter().flat_map(|c| fill_missing(c, sample)).collect();
    let columns: Vec<&[f64]> = complete_columns(covariates, &filled);
    let total: f64 = (0..sample.arm.len()).map(|r| sample.weight(r)).sum();
    let means: Vec<f64> =
        columns.iter().map(|c| c.iter().enumerate().map(|(r, x)| sample.weight(r) * x).sum::<f64>() / total).collect();
    let point: Vec<f64> = std::iter::once(1.0).chain(means.iter().copied()).collect();
    let dense = sample.clusters.map(DenseClusters::new);
    let mut values = [0.0; 2];
    let mut freedom = [f64::INFINITY; 2];
    let mut parts: Vec<[f64; 2]> = Vec::new();
    for (side, code) in [sample.contrast, 0].into_iter().enumerate() {
        let fit = lin_arm(sample, code, &columns, &point)?;
        parts.resize(fit.parts.len(), [0.0; 2]);
        parts.iter_mut().zip(&fit.parts).for_each(|(p, f)| p[side] = *f);
        // The covariates' means are themselves a sample's.
        let shift = (dense.as_ref().map_or(1.0, |d| d.n as f64 / (d.n as f64 - 1.0).max(1.0))).sqrt() / total;
        for row in 0..sample.arm.len() {
            let gap: f64 = columns.iter().zip(&means).zip(&fit.slopes).map(|((c, m), b)| b * (c[row] - m)).sum();
            let place = dense.as_ref().map_or(row, |d| d.of_row[row] as usize);
            parts[place][side] += sample.weight(row) * gap * shift;
        }
        values[side] = fit.value;
        freedom[side] = fit.freedom;
    }
    let n = (0..sample.arm.len())
        .filter(|&r| (sample.arm[r] == 0 || sample.arm[r] == sample.contrast) && sample.weight(r) > 0.0)
        .count();
    let mut pair = MeanPair::new(values[0], values[1], n as u64);
    pair.fill(&parts);
    if let Some(dense) = dense {
        let (a, b) = (pair.variance_treated, pair.variance_control);
        let welch = (a + b).powi(2) / (a * a / freedom[0] + b * b / freedom[1]);
        pair.freedom = [freedom[0], freedom[1], welch.min(dense.n as f64 - 1.0)];
    }
    Ok(pair)
}

struct LinArm {
    value: f64,
    slopes: Vec<f64>,
    parts: Vec<f64>,
    freedom: f64,
}

/// One arm's regression: its prediction at `point` and what each row or cluster contributes.
fn lin_arm(sample: &Sample<'_>, code: u8, columns: &[&[f64]], point: &[f64]) -> Result<LinArm, String> {
    let masked: Vec<f64> =
        (0..sample.arm.len()).map(|r| if sample.arm[r] == code { sample.weight(r) } else { 0.0 }).collect();
    let regression = Regression {
        columns,
        outcome: sample.outcome,
        weights: Some(&masked),
        clusters: sample.clusters,
        intercept: true,
    };
    let model = regression.fit(Penalty::None).map_err(|e| e.to_string())?;
    if model.n_rows <= model.rank {
        return Err(format!("arm {code} has {} rows for {} coefficients", model.n_rows, model.rank));
    }
    let kind = if sample.clusters.is_some() { Covariance::Cr2 } else { Covariance::Hc2 };
    let parts = regression.contributions(&model, point, kind).map_err(|e| e.to_string())?;
    let freedom = if sample.clusters.is_some() { parts.degrees_of_freedom } else { f64::INFINITY };
    Ok(LinArm { value: model.combination(point), slopes: model.coefficients, parts: parts.values, freedom })
}

/// A column with missing values becomes two: means filled in, and an indicator. Complete
/// columns give nothing here; they are borrowed as they are.
fn fill_missing(column: &[f64], sample: &Sample<'_>) -> Vec<Vec<f64>> {
    if !column.iter().any(|x| x.is_nan()) {
        return Vec::new();
    }
    let (mut sum, mut weight) = (0.0, 0.0);
    for (row, x) in column.iter().enumerate().filter(|(_, x)| !x.is_nan()) {
        sum += sample.weight(row) * x;
        weight += sample.weight(row);
    }
    let mean = if weight > 0.0 { sum / weight } else { 0.0 };
    let filled = column.iter().map(|&x| if x.is_nan() { mean } else { x }).collect();
    let missing = column.iter().map(|x| f64::from(u8::from(x.is_nan()))).collect();
    vec![filled, missing]
}

fn complete_columns<'a>(covariates: &[&'a [f64]], filled: &'a [Vec<f64>]) -> Vec<&'a [f64]> {
    let mut next = filled.iter();
    let mut columns: Vec<&[f64]> = Vec::new();
    for &column in covariates {
        if column.iter().any(|x| x.is_nan()) {
            columns.extend(next.by_ref().take(2).map(Vec::as_slice));
        } else {
            columns.push(column);
        }
    }
    columns
}

fn score_pair(
    first: &[f64],
    second: Option<&[f64]>,
    weights: Option<&[f64]>,
    clusters: Option<&[u32]>,
) -> Result<MeanPair, String> {
    let n = first.len();
    let same = second.is_none_or(|s| s.len() == n)
        && weights.is_none_or(|w| w.len() == n)
        && clusters.is_none_or(|c| c.len() == n);
    if !same {
        return Err("the inputs have different numbers of rows".into());
    }
    dense_score_pair(first, second, weights, clusters.map(DenseClusters::new).as_ref())
}

fn dense_score_pair(
    first: &[f64],
    second: Option<&[f64]>,
    weights: Option<&[f64]>,
    dense: Option<&DenseClusters>,
) -> Result<MeanPair, String> {
    let n = first.len();
    let weight = |row: usize| weights.map_or(1.0, |w| w[row]);
    let total: f64 = (0..n).map(weight).sum();
    let used = (0..n).filter(|&row| weight(row) > 0.0).count();
    if used == 0 {
        return Err("no rows".into());
    }
    let value = |row: usize| [first[row], second.map_or(0.0, |s| s[row])];
    let mean = (0..n).fold([0.0; 2], |m, row| [0, 1].map(|i| m[i] + weight(row) * value(row)[i])).map(|m| m / total);
    let mut pair = MeanPair::new(mean[0], mean[1], used as u64);
    let Some(dense) = dense else {
        let factor = used as f64 / (used as f64 - 1.0) / (total * total);
        for row in 0..n {
            let w2 = weight(row) * weight(row) * factor;
            let [a, b] = [0, 1].map(|i| value(row)[i] - mean[i]);
            pair.variance_treated += w2 * a * a;
            pair.variance_control += w2 * b * b;
            pair.covariance += w2 * a * b;
        }
        if used < 2 {
            pair.variance_treated = f64::NAN;
            pair.variance_control = f64::NAN;
        }
        return Ok(pair);
    };
    let mut parts = vec![[0.0; 2]; dense.n];
    let mut share = vec![0.0; dense.n];
    for (row, &g) in dense.of_row.iter().enumerate() {
        let w = weight(row) / total;
        share[g as usize] += w;
        let value = value(row);
        parts[g as usize].iter_mut().enumerate().for_each(|(i, p)| *p += w * (value[i] - mean[i]));
    }
    for (part, h) in parts.iter_mut().zip(&share) {
        let left = 1.0 - h;
        *part = part.map(|p| if left < 1e-9 { f64::NAN } else { p / left.sqrt() });
    }
    pair.fill(&parts);
    let groups: Vec<Group> = share.iter().map(|&h| Group::diagonal([h, 0.0], [1.0 / total.sqrt(), 0.0])).collect();
    pair.freedom = [satterthwaite(&groups, 2); 3];
    Ok(pair)
}
