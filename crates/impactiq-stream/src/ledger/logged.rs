//! Scores that are in the log already, found again by their offsets: what must be sent once more.

use sqlx::FromRow;

use super::{Ledger, either_pool};
use crate::error::StreamError;

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
        // The batch that holds the first event may have begun before it.
        let begins = "SELECT MAX(request_id) FROM impactiq_requests WHERE request_id >= $1 AND request_id <= $2";
        let begins: Option<String> = either_pool!(self.database, pool => {
            sqlx::query_scalar(begins).bind(&none).bind(&first).fetch_one(pool).await
        })
        .map_err(fault)?;
        let sql = "SELECT r.request_id, m.id AS model, s.row_index, CAST(s.scores AS TEXT) AS scores, s.error \
            FROM impactiq_requests r JOIN impactiq_models m ON m.model = r.model \
            JOIN impactiq_scores s ON s.request = r.request \
            WHERE r.request_id >= $1 AND r.request_id <= $2 ORDER BY r.request_id, s.row_index";
        let from_request = begins.unwrap_or(first);
        let rows: Vec<Found> = either_pool!(self.database, pool => {
            sqlx::query_as::<_, Found>(sql).bind(&from_request).bind(&last).fetch_all(pool).await
        })
        .map_err(fault)?;
        let offset = |found: &Found| {
            let began = found.request_id.rsplit('/').next().and_then(|text| text.parse::<i64>().ok());
            began.map_or(i64::MAX, |began| began.saturating_add(found.row_index))
        };
        let scores = rows.into_iter().map(|found| LoggedScore {
            offset: offset(&found),
            model: found.model,
            scores: found.scores,
            error: found.error,
        });
        Ok(scores.filter(|score| (from..before).contains(&score.offset)).collect())
    }
}
