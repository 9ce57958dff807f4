//! Live uplift from the messages of a stream: scores as they were sent, outcomes as they come, joined by id.
//!
//! The state knows how far it has read, so that state and positions are saved as one. Where messages come from
//! is not known here.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use impactiq_data::{Field, RawType, Schema};
use impactiq_io::{JsonTexts, json_rows_to_batch};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};

use crate::config::StreamConfig;
use crate::error::StreamError;
use crate::live::{LiveReport, LiveUplift, Outcome, ScoredEvent, TrainingRanking};
use crate::model::StreamModel;
use crate::windows::TimeUnit;

const VERSION: u32 = 1;

/// Scores and outcomes, joined as far as they were read.
pub struct Follow {
    live: LiveUplift,
    head: Head,
    reading: Reading,
}

/// What is saved beside the live state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Head {
    version: u32,
    /// By topic and partition: the next message.
    next: BTreeMap<String, i64>,
    /// The newest event's or outcome's time.
    newest: Option<i64>,
    counts: FollowCounts,
}

/// What could not be followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowCounts {
    /// Scores without an arm, a probability or an effect: nothing to be learned from them.
    pub n_without_assignment: u64,
    /// Scores of arms that are not compared.
    pub n_other_arms: u64,
    /// Messages that could not be understood.
    pub n_unreadable: u64,
    /// Outcomes outside their range.
    pub n_refused: u64,
}

/// How messages are understood.
#[derive(Clone, Debug)]
struct Reading {
    time_unit: Option<TimeUnit>,
    arms: BTreeMap<String, Arms>,
}

/// The arms of a model's first contrast, and the column of its effect.
#[derive(Clone, Debug)]
struct Arms {
    control: String,
    treated: String,
    effect: String,
}

#[derive(Deserialize)]
struct ScoreMessage {
    id: String,
    time: Value,
    model: String,
    scores: BTreeMap<String, Value>,
    #[serde(default)]
    arm: Option<Value>,
    #[serde(default)]
    assignment_probability: Option<f64>,
}

impl Follow {
    /// Nothing followed yet.
    ///
    /// # Errors
    /// As [`LiveUplift::new`].
    pub fn new(config: &StreamConfig) -> Result<Self, StreamError> {
        let head = Head { version: VERSION, ..Head::default() };
        Ok(Follow { live: LiveUplift::new(config.live)?, head, reading: Reading::of(config) })
    }

    /// Goes on where somebody stopped.
    ///
    /// # Errors
    /// [`StreamError::Damaged`].
    pub fn from_bytes(config: &StreamConfig, bytes: &[u8]) -> Result<Self, StreamError> {
        let damaged = |problem: &str| StreamError::Damaged { what: "live uplift", problem: problem.into() };
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| damaged("it is too short"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (head, live) = rest.split_at_checked(length).ok_or_else(|| damaged("it is too short"))?;
        let head: Head = serde_json::from_slice(head).map_err(|error| damaged(&error.to_string()))?;
        if head.version != VERSION {
            return Err(damaged(&format!("version {}; this program reads version {VERSION}", head.version)));
        }
        Ok(Follow { live: LiveUplift::from_bytes(live)?, head, reading: Reading::of(config) })
    }

    /// State and positions as bytes.
    ///
    /// # Errors
    /// As [`LiveUplift::to_bytes`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, StreamError> {
        let head = serde_json::to_vec(&self.head)
            .map_err(|error| StreamError::Damaged { what: "live uplift", problem: error.to_string() })?;
        let live = self.live.to_bytes()?;
        let mut out = Vec::with_capacity(4 + head.len() + live.len());
        out.extend((head.len() as u32).to_le_bytes());
        out.extend(head);
        out.extend(live);
        Ok(out)
    }

    /// A model whose scores may come: its ranking is the promise that is watched.
    ///
    /// # Errors
    /// As [`LiveUplift::add_model`].
    pub fn add_model(&mut self, model: &StreamModel) -> Result<(), StreamError> {
        let manifest = model.scorer.manifest();
        let (Some(control), Some(treated)) = (manifest.arms.first(), manifest.arms.get(1)) else { return Ok(()) };
        let Some(effect) = model.effect.map(|place| model.scorer.columns()[place].name.clone()) else { return Ok(()) };
        let arms = Arms { control: control.clone(), treated: treated.clone(), effect };
        self.reading.arms.insert(model.id().to_owned(), arms);
        let outcome = manifest.outcomes.first().map(|outcome| outcome.name.as_str()).unwrap_or_default();
        let evaluation = model.reports.as_ref().and_then(|reports| reports.evaluation.as_ref());
        // A damaged evaluation is missing, and keeps nobody from watching.
        let ranking =
            evaluation.and_then(|report| TrainingRanking::of_evaluation(report, outcome, treated).ok()).flatten();
        self.live.add_model(model.id(), ranking, None)
    }

