//! What can go wrong while effects are learned, as values with fields.
//!
//! `Display` says what and where in lower case; [`CausalError::hint`] says what to do next.

use impactiq_data::DataError;
use impactiq_data::error::shorten;
use impactiq_metrics::MetricsError;
use impactiq_trees::TreesError;
use thiserror::Error;

/// A feature that the treatment moves in a randomised trial.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct MovedFeature {
    /// The feature, or `name = level`, or `name is missing`.
    pub feature: String,
    /// The arm whose rows differ from the control's.
    pub arm: String,
    /// Standardised mean difference.
    pub smd: f64,
    /// Two-sided p-value times the number of comparisons, at most 1.
    pub p_bonferroni: f64,
}

/// Something about the config, the data or a model that the user can mend.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum CausalError {
    /// The data or their roles are wrong.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The config is not the YAML that was expected at this place.
    #[error("{file}, line {line}, column {column}: {problem}")]
    Yaml {
        /// The config's file name.
        file: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What is wrong there.
        problem: String,
    },
    /// A key of the config that doesn't exist.
    #[error("{file}, line {line}, column {column}: unknown key '{key}'")]
    UnknownKey {
        /// The config's file name.
        file: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// The key.
        key: String,
        /// The most similar key that exists there.
        closest: Option<String>,
        /// Every key that exists there.
        allowed: Vec<String>,
    },
    /// A `--set key=value` that doesn't fit.
    #[error("--set {setting}: {problem}")]
    Override {
        /// The setting as written.
        setting: String,
        /// What is wrong with it.
        problem: String,
        /// A key that was probably meant.
        closest: Option<String>,
    },
    /// A key of the config that is needed is not there.
    #[error("the config has no '{key}'")]
    MissingKey {
        /// The key's path.
        key: &'static str,
    },
    /// A setting is outside its range.
    #[error("{key} is {value}; {allowed}")]
    BadSetting {
        /// The key's path.
        key: String,
        /// The value as text.
        value: String,
        /// What would be allowed.
        allowed: String,
    },
    /// A key that is about arms, where the treatment is a dose.
    #[error("{key} is about arms, but roles.dose: {dose} says that the treatment is an amount")]
    NotWithDose {
        /// The key's path.
        key: String,
        /// The dose column.
        dose: String,
    },
    /// A learner of arms, where the treatment is a dose.
    #[error("the learner '{kind}' compares arms, but roles.dose: {dose} says that the treatment is an amount")]
    NotForDoses {
        /// The learner.
        kind: String,
        /// The dose column.
        dose: String,
        /// The learners that take doses.
        learners: String,
    },
    /// A key of the config that the chosen kind doesn't use.
    #[error("{key} has no meaning for the kind '{kind}'")]
    UselessSetting {
        /// The key's path.
        key: String,
        /// The kind that was chosen.
        kind: String,
    },
    /// A base learner that this build came without.
    #[error("this impactiq was built without {library}")]
    NotBuilt {
        /// The library, which is also the name of the cargo feature.
        library: &'static str,
    },
    /// A library that trains for us gave up.
    #[error("{library}: {problem}")]
    Library {
        /// The library.
        library: &'static str,
        /// What it says.
        problem: String,
    },
    /// An arm named in the config is not an arm of the data.
    #[error("assignment.probability names the arm '{arm}', which the treatment column doesn't have")]
    UnknownArm {
        /// The arm asked for.
        arm: String,
        /// The arms found.
        found: Vec<String>,
    },
    /// Features that are moved by the treatment although it was randomised.
    #[error("post-treatment or broken randomisation: {}", moved(.features))]
    PostTreatment {
        /// The features, largest difference first.
        features: Vec<MovedFeature>,
    },
    /// A derived feature that reads what is known only after treatment, or the treatment itself.
    #[error("the feature '{feature}' reads '{column}', the {role}")]
    LeakyFeature {
        /// The derived feature.
        feature: String,
        /// The column it reads.
        column: String,
        /// That column's role.
        role: &'static str,
    },
    /// A cluster whose rows stand in several folds.
    #[error("the fold column '{column}' splits the cluster of row {row} over two folds")]
    SplitCluster {
        /// The fold column.
        column: String,
        /// A row whose fold differs from that of an earlier row of its cluster, counted from 1.
        row: u64,
    },
    /// So few rows or clusters that a share of them is none or all.
    #[error(
        "split.holdout: {fraction} of {n_units} {units}{} rounds to {}",
        if *.n_units == 1 { "" } else { "s" },
        if *.all { "all of them" } else { "none" }
    )]
    RoundedHoldout {
        /// The share that was asked for.
        fraction: f64,
        /// `cluster` or `row`.
        units: &'static str,
        /// How many there are.
        n_units: usize,
        /// True when nothing is left to learn from, false when nothing is held out.
        all: bool,
    },
    /// A part of the data is too small to learn from.
    #[error("{what} has {found} rows; at least {needed} are needed")]
    TooFewRows {
        /// What is too small.
        what: String,
        /// Rows found.
        found: usize,
        /// Rows needed.
        needed: usize,
    },
    /// The arms of an observational data set have hardly any comparable rows.
    #[error(
        "arm '{arm}' and control '{control}' hardly overlap: for {:.1} % of the rows one of them has a probability below {limit}",
        .share * 100.0
    )]
    NoOverlap {
        /// The arm.
        arm: String,
        /// The control.
        control: String,
        /// Share of rows without overlap.
        share: f64,
        /// The limit.
        limit: f64,
    },
    /// A base learner can't learn this outcome.
    #[error("{key} is logistic, but '{column}' is not a 0/1 outcome")]
    NotBinary {
        /// The key that chose the base learner.
        key: &'static str,
        /// The outcome.
        column: String,
    },
    /// Features of a linear final stage that others fix.
    #[error(
        "the linear effect of arm '{arm}' has no answer: {} {} constant or a combination of the other features",
        shorten(.features, 10),
        if .features.len() == 1 { "is" } else { "are" }
    )]
    Collinear {
        /// The features (terms of the design) that the earlier ones fix.
        features: Vec<String>,
        /// The arm.
        arm: String,
    },
    /// Something has to differ between rows and doesn't.
    #[error("{what} does not vary")]
    NoVariation {
        /// What is the same everywhere.
        what: String,
    },
    /// Fewer instruments than treatments they should stand for.
    #[error("there are {found} usable instruments for {needed} endogenous columns")]
    TooFewInstruments {
        /// Instruments found.
        found: usize,
        /// Instruments needed.
        needed: usize,
    },
    /// An estimator needs a column that no role names.
    #[error("{needed_by} need a column with the role '{role}'")]
    MissingRole {
        /// The role.
        role: &'static str,
        /// What needs it.
        needed_by: &'static str,
    },
    /// A learner is defined for 0/1 outcomes alone.
    #[error("the learner {kind} is for 0/1 outcomes, and '{column}' is none")]
    BinaryOnly {
        /// The learner.
        kind: String,
        /// The outcome.
        column: String,
    },
    /// A fit did not reach a finite answer.
    #[error("the fit of {what} gave a value that is not finite")]
    NotFinite {
        /// What was fitted.
        what: String,
    },
    /// The trees could not be grown.
    #[error("boosting: {0}")]
    Trees(TreesError),
    /// A metric could not be computed.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// Somebody asked to stop.
    #[error("stopped before the end")]
    Stopped,
    /// A model's numbers or structure are damaged.
    #[error("the model is damaged: {what}: {problem}")]
    Corrupt {
        /// The array or key.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A model comes from a later version.
    #[error("the model has format {found}; this version reads formats up to {supported}")]
    FutureFormat {
        /// Format found.
        found: u64,
        /// The latest format that can be read.
        supported: u64,
    },
    /// A model that is to be continued or merged comes from another training.
    #[error("the model comes from another training: what differs is {differs}")]
    OtherTraining {
        /// What differs.
        differs: String,
    },
    /// Rows don't fit the model they are given to.
    #[error("the rows don't fit the model: {problem}")]
    Mismatch {
        /// What differs.
        problem: String,
    },
}

