//! Writing to PostgreSQL: one statement for all rows, its columns as arrays.

use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use crate::entry::{LoggedRequest, LoggedRow, Recorded};
use crate::insert::stored::{HEAD, Head, Numbered, ROWS, Row, Stored, judge};

const RESERVE: &str = "SELECT nextval('impactiq_request_numbers') FROM generate_series(1, $1)";

/// Numbers for requests, outside of any transaction.
pub(super) async fn reserve(pool: &PgPool, n: usize) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar(RESERVE).bind(n as i64).fetch_all(pool).await
}

pub(super) async fn model(
    inner: &mut Transaction<'static, Postgres>,
    (name, id): (&str, &str),
) -> Result<i64, sqlx::Error> {
    let find = "SELECT model FROM impactiq_models WHERE name = $1 AND id = $2";
    let add = "INSERT INTO impactiq_models (name, id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    let found = sqlx::query_scalar(find).bind(name).bind(id).fetch_optional(&mut **inner).await?;
    if let Some(model) = found {
        return Ok(model);
    }
    sqlx::query(add).bind(name).bind(id).execute(&mut **inner).await?;
    // Whoever added it: a new statement sees it.
    sqlx::query_scalar(find).bind(name).bind(id).fetch_one(&mut **inner).await
}

const INSERT_REQUESTS: &str = "INSERT INTO impactiq_requests \
    (request, request_id, body_sha256, received_at, model, door, n_rows) \
    SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::bytea[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[]) \
    ON CONFLICT DO NOTHING";

const INSERT_ROWS: &str = "INSERT INTO impactiq_scores (request, row_index, id, scores, error) \
    SELECT request, row_index, id, scores::json, error \
    FROM UNNEST($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::boolean[]) \
    AS new (request, row_index, id, scores, error)";

pub(super) async fn insert(
    inner: &mut Transaction<'static, Postgres>,
    requests: &[&LoggedRequest],
    models: &[i64],
    numbers: Option<&[i64]>,
) -> Result<Vec<Recorded>, sqlx::Error> {
    let numbers: Vec<i64> = match numbers {
        Some(numbers) => numbers.to_vec(),
        None => sqlx::query_scalar(RESERVE).bind(requests.len() as i64).fetch_all(&mut **inner).await?,
    };
    let mut batch = Numbered { requests, written: vec![true; requests.len()], numbers };
    let names: Vec<Option<String>> =
        requests.iter().map(|request| request.request_id.as_deref().map(without_nul)).collect();
    let n_written = sqlx::query(INSERT_REQUESTS)
        .bind(&batch.numbers)
        .bind(&names)
        .bind(requests.iter().map(|r| r.body_sha256.map(|hash| hash.to_vec())).collect::<Vec<_>>())
        .bind(requests.iter().map(|r| r.received_at).collect::<Vec<_>>())
        .bind(models)
        .bind(requests.iter().map(|r| r.door.name()).collect::<Vec<_>>())
        .bind(requests.iter().map(|r| r.rows.len() as i64).collect::<Vec<_>>())
        .execute(&mut **inner)
        .await?
        .rows_affected();
    let mut there_before = Vec::new();
    if n_written < requests.len() as u64 {
        // Numbers of ours that stand there: from now, or from an attempt that was committed after all. The
        // second kind has rows already.
        let rows: Vec<(i64, bool)> = sqlx::query_as(
            "SELECT request, EXISTS (SELECT 1 FROM impactiq_scores s WHERE s.request = r.request) \
             FROM impactiq_requests r WHERE request = ANY($1)",
        )
        .bind(&batch.numbers)
        .fetch_all(&mut **inner)
        .await?;
        there_before = rows.iter().filter(|row| row.1).map(|row| row.0).collect();
        let now = rows.into_iter().filter(|row| !row.1).map(|row| row.0).collect();
        batch.mark(now);
    }
    insert_rows(inner, &batch).await?;

    let mut recorded = Vec::with_capacity(requests.len());
    for (index, request) in requests.iter().enumerate() {
        let own = batch.written[index] || there_before.contains(&batch.numbers[index]);
        recorded.push(match (&names[index], own) {
            (Some(id), false) => judge(request, batch.numbers[index], stored(inner, id).await?)?,
            _ => Recorded::Written,
        });
    }
    Ok(recorded)
}

async fn insert_rows(inner: &mut Transaction<'static, Postgres>, batch: &Numbered<'_>) -> Result<(), sqlx::Error> {
    let rows: Vec<(i64, &LoggedRow)> = batch.rows().collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(INSERT_ROWS)
        .bind(rows.iter().map(|(number, _)| *number).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| i64::from(row.row)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.id.as_deref().map(without_nul)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.scores.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.error).collect::<Vec<_>>())
        .execute(&mut **inner)
        .await?;
    Ok(())
}

pub(super) async fn stored(connection: &mut PgConnection, request_id: &str) -> Result<Option<Stored>, sqlx::Error> {
    let id = without_nul(request_id);
    let Some(head) = sqlx::query_as::<_, Head>(HEAD).bind(id).fetch_optional(&mut *connection).await? else {
        return Ok(None);
    };
    let rows = sqlx::query_as::<_, Row>(ROWS).bind(head.request).fetch_all(connection).await?;
    Ok(Some(head.with(rows)))
}

/// PostgreSQL's text cannot hold the character 0, which JSON can: it becomes the replacement character.
pub(crate) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
