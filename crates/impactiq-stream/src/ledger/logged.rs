//! Scores that are in the log already, found again by their offsets: what must be sent once more.

use impactiq_store::Dialect;
use sqlx::FromRow;

use super::{Ledger, either_pool};
use crate::error::StreamError;

/// How an offset of 0 is written in a name.
const NO_OFFSET: &str = "00000000000000000000";

/// The last request of a stream between two names.
macro_rules! begins {
    ($name:literal) => {
        concat!(
            "SELECT r.request_id FROM impactiq_requests r WHERE r.door = 'stream' AND ",
            $name,
            " >= $1 AND ",
            $name,
            " <= $2 ORDER BY ",
            $name,
            " DESC LIMIT 1"
        )
    };
}
/// The rows of a stream's requests between two names.
macro_rules! between {
    ($name:literal) => {
        concat!(
            "SELECT r.request_id, m.id AS model, s.row_index, CAST(s.scores AS TEXT) AS scores, s.error \
             FROM impactiq_requests r JOIN impactiq_models m ON m.model = r.model \
             JOIN impactiq_scores s ON s.request = r.request WHERE r.door = 'stream' AND ",
            $name,
            " >= $1 AND ",
            $name,
            " <= $2 ORDER BY ",
            $name,
            ", s.row_index"
        )
    };
}

/// A row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedScore {
    /// The event's offset.
    pub offset: i64,
    /// The model that answered.
    pub model: String,
    /// What was answered, byte for byte.
    pub scores: String,
    /// True for a dead letter.
    pub error: bool,
}

#[derive(FromRow)]
struct Found {
    request_id: String,
    model: String,
    row_index: i64,
    scores: String,
    error: bool,
}

impl Ledger {
    /// What the log has of a partition from one offset up to (not including) another, in order.
    ///
    /// # Errors
    /// What keeps the database from reading.
    pub async fn logged(&self, partition: i32, from: i64, before: i64) -> Result<Vec<LoggedScore>, StreamError> {
        let fault = |error| self.database.fault("reading scores again", error);
        let (none, first, last) = (
            self.request_id(partition, 0),
            self.request_id(partition, from),
            self.request_id(partition, before.saturating_sub(1).max(0)),
        );
        let [begins, between] = match self.database.dialect() {
            Dialect::Sqlite => [begins!("r.request_id"), between!("r.request_id")],
            Dialect::Postgresql => [begins!("r.request_id COLLATE \"C\""), between!("r.request_id COLLATE \"C\"")],
        };
        // The batch that holds the first event may have begun before it.
        let begins: Option<String> = either_pool!(self.database, pool => {
            sqlx::query_scalar(begins).bind(&none).bind(&first).fetch_optional(pool).await
        })
        .map_err(fault)?;
        let from_request = begins.unwrap_or(first);
        let rows: Vec<Found> = either_pool!(self.database, pool => {
            sqlx::query_as::<_, Found>(between).bind(&from_request).bind(&last).fetch_all(pool).await
        })
        .map_err(fault)?;
        let ours = self.request_id(partition, 0);
        let prefix = ours.strip_suffix(NO_OFFSET).unwrap_or(&ours);
        let offset = |found: &Found| {
            let began = found.request_id.strip_prefix(prefix).and_then(|text| text.parse::<i64>().ok());
            began.map(|began| began.saturating_add(found.row_index))
        };
        // Whatever the database's order of text: a name that is not this partition's is none of ours.
        let scores = rows.into_iter().filter_map(|found| {
            let offset = offset(&found)?;
            Some(LoggedScore { offset, model: found.model, scores: found.scores, error: found.error })
        });
        Ok(scores.filter(|score| (from..before).contains(&score.offset)).collect())
    }
}
