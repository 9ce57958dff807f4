//! Effects of a dose: the partially linear average and doubly robust scores of the effect of one
//! unit more, from out-of-fold residuals of outcome and dose.
//!
//! Robinson (1988): with Ỹ = Y − E[Y|X] and T̃ = T − E[T|X], the average is Σ ỸT̃ / Σ T̃². Where effects
//! differ it weighs people by the variance of their dose; a randomised dose has one for all.
//! What must not live here: effects by row (learners), how nuisances are fitted (nuisance).

use impactiq_data::dose::weighted_mean;
use impactiq_data::{Dataset, Dose};
use impactiq_metrics::Estimate;

use crate::dml::{LinearScore, ScoreRows};
use crate::effect::ContrastAverages;
use crate::error::CausalError;
use crate::nuisance::{DoseNuisances, OutOfFold};

/// Why estimators of arms have no value.
pub const NO_ARMS: &str = "the treatment is a dose: there are no arms to compare";

/// Outcome and dose less their expectations, n each.
#[derive(Clone, Debug, PartialEq)]
pub struct Residuals {
    /// Ỹ.
    pub outcome: Vec<f64>,
    /// T̃.
    pub dose: Vec<f64>,
}

impl Residuals {
    /// The residuals of one outcome.
    pub fn of(data: &Dataset, dose: &Dose, outcome: usize, nuisances: &DoseNuisances) -> Self {
        Residuals {
            outcome: nuisances.outcome[outcome].residuals(&data.outcomes[outcome].values),
            dose: nuisances.dose.residuals(&dose.values),
        }
    }

    /// The partially linear average effect of one unit, robust or by cluster.
    ///
    /// # Errors
    /// [`CausalError::NoVariation`] where features leave nothing of the dose,
    /// [`CausalError::Metrics`] for fewer than two clusters.
    pub fn average(&self, data: &Dataset) -> Result<Estimate, CausalError> {
        let pairs = || self.outcome.iter().zip(&self.dose);
        let score = LinearScore {
            slope: self.dose.iter().map(|t| -t * t).collect(),
            constant: pairs().map(|(y, t)| y * t).collect(),
        };
        score.solve(ScoreRows::of(data))
    }

    /// Doubly robust scores of each row's effect of one unit: θ + T̃ (Ỹ − θT̃) / Var(T|X). Their mean
    /// given X is the effect at X for any θ (Robins & Rotnitzky; the form that grf documents for
    /// continuous treatments); a good θ makes them less noisy.
    pub fn scores(&self, theta: f64, variance: &OutOfFold) -> Vec<f64> {
        self.outcome
            .iter()
            .zip(&self.dose)
            .enumerate()
            .map(|(row, (y, t))| theta + t * (y - theta * t) / variance.get(row))
            .collect()
    }
}

/// The average effect of one unit of the dose on every outcome.
///
/// # Errors
/// As [`Residuals::average`].
pub fn averages(data: &Dataset, dose: &Dose, nuisances: &DoseNuisances) -> Result<Vec<ContrastAverages>, CausalError> {
    let of_outcome = |outcome: usize| -> Result<ContrastAverages, CausalError> {
        let ate = Residuals::of(data, dose, outcome, nuisances).average(data)?;
        let mut averages =
            ContrastAverages::without_arms(&data.outcomes[outcome].name, &dose.name, ate.clone(), NO_ARMS);
        averages.estimators.partially_linear = Some(ate);
        Ok(averages)
    };
    (0..data.outcomes.len()).map(of_outcome).collect()
}

/// The share of the dose's variance that features leave unexplained; 1 where chance dealt the
/// doses out.
pub fn free_share(data: &Dataset, dose: &Dose, mean: &OutOfFold) -> f64 {
    let weights = data.weights.as_deref();
    let around = |centre: &OutOfFold| {
        let squares: Vec<f64> = centre.residuals(&dose.values).iter().map(|residual| residual.powi(2)).collect();
        weighted_mean(&squares, weights)
    };
    let overall = OutOfFold::same(dose.mean(weights), dose.values.len());
    (around(mean) / around(&overall)).min(1.0)
}
