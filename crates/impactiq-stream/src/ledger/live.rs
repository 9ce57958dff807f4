//! Live uplift in the store: one member watches, the others take over when it falls silent.

use std::time::Duration;

use impactiq_store::unix_micros;
use sqlx::FromRow;

use super::{Ledger, either, either_pool};
use crate::error::StreamError;

/// The right to watch, and what was seen so far.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct LiveLease {
    /// Whoever watches next has a higher one.
    pub epoch: i64,
    /// The state that was saved last.
    pub state: Option<Vec<u8>>,
}

impl Ledger {
    /// Becomes the one who watches, unless somebody else was seen within `silence`.
    ///
    /// # Errors
    /// What keeps the database from writing.
    pub async fn watch_live(&self, silence: Duration) -> Result<Option<LiveLease>, StreamError> {
        let sql = "INSERT INTO impactiq_stream_live (stream, epoch, owner, seen_at) VALUES ($1, 1, $2, $3) \
            ON CONFLICT (stream) DO UPDATE SET epoch = impactiq_stream_live.epoch + 1, owner = excluded.owner, \
            seen_at = excluded.seen_at \
            WHERE impactiq_stream_live.seen_at < $4 OR impactiq_stream_live.owner = excluded.owner \
            RETURNING epoch, state";
        let now = unix_micros();
        let silent_since = now.saturating_sub(i64::try_from(silence.as_micros()).unwrap_or(i64::MAX));
        let mut transaction = self.database.begin().await?;
        let lease = either!(transaction, inner => {
            sqlx::query_as::<_, LiveLease>(sql).bind(self.stream).bind(&self.owner).bind(now).bind(silent_since)
                .fetch_optional(&mut **inner).await
        });
        let lease = lease.map_err(|error| self.database.fault("asking who watches", error))?;
        transaction.commit(&self.database).await?;
        Ok(lease)
    }

    /// Saves what was seen (`None`: nothing new), and is seen; false when somebody else watches by now.
    ///
    /// # Errors
    /// What keeps the database from writing.
    pub async fn save_live(&self, epoch: i64, state: Option<&[u8]>) -> Result<bool, StreamError> {
        let sql = "UPDATE impactiq_stream_live SET state = COALESCE($4, state), seen_at = $3 \
            WHERE stream = $1 AND epoch = $2";
        let mut transaction = self.database.begin().await?;
        let n = either!(transaction, inner => {
            sqlx::query(sql).bind(self.stream).bind(epoch).bind(unix_micros()).bind(state)
                .execute(&mut **inner).await.map(|done| done.rows_affected())
        });
        let n = n.map_err(|error| self.database.fault("saving live uplift", error))?;
        transaction.commit(&self.database).await?;
        Ok(n == 1)
    }

    /// What whoever watches saved last.
    ///
    /// # Errors
    /// What keeps the database from reading.
    pub async fn live_state(&self) -> Result<Option<Vec<u8>>, StreamError> {
        let sql = "SELECT state FROM impactiq_stream_live WHERE stream = $1";
        let state: Result<Option<Option<Vec<u8>>>, sqlx::Error> = either_pool!(self.database, pool => {
            sqlx::query_scalar(sql).bind(self.stream).fetch_optional(pool).await
        });
        Ok(state.map_err(|error| self.database.fault("reading live uplift", error))?.flatten())
    }
}
