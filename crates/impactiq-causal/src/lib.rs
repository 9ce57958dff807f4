//! How effects are learned: nuisances, learners, averages, the config and the model.
//!
//! The second floor stands on data, metrics and trees. It touches no file, network, clock
//! or environment: rows come in as a [`impactiq_data::Dataset`], answers leave as values.
//! `train` is the one door to a model, `codec` the one place that knows its bytes.
//!
//! ```
//! use impactiq_causal::{Config, train};
//! use impactiq_data::synth::{SynthKind, SynthOptions, generate};
//! use impactiq_data::{Seed, Silent};
//!
//! let rows = generate(SynthKind::NieWagerB, &SynthOptions::default(), 1000, Seed::new(1))?;
//! let yaml = "data: {path: rows.csv}\nroles: {treatment: treatment, control: 0, outcome: y}\n\
//!             assignment: {probability: 0.5}\nnuisance: {kind: ridge}\nlearner: {kind: t, n_trees: 20}\n";
//! let config = Config::from_yaml(yaml, "config.yaml", &[])?.check(rows.table.names())?;
//! let data = config.dataset(rows.table, (0..1000).collect())?;
//! let trained = train(&config, &data, &Silent)?;
//! let ate = &trained.report.contrasts[0].ate;
//! assert!(ate.lower() < Some(0.806) && Some(0.806) < ate.upper());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// A file uses only files above it: error, linear, base, nuisance, overlap, effect, dml, iv, dose, instrument,
// learners, health, config, model, render, codec, train, forests, evaluate.
pub mod base;
pub mod codec;
pub mod config;
pub mod dml;
pub mod dose;
pub mod effect;
pub mod error;
pub mod evaluate;
pub mod forests;
pub mod health;
pub mod instrument;
pub mod iv;
pub mod learners;
pub mod linear;
pub mod model;
pub mod nuisance;
pub mod overlap;
pub mod render;
pub mod train;

pub use config::{CheckedConfig, Config};
pub use error::CausalError;
pub use evaluate::{EvaluateReport, evaluate, evaluate_scores};
pub use forests::{continue_training, forest_rows, merge_forests};
pub use health::{CheckReport, Warning};
pub use learners::LearnerKind;
pub use model::{CausalModel, OutcomeModel, Predictions};
pub use render::{uplift_tree_svg, uplift_tree_text};
pub use train::{TrainReport, Trained, check, train};
