//! Each model's nuisances and score, in DoubleML's notation: ℓ, g for outcomes, m, r for
//! treatments and instruments.

use impactiq_data::{Folds, Seed, Watch};

use super::score::LinearScore;
use super::task::{DmlEstimand, DmlLearner, DmlLearners, DmlModel, DmlRows, NamedLoss, PartialScore};
use crate::base::TuneReport;
use crate::error::CausalError;
use crate::nuisance::{NuisanceTask, cross_fit};

/// One repetition.
pub(super) struct Fit<'a> {
    pub rows: &'a DmlRows<'a>,
    pub learners: &'a DmlLearners,
    pub folds: &'a Folds,
    pub seed: Seed,
    pub watch: &'a dyn Watch,
    pub clip: f64,
}

/// A repetition's score.
pub(super) struct Fitted {
    pub score: LinearScore,
    pub losses: Vec<NamedLoss>,
    pub n_clipped: u64,
    pub tuning: Vec<TuneReport>,
}

/// Nuisances as they are fitted.
struct Nuisances<'a> {
    fit: &'a Fit<'a>,
    losses: Vec<NamedLoss>,
    n_clipped: u64,
    tuning: Vec<TuneReport>,
}

impl Fit<'_> {
    pub fn score(&self, model: DmlModel) -> Result<Fitted, CausalError> {
        let mut nuisances = Nuisances { fit: self, losses: Vec::new(), n_clipped: 0, tuning: Vec::new() };
        let score = match model {
            DmlModel::Plr(kind) => nuisances.partial(self.rows.treatment, kind)?,
            DmlModel::Pliv => nuisances.partial_instrument()?,
            DmlModel::Irm(estimand) => nuisances.interactive(estimand)?,
            DmlModel::Iivm => nuisances.compliers()?,
        };
        let Nuisances { losses, n_clipped, tuning, .. } = nuisances;
        Ok(Fitted { score, losses, n_clipped, tuning })
    }
}

