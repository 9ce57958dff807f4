//! EconML 0.17's LinearDML and LinearDRLearner with given folds and deterministic nuisances
//! (bench/peers/econml_linear_parity.py), through the whole of `train`.

use impactiq_causal::learners::LinearReport;
use impactiq_causal::{CausalError, Config, TrainReport, Trained, train};
use impactiq_data::dataset::number_table;
use impactiq_data::{Column, Silent, Table};
use serde_json::Value;

use super::rows::{close, golden, golden_frame};

const TOLERANCE: f64 = 1e-6;

fn trained(learner: &str, treatment: &str, outcome: &str, weight: &str) -> (Trained, Table) {
    let frame = golden_frame("econml/input.csv");
    let yaml = format!(
        "data: {{path: x}}\n\
         roles: {{treatment: {treatment}, control: 0, outcome: {outcome}, features: [x1, x2], controls: [w1, w2], fold: fold{weight}}}\n\
         assignment: {{kind: observational}}\nsplit: {{holdout: 0}}\nnuisance: {{kind: least_squares}}\n\
         gates: {{overlap_min: 0.000001}}\nlearner: {{kind: {learner}}}\n"
    );
    let names = ["x1", "x2", "w1", "w2", "t", "arm", "y", "y3", "weight", "fold"];
    let mut table = number_table(names.iter().map(|n| ((*n).to_string(), frame.column(n).to_vec())).collect()).unwrap();
    table.push("group", Column::Number(frame.column("fold").to_vec())).unwrap();
    let config = Config::from_yaml(&yaml, "c.yaml", &[]).unwrap().check(table.names()).unwrap();
    let data = config.dataset(table.clone(), (0..frame.n_rows() as u64).collect()).unwrap();
    (train(&config, &data, &Silent).unwrap(), table)
}

fn agrees(what: &str, ours: &LinearReport, theirs: &Value) {
    let number = |value: &Value| value.as_f64().unwrap();
    for (i, term) in ours.terms.iter().enumerate() {
        let (value, error) = match i {
            0 => (number(&theirs["intercept"]), number(&theirs["intercept_se"])),
            _ => (number(&theirs["coef"][i - 1]), number(&theirs["se"][i - 1])),
        };
        close(&format!("{what}: {}", term.name), term.estimate.value().unwrap(), value, TOLERANCE);
        close(&format!("{what}: error of {}", term.name), term.estimate.std_error().unwrap(), error, TOLERANCE);
        let (lower, upper) = (term.joint_lower.unwrap(), term.joint_upper.unwrap());
        assert!(lower < term.estimate.lower().unwrap() && term.estimate.upper().unwrap() < upper);
    }
}

fn check(key: &str, report: &TrainReport) {
    let theirs = golden("econml/linear.json");
    for ours in &report.linear {
        agrees(&format!("{key} {}", ours.arm), ours, &theirs["answers"][key]["arms"][&ours.arm]);
    }
}

#[test]
fn linear_effects_are_those_of_econml() {
    for (key, learner, treatment, outcome, weight) in [
        ("linear_dml", "linear_dml", "t", "y", ""),
        ("linear_dml weighted", "linear_dml", "t", "y", ", weight: weight"),
        ("linear_dr", "linear_dr", "t", "y", ""),
        ("linear_dr three arms", "linear_dr", "arm", "y3", ""),
    ] {
        let (trained, table) = trained(learner, treatment, outcome, weight);
        check(key, &trained.report);
        let theirs = &golden("econml/linear.json")["answers"][key]["rows"];
        if theirs.is_null() {
            continue;
        }
        let binned = trained.model.encode(&table).unwrap();
        let ours = &trained.model.predict(&binned, &table).unwrap()[0];
        for row in 0..5 {
            for (name, values) in [("effect", &ours.cate), ("lower", &ours.lower), ("upper", &ours.upper)] {
                // A bound near zero is as right as the effect it belongs to.
                let gap = (values[0][row] - theirs[name][row].as_f64().unwrap()).abs();
                assert!(
                    gap < TOLERANCE * theirs["effect"][row].as_f64().unwrap().abs(),
                    "{key}: {name} {row}: {gap:e}"
                );
            }
        }
    }
}

