//! The scan against a twin that tries everything the slow way.

use impactiq_data::Seed;
use proptest::prelude::*;

use super::*;
use crate::criterion::arms::PackedCounts;
use crate::criterion::newton::{Grid, Newton, NewtonCell};
use crate::criterion::summarise;
use crate::criterion::uplift::{TwoArms, UpliftKind, UpliftRules};
use crate::histogram::{Rows, Scratch, Selection, build, total};
use crate::matrix::columns::Columns;
use crate::matrix::{CodeMatrix, features};
use crate::records::Records;

const NO_LIMITS: Limits = Limits { min_rows: 1, min_weight: 0.0, min_gain: 0.0 };
const LIMITS: Limits = Limits { min_rows: 3, min_weight: 0.5, min_gain: 0.0 };

fn columns(n: usize, n_codes: u64, kind: FeatureKind, missing: bool, seed: Seed) -> Columns {
    let codes = (0..2u64)
        .map(|f| {
            (0..n as u64)
                .map(|i| {
                    let code = seed.child(f).below(i, n_codes + u64::from(missing));
                    if code == n_codes { MISSING_CODE } else { code as u8 }
                })
                .collect()
        })
        .collect();
    Columns { codes, kinds: vec![kind; 2] }
}

fn scan<C: Criterion>(criterion: &C, x: &Columns, rows: &[C::Row]) -> Option<Split<C::Stats>> {
    scan_within(criterion, x, rows, &LIMITS)
}

fn scan_within<C: Criterion>(criterion: &C, x: &Columns, rows: &[C::Row], limits: &Limits) -> Option<Split<C::Stats>> {
    let layout = Layout::new(features(x).unwrap());
    let all: Vec<u32> = (0..rows.len() as u32).collect();
    let records = Records::new(&CodeMatrix::gather(x, &all), rows.to_vec());
    let mut cells = vec![C::Stats::ZERO; layout.n_cells()];
    let selection = Selection::Run { first: 0, n: rows.len() };
    let rows = Rows { records: &records, selection };
    let mut scratch = Scratch::default();
    build(criterion, &layout, &[0, 1], rows, &mut scratch, &mut cells);
    let space = SearchSpace { layout: &layout, features: &[0, 1], limits };
    let total = total(&cells[layout.range(0)]);
    let split = best_split(criterion, &total, &cells, &space);
    // The path for small nodes is the same scan, and leaves its cells empty.
    for _ in 0..2 {
        let direct = best_split_of_rows(criterion, &total, rows, &space, &mut scratch);
        let name = |split: &Option<Split<C::Stats>>| split.map(|s| (s.feature, s.rule, s.gain, s.left.n_rows()));
        assert_eq!(name(&direct), name(&split));
    }
    split
}

/// The gain of sending rows left by a rule, from the rows themselves.
fn gain_of<C: Criterion>(criterion: &C, codes: &[u8], rows: &[C::Row], goes_left: impl Fn(u8) -> bool) -> Option<f64> {
    gain_within(criterion, codes, rows, &LIMITS, goes_left)
}

fn gain_within<C: Criterion>(
    criterion: &C,
    codes: &[u8],
    rows: &[C::Row],
    limits: &Limits,
    goes_left: impl Fn(u8) -> bool,
) -> Option<f64> {
    let side = |left: bool| {
        summarise(criterion, codes.iter().zip(rows).filter(|(code, _)| goes_left(**code) == left).map(|(_, row)| row))
    };
    let (left, right) = (side(true), side(false));
    let small = |s: &C::Stats| s.n_rows() < limits.min_rows || s.weight() < limits.min_weight;
    if small(&left) || small(&right) {
        return None;
    }
    criterion.gain(&criterion.node(&summarise(criterion, rows.iter()))?, &left, &right)
}

/// The best gain over all thresholds with missing on either side.
fn best_threshold<C: Criterion>(criterion: &C, x: &Columns, rows: &[C::Row]) -> Option<f64> {
    let mut best: Option<f64> = None;
    for codes in &x.codes {
        for (code, missing_left) in (0..255u8).flat_map(|code| [(code, false), (code, true)]) {
            let rule = Rule::AtMost { code, missing_left };
            let gain = gain_of(criterion, codes, rows, |code| rule.goes_left(code));
            best = [best, gain].into_iter().flatten().reduce(f64::max);
        }
    }
    best
}

/// The best gain over all sets of categories.
fn best_set<C: Criterion>(criterion: &C, x: &Columns, rows: &[C::Row], n_codes: u32) -> Option<f64> {
    let mut best: Option<f64> = None;
    for codes in &x.codes {
        for set in 1..(1u32 << n_codes) - 1 {
            let gain = gain_within(criterion, codes, rows, &NO_LIMITS, |code| {
                set.checked_shr(code.into()).unwrap_or(0) & 1 == 1
            });
            best = [best, gain].into_iter().flatten().reduce(f64::max);
        }
    }
    best
}

fn newton_rows(n: usize, seed: Seed) -> (Newton, Vec<NewtonCell>) {
    let grid = Grid::new(n, 1.0, 1.0);
    let rows = (0..n as u64).map(|i| grid.row(seed.uniform(i) * 2.0 - 1.0, seed.child(5).uniform(i))).collect();
    (Newton { l2: 0.0, category_smoothing: 0.0, grid }, rows)
}

