//! What can be wrong with a stream's configuration, events and stored states.

use std::path::PathBuf;

use impactiq_data::DataError;
use impactiq_io::IoError;
use impactiq_metrics::MetricsError;
use thiserror::Error;

/// Something that went wrong between an event and what it is turned into.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Something about files or rows.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Something about columns.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Something about numbers.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The configuration is no YAML, or a value is of the wrong kind.
    #[error("{file}:{line}:{column}: {problem}")]
    Yaml {
        /// The file.
        file: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What is wrong.
        problem: String,
    },
    /// A key that nobody knows.
    #[error("{file}:{line}:{column}: unknown key '{key}' (keys: {})", .allowed.join(", "))]
    UnknownKey {
        /// The file.
        file: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// The key.
        key: String,
        /// The key that was probably meant.
        closest: Option<String>,
        /// Every key that would be known there.
        allowed: Vec<String>,
    },
    /// The configuration has no section of that name.
    #[error("{file} has no section '{section}'")]
    NoSection {
        /// The file.
        file: String,
        /// The section.
        section: &'static str,
    },
    /// The configuration cannot be read.
    #[error("{} cannot be read: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A windowed feature that cannot be computed as declared.
    #[error("windows.features.{feature}: {problem}")]
    Feature {
        /// The feature.
        feature: String,
        /// What is wrong.
        problem: &'static str,
        /// What to write instead.
        hint: &'static str,
    },
    /// A setting outside its range.
    #[error("{key} is {value}; {allowed}")]
    Setting {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// A value of an event or outcome that cannot be.
    #[error("{what} of event '{id}' is {value}; {allowed}")]
    EventValue {
        /// What has the value.
        what: &'static str,
        /// The event's id.
        id: String,
        /// The value.
        value: f64,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// A stored state of an unknown version or with damaged bytes.
    #[error("the stored {what} cannot be read: {problem}")]
    Damaged {
        /// Which state.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A stored state that was made by another definition of the windows.
    #[error("the stored windows were made by another definition ({found:016x}, now {expected:016x})")]
    OtherDefinition {
        /// Fingerprint in the bytes.
        found: u64,
        /// Fingerprint of the definition in use.
        expected: u64,
    },
}

impl StreamError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            StreamError::Io(error) => error.hint(),
            StreamError::Data(error) => error.hint(),
            StreamError::Metrics(error) => error.hint(),
            StreamError::Yaml { .. } => Some("see docs/guide/windows.md for the section's keys".into()),
            StreamError::UnknownKey { closest: Some(name), .. } => Some(format!("did you mean '{name}'?")),
            StreamError::UnknownKey { .. } => Some("see docs/guide/windows.md for the section's keys".into()),
            StreamError::NoSection { section, .. } => {
                Some(format!("add `{section}:`; docs/guide/windows.md shows one"))
            }
            StreamError::Read { .. } => Some("check the path".into()),
            StreamError::Feature { hint, .. } => Some((*hint).into()),
            StreamError::Setting { allowed, .. } => Some((*allowed).into()),
            StreamError::EventValue { what, .. } => {
                Some(format!("mend whoever sends the {what}; the event was ignored"))
            }
            StreamError::Damaged { .. } => Some("restore the store, or drop the state and replay the events".into()),
            StreamError::OtherDefinition { .. } => Some(
                "windows cannot grow backwards: go back to the old definition, or drop the states and replay".into(),
            ),
        }
    }
}
