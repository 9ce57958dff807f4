//! Settings chosen by held-out loss: better where there is something to gain, within the budget, and
//! the same as if the chosen settings had been written.

use std::sync::atomic::{AtomicU64, Ordering};

use impactiq_causal::base::TuneReport;
use impactiq_causal::{CausalError, CheckedConfig, Config, TrainReport, Trained, codec, train};
use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{Column, Dataset, Seed, Silent, Table, Watch};

fn text(rest: &str) -> String {
    format!(
        "data: {{path: x.csv}}\nroles: {{treatment: treatment, control: 0, outcome: y}}\n\
         assignment: {{probability: 0.5}}\nsplit: {{holdout: 0}}\n{rest}\n"
    )
}

fn prepared(table: &Table, rest: &str) -> (CheckedConfig, Dataset) {
    let config = Config::from_yaml(&text(rest), "c.yaml", &[]).unwrap().check(table.names()).unwrap();
    let data = config.dataset(table.clone(), (0..table.n_rows() as u64).collect()).unwrap();
    (config, data)
}

fn trained(table: &Table, rest: &str, watch: &dyn Watch) -> Trained {
    let (config, data) = prepared(table, rest);
    train(&config, &data, watch).unwrap()
}

/// An outcome of three features' signs together: trees of few leaves hardly see it.
fn entangled(n: usize) -> Table {
    let draw = |stream: u64| -> Vec<f64> { (0..n as u64).map(|row| Seed::new(stream).uniform(row) - 0.5).collect() };
    let x: Vec<Vec<f64>> = (0..3).map(draw).collect();
    let treatment: Vec<f64> = draw(3).iter().map(|u| f64::from(u8::from(*u > 0.0))).collect();
    let noise = draw(4);
    let y = (0..n).map(|i| 2.0 * x.iter().map(|x| x[i].signum()).product::<f64>() + treatment[i] + noise[i]).collect();
    let mut table = Table::new();
    for (name, values) in ["x1", "x2", "x3"].into_iter().zip(x) {
        table.push(name, Column::Number(values)).unwrap();
    }
    table.push("treatment", Column::Number(treatment)).unwrap();
    table.push("y", Column::Number(y)).unwrap();
    table
}

fn outcome_loss(report: &TrainReport) -> f64 {
    report.nuisance.outcomes[0].arms.iter().map(|arm| arm.loss.value).sum()
}

#[test]
fn a_nuisance_that_tunes_fits_better_where_the_defaults_do_badly() {
    let table = entangled(4_000);
    let learner = "learner: {kind: t, base: least_squares}";
    let plain = trained(&table, &format!("nuisance: {{n_leaves: 8}}\n{learner}"), &Silent);
    let own = trained(&table, &format!("nuisance: {{kind: boosted}}\n{learner}"), &Silent);
    let tuned = trained(&table, &format!("nuisance: {{tune: {{trials: 6}}}}\n{learner}"), &Silent);
    assert_eq!(outcome_loss(&plain.report), outcome_loss(&own.report));
    let (before, after) = (outcome_loss(&own.report), outcome_loss(&tuned.report));
    println!("out-of-fold loss {before:.4}, tuned {after:.4}");
    assert!(after < 0.9 * before, "{after} after {before}");
    assert!(own.report.nuisance.tuning.is_empty());
    let reports = &tuned.report.nuisance.tuning;
    assert_eq!(reports.len(), 2, "one model for each arm");
    for report in reports {
        assert_eq!((report.trials, report.tried.len(), report.hurried), (6, 6, false));
        assert_eq!(report.tried.iter().map(|tried| tried.n_taken).sum::<u64>(), 5, "one choice for each fold");
        assert_eq!(report.tried[0].settings, Default::default());
    }
    assert!(reports[0].what.contains("'y'") && reports[1].what.contains("arm '1'"), "{reports:?}");
}

