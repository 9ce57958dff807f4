//! From bytes to rows: an event's own fields, then the columns of the model, from the event, the look-up table and
//! the windows. What cannot be read is a dead letter with its reason, never a failed batch.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, Field as ArrowField, Float64Type, Schema as ArrowSchema};
use impactiq_data::{Field, RawType, Schema};
use impactiq_io::{JsonTexts, RowError, TextFault};

use crate::config::EventConfig;
use crate::encode::Dead;
use crate::error::StreamError;
use crate::incoming::Incoming;
use crate::model::{Lent, StreamModel};
use crate::windows::WindowPlan;

/// What stands for a value that is not there: an object without columns.
const NOTHING: &[u8] = b"{}";

/// Bytes of an event's or a user's name: an index of a database takes no longer ones, and one event must not keep all
/// others from being written.
pub(crate) const LONGEST_NAME: usize = 1_000;

/// Events that were read.
pub(crate) struct Decoded<'a> {
    pub texts: JsonTexts<'a>,
    pub ids: StringArray,
    /// Why an event is a dead letter; the first reason stays.
    pub dead: Vec<Option<Dead>>,
}

/// Reads the fields of every event, whatever the model.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    event: EventConfig,
    fields: Schema,
}

impl Reader {
    /// # Errors
    /// [`StreamError::Data`] for a field that is named twice.
    pub fn new(event: &EventConfig) -> Result<Self, StreamError> {
        let time = if event.time_unit.is_some() { RawType::Float64 } else { RawType::Timestamp };
        let field = |name: &String, raw_type| Field { name: name.clone(), raw_type };
        let fields = Schema::new(vec![
            field(&event.id, RawType::Text),
            field(&event.time, time),
            field(&event.arm, RawType::Text),
            field(&event.probability, RawType::Float64),
        ])?;
        Ok(Reader { event: event.clone(), fields })
    }

    pub fn event(&self) -> &EventConfig {
        &self.event
    }

    /// Reads events, keeping the cells that model and windows will ask for.
    pub fn read<'a>(
        &self,
        incoming: &'a Incoming,
        model: Option<&StreamModel>,
        plan: Option<&WindowPlan>,
    ) -> Decoded<'a> {
        let n_rows = incoming.len();
        let mut dead: Vec<Option<Dead>> = vec![None; n_rows];
        let mut values = Vec::with_capacity(n_rows);
        for (row, dead) in dead.iter_mut().enumerate() {
            values.push(match incoming.value(row) {
                None => {
                    *dead = Some(Dead::new("empty", "it has no value"));
                    NOTHING
                }
                Some(value) if value.len() > self.event.max_bytes => {
                    let message = format!("it has {} bytes, more than {}", value.len(), self.event.max_bytes);
                    *dead = Some(Dead::new("too_large", message));
                    NOTHING
                }
                Some(value) => value,
            });
        }
        let texts = JsonTexts::parse(values, self.names(model, plan));
        for bad in texts.bad() {
            put(&mut dead[bad.row], code_of(bad.fault), || bad.detail.clone());
        }
        let (batch, errors) = texts.batch(&self.fields);
        for error in &errors {
            let code = match () {
                () if error.column == self.event.id => "bad_id",
                () if error.column == self.event.time => "bad_time",
                () if error.column == self.event.probability => "bad_probability",
                () => "bad_value",
            };
            put(&mut dead[error.row as usize], code, || told(error));
        }
        let ids = batch.column(0).as_string::<i32>().clone();
        let (times, chances) = (batch.column(1), batch.column(3).as_primitive::<Float64Type>());
        for (row, dead) in dead.iter_mut().enumerate() {
            if ids.is_null(row) {
                put(dead, "bad_id", || format!("'{}' is missing", self.event.id));
            } else if ids.value(row).len() > LONGEST_NAME {
                let n = ids.value(row).len();
                put(dead, "bad_id", || format!("'{}' has {n} bytes, more than {LONGEST_NAME}", self.event.id));
            } else if times.is_null(row) {
                put(dead, "bad_time", || format!("'{}' is missing", self.event.time));
            } else if chances.is_valid(row) && !(0.0..=1.0).contains(&chances.value(row)) {
                let value = chances.value(row);
                put(dead, "bad_probability", || format!("'{}' is {value}, not within [0, 1]", self.event.probability));
            }
        }
        Decoded { texts, ids, dead }
    }

    fn names(&self, model: Option<&StreamModel>, plan: Option<&WindowPlan>) -> Vec<String> {
        let mut names = self.fields.names();
        let mut add = |more: Vec<String>| {
            more.into_iter().for_each(|name| {
                if !names.contains(&name) {
                    names.push(name);
                }
            })
        };
        if let Some(model) = model {
            add(model.own.names());
            add(model.lookup.as_ref().map(|lent| lent.key.names()).unwrap_or_default());
        }
        add(plan.map(|plan| plan.schema().names()).unwrap_or_default());
        names
    }
}

