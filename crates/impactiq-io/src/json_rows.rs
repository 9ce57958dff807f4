//! A list of JSON rows inside a larger text: read once, straight into the cells a model asks for.
//!
//! Rows follow the rules of [`crate::json::json_rows_to_batch`] and get the same bits; besides, a wanted key that
//! stands twice is an error of its row. Who wraps the list, and how many rows may come, others decide.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use arrow::array::{ArrayRef, RecordBatch};
use impactiq_data::{Column, Field, MISSING_LEVEL, RawType, Schema, Table};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::cast::{arrow_schema, batch_of, build, finite};
use crate::error::{IoError, RowError};
use crate::json::{CellSeed, JsonCell, Slots, TextSeed, slips};
use crate::value::{Cell, INFINITE, Misfit};

/// Why a row with a doubled key is refused.
const TWICE: &str = "stands twice in the row";

/// Which columns rows are read for; made once for a model.
#[derive(Clone, Debug)]
pub struct RowReader {
    schema: Schema,
    slots: Slots,
    /// The slot of what callers call a row.
    id: usize,
}

/// Rows that were read, borrowed from their text where possible.
#[derive(Debug)]
pub struct JsonRows<'r, 'a> {
    reader: &'r RowReader,
    /// Row by row, a cell per slot.
    cells: Vec<JsonCell<'a>>,
    n_rows: usize,
    has_ids: bool,
    errors: Vec<RowError>,
}

impl RowReader {
    /// A reader for the columns of a schema, and for the column that names rows.
    pub fn new(schema: &Schema, id_column: &str) -> Self {
        let mut names = schema.names();
        let known = names.iter().position(|name| name == id_column);
        let id = known.unwrap_or(names.len());
        if known.is_none() {
            names.push(id_column.to_owned());
        }
        RowReader { schema: schema.clone(), slots: Slots::new(names), id }
    }

    /// Reads a list of rows wherever it stands. Rows beyond `max_rows` are counted and not kept.
    pub fn rows(&self, max_rows: usize) -> RowsSeed<'_> {
        RowsSeed { reader: self, max_rows }
    }
}

impl JsonRows<'_, '_> {
    /// Rows of the list, those that were not kept among them.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// What the caller calls each row; empty when no row has a name.
    pub fn ids(&self) -> Vec<Option<String>> {
        if !self.has_ids {
            return Vec::new();
        }
        let name = |cell: &JsonCell<'_>| match cell {
            JsonCell::Text(text) => Some(text.clone().into_owned()),
            JsonCell::Integer(value) => Some(value.to_string()),
            JsonCell::Large(value) => Some(value.to_string()),
            JsonCell::Number(value) => serde_json::Number::from_f64(*value).map(|number| number.to_string()),
            JsonCell::Missing | JsonCell::Boolean(_) | JsonCell::Nested => None,
        };
        self.cells.iter().skip(self.reader.id).step_by(self.width()).map(name).collect()
    }

    /// Rows with a wanted key that stands twice.
    pub fn doubled(&self) -> Vec<RowError> {
        self.errors.iter().filter(|error| error.reason == TWICE).cloned().collect()
    }

    /// As a table of the schema's columns, numbers and categories as [`crate::cast::to_table`] makes them, and what did not
    /// fit.
    ///
    /// # Errors
    /// None at present: the columns of a schema differ in name and have a cell for every row.
    pub fn to_table(mut self) -> Result<(Table, Vec<RowError>), IoError> {
        let mut errors = std::mem::take(&mut self.errors);
        let mut table = Table::new();
        for (slot, field) in self.reader.schema.fields().iter().enumerate() {
            table.push(field.name.as_str(), column(field, self.column(slot), &mut errors))?;
        }
        errors.sort_by_key(|error| error.row);
        Ok((table, errors))
    }

    /// As a batch of the schema's types, and what did not fit.
    pub fn to_batch(mut self) -> (RecordBatch, Vec<RowError>) {
        let mut errors = std::mem::take(&mut self.errors);
        let n_kept = self.cells.len() / self.width();
        let fields = self.reader.schema.fields().iter().enumerate();
        let columns: Vec<ArrayRef> = fields
            .map(|(slot, field)| finite(field, build(field.raw_type, n_kept, self.column(slot)), &mut errors))
            .collect();
        errors.sort_by_key(|error| error.row);
        (batch_of(arrow_schema(&self.reader.schema), columns, n_kept), errors)
    }

    fn width(&self) -> usize {
        self.reader.slots.len()
    }

    fn column(&self, slot: usize) -> impl Iterator<Item = Cell<'_>> {
        self.cells.iter().skip(slot).step_by(self.width()).map(JsonCell::cell)
    }
}

