//! Intervals that may be looked at after every event: a small version of `examples/peeking`.

#[path = "../examples/peeking/simulation.rs"]
mod simulation;

use impactiq_metrics::confidence_sequence::BurnIn;
use simulation::{DESIGNS, Design, streams, upper_bound};

const N_STREAMS: u64 = 200;

#[test]
fn looking_after_every_event_is_not_punished() {
    for design in DESIGNS.into_iter().filter(|design| *design != Design::Rare) {
        let found = streams(design, N_STREAMS, BurnIn::default());
        // 22 of 200 is what a share of 5 % exceeds once in ten thousand times.
        assert!(found.ever[0] <= 22, "{}: exact {:?}", design.name(), found.ever);
        assert!(found.ever[1] <= 22, "{}: asymptotic {:?}", design.name(), found.ever);
    }
}

#[test]
fn the_interval_of_one_look_is() {
    let found = streams(Design::Binary, N_STREAMS, BurnIn::default());
    assert!(found.ever[2] > N_STREAMS / 10, "{:?}", found.ever);
}

#[test]
fn patience_widens_the_interval_but_not_beyond_use() {
    let found = streams(Design::Binary, 50, BurnIn::default());
    let [exact, asymptotic, one_look] = found.width;
    assert!(asymptotic > one_look && asymptotic < 2.0 * one_look, "{:?}", found.width);
    assert!(exact > one_look && exact < 3.0 * one_look, "{:?}", found.width);
}

#[test]
fn upper_bounds_are_those_of_the_binomial() {
    // 0 of 100: 1 − 0.01^(1/100).
    assert!((upper_bound(0, 100) - 0.045_007).abs() < 1e-5);
    assert!(upper_bound(250, 5_000) < 0.0580 && upper_bound(250, 5_000) > 0.0570);
    assert_eq!(upper_bound(5, 5), 1.0);
}
