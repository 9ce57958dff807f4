//! JSON rows: one flat object each, from NDJSON lines or from memory.
//!
//! A key that is absent is a missing value, exactly as `null`; keys that stand twice and
//! nested values of wanted columns are errors.

use std::borrow::Cow;
use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Float32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use impactiq_data::error::closest_name;
use impactiq_data::{RawType, Schema};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::cast::{arrow_schema, batch_of, build, finite};
use crate::error::{IoError, RowError};
use crate::value::{Cell, date_text, timestamp_text};

/// A value of a JSON object, borrowed from its text where possible.
#[derive(Clone, Debug, Default)]
pub(crate) enum JsonCell<'a> {
    #[default]
    Missing,
    Boolean(bool),
    Integer(i64),
    Large(u64),
    Number(f64),
    Text(Cow<'a, str>),
    Nested,
}

impl JsonCell<'_> {
    pub fn cell(&self) -> Cell<'_> {
        match self {
            JsonCell::Missing => Cell::Missing,
            JsonCell::Boolean(value) => Cell::Boolean(*value),
            JsonCell::Integer(value) => Cell::Integer(*value),
            JsonCell::Large(value) => Cell::Large(*value),
            JsonCell::Number(value) => Cell::Float64(*value),
            JsonCell::Text(text) => Cell::String(text),
            JsonCell::Nested => Cell::Nested,
        }
    }
}

/// A JSON value in memory as a cell.
pub(crate) fn cell_of(value: &Value) -> Cell<'_> {
    match value {
        Value::Null => Cell::Missing,
        Value::Bool(value) => Cell::Boolean(*value),
        Value::Number(number) => {
            if let Some(value) = number.as_i64() {
                Cell::Integer(value)
            } else if let Some(value) = number.as_u64() {
                Cell::Large(value)
            } else {
                Cell::Float64(number.as_f64().unwrap_or(f64::NAN))
            }
        }
        Value::String(text) => Cell::String(text),
        Value::Array(_) | Value::Object(_) => Cell::Nested,
    }
}

/// Which slot of a row each key fills.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    names: Vec<String>,
}

impl Slots {
    pub fn new(names: Vec<String>) -> Self {
        Slots { names }
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Where a name's cell is kept.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// The name that fills a slot.
    pub fn name(&self, slot: usize) -> Option<&str> {
        self.names.get(slot).map(String::as_str)
    }

    /// Looks first where the key stood in the rows before.
    pub fn find(&self, key: &str, guess: usize) -> Option<usize> {
        if self.names.get(guess).is_some_and(|name| name == key) {
            return Some(guess);
        }
        self.names.iter().position(|name| name == key)
    }
}

/// Parses one line into the wanted slots of a row.
pub(crate) fn parse_row<'a>(line: &'a str, slots: &Slots, row: &mut [JsonCell<'a>]) -> Result<(), String> {
    let mut deserializer = serde_json::Deserializer::from_str(line);
    let parsed = RowSeed { slots, row }.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    parsed.map_err(|error| json_detail(&error))
}

/// What serde_json says, with its column but without its line (ours is right).
pub(crate) fn json_detail(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) if error.is_eof() => format!("{} at the end", &text[..end]),
        Some(end) => format!("{} at character {}", &text[..end], error.column()),
        None => text,
    }
}

struct RowSeed<'r, 'a> {
    slots: &'r Slots,
    row: &'r mut [JsonCell<'a>],
}

impl<'a> DeserializeSeed<'a> for RowSeed<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for RowSeed<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        let mut seen = vec![0u64; self.slots.len().div_ceil(64)];
        let mut guess = 0;
        while let Some(key) = map.next_key_seed(TextSeed)? {
            match self.slots.find(&key, guess) {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some(slot) => {
                    if seen[slot / 64] >> (slot % 64) & 1 == 1 {
                        return Err(serde::de::Error::custom(format!("the key '{key}' stands twice")));
                    }
                    seen[slot / 64] |= 1 << (slot % 64);
                    self.row[slot] = map.next_value_seed(CellSeed)?;
                    guess = slot + 1;
                }
            }
        }
        Ok(())
    }
}

pub(crate) struct TextSeed;

