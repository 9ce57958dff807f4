//! What a driver's errors mean: codes of SQLite and PostgreSQL as errors of this crate.

use std::sync::Arc;

use crate::error::StoreError;

/// Translates an error of the driver.
pub(crate) fn told(place: &Arc<str>, doing: &'static str, error: sqlx::Error) -> StoreError {
    let place = Arc::clone(place);
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default().into_owned();
            let detail = error.message().to_owned();
            if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
                sqlite(place, doing, &code, detail)
            } else {
                postgresql(place, doing, &code, detail)
            }
        }
        sqlx::Error::Io(error) => StoreError::Unreachable { place, detail: error.to_string() },
        sqlx::Error::Tls(error) => StoreError::Unreachable { place, detail: error.to_string() },
        sqlx::Error::PoolTimedOut => {
            StoreError::Unreachable { place, detail: "no connection came about in time".into() }
        }
        sqlx::Error::PoolClosed => StoreError::Closed,
        sqlx::Error::Encode(error) => StoreError::BadRows { place, detail: error.to_string() },
        other => StoreError::Database { place, doing, detail: other.to_string() },
    }
}

/// SQLite: the low byte of the code is the kind (sqlite.org, "Result and Error Codes").
fn sqlite(place: Arc<str>, doing: &'static str, code: &str, detail: String) -> StoreError {
    match code.parse::<i32>().unwrap_or(0) & 0xff {
        5 | 6 => StoreError::Locked { place },
        8 => StoreError::ReadOnly { place },
        13 => StoreError::DiskFull { place },
        14 => StoreError::Unreachable { place, detail },
        26 => StoreError::NotADatabase { place },
        18..=20 => StoreError::BadRows { place, detail },
        _ => StoreError::Database { place, doing, detail },
    }
}

/// PostgreSQL: the first two characters are the class (its manual, appendix A).
fn postgresql(place: Arc<str>, doing: &'static str, code: &str, detail: String) -> StoreError {
    match code {
        "25006" => return StoreError::ReadOnly { place },
        "53100" => return StoreError::DiskFull { place },
        "55P03" => return StoreError::Locked { place },
        "57P01" | "57P02" | "57P03" => return StoreError::Unreachable { place, detail },
        "53300" => return StoreError::Refused { place, detail },
        _ => {}
    }
    match code.get(..2) {
        Some("08") => StoreError::Unreachable { place, detail },
        Some("28" | "3D") => StoreError::Refused { place, detail },
        Some("22" | "23") => StoreError::BadRows { place, detail },
        _ => StoreError::Database { place, doing, detail },
    }
}
