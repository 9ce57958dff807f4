//! Experiment health: what `check` reports, and the guard that `train` runs first.
//!
//! `balance` compares features between arms and holds the guard, `warnings` are what does not
//! stop a run, `gates` turns everything into passed or failed. What must not live here: training.

pub mod balance;
mod dose;
mod gates;
mod warnings;

use crate::error::CausalError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use balance::{BalanceRow, WeightedBalance, balance, guard, weighted_balance};
pub use dose::{check_dose, dose_balance, dose_warnings, guard_dose};
pub use gates::{CheckReport, Gate, check};
pub use warnings::{Warning, warnings};

/// Limits of `check`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatesConfig {
    /// Sample-ratio mismatch: the smallest p-value of the chi-square test that passes.
    pub srm_p_min: f64,
    /// Balance: the largest absolute standardised mean difference that passes.
    pub smd_max: f64,
    /// Overlap: the smallest probability of any arm that counts as overlap.
    pub overlap_min: f64,
}

impl Default for GatesConfig {
    fn default() -> Self {
        GatesConfig { srm_p_min: 0.001, smd_max: 0.1, overlap_min: 0.01 }
    }
}

impl GatesConfig {
    /// Checks the limits' ranges.
    ///
    /// # Errors
    /// [`CausalError::BadSetting`].
    pub fn check(&self) -> Result<(), CausalError> {
        if !(0.0..1.0).contains(&self.srm_p_min) {
            return Err(CausalError::setting("gates.srm_p_min", self.srm_p_min, "it must be at least 0 and below 1"));
        }
        if self.smd_max.is_nan() || self.smd_max <= 0.0 {
            return Err(CausalError::setting("gates.smd_max", self.smd_max, "it must be above 0"));
        }
        if !(0.0..0.5).contains(&self.overlap_min) {
            let allowed = "it must be at least 0 and below 0.5";
            return Err(CausalError::setting("gates.overlap_min", self.overlap_min, allowed));
        }
        Ok(())
    }
}
