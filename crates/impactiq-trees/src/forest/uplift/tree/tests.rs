//! Forest and tree on known truths, and everything a caller can get wrong.

use impactiq_data::{FeatureKind, MISSING_CODE, Silent};

use super::*;
use crate::criterion::uplift::UpliftKind;
use crate::forest::uplift::ground::grow_uplift_forest;
use crate::forest::uplift::model::UpliftForest;
use crate::matrix::columns::Columns;

const N: usize = 6000;

struct Data {
    x: Columns,
    rows: Vec<u32>,
    arms: Vec<u8>,
    binary: Vec<f64>,
    number: Vec<f64>,
    keys: Vec<u64>,
}

/// Arm k helps by .15 k where the category is 1 or 4, and nowhere else; feature 1 moves the
/// outcome of everybody and has missing values, feature 2 does nothing.
fn data(n_arms: u64) -> Data {
    let seed = Seed::new(11);
    let code = |f: u64, i: usize, n: u64| seed.child(f).below(i as u64, n) as u8;
    let missing = |code: u8| if code == 20 { MISSING_CODE } else { code };
    let codes = vec![
        (0..N).map(|i| code(0, i, 6)).collect(),
        (0..N).map(|i| missing(code(1, i, 21))).collect(),
        (0..N).map(|i| code(2, i, 100)).collect::<Vec<u8>>(),
    ];
    let kinds = vec![FeatureKind::Category, FeatureKind::Ordered, FeatureKind::Ordered];
    let x = Columns { codes, kinds };
    let arms: Vec<u8> = (0..N).map(|i| code(3, i, n_arms)).collect();
    let rate = |i: usize| {
        let helped = if matches!(x.codes[0][i], 1 | 4) { 0.15 * f64::from(arms[i]) } else { 0.0 };
        0.2 + helped + if x.codes[1][i] < 10 { 0.1 } else { 0.0 }
    };
    let binary = (0..N).map(|i| f64::from(u8::from(seed.child(4).uniform(i as u64) < rate(i)))).collect();
    let number = (0..N).map(|i| 1e6 + 10.0 * rate(i) + seed.child(5).uniform(i as u64)).collect();
    Data { rows: (0..N as u32).collect(), binary, number, keys: (0..N as u64).map(|i| 7 * i + 3).collect(), arms, x }
}

impl Data {
    fn task<'a>(&'a self, outcome: &'a [f64], n_arms: usize) -> UpliftTask<'a> {
        UpliftTask { rows: &self.rows, outcome, arms: &self.arms, n_arms, weights: None, keys: &self.keys }
    }
}

fn forest(data: &Data, task: &UpliftTask<'_>, config: &UpliftConfig) -> UpliftForest {
    grow_uplift_forest(&data.x, task, config, Seed::new(5), &Silent).unwrap()
}

fn small() -> UpliftConfig {
    UpliftConfig { n_trees: 20, min_leaf_rows: 50, ..UpliftConfig::default() }
}

