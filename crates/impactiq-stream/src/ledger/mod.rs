//! What a stream has done, in the store: positions with their epochs, users' windows, scores, live uplift.
//!
//! Everything of a batch is written in one transaction. Events and models are not known here.

use std::time::Duration;

use impactiq_store::{Database, Dialect, LoggedRequest, Recorded, insert, unix_micros};
use sqlx::FromRow;

use crate::error::StreamError;

mod live;
mod logged;
mod users;

pub use live::LiveLease;
pub use logged::LoggedScore;

/// Runs the same statements on either dialect's transaction.
macro_rules! either {
    ($transaction:expr, $inner:ident => $body:expr) => {
        match &mut $transaction.inner {
            impactiq_store::InnerTransaction::Sqlite($inner) => $body,
            impactiq_store::InnerTransaction::Postgresql($inner) => $body,
        }
    };
}
/// The same for reading.
macro_rules! either_pool {
    ($database:expr, $pool:ident => $body:expr) => {
        match $database.pool() {
            impactiq_store::Pool::Sqlite($pool) => $body,
            impactiq_store::Pool::Postgresql($pool) => $body,
        }
    };
}
pub(crate) use {either, either_pool};

/// The first wait after a failure of the store, and the longest.
const WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(5)];

/// The part of the store that belongs to one stream.
#[derive(Clone, Debug)]
pub struct Ledger {
    database: Database,
    stream: i64,
    /// What names of requests begin with, before the partition.
    prefix: String,
    owner: String,
}

/// Which stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamName {
    /// The cluster's own id.
    pub cluster: String,
    /// The topic.
    pub topic: String,
    /// The consumer group.
    pub group: String,
}

/// Where a partition is, and the right to go on there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct Position {
    /// The partition.
    #[sqlx(try_from = "i64")]
    pub partition_id: Partition,
    /// The right: whoever is given the partition next has a higher one.
    pub epoch: i64,
    /// The event after the last one that is logged; `None` before the first.
    pub next_offset: Option<i64>,
    /// The last one that is logged.
    pub last_offset: Option<i64>,
    /// Its mark.
    pub last_mark: Option<i64>,
    /// Scores of events before this one are known to have been sent (exactly once only).
    pub sent_offset: Option<i64>,
}

/// A partition's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition(pub i32);

impl TryFrom<i64> for Partition {
    type Error = std::num::TryFromIntError;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        i32::try_from(number).map(Partition)
    }
}

/// What a batch does to one partition.
#[derive(Clone, Debug)]
pub struct Share {
    /// The partition.
    pub partition: i32,
    /// The right under which its events were read.
    pub epoch: i64,
    /// The first event of the share.
    pub first: i64,
    /// The event after its last one.
    pub next: i64,
    /// Its last event and its mark.
    pub last: (i64, i64),
    /// Scores before this event are known to have been sent.
    pub sent: Option<i64>,
    /// Scores.
    pub request: Option<LoggedRequest>,
    /// Users whose windows changed, with their state.
    pub users: Vec<(Vec<u8>, Vec<u8>)>,
    /// Events scored, and dead letters.
    pub counts: [i64; 2],
}

/// What became of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is in the store.
    Now,
    /// It was before: a commit whose answer was lost.
    Before,
    /// Another member has the partition; nothing was written.
    Stale,
    /// It begins with events that are in the store already and ends behind them; nothing was written.
    Overlapping,
}

#[derive(FromRow)]
struct Held {
    epoch: i64,
    next_offset: Option<i64>,
}

impl Ledger {
    /// Finds or adds a stream; `owner` tells this member from others in the tables.
    ///
    /// # Errors
    /// What keeps the database from writing.
    pub async fn open(database: &Database, name: &StreamName, owner: &str) -> Result<Self, StreamError> {
        let find = "SELECT stream FROM impactiq_streams WHERE cluster = $1 AND topic = $2 AND consumer_group = $3";
        let add =
            "INSERT INTO impactiq_streams (cluster, topic, consumer_group) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        let fault = |error| database.fault("opening a stream", error);
        let mut transaction = database.begin().await?;
        let stream: i64 = either!(transaction, inner => {
            sqlx::query(add).bind(&name.cluster).bind(&name.topic).bind(&name.group)
                .execute(&mut **inner).await.map_err(fault)?;
            sqlx::query_scalar(find).bind(&name.cluster).bind(&name.topic).bind(&name.group)
                .fetch_one(&mut **inner).await.map_err(fault)?
        });
        transaction.commit(database).await?;
        let prefix = format!("kafka/{}/{}/{}", name.cluster, name.topic, name.group);
        Ok(Ledger { database: database.clone(), stream, prefix, owner: owner.to_owned() })
    }

    /// The database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The name of the request that begins with an event.
    pub fn request_id(&self, partition: i32, offset: i64) -> String {
        format!("{}/{partition}/{offset:020}", self.prefix)
    }