fn uplift_rows(n: usize, seed: Seed) -> Vec<PackedCounts<1>> {
    (0..n as u64).map(|i| PackedCounts::row((seed.hash(i) & 1) as u8, seed.child(3).uniform(i) < 0.4)).collect()
}

fn close(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * b.abs().max(1.0),
        _ => false,
    }
}

/// The rule a split names leads to the very sums and gain it names.
fn consistent<C: Criterion>(criterion: &C, x: &Columns, rows: &[C::Row], split: &Split<C::Stats>) -> bool {
    let codes = &x.codes[split.feature as usize];
    let left = codes.iter().filter(|&&code| split.rule.goes_left(code)).count();
    left == split.left.n_rows() as usize
        && close(gain_of(criterion, codes, rows, |code| split.rule.goes_left(code)), Some(split.gain))
}

proptest! {
    #[test]
    fn thresholds_are_the_best_there_are(n in 6usize..80, n_codes in 2u64..30, missing: bool, seed: u64) {
        let seed = Seed::new(seed);
        let x = columns(n, n_codes, FeatureKind::Ordered, missing, seed.child(8));
        let (newton, rows) = newton_rows(n, seed);
        let split = scan(&newton, &x, &rows);
        prop_assert!(close(split.map(|s| s.gain), best_threshold(&newton, &x, &rows)));
        prop_assert!(split.is_none_or(|s| consistent(&newton, &x, &rows, &s)));
        let kind = UpliftKind::KullbackLeibler;
        let uplift = TwoArms::new(UpliftRules { kind, binary: true, normalise: true, min_arm_rows: 1, shrinkage: 2.0 });
        let rows = uplift_rows(n, seed);
        let split = scan(&uplift, &x, &rows);
        prop_assert!(close(split.map(|s| s.gain), best_threshold(&uplift, &x, &rows)));
        prop_assert!(split.is_none_or(|s| consistent(&uplift, &x, &rows, &s)));
    }

    #[test]
    fn sets_of_categories_are_the_best_there_are_for_newton(n in 8usize..80, seed: u64) {
        // Fisher (1958): with sums of squares, the best set is a prefix of the sorted means.
        let seed = Seed::new(seed);
        let x = columns(n, 6, FeatureKind::Category, false, seed.child(8));
        let (newton, rows) = newton_rows(n, seed);
        let best = best_set(&newton, &x, &rows, 6);
        let split = scan_within(&newton, &x, &rows, &NO_LIMITS);
        prop_assert!(close(split.map(|s| s.gain), best), "{split:?} {best:?}");
    }

    #[test]
    fn one_category_against_the_rest_is_always_tried(n in 30usize..80, seed: u64) {
        let seed = Seed::new(seed);
        let x = columns(n, 5, FeatureKind::Category, false, seed.child(8));
        let rows = uplift_rows(n, seed);
        let kind = UpliftKind::ChiSquare;
        let uplift = TwoArms::new(UpliftRules { kind, binary: true, normalise: true, min_arm_rows: 1, shrinkage: 0.0 });
        let single = x.codes.iter().flat_map(|codes| (0..5u8).map(move |code| (codes, code)))
            .filter_map(|(codes, alone)| gain_of(&uplift, codes, &rows, |code| code == alone))
            .reduce(f64::max);
        if let Some(single) = single {
            let split = scan(&uplift, &x, &rows).unwrap();
            prop_assert!(split.gain >= single - 1e-12);
            prop_assert!(consistent(&uplift, &x, &rows, &split));
        }
    }
}

#[test]
fn codes_never_seen_follow_the_majority() {
    let seed = Seed::new(1);
    // Category 9 of ten is rare and far off; categories 3 to 8 do not occur.
    let codes: Vec<u8> = (0..40).map(|i| if i < 6 { 9 } else { (i % 3) as u8 }).collect();
    let grid = Grid::new(40, 1.0, 1.0);
    let newton = Newton { l2: 0.0, category_smoothing: 0.0, grid };
    let rows: Vec<NewtonCell> = codes
        .iter()
        .enumerate()
        .map(|(i, &c)| grid.row(if c == 9 { 0.9 } else { seed.uniform(i as u64) * 0.01 }, 1.0))
        .collect();
    for kind in [FeatureKind::Category, FeatureKind::Ordered] {
        let x = Columns { codes: vec![codes.clone(), vec![0; 40]], kinds: vec![kind; 2] };
        let split = scan(&newton, &x, &rows).unwrap();
        let side_of_most = split.rule.goes_left(0);
        assert_ne!(split.rule.goes_left(9), side_of_most);
        assert_eq!(split.rule.goes_left(MISSING_CODE), side_of_most);
        if kind == FeatureKind::Category {
            assert!((3..9).all(|code| split.rule.goes_left(code) == side_of_most));
        }
    }
}

#[test]
fn ties_go_to_the_first_feature_and_the_lowest_code() {
    let codes: Vec<u8> = (0..40).map(|i| (i / 10) as u8).collect();
    let x = Columns::ordered(vec![codes.clone(), codes]);
    let grid = Grid::new(40, 1.0, 1.0);
    let newton = Newton { l2: 0.0, category_smoothing: 0.0, grid };
    // Means 0, 1, 1, 0 by code: the cuts after code 0 and after code 2 gain the same.
    let rows: Vec<NewtonCell> = (0..40).map(|i| grid.row(f64::from(u8::from((10..30).contains(&i))), 1.0)).collect();
    let split = scan(&newton, &x, &rows).unwrap();
    assert_eq!((split.feature, split.left.n_rows), (0, 10));
}
