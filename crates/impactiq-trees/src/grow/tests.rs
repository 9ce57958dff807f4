//! The grower with every kind of criterion and tile.

use impactiq_data::{BinColumns, FeatureKind, Seed};

use super::*;
use crate::criterion::arms::PackedCounts;
use crate::criterion::effect::{Effect, EffectCell, EffectStats, OneContrast, ThreeContrasts};
use crate::criterion::uplift::{FourArms, UpliftKind, UpliftRules};
use crate::matrix::columns::Columns;
use crate::matrix::{CodeMatrix, features};
use crate::sample;
use crate::tile::Part;

const N: usize = 6000;

/// A category of six levels whose levels 1 and 4 carry an effect, and three noise columns.
fn x() -> Columns {
    let seed = Seed::new(3);
    let codes = (0..4u64).map(|f| (0..N as u64).map(|i| seed.child(f).below(i, 6 + 20 * f) as u8).collect()).collect();
    let mut x = Columns::ordered(codes);
    x.kinds[0] = FeatureKind::Category;
    x
}

fn config(n_leaves: usize) -> GrowConfig {
    GrowConfig {
        n_leaves,
        max_depth: None,
        limits: Limits { min_rows: 20, min_weight: 0.0, min_gain: 0.0 },
        growth: Growth::LeafWise,
        features_per_node: None,
        min_estimate_rows: 10,
    }
}

/// Row i's outcome, contrasts and arm for K contrasts; the effect of arm k is k in the
/// levels 1 and 4 and 0 elsewhere.
fn row<const K: usize>(x: &Columns, i: usize) -> (f64, [f64; K], u8) {
    let seed = Seed::new(77);
    let arm = seed.below(i as u64, K as u64 + 1) as u8;
    let contrasts = std::array::from_fn(|k| f64::from(u8::from(usize::from(arm) == k + 1)) - 1.0 / (K as f64 + 1.0));
    let effect = if matches!(x.codes[0][i], 1 | 4) { f64::from(arm) } else { 0.0 };
    (effect + seed.child(1).uniform(i as u64) - 0.5, contrasts, arm)
}

fn honest_tile<const K: usize, const L: usize>(x: &Columns) -> (Tile<EffectCell<K, L>>, [Vec<u32>; 2]) {
    let ids: Vec<u64> = (0..N as u64).collect();
    let (split, estimate) = sample::honest_halves(&ids, &sample::rows(&ids, 0.8, Seed::new(5)), Seed::new(5));
    let part = |rows: &[u32]| {
        let cells = rows.iter().map(|&i| {
            let (y, t, arm) = row::<K>(x, i as usize);
            EffectCell::row(1.0, y, &t, arm)
        });
        Part::new(CodeMatrix::gather(x, rows), cells.collect())
    };
    (Tile::honest(part(&split), part(&estimate)), [split, estimate])
}

/// Grows an honest tree, checks that leaves are what the tree says, returns leaf effects
/// estimated on the other half, with whether each leaf holds the levels 1 and 4.
fn honest_effects<const K: usize, const L: usize>() -> Vec<(bool, [f64; K])> {
    let x = x();
    let (mut tile, halves) = honest_tile::<K, L>(&x);
    let criterion = Effect::<K, L> { min_arm_rows: 5, alpha: 0.05, imbalance_penalty: 0.0 };
    let layout = Layout::new(features(&x).unwrap());
    let grown = grow(&mut tile, &criterion, &layout, &config(2), Seed::new(1));
    assert_eq!(grown.leaves.len(), 2);
    let estimate = tile.estimate.as_ref().unwrap();
    let mut n_seen = [0; 2];
    let effects = grown.leaves.iter().enumerate().map(|(leaf, rows)| {
        let mut sums = EffectStats::<K, L>::ZERO;
        for (half, part, range) in [(0, &tile.split, &rows.split), (1, estimate, &rows.estimate)] {
            n_seen[half] += range.len();
            for &position in &part.order()[range.clone()] {
                let i = halves[half][position as usize] as usize;
                assert_eq!(grown.tree.leaf(|f| x.codes[f][i]) as usize, leaf);
                if half == 1 {
                    let (y, t, arm) = row::<K>(&x, i);
                    sums.add(1.0, y, &t, arm);
                }
            }
        }
        let inside = grown.tree.nodes()[0].feature == 0
            && grown.tree.leaf(|f| if f == 0 { 1 } else { 0 }) as usize == leaf
            && grown.tree.leaf(|f| if f == 0 { 4 } else { 0 }) as usize == leaf;
        (inside, sums.effect().unwrap())
    });
    let effects = effects.collect();
    assert_eq!(n_seen, [halves[0].len(), halves[1].len()]);
    effects
}

#[test]
fn an_honest_tree_finds_one_contrast_on_a_categorical_split() {
    let effects = honest_effects::<1, 8>();
    assert_eq!(effects.iter().filter(|(inside, _)| *inside).count(), 1);
    for (inside, [effect]) in effects {
        assert!((effect - if inside { 1.0 } else { 0.0 }).abs() < 0.1, "{effect}");
    }
    let _: OneContrast = Effect { min_arm_rows: 0, alpha: 0.0, imbalance_penalty: 0.0 };
}

