//! The sections of estimators that stand beside the run's averages: double machine learning,
//! instruments, and averages of trimmed, adjusted or cut outcomes. Ranges are checked here;
//! what needs other sections is checked in `check`.

use std::collections::BTreeMap;

use impactiq_metrics::robust::Covariance;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::{Names, Winsorise};
use crate::dml::{CLIP, DmlKind};
use crate::error::CausalError;
use crate::overlap::Trim;

/// Repetitions of the folds at most: the median no longer moves, and each costs as much as the first.
const MAX_REPETITIONS: u32 = 1_000;

/// Double machine learning of one number, as DoubleML defines it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DmlConfig {
    /// Models to estimate: plr, plr_iv_type, irm, irm_atte, and with `roles.instrument` pliv, iivm; empty: none.
    pub models: Vec<DmlKind>,
    /// Times the rows are dealt into folds anew; the answer is the median. 1 to 1000.
    #[schemars(range(min = 1, max = 1000))]
    pub repetitions: u32,
    /// How far learned probabilities of irm and iivm are kept from 0 and 1, from 0 up to less than 0.5.
    pub clip: f64,
}

impl Default for DmlConfig {
    fn default() -> Self {
        DmlConfig { models: Vec::new(), repetitions: 1, clip: CLIP }
    }
}

impl DmlConfig {
    pub(super) fn check(&self) -> Result<(), CausalError> {
        if !(1..=MAX_REPETITIONS).contains(&self.repetitions) {
            let allowed = format!("it must be between 1 and {MAX_REPETITIONS}");
            return Err(CausalError::setting("dml.repetitions", self.repetitions, allowed));
        }
        if !(0.0..0.5).contains(&self.clip) {
            return Err(CausalError::setting("dml.clip", self.clip, "it must be at least 0 and below 0.5"));
        }
        match self.models.iter().enumerate().find(|(i, kind)| self.models[..*i].contains(kind)) {
            Some((_, kind)) => Err(CausalError::setting("dml.models", kind.name(), "each model can be named once")),
            None => Ok(()),
        }
    }
}

/// What is computed with `roles.instrument`: Wald's ratio and two-stage least squares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InstrumentsConfig {
    /// Whether features and controls enter both stages, beside the answer without them.
    pub adjust: bool,
    /// How errors are estimated: classical, hc0 to hc3, or by cluster cr1, cr2; default hc1, cr1 with clusters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub covariance: Option<Covariance>,
}

impl Default for InstrumentsConfig {
    fn default() -> Self {
        InstrumentsConfig { adjust: true, covariance: None }
    }
}

/// Averages beside the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AveragesConfig {
    /// Observational data: the average over rows whose probability of the arm, of arm or control, lies within
    /// [trim, 1 − trim]; a number above 0 and below 0.5, or `crump` for the limit of least variance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trim: Option<Trim>,
    /// Features or controls from before the trial: the difference in means less what they explain (CUPED).
    #[serde(skip_serializing_if = "is_empty")]
    pub cuped: Names,
    /// Cuts outcomes that are not 0/1 at these quantiles: [lower, upper], or the upper one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub winsorise: Option<Winsorise>,
    /// {outcome: outcome}: the effect on the ratio of two sums, such as {revenue: visits}; both must be
    /// named in `roles.outcome`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ratio: BTreeMap<String, String>,
}

fn is_empty(names: &Names) -> bool {
    names.0.is_empty()
}

impl AveragesConfig {
    /// The keys that were written, for messages.
    pub(super) fn written(&self) -> impl Iterator<Item = &'static str> {
        [
            ("averages.trim", self.trim.is_some()),
            ("averages.cuped", !self.cuped.0.is_empty()),
            ("averages.winsorise", self.winsorise.is_some()),
            ("averages.ratio", !self.ratio.is_empty()),
        ]
        .into_iter()
        .filter_map(|(key, written)| written.then_some(key))
    }

    pub(super) fn check(&self, outcomes: &[String]) -> Result<(), CausalError> {
        if let Some(Trim::At(limit)) = self.trim
            && !(limit > 0.0 && limit < 0.5)
        {
            let allowed = "it must be above 0 and below 0.5, or crump";
            return Err(CausalError::setting("averages.trim", limit, allowed));
        }
        if let Some(Winsorise { lower, upper }) = self.winsorise
            && !(lower >= 0.0 && lower < upper && upper <= 1.0)
        {
            let allowed = "quantiles must rise from at least 0 to at most 1";
            return Err(CausalError::setting("averages.winsorise", format!("[{lower}, {upper}]"), allowed));
        }
        for name in self.ratio.iter().flat_map(|(over, under)| [over, under]) {
            if !outcomes.contains(name) {
                let allowed = "both sides of a ratio must be named in roles.outcome";
                return Err(CausalError::setting("averages.ratio", name, allowed));
            }
        }
        match self.ratio.iter().find(|(over, under)| over == under) {
            Some((name, _)) => Err(CausalError::setting("averages.ratio", name, "an outcome over itself is always 1")),
            None => Ok(()),
        }
    }
}
