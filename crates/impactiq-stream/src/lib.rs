//! How events flow: features of users over windows of time, and uplift watched while it happens.
//!
//! States are values: events and the time go in, features and estimates come out, and bytes
//! for whoever stores them. No clock is read here and nothing is stored.

// A file uses only files above it: error, windows (span, config, plan, events, state, bytes, batch),
// live (hold_out, ranking, waiting, model, uplift).
pub mod error;
pub mod live;
pub mod windows;

pub use error::StreamError;
