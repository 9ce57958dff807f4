//! Arithmetic of the instrumental criterion, by hand and against pseudo-outcomes row by row.

use super::*;
use crate::criterion::effect::{Effect, EffectStats, OneContrast};
use crate::criterion::summarise;
use impactiq_data::Seed;
use proptest::prelude::*;

const PLAIN: Instrument = Instrument { min_arm_rows: 0, alpha: 0.0, imbalance_penalty: 0.0 };

fn stats(rows: &[InstrumentRow]) -> InstrumentStats {
    let mut sums = InstrumentStats::ZERO;
    rows.iter().for_each(|row| sums.add(row));
    sums
}

fn sum(left: InstrumentStats, right: InstrumentStats) -> InstrumentStats {
    let mut total = left;
    total += right;
    total
}

/// An instrument of ±½ that half of the rows obey: `takes` is the treatment, centred by ½.
fn row(outcome: f64, takes: bool, encouraged: bool) -> InstrumentRow {
    let half = |on: bool| if on { 0.5 } else { -0.5 };
    InstrumentRow { weight: 1.0, outcome, treatment: half(takes), instrument: half(encouraged), encouraged }
}

#[test]
fn one_node_agrees_with_hand_arithmetic() {
    // Encouraged: one of two takes it and gains 3; the others never take it.
    let left = stats(&[row(3.0, true, true), row(0.0, false, true), row(0.0, false, false), row(0.0, false, false)]);
    // Here taking it gains −1.
    let right = stats(&[row(-1.0, true, true), row(0.0, false, true), row(0.0, false, false), row(0.0, false, false)]);
    let theta = |sums: &InstrumentStats| Wald::new(sums.moments()).unwrap().theta;
    assert!((theta(&left) - 3.0).abs() < 1e-12 && (theta(&right) + 1.0).abs() < 1e-12);
    let total = sum(left, right);
    // Intent to treat (3 − 1)/4 = ½ over compliance ½.
    assert!((theta(&total) - 1.0).abs() < 1e-12);
    // cov(z, t) = ½ · ½ · ½ = ⅛. On the left, ρ = z (y − ȳ − (t − t̄)) / ⅛ with ȳ = ¼, t̄ = −¼:
    // 4 (3 − ¼ − ¾) = 8, 4 (0 − ¼ + ¼) = 0, −0, −0. Gain 8² (¼ + ¼) = 32.
    let node = PLAIN.node(&total).unwrap();
    assert!((PLAIN.gain(&node, &left, &right).unwrap() - 32.0).abs() < 1e-9);
    assert!((PLAIN.order(&node, &left) - 8.0 / 4.008).abs() < 1e-9);
}

#[test]
fn balance_rules_look_at_the_instrument() {
    let left = stats(&[row(1.0, true, true), row(0.0, false, false)]);
    let right = stats(&[
        row(0.0, true, true),
        row(1.0, true, true),
        row(0.5, true, true),
        row(0.0, false, false),
        row(0.2, false, false),
    ]);
    let total = sum(left, right);
    let asked = |min_arm_rows, alpha| {
        let rule = Instrument { min_arm_rows, alpha, imbalance_penalty: 0.0 };
        rule.node(&total).is_some_and(|node| rule.variation(&node, &left).is_some())
    };
    // Variation of z: ½ on the left, 7/4 − 1/28 = 12/7 in the node: 29.2 %.
    assert!(asked(1, 0.29) && !asked(1, 0.3) && !asked(2, 0.0));
    let free = PLAIN.gain(&PLAIN.node(&total).unwrap(), &left, &right).unwrap();
    let dear = Instrument { imbalance_penalty: 0.01, ..PLAIN };
    let paid = dear.gain(&dear.node(&total).unwrap(), &left, &right).unwrap();
    // Variation on the right: 5/4 − 1/20 = 6/5.
    assert!((free - paid - 0.01 * (2.0 + 5.0 / 6.0)).abs() < 1e-12);
}

#[test]
fn a_node_whose_instrument_moves_nothing_is_a_leaf() {
    // Takes it half of the time, encouraged or not.
    let unmoved = [row(1.0, true, true), row(0.0, false, true), row(1.0, true, false), row(0.0, false, false)];
    assert!(PLAIN.node(&stats(&unmoved)).is_none());
    assert!(PLAIN.node(&stats(&[row(1.0, true, true), row(0.0, true, false)])).is_none());
    assert!(PLAIN.node(&stats(&[row(1.0, true, true), row(0.0, false, true)])).is_none());
    assert!(PLAIN.node(&InstrumentStats::ZERO).is_none());
}