#[test]
fn the_effect_of_a_taken_offer_is_that_of_econml() {
    use impactiq_causal::base::{BaseLearner, Loss};
    use impactiq_causal::dml::DmlLearner;
    use impactiq_causal::iv::{DrivSettings, Offered, linear_driv};
    use impactiq_data::{Folds, Seed};
    use impactiq_metrics::robust::Covariance;

    let frame = golden_frame("econml/input.csv");
    let features = frame.features(&["x1", "x2", "w1", "w2"]);
    let modifiers: [&[f64]; 2] = [frame.column("x1"), frame.column("x2")];
    let data = Offered {
        inputs: features.inputs(),
        modifiers: &modifiers,
        outcome: frame.column("yz"),
        taken: frame.column("taken"),
        offered: frame.column("z"),
        probability: 0.5,
        row_ids: &features.row_ids,
        weights: None,
        clusters: None,
    };
    let settings = DrivSettings {
        outcome: DmlLearner::fixed(BaseLearner::LeastSquares, Loss::Squared),
        taken: DmlLearner::fixed(BaseLearner::Logistic { penalty: 0.0 }, Loss::Logistic),
        clip: 0.1,
        covariance: Covariance::Hc1,
    };
    let codes: Vec<u32> = frame.column("fold").iter().map(|&f| f as u32).collect();
    let folds = Folds::fixed(&codes).unwrap();
    let ours = linear_driv(&data, &settings, &folds, Seed::new(1), &Silent).unwrap();
    let theirs = &golden("econml/linear.json")["answers"]["driv"]["arms"]["1"];
    let agree = |what: &str, ours: &impactiq_metrics::Estimate, value: &Value, error: &Value| {
        close(what, ours.value().unwrap(), value.as_f64().unwrap(), TOLERANCE);
        close(&format!("error of {what}"), ours.std_error().unwrap(), error.as_f64().unwrap(), TOLERANCE);
    };
    agree("driv constant", &ours.intercept, &theirs["intercept"], &theirs["intercept_se"]);
    for (j, term) in ours.coefficients.iter().enumerate() {
        agree(&format!("driv {j}"), term, &theirs["coef"][j], &theirs["se"][j]);
    }
    assert!((ours.compliance - 0.69).abs() < 0.1, "{}", ours.compliance);
    let flat = vec![1.0; frame.n_rows()];
    let error = linear_driv(&Offered { offered: &flat, ..data }, &settings, &folds, Seed::new(1), &Silent).unwrap_err();
    assert_eq!(error.to_string(), "the offer does not vary");
}

fn refused(roles: &str, learner: &str, n: usize) -> CausalError {
    let frame = golden_frame("econml/input.csv").keep(|row| row < n);
    let yaml = format!(
        "data: {{path: x}}\nroles: {{treatment: t, control: 0, outcome: y, {roles}}}\n\
         assignment: {{probability: 0.5}}\nsplit: {{holdout: 0}}\nnuisance: {{kind: ridge, folds: 2}}\nlearner: {{{learner}}}\n"
    );
    let mut columns: Vec<(String, Vec<f64>)> =
        ["x1", "x2", "w1", "w2", "t", "y"].map(|n| (n.to_string(), frame.column(n).to_vec())).to_vec();
    columns.push(("twice".into(), frame.column("x1").iter().map(|x| 2.0 * x - 1.0).collect()));
    let table = number_table(columns).unwrap();
    let config = Config::from_yaml(&yaml, "c.yaml", &[]).unwrap().check(table.names()).unwrap();
    let data = config.dataset(table, (0..frame.n_rows() as u64).collect()).unwrap();
    train(&config, &data, &Silent).unwrap_err()
}

#[test]
fn linear_effects_without_an_answer_say_why() {
    for kind in ["linear_dml", "linear_dr"] {
        let error = refused("features: [x1, x2, twice]", &format!("kind: {kind}"), 200);
        let CausalError::Collinear { features, .. } = &error else { panic!("{error}") };
        assert_eq!(features, &["twice"], "{kind}");
        assert!(error.hint().unwrap().contains("roles.controls"));
        let error = refused("features: [x1, x2, w1, w2]", &format!("kind: {kind}, covariance: cr1"), 200);
        assert!(error.to_string().contains("learner.covariance is cr1"), "{error}");
    }
    let error = refused("features: [x1, x2, w1, w2]", "kind: linear_dml", 5);
    assert!(matches!(error, CausalError::TooFewRows { .. }), "{error}");
}

#[test]
fn clusters_and_leverage_change_the_errors_not_the_effects() {
    let report = |learner: &str, extra: &str| trained(learner, "t", "y", extra).0.report.linear.remove(0);
    let plain = report("linear_dr", "");
    assert_eq!(serde_json::to_value(&plain).unwrap()["covariance"], "hc1");
    let jackknife = report("linear_dr, covariance: hc3", "");
    let clustered = report("linear_dr, covariance: cr2", ", cluster: group");
    for ((a, b), c) in plain.terms.iter().zip(&jackknife.terms).zip(&clustered.terms) {
        assert!((a.estimate.value().unwrap() - b.estimate.value().unwrap()).abs() < 1e-12);
        assert!((a.estimate.value().unwrap() - c.estimate.value().unwrap()).abs() < 1e-12);
        assert!(a.estimate.std_error() < b.estimate.std_error());
        // Four clusters: Student's t with three degrees of freedom.
        let width = (c.estimate.upper().unwrap() - c.estimate.value().unwrap()) / c.estimate.std_error().unwrap();
        assert!((width - 3.182).abs() < 0.01, "{width}");
    }
}
