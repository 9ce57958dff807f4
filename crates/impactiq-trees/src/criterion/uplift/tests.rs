//! Hand arithmetic against the papers.

use super::*;
use crate::criterion::arms::{ArmCounts, ArmMoments, Counts, PackedCounts};
use crate::criterion::{CELL_ROWS, summarise};
use crate::stats::Stats;

fn counts<const A: usize>(arms: [(u32, u32); A]) -> Counts<A> {
    Counts(arms.map(|(rows, events)| ArmCounts { rows, events }))
}

fn rules(kind: UpliftKind, normalise: bool) -> UpliftRules {
    UpliftRules { kind, binary: true, normalise, min_arm_rows: 1, shrinkage: 0.0 }
}

fn gain<const A: usize, F: ArmForm<A>>(rules: UpliftRules, left: F::Sums, right: F::Sums) -> Option<f64> {
    let criterion = Uplift::<A, F>::new(rules);
    let mut total = left;
    total += right;
    criterion.gain(&criterion.node(&total)?, &left, &right)
}

fn two(rules: UpliftRules, left: Counts<2>, right: Counts<2>) -> Option<f64> {
    gain::<2, Counted<1>>(rules, left, right)
}

/// Left: control 1/10, treated 5/10. Right: control 3/10, treated 3/10.
/// Node: control 4/20 = 0.2, treated 8/20 = 0.4. Halves weigh ½ each.
fn sides() -> (Counts<2>, Counts<2>) {
    (counts([(10, 1), (10, 5)]), counts([(10, 3), (10, 3)]))
}

fn close(found: Option<f64>, wanted: f64) {
    assert!((found.unwrap() - wanted).abs() < 1e-12, "{found:?} is not {wanted}");
}

#[test]
fn divergences_agree_with_hand_arithmetic() {
    let (p, q) = (0.5, 0.2);
    let kl = 0.5 * 2.5f64.ln() + 0.5 * 0.625f64.ln();
    assert!((UpliftKind::KullbackLeibler.divergence(p, q) - kl).abs() < 1e-12);
    assert!((UpliftKind::Euclidean.divergence(p, q) - 0.18).abs() < 1e-12);
    assert!((UpliftKind::ChiSquare.divergence(p, q) - (0.45 + 0.1125)).abs() < 1e-12);
    assert!(UpliftKind::KullbackLeibler.divergence(0.0, 1.0).is_finite());
}

#[test]
fn divergence_gains_agree_with_hand_arithmetic() {
    let (left, right) = sides();
    let euclidean = 0.5 * 0.32 - 0.08;
    close(two(rules(UpliftKind::Euclidean, false), left, right), euclidean);
    let (left_chi, node_chi) = (0.16 / 0.1 + 0.16 / 0.9, 0.04 / 0.2 + 0.04 / 0.8);
    close(two(rules(UpliftKind::ChiSquare, false), left, right), 0.5 * left_chi - node_chi);
    let left_kl = 0.5 * 5f64.ln() + 0.5 * (0.5f64 / 0.9).ln();
    let kl = 0.5 * left_kl - (0.4 * 2f64.ln() + 0.6 * 0.75f64.ln());
    close(two(rules(UpliftKind::KullbackLeibler, false), left, right), kl);
    // The arms are split alike (½ each): the factor is Gini ½ for both arms, plus ½.
    close(two(rules(UpliftKind::Euclidean, true), left, right), euclidean / 1.0);
    close(two(rules(UpliftKind::KullbackLeibler, true), left, right), kl / (0.5 + std::f64::consts::LN_2));
}

#[test]
fn the_difference_of_uplifts_is_taken_absolutely() {
    let (left, right) = sides();
    // Uplift .4 on the left, 0 on the right; the sides' names do not matter.
    close(two(rules(UpliftKind::DeltaDeltaP, true), left, right), 0.4);
    close(two(rules(UpliftKind::DeltaDeltaP, false), right, left), 0.4);
    let shrunk = UpliftRules { shrinkage: 10.0, ..rules(UpliftKind::DeltaDeltaP, false) };
    // Left .45 − .15, right .35 − .25.
    close(two(shrunk, left, right), 0.2);
}

