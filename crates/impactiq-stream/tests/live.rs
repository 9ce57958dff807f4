//! Live uplift end to end: a targeting policy with a hold-out, outcomes in any order, restarts.

use impactiq_data::Seed;
use impactiq_metrics::Estimate;
use impactiq_metrics::confidence_sequence::EffectConfig;
use impactiq_metrics::drift::{Cell, DriftConfig, DriftMonitor, Reference};
use impactiq_stream::live::{DecayConfig, HoldOut, LiveConfig, LiveUplift, Outcome, ScoredEvent, TrainingRanking};
use impactiq_stream::windows::Span;

const HOUR: i64 = 3_600_000_000;

fn config() -> LiveConfig {
    LiveConfig {
        window: Span::seconds(3_600),
        grace: Span::seconds(60),
        effect: EffectConfig { probability_min: 0.1, ..EffectConfig::default() },
        decay: DecayConfig { best_parts: 1, epoch_rows: 5_000, ..DecayConfig::default() },
        ..LiveConfig::default()
    }
}

/// Halves of the scores; the better one was promised this effect.
fn ranking(best: f64) -> TrainingRanking {
    TrainingRanking::new(vec![0.1], vec![Estimate::new(best, 0.01, 1_000), Estimate::new(0.05, 0.01, 1_000)]).unwrap()
}

/// Scores are uniform in [0, 0.2] and right: the effect is the score. The policy treats above 0.04.
/// One event a second.
fn run(n: u64, mut live: LiveUplift, restart_every: Option<u64>) -> LiveUplift {
    let (seed, hold_out) = (Seed::new(3), HoldOut::new(0.2, "test").unwrap());
    for number in 0..n {
        let (id, time) = (format!("event-{number}"), number as i64 * 1_000_000);
        let score = 0.2 * seed.child(1).uniform(number);
        let decision = hold_out.decide(&id, score > 0.04);
        let rate = 0.2 + if decision.treated { score } else { 0.0 };
        let buys = seed.child(2).uniform(number) < rate;
        let outcome = Outcome { id: id.clone(), value: 1.0, time: time + (number as i64 % 50) * 60_000_000 };
        // Some outcomes overtake their event.
        if buys && number % 7 == 0 {
            live.outcome(outcome.clone()).unwrap();
        }
        live.event(ScoredEvent {
            id,
            time,
            model: "m".into(),
            score,
            treated: decision.treated,
            assignment_probability: decision.assignment_probability,
        })
        .unwrap();
        if buys && number % 7 != 0 {
            live.outcome(outcome).unwrap();
        }
        live.advance(time).unwrap();
        if restart_every.is_some_and(|every| number % every == 0) {
            live = LiveUplift::from_bytes(&live.to_bytes().unwrap()).unwrap();
        }
    }
    live.advance(n as i64 * 1_000_000 + 2 * HOUR).unwrap();
    live
}

fn fresh(best: f64) -> LiveUplift {
    let mut live = LiveUplift::new(config()).unwrap();
    live.add_model("m", Some(ranking(best)), None).unwrap();
    live
}

#[test]
fn the_live_effect_is_that_of_the_people_the_policy_treats() {
    let report = run(30_000, fresh(0.15), None).report();
    let model = &report.models[0];
    // Scores above 0.04, mean 0.12; a fifth of the rest has no choice.
    let live = &model.asymptotic;
    assert!(live.lower().unwrap() < 0.12 && live.upper().unwrap() > 0.12, "{live:?}");
    assert!(model.exact.lower().unwrap() < 0.12 && model.exact.upper().unwrap() > 0.12);
    assert!((model.predicted.predicted.unwrap() - 0.12).abs() < 0.002);
    let gap = &model.predicted.realised_minus_predicted;
    assert!(gap.lower().unwrap() < 0.0 && gap.upper().unwrap() > 0.0, "{gap:?}");
    assert_eq!(model.n + model.n_without_choice, 30_000);
    assert!((model.n_without_choice as f64 / 30_000.0 - 0.2).abs() < 0.02);
    assert_eq!((report.counts.n_closed, report.n_waiting), (30_000, 0));
    assert_eq!(report.counts.n_with_outcome, report.counts.n_outcomes);
    assert!(!model.srm.alarm && model.decay.as_ref().unwrap().alarm_after.is_none());
    let [best, rest] = model.deciles.as_slice() else { panic!("{:?}", model.deciles) };
    assert!(best.asymptotic.value().unwrap() > rest.asymptotic.value().unwrap());
    assert_eq!(best.n + rest.n, model.n);
}

