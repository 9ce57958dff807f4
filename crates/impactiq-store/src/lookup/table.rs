//! A look-up table in memory: columns of the model's types, an index over the keys, and how rows are filled
//! from them. Where the columns come from is not known here.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::{concat, concat_batches, take};
use arrow::datatypes::{Field as ArrowField, Float32Type, Float64Type, Int64Type, Schema as ArrowSchema};
use arrow::error::ArrowError;
use impactiq_data::{Field, RawType, Schema};
use impactiq_io::{arrow_schema, cast, json_rows_to_batch};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::error::StoreError;
use crate::lookup::index::{Index, MAX_ROWS};

/// A row that cannot be filled: a value, never a failed batch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("row {}, column '{column}': {}", row + 1, reason(.value))]
pub struct Miss {
    /// The row, counted from 0.
    pub row: usize,
    /// The key column.
    pub column: String,
    /// The key that the look-up table doesn't have; `None`: the row has no key.
    pub value: Option<String>,
}

fn reason(value: &Option<String>) -> String {
    match value {
        Some(value) => format!("'{}' is not in the look-up table", value.chars().take(80).collect::<String>()),
        None => "is missing, and so are columns that it would be looked up for".into(),
    }
}

impl Miss {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self.value {
            Some(_) => "send the row's columns with it, or add the key to the look-up table".into(),
            None => format!("send '{}', or the row's columns", self.column),
        }
    }
}

/// Keys and the columns they lead to.
#[derive(Debug)]
pub(super) struct Table {
    key: String,
    keys: StringArray,
    schema: Schema,
    columns: RecordBatch,
    index: Index,
}

/// A table in the making, batch by batch.
pub(super) struct TableBuilder {
    source_name: String,
    key: String,
    schema: Schema,
    keys: Vec<ArrayRef>,
    columns: Vec<RecordBatch>,
    n_rows: u64,
}

/// The key as text, by the rules of every door: 7, 7.0 and "7" are one key.
pub(super) fn key_schema(key: &str) -> Result<Schema, StoreError> {
    let field = Field { name: key.to_owned(), raw_type: RawType::Text };
    Ok(Schema::new(vec![field]).map_err(impactiq_io::IoError::from)?)
}

impl TableBuilder {
    /// A table of the columns of `schema` (without the key).
    pub fn new(source_name: String, key: String, schema: Schema) -> Self {
        TableBuilder { source_name, key, schema, keys: Vec::new(), columns: Vec::new(), n_rows: 0 }
    }

    /// Adds rows that are of the table's types.
    pub fn push(&mut self, keys: &ArrayRef, columns: RecordBatch) -> Result<(), StoreError> {
        if let Some(row) = (0..keys.len()).find(|row| keys.is_null(*row)) {
            return Err(StoreError::MissingKey {
                source_name: self.source_name.clone(),
                key: self.key.clone(),
                row: self.n_rows + row as u64 + 1,
            });
        }
        self.n_rows += keys.len() as u64;
        if self.n_rows > MAX_ROWS as u64 {
            return Err(self.too_many());
        }
        self.keys.push(Arc::clone(keys));
        self.columns.push(columns);
        Ok(())
    }

    /// Indexes what was added.
    pub fn finish(self) -> Result<Table, StoreError> {
        let too_many = |_: ArrowError| self.too_many();
        if self.keys.is_empty() {
            let error = impactiq_data::DataError::NoRows { after: None };
            return Err(impactiq_io::IoError::from(error).into());
        }
        // Only texts of more than 2 GiB in one column can keep batches of one schema apart.
        let parts: Vec<&dyn Array> = self.keys.iter().map(|part| &**part as &dyn Array).collect();
        let keys = concat(&parts).map_err(too_many)?.as_string::<i32>().clone();
        let columns = concat_batches(&Arc::new(arrow_schema(&self.schema)), &self.columns).map_err(too_many)?;
        let index = Index::build(&keys).map_err(|(first, second)| StoreError::DuplicateKey {
            source_name: self.source_name.clone(),
            value: keys.value(first).to_owned(),
            first: first as u64 + 1,
            second: second as u64 + 1,
        })?;
        Ok(Table { key: self.key, keys, schema: self.schema, columns, index })
    }

    fn too_many(&self) -> StoreError {
        StoreError::TooManyRows { source_name: self.source_name.clone(), limit: MAX_ROWS }
    }
}

impl Table {
    pub fn n_rows(&self) -> usize {
        self.keys.len()
    }

    pub fn column_names(&self) -> Vec<String> {
        self.schema.names()
    }

    /// Memory it takes.
    pub fn n_bytes(&self) -> usize {
        self.keys.get_array_memory_size() + self.columns.get_array_memory_size() + self.index.n_bytes()
    }

