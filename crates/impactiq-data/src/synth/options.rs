//! What can be varied about a generator, and the limits of it.
//!
//! No drawing here: only numbers and their checks.

use crate::error::DataError;

/// What can be varied about a generator. Fields that a generator has no use for are ignored.
#[derive(Clone, Debug, PartialEq)]
pub struct SynthOptions {
    /// Number of numeric features x1… of the Nie-Wager and Wager-Athey designs (6 to 200).
    pub n_features: usize,
    /// Standard deviation of the outcome's noise in the designs with a continuous outcome.
    pub noise: f64,
    /// Arms of the multi-arm trial, the control included (2 to 16).
    pub n_arms: usize,
    /// Clusters of the clustered trial (4 to 1,000,000).
    pub n_clusters: usize,
}

impl Default for SynthOptions {
    fn default() -> Self {
        SynthOptions { n_features: 6, noise: 1.0, n_arms: 3, n_clusters: 100 }
    }
}

impl SynthOptions {
    /// Checks every field against its limits.
    ///
    /// # Errors
    /// [`DataError::BadSetting`] naming the first field that is outside.
    pub fn check(&self) -> Result<(), DataError> {
        let bad = |what, value: String, allowed| Err(DataError::BadSetting { what, value, allowed });
        if !(6..=200).contains(&self.n_features) {
            return bad("n_features", self.n_features.to_string(), "it must be from 6 to 200");
        }
        if !(self.noise.is_finite() && self.noise >= 0.0) {
            return bad("noise", self.noise.to_string(), "it must be a finite number, 0 or more");
        }
        if !(2..=16).contains(&self.n_arms) {
            return bad("n_arms", self.n_arms.to_string(), "it must be from 2 to 16, the control included");
        }
        if !(4..=1_000_000).contains(&self.n_clusters) {
            return bad("n_clusters", self.n_clusters.to_string(), "it must be from 4 to 1,000,000");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_outside_its_limits_is_named() {
        let good = SynthOptions::default();
        assert!(good.check().is_ok());
        for (options, name) in [
            (SynthOptions { n_features: 5, ..good.clone() }, "n_features"),
            (SynthOptions { noise: f64::NAN, ..good.clone() }, "noise"),
            (SynthOptions { noise: -1.0, ..good.clone() }, "noise"),
            (SynthOptions { n_arms: 1, ..good.clone() }, "n_arms"),
            (SynthOptions { n_clusters: 3, ..good.clone() }, "n_clusters"),
        ] {
            let message = options.check().unwrap_err().to_string();
            assert!(message.starts_with(name), "{message}");
        }
    }
}
