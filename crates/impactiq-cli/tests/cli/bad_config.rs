//! Configurations that cannot be meant: the key, line or expression is named.

use crate::harness::{Folder, config};

const CHECK: &[&str] = &["check", "-c", "config.yaml"];

#[track_caller]
fn refused_config(name: &str, text: &str, named: &[&str]) {
    let folder = Folder::with_trial();
    folder.write("config.yaml", text);
    folder.refused(name, CHECK, named);
}

#[track_caller]
fn refused_more(name: &str, more: &str, named: &[&str]) {
    refused_config(name, &config(more), named);
}

#[test]
fn missing_treatment_column() {
    refused_config(
        "missing_treatment_column",
        &config("").replace("treatment: t\n", "treatment: tt\n"),
        &["'tt'", "config.yaml"],
    );
}

#[test]
fn missing_outcome_column() {
    refused_config("missing_outcome_column", &config("").replace("outcome: y", "outcome: yes_or_no"), &["'yes_or_no'"]);
}

#[test]
fn missing_feature_column() {
    let text = config("").replace("  id: id\n", "  id: id\n  features: [x, citty]\n");
    refused_config("missing_feature_column", &text, &["'citty'", "did you mean 'city'?", "config.yaml"]);
}

#[test]
fn pattern_without_columns() {
    let text = config("").replace("  id: id\n", "  id: id\n  features: [\"z*\"]\n");
    refused_config("pattern_without_columns", &text, &["z*"]);
}

#[test]
fn post_treatment_column_as_a_feature() {
    let text = config("").replace("  id: id\n", "  id: id\n  features: [x, city]\n  post_treatment: [city]\n");
    refused_config("post_treatment_column_as_a_feature", &text, &["'city'", "post_treatment"]);
}

#[test]
fn unknown_control() {
    refused_config("unknown_control", &config("").replace("control: 0", "control: none"), &["'none'", "'t'", "0, 1"]);
}

#[test]
fn zero_rows_after_where() {
    let text = config("").replace("path: trial.csv", "path: trial.csv\n  where: \"x > 2\"");
    refused_config("zero_rows_after_where", &text, &["x > 2", "400"]);
}

#[test]
fn where_is_not_a_condition() {
    let text = config("").replace("path: trial.csv", "path: trial.csv\n  where: \"x + 1\"");
    refused_config("where_is_not_a_condition", &text, &["where", "x + 1"]);
}

#[test]
fn sql_that_cannot_be_read() {
    refused_more("sql_that_cannot_be_read", "features: { q: \"x +\" }\n", &["'q'", "x +"]);
}

#[test]
fn sql_with_an_unknown_column() {
    refused_more("sql_with_an_unknown_column", "features: { q: \"citty\" }\n", &["'q'", "citty", "did you mean"]);
}

#[test]
fn sql_with_an_unknown_function() {
    refused_more("sql_with_an_unknown_function", "features: { q: \"sqrtt(x)\" }\n", &["'q'", "sqrtt"]);
}

#[test]
fn volatile_feature() {
    refused_more("volatile_feature", "features: { q: \"x + random()\" }\n", &["'q'", "random"]);
}

#[test]
fn feature_of_the_clock() {
    refused_more("feature_of_the_clock", "features: { q: \"now()\" }\n", &["'q'", "now"]);
}

#[test]
fn aggregate_feature() {
    refused_more("aggregate_feature", "features: { q: \"x - avg(x)\" }\n", &["'q'", "avg"]);
}

#[test]
fn window_feature() {
    refused_more("window_feature", "features: { q: \"row_number() over (order by x)\" }\n", &["'q'"]);
}

#[test]
fn subquery_feature() {
    refused_more("subquery_feature", "features: { q: \"(select 1)\" }\n", &["'q'"]);
}

#[test]
fn feature_with_a_name_that_is_taken() {
    refused_more("feature_with_a_name_that_is_taken", "features: { x: \"x + 1\" }\n", &["'x'"]);
}

#[test]
fn unknown_key() {
    refused_more(
        "unknown_key",
        "lerner: { kind: t }\n",
        &["config.yaml, line 11", "'lerner'", "did you mean 'learner'?"],
    );
}

#[test]
fn unknown_inner_key() {
    let text = config("").replace("  control: 0", "  controll: 0");
    refused_config("unknown_inner_key", &text, &["config.yaml, line 5", "'controll'", "did you mean"]);
}

