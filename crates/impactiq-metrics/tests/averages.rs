//! Averages: against explicit regressions, and their intervals' coverage of a known effect.

use impactiq_data::Seed;
use impactiq_metrics::averages::*;
use impactiq_metrics::least_squares::{Penalty, Regression};
use impactiq_metrics::robust::Covariance;

/// Standard normal draws by Box and Muller's method from counter hashes.
fn normals(seed: Seed, n: usize) -> Vec<f64> {
    (0..n as u64)
        .map(|i| {
            let (u, v) = (1.0 - seed.uniform(2 * i), seed.uniform(2 * i + 1));
            (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        })
        .collect()
}

struct Draw {
    outcome: Vec<f64>,
    arm: Vec<u8>,
    covariate: Vec<f64>,
    clusters: Vec<u32>,
}

/// Outcome 1 + x + cluster effect + arm · (0.5 + x), x standard normal: the effect is 0.5.
fn draw(seed: Seed, n: usize, n_clusters: u32, p: f64, by_cluster: bool) -> Draw {
    let covariate = normals(seed.child(1), n);
    let noise = normals(seed.child(2), n);
    let level = normals(seed.child(3), n_clusters as usize);
    // Unequal clusters: the first ones are drawn three times as often.
    let clusters: Vec<u32> = (0..n as u64)
        .map(|i| {
            let u = seed.child(4).uniform(i);
            ((u * u * f64::from(n_clusters)) as u32).min(n_clusters - 1)
        })
        .collect();
    let coin = |key: u64| u8::from(seed.child(5).uniform(key) < p);
    let arm: Vec<u8> = (0..n).map(|i| coin(if by_cluster { u64::from(clusters[i]) } else { i as u64 })).collect();
    let effect = |i: usize| f64::from(arm[i]) * (0.5 + covariate[i]);
    let outcome =
        (0..n).map(|i| 1.0 + covariate[i] + 0.5 * level[clusters[i] as usize] + effect(i) + noise[i]).collect();
    Draw { outcome, arm, covariate, clusters }
}

fn sample<'a>(draw: &'a Draw, clustered: bool) -> Sample<'a> {
    Sample {
        outcome: &draw.outcome,
        arm: &draw.arm,
        contrast: 1,
        weights: None,
        clusters: clustered.then_some(&draw.clusters[..]),
    }
}

fn covers(estimate: &impactiq_metrics::Estimate, truth: f64) -> bool {
    estimate.lower().unwrap() <= truth && truth <= estimate.upper().unwrap()
}

#[test]
fn lin_equals_the_fully_interacted_regression() {
    let d = draw(Seed::new(3), 300, 20, 0.4, false);
    let mean = d.covariate.iter().sum::<f64>() / 300.0;
    let t: Vec<f64> = d.arm.iter().map(|&a| f64::from(a)).collect();
    let x: Vec<f64> = d.covariate.iter().map(|x| x - mean).collect();
    let tx: Vec<f64> = t.iter().zip(&x).map(|(t, x)| t * x).collect();
    let columns: [&[f64]; 3] = [&t, &x, &tx];
    let regression =
        Regression { columns: &columns, outcome: &d.outcome, weights: None, clusters: None, intercept: true };
    let model = regression.fit(Penalty::None).unwrap();
    let hc2 = regression.contributions(&model, &[0.0, 1.0, 0.0, 0.0], Covariance::Hc2).unwrap();
    let ours = lin(&sample(&d, false), &[&d.covariate]);
    assert!((ours.value().unwrap() - model.coefficients[0]).abs() < 1e-10);
    // On top of HC2: the covariate mean's own sampling, with the exact cross term.
    let full: f64 =
        hc2.values.iter().zip(&x).map(|(v, x)| (v + model.coefficients[2] * x / 300.0).powi(2)).sum::<f64>().sqrt();
    assert!((ours.std_error().unwrap() / full - 1.0).abs() < 1e-9);
    assert!(full > hc2.variance().sqrt());
}

#[test]
fn clustered_difference_equals_cr2_of_the_regression_on_the_arm() {
    let d = draw(Seed::new(8), 200, 15, 0.5, false);
    let t: Vec<f64> = d.arm.iter().map(|&a| f64::from(a)).collect();
    let w: Vec<f64> = (0..200u64).map(|i| 0.5 + Seed::new(1).uniform(i)).collect();
    let columns: [&[f64]; 1] = [&t];
    let regression = Regression {
        columns: &columns,
        outcome: &d.outcome,
        weights: Some(&w),
        clusters: Some(&d.clusters),
        intercept: true,
    };
    let model = regression.fit(Penalty::None).unwrap();
    let cr2 = regression.contrast(&model, &[0.0, 1.0], Covariance::Cr2).unwrap();
    let ours = difference_in_means(&Sample { weights: Some(&w), ..sample(&d, true) });
    let close = |a: Option<f64>, b: Option<f64>| (a.unwrap() - b.unwrap()).abs() < 1e-9;
    assert!(close(ours.value(), cr2.value()) && close(ours.std_error(), cr2.std_error()), "{ours:?} {cr2:?}");
    assert!(close(ours.lower(), cr2.lower()), "degrees of freedom differ: {ours:?} {cr2:?}");
    let without = lin(&Sample { weights: Some(&w), ..sample(&d, true) }, &[]);
    assert!(close(ours.std_error(), without.std_error()));
}

