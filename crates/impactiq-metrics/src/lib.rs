//! How good it is: uplift metrics, averages, health checks, as pure numbers.
//!
//! Slices come in, [`Estimate`]s go out. This crate touches no file, network, clock,
//! environment or global; randomness is a counter hash of the given seed. The same rows give
//! the same bytes on any number of threads.

// A file uses only files above it: error, estimate, tails, named, least_squares, robust,
// binary_response, lift, averages, estimands, parametric, pooled, arms, balance, experiment, confidence_sequence (bets, mean, effect), drift (reference, window, assignment, decay), dose_balance, radix, scored, slice, curve, area, sklift,
// causalml, rate, half_samples, calibration, policy_value, targeting, ranking, report.
pub mod area;
mod arms;
pub mod averages;
mod balance;
pub mod binary_response;
pub mod calibration;
pub mod causalml;
pub mod confidence_sequence;
pub mod curve;
pub mod dose_balance;
pub mod drift;
pub mod error;
pub mod estimands;
pub mod estimate;
pub mod experiment;
pub mod half_samples;
pub mod least_squares;
mod lift;
pub mod named;
pub mod parametric;
pub mod policy_value;
pub mod pooled;
mod radix;
mod ranking;
pub mod rate;
pub mod report;
pub mod robust;
pub mod scored;
pub mod sklift;
pub mod slice;
mod tails;
pub mod targeting;

pub use error::MetricsError;
pub use estimate::Estimate;
pub use scored::{Assignment, Scored, Sorted};
