//! The score log: the door through which requests are offered, recorded, found and read.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::database::{Database, Migrations};
use crate::entry::{LoggedRequest, Offered, Recorded, Seen};
use crate::error::StoreError;
use crate::insert;
use crate::query::{self, Page, Query};
use crate::queue::{Queue, Rejected};
use crate::retention;
use crate::settings::LogSettings;
use crate::writer::{Counts, Writer};

/// How often old rows are looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(3600);

/// A log of scores; clones share it. It lives in the tokio run-time that opened it.
///
/// When the last clone is dropped it goes on writing what waits; [`ScoreLog::close`] waits for that.
///
/// ```no_run
/// # async fn example() -> Result<(), impactiq_store::StoreError> {
/// use impactiq_store::{LogSettings, Query, ScoreLog};
/// let log = ScoreLog::open(LogSettings::new("scores.db")).await?;
/// let page = log.query(&Query { id: Some("customer-7".into()), ..Query::default() }).await?;
/// log.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ScoreLog {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    settings: LogSettings,
    queue: Arc<Queue>,
    counts: Arc<Counts>,
    closing: Arc<Notify>,
    writer: Mutex<Option<JoinHandle<()>>>,
    retention: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// How the log is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogState {
    /// "sqlite" or "postgresql".
    pub kind: &'static str,
    /// True: rows are on the disk before their request is answered.
    pub durable: bool,
    /// Rows that wait to be written.
    pub queued: u64,
    /// Rows written since the log was opened.
    pub written: u64,
    /// Rows lost since the log was opened.
    pub lost: u64,
    /// Transactions that failed; those of rows nobody waited for were tried again.
    pub failed_batches: u64,
    /// The last failure, in words; it stays after it has passed.
    pub last_error: Option<String>,
}

impl ScoreLog {
    /// Opens or makes a log and starts its tasks.
    ///
    /// # Errors
    /// [`StoreError::Setting`], and everything [`Database::open`] says.
    pub async fn open(settings: LogSettings) -> Result<Self, StoreError> {
        settings.check()?;
        let database = Database::open(&settings.url, settings.durable, &Migrations::score_log()).await?;
        let queue = Arc::new(Queue::new(settings.queue_rows, settings.batch_rows));
        let counts = Arc::new(Counts::default());
        let closing = Arc::new(Notify::new());
        let writer = Writer {
            database: database.clone(),
            queue: Arc::clone(&queue),
            counts: Arc::clone(&counts),
            closing: Arc::clone(&closing),
            batch_wait: settings.batch_wait,
        };
        let writer = Mutex::new(Some(tokio::spawn(writer.run())));
        let retention =
            settings.retention.map(|kept| tokio::spawn(forget_hourly(database.clone(), kept, Arc::clone(&counts))));
        Ok(ScoreLog { inner: Arc::new(Inner { database, settings, queue, counts, closing, writer, retention }) })
    }

    /// True when rows are on the disk before their request is answered.
    pub fn is_durable(&self) -> bool {
        self.inner.settings.durable
    }

    /// The database, for tables that are kept beside the log.
    pub fn database(&self) -> &Database {
        &self.inner.database
    }

    /// Puts a request in line to be written; never waits.
    ///
    /// A second request of the same name is dropped when its turn comes. Whether there is a first one,
    /// [`ScoreLog::find`] tells before.
    pub fn offer(&self, request: LoggedRequest) -> Offered {
        let rows = request.rows.len() as u64;
        match self.inner.queue.put(Arc::new(request), None) {
            Ok(()) => Offered::Queued,
            Err(_) => {
                let lost = self.inner.counts.lost.fetch_add(rows, Ordering::Relaxed) + rows;
                tracing::error!(rows, lost, "the score log is full and lost rows");
                Offered::Full
            }
        }
    }

    /// Writes a request and waits until it is committed; requests that wait at the same time share a
    /// transaction.
    ///
    /// # Errors
    /// [`StoreError::QueueFull`], [`StoreError::Closed`], and what keeps the database from
    /// writing; then nothing is promised, and a retry under the same name is written once.
    pub async fn record(&self, request: LoggedRequest) -> Result<Recorded, StoreError> {
        let (reply, answer) = oneshot::channel();
        let limit = self.inner.settings.queue_rows;
        self.inner.queue.put(Arc::new(request), Some(reply)).map_err(|rejected| match rejected {
            Rejected::Full { queued } => StoreError::QueueFull { queued, limit },
            Rejected::Closed => StoreError::Closed,
        })?;
        answer.await.unwrap_or(Err(StoreError::Stopped { what: "the writer of the score log" }))
    }

    /// What was answered under a request's name, be it written or still in line.
    ///
    /// # Errors
    /// What keeps the database from reading.
    pub async fn find(&self, request_id: &str) -> Result<Option<Seen>, StoreError> {
        if let Some(waiting) = self.inner.queue.find(request_id) {
            return Ok(Some(waiting.seen()));
        }
        insert::find(&self.inner.database, request_id).await
    }

    /// A page of the log, newest first.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`], and what keeps the database from reading.
    pub async fn query(&self, query: &Query) -> Result<Page, StoreError> {
        query::query(&self.inner.database, query).await
    }

    /// How the log is doing.
    pub fn state(&self) -> LogState {
        let counts = &self.inner.counts;
        LogState {
            kind: self.inner.database.dialect().name(),
            durable: self.inner.settings.durable,
            queued: self.inner.queue.n_rows() as u64,
            written: counts.written.load(Ordering::Relaxed),
            lost: counts.lost.load(Ordering::Relaxed),
            failed_batches: counts.failed_batches.load(Ordering::Relaxed),
            last_error: counts.last_error(),
        }
    }

    /// Deletes what is older than the retention, seen from `now` (microseconds since
    /// 1970-01-01T00:00:00Z); returns how many rows that were. Done hourly without being asked.
    ///
    /// # Errors
    /// What keeps the database from deleting.
    pub async fn enforce_retention(&self, now: i64) -> Result<u64, StoreError> {
        match self.inner.settings.retention {
            Some(kept) => retention::delete_before(&self.inner.database, before(now, kept)).await,
            None => Ok(0),
        }
    }

    /// Takes nothing more, writes what waits (for at most ten seconds after the first failure), and closes
    /// the database.
    pub async fn close(&self) {
        self.inner.stop();
        let writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && let Err(error) = writer.await
        {
            tracing::error!(error = %error, "the writer of the score log ended early");
        }
        self.inner.database.close().await;
    }
}

impl Inner {
    fn stop(&self) {
        self.queue.close();
        self.closing.notify_one();
        if let Some(task) = &self.retention {
            task.abort();
        }
    }
}

/// The moment `kept` before `now`.
fn before(now: i64, kept: Duration) -> i64 {
    now.saturating_sub(i64::try_from(kept.as_micros()).unwrap_or(i64::MAX))
}

/// Now, in microseconds since 1970-01-01T00:00:00Z.
pub fn unix_micros() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX)
}

async fn forget_hourly(database: Database, kept: Duration, counts: Arc<Counts>) {
    let mut clock = tokio::time::interval(RETENTION_EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        match retention::delete_before(&database, before(unix_micros(), kept)).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "the score log forgot old rows"),
            Err(error) => {
                counts.failed(&error);
                tracing::warn!(error = %error, "the score log could not delete old rows");
            }
        }
    }
}
