//! Reading the log page by page, newest first.
//!
//! Pages are cut by key, not by offset: rows that arrive between two pages neither repeat
//! nor hide others, and the thousandth page costs what the first did.

use std::cmp::Reverse;
use std::str::FromStr;

use sqlx::AssertSqlSafe;

use crate::database::{Database, Pool};
use crate::entry::LoggedRow;
use crate::error::StoreError;
use crate::insert::without_nul;

/// The most rows of a page.
pub const MAX_PAGE_ROWS: usize = 10_000;
const DEFAULT_PAGE_ROWS: usize = 100;
/// The most models that are asked one by one.
const MODELS_ONE_BY_ONE: usize = 16;
const DOING: &str = "reading the log";

/// Which rows to show. Everything left out means "any".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Rows of this request.
    pub request_id: Option<String>,
    /// Rows with this identifier of the caller's.
    pub id: Option<String>,
    /// Rows of the model with this name or identifier.
    pub model: Option<String>,
    /// Received at this moment or later, in microseconds since 1970-01-01T00:00:00Z.
    pub from: Option<i64>,
    /// Received before this moment.
    pub to: Option<i64>,
    /// The `next` of the page before.
    pub after: Option<String>,
    /// Rows of the page, at most [`MAX_PAGE_ROWS`]; 0 means 100.
    pub limit: usize,
}

/// Some rows of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Newest requests first; the rows of a request in their order.
    pub rows: Vec<StoredScore>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// A row of the log with its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredScore {
    /// The caller's name of the request.
    pub request_id: Option<String>,
    /// When it came, in microseconds since 1970-01-01T00:00:00Z.
    pub received_at: i64,
    /// The model's name.
    pub model_name: String,
    /// The model's identifier.
    pub model_id: String,
    /// The door, by name.
    pub door: String,
    /// The row and its scores.
    pub row: LoggedRow,
}

/// Reads a page.
pub(crate) async fn query(database: &Database, query: &Query) -> Result<Page, StoreError> {
    let cursor = query.after.as_deref().map(Cursor::from_str).transpose()?;
    let limit = match query.limit {
        0 => DEFAULT_PAGE_ROWS,
        limit => limit.min(MAX_PAGE_ROWS),
    };
    let mut found = Vec::new();
    for models in model_groups(database, query).await? {
        let (sql, values) = select(query, &models, cursor, limit + 1);
        found.extend(fetch(database, sql, values).await?);
    }
    found.sort_by_key(|row| (Reverse(row.received_at), Reverse(row.request), row.row_index));
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found
        .last()
        .filter(|_| more)
        .map(|last| Cursor { received_at: last.received_at, request: last.request, row: last.row_index }.to_string());
    Ok(Page { rows: found.into_iter().map(Found::score).collect(), next })
}

/// Which models each statement asks for; none means any.
///
/// The index by model and time gives the newest rows of one model without looking at others, so a few models
/// are asked one by one. Many, or those of a caller's identifier, are told apart row by row.
async fn model_groups(database: &Database, query: &Query) -> Result<Vec<Models>, StoreError> {
    let Some(model) = &query.model else { return Ok(vec![Models::Any]) };
    let sql = "SELECT model FROM impactiq_models WHERE name = $1 OR id = $1 ORDER BY model";
    let numbers: Result<Vec<i64>, _> = match database.pool() {
        Pool::Sqlite(pool) => sqlx::query_scalar(sql).bind(model).fetch_all(pool).await,
        Pool::Postgresql(pool) => sqlx::query_scalar(sql).bind(without_nul(model)).fetch_all(pool).await,
    };
    let numbers = numbers.map_err(|error| database.fault(DOING, error))?;
    let few = query.id.is_none() && query.request_id.is_none() && numbers.len() <= MODELS_ONE_BY_ONE;
    Ok(match few {
        _ if numbers.is_empty() => Vec::new(),
        true => numbers.into_iter().map(Models::One).collect(),
        false => vec![Models::AnyOf(numbers)],
    })
}

async fn fetch(database: &Database, sql: String, values: Vec<Value>) -> Result<Vec<Found>, StoreError> {
    let found = match database.pool() {
        Pool::Sqlite(pool) => {
            let mut rows = sqlx::query_as::<_, Found>(AssertSqlSafe(sql));
            for value in values {
                rows = match value {
                    Value::Text(text) => rows.bind(text),
                    Value::Integer(number) => rows.bind(number),
                };
            }
            rows.fetch_all(pool).await
        }
        Pool::Postgresql(pool) => {
            let mut rows = sqlx::query_as::<_, Found>(AssertSqlSafe(sql));
            for value in values {
                rows = match value {
                    Value::Text(text) => rows.bind(without_nul(&text)),
                    Value::Integer(number) => rows.bind(number),
                };
            }
            rows.fetch_all(pool).await
        }
    };
    found.map_err(|error| database.fault(DOING, error))
}

