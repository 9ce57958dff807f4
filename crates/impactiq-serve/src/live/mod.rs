//! What the server does now: rates, latency, drift, the last scores.

pub(crate) mod latency;

pub mod drift;

pub(crate) mod tick;
