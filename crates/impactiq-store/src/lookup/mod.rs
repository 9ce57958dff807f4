//! Look-up tables: a request brings an identifier, the other columns come from here.
//!
//! A table is read whole into memory, with the types of the model, and read again when its
//! source changes. A request sees one table from beginning to end; a source that cannot be
//! read any more leaves the last good table in its place.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use arrow::array::RecordBatch;
use impactiq_data::Schema;
use serde::Serialize;
use serde_json::Value;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::error::StoreError;
use crate::score_log::unix_micros;

mod files;
mod index;
mod sql;
mod table;

use files::Stamp;
pub use table::Miss;
use table::Table;

/// How often a file is looked at. It is read again when it has stayed the same from one look to
/// the next, so that a file that is being written is left alone.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where a look-up table comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum LookupSource {
    /// CSV, Parquet or NDJSON: a file, a glob or a folder.
    File {
        /// The path.
        path: String,
    },
    /// The rows of a query.
    Sql {
        /// The database, as in [`crate::LogSettings::url`].
        url: String,
        /// The query.
        query: String,
    },
}

impl std::fmt::Debug for LookupSource {
    /// Leaves the address out: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LookupSource::File { path } => f.debug_struct("File").field("path", path).finish(),
            LookupSource::Sql { query, .. } => f.debug_struct("Sql").field("query", query).finish_non_exhaustive(),
        }
    }
}

/// What to look up, by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupSettings {
    /// Where the rows are.
    pub source: LookupSource,
    /// The column that tells rows apart, in the table and in requests.
    pub key: String,
    /// How often the source is read again, changed or not. Files are also read when they change.
    pub refresh: Option<Duration>,
}

/// A look-up table that keeps itself up to date; clones share it. It lives in the tokio
/// run-time that loaded it and ends with its last clone.
#[derive(Clone)]
pub struct Lookup {
    inner: Arc<Inner>,
}

struct Inner {
    settings: LookupSettings,
    schema: Schema,
    table: RwLock<Arc<Table>>,
    progress: Mutex<Progress>,
    /// Only one reading at a time.
    reading: tokio::sync::Mutex<()>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct Progress {
    loaded_at: i64,
    n_refreshes: u64,
    last_error: Option<String>,
    /// The files as they were at the last attempt, good or bad.
    tried: Option<Stamp>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// How a look-up table is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LookupState {
    /// Rows in use.
    pub rows: usize,
    /// Columns that are looked up.
    pub columns: Vec<String>,
    /// The key column.
    pub key: String,
    /// Memory of the table in use.
    pub bytes: usize,
    /// When the table in use was read, in microseconds since 1970-01-01T00:00:00Z.
    pub loaded_at: i64,
    /// How often it was read again since the start.
    pub refreshes: u64,
    /// Why the last attempt to read it again failed; `None` after a good one.
    pub last_error: Option<String>,
}

impl Lookup {
    /// Reads a table: the columns that the source shares with `schema` (a model's raw columns), by key.
    ///
    /// # Errors
    /// [`StoreError::Read`], [`StoreError::NothingToLookUp`], [`StoreError::DuplicateKey`],
    /// [`StoreError::MissingKey`], [`StoreError::BadCell`], [`StoreError::TooManyRows`], and
    /// what a database says.
    pub async fn load(settings: LookupSettings, schema: &Schema) -> Result<Self, StoreError> {
        if settings.refresh.is_some_and(|refresh| refresh < Duration::from_secs(1)) {
            return Err(StoreError::Setting {
                setting: "refresh",
                value: format!("{:?}", settings.refresh.unwrap_or_default()),
                allowed: "a table is read again at most every second",
            });
        }
        let (table, stamp) = read(&settings, schema).await?;
        let progress = Progress { loaded_at: unix_micros(), tried: stamp, ..Progress::default() };
        let inner = Arc::new(Inner {
            settings,
            schema: schema.clone(),
            table: RwLock::new(Arc::new(table)),
            progress: Mutex::new(progress),
            reading: tokio::sync::Mutex::default(),
            task: Mutex::default(),
        });
        let task = tokio::spawn(keep_fresh(Arc::downgrade(&inner)));
        *inner.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
        Ok(Lookup { inner })
    }

