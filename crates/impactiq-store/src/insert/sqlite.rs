//! Writing to SQLite: one statement for many rows, of a few sizes that are prepared once.

use sqlx::{AssertSqlSafe, Sqlite, SqliteConnection, Transaction};

use crate::entry::{LoggedRequest, LoggedRow, Recorded};
use crate::insert::stored::{HEAD, Head, Numbered, ROWS, Row, Stored, judge};

/// Rows of one statement on SQLite. A few sizes only, so that each is prepared once. The largest is small on
/// purpose: between two statements others have their turn, on this thread and on that of the file.
const CHUNKS: [usize; 3] = [64, 8, 1];

pub(super) async fn model(connection: &mut SqliteConnection, (name, id): (&str, &str)) -> Result<i64, sqlx::Error> {
    let find = "SELECT model FROM impactiq_models WHERE name = $1 AND id = $2";
    if let Some(model) = sqlx::query_scalar(find).bind(name).bind(id).fetch_optional(&mut *connection).await? {
        return Ok(model);
    }
    let add = "INSERT INTO impactiq_models (name, id) VALUES ($1, $2) RETURNING model";
    sqlx::query_scalar(add).bind(name).bind(id).fetch_one(connection).await
}

pub(super) async fn insert(
    inner: &mut Transaction<'static, Sqlite>,
    requests: &[&LoggedRequest],
    models: &[i64],
) -> Result<Vec<Recorded>, sqlx::Error> {
    // The write lock is held, so nobody else gives out numbers.
    let last: Option<i64> = sqlx::query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'impactiq_requests'")
        .fetch_optional(&mut **inner)
        .await?;
    let first = last.unwrap_or(0) + 1;
    let numbers: Vec<i64> = (first..first + requests.len() as i64).collect();
    let mut batch = Numbered { requests, written: vec![true; requests.len()], numbers };

    let mut n_written = 0;
    for (start, len) in chunks(requests.len()) {
        let sql = insert_sql(
            "INSERT INTO impactiq_requests (request, request_id, body_sha256, received_at, model, door, n_rows)",
            7,
            len,
            " ON CONFLICT DO NOTHING",
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for index in start..start + len {
            let request = requests[index];
            query = query
                .bind(batch.numbers[index])
                .bind(request.request_id.as_deref())
                .bind(request.body_sha256.as_ref().map(|hash| &hash[..]))
                .bind(request.received_at)
                .bind(models[index])
                .bind(request.door.name())
                .bind(request.rows.len() as i64);
        }
        n_written += query.execute(&mut **inner).await?.rows_affected();
        tokio::task::yield_now().await;
    }
    if n_written < requests.len() as u64 {
        let there: Vec<i64> = sqlx::query_scalar("SELECT request FROM impactiq_requests WHERE request >= $1")
            .bind(first)
            .fetch_all(&mut **inner)
            .await?;
        batch.mark(there);
    }
    insert_rows(inner, &batch).await?;

    let mut recorded = Vec::with_capacity(requests.len());
    for (index, request) in requests.iter().enumerate() {
        recorded.push(match (&request.request_id, batch.written[index]) {
            (Some(id), false) => judge(request, batch.numbers[index], stored(inner, id).await?)?,
            _ => Recorded::Written,
        });
    }
    Ok(recorded)
}

async fn insert_rows(inner: &mut Transaction<'static, Sqlite>, batch: &Numbered<'_>) -> Result<(), sqlx::Error> {
    let rows: Vec<(i64, &LoggedRow)> = batch.rows().collect();
    for (start, len) in chunks(rows.len()) {
        let sql = insert_sql("INSERT INTO impactiq_scores (request, row_index, id, scores, error)", 5, len, "");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (number, row) in &rows[start..start + len] {
            query = query
                .bind(*number)
                .bind(i64::from(row.row))
                .bind(row.id.as_deref())
                .bind(row.scores.as_str())
                .bind(row.error);
        }
        query.execute(&mut **inner).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

pub(super) async fn stored(connection: &mut SqliteConnection, request_id: &str) -> Result<Option<Stored>, sqlx::Error> {
    let Some(head) = sqlx::query_as::<_, Head>(HEAD).bind(request_id).fetch_optional(&mut *connection).await? else {
        return Ok(None);
    };
    let rows = sqlx::query_as::<_, Row>(ROWS).bind(head.request).fetch_all(connection).await?;
    Ok(Some(head.with(rows)))
}

/// Cuts `n` rows into chunks of the few sizes of [`CHUNKS`], as start and length.
fn chunks(n: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let len = *CHUNKS.iter().find(|len| **len <= n - start)?;
        start += len;
        Some((start - len, len))
    })
}

fn insert_sql(head: &str, n_columns: usize, n_rows: usize, tail: &str) -> String {
    let row = format!("({}?)", "?,".repeat(n_columns - 1));
    let mut sql = String::with_capacity(head.len() + n_rows * (row.len() + 1) + tail.len() + 8);
    sql.push_str(head);
    sql.push_str(" VALUES ");
    for index in 0..n_rows {
        if index > 0 {
            sql.push(',');
        }
        sql.push_str(&row);
    }
    sql.push_str(tail);
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_number_of_rows_is_cut_into_a_few_sizes() {
        let cut: Vec<_> = chunks(138).collect();
        assert_eq!(cut[..3], [(0, 64), (64, 64), (128, 8)]);
        assert_eq!(cut[3..], [(136, 1), (137, 1)]);
        assert_eq!(chunks(0).count(), 0);
        assert_eq!(insert_sql("INSERT INTO t (a, b)", 2, 2, "!"), "INSERT INTO t (a, b) VALUES (?,?),(?,?)!");
    }
}
