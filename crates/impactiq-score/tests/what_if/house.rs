//! A small trial with every kind of column, its model, and an evaluation of it.

use std::path::Path;

use impactiq_causal::{Config, evaluate, train};
use impactiq_data::{Field, RawType, Schema, Seed, Silent};
use impactiq_io::{Derived, RowFeatures, json_rows_to_batch, to_table};
use impactiq_score::saved::raw_columns;
use impactiq_score::{NewModel, Profile, SavedData, Scorer};
use serde_json::{Value, json};

/// Rows of the trial.
pub const N_ROWS: u64 = 1200;

fn schema() -> Schema {
    let field = |(name, raw_type): (&str, RawType)| Field { name: name.into(), raw_type };
    let columns = [
        ("age", RawType::Integer),
        ("x", RawType::Float32),
        ("city", RawType::Text),
        ("day", RawType::Date),
        ("t", RawType::Integer),
        ("y", RawType::Float64),
    ];
    Schema::new(columns.into_iter().map(field).collect()).unwrap()
}

/// A row by its number; `x` of the first is the smallest and has no short decimal.
fn row(id: u64) -> Value {
    let seed = Seed::new(11);
    let draw = |salt: u64| seed.child(salt).uniform(id);
    let x = if id == 0 { f64::from(0.1f32) } else { 0.2 + draw(1) };
    let (t, age) = (u8::from(draw(2) < 0.5), 18 + (draw(3) * 60.0) as i64);
    let city = if id < 30 { "Inari" } else { ["Turku", "Oulu"][(draw(4) * 2.0) as usize] };
    let y = u8::from(draw(5) < 0.2 + 0.4 * (x - 0.2) * f64::from(t));
    let day = format!("2026-03-{:02}", 1 + id % 28);
    json!({"age": age, "x": x, "city": city, "day": day, "t": t, "y": y})
}

/// Trains, writes the model with its profile and leaves an evaluation with it.
pub fn write(path: &Path) {
    let text = "data: {path: trial.csv}\nroles: {treatment: t, control: 0, outcome: y, features: [age, x, city, day, age_x]}\n\
                features: {age_x: \"age * x\"}\nsplit: {holdout: 0.4}\n\
                nuisance: {kind: logistic, folds: 2}\nlearner: {kind: t, base: logistic}\nevaluate: {bootstrap: 40}\n";
    let config = Config::from_yaml(text, "c.yaml", &[]).unwrap();
    let derived = vec![Derived { name: "age_x".into(), sql: "age * x".into() }];
    let schema = schema();
    let rows: Vec<Value> = (0..N_ROWS).map(row).collect();
    let (batch, errors) = json_rows_to_batch(&rows, &schema).unwrap();
    assert_eq!(errors, []);
    let features = RowFeatures::compile(&derived, &schema).unwrap();
    let batch = features.apply(&batch).unwrap();
    let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let checked = config.check(&schema.names()).unwrap();
    let table = to_table(&batch, &names).unwrap();
    let dataset = checked.dataset(table, (0..N_ROWS).collect()).unwrap();
    let trained = train(&checked, &dataset, &Silent).unwrap();
    let held_out = checked.holdout(&dataset).unwrap();
    let columns = raw_columns(&trained.model, &derived, &features.inputs());
    // The first row holds the smallest x: whatever the lot says, it counts here.
    let used: Vec<bool> = held_out.iter().enumerate().map(|(row, held_out)| row == 0 || !held_out).collect();
    let views: Vec<_> =
        columns.iter().map(|name| (schema.field(name).unwrap(), dataset.raw.column(name).unwrap())).collect();
    let profile = Profile::of(&views, &used);
    let manifest = NewModel {
        model: &trained.model,
        schema: &schema,
        derived_inputs: features.inputs(),
        derived,
        roles: checked.roles(),
        config: checked.config(),
        data: SavedData {
            paths: vec!["trial.csv".into()],
            filter: None,
            fingerprint: "f".into(),
            n_rows_read: N_ROWS,
            n_rows: N_ROWS,
            n_holdout: trained.report.n_holdout,
        },
        training: serde_json::to_value(&trained.report).unwrap(),
        profile: Some(profile),
    }
    .write(path, false)
    .unwrap();
    let kept: Vec<u32> = (0..N_ROWS as u32).filter(|&row| held_out[row as usize]).collect();
    let report = evaluate(&trained.model, &dataset, &kept, &checked, &Silent).unwrap();
    let mut value = serde_json::to_value(&report).unwrap();
    value["model"] = json!({"id": manifest.id});
    value["held_out"] = json!(true);
    impactiq_score::write_evaluation(path, &value).unwrap();
}

/// A folder with the model at `model`.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("model"));
    folder
}

/// The model's scorer.
pub fn scorer(folder: &tempfile::TempDir) -> Scorer {
    Scorer::open(&folder.path().join("model")).unwrap()
}

/// A row that training has support for.
pub fn person() -> Value {
    json!({"age": 40, "x": 0.5, "city": "Turku", "day": "2026-03-10"})
}