/// Gives an event its reason, unless it has one.
pub(crate) fn put(dead: &mut Option<Dead>, code: &'static str, message: impl FnOnce() -> String) {
    if dead.is_none() {
        *dead = Some(Dead::new(code, message()));
    }
}

/// A cell that does not fit, without its place in the batch.
pub(crate) fn told(error: &RowError) -> String {
    let value = if error.value.is_empty() { String::new() } else { format!("'{}' ", error.value) };
    format!("column '{}': {value}{}", error.column, error.reason)
}

fn code_of(fault: TextFault) -> &'static str {
    match fault {
        TextFault::NotUtf8 => "not_utf8",
        TextFault::TooDeep => "too_deep",
        TextFault::NotJson => "not_json",
        TextFault::NotAnObject => "not_an_object",
        TextFault::DuplicateKey => "duplicate_key",
    }
}

/// The rows as the scorer takes them: what the event brings, what the table lends, what windows know (one column
/// per feature of the plan; NaN is missing). Reasons are added to `dead`; errors are the scorer's to keep.
pub(crate) fn rows_of(
    model: &StreamModel,
    decoded: &mut Decoded<'_>,
    windows: &[Vec<f64>],
) -> Result<(RecordBatch, Vec<RowError>), StreamError> {
    let (own, mut errors) = decoded.texts.batch(&model.own);
    for slip in decoded.texts.slips(&model.must_bring()) {
        let code = if slip.none_at_all { "no_columns" } else { "bad_value" };
        put(&mut decoded.dead[slip.error.row as usize], code, || told(&slip.error));
    }
    let mut columns: Vec<(String, ArrayRef)> =
        model.own.names().into_iter().zip(own.columns().iter().cloned()).collect();
    if let Some(lent) = &model.lookup {
        fill(lent, decoded, &mut columns, &mut errors)?;
    }
    for (name, place) in &model.windowed {
        let values = windows[*place].iter().map(|value| (!value.is_nan()).then_some(*value));
        columns.push((name.clone(), Arc::new(values.collect::<Float64Array>())));
    }
    Ok((batch(columns, decoded.texts.n_rows())?, errors))
}

/// Lends rows the columns that they did not bring; a value in the event wins, `null` too.
fn fill(
    lent: &Lent,
    decoded: &mut Decoded<'_>,
    columns: &mut Vec<(String, ArrayRef)>,
    errors: &mut Vec<RowError>,
) -> Result<(), StreamError> {
    let (keys, _) = decoded.texts.batch(&lent.key);
    let key = lent.key.names();
    let (filled, misses) =
        lent.table.fill_batch(&batch(vec![(key[0].clone(), Arc::clone(keys.column(0)))], decoded.texts.n_rows())?)?;
    let mut brings_all = vec![true; decoded.texts.n_rows()];
    for name in lent.columns.names() {
        let own = decoded.texts.has(&name);
        (0..own.len()).for_each(|row| brings_all[row] &= own.value(row));
        let looked_up = filled.column_by_name(&name);
        let place = columns.iter_mut().find(|(column, _)| *column == name);
        if let (Some(looked_up), Some((_, column))) = (looked_up, place) {
            let merged = zip(&own, &Arc::clone(column), looked_up)
                .map_err(|error| StreamError::Damaged { what: "look-up column", problem: error.to_string() })?;
            *column = merged;
        }
        // A cell that is not the event's own is no error of the event.
        errors.retain(|error| error.column != name || own.value(error.row as usize));
    }
    for miss in misses.iter().filter(|miss| !brings_all[miss.row]) {
        let message = match &miss.value {
            Some(value) => format!("column '{}': '{value}' is not in the look-up table", miss.column),
            None => format!("column '{}': is missing, and so are columns it would be looked up for", miss.column),
        };
        put(&mut decoded.dead[miss.row], "not_found", || message);
    }
    Ok(())
}

fn batch(columns: Vec<(String, ArrayRef)>, n_rows: usize) -> Result<RecordBatch, StreamError> {
    let field = |(name, array): &(String, ArrayRef)| ArrowField::new(name, DataType::clone(array.data_type()), true);
    let schema = ArrowSchema::new(columns.iter().map(field).collect::<Vec<_>>());
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options)
        .map_err(|error| StreamError::Damaged { what: "rows of a batch", problem: error.to_string() })
}
