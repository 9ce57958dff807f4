//! What came out, against what must have come out: every claim is a count of violations, with the first one in words.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rdkafka::Message;
use serde_json::{Map, Value, json};

use crate::events::{Event, History, Poison};
use crate::house::Names;
use crate::kafka_topics::{Failure, Placed, header, read_all};
use crate::store::LoggedScore;

/// What every event must have become.
pub struct Expected {
    events: Vec<Event>,
    places: BTreeMap<(i32, i64), usize>,
    /// The scores without what is missing; none for poison.
    scores: Vec<Option<Map<String, Value>>>,
}

/// Violations of one claim.
#[derive(Default)]
struct Count {
    n: u64,
    first: Option<String>,
}

impl Count {
    fn add(&mut self, what: impl FnOnce() -> String) {
        self.n += 1;
        self.first.get_or_insert_with(what);
    }

    fn json(&self) -> Value {
        match &self.first {
            None => json!(self.n),
            Some(first) => json!({ "n": self.n, "first": first }),
        }
    }
}

impl Expected {
    /// Computes every score from the input alone: windows counted by hand, then a file through `impactiq score`.
    pub fn new(
        binary: &Path,
        model: &Path,
        folder: &Path,
        events: Vec<Event>,
        placed: &[Placed],
    ) -> Result<Self, Failure> {
        let [rows, answers] = ["expected-rows.ndjson", "expected-scores.ndjson"].map(|name| folder.join(name));
        let mut histories: BTreeMap<u64, History> = BTreeMap::new();
        let mut file = std::io::BufWriter::new(std::fs::File::create(&rows)?);
        for event in events.iter().filter(|event| event.poison.is_none()) {
            let mut row = event.row();
            row.extend(histories.entry(event.user).or_default().features(event));
            writeln!(file, "{}", Value::Object(row))?;
        }
        file.flush()?;
        let mut command = Command::new(binary);
        command
            .args(["score", "--overwrite", "--quiet", "--strict", "-m"])
            .arg(model)
            .arg("-d")
            .arg(&rows)
            .arg("-o")
            .arg(&answers);
        let ran = command.stdout(Stdio::null()).status()?;
        if !ran.success() {
            return Err(format!("{command:?} ended with {ran}").into());
        }
        let text = std::fs::read_to_string(answers)?;
        let mut lines = text.lines();
        let mut scores = Vec::with_capacity(events.len());
        for event in &events {
            scores.push(match event.poison {
                Some(_) => None,
                None => {
                    Some(present(serde_json::from_str(lines.next().ok_or("`impactiq score` wrote too few rows")?)?))
                }
            });
        }
        let places = placed.iter().zip(0..).map(|(placed, at)| ((placed.partition, placed.offset), at)).collect();
        Ok(Expected { events, places, scores })
    }

    /// The log: every event once, at its key, with its payload, in order.
    pub fn judge_log(&self, rows: &[LoggedScore]) -> Value {
        let [mut lost, mut twice, mut strange, mut wrong, mut disordered] = [(); 5].map(|()| Count::default());
        let mut seen = vec![0_u32; self.events.len()];
        let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
        for row in rows {
            let Some(at) = place(row).and_then(|place| self.places.get(&place).copied()) else {
                strange.add(|| format!("{} row {}", row.request_id, row.row));
                continue;
            };
            let event = &self.events[at];
            seen[at] += 1;
            if seen[at] > 1 {
                twice.add(|| event.id());
            }
            let fits = match &self.scores[at] {
                Some(scores) => !row.error && row.id == Some(event.id()) && same(&row.scores, scores),
                None => row.error,
            };
            if !fits {
                let wanted = self.scores[at].clone().map_or(Value::Null, Value::Object);
                wrong.add(|| {
                    format!("{} at {} + {}: {} instead of {wanted}", event.id(), row.request_id, row.row, row.scores)
                });
            }
            let newest = newest.entry(event.user).or_insert(event.number);
            if *newest > event.number {
                disordered.add(|| format!("{} after e{newest:09}", event.id()));
            }
            *newest = event.number.max(*newest);
        }
        for (at, _) in seen.iter().enumerate().filter(|(_, n)| **n == 0) {
            lost.add(|| self.events[at].id());
        }
        json!({
            "rows": rows.len(), "lost": lost.json(), "duplicated": twice.json(), "of_no_event": strange.json(),
            "mismatched": wrong.json(), "out_of_order": disordered.json(),
        })
    }

