//! JSON texts of a stream, one object each: parsed once, then cast to as many schemas as there are readers.
//!
//! A text that is no object is a value with a reason, never a failed batch. Cells are cast by the rules
//! of every other door (`cast`). Where texts come from and what becomes of them is not known here.

use std::borrow::Cow;
use std::fmt;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use impactiq_data::Schema;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::cast::{arrow_schema, batch_of, build, finite};
use crate::error::RowError;
use crate::json::{CellSeed, JsonCell, Slips, Slots, TextSeed, json_detail, slips};
use crate::value::Cell;

/// Deeper nesting is nobody's event, and would cost a parser its stack.
pub const MAX_DEPTH: usize = 64;

/// Why a text is no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFault {
    /// It is not UTF-8.
    NotUtf8,
    /// It is nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// It is no JSON.
    NotJson,
    /// It is JSON, but no object.
    NotAnObject,
    /// A key that is wanted stands twice.
    DuplicateKey,
}

/// A text that is no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadText {
    /// Its place, counted from 0.
    pub row: usize,
    /// What it is not.
    pub fault: TextFault,
    /// In words.
    pub detail: String,
}

/// Parsed texts: the wanted cells of each, borrowed where possible.
#[derive(Debug)]
pub struct JsonTexts<'a> {
    slots: Slots,
    texts: Vec<&'a [u8]>,
    /// Row by row, as are the next.
    cells: Vec<JsonCell<'a>>,
    there: Vec<bool>,
    bad: Vec<BadText>,
}

impl<'a> JsonTexts<'a> {
    /// Parses texts, keeping the cells of some names.
    pub fn parse(texts: Vec<&'a [u8]>, names: Vec<String>) -> Self {
        let slots = Slots::new(names);
        let width = slots.len();
        let mut cells = vec![JsonCell::Missing; texts.len() * width];
        let mut there = vec![false; texts.len() * width];
        let mut bad = Vec::new();
        for (row, text) in texts.iter().enumerate() {
            let places = row * width..(row + 1) * width;
            if let Err((fault, detail)) =
                parse_one(text, &slots, &mut cells[places.clone()], &mut there[places.clone()])
            {
                cells[places.clone()].fill(JsonCell::Missing);
                there[places].fill(false);
                bad.push(BadText { row, fault, detail });
            }
        }
        JsonTexts { slots, texts, cells, there, bad }
    }

    /// Texts, rows or not.
    pub fn n_rows(&self) -> usize {
        self.texts.len()
    }

    /// Texts that are no row, in order.
    pub fn bad(&self) -> &[BadText] {
        &self.bad
    }

    /// The cells of a schema as a batch, and what did not fit. A column that was not asked for when parsing,
    /// an absent key and `null` are missing values.
    pub fn batch(&self, schema: &Schema) -> (RecordBatch, Vec<RowError>) {
        let (width, n_rows) = (self.slots.len(), self.n_rows());
        let mut errors = Vec::new();
        let columns: Vec<ArrayRef> = schema
            .fields()
            .iter()
            .map(|field| {
                let slot = self.slots.place(&field.name);
                let cell = |row: usize| slot.map_or(Cell::Missing, |slot| self.cells[row * width + slot].cell());
                finite(field, build(field.raw_type, n_rows, (0..n_rows).map(cell)), &mut errors)
            })
            .collect();
        errors.sort_by_key(|error| error.row);
        (batch_of(arrow_schema(schema), columns, n_rows), errors)
    }

    /// Where a key stands, `null` or not: one value per row.
    pub fn has(&self, name: &str) -> BooleanArray {
        let width = self.slots.len();
        let slot = self.slots.place(name);
        (0..self.n_rows()).map(|row| Some(slot.is_some_and(|slot| self.there[row * width + slot]))).collect()
    }

    /// True where a row has a key, `null` or not.
    pub fn is_there(&self, row: usize, name: &str) -> bool {
        self.slots.place(name).is_some_and(|slot| self.there[row * self.slots.len() + slot])
    }

