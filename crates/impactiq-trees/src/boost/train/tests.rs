//! The promises of boosting, and the laws of the house.

use std::sync::atomic::{AtomicU64, Ordering};

use impactiq_data::{FeatureKind, MISSING_CODE, Silent};
use proptest::prelude::*;

use super::*;
use crate::boost::config::EarlyStopping;
use crate::boost::model::BoostArrays;
use crate::grow::Growth;
use crate::matrix::columns::Columns;

/// Four ordered features (one with missing values), one category, and a target.
struct Case {
    x: Columns,
    target: Vec<f64>,
    ids: Vec<u64>,
}

fn case(n: usize, seed: u64) -> Case {
    let seed = Seed::new(seed);
    let mut codes: Vec<Vec<u8>> = (0..5u64)
        .map(|f| (0..n as u64).map(|i| seed.child(f).below(i, [60, 60, 7, 200, 9][f as usize]) as u8).collect())
        .collect();
    (0..n).filter(|&i| seed.child(90).below(i as u64, 6) == 0).for_each(|i| codes[1][i] = MISSING_CODE);
    let target = (0..n)
        .map(|i| {
            let missing = if codes[1][i] == MISSING_CODE { 1.3 } else { f64::from(codes[1][i]) * -0.02 };
            let category = [0.4, -1.0, 0.7, 0.0, 2.0, -0.3, 0.1, 0.9, -2.0][codes[4][i] as usize];
            (f64::from(codes[0][i]) * 0.15).sin() + missing + category + seed.child(91).uniform(i as u64) - 0.5
        })
        .collect();
    let mut kinds = vec![FeatureKind::Ordered; 5];
    kinds[4] = FeatureKind::Category;
    Case { x: Columns { codes, kinds }, target, ids: (0..n as u64).collect() }
}

impl Case {
    fn binary(mut self) -> Self {
        self.target.iter_mut().for_each(|y| *y = f64::from(*y > 0.8));
        self
    }

    fn fit(&self, rows: &[u32], weights: Option<&[f64]>, objective: ObjectiveKind, config: &BoostConfig) -> BoostModel {
        let task = BoostTask { rows, target: &self.target, weights, row_ids: &self.ids, objective };
        boost(&self.x, &task, config, Seed::new(11), &Silent).unwrap()
    }

    fn all(&self) -> Vec<u32> {
        (0..self.target.len() as u32).collect()
    }
}

