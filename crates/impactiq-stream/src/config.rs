//! The configuration of `impactiq stream`: keys as they are written, defaults, and what cannot be meant.
//! Nothing is opened here.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use impactiq_store::{LogSettings, LookupSettings, LookupSource};
use serde::{Deserialize, Deserializer, de};

use crate::error::StreamError;
use crate::live::{HoldOut, LiveConfig};
use crate::windows::{TimeUnit, WindowPlan, WindowsConfig, located};

/// Properties of librdkafka that guarantees rest on, and why.
const OURS: [(&str, &str); 15] = [
    ("bootstrap.servers", "kafka.brokers says it"),
    ("group.id", "kafka.group says it"),
    ("group.instance.id", "a member that comes back must find its partitions taken, not its own"),
    ("group.protocol", "the classic protocol is what was tested"),
    ("enable.auto.commit", "offsets are committed when their scores are"),
    ("enable.auto.offset.store", "offsets are committed when their scores are"),
    ("auto.offset.reset", "kafka.start says it"),
    ("partition.assignment.strategy", "partitions move one by one (cooperative-sticky)"),
    ("isolation.level", "only committed events are scored"),
    ("enable.partition.eof", "it is not asked for"),
    ("enable.idempotence", "order per key rests on it"),
    ("acks", "a score is sent when all replicas have it"),
    ("transactional.id", "kafka.member says it"),
    ("max.in.flight.requests.per.connection", "order per key rests on it"),
    ("session.timeout.ms", "kafka.session_timeout says it"),
];

/// Everything `impactiq stream` is told.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamConfig {
    /// The model directory.
    pub model: PathBuf,
    /// Broker and topics.
    pub kafka: KafkaConfig,
    /// Where an event's own fields stand.
    #[serde(default)]
    pub event: EventConfig,
    /// The store.
    #[serde(default = "default_log")]
    pub log: String,
    /// A commit waits for the disk.
    #[serde(default = "yes")]
    pub log_durable: bool,
    /// How long scores are kept.
    #[serde(default)]
    pub log_keep: Option<Wait>,
    /// A table of columns that events may leave out.
    #[serde(default)]
    pub lookup: Option<LookupConfig>,
    /// Features from raw actions.
    #[serde(default)]
    pub windows: Option<WindowsConfig>,
    /// Users whose windows are held in memory.
    #[serde(default = "default_users")]
    pub windows_users: usize,
    /// A random hold-out among those the policy would treat.
    #[serde(default)]
    pub hold_out: Option<HoldOutConfig>,
    /// How live uplift is measured.
    #[serde(default)]
    pub live: LiveConfig,
    /// Where figures and report are told.
    #[serde(default)]
    pub http: Option<SocketAddr>,
}

/// Broker, topics and how they are read.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// The consumer group.
    #[serde(default = "default_group")]
    pub group: String,
    /// This member's name.
    #[serde(default)]
    pub member: Option<String>,
    /// Topic in.
    pub events: String,
    /// Topic out.
    #[serde(default)]
    pub scores: Option<String>,
    /// Topic of events that cannot be scored, or `none`.
    pub dead_letters: String,
    /// Topic of outcomes.
    #[serde(default)]
    pub outcomes: Option<String>,
    /// How often a score may be seen.
    #[serde(default)]
    pub delivery: Delivery,
    /// Where a new group begins.
    #[serde(default)]
    pub start: Start,
    /// What to do when events were deleted before they were read.
    #[serde(default)]
    pub missing: Missing,
    /// Most events of a batch.
    #[serde(default = "default_batch")]
    pub batch_rows: usize,
    /// How long a batch waits for more.
    #[serde(default = "default_linger")]
    pub linger: Wait,
    /// Events read and not yet committed.
    #[serde(default = "default_in_flight")]
    pub in_flight_rows: usize,
    /// A member silent for so long is out of the group.
    #[serde(default = "default_session")]
    pub session_timeout: Wait,
    /// Handed to librdkafka.
    #[serde(default, deserialize_with = "plain_values")]
    pub properties: BTreeMap<String, String>,
}

/// How often a score may be seen by who reads the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Once, or more after a crash.
    #[default]
    AtLeastOnce,
    /// Once, with `isolation.level=read_committed`.
    ExactlyOnce,
}

