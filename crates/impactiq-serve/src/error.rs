//! What can go wrong while a server starts, changes its models or stops, as values with fields.
//!
//! What a request did wrong is no error of the server: that is a `Problem` of `http`.

use std::net::SocketAddr;
use std::path::PathBuf;

use impactiq_score::ScoreError;
use impactiq_store::StoreError;
use thiserror::Error;

/// A server that cannot start, or a change of its models that cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A setting that cannot be meant.
    #[error("`{key}` is {value}: {reason}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// As it was given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A settings file that is no YAML of settings.
    #[error("{} cannot be understood: {detail}", .path.display())]
    SettingsFile {
        /// The file.
        path: PathBuf,
        /// What the reader says, with line and column.
        detail: String,
    },
    /// A file that cannot be read or written.
    #[error("{} cannot be {action}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// "read" or "written".
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// An address others can reach, without keys.
    #[error("{address} can be reached from other machines, and no keys are set")]
    Unprotected {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address is taken or not ours.
    #[error("{address} cannot be listened on: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// No model was named.
    #[error("no model is given")]
    NoModel,
    /// Two models of one name.
    #[error("two models are called '{name}'")]
    ModelTwice {
        /// The name.
        name: String,
    },
    /// A name that cannot stand in an address.
    #[error("'{name}' cannot be the name of a model")]
    ModelName {
        /// The name.
        name: String,
    },
    /// A model that cannot be opened.
    #[error("the model '{name}' in {} cannot be used: {source}", .path.display())]
    Model {
        /// Its name.
        name: String,
        /// Its directory.
        path: PathBuf,
        /// Why.
        source: Box<ScoreError>,
    },
    /// A name that no model of this server has.
    #[error("there is no model '{name}'")]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The most similar one.
        closest: Option<String>,
        /// All names.
        known: Vec<String>,
    },
    /// A roll back without anything to go back to.
    #[error("no other model answered before")]
    NothingBefore,
    /// A line of the key file.
    #[error("{} line {line}: {reason}", .path.display())]
    KeyLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A key file without keys.
    #[error("{} holds no key", .path.display())]
    NoKeys {
        /// The file.
        path: PathBuf,
    },
    /// The operating system gives no random numbers.
    #[error("the system gives no random numbers: {detail}")]
    Random {
        /// What it says.
        detail: String,
    },
    /// The score log or a look-up table.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something of the operating system: threads, signals.
    #[error("{what} failed: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl ServeError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            ServeError::Setting { key: "name", .. } => "e.g. `impactiq key shop --role score`".into(),
            ServeError::Setting { key, .. } => {
                format!("correct `{}`; `impactiq serve --help` lists every setting", key.replace('_', "-"))
            }
            ServeError::SettingsFile { .. } => "the keys are those of `impactiq serve --help`, with _ for -".into(),
            ServeError::File { .. } => "check the path and its permissions".into(),
            ServeError::Unprotected { .. } => {
                "make a key with `impactiq key NAME --role score >> keys` and add `--keys keys`, or listen on 127.0.0.1"
                    .into()
            }
            ServeError::Listen { source, address } => match source.kind() {
                std::io::ErrorKind::AddrInUse => {
                    format!("stop what listens there, or take another port: `--listen {}:0`", address.ip())
                }
                _ => "take an address of this machine, e.g. `--listen 127.0.0.1:8501`".into(),
            },
            ServeError::NoModel => "add one: `impactiq serve -m MODEL`".into(),
            ServeError::ModelTwice { name } => format!("give one of them another name: `-m OTHER=DIR` beside '{name}'"),
            ServeError::ModelName { .. } => {
                "letters, digits, `_`, `-` and `.`, at most 100 of them: `-m NAME=DIR`".into()
            }
            ServeError::Model { source, .. } => return source.hint(),
            ServeError::UnknownModel { closest, known, .. } => match closest {
                Some(closest) => format!("did you mean '{closest}'?"),
                None => format!("this server has: {}", known.join(", ")),
            },
            ServeError::NothingBefore => "promote a model by its name instead".into(),
            ServeError::KeyLine { .. } | ServeError::NoKeys { .. } => {
                "a line is `ROLE NAME SHA256`, as `impactiq key NAME --role ROLE` writes it".into()
            }
            ServeError::Random { .. } => "try again; without random numbers no key is safe".into(),
            ServeError::Store(error) => return error.hint(),
            ServeError::System { .. } => "check the limits of the system (ulimit -a)".into(),
        })
    }
}