/// A column of a table from cells; what does not fit is missing, and told.
fn column<'a>(field: &Field, cells: impl Iterator<Item = Cell<'a>>, errors: &mut Vec<RowError>) -> Column {
    match field.raw_type {
        RawType::Boolean => {
            numbers(field, cells, errors, |cell| Ok(cell.to_boolean()?.map(|value| f64::from(u8::from(value)))))
        }
        RawType::Integer => numbers(field, cells, errors, |cell| Ok(cell.to_integer()?.map(|value| value as f64))),
        RawType::Float32 => numbers(field, cells, errors, |cell| Ok(cell.to_number32()?.map(f64::from))),
        RawType::Float64 => numbers(field, cells, errors, Cell::to_number),
        RawType::Date => numbers(field, cells, errors, |cell| Ok(cell.to_date()?.map(f64::from))),
        RawType::Timestamp => numbers(field, cells, errors, |cell| Ok(cell.to_timestamp()?.map(|value| value as f64))),
        RawType::Text => categories(field, cells, errors),
    }
}

fn numbers<'a>(
    field: &Field,
    cells: impl Iterator<Item = Cell<'a>>,
    errors: &mut Vec<RowError>,
    number: impl Fn(Cell<'a>) -> Result<Option<f64>, Misfit>,
) -> Column {
    let mut tell = |row: usize, value: String, reason: Misfit| {
        errors.push(RowError { row: row as u64, column: field.name.clone(), value, reason: reason.to_owned() });
        f64::NAN
    };
    let values = cells.enumerate().map(|(row, cell)| match number(cell) {
        Ok(Some(value)) if value.is_infinite() => tell(row, value.to_string(), INFINITE),
        Ok(value) => value.unwrap_or(f64::NAN),
        Err(reason) => tell(row, cell.shown(), reason),
    });
    Column::Number(values.collect())
}

fn categories<'a>(field: &Field, cells: impl Iterator<Item = Cell<'a>>, errors: &mut Vec<RowError>) -> Column {
    let mut levels: Vec<String> = Vec::new();
    let mut known: HashMap<Cow<'a, str>, u32> = HashMap::new();
    let codes = cells.enumerate().map(|(row, cell)| match cell.to_text() {
        Ok(None) => MISSING_LEVEL,
        Ok(Some(text)) => {
            let next = levels.len() as u32;
            *known.entry(text).or_insert_with_key(|text| {
                levels.push(text.clone().into_owned());
                next
            })
        }
        Err(reason) => {
            let (column, value) = (field.name.clone(), cell.shown());
            errors.push(RowError { row: row as u64, column, value, reason: reason.to_owned() });
            MISSING_LEVEL
        }
    });
    let codes = codes.collect();
    Column::Category { codes, levels }
}

/// Reads a list of rows.
#[derive(Clone, Copy, Debug)]
pub struct RowsSeed<'r> {
    reader: &'r RowReader,
    max_rows: usize,
}

impl<'r, 'a> DeserializeSeed<'a> for RowsSeed<'r> {
    type Value = JsonRows<'r, 'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'r, 'a> Visitor<'a> for RowsSeed<'r> {
    type Value = JsonRows<'r, 'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<S: SeqAccess<'a>>(self, mut list: S) -> Result<Self::Value, S::Error> {
        let reader = self.reader;
        let mut rows = JsonRows { reader, cells: Vec::new(), n_rows: 0, has_ids: false, errors: Vec::new() };
        let mut seen = vec![false; reader.slots.len()];
        while rows.n_rows < self.max_rows {
            seen.fill(false);
            let next = RowSeed { rows: &mut rows, seen: &mut seen };
            if list.next_element_seed(next)?.is_none() {
                return Ok(rows);
            }
            rows.n_rows += 1;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            rows.n_rows += 1;
        }
        Ok(rows)
    }
}

