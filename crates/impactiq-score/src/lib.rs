//! How a model answers: the one scorer behind every door.
//!
//! A model directory is opened once; rows then come as Arrow batches (files, Python,
//! streams) or as JSON (HTTP) and leave as scores. Whatever the door, a row is cast to the
//! model's raw types, gets its derived features, is binned and predicted by the same code,
//! so the same row has the same bits. What must not live here: training, files of rows.

// A file uses only files above it: error, manifest, card, saved, rows, features, scorer.
pub mod card;
pub mod error;
mod features;
pub mod manifest;
mod rows;
pub mod saved;
pub mod scorer;

pub use error::ScoreError;
pub use manifest::{Manifest, SavedData, SavedOutcome};
pub use saved::NewModel;
pub use scorer::{ScoreColumn, Scored, Scorer};
