//! A dose from config to evaluation, against a known truth.

use impactiq_causal::model::CausalModel;
use impactiq_causal::{CausalError, CheckedConfig, Config, Trained, check, codec, evaluate, train};
use impactiq_data::synth::{Synth, SynthKind, SynthOptions, generate};
use impactiq_data::{Dataset, Seed, Silent};

const FOREST: &str = "learner: {kind: causal_forest, n_trees: 200}";

fn made(n: usize, seed: u64) -> Synth {
    generate(SynthKind::Dose, &SynthOptions::default(), n, Seed::new(seed)).unwrap()
}

fn prepared(made: &Synth, text: &str) -> (CheckedConfig, Dataset) {
    let base = "data: {path: x.csv}\nroles: {dose: dose, outcome: y}\n";
    let config = Config::from_yaml(&format!("{base}{text}"), "c.yaml", &[]).unwrap();
    let config = config.check(made.table.names()).unwrap();
    let n = made.table.n_rows() as u64;
    let data = config.dataset(made.table.clone(), (0..n).collect()).unwrap();
    (config, data)
}

fn run(n: usize, seed: u64) -> (Synth, CheckedConfig, Dataset, Trained) {
    let made = made(n, seed);
    let (config, data) = prepared(&made, &format!("assignment: {{kind: observational}}\n{FOREST}"));
    let trained = train(&config, &data, &Silent).unwrap();
    (made, config, data, trained)
}

fn effects(model: &CausalModel, data: &Dataset) -> Vec<f64> {
    model.predict_effects(&model.encode(&data.raw).unwrap(), &data.raw).unwrap().remove(0).cate.remove(0)
}

#[test]
fn the_average_and_the_effects_of_a_unit_are_near_their_truth() {
    let (mut within, mut bias, mut rmse) = (0, 0.0, 0.0);
    for seed in [1, 2, 3] {
        let (made, config, data, trained) = run(4_000, seed);
        let tau = made.truth.column("tau").unwrap().numbers().unwrap().to_vec();
        let mean = tau.iter().sum::<f64>() / tau.len() as f64;
        let contrast = &trained.report.contrasts[0];
        assert_eq!((contrast.arm.as_str(), trained.report.arms.0.len()), ("dose", 0));
        assert_eq!(contrast.estimators.aipw.reason(), Some(impactiq_causal::dose::NO_ARMS));
        let ate = &contrast.ate;
        within += u32::from(ate.lower().unwrap() < mean && mean < ate.upper().unwrap());
        bias += (ate.value().unwrap() - mean) / 3.0;
        let held = config.holdout(&data).unwrap();
        let found = effects(&trained.model, &data);
        let square = |row: usize| (found[row] - tau[row]).powi(2);
        let rows: Vec<usize> = (0..held.len()).filter(|&row| held[row]).collect();
        rmse += (rows.iter().map(|&row| square(row)).sum::<f64>() / rows.len() as f64).sqrt() / 3.0;
    }
    // The effects' own standard deviation is 0.56.
    println!("bias {bias:.4}, rmse {rmse:.4}, {within} of 3 intervals hold the truth");
    assert!(within >= 2 && bias.abs() < 0.03 && rmse < 0.3, "bias {bias}, rmse {rmse}, {within} of 3");
}

#[test]
fn residual_on_residual_finds_the_effects_by_any_base_learner() {
    let made = made(6_000, 8);
    let tau = made.truth.column("tau").unwrap().numbers().unwrap().to_vec();
    for (learner, limit) in [("{kind: nonparam_dml}", 0.35), ("{kind: nonparam_dml, base: least_squares}", 0.2)] {
        let text = format!("assignment: {{kind: observational}}\nsplit: {{holdout: 0}}\nlearner: {learner}");
        let (config, data) = prepared(&made, &text);
        let found = effects(&train(&config, &data, &Silent).unwrap().model, &data);
        let square: f64 = found.iter().zip(&tau).map(|(a, b)| (a - b).powi(2)).sum();
        let rmse = (square / found.len() as f64).sqrt();
        println!("{learner}: {rmse:.4}");
        assert!(rmse < limit, "{learner}: {rmse}");
    }
}

