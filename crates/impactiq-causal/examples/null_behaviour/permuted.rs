//! One permutation of the treatment: a forest from one half of the rows, tests on the other.

use impactiq_causal::{CausalError, Config, nuisance, train};
use impactiq_data::{Column, Seed, Silent, Stream, Table};
use impactiq_metrics::calibration::{Residuals, calibration_test};
use impactiq_metrics::report::{EvaluateOptions, evaluate};
use impactiq_metrics::{Estimate, Scored};

/// Two-sided p-values on rows that the scores never saw; `None` for constant scores, which
/// predict no heterogeneity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PValues {
    /// The differential coefficient of the calibration test.
    pub calibration: Option<f64>,
    /// The area under the targeting operator characteristic.
    pub autoc: Option<f64>,
    /// The same with Qini's weights.
    pub qini: Option<f64>,
}

/// Permutes the column `treatment` of `table`, so that no effect differs from any other, and
/// tests the scores that `yaml`'s learner makes of one half on the other.
pub fn p_values(table: &Table, treatment: &str, yaml: &str, permutation: u64) -> Result<PValues, CausalError> {
    let seed = Seed::new(permutation).stream(Stream::Permutation);
    let n = table.n_rows();
    let mut order: Vec<u32> = (0..n as u32).collect();
    order.sort_by_key(|&row| seed.child(0).hash(u64::from(row)));
    let mut permuted = table.clone();
    let names = permuted.names().to_vec();
    let values = match permuted.take(treatment)? {
        Column::Number(values) => Column::Number(order.iter().map(|&row| values[row as usize]).collect()),
        Column::Category { codes, levels } => {
            Column::Category { codes: order.iter().map(|&row| codes[row as usize]).collect(), levels }
        }
    };
    permuted.push(treatment, values)?;
    let config = Config::from_yaml(yaml, "null.yaml", &[])?.check(&names)?;
    // Halves by another hash, so that they have nothing to do with the permutation.
    let (first, second): (Vec<u32>, Vec<u32>) =
        (0..n as u32).partition(|&row| seed.child(1).hash(u64::from(row)) >> 63 == 0);
    let half = |rows: &[u32]| config.dataset(permuted.subset(rows), rows.iter().map(|&row| u64::from(row)).collect());
    let model = train(&config, &half(&first)?, &Silent)?.model;
    let data = half(&second)?;
    let effect = model.predict_effects(&model.encode(&data.raw)?, &data.raw)?.remove(0).cate.remove(0);
    let folds = config.folds(&data)?;
    let fitted = nuisance::fit_nuisances(&data, &folds, &config.config().nuisance, config.seed(), &Silent)?;
    let (means, p) = (&fitted.means[0], &fitted.propensity[1]);
    let outcome = &data.outcomes[0].values;
    let codes = &data.treatment.codes;
    let share: Vec<f64> = p.to_vec();
    let mean: Vec<f64> =
        share.iter().enumerate().map(|(i, p)| p * means[1].get(i) + (1.0 - p) * means[0].get(i)).collect();
    let gamma: Vec<f64> = (0..outcome.len())
        .map(|i| {
            let (control, treated) = (means[0].get(i), means[1].get(i));
            let correction = match codes[i] {
                0 => -(outcome[i] - control) / (1.0 - share[i]),
                _ => (outcome[i] - treated) / share[i],
            };
            treated - control + correction
        })
        .collect();
    let test = calibration_test(&Residuals {
        outcome,
        outcome_hat: &mean,
        treatment: &codes.iter().map(|&code| f64::from(code)).collect::<Vec<f64>>(),
        treatment_hat: &share,
        effect_hat: &effect,
        weights: None,
        clusters: None,
    })?;
    let scored = Scored { gamma: Some(&gamma), row_ids: Some(&data.row_ids), ..Scored::new(&effect, codes, outcome) };
    let options = EvaluateOptions { bootstrap: 200, seed: seed.child(2), ..EvaluateOptions::default() };
    let metrics = evaluate(&scored, &options)?.metrics;
    let p_value = |name: &str| metrics.get(name).and_then(Estimate::p_value);
    Ok(PValues { calibration: test.p_differential_two_sided, autoc: p_value("rate_autoc"), qini: p_value("rate_qini") })
}
