//! The store as its users see it: rows counted, read in order, and held up for a while.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};

use crate::kafka_topics::Failure;

/// Where the log is.
#[derive(Clone, Debug)]
pub enum Store {
    /// A file.
    Sqlite(PathBuf),
    /// A database of a server.
    Postgresql(String),
}

/// A row of the log.
#[derive(Clone, Debug)]
pub struct LoggedScore {
    /// The request it belongs to: the stream's key of its first event.
    pub request_id: String,
    /// Its number in there.
    pub row: i64,
    /// The event's id.
    pub id: Option<String>,
    /// What was answered.
    pub scores: String,
    /// Whether that is an error.
    pub error: bool,
}

const ROWS: &str = "SELECT r.request_id, s.row_index, s.id, CAST(s.scores AS TEXT) AS scores, s.error FROM impactiq_scores s \
                    JOIN impactiq_requests r ON r.request = s.request WHERE r.door = 'stream' ORDER BY r.request, s.row_index";
const COUNT: &str = "SELECT COUNT(*) FROM impactiq_scores";

impl Store {
    /// A new file in the folder, or a new database beside the one of the address.
    pub async fn new(folder: &Path, server: Option<&str>, name: &str) -> Result<Self, Failure> {
        let Some(server) = server else { return Ok(Store::Sqlite(folder.join("log.sqlite"))) };
        let (base, _) = server.rsplit_once('/').ok_or("the address of PostgreSQL names no database")?;
        let mut connection = PgConnection::connect(server).await?;
        for statement in [format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}")] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
        }
        Ok(Store::Postgresql(format!("{base}/{name}")))
    }

    /// As the configuration names it.
    pub fn address(&self) -> String {
        match self {
            Store::Sqlite(path) => format!("sqlite:{}", path.display()),
            Store::Postgresql(address) => address.clone(),
        }
    }

    async fn file(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(60));
        SqliteConnection::connect_with(&options).await
    }

    /// Rows in the log; none while there is no log yet or it cannot be read just now.
    pub async fn count(&self) -> u64 {
        let counted: Result<i64, sqlx::Error> = match self {
            Store::Sqlite(path) => match Self::file(path).await {
                Ok(mut file) => sqlx::query_scalar(COUNT).fetch_one(&mut file).await,
                Err(error) => Err(error),
            },
            Store::Postgresql(address) => match PgConnection::connect(address).await {
                Ok(mut server) => sqlx::query_scalar(COUNT).fetch_one(&mut server).await,
                Err(error) => Err(error),
            },
        };
        counted.map_or(0, |n| n.max(0) as u64)
    }

    /// The whole log, in the order it was written.
    pub async fn rows(&self) -> Result<Vec<LoggedScore>, Failure> {
        match self {
            Store::Sqlite(path) => {
                let rows = sqlx::query(ROWS).fetch_all(&mut Self::file(path).await?).await?;
                rows.iter().map(|row| logged(row, row.try_get::<i64, _>("error")? != 0)).collect()
            }
            Store::Postgresql(address) => {
                let rows = sqlx::query(ROWS).fetch_all(&mut PgConnection::connect(address).await?).await?;
                rows.iter().map(|row| logged(row, row.try_get("error")?)).collect()
            }
        }
    }

    /// Nobody writes for so long: the lock that every writer needs is taken and held.
    pub async fn stall(&self, time: Duration) -> Result<(), Failure> {
        match self {
            Store::Sqlite(path) => {
                let mut file = Self::file(path).await?;
                sqlx::query("BEGIN IMMEDIATE").execute(&mut file).await?;
                tokio::time::sleep(time).await;
                sqlx::query("ROLLBACK").execute(&mut file).await?;
            }
            Store::Postgresql(address) => {
                let mut server = PgConnection::connect(address).await?;
                let mut transaction = server.begin().await?;
                let lock = "LOCK TABLE impactiq_requests, impactiq_scores IN ACCESS EXCLUSIVE MODE";
                sqlx::query(lock).execute(&mut *transaction).await?;
                tokio::time::sleep(time).await;
                transaction.rollback().await?;
            }
        }
        Ok(())
    }
}

fn logged<'r, R: Row>(row: &'r R, error: bool) -> Result<LoggedScore, Failure>
where
    &'r str: sqlx::ColumnIndex<R>,
    String: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    Ok(LoggedScore {
        request_id: row.try_get("request_id")?,
        row: row.try_get("row_index")?,
        id: row.try_get("id")?,
        scores: row.try_get("scores")?,
        error,
    })
}
