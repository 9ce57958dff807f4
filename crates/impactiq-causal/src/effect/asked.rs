//! Averages that a config asks for beside the answer: over comparable rows alone, adjusted by
//! CUPED, of cut outcomes, of ratios. The formulas live in metrics.

use std::collections::BTreeMap;

use impactiq_data::{DataError, Dataset, OutcomeKind};
use impactiq_metrics::Estimate;
use impactiq_metrics::averages::{ArmNuisances, Sample, difference_in_means, lin};
use impactiq_metrics::estimands::{Comparison, Estimand, aipw, cuped, ipw, ratio_of_means, tmle, winsorised};
use serde::{Deserialize, Serialize};

use crate::linear::{Design, MAX_INDICATORS, Source};
use crate::nuisance::OutOfFold;
use crate::overlap::Trim;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Which rows count as comparable.
    pub trim: Option<Trim>,
    /// Columns from before the trial.
    pub cuped: &'a [String],
    /// Quantiles at which outcomes are cut.
    pub winsorise: Option<(f64, f64)>,
    /// Outcome over outcome.
    pub ratio: Option<&'a BTreeMap<String, String>>,
}

/// The effect averaged over rows whose probability of the arm is far enough from 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrimmedAverages {
    /// What was asked for.
    pub rule: Trim,
    /// Rows whose probability of the arm, of arm or control, lies within [limit, 1 − limit] are kept.
    pub limit: f64,
    /// Rows kept.
    pub n_kept: u64,
    /// Rows left out.
    pub n_left_out: u64,
    /// Those of them in the arm.
    pub n_left_out_arm: u64,
    /// Those of them in control.
    pub n_left_out_control: u64,
    /// Doubly robust: the answer.
    pub aipw: Estimate,
    /// Normalised inverse-probability weighting.
    pub ipw: Estimate,
    /// Targeted learning.
    pub tmle: Estimate,
}

/// The effect on an outcome that was cut at two of its quantiles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WinsorisedAverages {
    /// Smallest value left.
    pub lowest: f64,
    /// Largest value left.
    pub highest: f64,
    /// Difference in means.
    pub difference_in_means: Estimate,
    /// Lin's regression.
    pub lin: Estimate,
}

/// The effect on the ratio of two sums.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioAverage {
    /// The outcome below the line.
    pub per: String,
    /// Difference of the arms' ratios.
    pub difference: Estimate,
}

/// Which rows are comparable: within [limit, 1 − limit], by their probability of the arm, of arm or
/// control.
pub fn comparable(trim: Trim, arm: &OutOfFold, control: &OutOfFold, weights: Option<&[f64]>) -> (f64, Vec<bool>) {
    let share = arm.share_with(control).to_vec();
    let limit = trim.limit(&share, weights);
    let kept = share.iter().map(|&e| e >= limit && e <= 1.0 - limit).collect();
    (limit, kept)
}

/// The trimmed averages of one contrast.
pub(super) fn trimmed(comparison: &Comparison<'_>, (trim, limit): (Trim, f64), kept: &[bool]) -> TrimmedAverages {
    let rows: Vec<usize> = (0..kept.len()).filter(|&row| kept[row]).collect();
    let pick = |values: &[f64]| -> Vec<f64> { rows.iter().map(|&row| values[row]).collect() };
    let (sample, nuisances) = (comparison.sample, comparison.nuisances);
    let (outcome, weights) = (pick(sample.outcome), sample.weights.map(pick));
    let arm: Vec<u8> = rows.iter().map(|&row| sample.arm[row]).collect();
    let clusters: Option<Vec<u32>> = sample.clusters.map(|all| rows.iter().map(|&row| all[row]).collect());
    let parts = [nuisances.mean_treated, nuisances.mean_control, nuisances.p_treated, nuisances.p_control].map(pick);
    let part = Comparison {
        sample: Sample {
            outcome: &outcome,
            arm: &arm,
            contrast: sample.contrast,
            weights: weights.as_deref(),
            clusters: clusters.as_deref(),
        },
        nuisances: ArmNuisances {
            mean_treated: &parts[0],
            mean_control: &parts[1],
            p_treated: &parts[2],
            p_control: &parts[3],
        },
    };
    let left_out = |code: u8| (0..kept.len()).filter(|&row| !kept[row] && sample.arm[row] == code).count() as u64;
    TrimmedAverages {
        rule: trim,
        limit,
        n_kept: rows.len() as u64,
        n_left_out: (kept.len() - rows.len()) as u64,
        n_left_out_arm: left_out(sample.contrast),
        n_left_out_control: left_out(0),
        aipw: aipw(&part, Estimand::Ate),
        ipw: ipw(&part, Estimand::Ate),
        tmle: tmle(&part, Estimand::Ate),
    }
}

/// Raw columns as numbers of n rows each: standardised, categories as indicators, missing marked;
/// no constant.
///
/// # Errors
/// [`DataError::MissingColumn`].
pub(crate) fn numbers(data: &Dataset, names: &[String]) -> Result<Vec<Vec<f64>>, DataError> {
    let n = data.n_rows();
    let source = Source::new(&data.raw);
    let rows: Vec<u32> = (0..n as u32).collect();
    let design = Design::learn(&source, names, &rows, data.weights.as_deref(), MAX_INDICATORS)?;
    let mut filled = vec![0.0; design.width() * n];
    design.bind(&source)?.fill(&rows, &mut filled);
    Ok(filled.chunks_exact(n).skip(1).map(<[f64]>::to_vec).collect())
}

/// CUPED, where columns were named.
pub(super) fn adjusted(sample: &Sample<'_>, columns: &[Vec<f64>]) -> Option<Estimate> {
    let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    (!columns.is_empty()).then(|| cuped(sample, &columns))
}

/// The effect on the cut outcome, for outcomes that are not 0/1.
pub(super) fn cut(
    sample: &Sample<'_>,
    kind: OutcomeKind,
    asked: &Asked<'_>,
    covariates: &[&[f64]],
) -> Option<WinsorisedAverages> {
    let (lower, upper) = asked.winsorise.filter(|_| kind != OutcomeKind::Binary)?;
    let outcome = winsorised(sample.outcome, lower, upper);
    let sample = Sample { outcome: &outcome, ..*sample };
    Some(WinsorisedAverages {
        lowest: outcome.iter().copied().fold(f64::INFINITY, f64::min),
        highest: outcome.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        difference_in_means: difference_in_means(&sample),
        lin: lin(&sample, covariates),
    })
}

/// The effect on the ratio that was asked for of this outcome.
pub(super) fn ratio(data: &Dataset, sample: &Sample<'_>, outcome: usize, asked: &Asked<'_>) -> Option<RatioAverage> {
    let per = asked.ratio?.get(&data.outcomes[outcome].name)?;
    let below = data.outcomes.iter().find(|outcome| outcome.name == *per)?;
    Some(RatioAverage { per: per.clone(), difference: ratio_of_means(sample, &below.values) })
}
