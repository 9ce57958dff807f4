//! What is promised of the log, whatever dies: each event once, the scores of every other door, fenced writers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use impactiq_score::Scorer;
use impactiq_stream::StreamError;
use impactiq_stream::ledger::{Share, Written};
use impactiq_stream::memory::{Fault, SentMessage};
use serde_json::Value;

use crate::house::{House, event, events, place, row, write_model};

fn away() -> StreamError {
    StreamError::Kafka { doing: "sending scores", detail: "planted".into(), passing: true }
}

fn dead() -> StreamError {
    StreamError::Kafka { doing: "sending scores", detail: "planted".into(), passing: false }
}

fn parsed(message: &SentMessage) -> Value {
    serde_json::from_slice(&message.value).unwrap()
}

#[test]
fn the_log_has_the_scores_of_every_other_door_to_the_last_bit() {
    let house = House::new();
    let scorer = Scorer::open(&house.model).unwrap();
    for store in house.stores() {
        let opened = house.open(&house.config(&store, ", batch_rows: 7, in_flight_rows: 30", ""));
        let (done, sent) = opened.run(events(100), None);
        done.unwrap();
        let log = opened.log();
        assert_eq!(log.len(), 100);
        let rows: Vec<Value> = (0..100).map(row).collect();
        let wanted = scorer.score_json(&rows).unwrap();
        for stored in &log {
            let (partition, offset) = place(stored);
            let n = (offset * 2 + i64::from(partition)) as usize;
            assert_eq!(stored.row.scores, wanted[n].to_string());
            assert_eq!((stored.row.id.clone(), stored.door.as_str()), (Some(format!("e{n}")), "stream"));
        }
        let sent = sent.lock().unwrap();
        assert_eq!(sent.len(), 100);
        let of_partition = |p| sent.iter().filter(move |m| m.partition == p).map(|m| m.offset).collect::<Vec<_>>();
        assert_eq!(of_partition(1), (0..50).collect::<Vec<_>>());
        let first = parsed(&sent[0]);
        assert_eq!((&first["id"], &first["time"]), (&"e0".into(), &"2026-03-01T12:00:00Z".into()));
        assert_eq!(first["scores"].to_string(), wanted[0].to_string());
        assert_eq!(opened.service.figures.now().scored, 100);
    }
}

#[test]
fn whatever_is_delivered_again_is_logged_once() {
    let house = House::new();
    for store in house.stores() {
        for delivery in ["", ", delivery: exactly_once"] {
            let more = format!(", batch_rows: 10, in_flight_rows: 20, group: g{}", delivery.len());
            let config = house.config(&store, &format!("{more}{delivery}"), "");
            let opened = house.open(&config);
            let before = opened.log().len();
            // The third delivery fails for good: the member dies.
            let fault: Fault = Box::new(|n| (n == 3).then(dead));
            let (died, first) = opened.run(events(100), Some(fault));
            assert!(died.unwrap_err().contains("planted"));
            let restarted = house.open(&config);
            let (done, second) = restarted.run(events(100), None);
            done.unwrap();
            assert_eq!(restarted.log().len() - before, 100);
            let count = |sent: &[SentMessage]| {
                let mut seen: BTreeMap<(i32, i64), Vec<Vec<u8>>> = BTreeMap::new();
                sent.iter().for_each(|m| seen.entry((m.partition, m.offset)).or_default().push(m.value.clone()));
                seen
            };
            let all: Vec<SentMessage> =
                first.lock().unwrap().iter().chain(second.lock().unwrap().iter()).cloned().collect();
            let seen = count(&all);
            assert_eq!(seen.len(), 100, "every event was sent");
            assert!(seen.values().all(|values| values.iter().all(|value| *value == values[0])), "with the same bytes");
        }
    }
}

#[test]
fn batches_that_wait_for_a_transaction_share_the_next_one_in_their_order() {
    let house = House::new();
    for (delivery, is_shared) in [("", false), (", delivery: exactly_once", true)] {
        let config = house.config(&house.stores()[0], &format!(", batch_rows: 10, in_flight_rows: 500{delivery}"), "");
        let opened = house.open(&config);
        let n_deliveries = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&n_deliveries);
        // The first delivery takes longer than scoring everything else.
        let fault: Fault = Box::new(move |n| {
            counted.store(n, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(if n == 1 { 1_000 } else { 0 }));
            None
        });
        let (done, sent) = opened.run(events(200), Some(fault));
        done.unwrap();
        let sent = sent.lock().unwrap();
        let ids: Vec<Value> = sent.iter().map(|message| parsed(message)["id"].clone()).collect();
        assert_eq!(ids, (0..200).map(|n| Value::from(format!("e{n}"))).collect::<Vec<_>>());
        assert_eq!(opened.log().len(), 200);
        let n = n_deliveries.load(Ordering::Relaxed);
        assert_eq!(n < 20, is_shared, "{n} deliveries of 20 batches");
        // One alone, or all that fit into a transaction.
        assert!(n >= 3, "{n}");
    }
}

