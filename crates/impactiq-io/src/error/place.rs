//! Where something went wrong, and bad cells as values.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Row over all files of the source, counted from 1 without headers.
    pub row: Option<u64>,
    /// Row within its file, counted from 1 without the header.
    pub row_in_file: Option<u64>,
    /// Line in the file, counted from 1; text formats only.
    pub line: Option<u64>,
    /// The column.
    pub column: Option<String>,
}

impl Place {
    /// A line of a file.
    pub fn line(path: &Path, line: u64) -> Box<Place> {
        Box::new(Place { path: path.to_owned(), line: Some(line), ..Place::default() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(row) = self.row {
            parts.push(format!("row {row}"));
        }
        if let Some(column) = &self.column {
            parts.push(format!("column '{column}'"));
        }
        let file = self.path.display();
        match (self.line, self.row_in_file) {
            (Some(line), _) => parts.push(format!("line {line} of {file}")),
            (None, Some(row)) if self.row.is_some_and(|all| all != row) => parts.push(format!("row {row} of {file}")),
            _ => parts.push(format!("file {file}")),
        }
        f.write_str(&parts.join(", "))
    }
}

/// A bad cell of a batch: a value, never a failed batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("row {}, column '{column}': {}{reason}", row + 1, quoted(.value))]
pub struct RowError {
    /// Row in the batch, counted from 0.
    pub row: u64,
    /// The column.
    pub column: String,
    /// The offending value as a person would read it; empty when there is none.
    pub value: String,
    /// What is wrong with it, e.g. "is not a number".
    pub reason: String,
}

fn quoted(value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("'{value}' ") }
}

impl RowError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self.reason.as_str() {
            "is infinite" => "send a finite number, or leave the value out".into(),
            reason if reason.ends_with("look-up table") => {
                "send the row's columns with it, or add the key to the look-up table".into()
            }
            reason if reason.starts_with("is missing, and so are") => {
                format!("send '{}', or the row's columns", self.column)
            }
            _ => format!("send '{}' in the type the model was trained with", self.column),
        })
    }
}

/// Why an expression may not stand in a row feature or filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Its value differs from run to run or from time to time.
    Volatile,
    /// It summarises many rows.
    Aggregate,
    /// It looks at neighbouring rows.
    Window,
    /// It asks another table.
    Subquery,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Volatile => "gives another value on every run",
            Refused::Aggregate => "is an aggregate over many rows",
            Refused::Window => "is a window over other rows",
            Refused::Subquery => "is a subquery",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_row_column_file_and_line() {
        let mut place = Place {
            path: "a.csv".into(),
            row: Some(11),
            row_in_file: Some(11),
            line: Some(12),
            column: Some("age".into()),
        };
        assert_eq!(place.to_string(), "row 11, column 'age', line 12 of a.csv");
        place.line = None;
        assert_eq!(place.to_string(), "row 11, column 'age', file a.csv");
        place.row = Some(111);
        assert_eq!(place.to_string(), "row 111, column 'age', row 11 of a.csv");
    }
}
