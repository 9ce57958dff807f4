//! What is remembered: the score log and look-up tables.
//!
//! The score log keeps what was answered to whom by which model, in a SQLite file or in
//! PostgreSQL. A look-up table lends a request the columns it did not bring. This crate
//! knows no HTTP and no model: it stores text that others answered, and reads columns that
//! others ask for.

// A file uses only files above it: error, settings, database (address, migrations), entry,
// insert, query, retention, queue, writer, score_log, file_stamp, lookup (index, table, files, sql).
pub mod database;
pub mod entry;
pub mod error;
mod file_stamp;
mod insert;
pub mod lookup;
pub mod query;
mod queue;
mod retention;
pub mod score_log;
pub mod settings;
mod writer;

pub use database::{Database, Dialect, InnerTransaction, Pool, WriteTransaction};
pub use entry::{Door, LoggedRequest, LoggedRow, Offered, Recorded, Seen};
pub use error::StoreError;
pub use file_stamp::FileStamp;
pub use insert::insert;
pub use lookup::{Lookup, LookupSettings, LookupSource, LookupState, Miss};
pub use query::{Page, Query, StoredScore};
pub use score_log::{LogState, ScoreLog, unix_micros};
pub use settings::LogSettings;