#[test]
fn a_partition_that_is_taken_while_a_transaction_runs_is_left_out_of_the_next_one() {
    let house = House::new();
    for store in house.stores() {
        let config = house.config(&store, ", batch_rows: 10, in_flight_rows: 500, delivery: exactly_once", "");
        let (old, new) = (house.open(&config), house.open(&config));
        let old_right = old.handle.block_on(old.ledger.take(&[0, 1])).unwrap();
        let (handle, taker) = (new.handle.clone(), new.ledger.clone());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&taken);
        // While the first batch is sent, the others are scored, and partition 1 goes to somebody else.
        let fault: Fault = Box::new(move |n| {
            if n == 1 {
                std::thread::sleep(Duration::from_millis(500));
                *keep.lock().unwrap() = handle.block_on(taker.take(&[1])).unwrap();
            }
            None
        });
        let (done, sent) = old.run_at(events(200), Some(fault), &old_right);
        done.unwrap();
        let of = |sent: &[SentMessage], partition| -> Vec<i64> {
            sent.iter().filter(|message| message.partition == partition).map(|message| message.offset).collect()
        };
        let sent = sent.lock().unwrap();
        assert_eq!(of(&sent, 0), (0..100).collect::<Vec<_>>());
        assert_eq!(of(&sent, 1), (0..5).collect::<Vec<_>>(), "what it had no right to is not sent");
        assert_eq!(old.log().len(), 105);
        let new_right = taken.lock().unwrap().clone();
        let (done, rest) = new.run_at(events(200), None, &new_right);
        done.unwrap();
        let rest = of(&rest.lock().unwrap(), 1);
        assert!((5..100).all(|offset| rest.contains(&offset)), "{rest:?}");
        assert!(rest.is_sorted());
        assert_eq!(new.log().len(), 200);
    }
}

#[test]
fn what_is_logged_and_not_sent_is_sent_from_the_log_even_by_another_model() {
    let house = House::new();
    let scorer = Scorer::open(&house.model).unwrap();
    let wanted: Vec<Value> = scorer.score_json(&(0..40).map(row).collect::<Vec<_>>()).unwrap();
    for store in house.stores() {
        write_model(&house.model, "y");
        let config = house.config(&store, ", batch_rows: 40, in_flight_rows: 80, delivery: exactly_once", "");
        let opened = house.open(&config);
        // Where a group begins is remembered before anything is logged.
        let positions = opened.handle.block_on(opened.ledger.take(&[0, 1])).unwrap();
        for position in &positions {
            let id = position.partition_id.0;
            opened.handle.block_on(opened.ledger.start_at(id, position.epoch, 0)).unwrap();
        }
        let fault: Fault = Box::new(|_| Some(dead()));
        let (died, sent) = opened.run(events(40), Some(fault));
        assert!(died.is_err() && sent.lock().unwrap().is_empty());
        assert_eq!(opened.log().len(), 40);
        write_model(&house.model, "converted");
        let restarted = house.open(&config);
        let (done, sent) = restarted.run(events(40), None);
        done.unwrap();
        let sent = sent.lock().unwrap();
        assert_eq!((sent.len(), restarted.log().len()), (40, 40));
        for message in sent.iter() {
            let n = (message.offset * 2 + i64::from(message.partition)) as usize;
            assert_eq!(parsed(message)["scores"].to_string(), wanted[n].to_string());
            assert_eq!(parsed(message)["model"], scorer.manifest().id.as_str());
        }
        assert_eq!(restarted.service.figures.now().sent_again, 40);
    }
}

#[test]
fn a_failure_that_passes_is_waited_out_and_loses_nothing() {
    let house = House::new();
    let config = house.config(&house.stores()[0], ", batch_rows: 10, in_flight_rows: 20", "");
    let opened = house.open(&config);
    let fault: Fault = Box::new(|n| (n % 3 == 0).then(away));
    let (done, sent) = opened.run(events(60), Some(fault));
    done.unwrap();
    assert_eq!((opened.log().len(), sent.lock().unwrap().len()), (60, 60));
    assert!(opened.service.figures.now().failures >= 2);
}

#[test]
fn a_member_whose_partitions_were_taken_writes_nothing() {
    let house = House::new();
    for store in house.stores() {
        let config = house.config(&store, ", batch_rows: 10, in_flight_rows: 20", "");
        let (old, new) = (house.open(&config), house.open(&config));
        let old_right = old.handle.block_on(old.ledger.take(&[0, 1])).unwrap();
        let new_right = new.handle.block_on(new.ledger.take(&[1])).unwrap();
        assert!(new_right[0].epoch > old_right[1].epoch);
        let (done, _) = old.run_at(events(40), None, &old_right);
        done.unwrap();
        let written: Vec<i32> = old.log().iter().map(|row| place(row).0).collect();
        assert_eq!(written, vec![0; 20], "only of the partition it still has");
        assert!(old.service.figures.now().stale >= 1);
        let (done, _) = new.run_at(events(40), None, &new_right);
        done.unwrap();
        assert_eq!(new.log().len(), 40);
    }
}