#[test]
fn a_tuned_learner_is_the_one_that_the_chosen_settings_make() {
    let made = generate(SynthKind::NieWagerB, &SynthOptions::default(), 2_000, Seed::new(5)).unwrap();
    for kind in ["r", "dr", "nonparam_dml", "t", "x"] {
        let nuisance = "nuisance: {kind: ridge}";
        let tuned = trained(
            &made.table,
            &format!("{nuisance}\nlearner: {{kind: {kind}, n_trees: 60, tune: {{trials: 4}}}}"),
            &Silent,
        );
        let [report] = tuned.report.tuning.as_slice() else { panic!("{:?}", tuned.report.tuning) };
        let loss = |place: usize| report.tried[place].loss.unwrap();
        let best = report.tried.iter().position(|tried| tried.n_taken == 1).unwrap();
        assert!((0..4).all(|place| loss(best) <= loss(place)), "{report:?}");
        assert_eq!(report.loss, if kind == "dr" { "dr_loss" } else { "r_loss" });
        let settings = serde_json::to_value(report.tried[best].settings).unwrap();
        let written: String =
            settings.as_object().unwrap().iter().map(|(key, value)| format!(", {key}: {value}")).collect();
        let plain =
            trained(&made.table, &format!("{nuisance}\nlearner: {{kind: {kind}, n_trees: 60{written}}}"), &Silent);
        assert_eq!(codec::encode(&tuned.model).unwrap(), codec::encode(&plain.model).unwrap(), "{kind}: {written}");
    }
}

#[test]
fn equal_trials_give_equal_bytes_on_any_number_of_threads() {
    let made = generate(SynthKind::NieWagerB, &SynthOptions::default(), 1_200, Seed::new(6)).unwrap();
    let rest = "nuisance: {tune: {trials: 3}}\nlearner: {kind: r, tune: {trials: 3}, recalibrate: linear}";
    let (config, data) = prepared(&made.table, rest);
    let run = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let trained = pool.install(|| train(&config, &data, &Silent).unwrap());
        (codec::encode(&trained.model).unwrap(), serde_json::to_string(&trained.report).unwrap())
    };
    assert_eq!(run(1), run(4));
}

/// A second passes whenever somebody looks.
struct Ticking(AtomicU64);

impl Watch for Ticking {
    fn seconds(&self) -> Option<f64> {
        Some(self.0.fetch_add(1, Ordering::SeqCst) as f64)
    }
}

#[test]
fn seconds_end_the_trying_and_the_report_says_so() {
    let made = generate(SynthKind::NieWagerB, &SynthOptions::default(), 800, Seed::new(7)).unwrap();
    let rest = "nuisance: {kind: ridge}\nlearner: {kind: r, n_trees: 20, tune: {trials: 50, seconds: 3}}";
    let used = |report: &TuneReport| (report.trials, report.hurried);
    let timed = trained(&made.table, rest, &Ticking(AtomicU64::new(0)));
    // The clock starts at 0 and is looked at before the second trial, the third and the fourth.
    assert_eq!(used(&timed.report.tuning[0]), (3, true));
    let rest = "nuisance: {n_trees: 10, tune: {trials: 4, seconds: 1}}\nlearner: {kind: t, base: ridge}";
    let timed = trained(&made.table, rest, &Ticking(AtomicU64::new(0)));
    assert!(timed.report.nuisance.tuning.iter().all(|report| used(report) == (1, true)));
    let unwatched = trained(&made.table, rest, &Silent);
    assert!(unwatched.report.nuisance.tuning.iter().all(|report| used(report) == (4, false)));
}

