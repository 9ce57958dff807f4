//! Nuisances: what outcomes and assignments look like given features, cross-fitted.
use crate::base::BaseKind;
use crate::base::settings::with_base_settings;
use crate::error::CausalError;

with_base_settings! {
    /// Models of outcomes and propensities, cross-fitted.
    pub struct NuisanceConfig {
        /// What the nuisances are made of.
        pub kind: BaseKind = BaseKind::Boosted,
        /// Folds of the cross-fit, 2 to 255; a fold column comes first.
        pub folds: usize = 5,
    }
}

impl NuisanceConfig {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`CausalError::BadSetting`], [`CausalError::UselessSetting`].
    pub fn check(&self) -> Result<(), CausalError> {
        if !(2..=255).contains(&self.folds) {
            return Err(CausalError::setting("nuisance.folds", self.folds, "it must be between 2 and 255"));
        }
        self.settings().check("nuisance", self.kind)
    }
}
