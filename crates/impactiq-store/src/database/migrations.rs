//! Tables brought up to date: numbered scripts, embedded, one set for each dialect.
//!
//! A script that was released is never changed; a new one is added. What later versions did
//! to a database is not understood here, so such a database is refused.

use std::path::Path;
use std::sync::Arc;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, PgConnection, SqlSafeStr, SqliteConnection};

use crate::error::StoreError;

use super::address::sqlite_reader;
use super::fault::told;

/// The table of the score log's own migrations.
const SCORE_LOG_TABLE: &str = "_impactiq_migrations";

/// A numbered change of tables, in both dialects.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// Its number, from 1.
    pub version: i64,
    /// What it is about.
    pub name: &'static str,
    /// SQL for SQLite.
    pub sqlite: &'static str,
    /// SQL for PostgreSQL.
    pub postgresql: &'static str,
}

/// All scripts of one owner of tables.
#[derive(Clone, Debug)]
pub struct Migrations {
    /// The table that remembers which scripts ran.
    pub table: &'static str,
    /// The scripts in order.
    pub scripts: Vec<Script>,
}

impl Migrations {
    /// The tables of the score log, and of streams that write into it.
    pub fn score_log() -> Self {
        let first = Script {
            version: 1,
            name: "score log",
            sqlite: include_str!("migrations/sqlite_0001_score_log.sql"),
            postgresql: include_str!("migrations/postgresql_0001_score_log.sql"),
        };
        let second = Script {
            version: 2,
            name: "stream",
            sqlite: include_str!("migrations/sqlite_0002_stream.sql"),
            postgresql: include_str!("migrations/postgresql_0002_stream.sql"),
        };
        Migrations { table: SCORE_LOG_TABLE, scripts: vec![first, second] }
    }

    fn migrator(&self, sql: impl Fn(&Script) -> &'static str) -> Migrator {
        let migration = |script: &Script| {
            let sql = sql(script).into_sql_str();
            Migration::new(script.version, script.name.into(), MigrationType::Simple, sql, false)
        };
        let mut migrator = Migrator::with_migrations(self.scripts.iter().map(migration).collect());
        migrator.dangerous_set_table_name(self.table);
        migrator
    }

    /// Brings a file up to date in one transaction, so that two programs that open a new file at once make
    /// its tables once.
    pub(super) async fn run_sqlite(&self, options: &SqliteConnectOptions, place: &Arc<str>) -> Result<(), StoreError> {
        let fault = |error| told(place, "opening", error);
        let mut connection = SqliteConnection::connect_with(options).await.map_err(fault)?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(fault)?;
        let ran = self.migrator(|script| script.sqlite).run(&mut *transaction).await;
        ran.map_err(|error| self.refusal(place, error))?;
        transaction.commit().await.map_err(fault)?;
        connection.close().await.map_err(fault)
    }

    /// Brings a database up to date; the connection is closed in any case, and with it the lock that keeps
    /// others from doing the same.
    pub(super) async fn run_postgresql(
        &self,
        mut connection: PgConnection,
        place: &Arc<str>,
    ) -> Result<(), StoreError> {
        let ran = self.migrator(|script| script.postgresql).run(&mut connection).await;
        // What went wrong while saying good-bye changes nothing.
        let _ = connection.close().await;
        ran.map_err(|error| self.refusal(place, error))
    }

    fn refusal(&self, place: &Arc<str>, error: MigrateError) -> StoreError {
        let supported = self.scripts.iter().map(|script| script.version).max().unwrap_or(0);
        let place = Arc::clone(place);
        match error {
            MigrateError::VersionMissing(found) if found > supported => {
                StoreError::FutureVersion { place, found, supported }
            }
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                told(&place, "making its tables", error)
            }
            other => StoreError::Migration { place, detail: other.to_string() },
        }
    }
}

/// Refuses a SQLite file that has tables, but none of ours, before anything of it is changed.
pub(super) async fn check_owner(path: &Path, place: &Arc<str>) -> Result<(), StoreError> {
    let is_new = std::fs::metadata(path).map_or(true, |file| file.len() == 0);
    if is_new {
        return Ok(());
    }
    let fault = |error| told(place, "opening", error);
    let mut connection = SqliteConnection::connect_with(&sqlite_reader(path)).await.map_err(fault)?;
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        .fetch_all(&mut connection)
        .await
        .map_err(fault)?;
    let _ = connection.close().await;
    match tables.iter().find(|table| !table.starts_with("sqlite_")) {
        Some(table) if !tables.iter().any(|table| table == SCORE_LOG_TABLE) => {
            Err(StoreError::OtherProgram { place: Arc::clone(place), table: table.clone() })
        }
        _ => Ok(()),
    }
}
