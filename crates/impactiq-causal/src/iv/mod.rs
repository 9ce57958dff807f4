//! Instruments: effects of a treatment that was not assigned by chance, through something that
//! was and that moves the outcome through the treatment alone.
//!
//! `two_stage` holds two-stage least squares and Wald's ratio, `first_stage` how strongly
//! instruments pull, `weak` the Anderson–Rubin set, which stays honest where they pull weakly.
//! These are unregularised linear fits on all rows. `compliance` is for offers that are not always
//! taken: effects linear in features, from cross-fitted nuisances. What must not live here: pliv and
//! iivm (dml), roles and configs.

mod compliance;
mod first_stage;
mod two_stage;
mod weak;

pub use compliance::{DrivEstimate, DrivScores, DrivSettings, Offered, driv_scores, linear_driv};
pub use first_stage::{FirstStage, Test};
pub use two_stage::{Instrumented, TwoStage, Wald, two_stage_least_squares, wald};
pub use weak::{ConfidenceSet, Interval, SetShape};
