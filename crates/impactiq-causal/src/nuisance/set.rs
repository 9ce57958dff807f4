//! The nuisances of a run: each outcome's mean by arm, and each arm's probability. They are
//! fitted once and serve every average, learner and evaluation of the run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use impactiq_data::{Assignment, Dataset, Folds, OutcomeKind, Seed, Stream, Watch};
use serde::{Deserialize, Serialize};

use super::NuisanceConfig;
use super::cross_fit::{CrossFitted, NuisanceLoss, NuisanceTask, cross_fit};
use super::out_of_fold::OutOfFold;
use crate::base::{BaseKind, Inputs, Loss, Place, Target, TuneReport};
use crate::error::CausalError;

/// The seed's child for probabilities; outcomes use their own numbers.
const PROPENSITY: u64 = u64::MAX;

/// The seed's child for means that know no arm.
const POOLED: u64 = u64::MAX - 1;

/// Out-of-fold means and probabilities of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Nuisances {
    /// Per outcome and arm: the outcome's mean given features.
    pub means: Vec<Vec<OutOfFold>>,
    /// Per arm: its probability given features.
    pub propensity: Vec<OutOfFold>,
    /// How well they fit.
    pub report: NuisanceReport,
}

/// Losses of the nuisances, as `train` prints them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NuisanceReport {
    /// What they are made of.
    pub kind: BaseKind,
    /// Folds.
    pub n_folds: usize,
    /// Where probabilities come from: `declared`, `shares` or `learned`.
    pub propensity: String,
    /// Out-of-fold losses of each outcome's models.
    pub outcomes: Vec<OutcomeLosses>,
    /// Out-of-fold losses of learned probabilities, by arm; empty where they are known.
    pub propensity_losses: Vec<ArmLoss>,
    /// What was tried for each of them, where settings were to be chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tuning: Vec<TuneReport>,
}

/// The losses of one outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutcomeLosses {
    /// The outcome.
    pub outcome: String,
    /// By arm, the control first.
    pub arms: Vec<ArmLoss>,
}

/// The loss of one arm's model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmLoss {
    /// The arm.
    pub arm: String,
    /// Its loss.
    #[serde(flatten)]
    pub loss: NuisanceLoss,
}

/// What sampling keeps together: clusters where there are any, else rows.
pub(crate) fn sampling_ids(data: &Dataset) -> Vec<u64> {
    match &data.clusters {
        Some(clusters) => clusters.iter().map(|&c| u64::from(c)).collect(),
        None => data.row_ids.clone(),
    }
}

/// The loss that suits an outcome.
pub(crate) fn loss_of(kind: OutcomeKind) -> Loss {
    match kind {
        OutcomeKind::Binary => Loss::Logistic,
        OutcomeKind::Count | OutcomeKind::Continuous => Loss::Squared,
    }
}

/// The probability of each arm without learning: declared by the design, or the arms'
/// (weighted) shares. `None` for observational data.
pub fn declared_propensity(data: &Dataset) -> Option<Vec<OutOfFold>> {
    let (n, n_arms) = (data.n_rows(), data.treatment.arms.len());
    match &data.assignment {
        Assignment::Observational => None,
        Assignment::Shares => {
            let mut totals = vec![0.0; n_arms];
            for (row, &arm) in data.treatment.codes.iter().enumerate() {
                totals[arm as usize] += data.weights.as_ref().map_or(1.0, |w| w[row]);
            }
            let all: f64 = totals.iter().sum();
            Some(totals.into_iter().map(|total| OutOfFold::same(total / all, n)).collect())
        }
        design => (0..n_arms).map(|arm| OutOfFold::designed(design, arm, n)).collect(),
    }
}

/// Fits all nuisances of a data set: every outcome's mean in every arm and, for
/// observational data, every arm's probability. All features and controls are used.
///
/// # Errors
/// [`CausalError::NotBinary`] for logistic nuisances of other outcomes,
/// [`CausalError::TooFewRows`], [`CausalError::Stopped`].
pub fn fit_nuisances(
    data: &Dataset,
    folds: &Folds,
    config: &NuisanceConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<Nuisances, CausalError> {
    let seed = seed.stream(Stream::Nuisance);
    let arms = &data.treatment.arms;
    let known = declared_propensity(data);
    let n_learned = if known.is_some() { 0 } else { if arms.len() == 2 { 1 } else { arms.len() } };
    let total = (data.outcomes.len() * arms.len() + n_learned) * folds.n_folds();
    let fitter = Fitter::new(data, folds, config, total as u64);
    let mut report = NuisanceReport {
        kind: config.kind,
        n_folds: folds.n_folds(),
        propensity: match (&data.assignment, &known) {
            (_, None) => "learned".into(),
            (Assignment::Shares, _) => "shares".into(),
            _ => "declared".into(),
        },
        ..NuisanceReport::default()
    };
    let mut means = Vec::with_capacity(data.outcomes.len());
    for outcome in 0..data.outcomes.len() {
        let fitted = (0..arms.len())
            .map(|arm| fitter.outcome(outcome, arm as u8, seed.child(outcome as u64).child(arm as u64), watch))
            .collect::<Result<Vec<_>, _>>()?;
        let (of_arm, losses) = split(fitted, arms.labels());
        report.outcomes.push(OutcomeLosses { outcome: data.outcomes[outcome].name.clone(), arms: losses });
        means.push(of_arm);
    }
    let propensity = match known {
        Some(known) => known,
        None => {
            let (of_arm, losses) = fitter.propensities(seed.child(PROPENSITY), watch)?;
            report.propensity_losses = losses;
            of_arm
        }
    };
    report.tuning = fitter.tuned.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Nuisances { means, propensity, report })
}

