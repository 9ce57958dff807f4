//! Scores that are linear in the effect, ψ = θ·a + b: their root, its standard error, and
//! the median over repeated cross-fitting (Chernozhukov et al. 2018, section 3).

use impactiq_data::Dataset;
use impactiq_data::dose::weighted_mean;
use impactiq_metrics::{Estimate, MetricsError};

use crate::error::CausalError;

/// The two parts of a score, n values each: ψᵢ(θ) = θ·slopeᵢ + constantᵢ.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearScore {
    /// a: what multiplies the effect.
    pub slope: Vec<f64>,
    /// b: the rest.
    pub constant: Vec<f64>,
}

/// Rows as a score sees them.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScoreRows<'a> {
    /// Weight per row, from 0 up.
    pub weights: Option<&'a [f64]>,
    /// Cluster per row.
    pub clusters: Option<&'a [u32]>,
}

impl<'a> ScoreRows<'a> {
    /// The weights and clusters of a data set.
    pub fn of(data: &'a Dataset) -> Self {
        ScoreRows { weights: data.weights.as_deref(), clusters: data.clusters.as_deref() }
    }
}

/// A share of the slopes' size below which their mean counts as zero.
const FLAT: f64 = 1e-10;

impl LinearScore {
    /// The root θ of Σ wᵢ ψᵢ(θ) = 0.
    ///
    /// # Errors
    /// [`CausalError::NoVariation`] where the slopes cancel: treatment (or instrument) does not
    /// move once features are accounted for.
    pub fn root(&self, rows: ScoreRows<'_>) -> Result<f64, CausalError> {
        let weight = |row: usize| rows.weights.map_or(1.0, |w| w[row]);
        let n = self.slope.len();
        let sum = |values: &[f64]| (0..n).map(|row| weight(row) * values[row]).sum::<f64>();
        let (slope, constant) = (sum(&self.slope), sum(&self.constant));
        let size: f64 = (0..n).map(|row| weight(row) * self.slope[row].abs()).sum();
        let flat = slope.abs() <= FLAT * size || size == 0.0;
        if flat || !(slope.is_finite() && constant.is_finite()) {
            return Err(CausalError::NoVariation {
                what: "what the features leave of the treatment (or of the instrument's pull on it)".into(),
            });
        }
        Ok(-constant / slope)
    }

    /// What each row adds to θ̂ − θ, to first order: −wᵢψᵢ(θ̂) / Σ wⱼ aⱼ.
    pub fn influence(&self, theta: f64, rows: ScoreRows<'_>) -> Vec<f64> {
        let weight = |row: usize| rows.weights.map_or(1.0, |w| w[row]);
        let n = self.slope.len();
        let slope: f64 = (0..n).map(|row| weight(row) * self.slope[row]).sum();
        (0..n).map(|row| -weight(row) * (theta * self.slope[row] + self.constant[row]) / slope).collect()
    }

    /// The root with its standard error: √Σᵢ influenceᵢ² as DoubleML has it; with clusters
    /// influences are summed by cluster first, times G/(G−1), and the interval is Student's
    /// with G−1 degrees of freedom.
    ///
    /// # Errors
    /// As [`LinearScore::root`]; [`CausalError::Metrics`] for fewer than two clusters.
    pub fn solve(&self, rows: ScoreRows<'_>) -> Result<Estimate, CausalError> {
        let theta = self.root(rows)?;
        Ok(spread(theta, &self.influence(theta, rows), rows)?)
    }
}

/// An estimate from what each row adds to its error.
///
/// # Errors
/// [`MetricsError::TooFewRows`] for fewer than two clusters of positive weight.
pub fn spread(value: f64, influence: &[f64], rows: ScoreRows<'_>) -> Result<Estimate, MetricsError> {
    let used = |row: usize| rows.weights.is_none_or(|w| w[row] > 0.0);
    let n = (0..influence.len()).filter(|&row| used(row)).count() as u64;
    let Some(clusters) = rows.clusters else {
        let variance: f64 = influence.iter().map(|v| v * v).sum();
        return Ok(Estimate::new(value, variance.sqrt(), n));
    };
    let mut order: Vec<u32> = (0..influence.len() as u32).filter(|&row| used(row as usize)).collect();
    order.sort_by_key(|&row| clusters[row as usize]);
    let groups = order.chunk_by(|a, b| clusters[*a as usize] == clusters[*b as usize]);
    let sums: Vec<f64> = groups.map(|rows| rows.iter().map(|&row| influence[row as usize]).sum::<f64>()).collect();
    if sums.len() < 2 {
        return Err(MetricsError::TooFewRows { what: "clusters", found: sums.len(), needed: 2 });
    }
    let many = sums.len() as f64;
    let variance: f64 = sums.iter().map(|v| v * v).sum::<f64>() * many / (many - 1.0);
    Ok(Estimate::with_t(value, variance.sqrt(), many - 1.0, n))
}

