//! What stays with a model: its profile, the held-out results, the health checks.

use serde_json::Value;

use crate::harness::{Folder, config, line, trial};

fn read(folder: &Folder, name: &str) -> Value {
    serde_json::from_slice(&folder.read(name)).unwrap()
}

#[test]
fn a_model_knows_what_its_training_rows_looked_like() {
    let folder = Folder::with_trial();
    folder.write(
        "config.yaml",
        config("features: { twice: \"x * 2\" }\n").replace("  id: id\n", "  id: id\n  features: [twice, city]\n"),
    );
    let train = folder.json(&["train", "-c", "config.yaml", "-o", "model"]);
    let profile = read(&folder, "model/profile.json");
    let n_learned = train["n_rows"].as_u64().unwrap() - train["n_holdout"].as_u64().unwrap();
    assert_eq!(profile["n_rows"].as_u64(), Some(n_learned), "held-out rows have no part in it");
    // Raw columns, also one that only a derived feature reads; the treatment and the outcome never.
    let columns = profile["columns"].as_array().unwrap();
    let named = |name: &str| columns.iter().find(|column| column["name"] == name);
    assert_eq!(columns.len(), 2, "{profile}");
    let x = named("x").unwrap();
    assert_eq!((&x["kind"], &x["missing"]), (&"number".into(), &0.0.into()));
    assert!(x["lower"].as_f64() < x["typical"].as_f64() && x["typical"].as_f64() < x["upper"].as_f64());
    let city = named("city").unwrap();
    let share = |level: &Value| level["share"].as_f64().unwrap();
    let told: f64 = city["levels"].as_array().unwrap().iter().map(share).sum();
    assert!((told + city["other"].as_f64().unwrap() + city["missing"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    let files = read(&folder, "model/manifest.json")["files"].clone();
    assert!(files["profile.json"]["sha256"].is_string(), "{files}");
}

#[test]
fn a_model_without_a_profile_still_scores() {
    let folder = Folder::with_model();
    let mut manifest = read(&folder, "model/manifest.json");
    manifest["files"].as_object_mut().unwrap().remove("profile.json");
    folder.write("model/manifest.json", serde_json::to_vec(&manifest).unwrap());
    std::fs::remove_file(folder.path("model/profile.json")).unwrap();
    folder.run(&["score", "-m", "model", "-d", "trial.csv", "-o", "scores.csv"]).succeeded();
}

#[test]
fn evaluating_the_hold_out_leaves_the_results_with_the_model() {
    let folder = Folder::with_model();
    let manifest = folder.read("model/manifest.json");
    folder.run(&["evaluate", "-m", "model", "--no-keep"]).succeeded();
    folder.write("new.csv", trial(0) + &(5000..5300).map(line).collect::<String>());
    folder.run(&["evaluate", "-m", "model", "-d", "new.csv"]).succeeded();
    assert!(!folder.path("model/reports").exists(), "asked to leave nothing, or of other data");
    let printed = folder.json(&["evaluate", "-m", "model"]);
    let kept = read(&folder, "model/reports/evaluation.json");
    assert_eq!((&kept["model"]["id"], &kept["held_out"]), (&printed["model"]["id"], &true.into()));
    let contrast = &kept["contrasts"][0];
    assert_eq!(contrast["metrics"], printed["contrasts"][0]["metrics"]);
    assert_eq!(contrast["draws"]["rate_autoc"].as_array().unwrap().len(), 50);
    let points = contrast["targeting"]["points"].as_array().unwrap();
    assert_eq!(points.len(), 101);
    for key in ["fraction", "threshold", "n_targeted", "incremental", "over_random"] {
        assert!(points[50].get(key).is_some(), "{key} of {}", points[50]);
    }
    assert!(printed["contrasts"][0].get("targeting").is_none(), "what is printed stays short");
    // The model is what it was: same manifest, same answers.
    assert_eq!(folder.read("model/manifest.json"), manifest);
    folder.run(&["score", "-m", "model", "-d", "trial.csv", "-o", "scores.csv"]).succeeded();
    folder.run(&["evaluate", "-m", "model", "-d", "new.csv", "--keep"]).succeeded();
    assert_eq!(read(&folder, "model/reports/evaluation.json")["data"], "new.csv");
}

#[test]
fn health_checks_are_left_with_the_model_of_the_same_data() {
    let folder = Folder::with_model();
    let printed = folder.json(&["check", "-c", "config.yaml", "-m", "model"]);
    let kept = read(&folder, "model/reports/check.json");
    for key in ["n_rows", "arms", "gates", "balance", "warnings", "passed"] {
        assert_eq!(kept[key], printed[key], "{key}");
    }
    assert_eq!(kept["model"]["id"], read(&folder, "model/manifest.json")["id"]);
    assert_eq!(kept["smd_max"], 0.1);
    folder.write("trial.csv", trial(390));
    folder.refused(
        "kept_check_of_other_data",
        &["check", "-c", "config.yaml", "-m", "model"],
        &["model", "other data"],
    );
    folder.write("config.yaml", config("").replace("path: trial.csv\n", "path: trial.csv\n  where: \"x > 0.1\"\n"));
    folder.refused("kept_check_of_other_rows", &["check", "-c", "config.yaml", "-m", "model"], &["data.where"]);
    folder.refused("kept_check_without_a_model", &["check", "-c", "config.yaml", "-m", "nowhere"], &["nowhere"]);
}

#[test]
fn what_cannot_be_kept_is_a_note_and_no_error() {
    let folder = Folder::with_model();
    folder.write("model/reports", "in the way");
    let ran = folder.run(&["evaluate", "-m", "model"]).succeeded();
    assert!(ran.stderr.contains("note: the results were not left with the model"), "{}", ran.shown());
    assert!(ran.stdout.contains("rate_autoc"), "{}", ran.shown());
}

#[test]
fn training_again_takes_old_results_away() {
    let folder = Folder::with_model();
    folder.run(&["evaluate", "-m", "model"]).succeeded();
    assert!(folder.path("model/reports/evaluation.json").is_file());
    folder.run(&["train", "-c", "config.yaml", "-o", "model", "--overwrite"]).succeeded();
    assert!(!folder.path("model/reports").exists());
}
