//! What peeking after every event does to an interval: `peeking [STREAMS] [EFFECTIVE]`.
//!
//! 5,000 streams by default, and the default burn-in; EFFECTIVE sets another number of effective rows.
//! Prints, per design, the share of streams in which an interval ever excluded the truth, with
//! its 99 % upper bound, and the mean width after the last event.

mod simulation;

use impactiq_metrics::confidence_sequence::BurnIn;
use simulation::{DESIGNS, streams, upper_bound};

fn main() {
    let n: u64 = std::env::args().nth(1).map_or(5_000, |text| text.parse().expect("a number of streams"));
    let n_effective = std::env::args().nth(2).map(|text| text.parse().expect("a number of rows"));
    let burn_in = n_effective.map_or_else(BurnIn::default, |n| BurnIn { n_effective: n, ..BurnIn::default() });
    println!("{n} streams per design, seeds 0 to {}; alpha 5 %, a look after every event; {burn_in:?}\n", n - 1);
    println!(
        "| events | n | exact: ever wrong | asymptotic: ever wrong | speaks from | 1.96 SE: ever wrong | width: exact | asymptotic | 1.96 SE |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for design in DESIGNS {
        let found = streams(design, n, burn_in);
        let share = |place: usize| {
            let hits = found.ever[place];
            format!("{:.2} % (≤ {:.2} %)", 100.0 * hits as f64 / n as f64, 100.0 * upper_bound(hits, n))
        };
        let width = |place: usize| match found.width[place] / n as f64 {
            width if width.is_finite() => format!("{width:.4}"),
            _ => "–".to_owned(),
        };
        let exact = if found.width[0].is_finite() { share(0) } else { "–".to_owned() };
        println!(
            "| {} | {} | {exact} | {} | {} | {} | {} | {} | {} |",
            design.name(),
            design.n_events(),
            share(1),
            design.n_events() - found.spoke / n,
            share(2),
            width(0),
            width(1),
            width(2)
        );
    }
}
