//! The database: a pool, its dialect, its migrations and its write transactions.
//!
//! Whoever keeps tables beside the score log (the stream's positions) opens the same database
//! and writes in one [`WriteTransaction`] with the rows.
//! What the tables mean is not known here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Connection, PgConnection, PgPool, Postgres, Sqlite, SqlitePool, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::error::StoreError;

mod address;
mod fault;
mod migrations;

pub(crate) use address::{Address, sqlite_reader};
pub(crate) use fault::told as fault;
pub use migrations::{Migrations, Script};

/// Connections at once: one writes, the others read.
const CONNECTIONS: u32 = 4;
/// How long a caller waits for a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Which SQL a database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A file on this machine.
    Sqlite,
    /// A server.
    Postgresql,
}

impl Dialect {
    /// The name used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Sqlite => "sqlite",
            Dialect::Postgresql => "postgresql",
        }
    }
}

/// The connections of a database.
#[derive(Clone, Debug)]
pub enum Pool {
    /// To a file.
    Sqlite(SqlitePool),
    /// To a server.
    Postgresql(PgPool),
}

/// An open database; clones share its connections.
#[derive(Clone, Debug)]
pub struct Database {
    pool: Pool,
    place: Arc<str>,
    /// The file as it was when it was opened.
    file: Option<(PathBuf, FileIdentity)>,
    /// Who writes: SQLite has one writer, and waiting in line here is fair and costs no sleep.
    turn: Arc<Mutex<()>>,
}

/// A transaction that writes. Dropped without [`WriteTransaction::commit`], it is rolled back.
pub struct WriteTransaction {
    /// The transaction of the dialect.
    pub inner: InnerTransaction,
    // Declared after the transaction, so that it is given back after the roll-back was asked for.
    _turn: Option<OwnedMutexGuard<()>>,
}

/// A transaction of one of the dialects.
pub enum InnerTransaction {
    /// In a file; it holds the write lock from its beginning.
    Sqlite(Transaction<'static, Sqlite>),
    /// On a server, at its default isolation (read committed).
    Postgresql(Transaction<'static, Postgres>),
}

impl Database {
    /// Opens a database and brings the tables of `migrations` up to date; a file and its folders are
    /// made where they are missing.
    ///
    /// `durable` makes every commit wait for the disk. Otherwise a crash of the machine (not of the program)
    /// may take the last moments with it.
    ///
    /// # Errors
    /// [`StoreError::Address`], [`StoreError::Folder`], [`StoreError::Unreachable`],
    /// [`StoreError::Refused`], [`StoreError::NotADatabase`], [`StoreError::OtherProgram`],
    /// [`StoreError::FutureVersion`], [`StoreError::ReadOnly`], [`StoreError::Locked`] and
    /// [`StoreError::TimedOut`].
    pub async fn open(url: &str, durable: bool, migrations: &Migrations) -> Result<Self, StoreError> {
        let address = Address::parse(url)?;
        let place = address.place();
        let pool = match &address {
            Address::Sqlite(path) => {
                make_folder(path)?;
                migrations::check_owner(path, &place).await?;
                let options = address::sqlite_options(path, durable);
                let opened = SqlitePoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .acquire_timeout(CONNECT_PATIENCE)
                    .test_before_acquire(false)
                    .idle_timeout(None)
                    .max_lifetime(None)
                    .connect_lazy_with(options.clone());
                migrations.run_sqlite(&options, &place).await?;
                Pool::Sqlite(opened)
            }
            Address::Postgresql(options) => {
                let options = address::postgresql_options(options, durable);
                // A connection of its own first: a pool tries for as long as it may and then only says that
                // it timed out.
                let connection = connect(&options, &place).await?;
                migrations.run_postgresql(connection, &place).await?;
                let opened = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(CONNECT_PATIENCE);
                Pool::Postgresql(opened.connect_lazy_with(options))
            }
        };
        let file = match address {
            Address::Sqlite(path) => FileIdentity::of(&path).map(|identity| (path, identity)),
            Address::Postgresql(_) => None,
        };
        Ok(Database { pool, place, file, turn: Arc::default() })
    }

    /// Its dialect.
    pub fn dialect(&self) -> Dialect {
        match self.pool {
            Pool::Sqlite(_) => Dialect::Sqlite,
            Pool::Postgresql(_) => Dialect::Postgresql,
        }
    }

    /// The file, or server and database without password, as messages name it.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Its connections, for reading.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Begins to write; waits for its turn.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another program holds the file, [`StoreError::FileGone`],
    /// [`StoreError::Unreachable`].
    pub async fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let fault = |error| self.fault("beginning to write", error);
        match &self.pool {
            Pool::Sqlite(pool) => {
                let turn = Arc::clone(&self.turn).lock_owned().await;
                // A deleted file would go on taking rows that nobody can ever read.
                if let Some((path, identity)) = &self.file
                    && FileIdentity::of(path).as_ref() != Some(identity)
                {
                    return Err(StoreError::FileGone { place: Arc::clone(&self.place) });
                }
                // Taking the write lock at once: a transaction that reads first and is overtaken
                // by another program's write could not write any more.
                let inner = pool.begin_with("BEGIN IMMEDIATE").await.map_err(fault)?;
                Ok(WriteTransaction { inner: InnerTransaction::Sqlite(inner), _turn: Some(turn) })
            }
            Pool::Postgresql(pool) => {
                let inner = pool.begin().await.map_err(fault)?;
                Ok(WriteTransaction { inner: InnerTransaction::Postgresql(inner), _turn: None })
            }
        }
    }

    /// What a driver's error means for this database.
    pub fn fault(&self, doing: &'static str, error: sqlx::Error) -> StoreError {
        fault::told(&self.place, doing, error)
    }

    /// Closes every connection; a SQLite file is left as one file.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgresql(pool) => pool.close().await,
        }
    }
}

impl WriteTransaction {
    /// Makes everything written in it permanent.
    ///
    /// # Errors
    /// As [`Database::fault`] tells them; on a server a broken connection leaves open whether the
    /// commit happened.
    pub async fn commit(self, database: &Database) -> Result<(), StoreError> {
        let done = match self.inner {
            InnerTransaction::Sqlite(inner) => inner.commit().await,
            InnerTransaction::Postgresql(inner) => inner.commit().await,
        };
        done.map_err(|error| database.fault("committing", error))
    }
}

async fn connect(options: &sqlx::postgres::PgConnectOptions, place: &Arc<str>) -> Result<PgConnection, StoreError> {
    let doing = "connecting";
    let connected = tokio::time::timeout(CONNECT_PATIENCE, PgConnection::connect_with(options)).await;
    match connected {
        Ok(connected) => connected.map_err(|error| fault::told(place, doing, error)),
        Err(_) => Err(StoreError::TimedOut { place: Arc::clone(place), doing, limit: CONNECT_PATIENCE }),
    }
}

fn make_folder(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => {
            std::fs::create_dir_all(folder).map_err(|source| StoreError::Folder { path: folder.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// What makes a file this file and not another of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileIdentity(u64, u64);

impl FileIdentity {
    #[cfg(unix)]
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).ok().map(|file| FileIdentity(file.dev(), file.ino()))
    }

    /// Elsewhere an open file cannot be deleted.
    #[cfg(not(unix))]
    fn of(path: &Path) -> Option<Self> {
        path.exists().then_some(FileIdentity(0, 0))
    }
}
