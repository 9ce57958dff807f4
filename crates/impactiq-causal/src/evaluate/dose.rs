//! Held-out evaluation of effects of a dose: ranking by doubly robust scores, and calibration and
//! R-loss from residuals. What compares arms has no value and says why.

use std::borrow::Cow;

use impactiq_data::{Dataset, Dose, Watch};
use impactiq_metrics::calibration::{Residuals as Calibration, calibration_test};
use impactiq_metrics::named::Metrics;
use impactiq_metrics::report;
use impactiq_metrics::{Assignment as Lot, Estimate, Scored};

use super::asked::{ContrastEvaluation, EvaluateReport, FEW_ROWS, Scores, is_whole, options};
use crate::config::CheckedConfig;
use crate::dml::{ScoreRows, mean_of_scores};
use crate::dose::{NO_ARMS, Residuals};
use crate::error::CausalError;
use crate::nuisance::{self, DoseNuisances, OutOfFold};
use crate::train::dose_nuisances;

/// Evaluates anybody's scores on some rows of a data set with a dose.
pub(super) fn evaluate_scores(
    scores: Scores,
    data: &Dataset,
    dose: &Dose,
    rows: &[u32],
    config: &CheckedConfig,
    watch: &dyn Watch,
) -> Result<EvaluateReport, CausalError> {
    let part = if is_whole(data, rows) { Cow::Borrowed(data) } else { Cow::Owned(data.subset(rows)) };
    let Some(of_part) = &part.dose else { return Err(CausalError::Mismatch { problem: "no dose".into() }) };
    let all = rows.len() < FEW_ROWS && data.n_rows() > rows.len();
    let (source, of_source) = if all { (data, dose) } else { (&*part, of_part) };
    let fitted = dose_nuisances(config, source, of_source, watch)?;
    let folds = config.folds(source)?;
    let settings = &config.config().nuisance;
    let variance =
        nuisance::fit_dose_variance(source, (of_source, &fitted.dose), &folds, settings, config.seed(), watch)?;
    let (fitted, variance) = if all { (fitted.subset(rows), variance.subset(rows)) } else { (fitted, variance) };
    let total = part.outcomes.len() as u64;
    let mut contrasts = Vec::new();
    for (outcome, scores) in scores.into_iter().enumerate() {
        for scores in scores {
            watch.progress("evaluate", contrasts.len() as u64, total);
            if watch.should_stop() {
                return Err(CausalError::Stopped);
            }
            let one = One { data: &part, dose: of_part, outcome, nuisances: &fitted, variance: &variance };
            contrasts.push(one.evaluate(&scores, config)?);
        }
    }
    watch.progress("evaluate", total, total);
    Ok(EvaluateReport { n_rows: rows.len() as u64, nuisance: Some(fitted.report), contrasts })
}

/// One outcome of the evaluation rows.
struct One<'a> {
    data: &'a Dataset,
    dose: &'a Dose,
    outcome: usize,
    nuisances: &'a DoseNuisances,
    variance: &'a OutOfFold,
}

impl One<'_> {
    fn evaluate(&self, scores: &[f64], config: &CheckedConfig) -> Result<ContrastEvaluation, CausalError> {
        let data = self.data;
        let residuals = Residuals::of(data, self.dose, self.outcome, self.nuisances);
        let average = residuals.average(data)?;
        let theta = average.value().unwrap_or_default();
        let gamma = residuals.scores(theta, self.variance);
        let no_arms = vec![0; data.n_rows()];
        let scored = Scored {
            score: scores,
            treated: &no_arms,
            outcome: &data.outcomes[self.outcome].values,
            weights: data.weights.as_deref(),
            clusters: data.clusters.as_deref(),
            row_ids: Some(&data.row_ids),
            assignment: Lot::NoArms(NO_ARMS),
            gamma: Some(&gamma),
        };
        let mut evaluation = report::evaluate(&scored, &options(config))?;
        let metrics = &mut evaluation.metrics;
        metrics.push("average_effect", average);
        self.calibration(scores, metrics)?;
        metrics.push("r_loss_gain", self.r_loss_gain(scores, &residuals, theta)?);
        Ok(ContrastEvaluation {
            outcome: data.outcomes[self.outcome].name.clone(),
            arm: self.dose.name.clone(),
            evaluation,
        })
    }

    /// The two coefficients of the calibration test: 1 for the mean prediction when levels are
    /// right, 1 for the differential one when differences are.
    fn calibration(&self, scores: &[f64], metrics: &mut Metrics) -> Result<(), CausalError> {
        let data = self.data;
        let test = calibration_test(&Calibration {
            outcome: &data.outcomes[self.outcome].values,
            outcome_hat: &self.nuisances.outcome[self.outcome].values(),
            treatment: &self.dose.values,
            treatment_hat: &self.nuisances.dose.values(),
            effect_hat: scores,
            weights: data.weights.as_deref(),
            clusters: data.clusters.as_deref(),
        })?;
        metrics.push("calibration_mean", test.mean_prediction);
        metrics.push("calibration_differential", test.differential_prediction);
        Ok(())
    }

    /// How much smaller the R-loss E[(Ỹ − τT̃)²] of the scores is than that of one effect for
    /// everybody (Nie & Wager 2021), with the error of the paired difference. Above 0: worth having.
    fn r_loss_gain(&self, scores: &[f64], residuals: &Residuals, theta: f64) -> Result<Estimate, CausalError> {
        let data = self.data;
        let loss = |row: usize, effect: f64| (residuals.outcome[row] - effect * residuals.dose[row]).powi(2);
        let gains: Vec<f64> = (0..scores.len()).map(|row| loss(row, theta) - loss(row, scores[row])).collect();
        Ok(mean_of_scores(&gains, ScoreRows::of(data))?)
    }
}
