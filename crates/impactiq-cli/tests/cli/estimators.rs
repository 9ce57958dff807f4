//! Estimators beside the averages, from a config to what is printed, by the real binary; and published
//! answers from the configs that ship, where the data folder is there.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Folder, Ran};

/// The widest line of a report that a terminal of 100 columns shows whole.
const WIDTH: usize = 100;

#[track_caller]
fn fits(ran: &Ran) {
    if let Some(line) = ran.stdout.lines().find(|line| line.chars().count() > WIDTH) {
        panic!("{} columns: {line}\n{}", line.chars().count(), ran.shown());
    }
}

#[track_caller]
fn tells(ran: &Ran, parts: &[&str]) {
    for part in parts {
        assert!(ran.stdout.contains(part), "'{part}' is missing in\n{}", ran.shown());
    }
    fits(ran);
}

fn trained(folder: &Folder, config: &str) -> Ran {
    folder.write("config.yaml", config);
    folder.run(&["train", "-c", "config.yaml", "-o", "model", "--overwrite"]).succeeded()
}

#[test]
fn observational_data_are_trimmed_weighted_and_answered_by_double_machine_learning() {
    let folder = Folder::new();
    folder.run(&["synth", "nie-wager-a", "-n", "3000", "-o", "data.csv"]).succeeded();
    let ran = trained(
        &folder,
        "data: { path: data.csv }\nroles: { treatment: treatment, control: 0, outcome: y, features: [\"x*\"] }\n\
         assignment: { kind: observational }\nnuisance: { kind: ridge }\nlearner: { kind: linear_dml }\n\
         averages: { trim: 0.15 }\ndml: { models: [plr, irm], repetitions: 3 }\n",
    );
    tells(
        &ran,
        &[
            "AIPW, trimmed",
            "Trimmed to probabilities within 0.150 and 0.850",
            "rows left out",
            "Differences between arms before and after weighting",
            "inverse probability  overlap  trimmed",
            "Double machine learning of y (5 folds, median of 3 repetitions)",
            "  plr    1  ",
            "Linear effect of 1 on y (linear_dml, hc1 errors",
            "jointly with the others",
            "(constant)",
        ],
    );
}

#[test]
fn an_offer_is_answered_by_every_door_that_instruments_have() {
    let folder = Folder::new();
    folder.run(&["synth", "instrument", "-n", "4000", "-o", "trial.csv"]).succeeded();
    let config = "data: { path: trial.csv }\n\
         roles: { treatment: treatment, control: 0, instrument: encouraged, outcome: y, features: [\"x*\"] }\n\
         assignment: { probability: 0.5 }\nnuisance: { kind: ridge }\nlearner: { kind: intent_to_treat_driv }\n\
         dml: { models: [pliv, iivm] }\n";
    let ran = trained(&folder, config);
    tells(
        &ran,
        &[
            "linear fits on all kept rows (hc1 errors)",
            "two-stage least squares, 6 columns",
            "Anderson-Rubin 95 % set: ",
            "(Wu-Hausman)",
            "  iivm   1  ",
            "by design",
            "Linear effect of 1 on y (intent_to_treat_driv, hc1 errors",
        ],
    );
    let evaluate = folder.json(&["evaluate", "-m", "model"]);
    assert!(evaluate["contrasts"][0]["metrics"]["rate_autoc"]["value"].is_number(), "{evaluate}");
    folder.run(&["score", "-m", "model", "-d", "trial.csv", "-o", "scores.csv"]).succeeded();
    let scores = String::from_utf8(folder.read("scores.csv")).unwrap();
    assert!(scores.starts_with("row,cate,cate_lower,cate_upper,"), "{}", &scores[..60]);
    // As treated is no experiment: a learner of arms is refused.
    folder.write("config.yaml", config.replace("intent_to_treat_driv", "t"));
    folder.refused("as_treated", &["train", "-c", "config.yaml", "-o", "other"], &["learner.kind is t", "instrument"]);
}

#[test]
fn a_trial_is_adjusted_cut_and_put_in_relation() {
    let folder = Folder::new();
    folder.run(&["synth", "multi-arm", "-n", "3000", "-o", "trial.csv"]).succeeded();
    let ran = trained(
        &folder,
        "data: { path: trial.csv }\nroles: { treatment: treatment, control: control, outcome: [y, converted] }\n\
         nuisance: { kind: ridge }\nlearner: { kind: auto, trials: 2, n_trees: 20 }\n\
         averages: { cuped: x1, winsorise: [0.01, 0.99], ratio: { y: converted } }\n",
    );
    tells(&ran, &["CUPED", "Lin, outcome cut to ", "per converted, difference", "Learners of y compared on"]);
    tells(&ran, &["below one effect by", "made of"]);
}