#[test]
fn the_interaction_is_the_squared_t_of_its_paper() {
    let (left, right) = sides();
    // Sums of squares: .9 and 2.5 on the left, 2.1 and 2.1 on the right; 36 degrees of freedom.
    let variance = 7.6 / 36.0;
    close(two(rules(UpliftKind::Interaction, true), left, right), 0.16 / (variance * 0.4));
    // Uneven cells: 1/n is summed cell by cell.
    let (left, right) = (counts([(10, 2), (40, 20)]), counts([(20, 5), (5, 1)]));
    let variance = (1.6 + 10.0 + 3.75 + 0.8) / 71.0;
    let t = (0.3 - -0.05) / f64::sqrt(variance * (0.1 + 0.025 + 0.05 + 0.2));
    close(two(rules(UpliftKind::Interaction, false), left, right), t * t);
}

#[test]
fn the_interaction_of_moments_is_that_of_the_numbers() {
    // Outcomes by cell; squares by hand from the numbers themselves.
    let cells = [[vec![1.0, 2.0, 3.0], vec![4.0, 6.0]], [vec![0.0, 1.0], vec![2.0, 2.5, 3.0, 0.5]]];
    let sums = |side: &[Vec<f64>; 2]| {
        ArmMoments::<2>(std::array::from_fn(|arm| {
            let y = &side[arm];
            let n = y.len() as f64;
            [n, n, y.iter().sum(), y.iter().map(|y| y * y).sum()]
        }))
    };
    let binary_off = UpliftRules { binary: false, ..rules(UpliftKind::Interaction, false) };
    let found = gain::<2, Moments>(binary_off, sums(&cells[0]), sums(&cells[1]));
    // Means 2, 5 | .5, 2; squares 2, 2 | .5, 3.5; freedom 11 − 4.
    let variance = 8.0 / 7.0;
    close(found, f64::powi(3.0 - 1.5, 2) / (variance * (1.0 / 3.0 + 0.5 + 0.5 + 0.25)));
    let euclidean = UpliftRules { kind: UpliftKind::Euclidean, ..binary_off };
    // Node means 7 / 5 and 18 / 6.
    let node = (18.0f64 / 6.0 - 7.0 / 5.0).powi(2);
    close(gain::<2, Moments>(euclidean, sums(&cells[0]), sums(&cells[1])), (5.0 * 9.0 + 6.0 * 2.25) / 11.0 - node);
    let ddp = UpliftRules { kind: UpliftKind::DeltaDeltaP, ..binary_off };
    close(gain::<2, Moments>(ddp, sums(&cells[0]), sums(&cells[1])), 1.5);
    // Outcomes that never vary within an arm have nothing to be tested.
    let flat = ArmMoments::<2>([[2.0, 2.0, 2.0, 2.0]; 2]);
    assert_eq!(gain::<2, Moments>(binary_off, flat, flat), None);
}

#[test]
fn counts_and_moments_of_the_same_rows_gain_the_same() {
    let (left, right) = sides();
    let moments = |counts: &Counts<2>| {
        ArmMoments::<2>(counts.0.map(|arm| {
            let (rows, events) = (f64::from(arm.rows), f64::from(arm.events));
            [rows, rows, events, events]
        }))
    };
    for kind in UpliftKind::ALL {
        let rules = UpliftRules { shrinkage: 3.0, ..rules(kind, true) };
        let by_moments = gain::<2, Moments>(rules, moments(&left), moments(&right));
        assert_eq!(by_moments, two(rules, left, right), "{kind:?}");
    }
}

#[test]
fn selection_counts_the_best_arm_of_each_child() {
    let (left, right) = (counts([(10, 1), (10, 5), (10, 2), (0, 0)]), counts([(10, 3), (10, 3), (10, 4), (0, 0)]));
    // Left best .5, right best .4; in the node control .2, .4 and .3.
    let found = gain::<4, Counted<2>>(rules(UpliftKind::ContextualSelection, true), left, right);
    close(found, 0.5 * 0.5 + 0.5 * 0.4 - 0.4);
}

