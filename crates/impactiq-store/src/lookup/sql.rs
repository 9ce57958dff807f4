//! Look-up tables from a query on SQLite or PostgreSQL. The query only reads: the connection is one that
//! cannot write.

use std::time::Duration;

use futures_util::TryStreamExt;
use impactiq_data::Schema;
use impactiq_io::json_rows_to_batch;
use serde_json::{Map, Number, Value};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Column, Connection, PgConnection, Row, SqliteConnection, TypeInfo, ValueRef};

use crate::database::{Address, fault, sqlite_reader};
use crate::error::StoreError;
use crate::lookup::files::wanted;
use crate::lookup::table::{Table, TableBuilder, key_schema};

/// How messages name the source.
const SOURCE: &str = "query";
const DOING: &str = "running the look-up's query";
const PATIENCE: Duration = Duration::from_secs(600);
/// Rows that are JSON at once.
const BLOCK_ROWS: usize = 8192;

/// Runs the query and keeps the columns of a model, by key.
pub(super) async fn read(url: &str, query: &str, key: &str, model: &Schema) -> Result<Table, StoreError> {
    let address = Address::parse(url)?;
    let place = address.place();
    let query = query.trim().trim_end_matches(';');
    let mut reading = Reading { key, model, table: None, block: Vec::new() };
    let work = async {
        match &address {
            Address::Sqlite(path) => from_sqlite(&sqlite_reader(path), query, &mut reading).await,
            Address::Postgresql(options) => from_postgresql(options, query, &mut reading).await,
        }
    };
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(())) => reading.finish(),
        Ok(Err(Failure::Driver(error))) => Err(fault(&place, DOING, error)),
        Ok(Err(Failure::Rows(error))) => Err(error),
        Err(_) => Err(StoreError::TimedOut { place, doing: DOING, limit: PATIENCE }),
    }
}

enum Failure {
    Driver(sqlx::Error),
    Rows(StoreError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Failure::Driver(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Rows(error)
    }
}

async fn from_sqlite(options: &SqliteConnectOptions, query: &str, reading: &mut Reading<'_>) -> Result<(), Failure> {
    let mut connection = SqliteConnection::connect_with(options).await?;
    {
        // What the operator wrote into the settings is a query by intention.
        let mut rows = sqlx::query(AssertSqlSafe(query.to_owned())).fetch(&mut connection);
        while let Some(row) = rows.try_next().await? {
            reading.push(object_of(&row)?)?;
        }
    }
    connection.close().await?;
    Ok(())
}

/// SQLite's values have types of their own, whatever their column was declared as.
fn object_of(row: &SqliteRow) -> Result<Value, Failure> {
    let mut object = Map::with_capacity(row.len());
    for (index, column) in row.columns().iter().enumerate() {
        let raw = row.try_get_raw(index)?;
        let value = match raw.type_info().name() {
            _ if raw.is_null() => Value::Null,
            "INTEGER" | "BOOLEAN" => Value::from(row.try_get_unchecked::<i64, _>(index)?),
            "REAL" => Number::from_f64(row.try_get_unchecked::<f64, _>(index)?).map_or(Value::Null, Value::Number),
            // Lists fit no column: the cast says so with the column's name.
            "BLOB" => Value::Array(Vec::new()),
            _ => Value::from(row.try_get_unchecked::<String, _>(index)?),
        };
        object.insert(column.name().to_owned(), value);
    }
    Ok(Value::Object(object))
}

async fn from_postgresql(
    options: &sqlx::postgres::PgConnectOptions,
    query: &str,
    reading: &mut Reading<'_>,
) -> Result<(), Failure> {
    let mut connection = PgConnection::connect_with(options).await?;
    {
        let mut transaction = connection.begin_with("BEGIN READ ONLY").await?;
        // As JSON every type of the server comes over, numerics with all their digits. The line
        // break ends a comment at the end of the query.
        let sql = format!("SELECT CAST(row_to_json(looked_up) AS TEXT) FROM (\n{query}\n) AS looked_up");
        let mut rows = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch(&mut *transaction);
        while let Some(text) = rows.try_next().await? {
            let row = serde_json::from_str(&text).map_err(|error| sqlx::Error::Decode(error.into()))?;
            reading.push(row)?;
        }
    }
    connection.close().await?;
    Ok(())
}

/// Rows on their way into a table.
struct Reading<'a> {
    key: &'a str,
    model: &'a Schema,
    /// Made when the first row tells the columns.
    table: Option<(Schema, TableBuilder, u64)>,
    block: Vec<Value>,
}

impl Reading<'_> {
    fn push(&mut self, row: Value) -> Result<(), StoreError> {
        if self.table.is_none() {
            let names: Vec<String> = row.as_object().map(|o| o.keys().cloned().collect()).unwrap_or_default();
            if !names.iter().any(|name| name == self.key) {
                let error = impactiq_data::DataError::missing_column(self.key, &names);
                return Err(impactiq_io::IoError::from(error).into());
            }
            let columns = wanted(SOURCE, self.key, self.model, &names)?;
            let table = TableBuilder::new(SOURCE.to_owned(), self.key.to_owned(), columns.clone());
            self.table = Some((columns, table, 0));
        }
        self.block.push(row);
        if self.block.len() >= BLOCK_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let Some((columns, table, n_rows)) = &mut self.table else { return Ok(()) };
        let (keys, _) = json_rows_to_batch(&self.block, &key_schema(self.key)?)?;
        let (rows, errors) = json_rows_to_batch(&self.block, columns)?;
        if let Some(mut error) = errors.into_iter().next() {
            error.row += *n_rows;
            return Err(StoreError::BadCell { source_name: SOURCE.into(), error });
        }
        *n_rows += self.block.len() as u64;
        self.block.clear();
        table.push(keys.column(0), rows)
    }

    fn finish(mut self) -> Result<Table, StoreError> {
        self.flush()?;
        match self.table {
            Some((_, table, _)) => table.finish(),
            None => {
                let error = impactiq_data::DataError::NoRows { after: None };
                Err(impactiq_io::IoError::from(error).into())
            }
        }
    }
}