/// A trial of `n` rows with what no estimator can work with: a constant instrument `flat`, a feature `half` of
/// another, and a `rare` arm of three rows.
fn awkward(folder: &Folder, n: usize) {
    let mut text = "t,y,x,half,flat,taken,amount,rare\n".to_owned();
    for i in 0..n {
        let (t, x) = (i % 2, (i * 37 % 101) as f64 / 101.0);
        let y = f64::from(u8::from(i * 53 % 97 > 48)) + x;
        let rare = if i % (n / 3) == 1 { 1 } else { 0 };
        text.push_str(&format!("{t},{y},{x},{},1,{},{},{rare}\n", x / 2.0, (i / 2) % 2, i % 7));
    }
    folder.write("awkward.csv", text);
}

#[test]
fn what_an_estimator_cannot_work_with_is_named() {
    let folder = Folder::new();
    awkward(&folder, 300);
    let arms = "treatment: t, control: 0";
    let linear = "learner: { kind: linear_dr }";
    for (name, roles, rest, named) in [
        ("dose_for_a_learner_of_arms", "dose: amount, outcome: y, features: x", "learner: { kind: dr }", "'dr'"),
        (
            "dose_for_an_interactive_model",
            "dose: amount, outcome: y, features: x",
            "learner: { kind: causal_forest }\ndml: { models: [irm] }",
            "dml.models: irm",
        ),
        (
            "instrument_without_variation",
            "treatment: taken, control: 0, instrument: flat, outcome: y, features: x",
            "learner: { kind: intent_to_treat_driv }",
            "'flat'",
        ),
        ("collinear_modifiers", "treatment: t, control: 0, outcome: y, features: [x, half]", linear, "half"),
        (
            "probability_of_one",
            "treatment: t, control: 0, outcome: y, features: x",
            "assignment: { probability: 1 }",
            "assignment.probability is 1",
        ),
        (
            "probability_below_zero_for_an_arm",
            "treatment: t, control: 0, outcome: y, features: x",
            "assignment: { probability: { 1: -0.1 } }",
            "assignment.probability.1",
        ),
        (
            "too_few_rows_of_an_arm_for_a_fold",
            "treatment: rare, control: 0, outcome: y, features: x",
            "nuisance: { kind: ridge, folds: 2 }\nlearner: { kind: r, base: ridge }",
            "arm '1'",
        ),
        (
            "instrumental_model_without_an_instrument",
            "treatment: t, control: 0, outcome: y, features: x",
            "dml: { models: [iivm] }",
            "roles.instrument",
        ),
        (
            "trimming_of_a_trial",
            "treatment: t, control: 0, outcome: y, features: x",
            "averages: { trim: 0.1 }",
            "averages.trim",
        ),
        (
            "cuped_on_a_column_that_is_no_feature",
            "treatment: t, control: 0, outcome: y, features: x",
            "averages: { cuped: half }",
            "half",
        ),
    ] {
        folder.write("bad.yaml", format!("data: {{ path: awkward.csv }}\nroles: {{ {roles} }}\n{rest}\n"));
        folder.refused(name, &["train", "-c", "bad.yaml", "-o", "model"], &[named]);
    }
    awkward(&folder, 40);
    let many: Vec<String> = (0..30).map(|i| format!("  f{i}: \"x * {i} + x * x * {i} + sqrt(x + {i})\"\n")).collect();
    let config = format!(
        "data: {{ path: awkward.csv }}\nroles: {{ {arms}, outcome: y, features: x }}\nfeatures:\n{}{linear}\nnuisance: {{ kind: ridge, folds: 2 }}\n",
        many.concat()
    );
    folder.write("bad.yaml", config);
    folder.refused("more_coefficients_than_rows", &["train", "-c", "bad.yaml", "-o", "model"], &["coefficients"]);
}

