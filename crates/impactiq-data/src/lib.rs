//! What a row is: tables, schema, roles, bins, datasets, folds, seeds and
//! known-truth generators.
//!
//! This is the ground floor. It touches no file, network, clock, environment or
//! global: whatever it needs is passed in. Everything above speaks in these types.

// A file uses only files above it: error, seed, watch, column, table, schema,
// bin_columns, bins, roles, treatment, dose, folds, dataset, synth.
pub mod bin_columns;
pub mod bins;
pub mod column;
pub mod dataset;
pub mod dose;
pub mod error;
pub mod folds;
pub mod roles;
pub mod schema;
pub mod seed;
pub mod synth;
pub mod table;
pub mod treatment;
pub mod watch;

pub use bin_columns::{BinColumns, FeatureKind, MISSING_CODE};
pub use bins::{FeatureBins, NumberSketch};
pub use column::{Column, ColumnView, MISSING_LEVEL};
pub use dataset::{Assignment, BinnedFeatures, Dataset, DatasetBuilder, Outcome, OutcomeKind};
pub use dose::Dose;
pub use error::DataError;
pub use folds::{Folds, Split};
pub use roles::{Roles, RolesSpec};
pub use schema::{Field, RawType, Schema};
pub use seed::{Seed, Stream};
pub use table::Table;
pub use treatment::{Arms, Treatment};
pub use watch::{Silent, Watch};