#[test]
fn a_budget_for_what_has_no_settings_is_refused() {
    let check = |section: &str| Config::from_yaml(&text(section), "c.yaml", &[])?.check_settings();
    check("nuisance: {tune: true}\nlearner: {kind: dr, tune: {trials: 20, seconds: 60}}").unwrap();
    check("nuisance: {kind: ridge, tune: false}\nlearner: {kind: causal_forest, tune: false}").unwrap();
    for section in [
        "nuisance: {kind: ridge, tune: true}",
        "learner: {kind: r, base: lasso, tune: true}",
        "learner: {kind: causal_forest, tune: true}",
        "learner: {kind: auto, tune: true}",
    ] {
        assert!(matches!(check(section).unwrap_err(), CausalError::UselessSetting { .. }), "{section}");
    }
    for section in ["nuisance: {tune: {trials: 0}}", "nuisance: {tune: {trials: 9, seconds: -1}}"] {
        assert!(matches!(check(section).unwrap_err(), CausalError::BadSetting { .. }), "{section}");
    }
    for section in ["nuisance: {tune: 5}", "nuisance: {tune: {trails: 5}}", "nuisance: {tune: {trials: many}}"] {
        let error = check(section).unwrap_err();
        assert!(matches!(error, CausalError::Yaml { .. } | CausalError::UnknownKey { .. }), "{section}: {error}");
    }
    let dose = "data: {path: x.csv}\nroles: {dose: d, outcome: y}\nlearner: {kind: nonparam_dml, tune: true}\n";
    let error = Config::from_yaml(dose, "c.yaml", &[]).unwrap().check_settings().unwrap_err();
    assert!(matches!(error, CausalError::NotWithDose { .. }), "{error}");
}

#[test]
fn double_machine_learning_tunes_its_nuisances_too() {
    let table = entangled(2_000);
    let rest =
        |tune: &str| format!("nuisance: {{folds: 2{tune}}}\nlearner: {{kind: t, base: ridge}}\ndml: {{models: [plr]}}");
    let plain = trained(&table, &rest(""), &Silent).report;
    let tuned = trained(&table, &rest(", tune: {trials: 5}"), &Silent).report;
    assert!(plain.dml[0].fit.tuning.is_empty());
    // The probability is the design's: the outcome's mean alone is learned.
    let [report] = tuned.dml[0].fit.tuning.as_slice() else { panic!("{:?}", tuned.dml[0].fit.tuning) };
    assert_eq!((report.what.as_str(), report.trials), ("ml_l", 5));
    assert_eq!(report.tried.iter().map(|tried| tried.n_taken).sum::<u64>(), 2, "one choice for each fold");
    let loss = |report: &TrainReport| report.dml[0].fit.nuisances[0].loss.value;
    assert!(loss(&tuned) < loss(&plain), "{} after {}", loss(&tuned), loss(&plain));
    let error = |report: &TrainReport| report.dml[0].fit.estimate.std_error().unwrap();
    assert!(error(&tuned) < error(&plain));
}

#[test]
fn the_effect_of_taking_an_offer_tunes_its_nuisances_too() {
    let made = generate(SynthKind::Instrument, &SynthOptions::default(), 3_000, Seed::new(8)).unwrap();
    let report = |tune: &str| {
        let yaml = format!(
            "data: {{path: x.csv}}\nroles: {{treatment: treatment, control: 0, outcome: y, instrument: encouraged}}\n\
             split: {{holdout: 0}}\nnuisance: {{folds: 2, n_trees: 40{tune}}}\nlearner: {{kind: intent_to_treat_driv}}\n"
        );
        let config = Config::from_yaml(&yaml, "c.yaml", &[]).unwrap().check(made.table.names()).unwrap();
        let data = config.dataset(made.table.clone(), (0..3_000).collect()).unwrap();
        train(&config, &data, &Silent).unwrap().report
    };
    assert!(report("").tuning.is_empty());
    let tuning = report(", tune: {trials: 3}").tuning;
    let what: Vec<&str> = tuning.iter().map(|report| report.what.as_str()).collect();
    assert_eq!(what, ["the outcome", "take-up without the offer", "take-up with the offer"]);
    assert!(tuning.iter().all(|report| report.trials == 3));
    assert!(tuning.iter().all(|report| report.tried.iter().map(|tried| tried.n_taken).sum::<u64>() == 2));
}