#[test]
fn a_pseudo_experiment_passes_the_checks_that_its_data_fail() {
    let folder = Folder::new();
    folder.run(&["synth", "nie-wager-a", "-n", "6000", "-o", "data.csv"]).succeeded();
    let config = "data: { path: data.csv, where: \"x3 > 0.1\" }\n\
         roles: { treatment: treatment, control: 0, outcome: y, features: [\"x*\"] }\n\
         assignment: { kind: observational }\nnuisance: { kind: boosted }\nlearner: { kind: t, base: ridge }\n";
    folder.write("config.yaml", config);
    let ran = folder.run(&["pseudo-experiment", "-c", "config.yaml", "-o", "drawn.csv"]).succeeded();
    tells(&ran, &["Arms (control first): 0: ", "Difference in means, arm minus control", "as they were"]);
    assert!(ran.stderr.contains("observational data"), "{}", ran.shown());
    // Lines of the source, as they stand there.
    let source = String::from_utf8(folder.read("data.csv")).unwrap();
    let drawn = String::from_utf8(folder.read("drawn.csv")).unwrap();
    let known: std::collections::BTreeSet<&str> = source.lines().collect();
    assert!(drawn.lines().all(|line| known.contains(line)) && drawn.lines().count() > 1_000);
    // What it says to type next passes, where the same of the source does not.
    let trial = ["--set", "assignment={kind: randomised, probability: 0.5}", "--seed", "8"];
    let check = |path: &str| {
        let path = format!("data.path={path}");
        let mut arguments = vec!["check", "-c", "config.yaml", "--set", &path];
        arguments.extend(trial);
        folder.run(&arguments)
    };
    assert_eq!(check("data.csv").code, 1, "confounded data pass as a trial");
    let passed = check("drawn.csv");
    assert_eq!(passed.code, 0, "{}", passed.shown());
    folder.refused(
        "pseudo_experiment_of_a_trial",
        &["pseudo-experiment", "-c", "config.yaml", "-o", "other.csv", "--set", "assignment.kind=randomised"],
        &["assignment.kind is randomised"],
    );
}

/// The folder of data sets beside the repository, or where IMPACTIQ_DATA says. Loud when it is not there.
fn data(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("IMPACTIQ_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = folder.join(path);
    if !path.exists() {
        eprintln!("NOT TESTED: {} is not there; set IMPACTIQ_DATA to the folder of data sets", path.display());
        return None;
    }
    Some(path.canonicalize().unwrap())
}

/// Trains by a config that ships.
fn shipped(folder: &Folder, config: &str, data: &Path) -> Value {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs").join(config);
    let path = format!("data.path={}", data.display());
    let output = format!("model-{}", config.file_stem().unwrap().to_string_lossy());
    folder.json(&["train", "-c", &config.display().to_string(), "-o", &output, "--set", &path])
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

#[test]
fn the_pension_answers_are_within_one_error_of_those_published() {
    let Some(file) = data("pension_401k/pension.csv.gz") else { return };
    let folder = Folder::new();
    let offered = shipped(&folder, "pension_401k_eligibility.yaml", &file);
    let taken = shipped(&folder, "pension_401k_participation.yaml", &file);
    for (report, model, published) in
        [(&offered, "plr", 8_914.0), (&offered, "irm", 8_309.0), (&taken, "iivm", 12_038.0)]
    {
        let found = report["dml"].as_array().unwrap().iter().find(|found| found["model"] == model).unwrap();
        let (value, error) = (number(&found["estimate"]["value"]), number(&found["estimate"]["std_error"]));
        println!("{model}: {value:.0} ({error:.0}), published {published}");
        assert!((value - published).abs() < error, "{model}: {value} ({error}), published {published}");
        assert_eq!(found["repetitions"].as_array().unwrap().len(), 11);
    }
}

#[test]
fn schooling_and_a_third_child_are_worth_what_was_published() {
    let folder = Folder::new();
    if let Some(file) = data("card_iv/card.csv.gz") {
        let found = shipped(&folder, "card_schooling.yaml", &file)["two_stage"][0]["adjusted"].clone();
        let effect = &found["effect"];
        // Wooldridge, example 15.4: 0.132 (0.055).
        assert!((number(&effect["value"]) - 0.1315).abs() < 5e-5, "{effect}");
        assert!((number(&effect["std_error"]) - 0.0550).abs() < 5e-5, "{effect}");
        assert!((number(&found["first_stage"]["f"]["statistic"]) - 13.26).abs() < 0.01, "{found}");
    }
    let Some(file) = data("angrist_evans/angev80_grf.csv.gz") else { return };
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap()), &mut text)
        .unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').map(|name| name.trim_matches('"')).collect();
    let kids = header.iter().position(|name| *name == "twoa.kidcount").unwrap();
    let mut made = std::io::BufWriter::new(std::fs::File::create(folder.path("angev80.csv")).unwrap());
    writeln!(made, "{},morekids", header.join(",")).unwrap();
    for line in lines {
        let count: f64 = line.split(',').nth(kids).unwrap().parse().unwrap();
        writeln!(made, "{line},{}", u8::from(count > 2.0)).unwrap();
    }
    made.flush().unwrap();
    let found = shipped(&folder, "angrist_evans.yaml", &folder.path("angev80.csv"))["two_stage"][0]["wald"].clone();
    assert!((number(&found["effect"]["value"]) + 0.1301).abs() < 5e-5, "{found}");
    assert!((number(&found["effect"]["std_error"]) - 0.0263).abs() < 5e-5, "{found}");
}
