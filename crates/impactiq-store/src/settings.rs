//! How the score log is to behave: settings with their defaults and limits. Nothing is opened here.

use std::time::Duration;

use crate::error::StoreError;

/// How a score log is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// A SQLite file (`scores.db`, `sqlite:scores.db`) or `postgres://user:password@host:port/database`.
    pub url: String,
    /// True: a row is on the disk before its request is answered.
    pub durable: bool,
    /// How long rows are kept; `None`: for ever.
    pub retention: Option<Duration>,
    /// The most rows that wait in memory.
    pub queue_rows: usize,
    /// The most rows of one transaction.
    pub batch_rows: usize,
    /// How long a batch may gather rows nobody waits for.
    pub batch_wait: Duration,
}

impl LogSettings {
    /// The defaults for an address: not durable, kept for ever, 200,000 rows waiting, batches of
    /// 2,000 rows or 100 ms.
    pub fn new(url: impl Into<String>) -> Self {
        LogSettings {
            url: url.into(),
            durable: false,
            retention: None,
            queue_rows: 200_000,
            batch_rows: 2_000,
            batch_wait: Duration::from_millis(100),
        }
    }

    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// [`StoreError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), StoreError> {
        let wrong = |setting, value, allowed| Err(StoreError::Setting { setting, value, allowed });
        if self.queue_rows == 0 {
            return wrong("queue_rows", "0".into(), "at least one row must be able to wait");
        }
        if self.batch_rows == 0 || self.batch_rows > 1_000_000 {
            return wrong("batch_rows", self.batch_rows.to_string(), "a batch has 1 to 1,000,000 rows");
        }
        if self.batch_wait > Duration::from_secs(60) {
            return wrong("batch_wait", format!("{:?}", self.batch_wait), "rows wait at most a minute for a batch");
        }
        match self.retention {
            Some(kept) if kept < Duration::from_secs(60) => {
                wrong("retention", format!("{kept:?}"), "rows are kept for at least a minute")
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for LogSettings {
    /// Leaves the address out: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogSettings")
            .field("durable", &self.durable)
            .field("retention", &self.retention)
            .field("queue_rows", &self.queue_rows)
            .field("batch_rows", &self.batch_rows)
            .field("batch_wait", &self.batch_wait)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_settings_are_refused_by_name_and_passwords_are_not_shown() {
        let good = LogSettings::new("postgres://me:secret@host/db");
        assert!(good.check().is_ok());
        assert!(!format!("{good:?}").contains("secret"));
        let none = LogSettings { queue_rows: 0, ..good.clone() };
        assert!(none.check().unwrap_err().to_string().starts_with("queue_rows is 0"));
        let short = LogSettings { retention: Some(Duration::from_secs(1)), ..good };
        assert!(short.check().unwrap_err().to_string().starts_with("retention is 1s"));
    }
}