/// Fits every arm's probability alone, as [`fit_nuisances`] would.
///
/// # Errors
/// As [`fit_nuisances`].
pub fn fit_propensity(
    data: &Dataset,
    folds: &Folds,
    config: &NuisanceConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<(Vec<OutOfFold>, Vec<ArmLoss>), CausalError> {
    let total = (data.treatment.arms.len() * folds.n_folds()) as u64;
    let fitter = Fitter::new(data, folds, config, total);
    fitter.propensities(seed.stream(Stream::Nuisance).child(PROPENSITY), watch)
}

/// Per outcome and contrast: the outcome's mean given features among the rows of the arm and of
/// the control, whatever the arm (the nuisance of partially linear models).
///
/// # Errors
/// As [`fit_nuisances`].
pub fn fit_pooled_means(
    data: &Dataset,
    folds: &Folds,
    config: &NuisanceConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<Vec<Vec<OutOfFold>>, CausalError> {
    let n_contrasts = data.treatment.arms.n_contrasts();
    let total = (data.outcomes.len() * n_contrasts * folds.n_folds()) as u64;
    let fitter = Fitter::new(data, folds, config, total);
    let seed = seed.stream(Stream::Nuisance).child(POOLED);
    (0..data.outcomes.len())
        .map(|outcome| {
            let seed = seed.child(outcome as u64);
            (1..=n_contrasts).map(|arm| fitter.pooled(outcome, arm as u8, seed, watch)).collect()
        })
        .collect()
}

fn split(fitted: Vec<CrossFitted>, labels: &[String]) -> (Vec<OutOfFold>, Vec<ArmLoss>) {
    fitted
        .into_iter()
        .zip(labels)
        .map(|(fit, arm)| (fit.predictions, ArmLoss { arm: arm.clone(), loss: fit.loss }))
        .unzip()
}

struct Fitter<'a> {
    data: &'a Dataset,
    folds: &'a Folds,
    config: &'a NuisanceConfig,
    ids: Vec<u64>,
    done: AtomicU64,
    total: u64,
    tuned: Mutex<Vec<TuneReport>>,
}

impl<'a> Fitter<'a> {
    /// `total` fits are ahead, folds counted.
    fn new(data: &'a Dataset, folds: &'a Folds, config: &'a NuisanceConfig, total: u64) -> Self {
        let (ids, done, tuned) = (sampling_ids(data), AtomicU64::new(0), Mutex::default());
        Fitter { data, folds, config, ids, done, total, tuned }
    }

    fn inputs(&self) -> Inputs<'_> {
        let data = self.data;
        Inputs { binned: &data.features, raw: &data.raw, names: data.features.names(), arm: None }
    }

    fn run(&self, task: &NuisanceTask<'_>, seed: Seed, watch: &dyn Watch) -> Result<CrossFitted, CausalError> {
        let mut fitted = cross_fit(task, &self.inputs(), self.folds, seed, watch)?;
        // Nuisances are fitted one after another: the order is theirs.
        self.tuned.lock().unwrap_or_else(PoisonError::into_inner).extend(fitted.tuned.take());
        let done = self.done.fetch_add(self.folds.n_folds() as u64, Ordering::Relaxed) + self.folds.n_folds() as u64;
        watch.progress("nuisance", done, self.total);
        Ok(fitted)
    }

    fn outcome(&self, outcome: usize, arm: u8, seed: Seed, watch: &dyn Watch) -> Result<CrossFitted, CausalError> {
        let data = self.data;
        let outcome = &data.outcomes[outcome];
        let loss = loss_of(outcome.kind);
        if self.config.kind == BaseKind::Logistic && loss != Loss::Logistic {
            return Err(CausalError::NotBinary { key: "nuisance.kind", column: outcome.name.clone() });
        }
        let (mut n_rows, mut sum) = (0, 0.0);
        for (row, _) in data.treatment.codes.iter().enumerate().filter(|(_, code)| **code == arm) {
            n_rows += 1;
            sum += outcome.values[row];
        }
        let target = Target { loss, n_rows, mean: sum / f64::max(1.0, n_rows as f64) };
        let label = &data.treatment.arms.labels()[arm as usize];
        let place = self.place();
        let candidates = self.config.candidates(place, target);
        let task = NuisanceTask {
            candidates: candidates.as_ref(),
            learner: &self.config.settings().learner(self.config.kind, place, target),
            target: &outcome.values,
            weights: data.weights.as_deref(),
            row_ids: &self.ids,
            loss,
            only_arm: Some((&data.treatment.codes, arm)),
            what: &format!("outcome '{}' of arm '{label}'", outcome.name),
        };
        self.run(&task, seed, watch)
    }

    /// What outcomes' means are for.
    fn place(&self) -> Place {
        Place::nuisance(self.data.assignment == Assignment::Observational)
    }

    /// Rows of other arms take no part: their weight is 0.
    fn pooled(&self, outcome: usize, arm: u8, seed: Seed, watch: &dyn Watch) -> Result<OutOfFold, CausalError> {
        let data = self.data;
        let outcome = &data.outcomes[outcome];
        let weights: Vec<f64> = (0..data.n_rows())
            .map(|row| match data.treatment.codes[row] {
                code if code != 0 && code != arm => 0.0,
                _ => data.weights.as_ref().map_or(1.0, |weights| weights[row]),
            })
            .collect();
        let taken = || weights.iter().zip(&outcome.values).filter(|(weight, _)| **weight > 0.0).map(|(_, y)| y);
        let n_rows = taken().count();
        let loss = loss_of(outcome.kind);
        let target = Target { loss, n_rows, mean: taken().sum::<f64>() / f64::max(1.0, n_rows as f64) };
        let label = &data.treatment.arms.labels()[arm as usize];
        let place = self.place();
        let candidates = self.config.candidates(place, target);
        let task = NuisanceTask {
            candidates: candidates.as_ref(),
            learner: &self.config.settings().learner(self.config.kind, place, target),
            target: &outcome.values,
            weights: Some(&weights),
            row_ids: &self.ids,
            loss,
            only_arm: None,
            what: &format!("outcome '{}' of arm '{label}' and the control", outcome.name),
        };
        Ok(self.run(&task, seed, watch)?.predictions)
    }

    /// Two arms: one model. More: one against the rest, scaled to sum to one.
    fn propensities(&self, seed: Seed, watch: &dyn Watch) -> Result<(Vec<OutOfFold>, Vec<ArmLoss>), CausalError> {
        let arms = &self.data.treatment.arms;
        if arms.len() == 2 {
            let fit = self.propensity(1, seed, watch)?;
            let control = fit.predictions.map(|p| 1.0 - p);
            let losses = vec![ArmLoss { arm: arms.labels()[1].clone(), loss: fit.loss }];
            return Ok((vec![control, fit.predictions], losses));
        }
        let fitted = (0..arms.len())
            .map(|arm| self.propensity(arm as u8, seed.child(arm as u64), watch))
            .collect::<Result<Vec<_>, _>>()?;
        let (raw, losses) = split(fitted, arms.labels());
        let n = self.data.n_rows();
        let sums: Vec<f64> = (0..n).map(|row| raw.iter().map(|p| p.get(row)).sum::<f64>().max(1e-12)).collect();
        let scaled = raw.iter().map(|p| OutOfFold::per_row((0..n).map(|row| p.get(row) / sums[row]).collect()));
        Ok((scaled.collect(), losses))
    }

    fn propensity(&self, arm: u8, seed: Seed, watch: &dyn Watch) -> Result<CrossFitted, CausalError> {
        let data = self.data;
        let received: Vec<f64> = data.treatment.codes.iter().map(|&c| f64::from(u8::from(c == arm))).collect();
        let n_rows = data.n_rows();
        let target = Target { loss: Loss::Logistic, n_rows, mean: received.iter().sum::<f64>() / n_rows as f64 };
        let label = &data.treatment.arms.labels()[arm as usize];
        let candidates = self.config.candidates(Place::Assignment, target);
        let task = NuisanceTask {
            candidates: candidates.as_ref(),
            learner: &self.config.settings().propensity_learner(self.config.kind, Place::Assignment, target),
            target: &received,
            weights: data.weights.as_deref(),
            row_ids: &self.ids,
            loss: Loss::Logistic,
            only_arm: None,
            what: &format!("the probability of arm '{label}'"),
        };
        self.run(&task, seed, watch)
    }
}