    /// Writes a cell as JSON, as it came; `null` where it is absent.
    pub fn write_cell(&self, row: usize, name: &str, out: &mut Vec<u8>) {
        let place = self.slots.place(name).map(|slot| row * self.slots.len() + slot);
        let cell = place.and_then(|place| self.cells.get(place)).unwrap_or(&JsonCell::Missing);
        // Writing to a vector cannot fail.
        let _ = match cell {
            JsonCell::Missing | JsonCell::Nested => serde_json::to_writer(out, &()),
            JsonCell::Boolean(value) => serde_json::to_writer(out, value),
            JsonCell::Integer(value) => serde_json::to_writer(out, value),
            JsonCell::Large(value) => serde_json::to_writer(out, value),
            JsonCell::Number(value) => serde_json::to_writer(out, value),
            JsonCell::Text(text) => serde_json::to_writer(out, text),
        };
    }

    /// Rows that lack some of the names although they have a key very like one, or that lack all of them: slips
    /// of the finger, told as at every door (`json_rows_to_batch`). At most one a row, in order.
    pub fn slips(&self, names: &[String]) -> Vec<Slip> {
        let width = self.slots.len();
        let wanted: Vec<(usize, &String)> =
            names.iter().filter_map(|name| Some((self.slots.place(name)?, name))).collect();
        let mut bad = self.bad.iter().peekable();
        let mut slips = Vec::new();
        let mut before: Option<(Vec<&str>, Vec<String>, Option<Slip>)> = None;
        for row in 0..self.n_rows() {
            if bad.next_if(|bad| bad.row == row).is_some() {
                continue;
            }
            let absent: Vec<&str> = wanted
                .iter()
                .filter(|(slot, _)| !self.there[row * width + slot])
                .map(|(_, name)| name.as_str())
                .collect();
            if absent.is_empty() {
                continue;
            }
            let unknown = self.unknown_keys(row);
            // Rows of one sender lack the same columns and have the same other keys.
            let known = before.take().filter(|(names, keys, _)| *names == absent && *keys == unknown);
            let (absent, unknown, found) = known.unwrap_or_else(|| {
                let found = slip(&absent, &unknown, wanted.len());
                (absent, unknown, found)
            });
            if let Some(Slip { error, none_at_all }) = &found {
                slips.push(Slip { error: RowError { row: row as u64, ..error.clone() }, none_at_all: *none_at_all });
            }
            before = Some((absent, unknown, found));
        }
        slips
    }

    fn unknown_keys(&self, row: usize) -> Vec<String> {
        let text = std::str::from_utf8(self.texts[row]).unwrap_or_default();
        let mut keys = Vec::new();
        // It was parsed before; what does not parse now has no keys.
        let _ = serde_json::Deserializer::from_str(text).deserialize_map(Keys { slots: &self.slots, keys: &mut keys });
        keys
    }
}

/// A slip of the finger.
#[derive(Clone, Debug, PartialEq)]
pub struct Slip {
    /// Row and column, and why.
    pub error: RowError,
    /// The row has none of the columns.
    pub none_at_all: bool,
}

/// The first of a row's slips.
fn slip(absent: &[&str], unknown: &[String], n_wanted: usize) -> Option<Slip> {
    let Slips { told, none_at_all } = slips(absent, unknown, n_wanted);
    let (column, reason) = told.into_iter().next()?;
    Some(Slip { error: RowError { row: 0, column: column.into(), value: String::new(), reason }, none_at_all })
}

fn parse_one<'a>(
    text: &'a [u8],
    slots: &Slots,
    cells: &mut [JsonCell<'a>],
    there: &mut [bool],
) -> Result<(), (TextFault, String)> {
    let text = std::str::from_utf8(text)
        .map_err(|error| (TextFault::NotUtf8, format!("it is not UTF-8 from byte {} on", error.valid_up_to())))?;
    if is_too_deep(text.as_bytes()) {
        return Err((TextFault::TooDeep, format!("it is nested deeper than {MAX_DEPTH}")));
    }
    let not_json = |error: &serde_json::Error| (TextFault::NotJson, format!("it is no JSON: {}", json_detail(error)));
    if !text.trim_start().starts_with('{') {
        return Err(match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => (TextFault::NotAnObject, "it is JSON, but no object of columns".into()),
            Err(error) => not_json(&error),
        });
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut twice = None;
    let parsed = deserializer
        .deserialize_map(Object { slots, cells, there, twice: &mut twice })
        .and_then(|()| deserializer.end());
    parsed.map_err(|error| match twice {
        Some(key) => (TextFault::DuplicateKey, format!("the key '{key}' stands twice")),
        None => not_json(&error),
    })
}

