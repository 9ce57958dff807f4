//! What a model directory says about its model: the manifest, version 1.
//!
//! The manifest holds everything but the arrays: typed raw schema, roles, derived features,
//! configuration, what was trained on which data. No clock and no random number enters it,
//! so that the same training writes the same bytes.

use std::path::Path;

use impactiq_causal::Config;
use impactiq_causal::codec;
use impactiq_causal::model::CausalModel;
use impactiq_data::{OutcomeKind, Roles, Schema};
use impactiq_io::{Derived, ModelDirectory};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ScoreError;

/// The file that holds the model's arrays.
pub const ARRAYS_FILE: &str = "model.safetensors";

/// An outcome of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedOutcome {
    /// Its column.
    pub name: String,
    /// Its kind at training.
    pub kind: OutcomeKind,
}

/// The data a model was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedData {
    /// Paths as the user wrote them.
    pub paths: Vec<String>,
    /// The filter.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none", default)]
    pub filter: Option<String>,
    /// Identifies the content: rows evaluated later are the same, or it is an error.
    pub fingerprint: String,
    /// Rows in the source, before the filter.
    pub n_rows_read: u64,
    /// Rows kept.
    pub n_rows: u64,
    /// Rows held out from the learner.
    pub n_holdout: u64,
}

/// The manifest of a model directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Names the content: the first 16 hex digits of a sha256 over configuration and arrays.
    pub id: String,
    /// The version of the program that wrote it.
    pub impactiq_version: String,
    /// Raw columns a row must bring to be scored, with their types.
    pub schema: Schema,
    /// Derived features, computed from the raw columns in order.
    pub derived: Vec<Derived>,
    /// Features in the model's order: raw columns, then derived ones.
    pub features: Vec<String>,
    /// Arms, the control first; none with a dose.
    pub arms: Vec<String>,
    /// Outcomes in order.
    pub outcomes: Vec<SavedOutcome>,
    /// Which column played which part.
    pub roles: Roles,
    /// The configuration as it was run.
    pub config: Config,
    /// The data it was trained on.
    pub data: SavedData,
    /// What training found: averages, losses, guard.
    pub training: Value,
    /// The arrays' structure, in the codec's own terms.
    pub model: Value,
}

impl Manifest {
    /// Opens a model directory: its manifest and its model.
    ///
    /// # Errors
    /// [`ScoreError::Io`] for a directory that is missing, damaged or of a later version,
    /// [`ScoreError::Manifest`] and [`ScoreError::Causal`] for content that is.
    pub fn open(path: &Path) -> Result<(Manifest, CausalModel), ScoreError> {
        let directory = ModelDirectory::open(path)?;
        let manifest = Manifest::of(&directory)?;
        let model = codec::decode(&manifest.model, &directory.file(ARRAYS_FILE)?)?;
        let labels = model.arms().labels();
        let same_dose = manifest.roles.dose.as_deref() == model.dose();
        if manifest.features != model.features() || manifest.arms != labels || !same_dose {
            return Err(damaged(path, &"its features or arms are not those of the arrays"));
        }
        Ok((manifest, model))
    }

    /// The manifest alone, for whoever has no use for the arrays.
    ///
    /// # Errors
    /// As [`Manifest::open`], but for the arrays.
    pub fn read(path: &Path) -> Result<Manifest, ScoreError> {
        Manifest::of(&ModelDirectory::open(path)?)
    }

    pub(crate) fn of(directory: &ModelDirectory) -> Result<Manifest, ScoreError> {
        serde_json::from_value(directory.manifest().clone()).map_err(|e| damaged(directory.path(), &e))
    }
}

pub(crate) fn damaged(path: &Path, detail: &dyn std::fmt::Display) -> ScoreError {
    ScoreError::Manifest { path: path.to_owned(), detail: detail.to_string() }
}