#[test]
fn unknown_learner() {
    refused_config("unknown_learner", &config("").replace("kind: t,", "kind: tee,"), &["config.yaml, line 9", "tee"]);
}

#[test]
fn value_of_a_wrong_type() {
    refused_more("value_of_a_wrong_type", "split: { holdout: a third }\n", &["config.yaml, line 11"]);
}

#[test]
fn holdout_out_of_range() {
    refused_more("holdout_out_of_range", "split: { holdout: 1.5 }\n", &["split.holdout", "1.5", "config.yaml"]);
}

#[test]
fn broken_yaml() {
    refused_more("broken_yaml", "split: { holdout: 0.3\n", &["config.yaml, line"]);
}

#[test]
fn empty_config() {
    refused_config("empty_config", "", &["config.yaml", "data.path"]);
}

#[test]
fn config_that_is_not_there() {
    Folder::new().refused("config_that_is_not_there", CHECK, &["config.yaml", "impactiq init"]);
}

#[test]
fn probability_of_an_arm_that_is_not_there() {
    refused_more(
        "probability_of_an_arm_that_is_not_there",
        "assignment: { probability: { mail: 0.5 } }\n",
        &["'mail'", "0, 1"],
    );
}

#[test]
fn probability_above_one() {
    refused_more("probability_above_one", "assignment: { probability: 50 }\n", &["assignment.probability", "50"]);
}

#[test]
fn logistic_learner_of_an_amount() {
    let folder = Folder::with_trial();
    folder.write("config.yaml", config("").replace("outcome: y", "outcome: x"));
    let arguments = ["train", "-c", "config.yaml", "-o", "model"];
    folder.refused("logistic_learner_of_an_amount", &arguments, &["'x'", "logistic"]);
}

#[test]
fn unknown_key_on_the_command_line() {
    let folder = Folder::with_trial();
    let arguments = ["check", "-c", "config.yaml", "--set", "learner.n_tres=5"];
    folder.refused("unknown_key_on_the_command_line", &arguments, &["learner.n_tres", "learner.n_trees"]);
}

#[test]
fn setting_without_a_value() {
    let folder = Folder::with_trial();
    folder.refused(
        "setting_without_a_value",
        &["check", "-c", "config.yaml", "--set", "learner"],
        &["'learner'", "--set"],
    );
}

#[test]
fn no_threads() {
    let folder = Folder::with_trial();
    folder.refused("no_threads", &["check", "-c", "config.yaml", "--threads", "0"], &["--threads"]);
}

#[test]
fn a_flag_that_does_not_exist() {
    let folder = Folder::with_trial();
    folder.refused("a_flag_that_does_not_exist", &["check", "--confg", "config.yaml"], &["--confg", "--config"]);
}

#[test]
fn a_command_that_does_not_exist() {
    Folder::new().refused("a_command_that_does_not_exist", &["trian"], &["trian", "train"]);
}

#[test]
fn init_without_a_treatment() {
    let folder = Folder::with_trial();
    folder.refused("init_without_a_treatment", &["init", "trial.csv", "-o", "new.yaml"], &["treatment", "city, t, y"]);
}

#[test]
fn init_of_a_column_that_does_not_exist() {
    let folder = Folder::with_trial();
    let arguments = ["init", "trial.csv", "-o", "new.yaml", "--treatment", "citty"];
    folder.refused("init_of_a_column_that_does_not_exist", &arguments, &["'citty'", "did you mean 'city'?"]);
}

#[test]
fn synth_of_an_unknown_design() {
    let folder = Folder::new();
    folder.refused(
        "synth_of_an_unknown_design",
        &["synth", "critteo", "-o", "a.csv"],
        &["critteo", "did you mean 'criteo'?"],
    );
}

#[test]
fn synth_without_rows() {
    Folder::new().refused("synth_without_rows", &["synth", "criteo", "-n", "0", "-o", "a.csv"], &["0"]);
}

#[test]
fn synth_into_an_unknown_format() {
    Folder::new().refused(
        "synth_into_an_unknown_format",
        &["synth", "criteo", "-n", "10", "-o", "a.xlsx"],
        &["a.xlsx"],
    );
}

#[test]
fn data_of_an_unknown_name() {
    Folder::new().refused(
        "data_of_an_unknown_name",
        &["data", "get", "hilstrom"],
        &["hilstrom", "did you mean 'hillstrom'?"],
    );
}
