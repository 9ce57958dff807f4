//! From a file to scores by the commands of the quickstart, and what each promises.

use serde_json::Value;

use crate::harness::{Folder, config, line, snapshot, trial};

fn estimate_is_whole(value: &Value) {
    if value["value"].is_null() {
        assert!(value["reason"].is_string(), "{value}");
    } else {
        for key in ["value", "std_error", "lower", "upper", "n"] {
            assert!(value.get(key).is_some(), "{key} of {value}");
        }
    }
}

#[test]
fn the_quickstart_walks_from_a_file_to_scores() {
    let folder = Folder::new();
    folder.run(&["synth", "criteo", "-n", "20000", "-o", "trial.parquet"]).succeeded();
    let init = folder.run(&["init", "trial.parquet"]).succeeded();
    snapshot("walk_init", &init.shown());
    snapshot("walk_config", &String::from_utf8(folder.read("config.yaml")).unwrap());
    let check = folder.run(&["check", "-c", "config.yaml"]).succeeded();
    snapshot("walk_check", &check.shown());
    let train = folder.run(&["train", "-c", "config.yaml", "-o", "model", "--set", "learner.n_trees=30"]).succeeded();
    assert!(train.stdout.contains("Effect of 1 against 0 on visit"), "{}", train.shown());
    let evaluate =
        folder.run(&["evaluate", "-m", "model", "--charts", "charts", "--report", "report.html"]).succeeded();
    assert!(evaluate.stdout.contains("held-out rows of trial.parquet"), "{}", evaluate.shown());
    assert_eq!(
        folder.names(),
        ["charts", "config.yaml", "model", "report.html", "trial.parquet", "trial.truth.parquet"]
    );
    let report = String::from_utf8(folder.read("report.html")).unwrap();
    assert!(report.contains("<svg ") && report.contains("rate_autoc") && !report.contains("<script"));
    let score = folder.run(&["score", "-m", "model", "-d", "trial.parquet", "-o", "scores.csv.gz"]).succeeded();
    assert!(score.stdout.contains("Scored 20,000 rows"), "{}", score.shown());
}

