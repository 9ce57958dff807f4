//! LightGBM and XGBoost as nuisance and as what learners are made of: effects found, bytes repeated,
//! models stored. Without the features there is one promise to keep: to say so.

use impactiq_causal::base::{BaseModel, RawNode};
use impactiq_causal::{CausalError, CheckedConfig, Config, codec, train};
use impactiq_data::synth::{Synth, SynthKind, SynthOptions, generate};
use impactiq_data::{Column, Dataset, MISSING_LEVEL, Seed, Silent, Table};

const LIBRARIES: [(&str, bool); 2] = [("lightgbm", cfg!(feature = "lightgbm")), ("xgboost", cfg!(feature = "xgboost"))];

fn built() -> Vec<&'static str> {
    let built: Vec<&str> = LIBRARIES.into_iter().filter(|(_, built)| *built).map(|(name, _)| name).collect();
    if built.is_empty() {
        eprintln!("NOT TESTED: this build has no back-end; run .ci/backends");
    }
    built
}

fn text(rest: &str) -> String {
    format!(
        "data: {{path: x.csv}}\nroles: {{treatment: treatment, control: 0, outcome: y}}\n\
         assignment: {{kind: observational}}\nsplit: {{holdout: 0}}\n{rest}\n"
    )
}

/// Rows whose confounder has gaps, with a category beside it.
fn made(n: usize) -> (Synth, Table) {
    let made = generate(SynthKind::NieWagerA, &SynthOptions::default(), n, Seed::new(3)).unwrap();
    let mut table = Table::new();
    for (name, column) in made.table.names().iter().zip(made.table.columns()) {
        let mut column = column.clone();
        if let (true, Column::Number(values)) = (name == "x5", &mut column) {
            values.iter_mut().step_by(10).for_each(|value| *value = f64::NAN);
        }
        table.push(name.clone(), column).unwrap();
    }
    let levels = ["north", "south", "west"].map(String::from).to_vec();
    let codes = (0..n as u32).map(|row| if row % 11 == 0 { MISSING_LEVEL } else { row % 3 }).collect();
    table.push("region", Column::Category { codes, levels }).unwrap();
    (made, table)
}

fn prepared(table: &Table, rest: &str) -> (CheckedConfig, Dataset) {
    let config = Config::from_yaml(&text(rest), "c.yaml", &[]).unwrap().check(table.names()).unwrap();
    let data = config.dataset(table.clone(), (0..table.n_rows() as u64).collect()).unwrap();
    (config, data)
}

#[test]
fn a_build_without_the_library_says_how_to_get_it() {
    for (kind, built) in LIBRARIES {
        for section in [format!("nuisance: {{kind: {kind}}}"), format!("learner: {{kind: t, base: {kind}}}")] {
            let checked = Config::from_yaml(&text(&section), "c.yaml", &[]).unwrap().check_settings();
            if built {
                checked.unwrap();
                continue;
            }
            let error = checked.unwrap_err();
            assert!(matches!(error, CausalError::NotBuilt { .. }), "{error}");
            assert!(error.to_string().contains(kind));
            assert!(error.hint().unwrap().contains(&format!("--features {kind}")));
        }
    }
}

#[test]
fn nuisances_remove_confounding_and_learners_find_effects() {
    let (made, table) = made(6_000);
    let tau = made.truth.column("tau").unwrap().numbers().unwrap();
    let mean = tau.iter().sum::<f64>() / tau.len() as f64;
    for kind in built() {
        for learner in ["t", "s", "r"] {
            let rest = format!("nuisance: {{kind: {kind}}}\nlearner: {{kind: {learner}, base: {kind}}}");
            let (config, data) = prepared(&table, &rest);
            let trained = train(&config, &data, &Silent).unwrap();
            let loss = &trained.report.nuisance.outcomes[0].arms[0].loss;
            assert!(loss.value < 0.95 * loss.constant, "{loss:?}");
            let ate = &trained.report.contrasts[0].ate;
            assert!((ate.value().unwrap() - mean).abs() < 0.1, "{ate:?} for {mean}");
            let model = &trained.model;
            let found = model.predict_effects(&model.encode(&data.raw).unwrap(), &data.raw).unwrap().remove(0);
            let square: f64 = found.cate[0].iter().zip(tau).map(|(a, b)| (a - b).powi(2)).sum();
            let rmse = (square / tau.len() as f64).sqrt();
            println!("{kind} {learner}: average {ate:?} for {mean:.4}, rmse {rmse:.4}");
            assert!(rmse < 0.45, "{kind} {learner}: {rmse}");
        }
    }
}

#[test]
fn a_model_is_stored_as_numbers_and_answers_the_same_afterwards() {
    let (_, table) = made(1_500);
    for kind in built() {
        let (config, data) =
            prepared(&table, &format!("nuisance: {{kind: ridge}}\nlearner: {{kind: s, base: {kind}}}"));
        let model = train(&config, &data, &Silent).unwrap().model;
        let (description, bytes) = codec::encode(&model).unwrap();
        assert_eq!(codec::decode(&description, &bytes).unwrap(), model);
        let damage = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut other = description.clone();
            change(&mut other["outcomes"][0]["models"][0]);
            codec::decode(&other, &bytes).unwrap_err()
        };
        for error in [
            damage(&|model| model["design"] = serde_json::json!([])),
            damage(&|model| model["design"][0]["name"] = "elsewhere".into()),
            damage(&|model| model["library"] = "another".into()),
            damage(&|model| model["extra"] = 1.into()),
        ] {
            assert!(matches!(error, CausalError::Corrupt { .. }), "{error}");
        }
    }
}

#[test]
fn equal_seeds_give_equal_bytes_on_any_number_of_threads() {
    let (_, table) = made(1_500);
    for kind in built() {
        let sampled = "row_fraction: 0.8, feature_fraction: 0.8";
        let rest = format!("nuisance: {{kind: {kind}, {sampled}}}\nlearner: {{kind: x, base: {kind}, {sampled}}}");
        let (config, data) = prepared(&table, &rest);
        let run = |n_threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let trained = pool.install(|| train(&config, &data, &Silent).unwrap());
            (codec::encode(&trained.model).unwrap(), format!("{:?}", trained.report.contrasts))
        };
        let alone = run(1);
        assert_eq!(alone, run(4), "{kind}");
    }
}

#[test]
fn doses_and_rows_too_few_for_a_split_are_answered() {
    let (_, table) = made(60);
    for kind in built() {
        let (config, data) = prepared(
            &table,
            &format!("nuisance: {{kind: least_squares}}\nlearner: {{kind: t, base: {kind}, min_leaf_rows: 400}}"),
        );
        let model = train(&config, &data, &Silent).unwrap().model;
        let effects = model.predict_effects(&model.encode(&data.raw).unwrap(), &data.raw).unwrap().remove(0);
        // No leaf holds 400 rows, so everybody has the difference in means.
        assert!(effects.cate[0].iter().all(|effect| *effect == effects.cate[0][0]));
        let models: Vec<&BaseModel> = model.outcomes()[0].effect.models();
        let nodes = |model: &BaseModel| -> Vec<RawNode> {
            let BaseModel::External(model) = model else { panic!("{model:?}") };
            model.trees.nodes().to_vec()
        };
        assert!(models.into_iter().all(|model| nodes(model).is_empty()));
    }
}
