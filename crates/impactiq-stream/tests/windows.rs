//! Windowed features: the stream, the file and a brute-force twin say the same of every event,
//! whenever the stream was restarted.

use std::fmt::Write as _;

use impactiq_data::Silent;
use impactiq_io::Source;
use impactiq_stream::windows::{
    Arrival, Events, WindowPlan, WindowState, WindowsConfig, features_of_file, write_features,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const SECTION: &str = "
windows:
  user: user_id
  time: time
  time_unit: s
  late: 20s
  features:
    purchases: {count: purchase, over: 30s}
    spend: {sum: amount, of: purchase, over: 30s}
    products: {distinct: product, of: view, over: 1m}
    anything: {count: '*', over: 10s}
    spend_on_all: {sum: amount, over: 15s}
    since_visit: {recency: visit}
    since_any: {recency: '*'}
";

fn plan() -> WindowPlan {
    WindowPlan::new(&WindowsConfig::from_yaml(SECTION, "stream.yaml").unwrap()).unwrap()
}

#[derive(Clone, Debug)]
struct Raw {
    user: u8,
    time: i64,
    kind: &'static str,
    amount: Option<f64>,
    product: Option<u8>,
}

impl Raw {
    fn json(&self) -> Value {
        json!({
            "user_id": format!("u{}", self.user), "time": self.time, "kind": self.kind,
            "amount": self.amount, "product": self.product,
        })
    }
}

fn raw() -> impl Strategy<Value = Raw> {
    let kind = prop::sample::select(vec!["purchase", "view", "visit", "other"]);
    let amount = prop::option::of(prop::sample::select(vec![0.1, 0.2, 0.7, 1e15, -1e15]));
    (0u8..3, 0i64..150, kind, amount, prop::option::of(0u8..4)).prop_map(|(user, time, kind, amount, product)| Raw {
        user,
        time,
        kind,
        amount,
        product,
    })
}

/// The definition read literally: all earlier arrivals of the user that were not too late.
fn twin(events: &[Raw]) -> Vec<Option<Vec<f64>>> {
    let mut accepted: Vec<&Raw> = Vec::new();
    let mut out = Vec::new();
    for event in events {
        let own: Vec<&Raw> = accepted.iter().copied().filter(|other| other.user == event.user).collect();
        if own.iter().map(|other| other.time).max().is_some_and(|newest| event.time < newest - 20) {
            out.push(None);
            continue;
        }
        let mut past: Vec<&Raw> = own.into_iter().filter(|other| other.time <= event.time).collect();
        past.sort_by_key(|other| other.time);
        let within = |kind: &'static str, over: i64| {
            let is_in = move |other: &&&Raw| (kind == "*" || other.kind == kind) && other.time > event.time - over;
            past.iter().filter(is_in).copied().collect::<Vec<&Raw>>()
        };
        let spend = |rows: Vec<&Raw>| rows.iter().filter_map(|row| row.amount).fold(0.0, |sum, x| sum + x);
        let mut products: Vec<u8> = within("view", 60).iter().filter_map(|row| row.product).collect();
        products.sort_unstable();
        products.dedup();
        let since = |kind: &'static str| {
            within(kind, i64::MAX / 4).last().map_or(f64::NAN, |last| (event.time - last.time) as f64)
        };
        out.push(Some(vec![
            within("purchase", 30).len() as f64,
            spend(within("purchase", 30)),
            products.len() as f64,
            within("*", 10).len() as f64,
            spend(within("*", 15)),
            since("visit"),
            since("*"),
        ]));
        accepted.push(event);
    }
    out
}

/// The stream, with every user's state stored and read again before the events that `restart` names.
fn stream(plan: &WindowPlan, raw: &[Raw], restart: impl Fn(usize) -> bool) -> Vec<(Arrival, Vec<f64>)> {
    let rows: Vec<Value> = raw.iter().map(Raw::json).collect();
    let (events, errors) = Events::of_json(plan, &rows).unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    let mut states: std::collections::BTreeMap<String, WindowState> = std::collections::BTreeMap::new();
    (0..events.n_rows())
        .map(|row| {
            if restart(row) {
                for state in states.values_mut() {
                    *state = WindowState::from_bytes(&state.to_bytes(plan), plan).unwrap();
                }
            }
            let event = events.get(row).unwrap();
            let mut features = vec![0.0; plan.feature_names().len()];
            let arrival = states.entry(event.user.to_owned()).or_default().advance(plan, event, &mut features);
            (arrival, features)
        })
        .collect()
}

fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()))
}

