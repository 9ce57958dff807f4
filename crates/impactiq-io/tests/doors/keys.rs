//! Values that only tell things apart: large identifiers never merge, and unsigned numbers are read.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, UInt64Array};
use impactiq_data::{RawType, Schema, Silent};
use impactiq_io::{Batches, PassThrough, Source, read, read_schema};

use crate::files::Folder;

/// Distinct texts of a column that is read as a key.
fn keys(source: &Source, column: &str) -> Vec<String> {
    let source = Source { keys: vec![column.into()], ..source.clone() };
    let loaded = read(&source, &[column.to_owned()], &Silent).unwrap_or_else(|e| panic!("{e}"));
    let view = loaded.table.column(column).unwrap();
    (0..view.len()).map(|row| view.text(row).unwrap_or_else(|| "∅".into())).collect()
}

fn signed(values: Vec<Option<i64>>) -> RecordBatch {
    RecordBatch::try_from_iter([("k", Arc::new(Int64Array::from(values)) as ArrayRef)]).unwrap()
}

fn unsigned(values: Vec<u64>) -> RecordBatch {
    RecordBatch::try_from_iter([("k", Arc::new(UInt64Array::from(values)) as ArrayRef)]).unwrap()
}

#[test]
fn whole_numbers_above_two_to_the_53_stay_apart_when_they_are_keys() {
    let folder = Folder::new();
    let big = 9_007_199_254_740_993_i64;
    let batch = signed(vec![Some(5), Some(big), Some(big - 1), None, Some(-big)]);
    let expected = ["5", "9007199254740993", "9007199254740992", "∅", "-9007199254740993"];
    for name in ["k.csv", "k.ndjson", "k.parquet"] {
        // CSV needs a second column: a missing value alone would be an empty line.
        let second = Arc::new(Float64Array::from(vec![1.0; 5])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("k", Arc::clone(batch.column(0))), ("x", second)]).unwrap();
        assert_eq!(keys(&folder.batch(name, &batch), "k"), expected, "{name}");
    }
}

#[test]
fn a_column_of_keys_may_turn_large_in_a_later_part() {
    let folder = Folder::new();
    let big = 9_007_199_254_740_993_i64;
    for ending in ["csv", "ndjson", "parquet"] {
        folder.batch(&format!("a.{ending}"), &signed(vec![Some(1), Some(2), Some(1)]));
        folder.batch(&format!("b.{ending}"), &signed(vec![Some(big), Some(1)]));
        folder.batch(&format!("c.{ending}"), &signed(vec![Some(2), Some(3)]));
        let source = folder.source(&format!("*.{ending}"));
        assert_eq!(keys(&source, "k"), ["1", "2", "1", "9007199254740993", "1", "2", "3"], "{ending}");
    }
}

#[test]
fn unsigned_numbers_beyond_the_signed_range_are_numbers_or_exact_keys() {
    let folder = Folder::new();
    let values = vec![u64::MAX, u64::MAX - 1, 7];
    for name in ["u.csv", "u.ndjson", "u.parquet"] {
        // Written NDJSON keeps such numbers as text, which every reader of JSON takes; others don't.
        let source = match name {
            "u.ndjson" => folder.file(name, values.iter().map(|v| format!("{{\"k\": {v}}}\n")).collect::<String>()),
            _ => folder.batch(name, &unsigned(values.clone())),
        };
        let loaded = read(&source, &["k".to_owned()], &Silent).unwrap_or_else(|e| panic!("{name}: {e}"));
        let column = loaded.table.column("k").unwrap();
        let numbers = column.numbers().unwrap_or_else(|| panic!("{name}: {column:?}")).to_vec();
        assert_eq!(numbers, [u64::MAX as f64, (u64::MAX - 1) as f64, 7.0], "{name}");
        assert_eq!(keys(&source, "k"), ["18446744073709551615", "18446744073709551614", "7"], "{name}");
    }
    // Unsigned columns whose numbers fit are whole numbers as before.
    let small = folder.batch("small.parquet", &unsigned(vec![1, 2, i64::MAX as u64]));
    assert_eq!(read_schema(&small).unwrap().schema.fields()[0].raw_type, RawType::Integer);
}

#[test]
fn identifiers_beyond_64_bits_pass_through_as_they_are_written() {
    let folder = Folder::new();
    let source = folder.file("p.ndjson", "{\"id\": 18446744073709551615, \"x\": 1}\n{\"id\": 7, \"x\": 2}\n");
    let pass = PassThrough::Only(vec!["id".into()]);
    let batch = Batches::open(&source, &Schema::default(), &pass).unwrap().next().unwrap().unwrap();
    let texts: Vec<Option<&str>> =
        arrow::array::AsArray::as_string::<i32>(batch.rows.column_by_name("id").unwrap()).iter().collect();
    assert_eq!(texts, [Some("18446744073709551615"), Some("7")]);
}

#[test]
fn a_type_that_was_given_is_kept_where_it_would_be_guessed_otherwise() {
    use impactiq_data::Field;
    let folder = Folder::new();
    let zip = Field { name: "zip".into(), raw_type: RawType::Text };
    let source = folder.file("z.csv", "zip,x\n007,1\n7,2\n08001,3\n");
    let typed = Source { types: Some(Schema::new(vec![zip]).unwrap()), ..source };
    let loaded = read(&typed, &["zip".to_owned()], &Silent).unwrap();
    let view = loaded.table.column("zip").unwrap();
    assert_eq!((view.text(0).as_deref(), view.text(1).as_deref()), (Some("007"), Some("7")));
}
