//! The promises of causal forests.

use std::sync::atomic::{AtomicU64, Ordering};

use impactiq_data::{Seed, Silent, Watch};

use super::*;
use crate::error::TreesError;
use crate::forest::config::ForestConfig;
use crate::forest::effect::{EffectTask, grow_effect_forest};
use crate::forest::model::ForestArrays;
use crate::matrix::columns::Columns;

#[test]
fn the_hazard_of_the_normal_agrees_with_known_values() {
    // φ(0)/Φ(0) = √(2/π); φ(1)/Φ(1); φ(−2)/Φ(−2); far tail: −x + 1/−x.
    for (x, expected) in [
        (0.0, 0.797_884_560_802_865_4),
        (1.0, 0.287_599_970_939_178_4),
        (-2.0, 2.373_215_532_822_841),
        (-30.0, 30.033_259_667_433_68),
    ] {
        assert!((hazard(x) - expected).abs() < 1e-9, "{x}: {}", hazard(x));
    }
    assert!((hazard(-3.999_999) - hazard(-4.000_001)).abs() < 1e-5);
    assert!(debias(1.0, 5.0, 100.0) > 0.0 && debias(0.0, 0.0, 10.0) == 0.0);
    assert!((debias(4.0, 1e-9, 1e9) - 4.0).abs() < 1e-3);
}

/// A randomised trial with K contrasts: the effect of contrast k is (k + 1) in the upper
/// half of feature 0 and 0 below; feature 1 moves the outcome, 2 and 3 are noise.
struct Trial<const K: usize> {
    x: Columns,
    outcome: Vec<f64>,
    contrasts: [Vec<f64>; K],
    arms: Vec<u8>,
    ids: Vec<u64>,
}

fn trial<const K: usize>(n: usize, seed: u64) -> Trial<K> {
    let seed = Seed::new(seed);
    let codes: Vec<Vec<u8>> =
        (0..4u64).map(|f| (0..n as u64).map(|i| seed.child(f).below(i, 100) as u8).collect()).collect();
    let arms: Vec<u8> = (0..n as u64).map(|i| seed.child(50).below(i, K as u64 + 1) as u8).collect();
    let share = 1.0 / (K as f64 + 1.0);
    let contrasts = std::array::from_fn(|k| {
        arms.iter().map(|&arm| f64::from(u8::from(usize::from(arm) == k + 1)) - share).collect()
    });
    let outcome = (0..n)
        .map(|i| {
            let effect = if codes[0][i] >= 50 { f64::from(arms[i]) } else { 0.0 };
            // Centred as a perfect nuisance would: less the mean outcome given the features.
            let mean = if codes[0][i] >= 50 { K as f64 / 2.0 } else { 0.0 };
            effect - mean + 2.0 * (seed.child(51).uniform(i as u64) - 0.5)
        })
        .collect();
    Trial { x: Columns::ordered(codes), outcome, contrasts, arms, ids: (0..n as u64).collect() }
}

impl<const K: usize> Trial<K> {
    fn all(&self) -> Vec<u32> {
        (0..self.outcome.len() as u32).collect()
    }

    fn grow<const L: usize>(
        &self,
        rows: &[u32],
        config: &ForestConfig,
        seed: u64,
        watch: &dyn Watch,
    ) -> Result<Forest, TreesError> {
        let task = EffectTask {
            rows,
            outcome: &self.outcome,
            contrasts: std::array::from_fn(|k| &self.contrasts[k][..]),
            arms: Some(&self.arms),
            weights: None,
            clusters: None,
            row_ids: &self.ids,
        };
        grow_effect_forest::<K, L>(&self.x, &task, config, Seed::new(seed), watch)
    }
}

fn config(n_trees: usize) -> ForestConfig {
    ForestConfig { n_trees, ..ForestConfig::default() }
}

