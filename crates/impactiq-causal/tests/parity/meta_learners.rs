//! x, dr and nonparam_dml against EconML with linear models and the same folds.

use impactiq_causal::{Config, train};
use impactiq_data::Silent;
use impactiq_data::dataset::number_table;
use serde_json::Value;

use super::rows::golden;

fn column(peer: &Value, path: &str, name: &str) -> Vec<f64> {
    peer[path][name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// Effects of a learner for the peer's rows. With `copies`, the rows stand twice and a fold is a
/// copy: what learns without a fold has then seen every row, as a learner without folds has.
fn effects(peer: &Value, kind: &str, copies: bool) -> Vec<f64> {
    let names = ["x1", "x2", "x3", "t", "y", "fold"];
    let mut columns: Vec<(String, Vec<f64>)> =
        names.iter().map(|name| ((*name).to_owned(), column(peer, "columns", name))).collect();
    let n = columns[0].1.len();
    if copies {
        columns.iter_mut().for_each(|(_, values)| values.extend_from_within(..));
        columns[5].1 = (0..2 * n).map(|row| f64::from(u8::from(row >= n))).collect();
    }
    let table = number_table(columns).unwrap();
    let yaml = format!(
        "data: {{path: x}}\nroles: {{treatment: t, control: 0, outcome: y, features: ['x*'], fold: fold}}\n\
         assignment: {{kind: observational}}\nsplit: {{holdout: 0}}\nnuisance: {{kind: least_squares}}\n\
         learner: {{kind: {kind}, base: least_squares}}\n"
    );
    let config = Config::from_yaml(&yaml, "c.yaml", &[]).unwrap().check(table.names()).unwrap();
    let data = config.dataset(table.clone(), (0..table.n_rows() as u64).collect()).unwrap();
    let model = train(&config, &data, &Silent).unwrap().model;
    let mut cate = model.predict(&model.encode(&table).unwrap(), &table).unwrap().remove(0).cate.remove(0);
    cate.truncate(n);
    cate
}

#[test]
fn learners_agree_with_econml_where_models_are_linear_and_folds_given() {
    let peer = golden("econml/learners.json");
    for (kind, copies) in [("dr", false), ("nonparam_dml", false), ("x", true)] {
        let (found, wanted) = (effects(&peer, kind, copies), column(&peer, "effects", kind));
        assert_eq!(found.len(), wanted.len());
        let scale = wanted.iter().fold(0.0f64, |most, v| most.max(v.abs()));
        for (row, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            let relative = (found - wanted).abs() / wanted.abs().max(0.01 * scale);
            assert!(relative < 1e-6, "{kind}, row {row}: {found} where EconML has {wanted}");
        }
    }
}
