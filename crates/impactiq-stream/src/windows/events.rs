//! Rows of a batch as events: user, time, kind, and the columns that windows read.
//!
//! Files and JSON come here through the same cast (`impactiq_io`), so an event is the same
//! whichever door it came through.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use impactiq_data::DataError;
use impactiq_io::{RowError, json_rows_to_batch};
use serde_json::Value;

use super::plan::{WindowPlan, first_bytes};
use crate::error::StreamError;

/// The kind of an event that no feature asks for.
const OTHER_KIND: usize = usize::MAX;
/// The key of a missing value; hashes never take it.
pub(super) const NO_KEY: u64 = 0;
/// Times beyond some 146,000 years are slips, and would overflow windows.
const FARTHEST: f64 = (1u64 << 62) as f64;

/// Events of a batch, by row. A row without a user or a time, or with a cell that does not fit,
/// is no event.
#[derive(Clone, Debug)]
pub struct Events {
    users: StringArray,
    times: Vec<i64>,
    usable: Vec<bool>,
    kinds: Vec<usize>,
    /// Row by row.
    numbers: Vec<f64>,
    n_numbers: usize,
    /// Row by row.
    keys: Vec<u64>,
    n_keys: usize,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventRef<'a> {
    /// Who.
    pub user: &'a str,
    /// When, in microseconds since 1970.
    pub time: i64,
    /// Place among the plan's kinds.
    pub(super) kind: usize,
    pub(super) numbers: &'a [f64],
    pub(super) keys: &'a [u64],
}

impl Events {
    /// Events of JSON objects, and why some rows are none.
    ///
    /// A visit has no amount and a purchase no page: an absent column of an event is a missing
    /// value, whatever other keys there are. Only a user and a time must be there.
    ///
    /// # Errors
    /// [`StreamError::Io`].
    pub fn of_json(plan: &WindowPlan, rows: &[Value]) -> Result<(Self, Vec<RowError>), StreamError> {
        let complete: Vec<Value> = rows.iter().map(|row| with_every_column(plan, row)).collect();
        let (batch, mut errors) = json_rows_to_batch(&complete, plan.schema())?;
        let events = Self::of_batch(plan, &batch, &errors)?;
        let config = plan.config();
        for row in (0..events.n_rows()).filter(|row| !events.usable[*row]) {
            if errors.iter().all(|error| error.row != row as u64) {
                let column = if events.users.is_null(row) { &config.user } else { &config.time };
                let reason = "is missing, and no event is without".to_owned();
                errors.push(RowError { row: row as u64, column: column.clone(), value: String::new(), reason });
            }
        }
        errors.sort_by_key(|error| error.row);
        Ok((events, errors))
    }

    /// Events of a batch that was cast to the plan's schema; `errors` are what did not fit.
    ///
    /// # Errors
    /// [`StreamError::Data`] for a column that is not there.
    pub fn of_batch(plan: &WindowPlan, batch: &RecordBatch, errors: &[RowError]) -> Result<Self, StreamError> {
        let config = plan.config();
        let n = batch.num_rows();
        let users = text(batch, &config.user)?.clone();
        let mut usable: Vec<bool> = (0..n).map(|row| !users.is_null(row)).collect();
        for error in errors {
            if let Some(flag) = usize::try_from(error.row).ok().and_then(|row| usable.get_mut(row)) {
                *flag = false;
            }
        }
        let times = times(plan, column(batch, &config.time)?, &mut usable)?;
        let mut kinds = vec![OTHER_KIND; n];
        if !plan.kinds.is_empty() {
            let column = text(batch, &config.kind)?;
            for (row, kind) in kinds.iter_mut().enumerate().filter(|(row, _)| !column.is_null(*row)) {
                let name = column.value(row);
                *kind = plan.kinds.iter().position(|known| known == name).unwrap_or(OTHER_KIND);
            }
        }
        let (n_numbers, n_keys) = (plan.number_columns.len(), plan.key_columns.len());
        let (mut numbers, mut keys) = (vec![f64::NAN; n * n_numbers], vec![NO_KEY; n * n_keys]);
        for (place, name) in plan.number_columns.iter().enumerate() {
            let array = column(batch, name)?;
            let values = array.as_primitive_opt::<Float64Type>().ok_or_else(|| missing(name, batch))?;
            for row in (0..n).filter(|row| !values.is_null(*row)) {
                numbers[row * n_numbers + place] = values.value(row);
            }
        }
        for (place, name) in plan.key_columns.iter().enumerate() {
            let values = text(batch, name)?;
            for row in (0..n).filter(|row| !values.is_null(*row)) {
                keys[row * n_keys + place] = key_of(values.value(row));
            }
        }
        Ok(Events { users, times, usable, kinds, numbers, n_numbers, keys, n_keys })
    }