impl<'a> DeserializeSeed<'a> for TextSeed {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for TextSeed {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

pub(crate) struct CellSeed;

impl<'a> DeserializeSeed<'a> for CellSeed {
    type Value = JsonCell<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for CellSeed {
    type Value = JsonCell<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(JsonCell::Missing)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(JsonCell::Boolean(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(JsonCell::Integer(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(JsonCell::Large(value), JsonCell::Integer))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(JsonCell::Number(value))
    }
    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Self::Value, E> {
        Ok(JsonCell::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(JsonCell::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<S: SeqAccess<'a>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(JsonCell::Nested)
    }
    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(JsonCell::Nested)
    }
}

/// JSON rows in memory as a batch of a schema; other keys are left out.
///
/// An absent key is a missing value. But a row that has a key very like an absent one, or
/// none of the columns at all, is a slip of the finger and gets a [`RowError`], whatever the
/// other rows look like: a row's fate never depends on its neighbours.
///
/// # Errors
/// None at present; the signature leaves room for schemas that JSON cannot fill.
pub fn json_rows_to_batch(rows: &[Value], schema: &Schema) -> Result<(RecordBatch, Vec<RowError>), IoError> {
    let mut errors = Vec::new();
    for (row, value) in rows.iter().enumerate() {
        check_keys(row as u64, value, schema, &mut errors);
    }
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| {
            let cells = rows.iter().map(|row| row.get(&field.name).map_or(Cell::Missing, cell_of));
            finite(field, build(field.raw_type, rows.len(), cells), &mut errors)
        })
        .collect();
    errors.sort_by_key(|error| error.row);
    Ok((batch_of(arrow_schema(schema), columns, rows.len()), errors))
}

/// A cell of a cast column as JSON: the value that the row really has. Numbers are those of the
/// column's type (0.1 of 32 bits is not 0.1), days and moments their text; missing is null.
pub fn json_value(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::Float32 => f64::from(array.as_primitive::<Float32Type>().value(row)).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::Date32 => date_text(array.as_primitive::<Date32Type>().value(row)).into(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            timestamp_text(array.as_primitive::<TimestampMicrosecondType>().value(row)).into()
        }
        _ => Value::Null,
    }
}

/// A number of a table as a person would write it in a column of a raw type: days and moments
/// as such, 32-bit floats with the digits that 32 bits have.
pub fn raw_text(raw: RawType, value: f64) -> String {
    match raw {
        RawType::Date => date_text(value as i32),
        RawType::Timestamp => timestamp_text(value as i64),
        RawType::Float32 => (value as f32).to_string(),
        _ => impactiq_data::column::number_text(value),
    }
}

fn check_keys(row: u64, value: &Value, schema: &Schema, errors: &mut Vec<RowError>) {
    let Some(first) = schema.fields().first() else { return };
    let Value::Object(object) = value else {
        let (column, value) = (first.name.clone(), cell_of(value).shown());
        errors.push(RowError { row, column, value, reason: "is not an object of columns".into() });
        return;
    };
    let names = schema.fields().iter().map(|field| field.name.as_str());
    let absent: Vec<&str> = names.filter(|name| !object.contains_key(*name)).collect();
    if absent.is_empty() {
        return;
    }
    let unknown: Vec<String> =
        object.keys().filter(|key| !schema.fields().iter().any(|field| field.name == **key)).cloned().collect();
    for (name, reason) in slips(&absent, &unknown, schema.fields().len()).told {
        errors.push(RowError { row, column: name.to_owned(), value: String::new(), reason });
    }
}

/// What the keys of a row say about the columns that it lacks.
pub(crate) struct Slips<'n> {
    /// Columns and reasons.
    pub told: Vec<(&'n str, String)>,
    /// The row has none of the columns.
    pub none_at_all: bool,
}

/// Slips of the finger: absent columns that are very like a key that nobody asked for; where there is no such key
/// and none of the `n_wanted` columns is there, the first one.
pub(crate) fn slips<'n>(absent: &[&'n str], unknown: &[String], n_wanted: usize) -> Slips<'n> {
    let alike = |name: &&'n str| Some((*name, format!("is not there, but '{}' is", closest_name(name, unknown)?)));
    let told: Vec<(&str, String)> = absent.iter().filter_map(alike).collect();
    match absent.first() {
        Some(first) if told.is_empty() && absent.len() == n_wanted => {
            let reason = "is not there, nor is any other column of the model".to_owned();
            Slips { told: vec![(first, reason)], none_at_all: true }
        }
        _ => Slips { told, none_at_all: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::Field;
    use serde_json::json;

    fn schema() -> Schema {
        let field = |name: &str, raw_type| Field { name: name.into(), raw_type };
        Schema::new(vec![field("age", RawType::Integer), field("f0", RawType::Float32), field("city", RawType::Text)])
            .unwrap()
    }

    #[test]
    fn numbers_get_the_bits_of_their_type() {
        let rows = [json!({"age": 3.0, "f0": 0.1, "city": "A", "more": [1]}), json!({"age": null, "f0": 1e-3})];
        let (batch, errors) = json_rows_to_batch(&rows, &schema()).unwrap();
        assert_eq!(errors, []);
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), 3);
        assert_eq!(batch.column(1).as_primitive::<Float32Type>().value(0).to_bits(), 0.1f32.to_bits());
        assert!(batch.column(2).is_null(1));
    }