/// Models of a statement.
#[derive(Debug, PartialEq)]
enum Models {
    Any,
    One(i64),
    AnyOf(Vec<i64>),
}

/// A value in the place of `$1`, `$2` …
#[derive(Debug, PartialEq)]
enum Value {
    Text(String),
    Integer(i64),
}

/// The statement of a page; both dialects read it.
fn select(query: &Query, models: &Models, cursor: Option<Cursor>, limit: usize) -> (String, Vec<Value>) {
    let mut values = Vec::new();
    let mut conditions = vec!["s.request = r.request".to_owned()];
    let mut place = |value: Value| {
        values.push(value);
        format!("${}", values.len())
    };
    if let Some(id) = &query.request_id {
        conditions.push(format!("r.request_id = {}", place(Value::Text(id.clone()))));
    }
    if let Some(id) = &query.id {
        conditions.push(format!("s.id = {}", place(Value::Text(id.clone()))));
    }
    match models {
        Models::Any => {}
        Models::One(model) => conditions.push(format!("r.model = {}", place(Value::Integer(*model)))),
        Models::AnyOf(models) => {
            let list: Vec<String> = models.iter().map(|model| place(Value::Integer(*model))).collect();
            // The sign keeps the index by model out of it: its rows would have to be sorted by time.
            conditions.push(format!("+r.model IN ({})", list.join(", ")));
        }
    }
    if let Some(from) = query.from {
        conditions.push(format!("r.received_at >= {}", place(Value::Integer(from))));
    }
    if let Some(to) = query.to {
        conditions.push(format!("r.received_at < {}", place(Value::Integer(to))));
    }
    if let Some(cursor) = cursor {
        let at = place(Value::Integer(cursor.received_at));
        let request = place(Value::Integer(cursor.request));
        let row = place(Value::Integer(cursor.row));
        // The first condition is implied by the second; an index understands it.
        conditions.push(format!("r.received_at <= {at}"));
        conditions.push(format!(
            "(r.received_at < {at} OR r.request < {request} OR (r.request = {request} AND s.row_index > {row}))"
        ));
    }
    let condition = conditions.join(" AND ");
    // The newest requests lead to their rows; with an identifier it is the other way round. SQLite keeps to
    // the order of a CROSS JOIN; PostgreSQL knows how many rows there are and finds its own.
    let tables = match query.id {
        None => "impactiq_requests r CROSS JOIN impactiq_scores s",
        Some(_) => "impactiq_scores s CROSS JOIN impactiq_requests r",
    };
    let limit = place(Value::Integer(limit as i64));
    let sql = format!(
        "SELECT r.request, r.request_id, r.received_at, r.door, m.name, m.id AS model_id, \
         s.row_index, s.id, CAST(s.scores AS TEXT) AS scores, s.error \
         FROM {tables} JOIN impactiq_models m ON m.model = r.model \
         WHERE {condition} ORDER BY r.received_at DESC, r.request DESC, s.row_index LIMIT {limit}"
    );
    (sql, values)
}

#[derive(sqlx::FromRow)]
struct Found {
    request: i64,
    request_id: Option<String>,
    received_at: i64,
    door: String,
    name: String,
    model_id: String,
    row_index: i64,
    id: Option<String>,
    scores: String,
    error: bool,
}

impl Found {
    fn score(self) -> StoredScore {
        StoredScore {
            request_id: self.request_id,
            received_at: self.received_at,
            model_name: self.name,
            model_id: self.model_id,
            door: self.door,
            row: LoggedRow {
                row: u32::try_from(self.row_index).unwrap_or(u32::MAX),
                id: self.id,
                scores: self.scores,
                error: self.error,
            },
        }
    }
}

/// The last row of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    received_at: i64,
    request: i64,
    row: i64,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.received_at, self.request, self.row)
    }
}

impl FromStr for Cursor {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let refused = || StoreError::BadCursor { cursor: text.chars().take(80).collect() };
        let numbers: Vec<i64> = text.split('.').map(str::parse).collect::<Result<_, _>>().map_err(|_| refused())?;
        match numbers[..] {
            [received_at, request, row] => Ok(Cursor { received_at, request, row }),
            _ => Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        let cursor = Cursor { received_at: -5, request: 7, row: 2 };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        for text in ["", "1.2", "1.2.3.4", "a.b.c", "1.2.3;"] {
            assert!(matches!(text.parse::<Cursor>(), Err(StoreError::BadCursor { .. })), "{text}");
        }
    }

    #[test]
    fn what_a_caller_writes_is_a_value_and_never_sql() {
        let wanted = Query { id: Some("'; DROP TABLE impactiq_scores; --".into()), ..Query::default() };
        let (sql, values) = select(&wanted, &Models::Any, None, 11);
        assert!(!sql.contains("DROP"), "{sql}");
        assert_eq!(values, [Value::Text(wanted.id.unwrap()), Value::Integer(11)]);
    }
}