#[test]
fn evaluation_ranks_and_calibrates_and_says_why_arms_have_no_metrics() {
    let (_, config, data, trained) = run(6_000, 4);
    let held = config.holdout(&data).unwrap();
    let rows: Vec<u32> = (0..held.len() as u32).filter(|&row| held[row as usize]).collect();
    let report = evaluate(&trained.model, &data, &rows, &config, &Silent).unwrap();
    let metrics = &report.contrasts[0].evaluation.metrics;
    let get = |name: &str| metrics.get(name).unwrap();
    assert!(get("rate_autoc").lower().unwrap() > 0.0, "{:?}", get("rate_autoc"));
    assert!(get("r_loss_gain").lower().unwrap() > 0.0, "{:?}", get("r_loss_gain"));
    let mean = get("calibration_mean");
    assert!(mean.lower().unwrap() < 1.0 && 1.0 < mean.upper().unwrap(), "{mean:?}");
    assert!(get("calibration_differential").lower().unwrap() > 0.0);
    for name in ["qini_per_capita", "qini_causalml", "auuc_sklift", "uplift_at_10"] {
        assert_eq!(get(name).reason(), Some("the treatment is a dose: there are no arms to compare"), "{name}");
    }
    let deciles = &report.contrasts[0].evaluation.deciles;
    assert!(deciles[0].effect.value() > deciles[9].effect.value());
}

#[test]
fn a_model_of_a_dose_is_stored_and_answers_with_the_same_bits() {
    let (made, _, data, trained) = run(2_000, 5);
    assert_eq!((trained.model.dose(), trained.model.n_contrasts()), (Some("dose"), 1));
    let (description, bytes) = codec::encode(&trained.model).unwrap();
    let again = codec::decode(&description, &bytes).unwrap();
    assert_eq!(again, trained.model);
    let answers = again.predict(&again.encode(&made.table).unwrap(), &made.table).unwrap();
    assert_eq!(answers[0].cate[0], effects(&trained.model, &data));
    assert!(answers[0].lower[0].iter().zip(&answers[0].cate[0]).all(|(lower, cate)| lower < cate));
    let mut armed = description.clone();
    armed["arms"] = serde_json::json!(["0", "1"]);
    assert!(matches!(codec::decode(&armed, &bytes).unwrap_err(), CausalError::Corrupt { .. }));
    let mut other = description;
    other["learner"] = "t".into();
    assert!(matches!(codec::decode(&other, &bytes).unwrap_err(), CausalError::Corrupt { .. }));
}

#[test]
fn a_dose_that_features_foretell_is_no_randomised_one() {
    let made = made(4_000, 6);
    let (config, data) = prepared(&made, FOREST);
    let error = train(&config, &data, &Silent).unwrap_err();
    let CausalError::PostTreatment { features } = &error else { panic!("{error}") };
    let names: Vec<&str> = features.iter().map(|f| f.feature.as_str()).collect();
    assert_eq!(names, ["x5", "x4"]);
    let report = check(&config, &data, &Silent).unwrap();
    assert!(!report.passed);
    let gate = |name: &str| report.gates.iter().find(|gate| gate.name == name).unwrap();
    assert!(!gate("post_treatment").passed && gate("sample_ratio").value.is_none());
    let (config, data) = prepared(&made, &format!("assignment: {{kind: observational}}\n{FOREST}"));
    let report = check(&config, &data, &Silent).unwrap();
    assert!(report.passed, "{:?}", report.gates);
    let overlap = report.gates.iter().find(|gate| gate.name == "overlap").unwrap().value.unwrap();
    // The dose varies by 0.64 around a mean whose own variance is about 0.3.
    assert!((0.6..0.85).contains(&overlap), "{overlap}");
}

#[test]
fn threads_do_not_change_a_bit_and_a_unit_twice_as_large_has_twice_the_effect() {
    let made = made(2_000, 7);
    let text = format!("assignment: {{kind: observational}}\nnuisance: {{kind: least_squares}}\n{FOREST}");
    let (config, data) = prepared(&made, &text);
    let answer = |threads: usize, data: &Dataset| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train(&config, data, &Silent)).unwrap()
    };
    let one = answer(1, &data);
    assert_eq!(one.model, answer(3, &data).model);
    let mut halved = data.clone();
    halved.dose.as_mut().unwrap().values.iter_mut().for_each(|value| *value *= 0.5);
    let two = answer(2, &halved);
    for (a, b) in effects(&one.model, &data).iter().zip(effects(&two.model, &halved)) {
        assert!((2.0 * a - b).abs() < 1e-4 * (1.0 + a.abs()), "{a} and {b}");
    }
    let (a, b) = (&one.report.contrasts[0].ate, &two.report.contrasts[0].ate);
    assert!((2.0 * a.value().unwrap() - b.value().unwrap()).abs() < 1e-9);
    assert!((2.0 * a.std_error().unwrap() - b.std_error().unwrap()).abs() < 1e-9);
}
