//! Alarms about a model in use, each with a stated chance of a false one: columns that moved
//! away from the training rows, arms that are not assigned as recorded, effects that decayed.
//!
//! A threshold that does not know n is no alarm: with 500 rows chance alone moves a stability
//! index to 0.04, with a million a real shift of 0.01 is certain. Every rule here has a
//! threshold that follows n, and a size below which nobody needs to get up. No clock lives here.

mod assignment;
mod decay;
mod reference;
mod window;

pub use assignment::{AssignmentMonitor, SequentialSrm};
pub use decay::{DecayMonitor, DecayState};
pub use reference::Reference;
pub use window::{Cell, ColumnDrift, DriftConfig, DriftMonitor, DriftReport};