    /// Takes partitions: from now on only this member, under the epochs given here, can write to them.
    ///
    /// # Errors
    /// What keeps the database from writing.
    pub async fn take(&self, partitions: &[i32]) -> Result<Vec<Position>, StreamError> {
        let take = "INSERT INTO impactiq_stream_offsets (stream, partition_id, epoch, owner, updated_at) \
            VALUES ($1, $2, 1, $3, $4) ON CONFLICT (stream, partition_id) \
            DO UPDATE SET epoch = impactiq_stream_offsets.epoch + 1, owner = excluded.owner, updated_at = excluded.updated_at \
            RETURNING partition_id, epoch, next_offset, last_offset, last_mark, sent_offset";
        let mut partitions = partitions.to_vec();
        partitions.sort_unstable();
        let mut transaction = self.database.begin().await?;
        let mut taken = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let position = either!(transaction, inner => {
                sqlx::query_as::<_, Position>(take)
                    .bind(self.stream).bind(i64::from(partition)).bind(&self.owner).bind(unix_micros())
                    .fetch_one(&mut **inner).await
            });
            taken.push(position.map_err(|error| self.database.fault("taking a partition", error))?);
        }
        transaction.commit(&self.database).await?;
        Ok(taken)
    }

    /// Remembers where a partition begins that the store does not know yet.
    ///
    /// # Errors
    /// [`StreamError::Stale`], and what keeps the database from writing.
    pub async fn start_at(&self, partition: i32, epoch: i64, offset: i64) -> Result<(), StreamError> {
        let sql = "UPDATE impactiq_stream_offsets SET next_offset = $4, sent_offset = $4, updated_at = $5 \
            WHERE stream = $1 AND partition_id = $2 AND epoch = $3 AND (next_offset IS NULL OR next_offset = $4)";
        let mut transaction = self.database.begin().await?;
        let n = either!(transaction, inner => {
            sqlx::query(sql)
                .bind(self.stream).bind(i64::from(partition)).bind(epoch).bind(offset).bind(unix_micros())
                .execute(&mut **inner).await.map(|done| done.rows_affected())
        });
        let n = n.map_err(|error| self.database.fault("beginning a partition", error))?;
        transaction.commit(&self.database).await?;
        if n == 1 { Ok(()) } else { Err(StreamError::Stale { partition, epoch }) }
    }

    /// Writes a batch in one transaction; shares whose partition is somebody else's by now are left out.
    ///
    /// # Errors
    /// [`StreamError::AlreadyLogged`], and what keeps the database from writing; then nothing is written, and
    /// the same batch may be tried again, even when a commit's answer was lost.
    pub async fn commit(&self, shares: &[Share]) -> Result<Vec<Written>, StreamError> {
        let mut transaction = self.database.begin().await?;
        let mut fates = Vec::with_capacity(shares.len());
        let mut live: Vec<&Share> = Vec::with_capacity(shares.len());
        for share in shares {
            let fate = match self.held(&mut transaction, share.partition).await? {
                Some(held) if held.epoch == share.epoch => match held.next_offset {
                    Some(next) if next >= share.next => Written::Before,
                    Some(next) if next > share.first => Written::Overlapping,
                    _ => Written::Now,
                },
                _ => Written::Stale,
            };
            fates.push(fate);
            if fate == Written::Now {
                live.push(share);
            }
        }
        if live.is_empty() {
            return Ok(fates);
        }
        let requests: Vec<&LoggedRequest> = live.iter().filter_map(|share| share.request.as_ref()).collect();
        let recorded = insert(&self.database, &mut transaction, &requests).await?;
        if let Some((request, _)) = requests.iter().zip(&recorded).find(|(_, fate)| **fate != Recorded::Written) {
            return Err(StreamError::AlreadyLogged { request: request.request_id.clone().unwrap_or_default() });
        }
        for share in &live {
            self.save_users(&mut transaction, &share.users).await?;
            self.advance(&mut transaction, share).await?;
        }
        transaction.commit(&self.database).await?;
        Ok(fates)
    }

    /// Where a partition is, locked until the transaction ends.
    async fn held(
        &self,
        transaction: &mut impactiq_store::WriteTransaction,
        partition: i32,
    ) -> Result<Option<Held>, StreamError> {
        // SQLite's transaction holds the lock already.
        let sql = match self.database.dialect() {
            Dialect::Sqlite => {
                "SELECT epoch, next_offset FROM impactiq_stream_offsets WHERE stream = $1 AND partition_id = $2"
            }
            Dialect::Postgresql => {
                "SELECT epoch, next_offset FROM impactiq_stream_offsets WHERE stream = $1 AND partition_id = $2 FOR UPDATE"
            }
        };
        let held = either!(transaction, inner => {
            sqlx::query_as::<_, Held>(sql).bind(self.stream).bind(i64::from(partition))
                .fetch_optional(&mut **inner).await
        });
        Ok(held.map_err(|error| self.database.fault("looking at a position", error))?)
    }

    async fn advance(
        &self,
        transaction: &mut impactiq_store::WriteTransaction,
        share: &Share,
    ) -> Result<(), StreamError> {
        let sql = "UPDATE impactiq_stream_offsets SET next_offset = $3, last_offset = $4, last_mark = $5, \
            sent_offset = COALESCE($6, sent_offset), n_scored = n_scored + $7, n_dead = n_dead + $8, updated_at = $9 \
            WHERE stream = $1 AND partition_id = $2";
        let done = either!(transaction, inner => {
            sqlx::query(sql)
                .bind(self.stream).bind(i64::from(share.partition)).bind(share.next)
                .bind(share.last.0).bind(share.last.1).bind(share.sent)
                .bind(share.counts[0]).bind(share.counts[1]).bind(unix_micros())
                .execute(&mut **inner).await.map(|_| ())
        });
        Ok(done.map_err(|error| self.database.fault("moving a position", error))?)
    }
}

/// How long to wait after the n-th failure in a row: twice as long each time, up to five seconds, and a random
/// part less, so that members that failed together do not come back together.
pub(crate) fn patience(n_failures: u32, random: u64) -> Duration {
    let whole = WAITS[0].saturating_mul(1 << n_failures.min(10)).min(WAITS[1]);
    let share = 0.5 + (random % 1_000) as f64 / 2_000.0;
    whole.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        assert!(patience(0, 0) >= Duration::from_millis(25) && patience(0, 999) <= Duration::from_millis(50));
        assert!(patience(60, 999) <= Duration::from_secs(5));
        assert_ne!(patience(3, 1), patience(3, 700));
    }
}