    /// Rows, events or not.
    pub fn n_rows(&self) -> usize {
        self.usable.len()
    }

    /// The event of a row; `None` where it is none.
    pub fn get(&self, row: usize) -> Option<EventRef<'_>> {
        self.usable.get(row).copied().filter(|usable| *usable)?;
        Some(EventRef {
            user: self.users.value(row),
            time: self.times[row],
            kind: self.kinds[row],
            numbers: &self.numbers[row * self.n_numbers..(row + 1) * self.n_numbers],
            keys: &self.keys[row * self.n_keys..(row + 1) * self.n_keys],
        })
    }
}

fn with_every_column(plan: &WindowPlan, row: &Value) -> Value {
    let Value::Object(object) = row else { return row.clone() };
    let fields = plan.schema().fields().iter();
    Value::Object(fields.map(|f| (f.name.clone(), object.get(&f.name).cloned().unwrap_or(Value::Null))).collect())
}

/// Values are told apart by 64 bits of their SHA-256: two of a billion distinct ones share them
/// with a chance of 3 %.
fn key_of(value: &str) -> u64 {
    first_bytes(value.as_bytes()).max(NO_KEY + 1)
}

fn times(plan: &WindowPlan, array: &ArrayRef, usable: &mut [bool]) -> Result<Vec<i64>, StreamError> {
    let wrong = || DataError::missing_column(&plan.config().time, &plan.schema().names());
    let mut times = vec![0; usable.len()];
    match plan.time_unit() {
        None => {
            let values = array.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
            for (row, time) in times.iter_mut().enumerate() {
                usable[row] &= !values.is_null(row) && (values.value(row) as f64).abs() < FARTHEST;
                *time = values.value(row);
            }
        }
        Some(unit) => {
            let values = array.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?;
            for (row, time) in times.iter_mut().enumerate() {
                let micros = (values.value(row) * unit.micros()).round();
                usable[row] &= !values.is_null(row) && micros.abs() < FARTHEST;
                *time = micros as i64;
            }
        }
    }
    Ok(times)
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, StreamError> {
    batch.column_by_name(name).ok_or_else(|| missing(name, batch))
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, StreamError> {
    column(batch, name)?.as_string_opt::<i32>().ok_or_else(|| missing(name, batch))
}

fn missing(name: &str, batch: &RecordBatch) -> StreamError {
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    DataError::missing_column(name, &names).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::windows::WindowsConfig;

    #[test]
    fn rows_that_are_no_events_say_why_and_absent_columns_are_missing_values() {
        let text = "windows: {user: u, time: t, features: {a: {sum: amount, over: 1d}, b: {distinct: p, over: 1d}}}";
        let plan = WindowPlan::new(&WindowsConfig::from_yaml(text, "s.yaml").unwrap()).unwrap();
        let time = "2026-01-31T12:00:00Z";
        let rows = [
            json!({"u": 1, "t": time, "amounts": 3}),
            json!({"t": time}),
            json!({"u": "a", "t": null}),
            json!({"u": "a", "t": "noon"}),
            json!({"u": "a", "t": time, "amount": "much"}),
            json!("no object"),
            json!({"u": "a", "t": 1_700_000_000}),
        ];
        let (events, errors) = Events::of_json(&plan, &rows).unwrap();
        assert_eq!(events.get(0).unwrap().user, "1");
        assert!(events.get(0).unwrap().numbers[0].is_nan() && (1..7).all(|row| events.get(row).is_none()));
        let told: Vec<(u64, &str)> = errors.iter().map(|error| (error.row, error.column.as_str())).collect();
        assert_eq!(told, [(1, "u"), (2, "t"), (3, "t"), (4, "amount"), (5, "u"), (6, "t")]);
        assert!(events.get(7).is_none());
    }

    #[test]
    fn a_value_is_the_same_key_however_it_is_written() {
        let text = "windows: {user: u, time: t, time_unit: ms, features: {b: {distinct: p, over: 1d}}}";
        let plan = WindowPlan::new(&WindowsConfig::from_yaml(text, "s.yaml").unwrap()).unwrap();
        let rows = [42.into(), json!("42"), json!(42.0), json!(43), json!(null)]
            .map(|p| json!({"u": "a", "t": 1_500, "p": p}));
        let (events, _) = Events::of_json(&plan, &rows).unwrap();
        let keys: Vec<u64> = (0..5).map(|row| events.get(row).unwrap().keys[0]).collect();
        assert!(keys[0] == keys[1] && keys[1] == keys[2] && keys[2] != keys[3] && keys[4] == NO_KEY);
        assert_eq!(events.get(0).unwrap().time, 1_500_000);
    }
}
