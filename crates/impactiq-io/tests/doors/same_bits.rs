//! The same row has the same bits through every door.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Float32Type, Float64Type, Int64Type};
use impactiq_data::{Field, RawType, Schema, Silent};
use impactiq_io::{Source, cast, json_rows_to_batch, read, to_table};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::files::Folder;

#[derive(Clone, Debug)]
struct Row {
    whole: Option<i64>,
    single: Option<f32>,
    double: Option<f64>,
    text: Option<String>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let whole = prop::option::of(any::<i64>());
    let single = prop::option::of(any::<f32>().prop_filter("finite", |v| v.is_finite()));
    let double = prop::option::of(any::<f64>().prop_filter("finite", |v| v.is_finite()));
    let text = prop::option::of("[a-z \",;|\\t\\n\\r'é#-]{1,6}");
    let row =
        (whole, single, double, text).prop_map(|(whole, single, double, text)| Row { whole, single, double, text });
    prop::collection::vec(row, 1..40)
}

fn schema() -> Schema {
    let field = |name: &str, raw_type| Field { name: name.into(), raw_type };
    Schema::new(vec![
        field("whole", RawType::Integer),
        field("single", RawType::Float32),
        field("double", RawType::Float64),
        field("text", RawType::Text),
    ])
    .unwrap()
}

fn batch(rows: &[Row]) -> RecordBatch {
    RecordBatch::try_from_iter([
        ("whole", Arc::new(rows.iter().map(|r| r.whole).collect::<Int64Array>()) as ArrayRef),
        ("single", Arc::new(rows.iter().map(|r| r.single).collect::<Float32Array>()) as ArrayRef),
        ("double", Arc::new(rows.iter().map(|r| r.double).collect::<Float64Array>()) as ArrayRef),
        ("text", Arc::new(rows.iter().map(|r| r.text.clone()).collect::<StringArray>()) as ArrayRef),
    ])
    .unwrap()
}

fn assert_same(found: &RecordBatch, expected: &RecordBatch, door: &str) {
    let bits32 = |b: &RecordBatch| {
        b.column(1).as_primitive::<Float32Type>().iter().map(|v| v.map(f32::to_bits)).collect::<Vec<_>>()
    };
    let bits64 = |b: &RecordBatch| {
        b.column(2).as_primitive::<Float64Type>().iter().map(|v| v.map(f64::to_bits)).collect::<Vec<_>>()
    };
    assert_eq!(found.column(0).as_primitive::<Int64Type>(), expected.column(0).as_primitive::<Int64Type>(), "{door}");
    assert_eq!(bits32(found), bits32(expected), "{door}");
    assert_eq!(bits64(found), bits64(expected), "{door}");
    assert_eq!(found.column(3).as_string::<i32>(), expected.column(3).as_string::<i32>(), "{door}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_written_table_reads_back_to_the_same_bits(rows in rows()) {
        let folder = Folder::new();
        let batch = batch(&rows);
        let names = schema().names();
        let expected = to_table(&batch, &names).unwrap();
        for name in ["t.csv", "t.tsv", "t.csv.gz", "t.ndjson", "t.jsonl.zst", "t.parquet"] {
            let source = Source { types: Some(schema()), ..folder.batch(name, &batch) };
            let loaded = read(&source, &names, &Silent).unwrap();
            for name in &names {
                let (a, b) = (expected.column(name).unwrap(), loaded.table.column(name).unwrap());
                for row in 0..rows.len() {
                    match (a.numbers(), b.numbers()) {
                        (Some(a), Some(b)) if a[row].is_nan() => prop_assert!(b[row].is_nan()),
                        (Some(a), Some(b)) => prop_assert_eq!(a[row].to_bits(), b[row].to_bits()),
                        _ => prop_assert_eq!(a.text(row), b.text(row)),
                    }
                }
            }
        }
    }

    #[test]
    fn json_rows_and_arrow_batches_agree(rows in rows()) {
        let batch = batch(&rows);
        // A float's shortest decimal is what a JSON client sends.
        let shortest = |v: f32| serde_json::from_str::<Value>(&format!("{v:?}")).unwrap();
        let json: Vec<Value> = rows
            .iter()
            .map(|r| json!({"whole": r.whole, "single": r.single.map(shortest), "double": r.double, "text": r.text}))
            .collect();
        let (from_json, errors) = json_rows_to_batch(&json, &schema()).unwrap();
        prop_assert_eq!(errors, vec![]);
        let (from_arrow, errors) = cast(&batch, &schema()).unwrap();
        prop_assert_eq!(errors, vec![]);
        assert_same(&from_json, &batch, "json");
        assert_same(&from_arrow, &batch, "arrow");
    }
}

#[test]
fn wider_and_narrower_columns_are_cast_to_the_models_types() {
    use arrow::array::{Decimal128Array, DictionaryArray, Int8Array, LargeStringArray, StringViewArray, UInt64Array};
    use arrow::datatypes::Int32Type;
    let dictionary: DictionaryArray<Int32Type> = vec![Some("x"), None, Some("")].into_iter().collect();
    let decimals = Decimal128Array::from(vec![Some(10), None, Some(-25)]).with_precision_and_scale(10, 2).unwrap();
    let columns: Vec<(&str, ArrayRef, RawType)> = vec![
        ("i8", Arc::new(Int8Array::from(vec![Some(-1), None, Some(3)])), RawType::Float64),
        ("u64", Arc::new(UInt64Array::from(vec![1, 2, 3])), RawType::Integer),
        ("dec", Arc::new(decimals), RawType::Float64),
        ("dict", Arc::new(dictionary), RawType::Text),
        ("large", Arc::new(LargeStringArray::from(vec!["1", "2.0", "NA"])), RawType::Integer),
        ("view", Arc::new(StringViewArray::from(vec!["true", "0", ""])), RawType::Boolean),
        ("f32", Arc::new(Float32Array::from(vec![0.1, f32::NAN, 2.0])), RawType::Float64),
        ("flag", Arc::new(arrow::array::BooleanArray::from(vec![true, false, true])), RawType::Integer),
    ];
    let schema =
        Schema::new(columns.iter().map(|(n, _, t)| Field { name: (*n).into(), raw_type: *t }).collect()).unwrap();
    let batch = RecordBatch::try_from_iter(columns.into_iter().map(|(n, a, _)| (n, a))).unwrap();
    let (cast, errors) = cast(&batch, &schema).unwrap();
    assert_eq!(errors, []);
    let table = to_table(&cast, &schema.names()).unwrap();
    let shown = |name: &str| {
        let column = table.column(name).unwrap();
        (0..3).map(|row| column.text(row).unwrap_or_else(|| "∅".into())).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shown("i8"), "-1 ∅ 3");
    assert_eq!(shown("u64"), "1 2 3");
    assert_eq!(shown("dec"), "0.1 ∅ -0.25");
    assert_eq!(shown("dict"), "x ∅ ∅");
    assert_eq!(shown("large"), "1 2 ∅");
    assert_eq!(shown("view"), "1 0 ∅");
    assert_eq!(shown("f32"), "0.1 ∅ 2");
    assert_eq!(shown("flag"), "1 0 1");
}
