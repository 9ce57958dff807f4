//! `stream`: slips in its configuration are named, and a dry run scores a file of events without a broker or a log.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::harness::Folder;
use crate::serve::ask_at;

const CONFIG: &str = "model: model
kafka:
  brokers: 127.0.0.1:1
  events: events
  scores: scores
  dead_letters: dead_letters
";

/// The address that a program tells on its way, without what comes behind it.
fn told_address(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> String {
    loop {
        let line = lines.next().expect("it goes on").unwrap();
        if let Some((_, rest)) = line.split_once("http://") {
            return rest.split('/').next().unwrap().to_owned();
        }
    }
}

#[test]
fn slips_in_the_configuration_are_named_with_what_to_do() {
    let folder = Folder::new();
    for (from, to, told) in [
        ("model: model", "modle: model", "did you mean 'model'?"),
        ("scores: scores", "scores: events", "named twice"),
        ("dead_letters: dead_letters", "dead_letters: none\n  linger: 5", "length of time"),
        ("dead_letters: dead_letters", "dead_letters: d\n  properties: {acks: 1}", "kafka.properties.acks"),
        ("model: model", "http: 0.0.0.0:80\nmodel: model", "http is"),
    ] {
        folder.write("stream.yaml", CONFIG.replace(from, to));
        let ran = folder.run(&["stream", "-c", "stream.yaml", "--dry-run", "1"]);
        assert_eq!(ran.code, 2, "{}", ran.shown());
        assert!(ran.stderr.contains(told) && ran.stderr.contains("hint:"), "{told}: {}", ran.shown());
    }
    folder.write("stream.yaml", CONFIG);
    let ran = folder.run(&["stream", "-c", "stream.yaml", "--dry-run", "1", "--set", "learner.kind=t"]);
    assert!(ran.code == 2 && ran.stderr.contains("--set"), "{}", ran.shown());
}

#[test]
fn a_dry_run_of_a_file_scores_it_as_any_door_and_writes_nothing() {
    let folder = Folder::with_model();
    folder.write("stream.yaml", CONFIG);
    folder.write("events.ndjson", "{\"id\": 1, \"time\": \"2026-03-01\", \"x\": 0.3, \"city\": \"Oulu\"}\nnonsense\n");
    let before = folder.names();
    let told = folder.json(&["stream", "-c", "stream.yaml", "--dry-run", "10", "--from-file", "events.ndjson"]);
    let events = told["events"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    assert!(events[0]["result"]["score"]["scores"]["cate"].is_number(), "{told}");
    assert_eq!(events[1]["result"]["dead_letter"]["reason"], "not_json");
    assert_eq!(folder.names(), before);
}

#[test]
fn a_stream_without_its_broker_waits_says_so_and_stops_when_told() {
    let folder = Folder::with_model();
    folder.write("stream.yaml", format!("{CONFIG}http: 127.0.0.1:0\n"));
    let mut child = folder
        .command(&["stream", "-c", "stream.yaml", "--log-format", "text"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let url = told_address(&mut lines);
    // Somebody reads what it says, or it would stop at a full pipe.
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    assert!(ask_at(&url, "GET", "/health/live", "").unwrap().ends_with("live"));
    let ready = ask_at(&url, "GET", "/health/ready", "").unwrap();
    assert!(ready.starts_with("HTTP/1.1 503") && ready.contains("waiting"), "{ready}");
    assert!(ask_at(&url, "GET", "/metrics", "").unwrap().contains("impactiq_stream_scored_total 0"));
    assert!(ask_at(&url, "GET", "/v1/stream", "").unwrap().contains("\"alarms\":[]"));
    let killed = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    rest.join().unwrap();
}

#[test]
fn top_shows_a_stream_that_runs_and_says_where_none_answers() {
    let folder = Folder::new();
    let mut child = folder
        .command(&["demo", "stream", "--events", "3000", "--http", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = told_address(&mut lines);
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).count());
    let scored = |report: &serde_json::Value| report["figures"]["scored"].as_u64().unwrap();
    let began = std::time::Instant::now();
    let report = loop {
        let report = folder.json(&["stream", "top", &address]);
        if scored(&report) > 2_900 || began.elapsed().as_secs() > 120 {
            break report;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    };
    assert!(scored(&report) > 2_900, "{report}");
    let ran = folder.run(&["stream", "top", &address, "--once"]);
    assert_eq!(ran.code, 0, "{}", ran.shown());
    for told in ["impactiq stream, member", "scored", "dead letters", "live uplift of", "wait for their outcome"] {
        assert!(ran.stdout.contains(told), "{told}: {}", ran.shown());
    }
    assert!(!ran.stdout.contains('\u{1b}'), "no terminal, no codes of one: {}", ran.shown());
    assert!(std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    child.wait().unwrap();
    rest.join().unwrap();
    let ran = folder.run(&["stream", "top", &address]);
    assert_eq!(ran.code, 2, "{}", ran.shown());
    assert!(ran.stderr.contains("no stream answers") && ran.stderr.contains("hint:"), "{}", ran.shown());
}

#[test]
fn a_replay_refuses_what_cannot_be_meant_before_it_asks_a_broker() {
    let folder = Folder::with_model();
    folder.write("stream.yaml", CONFIG);
    folder.write("there.csv", "");
    for (more, told) in [
        (&["-o", "there.csv"][..], "exists already"),
        (&["-o", "new.xlsx"], "new.xlsx"),
        (&["-o", "new.csv", "--from", "yesterday"], "2026-11-01T00:00:00Z"),
        (&["-o", "new.csv", "--from", "2026-11-02", "--to", "2026-11-01"], "--from is not before --to"),
        (&["-o", "new.csv", "-m", "nowhere"], "nowhere"),
    ] {
        let ran = folder.run(&[&["stream", "replay", "-c", "stream.yaml"], more].concat());
        assert_eq!(ran.code, 2, "{}", ran.shown());
        assert!(ran.stderr.contains(told), "{told}: {}", ran.shown());
        assert!(!folder.names().contains(&"new.csv".to_owned()));
    }
}
