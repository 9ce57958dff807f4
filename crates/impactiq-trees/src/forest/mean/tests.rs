//! The promises of regression forests.

use std::sync::atomic::{AtomicU64, Ordering};

use impactiq_data::{Seed, Silent};

use super::*;
use crate::forest::config::LeafSize;
use crate::matrix::columns::Columns;

struct Surface {
    x: Columns,
    target: Vec<f64>,
    ids: Vec<u64>,
}

/// A step and a slope of height `scale`, on top of `shift`, and noise as high.
fn surface(n: usize, seed: u64, shift: f64, scale: f64) -> Surface {
    let seed = Seed::new(seed);
    let codes: Vec<Vec<u8>> =
        (0..3u64).map(|f| (0..n as u64).map(|i| seed.child(f).below(i, 64) as u8).collect()).collect();
    let target = (0..n)
        .map(|i| shift + scale * (truth(&codes, i) + seed.child(9).below(i as u64, 65) as f64 / 64.0 - 0.5))
        .collect();
    Surface { x: Columns::ordered(codes), target, ids: (0..n as u64).collect() }
}

fn truth(codes: &[Vec<u8>], i: usize) -> f64 {
    f64::from(u8::from(codes[0][i] >= 32)) + f64::from(codes[1][i]) / 64.0
}

impl Surface {
    fn task<'a>(&'a self, rows: &'a [u32], weights: Option<&'a [f64]>) -> MeanTask<'a> {
        MeanTask { rows, target: &self.target, weights, clusters: None, row_ids: &self.ids }
    }

    fn grow(&self, config: &ForestConfig) -> Forest {
        let rows: Vec<u32> = (0..self.target.len() as u32).collect();
        grow_mean_forest(&self.x, &self.task(&rows, None), config, Seed::new(1), &Silent).unwrap()
    }
}

fn config(n_trees: usize, honest: bool) -> ForestConfig {
    ForestConfig { n_trees, honest, min_leaf_rows: 5, ..ForestConfig::default() }
}

#[test]
fn means_are_found_honest_or_not_with_intervals() {
    let (train, fresh) = (surface(4000, 1, 0.0, 1.0), surface(1000, 2, 0.0, 1.0));
    for honest in [true, false] {
        let forest = train.grow(&config(200, honest));
        let predicted = forest.predict(&fresh.x, None, true);
        let error = |i: usize| predicted.values[0][i] - truth(&fresh.x.codes, i);
        let mse = (0..1000).map(|i| error(i).powi(2)).sum::<f64>() / 1000.0;
        // Noise has variance 1/12, the surface 1/3.
        assert!(mse < 0.01, "{mse}");
        let variances = &predicted.variances.as_ref().unwrap()[0];
        let away: Vec<usize> = (0..1000).filter(|&i| fresh.x.codes[0][i].abs_diff(32) > 3).collect();
        let covered = away.iter().filter(|&&i| error(i).abs() <= 1.96 * variances[i].sqrt()).count();
        assert!(covered as f64 / away.len() as f64 > 0.8, "{covered} of {}", away.len());
    }
}

#[test]
fn a_shift_and_a_scale_of_the_target_go_through_to_the_answers() {
    let plain = surface(1000, 3, 0.0, 1.0);
    let moved = surface(1000, 3, 1e6, 4.0);
    let config = config(20, true);
    let (a, b) = (plain.grow(&config).predict(&plain.x, None, true), moved.grow(&config).predict(&plain.x, None, true));
    for i in 0..1000 {
        // f32 leaves keep what differs from the centre, which f32 too rounds: 4 / 2^24 of 1e6.
        assert!((b.values[0][i] - 1e6 - 4.0 * a.values[0][i]).abs() < 1e-5);
        let (small, large) = (a.variances.as_ref().unwrap()[0][i], b.variances.as_ref().unwrap()[0][i]);
        assert!((large / small - 16.0).abs() < 1e-3);
    }
}

#[test]
fn out_of_bag_means_do_not_know_their_own_target() {
    let mut train = surface(800, 4, 0.0, 1.0);
    let key = |row: u32| u64::from(row);
    let config = config(40, false);
    let before = train.grow(&config);
    train.target[17] += 1.0;
    let after = train.grow(&config);
    let out = |forest: &Forest| forest.predict_out_of_bag(&train.x, &[17], &key, false).values[0][0];
    // Only the common centre knows: 1/800 before it is taken away and added back.
    assert!((out(&before) - out(&after)).abs() < 1e-6);
    assert!(
        (before.predict(&train.x, Some(&[17]), false).values[0][0]
            - after.predict(&train.x, Some(&[17]), false).values[0][0])
            .abs()
            > 1e-3
    );
}