impl Nuisances<'_> {
    /// Cross-fits one nuisance, perhaps on the rows of one group alone.
    fn learn(
        &mut self,
        name: &str,
        learner: &DmlLearner,
        target: &[f64],
        only: Option<(&[u8], u8)>,
    ) -> Result<Vec<f64>, CausalError> {
        let Fit { rows, folds, seed, watch, .. } = self.fit;
        let task = NuisanceTask {
            learner: &learner.base,
            candidates: learner.candidates.as_ref(),
            target,
            weights: rows.weights,
            row_ids: rows.row_ids,
            loss: learner.loss,
            only_arm: only,
            what: name,
        };
        // Seeds by place, not by name: a nuisance's luck is its own.
        let seed = seed.child(self.losses.len() as u64);
        let fitted = cross_fit(&task, &rows.inputs, folds, seed, *watch)?;
        self.tuning.extend(fitted.tuned);
        self.losses.push(NamedLoss { name: name.to_owned(), loss: fitted.loss });
        Ok(fitted.predictions.to_vec())
    }

    /// The mean of treatment or instrument: the design's, or learned.
    fn mean(&mut self, target: &[f64], learner: &DmlLearner) -> Result<Vec<f64>, CausalError> {
        match self.fit.rows.design {
            Some(design) => Ok(design.to_vec()),
            None => self.learn("ml_m", learner, target, None),
        }
    }

    /// A probability, kept off 0 and 1.
    fn probability(&mut self, target: &[f64], learner: &DmlLearner) -> Result<Vec<f64>, CausalError> {
        if let Some(design) = self.fit.rows.design {
            return Ok(design.to_vec());
        }
        let clip = self.fit.clip;
        let mut p = self.learn("ml_m", learner, target, None)?;
        let outside = |v: f64| v < clip || v > 1.0 - clip;
        self.n_clipped = p.iter().filter(|&&v| outside(v)).count() as u64;
        p.iter_mut().for_each(|v| *v = v.clamp(clip, 1.0 - clip));
        if let Some(row) = p.iter().position(|&v| v <= 0.0 || v >= 1.0) {
            return Err(CausalError::NotFinite { what: format!("row {}: its probability is {}", row + 1, p[row]) });
        }
        Ok(p)
    }

    fn partial(&mut self, treatment: &[f64], kind: PartialScore) -> Result<LinearScore, CausalError> {
        let Fit { rows, learners, .. } = self.fit;
        let l = self.learn("ml_l", &learners.outcome, rows.outcome, None)?;
        let m = self.mean(treatment, &learners.treatment)?;
        let n = l.len();
        let v: Vec<f64> = (0..n).map(|i| treatment[i] - m[i]).collect();
        let partialled = LinearScore {
            slope: v.iter().map(|v| -v * v).collect(),
            constant: (0..n).map(|i| v[i] * (rows.outcome[i] - l[i])).collect(),
        };
        if kind == PartialScore::PartiallingOut {
            return Ok(partialled);
        }
        let first = partialled.root(rows.score_rows())?;
        let rest: Vec<f64> = (0..n).map(|i| rows.outcome[i] - first * treatment[i]).collect();
        let g = self.learn("ml_g", &learners.outcome, &rest, None)?;
        Ok(LinearScore {
            slope: (0..n).map(|i| -v[i] * treatment[i]).collect(),
            constant: (0..n).map(|i| v[i] * (rows.outcome[i] - g[i])).collect(),
        })
    }

    fn partial_instrument(&mut self) -> Result<LinearScore, CausalError> {
        let Fit { rows, learners, .. } = self.fit;
        let instrument = rows.instrument.unwrap_or_default();
        let l = self.learn("ml_l", &learners.outcome, rows.outcome, None)?;
        let m = self.mean(instrument, &learners.instrument)?;
        let r = self.learn("ml_r", &learners.treatment, rows.treatment, None)?;
        let n = l.len();
        let z: Vec<f64> = (0..n).map(|i| instrument[i] - m[i]).collect();
        Ok(LinearScore {
            slope: (0..n).map(|i| -z[i] * (rows.treatment[i] - r[i])).collect(),
            constant: (0..n).map(|i| z[i] * (rows.outcome[i] - l[i])).collect(),
        })
    }

    fn interactive(&mut self, estimand: DmlEstimand) -> Result<LinearScore, CausalError> {
        let Fit { rows, learners, .. } = self.fit;
        let (d, y) = (rows.treatment, rows.outcome);
        let codes: Vec<u8> = d.iter().map(|&d| u8::from(d == 1.0)).collect();
        let g0 = self.learn("ml_g0", &learners.outcome, y, Some((&codes, 0)))?;
        if estimand == DmlEstimand::Ate {
            let g1 = self.learn("ml_g1", &learners.outcome, y, Some((&codes, 1)))?;
            let m = self.probability(d, &learners.treatment)?;
            let constant = doubly_robust(y, d, [&g0, &g1], &m);
            return Ok(LinearScore { slope: vec![-1.0; constant.len()], constant });
        }
        let m = self.probability(d, &learners.treatment)?;
        // The share of the treated cancels between the two parts.
        let constant = (0..y.len()).map(|i| (y[i] - g0[i]) * if d[i] == 1.0 { 1.0 } else { -m[i] / (1.0 - m[i]) });
        Ok(LinearScore { slope: d.iter().map(|d| -d).collect(), constant: constant.collect() })
    }

    fn compliers(&mut self) -> Result<LinearScore, CausalError> {
        let Fit { rows, learners, .. } = self.fit;
        let (z, d, y) = (rows.instrument.unwrap_or_default(), rows.treatment, rows.outcome);
        let codes: Vec<u8> = z.iter().map(|&z| u8::from(z == 1.0)).collect();
        let g0 = self.learn("ml_g0", &learners.outcome, y, Some((&codes, 0)))?;
        let g1 = self.learn("ml_g1", &learners.outcome, y, Some((&codes, 1)))?;
        let m = self.probability(z, &learners.instrument)?;
        // Nobody treated without (or everybody with) the instrument: a constant, known exactly.
        let r0 = self.learn("ml_r0", &learners.treatment, d, Some((&codes, 0)))?;
        let r1 = self.learn("ml_r1", &learners.treatment, d, Some((&codes, 1)))?;
        let slope = doubly_robust(d, z, [&r0, &r1], &m).into_iter().map(|v| -v).collect();
        Ok(LinearScore { slope, constant: doubly_robust(y, z, [&g0, &g1], &m) })
    }
}

/// g₁ − g₀ + D(Y − g₁)/m − (1 − D)(Y − g₀)/(1 − m).
fn doubly_robust(y: &[f64], d: &[f64], [g0, g1]: [&[f64]; 2], m: &[f64]) -> Vec<f64> {
    (0..y.len())
        .map(|i| {
            let rest = if d[i] == 1.0 { (y[i] - g1[i]) / m[i] } else { -(y[i] - g0[i]) / (1.0 - m[i]) };
            g1[i] - g0[i] + rest
        })
        .collect()
}
