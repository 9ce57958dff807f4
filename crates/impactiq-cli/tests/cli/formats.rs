//! The same rows give the same model and the same scores whatever they are written in.

use std::collections::BTreeMap;

use impactiq_score::Scorer;
use serde_json::{Value, json};

use crate::harness::{Folder, config, trial};

/// The trial as NDJSON, its values typed as CSV readers see them.
fn ndjson(text: &str) -> String {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    lines
        .map(|line| {
            let value = |text: &str| text.parse::<f64>().map_or_else(|_| json!(text), |_| text.parse().unwrap());
            let row: serde_json::Map<String, Value> =
                names.iter().zip(line.split(',')).map(|(name, field)| ((*name).to_owned(), value(field))).collect();
            Value::Object(row).to_string() + "\n"
        })
        .collect()
}

/// A folder with the trial as one CSV, packed, as NDJSON, as Parquet and in pieces.
fn folder() -> (Folder, [&'static str; 6]) {
    let folder = Folder::new();
    let text = trial(600);
    folder.write("trial.csv", &text);
    folder.write("trial.ndjson", ndjson(&text));
    parquet(&folder, "trial.csv", "trial.parquet");
    std::fs::create_dir(folder.path("csv")).unwrap();
    std::fs::create_dir(folder.path("parquet")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (index, part) in lines[1..].chunks(170).enumerate() {
        folder.write(&format!("csv/{index}.csv"), format!("{}\n{}\n", lines[0], part.join("\n")));
        parquet(&folder, &format!("csv/{index}.csv"), &format!("parquet/{index}.parquet"));
    }
    let mut packed = std::process::Command::new("gzip");
    packed.arg("-k").arg(folder.path("trial.csv"));
    assert!(packed.status().unwrap().success());
    (folder, ["trial.csv", "trial.csv.gz", "trial.ndjson", "trial.parquet", "csv", "parquet"])
}

/// Rewrites a file in another format, its types kept.
fn parquet(folder: &Folder, from: &str, to: &str) {
    use impactiq_io::{Batches, PassThrough, Source, Writer, read_schema};
    let source = Source { paths: vec![folder.path(from).display().to_string()], ..Source::default() };
    let schema = read_schema(&source).unwrap().schema;
    let batches = Batches::open(&source, &schema, &PassThrough::Only(Vec::new())).unwrap();
    let mut writer = Writer::create(folder.path(to), &batches.schema(), false).unwrap();
    for batch in batches {
        writer.write(&batch.unwrap().rows).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn models_and_holdouts_do_not_depend_on_format_files_or_threads() {
    let (folder, sources) = folder();
    let mut seen: Option<(Vec<u8>, Value)> = None;
    for (index, source) in sources.iter().enumerate() {
        folder.write("config.yaml", config("").replace("trial.csv", source));
        let model = format!("model{index}");
        let threads = if index % 2 == 0 { "1" } else { "2" };
        folder.run(&["train", "-c", "config.yaml", "-o", &model, "--threads", threads]).succeeded();
        // The hold-out's metrics, curves and deciles are those of the same rows.
        let evaluated = folder.json(&["evaluate", "-m", &model]);
        let found = (folder.read(&format!("{model}/model.safetensors")), evaluated["contrasts"].clone());
        match &seen {
            None => seen = Some(found),
            Some(first) => {
                assert_eq!(first.0, found.0, "the model of {source}");
                assert_eq!(first.1, found.1, "the hold-out of {source}");
            }
        }
    }
}

#[test]
fn the_same_row_has_the_same_score_bits_in_every_format_and_as_json() {
    let (folder, sources) = folder();
    folder.write("config.yaml", config("features: { xx: \"x * x + 0.1\" }\n"));
    folder.run(&["train", "-c", "config.yaml", "-o", "model"]).succeeded();
    let scorer = Scorer::open(&folder.path("model")).unwrap();
    let rows: Vec<Value> = ndjson(&trial(600)).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answers = scorer.score_json(&rows).unwrap();
    let expected: BTreeMap<String, (u64, u64)> = rows
        .iter()
        .zip(&answers)
        .map(|(row, answer)| {
            let bits = |key: &str| answer[key].as_f64().unwrap().to_bits();
            (row["id"].as_str().unwrap().to_owned(), (bits("cate"), bits("mean_1")))
        })
        .collect();
    let distinct: std::collections::BTreeSet<u64> = expected.values().map(|bits| bits.0).collect();
    assert!(distinct.len() > 300, "scores differ between rows");
    for (index, source) in sources.iter().enumerate() {
        for ending in ["csv", "ndjson"] {
            let name = format!("scores{index}.{ending}");
            folder.run(&["score", "-m", "model", "-d", source, "-o", &name]).succeeded();
            let text = String::from_utf8(folder.read(&name)).unwrap();
            assert_eq!(scores(&text, ending), expected, "{source} as {ending}");
        }
    }
}

fn scores(text: &str, ending: &str) -> BTreeMap<String, (u64, u64)> {
    let bits = |text: &str| text.parse::<f64>().unwrap().to_bits();
    if ending == "csv" {
        let rows = text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        return rows.map(|fields| (fields[0].to_owned(), (bits(fields[1]), bits(fields[5])))).collect();
    }
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap().to_bits();
    rows.map(|row| (row["id"].as_str().unwrap().to_owned(), (number(&row, "cate"), number(&row, "mean_1")))).collect()
}

#[test]
fn one_row_alone_and_among_others_has_the_same_score() {
    let (folder, _) = folder();
    folder.write("config.yaml", config(""));
    folder.run(&["train", "-c", "config.yaml", "-o", "model"]).succeeded();
    let scorer = Scorer::open(&folder.path("model")).unwrap();
    let rows: Vec<Value> = ndjson(&trial(50)).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let together = scorer.score_json(&rows).unwrap();
    for (row, answer) in rows.iter().zip(&together) {
        assert_eq!(&scorer.score_json(std::slice::from_ref(row)).unwrap()[0], answer);
    }
    let wrong = scorer.score_json(&[json!({"x": "far", "city": "Oulu"}), rows[0].clone()]).unwrap();
    assert_eq!(wrong[0]["error"]["column"], "x");
    assert_eq!(wrong[1], together[0]);
}
