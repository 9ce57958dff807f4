//! Writing requests with their rows into a transaction: many rows a statement, each request once.
//!
//! When and how often is somebody else's business; see `writer` for the score log's own.

use std::collections::HashMap;

use crate::database::{Database, InnerTransaction, Pool, WriteTransaction};
use crate::entry::{LoggedRequest, Recorded, Seen};
use crate::error::StoreError;

mod postgresql;
mod sqlite;
mod stored;

pub(crate) use postgresql::without_nul;

const DOING: &str = "writing rows";

/// Writes requests; nothing is permanent before the transaction commits.
///
/// Requests whose name is taken (before, or by one above them) are not written. Returned is what became of
/// each, in order.
///
/// # Errors
/// [`StoreError::BadRows`] where a request is not what the tables can hold (a row number twice),
/// else what keeps the database from writing.
pub async fn insert(
    database: &Database,
    transaction: &mut WriteTransaction,
    requests: &[&LoggedRequest],
) -> Result<Vec<Recorded>, StoreError> {
    insert_numbered(database, transaction, requests, None).await
}

/// As [`insert`], with numbers from [`reserve`]: writing the same requests again under the same numbers,
/// after a commit that may or may not have happened, writes them once.
pub(crate) async fn insert_numbered(
    database: &Database,
    transaction: &mut WriteTransaction,
    requests: &[&LoggedRequest],
    numbers: Option<&[i64]>,
) -> Result<Vec<Recorded>, StoreError> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let mut models = HashMap::new();
    for request in requests {
        let key = (request.model_name.as_str(), request.model_id.as_str());
        if !models.contains_key(&key) {
            let number = match &mut transaction.inner {
                InnerTransaction::Sqlite(inner) => sqlite::model(inner, key).await,
                InnerTransaction::Postgresql(inner) => postgresql::model(inner, key).await,
            };
            models.insert(key, number.map_err(|error| database.fault(DOING, error))?);
        }
    }
    let models: Vec<i64> = requests.iter().map(|r| models[&(r.model_name.as_str(), r.model_id.as_str())]).collect();
    let inserted = match &mut transaction.inner {
        InnerTransaction::Sqlite(inner) => sqlite::insert(inner, requests, &models).await,
        InnerTransaction::Postgresql(inner) => postgresql::insert(inner, requests, &models, numbers).await,
    };
    inserted.map_err(|error| database.fault(DOING, error))
}

/// Numbers for requests of a PostgreSQL database; SQLite gives them while it writes.
pub(crate) async fn reserve(database: &Database, n: usize) -> Result<Option<Vec<i64>>, StoreError> {
    let Pool::Postgresql(pool) = database.pool() else { return Ok(None) };
    let numbers = postgresql::reserve(pool, n).await;
    numbers.map(Some).map_err(|error| database.fault(DOING, error))
}

/// What stands under a request's name.
pub(crate) async fn find(database: &Database, request_id: &str) -> Result<Option<Seen>, StoreError> {
    let stored = match database.pool() {
        Pool::Sqlite(pool) => {
            let mut connection = pool.acquire().await.map_err(|error| database.fault("looking up", error))?;
            sqlite::stored(&mut connection, request_id).await
        }
        Pool::Postgresql(pool) => {
            let mut connection = pool.acquire().await.map_err(|error| database.fault("looking up", error))?;
            postgresql::stored(&mut connection, request_id).await
        }
    };
    Ok(stored.map_err(|error| database.fault("looking up", error))?.map(|stored| stored.seen))
}
