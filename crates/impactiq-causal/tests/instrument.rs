//! An instrument from config to evaluation, against a known truth.

use impactiq_causal::{CausalError, CheckedConfig, Config, Trained, check, codec, evaluate, train};
use impactiq_data::synth::{Synth, SynthKind, SynthOptions, generate};
use impactiq_data::{Column, Dataset, Seed, Silent, Table};

const FOREST: &str = "learner: {kind: instrumental_forest, n_trees: 200}";
const ROLES: &str = "treatment: treatment, control: 0, instrument: encouraged, outcome: y";

fn made(n: usize, seed: u64) -> Synth {
    generate(SynthKind::Instrument, &SynthOptions::default(), n, Seed::new(seed)).unwrap()
}

fn prepared(table: &Table, roles: &str, text: &str) -> Result<(CheckedConfig, Dataset), CausalError> {
    let yaml = format!("data: {{path: x.csv}}\nroles: {{{roles}}}\n{text}\n");
    let config = Config::from_yaml(&yaml, "c.yaml", &[])?.check(table.names())?;
    let data = config.dataset(table.clone(), (0..table.n_rows() as u64).collect())?;
    Ok((config, data))
}

fn run(made: &Synth) -> (CheckedConfig, Dataset, Trained) {
    let (config, data) = prepared(&made.table, ROLES, FOREST).unwrap();
    let trained = train(&config, &data, &Silent).unwrap();
    (config, data, trained)
}

#[test]
fn the_average_and_the_effects_by_way_of_the_instrument_are_near_their_truth() {
    let (mut within, mut bias, mut rmse, mut naive) = (0, 0.0, 0.0, 0.0);
    for seed in [1, 2, 3] {
        let made = made(8_000, seed);
        let (config, data, trained) = run(&made);
        let tau = made.truth.column("tau").unwrap().numbers().unwrap();
        let mean = tau.iter().sum::<f64>() / tau.len() as f64;
        let report = &trained.report.instruments[0];
        let late = &report.average_late;
        within += u32::from(late.lower().unwrap() < mean && mean < late.upper().unwrap());
        bias += (late.value().unwrap() - mean) / 3.0;
        // Half of the rows are moved: a compliance of 0.35 + 0.3 · ½.
        assert!((report.compliance.value().unwrap() - 0.5).abs() < 0.05, "{report:?}");
        assert!(report.first_stage.f.statistic > 500.0 && trained.report.warnings.is_empty());
        let gap = |arm: u8| {
            let rows = || data.treatment.codes.iter().zip(&data.outcomes[0].values).filter(|(code, _)| **code == arm);
            rows().map(|(_, y)| y).sum::<f64>() / rows().count() as f64
        };
        naive += (gap(1) - gap(0) - mean) / 3.0;
        let held = config.holdout(&data).unwrap();
        let found = trained.model.predict_effects(&trained.model.encode(&data.raw).unwrap(), &data.raw).unwrap();
        let rows: Vec<usize> = (0..held.len()).filter(|&row| held[row]).collect();
        let square = |row: usize| (found[0].cate[0][row] - tau[row]).powi(2);
        rmse += (rows.iter().map(|&row| square(row)).sum::<f64>() / rows.len() as f64).sqrt() / 3.0;
    }
    println!("bias {bias:.4} (as treated {naive:.4}), rmse {rmse:.4}, {within} of 3 intervals hold the truth");
    // The effects' own standard deviation is 1.03; comparing the treated with the others is far off.
    assert!(within >= 2 && bias.abs() < 0.1 && rmse < 0.75, "bias {bias}, rmse {rmse}, {within} of 3");
    assert!(naive > 3.0 * bias.abs(), "as treated {naive}, by the instrument {bias}");
}

