//! The columns of a generated table and the sheet that rows are written on.
//!
//! Data and truth are two tables from the start: no generator can leak one into the other.

use crate::column::{Column, MISSING_LEVEL};
use crate::error::DataError;
use crate::schema::{Field, RawType, Schema};
use crate::table::Table;

/// One column: its name, its type in a file, and its levels when it is a category.
#[derive(Clone, Debug)]
pub(super) struct ColumnSpec {
    name: String,
    raw_type: RawType,
    levels: Vec<String>,
}

impl ColumnSpec {
    /// A number that files carry in 32 bits.
    pub(super) fn single(name: impl Into<String>) -> Self {
        ColumnSpec { name: name.into(), raw_type: RawType::Float32, levels: Vec::new() }
    }

    /// A number that files carry in 64 bits.
    pub(super) fn double(name: impl Into<String>) -> Self {
        ColumnSpec { name: name.into(), raw_type: RawType::Float64, levels: Vec::new() }
    }

    /// A whole number.
    pub(super) fn integer(name: impl Into<String>) -> Self {
        ColumnSpec { name: name.into(), raw_type: RawType::Integer, levels: Vec::new() }
    }

    /// A category; a row's value is the position of its level, NaN where it is missing.
    pub(super) fn category(name: impl Into<String>, levels: Vec<String>) -> Self {
        ColumnSpec { name: name.into(), raw_type: RawType::Text, levels }
    }
}

/// x1, x2, … as 32-bit numbers.
pub(super) fn numbered(n: usize) -> Vec<ColumnSpec> {
    (1..=n).map(|i| ColumnSpec::single(format!("x{i}"))).collect()
}

/// A table under construction, filled row by row.
pub(super) struct Sheet {
    specs: Vec<ColumnSpec>,
    values: Vec<Vec<f64>>,
    /// The row being written, one value per column.
    pub(super) row: Vec<f64>,
}

impl Sheet {
    /// An empty sheet with room for `n_rows`.
    pub(super) fn new(specs: Vec<ColumnSpec>, n_rows: usize) -> Self {
        let values = specs.iter().map(|_| Vec::with_capacity(n_rows)).collect();
        let row = vec![f64::NAN; specs.len()];
        Sheet { specs, values, row }
    }

    /// Files the row being written.
    pub(super) fn file(&mut self) {
        for ((spec, column), &value) in self.specs.iter().zip(&mut self.values).zip(&self.row) {
            column.push(if spec.raw_type == RawType::Float32 { f64::from(value as f32) } else { value });
        }
    }

    /// Puts the rows of another sheet of the same columns below its own.
    pub(super) fn append(&mut self, other: Sheet) {
        for (column, more) in self.values.iter_mut().zip(other.values) {
            column.extend_from_slice(&more);
        }
    }

    /// The table and its schema.
    pub(super) fn finish(self) -> Result<(Table, Schema), DataError> {
        let mut table = Table::new();
        let mut fields = Vec::with_capacity(self.specs.len());
        for (spec, values) in self.specs.into_iter().zip(self.values) {
            fields.push(Field { name: spec.name.clone(), raw_type: spec.raw_type });
            let column = if spec.raw_type == RawType::Text {
                let codes = values.iter().map(|v| if v.is_nan() { MISSING_LEVEL } else { *v as u32 }).collect();
                Column::Category { codes, levels: spec.levels }
            } else {
                Column::Number(values)
            };
            table.push(spec.name, column)?;
        }
        Ok((table, Schema::new(fields)?))
    }
}