    /// Adds absent columns to JSON rows by their key. A value in the row wins, `null` too; a row that lacks
    /// columns and has no known key is left as it is and told.
    ///
    /// # Errors
    /// None that a row can cause; a table that contradicts itself.
    pub fn fill(&self, rows: &mut [Value]) -> Result<Vec<Miss>, StoreError> {
        self.inner.table().fill(rows)
    }

    /// Adds absent columns to a batch by its key column; a column that is there wins. Rows without a
    /// known key get nulls and are told.
    ///
    /// # Errors
    /// [`StoreError::Read`] when the key column is not there or of a type that is no key.
    pub fn fill_batch(&self, batch: &RecordBatch) -> Result<(RecordBatch, Vec<Miss>), StoreError> {
        self.inner.table().fill_batch(batch)
    }

    /// Reads the source again, changed or not. The table in use changes only when that goes well.
    ///
    /// # Errors
    /// As [`Lookup::load`].
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.inner.refresh().await
    }

    /// How it is doing.
    pub fn state(&self) -> LookupState {
        let table = self.inner.table();
        let progress = self.inner.progress();
        LookupState {
            rows: table.n_rows(),
            columns: table.column_names(),
            key: self.inner.settings.key.clone(),
            bytes: table.n_bytes(),
            loaded_at: progress.loaded_at,
            refreshes: progress.n_refreshes,
            last_error: progress.last_error.clone(),
        }
    }
}

impl Inner {
    /// The table in use: held for as long as one request needs it.
    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn refresh(&self) -> Result<(), StoreError> {
        let _only = self.reading.lock().await;
        let tried = self.progress().tried.as_ref().map(Stamp::again);
        let done = read(&self.settings, &self.schema).await;
        let mut progress = self.progress();
        match done {
            Ok((table, stamp)) => {
                *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
                progress.tried = stamp;
                progress.loaded_at = unix_micros();
                progress.n_refreshes += 1;
                progress.last_error = None;
                Ok(())
            }
            Err(error) => {
                progress.tried = tried;
                progress.last_error = Some(error.to_string());
                Err(error)
            }
        }
    }
}

async fn read(settings: &LookupSettings, schema: &Schema) -> Result<(Table, Option<Stamp>), StoreError> {
    match &settings.source {
        LookupSource::File { path } => {
            let (path, key, schema) = (path.clone(), settings.key.clone(), schema.clone());
            let reading = tokio::task::spawn_blocking(move || files::read(&path, &key, &schema));
            let (table, stamp) = reading.await.map_err(|_| StoreError::Stopped { what: "the reader" })??;
            Ok((table, Some(stamp)))
        }
        LookupSource::Sql { url, query } => Ok((sql::read(url, query, &settings.key, schema).await?, None)),
    }
}

/// Looks at the source for as long as somebody uses the table.
async fn keep_fresh(lookup: Weak<Inner>) {
    let mut read_at = Instant::now();
    let mut seen: Option<Stamp> = None;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(inner) = lookup.upgrade() else { return };
        let tried = inner.progress().tried.clone();
        let now = tried.as_ref().map(Stamp::again);
        let settled = now != tried && now == seen;
        seen = now;
        let due = inner.settings.refresh.is_some_and(|refresh| read_at.elapsed() >= refresh);
        if !settled && !due {
            continue;
        }
        read_at = Instant::now();
        match inner.refresh().await {
            Ok(()) => tracing::info!(rows = inner.table().n_rows(), "the look-up table was read again"),
            Err(error) => {
                tracing::warn!(error = %error, "the look-up table could not be read again; the last one stays")
            }
        }
    }
}