    /// True where the model is known.
    pub fn knows(&self, model: &str) -> bool {
        self.reading.arms.contains_key(model)
    }

    /// The next message of a partition.
    pub fn next(&self, topic: &str, partition: i32) -> Option<i64> {
        self.head.next.get(&format!("{topic}/{partition}")).copied()
    }

    /// Everything before a message was read.
    pub fn read_to(&mut self, topic: &str, partition: i32, next: i64) {
        self.head.next.insert(format!("{topic}/{partition}"), next);
    }

    /// Takes messages of the topic of scores.
    ///
    /// # Errors
    /// [`StreamError::Metrics`] for states that cannot go on (a bug); never for a message.
    pub fn scores(&mut self, messages: &[&[u8]]) -> Result<(), StreamError> {
        let parsed: Vec<ScoreMessage> = messages
            .iter()
            .filter_map(|message| {
                let parsed = serde_json::from_slice(message).ok();
                self.head.counts.n_unreadable += u64::from(parsed.is_none());
                parsed
            })
            .collect();
        let times = self.reading.times(parsed.iter().map(|message| message.time.clone()))?;
        for (message, time) in parsed.into_iter().zip(times) {
            let Some(time) = time else {
                self.head.counts.n_unreadable += 1;
                continue;
            };
            self.head.newest = self.head.newest.max(Some(time));
            match self.reading.event(message, time) {
                Ok(event) => {
                    if self.live.event(event).is_err() {
                        self.head.counts.n_unreadable += 1;
                    }
                }
                Err(Unusable::OtherArm) => self.head.counts.n_other_arms += 1,
                Err(Unusable::NoAssignment) => self.head.counts.n_without_assignment += 1,
            }
        }
        Ok(())
    }

    /// Takes messages of the topic of outcomes.
    ///
    /// # Errors
    /// As [`Follow::scores`].
    pub fn outcomes(&mut self, messages: &[&[u8]]) -> Result<(), StreamError> {
        let texts = JsonTexts::parse(messages.to_vec(), ["id", "outcome", "time"].map(str::to_owned).to_vec());
        let (batch, errors) = texts.batch(&self.reading.outcomes()?);
        let mut is_good = vec![true; messages.len()];
        texts.bad().iter().for_each(|bad| is_good[bad.row] = false);
        errors.iter().for_each(|error| is_good[error.row as usize] = false);
        let (ids, values) = (batch.column(0).as_string::<i32>(), batch.column(1).as_primitive::<Float64Type>());
        for (row, is_good) in is_good.into_iter().enumerate() {
            let time = self.reading.micros(batch.column(2), row);
            let is_whole = is_good && ids.is_valid(row) && values.is_valid(row);
            let Some(time) = time.filter(|_| is_whole) else {
                self.head.counts.n_unreadable += 1;
                continue;
            };
            let outcome = Outcome { id: ids.value(row).to_owned(), value: values.value(row), time };
            if self.live.outcome(outcome).is_err() {
                self.head.counts.n_refused += 1;
            }
        }
        Ok(())
    }

    /// All outcomes that there are have been read: windows that closed by the newest event's time are counted.
    ///
    /// # Errors
    /// As [`LiveUplift::advance`].
    pub fn advance(&mut self) -> Result<usize, StreamError> {
        self.head.newest.map_or(Ok(0), |now| self.live.advance(now))
    }

    /// What is known by now.
    pub fn report(&self) -> LiveNow {
        LiveNow { report: self.live.report(), not_followed: self.head.counts, newest: self.head.newest }
    }
}

/// What is known of the live uplift at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveNow {
    /// The estimates.
    #[serde(flatten)]
    pub report: LiveReport,
    /// What could not be followed.
    pub not_followed: FollowCounts,
    /// The newest event's time, in microseconds since 1970.
    pub newest: Option<i64>,
}

/// The last report, for whoever asks.
#[derive(Debug, Default)]
pub struct LiveView(Mutex<Option<LiveNow>>);

impl LiveView {
    /// Puts a report in its place.
    pub fn put(&self, now: LiveNow) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// The last one.
    pub fn get(&self) -> Option<LiveNow> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

enum Unusable {
    NoAssignment,
    OtherArm,
}

impl Reading {
    fn of(config: &StreamConfig) -> Self {
        Reading { time_unit: config.event.time_unit, arms: BTreeMap::new() }
    }

    fn time_type(&self) -> RawType {
        if self.time_unit.is_some() { RawType::Float64 } else { RawType::Timestamp }
    }

    fn outcomes(&self) -> Result<Schema, StreamError> {
        let field = |name: &str, raw_type| Field { name: name.into(), raw_type };
        let fields =
            vec![field("id", RawType::Text), field("outcome", RawType::Float64), field("time", self.time_type())];
        Ok(Schema::new(fields)?)
    }