struct RowSeed<'s, 'r, 'a> {
    rows: &'s mut JsonRows<'r, 'a>,
    seen: &'s mut [bool],
}

impl<'a> DeserializeSeed<'a> for RowSeed<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> RowSeed<'_, '_, 'a> {
    /// Room for the row's cells; where they begin.
    fn room(&mut self) -> usize {
        let start = self.rows.cells.len();
        self.rows.cells.resize(start + self.seen.len(), JsonCell::Missing);
        start
    }

    fn tell(&mut self, column: &str, value: String, reason: String) {
        self.rows.errors.push(RowError { row: self.rows.n_rows as u64, column: column.to_owned(), value, reason });
    }

    fn no_object(mut self, cell: JsonCell<'a>) {
        self.room();
        let reader = self.rows.reader;
        if let Some(first) = reader.schema.fields().first() {
            self.tell(&first.name, cell.cell().shown(), "is not an object of columns".into());
        }
    }

    /// A key very like an absent one, or none of the columns at all, is a slip of the finger.
    fn check_absent(&mut self, unknown: &[String]) {
        let reader = self.rows.reader;
        let fields = reader.schema.fields();
        if self.seen[..fields.len()].iter().all(|&seen| seen) {
            return;
        }
        let names = fields.iter().zip(&*self.seen).filter(|(_, seen)| !**seen);
        let absent: Vec<&str> = names.map(|(field, _)| field.name.as_str()).collect();
        for (name, reason) in slips(&absent, unknown, fields.len()).told {
            self.tell(name, String::new(), reason);
        }
    }
}