/// Few texts have as many brackets as would be needed; only those are looked through.
fn is_too_deep(text: &[u8]) -> bool {
    if text.iter().filter(|&&byte| byte == b'[' || byte == b'{').count() <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for &byte in text {
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_text = !in_text,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

struct Object<'r, 'a> {
    slots: &'r Slots,
    cells: &'r mut [JsonCell<'a>],
    there: &'r mut [bool],
    twice: &'r mut Option<String>,
}

impl<'a> Visitor<'a> for Object<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        let mut guess = 0;
        while let Some(key) = map.next_key_seed(TextSeed)? {
            let Some(slot) = self.slots.find(&key, guess) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut self.there[slot], true) {
                *self.twice = Some(key.into_owned());
                return Err(serde::de::Error::custom("a key stands twice"));
            }
            self.cells[slot] = map.next_value_seed(CellSeed)?;
            guess = slot + 1;
        }
        Ok(())
    }
}

/// The keys that nobody asked for.
struct Keys<'r> {
    slots: &'r Slots,
    keys: &'r mut Vec<String>,
}

impl<'a> Visitor<'a> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key_seed(TextSeed)? {
            if self.slots.place(&key).is_none() {
                self.keys.push(Cow::into_owned(key));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{Float32Type, Int64Type};
    use impactiq_data::{Field, RawType};

    use super::*;

    fn schema() -> Schema {
        let field = |name: &str, raw_type| Field { name: name.into(), raw_type };
        Schema::new(vec![field("age", RawType::Integer), field("f0", RawType::Float32)]).unwrap()
    }

    fn parse<'a>(texts: &[&'a [u8]]) -> JsonTexts<'a> {
        JsonTexts::parse(texts.to_vec(), vec!["age".into(), "f0".into(), "id".into()])
    }

    #[test]
    fn texts_become_the_cells_of_every_door() {
        let texts = parse(&[br#"{"id": "a", "age": 3.0, "f0": 0.1}"#, br#"{"age": "x", "f0": null}"#]);
        let (batch, errors) = texts.batch(&schema());
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), 3);
        assert_eq!(batch.column(1).as_primitive::<Float32Type>().value(0).to_bits(), 0.1f32.to_bits());
        assert_eq!(errors.iter().map(|error| error.row).collect::<Vec<_>>(), [1]);
        assert_eq!(texts.has("id").iter().collect::<Vec<_>>(), [Some(true), Some(false)]);
        let mut out = Vec::new();
        texts.write_cell(0, "id", &mut out);
        texts.write_cell(0, "f0", &mut out);
        texts.write_cell(1, "id", &mut out);
        assert_eq!(out, br#""a"0.1null"#);
    }

    #[test]
    fn what_is_no_object_says_what_it_is_not() {
        let deep = format!(r#"{{"x": {}1{}}}"#, "[".repeat(70), "]".repeat(70));
        let brackets = format!(r#"{{"age": 1, "x": "{}"}}"#, "[".repeat(70));
        let texts = parse(&[
            b"\xff",
            b"{\"age\": 1",
            b"[1]",
            br#"{"age": 1, "age": 2}"#,
            deep.as_bytes(),
            brackets.as_bytes(),
            br#"{"x": 1, "x": 2}"#,
            b"",
            br#"{"age": 1} x"#,
        ]);
        let found: Vec<(usize, TextFault)> = texts.bad().iter().map(|bad| (bad.row, bad.fault)).collect();
        let expected = [
            (0, TextFault::NotUtf8),
            (1, TextFault::NotJson),
            (2, TextFault::NotAnObject),
            (3, TextFault::DuplicateKey),
            (4, TextFault::TooDeep),
            (7, TextFault::NotJson),
            (8, TextFault::NotJson),
        ];
        assert_eq!(found, expected);
        assert!(texts.bad()[3].detail.contains("'age'"));
        assert!(!texts.has("age").value(3));
    }

    #[test]
    fn slips_of_the_finger_are_told_and_absent_columns_are_not() {
        let texts =
            parse(&[br#"{"agee": 1, "f0": 2}"#, br#"{"f0": 2}"#, br#"{"other": 1}"#, br#"{"agee": 3, "f0": 1}"#]);
        let slips = texts.slips(&["age".into(), "f0".into()]);
        let told: Vec<(u64, bool)> = slips.iter().map(|slip| (slip.error.row, slip.none_at_all)).collect();
        assert_eq!(told, [(0, false), (2, true), (3, false)]);
        assert!(slips[0].error.reason.contains("'agee'"));
    }
}
