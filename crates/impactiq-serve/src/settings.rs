//! What a server is told: as it is asked for (flags, environment, file), and checked.
//!
//! A flag beats its environment variable, which beats the settings file, which beats the
//! default; [`Asked::over`] is that rule. Nothing is opened here but the settings file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use impactiq_store::{LogSettings, LookupSettings, LookupSource};
use serde::Deserialize;

use crate::error::ServeError;

/// Where a server listens when nobody says otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8501";
/// The score log when nobody says otherwise.
pub const DEFAULT_LOG: &str = "impactiq-scores.sqlite";

/// A model to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSource {
    /// The name requests use.
    pub name: String,
    /// The model directory.
    pub path: PathBuf,
}

/// What a request may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a body.
    pub max_body_bytes: usize,
    /// Rows of a request.
    pub max_rows: usize,
    /// From the first byte of a request to the last of its answer.
    pub timeout: Duration,
    /// Requests of many rows that are scored at once.
    pub concurrency: usize,
    /// Requests of many rows that may wait for their turn.
    pub queue: usize,
    /// Open connections.
    pub max_connections: usize,
    /// Requests a second of one key; none: as many as it likes.
    pub requests_per_second: Option<u32>,
    /// Time for the head of a request, and for its body.
    pub read_timeout: Duration,
    /// Time that requests in flight get when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Limits {
            max_body_bytes: 64 << 20,
            max_rows: 200_000,
            timeout: Duration::from_secs(30),
            concurrency: 2 * cores,
            // Whoever is let in waits for two others at most; the rest come again when it is their turn.
            queue: 4 * cores,
            max_connections: 4096,
            requests_per_second: None,
            read_timeout: Duration::from_secs(15),
            drain: Duration::from_secs(20),
        }
    }
}

/// Settings of a server, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The models; the first answers requests that name none.
    pub models: Vec<ModelSource>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// The key file.
    pub keys: Option<PathBuf>,
    /// The score log.
    pub log: Option<LogSettings>,
    /// Where the active model is remembered.
    pub state: Option<PathBuf>,
    /// The look-up table.
    pub lookup: Option<LookupSettings>,
    /// Where a scorer of events tells of itself.
    pub stream: Option<SocketAddr>,
    /// What a request may cost.
    pub limits: Limits,
}

/// A look-up table that is asked of a database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedSql {
    /// The database.
    pub url: String,
    /// The query; its columns are the table's.
    pub query: String,
}

/// A look-up table as it is asked for: `file` or `sql`, and `key`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AskedLookup {
    /// A file, a glob or a folder.
    pub file: Option<String>,
    /// A query.
    pub sql: Option<AskedSql>,
    /// The column by which rows are found.
    pub key: Option<String>,
    /// How often the table is read again: `10m`.
    pub refresh: Option<String>,
}

impl AskedLookup {
    fn over(self, below: AskedLookup) -> AskedLookup {
        // A table of the one kind takes the place of one of the other.
        let (file, sql) = match (self.file, self.sql) {
            (None, None) => (below.file, below.sql),
            given => given,
        };
        AskedLookup { file, sql, key: self.key.or(below.key), refresh: self.refresh.or(below.refresh) }
    }
}

/// Settings as they are asked for; what is `None` is somebody else's business.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    /// Models: `DIR` or `NAME=DIR`.
    pub models: Option<Vec<String>>,
    /// The address.
    pub listen: Option<String>,
    /// The key file.
    pub keys: Option<PathBuf>,
    /// Path or URL of the score log, or `none`.
    pub log: Option<String>,
    /// A request is answered when its scores are safely in the log.
    pub log_durable: Option<bool>,
    /// How long scores are kept: `90d`, `12h`.
    pub log_keep: Option<String>,
    /// Where the active model is remembered, or `none`.
    pub state: Option<String>,
    /// A table of columns that requests may leave out.
    pub lookup: AskedLookup,
    /// Address of a scorer of events: `127.0.0.1:9102`.
    pub stream: Option<String>,
    /// Bytes of a body.
    pub max_body: Option<usize>,
    /// Rows of a request.
    pub max_rows: Option<usize>,
    /// Seconds a request may take.
    pub timeout: Option<f64>,
    /// Requests that are scored at once.
    pub concurrency: Option<usize>,
    /// Requests that may wait.
    pub queue: Option<usize>,
    /// Open connections.
    pub max_connections: Option<usize>,
    /// Requests a second of one key.
    pub requests_per_second: Option<u32>,
}

