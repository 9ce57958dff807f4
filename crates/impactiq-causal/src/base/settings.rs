//! The base learners' settings as a user writes them, beside `kind`.
//!
//! Nuisances and effect learners share these keys. They stand in both config sections at
//! the top level (`nuisance: { kind: boosted, n_trees: 100 }`), so a macro writes them
//! into each struct: serde's `flatten` would lose the line of an unknown key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::Tune;
use super::external::Library;
use crate::error::CausalError;

/// The kinds of base learner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BaseKind {
    /// Gradient boosted trees: logistic loss for 0/1 outcomes, squared loss otherwise.
    #[default]
    Boosted,
    /// LightGBM's boosted trees, with the same keys as `boosted`; needs a binary built with
    /// `--features lightgbm`.
    Lightgbm,
    /// XGBoost's boosted trees, with the same keys as `boosted`; needs a binary built with
    /// `--features xgboost`.
    Xgboost,
    /// Regression forest: bagged trees, whose means of 0/1 outcomes are probabilities.
    Forest,
    /// Ordinary least squares on standardised numbers and one-hot categories.
    LeastSquares,
    /// Least squares with a penalty on the squared coefficients.
    Ridge,
    /// Logistic regression, with a penalty when one is given; 0/1 outcomes only.
    Logistic,
    /// Least squares with a penalty on the absolute coefficients: sets many to 0; the penalty is
    /// cross-validated unless given.
    Lasso,
    /// Half lasso, half ridge; the penalty is cross-validated unless given.
    ElasticNet,
}

impl BaseKind {
    /// Whether there are settings to choose: it is made of trees. Penalties of the others are
    /// cross-validated anyway.
    pub fn is_tunable(self) -> bool {
        matches!(self, BaseKind::Boosted | BaseKind::Lightgbm | BaseKind::Xgboost | BaseKind::Forest)
    }

    /// Checks a section's `tune` for this kind.
    ///
    /// # Errors
    /// [`CausalError::BadSetting`], [`CausalError::UselessSetting`], with `section` before the key.
    pub fn check_tune(self, section: &str, tune: Option<Tune>) -> Result<(), CausalError> {
        match tune {
            Some(tune) if tune.0.is_some() && !self.is_tunable() => {
                Err(CausalError::UselessSetting { key: format!("{section}.tune"), kind: self.name().into() })
            }
            Some(tune) => tune.check(section),
            None => Ok(()),
        }
    }

    /// The library that trains it, where we don't.
    pub fn library(self) -> Option<Library> {
        match self {
            BaseKind::Lightgbm => Some(Library::Lightgbm),
            BaseKind::Xgboost => Some(Library::Xgboost),
            _ => None,
        }
    }

    /// The kind as the config writes it.
    pub fn name(self) -> &'static str {
        match self {
            BaseKind::Boosted => "boosted",
            BaseKind::Lightgbm => "lightgbm",
            BaseKind::Xgboost => "xgboost",
            BaseKind::Forest => "forest",
            BaseKind::LeastSquares => "least_squares",
            BaseKind::Ridge => "ridge",
            BaseKind::Logistic => "logistic",
            BaseKind::Lasso => "lasso",
            BaseKind::ElasticNet => "elastic_net",
        }
    }
}

/// The settings beside `kind`; `None` is the default of the place where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseSettings {
    /// Trees at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_trees: Option<u32>,
    /// Step of each tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Leaves per tree at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_leaves: Option<u32>,
    /// Depth at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<u32>,
    /// Rows per leaf at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_leaf_rows: Option<u32>,
    /// Penalty on squared leaf values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l2: Option<f64>,
    /// Share of rows each tree sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_fraction: Option<f64>,
    /// Share of features each tree sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_fraction: Option<f64>,
    /// Stop when held-out rows no longer improve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<bool>,
    /// Penalty of ridge and logistic regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub penalty: Option<f64>,
}