    /// Times of messages in microseconds since 1970.
    fn times(&self, values: impl Iterator<Item = Value>) -> Result<Vec<Option<i64>>, StreamError> {
        let rows: Vec<Value> = values.map(|time| json!({"time": time})).collect();
        let schema = Schema::new(vec![Field { name: "time".into(), raw_type: self.time_type() }])?;
        let (batch, _) = json_rows_to_batch(&rows, &schema)?;
        Ok((0..rows.len()).map(|row| self.micros(batch.column(0), row)).collect())
    }

    fn micros(&self, times: &arrow::array::ArrayRef, row: usize) -> Option<i64> {
        if times.is_null(row) {
            return None;
        }
        match self.time_unit {
            None => Some(times.as_primitive::<TimestampMicrosecondType>().value(row)),
            Some(unit) => Some((times.as_primitive::<Float64Type>().value(row) * unit.micros()).round() as i64),
        }
    }

    fn event(&self, message: ScoreMessage, time: i64) -> Result<ScoredEvent, Unusable> {
        let arms = self.arms.get(&message.model);
        let effect = arms.map_or("cate", |arms| arms.effect.as_str());
        let number = |key: &str| message.scores.get(key).and_then(Value::as_f64);
        let score = number(effect).ok_or(Unusable::NoAssignment)?;
        // What this stream decided, else what the event said.
        let decided = message.scores.get("treat").and_then(Value::as_bool);
        let probability = number("assignment_probability").filter(|_| decided.is_some());
        let (treated, assignment_probability) = match (decided, probability) {
            (Some(treated), Some(probability)) => (treated, probability),
            _ => {
                let arm = match message.arm.as_ref().ok_or(Unusable::NoAssignment)? {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                let probability = message.assignment_probability.ok_or(Unusable::NoAssignment)?;
                let arms = arms.ok_or(Unusable::NoAssignment)?;
                match () {
                    () if arm == arms.treated => (true, probability),
                    () if arm == arms.control => (false, probability),
                    () => return Err(Unusable::OtherArm),
                }
            }
        };
        let (id, model) = (message.id, message.model);
        Ok(ScoredEvent { id, time, model, score, treated, assignment_probability })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> StreamConfig {
        let text = "model: m\nkafka: {brokers: b, events: e, dead_letters: d}\nlive: {window: 1h, grace: 0s}\n";
        StreamConfig::from_yaml(text, "s").unwrap()
    }

    #[test]
    fn decisions_of_the_stream_are_followed_to_their_outcomes_across_a_restart() {
        let mut follow = Follow::new(&config()).unwrap();
        let score = |n: u32, hour: u32| {
            format!(
                r#"{{"id":"e{n}","time":"2026-03-01T{hour:02}:00:00Z","model":"m1","scores":{{"cate":0.1,"would_treat":true,"treat":{},"assignment_probability":0.9}}}}"#,
                !n.is_multiple_of(10)
            )
        };
        let scores: Vec<String> = (0..100).map(|n| score(n, 1)).collect();
        let bytes: Vec<&[u8]> = scores.iter().map(String::as_bytes).collect();
        follow.scores(&bytes).unwrap();
        follow.scores(&[b"nonsense", br#"{"id":"x","time":"noon","model":"m","scores":{}}"#]).unwrap();
        follow
            .outcomes(&[
                br#"{"id":"e1","outcome":1,"time":"2026-03-01T01:30:00Z"}"#,
                br#"{"id":"e2","outcome":7,"time":"2026-03-01T01:30:00Z"}"#,
                br#"{"id":"e3","time":"2026-03-01T01:30:00Z"}"#,
            ])
            .unwrap();
        follow.read_to("scores", 0, 102);
        let mut again = Follow::from_bytes(&config(), &follow.to_bytes().unwrap()).unwrap();
        assert_eq!((again.next("scores", 0), again.report()), (Some(102), follow.report()));
        again.scores(&[score(1_000, 3).as_bytes()]).unwrap();
        assert_eq!(again.advance().unwrap(), 100);
        let now = again.report();
        assert_eq!((now.report.models[0].n, now.report.models[0].n_treated), (100, 90));
        assert_eq!(
            (now.not_followed.n_unreadable, now.not_followed.n_refused, now.report.counts.n_with_outcome),
            (3, 1, 1)
        );
        assert!(Follow::from_bytes(&config(), b"x").is_err());
    }

    #[test]
    fn scores_without_an_assignment_teach_nothing() {
        let mut follow = Follow::new(&config()).unwrap();
        follow.scores(&[br#"{"id":"a","time":"2026-03-01","model":"m","scores":{"cate":0.1}}"#]).unwrap();
        assert_eq!(follow.report().not_followed.n_without_assignment, 1);
    }
}
