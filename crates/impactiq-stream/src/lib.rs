//! How events flow: from a topic to scores, features of users over windows of time, and uplift watched while it
//! happens.
//!
//! States are values: events and the time go in, features and estimates come out, and bytes for whoever
//! stores them. What a batch does is written in one transaction with its position (`ledger`); Kafka is known
//! to `kafka` alone. No HTTP here.

// A file uses only files above it: error, windows (span, config, plan, events, state, bytes, batch),
// live (hold_out, ranking, waiting, model, uplift), config, incoming, ledger (users, logged, live), model,
// encode, decode, drift, users, processor, partitions, figures, flow (stop, score, commit, read), follow, memory, kafka,
// service.
pub mod config;
mod decode;
mod drift;
pub mod encode;
pub mod error;
pub mod figures;
pub mod flow;
pub mod follow;
pub mod incoming;
pub mod kafka;
pub mod ledger;
pub mod live;
pub mod memory;
pub mod model;
pub mod partitions;
pub mod processor;
pub mod service;
pub mod users;
pub mod windows;

pub use config::StreamConfig;
pub use error::StreamError;
