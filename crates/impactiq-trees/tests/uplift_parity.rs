//! Uplift trees beside CausalML's on the same rows: the same splits, rows and arm means.
//!
//! The peer's trees are in `golden/causalml_uplift_tree.json` (its version, command and the hash of
//! its input stand there); no command of ours rewrites it.

use impactiq_data::{BinnedFeatures, Column, Seed, Silent, Table};
use impactiq_trees::{Rule, UpliftConfig, UpliftKind, UpliftTask, UpliftTree, grow_uplift_tree};
use serde_json::Value;

const N: usize = 6000;
const LEVELS: [u64; 4] = [12, 15, 20, 3];

struct Rows {
    x: BinnedFeatures,
    arms: Vec<u8>,
    outcome: Vec<f64>,
    fnv1a: String,
}

/// The script's rows: a linear congruential generator, 31 high bits a draw.
fn rows(n_arms: u64) -> Rows {
    let mut state = 2026 + n_arms;
    let mut below = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let mut columns: [Vec<f64>; 4] = Default::default();
    let (mut arms, mut outcome) = (Vec::new(), Vec::new());
    let mut digest = 0xCBF2_9CE4_8422_2325u64;
    for _ in 0..N {
        let x = LEVELS.map(&mut below);
        let arm = below(n_arms);
        let mut rate = 150 + 10 * x[1] as i64;
        if x[0] >= 7 {
            rate += 150 * arm as i64;
        }
        if x[2] < 6 {
            rate -= 80 * arm as i64;
        }
        let event = u64::from((below(1000) as i64) < rate);
        for byte in x.into_iter().chain([arm, event]) {
            digest = (digest ^ byte).wrapping_mul(0x0100_0000_01B3);
        }
        columns.iter_mut().zip(x).for_each(|(column, x)| column.push(x as f64));
        arms.push(arm as u8);
        outcome.push(event as f64);
    }
    let names: Vec<String> = (0..4).map(|i| format!("x{i}")).collect();
    let mut table = Table::new();
    names.iter().zip(columns).for_each(|(name, x)| table.push(name.clone(), Column::Number(x)).unwrap());
    let x = BinnedFeatures::learn(&table, &names, Seed::new(1), 255).unwrap();
    Rows { x, arms, outcome, fnv1a: format!("{digest:016x}") }
}

/// The tree against the peer's from a node down.
fn compare(name: &str, tree: &UpliftTree, at: usize, peer: &Value) {
    let node = tree.node(at);
    assert_eq!(node.rows.iter().sum::<u64>(), peer["rows"].as_u64().unwrap(), "{name}, node {at}: rows");
    for (arm, mean) in node.means.iter().enumerate() {
        let wanted = peer["means"][arm].as_f64().unwrap();
        assert!((mean - wanted).abs() < 1e-12, "{name}, node {at}, arm {arm}: {mean} is not {wanted}");
    }
    let shape = tree.tree().nodes()[at];
    let Some(threshold) = peer.get("threshold") else {
        assert!(shape.is_leaf(), "{name}, node {at}: the peer has a leaf here");
        return;
    };
    assert!(!shape.is_leaf(), "{name}, node {at}: the peer has a split here");
    let Rule::AtMost { code, .. } = tree.tree().rule(&shape) else { panic!("{name}: a set of numbers") };
    // Every value 0, 1, … has a code of its own, cut halfway to the next.
    let found = (u64::from(shape.feature), f64::from(code) + 0.5);
    assert_eq!(found, (peer["feature"].as_u64().unwrap(), threshold.as_f64().unwrap()), "{name}, node {at}: split");
    compare(name, tree, shape.left as usize, &peer["left"]);
    compare(name, tree, shape.right as usize, &peer["right"]);
}

#[test]
fn trees_are_causalmls_where_the_conventions_are_the_same() {
    let golden: Value = serde_json::from_str(include_str!("golden/causalml_uplift_tree.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 12);
    let all: Vec<u32> = (0..N as u32).collect();
    let keys: Vec<u64> = (0..N as u64).collect();
    let mut n_splits = 0;
    for case in cases {
        let n_arms = case["n_arms"].as_u64().unwrap();
        let rows = rows(n_arms);
        assert_eq!(golden["input_fnv1a"][n_arms.to_string()], rows.fnv1a.as_str(), "the peer saw other rows");
        let criterion = case["criterion"].as_str().unwrap();
        let config = UpliftConfig {
            criterion: UpliftKind::ALL.into_iter().find(|kind| kind.name() == criterion).unwrap(),
            normalise: false,
            shrinkage: case["shrinkage"].as_f64().unwrap(),
            max_depth: Some(case["depth"].as_u64().unwrap() as u32),
            sample_fraction: 1.0,
            features_per_node: Some(4),
            min_leaf_rows: 200,
            min_arm_rows: 1,
            ..UpliftConfig::default()
        };
        let task = UpliftTask {
            rows: &all,
            outcome: &rows.outcome,
            arms: &rows.arms,
            n_arms: n_arms as usize,
            weights: None,
            keys: &keys,
        };
        let tree = grow_uplift_tree(&rows.x, &task, &config, Seed::new(1), &Silent).unwrap();
        compare(&format!("{criterion}, {n_arms} arms, {config:?}"), &tree, 0, &case["tree"]);
        n_splits += tree.tree().n_leaves() - 1;
    }
    assert!(n_splits > 50, "{n_splits} splits prove little");
}
