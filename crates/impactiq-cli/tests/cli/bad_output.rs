//! Outputs that cannot be written, and runs that are stopped: nothing is left half-written.

use std::process::Stdio;
use std::time::Duration;

use crate::harness::{Folder, Ran, config};

#[test]
fn model_exists() {
    let folder = Folder::with_model();
    folder.refused(
        "model_exists",
        &["train", "-c", "config.yaml", "-o", "model"],
        &["model exists already", "--overwrite"],
    );
    folder.run(&["train", "-c", "config.yaml", "-o", "model", "--overwrite"]).succeeded();
}

#[test]
fn scores_exist() {
    let folder = Folder::with_model();
    folder.write("scores.csv", "mine");
    let arguments = ["score", "-m", "model", "-d", "trial.csv", "-o", "scores.csv"];
    folder.refused("scores_exist", &arguments, &["scores.csv exists already", "--overwrite"]);
}

#[test]
fn something_else_than_a_model_is_never_replaced() {
    let folder = Folder::with_trial();
    std::fs::create_dir(folder.path("model")).unwrap();
    folder.write("model/thesis.txt", "years of work");
    let arguments = ["train", "-c", "config.yaml", "-o", "model", "--overwrite"];
    folder.refused("something_else_than_a_model_is_never_replaced", &arguments, &["model"]);
}

#[test]
fn configuration_exists() {
    let folder = Folder::with_trial();
    let arguments = ["init", "trial.csv", "--overwrite"];
    folder.refused("configuration_exists", &arguments, &["config.yaml exists already"]);
}

#[test]
fn synth_exists() {
    let folder = Folder::with_trial();
    folder.refused("synth_exists", &["synth", "criteo", "-n", "10", "-o", "trial.csv"], &["trial.csv exists already"]);
    folder.write("a.truth.csv", "mine");
    folder.refused(
        "synth_truth_exists",
        &["synth", "criteo", "-n", "10", "-o", "a.csv"],
        &["a.truth.csv exists already"],
    );
}

#[test]
fn demo_into_a_folder_of_somebody_else() {
    let folder = Folder::with_trial();
    folder.refused("demo_into_a_folder_of_somebody_else", &["demo", "--output", "."], &["not made by a tour"]);
}

#[test]
fn missing_folder() {
    let folder = Folder::with_trial();
    let arguments = ["train", "-c", "config.yaml", "-o", "models/new"];
    folder.refused("missing_folder", &arguments, &["models", "mkdir"]);
}

#[test]
fn score_into_an_unknown_format() {
    let folder = Folder::with_model();
    let arguments = ["score", "-m", "model", "-d", "trial.csv", "-o", "scores.xlsx"];
    folder.refused("score_into_an_unknown_format", &arguments, &["scores.xlsx"]);
}

/// /sys takes no files from anybody, not even from root.
#[cfg(target_os = "linux")]
#[test]
fn folder_that_cannot_be_written() {
    let folder = Folder::with_trial();
    let arguments = ["train", "-c", "config.yaml", "-o", "/sys/model"];
    folder.refused("folder_that_cannot_be_written", &arguments, &["/sys/model", "permission denied"]);
}

/// A file system of 64 KiB; only root may mount one.
#[cfg(target_os = "linux")]
#[test]
fn disk_full() {
    struct Mounted(std::path::PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg(&self.0).status();
        }
    }
    let folder = Folder::with_model();
    let small = folder.path("small");
    std::fs::create_dir(&small).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(&small)
        .stderr(Stdio::null())
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED disk_full: a small file system cannot be mounted here");
        return;
    }
    let mounted = Mounted(small);
    folder.run(&["synth", "criteo", "-n", "20000", "-o", "big.csv"]).succeeded();
    let synth = ["synth", "criteo", "-n", "20000", "-o", "small/big.csv"];
    folder.refused("disk_full", &synth, &["small/big.csv", "the disk is full"]);
    folder.write("many.csv", crate::harness::trial(20_000));
    let score = ["score", "-m", "model", "-d", "many.csv", "-o", "small/scores.csv"];
    folder.refused("disk_full_while_scoring", &score, &["small/scores.csv", "the disk is full"]);
    drop(mounted);
}

#[test]
fn time_limit() {
    let folder = Folder::with_trial();
    let arguments = ["train", "-c", "config.yaml", "-o", "model", "--time-limit", "0.000001"];
    folder.refused("time_limit", &arguments, &["time limit"]);
    folder.refused("time_limit_that_is_none", &["demo", "--time-limit=-3"], &["--time-limit"]);
}

#[test]
fn a_forest_that_runs_out_of_time_is_smaller_and_says_so() {
    let folder = Folder::with_trial();
    let forest = "learner={kind: causal_forest, min_arm_rows: 5, n_trees: 2000000}";
    let ran =
        folder.run(&["train", "-c", "config.yaml", "-o", "model", "--set", forest, "--time-limit", "8"]).succeeded();
    assert!(ran.stderr.contains("growing was stopped") && ran.stderr.contains("of 2000000 trees"), "{}", ran.shown());
    folder.run(&["score", "-m", "model", "-d", "trial.csv", "-o", "scores.csv"]).succeeded();
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_nothing() {
    let folder = Folder::with_trial();
    folder.run(&["synth", "criteo", "-n", "400000", "-o", "big.parquet"]).succeeded();
    let text = config("").replace("trial.csv", "big.parquet").replace(": t\n", ": treatment\n");
    let text = text
        .replace("outcome: y", "outcome: visit")
        .replace("  id: id\n", "  post_treatment: [exposure, conversion]\n");
    folder.write("config.yaml", text.replace("kind: logistic, folds: 3", "kind: boosted, folds: 5"));
    let before = folder.names();
    let mut command = folder.command(&["train", "-c", "config.yaml", "-o", "model"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.unwrap().success(), "the run ended before it could be interrupted");
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, 130, "{}", ran.shown());
    assert!(ran.stderr.contains("stopped: interrupted") && ran.stderr.contains("hint: "), "{}", ran.shown());
    assert_eq!(folder.names(), before);
}

#[test]
fn errors_are_json_where_results_are() {
    let folder = Folder::with_trial();
    let ran = folder.run(&["check", "-c", "missing.yaml", "--format", "json"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    let value: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(value["error"]["place"], "missing.yaml");
    assert_eq!(value["error"]["exit_code"], 2);
    assert!(value["error"]["hint"].as_str().unwrap().contains("impactiq init"));
}