/// The weighted mean of the rows' scores.
///
/// # Errors
/// As [`spread`].
pub fn mean_of_scores(scores: &[f64], rows: ScoreRows<'_>) -> Result<Estimate, MetricsError> {
    let weight = |row: usize| rows.weights.map_or(1.0, |w| w[row]);
    let total: f64 = (0..scores.len()).map(weight).sum();
    let mean = weighted_mean(scores, rows.weights);
    let influence: Vec<f64> =
        scores.iter().enumerate().map(|(row, score)| weight(row) * (score - mean) / total).collect();
    spread(mean, &influence, rows)
}

/// One answer from repeated cross-fitting: the median θ, and the median over repetitions of
/// SE² + (θ_r − θ)², so that the luck of the folds is part of the error (Chernozhukov et al. 2018,
/// definition 3.3, with the spread in the units of θ: their formula divides it by n, which would
/// make it vanish).
///
/// # Panics
/// Without repetitions (a bug of the caller).
pub fn median_of(repetitions: &[Estimate]) -> Estimate {
    let values: Vec<f64> = repetitions.iter().filter_map(Estimate::value).collect();
    let theta = median(values);
    let Some(first) = repetitions.first().filter(|_| repetitions.len() > 1) else {
        return repetitions[0].clone();
    };
    let variances = repetitions.iter().map(|r| {
        let (value, error) = (r.value().unwrap_or(f64::NAN), r.std_error().unwrap_or(f64::NAN));
        error * error + (value - theta) * (value - theta)
    });
    let std_error = median(variances.collect()).sqrt();
    // The width per standard error is the same in all of them: normal, or Student's t.
    let width = match (first.upper(), first.value(), first.std_error()) {
        (Some(upper), Some(value), Some(error)) if error > 0.0 => (upper - value) / error,
        _ => f64::NAN,
    };
    let n = first.n().unwrap_or_default();
    Estimate::with_bounds(theta, std_error, theta - width * std_error, theta + width * std_error, n)
}

/// The middle value; the mean of the two middle ones where their number is even.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => f64::NAN,
        _ if n % 2 == 1 => values[n / 2],
        _ => 0.5 * (values[n / 2 - 1] + values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_the_root_of_its_score_with_the_plug_in_error() {
        let y = [1.0, 2.0, 6.0];
        let score = LinearScore { slope: vec![-1.0; 3], constant: y.to_vec() };
        let estimate = score.solve(ScoreRows::default()).unwrap();
        assert_eq!(estimate.value(), Some(3.0));
        // Σ(y − 3)² / 3² = 14 / 9.
        assert!((estimate.std_error().unwrap() - (14.0f64 / 9.0).sqrt()).abs() < 1e-15);
        let weights = [1.0, 1.0, 0.0];
        let weighted = score.solve(ScoreRows { weights: Some(&weights), clusters: None }).unwrap();
        assert_eq!((weighted.value(), weighted.n()), (Some(1.5), Some(2)));
    }

    #[test]
    fn rows_of_a_cluster_move_together() {
        let score = LinearScore { slope: vec![-1.0; 4], constant: vec![0.0, 0.0, 2.0, 2.0] };
        let clusters = [7, 7, 9, 9];
        let estimate = score.solve(ScoreRows { weights: None, clusters: Some(&clusters) }).unwrap();
        // Two cluster sums of ∓2/4 each, times 2/(2−1): variance 1.
        assert!((estimate.std_error().unwrap() - 1.0).abs() < 1e-15);
        let one = score.solve(ScoreRows { weights: None, clusters: Some(&[1; 4]) });
        assert!(matches!(one.unwrap_err(), CausalError::Metrics(MetricsError::TooFewRows { found: 1, .. })));
    }

    #[test]
    fn slopes_that_cancel_have_no_root() {
        let score = LinearScore { slope: vec![1.0, -1.0], constant: vec![1.0, 1.0] };
        assert!(matches!(score.solve(ScoreRows::default()), Err(CausalError::NoVariation { .. })));
        let score = LinearScore { slope: vec![0.0, 0.0], constant: vec![1.0, 1.0] };
        assert!(matches!(score.solve(ScoreRows::default()), Err(CausalError::NoVariation { .. })));
    }

    #[test]
    fn the_median_of_repetitions_carries_the_luck_of_the_folds() {
        let repetitions = [1.0, 2.0, 4.0].map(|value| Estimate::new(value, 1.0, 10));
        let estimate = median_of(&repetitions);
        assert_eq!(estimate.value(), Some(2.0));
        // SE² + deviation²: 2, 1, 5; the median is 2.
        assert!((estimate.std_error().unwrap() - 2.0f64.sqrt()).abs() < 1e-15);
        let width = (estimate.upper().unwrap() - 2.0) / estimate.std_error().unwrap();
        assert!((width - 1.959_963_984_540_054).abs() < 1e-12);
        assert_eq!(median_of(&repetitions[..1]), repetitions[0]);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }
}