#[test]
fn probabilities_stay_between_0_and_1_and_constants_are_kept() {
    let mut train = surface(1000, 5, 0.0, 1.0);
    train.target.iter_mut().for_each(|target| *target = f64::from(u8::from(*target > 1.9)));
    let predicted = train.grow(&config(20, true)).predict(&train.x, None, false);
    assert!(predicted.values[0].iter().all(|p| (-1e-6..=1.0 + 1e-6).contains(p)));
    train.target.fill(0.3);
    let forest = train.grow(&config(20, true));
    assert!(forest.trees().iter().all(|tree| tree.n_leaves() == 1));
    let predicted = forest.predict(&train.x, None, true);
    assert!(predicted.values[0].iter().all(|mean| (mean - 0.3).abs() < 1e-7));
    assert!(predicted.variances.unwrap()[0].iter().all(|variance| *variance < 1e-12));
}

#[test]
fn a_row_of_weight_two_is_worth_two() {
    // All trees see all rows: one split, leaves by weighted mean.
    let x = Columns::ordered(vec![vec![0, 0, 1, 1]]);
    let ids = [0, 1, 2, 3];
    let task = MeanTask {
        rows: &[0, 1, 2, 3],
        target: &[0.0, 3.0, 10.0, 13.0],
        weights: Some(&[2.0, 1.0, 1.0, 2.0]),
        clusters: None,
        row_ids: &ids,
    };
    let config = ForestConfig {
        n_trees: 1,
        trees_per_bag: 1,
        sample_fraction: 1.0 - f64::EPSILON,
        honest: false,
        ..ForestConfig::default()
    };
    let forest = grow_mean_forest(&x, &task, &config, Seed::new(1), &Silent).unwrap();
    let means = forest.predict(&x, Some(&[0, 2]), false).values;
    assert!((means[0][0] - 1.0).abs() < 1e-6 && (means[0][1] - 12.0).abs() < 1e-6, "{means:?}");
}

/// Says stop after some looks.
struct Impatient(AtomicU64);

impl Watch for Impatient {
    fn progress(&self, _: &str, _: u64, _: u64) {}
    fn should_stop(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
    }
}

#[test]
fn a_forest_stopped_and_continued_has_the_bytes_of_one_never_stopped() {
    let train = surface(500, 6, 0.0, 1.0);
    let rows: Vec<u32> = (0..500).collect();
    let task = train.task(&rows, None);
    let config = config(40, true);
    let whole = train.grow(&config);
    let stopped = grow_mean_forest(&train.x, &task, &config, Seed::new(1), &Impatient(AtomicU64::new(2))).unwrap();
    assert!(stopped.n_trees() < 40 && stopped.n_trees() > 0, "{}", stopped.n_trees());
    // A smaller forest answers, and its bags are the first of the whole one's.
    assert!(stopped.predict(&train.x, None, false).values[0].iter().all(|mean| mean.is_finite()));
    let go_on = |seed: u64, config: &ForestConfig| {
        continue_mean_forest(stopped.clone(), &train.x, &task, config, Seed::new(seed), &Silent)
    };
    assert_eq!(go_on(1, &config).unwrap(), whole);
    assert!(matches!(go_on(2, &config), Err(TreesError::BadSetting { key: "seed", .. })));
    let other = ForestConfig { sample_fraction: 0.3, ..config.clone() };
    assert!(matches!(go_on(1, &other), Err(TreesError::BadSetting { key: "sample_fraction", .. })));
    // Nothing left to do: the forest as it was.
    let done =
        continue_mean_forest(whole.clone(), &train.x, &task, &config, Seed::new(1), &Impatient(AtomicU64::new(0)));
    assert_eq!(done.unwrap(), whole);
}

#[test]
fn bags_take_leaf_sizes_in_turn() {
    let train = surface(500, 6, 0.0, 1.0);
    let of = |min_leaf_rows| LeafSize { min_leaf_rows, min_arm_rows: 1 };
    let turns = ForestConfig { leaf_turns: vec![of(60), of(5)], ..config(40, true) };
    let mixed = train.grow(&turns);
    let alone = |min_leaf_rows| train.grow(&ForestConfig { min_leaf_rows, ..config(40, true) });
    let (large, small) = (alone(60), alone(5));
    // Two trees a bag: 0, 1 of large leaves, 2, 3 of small ones, and so on, each the tree it would be alone.
    for (number, tree) in mixed.trees().iter().enumerate() {
        let same = if number / 2 % 2 == 0 { &large } else { &small };
        assert_eq!(tree, &same.trees()[number], "{number}");
    }
    assert_ne!(large.trees()[0].n_leaves(), small.trees()[0].n_leaves());
}