fn single() -> UpliftConfig {
    UpliftConfig { sample_fraction: 1.0, max_depth: Some(2), features_per_node: Some(3), ..UpliftConfig::default() }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn every_criterion_finds_who_is_helped_with_every_number_of_arms() {
    for n_arms in [2u64, 3, 5, 8] {
        let data = data(n_arms);
        // Selection looks for other best arms, not for larger effects of the same.
        for criterion in UpliftKind::ALL.into_iter().filter(|kind| *kind != UpliftKind::ContextualSelection) {
            for (outcome, unit) in [(&data.binary, 1.0), (&data.number, 10.0)] {
                if criterion.needs_binary() && unit > 1.0 {
                    continue;
                }
                for honest in [false, true] {
                    let config = UpliftConfig { criterion, honest, min_leaf_rows: 300, min_arm_rows: 20, ..small() };
                    let means = forest(&data, &data.task(outcome, n_arms as usize), &config).predict(&data.x, None);
                    assert_eq!(means.len(), n_arms as usize);
                    let last = n_arms as usize - 1;
                    let of = |helped: bool| {
                        mean(
                            (0..N)
                                .filter(|&i| matches!(data.x.codes[0][i], 1 | 4) == helped)
                                .map(|i| (means[last][i] - means[0][i]) / unit),
                        )
                    };
                    let gap = of(true) - of(false);
                    let truth = 0.15 * last as f64;
                    // Averages over trees that look at other features blur it.
                    assert!(gap > 0.3 * truth && gap < 1.4 * truth, "{criterion:?}, {n_arms} arms: {gap} of {truth}");
                }
            }
        }
    }
}

#[test]
fn selection_finds_where_another_arm_is_best() {
    let mut data = data(2);
    // Treated rows outside the categories that are helped do worse.
    for i in 0..N {
        if data.arms[i] == 1 && !matches!(data.x.codes[0][i], 1 | 4) {
            data.number[i] -= 2.0;
        }
    }
    let config = UpliftConfig { criterion: UpliftKind::ContextualSelection, ..single() };
    let tree = grow_uplift_tree(&data.x, &data.task(&data.number, 2), &config, Seed::new(5), &Silent).unwrap();
    let root = tree.tree().nodes()[0];
    assert_eq!(root.feature, 0);
    let [left, right] = [root.left, root.right].map(|child| tree.node(child as usize).effect(1));
    assert!((left.max(right) - 1.5).abs() < 0.1 && (left.min(right) + 2.0).abs() < 0.1, "{left} {right}");
}

#[test]
fn the_same_bytes_on_any_number_of_threads_and_other_bytes_for_another_seed() {
    let data = data(3);
    let config = UpliftConfig { honest: true, ..small() };
    for outcome in [&data.binary, &data.number] {
        let config = match outcome == &data.number {
            true => UpliftConfig { criterion: UpliftKind::Interaction, ..config.clone() },
            false => config.clone(),
        };
        let run = |threads, seed| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let task = data.task(outcome, 3);
            pool.install(|| {
                let forest = grow_uplift_forest(&data.x, &task, &config, Seed::new(seed), &Silent).unwrap();
                let means = forest.predict(&data.x, None);
                (forest.to_arrays(), means)
            })
        };
        assert_eq!(run(1, 5), run(4, 5));
        assert_ne!(run(1, 5).0, run(1, 6).0);
    }
}

#[test]
fn a_row_gets_the_same_answer_wherever_it_stands() {
    let data = data(2);
    let forest = forest(&data, &data.task(&data.binary, 2), &small());
    let all = forest.predict(&data.x, None);
    let rows: Vec<u32> = (0..900).map(|i| i * 37 % N as u32).collect();
    let some = forest.predict(&data.x, Some(&rows));
    let few = forest.predict(&data.x, Some(&rows[..3]));
    for arm in 0..2 {
        assert!(rows.iter().zip(&some[arm]).all(|(&row, mean)| *mean == all[arm][row as usize]));
        assert_eq!(few[arm], some[arm][..3]);
    }
}

#[test]
fn forests_and_trees_survive_a_round_trip_and_damage_is_named() {
    let data = data(3);
    let task = data.task(&data.binary, 3);
    let forest = forest(&data, &task, &small());
    let arrays = forest.to_arrays();
    assert_eq!(UpliftForest::from_arrays(&arrays).unwrap(), forest);
    let broken = |change: &dyn Fn(&mut crate::UpliftArrays)| {
        let mut arrays = forest.to_arrays();
        change(&mut arrays);
        UpliftForest::from_arrays(&arrays).unwrap_err()
    };
    assert!(matches!(broken(&|a| a.means[0] = f64::NAN), TreesError::BadValue { .. }));
    assert!(matches!(broken(&|a| a.means.truncate(3)), TreesError::Length { .. }));
    assert!(matches!(broken(&|a| a.n_arms = 9), TreesError::BadSetting { .. }));
    assert!(matches!(broken(&|a| a.n_features = 0), TreesError::NoFeatures));
    assert!(matches!(broken(&|a| a.tree_seeds.truncate(1)), TreesError::Length { .. }));
    assert!(matches!(broken(&|a| a.bags.fraction = 0.0), TreesError::BadSetting { .. }));
    let tree = grow_uplift_tree(&data.x, &task, &single(), Seed::new(5), &Silent).unwrap();
    assert_eq!(UpliftTree::from_arrays(&tree.to_arrays()).unwrap(), tree);
    let broken = |change: &dyn Fn(&mut UpliftTreeArrays)| {
        let mut arrays = tree.to_arrays();
        change(&mut arrays);
        UpliftTree::from_arrays(&arrays).unwrap_err()
    };
    assert!(matches!(broken(&|a| a.errors[0] = -1.0), TreesError::BadValue { .. }));
    assert!(matches!(broken(&|a| a.means[2] = f64::INFINITY), TreesError::BadValue { .. }));
    assert!(matches!(broken(&|a| a.rows.truncate(2)), TreesError::Length { .. }));
    assert!(matches!(broken(&|a| a.trees = TreeArrays::from_trees([])), TreesError::Length { .. }));
}