impl Asked {
    /// Reads a settings file (YAML); unknown keys are errors.
    ///
    /// # Errors
    /// [`ServeError::File`], [`ServeError::SettingsFile`].
    pub fn read(path: &Path) -> Result<Self, ServeError> {
        let text = std::fs::read_to_string(path).map_err(|source| ServeError::File {
            path: path.to_owned(),
            action: "read",
            source,
        })?;
        serde_saphyr::from_str(&text)
            .map_err(|error| ServeError::SettingsFile { path: path.to_owned(), detail: first_line(&error.to_string()) })
    }

    /// These settings, and `below` where they say nothing.
    pub fn over(self, below: Asked) -> Asked {
        Asked {
            models: self.models.or(below.models),
            listen: self.listen.or(below.listen),
            keys: self.keys.or(below.keys),
            log: self.log.or(below.log),
            log_durable: self.log_durable.or(below.log_durable),
            log_keep: self.log_keep.or(below.log_keep),
            state: self.state.or(below.state),
            lookup: self.lookup.over(below.lookup),
            stream: self.stream.or(below.stream),
            max_body: self.max_body.or(below.max_body),
            max_rows: self.max_rows.or(below.max_rows),
            timeout: self.timeout.or(below.timeout),
            concurrency: self.concurrency.or(below.concurrency),
            queue: self.queue.or(below.queue),
            max_connections: self.max_connections.or(below.max_connections),
            requests_per_second: self.requests_per_second.or(below.requests_per_second),
        }
    }

    /// Checks everything and fills in the defaults.
    ///
    /// # Errors
    /// [`ServeError::Setting`] and what else can be wrong with one, [`ServeError::NoModel`],
    /// [`ServeError::Unprotected`].
    pub fn settle(self) -> Result<Settings, ServeError> {
        let listen = self.listen.as_deref().unwrap_or(DEFAULT_LISTEN);
        let listen = address("listen", listen, "an address and a port are needed, e.g. 127.0.0.1:8501")?;
        if self.keys.is_none() && !listen.ip().is_loopback() {
            return Err(ServeError::Unprotected { address: listen });
        }
        let models = models(self.models.as_deref().unwrap_or_default())?;
        let limits = self.limits()?;
        let log = self.log_settings()?;
        let state = match (self.state.as_deref(), &log) {
            (Some("none"), _) | (None, None) => None,
            (Some(path), _) => Some(PathBuf::from(path)),
            (None, Some(log)) => state_beside(&log.url),
        };
        let lookup = self.lookup_settings()?;
        let stream = self.stream.as_deref();
        let stream =
            stream.map(|text| address("stream", text, "an address and a port are needed, e.g. 127.0.0.1:9102"));
        Ok(Settings { models, listen, keys: self.keys, log, state, lookup, stream: stream.transpose()?, limits })
    }

    fn limits(&self) -> Result<Limits, ServeError> {
        let defaults = Limits::default();
        let timeout = match self.timeout {
            None => defaults.timeout,
            Some(seconds) => match Duration::try_from_secs_f64(seconds) {
                Ok(timeout) if seconds > 0.0 && seconds <= 3600.0 => timeout,
                _ => return Err(bad("timeout", seconds.to_string(), "seconds between 0 and 3600 are needed")),
            },
        };
        Ok(Limits {
            max_body_bytes: positive("max_body", self.max_body, defaults.max_body_bytes)?,
            max_rows: positive("max_rows", self.max_rows, defaults.max_rows)?,
            timeout,
            concurrency: positive("concurrency", self.concurrency, defaults.concurrency)?,
            queue: self.queue.unwrap_or(defaults.queue),
            max_connections: positive("max_connections", self.max_connections, defaults.max_connections)?,
            requests_per_second: match self.requests_per_second {
                Some(0) => return Err(bad("requests_per_second", "0".into(), "at least 1 is needed")),
                given => given,
            },
            ..defaults
        })
    }

