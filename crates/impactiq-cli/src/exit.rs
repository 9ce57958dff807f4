//! How a run ends: exit codes, and failures as a person reads them.
//!
//! Every library error becomes a [`Failure`]: what went wrong, where, and what to type
//! next. Printing them is the business of `output`.

use std::fmt;
use std::process::ExitCode;

use impactiq_causal::CausalError;
use impactiq_data::DataError;
use impactiq_io::IoError;
use impactiq_metrics::MetricsError;
use impactiq_score::ScoreError;

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done: 0.
    Done,
    /// The command ran, but a gate failed: 1.
    GateFailed,
    /// Usage, configuration, input or internal error: 2.
    Failed,
    /// Stopped by the user: 130.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::GateFailed => 1,
            Exit::Failed => 2,
            Exit::Interrupted => 130,
        })
    }
}

/// Why a run ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong, in lower case.
    pub message: String,
    /// Where: a file, perhaps with its row and line, or a configuration key.
    pub place: Option<String>,
    /// What to type next.
    pub hint: Option<String>,
    /// The exit code it leads to.
    pub exit: Exit,
}

impl Failure {
    /// A failure with exit code 2.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Failure { message: message.into(), place: None, hint: Some(hint.into()), exit: Exit::Failed }
    }

    /// The same failure with its place.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string());
        self
    }

    /// The user stopped the run.
    pub fn interrupted() -> Self {
        Failure {
            message: "interrupted; nothing was written".into(),
            place: None,
            hint: Some("run the same command again to start over".into()),
            exit: Exit::Interrupted,
        }
    }

    /// The time limit is used up.
    pub fn out_of_time(seconds: f64) -> Self {
        Failure::new(
            format!("the time limit of {seconds} s is used up; nothing was written"),
            "raise `--time-limit`, take fewer rows, or a smaller learner, e.g. `--set learner.n_trees=50`",
        )
    }

    fn from_parts(message: String, hint: Option<String>) -> Self {
        let hint = hint.or_else(|| Some("`impactiq --help` lists what can be done".into()));
        Failure { message, place: None, hint, exit: Exit::Failed }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

macro_rules! from_library_error {
    ($($error:ty),+) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Failure::from_parts(error.to_string(), error.hint())
            }
        }
    )+};
}
from_library_error!(DataError, MetricsError, IoError, CausalError, ScoreError);

/// The result of everything a command does.
pub type Outcome<T> = Result<T, Failure>;
