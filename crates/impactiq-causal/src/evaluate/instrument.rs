//! Held-out evaluation of effects by way of an instrument: ranking and averages on
//! compliance-weighted scores. What compares arms has no value and says why.

use std::borrow::Cow;

use impactiq_data::{Dataset, Watch};
use impactiq_metrics::{Assignment as Lot, Scored, calibration, report};

use super::asked::{ContrastEvaluation, EvaluateReport, FEW_ROWS, Scores, is_whole, options};
use crate::config::CheckedConfig;
use crate::dml::{ScoreRows, mean_of_scores};
use crate::error::CausalError;
use crate::instrument::{Chosen, InstrumentResiduals, NOT_ASSIGNED};
use crate::train::{chosen, instrument_nuisances};

/// Evaluates anybody's scores on some rows of a data set with an instrument.
pub(super) fn evaluate_scores(
    scores: Scores,
    data: &Dataset,
    rows: &[u32],
    config: &CheckedConfig,
    watch: &dyn Watch,
) -> Result<EvaluateReport, CausalError> {
    let part = if is_whole(data, rows) { Cow::Borrowed(data) } else { Cow::Owned(data.subset(rows)) };
    let of_part = chosen(config, &part)?;
    let all = rows.len() < FEW_ROWS && data.n_rows() > rows.len();
    let fitted = if all {
        let of_data: Chosen = chosen(config, data)?;
        instrument_nuisances(config, data, &of_data, watch)?.subset(rows)
    } else {
        instrument_nuisances(config, &part, &of_part, watch)?
    };
    let total = part.outcomes.len() as u64;
    let nobody = vec![0; part.n_rows()];
    let mut contrasts = Vec::new();
    for (outcome, scores) in scores.into_iter().enumerate() {
        for scores in scores {
            watch.progress("evaluate", contrasts.len() as u64, total);
            if watch.should_stop() {
                return Err(CausalError::Stopped);
            }
            let residuals = InstrumentResiduals::of(&part, &of_part, outcome, &fitted);
            let gamma = residuals.scores(residuals.ratio(part.weights.as_deref()), &fitted.covariance);
            let scored = Scored {
                score: &scores,
                treated: &nobody,
                outcome: &part.outcomes[outcome].values,
                weights: part.weights.as_deref(),
                clusters: part.clusters.as_deref(),
                row_ids: Some(&part.row_ids),
                assignment: Lot::NoArms(NOT_ASSIGNED),
                gamma: Some(&gamma),
            };
            let mut evaluation = report::evaluate(&scored, &options(config))?;
            evaluation.metrics.push("average_effect", mean_of_scores(&gamma, ScoreRows::of(&part))?);
            let line = calibration::best_linear_predictor(&scored)?;
            evaluation.metrics.push("calibration_differential", line.slope);
            contrasts.push(ContrastEvaluation {
                outcome: part.outcomes[outcome].name.clone(),
                arm: of_part.name.clone(),
                evaluation,
            });
        }
    }
    watch.progress("evaluate", total, total);
    Ok(EvaluateReport { n_rows: rows.len() as u64, nuisance: Some(fitted.report), contrasts })
}