    fn log_settings(&self) -> Result<Option<LogSettings>, ServeError> {
        let retention = self.log_keep.as_deref().map(|text| duration("log_keep", text)).transpose()?;
        let url = self.log.as_deref().unwrap_or(DEFAULT_LOG);
        if url == "none" {
            return match self.log_durable {
                Some(true) => Err(bad("log_durable", "true".into(), "there is no log to be durable (`log` is none)")),
                _ => Ok(None),
            };
        }
        let durable = self.log_durable.unwrap_or(false);
        Ok(Some(LogSettings { durable, retention, ..LogSettings::new(url) }))
    }

    fn lookup_settings(&self) -> Result<Option<LookupSettings>, ServeError> {
        let source = match (&self.lookup.file, &self.lookup.sql) {
            (Some(_), Some(_)) => return Err(bad("lookup", "twice".into(), "take a file or a query, not both")),
            (Some(path), None) => LookupSource::File { path: path.clone() },
            (None, Some(sql)) => LookupSource::Sql { url: sql.url.clone(), query: sql.query.clone() },
            (None, None) => return Ok(None),
        };
        let Some(key) = self.lookup.key.clone() else {
            return Err(bad("lookup_key", "not given".into(), "a look-up needs the column rows are found by"));
        };
        let refresh = self.lookup.refresh.as_deref().map(|text| duration("lookup_refresh", text)).transpose()?;
        Ok(Some(LookupSettings { source, key, refresh }))
    }
}

fn bad(key: &'static str, value: String, reason: &str) -> ServeError {
    ServeError::Setting { key, value, reason: reason.to_owned() }
}

fn address(key: &'static str, text: &str, reason: &str) -> Result<SocketAddr, ServeError> {
    text.parse().map_err(|_| bad(key, format!("'{text}'"), reason))
}

fn positive(key: &'static str, given: Option<usize>, otherwise: usize) -> Result<usize, ServeError> {
    match given {
        Some(0) => Err(bad(key, "0".into(), "at least 1 is needed")),
        given => Ok(given.unwrap_or(otherwise)),
    }
}

/// `45s`, `30m`, `12h` or `90d`.
fn duration(key: &'static str, text: &str) -> Result<Duration, ServeError> {
    let wrong = || bad(key, format!("'{text}'"), "a number and one of s, m, h, d are needed, e.g. 90d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].trim().parse().map_err(|_| wrong())?;
    match count.checked_mul(seconds) {
        Some(total) if (1..=86_400 * 36_500).contains(&total) => Ok(Duration::from_secs(total)),
        _ => Err(wrong()),
    }
}

/// The state file of a log in a file; a log in a database has no place for one.
fn state_beside(url: &str) -> Option<PathBuf> {
    let path = match url.split_once(':') {
        Some(("sqlite", path)) => path.trim_start_matches("//"),
        Some(("postgres" | "postgresql", _)) => return None,
        _ => url,
    };
    Some(Path::new(path).with_extension("active.json"))
}

fn models(asked: &[String]) -> Result<Vec<ModelSource>, ServeError> {
    let mut models: Vec<ModelSource> = Vec::with_capacity(asked.len());
    for text in asked {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) => (name.to_owned(), PathBuf::from(path)),
            None => {
                let path = PathBuf::from(text);
                // `.` and `..` have no name of their own.
                let whole = path.canonicalize().unwrap_or_else(|_| path.clone());
                let name = whole.file_name().map(|name| name.to_string_lossy().into_owned());
                (name.unwrap_or_default(), path)
            }
        };
        if !is_model_name(&name) {
            return Err(ServeError::ModelName { name });
        }
        if models.iter().any(|model| model.name == name) {
            return Err(ServeError::ModelTwice { name });
        }
        models.push(ModelSource { name, path });
    }
    if models.is_empty() { Err(ServeError::NoModel) } else { Ok(models) }
}