const OTHER_TRAINING: &str = "continue with the config and data of the training; merge forests of the same config, features and \
     data that were grown with different seeds";

fn moved(features: &[MovedFeature]) -> String {
    let mut parts: Vec<String> = features
        .iter()
        .take(5)
        .map(|m| {
            format!(
                "'{}' differs between arm '{}' and the control (standardised difference {:.3}, p = {:.1e} after Bonferroni)",
                m.feature, m.arm, m.smd, m.p_bonferroni
            )
        })
        .collect();
    if features.len() > 5 {
        parts.push(format!("and {} more", features.len() - 5));
    }
    parts.join("; ")
}

impl From<TreesError> for CausalError {
    fn from(error: TreesError) -> Self {
        match error {
            TreesError::Stopped => CausalError::Stopped,
            error => CausalError::Trees(error),
        }
    }
}

/// Which columns are in question, and what to do about either reason.
fn post_treatment_hint(features: &[MovedFeature]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for m in features {
        let name = m.feature.split(" = ").next().unwrap_or_default().trim_end_matches(" is missing");
        if !names.contains(&name) {
            names.push(name);
        }
    }
    format!(
        "the data cannot tell the two apart: if it is known only after treatment, set roles.post_treatment: [{}]; \
         if assignment depended on it, declare assignment.probability per row or assignment.kind: observational",
        names.join(", ")
    )
}

