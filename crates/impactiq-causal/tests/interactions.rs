//! Products in linear effects: found where there are any, not where there are none, whatever the threads, and
//! the table says what the model answers.

use impactiq_causal::learners::EffectModel;
use impactiq_causal::{CausalError, CheckedConfig, Config, Trained, codec, train};
use impactiq_data::{Column, Dataset, Seed, Silent, Table};

const N: usize = 4_000;

/// Four features, one of them a category; the effect is 1 + x1 + `product` · x1 x2, and x2 moves the outcome of both arms.
fn rows(seed: u64, product: f64) -> Table {
    let draw =
        |stream: u64| -> Vec<f64> { (0..N as u64).map(|row| Seed::new(seed).child(stream).uniform(row)).collect() };
    let x: Vec<Vec<f64>> = (0..3).map(|j| draw(j).iter().map(|u| 3.0 + 4.0 * u).collect()).collect();
    let treatment: Vec<f64> = draw(10).iter().map(|u| f64::from(u8::from(*u < 0.5))).collect();
    let noise: Vec<f64> = draw(11).iter().zip(draw(12)).map(|(u, v)| 2.0 * (u + v - 1.0)).collect();
    let y = (0..N).map(|i| {
        let effect = 1.0 + x[0][i] + product * x[0][i] * x[1][i];
        2.0 * x[1][i] + treatment[i] * effect + noise[i]
    });
    let y = y.collect();
    let codes = draw(13).iter().map(|u| (u * 3.0) as u32).collect();
    let mut table = Table::new();
    for (name, values) in ["x1", "x2", "x3"].into_iter().zip(x) {
        table.push(name, Column::Number(values)).unwrap();
    }
    let levels = ["north", "south", "west"].map(String::from).to_vec();
    table.push("region", Column::Category { codes, levels }).unwrap();
    table.push("treatment", Column::Number(treatment)).unwrap();
    table.push("y", Column::Number(y)).unwrap();
    table
}

fn prepared(table: &Table, learner: &str) -> Result<(CheckedConfig, Dataset), CausalError> {
    let yaml = format!(
        "data: {{path: x.csv}}\nroles: {{treatment: treatment, control: 0, outcome: y}}\n\
         assignment: {{probability: 0.5}}\nsplit: {{holdout: 0}}\nnuisance: {{kind: least_squares}}\nlearner: {learner}\n"
    );
    let config = Config::from_yaml(&yaml, "c.yaml", &[])?.check(table.names())?;
    let data = config.dataset(table.clone(), (0..N as u64).collect()).unwrap();
    Ok((config, data))
}

fn trained(table: &Table, learner: &str) -> Trained {
    let (config, data) = prepared(table, learner).unwrap();
    train(&config, &data, &Silent).unwrap()
}

#[test]
fn a_planted_product_is_found_and_named_in_the_table() {
    let table = rows(1, 0.5);
    for kind in ["linear_dml", "linear_dr"] {
        let report = trained(&table, &format!("{{kind: {kind}, interactions: auto}}")).report;
        let linear = &report.linear[0];
        let names: Vec<&str> = linear.terms.iter().map(|term| term.name.as_str()).collect();
        assert_eq!(names[..4], ["(constant)", "x1", "x2", "x3"], "{kind}");
        assert_eq!(names.last(), Some(&"x1 × x2"), "{kind}: {names:?}");
        let choice = linear.interactions.as_ref().unwrap();
        // Three numbers and two levels: 10 pairs less that of the two levels.
        assert_eq!((choice.n_pairs, choice.n_folds), (9, 5));
        assert_eq!(
            (choice.found[0].name.as_str(), choice.found[0].n_folds, choice.found[0].taken),
            ("x1 × x2", 5, true)
        );
        assert!(choice.loss < choice.loss_without);
        // In the features' own units: 1 + x1 + x1 x2 / 2.
        for (term, truth) in [("(constant)", 1.0), ("x1", 1.0), ("x2", 0.0), ("x1 × x2", 0.5)] {
            let found = &linear.terms.iter().find(|found| found.name == term).unwrap().estimate;
            let (value, error) = (found.value().unwrap(), found.std_error().unwrap());
            assert!((value - truth).abs() < 3.5 * error, "{kind} {term}: {value} ± {error}");
        }
    }
}

#[test]
fn the_table_and_a_saved_model_answer_alike() {
    let table = rows(5, 0.5);
    let (config, data) = prepared(&table, "{kind: linear_dr, interactions: 2}").unwrap();
    let trained = train(&config, &data, &Silent).unwrap();
    let (description, bytes) = codec::encode(&trained.model).unwrap();
    let model = codec::decode(&description, &bytes).unwrap();
    let answer = model.predict_effects(&data.features, &data.raw).unwrap().remove(0);
    let own = trained.model.predict_effects(&data.features, &data.raw).unwrap().remove(0);
    assert_eq!(answer.cate, own.cate);
    let EffectModel::Linear(_, stage) = &model.outcomes()[0].effect else { panic!("no line") };
    assert_eq!(stage.products.len(), 1);
    let coefficient = |name: &str| -> f64 {
        let terms = &trained.report.linear[0].terms;
        terms.iter().find(|term| term.name == name).map_or(0.0, |term| term.estimate.value().unwrap())
    };
    let x = |name: &str, row: usize| table.column(name).unwrap().numbers().unwrap()[row];
    for row in [0, 17, N - 1] {
        let region = match table.column("region").unwrap() {
            impactiq_data::ColumnView::Category { codes, levels } => levels[codes[row] as usize].clone(),
            _ => panic!("no category"),
        };
        let mut by_table = coefficient("(constant)") + coefficient(&format!("region = {region}"));
        by_table += ["x1", "x2", "x3"].iter().map(|name| coefficient(name) * x(name, row)).sum::<f64>();
        by_table += coefficient("x1 × x2") * x("x1", row) * x("x2", row);
        assert!((answer.cate[0][row] - by_table).abs() < 1e-9, "row {row}");
    }
}

#[test]
fn noise_has_no_products() {
    let mut taken = 0;
    for seed in 0..20 {
        let report = trained(&rows(100 + seed, 0.0), "{kind: linear_dml, interactions: auto}").report;
        taken += report.linear[0].terms.iter().filter(|term| term.name.contains('×')).count();
    }
    assert!(taken <= 1, "{taken} products of noise in 20 runs");
}

#[test]
fn the_choice_is_the_same_bytes_for_any_number_of_threads() {
    let table = rows(3, 0.4);
    let bytes = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        let trained = pool.install(|| trained(&table, "{kind: linear_dml, interactions: auto}"));
        (codec::encode(&trained.model).unwrap(), format!("{:?}", trained.report.linear))
    };
    assert_eq!(bytes(1), bytes(2));
}

#[test]
fn the_key_has_a_range_and_belongs_to_linear_learners() {
    let table = rows(4, 0.0);
    let problem = |learner: &str| prepared(&table, learner).err().unwrap().to_string();
    assert!(problem("{kind: linear_dml, interactions: 0}").contains("learner.interactions"));
    assert!(problem("{kind: linear_dml, interactions: 21}").contains("learner.interactions"));
    assert!(problem("{kind: linear_dml, interactions: -1}").contains("interactions"));
    let many = problem("{kind: linear_dml, interactions: many}");
    assert!(many.contains("auto or a number of interactions") && many.contains("line 6"), "{many}");
    assert!(problem("{kind: r, interactions: 2}").contains("learner.interactions"));
}
