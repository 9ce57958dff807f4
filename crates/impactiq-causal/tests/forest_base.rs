//! The regression forest as nuisance and as what learners are made of, against a known truth.

use impactiq_causal::{CausalError, Config, codec, train};
use impactiq_data::synth::{Synth, SynthKind, SynthOptions, generate};
use impactiq_data::{Dataset, Seed, Silent};

fn made(n: usize) -> Synth {
    generate(SynthKind::NieWagerA, &SynthOptions::default(), n, Seed::new(3)).unwrap()
}

fn prepared(made: &Synth, text: &str) -> (impactiq_causal::CheckedConfig, Dataset) {
    let yaml = format!(
        "data: {{path: x.csv}}\nroles: {{treatment: treatment, control: 0, outcome: y}}\n\
         assignment: {{kind: observational}}\n{text}\n"
    );
    let config = Config::from_yaml(&yaml, "c.yaml", &[]).unwrap().check(made.table.names()).unwrap();
    let n = made.table.n_rows() as u64;
    let data = config.dataset(made.table.clone(), (0..n).collect()).unwrap();
    (config, data)
}

#[test]
fn forest_nuisances_remove_confounding_and_forest_learners_find_effects() {
    let made = made(6_000);
    let tau = made.truth.column("tau").unwrap().numbers().unwrap();
    let mean = tau.iter().sum::<f64>() / tau.len() as f64;
    let text = "nuisance: {kind: forest}\nlearner: {kind: t, base: forest}\nsplit: {holdout: 0}";
    let (config, data) = prepared(&made, text);
    let trained = train(&config, &data, &Silent).unwrap();
    let loss = &trained.report.nuisance.outcomes[0].arms[0].loss;
    assert!(loss.value < 0.9 * loss.constant, "{loss:?}");
    let ate = &trained.report.contrasts[0].ate;
    let raw = &trained.report.contrasts[0].estimators.difference_in_means;
    let gap = |value: f64| (value - mean).abs();
    assert!(gap(ate.value().unwrap()) < 0.08, "{ate:?} for {mean}");
    assert!(gap(raw.value().unwrap()) > 2.0 * gap(ate.value().unwrap()), "{raw:?}, {ate:?} for {mean}");
    let model = &trained.model;
    let found = model.predict_effects(&model.encode(&data.raw).unwrap(), &data.raw).unwrap().remove(0);
    let square: f64 = found.cate[0].iter().zip(tau).map(|(a, b)| (a - b).powi(2)).sum();
    let rmse = (square / tau.len() as f64).sqrt();
    println!("average {ate:?} for {mean}, rmse {rmse:.4}");
    assert!(rmse < 0.4, "{rmse}");
    assert!(found.mean.iter().flatten().all(|mean| mean.is_finite()));
    let (description, bytes) = codec::encode(model).unwrap();
    assert_eq!(codec::decode(&description, &bytes).unwrap(), *model);
    let mut other = description.clone();
    other["outcomes"][0]["models"][0]["n_features"] = 99.into();
    assert!(matches!(codec::decode(&other, &bytes).unwrap_err(), CausalError::Corrupt { .. }));
}

#[test]
fn settings_of_other_kinds_and_trees_that_see_everything_are_refused() {
    let check = |settings: &str| {
        let text = format!(
            "data: {{path: x.csv}}\nroles: {{treatment: t, control: 0, outcome: y}}\nnuisance: {{kind: forest, {settings}}}\n"
        );
        Config::from_yaml(&text, "c.yaml", &[]).unwrap().check_settings()
    };
    assert!(check("n_trees: 50, min_leaf_rows: 10, max_depth: 6, row_fraction: 0.4").is_ok());
    assert!(matches!(check("learning_rate: 0.1").unwrap_err(), CausalError::UselessSetting { .. }));
    assert!(matches!(check("penalty: 1").unwrap_err(), CausalError::UselessSetting { .. }));
    assert!(matches!(check("row_fraction: 1").unwrap_err(), CausalError::BadSetting { .. }));
}
