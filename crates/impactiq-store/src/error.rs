//! What can go wrong while remembering, as values with fields.
//!
//! `Display` says what and where in lower case; [`StoreError::hint`] says what to do next.
//! No message holds a score, a feature or a password. Nothing here touches a database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use impactiq_data::error::shorten;
use impactiq_io::{IoError, RowError};
use thiserror::Error;

/// Something that went wrong with the score log or a look-up table.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A setting that makes no sense.
    #[error("{setting} is {value}, but {allowed}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// An address that names no database this program knows.
    #[error("'{address}' is not the address of a database: {detail}")]
    Address {
        /// The address without its password.
        address: String,
        /// What is wrong.
        detail: String,
    },
    /// The folder of a database file cannot be made.
    #[error("the folder {} cannot be made: {source}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The server does not answer, or the connection broke.
    #[error("the database {place} cannot be reached: {detail}")]
    Unreachable {
        /// The database.
        place: Arc<str>,
        /// Why.
        detail: String,
    },
    /// The server answers and says no.
    #[error("the database {place} refused the connection: {detail}")]
    Refused {
        /// The database.
        place: Arc<str>,
        /// In the server's words.
        detail: String,
    },
    /// A file that is not SQLite.
    #[error("{place} is not a SQLite file")]
    NotADatabase {
        /// The file.
        place: Arc<str>,
    },
    /// A SQLite file that belongs to another program.
    #[error("{place} is a SQLite file of another program: it has a table '{table}' but no score log")]
    OtherProgram {
        /// The file.
        place: Arc<str>,
        /// One of its tables.
        table: String,
    },
    /// A database made by a later version of this program.
    #[error("{place} has format version {found}; this program knows versions up to {supported}")]
    FutureVersion {
        /// The database.
        place: Arc<str>,
        /// Its version.
        found: i64,
        /// The latest version known here.
        supported: i64,
    },
    /// Tables that are not what this program once made.
    #[error("the tables of {place} cannot be brought up to date: {detail}")]
    Migration {
        /// The database.
        place: Arc<str>,
        /// What is wrong.
        detail: String,
    },
    /// The database may only be read.
    #[error("{place} cannot be written: it is read-only")]
    ReadOnly {
        /// The database.
        place: Arc<str>,
    },
    /// Another program holds the database.
    #[error("{place} is locked by another program")]
    Locked {
        /// The database.
        place: Arc<str>,
    },
    /// No space is left.
    #[error("{place} cannot be written: the disk is full")]
    DiskFull {
        /// The database.
        place: Arc<str>,
    },
    /// The file was deleted or replaced while it was open.
    #[error("{place} was deleted or replaced while it was open")]
    FileGone {
        /// The file.
        place: Arc<str>,
    },
    /// The database did not finish in time.
    #[error("{place} did not finish {doing} within {} s", .limit.as_secs())]
    TimedOut {
        /// The database.
        place: Arc<str>,
        /// What was asked of it.
        doing: &'static str,
        /// How long it was given.
        limit: Duration,
    },
    /// The database cannot take these rows, now or later.
    #[error("{place} cannot take the rows: {detail}")]
    BadRows {
        /// The database.
        place: Arc<str>,
        /// In the database's words.
        detail: String,
    },
    /// Anything else a database says.
    #[error("{place} failed while {doing}: {detail}")]
    Database {
        /// The database.
        place: Arc<str>,
        /// What was asked of it.
        doing: &'static str,
        /// In the database's words.
        detail: String,
    },
    /// More rows wait than may wait.
    #[error("the score log is full: {queued} of at most {limit} rows wait to be written")]
    QueueFull {
        /// Rows waiting.
        queued: usize,
        /// The most that may wait.
        limit: usize,
    },
    /// The log was closed.
    #[error("the score log is closed")]
    Closed,
    /// A cursor that no page of this log gave out.
    #[error("'{cursor}' is not a cursor of the score log")]
    BadCursor {
        /// The cursor.
        cursor: String,
    },
    /// A look-up's source cannot be read.
    #[error("look-up: {0}")]
    Read(#[from] IoError),
    /// A look-up that has none of the columns that are missing.
    #[error("the look-up {source_name} has no column that the model needs beside its key '{key}'")]
    NothingToLookUp {
        /// File or query.
        source_name: String,
        /// The key column.
        key: String,
        /// Columns that the model needs.
        needed: Vec<String>,
    },
    /// A key that stands twice.
    #[error("the look-up {source_name} has the key '{value}' twice, in rows {first} and {second}")]
    DuplicateKey {
        /// File or query.
        source_name: String,
        /// The key.
        value: String,
        /// First row, counted from 1.
        first: u64,
        /// Second row, counted from 1.
        second: u64,
    },
    /// A row without a key.
    #[error("the look-up {source_name} has no '{key}' in row {row}")]
    MissingKey {
        /// File or query.
        source_name: String,
        /// The key column.
        key: String,
        /// The row, counted from 1.
        row: u64,
    },
    /// A look-up's cell that does not fit the model.
    #[error("the look-up {source_name}, {error}")]
    BadCell {
        /// File or query.
        source_name: String,
        /// The cell, with its row.
        error: RowError,
    },
    /// More rows than a table can index.
    #[error("the look-up {source_name} has more than {limit} rows")]
    TooManyRows {
        /// File or query.
        source_name: String,
        /// The most a table can have.
        limit: usize,
    },
    /// A look-up table that contradicts itself.
    #[error("internal error in a look-up table: {detail}")]
    Look {
        /// In Arrow's words.
        detail: String,
    },
    /// An internal task ended early.
    #[error("internal error: {what} stopped")]
    Stopped {
        /// The task.
        what: &'static str,
    },
    /// One error told to several callers: they shared a transaction.
    #[error(transparent)]
    Shared(Arc<StoreError>),
}

