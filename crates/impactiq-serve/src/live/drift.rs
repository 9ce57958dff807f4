//! How far scored rows have moved from the training rows, column by column.
//!
//! Population stability index between the profile's shares and those of the last rows:
//! Σ (now − then) · ln(now / then) over about ten bins of a column, missing values being one of
//! them. Only bin codes are kept, a byte per cell, so memory is bounded and no value stays.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Float32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use impactiq_score::profile::{CategoryProfile, ColumnProfile, NumberProfile, Profile};

use crate::live::tick::{ColumnDrift, DriftFigures};

/// Rows that are compared.
const WINDOW: usize = 10_000;
/// Rows that must have come before anything is said: with fewer, chance alone moves the index.
pub const NEEDED: u64 = 500;
/// Rows of one request that are looked at; more would let one file speak for everybody.
const PER_REQUEST: usize = 1_000;
/// A bin of numbers holds at least this share of the training rows, where ties allow it.
const BIN_SHARE: f64 = 0.095;
/// A share of zero has no logarithm; a quarter of a row stands for it.
const SMALLEST: f64 = 0.25;
/// The code of a missing value.
const MISSING: u8 = 0;

/// The window of a model.
#[derive(Debug)]
pub struct Drift {
    columns: Vec<DriftColumn>,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct DriftColumn {
    name: String,
    bins: Bins,
    /// Share of the training rows per code.
    expected: Vec<f64>,
}

#[derive(Debug)]
enum Bins {
    /// Upper ends of all bins but the last.
    Ends(Vec<f64>),
    /// Code of each published category; the last code is "other".
    Levels(HashMap<String, u8>),
}

#[derive(Debug)]
struct Window {
    codes: Vec<u8>,
    counts: Vec<Vec<u32>>,
    n_rows: usize,
    next: usize,
}

impl DriftColumn {
    fn of(profile: &ColumnProfile) -> DriftColumn {
        match profile {
            ColumnProfile::Number(column) | ColumnProfile::Time(column) => DriftColumn::of_numbers(column),
            ColumnProfile::Category(column) => DriftColumn::of_categories(column),
        }
    }

    fn of_numbers(column: &NumberProfile) -> DriftColumn {
        let present = 1.0 - column.missing;
        let (mut ends, mut expected, mut told) = (Vec::new(), vec![column.missing], 0.0);
        for &(end, up_to) in &column.edges {
            let is_wide = up_to - told >= BIN_SHARE && 1.0 - up_to >= 1e-3;
            if is_wide {
                ends.push(end);
                expected.push((up_to - told) * present);
                told = up_to;
            }
        }
        expected.push((1.0 - told) * present);
        DriftColumn { name: column.name.clone(), bins: Bins::Ends(ends), expected }
    }

    fn of_categories(column: &CategoryProfile) -> DriftColumn {
        let mut expected = vec![column.missing];
        let mut levels = HashMap::new();
        for (index, level) in column.levels.iter().enumerate() {
            levels.insert(level.value.clone(), index as u8 + 1);
            expected.push(level.share);
        }
        expected.push(column.other);
        DriftColumn { name: column.name.clone(), bins: Bins::Levels(levels), expected }
    }

    fn code(&self, array: &ArrayRef, row: usize) -> u8 {
        if array.is_null(row) {
            return MISSING;
        }
        let other = (self.expected.len() - 1) as u8;
        match &self.bins {
            Bins::Levels(levels) => match array.data_type() {
                DataType::Utf8 => levels.get(array.as_string::<i32>().value(row)).copied().unwrap_or(other),
                _ => other,
            },
            Bins::Ends(ends) => {
                let value = number(array, row);
                1 + ends.partition_point(|&end| end < value) as u8
            }
        }
    }

    fn psi(&self, counts: &[u32], n_rows: usize) -> f64 {
        let n = n_rows as f64;
        let floor = SMALLEST / n;
        let pairs = self.expected.iter().zip(counts);
        pairs
            .map(|(&then, &count)| {
                let (then, now) = (then.max(floor), (f64::from(count) / n).max(floor));
                (now - then) * (now / then).ln()
            })
            .sum()
    }
}

fn number(array: &ArrayRef, row: usize) -> f64 {
    match array.data_type() {
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row),
        DataType::Float32 => f64::from(array.as_primitive::<Float32Type>().value(row)),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row) as f64,
        DataType::Boolean => f64::from(u8::from(array.as_boolean().value(row))),
        DataType::Date32 => f64::from(array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row) as f64,
        _ => f64::NAN,
    }
}

impl Drift {
    /// An empty window beside a profile.
    pub fn new(profile: &Profile) -> Drift {
        let columns: Vec<DriftColumn> = profile.columns.iter().map(DriftColumn::of).collect();
        let counts = columns.iter().map(|column| vec![0; column.expected.len()]).collect();
        let window = Window { codes: Vec::new(), counts, n_rows: 0, next: 0 };
        Drift { columns, window: Mutex::new(window) }
    }

