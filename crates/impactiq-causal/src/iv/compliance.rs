//! Experiments with non-compliance: the effect of *taking* a treatment that was *offered* at
//! random, linear in the features, by doubly robust scores of the instrument (EconML's
//! LinearIntentToTreatDRIV; Syrgkanis et al. 2019, section 4).
//!
//! θ̃ᵢ = θ₀(x) + (ỹ − θ₀(x) t̃) z̃ / β(x), regressed on (1, x); ỹ, t̃, z̃ are residuals, β(x) =
//! p(1 − p)·(P(T | x, Z = 1) − P(T | x, Z = 0)) the covariance of offer and take-up, kept off 0.
//! The preliminary θ₀ comes from the training part of each fold: the same scores with θ₀ = 0,
//! regressed with weights β².

use impactiq_data::{Folds, Seed, Watch};
use impactiq_metrics::Estimate;
use impactiq_metrics::least_squares::{Penalty, Regression};
use impactiq_metrics::robust::Covariance;
use serde::{Deserialize, Serialize};

use crate::base::{BaseLearner, BaseModel, FitTask, Inputs, TRIALS, TuneReport};
use crate::dml::{DmlLearner, varies};
use crate::error::CausalError;

/// An experiment whose offer was not always taken; vectors are indexed by row.
#[derive(Clone, Copy)]
pub struct Offered<'a> {
    /// Features and controls of the nuisances.
    pub inputs: Inputs<'a>,
    /// Effect modifiers, columns of n finite values.
    pub modifiers: &'a [&'a [f64]],
    /// Outcome.
    pub outcome: &'a [f64],
    /// Whether the treatment was taken, 0 or 1.
    pub taken: &'a [f64],
    /// Whether it was offered, 0 or 1: the instrument.
    pub offered: &'a [f64],
    /// Probability of the offer, by design.
    pub probability: f64,
    /// What sampling keeps together.
    pub row_ids: &'a [u64],
    /// Weight per row.
    pub weights: Option<&'a [f64]>,
    /// Cluster per row: errors are by cluster. Folds should not split them.
    pub clusters: Option<&'a [u32]>,
}

/// Settings of [`linear_driv`].
#[derive(Clone, Debug, PartialEq)]
pub struct DrivSettings {
    /// E[Y | x].
    pub outcome: DmlLearner,
    /// P(T | x, Z), learned among the offered and the others apart.
    pub taken: DmlLearner,
    /// The covariance of offer and take-up is kept at least this far from 0.
    pub clip: f64,
    /// Covariance of the final stage.
    pub covariance: Covariance,
}

/// The effect of taking the treatment, linear in the modifiers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrivEstimate {
    /// The effect where all modifiers are 0.
    pub intercept: Estimate,
    /// What it gains per unit of each modifier.
    pub coefficients: Vec<Estimate>,
    /// Mean of the doubly robust scores: the average effect over all rows.
    pub average: Estimate,
    /// Mean of the predicted difference in take-up: the share of compliers.
    pub compliance: f64,
    /// Rows whose covariance of offer and take-up was moved to the limit.
    pub n_clipped: u64,
}

/// Residuals of some rows and the covariance of their offer and take-up.
struct Residuals {
    y: Vec<f64>,
    t: Vec<f64>,
    z: Vec<f64>,
    covariance: Vec<f64>,
}

/// Doubly robust scores of the effect of taking, one per row.
#[derive(Clone, Debug, PartialEq)]
pub struct DrivScores {
    /// The scores.
    pub scores: Vec<f64>,
    /// Mean of the predicted difference in take-up: the share of compliers.
    pub compliance: f64,
    /// Rows whose covariance of offer and take-up was moved to the limit.
    pub n_clipped: u64,
    /// What was tried for each nuisance, where settings were to be chosen.
    pub tuning: Vec<TuneReport>,
}

