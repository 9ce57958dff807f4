//! The nuisances of a dose: each outcome's mean and the dose's own mean and variance given
//! features, out of fold. Arms have theirs in `set`.

use std::sync::{Mutex, PoisonError};

use impactiq_data::dose::weighted_mean;
use impactiq_data::{Assignment, Dataset, Dose, Folds, Seed, Stream, Watch};

use super::NuisanceConfig;
use super::cross_fit::{CrossFitted, NuisanceTask, cross_fit};
use super::out_of_fold::OutOfFold;
use super::set::{ArmLoss, NuisanceReport, OutcomeLosses, loss_of, sampling_ids};
use crate::base::{BaseKind, Inputs, Loss, Place, Target, TuneReport};
use crate::error::CausalError;

/// The seed's children; outcomes use their own numbers.
const DOSE: u64 = u64::MAX;
const VARIANCE: u64 = u64::MAX - 1;

/// Where the losses of all rows stand, which belong to no arm.
const EVERYBODY: &str = "all";

/// A learned variance is kept above this share of its mean: rows weigh by its inverse.
pub(super) const LEAST_VARIANCE: f64 = 0.05;

/// Out-of-fold means of outcomes and dose.
#[derive(Clone, Debug, PartialEq)]
pub struct DoseNuisances {
    /// Per outcome: its mean given features, whatever the dose.
    pub outcome: Vec<OutOfFold>,
    /// The dose's mean given features; one number where chance dealt the doses out.
    pub dose: OutOfFold,
    /// How well they fit.
    pub report: NuisanceReport,
}

impl DoseNuisances {
    /// The values of some rows, in the order given.
    pub(crate) fn subset(&self, rows: &[u32]) -> Self {
        self.each(|values| values.subset(rows))
    }

    /// Values of `rows` at their places among n rows; the others have NaN.
    pub(crate) fn spread(&self, rows: &[u32], n: usize) -> Self {
        self.each(|values| values.spread(rows, n))
    }

    fn each(&self, f: impl Fn(&OutOfFold) -> OutOfFold) -> Self {
        let outcome = self.outcome.iter().map(&f).collect();
        DoseNuisances { outcome, dose: f(&self.dose), report: self.report.clone() }
    }
}