fn check_effects<const K: usize, const L: usize>() {
    let trial = trial::<K>(4000, 1);
    let forest = trial.grow::<L>(&trial.all(), &config(100), 1, &Silent).unwrap();
    let fresh = super::tests::trial::<K>(1000, 2);
    let predicted = forest.predict(&fresh.x, None, true);
    for k in 0..K {
        let truth = |i: usize| if fresh.x.codes[0][i] >= 50 { k as f64 + 1.0 } else { 0.0 };
        let mse = (0..1000).map(|i| (predicted.values[k][i] - truth(i)).powi(2)).sum::<f64>() / 1000.0;
        assert!(mse < 0.05, "contrast {k}: {mse}");
        let variances = &predicted.variances.as_ref().unwrap()[k];
        // Away from the step, where there is no bias, 95 % intervals hold the truth.
        let away: Vec<usize> = (0..1000).filter(|&i| fresh.x.codes[0][i].abs_diff(50) > 10).collect();
        let covered =
            away.iter().filter(|&&i| (predicted.values[k][i] - truth(i)).abs() <= 1.96 * variances[i].sqrt()).count();
        let share = covered as f64 / away.len() as f64;
        assert!((0.85..=1.0).contains(&share), "contrast {k}: {share}");
        assert!(variances.iter().all(|v| (1e-6..0.2).contains(v)));
    }
    let gain = forest.feature_gain();
    assert!(gain[0] > 2.0 * gain[1..].iter().sum::<f64>() / 3.0, "{gain:?}");
}

#[test]
fn one_contrast_is_found_with_honest_intervals() {
    check_effects::<1, 8>();
}

#[test]
fn three_contrasts_are_found_at_once() {
    check_effects::<3, 20>();
}

#[test]
fn variances_agree_with_bags_counted_one_by_one() {
    let trial = trial::<1>(600, 3);
    let forest = trial.grow::<8>(&trial.all(), &config(20), 1, &Silent).unwrap();
    let predicted = forest.predict(&trial.x, Some(&[7]), true);
    let moments = |tree: usize| -> Vec<f64> {
        let leaf = forest.trees[tree].leaf(|f| trial.x.codes[f][7]) as usize + forest.first_leaf[tree];
        forest.moments[leaf * 5..][..5].iter().map(|&m| f64::from(m)).collect()
    };
    let trees: Vec<Vec<f64>> = (0..20).map(moments).collect();
    let mean: Vec<f64> = (0..5).map(|m| trees.iter().map(|t| t[m]).sum::<f64>() / 20.0).collect();
    let [w, y, t, ty, tt] = mean[..] else { panic!() };
    let theta = (ty * w - y * t) / (tt * w - t * t);
    let c = (y - theta * t) / w;
    assert!((predicted.values[0][0] - theta).abs() < 1e-9);
    let influence = |m: &[f64]| {
        let residual = m[1] - c * m[0] - theta * m[2];
        let score = m[3] - c * m[2] - theta * m[4];
        (score - t / w * residual) / (tt - t * t / w)
    };
    let rho: Vec<f64> = trees.iter().map(|tree| influence(tree)).collect();
    let between = rho.chunks(2).map(|bag| ((bag[0] + bag[1]) / 2.0).powi(2)).sum::<f64>() / 10.0;
    let total = rho.iter().map(|rho| rho * rho).sum::<f64>() / 20.0;
    let expected = debias(between, total - between, 10.0);
    let found = predicted.variances.unwrap()[0][0];
    assert!((found / expected - 1.0).abs() < 1e-6, "{found} {expected}");
}

#[test]
fn out_of_bag_answers_use_only_bags_that_never_saw_the_row() {
    let mut trial = trial::<1>(400, 4);
    let forest = trial.grow::<8>(&trial.all(), &config(40), 1, &Silent).unwrap();
    let key = |row: u32| u64::from(row);
    let before = forest.predict_out_of_bag(&trial.x, &[9], &key, false);
    let in_bag = forest.predict(&trial.x, Some(&[9]), false);
    assert_ne!(before.values, in_bag.values);
    // Another outcome of row 9 moves the forest, but not its own out-of-bag answer.
    trial.outcome[9] += 100.0;
    let moved = trial.grow::<8>(&trial.all(), &config(40), 1, &Silent).unwrap();
    assert_eq!(moved.predict_out_of_bag(&trial.x, &[9], &key, false), before);
    assert_ne!(moved.predict(&trial.x, Some(&[9]), false), in_bag);
}

