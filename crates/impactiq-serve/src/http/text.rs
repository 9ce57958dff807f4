//! Scores as text: JSON objects row by row, exactly as they are answered and logged, and CSV.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use impactiq_io::RowError;
use impactiq_score::{ScoreColumn, ScoreValue, ScoredRows};
use serde::Serialize;

use crate::registry::AnswerTexts;

/// The column of CSV and Arrow answers that says why a row has no scores.
pub(crate) const ERROR_COLUMN: &str = "score_error";

/// A score column, ready to be written.
pub(crate) enum Cells<'a> {
    Numbers(&'a Float64Array),
    Texts(&'a StringArray),
}

impl<'a> Cells<'a> {
    pub fn of(array: &'a ArrayRef) -> Self {
        match array.data_type() {
            DataType::Utf8 => Cells::Texts(array.as_string()),
            _ => Cells::Numbers(array.as_primitive()),
        }
    }

    pub fn csv(&self, row: usize, delimiter: u8, out: &mut Vec<u8>) {
        match self {
            Cells::Numbers(array) if array.is_valid(row) => {
                out.extend_from_slice(format!("{:?}", array.value(row)).as_bytes())
            }
            Cells::Texts(array) if array.is_valid(row) => csv_text(array.value(row), delimiter, out),
            _ => {}
        }
    }
}

#[derive(Serialize)]
struct ErrorText<'a> {
    error: ErrorFields<'a>,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    column: &'a str,
    value: &'a str,
    message: &'a str,
    hint: Option<String>,
}

fn error_json(error: &RowError, out: &mut Vec<u8>) {
    let error = ErrorFields { column: &error.column, value: &error.value, message: &error.reason, hint: error.hint() };
    // Writing to a vector cannot fail.
    let _ = serde_json::to_writer(out, &ErrorText { error });
}

fn value_json(scored: &ScoredRows, column: &ScoreColumn, arms: &[String], row: usize, out: &mut Vec<u8>) {
    if column.value == ScoreValue::BestArm {
        let label = scored.best_arm(column, row).and_then(|arm| arms.get(arm));
        return out.extend_from_slice(label.map_or("null", String::as_str).as_bytes());
    }
    // Writing to a vector cannot fail; a number that is none becomes null.
    let _ = serde_json::to_writer(out, &scored.number(column, row));
}

/// The JSON object of every row, one behind the other.
#[derive(Debug)]
pub(crate) struct RowTexts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl RowTexts {
    /// Writes all rows.
    pub fn of(scored: &ScoredRows, columns: &[ScoreColumn], texts: &AnswerTexts) -> Self {
        let n_rows = scored.n_rows();
        let mut bytes = Vec::with_capacity(n_rows * texts.keys.len() * 32 + 16);
        let mut ends = Vec::with_capacity(n_rows);
        let mut errors = scored.errors().iter().peekable();
        for row in 0..n_rows {
            match errors.next_if(|error| error.row == row as u64) {
                Some(error) => error_json(error, &mut bytes),
                None => {
                    for (index, (key, column)) in texts.keys.iter().zip(columns).enumerate() {
                        bytes.push(if index == 0 { b'{' } else { b',' });
                        bytes.extend_from_slice(key.as_bytes());
                        value_json(scored, column, &texts.arms, row, &mut bytes);
                    }
                    bytes.push(b'}');
                }
            }
            ends.push(bytes.len());
        }
        RowTexts { bytes, ends }
    }

    /// No texts.
    pub fn none() -> Self {
        RowTexts { bytes: Vec::new(), ends: Vec::new() }
    }

    /// Rows that were answered before.
    pub fn again(rows: impl IntoIterator<Item = String>) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for row in rows {
            bytes.extend_from_slice(row.as_bytes());
            ends.push(bytes.len());
        }
        RowTexts { bytes, ends }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn row(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }

    /// The list of all rows.
    pub fn list(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes.len() + self.ends.len() + 2);
        out.push(b'[');
        for row in 0..self.len() {
            if row > 0 {
                out.push(b',');
            }
            out.extend_from_slice(self.row(row));
        }
        out.push(b']');
    }
}

/// What is wrong with a row, in one line.
pub(crate) fn error_line(error: &RowError) -> String {
    let value = if error.value.is_empty() { String::new() } else { format!("'{}' ", error.value) };
    format!("{}: {value}{}", error.column, error.reason)
}

/// A field of CSV, quoted where it must be.
pub(crate) fn csv_text(text: &str, delimiter: u8, out: &mut Vec<u8>) {
    if !text.bytes().any(|byte| byte == delimiter || matches!(byte, b'"' | b'\n' | b'\r')) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for byte in text.bytes() {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// The columns of a batch of texts, at a row, each with a delimiter behind it.
pub(crate) fn csv_own(texts: &RecordBatch, row: usize, delimiter: u8, out: &mut Vec<u8>) {
    for column in texts.columns() {
        csv_text(column.as_string::<i32>().value(row), delimiter, out);
        out.push(delimiter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_one_behind_the_other() {
        let again = RowTexts::again(["{}".to_owned(), "{\"a\":1}".to_owned()]);
        assert_eq!((again.len(), again.row(1)), (2, b"{\"a\":1}".as_slice()));
        let mut list = Vec::new();
        again.list(&mut list);
        assert_eq!(list, b"[{},{\"a\":1}]");
        let error = RowError { row: 1, column: "x".into(), value: "mu\"ch".into(), reason: "is not a number".into() };
        let mut text = Vec::new();
        error_json(&error, &mut text);
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&value["error"]["value"], &value["error"]["column"]), (&"mu\"ch".into(), &"x".into()));
        assert_eq!(error_line(&error), "x: 'mu\"ch' is not a number");
    }

    #[test]
    fn fields_are_quoted_only_where_they_must_be() {
        let of = |text: &str| {
            let mut out = Vec::new();
            csv_text(text, b';', &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            (of("a,b"), of("a;b"), of("say \"hi\"")),
            ("a,b".into(), "\"a;b\"".into(), "\"say \"\"hi\"\"\"".into())
        );
    }
}
