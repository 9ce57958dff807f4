//! Uplift watched while it happens: scores and outcomes joined by id, effects with intervals that
//! may be looked at at any time, the promise of the training ranking beside what became of it.

mod hold_out;
mod model;
mod ranking;
mod uplift;
mod waiting;

pub use hold_out::{Decision, HoldOut};
pub use model::{DecayConfig, DecileReport, ModelReport, PredictedAgainstRealised, SrmReport};
pub use ranking::TrainingRanking;
pub use uplift::{LiveConfig, LiveReport, LiveUplift};
pub use waiting::{JoinCounts, Outcome, ScoredEvent};
