//! The sections of the config, as contracts between a user and every command. Defaults stand
//! beside each key; the JSON Schema is made from these structs.

use std::collections::BTreeMap;

use impactiq_data::roles::RolesSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::estimators::{AveragesConfig, DmlConfig, InstrumentsConfig};
use super::values::{DerivedFeatures, Names, Probability, Scalar};
use crate::health::GatesConfig;
use crate::learners::LearnerConfig;
use crate::nuisance::NuisanceConfig;

/// One run: which data, which roles, which learner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the rows come from.
    pub data: DataConfig,
    /// Which column plays which part.
    pub roles: RolesConfig,
    /// How rows came to their arms.
    pub assignment: AssignmentConfig,
    /// Derived features, SQL over the row: the same expressions run in train and score.
    pub features: DerivedFeatures,
    /// Which rows are kept for evaluation.
    pub split: SplitConfig,
    /// Models of outcomes and propensities, cross-fitted.
    pub nuisance: NuisanceConfig,
    /// The effect learner.
    pub learner: LearnerConfig,
    /// Averages beside the answer: trimmed, adjusted by CUPED, of cut outcomes, of ratios.
    pub averages: AveragesConfig,
    /// Double machine learning of one number.
    pub dml: DmlConfig,
    /// Two-stage least squares, with `roles.instrument`.
    pub instruments: InstrumentsConfig,
    /// What `evaluate` computes.
    pub evaluate: EvaluateConfig,
    /// Limits of `check`.
    pub gates: GatesConfig,
}

/// Where the rows come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// File, glob or directory, or a list of them: CSV (.gz, .zst), Parquet or NDJSON.
    #[schemars(required)]
    pub path: Names,
    /// SQL filter over the raw columns.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// CSV delimiter, one character; left out: found from the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// {column: text | number} where a type must not be guessed: `zip: text` keeps `007`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, ColumnType>,
}

/// A type that is given to a column instead of being guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Categories, by their text as it is written.
    Text,
    /// Numbers; a value that is none is an error.
    Number,
}

/// Which column plays which part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RolesConfig {
    /// The treatment column: any number of arms. Either this with `control`, or `dose`.
    pub treatment: String,
    /// The control's value in the treatment column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control: Option<Scalar>,
    /// A treatment that is an amount, in place of `treatment` and `control`: effects are per
    /// unit of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dose: Option<String>,
    /// Outcome column, or a list: binary, count or continuous.
    #[schemars(required)]
    pub outcome: Names,
    /// Feature names and globs; left out: every column without another role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<Names>,
    /// Confounders used by nuisances only.
    pub controls: Names,
    /// The instrument.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instrument: Option<String>,
    /// Row weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// What keeps rows together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Identifiers passed through to scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Names>,
    /// A column that fixes the folds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold: Option<String>,
    /// Columns known only after treatment: never features.
    pub post_treatment: Names,
}

impl RolesConfig {
    /// The roles as the data floor resolves them.
    pub fn spec(&self, probability: Option<&str>) -> RolesSpec {
        RolesSpec {
            treatment: self.treatment.clone(),
            control: self.control.clone().unwrap_or_default().0,
            dose: self.dose.clone(),
            outcomes: self.outcome.0.clone(),
            features: self.features.as_ref().map(|names| names.0.clone()),
            controls: self.controls.0.clone(),
            instrument: self.instrument.clone(),
            weight: self.weight.clone(),
            cluster: self.cluster.clone(),
            id: self.id.as_ref().map(|names| names.0.clone()).unwrap_or_default(),
            fold: self.fold.clone(),
            post_treatment: self.post_treatment.0.clone(),
            probability: probability.map(str::to_owned),
        }
    }
}

/// Whether chance or somebody's choice put rows into arms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AssignmentKind {
    /// A randomised trial.
    #[default]
    Randomised,
    /// Not randomised: propensities are learned, and every answer carries a caveat.
    Observational,
}

/// How rows came to their arms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AssignmentConfig {
    /// randomised or observational.
    pub kind: AssignmentKind,
    /// Number, {arm: p} or column; left out: the arms' shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<Probability>,
}

/// What a hold-out keeps together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SplitBy {
    /// Every row for itself.
    Row,
    /// Whole clusters.
    Cluster,
}

/// Which rows are kept for evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SplitConfig {
    /// Share of rows the learner never sees, 0 up to less than 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub holdout: f64,
    /// The run's only seed: hold-out, folds, subsamples and bootstraps come from it.
    pub seed: u64,
    /// What the hold-out keeps together; left out: clusters where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<SplitBy>,
}

impl Default for SplitConfig {
    fn default() -> Self {
        SplitConfig { holdout: 0.3, seed: 7, by: None }
    }
}

/// Which doubly robust or weighted scores TOC and RATE stand on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScoreKind {
    /// Augmented inverse-probability scores, cross-fitted.
    #[default]
    Aipw,
    /// Inverse-probability scores: no outcome model, wider intervals.
    Ipw,
}

/// What `evaluate` computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateConfig {
    /// Shares of the rows, best scores first, for uplift at k.
    pub k: Vec<f64>,
    /// Half-sample draws behind intervals of ranking metrics; 0: no intervals.
    pub bootstrap: u32,
    /// Scores behind TOC and RATE.
    pub scores: ScoreKind,
}

impl Default for EvaluateConfig {
    fn default() -> Self {
        EvaluateConfig { k: vec![0.1, 0.2, 0.3], bootstrap: 200, scores: ScoreKind::Aipw }
    }
}