/// Fits the linear effect of taking an offered treatment.
///
/// # Errors
/// As [`driv_scores`]; [`CausalError::Collinear`], [`CausalError::TooFewRows`].
pub fn linear_driv(
    data: &Offered<'_>,
    settings: &DrivSettings,
    folds: &Folds,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<DrivEstimate, CausalError> {
    let found = driv_scores(data, settings, folds, seed, watch)?;
    data.final_stage(&found, settings)
}

/// Doubly robust scores of the effect of taking an offered treatment, cross-fitted.
///
/// # Errors
/// [`CausalError::NoVariation`] for an offer or take-up that does not vary,
/// [`CausalError::BadSetting`] for a probability or clip out of range, and what the nuisances find.
pub fn driv_scores(
    data: &Offered<'_>,
    settings: &DrivSettings,
    folds: &Folds,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<DrivScores, CausalError> {
    data.check(settings)?;
    let n = data.outcome.len();
    let total: f64 = (0..n).map(|row| data.weight(row)).sum();
    let fit = Fit { data, settings, watch };
    let (learners, tuning) = fit.choose(folds, seed)?;
    let mut found = DrivScores { scores: vec![0.0; n], compliance: 0.0, n_clipped: 0, tuning };
    for (fold, learners) in learners.iter().enumerate() {
        if watch.should_stop() {
            return Err(CausalError::Stopped);
        }
        let inside = |row: &u32| usize::from(folds.of_row()[*row as usize]) == fold;
        let (held, training): (Vec<u32>, Vec<u32>) = (0..n as u32).partition(inside);
        let models = fit.nuisances(learners, &training, seed.child(fold as u64))?;
        // The preliminary effect needs no unbiased score: the training part's own share will do.
        let own = fit.residuals(&models, &training, data.share_offered(&training))?;
        let preliminary = fit.preliminary(&own, &training)?;
        let residuals = fit.residuals(&models, &held, data.probability)?;
        for (i, &row) in held.iter().enumerate() {
            let row = row as usize;
            let before =
                preliminary[0] + data.modifiers.iter().zip(&preliminary[1..]).map(|(x, b)| b * x[row]).sum::<f64>();
            let covariance = residuals.covariance[i];
            found.n_clipped += u64::from(covariance.abs() < settings.clip);
            let spread = data.probability * (1.0 - data.probability);
            found.compliance += data.weight(row) * covariance / spread / total;
            let clipped = clip(covariance, settings.clip);
            found.scores[row] = before + (residuals.y[i] - before * residuals.t[i]) * residuals.z[i] / clipped;
        }
    }
    Ok(found)
}

fn clip(covariance: f64, limit: f64) -> f64 {
    if covariance < 0.0 { covariance.min(-limit) } else { covariance.max(limit) }
}

impl Offered<'_> {
    fn check(&self, settings: &DrivSettings) -> Result<(), CausalError> {
        if !(self.probability > 0.0 && self.probability < 1.0) {
            let allowed = "it must lie strictly between 0 and 1";
            return Err(CausalError::setting("the probability of the offer", self.probability, allowed));
        }
        if !(settings.clip > 0.0 && settings.clip < 0.25) {
            let allowed = "it must be above 0 and below 0.25";
            return Err(CausalError::setting("the limit of the covariance", settings.clip, allowed));
        }
        varies("the offer", self.offered)?;
        varies("the take-up", self.taken)
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |w| w[row])
    }

    /// The weighted share of the offered among some rows.
    fn share_offered(&self, rows: &[u32]) -> f64 {
        let sum = |value: &dyn Fn(usize) -> f64| rows.iter().map(|&row| value(row as usize)).sum::<f64>();
        sum(&|row| self.weight(row) * self.offered[row]) / sum(&|row| self.weight(row))
    }

    fn final_stage(&self, found: &DrivScores, settings: &DrivSettings) -> Result<DrivEstimate, CausalError> {
        let scores = found.scores.as_slice();
        let regression = Regression {
            columns: self.modifiers,
            outcome: scores,
            weights: self.weights,
            clusters: self.clusters,
            intercept: true,
        };
        let model = regression.fit(Penalty::None)?;
        if !model.dropped.is_empty() {
            let features = model.dropped.iter().map(|j| format!("modifier {}", j + 1)).collect();
            return Err(CausalError::Collinear { features, arm: "taken".into() });
        }
        let k = self.modifiers.len();
        if model.n_rows <= k + 1 {
            let what = "the linear final stage".into();
            return Err(CausalError::TooFewRows { what, found: model.n_rows, needed: k + 2 });
        }
        let term = |j: usize| {
            let unit: Vec<f64> = (0..=k).map(|i| f64::from(u8::from(i == j))).collect();
            regression.contrast(&model, &unit, settings.covariance)
        };
        Ok(DrivEstimate {
            intercept: term(0)?,
            coefficients: (1..=k).map(term).collect::<Result<_, _>>()?,
            average: impactiq_metrics::averages::mean_score(scores, self.weights, self.clusters),
            compliance: found.compliance,
            n_clipped: found.n_clipped,
        })
    }
}

struct Fit<'a> {
    data: &'a Offered<'a>,
    settings: &'a DrivSettings,
    watch: &'a dyn Watch,
}

