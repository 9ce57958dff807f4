//! Effect learners: from rows to the effect of each arm given features.
use crate::base::BaseKind;
use crate::base::settings::with_base_settings;
use crate::error::CausalError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The effect learners there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LearnerKind {
    /// One model with the arm among its features.
    S,
    /// One model per arm.
    #[default]
    T,
}

with_base_settings! {
    /// Which effect learner, and its settings.
    pub struct LearnerConfig {
        /// s or t.
        pub kind: LearnerKind = LearnerKind::T,
        /// What the learner's models are made of.
        pub base: BaseKind = BaseKind::Boosted,
    }
}

impl LearnerConfig {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// [`CausalError::BadSetting`], [`CausalError::UselessSetting`].
    pub fn check(&self) -> Result<(), CausalError> {
        self.settings().check("learner", self.base)
    }
}
