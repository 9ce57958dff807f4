//! Calibration and policy values on data with a known effect.

use impactiq_data::Seed;
use impactiq_metrics::calibration::*;
use impactiq_metrics::policy_value::*;
use impactiq_metrics::scored::Scored;

struct Draw {
    effect: Vec<f64>,
    outcome: Vec<f64>,
    treated: Vec<u8>,
    gamma: Vec<f64>,
}

/// Effects uniform on (−0.5, 1.5), control outcome noise of variance 1/3, p = 0.4; doubly
/// robust scores with the true nuisances.
fn draw(seed: u64, n: usize) -> Draw {
    let seed = Seed::new(seed);
    let u = |stream: u64, i: usize| seed.child(stream).uniform(i as u64);
    let effect: Vec<f64> = (0..n).map(|i| 2.0 * u(1, i) - 0.5).collect();
    let treated: Vec<u8> = (0..n).map(|i| u8::from(u(2, i) < 0.4)).collect();
    let noise: Vec<f64> = (0..n).map(|i| 2.0 * u(3, i) - 1.0).collect();
    let outcome = (0..n).map(|i| noise[i] + f64::from(treated[i]) * effect[i]).collect();
    let gamma = (0..n).map(|i| effect[i] + if treated[i] == 1 { noise[i] / 0.4 } else { -noise[i] / 0.6 }).collect();
    Draw { effect, outcome, treated, gamma }
}

fn scored<'a>(draw: &'a Draw, score: &'a [f64]) -> Scored<'a> {
    Scored { gamma: Some(&draw.gamma), ..Scored::new(score, &draw.treated, &draw.outcome) }
}

fn within(estimate: &impactiq_metrics::Estimate, truth: f64, errors: f64) {
    let gap = (estimate.value().unwrap() - truth).abs();
    assert!(gap < errors * estimate.std_error().unwrap(), "{estimate:?} is far from {truth}");
}

#[test]
fn a_calibrated_score_has_slope_one_and_a_stretched_one_its_inverse() {
    let d = draw(1, 20_000);
    let blp = best_linear_predictor(&scored(&d, &d.effect)).unwrap();
    within(&blp.slope, 1.0, 3.5);
    within(&blp.average, 0.5, 3.5);
    assert!(blp.p_slope.unwrap() < 1e-10);
    let stretched: Vec<f64> = d.effect.iter().map(|e| 2.0 * e + 3.0).collect();
    within(&best_linear_predictor(&scored(&d, &stretched)).unwrap().slope, 0.5, 3.5);
    let flat = best_linear_predictor(&scored(&d, &vec![1.0; 20_000])).unwrap();
    assert!(flat.slope.reason().unwrap().contains("no heterogeneity"));
}

#[test]
fn groups_find_their_effects_and_the_error_of_levels() {
    let d = draw(2, 20_000);
    let sorted = scored(&d, &d.effect).sort().unwrap();
    let good = gates(&sorted, 4).unwrap();
    for group in &good.groups {
        within(&group.effect, group.mean_score, 4.0);
        assert!((group.n - 5_000.0).abs() < 1e-6);
    }
    within(&good.most_minus_least, 1.5, 3.5);
    assert!(good.calibration_error.value().unwrap().abs() < 0.01);
    let shifted: Vec<f64> = d.effect.iter().map(|e| e + 1.0).collect();
    let bad = gates(&scored(&d, &shifted).sort().unwrap(), 4).unwrap();
    assert!((bad.calibration_error.value().unwrap() - 1.0).abs() < 0.1);
    assert!(gates(&sorted, 1).is_err());
    let flat = vec![0.0; 20_000];
    assert!(gates(&scored(&d, &flat).sort().unwrap(), 4).unwrap().groups.is_empty());
}

