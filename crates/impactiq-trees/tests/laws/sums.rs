//! A sibling by subtraction equals its direct sums, for every criterion's sums.

use impactiq_data::Seed;
use impactiq_trees::criterion::effect::{Effect, EffectCell};
use impactiq_trees::criterion::instrument::{Instrument, InstrumentRow};
use impactiq_trees::criterion::mean::Mean;
use impactiq_trees::criterion::newton::{Grid, Newton};
use impactiq_trees::histogram::{Rows, Scratch, Selection, build, subtract};
use impactiq_trees::matrix::features;
use impactiq_trees::records::Records;
use impactiq_trees::{CodeMatrix, Criterion, Layout, Stats};

use crate::trial::Trial;

/// Compares the sums of the rows that go right, by subtraction and directly, as text: sums of these
/// numbers are exact, so every digit must agree.
fn check<C: Criterion>(criterion: &C, row: impl Fn(&Trial, usize) -> C::Row) {
    let trial = Trial::new(20);
    let all: Vec<u32> = (0..trial.n() as u32).collect();
    let layout = Layout::new(features(&trial.x).unwrap());
    let rows = (0..trial.n()).map(|i| row(&trial, i)).collect();
    let records = Records::new(&CodeMatrix::gather(&trial.x, &all), rows);
    let (left, right): (Vec<u32>, Vec<u32>) = all.iter().partition(|&&row| Seed::new(3).below(u64::from(row), 3) == 0);
    let mut scratch = Scratch::default();
    let mut sums = |rows: &[u32]| {
        let mut out = vec![C::Stats::ZERO; layout.n_cells()];
        let rows = Rows { records: &records, selection: Selection::Positions(rows) };
        build(criterion, &layout, &[0, 1, 2, 3], rows, &mut scratch, &mut out);
        out
    };
    let (mut parent, left, right) = (sums(&all), sums(&left), sums(&right));
    assert_ne!(format!("{parent:?}"), format!("{right:?}"));
    subtract(&mut parent, &left);
    assert_eq!(format!("{parent:?}"), format!("{right:?}"));
}

fn half(on: bool) -> f64 {
    if on { 0.5 } else { -0.5 }
}

#[test]
fn siblings_by_subtraction_equal_their_direct_sums() {
    let effect = |trial: &Trial, i: usize| {
        let treated = trial.arm[i] >= 2;
        EffectCell::<1, 8>::row(1.0, trial.outcome[i], &[half(treated)], u8::from(treated))
    };
    check(&Effect::<1, 8> { min_arm_rows: 0, alpha: 0.0, imbalance_penalty: 0.0 }, effect);
    let effects = |trial: &Trial, i: usize| {
        let t = std::array::from_fn(|k| f64::from(u8::from(usize::from(trial.arm[i]) == k + 1)) - 0.25);
        EffectCell::<3, 20>::row(2.0, trial.outcome[i], &t, trial.arm[i])
    };
    check(&Effect::<3, 20> { min_arm_rows: 0, alpha: 0.0, imbalance_penalty: 0.0 }, effects);
    let instrument = |trial: &Trial, i: usize| {
        let (takes, encouraged) = (trial.takes[i] == 1, trial.encouraged[i] == 1);
        let (treatment, instrument) = (half(takes), half(encouraged));
        InstrumentRow { weight: 1.0, outcome: trial.outcome[i], treatment, instrument, encouraged }.cell()
    };
    check(&Instrument { min_arm_rows: 0, alpha: 0.0, imbalance_penalty: 0.0 }, instrument);
    let grid = Grid::new(1200, 16.0, 1.0);
    let pair = |trial: &Trial, i: usize| grid.row(trial.outcome[i], 1.0);
    check(&Newton { l2: 0.0, category_smoothing: 0.0, grid }, pair);
    check(&Mean { grid, alpha: 0.0, imbalance_penalty: 0.0 }, pair);
}