#[test]
fn merged_forests_answer_as_one() {
    let data = data(2);
    let task = data.task(&data.binary, 2);
    let grow = |seed| grow_uplift_forest(&data.x, &task, &small(), Seed::new(seed), &Silent).unwrap();
    let merged = grow(1).merge(grow(2)).unwrap();
    let (a, b) = (grow(1).predict(&data.x, None), grow(2).predict(&data.x, None));
    let both = merged.predict(&data.x, None);
    assert_eq!(merged.n_trees(), 40);
    assert!((0..N).all(|i| (both[1][i] - 0.5 * (a[1][i] + b[1][i])).abs() < 1e-12));
    let other = UpliftConfig { sample_fraction: 0.4, ..small() };
    let other = grow_uplift_forest(&data.x, &task, &other, Seed::new(1), &Silent).unwrap();
    assert!(matches!(grow(1).merge(other), Err(TreesError::BadSetting { key: "sample_fraction", .. })));
}

#[test]
fn a_trees_nodes_hold_what_their_rows_say() {
    let data = data(3);
    for honest in [false, true] {
        let config = UpliftConfig { honest, ..single() };
        let tree = grow_uplift_tree(&data.x, &data.task(&data.binary, 3), &config, Seed::new(5), &Silent).unwrap();
        let root = tree.node(0);
        let n: u64 = root.rows.iter().sum();
        assert!(if honest { (2700..3300).contains(&n) } else { n == N as u64 });
        let shape = tree.tree();
        assert!(shape.n_leaves() > 2);
        for (at, node) in shape.nodes().iter().enumerate().filter(|(_, node)| !node.is_leaf()) {
            let (left, right) = (tree.node(node.left as usize), tree.node(node.right as usize));
            for arm in 0..3 {
                assert_eq!(tree.node(at).rows[arm], left.rows[arm] + right.rows[arm]);
            }
        }
        if !honest {
            // Recomputed from the rows: means, and s² / n for their variances.
            let of =
                |arm: u8| -> Vec<f64> { (0..N).filter(|&i| data.arms[i] == arm).map(|i| data.binary[i]).collect() };
            let moments = |y: &[f64]| {
                let (n, m) = (y.len() as f64, mean(y.iter().copied()));
                (m, y.iter().map(|y| (y - m) * (y - m)).sum::<f64>() / (n - 1.0) / n)
            };
            let (control, treated) = (moments(&of(0)), moments(&of(2)));
            assert!((root.means[2] - treated.0).abs() < 1e-12);
            assert!((root.effect(2) - (treated.0 - control.0)).abs() < 1e-12);
            assert!((root.error(2).unwrap() - (treated.1 + control.1).sqrt()).abs() < 1e-12);
        }
        // The answer for a row is its leaf's.
        let means = tree.predict(&data.x, None);
        for (arm, means) in means.iter().enumerate() {
            for (i, mean) in means.iter().enumerate().take(50) {
                let leaf = shape.leaf(|f| data.x.codes[f][i]);
                let node = shape.nodes().iter().position(|node| node.is_leaf() && node.left == leaf).unwrap();
                assert_eq!(*mean, tree.node(node).means[arm]);
            }
        }
    }
}

#[test]
fn errors_follow_clusters_and_weights() {
    let data = data(2);
    let criterion = UpliftKind::Euclidean;
    let stump = UpliftConfig { criterion, min_leaf_rows: 10 * N as u32, ..single() };
    let error = |task: &UpliftTask<'_>| {
        let tree = grow_uplift_tree(&data.x, task, &stump, Seed::new(5), &Silent).unwrap();
        tree.node(0).error(1).unwrap()
    };
    let task = data.task(&data.number, 2);
    let plain = error(&task);
    // Every row four times with its number as cluster knows no more than the row alone.
    let rows: Vec<u32> = data.rows.iter().flat_map(|&row| [row; 4]).collect();
    let repeated = error(&UpliftTask { rows: &rows, ..task });
    assert!((repeated / plain - 1.0).abs() < 1e-9, "{repeated} {plain}");
    // Weights of any size: the same numbers.
    let weights = vec![250.0; N];
    assert!((error(&UpliftTask { weights: Some(&weights), ..task }) / plain - 1.0).abs() < 1e-9);
    // One cluster alone cannot tell.
    let keys = vec![1; N];
    let tree = grow_uplift_tree(&data.x, &UpliftTask { keys: &keys, ..task }, &stump, Seed::new(5), &Silent).unwrap();
    assert_eq!(tree.node(0).error(1), None);
    assert_eq!(UpliftTree::from_arrays(&tree.to_arrays()).unwrap().node(0).error(1), None);
}