/// Writes a config section with the base learners' keys at its own level.
macro_rules! with_base_settings {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident : $type:ty = $default:expr,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
            /// Boosted: trees at most. Forest: trees.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 1))]
            pub n_trees: Option<u32>,
            /// Boosted: how far each tree steps, above 0 up to 1.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub learning_rate: Option<f64>,
            /// Boosted: leaves per tree at most, from 2.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 2))]
            pub n_leaves: Option<u32>,
            /// Boosted and forest: depth at most; left out: bounded by the leaves alone.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 1))]
            pub max_depth: Option<u32>,
            /// Boosted and forest: rows per leaf at least; left out: grows as the outcome gets rarer.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 1))]
            pub min_leaf_rows: Option<u32>,
            /// Boosted: penalty on squared leaf values.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub l2: Option<f64>,
            /// Boosted: share of the rows each tree sees, above 0 up to 1. Forest: below 1, default 0.5.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub row_fraction: Option<f64>,
            /// Boosted: share of the features each tree sees, above 0 up to 1.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub feature_fraction: Option<f64>,
            /// Boosted: stop when rows set aside for it no longer improve.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub early_stopping: Option<bool>,
            /// Ridge (default 1) and logistic (default 0): λ in λ/2·Σb², added to the weighted
            /// sum of losses, for standardised columns; lasso: λ in λ·Σ|b|, elastic_net: half of
            /// each, chosen by cross-validation when left out.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub penalty: Option<f64>,
            /// Kinds made of trees: choose the settings that were left out by the loss on rows held out
            /// inside the training rows: true (8 trials), or {trials: n, seconds: s}. The settings that
            /// were written stay as they are, and the config's own are the first trial.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub tune: Option<$crate::base::Tune>,
        }

        impl Default for $name {
            fn default() -> Self {
                $name {
                    $($field: $default,)*
                    n_trees: None,
                    learning_rate: None,
                    n_leaves: None,
                    max_depth: None,
                    min_leaf_rows: None,
                    l2: None,
                    row_fraction: None,
                    feature_fraction: None,
                    early_stopping: None,
                    penalty: None,
                    tune: None,
                }
            }
        }

        impl $name {
            /// The same section with other settings of the base learner.
            pub fn with_settings(&self, settings: &$crate::base::BaseSettings) -> Self {
                $name {
                    n_trees: settings.n_trees,
                    learning_rate: settings.learning_rate,
                    n_leaves: settings.n_leaves,
                    max_depth: settings.max_depth,
                    min_leaf_rows: settings.min_leaf_rows,
                    l2: settings.l2,
                    row_fraction: settings.row_fraction,
                    feature_fraction: settings.feature_fraction,
                    early_stopping: settings.early_stopping,
                    penalty: settings.penalty,
                    ..self.clone()
                }
            }

            /// What may be spent on choosing settings; none where nothing is to be chosen.
            pub fn budget(&self) -> Option<$crate::base::Budget> {
                self.tune.and_then(|tune| tune.0)
            }

            /// The base learner's settings of this section.
            pub fn settings(&self) -> $crate::base::BaseSettings {
                $crate::base::BaseSettings {
                    n_trees: self.n_trees,
                    learning_rate: self.learning_rate,
                    n_leaves: self.n_leaves,
                    max_depth: self.max_depth,
                    min_leaf_rows: self.min_leaf_rows,
                    l2: self.l2,
                    row_fraction: self.row_fraction,
                    feature_fraction: self.feature_fraction,
                    early_stopping: self.early_stopping,
                    penalty: self.penalty,
                }
            }
        }
    };
}
pub(crate) use with_base_settings;

impl BaseSettings {
    /// These settings where others leave room: what was written in `own` stays.
    pub(super) fn under(self, own: &BaseSettings) -> Self {
        BaseSettings {
            n_trees: own.n_trees.or(self.n_trees),
            learning_rate: own.learning_rate.or(self.learning_rate),
            n_leaves: own.n_leaves.or(self.n_leaves),
            max_depth: own.max_depth.or(self.max_depth),
            min_leaf_rows: own.min_leaf_rows.or(self.min_leaf_rows),
            l2: own.l2.or(self.l2),
            row_fraction: own.row_fraction.or(self.row_fraction),
            feature_fraction: own.feature_fraction.or(self.feature_fraction),
            early_stopping: own.early_stopping.or(self.early_stopping),
            penalty: own.penalty.or(self.penalty),
        }
    }

