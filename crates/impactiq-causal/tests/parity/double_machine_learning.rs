//! DoubleML 0.11.4 with linear and logistic nuisances and fold = row number mod 5.

use impactiq_causal::base::{BaseLearner, Loss};
use impactiq_causal::dml::{
    CLIP, DmlEstimand, DmlEstimate, DmlLearner, DmlLearners, DmlModel, DmlRows, PartialScore, estimate,
};
use impactiq_data::{Folds, Seed, Silent};

use super::rows::{Frame, close, golden, peer};

const TOLERANCE: f64 = 1e-6;

const PENSION: [&str; 9] = ["age", "inc", "educ", "fsize", "marr", "twoearn", "db", "pira", "hown"];
const LALONDE: [&str; 8] = ["age", "education", "black", "hispanic", "married", "nodegree", "re74", "re75"];

fn linear() -> DmlLearner {
    DmlLearner::fixed(BaseLearner::LeastSquares, Loss::Squared)
}

fn logistic() -> DmlLearner {
    DmlLearner::fixed(BaseLearner::Logistic { penalty: 0.0 }, Loss::Logistic)
}

fn learners(treatment: DmlLearner, instrument: DmlLearner) -> DmlLearners {
    DmlLearners { outcome: linear(), treatment, instrument }
}

/// One model on a file's columns: outcome, treatment, perhaps an instrument.
fn answer(frame: &Frame, x: &[&str], columns: [&str; 3], model: DmlModel, learners: &DmlLearners) -> DmlEstimate {
    let features = frame.features(x);
    let codes: Vec<u32> = (0..frame.n_rows() as u32).map(|row| row % 5).collect();
    let rows = DmlRows {
        inputs: features.inputs(),
        outcome: frame.column(columns[0]),
        treatment: frame.column(columns[1]),
        instrument: (!columns[2].is_empty()).then(|| frame.column(columns[2])),
        weights: None,
        clusters: None,
        row_ids: &features.row_ids,
        design: None,
    };
    estimate(model, &rows, learners, &[Folds::fixed(&codes).unwrap()], (CLIP, Seed::new(1)), &Silent).unwrap()
}

fn agrees(key: &str, ours: &DmlEstimate, theirs: &serde_json::Value) {
    let theirs = &theirs[key];
    close(key, ours.estimate.value().unwrap(), theirs["coef"].as_f64().unwrap(), TOLERANCE);
    close(&format!("error of {key}"), ours.estimate.std_error().unwrap(), theirs["se"].as_f64().unwrap(), TOLERANCE);
    assert_eq!(ours.estimate.n(), theirs["n"].as_u64());
}

#[test]
fn the_401k_numbers_are_those_of_doubleml() {
    let Some(theirs) = peer("doubleml_linear_fixed_folds.json") else { return };
    let Some(frame) = Frame::read("pension_401k/pension.csv.gz") else { return };
    let (eligible, both) = (["net_tfa", "e401", ""], ["net_tfa", "p401", "e401"]);
    let plr = DmlModel::Plr(PartialScore::PartiallingOut);
    for (key, columns, model, learners) in [
        ("401k PLR partialling-out net_tfa~e401", eligible, plr, learners(linear(), linear())),
        ("401k PLR partialling-out net_tfa~e401 (logistic m)", eligible, plr, learners(logistic(), linear())),
        ("401k IRM ATE net_tfa~e401", eligible, DmlModel::Irm(DmlEstimand::Ate), learners(logistic(), linear())),
        ("401k IRM ATTE net_tfa~e401", eligible, DmlModel::Irm(DmlEstimand::Atte), learners(logistic(), linear())),
        ("401k PLIV net_tfa~p401|e401", both, DmlModel::Pliv, learners(linear(), linear())),
        ("401k IIVM net_tfa~p401|e401", both, DmlModel::Iivm, learners(logistic(), logistic())),
    ] {
        agrees(key, &answer(&frame, &PENSION, columns, model, &learners), &theirs);
    }
}

#[test]
fn the_score_of_iv_type_is_that_of_doubleml() {
    let Some(frame) = Frame::read("pension_401k/pension.csv.gz") else { return };
    let model = DmlModel::Plr(PartialScore::IvType);
    let ours = answer(&frame, &PENSION, ["net_tfa", "e401", ""], model, &learners(linear(), linear()));
    let theirs = golden("doubleml/iv_type.json");
    agrees("iv", &ours, &serde_json::json!({ "iv": theirs }));
}

#[test]
fn errors_by_cluster_are_those_of_doubleml_times_the_correction_for_few_clusters() {
    let Some(frame) = Frame::read("pension_401k/pension.csv.gz") else { return };
    let frame = frame.keep(|row| row < 9_900);
    let features = frame.features(&PENSION);
    let clusters: Vec<u32> = (0..9_900).map(|row| row / 5).collect();
    let folds: Vec<u32> = clusters.iter().map(|cluster| cluster % 5).collect();
    let rows = DmlRows {
        inputs: features.inputs(),
        outcome: frame.column("net_tfa"),
        treatment: frame.column("e401"),
        instrument: None,
        weights: None,
        clusters: Some(&clusters),
        row_ids: &features.row_ids,
        design: None,
    };
    let theirs = golden("doubleml/clustered.json");
    let many = theirs["n_clusters"].as_f64().unwrap();
    for (name, model, m) in [
        ("plr", DmlModel::Plr(PartialScore::PartiallingOut), linear()),
        ("irm", DmlModel::Irm(DmlEstimand::Ate), logistic()),
    ] {
        let folds = [Folds::fixed(&folds).unwrap()];
        let ours = estimate(model, &rows, &learners(m, linear()), &folds, (CLIP, Seed::new(1)), &Silent).unwrap();
        let theirs = &theirs["answers"][name];
        close(name, ours.estimate.value().unwrap(), theirs["coef"].as_f64().unwrap(), TOLERANCE);
        // Folds of one size: DoubleML's weighting of folds is then that of rows.
        let plain = ours.estimate.std_error().unwrap() * ((many - 1.0) / many).sqrt();
        close(&format!("error of {name}"), plain, theirs["se"].as_f64().unwrap(), TOLERANCE);
    }
}

#[test]
fn the_lalonde_numbers_are_those_of_doubleml() {
    let Some(theirs) = peer("doubleml_linear_fixed_folds.json") else { return };
    let Some(trial) = Frame::read("lalonde/nsw_dw.csv.gz") else { return };
    let treated = trial.keep(|row| trial.column("treat")[row] == 1.0);
    for (file, name) in [("cps_controls3", "cps"), ("psid_controls3", "psid")] {
        let controls = Frame::read(&format!("lalonde/{file}.csv.gz")).unwrap();
        let frame = treated.stack(&controls);
        let columns = ["re78", "treat", ""];
        for (suffix, model, m) in [
            ("PLR", DmlModel::Plr(PartialScore::PartiallingOut), linear()),
            ("IRM ATTE", DmlModel::Irm(DmlEstimand::Atte), logistic()),
        ] {
            let learners = learners(m, linear());
            let key = format!("lalonde NSW-DW treated + {name}_controls3 {suffix}");
            agrees(&key, &answer(&frame, &LALONDE, columns, model, &learners), &theirs);
        }
    }
}
