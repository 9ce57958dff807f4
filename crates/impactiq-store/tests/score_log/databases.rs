//! Databases for tests: a SQLite file in a temporary folder, and a database of its own on the PostgreSQL server
//! that `.ci/postgres` starts. What could not be tested is said aloud.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use impactiq_store::{Door, LogSettings, LoggedRequest, LoggedRow, ScoreLog};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

/// A new database.
pub struct TestDatabase {
    pub url: String,
    _folder: Option<TempDir>,
}

/// The SQLite file, and the server's database where there is a server.
pub async fn databases() -> Vec<TestDatabase> {
    let mut all = vec![sqlite()];
    match server() {
        Some(server) => all.push(postgresql(&server).await),
        None => eprintln!("NOT TESTED: PostgreSQL; run `.ci/postgres cargo test --release -p impactiq-store`"),
    }
    all
}

pub fn server() -> Option<String> {
    std::env::var("IMPACTIQ_TEST_POSTGRES").ok()
}

pub fn sqlite() -> TestDatabase {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("made/on/the/way/scores.db").display().to_string();
    TestDatabase { url, _folder: Some(folder) }
}

pub async fn postgresql(server: &str) -> TestDatabase {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let name = format!("log_{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(server).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    let url = format!("{}/{name}", server.rsplit_once('/').unwrap().0);
    TestDatabase { url, _folder: None }
}

impl TestDatabase {
    pub fn is_sqlite(&self) -> bool {
        !self.url.starts_with("postgres")
    }

    /// A log whose batches wait for nobody.
    pub fn settings(&self) -> LogSettings {
        LogSettings { batch_wait: Duration::from_millis(5), ..LogSettings::new(&self.url) }
    }

    pub async fn open(&self) -> ScoreLog {
        ScoreLog::open(self.settings()).await.unwrap()
    }

    pub async fn open_durable(&self) -> ScoreLog {
        ScoreLog::open(LogSettings { durable: true, ..self.settings() }).await.unwrap()
    }

    /// Runs SQL beside the log.
    pub async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_sqlite() {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        }
    }

    /// Keeps everybody from writing until the lock is dropped.
    pub async fn lock(&self) -> Lock {
        if self.is_sqlite() {
            let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
            Lock::Sqlite(connection)
        } else {
            let mut connection = PgConnection::connect(&self.url).await.unwrap();
            let sql = "BEGIN; LOCK TABLE impactiq_requests IN ACCESS EXCLUSIVE MODE";
            sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            Lock::Postgresql(connection)
        }
    }
}

pub enum Lock {
    Sqlite(SqliteConnection),
    Postgresql(PgConnection),
}

impl Lock {
    pub async fn release(self) {
        match self {
            Lock::Sqlite(connection) => connection.close().await.unwrap(),
            Lock::Postgresql(connection) => connection.close().await.unwrap(),
        }
    }
}

/// A request with rows `NAME/0`, `NAME/1` …
pub fn request(name: &str, received_at: i64, n_rows: u32) -> LoggedRequest {
    let row = |row: u32| LoggedRow {
        row,
        id: Some(format!("{name}/{row}")),
        scores: format!("{{\"cate\":0.{row},  \"best_arm\":\"ä\"}}"),
        error: row % 3 == 2,
    };
    LoggedRequest {
        request_id: Some(name.to_owned()),
        body_sha256: Some([7; 32]),
        received_at,
        model_name: "churn".into(),
        model_id: "sha256:abc".into(),
        door: Door::Score,
        rows: (0..n_rows).map(row).collect(),
    }
}

/// Waits until nothing is queued any more.
pub async fn drained(log: &ScoreLog) {
    for _ in 0..3000 {
        if log.state().queued == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the queue does not drain: {:?}", log.state());
}

/// Every row of the log, page by page.
pub async fn all_rows(log: &ScoreLog, query: &impactiq_store::Query) -> Vec<impactiq_store::StoredScore> {
    let mut rows = Vec::new();
    let mut query = query.clone();
    loop {
        let page = log.query(&query).await.unwrap();
        rows.extend(page.rows);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return rows,
        }
    }
}
