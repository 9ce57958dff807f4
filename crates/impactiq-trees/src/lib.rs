//! How trees grow: matrix, histograms, criteria, the grower and boosting.
//!
//! One scan ([`split::best_split`]) and one grower ([`grow::Grower`]) serve boosting,
//! causal and uplift trees; what differs is a [`Criterion`]. This crate touches no file,
//! network, clock, environment or global.

// A file uses only files above it: error, kernel, matrix, records, stats, criterion/{newton, mean, effect,
// instrument, arms, uplift}, histogram, split, tile, partition, tree/{arrays, walk, route}, grow, sample,
// forest/{config, kind, model, predict, grow, effect, instrument, mean,
// uplift/{config, model, ground, tree, predict}},
// boost/{config, objective, ready, model, train}, explain.
pub mod boost;
pub mod criterion;
pub mod error;
pub mod explain;
pub mod forest;
pub mod grow;
pub mod histogram;
pub mod kernel;
pub mod matrix;
pub mod partition;
pub mod records;
pub mod sample;
pub mod split;
pub mod stats;
pub mod tile;
pub mod tree;

pub use boost::config::{BoostConfig, EarlyStopping};
pub use boost::model::{BoostArrays, BoostModel};
pub use boost::objective::{Objective, ObjectiveKind};
pub use boost::train::{BoostTask, boost};
pub use criterion::Criterion;
pub use criterion::newton::Newton;
pub use criterion::uplift::UpliftKind;
pub use error::TreesError;
pub use forest::config::{ForestConfig, LeafSize};
pub use forest::effect::{EffectTask, continue_effect_forest, grow_effect_forest};
pub use forest::instrument::{InstrumentTask, continue_instrument_forest, grow_instrument_forest};
pub use forest::kind::ForestKind;
pub use forest::mean::{MeanTask, continue_mean_forest, grow_mean_forest};
pub use forest::model::{Forest, ForestArrays};
pub use forest::predict::ForestPredictions;
pub use forest::uplift::config::UpliftConfig;
pub use forest::uplift::ground::{UpliftTask, grow_uplift_forest};
pub use forest::uplift::model::{UpliftArrays, UpliftForest};
pub use forest::uplift::tree::{NodeSummary, UpliftTree, UpliftTreeArrays, grow_uplift_tree};
pub use grow::{GrowConfig, Grower, Grown, Growth, grow};
pub use histogram::Layout;
pub use matrix::CodeMatrix;
pub use split::{Limits, Rule, Split, best_split};
pub use stats::Stats;
pub use tile::{Part, Store, Tile};
pub use tree::arrays::TreeArrays;
pub use tree::{Leaves, Tree};