#[test]
fn threads_change_no_byte() {
    let trial = trial::<1>(3000, 5);
    let grow = |threads: usize, rows: &[u32]| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| trial.grow::<8>(rows, &config(10), 1, &Silent).unwrap())
    };
    let one = grow(1, &trial.all());
    assert_eq!(one, grow(3, &trial.all()));
    assert!(one.trees.iter().all(|tree| tree.n_leaves() > 5));
}

#[test]
fn swapping_arms_flips_the_sign() {
    let trial = trial::<1>(2000, 6);
    let swapped = Trial {
        x: trial.x.clone(),
        outcome: trial.outcome.clone(),
        contrasts: [trial.contrasts[0].iter().map(|t| -t).collect()],
        arms: trial.arms.iter().map(|arm| 1 - arm).collect(),
        ids: trial.ids.clone(),
    };
    let predict = |trial: &Trial<1>| {
        let forest = trial.grow::<8>(&trial.all(), &config(10), 1, &Silent).unwrap();
        forest.predict(&trial.x, None, false).values.remove(0)
    };
    let (a, b) = (predict(&trial), predict(&swapped));
    assert!(a.iter().zip(&b).all(|(a, b)| (a + b).abs() < 1e-9));
}

#[test]
fn merged_and_stopped_forests_are_forests() {
    struct After(AtomicU64);
    impl Watch for After {
        fn progress(&self, _: &str, done: u64, _: u64) {
            self.0.store(done, Ordering::Relaxed);
        }
        fn should_stop(&self) -> bool {
            self.0.load(Ordering::Relaxed) >= 4
        }
    }
    let trial = trial::<1>(800, 7);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let whole = trial.grow::<8>(&trial.all(), &config(12), 1, &Silent).unwrap();
    let stopped = pool.install(|| trial.grow::<8>(&trial.all(), &config(12), 1, &After(AtomicU64::new(0)))).unwrap();
    assert_eq!(stopped.n_trees(), 4);
    assert_eq!(stopped.trees(), &whole.trees()[..4]);
    let other = trial.grow::<8>(&trial.all(), &config(8), 2, &Silent).unwrap();
    let merged = stopped.clone().merge(other.clone()).unwrap();
    assert_eq!((merged.n_trees(), merged.n_bags()), (12, 6));
    // Averages of moments: the merged forest answers between its parts, and out of bag too.
    let at = |forest: &Forest| forest.predict(&trial.x, Some(&[3]), true);
    assert_ne!(at(&merged), at(&stopped));
    let back = Forest::from_arrays(&merged.to_arrays()).unwrap();
    assert_eq!(back, merged);
    let singles = ForestConfig { trees_per_bag: 1, ..config(4) };
    let singles = trial.grow::<8>(&trial.all(), &singles, 3, &Silent).unwrap();
    assert!(at(&singles).variances.is_none());
    assert!(matches!(merged.merge(singles), Err(TreesError::BadSetting { key: "sample_fraction", .. })));
}

#[test]
fn clusters_are_seen_whole_or_not_at_all() {
    let trial = trial::<1>(1000, 8);
    let clusters: Vec<u32> = (0..1000).map(|i| i / 25).collect();
    let rows = trial.all();
    let task = EffectTask {
        rows: &rows,
        outcome: &trial.outcome,
        contrasts: [&trial.contrasts[0]],
        arms: Some(&trial.arms),
        weights: None,
        clusters: Some(&clusters),
        row_ids: &trial.ids,
    };
    let forest = grow_effect_forest::<1, 8>(&trial.x, &task, &config(20), Seed::new(1), &Silent).unwrap();
    let out = forest.predict_out_of_bag(&trial.x, &rows, &|row| task.key(row), false);
    assert!(out.values[0].iter().all(|effect| effect.is_finite()));
}

