//! How good it is: uplift metrics, averages, health checks, as pure numbers.
//!
//! Slices come in, [`Estimate`]s go out. This crate touches no file, network, clock,
//! environment or global; randomness is a counter hash of the given seed. The same rows give
//! the same bytes on any number of threads.

// A file uses only files above it: error, estimate, least_squares, robust, …
pub mod averages;
pub mod error;
pub mod estimate;
pub mod least_squares;
pub mod robust;

pub use error::MetricsError;
pub use estimate::Estimate;
