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
use impactiq_serve::ServeError;
use impactiq_stream::StreamError;

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

    fn from_parts(message: String, hint: Option<String>, otherwise: &str) -> Self {
        let hint = hint.or_else(|| Some(otherwise.into()));
        Failure { message, place: None, hint, exit: Exit::Failed }
    }
}

/// What to do about an error that has no hint of its own.
const MEND_THE_ROWS: &str = "mend the data, or leave rows out with `data.where`";
const MEND_THE_CONFIG: &str = "correct it there; `impactiq reference config` lists every key with its values";

fn of_data(error: &DataError) -> &'static str {
    match error {
        DataError::BadSetting { .. } => "choose a value in that range",
        _ => MEND_THE_ROWS,
    }
}

fn of_causal(error: &CausalError) -> &'static str {
    match error {
        CausalError::Data(error) => of_data(error),
        CausalError::Mismatch { .. } => "bring rows with the arms, outcomes and features the model was trained with",
        CausalError::NotFinite { .. } => "look for extreme values in the outcome and the features",
        CausalError::Stopped => "run the same command again to start over",
        _ => MEND_THE_CONFIG,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

macro_rules! from_library_error {
    ($($error:ty => $otherwise:expr),+) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let otherwise: fn(&$error) -> &'static str = $otherwise;
                Failure::from_parts(error.to_string(), error.hint(), otherwise(&error))
            }
        }
    )+};
}
from_library_error!(
    DataError => of_data,
    MetricsError => |_| MEND_THE_ROWS,
    IoError => |error| match error {
        IoError::Data(error) => of_data(error),
        _ => "check the path and the file",
    },
    CausalError => of_causal,
    StreamError => |_| "docs/guide/stream.md describes every key; docs/guide/windows.md the section `windows:`",
    ServeError => |_| "`impactiq serve --help` lists every setting",
    ScoreError => |error| match error {
        ScoreError::Causal(error) => of_causal(error),
        _ => "check the model directory and the file",
    }
);

/// The result of everything a command does.
pub type Outcome<T> = Result<T, Failure>;
