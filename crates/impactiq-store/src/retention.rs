//! Forgetting: deletes requests older than a moment, in small transactions so that writing goes on between
//! them. Models are few and stay.

use sqlx::FromRow;

use crate::database::{Database, InnerTransaction};
use crate::error::StoreError;

const DOING: &str = "deleting old rows";
/// Rows of one transaction (one request may have more).
const ROWS_AT_ONCE: i64 = 5_000;

#[derive(FromRow)]
struct Old {
    request: i64,
    n_rows: i64,
}

const OLD: &str = "SELECT request, n_rows FROM impactiq_requests WHERE received_at < $1 \
    ORDER BY received_at, request LIMIT 5000";

/// Deletes what was received before a moment (microseconds since 1970-01-01T00:00:00Z); returns how many
/// rows there were.
pub(crate) async fn delete_before(database: &Database, moment: i64) -> Result<u64, StoreError> {
    let mut n_rows = 0;
    loop {
        let (requests, rows) = delete_some(database, moment).await?;
        n_rows += rows;
        if requests == 0 {
            return Ok(n_rows);
        }
        tokio::task::yield_now().await;
    }
}

/// Deletes the oldest few; returns how many requests and rows.
async fn delete_some(database: &Database, moment: i64) -> Result<(u64, u64), StoreError> {
    let fault = |error| database.fault(DOING, error);
    let mut transaction = database.begin().await?;
    let old: Vec<Old> = match &mut transaction.inner {
        InnerTransaction::Sqlite(inner) => sqlx::query_as(OLD).bind(moment).fetch_all(&mut **inner).await,
        InnerTransaction::Postgresql(inner) => sqlx::query_as(OLD).bind(moment).fetch_all(&mut **inner).await,
    }
    .map_err(fault)?;
    let requests = first_few(&old);
    if requests.is_empty() {
        return Ok((0, 0));
    }
    let rows = match &mut transaction.inner {
        InnerTransaction::Sqlite(inner) => {
            let list = serde_json::to_string(&requests).unwrap_or_default();
            let rows = sqlx::query("DELETE FROM impactiq_scores WHERE request IN (SELECT value FROM json_each($1))")
                .bind(&list)
                .execute(&mut **inner)
                .await
                .map_err(fault)?
                .rows_affected();
            sqlx::query("DELETE FROM impactiq_requests WHERE request IN (SELECT value FROM json_each($1))")
                .bind(&list)
                .execute(&mut **inner)
                .await
                .map_err(fault)?;
            rows
        }
        InnerTransaction::Postgresql(inner) => {
            let rows = sqlx::query("DELETE FROM impactiq_scores WHERE request = ANY($1)")
                .bind(&requests)
                .execute(&mut **inner)
                .await
                .map_err(fault)?
                .rows_affected();
            sqlx::query("DELETE FROM impactiq_requests WHERE request = ANY($1)")
                .bind(&requests)
                .execute(&mut **inner)
                .await
                .map_err(fault)?;
            rows
        }
    };
    transaction.commit(database).await?;
    Ok((requests.len() as u64, rows))
}

/// The oldest requests that together have few enough rows, but at least one.
fn first_few(old: &[Old]) -> Vec<i64> {
    let mut n_rows = 0;
    old.iter()
        .enumerate()
        .take_while(|(index, old)| {
            n_rows += old.n_rows.max(1);
            *index == 0 || n_rows <= ROWS_AT_ONCE
        })
        .map(|(_, old)| old.request)
        .collect()
}