#[test]
fn a_split_that_separates_the_arms_is_punished() {
    // Same rates in every cell of the split, arms unevenly spread.
    let (left, right) = (counts([(90, 9), (10, 5)]), counts([(10, 3), (90, 27)]));
    let plain = two(rules(UpliftKind::Euclidean, false), left, right).unwrap();
    let normalised = two(rules(UpliftKind::Euclidean, true), left, right).unwrap();
    // Gini(½)·2·0.8² + ½·Gini(.9) + ½·Gini(.1) + ½ = 0.64 + 0.18 + 0.5
    assert!((plain / normalised - (0.5 * 1.28 + 0.18 + 0.5)).abs() < 1e-12);
}

#[test]
fn several_treatments_add_their_divergences_and_absent_arms_take_no_part() {
    let (left, right) = (counts([(10, 1), (10, 5), (10, 2), (0, 0)]), counts([(10, 3), (10, 3), (10, 4), (0, 0)]));
    // Arm 1 as above; arm 2: left .2 against .1, right .4 against .3, node .3 against .2.
    let arm_two = 0.5 * 0.02 + 0.5 * 0.02 - 0.02;
    close(gain::<4, Counted<2>>(rules(UpliftKind::Euclidean, false), left, right), 0.08 + arm_two);
    let ddp = gain::<4, Counted<2>>(rules(UpliftKind::DeltaDeltaP, false), left, right);
    // Uplifts .4 and .1 on the left, 0 and .1 on the right.
    close(ddp, 0.4);
    // F with two treatments against least squares by hand: cell means m, all cells n = 10, so the
    // interaction's squares are 5 Σ (d − d̄)², d = m_left − m_right = −.2, .2, −.2.
    let squares = 10.0 * (0.09 + 0.25 + 0.16 + 0.21 + 0.21 + 0.24);
    let (mean, variance) = (-0.2 / 3.0, squares / 54.0);
    let between = 5.0 * (2.0 * f64::powi(-0.2 - mean, 2) + f64::powi(0.2 - mean, 2));
    let f = gain::<4, Counted<2>>(rules(UpliftKind::Interaction, false), left, right);
    close(f, between / (2.0 * variance));
    let strict = UpliftRules { min_arm_rows: 11, ..rules(UpliftKind::Euclidean, false) };
    assert_eq!(gain::<4, Counted<2>>(strict, left, right), None);
    let no_control = counts([(0, 0), (10, 5)]);
    assert!(TwoArms::new(rules(UpliftKind::Euclidean, false)).node(&no_control).is_none());
}

#[test]
fn shrinkage_draws_children_to_their_node() {
    let (left, right) = sides();
    let shrunk = UpliftRules { shrinkage: 10.0, ..rules(UpliftKind::Euclidean, false) };
    // Left: treated (5 + 4)/20 = .45, control (1 + 2)/20 = .15; right: .35 and .25.
    close(two(shrunk, left, right), 0.5 * (2.0 * 0.09) + 0.5 * (2.0 * 0.01) - 0.08);
}

#[test]
fn packed_counts_hold_a_full_cell_and_more() {
    let criterion = FourArms::new(rules(UpliftKind::Euclidean, false));
    let rows: Vec<PackedCounts<2>> =
        (0..2 * CELL_ROWS + 5).map(|i| PackedCounts::row(3 - u8::from(i % 9 == 0), i % 2 == 0)).collect();
    let sums = summarise(&criterion, rows.iter());
    let n = rows.len() as u32;
    assert_eq!(sums.n_rows(), n);
    let ninth = n.div_ceil(9);
    assert_eq!((sums.0[2].rows, sums.0[3].rows), (ninth, n - ninth));
    assert_eq!(sums.0[2].events + sums.0[3].events, n.div_ceil(2));
}