#[test]
fn the_calibration_test_has_coefficients_one_for_the_truth() {
    let d = draw(3, 20_000);
    let outcome_hat: Vec<f64> = d.effect.iter().map(|e| 0.4 * e).collect();
    let treatment: Vec<f64> = d.treated.iter().map(|&t| f64::from(t)).collect();
    let rows = Residuals {
        outcome: &d.outcome,
        outcome_hat: &outcome_hat,
        treatment: &treatment,
        treatment_hat: &vec![0.4; 20_000],
        effect_hat: &d.effect,
        weights: None,
        clusters: None,
    };
    let test = calibration_test(&rows).unwrap();
    within(&test.mean_prediction, 1.0, 3.5);
    within(&test.differential_prediction, 1.0, 3.5);
    assert!(test.p_differential.unwrap() < 1e-10);
    let flat = calibration_test(&Residuals { effect_hat: &vec![0.5; 20_000], ..rows }).unwrap();
    assert!(flat.differential_prediction.reason().is_some());
    within(&flat.mean_prediction, 1.0, 3.5);
    assert!(calibration_test(&Residuals { effect_hat: &[0.5], ..rows }).is_err());
}

#[test]
fn policy_values_and_profits_match_the_truth() {
    let d = draw(4, 20_000);
    let control: Vec<f64> = vec![0.0; 20_000];
    let arm_scores: [&[f64]; 2] = [&control, &d.gamma];
    let rows =
        PolicyRows { scores: &arm_scores, value_per_outcome: 1.0, costs: &[0.0, 0.2], weights: None, clusters: None };
    let best: Vec<u8> = d.effect.iter().map(|&e| u8::from(e > 0.2)).collect();
    // ∫ max(e − 0.2, 0) over (−0.5, 1.5), density ½.
    within(&policy_value(&rows, &best).unwrap(), 1.3 * 1.3 / 4.0, 3.5);
    let all = vec![1; 20_000];
    within(&policy_difference(&rows, &best, &all).unwrap(), 0.4225 - 0.3, 3.5);
    assert!(policy_value(&rows, &vec![2; 20_000]).is_err());
    let economics = Economics { value_per_outcome: 1.0, cost_per_treatment: 0.2 };
    let sorted = scored(&d, &d.effect).sort().unwrap();
    let top = budget_profit(&sorted, 0.25, economics).unwrap();
    // The top quarter has effects above 1: mean 1.25.
    within(&top.per_row, 0.25 * 1.05, 3.5);
    within(&top.incremental_outcomes, 0.25 * 1.25 * 20_000.0, 3.5);
    within(&top.over_random, 0.25 * 0.75 * 20_000.0, 3.5);
    assert!((top.n_targeted - 5_000.0).abs() < 1e-6);
    let everyone = budget_profit(&sorted, 1.0, economics).unwrap();
    let direct = policy_value(&rows, &all).unwrap();
    assert!((everyone.per_row.value().unwrap() - direct.value().unwrap()).abs() < 1e-10);
    assert!(budget_profit(&sorted, 1.5, economics).is_err());
    let exact = threshold_profit(&sorted, 0.2, economics);
    let by_hand = policy_value(&rows, &d.effect.iter().map(|&e| u8::from(e >= 0.2)).collect::<Vec<_>>()).unwrap();
    assert!((exact.per_row.value().unwrap() - by_hand.value().unwrap()).abs() < 1e-10);
}

#[test]
fn a_threshold_chosen_elsewhere_is_free_of_the_winners_curse() {
    // Scores that say nothing, effects that pay nothing: the chosen half looks good on itself.
    let economics = Economics { value_per_outcome: 1.0, cost_per_treatment: 0.5 };
    let (mut own, mut held_out) = (0.0, 0.0);
    for replication in 0..100 {
        let (a, b) = (draw(100 + replication, 400), draw(900 + replication, 400));
        let noise: Vec<f64> = (0..400).map(|i| Seed::new(replication).uniform(i)).collect();
        let (choose, value) = (scored(&a, &noise).sort().unwrap(), scored(&b, &noise).sort().unwrap());
        held_out += held_out_threshold(&choose, &value, economics).per_row.value().unwrap() / 100.0;
        own += held_out_threshold(&choose, &choose, economics).per_row.value().unwrap() / 100.0;
    }
    assert!(own > 0.03, "{own}");
    assert!(held_out.abs() < 0.03, "{held_out}");
}