impl Fit<'_> {
    /// What is learned: the outcome, take-up among the others, and among the offered.
    fn nuisance(&self, place: usize) -> (&DmlLearner, &[f64], &'static str) {
        match place {
            0 => (&self.settings.outcome, self.data.outcome, "the outcome"),
            1 => (&self.settings.taken, self.data.taken, "take-up without the offer"),
            _ => (&self.settings.taken, self.data.taken, "take-up with the offer"),
        }
    }

    /// The rows of a training part that one of them is learned from.
    fn rows_of(&self, place: usize, training: &[u32]) -> Vec<u32> {
        let offered = |row: &u32| self.data.offered[*row as usize];
        let takes = |row: &u32| place == 0 || (offered(row) == 1.0) == (place == 2);
        training.iter().copied().filter(takes).collect()
    }

    fn task<'t>(&'t self, place: usize, rows: &'t [u32]) -> FitTask<'t> {
        let (learner, target, _) = self.nuisance(place);
        FitTask { rows, target, weights: self.data.weights, row_ids: self.data.row_ids, loss: learner.loss }
    }

    /// By fold: what learns each of the three. Where there is a choice it is made inside the training part.
    fn choose(&self, folds: &Folds, seed: Seed) -> Result<(Vec<[&BaseLearner; 3]>, Vec<TuneReport>), CausalError> {
        let outside = |fold: usize| -> Vec<u32> {
            let of_row = folds.of_row();
            (0..of_row.len() as u32).filter(|&row| usize::from(of_row[row as usize]) != fold).collect()
        };
        let own = |place: usize| &self.nuisance(place).0.base;
        let mut learners = vec![[own(0), own(1), own(2)]; folds.n_folds()];
        let mut reports = Vec::new();
        for place in 0..3 {
            let (learner, _, what) = self.nuisance(place);
            let Some(candidates) = &learner.candidates else { continue };
            let rows: Vec<Vec<u32>> = (0..folds.n_folds()).map(|fold| self.rows_of(place, &outside(fold))).collect();
            let part = |(fold, rows)| (self.task(place, rows), seed.child(fold as u64).child(TRIALS));
            let parts: Vec<(FitTask<'_>, Seed)> = rows.iter().map(Vec::as_slice).enumerate().map(part).collect();
            let choice = candidates.choose(what, &parts, &self.data.inputs, self.watch)?;
            for (of_fold, taken) in learners.iter_mut().zip(choice.taken) {
                of_fold[place] = &candidates.learners[taken];
            }
            reports.push(choice.report);
        }
        Ok((learners, reports))
    }

    /// Models of the outcome, of take-up among the others, and among the offered.
    fn nuisances(
        &self,
        learners: &[&BaseLearner; 3],
        training: &[u32],
        seed: Seed,
    ) -> Result<[BaseModel; 3], CausalError> {
        let learn = |place: usize| {
            let rows = self.rows_of(place, training);
            learners[place].fit(&self.data.inputs, &self.task(place, &rows), seed.child(place as u64), self.watch)
        };
        Ok([learn(0)?, learn(1)?, learn(2)?])
    }

    fn residuals(&self, models: &[BaseModel; 3], rows: &[u32], p: f64) -> Result<Residuals, CausalError> {
        let data = self.data;
        let predict = |model: &BaseModel| -> Result<Vec<f64>, CausalError> {
            let mut out = vec![0.0; rows.len()];
            model.predict(&data.inputs, Some(rows), &mut out)?;
            Ok(out)
        };
        let (y, t0, t1) = (predict(&models[0])?, predict(&models[1])?, predict(&models[2])?);
        let gap = |values: &[f64], mean: &dyn Fn(usize) -> f64| -> Vec<f64> {
            rows.iter().enumerate().map(|(i, &row)| values[row as usize] - mean(i)).collect()
        };
        Ok(Residuals {
            t: gap(data.taken, &|i| t1[i] * p + t0[i] * (1.0 - p)),
            z: gap(data.offered, &|_| p),
            covariance: t1.iter().zip(&t0).map(|(one, zero)| p * (1.0 - p) * (one - zero)).collect(),
            y: gap(data.outcome, &|i| y[i]),
        })
    }

    /// Constant and slopes of the preliminary effect, from the training part alone.
    fn preliminary(&self, own: &Residuals, training: &[u32]) -> Result<Vec<f64>, CausalError> {
        let clipped: Vec<f64> = own.covariance.iter().map(|&c| clip(c, self.settings.clip)).collect();
        let target: Vec<f64> = (0..training.len()).map(|i| own.y[i] * own.z[i] / clipped[i]).collect();
        let weights: Vec<f64> =
            clipped.iter().zip(training).map(|(c, &row)| self.data.weight(row as usize) * c * c).collect();
        let columns: Vec<Vec<f64>> = self
            .data
            .modifiers
            .iter()
            .map(|column| training.iter().map(|&row| column[row as usize]).collect())
            .collect();
        let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let regression = Regression {
            columns: &columns,
            outcome: &target,
            weights: Some(&weights),
            clusters: None,
            intercept: true,
        };
        let model = regression.fit(Penalty::None)?;
        Ok(std::iter::once(model.intercept).chain(model.coefficients).collect())
    }
}
