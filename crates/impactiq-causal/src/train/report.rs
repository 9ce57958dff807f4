//! What training leaves behind: the model and what was learned on the way. No code that trains
//! lives here.

use std::fmt;

use impactiq_data::Treatment;
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::dml::DmlReport;
use super::two_stage::TwoStageReport;
use crate::base::TuneReport;
use crate::effect::ContrastAverages;
use crate::health::{Warning, WeightedBalance};
use crate::instrument::InstrumentReport;
use crate::learners::{ChoiceReport, ForestReport, LinearReport};
use crate::model::CausalModel;
use crate::nuisance::NuisanceReport;
use crate::overlap::ArmOverlap;

/// A trained model and what was learned on the way.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model.
    pub model: CausalModel,
    /// The report, as `train` prints it.
    pub report: TrainReport,
}

/// What `train` prints; the door adds model, seconds and memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// Rows kept.
    pub n_rows: u64,
    /// Rows held out from the learner.
    pub n_holdout: u64,
    /// Rows per arm, the control first; empty with a dose.
    pub arms: ArmCounts,
    /// The dose, where the treatment is an amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dose: Option<DoseSummary>,
    /// What the instrument tells, by outcome; for instrumental forests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instruments: Vec<InstrumentReport>,
    /// Average effects per outcome and arm, over all kept rows.
    pub contrasts: Vec<ContrastAverages>,
    /// How well the nuisances fit, out of fold.
    pub nuisance: NuisanceReport,
    /// Overlap of each arm with the control.
    pub overlap: Vec<ArmOverlap>,
    /// Balance before and after weighting, for observational data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weighted_balance: Vec<WeightedBalance>,
    /// What the instrument tells by unregularised linear fits, by outcome; with `roles.instrument`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub two_stage: Vec<TwoStageReport>,
    /// Double machine learning, by outcome, arm and model; where `dml.models` names any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dml: Vec<DmlReport>,
    /// What was chosen for each causal forest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forests: Vec<ForestReport>,
    /// Coefficients of linear final stages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub linear: Vec<LinearReport>,
    /// What was chosen on held-out rows, by outcome, where learners were compared or recalibrated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<ChoiceReport>,
    /// What was tried for the learner, by outcome, where settings were to be chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tuning: Vec<TuneReport>,
    /// What to keep in mind.
    pub warnings: Vec<Warning>,
}

/// A dose in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DoseSummary {
    /// Its column: effects are per unit of it.
    pub column: String,
    /// Weighted mean.
    pub mean: f64,
    /// Smallest.
    pub smallest: f64,
    /// Largest.
    pub largest: f64,
    /// Share of its variance that features leave unexplained; 1 for a randomised dose.
    pub free_share: f64,
}

/// Rows per arm in the arms' order; JSON: `{"0": 150, "1": 850}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArmCounts(pub Vec<(String, u64)>);

impl ArmCounts {
    /// The rows of every arm; none of a dose, which has no arms.
    pub(super) fn of(treatment: &Treatment) -> Self {
        let counts = treatment.counts();
        ArmCounts(treatment.arms.labels().iter().cloned().zip(counts.iter().map(|&n| n as u64)).collect())
    }
}

impl Serialize for ArmCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (arm, n) in &self.0 {
            map.serialize_entry(arm, n)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for ArmCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counts;
        impl<'de> Visitor<'de> for Counts {
            type Value = ArmCounts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table {arm: rows}")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ArmCounts, A::Error> {
                let mut counts = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    counts.push(entry);
                }
                Ok(ArmCounts(counts))
            }
        }
        deserializer.deserialize_map(Counts)
    }
}

/// Forests that were stopped before they had all their trees.
pub(crate) fn smaller(forests: &[ForestReport]) -> impl Iterator<Item = Warning> {
    forests.iter().filter(|forest| forest.n_trees < forest.n_trees_asked).map(|forest| Warning::SmallerForest {
        outcome: forest.outcome.clone(),
        n_trees: forest.n_trees,
        asked: forest.n_trees_asked,
    })
}