#[test]
fn missing_covariates_are_imputed_and_marked() {
    let mut d = draw(Seed::new(4), 400, 20, 0.5, false);
    let full = lin(&sample(&d, false), &[&d.covariate]);
    (0..400).step_by(7).for_each(|i| d.covariate[i] = f64::NAN);
    let holes = lin(&sample(&d, false), &[&d.covariate, &d.covariate, &vec![1.0; 400]]);
    let plain = difference_in_means(&sample(&d, false));
    assert!(holes.std_error().unwrap() < plain.std_error().unwrap());
    assert!(holes.std_error().unwrap() > full.std_error().unwrap());
}

#[test]
fn undefined_averages_say_why() {
    let none =
        difference_lift(&Sample { outcome: &[1.0, 2.0], arm: &[1, 1], contrast: 1, weights: None, clusters: None });
    assert_eq!(none.ate.reason(), Some("no control rows"));
    let sample = Sample { outcome: &[1.0, 2.0], arm: &[1, 0], contrast: 1, weights: None, clusters: None };
    let two = difference_in_means(&sample);
    assert_eq!((two.value(), two.std_error()), (Some(-1.0), None));
    assert!(lin(&sample, &[&[1.0, 2.0]]).reason().is_some());
    assert_eq!(mean_score(&[], None, None).reason(), Some("no rows"));
    assert_eq!(mean_score(&[1.0, 2.0], None, Some(&[3, 3])).std_error(), None);
    let lift = difference_lift(&Sample { outcome: &[1.0, 2.0, 0.0, 0.0], arm: &[1, 1, 0, 0], ..sample });
    assert_eq!(lift.relative.reason(), Some("the control mean is not positive"));
}

#[test]
fn fieller_falls_back_to_delta_only_when_the_control_mean_is_unclear() {
    let d = draw(Seed::new(11), 2_000, 50, 0.5, false);
    let lift = difference_lift(&sample(&d, false));
    assert_eq!(lift.relative_method, Some(RelativeMethod::Fieller));
    let expected = lift.ate.value().unwrap() / lift.control_mean.value().unwrap();
    assert!((lift.relative.value().unwrap() - expected).abs() < 1e-12);
    let outcome: Vec<f64> =
        d.outcome.iter().enumerate().map(|(i, y)| if d.arm[i] == 0 { (y - 1.0) * 3.0 + 0.05 } else { *y }).collect();
    let shaky = difference_lift(&Sample { outcome: &outcome, ..sample(&d, false) });
    if shaky.control_mean.value().unwrap() > 0.0 {
        assert_eq!(shaky.relative_method, Some(RelativeMethod::Delta));
    }
    assert!(
        (lift.incremental.value().unwrap()
            - lift.ate.value().unwrap() * d.arm.iter().filter(|&&a| a == 1).count() as f64)
            .abs()
            < 1e-9
    );
}

/// Coverage over `replications` draws; three binomial standard errors around 95 %.
fn assert_coverage(name: &str, replications: u64, interval: impl Fn(Seed) -> bool) {
    let hits = (0..replications).filter(|&r| interval(Seed::new(2_024).child(r))).count();
    let coverage = hits as f64 / replications as f64;
    let slack = 3.0 * (0.95f64 * 0.05 / replications as f64).sqrt();
    println!("{name}: coverage {:.2} %", 100.0 * coverage);
    assert!((coverage - 0.95).abs() < slack, "{name}: coverage {coverage} is outside 0.95 ± {slack}");
}

#[test]
fn intervals_of_the_difference_cover_the_truth() {
    assert_coverage("difference", 2_000, |seed| {
        let d = draw(seed, 300, 30, 0.3, false);
        covers(&difference_in_means(&sample(&d, false)), 0.5)
    });
}

#[test]
fn intervals_of_lin_cover_the_truth_under_heterogeneous_effects() {
    assert_coverage("lin", 2_000, |seed| {
        let d = draw(seed, 300, 30, 0.3, false);
        covers(&lin(&sample(&d, false), &[&d.covariate]), 0.5)
    });
}