/// Fits the mean of every outcome and, for observational data, of the dose. Of a randomised
/// dose the (weighted) mean over all rows is the mean of each: it is never learned.
///
/// # Errors
/// [`CausalError::NotBinary`] for logistic nuisances of other outcomes,
/// [`CausalError::TooFewRows`], [`CausalError::Stopped`].
pub fn fit_dose_nuisances(
    data: &Dataset,
    dose: &Dose,
    folds: &Folds,
    config: &NuisanceConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<DoseNuisances, CausalError> {
    let fitter = Fitter::new(data, folds, config, seed, watch);
    let learned = data.assignment == Assignment::Observational;
    let total = (data.outcomes.len() + usize::from(learned)) as u64;
    let mut report = NuisanceReport { kind: config.kind, n_folds: folds.n_folds(), ..NuisanceReport::default() };
    let mut means = Vec::with_capacity(data.outcomes.len());
    for index in 0..data.outcomes.len() {
        watch.progress("nuisance", index as u64, total);
        let (mean, losses) = fitter.outcome(index)?;
        report.outcomes.push(losses);
        means.push(mean);
    }
    let of_dose = if learned {
        let fit = fitter.dose(dose)?;
        report.propensity = "learned".into();
        report.propensity_losses = vec![ArmLoss { arm: dose.name.clone(), loss: fit.loss }];
        fit.predictions
    } else {
        report.propensity = "mean".into();
        OutOfFold::same(dose.mean(data.weights.as_deref()), data.n_rows())
    };
    watch.progress("nuisance", total, total);
    report.tuning = fitter.tuned();
    Ok(DoseNuisances { outcome: means, dose: of_dose, report })
}

/// The dose's mean alone, as [`fit_dose_nuisances`] gives it.
///
/// # Errors
/// As [`fit_dose_nuisances`].
pub(crate) fn fit_dose_mean(
    data: &Dataset,
    dose: &Dose,
    folds: &Folds,
    config: &NuisanceConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<OutOfFold, CausalError> {
    Ok(Fitter::new(data, folds, config, seed, watch).dose(dose)?.predictions)
}

/// The dose's variance around its mean given features, out of fold; one number where chance dealt the doses
/// out. Learned ones are kept above a twentieth of their mean.
///
/// # Errors
/// As [`fit_dose_nuisances`].
pub fn fit_dose_variance(
    data: &Dataset,
    (dose, mean): (&Dose, &OutOfFold),
    folds: &Folds,
    config: &NuisanceConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<OutOfFold, CausalError> {
    let squares: Vec<f64> = mean.residuals(&dose.values).iter().map(|residual| residual.powi(2)).collect();
    let average = weighted_mean(&squares, data.weights.as_deref());
    if data.assignment != Assignment::Observational {
        return Ok(OutOfFold::same(average, data.n_rows()));
    }
    let fitter = Fitter::new(data, folds, config, seed, watch);
    let what = format!("the variance of the dose '{}'", dose.name);
    let fitted = fitter.fit(&squares, fitter.weights(), Loss::Squared, VARIANCE, &what)?;
    Ok(fitted.predictions.map(|variance| variance.max(LEAST_VARIANCE * average)))
}

/// Cross-fits targets on all features and controls of a data set, whatever the arm.
pub(super) struct Fitter<'a> {
    data: &'a Dataset,
    folds: &'a Folds,
    config: &'a NuisanceConfig,
    ids: Vec<u64>,
    seed: Seed,
    watch: &'a dyn Watch,
    tuned: Mutex<Vec<TuneReport>>,
}

impl<'a> Fitter<'a> {
    pub(super) fn new(
        data: &'a Dataset,
        folds: &'a Folds,
        config: &'a NuisanceConfig,
        seed: Seed,
        watch: &'a dyn Watch,
    ) -> Self {
        let (ids, seed) = (sampling_ids(data), seed.stream(Stream::Nuisance));
        Fitter { data, folds, config, ids, seed, watch, tuned: Mutex::default() }
    }

    /// What was tried so far, where settings were to be chosen.
    pub(super) fn tuned(self) -> Vec<TuneReport> {
        self.tuned.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows' sampling weights.
    pub(super) fn weights(&self) -> Option<&'a [f64]> {
        self.data.weights.as_deref()
    }

    /// The sampling weight of a row.
    pub(super) fn weight(&self, row: usize) -> f64 {
        self.weights().map_or(1.0, |w| w[row])
    }

    /// The mean of an outcome given features, whatever the treatment, and how well it fits.
    pub(super) fn outcome(&self, index: usize) -> Result<(OutOfFold, OutcomeLosses), CausalError> {
        let outcome = &self.data.outcomes[index];
        let loss = loss_of(outcome.kind);
        if self.config.kind == BaseKind::Logistic && loss != Loss::Logistic {
            return Err(CausalError::NotBinary { key: "nuisance.kind", column: outcome.name.clone() });
        }
        let what = format!("outcome '{}'", outcome.name);
        let fit = self.fit(&outcome.values, self.weights(), loss, index as u64, &what)?;
        let arms = vec![ArmLoss { arm: EVERYBODY.into(), loss: fit.loss }];
        Ok((fit.predictions, OutcomeLosses { outcome: outcome.name.clone(), arms }))
    }

    fn dose(&self, dose: &Dose) -> Result<CrossFitted, CausalError> {
        self.fit(&dose.values, self.weights(), Loss::Squared, DOSE, &format!("the dose '{}'", dose.name))
    }

    /// A mean given features.
    pub(super) fn fit(
        &self,
        values: &[f64],
        weights: Option<&[f64]>,
        loss: Loss,
        child: u64,
        what: &str,
    ) -> Result<CrossFitted, CausalError> {
        let n_rows = values.len();
        let target = Target { loss, n_rows, mean: values.iter().sum::<f64>() / n_rows.max(1) as f64 };
        let place = Place::nuisance(self.data.assignment == Assignment::Observational);
        self.run(values, weights, (place, target), child, what)
    }

    /// An effect given features, of ratios of residuals weighted by squared residuals.
    pub(super) fn fit_effect(
        &self,
        ratios: &[f64],
        weights: &[f64],
        child: u64,
        what: &str,
    ) -> Result<OutOfFold, CausalError> {
        let target = Target { loss: Loss::Squared, n_rows: ratios.len(), mean: 0.0 };
        Ok(self.run(ratios, Some(weights), (Place::Effect, target), child, what)?.predictions)
    }

    fn run(
        &self,
        values: &[f64],
        weights: Option<&[f64]>,
        (place, target): (Place, Target),
        child: u64,
        what: &str,
    ) -> Result<CrossFitted, CausalError> {
        let data = self.data;
        let loss = target.loss;
        // A squared loss next to logistic outcomes: least squares is the linear model of a mean.
        let kind = match (self.config.kind, loss) {
            (BaseKind::Logistic, Loss::Squared) => BaseKind::LeastSquares,
            (kind, _) => kind,
        };
        let candidates = self.config.candidates(place, target);
        let task = NuisanceTask {
            candidates: candidates.as_ref(),
            learner: &self.config.settings().learner(kind, place, target),
            target: values,
            weights,
            row_ids: &self.ids,
            loss,
            only_arm: None,
            what,
        };
        let inputs = Inputs { binned: &data.features, raw: &data.raw, names: data.features.names(), arm: None };
        let mut fitted = cross_fit(&task, &inputs, self.folds, self.seed.child(child), self.watch)?;
        self.tuned.lock().unwrap_or_else(PoisonError::into_inner).extend(fitted.tuned.take());
        Ok(fitted)
    }
}
