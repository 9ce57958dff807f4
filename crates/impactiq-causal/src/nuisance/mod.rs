//! Nuisances: what outcomes and assignments look like given features, cross-fitted.
//!
//! `out_of_fold` holds the type that only cross-fitting and designs can make, `cross_fit` the
//! one loop over folds, `set` the nuisances that a whole run shares, `dose` those of a dose, `instrument` those of
//! an instrument. What must not live here:
//! effects.

mod cross_fit;
mod dose;
mod instrument;
mod out_of_fold;
mod set;

pub use cross_fit::{CrossFitted, NuisanceLoss, NuisanceTask, cross_fit};
pub(crate) use dose::fit_dose_mean;
pub use dose::{DoseNuisances, fit_dose_nuisances, fit_dose_variance};
pub use instrument::{Encouragement, InstrumentNuisances, fit_instrument_nuisances};
pub use out_of_fold::OutOfFold;
pub use set::{
    ArmLoss, NuisanceReport, Nuisances, OutcomeLosses, declared_propensity, fit_nuisances, fit_pooled_means,
    fit_propensity,
};
pub(crate) use set::{loss_of, sampling_ids};

use crate::base::settings::with_base_settings;
use crate::base::{BaseKind, Candidates, Place, Target};
use crate::error::CausalError;

with_base_settings! {
    /// Models of outcomes and propensities, cross-fitted.
    pub struct NuisanceConfig {
        /// What the nuisances are made of.
        pub kind: BaseKind = BaseKind::Boosted,
        /// Folds of the cross-fit, 2 to 255; a fold column comes first.
        #[schemars(range(min = 2, max = 255))]
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
        self.kind.check_tune("nuisance", self.tune)?;
        self.settings().check("nuisance", self.kind)
    }

    /// The settings to compare for a target, where the config asks for a choice.
    pub(crate) fn candidates(&self, place: Place, target: Target) -> Option<Candidates> {
        self.budget().map(|budget| Candidates::new(&self.settings(), self.kind, place, target, budget))
    }
}
