//! How long the ranking metrics take: `ranking_speed ROWS DRAWS`, seconds per stage.
//!
//! Rows are Criteo-shaped: binary outcome of about 5 %, 85 % treated, distinct scores, doubly
//! robust scores given. With one thread, wall seconds are CPU seconds.

use impactiq_data::Seed;
use impactiq_metrics::report::{EvaluateOptions, compare, evaluate};
use impactiq_metrics::scored::Scored;

/// CPU seconds of this process so far, user and system.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a Linux process");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<f64>().expect("ticks");
    (ticks(11) + ticks(12)) / 100.0
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>().expect("a whole number"));
    let n = arguments.next().unwrap_or(1_000_000);
    let bootstrap = arguments.next().unwrap_or(0);
    let seed = Seed::new(1);
    let score: Vec<f64> = (0..n as u64).map(|i| seed.child(1).uniform(i) * 0.1 - 0.02).collect();
    let treated: Vec<u8> = (0..n as u64).map(|i| u8::from(seed.child(2).uniform(i) < 0.85)).collect();
    let outcome: Vec<f64> = (0..n)
        .map(|i| {
            let p = 0.04 + 0.2 * score[i] * f64::from(treated[i]);
            f64::from(u8::from(seed.child(3).uniform(i as u64) < p))
        })
        .collect();
    let gamma: Vec<f64> =
        (0..n).map(|i| if treated[i] == 1 { outcome[i] / 0.85 } else { -outcome[i] / 0.15 }).collect();
    let scored = Scored { gamma: Some(&gamma), ..Scored::new(&score, &treated, &outcome) };
    let start = cpu_seconds();
    let sorted = scored.sort().expect("good rows");
    println!("sort and gather   {:.2} s ({} distinct scores)", cpu_seconds() - start, sorted.n_groups());
    drop(sorted);
    let options = EvaluateOptions { bootstrap, ..EvaluateOptions::default() };
    let start = cpu_seconds();
    let evaluation = evaluate(&scored, &options).expect("good rows");
    println!("evaluate, all     {:.2} s ({bootstrap} draws)", cpu_seconds() - start);
    let reversed: Vec<f64> = score.iter().map(|s| (s * 40.0).sin()).collect();
    let start = cpu_seconds();
    compare(&scored, &Scored { score: &reversed, ..scored }, &options).expect("good rows");
    println!("compare two       {:.2} s", cpu_seconds() - start);
    for (name, estimate) in evaluation.metrics.iter() {
        println!("  {name:<34} {:?} ± {:?}", estimate.value(), estimate.std_error());
    }
}
