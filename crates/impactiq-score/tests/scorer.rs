//! A model trained in memory, written, opened again and asked by every door.

use std::path::Path;

use arrow::array::{AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field as ArrowField, Float64Type, Schema as ArrowSchema};
use impactiq_data::{Field, RawType, Schema};
use impactiq_score::{ScoreError, Scorer};
use serde_json::{Value, json};

mod trial;
use trial::Trial;

/// Trains on the multi-arm trial with these outcomes and writes the model to `path`.
fn write_model(path: &Path, outcomes: &str) {
    Trial::learn(outcomes).write(path, None, false);
}

fn rows() -> Vec<Value> {
    (0..40).map(|i| json!({"x1": f64::from(i) / 7.0 - 2.0, "x2": 0.1 * f64::from(i % 9), "region": "north"})).collect()
}

#[test]
fn columns_carry_their_arm_and_outcome_only_where_there_are_several() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one");
    write_model(&path, "y");
    let one = Scorer::open(&path).unwrap();
    let arms = one.manifest().arms.clone();
    assert_eq!(arms.len(), 3);
    let names: Vec<&str> = one.columns().iter().map(|column| column.name.as_str()).collect();
    let mut wanted: Vec<String> = Vec::new();
    for arm in &arms[1..] {
        wanted.extend(["cate", "cate_lower", "cate_upper"].map(|start| format!("{start}_{arm}")));
    }
    wanted.extend(arms.iter().map(|arm| format!("mean_{arm}")));
    wanted.push("best_arm".into());
    assert_eq!(names, wanted);
    let path = folder.path().join("two");
    write_model(&path, "[y, converted]");
    let two = Scorer::open(&path).unwrap();
    let names: Vec<&str> = two.columns().iter().map(|column| column.name.as_str()).collect();
    let prefixed = ["y_", "converted_"].map(|outcome| wanted.iter().map(move |name| format!("{outcome}{name}")));
    assert_eq!(names, prefixed.into_iter().flatten().collect::<Vec<_>>());
}

#[test]
fn effects_are_differences_of_means_and_the_best_arm_has_the_largest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    write_model(&path, "y");
    let scorer = Scorer::open(&path).unwrap();
    let arms = scorer.manifest().arms.clone();
    for answer in scorer.score_json(&rows()).unwrap() {
        let mean = |arm: &String| answer[format!("mean_{arm}")].as_f64().unwrap();
        for arm in &arms[1..] {
            assert_eq!(answer[format!("cate_{arm}")].as_f64().unwrap(), mean(arm) - mean(&arms[0]));
            assert!(answer[format!("cate_lower_{arm}")].is_null());
        }
        let best = answer["best_arm"].as_str().unwrap().to_owned();
        assert!(arms.iter().all(|arm| mean(arm) <= mean(&best)), "{answer}");
    }
}

#[test]
fn an_arrow_batch_of_other_types_gets_the_bits_of_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    write_model(&path, "y");
    let scorer = Scorer::open(&path).unwrap();
    let rows = rows();
    let wanted = scorer.score_json(&rows).unwrap();
    // Numbers as text in another column order, with a column the model does not know.
    let texts =
        |name: &str| rows.iter().map(|row| Some(row[name].to_string().replace('"', ""))).collect::<StringArray>();
    let schema = ArrowSchema::new(vec![
        ArrowField::new("other", DataType::Float64, true),
        ArrowField::new("region", DataType::Utf8, true),
        ArrowField::new("x2", DataType::Utf8, true),
        ArrowField::new("x1", DataType::Utf8, true),
    ]);
    let other: Float64Array = rows.iter().map(|_| Some(f64::NAN)).collect();
    let columns: Vec<arrow::array::ArrayRef> = vec![
        std::sync::Arc::new(other),
        std::sync::Arc::new(texts("region")),
        std::sync::Arc::new(texts("x2")),
        std::sync::Arc::new(texts("x1")),
    ];
    let batch = RecordBatch::try_new(std::sync::Arc::new(schema), columns).unwrap();
    let scored = scorer.score(&batch).unwrap();
    assert_eq!(scored.errors, []);
    let name = &scorer.columns()[0].name;
    let cate = scored.batch.column_by_name(name).unwrap().as_primitive::<Float64Type>();
    for (row, answer) in wanted.iter().enumerate() {
        assert_eq!(cate.value(row).to_bits(), answer[name].as_f64().unwrap().to_bits());
    }
}

#[test]
fn a_bad_row_is_a_value_and_leaves_its_neighbours_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    write_model(&path, "y");
    let scorer = Scorer::open(&path).unwrap();
    let mut rows = rows();
    let wanted = scorer.score_json(&rows).unwrap();
    rows[3] = json!({"x1": "much", "x2": 1, "region": "north"});
    rows[5] = json!({"X1": 1.0, "x2": 1, "region": "north"});
    rows[7] = json!("no row");
    let answers = scorer.score_json(&rows).unwrap();
    for (row, answer) in answers.iter().enumerate() {
        match row {
            3 => assert_eq!((&answer["error"]["column"], &answer["error"]["value"]), (&"x1".into(), &"much".into())),
            5 | 7 => assert!(answer["error"]["message"].is_string(), "{answer}"),
            _ => assert_eq!(answer, &wanted[row]),
        }
    }
    assert!(scorer.score_json(&[]).unwrap().is_empty());
}

#[test]
fn a_missing_column_is_an_error_with_the_closest_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    write_model(&path, "y");
    let scorer = Scorer::open(&path).unwrap();
    assert_eq!(scorer.schema().names(), ["x1", "x2", "region"]);
    let batch = RecordBatch::try_from_iter([
        ("x1", std::sync::Arc::new(Float64Array::from(vec![1.0])) as arrow::array::ArrayRef),
        ("x2", std::sync::Arc::new(Float64Array::from(vec![1.0]))),
        ("regoin", std::sync::Arc::new(StringArray::from(vec!["b"]))),
    ])
    .unwrap();
    let error = scorer.score(&batch).unwrap_err();
    assert!(matches!(error, ScoreError::Io(_)), "{error:?}");
    assert_eq!(error.hint().unwrap(), "did you mean 'regoin'?");
}

#[test]
fn the_same_training_writes_the_same_bytes_and_another_gets_another_id() {
    let folder = tempfile::tempdir().unwrap();
    let ids: Vec<(String, Vec<u8>)> = [("a", "y"), ("b", "y"), ("c", "converted")]
        .map(|(name, outcome)| {
            let path = folder.path().join(name);
            write_model(&path, outcome);
            let scorer = Scorer::open(&path).unwrap();
            (scorer.manifest().id.clone(), std::fs::read(path.join("manifest.json")).unwrap())
        })
        .to_vec();
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[0].0, ids[2].0);
}

#[test]
fn schemas_keep_the_types_of_training() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    write_model(&path, "y");
    let schema: Schema = Scorer::open(&path).unwrap().schema().clone();
    assert!(schema.fields().contains(&Field { name: "region".into(), raw_type: RawType::Text }));
    assert!(schema.fields().iter().filter(|f| f.name != "region").all(|f| f.raw_type == RawType::Float32));
}
