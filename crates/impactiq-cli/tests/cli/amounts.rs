//! Doses and instruments from a file to scores, by the real binary.

use crate::harness::Folder;

const FOREST: &str = "split: { holdout: 0.3, seed: 7 }\nnuisance: { kind: least_squares }\n";

#[test]
fn a_dose_walks_from_a_file_to_scores() {
    let folder = Folder::new();
    folder.run(&["synth", "dose", "-n", "3000", "-o", "trial.csv"]).succeeded();
    let init = folder.run(&["init", "trial.csv", "--treatment", "dose", "--outcome", "y"]).succeeded();
    assert!(init.stdout.contains("dose       dose (as told)"), "{}", init.shown());
    let written = String::from_utf8(folder.read("config.yaml")).unwrap();
    assert!(written.contains("  dose: dose   #") && written.contains("kind: causal_forest"), "{written}");
    let config = written
        .replace("kind: randomised", "kind: observational")
        .replace("{ kind: boosted, folds: 5 }", "{ kind: least_squares }");
    folder.write("config.yaml", config);
    let check = folder.json(&["check", "-c", "config.yaml"]);
    assert_eq!((&check["passed"], &check["dose"]), (&true.into(), &"dose".into()));
    let train = folder.json(&["train", "-c", "config.yaml", "-o", "model", "--set", "learner.n_trees=60"]);
    assert_eq!((&train["arms"], &train["dose"]["column"]), (&serde_json::json!({}), &"dose".into()));
    let ate = &train["contrasts"][0]["ate"];
    // Straight lines cannot take all of the confounding away.
    assert!((ate["value"].as_f64().unwrap() - 0.75).abs() < 0.12 && ate["std_error"].is_number(), "{ate}");
    assert!(train["contrasts"][0]["estimators"]["lin"]["reason"].is_string());
    let text = folder.run(&["train", "-c", "config.yaml", "-o", "again", "--set", "learner.n_trees=60"]).succeeded();
    assert!(text.stdout.contains("Effect of one unit more of dose on y"), "{}", text.shown());
    let evaluate = folder.json(&["evaluate", "-m", "model"]);
    let metrics = &evaluate["contrasts"][0]["metrics"];
    assert!(metrics["rate_autoc"]["lower"].as_f64().unwrap() > 0.0, "{metrics}");
    assert!(metrics["qini_counts"]["reason"].as_str().unwrap().contains("no arms"), "{metrics}");
    let shown = folder.run(&["evaluate", "-m", "model", "--report", "report.html"]).succeeded();
    assert!(shown.stdout.contains("y · dose dose"), "{}", shown.shown());
    folder.run(&["score", "-m", "model", "-d", "trial.csv", "-o", "scores.csv"]).succeeded();
    let scores = String::from_utf8(folder.read("scores.csv")).unwrap();
    assert!(scores.starts_with("row,cate,cate_lower,cate_upper,score_error\n"), "{}", &scores[..80]);
    let card = String::from_utf8(folder.read("model/model_card.md")).unwrap();
    assert!(card.contains("Dose: `dose`"), "{card}");
}

#[test]
fn an_instrument_walks_from_a_file_to_scores() {
    let folder = Folder::new();
    folder.run(&["synth", "instrument", "-n", "6000", "-o", "trial.csv"]).succeeded();
    folder.write(
        "config.yaml",
        format!(
            "data: {{ path: trial.csv }}\n\
             roles: {{ treatment: treatment, control: 0, instrument: encouraged, outcome: y }}\n{FOREST}\
             learner: {{ kind: instrumental_forest, n_trees: 60 }}\n"
        ),
    );
    let check = folder.json(&["check", "-c", "config.yaml"]);
    assert!(check["gates"].as_array().unwrap().iter().any(|gate| gate["name"] == "first_stage"), "{check}");
    let train = folder.json(&["train", "-c", "config.yaml", "-o", "model"]);
    let found = &train["instruments"][0];
    assert!(found["first_stage"]["f"]["statistic"].as_f64().unwrap() > 100.0, "{found}");
    let late = &found["average_late"];
    assert!(late["lower"].as_f64().unwrap() < 1.25 && 1.25 < late["upper"].as_f64().unwrap(), "{late}");
    let text = folder.run(&["train", "-c", "config.yaml", "-o", "again"]).succeeded();
    assert!(text.stdout.contains("by way of encouraged"), "{}", text.shown());
    let evaluate = folder.json(&["evaluate", "-m", "model"]);
    assert!(evaluate["contrasts"][0]["metrics"]["rate_autoc"]["value"].is_number(), "{evaluate}");
    folder.run(&["score", "-m", "model", "-d", "trial.csv", "-o", "scores.csv"]).succeeded();
}

#[test]
fn what_is_about_arms_is_refused_with_a_dose() {
    let folder = Folder::with_trial();
    let config = |roles: &str, rest: &str| {
        folder.write("bad.yaml", format!("data: {{ path: trial.csv }}\nroles: {{ {roles}, outcome: y }}\n{rest}\n"));
        folder.run(&["train", "-c", "bad.yaml", "-o", "model"])
    };
    for (roles, rest, named) in [
        ("dose: x", "learner: { kind: t }", "causal_forest"),
        ("dose: x, treatment: t, control: 0", "learner: { kind: causal_forest }", "roles.treatment is about arms"),
        ("dose: t", "learner: { kind: causal_forest }", "treatment: t, control: 0"),
        ("dose: xx", "learner: { kind: causal_forest }", "did you mean"),
        ("treatment: t, control: 0", "learner: { kind: instrumental_forest }", "roles.instrument"),
    ] {
        let ran = config(roles, rest);
        assert!(ran.code == 2 && ran.stderr.contains(named) && ran.stderr.contains("hint:"), "{}", ran.shown());
    }
}

#[test]
fn a_type_that_is_given_keeps_zip_codes_apart() {
    let folder = Folder::with_trial();
    let trial = String::from_utf8(folder.read("trial.csv")).unwrap();
    let with_zip: String = trial
        .lines()
        .enumerate()
        .map(|(i, line)| match i {
            0 => format!("{line},zip\n"),
            i => format!("{line},{}\n", if i % 2 == 0 { "007" } else { "7" }),
        })
        .collect();
    folder.write("zip.csv", with_zip);
    let base = "data: { path: zip.csv, types: { zip: text } }\nroles: { treatment: t, control: 0, outcome: y }\n";
    folder.write("zip.yaml", base);
    folder.run(&["train", "-c", "zip.yaml", "-o", "model", "--set", "learner.n_trees=5"]).succeeded();
    let manifest = String::from_utf8(folder.read("model/manifest.json")).unwrap();
    assert!(manifest.contains("\"007\""), "{manifest}");
    folder.write("zip.yaml", base.replace("zip: text", "zipp: text"));
    let ran = folder.run(&["check", "-c", "zip.yaml"]);
    assert!(ran.code == 2 && ran.stderr.contains("did you mean 'zip'?"), "{}", ran.shown());
}