/// Names that can stand in an address; two of them are words of the address.
fn is_model_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=100).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with('.')
        && !matches!(name, "rollback" | "refresh")
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(models: &[&str]) -> Asked {
        Asked { models: Some(models.iter().map(|&model| model.to_owned()).collect()), ..Asked::default() }
    }

    #[test]
    fn a_flag_beats_the_file_and_the_file_the_default() {
        let flags = Asked { max_rows: Some(5), ..asked(&["a=one"]) };
        let file = Asked { max_rows: Some(7), queue: Some(3), listen: Some("127.0.0.1:9".into()), ..asked(&["b=two"]) };
        let settings = flags.over(file).settle().unwrap();
        assert_eq!((settings.limits.max_rows, settings.limits.queue), (5, 3));
        assert_eq!(settings.listen.port(), 9);
        assert_eq!(settings.models, [ModelSource { name: "a".into(), path: "one".into() }]);
        assert_eq!(settings.limits.max_body_bytes, Limits::default().max_body_bytes);
        assert_eq!(settings.state.unwrap(), Path::new("impactiq-scores.active.json"));
    }

    #[test]
    fn a_settings_file_has_the_same_keys_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serve.yaml");
        let text =
            "models: [a=one]\nmax_rows: 9\nlookup:\n  key: id\n  refresh: 10m\n  sql: {url: crm.db, query: SELECT 1}\n";
        std::fs::write(&path, text).unwrap();
        let settings = Asked::read(&path).unwrap().settle().unwrap();
        assert_eq!(settings.limits.max_rows, 9);
        let lookup = settings.lookup.unwrap();
        assert_eq!((lookup.key.as_str(), lookup.refresh), ("id", Some(Duration::from_secs(600))));
        std::fs::write(&path, "max_row: 9\n").unwrap();
        let error = Asked::read(&path).unwrap_err();
        assert!(matches!(error, ServeError::SettingsFile { .. }) && error.to_string().contains("max_row"), "{error}");
    }

    #[test]
    fn beyond_loopback_only_with_keys() {
        let open = Asked { listen: Some("0.0.0.0:8501".into()), ..asked(&["m"]) };
        let error = open.clone().settle().unwrap_err();
        assert!(matches!(error, ServeError::Unprotected { .. }));
        assert!(error.hint().unwrap().contains("impactiq key"));
        assert!(Asked { keys: Some("keys".into()), ..open }.settle().is_ok());
        assert!(Asked { listen: Some("[::1]:1".into()), ..asked(&["m"]) }.settle().is_ok());
    }

    #[test]
    fn what_cannot_be_meant_is_an_error_that_names_the_setting() {
        let key = |asked: Asked| match asked.settle().unwrap_err() {
            ServeError::Setting { key, .. } => key,
            other => panic!("{other}"),
        };
        assert_eq!(key(Asked { listen: Some("8501".into()), ..asked(&["m"]) }), "listen");
        assert_eq!(key(Asked { stream: Some("localhost".into()), ..asked(&["m"]) }), "stream");
        assert_eq!(key(Asked { max_rows: Some(0), ..asked(&["m"]) }), "max_rows");
        assert_eq!(key(Asked { timeout: Some(f64::NAN), ..asked(&["m"]) }), "timeout");
        for text in ["", "d", "9", "-1d", "1y", "999999999d", "0d", "é"] {
            assert_eq!(key(Asked { log_keep: Some(text.into()), ..asked(&["m"]) }), "log_keep");
        }
        assert_eq!(
            key(Asked {
                lookup: AskedLookup { file: Some("f.csv".into()), ..AskedLookup::default() },
                ..asked(&["m"])
            }),
            "lookup_key"
        );
        assert_eq!(key(Asked { log: Some("none".into()), log_durable: Some(true), ..asked(&["m"]) }), "log_durable");
    }

    #[test]
    fn models_have_names_that_an_address_can_hold() {
        let error = |models: &[&str]| asked(models).settle().unwrap_err();
        assert!(matches!(error(&[]), ServeError::NoModel));
        assert!(matches!(error(&["a=x", "a=y"]), ServeError::ModelTwice { .. }));
        for name in ["=x", "a/b=x", "..=x", "rollback=x", "ü=x", "a b=x"] {
            assert!(matches!(error(&[name]), ServeError::ModelName { .. }), "{name}");
        }
    }
}
