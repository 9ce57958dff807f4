//! Intervals that may be looked at after every row: confidence sequences for a running mean,
//! and for an effect under known assignment probabilities.
//!
//! A 95 % confidence interval promises something about one look. Somebody who looks after
//! every event and stops when the interval leaves zero is wrong far more often. A confidence
//! sequence keeps its promise over *all* looks at once: the chance that it *ever* misses is at
//! most alpha. States are a handful of sums, can be stored and added. No clock and no rows live
//! here.

mod bets;
mod effect;
mod mean;

pub use effect::{EffectConfig, EffectSequence};
pub use mean::{BurnIn, ConfidenceSequence};
