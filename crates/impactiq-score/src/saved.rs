//! Writing a trained model: manifest, arrays, profile, model card, MLflow's descriptor, whole or
//! not at all.

use std::path::Path;

use impactiq_causal::Config;
use impactiq_causal::codec;
use impactiq_causal::model::CausalModel;
use impactiq_data::{Roles, Schema};
use impactiq_io::{Derived, ModelDirectory};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::card;
use crate::error::ScoreError;
use crate::manifest::{ARRAYS_FILE, Manifest, SavedData, SavedOutcome, damaged};
use crate::profile::{PROFILE_FILE, Profile};

/// The model card.
pub const CARD_FILE: &str = "model_card.md";
/// The MLflow descriptor.
pub const MLFLOW_FILE: &str = "MLmodel";

/// Everything that `train` knows about a model when it is written.
#[derive(Clone, Debug)]
pub struct NewModel<'a> {
    /// The model.
    pub model: &'a CausalModel,
    /// Raw columns of the training data with their types; those that scoring needs are kept.
    pub schema: &'a Schema,
    /// Raw columns that derived features read.
    pub derived_inputs: Vec<String>,
    /// Derived features that the model uses.
    pub derived: Vec<Derived>,
    /// Resolved roles.
    pub roles: &'a Roles,
    /// The configuration as it was run.
    pub config: &'a Config,
    /// The data.
    pub data: SavedData,
    /// What training found.
    pub training: Value,
    /// What the training rows looked like; no part of the model's id.
    pub profile: Option<Profile>,
}

impl NewModel<'_> {
    /// Writes the model directory, whole or not at all, and gives its manifest.
    ///
    /// # Errors
    /// [`ScoreError::Io`] when it cannot be written or exists already.
    pub fn write(self, path: &Path, overwrite: bool) -> Result<Manifest, ScoreError> {
        let (structure, arrays) = codec::encode(self.model)?;
        let names = raw_columns(self.model, &self.derived, &self.derived_inputs);
        let outcomes = self.model.outcomes().iter();
        let mut manifest = Manifest {
            id: String::new(),
            impactiq_version: env!("CARGO_PKG_VERSION").to_owned(),
            schema: self.schema.project(&names)?,
            derived: self.derived,
            features: self.model.features().to_vec(),
            arms: self.model.arms().labels().to_vec(),
            outcomes: outcomes.map(|o| SavedOutcome { name: o.name.clone(), kind: o.kind }).collect(),
            roles: self.roles.clone(),
            config: self.config.clone(),
            data: self.data,
            training: self.training,
            model: structure,
        };
        manifest.id = content_id(&manifest, &arrays);
        let mut files = vec![
            (ARRAYS_FILE.to_owned(), arrays),
            (CARD_FILE.to_owned(), card::model_card(&manifest).into_bytes()),
            (MLFLOW_FILE.to_owned(), card::mlflow(&manifest).into_bytes()),
        ];
        if let Some(profile) = &self.profile {
            let mut text = serde_json::to_vec_pretty(profile).map_err(|e| damaged(path, &e))?;
            text.push(b'\n');
            files.push((PROFILE_FILE.to_owned(), text));
        }
        let value = serde_json::to_value(&manifest).map_err(|e| damaged(path, &e))?;
        ModelDirectory::write(path, value, &files, overwrite)?;
        Ok(manifest)
    }
}

/// Raw columns that a row must bring to be scored: the model's own, then those that its derived
/// features read, each once.
pub fn raw_columns(model: &CausalModel, derived: &[Derived], inputs: &[String]) -> Vec<String> {
    let is_raw = |name: &&String| !derived.iter().any(|derived| derived.name == **name);
    let mut names: Vec<String> = Vec::new();
    for name in model.features().iter().filter(is_raw).chain(inputs) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn content_id(manifest: &Manifest, arrays: &[u8]) -> String {
    let mut hash = Sha256::new();
    // Serialising plain structs and JSON values to memory cannot fail.
    hash.update(serde_json::to_vec(manifest).unwrap_or_default());
    hash.update(arrays);
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
