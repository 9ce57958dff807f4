//! What a library is given to train on, and which libraries there are.

use impactiq_trees::BoostConfig;
use serde::{Deserialize, Serialize};

use crate::base::Loss;
#[cfg(any(feature = "lightgbm", feature = "xgboost"))]
use crate::error::CausalError;

/// A library that trains for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Library {
    /// LightGBM.
    Lightgbm,
    /// XGBoost.
    Xgboost,
}

impl Library {
    /// The library as the config, and the cargo feature, write it.
    pub fn name(self) -> &'static str {
        match self {
            Library::Lightgbm => "lightgbm",
            Library::Xgboost => "xgboost",
        }
    }

    /// Whether this build can train with it.
    pub fn is_built(self) -> bool {
        match self {
            Library::Lightgbm => cfg!(feature = "lightgbm"),
            Library::Xgboost => cfg!(feature = "xgboost"),
        }
    }
}

/// What a library is given: rows one after another, in the order of the task.
#[cfg_attr(not(any(feature = "lightgbm", feature = "xgboost")), allow(dead_code))]
pub(super) struct Job<'a> {
    /// Numbers column by column: `columns[column * n + row]`.
    pub columns: Vec<f64>,
    pub width: usize,
    pub target: Vec<f64>,
    pub weights: Option<Vec<f64>>,
    /// The mean of the target.
    pub mean: f64,
    pub loss: Loss,
    pub config: &'a BoostConfig,
    /// From 0 up to 2³¹ − 1: the libraries' seeds are 32-bit numbers with a sign.
    pub seed: u32,
}

impl Job<'_> {
    pub fn n_rows(&self) -> usize {
        self.target.len()
    }

    pub fn weight(&self, row: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[row])
    }
}

/// What a library says went wrong.
#[cfg(any(feature = "lightgbm", feature = "xgboost"))]
pub(super) fn failed(library: Library, problem: impl std::fmt::Display) -> CausalError {
    CausalError::Library { library: library.name(), problem: problem.to_string() }
}
