//! `windows`: a file of events gains its features, and slips are named.

use crate::harness::Folder;

const CONFIG: &str = "windows:
  user: user_id
  time: time
  features:
    purchases_7d: {count: purchase, over: 7d}
    spend_7d: {sum: amount, of: purchase, over: 7d}
    since_visit: {recency: visit}
";
const EVENTS: &str = "user_id,time,kind,amount
b,2026-01-09T00:00:00Z,visit,
a,2026-01-01T00:00:00Z,visit,
a,2026-01-01T00:01:30Z,purchase,20
a,2026-01-02T00:00:00Z,purchase,5.5
a,2026-01-08T12:00:00Z,visit,
,2026-01-08T12:00:00Z,visit,
";

#[test]
fn events_gain_what_was_known_of_their_user_before_them() {
    let folder = Folder::new();
    folder.write("stream.yaml", CONFIG);
    folder.write("events.csv", EVENTS);
    let ran = folder.run(&["windows", "-c", "stream.yaml", "-d", "events.csv", "-o", "features.csv"]);
    ran.succeeded();
    let written = String::from_utf8(folder.read("features.csv")).unwrap();
    let lines: Vec<&str> = written.lines().collect();
    assert!(lines[0].ends_with(",purchases_7d,spend_7d,since_visit"), "{written}");
    let ends = [",0,0,", ",0,0,", ",0,0,90", ",1,20,86400", ",1,5.5,648000", ",,,"];
    for (line, end) in lines[1..].iter().zip(ends) {
        assert!(line.replace(".0", "").ends_with(end), "{line} should end with {end}\n{written}");
    }
    assert_eq!(lines.len(), 7);
}

#[test]
fn a_file_with_types_can_be_trained_on() {
    let folder = Folder::new();
    folder.write("stream.yaml", CONFIG);
    let mut events = String::from("user_id,time,kind,amount,t,y\n");
    for n in 0..400u32 {
        let (day, t) = (1 + n % 28, n / 2 % 2);
        events.push_str(&format!(
            "u{},2026-01-{day:02}T00:00:{:02}Z,purchase,{n},{t},{}\n",
            n % 50,
            n % 60,
            n * 7 % 3 / 2
        ));
    }
    folder.write("events.csv", events);
    folder.run(&["windows", "-c", "stream.yaml", "-d", "events.csv", "-o", "features.parquet"]).succeeded();
    let config = "data: {path: features.parquet}\nroles: {treatment: t, control: 0, outcome: y, \
                  features: [purchases_7d, spend_7d]}\nnuisance: {kind: logistic, folds: 2}\n\
                  learner: {kind: t, base: logistic}\n";
    folder.write("config.yaml", config);
    folder.run(&["train", "-c", "config.yaml", "-o", "model"]).succeeded();
}

#[test]
fn a_definition_that_cannot_be_is_named_with_what_to_write() {
    let folder = Folder::new();
    folder.write("events.csv", EVENTS);
    for (from, to, says) in [
        ("over: 7d", "ovr: 7d", "did you mean 'over'?"),
        ("over: 7d", "over: a week", "not a length of time"),
        ("count: purchase, ", "", "windows.features.purchases_7d"),
        ("amount", "amout", "amount"),
        ("windows:", "window:", "no section 'windows'"),
    ] {
        folder.write("stream.yaml", CONFIG.replacen(from, to, 1));
        let ran = folder.run(&["windows", "-c", "stream.yaml", "-d", "events.csv", "-o", "features.csv"]);
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains(says) && ran.stderr.contains("hint:"), "{says}: {}", ran.stderr);
    }
    assert_eq!(folder.names(), ["events.csv", "stream.yaml"]);
}