impl CausalError {
    /// What to do next, when there is something better than reading the message.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            CausalError::Data(inner) => return inner.hint(),
            CausalError::UnknownKey { closest: Some(closest), .. }
            | CausalError::Override { closest: Some(closest), .. } => {
                format!("did you mean '{closest}'?")
            }
            CausalError::UnknownKey { allowed, .. } => format!("keys here: {}", shorten(allowed, 40)),
            CausalError::Override { .. } => "write --set key=value, such as --set learner.kind=t".into(),
            CausalError::MissingKey { key: "roles.treatment" } => {
                "add roles.treatment with roles.control, or roles.dose for an amount; `impactiq init DATA` writes a config \
                 to start from"
                    .into()
            }
            CausalError::MissingKey { key } => format!("add {key}; `impactiq init DATA` writes a config to start from"),
            CausalError::NotWithDose { key, .. } => format!("remove {key}, or remove roles.dose"),
            CausalError::NotForDoses { learners, .. } => {
                let first = learners.split(',').next().unwrap_or_default();
                format!("set `learner: {{kind: {first}}}`; learners of doses: {learners}")
            }
            CausalError::NotBuilt { library } => format!(
                "build one with  cargo build --release -p impactiq-cli --features {library}  (docs/guide/backends.md says what \
                 it needs), or write `boosted`; models trained with {library} can be scored by any build"
            ),
            CausalError::Library { .. } => "check the features' values, or write `boosted`".into(),
            CausalError::UnknownArm { found, .. } => format!("the arms are: {}", shorten(found, 20)),
            CausalError::PostTreatment { features } => post_treatment_hint(features),
            CausalError::LeakyFeature { .. } => {
                "a feature must be known before treatment: take the column out of its expression".into()
            }
            CausalError::SplitCluster { .. } => "give all rows of a cluster one fold, or leave out roles.fold".into(),
            CausalError::RoundedHoldout { units: "cluster", n_units, .. } if *n_units > 1 => format!(
                "hold out at least one cluster (split.holdout: {:.2}), divide clusters with split.by: row (evaluation then \
                 sees rows like those it learned from), or set split.holdout: 0 and evaluate on other data",
                (1.0 / *n_units as f64).max(0.01)
            ),
            CausalError::RoundedHoldout { .. } => {
                "set split.holdout: 0 and evaluate on other data, or bring more rows".into()
            }
            CausalError::TooFewRows { .. } => {
                "bring more rows, drop the arm with `data.where`, or use fewer folds".into()
            }
            CausalError::NoOverlap { .. } => {
                "restrict the rows with `data.where` to those that could have received either arm".into()
            }
            CausalError::NotBinary { .. } => "choose boosted, least_squares or ridge".into(),
            CausalError::BinaryOnly { .. } => "choose transformed_outcome, r or dr, which take any outcome".into(),
            CausalError::UselessSetting { key, .. } => format!("remove {key} or choose another kind"),
            CausalError::Trees(inner) => return inner.hint(),
            CausalError::Metrics(inner) => return inner.hint(),
            CausalError::Corrupt { .. } => "train the model again, or copy its directory again".into(),
            CausalError::OtherTraining { .. } => OTHER_TRAINING.into(),
            CausalError::FutureFormat { .. } => "use the version of impactiq that wrote it, or a later one".into(),
            other => return other.hint_of_estimators(),
        })
    }

    /// What to do about columns that an estimator cannot work with.
    fn hint_of_estimators(&self) -> Option<String> {
        Some(match self {
            CausalError::Collinear { .. } => {
                "name the effect modifiers in roles.features, without what the others fix; confounders go to roles.controls".into()
            }
            CausalError::NoVariation { .. } => {
                "name a column that differs between rows of equal features, or drop the features that fix it".into()
            }
            CausalError::TooFewInstruments { .. } => {
                "every treatment needs an instrument of its own that the controls don't fix".into()
            }
            CausalError::MissingRole { role, .. } => format!("name it in the config: roles.{role}"),
            _ => return None,
        })
    }

    pub(crate) fn setting(key: impl Into<String>, value: impl ToString, allowed: impl Into<String>) -> Self {
        CausalError::BadSetting { key: key.into(), value: value.to_string(), allowed: allowed.into() }
    }

    pub(crate) fn corrupt(what: impl Into<String>, problem: impl Into<String>) -> Self {
        CausalError::Corrupt { what: what.into(), problem: problem.into() }
    }
}