/// Where a group begins that nobody remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With the oldest event.
    #[default]
    Earliest,
    /// With the next one.
    Latest,
}

/// What to do when events were deleted before they were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// Stop and say so.
    #[default]
    Error,
    /// Go on with the oldest one.
    Skip,
}

/// Where an event's own fields stand.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventConfig {
    /// Its name.
    pub id: String,
    /// When it happened.
    pub time: String,
    /// Set where the time is a number since 1970.
    pub time_unit: Option<TimeUnit>,
    /// The arm it is in.
    pub arm: String,
    /// How likely it was to be treated.
    pub probability: String,
    /// A longer one is not read.
    pub max_bytes: usize,
}

impl Default for EventConfig {
    fn default() -> Self {
        EventConfig {
            id: "id".into(),
            time: "time".into(),
            time_unit: None,
            arm: "arm".into(),
            probability: "assignment_probability".into(),
            max_bytes: 1_000_000,
        }
    }
}

/// A look-up table: `file` or `sql`, and `key`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupConfig {
    /// A file, a glob or a folder.
    #[serde(default)]
    pub file: Option<String>,
    /// A query.
    #[serde(default)]
    pub sql: Option<SqlConfig>,
    /// The column by which rows are found.
    pub key: String,
    /// How often it is read again.
    #[serde(default)]
    pub refresh: Option<Wait>,
}

/// A table that is asked of a database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqlConfig {
    /// The database.
    pub url: String,
    /// The query; its columns are the table's.
    pub query: String,
}

/// The policy, and whom it leaves alone.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldOutConfig {
    /// Share of those the policy would treat.
    pub share: f64,
    /// Treat where the effect is above this.
    #[serde(default)]
    pub treat_above: f64,
    /// Another salt draws others.
    #[serde(default)]
    pub salt: Option<String>,
}

/// A short time: `20ms`, `30s`, `10m`, `90d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub Duration);

impl Wait {
    /// Reads a whole number with a unit: `ms`, `s`, `m`, `h` or `d`.
    ///
    /// ```
    /// use impactiq_stream::config::Wait;
    /// assert_eq!(Wait::parse("20ms").unwrap().0.as_millis(), 20);
    /// assert!(Wait::parse("20").is_none());
    /// ```
    pub fn parse(text: &str) -> Option<Wait> {
        const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let factor = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        let millis = number.parse::<u64>().ok()?.checked_mul(factor)?;
        (millis <= 100 * 366 * 86_400_000).then(|| Wait(Duration::from_millis(millis)))
    }
}

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Wait::parse(&text).ok_or_else(|| {
            de::Error::custom(format!("'{text}' is not a length of time like 20ms, 30s, 10m, 12h or 90d"))
        })
    }
}

fn default_log() -> String {
    "impactiq-stream.sqlite".into()
}
fn yes() -> bool {
    true
}
fn default_users() -> usize {
    200_000
}
fn default_group() -> String {
    "impactiq".into()
}
fn default_batch() -> usize {
    5_000
}
fn default_linger() -> Wait {
    Wait(Duration::from_millis(20))
}
fn default_in_flight() -> usize {
    50_000
}
fn default_session() -> Wait {
    Wait(Duration::from_secs(30))
}

/// Properties are texts for librdkafka; in YAML `true` and `5` may stand bare.
fn plain_values<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let values = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    values
        .into_iter()
        .map(|(key, value)| match value {
            serde_json::Value::String(text) => Ok((key, text)),
            serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Ok((key, value.to_string())),
            _ => Err(de::Error::custom(format!("the property {key} needs a plain value"))),
        })
        .collect()
}

