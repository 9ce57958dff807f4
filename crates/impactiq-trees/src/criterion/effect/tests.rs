//! Arithmetic of the gradient criterion, by hand and against pseudo-outcomes row by row.

use super::*;
use crate::criterion::summarise;
use impactiq_data::Seed;
use proptest::prelude::*;

const PLAIN: OneContrast = Effect { min_arm_rows: 0, alpha: 0.0, imbalance_penalty: 0.0 };

fn stats<const K: usize, const L: usize>(rows: &[(f64, f64, [f64; K], u8)]) -> EffectStats<K, L> {
    let mut sums = EffectStats::ZERO;
    rows.iter().for_each(|(weight, y, t, arm)| sums.add(*weight, *y, t, *arm));
    sums
}

#[test]
fn one_contrast_agrees_with_hand_arithmetic() {
    // Two strata with effects 2 and −2; t = ±½, so A = Σ t² = 8/4 = 2 and θ = 0.
    let row = |y: f64, treated: bool| (1.0, y, [if treated { 0.5 } else { -0.5 }], u8::from(treated));
    let left: EffectStats<1, 8> = stats(&[row(1.0, true), row(1.0, true), row(-1.0, false), row(-1.0, false)]);
    let right = stats(&[row(-1.0, true), row(-1.0, true), row(1.0, false), row(1.0, false)]);
    assert_eq!((left.effect(), right.effect()), (Some([2.0]), Some([-2.0])));
    let mut total = left;
    total += right;
    assert_eq!(total.effect(), Some([0.0]));
    let node = PLAIN.node(&total).unwrap();
    // ρ = W A⁻¹ t y = 8/2 · ½ = 2 for each left row: Σρ = 8, gain = 64 (1/4 + 1/4) = 32.
    assert!((PLAIN.gain(&node, &left, &right).unwrap() - 32.0).abs() < 1e-12);
    // Mean ρ of the left is 2 (shrunk by a thousandth of the node's weight).
    assert!((PLAIN.order(&node, &left) - 8.0 / 4.008).abs() < 1e-12);
}

#[test]
fn balance_rules_refuse_thin_children() {
    let row = |treated: bool| (1.0, 0.0, [if treated { 0.5 } else { -0.5 }], u8::from(treated));
    let left: EffectStats<1, 8> = stats(&[row(true), row(false)]);
    let right = stats(&[row(true), row(true), row(true), row(false), row(false), row(false), row(false)]);
    let mut total = left;
    total += right;
    total.0[OUTCOME] += 0.3;
    let rule = |min_arm_rows, alpha| {
        let effect = OneContrast { min_arm_rows, alpha, imbalance_penalty: 0.0 };
        effect.admits(&effect.node(&total).unwrap(), &left)
    };
    assert!(rule(1, 0.0));
    assert!(!rule(2, 0.0));
    // The left keeps ½ of the node's 9/4 − 1/36 = 20/9 units of variation: 22.5 %.
    assert!(rule(1, 0.22) && !rule(1, 0.23));
    let one_armed = stats(&[row(true), row(true)]);
    let node = PLAIN.node(&total).unwrap();
    assert_eq!(PLAIN.gain(&node, &one_armed, &right), None);
    assert!(PLAIN.node(&one_armed).is_none());
}

#[test]
fn the_imbalance_penalty_is_charged_per_variation() {
    let row = |y: f64, treated: bool| (1.0, y, [if treated { 0.5 } else { -0.5 }], u8::from(treated));
    let left: EffectStats<1, 8> = stats(&[row(1.0, true), row(1.0, true), row(-1.0, false), row(-1.0, false)]);
    let right = stats(&[row(-1.0, true), row(1.0, false)]);
    let mut total = left;
    total += right;
    let penalised = OneContrast { imbalance_penalty: 0.7, ..PLAIN };
    let free = PLAIN.gain(&PLAIN.node(&total).unwrap(), &left, &right).unwrap();
    let paid = penalised.gain(&penalised.node(&total).unwrap(), &left, &right).unwrap();
    // Variations: 4 · ¼ = 1 and 2 · ¼ = ½.
    assert!((free - paid - 0.7 * (1.0 + 2.0)).abs() < 1e-12);
}

/// Weight, outcome, contrasts, arm.
type Row<const K: usize> = (f64, f64, [f64; K], u8);