#[test]
fn hostile_forests_are_refused() {
    let trial = trial::<1>(300, 9);
    let forest = trial.grow::<8>(&trial.all(), &config(4), 1, &Silent).unwrap();
    let broken = |change: &dyn Fn(&mut ForestArrays)| {
        let mut arrays = forest.to_arrays();
        change(&mut arrays);
        Forest::from_arrays(&arrays).is_err()
    };
    assert!(!broken(&|_| ()));
    assert!(broken(&|a| a.kind = ForestKind::Effect { n_contrasts: 2 }));
    assert!(broken(&|a| a.kind = ForestKind::Effect { n_contrasts: 0 }));
    assert!(broken(&|a| a.kind = ForestKind::Effect { n_contrasts: usize::MAX }));
    assert!(broken(&|a| a.moments.truncate(3)));
    assert!(broken(&|a| a.moments[0] = f32::NAN));
    assert!(broken(&|a| a.bag_seeds.push(1)));
    assert!(broken(&|a| a.bags.trees_per_bag = 0));
    assert!(broken(&|a| a.bags.fraction = f64::NAN));
    assert!(broken(&|a| a.trees.left[0] = 0));
    assert!(broken(&|a| a.n_features = 0));
}

#[test]
fn a_row_without_treatment_variation_is_no_number() {
    let mut trial = trial::<1>(200, 10);
    trial.contrasts[0].fill(0.5);
    let forest = trial.grow::<8>(&trial.all(), &config(4), 1, &Silent).unwrap();
    assert!(forest.predict(&trial.x, Some(&[0]), true).values[0][0].is_nan());
}

#[test]
fn a_row_alone_answers_as_it_does_among_others() {
    let mut trial = trial::<2>(700, 11);
    // Sets of categories and missing values take paths of their own.
    trial.x.kinds[1] = impactiq_data::FeatureKind::Category;
    (0..700).step_by(9).for_each(|i| trial.x.codes[i % 3][i] = impactiq_data::MISSING_CODE);
    let forest = trial.grow::<12>(&trial.all(), &config(60), 1, &Silent).unwrap();
    assert!(forest.trees().iter().any(|tree| !tree.sets().is_empty()));
    let all = forest.predict(&trial.x, None, true);
    let backwards: Vec<u32> = (0..700).rev().collect();
    let turned = forest.predict(&trial.x, Some(&backwards), true);
    for row in 0..700usize {
        let alone = forest.predict(&trial.x, Some(&[row as u32]), true);
        for k in 0..2 {
            let same = [alone.values[k][0], turned.values[k][699 - row]].map(f64::to_bits);
            assert_eq!(same, [all.values[k][row].to_bits(); 2]);
            let variance = |p: &ForestPredictions, at: usize| p.variances.as_ref().unwrap()[k][at].to_bits();
            assert_eq!(variance(&alone, 0), variance(&all, row));
            assert_eq!(variance(&turned, 699 - row), variance(&all, row));
        }
        // And the leaves are those of a plain walk.
        let leaf = |tree: usize| forest.trees[tree].leaf(|f| trial.x.codes[f][row]) as usize + forest.first_leaf[tree];
        let weight: f64 = (0..60).map(|tree| f64::from(forest.moments[leaf(tree) * 9 + 1])).sum();
        let sums: Vec<f64> = (0..9)
            .map(|m| (0..60).map(|tree| f64::from(forest.moments[leaf(tree) * 9 + m])).sum::<f64>() / 60.0)
            .collect();
        assert!((sums[1] - weight / 60.0).abs() < 1e-12);
        let expected = effects::<2, 9, 12>(&sums.try_into().unwrap()).unwrap();
        (0..2).for_each(|k| assert!((expected.values[k] - all.values[k][row]).abs() < 1e-9));
    }
}

