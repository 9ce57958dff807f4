//! The one task that writes: takes batches from the queue, one transaction each, and tries
//! again while the database is away.
//!
//! Rows nobody waits for are kept and tried again; whoever waits for a commit is told at once that it
//! did not happen. A row that the database can never take is not allowed to hold up others.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::database::Database;
use crate::entry::{LoggedRequest, Recorded};
use crate::error::StoreError;
use crate::insert::{insert_numbered, reserve};
use crate::queue::{Queue, Waiting};

/// The longest a transaction may take: a server that fell silent never answers.
const BATCH_PATIENCE: Duration = Duration::from_secs(30);
/// How long a closing log goes on trying.
const CLOSING_PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What was done so far.
#[derive(Default)]
pub(crate) struct Counts {
    pub written: AtomicU64,
    pub lost: AtomicU64,
    pub failed_batches: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Counts {
    /// The last error, in words.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers an error; a later success does not take it away.
    pub fn failed(&self, error: &StoreError) {
        self.failed_batches.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }
}

/// What the writer works with.
pub(crate) struct Writer {
    pub database: Database,
    pub queue: Arc<Queue>,
    pub counts: Arc<Counts>,
    /// Told when the queue closes, so that no pause is slept out.
    pub closing: Arc<Notify>,
    pub batch_wait: Duration,
}

/// Some requests that are written together.
struct Batch {
    waiting: Vec<Waiting>,
    /// Kept over attempts, see [`insert_numbered`].
    numbers: Option<Vec<i64>>,
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub async fn run(self) {
        let mut give_up_at = None;
        while let Some(waiting) = self.queue.take(self.batch_wait).await {
            let mut batches = VecDeque::from([Batch { waiting, numbers: None }]);
            while let Some(batch) = batches.pop_front() {
                self.settle_batch(batch, &mut batches, &mut give_up_at).await;
            }
        }
    }

    /// Writes a batch, or loses it; halves of one that cannot be written as a whole go back to `batches`.
    async fn settle_batch(&self, mut batch: Batch, batches: &mut VecDeque<Batch>, give_up_at: &mut Option<Instant>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.attempt(&mut batch).await {
                Ok(recorded) => return self.answer(batch, recorded),
                Err(error) => Arc::new(error),
            };
            self.counts.failed(&error);
            if !error.is_passing() {
                if batch.waiting.len() > 1 {
                    let second = batch.waiting.split_off(batch.waiting.len() / 2);
                    batches.push_front(Batch { waiting: second, numbers: None });
                    batches.push_front(Batch { waiting: batch.waiting, numbers: None });
                } else {
                    self.lose(batch, &error);
                }
                return;
            }
            tracing::warn!(error = %error, requests = batch.waiting.len(), "the score log could not write a batch");
            self.refuse_callers(&mut batch, &error);
            if batch.waiting.is_empty() {
                return;
            }
            if self.queue.is_closing() {
                let until = *give_up_at.get_or_insert_with(|| Instant::now() + CLOSING_PATIENCE);
                if Instant::now() >= until {
                    return self.lose(batch, &error);
                }
            }
            let _ = tokio::time::timeout(pause, self.closing.notified()).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&self, batch: &mut Batch) -> Result<Vec<Recorded>, StoreError> {
        let work = async {
            let Batch { waiting, numbers } = batch;
            if numbers.is_none() {
                *numbers = reserve(&self.database, waiting.len()).await?;
            }
            let requests: Vec<&LoggedRequest> = waiting.iter().map(|waiting| &*waiting.request).collect();
            let mut transaction = self.database.begin().await?;
            let recorded = insert_numbered(&self.database, &mut transaction, &requests, numbers.as_deref()).await?;
            transaction.commit(&self.database).await?;
            Ok(recorded)
        };
        match tokio::time::timeout(BATCH_PATIENCE, work).await {
            Ok(done) => done,
            Err(_) => Err(StoreError::TimedOut {
                place: self.database.place().into(),
                doing: "writing a batch",
                limit: BATCH_PATIENCE,
            }),
        }
    }

    fn answer(&self, batch: Batch, recorded: Vec<Recorded>) {
        for (waiting, recorded) in batch.waiting.into_iter().zip(recorded) {
            if recorded == Recorded::Written {
                self.counts.written.fetch_add(waiting.request.rows.len() as u64, Ordering::Relaxed);
            }
            self.queue.settle(&waiting.request);
            // A caller who went away has no use for the answer.
            let _ = waiting.reply.map(|reply| reply.send(Ok(recorded)));
        }
    }

    /// Tells everybody who waits that nothing was committed, and keeps the others.
    fn refuse_callers(&self, batch: &mut Batch, error: &Arc<StoreError>) {
        let numbers = batch.numbers.take();
        let mut kept_numbers = Vec::new();
        let mut kept = Vec::new();
        for (index, mut waiting) in std::mem::take(&mut batch.waiting).into_iter().enumerate() {
            match waiting.reply.take() {
                Some(reply) => {
                    self.queue.settle(&waiting.request);
                    let _ = reply.send(Err(StoreError::Shared(Arc::clone(error))));
                }
                None => {
                    kept_numbers.extend(numbers.as_ref().map(|numbers| numbers[index]));
                    kept.push(waiting);
                }
            }
        }
        batch.numbers = numbers.is_some().then_some(kept_numbers);
        batch.waiting = kept;
    }

    fn lose(&self, batch: Batch, error: &Arc<StoreError>) {
        for waiting in batch.waiting {
            let rows = waiting.request.rows.len();
            self.queue.settle(&waiting.request);
            match waiting.reply {
                Some(reply) => {
                    let _ = reply.send(Err(StoreError::Shared(Arc::clone(error))));
                }
                None => {
                    self.counts.lost.fetch_add(rows as u64, Ordering::Relaxed);
                    tracing::error!(error = %error, rows, "the score log lost rows");
                }
            }
        }
    }
}
