//! `stream`: slips in its configuration are named, and a dry run scores a file of events without a broker or a log.

use crate::harness::Folder;

const CONFIG: &str = "model: model
kafka:
  brokers: 127.0.0.1:1
  events: events
  scores: scores
  dead_letters: dead_letters
";

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