#[test]
fn a_dose_is_a_contrast_without_arms() {
    // Doses from 0 to 2 whose slope is 1 below and 3 above the middle of feature 0; their spread
    // differs between the halves of feature 1, so that balance has something to do.
    let n = 4000;
    let seed = Seed::new(12);
    let codes: Vec<Vec<u8>> =
        (0..3u64).map(|f| (0..n as u64).map(|i| seed.child(f).below(i, 64) as u8).collect()).collect();
    let slope = |codes: &[Vec<u8>], i: usize| if codes[0][i] >= 32 { 3.0 } else { 1.0 };
    let dose: Vec<f64> =
        (0..n).map(|i| (seed.child(7).uniform(i as u64) - 0.5) * if codes[1][i] >= 32 { 2.0 } else { 0.5 }).collect();
    let outcome: Vec<f64> =
        (0..n).map(|i| slope(&codes, i) * dose[i] + 0.5 * (seed.child(8).uniform(i as u64) - 0.5)).collect();
    let (rows, ids): (Vec<u32>, Vec<u64>) = ((0..n as u32).collect(), (0..n as u64).collect());
    let task = EffectTask {
        rows: &rows,
        outcome: &outcome,
        contrasts: [&dose],
        arms: None,
        weights: None,
        clusters: None,
        row_ids: &ids,
    };
    let x = Columns::ordered(codes);
    let asked = |alpha: f64| ForestConfig { alpha, min_leaf_rows: 5, ..config(100) };
    let grow = |alpha| grow_effect_forest::<1, 8>(&x, &task, &asked(alpha), Seed::new(1), &Silent).unwrap();
    let forest = grow(0.05);
    let out = forest.predict_out_of_bag(&x, &rows, &|row| u64::from(row), true);
    let error = |i: usize| out.values[0][i] - slope(&x.codes, i);
    let mse = (0..n).map(|i| error(i).powi(2)).sum::<f64>() / n as f64;
    assert!(mse < 0.1, "{mse}");
    let variances = &out.variances.as_ref().unwrap()[0];
    let away: Vec<usize> = (0..n).filter(|&i| x.codes[0][i].abs_diff(32) > 4).collect();
    let covered = away.iter().filter(|&&i| error(i).abs() <= 1.96 * variances[i].sqrt()).count();
    assert!(covered as f64 / away.len() as f64 > 0.9, "{covered} of {}", away.len());
    // Every split leaves each child its share of the dose's variation among the splitting rows.
    let alpha = 0.3;
    let forest = grow(alpha);
    let bags = asked(alpha).bags();
    let bag = crate::sample::Bags::seed(Seed::new(1), 0);
    let of_bag: Vec<u32> = rows.iter().copied().filter(|&row| bags.holds(bag, u64::from(row))).collect();
    let (split, _) = bags.tree_rows(bag, 0, &of_bag, u64::from);
    let tree = &forest.trees[0];
    assert!(tree.n_leaves() > 4);
    let mut at: Vec<Vec<u32>> = vec![Vec::new(); tree.nodes().len()];
    at[0] = split;
    for (i, node) in tree.nodes().iter().enumerate().filter(|(_, node)| !node.is_leaf()) {
        let rule = tree.rule(node);
        let (left, right): (Vec<u32>, Vec<u32>) =
            at[i].iter().partition(|&&row| rule.goes_left(x.codes[node.feature as usize][row as usize]));
        let spread = |rows: &[u32]| {
            let mean = rows.iter().map(|&row| dose[row as usize]).sum::<f64>() / rows.len() as f64;
            rows.iter().map(|&row| (dose[row as usize] - mean).powi(2)).sum::<f64>()
        };
        let least = spread(&left).min(spread(&right));
        assert!(least >= 0.999 * alpha * spread(&at[i]), "{least} of {}", spread(&at[i]));
        (at[node.left as usize], at[node.right as usize]) = (left, right);
    }
}