#[test]
fn restarts_change_no_bit_and_the_same_history_gives_the_same_bytes() {
    let (through, restarted) = (run(4_000, fresh(0.15), None), run(4_000, fresh(0.15), Some(251)));
    assert_eq!(through.to_bytes().unwrap(), restarted.to_bytes().unwrap());
    assert!(LiveUplift::from_bytes(b"{}").is_err());
    assert!(LiveUplift::from_bytes(b"{\"version\":2,\"state\":null}").unwrap_err().to_string().contains("version 2"));
}

#[test]
fn a_promise_that_is_not_kept_is_told() {
    let report = run(20_000, fresh(0.5), None).report();
    assert!(report.models[0].decay.as_ref().unwrap().alarm_after.is_some());
}

#[test]
fn arms_that_do_not_come_as_recorded_are_told() {
    let mut live = LiveUplift::new(config()).unwrap();
    let event = |number: u64, treated: bool, p: f64| ScoredEvent {
        id: number.to_string(),
        time: 0,
        model: "m".into(),
        score: 0.1,
        treated,
        assignment_probability: p,
    };
    for number in 0..5_000 {
        // Recorded as 0.9, drawn with 0.8.
        live.event(event(number, Seed::new(8).uniform(number) < 0.8, 0.9)).unwrap();
    }
    let srm = live.report().models[0].srm.clone();
    assert!(srm.alarm && srm.p < 1e-6 && srm.n == 5_000, "{srm:?}");
    let mut live = LiveUplift::new(config()).unwrap();
    live.event(event(1, true, 0.0)).unwrap();
    assert!(live.report().models[0].srm.alarm, "treated with probability 0");
}

#[test]
fn what_cannot_be_is_refused_by_id_and_leaves_no_trace() {
    let mut live = LiveUplift::new(config()).unwrap();
    let event = |p: f64, score: f64| ScoredEvent {
        id: "e".into(),
        time: 0,
        model: "m".into(),
        score,
        treated: true,
        assignment_probability: p,
    };
    let before = live.clone();
    assert!(live.event(event(1.5, 0.0)).unwrap_err().to_string().contains("of event 'e' is 1.5"));
    assert!(live.event(event(0.5, f64::NAN)).is_err());
    assert!(live.outcome(Outcome { id: "e".into(), value: 2.0, time: 0 }).is_err());
    assert_eq!(live, before);
    assert!(LiveUplift::new(LiveConfig { alpha: 0.0, ..config() }).is_err());
    assert!(LiveUplift::new(LiveConfig { no_outcome: 5.0, ..config() }).is_err());
    assert!(LiveUplift::new(LiveConfig { window: Span::default(), ..config() }).is_err());
}

#[test]
fn drift_of_scored_rows_is_told_by_column() {
    let training: Vec<f64> = (0..10_000).map(|row| Seed::new(1).uniform(row)).collect();
    let reference = Reference::of_values("x", &training).unwrap();
    let drift = DriftMonitor::new(DriftConfig { window_rows: 500, ..DriftConfig::default() }, vec![reference]).unwrap();
    let mut live = LiveUplift::new(config()).unwrap();
    live.add_model("m", None, Some(drift)).unwrap();
    let mut alarms = 0;
    for row in 0..1_000u64 {
        let shift = if row < 500 { 0.0 } else { 0.3 };
        alarms += u32::from(live.scored_row("m", &[Cell::Number(Seed::new(2).uniform(row) + shift)]).unwrap());
    }
    assert_eq!(alarms, 1);
    let report = live.report();
    let drift = report.models[0].drift.as_ref().unwrap();
    assert!(drift.alarm() && drift.columns[0].name == "x");
    assert!(serde_json::to_string(&report).unwrap().contains("\"reason\""));
}