impl StoreError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            StoreError::Setting { .. } => "change the setting".into(),
            StoreError::Address { .. } => {
                "give a file such as scores.db, or postgres://user:password@host:5432/database".into()
            }
            StoreError::Folder { .. } | StoreError::ReadOnly { .. } => {
                "check the permissions of the file and its folder, or choose another path".into()
            }
            StoreError::Unreachable { .. } => "check that the server runs and that host and port are right".into(),
            StoreError::Refused { .. } => "check user, password and the name of the database".into(),
            StoreError::NotADatabase { .. } | StoreError::OtherProgram { .. } => {
                "choose a path of its own for the score log; a file that does not exist is made".into()
            }
            StoreError::FutureVersion { .. } => "use the later version of impactiq, or a new database".into(),
            StoreError::Migration { .. } => "restore the tables from a backup, or use a new database".into(),
            StoreError::Locked { .. } => "end the other program, or give this one a file of its own".into(),
            StoreError::DiskFull { .. } => "make room; retention (--log-keep) limits how much is kept".into(),
            StoreError::FileGone { .. } => "put the file back, or restart the server to begin a new one".into(),
            StoreError::TimedOut { .. } | StoreError::QueueFull { .. } => {
                "the database is too slow or away; send the request again later".into()
            }
            StoreError::BadCursor { .. } => "use the `next` of the page before, with the same filters".into(),
            StoreError::Read(error) => return error.hint(),
            StoreError::NothingToLookUp { needed, .. } => format!("the model's columns are: {}", shorten(needed, 20)),
            StoreError::DuplicateKey { .. } => "keep one row a key".into(),
            StoreError::MissingKey { .. } => "leave rows without a key out of the look-up".into(),
            StoreError::BadCell { error, .. } => return error.hint(),
            StoreError::Shared(error) => return error.hint(),
            StoreError::BadRows { .. }
            | StoreError::Database { .. }
            | StoreError::Closed
            | StoreError::TooManyRows { .. }
            | StoreError::Look { .. }
            | StoreError::Stopped { .. } => return None,
        })
    }

    /// True when the same rows may well be written later: the database is away, busy or full.
    pub fn is_passing(&self) -> bool {
        match self {
            StoreError::Shared(error) => error.is_passing(),
            StoreError::Unreachable { .. }
            | StoreError::Refused { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Locked { .. }
            | StoreError::DiskFull { .. }
            | StoreError::FileGone { .. }
            | StoreError::TimedOut { .. }
            | StoreError::Database { .. }
            | StoreError::QueueFull { .. } => true,
            _ => false,
        }
    }
}
