//! What both dialects share: requests under their numbers, what stands under a name, and what that means for
//! a retry.

use crate::entry::{LoggedRequest, LoggedRow, Recorded, Seen};

/// Which requests to write, under which numbers.
pub(super) struct Numbered<'a> {
    pub requests: &'a [&'a LoggedRequest],
    pub numbers: Vec<i64>,
    /// False where the name is taken.
    pub written: Vec<bool>,
}

impl<'a> Numbered<'a> {
    pub fn rows(&self) -> impl Iterator<Item = (i64, &'a LoggedRow)> + '_ {
        let written = self.requests.iter().zip(&self.numbers).zip(&self.written);
        written
            .filter(|(_, written)| **written)
            .flat_map(|((request, number), _)| request.rows.iter().map(move |row| (*number, row)))
    }

    /// Marks as written the requests whose number is there, and no others.
    pub fn mark(&mut self, mut there: Vec<i64>) {
        there.sort_unstable();
        for (number, written) in self.numbers.iter().zip(&mut self.written) {
            *written = there.binary_search(number).is_ok();
        }
    }
}

/// A request as it stands in the database.
pub(super) struct Stored {
    pub request: i64,
    pub seen: Seen,
}

/// Tells a retry from the first attempt and from another request of the same name.
///
/// # Errors
/// `RowNotFound` when retention took the other request away in between; the next attempt writes this one.
pub(super) fn judge(request: &LoggedRequest, number: i64, stored: Option<Stored>) -> Result<Recorded, sqlx::Error> {
    let stored = stored.ok_or(sqlx::Error::RowNotFound)?;
    Ok(if stored.request == number {
        // Its own number: an earlier attempt was committed after all.
        Recorded::Written
    } else if stored.seen.conflicts_with(request.body_sha256.as_ref()) {
        Recorded::Conflict
    } else {
        Recorded::Seen(stored.seen)
    })
}

/// A request by its name.
pub(super) const HEAD: &str = "SELECT r.request, r.received_at, r.body_sha256, m.name, m.id \
    FROM impactiq_requests r JOIN impactiq_models m ON m.model = r.model WHERE r.request_id = $1";

/// Its rows. The cast is for PostgreSQL, whose column is json.
pub(super) const ROWS: &str = "SELECT row_index, id, CAST(scores AS TEXT) AS scores, error \
    FROM impactiq_scores WHERE request = $1 ORDER BY row_index";

/// What [`HEAD`] gives.
#[derive(sqlx::FromRow)]
pub(super) struct Head {
    pub request: i64,
    received_at: i64,
    body_sha256: Option<Vec<u8>>,
    name: String,
    id: String,
}

/// What [`ROWS`] gives.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    row_index: i64,
    id: Option<String>,
    scores: String,
    error: bool,
}

impl Head {
    pub fn with(self, rows: Vec<Row>) -> Stored {
        let rows = rows
            .into_iter()
            .map(|row| LoggedRow {
                row: u32::try_from(row.row_index).unwrap_or(u32::MAX),
                id: row.id,
                scores: row.scores,
                error: row.error,
            })
            .collect();
        let seen = Seen {
            rows,
            model_name: self.name,
            model_id: self.id,
            received_at: self.received_at,
            body_sha256: self.body_sha256.and_then(|hash| hash.try_into().ok()),
        };
        Stored { request: self.request, seen }
    }
}
