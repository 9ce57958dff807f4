//! Reports come back as they were left, and a damaged one is told and stops nothing.

use std::fs;

use impactiq_score::reports::{EVALUATION_FILE, REPORTS_FOLDER};
use impactiq_score::{ColumnProfile, Reports, Scorer, write_check, write_evaluation};
use serde_json::{Value, json};

use crate::house::{N_ROWS, folder, scorer};

#[test]
fn everything_that_is_known_of_a_model_is_read_at_once() {
    let folder = folder();
    let path = folder.path().join("model");
    let id = scorer(&folder).manifest().id.clone();
    write_check(&path, &json!({"model": {"id": id}, "passed": true, "gates": []})).unwrap();
    let reports = Reports::read(&path).unwrap();
    assert_eq!(reports.problems, []);
    assert_eq!(reports.training["n_rows"], N_ROWS);
    assert_eq!(reports.check.unwrap()["passed"], true);
    assert!(reports.card.contains(&id));
    let held_out = reports.held_out.unwrap();
    let contrast = held_out.contrast("y", "1").unwrap();
    assert_eq!((contrast.deciles.len(), contrast.targeting.as_ref().unwrap().points.len()), (10, 101));
    let evaluation = reports.evaluation.unwrap();
    assert_eq!(evaluation["contrasts"][0]["draws"]["rate_autoc"].as_array().unwrap().len(), 40);
    let profile = reports.profile.unwrap();
    let names: Vec<&str> = profile.columns.iter().map(ColumnProfile::name).collect();
    assert_eq!(names, ["age", "x", "city", "day"]);
    assert!(profile.n_rows < N_ROWS);
}

#[test]
fn reports_are_no_part_of_the_model() {
    let folder = folder();
    let path = folder.path().join("model");
    let id = scorer(&folder).manifest().id.clone();
    fs::remove_dir_all(path.join(REPORTS_FOLDER)).unwrap();
    let without = Reports::read(&path).unwrap();
    assert!(without.evaluation.is_none() && without.held_out.is_none() && without.check.is_none());
    assert_eq!(without.problems, []);
    write_evaluation(&path, &json!({"model": {"id": id}, "held_out": false, "n_rows": 1, "contrasts": []})).unwrap();
    assert_eq!(Scorer::open(&path).unwrap().manifest().id, id);
    // What was measured on rows the model has seen is shown, and promises nothing.
    let seen = Reports::read(&path).unwrap();
    assert!(seen.evaluation.is_some() && seen.held_out.is_none());
    assert_eq!(fs::read_dir(path.join(REPORTS_FOLDER)).unwrap().count(), 1, "nothing half written is left");
}

#[test]
fn a_report_that_cannot_be_used_is_missing_with_a_reason() {
    let folder = folder();
    let path = folder.path().join("model");
    let id = scorer(&folder).manifest().id.clone();
    let place = path.join(REPORTS_FOLDER).join(EVALUATION_FILE);
    let told = |text: &str| {
        fs::write(&place, text).unwrap();
        let reports = Reports::read(&path).unwrap();
        assert!(reports.evaluation.is_none() && reports.held_out.is_none());
        assert_eq!(reports.problems.len(), 1);
        let problem = &reports.problems[0];
        assert_eq!(problem.file, "reports/evaluation.json");
        assert!(problem.hint.contains("impactiq evaluate -m"), "{problem:?}");
        problem.detail.clone()
    };
    assert!(told("{\"model\": ").starts_with("it is damaged: EOF"));
    assert!(told(r#"{"model": {"id": "0000"}}"#).contains("it speaks of the model 0000"));
    assert!(told("[1]").contains("does not say which model"));
    let half = json!({"model": {"id": id}, "held_out": true, "n_rows": 1, "contrasts": [{"outcome": "y"}]});
    assert!(told(&half.to_string()).contains("missing field `arm`"));
    // The model itself answers as before.
    assert!(scorer(&folder).score_json(&[crate::house::person()]).unwrap()[0]["cate"].is_number());
}

#[test]
fn a_profile_that_was_changed_is_told() {
    let folder = folder();
    let path = folder.path().join("model");
    let place = path.join("profile.json");
    let text = fs::read_to_string(&place).unwrap();
    let profile: Value = serde_json::from_str(&text).unwrap();
    let lower = profile["columns"][0]["lower"].to_string();
    fs::write(&place, text.replacen(&format!("\"lower\": {lower}"), "\"lower\": 99.0", 1)).unwrap();
    let reports = Reports::read(&path).unwrap();
    assert!(reports.profile.is_none());
    assert_eq!(reports.problems[0].file, "profile.json");
}

#[test]
fn a_place_that_cannot_be_written_is_an_error_with_its_name() {
    let folder = folder();
    let path = folder.path().join("model");
    fs::remove_dir_all(path.join(REPORTS_FOLDER)).unwrap();
    fs::write(path.join(REPORTS_FOLDER), "a file").unwrap();
    let error = write_check(&path, &json!({})).unwrap_err();
    assert!(error.to_string().contains("check.json") || error.to_string().contains("reports"), "{error}");
    assert!(error.hint().is_some());
}
