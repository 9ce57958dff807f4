//! How a model answers: the one scorer behind every door.
//!
//! A model directory is opened once; rows then come as Arrow batches (files, Python,
//! streams) or as JSON (HTTP) and leave as scores. Whatever the door, a row is cast to the
//! model's raw types, gets its derived features, is binned and predicted by the same code,
//! so the same row has the same bits. What must not live here: training, files of rows.

// A file uses only files above it: error, profile, drift, manifest, card, saved, reports, rows, features,
// scores, scorer, simulate.
pub mod card;
pub mod drift;
pub mod error;
mod features;
pub mod manifest;
pub mod profile;
pub mod reports;
mod rows;
pub mod saved;
pub mod scorer;
pub mod scores;
pub mod simulate;

pub use error::ScoreError;
pub use manifest::{Manifest, SavedData, SavedOutcome};
pub use profile::{ColumnProfile, Profile};
pub use reports::{HeldOut, Reports, write_check, write_evaluation};
pub use rows::RawRows;
pub use saved::NewModel;
pub use scorer::Scorer;
pub use scores::{ScoreColumn, ScoreValue, Scored, ScoredRows};
pub use simulate::{Simulation, Sweep};