/// The criterion straight from its definition: pseudo-outcomes row by row.
fn by_rows(rows: &[InstrumentRow], n_left: usize) -> f64 {
    let weight: f64 = rows.iter().map(|r| r.weight).sum();
    let mean = |f: &dyn Fn(&InstrumentRow) -> f64| rows.iter().map(|r| r.weight * f(r)).sum::<f64>() / weight;
    let (y, t, z) = (mean(&|r| r.outcome), mean(&|r| r.treatment), mean(&|r| r.instrument));
    let covariance = mean(&|r| (r.instrument - z) * (r.treatment - t));
    let theta = mean(&|r| (r.instrument - z) * (r.outcome - y)) / covariance;
    let rho = |r: &InstrumentRow| (r.instrument - z) * (r.outcome - y - (r.treatment - t) * theta) / covariance;
    let side = |rows: &[InstrumentRow]| {
        let sum: f64 = rows.iter().map(|r| r.weight * rho(r)).sum();
        sum * sum / rows.iter().map(|r| r.weight).sum::<f64>()
    };
    side(&rows[..n_left]) + side(&rows[n_left..])
}

fn random_rows(n: u64, seed: u64) -> Vec<InstrumentRow> {
    let seed = Seed::new(seed);
    (0..n)
        .map(|i| {
            let encouraged = seed.hash(i) & 1 == 1;
            let instrument = f64::from(u8::from(encouraged)) - 0.5;
            let treatment = instrument * 0.6 + seed.child(1).uniform(i) - 0.5;
            let outcome = treatment + seed.child(2).uniform(i) * 3.0 - 1.0;
            InstrumentRow { weight: 0.5 + seed.child(3).uniform(i), outcome, treatment, instrument, encouraged }
        })
        .collect()
}

proptest! {
    #[test]
    fn gains_from_moments_equal_gains_from_pseudo_outcomes(seed in 0u64..10_000, n_left in 40usize..80) {
        let rows = random_rows(120, seed);
        let (left, right) = (stats(&rows[..n_left]), stats(&rows[n_left..]));
        let total = sum(left, right);
        let node = PLAIN.node(&total).unwrap();
        let expected = by_rows(&rows, n_left);
        let found = PLAIN.gain(&node, &left, &right).unwrap();
        prop_assert!((found / expected - 1.0).abs() < 1e-7, "{found} {expected}");
        prop_assert!(node.wald.pseudo_outcome(&total.moments()).abs() < 1e-9);
        let cells: Vec<InstrumentCell> = rows.iter().map(InstrumentRow::cell).collect();
        let fast = summarise(&PLAIN, cells[..n_left].iter());
        prop_assert!(fast.0.iter().zip(left.0).all(|(a, b)| (a - b).abs() < 1e-4));
    }

    #[test]
    fn a_treatment_that_is_its_own_instrument_gives_the_causal_criterion(seed in 0u64..10_000) {
        let rows = random_rows(100, seed);
        let own: Vec<InstrumentRow> = rows.iter().map(|r| InstrumentRow { instrument: r.treatment, ..*r }).collect();
        let effect = OneContrast { min_arm_rows: 0, alpha: 0.0, imbalance_penalty: 0.0 };
        let of_effect = |rows: &[InstrumentRow]| {
            let mut sums = EffectStats::<1, 8>::ZERO;
            rows.iter().for_each(|r| sums.add(r.weight, r.outcome, &[r.treatment], u8::MAX));
            sums
        };
        let (left, right) = (of_effect(&own[..45]), of_effect(&own[45..]));
        let mut total = left;
        total += right;
        let expected = Effect::gain(&effect, &effect.node(&total).unwrap(), &left, &right).unwrap();
        let (left, right) = (stats(&own[..45]), stats(&own[45..]));
        let found = PLAIN.gain(&PLAIN.node(&sum(left, right)).unwrap(), &left, &right).unwrap();
        prop_assert!((found / expected - 1.0).abs() < 1e-9);
    }
}