    /// The topic of scores: nothing missing or wrong, first appearances in order; repeats are counted.
    pub fn judge_scores(&self, brokers: &str, names: &Names, committed: bool) -> Result<Value, Failure> {
        let [mut lost, mut twice, mut wrong, mut disordered] = [(); 4].map(|()| Count::default());
        let by_id: BTreeMap<String, usize> =
            self.events.iter().enumerate().map(|(at, event)| (event.id(), at)).collect();
        let mut seen = vec![0_u32; self.events.len()];
        let mut newest: BTreeMap<u64, (u64, i32)> = BTreeMap::new();
        let n_read = read_all(brokers, &names.scores, committed, &mut |message| {
            let value: Map<String, Value> = serde_json::from_slice(message.payload().unwrap_or_default())?;
            let id = value.get("id").and_then(Value::as_str).unwrap_or("");
            let found = by_id.get(id).and_then(|&at| Some((at, self.scores[at].as_ref()?)));
            let Some((at, scores)) = found else {
                wrong.add(|| format!("'{id}' at {} {}", message.partition(), message.offset()));
                return Ok(());
            };
            let event = &self.events[at];
            let answered = value.get("scores").map(Value::to_string).unwrap_or_default();
            if !same(&answered, scores) || message.key() != Some(event.key().as_bytes()) {
                let wanted = Value::Object(scores.clone());
                wrong.add(|| format!("{id}: {answered} instead of {wanted}"));
            }
            seen[at] += 1;
            if seen[at] > 1 {
                twice.add(|| id.to_owned());
                return Ok(());
            }
            let newest = newest.entry(event.user).or_insert((event.number, message.partition()));
            if newest.0 > event.number || newest.1 != message.partition() {
                disordered.add(|| format!("{id} after e{:09} (partition {})", newest.0, newest.1));
            }
            newest.0 = newest.0.max(event.number);
            Ok(())
        })?;
        for (at, _) in seen.iter().enumerate().filter(|(at, n)| **n == 0 && self.scores[*at].is_some()) {
            lost.add(|| self.events[at].id());
        }
        Ok(json!({
            "read": n_read, "isolation": if committed { "read_committed" } else { "read_uncommitted" }, "lost": lost.json(),
            "duplicates": twice.n, "mismatched": wrong.json(), "out_of_order": disordered.json(),
        }))
    }

    /// The topic of dead letters: every poison there with its bytes and reason, and nothing else.
    pub fn judge_dead_letters(&self, brokers: &str, names: &Names, committed: bool) -> Result<Value, Failure> {
        let [mut lost, mut wrong] = [(); 2].map(|()| Count::default());
        let mut seen = vec![0_u32; self.events.len()];
        let n_read = read_all(brokers, &names.dead_letters, committed, &mut |message| {
            let number = |name| header(message, name).and_then(|text| text.parse::<i64>().ok());
            let place = (number("impactiq-partition").unwrap_or(-1) as i32, number("impactiq-offset").unwrap_or(-1));
            let reason = header(message, "impactiq-reason").unwrap_or_default();
            let found = self.places.get(&place).and_then(|&at| Some((at, self.events[at].poison?)));
            let Some((at, Poison(wanted))) = found else {
                wrong.add(|| format!("{reason} at {} {} is no poison", place.0, place.1));
                return Ok(());
            };
            seen[at] += 1;
            if reason != wanted || message.payload() != Some(&self.events[at].value()) {
                wrong.add(|| format!("{}: '{reason}' instead of '{wanted}', or other bytes", self.events[at].id()));
            }
            Ok(())
        })?;
        let poison = || self.events.iter().enumerate().filter(|(_, event)| event.poison.is_some());
        for (at, event) in poison().filter(|(at, _)| seen[*at] == 0) {
            lost.add(|| format!("{} ({at})", event.id()));
        }
        let duplicates: u64 = seen.iter().map(|&n| u64::from(n.saturating_sub(1))).sum();
        Ok(json!({
            "poison": poison().count(), "read": n_read, "lost": lost.json(), "duplicates": duplicates, "mismatched": wrong.json(),
        }))
    }
}

/// The place that a row of the log speaks of: partition and offset stand in the request's name.
fn place(row: &LoggedScore) -> Option<(i32, i64)> {
    let mut parts = row.request_id.rsplit('/');
    let offset: i64 = parts.next()?.parse().ok()?;
    let partition = parts.next()?.parse().ok()?;
    Some((partition, offset + row.row))
}

/// Scores that are there: a file leaves out what a message says is null, and numbers its rows.
fn present(scores: Map<String, Value>) -> Map<String, Value> {
    scores.into_iter().filter(|(name, value)| !value.is_null() && name != "row").collect()
}

/// The same scores to the last bit of every number.
fn same(found: &str, wanted: &Map<String, Value>) -> bool {
    serde_json::from_str(found).is_ok_and(|found| present(found) == *wanted)
}

/// Names of the claims that a verdict violates; empty where all hold.
pub fn violations(verdict: &Value, exactly_once: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut claim = |section: &str, name: &str| {
        let value = &verdict[section][name];
        if value.as_u64().or_else(|| value["n"].as_u64()) != Some(0) {
            found.push(format!("{section}.{name}: {value}"));
        }
    };
    for name in ["lost", "duplicated", "of_no_event", "mismatched", "out_of_order"] {
        claim("log", name);
    }
    for name in ["lost", "mismatched", "out_of_order"] {
        claim("scores", name);
    }
    for name in ["lost", "mismatched"] {
        claim("dead_letters", name);
    }
    if exactly_once {
        claim("scores", "duplicates");
        claim("dead_letters", "duplicates");
    }
    found
}