/// The criterion straight from its definition: pseudo-outcomes row by row.
fn by_rows<const K: usize>(rows: &[Row<K>], n_left: usize) -> f64 {
    let weight: f64 = rows.iter().map(|r| r.0).sum();
    let mean = |f: &dyn Fn(&Row<K>) -> f64| rows.iter().map(|r| r.0 * f(r)).sum::<f64>() / weight;
    let (mean_y, mean_t): (f64, [f64; K]) = (mean(&|r| r.1), std::array::from_fn(|k| mean(&|r| r.2[k])));
    let centred = |r: &Row<K>| -> [f64; K] { std::array::from_fn(|k| r.2[k] - mean_t[k]) };
    let a: [[f64; K]; K] = std::array::from_fn(|k| std::array::from_fn(|l| mean(&|r| centred(r)[k] * centred(r)[l])));
    let inverse = invert(a).unwrap();
    let theta = times(&inverse, &std::array::from_fn(|k| mean(&|r| centred(r)[k] * (r.1 - mean_y))));
    let rho = |r: &Row<K>| {
        let t = centred(r);
        let residual = r.1 - mean_y - dot(&t, &theta);
        times(&inverse, &t.map(|t| t * residual))
    };
    let side = |rows: &[Row<K>]| {
        let weight: f64 = rows.iter().map(|r| r.0).sum();
        let sums: [f64; K] = std::array::from_fn(|k| rows.iter().map(|r| r.0 * rho(r)[k]).sum());
        dot(&sums, &sums) / weight
    };
    side(&rows[..n_left]) + side(&rows[n_left..])
}

fn random_rows<const K: usize>(n: usize, seed: u64) -> Vec<Row<K>> {
    let seed = Seed::new(seed);
    (0..n as u64)
        .map(|i| {
            let arm = seed.below(i, K as u64 + 1) as u8;
            let t = std::array::from_fn(|k| f64::from(u8::from(usize::from(arm) == k + 1)) - 1.0 / (K as f64 + 1.0));
            (0.5 + seed.child(1).uniform(i), seed.child(2).uniform(i) * 3.0 - 1.0, t, arm)
        })
        .collect()
}

fn moments_equal_rows<const K: usize, const L: usize>(seed: u64, n_left: usize) {
    let rows = random_rows::<K>(120, seed);
    let criterion = Effect::<K, L> { min_arm_rows: 0, alpha: 0.0, imbalance_penalty: 0.0 };
    let (left, right) = (stats::<K, L>(&rows[..n_left]), stats::<K, L>(&rows[n_left..]));
    let mut total = left;
    total += right;
    let node = criterion.node(&total).unwrap();
    let expected = by_rows(&rows, n_left);
    let found = criterion.gain(&node, &left, &right).unwrap();
    assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
    assert!(node.regression.pseudo_outcome(&total).iter().all(|rho| rho.abs() < 1e-9));
    // The kernel's f32 cells say the same to f32 precision.
    let cells: Vec<EffectCell<K, L>> = rows.iter().map(|(w, y, t, arm)| EffectCell::row(*w, *y, t, *arm)).collect();
    let fast = summarise(&criterion, cells[..n_left].iter());
    assert_eq!(fast.n_rows() as usize, n_left);
    assert!(fast.0.iter().zip(left.0).all(|(a, b)| (a - b).abs() < 1e-4));
}

proptest! {
    #[test]
    fn gains_from_moments_equal_gains_from_pseudo_outcomes(seed in 0u64..10_000, n_left in 40usize..80) {
        moments_equal_rows::<1, 8>(seed, n_left);
        moments_equal_rows::<2, 12>(seed, n_left);
        moments_equal_rows::<3, 20>(seed, n_left);
        moments_equal_rows::<4, 28>(seed, n_left);
    }

    #[test]
    fn swapping_the_arms_keeps_the_gain_and_flips_the_effect(seed in 0u64..10_000) {
        let rows = random_rows::<1>(100, seed);
        let swapped: Vec<_> = rows.iter().map(|&(w, y, [t], arm)| (w, y, [-t], 1 - arm)).collect();
        let run = |rows: &[Row<1>]| {
            let (left, right) = (stats::<1, 8>(&rows[..45]), stats::<1, 8>(&rows[45..]));
            let mut total = left;
            total += right;
            (total.effect().unwrap()[0], PLAIN.gain(&PLAIN.node(&total).unwrap(), &left, &right).unwrap())
        };
        let (a, b) = (run(&rows), run(&swapped));
        prop_assert!((a.0 + b.0).abs() < 1e-9 && (a.1 / b.1 - 1.0).abs() < 1e-9);
    }
}
