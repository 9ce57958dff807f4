//! Temporary files for the tests of the doors.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::array::{Date32Array, TimestampMicrosecondArray};
use impactiq_io::{Source, Writer};
use tempfile::TempDir;

/// A folder that goes away with the test.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes bytes to a file and gives the source that reads it.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> Source {
        std::fs::write(self.path(name), bytes).unwrap();
        self.source(name)
    }

    /// Writes a batch in the format of the name and gives the source that reads it.
    pub fn batch(&self, name: &str, batch: &RecordBatch) -> Source {
        let mut writer = Writer::create(self.path(name), &batch.schema(), true).unwrap();
        writer.write(batch).unwrap();
        writer.finish().unwrap();
        self.source(name)
    }

    pub fn source(&self, name: &str) -> Source {
        Source { paths: vec![self.path(name).to_string_lossy().into_owned()], ..Source::default() }
    }
}

/// A table with a column of every type, with missing values.
pub fn mixed(n: usize) -> RecordBatch {
    let missing = |row: usize, every: usize| row % every == every - 1;
    fn column<T>(n: usize, every: usize, value: impl Fn(usize) -> T) -> impl Iterator<Item = Option<T>> {
        (0..n).map(move |row| if row % every == every - 1 { None } else { Some(value(row)) })
    }
    let text = ["Web", "a,b", "say \"hi\"", "two\nlines", "naïve", " spaced ", "NA"];
    let _ = missing;
    RecordBatch::try_from_iter([
        ("id", Arc::new((0..n as i64).collect::<Int64Array>()) as ArrayRef),
        ("age", Arc::new(column(n, 7, |row| (row as i64 * 37) % 90).collect::<Int64Array>()) as ArrayRef),
        ("income", Arc::new(column(n, 5, |row| (row as f64).sqrt() * 1e3 + 0.1).collect::<Float64Array>()) as ArrayRef),
        ("f0", Arc::new(column(n, 11, |row| (row as f32) * 0.1).collect::<Float32Array>()) as ArrayRef),
        ("member", Arc::new(column(n, 4, |row| row % 3 == 0).collect::<BooleanArray>()) as ArrayRef),
        ("channel", Arc::new(column(n, 6, |row| text[row % text.len()]).collect::<StringArray>()) as ArrayRef),
        ("day", Arc::new(column(n, 9, |row| row as i32 * 11).collect::<Date32Array>()) as ArrayRef),
        (
            "seen",
            Arc::new(
                column(n, 8, |row| row as i64 * 86_399_999_983 + row as i64 % 2).collect::<TimestampMicrosecondArray>(),
            ) as ArrayRef,
        ),
    ])
    .unwrap()
}

/// Names of a batch's columns.
pub fn names(batch: &RecordBatch) -> Vec<String> {
    batch.schema().fields().iter().map(|field| field.name().clone()).collect()
}
