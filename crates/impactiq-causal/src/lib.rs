//! How effects are learned: nuisances, learners, averages, the config and the model.
//!
//! The second floor stands on data, metrics and trees. It touches no file, network, clock
//! or environment: rows come in as a [`impactiq_data::Dataset`], answers leave as values.
//! `train` is the one door to a model, `codec` the one place that knows its bytes.

// A file uses only files above it: error, linear, base, nuisance, overlap, effect, learners,
// health, config, model, codec, train, evaluate.
pub mod base;
pub mod codec;
pub mod config;
pub mod effect;
pub mod error;
pub mod evaluate;
pub mod health;
pub mod learners;
pub mod linear;
pub mod model;
pub mod nuisance;
pub mod overlap;
pub mod train;

pub use config::{CheckedConfig, Config};
pub use error::CausalError;
pub use evaluate::{EvaluateReport, evaluate, evaluate_scores};
pub use health::{CheckReport, Warning};
pub use learners::LearnerKind;
pub use model::{CausalModel, OutcomeModel, Predictions};
pub use train::{TrainReport, Trained, check, train};