    #[test]
    fn bad_rows_are_values_with_row_and_column() {
        let rows = [
            json!({"age": 3.5, "f0": 1}),
            json!({"agee": 3, "f0": 1}),
            json!({"x": 1}),
            json!([1]),
            json!({"age": 1, "f0": {"a": 1}}),
            json!({"age": 1, "f0": "abc"}),
        ];
        let (batch, errors) = json_rows_to_batch(&rows, &schema()).unwrap();
        assert_eq!(batch.num_rows(), 6);
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "row 1, column 'age': '3.5' is not a whole number",
                "row 2, column 'age': is not there, but 'agee' is",
                "row 3, column 'age': is not there, nor is any other column of the model",
                "row 4, column 'age': '[…]' is not an object of columns",
                "row 5, column 'f0': '[…]' is a list or an object where a plain value is needed",
                "row 6, column 'f0': 'abc' is not a number",
            ]
        );
    }

    #[test]
    fn a_cell_is_told_as_its_type_holds_it() {
        let raw = [RawType::Boolean, RawType::Integer, RawType::Float32, RawType::Text, RawType::Date];
        let names = ["b", "i", "f", "t", "d"];
        let fields = names.iter().zip(raw).map(|(name, raw_type)| Field { name: (*name).into(), raw_type });
        let schema = Schema::new(fields.collect()).unwrap();
        let rows = [json!({"b": "true", "i": 3.0, "f": "0.1", "t": 7, "d": "2026-03-01"}), json!({"b": null})];
        let (batch, errors) = json_rows_to_batch(&rows, &schema).unwrap();
        assert!(errors.is_empty(), "{errors:?}");
        let told = |row: usize| batch.columns().iter().map(|array| json_value(array, row)).collect::<Vec<_>>();
        assert_eq!(told(0), [json!(true), json!(3), json!(f64::from(0.1f32)), json!("7"), json!("2026-03-01")]);
        assert!(told(1).iter().all(Value::is_null));
        assert_eq!(raw_text(RawType::Float32, f64::from(0.1f32)), "0.1");
        assert_eq!(raw_text(RawType::Date, 0.0), "1970-01-01");
    }

    #[test]
    fn a_line_is_one_flat_object() {
        let slots = Slots::new(vec!["a".into(), "b".into()]);
        let parse = |line: &'static str| {
            let mut row = vec![JsonCell::Missing; 2];
            parse_row(line, &slots, &mut row).map(|()| row)
        };
        let row = parse(r#"{"b": "x\ny", "c": {"d": [1]}, "a": 12}"#).unwrap();
        assert!(matches!(row[0], JsonCell::Integer(12)));
        assert!(matches!(&row[1], JsonCell::Text(text) if text == "x\ny"));
        assert_eq!(parse(r#"{"a": 1, "a": 2}"#).unwrap_err(), "the key 'a' stands twice at character 12");
        assert!(parse("[1]").is_err());
        assert!(parse(r#"{"a": 1"#).unwrap_err().contains("at the end"));
        assert!(parse(r#"{"a": 1e999}"#).is_err());
        assert!(parse(r#"{"a": 1} x"#).is_err());
    }
}
