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
    let arms = data.treatment.arms.labels();
    let n = data.n_rows();
    let mut report = Vec::with_capacity(arms.len() - 1);
    for arm in 1..arms.len() {
        let smallest_of = |row: usize| propensity[arm].get(row).min(propensity[0].get(row));
        let (mut smallest, mut n_outside) = (f64::INFINITY, 0u64);
        if let (Some(p), Some(q)) = (propensity[arm].constant(), propensity[0].constant()) {
            smallest = p.min(q);
            n_outside = if smallest < limit { n as u64 } else { 0 };
        } else {
            for row in 0..n {
                let p = smallest_of(row);
                smallest = smallest.min(p);
                n_outside += u64::from(p < limit);
            }
        }
        let share_outside = n_outside as f64 / n as f64;
        report.push(ArmOverlap { arm: arms[arm].clone(), smallest, share_outside });
        if data.assignment == Assignment::Observational && share_outside > MAX_SHARE {
            let (arm, control) = (arms[arm].clone(), arms[0].clone());
            return Err(CausalError::NoOverlap { arm, control, share: share_outside, limit });
        }
    }
    let learned = data.assignment == Assignment::Observational;
    let floor = limit.max(1e-6);
    let cut = propensity.into_iter().map(|p| if learned { p.map(|v| v.clamp(floor, 1.0 - floor)) } else { p });
    Ok((cut.collect(), report))
}