#[test]
fn intervals_with_a_hundred_unequal_clusters_cover_the_truth() {
    assert_coverage("difference, assigned by cluster", 2_000, |seed| {
        let d = draw(seed, 1_000, 100, 0.3, true);
        covers(&difference_in_means(&sample(&d, true)), 0.5)
    });
    assert_coverage("difference, assigned within clusters", 2_000, |seed| {
        let d = draw(seed, 1_000, 100, 0.3, false);
        covers(&difference_in_means(&sample(&d, true)), 0.5)
    });
    assert_coverage("lin, assigned by cluster", 2_000, |seed| {
        let d = draw(seed, 1_000, 100, 0.3, true);
        covers(&lin(&sample(&d, true), &[&d.covariate]), 0.5)
    });
}

#[test]
fn doubly_robust_scores_agree_with_hand_arithmetic_under_a_wrong_outcome_model() {
    // Three arms; only the row's own arm gets a correction: (y − μ) / p, added to its mean.
    let (outcome, arm) = ([5.0, 3.0, 7.0], [1, 0, 2]);
    let nuisances = ArmNuisances {
        mean_treated: &[1.0, 2.0, 4.0],
        mean_control: &[0.5, 1.0, 2.0],
        p_treated: &[0.5, 0.5, 0.2],
        p_control: &[0.25, 0.25, 0.4],
    };
    // 1 + (5 − 1) / ½ − 0.5;  2 − (1 + (3 − 1) / ¼);  4 − 2.
    assert_eq!(aipw_scores(&outcome, &arm, 1, &nuisances), [8.5, -7.0, 2.0]);
}

#[test]
fn a_declared_probability_makes_up_for_a_hopeless_outcome_model() {
    let d = draw(Seed::new(71), 40_000, 400, 0.3, false);
    let n = d.outcome.len();
    let (wrong_treated, wrong_control) = (vec![4.0; n], vec![-3.0; n]);
    let (p_treated, p_control) = (vec![0.3; n], vec![0.7; n]);
    let nuisances = ArmNuisances {
        mean_treated: &wrong_treated,
        mean_control: &wrong_control,
        p_treated: &p_treated,
        p_control: &p_control,
    };
    let estimate = mean_score(&aipw_scores(&d.outcome, &d.arm, 1, &nuisances), None, Some(&d.clusters));
    let (value, std_error) = (estimate.value().unwrap(), estimate.std_error().unwrap());
    assert!((value - 0.5).abs() < 4.0 * std_error && std_error < 0.1, "{value} ± {std_error}");
}

#[test]
fn intervals_of_doubly_robust_scores_cover_the_truth() {
    for clustered in [false, true] {
        assert_coverage(if clustered { "aipw, clusters" } else { "aipw" }, 2_000, |seed| {
            let d = draw(seed, 1_000, 100, 0.3, clustered);
            let mean_treated: Vec<f64> = d.covariate.iter().map(|x| 1.5 + 2.0 * x).collect();
            let mean_control: Vec<f64> = d.covariate.iter().map(|x| 1.0 + x).collect();
            let (p_treated, p_control) = (vec![0.3; 1_000], vec![0.7; 1_000]);
            let nuisances = ArmNuisances {
                mean_treated: &mean_treated,
                mean_control: &mean_control,
                p_treated: &p_treated,
                p_control: &p_control,
            };
            let scores = aipw_scores(&d.outcome, &d.arm, 1, &nuisances);
            covers(&mean_score(&scores, None, clustered.then_some(&d.clusters[..])), 0.5)
        });
    }
}

#[test]
fn arm_swap_flips_the_sign_and_weights_are_repetitions() {
    let d = draw(Seed::new(5), 120, 10, 0.5, false);
    let swapped: Vec<u8> = d.arm.iter().map(|a| 1 - a).collect();
    let a = difference_in_means(&sample(&d, true));
    let b = difference_in_means(&Sample { arm: &swapped, ..sample(&d, true) });
    assert!((a.value().unwrap() + b.value().unwrap()).abs() < 1e-12);
    assert!((a.std_error().unwrap() - b.std_error().unwrap()).abs() < 1e-12);
    let w: Vec<f64> = (0..120).map(|i| f64::from(1 + i % 2)).collect();
    let twice: Vec<usize> = (0..120).flat_map(|i| std::iter::repeat_n(i, 1 + i % 2)).collect();
    let pick = |v: &[f64]| twice.iter().map(|&i| v[i]).collect::<Vec<f64>>();
    let (y2, x2) = (pick(&d.outcome), pick(&d.covariate));
    let arm2: Vec<u8> = twice.iter().map(|&i| d.arm[i]).collect();
    let weighted = lin(&Sample { weights: Some(&w), ..sample(&d, false) }, &[&d.covariate]);
    let repeated = lin(&Sample { outcome: &y2, arm: &arm2, contrast: 1, weights: None, clusters: None }, &[&x2]);
    assert!((weighted.value().unwrap() - repeated.value().unwrap()).abs() < 1e-10);
}
