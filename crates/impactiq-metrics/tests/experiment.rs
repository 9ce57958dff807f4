//! Health checks: known statistics, false-alarm rates and real faults.

use impactiq_data::Seed;
use impactiq_metrics::experiment::*;

fn uniforms(seed: u64, n: usize) -> Vec<f64> {
    (0..n as u64).map(|i| Seed::new(seed).uniform(i)).collect()
}

fn coin(seed: u64, n: usize, p: f64) -> Vec<u8> {
    uniforms(seed, n).into_iter().map(|u| u8::from(u < p)).collect()
}

fn arms(arm: &[u8]) -> Arms<'_> {
    Arms { arm, contrast: 1, weights: None, clusters: None }
}

#[test]
fn srm_finds_a_mismatch_and_passes_a_match() {
    assert!(srm(&[821_588, 815_482], &[0.5, 0.5]).unwrap().p < 1e-5);
    assert!(srm(&[700, 2_100, 702], &[1.0, 3.0, 1.0]).unwrap().p > 0.5);
    assert!(srm(&[0, 0], &[0.5, 0.5]).is_err());
    assert!(srm(&[1, 2], &[0.5, 0.0]).is_err());
    assert!(srm(&[1, 2], &[1.0]).is_err());
    assert_eq!(srm(&[0, 1_000_000_000], &[0.5, 0.5]).unwrap().p, 0.0);
}

#[test]
fn smd_matches_its_definition() {
    let arm = [1, 1, 1, 0, 0, 0, 2];
    let x = [1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 99.0];
    let result = imbalance(Covariate::Number(&x), &arms(&arm)).unwrap();
    assert!((result.smd - 1.0 / (2.0f64 / 3.0).sqrt()).abs() < 1e-12);
    assert_eq!(result.part, Part::Mean);
    let levels = [0, 0, 1, 1, 1, 1, 0];
    let result = imbalance(Covariate::Category(&levels), &arms(&arm)).unwrap();
    let expected = (2.0 / 3.0) / ((2.0 / 9.0) / 2.0f64).sqrt();
    assert!((result.smd.abs() - expected).abs() < 1e-12);
}

#[test]
fn missing_values_are_part_of_the_balance() {
    let n = 20_000;
    let arm = coin(1, n, 0.5);
    let mut x = uniforms(2, n);
    (0..n).for_each(|i| {
        x[i] = if Seed::new(3).uniform(i as u64) < 0.05 + 0.05 * f64::from(arm[i]) { f64::NAN } else { x[i] }
    });
    let result = imbalance(Covariate::Number(&x), &arms(&arm)).unwrap();
    assert_eq!(result.part, Part::Missing);
    assert!(result.p < 1e-20 && result.smd > 0.1);
    assert!((result.missing_treated - 0.1).abs() < 0.01 && (result.missing_control - 0.05).abs() < 0.01);
    let codes: Vec<u32> = x.iter().map(|v| if v.is_nan() { MISSING } else { (v * 3.0) as u32 }).collect();
    let result = imbalance(Covariate::Category(&codes), &arms(&arm)).unwrap();
    assert!(result.p < 1e-20 && result.part == Part::Missing);
}

#[test]
fn the_guard_speaks_for_a_post_treatment_column_and_not_for_chance() {
    let n = 50_000;
    let arm = coin(4, n, 0.85);
    // Exposure can only happen in the treated arm.
    let exposure: Vec<f64> =
        (0..n).map(|i| f64::from(u8::from(arm[i] == 1 && Seed::new(5).uniform(i as u64) < 0.03))).collect();
    assert!(imbalance(Covariate::Number(&exposure), &arms(&arm)).unwrap().is_suspicious(12));
    let flagged = (0..300u64).filter(|&s| {
        let x = uniforms(1_000 + s, n / 10);
        imbalance(Covariate::Number(&x), &arms(&arm[..n / 10])).unwrap().is_suspicious(1)
    });
    assert_eq!(flagged.count(), 0);
    // A column that is the arm itself.
    let copy: Vec<f64> = arm.iter().map(|&a| f64::from(a)).collect();
    let result = imbalance(Covariate::Number(&copy), &arms(&arm)).unwrap();
    assert!(result.p == 0.0 && result.smd == 1e3 && result.is_suspicious(1_000));
    let constant = vec![3.3; n];
    let result = imbalance(Covariate::Number(&constant), &arms(&arm)).unwrap();
    assert_eq!((result.p, result.smd), (1.0, 0.0));
}

