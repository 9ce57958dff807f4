//! Models that are damaged, or asked for what they cannot do.

use serde_json::Value;

use crate::harness::{Folder, line, trial};

const SCORE: &[&str] = &["score", "-m", "model", "-d", "trial.csv", "-o", "scores.csv"];

#[test]
fn corrupted_model() {
    let folder = Folder::with_model();
    let mut bytes = folder.read("model/model.safetensors");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    folder.write("model/model.safetensors", bytes);
    folder.refused("corrupted_model", SCORE, &["model.safetensors", "model"]);
}

#[test]
fn truncated_model() {
    let folder = Folder::with_model();
    let bytes = folder.read("model/model.safetensors");
    folder.write("model/model.safetensors", &bytes[..bytes.len() / 2]);
    folder.refused("truncated_model", SCORE, &["model.safetensors", "model"]);
}

#[test]
fn model_without_its_arrays() {
    let folder = Folder::with_model();
    std::fs::remove_file(folder.path("model/model.safetensors")).unwrap();
    folder.refused("model_without_its_arrays", SCORE, &["model.safetensors"]);
}

#[test]
fn model_of_the_future() {
    let folder = Folder::with_model();
    let mut manifest: Value = serde_json::from_slice(&folder.read("model/manifest.json")).unwrap();
    manifest["format_version"] = 99.into();
    folder.write("model/manifest.json", manifest.to_string());
    folder.refused("model_of_the_future", SCORE, &["99", "model"]);
}

#[test]
fn manifest_that_is_not_json() {
    let folder = Folder::with_model();
    folder.write("model/manifest.json", "{\"format_version\": 1, ");
    folder.refused("manifest_that_is_not_json", SCORE, &["manifest.json"]);
}

#[test]
fn manifest_without_features() {
    let folder = Folder::with_model();
    let mut manifest: Value = serde_json::from_slice(&folder.read("model/manifest.json")).unwrap();
    manifest.as_object_mut().unwrap().remove("features");
    folder.write("model/manifest.json", manifest.to_string());
    folder.refused("manifest_without_features", SCORE, &["features", "model"]);
}

#[test]
fn manifest_with_other_features() {
    let folder = Folder::with_model();
    let mut manifest: Value = serde_json::from_slice(&folder.read("model/manifest.json")).unwrap();
    manifest["features"] = serde_json::json!(["city", "x"]);
    folder.write("model/manifest.json", manifest.to_string());
    folder.refused("manifest_with_other_features", SCORE, &["model"]);
}

#[test]
fn folder_that_is_no_model() {
    let folder = Folder::with_trial();
    std::fs::create_dir(folder.path("model")).unwrap();
    folder.refused("folder_that_is_no_model", SCORE, &["model"]);
}

#[test]
fn model_that_is_not_there() {
    Folder::with_trial().refused("model_that_is_not_there", SCORE, &["model"]);
}

#[test]
fn data_without_a_feature() {
    let folder = Folder::with_model();
    folder.write("trial.csv", trial(10).replacen(",x,", ",xx,", 1));
    folder.refused("data_without_a_feature", SCORE, &["'x'", "trial.csv"]);
}

#[test]
fn data_without_the_identifier() {
    let folder = Folder::with_model();
    folder.write("trial.csv", trial(10).replacen("id,", "key,", 1));
    folder.refused("data_without_the_identifier", SCORE, &["'id'", "trial.csv"]);
}

#[test]
fn bad_cell_of_a_strict_run() {
    let folder = Folder::with_model();
    folder.write("trial.csv", trial(10) + &line(10).replacen("c10,0.", "c10,zero.", 1) + &line(11));
    let mut arguments = SCORE.to_vec();
    arguments.push("--strict");
    folder.refused("bad_cell_of_a_strict_run", &arguments, &["trial.csv", "row 11", "'x'", "zero."]);
}

#[test]
fn changed_holdout_file() {
    let folder = Folder::with_model();
    folder.write("trial.csv", trial(401));
    folder.refused("changed_holdout_file", &["evaluate", "-m", "model"], &["trial.csv", "changed"]);
}

#[test]
fn lost_holdout_file() {
    let folder = Folder::with_model();
    std::fs::rename(folder.path("trial.csv"), folder.path("moved.csv")).unwrap();
    folder.refused("lost_holdout_file", &["evaluate", "-m", "model"], &["trial.csv", "-d DATA"]);
}

#[test]
fn model_without_a_holdout() {
    let folder = Folder::with_trial();
    folder.run(&["train", "-c", "config.yaml", "-o", "model", "--set", "split.holdout=0"]).succeeded();
    folder.refused("model_without_a_holdout", &["evaluate", "-m", "model"], &["split.holdout", "-d DATA"]);
}

#[test]
fn evaluation_with_another_holdout() {
    let folder = Folder::with_model();
    let arguments = ["evaluate", "-m", "model", "--set", "split.holdout=0.5"];
    folder.refused("evaluation_with_another_holdout", &arguments, &["split.holdout"]);
}

#[test]
fn evaluation_of_other_arms() {
    let folder = Folder::with_model();
    folder.write("other.csv", trial(50).replace(",1,0\n", ",2,0\n"));
    folder.refused(
        "evaluation_of_other_arms",
        &["evaluate", "-m", "model", "-d", "other.csv"],
        &["arms 0, 1, 2", "0, 1"],
    );
}

#[test]
fn condition_that_cannot_be_read() {
    let folder = Folder::with_model();
    let arguments = ["evaluate", "-m", "model", "--fail-if", "rate_autoc below 0"];
    folder.refused("condition_that_cannot_be_read", &arguments, &["rate_autoc below 0", "--fail-if"]);
}

#[test]
fn condition_on_an_unknown_metric() {
    let folder = Folder::with_model();
    let arguments = ["evaluate", "-m", "model", "--fail-if", "rate_autc < 0"];
    folder.refused("condition_on_an_unknown_metric", &arguments, &["rate_autc", "did you mean 'rate_autoc'?"]);
}

#[test]
fn score_column_of_text() {
    let folder = Folder::with_trial();
    let arguments = ["evaluate", "-c", "config.yaml", "--score", "city"];
    folder.refused("score_column_of_text", &arguments, &["'city'", "row 1", "trial.csv"]);
}

#[test]
fn score_column_with_gaps() {
    let folder = Folder::with_trial();
    let text = trial(400);
    let lines = text.lines().enumerate().map(|(number, line)| match number {
        0 => format!("{line},score"),
        7 => format!("{line},"),
        _ => format!("{line},0.{number}"),
    });
    folder.write("trial.csv", lines.collect::<Vec<_>>().join("\n") + "\n");
    let arguments = ["evaluate", "-c", "config.yaml", "--score", "score"];
    folder.refused("score_column_with_gaps", &arguments, &["'score'", "row 7", "trial.csv, line 8"]);
}

#[test]
fn score_column_that_is_not_there() {
    let folder = Folder::with_trial();
    let arguments = ["evaluate", "-c", "config.yaml", "--score", "cate"];
    folder.refused("score_column_that_is_not_there", &arguments, &["'cate'"]);
}