impl StreamConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// [`StreamError::Yaml`] and [`StreamError::UnknownKey`] with line and column; as
    /// [`StreamConfig::check`].
    pub fn from_yaml(text: &str, file: &str) -> Result<Self, StreamError> {
        let mut options = serde_saphyr::Options::default();
        options.strict_booleans = true;
        options.with_snippet = false;
        let config: StreamConfig =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| located(&error, file))?;
        config.check()?;
        Ok(config)
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`StreamError::Read`], and as [`StreamConfig::from_yaml`].
    pub fn read(path: &Path) -> Result<Self, StreamError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| StreamError::Read { path: path.to_owned(), source })?;
        Self::from_yaml(&text, &path.display().to_string())
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// [`StreamError::Setting`] and [`StreamError::OurProperty`] naming the key; what
    /// [`WindowPlan::new`] and [`HoldOut::new`] say.
    pub fn check(&self) -> Result<(), StreamError> {
        let bad = |key, value: &str, allowed| Err(StreamError::Setting { key, value: format!("'{value}'"), allowed });
        let kafka = &self.kafka;
        for (key, topic) in self.topics() {
            if !is_topic_name(topic) {
                return bad(key, topic, "a topic's name has 1 to 249 letters, digits, '.', '_' and '-'");
            }
        }
        let mut names: Vec<&str> = self.topics().iter().map(|(_, topic)| *topic).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return bad("a topic of kafka", pair[0], "it is named twice: each needs a topic of its own");
        }
        if kafka.outcomes.is_some() && kafka.scores.is_none() {
            return bad("kafka.scores", "none", "outcomes are joined with the topic of scores: name one");
        }
        if kafka.brokers.trim().is_empty() || kafka.group.trim().is_empty() || kafka.group.contains('/') {
            return bad("kafka.brokers and kafka.group", &kafka.group, "neither may be empty; a group has no '/'");
        }
        let number = |key, value: usize, allowed| Err(StreamError::Setting { key, value: value.to_string(), allowed });
        if kafka.batch_rows == 0 || kafka.batch_rows > 100_000 {
            return number("kafka.batch_rows", kafka.batch_rows, "a batch has 1 to 100,000 events");
        }
        if kafka.in_flight_rows < 2 * kafka.batch_rows {
            return number("kafka.in_flight_rows", kafka.in_flight_rows, "two batches must have room in it");
        }
        if kafka.linger.0 > Duration::from_secs(60) {
            return bad("kafka.linger", &format!("{:?}", kafka.linger.0), "events wait a minute at most");
        }
        let session = kafka.session_timeout.0;
        if session < Duration::from_secs(1) || session > Duration::from_secs(3_600) {
            return bad(
                "kafka.session_timeout",
                &format!("{session:?}"),
                "1s to 1h; brokers often refuse less than 6s",
            );
        }
        if self.event.max_bytes == 0 {
            return number("event.max_bytes", 0, "an event has bytes");
        }
        for property in kafka.properties.keys() {
            if let Some((_, reason)) = OURS.iter().find(|(name, _)| name == property) {
                return Err(StreamError::OurProperty { property: property.clone(), reason });
            }
        }
        if let Some(address) = self.http.filter(|address| !address.ip().is_loopback()) {
            return bad("http", &address.to_string(), "figures have no keys: 127.0.0.1 or [::1], e.g. 127.0.0.1:8502");
        }
        self.lookup()?;
        self.plan()?;
        self.hold_out()?;
        Ok(())
    }

    /// The topics with their keys.
    fn topics(&self) -> Vec<(&'static str, &str)> {
        let kafka = &self.kafka;
        let mut topics = vec![("kafka.events", kafka.events.as_str())];
        topics.extend(kafka.scores.as_deref().map(|topic| ("kafka.scores", topic)));
        topics.extend(kafka.outcomes.as_deref().map(|topic| ("kafka.outcomes", topic)));
        topics.extend(self.dead_letters().map(|topic| ("kafka.dead_letters", topic)));
        topics
    }

    /// The topic of dead letters; `None` where the configuration says `none`.
    pub fn dead_letters(&self) -> Option<&str> {
        (self.kafka.dead_letters != "none").then_some(self.kafka.dead_letters.as_str())
    }

    /// The windows made ready.
    ///
    /// # Errors
    /// As [`WindowPlan::new`].
    pub fn plan(&self) -> Result<Option<WindowPlan>, StreamError> {
        self.windows.as_ref().map(WindowPlan::new).transpose()
    }

    /// The hold-out, and the effect above which the policy treats.
    ///
    /// # Errors
    /// As [`HoldOut::new`].
    pub fn hold_out(&self) -> Result<Option<(HoldOut, f64)>, StreamError> {
        let Some(config) = &self.hold_out else { return Ok(None) };
        let salt = config.salt.clone().unwrap_or_else(|| self.kafka.group.clone());
        Ok(Some((HoldOut::new(config.share, salt)?, config.treat_above)))
    }

    /// The look-up table.
    ///
    /// # Errors
    /// [`StreamError::Setting`] for none or two sources.
    pub fn lookup(&self) -> Result<Option<LookupSettings>, StreamError> {
        let Some(config) = &self.lookup else { return Ok(None) };
        let source = match (&config.file, &config.sql) {
            (Some(path), None) => LookupSource::File { path: path.clone() },
            (None, Some(sql)) => LookupSource::Sql { url: sql.url.clone(), query: sql.query.clone() },
            (given, _) => {
                let value = if given.is_some() { "two sources" } else { "no source" };
                return Err(StreamError::Setting {
                    key: "lookup",
                    value: value.into(),
                    allowed: "write either `file: …` or `sql: {url: …, query: …}`",
                });
            }
        };
        Ok(Some(LookupSettings { source, key: config.key.clone(), refresh: config.refresh.map(|wait| wait.0) }))
    }

    /// The store.
    pub fn log_settings(&self) -> LogSettings {
        let retention = self.log_keep.map(|wait| wait.0);
        LogSettings { durable: self.log_durable, retention, ..LogSettings::new(&self.log) }
    }
}