/// Share of p-values below 5 % over many null draws, within four binomial errors.
fn assert_level(name: &str, p_value: impl Fn(u64) -> f64) {
    let n = 1_000;
    let alarms = (0..n).filter(|&s| p_value(s) < 0.05).count() as f64 / n as f64;
    println!("{name}: false alarms {:.3}", alarms);
    assert!((alarms - 0.05).abs() < 4.0 * (0.05f64 * 0.95 / n as f64).sqrt(), "{name}: {alarms}");
}

#[test]
fn tests_hold_their_level_when_assignment_is_by_lot() {
    let n = 800;
    assert_level("mean", |s| {
        imbalance(Covariate::Number(&uniforms(s, n)), &arms(&coin(s + 1_000_000, n, 0.3))).unwrap().p
    });
    assert_level("levels", |s| {
        let codes: Vec<u32> = uniforms(s, n).iter().map(|u| (u * 5.0) as u32).collect();
        imbalance(Covariate::Category(&codes), &arms(&coin(s + 1_000_000, n, 0.3))).unwrap().p
    });
    assert_level("joint", |s| {
        let (a, b) = (uniforms(s, n), uniforms(s + 5_000_000, n));
        let codes: Vec<u32> = uniforms(s + 7_000_000, n).iter().map(|u| (u * 4.0) as u32).collect();
        let covariates = [Covariate::Number(&a), Covariate::Number(&b), Covariate::Category(&codes)];
        joint_balance(&covariates, &arms(&coin(s + 1_000_000, n, 0.3))).unwrap().p
    });
    assert_level("joint, assigned by cluster", |s| {
        let clusters: Vec<u32> = (0..n as u32).map(|i| i / 8).collect();
        let level = uniforms(s + 9_000_000, n / 8);
        let a: Vec<f64> = uniforms(s, n).iter().enumerate().map(|(i, u)| u + 2.0 * level[i / 8]).collect();
        let by_cluster = coin(s + 1_000_000, n / 8, 0.5);
        let arm: Vec<u8> = clusters.iter().map(|&g| by_cluster[g as usize]).collect();
        let arms = Arms { clusters: Some(&clusters), ..arms(&arm) };
        joint_balance(&[Covariate::Number(&a), Covariate::Number(&uniforms(s + 3, n))], &arms).unwrap().p
    });
    assert_level("mean, assigned by cluster", |s| {
        let clusters: Vec<u32> = (0..n as u32).map(|i| i / 8).collect();
        let level = uniforms(s + 9_000_000, n / 8);
        let a: Vec<f64> = clusters.iter().map(|&g| level[g as usize]).collect();
        let by_cluster = coin(s + 1_000_000, n / 8, 0.5);
        let arm: Vec<u8> = clusters.iter().map(|&g| by_cluster[g as usize]).collect();
        imbalance(Covariate::Number(&a), &Arms { clusters: Some(&clusters), ..arms(&arm) }).unwrap().p
    });
}

#[test]
fn the_joint_test_sees_what_single_tests_miss_and_drops_collinear_columns() {
    let n = 4_000;
    let a = uniforms(1, n);
    let b: Vec<f64> = a.iter().map(|a| 1.0 - 2.0 * a).collect();
    let tilt: Vec<u8> = (0..n).map(|i| u8::from(Seed::new(6).uniform(i as u64) < 0.4 + 0.2 * a[i])).collect();
    let result = joint_balance(&[Covariate::Number(&a), Covariate::Number(&b)], &arms(&tilt)).unwrap();
    assert_eq!(result.rank, 1);
    assert!(result.p < 1e-6, "{result:?}");
    assert!(joint_balance(&[Covariate::Number(&a)], &arms(&vec![1; n])).is_err());
    assert_eq!(joint_balance(&[], &arms(&tilt)).unwrap().p, 1.0);
}

#[test]
fn power_and_minimal_effect_belong_together() {
    let std_error = std_error_of_difference([1.0, 2.0], [400.0, 900.0]);
    let mde = minimal_detectable_effect(std_error, 0.05, 0.8);
    assert!((power(mde, std_error, 0.05) - 0.8).abs() < 1e-4);
    assert!((power(0.0, 1.0, 0.05) - 0.05).abs() < 1e-9);
}
