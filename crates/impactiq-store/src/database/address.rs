//! The address of a database: what the user wrote, and how a connection is set up from it.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use crate::error::StoreError;

/// How long a connection waits for another program's lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Where a database is.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// A file.
    Sqlite(PathBuf),
    /// A server.
    Postgresql(Box<PgConnectOptions>),
}

impl Address {
    /// Reads what the user wrote: a path, `sqlite:PATH` or `postgres://…`.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let refused = |detail: &str| StoreError::Address { address: without_password(text), detail: detail.to_owned() };
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            let options = PgConnectOptions::from_str(text).map_err(|error| match error {
                // The parser's own words; its wrapper adds only "error with configuration".
                sqlx::Error::Configuration(error) => refused(&error.to_string()),
                _ => refused("it cannot be read"),
            })?;
            return Ok(Address::Postgresql(Box::new(options)));
        }
        let path = match text.strip_prefix("sqlite:") {
            Some(path) => path.strip_prefix("//").unwrap_or(path),
            None if text.contains("://") => return Err(refused("only SQLite and PostgreSQL are known")),
            None => text,
        };
        if path.is_empty() {
            return Err(refused("no file is named"));
        }
        if path.contains(":memory:") || path.contains("mode=memory") {
            return Err(refused("what is kept in memory is not remembered"));
        }
        if path.ends_with('/') || Path::new(path).is_dir() {
            return Err(refused("it is a folder"));
        }
        Ok(Address::Sqlite(PathBuf::from(path)))
    }

    /// How messages name it: never with a password.
    pub fn place(&self) -> Arc<str> {
        match self {
            Address::Sqlite(path) => path.display().to_string().into(),
            Address::Postgresql(options) => {
                let host = options.get_socket().map_or(options.get_host().to_owned(), |s| s.display().to_string());
                let database = options.get_database().unwrap_or(options.get_username());
                format!("postgres://{}@{host}:{}/{database}", options.get_username(), options.get_port()).into()
            }
        }
    }
}

/// A connection that writes to a file.
pub(crate) fn sqlite_options(path: &Path, durable: bool) -> SqliteConnectOptions {
    let synchronous = if durable { SqliteSynchronous::Full } else { SqliteSynchronous::Normal };
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .busy_timeout(LOCK_PATIENCE)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        // There are none; see the migrations.
        .foreign_keys(false)
        // Apple's plain fsync does not reach the disk; elsewhere this changes nothing.
        .pragma("fullfsync", if durable { "1" } else { "0" })
        // 32 MiB of pages, and checkpoints every 16 MiB: the index of row ids is written all over.
        .pragma("cache_size", "-32768")
        .pragma("wal_autocheckpoint", "4000")
        .pragma("journal_size_limit", "67108864")
        .disable_statement_logging()
}

/// A connection that only looks at a file and never makes or changes one.
pub(crate) fn sqlite_reader(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(LOCK_PATIENCE).disable_statement_logging()
}

/// A connection to a server.
pub(crate) fn postgresql_options(options: &PgConnectOptions, durable: bool) -> PgConnectOptions {
    // Statements would be logged with their SQL of thousands of rows.
    let options = options.clone().application_name("impactiq").disable_statement_logging();
    // A server that was set to acknowledge early must not do so where rows are promised.
    if durable { options.options([("synchronous_commit", "on")]) } else { options }
}

/// The text with the password of a URL taken out.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let Some((user, host)) = rest.rsplit_once('@') else { return text.to_owned() };
    let user = user.split_once(':').map_or(user, |(user, _)| user);
    format!("{scheme}://{user}@{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_servers_are_told_apart() {
        for text in ["a/b.db", "sqlite:a/b.db", "sqlite://a/b.db"] {
            assert!(matches!(Address::parse(text).unwrap(), Address::Sqlite(path) if path == Path::new("a/b.db")));
        }
        let server = Address::parse("postgres://me:secret@db.example:5433/scores").unwrap();
        assert_eq!(&*server.place(), "postgres://me@db.example:5433/scores");
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_password() {
        let told = |text: &str| Address::parse(text).unwrap_err().to_string();
        let mysql = told("mysql://me:secret@host/db");
        assert!(mysql.contains("only SQLite and PostgreSQL") && !mysql.contains("secret"), "{mysql}");
        let port = told("postgres://me:secret@host:port/db");
        assert!(!port.contains("secret"), "{port}");
        assert!(told("sqlite::memory:").contains("not remembered"));
        assert!(told("/").contains("folder"));
        assert!(told("").contains("no file"));
    }
}
