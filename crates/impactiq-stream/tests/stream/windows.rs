//! Windows through the whole stream: the features of the event file, across batches, restarts and forgotten users.

use impactiq_data::Silent;
use impactiq_io::Source;
use impactiq_score::Scorer;
use impactiq_stream::memory::MemoryEvent;
use impactiq_stream::windows::features_of_file;
use serde_json::Value;

use crate::house::{House, event, place, row};

/// The model's x1 and x2 come from windows here.
const WINDOWS: &str = "windows:\n  user: user\n  time: time\n  features:\n    x1: {count: view, over: 30s}\n    \
                       x2: {recency: buy}\n";

fn bare(n: u64) -> Value {
    let mut value = row(n);
    let object = value.as_object_mut().unwrap();
    object.remove("x1");
    object.remove("x2");
    value
}

fn partition(n: u64) -> i32 {
    (n % 7 % 2) as i32
}

#[test]
fn the_stream_has_the_features_of_the_event_file_across_restarts() {
    let house = House::new();
    let n_events = 300u64;
    let file = house.folder.path().join("events.ndjson");
    let lines: Vec<String> = (0..n_events).map(|n| bare(n).to_string()).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let scorer = Scorer::open(&house.model).unwrap();
    for store in house.stores() {
        // Two users fit into memory: the others are read from the store again and again.
        let config =
            house.config(&store, ", batch_rows: 16, in_flight_rows: 40", &format!("{WINDOWS}windows_users: 2\n"));
        let plan = config.plan().unwrap().unwrap();
        let source = Source { paths: vec![file.display().to_string()], ..Source::default() };
        let found = features_of_file(&source, &plan, &Silent).unwrap();
        let rows: Vec<Value> = (0..n_events)
            .map(|n| {
                let mut value = bare(n);
                for (name, column) in found.names.iter().zip(&found.columns) {
                    let feature = column[n as usize];
                    value[name] = if feature.is_nan() { Value::Null } else { feature.into() };
                }
                value
            })
            .collect();
        let wanted = scorer.score_json(&rows).unwrap();
        let all: Vec<MemoryEvent> =
            (0..n_events).map(|n| event(partition(n), bare(n).to_string().into_bytes())).collect();
        for end in [50, 130, 300] {
            let opened = house.open(&config);
            opened.run(all[..end].to_vec(), None).0.unwrap();
        }
        let opened = house.open(&config);
        let log = opened.log();
        assert_eq!(log.len(), n_events as usize);
        let mut offsets = [0i64; 2];
        let mut number = std::collections::BTreeMap::new();
        for n in 0..n_events {
            let p = partition(n) as usize;
            number.insert((p as i32, offsets[p]), n as usize);
            offsets[p] += 1;
        }
        for stored in &log {
            let n = number[&place(stored)];
            assert_eq!(stored.row.scores, wanted[n].to_string(), "event {n}");
        }
        assert_eq!(opened.handle.block_on(opened.ledger.n_users()).unwrap(), 7);
    }
}

#[test]
fn another_definition_of_windows_is_refused_and_not_continued() {
    let house = House::new();
    let store = house.stores().remove(0);
    let events = |range: std::ops::Range<u64>| range.map(|n| event(0, bare(n).to_string().into_bytes())).collect();
    house.open(&house.config(&store, "", WINDOWS)).run(events(0..10), None).0.unwrap();
    let changed = house.open(&house.config(&store, "", &WINDOWS.replace("30s", "60s")));
    let (failed, _) = changed.run(events(0..20), None);
    assert!(failed.unwrap_err().contains("another definition"));
    assert_eq!(changed.log().len(), 10);
}
