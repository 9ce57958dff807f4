//! Overlap: how many rows could have been in either arm, and what is done about the others.

use impactiq_data::{Assignment, Dataset};
use serde::{Deserialize, Serialize};

use crate::error::CausalError;
use crate::nuisance::OutOfFold;

/// Above this share of rows without overlap nothing is estimated.
const MAX_SHARE: f64 = 0.5;

/// Overlap of one arm with the control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmOverlap {
    /// The arm.
    pub arm: String,
    /// Smallest probability of the arm or of the control over all rows.
    pub smallest: f64,
    /// Share of rows where either probability is below the limit.
    pub share_outside: f64,
}

/// Measures each arm's overlap with the control.
pub fn measure(data: &Dataset, propensity: &[OutOfFold], limit: f64) -> Vec<ArmOverlap> {
    let (labels, n) = (data.treatment.arms.labels(), data.n_rows());
    (1..labels.len())
        .map(|arm| {
            let pair = |row: usize| propensity[arm].get(row).min(propensity[0].get(row));
            let (mut smallest, mut n_outside) = (f64::INFINITY, 0u64);
            for row in 0..n {
                let p = pair(row);
                smallest = smallest.min(p);
                n_outside += u64::from(p < limit);
            }
            ArmOverlap { arm: labels[arm].clone(), smallest, share_outside: n_outside as f64 / n as f64 }
        })
        .collect()
}

/// Measures overlap and cuts learned probabilities at `limit` (never declared ones: those
/// are known, however small).
///
/// # Errors
/// [`CausalError::NoOverlap`] when more than half of the rows of observational data lie outside.
pub fn assess(
    data: &Dataset,
    propensity: Vec<OutOfFold>,
    limit: f64,
) -> Result<(Vec<OutOfFold>, Vec<ArmOverlap>), CausalError> {
    let report = measure(data, &propensity, limit);
    if data.assignment != Assignment::Observational {
        return Ok((propensity, report));
    }
    if let Some(worst) = report.iter().find(|overlap| overlap.share_outside > MAX_SHARE) {
        let (arm, control) = (worst.arm.clone(), data.treatment.arms.control().to_owned());
        return Err(CausalError::NoOverlap { arm, control, share: worst.share_outside, limit });
    }
    let floor = limit.max(1e-6);
    let cut = propensity.into_iter().map(|p| p.map(|v| v.clamp(floor, 1.0 - floor)));
    Ok((cut.collect(), report))
}
