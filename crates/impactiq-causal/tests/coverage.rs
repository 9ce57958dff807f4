//! The small version of the coverage study: 95 % intervals hold the truth about 95 % of the
//! time. The whole study (2,000 replications per cell) is in docs/methods/coverage.md.

#[path = "../examples/coverage/cells.rs"]
#[allow(dead_code)]
mod cells;

use std::collections::BTreeMap;

use cells::{Cell, Tally, replicate};
use rayon::prelude::*;

#[test]
fn intervals_of_averages_hold_the_truth() {
    let n = 200;
    for cell in [Cell::NieWagerB, Cell::ThreeArms, Cell::Clusters] {
        let truth = cell.truth().unwrap();
        let all: Vec<_> = (500_000..500_000 + n).into_par_iter().map(|r| replicate(cell, r).unwrap()).collect();
        let mut tallies: BTreeMap<(usize, &str), Tally> = BTreeMap::new();
        for record in all.into_iter().flatten() {
            let tally = tallies.entry((record.arm, record.estimator)).or_default();
            tally.observe(&record.estimate, truth[record.arm - 1]);
        }
        for ((arm, estimator), tally) in tallies {
            // Four binomial standard errors of 200 replications are 6 points.
            let coverage = tally.coverage();
            assert!((0.89..=0.995).contains(&coverage), "{} {estimator} arm {arm}: {coverage}", cell.name());
            let ratio = tally.error_ratio();
            assert!((0.8..=1.25).contains(&ratio), "{} {estimator} arm {arm}: error ratio {ratio}", cell.name());
            let standard_error = (tally.variance / tally.n / tally.n).sqrt();
            assert!(tally.bias().abs() < 4.5 * standard_error, "{} {estimator} arm {arm}: bias", cell.name());
        }
    }
}