#[test]
fn evaluation_ranks_by_compliance_weighted_scores_and_check_tells_the_first_stage() {
    let made = made(12_000, 4);
    let (config, data, trained) = run(&made);
    let held = config.holdout(&data).unwrap();
    let rows: Vec<u32> = (0..held.len() as u32).filter(|&row| held[row as usize]).collect();
    let report = evaluate(&trained.model, &data, &rows, &config, &Silent).unwrap();
    let metrics = &report.contrasts[0].evaluation.metrics;
    let rate = metrics.get("rate_autoc").unwrap();
    assert!(rate.lower().unwrap() > 0.0, "{rate:?}");
    let qini = metrics.get("qini_per_capita").unwrap();
    assert_eq!(qini.reason(), Some(impactiq_causal::instrument::NOT_ASSIGNED));
    let health = check(&config, &data, &Silent).unwrap();
    let gate = health.gates.iter().find(|gate| gate.name == "first_stage").unwrap();
    assert!(health.passed && gate.passed && gate.value.unwrap() > 500.0, "{:?}", health.gates);
}

#[test]
fn a_model_of_an_instrument_is_stored_and_answers_with_the_same_bits() {
    let made = made(3_000, 5);
    let (_, data, trained) = run(&made);
    let (description, bytes) = codec::encode(&trained.model).unwrap();
    let again = codec::decode(&description, &bytes).unwrap();
    assert_eq!(again, trained.model);
    let binned = again.encode(&data.raw).unwrap();
    let answers = again.predict(&binned, &data.raw).unwrap();
    assert_eq!(answers, trained.model.predict(&binned, &data.raw).unwrap());
    assert!(answers[0].lower[0].iter().any(|lower| lower.is_finite()));
    let mut other = description;
    other["learner"] = "causal_forest".into();
    assert!(matches!(codec::decode(&other, &bytes).unwrap_err(), CausalError::Corrupt { .. }));
}

#[test]
fn instruments_that_are_missing_constant_or_weak_are_told() {
    let made = made(3_000, 6);
    let none = prepared(&made.table, "treatment: treatment, control: 0, outcome: y", FOREST).unwrap_err();
    assert!(matches!(none, CausalError::MissingRole { role: "instrument", .. }), "{none}");
    let replaced = |values: Vec<f64>| {
        let mut table = Table::new();
        for (name, column) in made.table.names().iter().zip(made.table.columns()) {
            let column = if name == "encouraged" { Column::Number(values.clone()) } else { column.clone() };
            table.push(name.clone(), column).unwrap();
        }
        table
    };
    let constant = prepared(&replaced(vec![1.0; 3_000]), ROLES, FOREST).unwrap_err();
    assert!(constant.to_string().contains("'encouraged' (instrument) has only the value '1'"), "{constant}");
    let noise = (0..3_000).map(|i| f64::from(u8::from(Seed::new(9).uniform(i) < 0.5))).collect();
    let (config, data) = prepared(&replaced(noise), ROLES, FOREST).unwrap();
    let warnings = train(&config, &data, &Silent).unwrap().report.warnings;
    assert!(warnings.iter().any(|w| w.to_string().contains("is weak")), "{warnings:?}");
    assert!(!check(&config, &data, &Silent).unwrap().passed);
    // What is declared is the probability of the instrument: one number, of an instrument of 0 and 1.
    let declare = |table: &Table, probability: &str| {
        let text = format!("{FOREST}\nassignment: {{probability: {probability}}}");
        prepared(table, ROLES, &text).and_then(|(config, data)| check(&config, &data, &Silent))
    };
    let declared = declare(&made.table, "{\"1\": 0.5}").unwrap_err();
    assert!(declared.to_string().starts_with("assignment.probability"), "{declared}");
    let graded = declare(&replaced((0..3_000).map(|i| f64::from(i % 3)).collect()), "0.5").unwrap_err();
    assert!(graded.to_string().starts_with("roles.instrument is encouraged"), "{graded}");
    assert!(declare(&made.table, "0.5").is_ok());
}
