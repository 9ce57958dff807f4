//! How often alarms are false, and how soon they come when something is wrong:
//! `alerts [RUNS]`, 1,000 by default.
//!
//! Drift of ten columns and a score, arms that don't come as recorded, and decayed effects; clean
//! streams and planted faults, seeds 0 to RUNS − 1. Prints the tables of docs/methods/alerts.md.

mod columns;

use impactiq_data::Seed;
use impactiq_metrics::Estimate;
use impactiq_metrics::confidence_sequence::EffectConfig;
use impactiq_metrics::drift::{AssignmentMonitor, DecayMonitor, SequentialSrm};
use rayon::prelude::*;

/// Streams with a planted fault, per fault.
const FAULTY_RUNS: u64 = 200;
/// Rows of a window.
const SIZES: [u64; 3] = [500, 2_000, 10_000];
const SRM_ALPHA: f64 = 0.001;
const DECAY_ALPHA: f64 = 0.01;

fn main() {
    let runs: u64 = std::env::args().nth(1).map_or(1_000, |text| text.parse().expect("a number of runs"));
    drift(runs);
    mismatch(runs);
    decay(runs);
}

fn drift(runs: u64) {
    println!("## Drift: 10 columns and a score against 50,000 training rows, windows of n rows\n");
    println!("| n | clean windows | with an alarm | single tests with p < 1 %: PSI | KS |");
    println!("|---:|---:|---:|---:|---:|");
    for n in SIZES {
        let monitors = columns::monitors(n);
        let found: Vec<_> = (0..runs).into_par_iter().map(|run| columns::clean(&monitors, run, n)).collect();
        let alarms = found.iter().filter(|one| one.alarm).count();
        let [psi, n_psi, ks, n_ks] = [0, 1, 2, 3].map(|place| found.iter().map(|one| one.small[place]).sum::<u64>());
        println!(
            "| {n} | {runs} | {alarms} ({}) | {} | {} |",
            percent(alarms as u64, runs),
            percent(psi, n_psi),
            percent(ks, n_ks)
        );
    }
    println!("\n| planted from one row on | n | first window with an alarm | median rows to the alarm | 90 % within |");
    println!("|---|---:|---:|---:|---:|");
    for fault in columns::FAULTS {
        for n in SIZES {
            let monitors = columns::monitors(n);
            let delays: Vec<u64> = (0..FAULTY_RUNS)
                .into_par_iter()
                .filter_map(|run| columns::rows_to_alarm(&monitors, run, n, fault))
                .collect();
            let at_once = delays.iter().filter(|delay| **delay == n).count();
            println!(
                "| {} | {n} | {} | {} | {} |",
                fault.name(),
                percent(at_once as u64, FAULTY_RUNS),
                quantile(&delays, FAULTY_RUNS, 0.5),
                quantile(&delays, FAULTY_RUNS, 0.9)
            );
        }
    }
}

/// Events of a policy with probabilities 0.1, 0.5 and 0.9; a share of the treated gets lost.
fn mismatch(runs: u64) {
    const EVENTS: u64 = 20_000;
    println!("\n## Sample-ratio mismatch, looked at after every event, alarm at p < 0.001, {EVENTS} events\n");
    println!("| assignment | lost treated | streams | with an alarm | median events to the alarm | 90 % within |");
    println!("|---|---:|---:|---:|---:|---:|");
    for constant in [true, false] {
        for lost in [0.0, 0.02, 0.05, 0.1] {
            let n = if lost == 0.0 { runs } else { FAULTY_RUNS };
            let delays: Vec<u64> =
                (0..n).into_par_iter().filter_map(|run| events_to_mismatch(run, lost, constant, EVENTS)).collect();
            println!(
                "| {} | {:.0} % | {n} | {} | {} | {} |",
                if constant { "constant 0.5 (`SequentialSrm`)" } else { "0.1, 0.5, 0.9 (`AssignmentMonitor`)" },
                100.0 * lost,
                percent(delays.len() as u64, n),
                quantile(&delays, n, 0.5),
                quantile(&delays, n, 0.9)
            );
        }
    }
}

fn events_to_mismatch(run: u64, lost: f64, constant: bool, events: u64) -> Option<u64> {
    let seed = Seed::new(run).child(77);
    let (mut by_event, mut by_count) = (AssignmentMonitor::new(), SequentialSrm::new(&[1.0, 1.0]).expect("two arms"));
    for event in 0..events {
        let p = if constant { 0.5 } else { [0.1, 0.5, 0.9][seed.child(1).below(event, 3) as usize] };
        let treated = seed.child(2).uniform(event) < p;
        if treated && seed.child(3).uniform(event) < lost {
            continue;
        }
        let p_value = if constant {
            by_count.observe(usize::from(treated)).expect("an arm");
            by_count.p()
        } else {
            by_event.observe(treated, p).expect("a probability");
            by_event.p()
        };
        if p_value < SRM_ALPHA {
            return Some(event + 1);
        }
    }
    None
}

/// Events among the best scores under a hold-out of 10 %: promised 10 points of a rate of 10 %.
fn decay(runs: u64) {
    const EVENTS: u64 = 50_000;
    println!(
        "\n## Decay: promised 0.100 ± 0.010 (standard error), alpha 1 %, epochs of 10,000 events, {EVENTS} events\n"
    );
    println!(
        "| live effect after 10,000 events | streams | with an alarm | median events to the alarm | 90 % within |"
    );
    println!("|---:|---:|---:|---:|---:|");
    for effect in [0.1, 0.075, 0.05, 0.025, 0.0] {
        let n = if effect == 0.1 { runs } else { FAULTY_RUNS };
        let delays: Vec<u64> = (0..n).into_par_iter().filter_map(|run| events_to_decay(run, effect, EVENTS)).collect();
        println!(
            "| {effect} | {n} | {} | {} | {} |",
            percent(delays.len() as u64, n),
            quantile(&delays, n, 0.5),
            quantile(&delays, n, 0.9)
        );
    }
}

fn events_to_decay(run: u64, effect: f64, events: u64) -> Option<u64> {
    const BEFORE: u64 = 10_000;
    let seed = Seed::new(run).child(99);
    // The promise errs as a held-out estimate does.
    let normal: f64 = (0..12).map(|k| seed.child(9).uniform(k)).sum::<f64>() - 6.0;
    let promised = Estimate::new(0.1 + 0.01 * normal, 0.01, 10_000);
    let config = EffectConfig { probability_min: 0.1, ..EffectConfig::default() };
    let mut monitor = DecayMonitor::new(promised, DECAY_ALPHA, 10_000, config).expect("good settings");
    for event in 0..events + BEFORE {
        let treated = seed.child(1).uniform(event) < 0.9;
        let live = if event < BEFORE { 0.1 } else { effect };
        let rate = 0.1 + if treated { live } else { 0.0 };
        let outcome = f64::from(u8::from(seed.child(2).uniform(event) < rate));
        if monitor.observe(treated, 0.9, outcome).expect("a good event") {
            return Some((event + 1).saturating_sub(BEFORE));
        }
    }
    None
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

/// A quantile over all runs, those without an alarm counting as endless.
fn quantile(delays: &[u64], runs: u64, share: f64) -> String {
    let mut sorted = delays.to_vec();
    sorted.sort_unstable();
    sorted.get((share * runs as f64).ceil() as usize - 1).map_or_else(|| "–".to_owned(), u64::to_string)
}