    /// Looks at rows that were cast to the model's schema; rows with an error stay out.
    pub fn observe(&self, batch: &RecordBatch, is_good: impl Fn(usize) -> bool) {
        let n_rows = batch.num_rows();
        let width = self.columns.len();
        if width == 0 || n_rows == 0 {
            return;
        }
        let arrays: Vec<Option<&ArrayRef>> =
            self.columns.iter().map(|column| batch.column_by_name(&column.name)).collect();
        let mut codes = vec![MISSING; width];
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        for row in (0..n_rows).step_by(n_rows.div_ceil(PER_REQUEST)).filter(|&row| is_good(row)) {
            for ((code, column), array) in codes.iter_mut().zip(&self.columns).zip(&arrays) {
                *code = array.map_or(MISSING, |array| column.code(array, row));
            }
            window.push(&codes);
        }
    }

    /// How far the columns have moved, the most moved first.
    pub fn figures(&self) -> DriftFigures {
        let window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let n_rows = window.n_rows;
        let mut columns = Vec::new();
        if n_rows as u64 >= NEEDED {
            let counted = self.columns.iter().zip(&window.counts);
            columns.extend(
                counted.map(|(column, counts)| ColumnDrift {
                    column: column.name.clone(),
                    psi: column.psi(counts, n_rows),
                }),
            );
            columns.sort_by(|a, b| b.psi.total_cmp(&a.psi));
        }
        DriftFigures { n_rows: n_rows as u64, needed: NEEDED, columns }
    }
}

impl Window {
    fn push(&mut self, codes: &[u8]) {
        let width = codes.len();
        if self.n_rows < WINDOW {
            self.codes.extend_from_slice(codes);
            self.n_rows += 1;
        } else {
            let start = self.next * width;
            for (column, &code) in codes.iter().enumerate() {
                let old = std::mem::replace(&mut self.codes[start + column], code);
                self.counts[column][old as usize] -= 1;
            }
        }
        self.next = (self.next + 1) % WINDOW;
        for (column, &code) in codes.iter().enumerate() {
            self.counts[column][code as usize] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray};
    use impactiq_data::{ColumnView, Field, MISSING_LEVEL, RawType};

    fn drift() -> Drift {
        let values: Vec<f64> = (0..5000).map(|i| if i % 10 == 0 { f64::NAN } else { f64::from(i % 100) }).collect();
        let codes: Vec<u32> = (0..5000).map(|i| if i % 50 == 0 { MISSING_LEVEL } else { i % 2 }).collect();
        let levels = ["a".to_owned(), "b".to_owned()];
        let x = Field { name: "x".into(), raw_type: RawType::Float64 };
        let city = Field { name: "city".into(), raw_type: RawType::Text };
        let views =
            [(&x, ColumnView::Number(&values)), (&city, ColumnView::Category { codes: &codes, levels: &levels })];
        Drift::new(&Profile::of(&views, &vec![true; 5000]))
    }

    fn rows(n: usize, x: impl Fn(usize) -> Option<f64>, city: impl Fn(usize) -> Option<&'static str>) -> RecordBatch {
        RecordBatch::try_from_iter([
            ("x", Arc::new((0..n).map(x).collect::<Float64Array>()) as ArrayRef),
            ("city", Arc::new((0..n).map(city).collect::<StringArray>()) as ArrayRef),
        ])
        .unwrap()
    }

    fn psi(drift: &Drift, column: &str) -> f64 {
        drift.figures().columns.iter().find(|found| found.column == column).unwrap().psi
    }

    #[test]
    fn rows_like_those_of_training_are_calm_and_others_are_not() {
        let drift = drift();
        let same = rows(
            1000,
            |i| (i % 10 != 0).then_some((i % 100) as f64),
            |i| (i % 50 != 0).then_some(if i % 2 == 0 { "a" } else { "b" }),
        );
        drift.observe(&same, |_| true);
        assert!(psi(&drift, "x") < 0.02 && psi(&drift, "city") < 0.02, "{:?}", drift.figures());
        let moved = rows(1000, |_| Some(70.0), |i| Some(if i % 2 == 0 { "a" } else { "new" }));
        for _ in 0..11 {
            drift.observe(&moved, |_| true);
        }
        assert_eq!(drift.figures().n_rows, WINDOW as u64);
        assert!(psi(&drift, "x") > 0.25 && psi(&drift, "city") > 0.25);
    }

    #[test]
    fn nothing_is_said_before_enough_rows_came_and_bad_rows_do_not_count() {
        let drift = drift();
        let batch = rows(499, |_| None, |_| None);
        drift.observe(&batch, |_| true);
        drift.observe(&batch, |_| false);
        assert_eq!((drift.figures().n_rows, drift.figures().columns.len()), (499, 0));
        drift.observe(&rows(1, |_| Some(1.0), |_| Some("a")), |_| true);
        assert_eq!(drift.figures().columns.len(), 2);
        assert!(drift.figures().columns.iter().all(|column| column.psi.is_finite()));
    }
}
