//! The real binary in temporary folders: what it prints, what it leaves, how it ends.

mod amounts;
mod bad_config;
mod bad_data;
mod bad_model;
mod bad_output;
mod estimators;
mod formats;
mod harness;
mod hillstrom;
mod kept;
mod killed;
mod serve;
mod stream;
mod walk;
mod windows;