#[test]
fn events_that_are_read_twice_under_one_right_are_written_once() {
    let house = House::new();
    for store in house.stores() {
        let opened = house.open(&house.config(&store, "", ""));
        let right = opened.handle.block_on(opened.ledger.take(&[0])).unwrap()[0];
        let write = |first, next| {
            let share = Share {
                partition: 0,
                epoch: right.epoch,
                first,
                next,
                last: (next - 1, 0),
                sent: None,
                request: None,
                users: Vec::new(),
                counts: [next - first, 0],
            };
            opened.handle.block_on(opened.ledger.commit(&[share])).unwrap()[0]
        };
        let fates = [(0, 10), (0, 10), (5, 15), (2, 8), (10, 20)].map(|(first, next)| write(first, next));
        assert_eq!(fates, [Written::Now, Written::Before, Written::Overlapping, Written::Before, Written::Now]);
        let position = opened.handle.block_on(opened.ledger.take(&[0])).unwrap();
        assert_eq!((position[0].next_offset, position[0].last_offset), (Some(20), Some(19)));
    }
}

#[test]
fn a_topic_that_was_made_again_is_an_error_and_not_a_skip() {
    let house = House::new();
    let opened = house.open(&house.config(&house.stores()[0], "", ""));
    opened.run(events(10), None).0.unwrap();
    let others = (10..40).map(|n| event(0, row(n).to_string().into_bytes())).collect();
    let (failed, _) = house.open(&opened.service.config).run(others, None);
    let told = failed.unwrap_err();
    assert!(told.contains("offset 4 of partition 0") && told.contains("made again"), "{told}");
    assert_eq!(opened.log().len(), 10);
}

#[test]
fn another_model_takes_over_between_two_batches() {
    let house = House::new();
    let opened = house.open(&house.config(&house.stores()[0], ", batch_rows: 10, in_flight_rows: 20", ""));
    opened.run(events(20), None).0.unwrap();
    let before = opened.service.models.current().id().to_owned();
    write_model(&house.model, "converted");
    assert!(opened.handle.block_on(opened.service.models.read_again()).unwrap());
    opened.run(events(40), None).0.unwrap();
    let log = opened.log();
    assert_eq!(log.len(), 40);
    let by_first = log.iter().filter(|row| row.model_id == before).count();
    assert_eq!(by_first, 20);
    // A model that cannot be read leaves the one before in its place.
    std::fs::write(house.model.join("manifest.json"), "{").unwrap();
    assert!(opened.handle.block_on(opened.service.models.read_again()).is_err());
    assert_ne!(opened.service.models.current().id(), before);
}

#[test]
fn a_hold_out_is_decided_by_chance_and_told_with_its_probability() {
    let house = House::new();
    let more = "hold_out: {share: 0.5, treat_above: -1000, salt: s}\n";
    let opened = house.open(&house.config(&house.stores()[0], "", more));
    let (done, sent) = opened.run(events(100), None);
    done.unwrap();
    let sent = sent.lock().unwrap();
    let treated = sent.iter().filter(|m| parsed(m)["scores"]["treat"] == true).count();
    assert!((20..80).contains(&treated), "{treated}");
    assert!(sent.iter().all(|m| parsed(m)["scores"]["assignment_probability"] == 0.5));
    assert!(opened.log().iter().all(|row| row.row.scores.contains("\"would_treat\":true")));
}

#[test]
fn scores_are_found_again_by_their_own_partition_and_no_other() {
    let house = House::new();
    for store in house.stores() {
        let opened = house.open(&house.config(&store, ", batch_rows: 4, in_flight_rows: 8", ""));
        // Names that orders of text confuse: 1, 10 and 11.
        let events = (0..60).map(|n| event([1, 10, 11][(n % 3) as usize], row(n).to_string().into_bytes())).collect();
        opened.run(events, None).0.unwrap();
        for partition in [1, 10, 11] {
            let found = opened.handle.block_on(opened.ledger.logged(partition, 5, 17)).unwrap();
            let offsets: Vec<i64> = found.iter().map(|score| score.offset).collect();
            assert_eq!(offsets, (5..17).collect::<Vec<_>>());
            let wanted: Vec<String> = opened
                .log()
                .into_iter()
                .filter(|row| place(row).0 == partition && (5..17).contains(&place(row).1))
                .map(|row| row.row.scores)
                .collect();
            assert_eq!(found.into_iter().map(|score| score.scores).collect::<Vec<_>>(), wanted);
        }
    }
}