fn predict(model: &BoostModel, x: &Columns) -> Vec<f64> {
    let mut out = vec![0.0; x.n_rows()];
    model.predict(x, None, &mut out);
    out
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn small() -> BoostConfig {
    BoostConfig { n_trees: 12, n_leaves: 9, min_leaf_rows: 1, min_leaf_weight: 5.0, ..BoostConfig::default() }
}

const BOTH: [ObjectiveKind; 2] = [ObjectiveKind::Squared, ObjectiveKind::Logistic];

fn for_objective(seed: u64, objective: ObjectiveKind) -> Case {
    let case = case(500, seed);
    if objective == ObjectiveKind::Logistic { case.binary() } else { case }
}

#[test]
fn a_full_step_on_pure_cells_recovers_their_means() {
    let codes = vec![vec![0, 0, 1, 1, 2, 2], vec![5, 5, 5, 5, 5, 5]];
    let case =
        Case { x: Columns::ordered(codes), target: vec![1.0, 3.0, 10.0, 12.0, -4.0, -6.0], ids: (0..6).collect() };
    let config = BoostConfig { n_trees: 1, learning_rate: 1.0, l2: 0.0, min_leaf_rows: 1, ..BoostConfig::default() };
    let model = case.fit(&case.all(), None, ObjectiveKind::Squared, &config);
    let expected = [2.0, 2.0, 11.0, 11.0, -5.0, -5.0];
    assert!(largest_difference(&predict(&model, &case.x), &expected) < 1e-9);
    assert_eq!(model.feature_gain()[1], 0.0);
    // Between sums of squares: 2·(0.67² + 8.33² + 7.67²) around the mean 8/3.
    let between = 2.0 * (0.666_666_667f64.powi(2) + 8.333_333_333f64.powi(2) + 7.666_666_667f64.powi(2));
    assert!((model.feature_gain()[0] - between).abs() < 1e-6);
}

#[test]
fn boosting_explains_the_signal_and_not_the_noise() {
    let train = case(8000, 1);
    let test = case(4000, 2);
    let config = BoostConfig { n_trees: 200, ..BoostConfig::default() };
    let model = train.fit(&train.all(), None, ObjectiveKind::Squared, &config);
    let mse = predict(&model, &test.x).iter().zip(&test.target).map(|(p, y)| (p - y) * (p - y)).sum::<f64>() / 4000.0;
    // The noise is uniform on (−½, ½): its variance 1/12 is the floor.
    assert!(mse > 1.0 / 12.0 && mse < 0.11, "{mse}");
}

#[test]
fn logistic_boosting_is_calibrated_on_its_own_rows() {
    let case = case(5000, 3).binary();
    let model = case.fit(&case.all(), None, ObjectiveKind::Logistic, &BoostConfig::default());
    let p = predict(&model, &case.x);
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    assert!(p.iter().all(|p| (0.0..=1.0).contains(p)));
    assert!((mean(&p) - mean(&case.target)).abs() < 0.002);
    let loss: f64 = p.iter().zip(&case.target).map(|(p, y)| -(if *y > 0.5 { *p } else { 1.0 - p }).ln()).sum();
    assert!(loss / 5000.0 < 0.2, "{}", loss / 5000.0);
}

#[test]
fn a_duplicated_row_is_weight_two() {
    // Fixed seeds, not drawn ones: twice a rounded contribution and a rounded double one differ
    // in the last bit, and about one seed in some hundreds holds two splits that close.
    for seed in [1, 2, 3, 5, 8, 13, 21, 34u64] {
        for objective in BOTH {
            let case = for_objective(seed, objective);
            let twice = |row: u32| Seed::new(seed ^ 7).below(u64::from(row), 3) == 0;
            let rows: Vec<u32> =
                case.all().into_iter().flat_map(|row| vec![row; if twice(row) { 2 } else { 1 }]).collect();
            // Uneven weights leave no ties, which rounding could break either way.
            let own: Vec<f64> = (0..500).map(|i| 0.5 + Seed::new(seed).uniform(i)).collect();
            let doubled: Vec<f64> =
                case.all().into_iter().map(|row| own[row as usize] * if twice(row) { 2.0 } else { 1.0 }).collect();
            // Smoothing counts rows, so it is off; minimums are by weight.
            let config = BoostConfig { category_smoothing: 0.0, ..small() };
            let duplicated = case.fit(&rows, Some(&own), objective, &config);
            let weighted = case.fit(&case.all(), Some(&doubled), objective, &config);
            assert!(largest_difference(&predict(&duplicated, &case.x), &predict(&weighted, &case.x)) < 1e-9);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn the_order_of_rows_does_not_matter(seed in 0u64..10_000) {
        for objective in BOTH {
            let case = for_objective(seed, objective);
            let mut rows = case.all();
            let forward = case.fit(&rows, None, objective, &small());
            rows.sort_by_key(|&row| Seed::new(seed).hash(u64::from(row)));
            let shuffled = case.fit(&rows, None, objective, &small());
            prop_assert!(largest_difference(&predict(&forward, &case.x), &predict(&shuffled, &case.x)) < 1e-9);
        }
    }

    #[test]
    fn the_order_of_features_does_not_matter(seed in 0u64..10_000) {
        for objective in BOTH {
            let case = for_objective(seed, objective);
            let order = [3usize, 4, 0, 2, 1];
            let turned = Case {
                x: Columns {
                    codes: order.iter().map(|&f| case.x.codes[f].clone()).collect(),
                    kinds: order.iter().map(|&f| case.x.kinds[f]).collect(),
                },
                target: case.target.clone(),
                ids: case.ids.clone(),
            };
            // Ties between features go to the first, so the law is for data without ties.
            let weights: Vec<f64> = (0..500).map(|i| 0.5 + Seed::new(seed).uniform(i)).collect();
            let a = case.fit(&case.all(), Some(&weights), objective, &small());
            let b = turned.fit(&case.all(), Some(&weights), objective, &small());
            prop_assert!(largest_difference(&predict(&a, &case.x), &predict(&b, &turned.x)) < 1e-9);
        }
    }

    #[test]
    fn renamed_codes_of_the_same_order_change_nothing(seed in 0u64..10_000) {
        let case = for_objective(seed, ObjectiveKind::Squared);
        let mut x = case.x.clone();
        // Feature 2 has 7 codes: stretch them over the byte, order kept.
        x.codes[2].iter_mut().for_each(|code| *code = *code * 35 + 3);
        let stretched = Case { x, target: case.target.clone(), ids: case.ids.clone() };
        let a = case.fit(&case.all(), None, ObjectiveKind::Squared, &small());
        let b = stretched.fit(&case.all(), None, ObjectiveKind::Squared, &small());
        prop_assert_eq!(predict(&a, &case.x), predict(&b, &stretched.x));
    }

    #[test]
    fn shifted_and_scaled_outcomes_shift_and_scale_predictions(
        seed in 0u64..10_000, shift in -50.0f64..50.0, scale in prop_oneof![0.01f64..0.5, 2.0f64..300.0],
    ) {
        let case = for_objective(seed, ObjectiveKind::Squared);
        let moved = Case {
            x: case.x.clone(),
            target: case.target.iter().map(|y| y * scale + shift).collect(),
            ids: case.ids.clone(),
        };
        let a = predict(&case.fit(&case.all(), None, ObjectiveKind::Squared, &small()), &case.x);
        let b = predict(&moved.fit(&case.all(), None, ObjectiveKind::Squared, &small()), &case.x);
        let back: Vec<f64> = b.iter().map(|b| (b - shift) / scale).collect();
        prop_assert!(largest_difference(&a, &back) < 1e-8);
    }

    #[test]
    fn arrays_bring_the_same_model_back(seed in 0u64..10_000) {
        let case = for_objective(seed, ObjectiveKind::Logistic);
        let model = case.fit(&case.all(), None, ObjectiveKind::Logistic, &small());
        prop_assert_eq!(BoostModel::from_arrays(&model.to_arrays()).unwrap(), model);
    }
}

#[test]
fn threads_change_no_byte() {
    let mut case = case(200_000, 4).binary();
    case.target[17] = 1.0;
    let stopping = Some(EarlyStopping { fraction: 0.2, patience: 3 });
    let plain = BoostConfig { n_trees: 4, ..BoostConfig::default() };
    let sampled = BoostConfig { row_fraction: 0.6, feature_fraction: 0.7, early_stopping: stopping, ..plain.clone() };
    for config in [plain, sampled] {
        let fit = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| case.fit(&case.all(), None, ObjectiveKind::Logistic, &config))
        };
        let (one, four) = (fit(1), fit(4));
        assert!(one.n_trees() > 0);
        assert_eq!(one, four);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(predict(&one, &case.x), pool.install(|| predict(&four, &case.x)));
    }
}

#[test]
fn rows_of_weight_zero_are_not_there() {
    let case = case(600, 5);
    let weights: Vec<f64> = (0..600).map(|i| if i < 300 { 1.5 } else { 0.0 }).collect();
    let a = case.fit(&case.all(), Some(&weights), ObjectiveKind::Squared, &small());
    let b = case.fit(&case.all()[..300], Some(&weights), ObjectiveKind::Squared, &small());
    assert_eq!(a, b);
}

#[test]
fn growth_limits_are_kept() {
    let case = case(3000, 6);
    for growth in [Growth::LeafWise, Growth::DepthWise] {
        let config =
            BoostConfig { n_trees: 5, max_depth: Some(3), n_leaves: 100, min_leaf_rows: 150, growth, ..small() };
        let model = case.fit(&case.all(), None, ObjectiveKind::Squared, &config);
        for tree in model.trees() {
            assert!(tree.n_leaves() <= 8);
            let mut counts = vec![0; tree.n_leaves()];
            (0..3000).for_each(|row| counts[tree.leaf(|f| case.x.codes[f][row]) as usize] += 1);
            assert!(counts.iter().all(|&n| n >= 150), "{counts:?}");
        }
    }
    let config = BoostConfig { n_trees: 3, n_leaves: 5, ..small() };
    let model = case.fit(&case.all(), None, ObjectiveKind::Squared, &config);
    assert!(model.trees().iter().all(|tree| tree.n_leaves() == 5));
}

#[test]
fn missing_values_and_sparse_categories_find_their_side() {
    // Missing behaves like the large codes; the two odd categories like one another.
    let n = 900usize;
    let x1: Vec<u8> = (0..n).map(|i| if i % 3 == 0 { MISSING_CODE } else { (i % 10) as u8 }).collect();
    let x2: Vec<u8> = (0..n).map(|i| (i % 7) as u8).collect();
    let target =
        (0..n).map(|i| f64::from(u8::from(x1[i] >= 5)) + 3.0 * f64::from(u8::from(x2[i] == 2 || x2[i] == 5))).collect();
    let x = Columns { codes: vec![x1, x2], kinds: vec![FeatureKind::Ordered, FeatureKind::Category] };
    let case = Case { x, target, ids: (0..n as u64).collect() };
    let config = BoostConfig {
        n_trees: 1,
        n_leaves: 4,
        learning_rate: 1.0,
        l2: 0.0,
        category_smoothing: 0.0,
        ..BoostConfig::default()
    };
    let model = case.fit(&case.all(), None, ObjectiveKind::Squared, &config);
    assert!(largest_difference(&predict(&model, &case.x), &case.target) < 1e-8);
}

#[test]
fn early_stopping_keeps_the_best_number_of_trees() {
    let mut case = case(1500, 7);
    // Mostly noise: boosting on and on must overfit.
    (0..1500).for_each(|i| case.target[i] += 12.0 * (Seed::new(1).uniform(i as u64) - 0.5));
    let config = BoostConfig {
        n_trees: 400,
        learning_rate: 0.3,
        early_stopping: Some(EarlyStopping { fraction: 0.3, patience: 10 }),
        ..BoostConfig::default()
    };
    let model = case.fit(&case.all(), None, ObjectiveKind::Squared, &config);
    let n_best = model.n_trees();
    assert!(n_best < 60, "{n_best}");
    // The same trees again, measured one by one on the rows kept apart.
    let (_, validation) = sample::validation(&case.ids, 0.3, Seed::new(11));
    let all = BoostConfig { n_trees: n_best + 10, early_stopping: None, ..config.clone() };
    let training: Vec<u32> = case.all().into_iter().filter(|row| validation.binary_search(row).is_err()).collect();
    let longer = case.fit(&training, None, ObjectiveKind::Squared, &all);
    assert_eq!(longer.trees()[..n_best], model.trees()[..]);
    let loss = |n: usize| {
        let mut cut = longer.clone();
        cut.trees.truncate(n);
        cut.values.truncate(n);
        let p = predict(&cut, &case.x);
        validation.iter().map(|&r| (p[r as usize] - case.target[r as usize]).powi(2)).sum::<f64>()
    };
    let best = (0..=n_best + 10).min_by(|&a, &b| loss(a).total_cmp(&loss(b))).unwrap();
    assert_eq!(best, n_best);
}

#[test]
fn a_stopped_run_leaves_a_usable_smaller_model() {
    struct After(AtomicU64);
    impl Watch for After {
        fn progress(&self, stage: &str, done: u64, total: u64) {
            assert_eq!((stage, total), ("boosting", 12));
            self.0.store(done, Ordering::Relaxed);
        }
        fn should_stop(&self) -> bool {
            self.0.load(Ordering::Relaxed) >= 5
        }
    }
    let case = case(500, 8);
    let (rows, target, row_ids) = (case.all(), &case.target[..], &case.ids[..]);
    let task = BoostTask { rows: &rows, target, weights: None, row_ids, objective: ObjectiveKind::Squared };
    let stopped = boost(&case.x, &task, &small(), Seed::new(11), &After(AtomicU64::new(0))).unwrap();
    let whole = boost(&case.x, &task, &small(), Seed::new(11), &Silent).unwrap();
    assert_eq!(stopped.n_trees(), 5);
    assert_eq!(stopped.trees(), &whole.trees()[..5]);
    let never = boost(&case.x, &task, &small(), Seed::new(11), &After(AtomicU64::new(9)));
    assert_eq!(never, Err(TreesError::Stopped));
}

#[test]
fn constant_targets_give_the_constant() {
    let mut case = case(400, 9);
    for (constant, objective) in [(0.1, ObjectiveKind::Squared), (0.0, ObjectiveKind::Logistic)] {
        case.target.fill(constant);
        let model = case.fit(&case.all(), None, objective, &BoostConfig::default());
        assert!(predict(&model, &case.x).iter().all(|p| (p - constant).abs() < 1e-8));
    }
}

#[test]
fn tasks_that_cannot_be_are_named() {
    let case = case(10, 10);
    let rows = case.all();
    let task = BoostTask {
        rows: &rows,
        target: &case.target,
        weights: None,
        row_ids: &case.ids,
        objective: ObjectiveKind::Logistic,
    };
    let run = |task: &BoostTask<'_>| boost(&case.x, task, &BoostConfig::default(), Seed::new(0), &Silent).unwrap_err();
    assert!(matches!(run(&task), TreesError::BadValue { what: "target", .. }));
    let squared = BoostTask { objective: ObjectiveKind::Squared, ..task };
    assert_eq!(run(&BoostTask { rows: &[], ..squared }), TreesError::NoRows);
    assert_eq!(run(&BoostTask { rows: &[10], ..squared }), TreesError::RowOutOfRange { row: 10, n_rows: 10 });
    let negative = vec![-1.0; 10];
    assert!(matches!(
        run(&BoostTask { weights: Some(&negative), ..squared }),
        TreesError::BadValue { what: "weight", .. }
    ));
    assert!(matches!(run(&BoostTask { row_ids: &[1], ..squared }), TreesError::Length { what: "row_ids", .. }));
    assert!(matches!(run(&BoostTask { target: &[], ..squared }), TreesError::Length { what: "target", .. }));
}

/// One change to arrays that a damaged or hostile file could hold.
fn damage(arrays: &mut BoostArrays, what: u8, at: usize, value: u64) {
    fn set<T>(values: &mut [T], at: usize, value: T) {
        let n = values.len();
        if n > 0 {
            values[at % n] = value;
        }
    }
    let trees = &mut arrays.trees;
    match what {
        0 => set(&mut trees.feature, at, value as u32),
        1 => set(&mut trees.left, at, value as u32 % 40),
        2 => set(&mut trees.right, at, value as u32 % 40),
        3 => set(&mut trees.set, at, value as u32),
        4 => set(&mut trees.code, at, value as u8),
        5 => set(&mut trees.flags, at, value as u8),
        6 => set(&mut trees.gain, at, f64::from_bits(value)),
        7 => set(&mut trees.n_nodes, at, value as u32),
        8 => set(&mut trees.n_sets, at, value as u32),
        9 => trees.sets.truncate(at),
        10 => arrays.values.truncate(at),
        11 => set(&mut arrays.values, at, f64::from_bits(value)),
        12 => arrays.n_features = value as usize,
        13 => trees.version = value as u32,
        14 => set(&mut trees.feature, at, u32::MAX),
        15 => trees.left.truncate(at),
        _ => arrays.start = f64::from_bits(value),
    }
}

proptest! {
    #[test]
    fn hostile_arrays_are_refused_or_answer(
        damages in prop::collection::vec((0u8..17, 0usize..200, prop_oneof![any::<u64>(), 0u64..50]), 1..4),
    ) {
        let case = case(300, 12);
        let model = case.fit(&case.all(), None, ObjectiveKind::Squared, &BoostConfig { n_trees: 3, ..small() });
        let mut arrays = model.to_arrays();
        damages.iter().for_each(|&(what, at, value)| damage(&mut arrays, what, at, value));
        let model = BoostModel::from_arrays(&arrays).ok().filter(|model| model.n_features() == 5);
        if let Some(model) = model {
                let rows: Vec<u32> = (0..20).collect();
                let mut out = vec![0.0; 20];
                model.predict(&case.x, Some(&rows), &mut out);
                let mut all = vec![0.0; 300];
                model.predict_raw(&case.x, None, &mut all[..300]);
                prop_assert!(out.iter().all(|p| !p.is_nan()));
        }
    }
}