fn is_topic_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(plain) && !matches!(name, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "model: m\nkafka:\n  brokers: b:1\n  events: e\n  dead_letters: d\n";

    fn read(more: &str) -> Result<StreamConfig, StreamError> {
        StreamConfig::from_yaml(&format!("{SMALL}{more}"), "s.yaml")
    }

    #[test]
    fn the_example_reads_and_little_is_needed() {
        let example = include_str!("../../../configs/stream.yaml");
        let config = StreamConfig::from_yaml(example, "stream.yaml").unwrap();
        assert_eq!((config.kafka.scores.as_deref(), config.kafka.delivery), (Some("scores"), Delivery::AtLeastOnce));
        let small = read("").unwrap();
        assert_eq!((small.kafka.group.as_str(), small.kafka.linger.0.as_millis()), ("impactiq", 20));
        assert_eq!(small.dead_letters(), Some("d"));
    }

    #[test]
    fn slips_are_named() {
        let told = |more: &str| read(more).unwrap_err();
        assert!(matches!(told("modell: x\n"), StreamError::UnknownKey { closest: Some(key), .. } if key == "model"));
        assert!(
            matches!(told("  lingr: 5ms\n"), StreamError::UnknownKey { closest: Some(key), .. } if key == "linger")
        );
        assert!(told("  linger: 5\n").to_string().contains("length of time"));
        let ours = told("  properties: {enable.idempotence: false}\n");
        assert!(ours.to_string().contains("enable.idempotence") && ours.hint().is_some(), "{ours}");
        for (more, key) in [
            ("  scores: e\n", "twice"),
            ("  scores: a b\n", "kafka.scores"),
            ("  outcomes: o\n", "kafka.scores"),
            ("  batch_rows: 0\n", "kafka.batch_rows"),
            ("  in_flight_rows: 10\n", "kafka.in_flight_rows"),
            ("  session_timeout: 10ms\n", "kafka.session_timeout"),
            ("http: 0.0.0.0:1\n", "http"),
            ("lookup: {key: k}\n", "lookup"),
            ("hold_out: {share: 2}\n", "hold_out.share"),
            ("windows: {user: u, time: t, features: {}}\n", "windows.features"),
        ] {
            let error = told(more);
            assert!(error.to_string().contains(key), "{more}: {error}");
        }
    }

    #[test]
    fn properties_may_stand_bare_and_dead_letters_may_be_none() {
        let config = read("  properties: {socket.keepalive.enable: true, security.protocol: SSL}\n").unwrap();
        assert_eq!(config.kafka.properties["socket.keepalive.enable"], "true");
        let none = SMALL.replace("dead_letters: d", "dead_letters: none");
        assert_eq!(StreamConfig::from_yaml(&none, "s.yaml").unwrap().dead_letters(), None);
    }
}