#[test]
fn weights_count_as_rows_do() {
    let data = data(2);
    let twice: Vec<u32> = data.rows.iter().copied().chain((0..N as u32).filter(|row| row % 3 == 0)).collect();
    let weights: Vec<f64> = (0..N).map(|row| if row % 3 == 0 { 2.0 } else { 1.0 }).collect();
    for criterion in UpliftKind::ALL {
        let config = UpliftConfig { criterion, min_leaf_rows: 1, min_arm_rows: 1, shrinkage: 0.0, ..single() };
        let grow = |task: &UpliftTask<'_>| {
            let tree = grow_uplift_tree(&data.x, task, &config, Seed::new(5), &Silent).unwrap();
            tree.predict(&data.x, None)
        };
        let task = data.task(&data.binary, 2);
        let (repeated, weighted) =
            (grow(&UpliftTask { rows: &twice, ..task }), grow(&UpliftTask { weights: Some(&weights), ..task }));
        for arm in 0..2 {
            let worst = repeated[arm].iter().zip(&weighted[arm]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-9, "{criterion:?}: {worst}");
        }
    }
}

#[test]
fn an_arm_that_a_tree_has_hardly_seen_gives_no_empty_leaf() {
    let mut data = data(3);
    // Six rows of arm 2.
    data.arms.iter_mut().enumerate().filter(|(i, _)| i % 1000 != 0).for_each(|(_, arm)| *arm %= 2);
    data.arms.iter_mut().step_by(1000).for_each(|arm| *arm = 2);
    let config = UpliftConfig { honest: true, sample_fraction: 0.3, min_arm_rows: 1, ..small() };
    let means = forest(&data, &data.task(&data.binary, 3), &config).predict(&data.x, None);
    assert!(means.iter().flatten().all(|mean| mean.is_finite()));
    let tree = grow_uplift_tree(&data.x, &data.task(&data.binary, 3), &config, Seed::new(5), &Silent).unwrap();
    assert!(tree.predict(&data.x, None).iter().flatten().all(|mean| mean.is_finite()));
}

#[test]
fn what_cannot_be_is_named() {
    let data = data(2);
    let task = data.task(&data.binary, 2);
    let error = |task: &UpliftTask<'_>, config: &UpliftConfig| {
        let forest = grow_uplift_forest(&data.x, task, config, Seed::new(1), &Silent).unwrap_err();
        let tree = grow_uplift_tree(&data.x, task, config, Seed::new(1), &Silent).unwrap_err();
        // As text: a NaN is not itself.
        assert_eq!(forest.to_string(), tree.to_string());
        forest
    };
    let config = UpliftConfig { criterion: UpliftKind::KullbackLeibler, ..small() };
    assert!(matches!(error(&data.task(&data.number, 2), &config), TreesError::BadSetting { key: "criterion", .. }));
    assert!(matches!(error(&UpliftTask { n_arms: 9, ..task }, &config), TreesError::BadSetting { key: "n_arms", .. }));
    assert_eq!(error(&UpliftTask { n_arms: 3, ..task }, &config), TreesError::EmptyArm { arm: 2 });
    assert_eq!(error(&UpliftTask { rows: &[], ..task }, &config), TreesError::NoRows);
    let outside = TreesError::RowOutOfRange { row: 9999, n_rows: N };
    assert_eq!(error(&UpliftTask { rows: &[9999], ..task }, &config), outside);
    assert!(matches!(error(&UpliftTask { keys: &[1], ..task }, &config), TreesError::Length { what: "keys", .. }));
    let broken = vec![f64::NAN; N];
    assert!(matches!(error(&data.task(&broken, 2), &config), TreesError::BadValue { what: "outcome", .. }));
    let weights = vec![-1.0; N];
    let weighted = UpliftTask { weights: Some(&weights), ..task };
    assert!(matches!(error(&weighted, &config), TreesError::BadValue { what: "weight", .. }));
    let config = UpliftConfig { max_depth: Some(0), ..config };
    assert!(matches!(error(&task, &config), TreesError::BadSetting { key: "max_depth", .. }));
}

#[test]
fn an_outcome_that_never_varies_gives_an_effect_of_nothing() {
    let data = data(2);
    for value in [0.0, 1.0, 3.5] {
        let outcome = vec![value; N];
        for criterion in UpliftKind::ALL.into_iter().filter(|kind| value != 3.5 || !kind.needs_binary()) {
            let config = UpliftConfig { criterion, ..small() };
            let means = forest(&data, &data.task(&outcome, 2), &config).predict(&data.x, None);
            assert!(means.iter().flatten().all(|mean| (mean - value).abs() < 1e-12), "{criterion:?}");
        }
    }
}