#[test]
fn an_honest_tree_finds_three_contrasts_at_once() {
    let effects = honest_effects::<3, 20>();
    assert_eq!(effects.iter().filter(|(inside, _)| *inside).count(), 1);
    for (inside, effect) in effects {
        for (k, effect) in effect.into_iter().enumerate() {
            let truth = if inside { k as f64 + 1.0 } else { 0.0 };
            assert!((effect - truth).abs() < 0.15, "arm {}: {effect}", k + 1);
        }
    }
    let _: ThreeContrasts = Effect { min_arm_rows: 0, alpha: 0.0, imbalance_penalty: 0.0 };
}

#[test]
fn an_uplift_tree_grows_on_counts_of_four_arms() {
    let x = x();
    let all: Vec<u32> = (0..N as u32).collect();
    let rows: Vec<PackedCounts<2>> = (0..N)
        .map(|i| {
            let (_, _, arm) = row::<3>(&x, i);
            let rate = if matches!(x.codes[0][i], 1 | 4) { 0.2 + 0.2 * f64::from(arm) } else { 0.3 };
            PackedCounts::row(arm, Seed::new(4).uniform(i as u64) < rate)
        })
        .collect();
    let kind = UpliftKind::KullbackLeibler;
    let criterion =
        FourArms::new(UpliftRules { kind, binary: true, normalise: true, min_arm_rows: 30, shrinkage: 0.0 });
    let mut tile = Tile::adaptive(Part::new(CodeMatrix::gather(&x, &all), rows));
    let layout = Layout::new(features(&x).unwrap());
    let grown = grow(&mut tile, &criterion, &layout, &config(2), Seed::new(1));
    let leaf = |level: u8| grown.tree.leaf(|f| if f == 0 { level } else { 0 });
    assert_eq!(grown.tree.nodes()[0].feature, 0);
    assert!(leaf(1) == leaf(4) && [0, 2, 3, 5].iter().all(|&level| leaf(level) != leaf(1)));
}

#[test]
fn an_honest_tile_keeps_estimating_rows_in_every_leaf() {
    let x = x();
    let (mut tile, _) = honest_tile::<1, 8>(&x);
    let criterion = OneContrast { min_arm_rows: 5, alpha: 0.0, imbalance_penalty: 0.0 };
    let layout = Layout::new(features(&x).unwrap());
    for growth in [Growth::LeafWise, Growth::DepthWise] {
        let (mut fresh, _) = honest_tile::<1, 8>(&x);
        let config = GrowConfig { growth, ..config(60) };
        let grown = grow(&mut fresh, &criterion, &layout, &config, Seed::new(1));
        assert!(grown.leaves.len() > 20);
        assert!(grown.leaves.iter().all(|leaf| leaf.estimate.len() >= 10 && leaf.split.len() >= 20));
        let (split, estimate) =
            grown.leaves.iter().fold((0, 0), |sum, leaf| (sum.0 + leaf.split.len(), sum.1 + leaf.estimate.len()));
        assert_eq!((split, estimate), (tile.split.n_rows(), tile.estimate.as_ref().unwrap().n_rows()));
    }
    // Reusing a grower and its memory changes nothing.
    let mut grower = Grower::new(layout.clone());
    let features: Vec<u32> = (0..4).collect();
    let first = grower.grow(&mut tile, &criterion, &config(30), &features, Seed::new(1));
    let (mut again, _) = honest_tile::<1, 8>(&x);
    let second = grower.grow(&mut again, &criterion, &config(30), &features, Seed::new(1));
    assert_eq!(first.tree, second.tree);
}

#[test]
fn nodes_draw_their_own_features_and_the_draw_is_the_seeds() {
    let x = x();
    let layout = Layout::new(features(&x).unwrap());
    let criterion = OneContrast { min_arm_rows: 5, alpha: 0.0, imbalance_penalty: 0.0 };
    let grow_with = |seed| {
        let (mut tile, _) = honest_tile::<1, 8>(&x);
        let config = GrowConfig { features_per_node: Some(1), ..config(40) };
        grow(&mut tile, &criterion, &layout, &config, Seed::new(seed)).tree
    };
    assert_eq!(grow_with(1), grow_with(1));
    assert_ne!(grow_with(1), grow_with(2));
    let used: Vec<usize> =
        (0..x.n_features()).filter(|&f| grow_with(1).nodes().iter().any(|n| n.feature == f as u32)).collect();
    assert_eq!(used, [0, 1, 2, 3]);
}

#[test]
fn threads_change_no_byte_of_floating_point_sums() {
    let (n, seed) = (200_000u64, Seed::new(8));
    let codes = (0..3u64).map(|f| (0..n).map(|i| seed.child(f).below(i, 40) as u8).collect()).collect();
    let x = Columns::ordered(codes);
    let all: Vec<u32> = (0..n as u32).collect();
    let rows: Vec<EffectCell<1, 8>> = (0..n)
        .map(|i| {
            let treated = seed.hash(i) & 1;
            EffectCell::row(1.0, seed.child(7).uniform(i) - 0.5, &[treated as f64 - 0.5], treated as u8)
        })
        .collect();
    let criterion = OneContrast { min_arm_rows: 5, alpha: 0.05, imbalance_penalty: 0.0 };
    let layout = Layout::new(features(&x).unwrap());
    let grown = |threads| {
        let mut tile = Tile::adaptive(Part::new(CodeMatrix::gather(&x, &all), rows.clone()));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| grow(&mut tile, &criterion, &layout, &config(30), Seed::new(1)))
    };
    let (one, four) = (grown(1), grown(4));
    assert_eq!(one.tree, four.tree);
    assert_eq!(one.leaves, four.leaves);
}
