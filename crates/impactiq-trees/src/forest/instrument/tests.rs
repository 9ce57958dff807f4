//! The promises of instrumental forests.

use impactiq_data::{Seed, Silent};

use super::*;
use crate::matrix::columns::Columns;
use crate::sample::Bags;
use crate::stats::Stats;

/// An encouragement obeyed by 60 %; those who would take it anyway have better outcomes, so that
/// comparing takers with others is wrong. The effect is 2 in the upper half of feature 0, 0 below.
struct Encouragement {
    x: Columns,
    outcome: Vec<f64>,
    treatment: Vec<f64>,
    instrument: Vec<f64>,
    encouraged: Vec<u8>,
    ids: Vec<u64>,
}

fn encouragement(n: usize, seed: u64) -> Encouragement {
    let seed = Seed::new(seed);
    let codes: Vec<Vec<u8>> =
        (0..3u64).map(|f| (0..n as u64).map(|i| seed.child(f).below(i, 100) as u8).collect()).collect();
    let encouraged: Vec<u8> = (0..n as u64).map(|i| (seed.child(50).hash(i) & 1) as u8).collect();
    // 0 to 0.6 obey, 0.6 to 0.8 always take it, the rest never.
    let nature: Vec<f64> = (0..n as u64).map(|i| seed.child(51).uniform(i)).collect();
    let takes = |i: usize| match nature[i] {
        kind if kind < 0.6 => encouraged[i] == 1,
        kind => kind < 0.8,
    };
    let outcome = (0..n)
        .map(|i| {
            let upper = codes[0][i] >= 50;
            let effect = if upper && takes(i) { 2.0 } else { 0.0 };
            let always = if (0.6..0.8).contains(&nature[i]) { 3.0 } else { 0.0 };
            // Less the mean given the features: half of the obeying and all of the always take it.
            let mean = 0.6 + if upper { 2.0 * 0.5 } else { 0.0 };
            effect + always - mean + seed.child(52).uniform(i as u64) - 0.5
        })
        .collect();
    Encouragement {
        outcome,
        treatment: (0..n).map(|i| f64::from(u8::from(takes(i))) - 0.5).collect(),
        instrument: encouraged.iter().map(|&z| f64::from(z) - 0.5).collect(),
        ids: (0..n as u64).collect(),
        x: Columns::ordered(codes),
        encouraged,
    }
}

impl Encouragement {
    fn grow(&self, config: &ForestConfig, seed: u64) -> Result<Forest, TreesError> {
        let rows: Vec<u32> = (0..self.outcome.len() as u32).collect();
        let task = InstrumentTask {
            rows: &rows,
            outcome: &self.outcome,
            treatment: &self.treatment,
            instrument: &self.instrument,
            encouraged: Some(&self.encouraged),
            weights: None,
            clusters: None,
            row_ids: &self.ids,
        };
        grow_instrument_forest(&self.x, &task, config, Seed::new(seed), &Silent)
    }
}

fn config(n_trees: usize) -> ForestConfig {
    ForestConfig { n_trees, min_arm_rows: 20, ..ForestConfig::default() }
}

#[test]
fn the_effect_on_those_who_obey_is_found_with_intervals() {
    let forest = encouragement(8000, 1).grow(&config(200), 1).unwrap();
    let fresh = encouragement(1000, 2);
    let predicted = forest.predict(&fresh.x, None, true);
    let truth = |i: usize| if fresh.x.codes[0][i] >= 50 { 2.0 } else { 0.0 };
    let error = |i: usize| predicted.values[0][i] - truth(i);
    let mse = (0..1000).map(|i| error(i).powi(2)).sum::<f64>() / 1000.0;
    assert!(mse < 0.15, "{mse}");
    let variances = &predicted.variances.as_ref().unwrap()[0];
    let away: Vec<usize> = (0..1000).filter(|&i| fresh.x.codes[0][i].abs_diff(50) > 10).collect();
    let covered = away.iter().filter(|&&i| error(i).abs() <= 1.96 * variances[i].sqrt()).count();
    let share = covered as f64 / away.len() as f64;
    assert!((0.85..=1.0).contains(&share), "{share}");
    assert!(forest.feature_gain()[0] > forest.feature_gain()[1] + forest.feature_gain()[2]);
}

#[test]
fn out_of_bag_answers_and_arrays_hold_for_instruments_too() {
    let trial = encouragement(1500, 3);
    let forest = trial.grow(&config(40), 1).unwrap();
    let rows: Vec<u32> = (0..1500).collect();
    let out = forest.predict_out_of_bag(&trial.x, &rows, &|row| u64::from(row), true);
    assert!(out.values[0].iter().all(|effect| effect.is_finite()));
    assert_ne!(out.values, forest.predict(&trial.x, None, false).values);
    assert_eq!(Forest::from_arrays(&forest.to_arrays()), Ok(forest));
}

#[test]
fn an_instrument_without_variation_answers_no_number() {
    let mut trial = encouragement(300, 4);
    trial.instrument.fill(0.25);
    let forest = trial.grow(&config(4), 1).unwrap();
    assert!(forest.trees().iter().all(|tree| tree.n_leaves() == 1));
    assert!(forest.predict(&trial.x, None, true).values[0].iter().all(|effect| effect.is_nan()));
}

#[test]
fn leaves_hold_the_moments_of_the_other_half() {
    let trial = encouragement(400, 5);
    let one = ForestConfig { n_trees: 2, ..config(2) };
    let forest = trial.grow(&one, 9).unwrap();
    let bags = one.bags();
    let bag = Bags::seed(Seed::new(9), 0);
    let rows: Vec<u32> = (0..400).filter(|&row| bags.holds(bag, u64::from(row))).collect();
    let (_, estimate) = bags.tree_rows(bag, 0, &rows, u64::from);
    let leaf = |row: u32| forest.trees()[0].leaf(|f| trial.x.codes[f][row as usize]);
    let mine = leaf(estimate[0]);
    let mut sums = InstrumentStats::ZERO;
    for &row in estimate.iter().filter(|&&row| leaf(row) == mine) {
        let i = row as usize;
        sums.add(&InstrumentRow {
            weight: 1.0,
            outcome: trial.outcome[i],
            treatment: trial.treatment[i],
            instrument: trial.instrument[i],
            encouraged: trial.encouraged[i] == 1,
        });
    }
    let kept = &forest.to_arrays().moments[6 * mine as usize..][..6];
    for (kept, sum) in kept.iter().zip(sums.moments()) {
        assert!((f64::from(*kept) - sum / f64::from(sums.n_rows())).abs() < 1e-6);
    }
}

#[test]
fn what_is_missing_or_no_number_is_named() {
    let mut trial = encouragement(50, 6);
    trial.instrument[7] = f64::NAN;
    let error = trial.grow(&config(2), 1).unwrap_err();
    assert!(matches!(error, TreesError::BadValue { what: "instrument", row: 7, .. }), "{error}");
    trial.instrument.truncate(20);
    assert!(matches!(trial.grow(&config(2), 1), Err(TreesError::Length { what: "instrument", found: 20, .. })));
}
