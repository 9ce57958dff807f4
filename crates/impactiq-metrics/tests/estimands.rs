//! Averages over target groups: against hand-made answers, and their intervals' coverage.

use impactiq_data::Seed;
use impactiq_metrics::Estimate;
use impactiq_metrics::averages::{ArmNuisances, Sample, aipw_scores, mean_score};
use impactiq_metrics::estimands::{Comparison, Estimand, aipw, cuped, ipw, tmle};

const ALL: [Estimand; 4] = [Estimand::Ate, Estimand::Att, Estimand::Atc, Estimand::Overlap];

type Method = fn(&Comparison<'_>, Estimand) -> Estimate;

struct Draw {
    y: Vec<f64>,
    arm: Vec<u8>,
    mean: [Vec<f64>; 2],
    p: [Vec<f64>; 2],
}

/// x uniform, p = 0.2 + 0.6x, μ₀ = x², effect 1 + 2x; outcomes lie in [0, 5] or are 0/1.
fn draw(seed: u64, n: usize, binary: bool) -> Draw {
    let uniform = |stream: u64, i: usize| Seed::new(seed).child(stream).uniform(i as u64);
    let x: Vec<f64> = (0..n).map(|i| uniform(1, i)).collect();
    let p: Vec<f64> = x.iter().map(|x| 0.2 + 0.6 * x).collect();
    let arm: Vec<u8> = (0..n).map(|i| u8::from(uniform(2, i) < p[i])).collect();
    let scale = if binary { 0.2 } else { 1.0 };
    let control: Vec<f64> = x.iter().map(|x| scale * (0.5 + x * x)).collect();
    let treated: Vec<f64> = x.iter().zip(&control).map(|(x, c)| c + scale * (1.0 + 2.0 * x)).collect();
    let y = (0..n)
        .map(|i| {
            let mean = if arm[i] == 1 { treated[i] } else { control[i] };
            if binary { f64::from(u8::from(uniform(3, i) < mean)) } else { mean + uniform(3, i) - 0.5 }
        })
        .collect();
    Draw { y, arm, mean: [control, treated], p: [p.iter().map(|p| 1.0 - p).collect(), p] }
}

/// ∫ h(x)(1 + 2x) dx / ∫ h(x) dx over [0, 1], p = 0.2 + 0.6x.
fn truth(estimand: Estimand, binary: bool) -> f64 {
    let n = 200_000;
    let (mut top, mut bottom) = (0.0, 0.0);
    for i in 0..n {
        let x = (f64::from(i) + 0.5) / f64::from(n);
        let p = 0.2 + 0.6 * x;
        let h = match estimand {
            Estimand::Ate => 1.0,
            Estimand::Att => p,
            Estimand::Atc => 1.0 - p,
            Estimand::Overlap => p * (1.0 - p),
        };
        top += h * (1.0 + 2.0 * x);
        bottom += h;
    }
    top / bottom * if binary { 0.2 } else { 1.0 }
}

fn compare<'a>(draw: &'a Draw, mean: &'a [Vec<f64>; 2]) -> Comparison<'a> {
    Comparison {
        sample: Sample { outcome: &draw.y, arm: &draw.arm, contrast: 1, weights: None, clusters: None },
        nuisances: ArmNuisances {
            mean_treated: &mean[1],
            mean_control: &mean[0],
            p_treated: &draw.p[1],
            p_control: &draw.p[0],
        },
    }
}

#[test]
fn intervals_hold_the_target_groups_effect_whatever_the_outcome_model() {
    let draws = 400;
    for binary in [false, true] {
        for (estimand, name, method) in ALL.iter().flat_map(|&estimand| {
            let methods: [(&str, Method); 3] = [("ipw", ipw), ("aipw", aipw), ("tmle", tmle)];
            methods.map(move |(name, method)| (estimand, name, method))
        }) {
            if name == "tmle" && estimand == Estimand::Overlap {
                continue;
            }
            let (mut covered, mut errors, mut expected) = (0, 0.0, 0.0);
            for seed in 0..draws {
                let draw = draw(seed, 500, binary);
                // A wrong outcome model: the probabilities carry the answer.
                let wrong = [vec![0.3; 500], vec![0.4; 500]];
                let estimate = method(&compare(&draw, &wrong), estimand);
                let gap = estimate.value().unwrap() - truth(estimand, binary);
                covered += u32::from((gap / estimate.std_error().unwrap()).abs() < 1.96);
                errors += gap * gap;
                expected += estimate.std_error().unwrap().powi(2);
            }
            let share = f64::from(covered) / draws as f64;
            // Binomial noise of 400 draws is 1.1 points; weights taken as known err to the safe side.
            assert!((0.915..0.99).contains(&share), "{estimand:?} {name} binary {binary}: {share}");
            let ratio = (expected / errors).sqrt();
            assert!((0.88..1.25).contains(&ratio), "{estimand:?} {name} binary {binary}: error ratio {ratio}");
        }
    }
}

#[test]
fn targeted_predictions_solve_the_score_and_stay_in_range() {
    for estimand in [Estimand::Ate, Estimand::Att, Estimand::Atc] {
        let draw = draw(7, 800, true);
        // With the truth as first prediction targeting hardly moves anything.
        let (a, b) = (aipw(&compare(&draw, &draw.mean), estimand), tmle(&compare(&draw, &draw.mean), estimand));
        let gap = (a.value().unwrap() - b.value().unwrap()).abs();
        assert!(gap < 0.15 * a.std_error().unwrap(), "{estimand:?}: {gap}");
        // Weights this uneven push AIPW out of the outcome's range; targeted means cannot leave it.
        let extreme = [vec![0.999; 800], vec![0.999; 800]];
        let value = tmle(&compare(&draw, &extreme), estimand).value().unwrap();
        assert!((-1.0..=1.0).contains(&value));
    }
    let flat = Draw { y: vec![1.0; 10], ..draw(1, 10, true) };
    assert!(tmle(&compare(&flat, &flat.mean), Estimand::Ate).reason().is_some());
}

#[test]
fn scores_on_everybody_are_those_of_the_averages() {
    let draw = draw(3, 400, false);
    let data = compare(&draw, &draw.mean);
    let scores = aipw_scores(&draw.y, &draw.arm, 1, &data.nuisances);
    let (old, new) = (mean_score(&scores, None, None), aipw(&data, Estimand::Ate));
    assert!((old.value().unwrap() - new.value().unwrap()).abs() < 1e-12);
    assert!((old.std_error().unwrap() - new.std_error().unwrap()).abs() < 1e-12);
}

#[test]
fn swapping_the_arms_flips_signs_and_target_groups() {
    let first = draw(5, 300, false);
    let swapped = Draw {
        y: first.y.clone(),
        arm: first.arm.iter().map(|a| 1 - a).collect(),
        mean: [first.mean[1].clone(), first.mean[0].clone()],
        p: [first.p[1].clone(), first.p[0].clone()],
    };
    for method in [ipw, aipw, tmle] as [Method; 3] {
        for (one, other) in [
            (Estimand::Ate, Estimand::Ate),
            (Estimand::Att, Estimand::Atc),
            (Estimand::Atc, Estimand::Att),
            (Estimand::Overlap, Estimand::Overlap),
        ] {
            let a = method(&compare(&first, &first.mean), one);
            let b = method(&compare(&swapped, &swapped.mean), other);
            let (Some(a), Some(b)) = (a.value(), b.value()) else { continue };
            assert!((a + b).abs() < 1e-9, "{one:?}: {a} {b}");
        }
    }
}

#[test]
fn a_row_of_weight_two_is_two_rows() {
    let one = draw(11, 200, false);
    let weights: Vec<f64> = (0..200).map(|i| if i < 50 { 2.0 } else { 1.0 }).collect();
    let twice = |v: &[f64]| -> Vec<f64> { v.iter().chain(&v[..50]).copied().collect() };
    let two = Draw {
        y: twice(&one.y),
        arm: one.arm.iter().chain(&one.arm[..50]).copied().collect(),
        mean: [twice(&one.mean[0]), twice(&one.mean[1])],
        p: [twice(&one.p[0]), twice(&one.p[1])],
    };
    for method in [ipw, aipw, tmle] as [Method; 3] {
        for estimand in ALL {
            let mut data = compare(&one, &one.mean);
            data.sample.weights = Some(&weights);
            let (a, b) = (method(&data, estimand).value(), method(&compare(&two, &two.mean), estimand).value());
            let (Some(a), Some(b)) = (a, b) else { continue };
            assert!((a - b).abs() < 1e-10, "{estimand:?}");
        }
    }
}

#[test]
fn probabilities_out_of_range_and_missing_arms_have_no_answer() {
    let good = draw(2, 50, false);
    let mut bad = draw(2, 50, false);
    bad.p[1][4] = 0.0;
    assert!(ipw(&compare(&bad, &good.mean), Estimand::Ate).reason().unwrap().contains("probability"));
    let nobody = Draw { arm: vec![0; 50], ..draw(2, 50, false) };
    assert_eq!(aipw(&compare(&nobody, &good.mean), Estimand::Att).reason(), Some("no treated rows"));
}

#[test]
fn cuped_takes_the_covariates_share_of_the_variance_away() {
    let draw = draw(4, 2000, false);
    let x: Vec<f64> = draw.p[1].clone();
    let sample = compare(&draw, &draw.mean).sample;
    let trial: Vec<u8> = (0..2000).map(|i| u8::from(Seed::new(8).uniform(i) < 0.5)).collect();
    let y: Vec<f64> = (0..2000).map(|i| 10.0 * x[i] + f64::from(trial[i]) + 0.1 * draw.y[i]).collect();
    let sample = Sample { outcome: &y, arm: &trial, ..sample };
    let (plain, adjusted) = (impactiq_metrics::averages::difference_in_means(&sample), cuped(&sample, &[x.as_slice()]));
    assert!(adjusted.std_error().unwrap() < 0.2 * plain.std_error().unwrap());
    assert!((adjusted.value().unwrap() - 1.0).abs() < 4.0 * adjusted.std_error().unwrap());
}
