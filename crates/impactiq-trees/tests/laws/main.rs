//! The table of laws × what trees learn.
//!
//! Each law is one test over all kinds; where a kind is no party to a law, the cell says why.
//! Laws of sums are stated on numbers whose sums are exact in the kernel's f32 (multiples of 1/64), so
//! that what is compared is the algorithm and not the order of additions.

mod sums;
mod trial;

use impactiq_data::{FeatureKind, Seed};
use trial::{ALL, Kind, Trial};

/// A law's cell: tested, or not a party.
enum Cell {
    Tested,
    NotApplicable(&'static str),
}

/// The answers of `b` must be those of `a`, transformed.
fn same(kind: Kind, a: &[Vec<f64>], b: &[Vec<f64>], tolerance: f64) {
    assert_eq!(a.len(), b.len(), "{kind:?}");
    for (a, b) in a.iter().zip(b) {
        for (row, (a, b)) in a.iter().zip(b).enumerate() {
            assert!(a.is_finite() && b.is_finite(), "{kind:?}: {a} and {b} in row {row}");
            assert!((a - b).abs() <= tolerance * (1.0 + a.abs()), "{kind:?}: {a} became {b} in row {row}");
        }
    }
}

fn each(cell: impl Fn(Kind) -> Cell, test: impl Fn(Kind)) {
    for kind in ALL {
        match cell(kind) {
            Cell::Tested => test(kind),
            Cell::NotApplicable(reason) => eprintln!("{kind:?}: not a party, {reason}"),
        }
    }
}

fn map(answers: &[Vec<f64>], f: impl Fn(f64) -> f64) -> Vec<Vec<f64>> {
    answers.iter().map(|values| values.iter().map(|&value| f(value)).collect()).collect()
}

#[test]
fn answers_vary_so_that_laws_can_fail() {
    each(
        |_| Cell::Tested,
        |kind| {
            for values in Trial::new(1).answers(kind) {
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                let spread = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
                assert!(spread > 1e-3, "{kind:?}: {spread}");
            }
        },
    );
}

#[test]
fn the_order_of_rows_changes_nothing() {
    each(
        |_| Cell::Tested,
        |kind| {
            let trial = Trial::new(2);
            let mut order: Vec<usize> = (0..trial.n()).collect();
            order.sort_by_key(|&row| Seed::new(5).hash(row as u64));
            let turned = trial.reordered(&order).answers(kind);
            let expected: Vec<Vec<f64>> =
                trial.answers(kind).iter().map(|values| order.iter().map(|&row| values[row]).collect()).collect();
            same(kind, &expected, &turned, 1e-12);
        },
    );
}

#[test]
fn the_order_of_features_changes_nothing() {
    each(
        |_| Cell::Tested,
        |kind| {
            let trial = Trial::new(3);
            let mut turned = trial.clone();
            turned.x.codes.reverse();
            turned.x.kinds.reverse();
            same(kind, &trial.answers(kind), &turned.answers(kind), 1e-9);
        },
    );
}

#[test]
fn a_monotone_transform_of_features_and_new_names_of_categories_change_nothing() {
    each(
        |_| Cell::Tested,
        |kind| {
            let trial = Trial::new(4);
            let mut moved = trial.clone();
            for (codes, feature) in moved.x.codes.iter_mut().zip(&trial.x.kinds) {
                for code in codes.iter_mut().filter(|code| **code != u8::MAX) {
                    *code = match feature {
                        FeatureKind::Ordered => 3 * *code + 7,
                        FeatureKind::Category => 9 - *code,
                    };
                }
            }
            same(kind, &trial.answers(kind), &moved.answers(kind), 1e-9);
        },
    );
}

#[test]
fn a_shift_of_the_outcome_moves_means_and_no_effect() {
    each(
        |_| Cell::Tested,
        |kind| {
            let trial = Trial::new(5);
            let mut moved = trial.clone();
            moved.outcome.iter_mut().for_each(|y| *y += 4.0);
            let shift = if kind.is_effect() { 0.0 } else { 4.0 };
            // Leaves keep f32 means: of numbers around 4, seven digits.
            same(kind, &map(&trial.answers(kind), |value| value + shift), &moved.answers(kind), 2e-5);
        },
    );
}

#[test]
fn a_scale_of_the_outcome_scales_the_answers() {
    each(
        |_| Cell::Tested,
        |kind| {
            let trial = Trial::new(6);
            let mut scaled = trial.clone();
            scaled.outcome.iter_mut().for_each(|y| *y *= -4.0);
            same(kind, &map(&trial.answers(kind), |value| -4.0 * value), &scaled.answers(kind), 1e-9);
        },
    );
}

#[test]
fn swapping_the_arms_flips_the_sign() {
    let cell = |kind| match kind {
        Kind::ThreeContrasts => Cell::NotApplicable(
            "the gain adds squares of contrasts with the control, so another control is another gain; \
             treated arms may change places, which is tested below",
        ),
        Kind::Mean | Kind::Newton => Cell::NotApplicable("a mean knows no arms"),
        _ => Cell::Tested,
    };
    each(cell, |kind| {
        let trial = Trial::new(7);
        let mut swapped = trial.clone();
        swapped.arm.iter_mut().for_each(|arm| *arm = 3 - *arm);
        swapped.takes.iter_mut().for_each(|takes| *takes = 1 - *takes);
        same(kind, &map(&trial.answers(kind), |value| -value), &swapped.answers(kind), 1e-9);
    });
}

#[test]
fn treated_arms_may_change_places() {
    let cell = |kind| match kind {
        Kind::ThreeContrasts => Cell::Tested,
        _ => Cell::NotApplicable("there is one treated arm or none"),
    };
    each(cell, |kind| {
        let trial = Trial::new(8);
        let mut turned = trial.clone();
        turned.arm.iter_mut().for_each(|arm| *arm = [0, 2, 3, 1][usize::from(*arm)]);
        let answers = turned.answers(kind);
        same(kind, &trial.answers(kind), &[answers[1].clone(), answers[2].clone(), answers[0].clone()], 1e-9);
    });
}

#[test]
fn turning_the_instrument_round_changes_no_effect() {
    let cell = |kind| match kind {
        Kind::Instrument => Cell::Tested,
        _ => Cell::NotApplicable("there is no instrument"),
    };
    each(cell, |kind| {
        let trial = Trial::new(9);
        let mut turned = trial.clone();
        turned.encouraged.iter_mut().for_each(|z| *z = 1 - *z);
        same(kind, &trial.answers(kind), &turned.answers(kind), 1e-9);
    });
}

#[test]
fn a_row_of_weight_two_is_the_row_twice() {
    // Twins share their row's id, so they are drawn together; minimums count nothing away.
    each(
        |_| Cell::Tested,
        |kind| {
            let mut trial = Trial::new(10);
            trial.loose = true;
            let rows = 0..trial.n();
            let mut weighted = trial.clone();
            weighted.weights = Some(rows.clone().map(|row| if row % 3 == 0 { 2.0 } else { 1.0 }).collect());
            let twice: Vec<usize> = rows.flat_map(|row| vec![row; if row % 3 == 0 { 2 } else { 1 }]).collect();
            let first: Vec<usize> = (0..twice.len()).filter(|&at| at == 0 || twice[at] != twice[at - 1]).collect();
            let doubled = trial.reordered(&twice).answers(kind);
            let doubled: Vec<Vec<f64>> =
                doubled.iter().map(|values| first.iter().map(|&row| values[row]).collect()).collect();
            same(kind, &weighted.answers(kind), &doubled, 1e-7);
        },
    );
}

#[test]
fn one_thread_and_two_give_the_same_bytes() {
    each(
        |_| Cell::Tested,
        |kind| {
            let trial = Trial::new(11);
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| trial.answers(kind))
            };
            let bits = |answers: Vec<Vec<f64>>| map(&answers, |v| v).concat().into_iter().map(f64::to_bits).collect();
            let (one, two): (Vec<u64>, Vec<u64>) = (bits(on(1)), bits(on(2)));
            assert_eq!(one, two, "{kind:?}");
        },
    );
}