    /// Adds absent columns to JSON rows; a value that is there stays, `null` too.
    pub fn fill(&self, rows: &mut [Value]) -> Result<Vec<Miss>, StoreError> {
        let names = self.column_names();
        let wanting =
            |row: &Value| row.as_object().is_some_and(|object| names.iter().any(|name| !object.contains_key(name)));
        if !rows.iter().any(wanting) {
            return Ok(Vec::new());
        }
        let (keys, _) = json_rows_to_batch(rows, &key_schema(&self.key)?)?;
        let mut misses = Vec::new();
        let mut found = Vec::new();
        let mut places = Vec::new();
        for (row, key) in keys.column(0).as_string::<i32>().iter().enumerate() {
            if !wanting(&rows[row]) {
                continue;
            }
            match key.and_then(|key| self.index.find(&self.keys, key)) {
                Some(place) => {
                    found.push(row);
                    places.push(place as u32);
                }
                None => misses.push(Miss { row, column: self.key.clone(), value: key.map(str::to_owned) }),
            }
        }
        let places = UInt32Array::from(places);
        for (field, column) in self.schema.fields().iter().zip(self.columns.columns()) {
            let cells = json_cells(field, &take(column, &places, None).map_err(internal)?)?;
            for (row, cell) in found.iter().zip(cells) {
                if let Some(object) = rows[*row].as_object_mut() {
                    add(object, &field.name, cell);
                }
            }
        }
        Ok(misses)
    }

    /// Adds absent columns to a batch; columns that are there stay as they are.
    pub fn fill_batch(&self, batch: &RecordBatch) -> Result<(RecordBatch, Vec<Miss>), StoreError> {
        let present = batch.schema();
        let absent: Vec<usize> = (0..self.columns.num_columns())
            .filter(|column| present.index_of(&self.schema.fields()[*column].name).is_err())
            .collect();
        if absent.is_empty() {
            return Ok((batch.clone(), Vec::new()));
        }
        let (keys, _) = cast(batch, &key_schema(&self.key)?)?;
        let mut misses = Vec::new();
        let places: UInt32Array = keys
            .column(0)
            .as_string::<i32>()
            .iter()
            .enumerate()
            .map(|(row, key)| {
                let place = key.and_then(|key| self.index.find(&self.keys, key));
                if place.is_none() {
                    misses.push(Miss { row, column: self.key.clone(), value: key.map(str::to_owned) });
                }
                place.map(|place| place as u32)
            })
            .collect();
        let mut fields: Vec<Arc<ArrowField>> = present.fields().iter().cloned().collect();
        let mut columns = batch.columns().to_vec();
        for column in absent {
            fields.push(Arc::clone(&self.columns.schema().fields()[column]));
            columns.push(take(self.columns.column(column), &places, None).map_err(internal)?);
        }
        let schema = ArrowSchema::new_with_metadata(fields, present.metadata().clone());
        Ok((RecordBatch::try_new(Arc::new(schema), columns).map_err(internal)?, misses))
    }
}

fn add(object: &mut Map<String, Value>, name: &str, cell: Value) {
    if !object.contains_key(name) {
        object.insert(name.to_owned(), cell);
    }
}

/// Arrow refuses a take or a batch only where an index or a length is wrong, which is our fault.
fn internal(error: ArrowError) -> StoreError {
    StoreError::Look { detail: error.to_string() }
}

/// Cells as JSON that every door reads back to the same bits; dates and moments as text.
fn json_cells(field: &Field, array: &ArrayRef) -> Result<Vec<Value>, StoreError> {
    let or_null = |value: Option<Value>| value.unwrap_or(Value::Null);
    Ok(match field.raw_type {
        RawType::Boolean => array.as_boolean().iter().map(|cell| or_null(cell.map(Value::from))).collect(),
        RawType::Integer => {
            array.as_primitive::<Int64Type>().iter().map(|cell| or_null(cell.map(Value::from))).collect()
        }
        // Not through its shortest decimal: a 32-bit number is a 64-bit number without loss.
        RawType::Float32 => array
            .as_primitive::<Float32Type>()
            .iter()
            .map(|cell| or_null(cell.map(|value| Value::from(f64::from(value)))))
            .collect(),
        RawType::Float64 => {
            array.as_primitive::<Float64Type>().iter().map(|cell| or_null(cell.map(Value::from))).collect()
        }
        RawType::Text => array.as_string::<i32>().iter().map(|cell| or_null(cell.map(Value::from))).collect(),
        RawType::Date | RawType::Timestamp => {
            let schema = ArrowSchema::new(vec![ArrowField::new(&field.name, array.data_type().clone(), true)]);
            let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(array)]).map_err(internal)?;
            let (texts, _) = cast(&batch, &key_schema(&field.name)?)?;
            texts.column(0).as_string::<i32>().iter().map(|cell| or_null(cell.map(Value::from))).collect()
        }
    })
}
