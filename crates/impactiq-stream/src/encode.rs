//! Scores as text: the JSON object of every row, exactly as it is logged and sent, and the messages around it.
//! What the numbers mean is not known here.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use impactiq_io::JsonTexts;
use serde::Serialize;

use crate::config::EventConfig;
use crate::live::Decision;

/// Texts one behind the other.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    pub(crate) fn with_capacity(n_rows: usize, n_bytes: usize) -> Self {
        Texts { bytes: Vec::with_capacity(n_bytes), ends: Vec::with_capacity(n_rows) }
    }

    /// Ends a text; what was written since the last one is it.
    pub(crate) fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn writer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes of all of them.
    pub fn n_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A text.
    pub fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }
}

/// A score column, ready to be written.
pub(crate) enum Cells<'a> {
    Numbers(&'a Float64Array),
    Texts(&'a StringArray),
}

impl<'a> Cells<'a> {
    pub fn of(batch: &'a RecordBatch) -> Vec<Self> {
        let one = |array: &'a ArrayRef| match array.data_type() {
            DataType::Utf8 => Cells::Texts(array.as_string()),
            _ => Cells::Numbers(array.as_primitive()),
        };
        batch.columns().iter().map(one).collect()
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Cells::Numbers(array) if array.is_valid(row) => json(out, &array.value(row)),
            Cells::Texts(array) if array.is_valid(row) => json(out, array.value(row)),
            _ => json(out, &()),
        }
    }

    /// The number of a row.
    pub fn number(&self, row: usize) -> Option<f64> {
        match self {
            Cells::Numbers(array) if array.is_valid(row) => Some(array.value(row)),
            _ => None,
        }
    }
}

/// Writing to a vector cannot fail.
fn json<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let _ = serde_json::to_writer(out, value);
}

/// Writes the scores of a row; with a decision, what was decided.
pub(crate) fn write_scores(
    out: &mut Vec<u8>,
    row: usize,
    keys: &[String],
    cells: &[Cells<'_>],
    decided: Option<(bool, Decision)>,
) {
    out.push(b'{');
    for (index, (key, cells)) in keys.iter().zip(cells).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(key.as_bytes());
        cells.write(row, out);
    }
    if let Some((would_treat, decision)) = decided {
        out.extend_from_slice(if keys.is_empty() { b"\"would_treat\":" } else { b",\"would_treat\":" });
        json(out, &would_treat);
        out.extend_from_slice(b",\"treat\":");
        json(out, &decision.treated);
        out.extend_from_slice(b",\"assignment_probability\":");
        json(out, &decision.assignment_probability);
    }
    out.push(b'}');
}

/// Why an event is a dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// A code of docs/guide/stream.md.
    pub code: std::borrow::Cow<'static, str>,
    /// In words.
    pub message: String,
}

impl Dead {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Dead { code: code.into(), message: message.into() }
    }
}

#[derive(Serialize)]
struct ErrorText<'a> {
    error: ErrorFields<'a>,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    code: &'a str,
    message: &'a str,
}

pub(crate) fn write_dead(out: &mut Vec<u8>, dead: &Dead) {
    json(out, &ErrorText { error: ErrorFields { code: &dead.code, message: &dead.message } });
}

/// Reads what [`write_dead`] wrote.
pub(crate) fn read_dead(text: &str) -> Dead {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let word = |key: &str| value["error"][key].as_str().unwrap_or("unknown").to_owned();
    Dead { code: word("code").into(), message: word("message") }
}

/// The message around a row's scores.
pub(crate) fn write_message(
    out: &mut Vec<u8>,
    row: usize,
    id: &str,
    model: &str,
    scores: &[u8],
    (texts, event): (&JsonTexts<'_>, &EventConfig),
) {
    out.extend_from_slice(b"{\"id\":");
    json(out, id);
    out.extend_from_slice(b",\"time\":");
    texts.write_cell(row, &event.time, out);
    out.extend_from_slice(b",\"model\":");
    json(out, model);
    out.extend_from_slice(b",\"scores\":");
    out.extend_from_slice(scores);
    for (name, key) in [(&event.arm, &b",\"arm\":"[..]), (&event.probability, &b",\"assignment_probability\":"[..])] {
        if texts.is_there(row, name) {
            out.extend_from_slice(key);
            texts.write_cell(row, name, out);
        }
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_message_holds_the_scores_to_the_last_bit_and_what_the_event_said() {
        let batch = RecordBatch::try_from_iter([
            ("cate", Arc::new(Float64Array::from(vec![Some(0.1 + 0.2), None])) as ArrayRef),
            ("best_arm", Arc::new(StringArray::from(vec![Some("a\"b"), None])) as ArrayRef),
        ])
        .unwrap();
        let keys = ["\"cate\":".to_owned(), "\"best_arm\":".to_owned()];
        let decision = Decision { treated: false, assignment_probability: 0.95 };
        let mut scores = Vec::new();
        write_scores(&mut scores, 0, &keys, &Cells::of(&batch), Some((true, decision)));
        let event = EventConfig::default();
        let names = [&event.id, &event.time, &event.arm, &event.probability].map(Clone::clone);
        let texts = JsonTexts::parse(vec![br#"{"id": 7, "time": "2026-01-01", "arm": "x"}"#], names.to_vec());
        let mut out = Vec::new();
        write_message(&mut out, 0, "7", "m", &scores, (&texts, &event));
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["scores"]["cate"].as_f64().unwrap().to_bits(), (0.1f64 + 0.2).to_bits());
        assert_eq!((&value["scores"]["treat"], &value["arm"]), (&false.into(), &"x".into()));
        assert_eq!((&value["id"], &value["time"]), (&"7".into(), &"2026-01-01".into()));
        assert!(value.get("assignment_probability").is_none());
        let mut none = Vec::new();
        write_scores(&mut none, 1, &keys, &Cells::of(&batch), None);
        assert_eq!(none, br#"{"cate":null,"best_arm":null}"#);
    }

    #[test]
    fn a_dead_letter_reads_back() {
        let dead = Dead::new("bad_time", "column 'time': \"x\" is no time");
        let mut out = Vec::new();
        write_dead(&mut out, &dead);
        assert_eq!(read_dead(std::str::from_utf8(&out).unwrap()), dead);
    }
}
