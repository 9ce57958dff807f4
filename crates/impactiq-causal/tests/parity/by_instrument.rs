//! The instrumental forest's report on published encouragement designs, through the one door.

use impactiq_causal::{Config, TrainReport, train};
use impactiq_data::dataset::number_table;
use impactiq_data::{Silent, Table};

use crate::rows::{Frame, close};

fn table(frame: &Frame, names: &[&str]) -> Table {
    number_table(names.iter().map(|name| ((*name).to_owned(), frame.column(name).to_vec())).collect()).unwrap()
}

fn report(table: Table, yaml: &str) -> TrainReport {
    let config = Config::from_yaml(yaml, "c.yaml", &[]).unwrap().check(table.names()).unwrap();
    let n = table.n_rows() as u64;
    let data = config.dataset(table, (0..n).collect()).unwrap();
    train(&config, &data, &Silent).unwrap().report
}

const FOREST: &str = "learner: {kind: instrumental_forest, n_trees: 50, min_arm_rows: 200}\nsplit: {holdout: 0.3}";

/// JTPA: training was offered by chance, not all who were offered took it. Published on these rows:
/// pooled effect on compliers 1,748.8 (545).
#[test]
fn job_training_has_the_published_effect_on_those_who_comply() {
    let Some(frame) = Frame::read("jtpa/jtpa.csv.gz") else { return };
    let features = ["male", "hsorged", "black", "hispanic", "married", "wkless13", "afdc"];
    let names: Vec<&str> = ["income", "instrument", "treatment"].into_iter().chain(features).collect();
    let yaml = format!(
        "data: {{path: jtpa.csv}}\n\
         roles: {{treatment: treatment, control: 0, instrument: instrument, outcome: income}}\n\
         nuisance: {{kind: least_squares}}\n{FOREST}\n"
    );
    let report = report(table(&frame, &names), &yaml);
    let found = &report.instruments[0];
    close("Wald", found.wald.value().unwrap(), 1748.8, 1e-3);
    close("its error", found.wald.std_error().unwrap(), 545.0, 0.02);
    assert!(found.first_stage.f.statistic > 1000.0, "{:?}", found.first_stage);
    for estimate in [&found.average_late, &found.two_stage] {
        assert!((estimate.value().unwrap() - 1748.8).abs() < 545.0, "{estimate:?}");
        assert!(estimate.lower().unwrap() > 0.0, "{estimate:?}");
    }
    println!("average {:?}, two-stage {:?}", found.average_late, found.two_stage);
}

/// Card (1995): years of school by the nearness of a college, with controls. Wooldridge's example 15.4:
/// 0.1315 (0.0550), first-stage F 13.26 (classical). Cross-fitting moves both a little.
#[test]
fn schooling_by_the_nearness_of_a_college_is_worth_what_card_found() {
    let Some(frame) = Frame::read("card_iv/card.csv.gz") else { return };
    let controls = [
        "exper", "expersq", "black", "south", "smsa", "smsa66", "reg662", "reg663", "reg664", "reg665", "reg666",
        "reg667", "reg668", "reg669",
    ];
    let names: Vec<&str> = ["lwage", "educ", "nearc4"].into_iter().chain(controls).collect();
    let yaml = format!(
        "data: {{path: card.csv}}\nroles: {{dose: educ, instrument: nearc4, outcome: lwage}}\n\
         assignment: {{kind: observational}}\nnuisance: {{kind: least_squares, folds: 10}}\n{FOREST}\n"
    );
    let report = report(table(&frame, &names), &yaml);
    let found = &report.instruments[0];
    let value = found.two_stage.value().unwrap();
    println!("two-stage {:?}, F {:?}", found.two_stage, found.first_stage.f);
    assert!((value - 0.1315).abs() < 0.03, "{:?}", found.two_stage);
    assert!((0.04..0.075).contains(&found.two_stage.std_error().unwrap()), "{:?}", found.two_stage);
    assert!((8.0..20.0).contains(&found.first_stage.f.statistic), "{:?}", found.first_stage);
    assert!(found.anderson_rubin.contains(0.1315));
}
