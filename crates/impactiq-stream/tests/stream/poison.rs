//! Events that cannot be scored: each a dead letter with its reason and its original bytes, the others unharmed.

use serde_json::Value;

use crate::house::{House, event, row};

fn without(n: u64, key: &str) -> Vec<u8> {
    let mut value = row(n);
    value.as_object_mut().unwrap().remove(key);
    value.to_string().into_bytes()
}

fn with(n: u64, key: &str, cell: Value) -> Vec<u8> {
    let mut value = row(n);
    value[key] = cell;
    value.to_string().into_bytes()
}

#[test]
fn every_kind_of_poison_becomes_a_dead_letter_with_its_reason() {
    let deep = format!("{{\"x\": {}{}}}", "[".repeat(100), "]".repeat(100));
    let twice = r#"{"id": "a", "time": "2026-03-01", "x1": 1, "x1": 2, "x2": 1, "region": "north"}"#;
    let poison: Vec<(&str, Vec<u8>)> = vec![
        ("not_utf8", b"{\"id\": \"\xff\"}".to_vec()),
        ("not_json", b"{\"id\": ".to_vec()),
        ("not_an_object", b"[1, 2]".to_vec()),
        ("too_deep", deep.into_bytes()),
        ("too_large", vec![b' '; 3_000]),
        ("duplicate_key", twice.into()),
        ("bad_id", without(1, "id")),
        ("bad_id", with(1, "id", "x".repeat(1_500).into())),
        ("bad_time", with(2, "time", "noon".into())),
        ("bad_probability", with(3, "assignment_probability", 1.5.into())),
        ("bad_value", with(4, "x1", "much".into())),
        ("no_columns", br#"{"id": "a", "time": "2026-03-01", "colour": 1}"#.to_vec()),
    ];
    let house = House::new();
    for store in house.stores() {
        let config = house.config(&store, ", batch_rows: 8, in_flight_rows: 20", "event: {max_bytes: 2000}\n");
        let opened = house.open(&config);
        let mut events = Vec::new();
        for (n, (_, bytes)) in poison.iter().enumerate() {
            events.push(event(0, row(100 + n as u64).to_string().into_bytes()));
            events.push(event(0, bytes.clone()));
        }
        let mut tombstone = event(0, Vec::new());
        tombstone.value = None;
        events.push(tombstone);
        let n_events = events.len();
        let (done, sent) = opened.run(events, None);
        done.unwrap();
        let sent = sent.lock().unwrap();
        let dead: Vec<_> = sent.iter().filter(|message| message.dead.is_some()).collect();
        let codes: Vec<String> = dead.iter().map(|m| m.dead.as_ref().unwrap().code.to_string()).collect();
        let wanted: Vec<&str> = poison.iter().map(|(code, _)| *code).chain(["empty"]).collect();
        assert_eq!(codes, wanted);
        for (message, (_, bytes)) in dead.iter().zip(&poison) {
            assert_eq!(message.value, *bytes, "the original bytes");
        }
        let log = opened.log();
        assert_eq!((log.len(), log.iter().filter(|row| row.row.error).count()), (n_events, wanted.len()));
        assert!(log.iter().any(|row| row.row.error && row.row.scores.contains("\"code\":\"not_json\"")));
        let now = opened.service.figures.now();
        assert_eq!((now.n_dead(), now.scored), (wanted.len() as u64, poison.len() as u64));
    }
}

#[test]
fn a_key_very_like_a_missing_column_is_told_and_a_look_up_that_does_not_know_it() {
    let house = House::new();
    let table = house.folder.path().join("crm.csv");
    std::fs::write(&table, "user,x2\nu1,0.5\nu2,0.25\n").unwrap();
    let more = format!("lookup: {{file: {}, key: user}}\n", table.display());
    let opened = house.open(&house.config(&house.stores()[0], "", &more));
    let lines = [
        r#"{"id": "a", "time": "2026-03-01", "user": "u1", "x1": 1, "region": "north"}"#,
        r#"{"id": "b", "time": "2026-03-01", "user": "nobody", "x1": 1, "region": "north"}"#,
        r#"{"id": "c", "time": "2026-03-01", "user": "nobody", "x1": 1, "x2": 0.5, "region": "north"}"#,
        r#"{"id": "d", "time": "2026-03-01", "x1": 1, "region": "north"}"#,
        r#"{"id": "e", "time": "2026-03-01", "user": "u2", "x1": 1, "regionn": "north"}"#,
        r#"{"id": "f", "time": "2026-03-01", "user": "u2", "x1": 1, "x2": 0.5, "region": "north"}"#,
    ];
    let (done, sent) = opened.run(lines.iter().map(|line| event(0, line.as_bytes().to_vec())).collect(), None);
    done.unwrap();
    let sent = sent.lock().unwrap();
    let codes: Vec<Option<String>> = sent.iter().map(|m| m.dead.as_ref().map(|dead| dead.code.to_string())).collect();
    let some = |code: &str| Some(code.to_owned());
    assert_eq!(codes, [None, some("not_found"), None, some("not_found"), some("bad_value"), None]);
    let scores = |n: usize| serde_json::from_slice::<Value>(&sent[n].value).unwrap()["scores"].clone();
    // What the event brings wins over the table.
    assert_eq!(scores(0), scores(2));
    assert_eq!(scores(2), scores(5));
}
