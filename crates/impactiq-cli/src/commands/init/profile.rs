//! A look at the first rows of a source: types, missing and distinct values per column.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use impactiq_data::Schema;
use impactiq_io::{Batches, PassThrough, Source};

use super::guess::ColumnProfile;
use crate::exit::{Failure, Outcome};

/// Rows that are looked at.
const MOST_ROWS: u64 = 200_000;
/// Distinct values that are counted; beyond, a column has too many to be arms.
const MOST_VALUES: usize = 64;

/// Profiles of all columns, and the rows looked at.
///
/// # Errors
/// Whatever is wrong with the file.
pub fn profile(source: &Source, schema: &Schema) -> Outcome<(Vec<ColumnProfile>, u64)> {
    let mut columns: Vec<Growing> = schema.fields().iter().map(|_| Growing::default()).collect();
    let mut n_rows = 0;
    for batch in Batches::open(source, schema, &PassThrough::Only(Vec::new()))? {
        let batch = batch?;
        n_rows += batch.rows.num_rows() as u64;
        for (field, growing) in schema.fields().iter().zip(&mut columns) {
            growing.add(&batch.rows, &field.name)?;
        }
        if n_rows >= MOST_ROWS {
            break;
        }
    }
    let profiles = schema.fields().iter().zip(columns).map(|(field, growing)| {
        let is_unique = growing.is_unique && n_rows > 1 && growing.n_missing == 0;
        ColumnProfile {
            name: field.name.clone(),
            raw_type: field.raw_type,
            n_rows,
            n_missing: growing.n_missing,
            values: growing.values(),
            is_unique,
        }
    });
    Ok((profiles.collect(), n_rows))
}

/// What is known of a column so far.
struct Growing {
    n_missing: u64,
    counts: BTreeMap<String, u64>,
    overflowed: bool,
    seen: std::collections::BTreeSet<u64>,
    is_unique: bool,
}

impl Default for Growing {
    fn default() -> Self {
        Growing {
            n_missing: 0,
            counts: BTreeMap::new(),
            overflowed: false,
            seen: std::collections::BTreeSet::new(),
            is_unique: true,
        }
    }
}

impl Growing {
    fn add(&mut self, batch: &RecordBatch, name: &str) -> Outcome<()> {
        let Some(array) = batch.column_by_name(name) else { return Ok(()) };
        let broken = |e: arrow::error::ArrowError| Failure::new(format!("column '{name}': {e}"), "please report this");
        let format = ArrayFormatter::try_new(array, &FormatOptions::default()).map_err(broken)?;
        for row in 0..array.len() {
            if array.is_null(row) {
                self.n_missing += 1;
                continue;
            }
            if self.overflowed && !self.is_unique {
                continue;
            }
            let text = value_text(&format.value(row).to_string());
            if self.is_unique {
                self.is_unique = self.seen.insert(hash(&text));
                if !self.is_unique {
                    self.seen.clear();
                }
            }
            if !self.overflowed {
                *self.counts.entry(text).or_default() += 1;
                self.overflowed = self.counts.len() > MOST_VALUES;
            }
        }
        Ok(())
    }

    fn values(self) -> Option<Vec<(String, u64)>> {
        if self.overflowed {
            return None;
        }
        let mut values: Vec<(String, u64)> = self.counts.into_iter().collect();
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Some(values)
    }
}

/// Values as arms are named: whole numbers without a decimal point, truth values as 1 and 0.
fn value_text(text: &str) -> String {
    match text {
        "true" => "1".into(),
        "false" => "0".into(),
        _ => match text.parse::<f64>() {
            Ok(number) if number.is_finite() && text.contains('.') => impactiq_data::column::number_text(number),
            _ => text.to_owned(),
        },
    }
}

/// A stable 64-bit hash of a text (FNV-1a): two different values of one column that collide
/// would only hide an identifier.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
