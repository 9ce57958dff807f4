//! Scores as text: JSON objects row by row, exactly as they are answered and logged, and CSV.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use impactiq_io::RowError;
use impactiq_score::Scored;
use serde::Serialize;

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

    fn json(&self, row: usize, out: &mut Vec<u8>) {
        // Writing to a vector cannot fail.
        let _ = match self {
            Cells::Numbers(array) if array.is_valid(row) => serde_json::to_writer(&mut *out, &array.value(row)),
            Cells::Texts(array) if array.is_valid(row) => serde_json::to_writer(&mut *out, array.value(row)),
            _ => {
                out.extend_from_slice(b"null");
                Ok(())
            }
        };
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

/// The JSON object of every row, one behind the other.
#[derive(Debug)]
pub(crate) struct RowTexts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl RowTexts {
    /// Writes all rows; `keys` are the names of the score columns as `"name":`.
    pub fn of(scored: &Scored, keys: &[String]) -> Self {
        let n_rows = scored.batch.num_rows();
        let cells: Vec<Cells<'_>> = scored.batch.columns().iter().map(Cells::of).collect();
        let mut bytes = Vec::with_capacity(n_rows * keys.len() * 32 + 16);
        let mut ends = Vec::with_capacity(n_rows);
        let mut errors = scored.errors.iter().peekable();
        for row in 0..n_rows {
            match errors.next_if(|error| error.row == row as u64) {
                Some(error) => error_json(error, &mut bytes),
                None => {
                    for (index, (key, cells)) in keys.iter().zip(&cells).enumerate() {
                        bytes.push(if index == 0 { b'{' } else { b',' });
                        bytes.extend_from_slice(key.as_bytes());
                        cells.json(row, &mut bytes);
                    }
                    bytes.push(b'}');
                }
            }
            ends.push(bytes.len());
        }
        RowTexts { bytes, ends }
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
    use std::sync::Arc;

    #[test]
    fn rows_are_written_to_the_last_bit_and_errors_in_their_place() {
        let batch = RecordBatch::try_from_iter([
            ("cate", Arc::new(Float64Array::from(vec![Some(0.1 + 0.2), None, None])) as ArrayRef),
            ("best_arm", Arc::new(StringArray::from(vec![Some("a\"b"), None, None])) as ArrayRef),
        ])
        .unwrap();
        let error = RowError { row: 1, column: "x".into(), value: "much".into(), reason: "is not a number".into() };
        let scored = Scored { batch, errors: vec![error] };
        let texts = RowTexts::of(&scored, &["\"cate\":".into(), "\"best_arm\":".into()]);
        let mut list = Vec::new();
        texts.list(&mut list);
        let value: serde_json::Value = serde_json::from_slice(&list).unwrap();
        assert_eq!(value[0]["cate"].as_f64().unwrap().to_bits(), (0.1f64 + 0.2).to_bits());
        assert_eq!(value[0]["best_arm"], "a\"b");
        assert_eq!(value[1]["error"]["value"], "much");
        assert!(value[2]["cate"].is_null());
        assert_eq!(texts.row(2), br#"{"cate":null,"best_arm":null}"#);
        let again = RowTexts::again(["{}".to_owned(), "{\"a\":1}".to_owned()]);
        assert_eq!((again.len(), again.row(1)), (2, b"{\"a\":1}".as_slice()));
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