    /// The keys that `own` leaves out.
    pub(super) fn beyond(self, own: &BaseSettings) -> Self {
        BaseSettings {
            n_trees: self.n_trees.filter(|_| own.n_trees.is_none()),
            learning_rate: self.learning_rate.filter(|_| own.learning_rate.is_none()),
            n_leaves: self.n_leaves.filter(|_| own.n_leaves.is_none()),
            max_depth: self.max_depth.filter(|_| own.max_depth.is_none()),
            min_leaf_rows: self.min_leaf_rows.filter(|_| own.min_leaf_rows.is_none()),
            l2: self.l2.filter(|_| own.l2.is_none()),
            row_fraction: self.row_fraction.filter(|_| own.row_fraction.is_none()),
            feature_fraction: self.feature_fraction.filter(|_| own.feature_fraction.is_none()),
            early_stopping: self.early_stopping.filter(|_| own.early_stopping.is_none()),
            penalty: self.penalty.filter(|_| own.penalty.is_none()),
        }
    }

    /// Checks ranges, and that every setting means something for the kind.
    ///
    /// # Errors
    /// [`CausalError::NotBuilt`]; [`CausalError::BadSetting`] and [`CausalError::UselessSetting`], with `section` in
    /// front of the key.
    pub fn check(&self, section: &str, kind: BaseKind) -> Result<(), CausalError> {
        let boosted: [(&str, bool); 9] = [
            ("n_trees", self.n_trees.is_some()),
            ("learning_rate", self.learning_rate.is_some()),
            ("n_leaves", self.n_leaves.is_some()),
            ("max_depth", self.max_depth.is_some()),
            ("min_leaf_rows", self.min_leaf_rows.is_some()),
            ("l2", self.l2.is_some()),
            ("row_fraction", self.row_fraction.is_some()),
            ("feature_fraction", self.feature_fraction.is_some()),
            ("early_stopping", self.early_stopping.is_some()),
        ];
        let useless = match kind {
            BaseKind::Boosted | BaseKind::Lightgbm | BaseKind::Xgboost => {
                [("penalty", self.penalty.is_some())].into_iter().find(|s| s.1)
            }
            BaseKind::Forest => {
                let of_forests = ["n_trees", "max_depth", "min_leaf_rows", "row_fraction"];
                let others = boosted.into_iter().filter(|(key, _)| !of_forests.contains(key));
                others.chain([("penalty", self.penalty.is_some())]).find(|s| s.1)
            }
            BaseKind::LeastSquares => boosted.into_iter().chain([("penalty", self.penalty.is_some())]).find(|s| s.1),
            BaseKind::Ridge | BaseKind::Logistic | BaseKind::Lasso | BaseKind::ElasticNet => {
                boosted.into_iter().find(|s| s.1)
            }
        };
        if let Some((key, _)) = useless {
            return Err(CausalError::UselessSetting { key: format!("{section}.{key}"), kind: kind.name().into() });
        }
        if let Some(library) = kind.library().filter(|library| !library.is_built()) {
            return Err(CausalError::NotBuilt { library: library.name() });
        }
        if kind == BaseKind::Forest && self.row_fraction == Some(1.0) {
            let allowed = "trees of a forest that see the same rows differ in little: it must be below 1";
            return Err(CausalError::setting(format!("{section}.row_fraction"), 1, allowed));
        }
        self.check_ranges(section)
    }

    fn check_ranges(&self, section: &str) -> Result<(), CausalError> {
        let at_least = |key: &str, value: Option<u32>, least: u32| match value {
            Some(v) if v < least => {
                Err(CausalError::setting(format!("{section}.{key}"), v, format!("it must be at least {least}")))
            }
            _ => Ok(()),
        };
        at_least("n_trees", self.n_trees, 1)?;
        at_least("n_leaves", self.n_leaves, 2)?;
        at_least("max_depth", self.max_depth, 1)?;
        at_least("min_leaf_rows", self.min_leaf_rows, 1)?;
        for (key, value) in [
            ("learning_rate", self.learning_rate),
            ("row_fraction", self.row_fraction),
            ("feature_fraction", self.feature_fraction),
        ] {
            if let Some(v) = value.filter(|v| !(*v > 0.0 && *v <= 1.0)) {
                return Err(CausalError::setting(format!("{section}.{key}"), v, "it must be above 0 and at most 1"));
            }
        }
        for (key, value) in [("l2", self.l2), ("penalty", self.penalty)] {
            if let Some(v) = value.filter(|v| !(*v >= 0.0 && v.is_finite())) {
                return Err(CausalError::setting(format!("{section}.{key}"), v, "it must be 0 or a positive number"));
            }
        }
        Ok(())
    }
}