impl<'a> Visitor<'a> for RowSeed<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<M: MapAccess<'a>>(mut self, mut map: M) -> Result<(), M::Error> {
        let start = self.room();
        let reader = self.rows.reader;
        let mut unknown: Vec<String> = Vec::new();
        let mut guess = 0;
        while let Some(key) = map.next_key_seed(TextSeed)? {
            let Some(slot) = reader.slots.find(&key, guess) else {
                unknown.push(key.into_owned());
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let cell = map.next_value_seed(CellSeed)?;
            if std::mem::replace(&mut self.seen[slot], true) {
                self.tell(&key, String::new(), TWICE.into());
            } else {
                self.rows.cells[start + slot] = cell;
            }
            guess = slot + 1;
        }
        self.rows.has_ids |= self.seen[reader.id];
        // The column of names is nobody's slip, but it may look like one.
        if reader.id >= reader.schema.fields().len() && self.seen[reader.id] {
            unknown.extend(reader.slots.name(reader.id).map(str::to_owned));
        }
        self.check_absent(&unknown);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.no_object(JsonCell::Missing);
        Ok(())
    }
    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.no_object(JsonCell::Boolean(value));
        Ok(())
    }
    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.no_object(JsonCell::Integer(value));
        Ok(())
    }
    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.no_object(i64::try_from(value).map_or(JsonCell::Large(value), JsonCell::Integer));
        Ok(())
    }
    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.no_object(JsonCell::Number(value));
        Ok(())
    }
    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.no_object(JsonCell::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }
    fn visit_seq<S: SeqAccess<'a>>(self, mut list: S) -> Result<(), S::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        self.no_object(JsonCell::Nested);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cast::to_table;
    use crate::json::json_rows_to_batch;
    use serde_json::{Value, json};

    const RAW: [RawType; 7] = [
        RawType::Boolean,
        RawType::Integer,
        RawType::Float32,
        RawType::Float64,
        RawType::Text,
        RawType::Date,
        RawType::Timestamp,
    ];

    fn schema() -> Schema {
        let field = |(index, raw_type): (usize, &RawType)| Field { name: format!("c{index}"), raw_type: *raw_type };
        Schema::new(RAW.iter().enumerate().map(field).collect()).unwrap()
    }

    fn read<'r, 'a>(reader: &'r RowReader, text: &'a str, max_rows: usize) -> serde_json::Result<JsonRows<'r, 'a>> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let rows = reader.rows(max_rows).deserialize(&mut deserializer)?;
        deserializer.end().map(|()| rows)
    }

    #[test]
    fn rows_have_the_bits_and_the_errors_of_the_other_doors() {
        let values = [
            "null",
            "true",
            "0",
            "1",
            "-3",
            "3.0",
            "0.1",
            "1e-3",
            "-0.0",
            "-0",
            "1e300",
            "3.5e38",
            "9007199254740993",
            "18446744073709551615",
            "9223372036854775807",
            "1e19",
            "1e999",
            "\"\"",
            "\" 7 \"",
            "\"0.1\"",
            "\"NA\"",
            "\"nan\"",
            "\"inf\"",
            "\"-inf\"",
            "\"1e999\"",
            "\"true\"",
            "\"Oulu\"",
            "\"a\\nb\"",
            "\"2026-03-01\"",
            "\"2026-03-01T10:00:00.5Z\"",
            "[1]",
            "{\"a\": 1}",
        ];
        let schema = schema();
        let reader = RowReader::new(&schema, "id");
        let mut rows: Vec<String> = Vec::new();
        for value in values.iter().filter(|value| **value != "1e999") {
            let cells = (0..RAW.len()).map(|column| format!("\"c{column}\": {value}"));
            rows.push(format!("{{{}, \"id\": 7, \"other\": [1, {{}}]}}", cells.collect::<Vec<_>>().join(", ")));
        }
        rows.extend(
            ["{}", "[1]", "3", "\"x\"", "null", "true", "{\"c\": 1, \"c0\": true}", "{\"id\": \"a\"}"]
                .map(str::to_owned),
        );
        let text = format!("[{}]", rows.join(",\n"));
        let as_values: Vec<Value> = serde_json::from_str(&text).unwrap();
        let (batch, wanted_errors) = json_rows_to_batch(&as_values, &schema).unwrap();
        let wanted = to_table(&batch, &schema.names()).unwrap();

        let (table, errors) = read(&reader, &text, 1000).unwrap().to_table().unwrap();
        assert_eq!(errors, wanted_errors);
        assert_eq!(format!("{table:?}"), format!("{wanted:?}"));
        let (own_batch, errors) = read(&reader, &text, 1000).unwrap().to_batch();
        assert_eq!((own_batch, errors), (batch, wanted_errors));
        assert!(read(&reader, "[{\"c3\": 1e999}]", 10).is_err(), "no number of JSON");
    }

    #[test]
    fn a_key_that_stands_twice_is_an_error_of_its_row() {
        let reader = RowReader::new(&schema(), "id");
        let text = r#"[{"c1": 1, "c1": 2}, {"c1": 3, "x": 1, "x": 2}, {"id": 1, "c1": 1, "id": 2}]"#;
        let (table, errors) = read(&reader, text, 10).unwrap().to_table().unwrap();
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["row 1, column 'c1': stands twice in the row", "row 3, column 'id': stands twice in the row"]
        );
        assert_eq!(table.column("c1").unwrap().numbers(), Some(&[1.0, 3.0, 1.0][..]));
    }

    #[test]
    fn names_of_rows_are_texts_or_numbers() {
        let reader = RowReader::new(&schema(), "id");
        let ids = |text: &str| read(&reader, text, 10).unwrap().ids();
        let all = r#"[{"id": "a"}, {"id": 7}, {"id": 1.5}, {"id": [1]}, {"id": null}, {"c0": 1}, 3]"#;
        let wanted = [Some("a"), Some("7"), Some("1.5"), None, None, None, None].map(|id| id.map(str::to_owned));
        assert_eq!(ids(all), wanted);
        assert!(ids(r#"[{"c1": 1}]"#).is_empty());
        let own = RowReader::new(&schema(), "c1");
        assert_eq!(read(&own, r#"[{"c1": 4}]"#, 10).unwrap().ids(), [Some("4".to_owned())]);
        assert_eq!(json!(1.0).to_string(), "1.0");
    }

    #[test]
    fn rows_beyond_the_limit_are_counted_and_take_no_room() {
        let reader = RowReader::new(&schema(), "id");
        let text = format!("[{}]", vec!["{}"; 5000].join(","));
        let rows = read(&reader, &text, 3).unwrap();
        assert_eq!((rows.n_rows(), rows.cells.len()), (5000, 3 * 8));
        assert_eq!(read(&reader, "[]", 3).unwrap().to_table().unwrap().0.n_rows(), 0);
        assert!(read(&reader, "{}", 3).is_err());
        assert!(read(&reader, "[{]", 3).is_err());
    }
}