#[test]
fn json_results_have_the_agreed_keys() {
    let folder = Folder::with_trial();
    let check = folder.json(&["check", "-c", "config.yaml"]);
    assert_eq!(check["passed"], true);
    assert!(check["balance"].as_array().unwrap().len() >= 2);
    for gate in check["gates"].as_array().unwrap() {
        for key in ["name", "passed", "value", "limit", "detail"] {
            assert!(gate.get(key).is_some(), "{key} of {gate}");
        }
    }
    let train = folder.json(&["train", "-c", "config.yaml", "-o", "model"]);
    assert_eq!((&train["n_rows"], &train["model"]["path"]), (&400.into(), &"model".into()));
    assert_eq!(train["model"]["id"].as_str().unwrap().len(), 16);
    assert_eq!(train["arms"]["0"].as_u64().unwrap() + train["arms"]["1"].as_u64().unwrap(), 400);
    for key in ["read", "nuisance", "learner", "total"] {
        assert!(train["seconds"][key].is_number(), "seconds.{key}");
    }
    assert!(train["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);
    let contrast = &train["contrasts"][0];
    assert_eq!((&contrast["outcome"], &contrast["arm"]), (&"y".into(), &"1".into()));
    for pointer in ["/ate", "/relative_lift", "/estimators/difference_in_means", "/estimators/lin", "/estimators/aipw"]
    {
        estimate_is_whole(contrast.pointer(pointer).unwrap());
    }
    let evaluate = folder.json(&["evaluate", "-m", "model"]);
    assert_eq!((&evaluate["held_out"], &evaluate["n_trained_on"]), (&true.into(), &0.into()));
    let contrast = &evaluate["contrasts"][0];
    for name in
        ["qini_counts", "qini_per_capita", "uplift_at_10", "rate_autoc", "rate_qini", "qini_sklift", "auuc_causalml"]
    {
        estimate_is_whole(contrast["metrics"].get(name).unwrap_or_else(|| panic!("{name}")));
    }
    assert!(contrast["curves"]["qini"].as_array().unwrap().len() > 10);
    assert_eq!(contrast["deciles"].as_array().unwrap().len(), 10);
}

#[test]
fn the_same_run_writes_the_same_bytes_on_one_thread_and_two() {
    let folder = Folder::with_trial();
    for (name, threads) in [("one", "1"), ("two", "2")] {
        folder.run(&["train", "-c", "config.yaml", "-o", name, "--threads", threads]).succeeded();
    }
    for file in ["manifest.json", "model.safetensors", "profile.json", "model_card.md", "MLmodel"] {
        assert_eq!(folder.read(&format!("one/{file}")), folder.read(&format!("two/{file}")), "{file}");
    }
    let evaluated = |name: &str, threads: &str| {
        let mut value = folder.json(&["evaluate", "-m", name, "--threads", threads]);
        value["model"]["path"] = "".into();
        value
    };
    assert_eq!(evaluated("one", "1"), evaluated("two", "2"));
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let folder = Folder::with_trial();
    let n_holdout = |environment: Option<&str>, flags: &[&str]| {
        let mut arguments = vec!["train", "-c", "config.yaml", "-o", "model", "--overwrite", "--format", "json"];
        arguments.extend(flags);
        let mut command = folder.command(&arguments);
        if let Some(set) = environment {
            command.env("IMPACTIQ_SET", set);
        }
        let output = command.output().unwrap();
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        value["n_holdout"].as_u64().unwrap()
    };
    // Strata are rounded one by one, so a share of 400 may be off by one or two.
    let near = |n: u64, wanted: u64| assert!(n.abs_diff(wanted) <= 2, "{n} held out, not {wanted}");
    near(n_holdout(None, &[]), 120);
    near(n_holdout(Some("split.holdout=0.5"), &[]), 200);
    near(n_holdout(Some("split.holdout=0.5"), &["--set", "split.holdout=0.2"]), 80);
}

#[test]
fn a_condition_that_holds_fails_the_run() {
    let folder = Folder::with_model();
    let failing = folder.run(&["evaluate", "-m", "model", "--fail-if", "qini_per_capita < 1000"]);
    assert_eq!(failing.code, 1, "{}", failing.shown());
    assert!(failing.stdout.contains("FAILED  fail if qini_per_capita < 1000 (y/1:"), "{}", failing.shown());
    folder.run(&["evaluate", "-m", "model", "--fail-if", "y/1: qini_per_capita.upper < -1000"]).succeeded();
}

#[test]
fn rows_that_the_model_was_trained_on_are_told() {
    let folder = Folder::with_model();
    let ran = folder.run(&["evaluate", "-m", "model", "-d", "trial.csv"]).succeeded();
    assert!(ran.stderr.contains("of these 400 rows: the metrics flatter it"), "{}", ran.shown());
    folder.write("new.csv", {
        let rows: String = (5000..5300).map(line).collect();
        format!("id,x,city,t,y\n{rows}")
    });
    let ran = folder.run(&["evaluate", "-m", "model", "-d", "new.csv"]).succeeded();
    assert!(!ran.stderr.contains("warning: the model was trained"), "{}", ran.shown());
    assert!(ran.stdout.contains("300 held-out rows of new.csv"), "{}", ran.shown());
}

#[test]
fn a_column_of_scores_is_judged_like_a_model() {
    let folder = Folder::with_model();
    folder.run(&["score", "-m", "model", "-d", "trial.csv", "-o", "scores.csv"]).succeeded();
    let scores = String::from_utf8(folder.read("scores.csv")).unwrap();
    let text = trial(400);
    let joined = text.lines().zip(scores.lines()).map(|(row, score)| {
        let fields: Vec<&str> = score.split(',').collect();
        format!("{row},{}", fields[1])
    });
    folder.write("joined.csv", joined.collect::<Vec<_>>().join("\n") + "\n");
    let by_column = folder.json(&["evaluate", "-c", "config.yaml", "-d", "joined.csv", "--score", "cate"]);
    let by_model = folder.json(&["evaluate", "-m", "model", "-d", "trial.csv"]);
    assert_eq!(by_column["contrasts"], by_model["contrasts"]);
    assert_eq!(by_column["score_column"], "cate");
}

#[test]
fn a_bad_row_has_no_score_and_says_why() {
    let folder = Folder::with_model();
    folder.write("new.csv", trial(3) + &line(3).replacen("c3,0.", "c3,zero.", 1) + &line(4));
    let ran = folder.run(&["score", "-m", "model", "-d", "new.csv", "-o", "scores.csv"]).succeeded();
    assert!(ran.stderr.contains("new.csv: row 4, column 'x': 'zero."), "{}", ran.shown());
    let scores = String::from_utf8(folder.read("scores.csv")).unwrap();
    let lines: Vec<&str> = scores.lines().collect();
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[0], "id,cate,cate_lower,cate_upper,mean_0,mean_1,best_arm,score_error");
    assert!(lines[4].starts_with("c3,,,,,,,") && lines[4].contains("is not a number"), "{}", lines[4]);
    // Its neighbours have the scores they would have without it.
    folder.write("good.csv", trial(3) + &line(4));
    folder.run(&["score", "-m", "model", "-d", "good.csv", "-o", "good_scores.csv"]).succeeded();
    let good = String::from_utf8(folder.read("good_scores.csv")).unwrap();
    assert_eq!(good.lines().last(), lines.last().copied());
}

#[test]
fn without_identifiers_rows_are_numbered() {
    let folder = Folder::with_trial();
    folder.write("config.yaml", config("").replace("  id: id\n", "  features: [x, city]\n"));
    folder.run(&["train", "-c", "config.yaml", "-o", "model"]).succeeded();
    folder.run(&["score", "-m", "model", "-d", "trial.csv", "-o", "a.csv"]).succeeded();
    assert!(String::from_utf8(folder.read("a.csv")).unwrap().starts_with("row,cate,"));
    folder.run(&["score", "-m", "model", "-d", "trial.csv", "-o", "b.csv", "--keep", "city,id"]).succeeded();
    let text = String::from_utf8(folder.read("b.csv")).unwrap();
    assert!(text.starts_with("city,id,cate,"), "{}", text.lines().next().unwrap());
}

#[test]
fn several_arms_and_outcomes_have_columns_of_their_own() {
    let folder = Folder::new();
    folder.run(&["synth", "multi-arm", "-n", "4000", "-o", "arms.csv"]).succeeded();
    let init = folder.run(&["init", "arms.csv", "--outcome", "converted", "--outcome", "y"]).succeeded();
    assert!(init.stdout.contains("outcome    converted"), "{}", init.shown());
    let train = folder.json(&[
        "train",
        "-c",
        "config.yaml",
        "-o",
        "model",
        "--set",
        "learner.base=least_squares",
        "--set",
        "nuisance.kind=least_squares",
    ]);
    assert_eq!(train["contrasts"].as_array().unwrap().len(), 4);
    let score = folder.json(&["score", "-m", "model", "-d", "arms.csv", "-o", "scores.parquet"]);
    let columns: Vec<&str> = score["columns"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    let arms: Vec<String> = train["arms"].as_object().unwrap().keys().cloned().collect();
    for column in [format!("converted_cate_{}", arms[1]), format!("y_mean_{}", arms[0]), "y_best_arm".to_owned()] {
        assert!(columns.contains(&column.as_str()), "{column} in {columns:?}");
    }
}

#[test]
fn completions_and_help_are_there_for_every_command() {
    let folder = Folder::new();
    let script = folder.run(&["completions", "bash"]).succeeded();
    assert!(script.stdout.contains("impactiq__evaluate") || script.stdout.contains("impactiq__subcmd__evaluate"));
    snapshot("help", &folder.run(&["--help"]).succeeded().stdout);
    snapshot("version_is_told", folder.run(&["--version"]).succeeded().stdout.split(' ').next().unwrap());
    snapshot("synth_list", &folder.run(&["synth", "--list"]).succeeded().stdout);
    assert!(folder.run(&["data", "list"]).succeeded().stdout.contains("hillstrom"));
    for page in ["config", "cli", "errors", "schema"] {
        assert!(folder.run(&["reference", page]).succeeded().stdout.len() > 500, "{page}");
    }
}

#[test]
fn the_tour_runs_to_its_end_and_replaces_only_its_own() {
    let folder = Folder::new();
    let tour = folder.run(&["demo", "--rows", "20000"]).succeeded();
    assert!(tour.stdout.contains("Out of 1,000 people offered money, about 4"), "{}", tour.shown());
    for file in [
        "thornton/model/manifest.json",
        "thornton/scores.csv",
        "thornton/charts/got_1_qini.svg",
        "criteo/report.html",
        "criteo/model/reports/evaluation.json",
        "thornton/model/reports/check.json",
    ] {
        assert!(folder.path(&format!("impactiq-demo/{file}")).is_file(), "{file}");
    }
    folder.write("impactiq-demo/mine.txt", "keep me");
    folder.write("impactiq-demo/thornton/old.txt", "of an earlier tour");
    folder.run(&["demo", "--rows", "20000", "--format", "json"]).succeeded();
    assert!(folder.path("impactiq-demo/mine.txt").is_file());
    assert!(!folder.path("impactiq-demo/thornton/old.txt").exists());
}