fn csv(raw: &[Raw]) -> String {
    let text = |value: Option<String>| value.unwrap_or_default();
    raw.iter().fold("user_id,time,kind,amount,product,note\n".to_owned(), |mut out, row| {
        let (amount, product) = (text(row.amount.map(|a| a.to_string())), text(row.product.map(|p| p.to_string())));
        writeln!(out, "u{},{},{},{amount},{product},kept", row.user, row.time, row.kind).unwrap();
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_stream_says_what_the_definition_says_in_any_order_of_arrival(raw in prop::collection::vec(raw(), 1..80)) {
        let found = stream(&plan(), &raw, |_| false);
        for (place, (expected, (arrival, features))) in twin(&raw).iter().zip(&found).enumerate() {
            match expected {
                None => prop_assert!(*arrival == Arrival::TooLate && features.iter().all(|f| f.is_nan())),
                Some(expected) => prop_assert!(same(expected, features), "{place}: {expected:?} {features:?}"),
            }
        }
    }

    #[test]
    fn restarts_change_no_bit(raw in prop::collection::vec(raw(), 1..80), every in 1usize..10) {
        let plan = plan();
        let (through, restarted) = (stream(&plan, &raw, |_| false), stream(&plan, &raw, |row| row % every == 0));
        prop_assert!(through.iter().zip(&restarted).all(|(a, b)| a.0 == b.0 && same(&a.1, &b.1)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_file_and_the_stream_say_the_same_bits(mut raw in prop::collection::vec(raw(), 1..80)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.csv");
        std::fs::write(&path, csv(&raw)).unwrap();
        let source = Source { paths: vec![path.display().to_string()], ..Source::default() };
        let plan = plan();
        let found = features_of_file(&source, &plan, &Silent).unwrap();
        // The file's rows may stand in any order; windows go by time, ties by row.
        let mut order: Vec<usize> = (0..raw.len()).collect();
        order.sort_by_key(|row| raw[*row].time);
        let row_of: Vec<usize> = order.clone();
        raw = order.into_iter().map(|row| raw[row].clone()).collect();
        for (place, (arrival, features)) in stream(&plan, &raw, |row| row % 7 == 3).iter().enumerate() {
            prop_assert_eq!(*arrival, Arrival::InOrder);
            let from_file: Vec<f64> = found.columns.iter().map(|column| column[row_of[place]]).collect();
            prop_assert!(same(features, &from_file), "{}: {:?} {:?}", place, features, from_file);
        }
    }
}

#[test]
fn the_event_itself_is_not_in_its_window_and_the_far_end_is_open() {
    let raw = |time: i64| Raw { user: 0, time, kind: "purchase", amount: Some(1.0), product: None };
    let found = stream(&plan(), &[raw(0), raw(0), raw(29), raw(30)], |_| false);
    let purchases: Vec<f64> = found.iter().map(|(_, features)| features[0]).collect();
    // At 30 the two of time 0 are exactly 30 s old: outside (0, 30].
    assert_eq!(purchases, [0.0, 1.0, 2.0, 1.0]);
    assert!(found[0].1[5].is_nan() && found[0].1[6].is_nan());
    assert_eq!(found[1].1[6], 0.0);
}

#[test]
fn memory_is_bounded_and_what_the_cap_took_is_missing_not_wrong() {
    let config = WindowsConfig { max_events: 10, ..plan().config().clone() };
    let plan = WindowPlan::new(&config).unwrap();
    let buy = |time: i64| Raw { user: 0, time, kind: "purchase", amount: Some(1.0), product: None };
    // 40 purchases in a second, then quiet.
    let raw: Vec<Raw> = (0..40).map(|_| buy(0)).chain([buy(29), buy(31)]).collect();
    let found = stream(&plan, &raw, |row| row % 5 == 0);
    assert_eq!(found[10].1[0], 10.0);
    assert!(found[11].1[0].is_nan() && found[40].1[0].is_nan(), "{:?}", found[40]);
    assert_eq!((found[41].1[0], found[41].1[1]), (1.0, 1.0));
    assert_eq!(found[41].1[6], 2.0);
    let rows: Vec<Value> = (0..1_000).map(|time| buy(time).json()).collect();
    let (events, _) = Events::of_json(&plan, &rows).unwrap();
    let mut state = WindowState::new();
    for row in 0..events.n_rows() {
        state.advance(&plan, events.get(row).unwrap(), &mut [0.0; 7]);
    }
    assert!(state.n_events() <= 40 && state.to_bytes(&plan).len() < 1_000, "{}", state.n_events());
}

#[test]
fn a_file_keeps_its_rows_and_gains_its_features() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("events.ndjson"), folder.path().join("out.csv"));
    let text = "{\"user_id\":7,\"time\":10,\"kind\":\"purchase\",\"amount\":2.5,\"product\":1,\"note\":\"b\"}\n\
        {\"user_id\":7,\"time\":5,\"kind\":\"purchase\",\"amount\":1.5,\"product\":1,\"note\":\"a\"}\n\
        {\"user_id\":null,\"time\":5,\"kind\":\"purchase\",\"amount\":1.5,\"product\":1,\"note\":\"c\"}\n";
    std::fs::write(&input, text).unwrap();
    let source = Source { paths: vec![input.display().to_string()], ..Source::default() };
    let found = write_features(&source, &plan(), &output, false, &Silent).unwrap();
    assert_eq!((found.n_users, found.n_without), (1, 1));
    let written = std::fs::read_to_string(&output).unwrap();
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines.len(), 4, "{written}");
    assert!(lines[0].ends_with("purchases,spend,products,anything,spend_on_all,since_visit,since_any"), "{written}");
    assert!(lines[1].contains(",b,") && lines[2].contains(",a,") && lines[3].contains(",c,"), "{written}");
    assert!(lines[1].contains(",1.5,"), "{written}");
    assert!(write_features(&source, &plan(), &output, false, &Silent).is_err(), "an output is kept");
    let twice = SECTION.replace("purchases:", "note:");
    let plan = WindowPlan::new(&WindowsConfig::from_yaml(&twice, "s.yaml").unwrap()).unwrap();
    assert!(write_features(&source, &plan, &output, true, &Silent).unwrap_err().to_string().contains("note"));
}
