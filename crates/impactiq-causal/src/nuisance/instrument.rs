//! The nuisances of an instrument: means of outcome, treatment and instrument given features, and
//! how far the instrument moves the treatment there, all out of fold.

use impactiq_data::dose::{is_zero_one, weighted_mean};
use impactiq_data::{Assignment, Dataset, Folds, Seed, Watch};

use super::NuisanceConfig;
use super::dose::{Fitter, LEAST_VARIANCE};
use super::out_of_fold::OutOfFold;
use super::set::{ArmLoss, NuisanceReport};
use crate::base::Loss;
use crate::error::CausalError;

/// The seed's children; outcomes use their own numbers.
const TREATMENT: u64 = u64::MAX - 2;
const INSTRUMENT: u64 = u64::MAX - 3;
const COMPLIANCE: u64 = u64::MAX - 4;
const VARIANCE: u64 = u64::MAX - 5;

/// A learned compliance is kept above this share of the average one: scores divide by it.
const LEAST_COMPLIANCE: f64 = 0.1;

/// Treatment and instrument as numbers, n each, with their columns' names.
#[derive(Clone, Copy, Debug)]
pub struct Encouragement<'a> {
    /// The treatment's column.
    pub treatment_name: &'a str,
    /// 0/1, or a dose.
    pub treatment: &'a [f64],
    /// The instrument's column.
    pub instrument_name: &'a str,
    /// Any number that varies.
    pub instrument: &'a [f64],
    /// Its mean by design, where that is declared.
    pub design: Option<f64>,
}

/// Out-of-fold means and the covariance of instrument and treatment.
#[derive(Clone, Debug, PartialEq)]
pub struct InstrumentNuisances {
    /// Per outcome: its mean given features.
    pub outcome: Vec<OutOfFold>,
    /// The treatment's mean given features.
    pub treatment: OutOfFold,
    /// The instrument's mean given features; one number where chance dealt it out.
    pub instrument: OutOfFold,
    /// Cov(Z, T | x): what one unit of the instrument moves, times the instrument's variance.
    pub covariance: OutOfFold,
    /// How well they fit.
    pub report: NuisanceReport,
}

impl InstrumentNuisances {
    pub(crate) fn subset(&self, rows: &[u32]) -> Self {
        self.each(|values| values.subset(rows))
    }

    pub(crate) fn spread(&self, rows: &[u32], n: usize) -> Self {
        self.each(|values| values.spread(rows, n))
    }

    fn each(&self, f: impl Fn(&OutOfFold) -> OutOfFold) -> Self {
        InstrumentNuisances {
            outcome: self.outcome.iter().map(&f).collect(),
            treatment: f(&self.treatment),
            instrument: f(&self.instrument),
            covariance: f(&self.covariance),
            report: self.report.clone(),
        }
    }
}

/// The loss that suits a number: logistic for 0/1.
fn loss_for(values: &[f64]) -> Loss {
    if is_zero_one(values) { Loss::Logistic } else { Loss::Squared }
}

/// Fits them. `assignment.kind: randomised` is said of the instrument: its mean is then the mean
/// over all rows and never learned. The treatment is chosen, so its mean always is.
///
/// # Errors
/// [`CausalError::NotBinary`] for logistic nuisances of other outcomes,
/// [`CausalError::TooFewRows`], [`CausalError::Stopped`].
pub fn fit_instrument_nuisances(
    data: &Dataset,
    encouragement: &Encouragement<'_>,
    folds: &Folds,
    config: &NuisanceConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<InstrumentNuisances, CausalError> {
    let fitter = Fitter::new(data, folds, config, seed, watch);
    let weights = data.weights.as_deref();
    let Encouragement { treatment_name, treatment, instrument_name, instrument, design } = *encouragement;
    let mut report = NuisanceReport { kind: config.kind, n_folds: folds.n_folds(), ..NuisanceReport::default() };
    let mut means = Vec::with_capacity(data.outcomes.len());
    for index in 0..data.outcomes.len() {
        let (mean, losses) = fitter.outcome(index)?;
        report.outcomes.push(losses);
        means.push(mean);
    }
    let what = format!("the treatment '{treatment_name}'");
    let of_treatment = fitter.fit(treatment, weights, loss_for(treatment), TREATMENT, &what)?;
    report.propensity_losses.push(ArmLoss { arm: treatment_name.to_owned(), loss: of_treatment.loss });
    let learned = data.assignment == Assignment::Observational;
    let of_instrument = if learned {
        let what = format!("the instrument '{instrument_name}'");
        let fit = fitter.fit(instrument, weights, loss_for(instrument), INSTRUMENT, &what)?;
        report.propensity_losses.push(ArmLoss { arm: instrument_name.to_owned(), loss: fit.loss });
        fit.predictions
    } else {
        OutOfFold::same(design.unwrap_or_else(|| weighted_mean(instrument, weights)), data.n_rows())
    };
    report.propensity = match (learned, design) {
        (true, _) => "learned".into(),
        (false, Some(_)) => "declared".into(),
        (false, None) => "mean".into(),
    };
    let t = of_treatment.predictions.residuals(treatment);
    let z = of_instrument.residuals(instrument);
    let covariance = covariance(&fitter, (&t, &z), learned, instrument_name)?;
    Ok(InstrumentNuisances {
        outcome: means,
        treatment: of_treatment.predictions,
        instrument: of_instrument,
        covariance,
        report: NuisanceReport { tuning: fitter.tuned(), ..report },
    })
}

/// Compliance given features, residual on residual, times the instrument's variance.
fn covariance(
    fitter: &Fitter<'_>,
    (t, z): (&[f64], &[f64]),
    learned: bool,
    name: &str,
) -> Result<OutOfFold, CausalError> {
    let n = t.len();
    let weight = |row: usize| fitter.weight(row);
    let squares: Vec<f64> = z.iter().map(|z| z * z).collect();
    let sum = |values: &dyn Fn(usize) -> f64| (0..n).map(|row| weight(row) * values(row)).sum::<f64>();
    let average = sum(&|row| t[row] * z[row]) / sum(&|row| squares[row]);
    if average == 0.0 || !average.is_finite() {
        return Err(CausalError::NoVariation { what: format!("what the instrument '{name}' does to the treatment") });
    }
    let ratio: Vec<f64> = (0..n).map(|row| if z[row] == 0.0 { 0.0 } else { t[row] / z[row] }).collect();
    let weights: Vec<f64> = (0..n).map(|row| weight(row) * squares[row]).collect();
    let what = format!("what the instrument '{name}' does to the treatment");
    let compliance = fitter.fit_effect(&ratio, &weights, COMPLIANCE, &what)?;
    let floor = LEAST_COMPLIANCE * average.abs();
    // The average's sign is everybody's: an instrument that pulls some the other way is none.
    let kept = |value: f64| (value * average.signum()).max(floor) * average.signum();
    let mean_square = sum(&|row| squares[row]) / sum(&|_| 1.0);
    if !learned {
        return Ok(compliance.map(|value| kept(value) * mean_square));
    }
    let what = format!("the variance of the instrument '{name}'");
    let variance = fitter.fit(&squares, fitter.weights(), Loss::Squared, VARIANCE, &what)?.predictions;
    let product = |row: usize| kept(compliance.get(row)) * variance.get(row).max(LEAST_VARIANCE * mean_square);
    Ok(OutOfFold::per_row((0..n).map(product).collect()))
}
