//! What can be wrong with a stream's configuration, events and stored states.

use std::path::PathBuf;

use impactiq_data::DataError;
use impactiq_io::IoError;
use impactiq_metrics::MetricsError;
use impactiq_score::ScoreError;
use impactiq_store::StoreError;
use thiserror::Error;

/// Something that went wrong between an event and what it is turned into.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Something about files or rows.
    #[error(transparent)]
    Io(#[from] IoError),
    /// Something about columns.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Something about numbers.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// Something about the model or its answers.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// Something about the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration is no YAML, or a value is of the wrong kind.
    #[error("{file}:{line}:{column}: {problem}")]
    Yaml {
        /// The file.
        file: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What is wrong.
        problem: String,
    },
    /// A key that nobody knows.
    #[error("{file}:{line}:{column}: unknown key '{key}' (keys: {})", .allowed.join(", "))]
    UnknownKey {
        /// The file.
        file: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// The key.
        key: String,
        /// The key that was probably meant.
        closest: Option<String>,
        /// Every key that would be known there.
        allowed: Vec<String>,
    },
    /// The configuration has no section of that name.
    #[error("{file} has no section '{section}'")]
    NoSection {
        /// The file.
        file: String,
        /// The section.
        section: &'static str,
    },
    /// The configuration cannot be read.
    #[error("{} cannot be read: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A windowed feature that cannot be computed as declared.
    #[error("windows.features.{feature}: {problem}")]
    Feature {
        /// The feature.
        feature: String,
        /// What is wrong.
        problem: &'static str,
        /// What to write instead.
        hint: &'static str,
    },
    /// A setting outside its range.
    #[error("{key} is {value}; {allowed}")]
    Setting {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// A property of librdkafka that guarantees rest on.
    #[error("kafka.properties.{property} cannot be set: {reason}")]
    OurProperty {
        /// The property.
        property: String,
        /// Why.
        reason: &'static str,
    },
    /// Something Kafka says.
    #[error("kafka failed while {doing}: {detail}")]
    Kafka {
        /// What was asked of it.
        doing: &'static str,
        /// In its words.
        detail: String,
        /// True where the same may well go better later.
        passing: bool,
    },
    /// A topic that does not exist.
    #[error("the topic '{topic}' of {brokers} does not exist")]
    NoTopic {
        /// The topic.
        topic: String,
        /// Where it was looked for.
        brokers: String,
    },
    /// The store is ahead of the topic: it was deleted and made again.
    #[error(
        "partition {partition} of '{topic}' ends at offset {end}, but the store has its events up to {next}: \
         the topic was deleted and made again"
    )]
    TopicEndsEarlier {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The high watermark.
        end: i64,
        /// The store's position.
        next: i64,
    },
    /// The last event the store knows of is another one now.
    #[error(
        "the event at offset {offset} of partition {partition} of '{topic}' is not the one the store has scored: \
         the topic was deleted and made again"
    )]
    OtherEvent {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Its offset.
        offset: i64,
    },
    /// Events were deleted before they were read.
    #[error(
        "the events {next} to {oldest} of partition {partition} of '{topic}' were deleted before they were scored \
         (the oldest left is {oldest})"
    )]
    EventsGone {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The store's position.
        next: i64,
        /// The low watermark.
        oldest: i64,
    },
    /// Another model was moved to the place of the one that events were scored with so far.
    #[error("the model was {before} when the replay began and is {now} now")]
    ModelChanged {
        /// The model at the beginning.
        before: String,
        /// The model now.
        now: String,
    },
    /// The log has a request of a position the store has not reached.
    #[error("the score log already has '{request}', which the stream's position says was never written")]
    AlreadyLogged {
        /// The request's name.
        request: String,
    },
    /// The log lacks rows that must be sent again.
    #[error("the score log has no row of offset {offset} of partition {partition}, whose score was not sent yet")]
    LogGap {
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
    /// Another member has the partition now.
    #[error("partition {partition} belongs to another member now (epoch {epoch} has passed)")]
    Stale {
        /// The partition.
        partition: i32,
        /// The epoch that has passed.
        epoch: i64,
    },
    /// A batch begins with events that the store has: the client gave them twice. The partition is taken again and read from
    /// where the store is.
    #[error("events from {offset} on of partition {partition} were read again although they are logged")]
    Overlapping {
        /// The partition.
        partition: i32,
        /// The batch's first event.
        offset: i64,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// A part of the stream ended early.
    #[error("internal error: {what} stopped")]
    Stopped {
        /// The part.
        what: &'static str,
    },
    /// A value of an event or outcome that cannot be.
    #[error("{what} of event '{id}' is {value}; {allowed}")]
    EventValue {
        /// What has the value.
        what: &'static str,
        /// The event's id.
        id: String,
        /// The value.
        value: f64,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// A stored state of an unknown version or with damaged bytes.
    #[error("the stored {what} cannot be read: {problem}")]
    Damaged {
        /// Which state.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A stored state that was made by another definition of the windows.
    #[error("the stored windows were made by another definition ({found:016x}, now {expected:016x})")]
    OtherDefinition {
        /// Fingerprint in the bytes.
        found: u64,
        /// Fingerprint of the definition in use.
        expected: u64,
    },
}

const KEYS: &str = "docs/guide/stream.md lists every key, docs/guide/windows.md those of `windows:`";

impl StreamError {
    /// True when the same may well go better a moment later.
    pub fn is_passing(&self) -> bool {
        match self {
            StreamError::Store(error) => error.is_passing(),
            StreamError::Kafka { passing, .. } => *passing,
            _ => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            StreamError::Io(error) => error.hint(),
            StreamError::Data(error) => error.hint(),
            StreamError::Metrics(error) => error.hint(),
            StreamError::Score(error) => error.hint(),
            StreamError::Store(error) => error.hint(),
            StreamError::Yaml { .. } => Some(KEYS.into()),
            StreamError::UnknownKey { closest: Some(name), .. } => Some(format!("did you mean '{name}'?")),
            StreamError::UnknownKey { .. } => Some(KEYS.into()),
            StreamError::OurProperty { .. } => Some("leave it out; docs/guide/stream.md lists these properties".into()),
            StreamError::Kafka { .. } => Some("check kafka.brokers, kafka.properties and the broker's log".into()),
            StreamError::NoTopic { .. } => Some("make the topic, or correct its name".into()),
            StreamError::TopicEndsEarlier { .. } | StreamError::OtherEvent { .. } => {
                Some("take another kafka.group (it begins anew) or another log; what is logged stays".into())
            }
            StreamError::EventsGone { .. } => {
                Some("keep events longer (retention.ms); `kafka.missing: skip` goes on with the oldest".into())
            }
            StreamError::ModelChanged { .. } => {
                Some("replay again, with a copy of the model (-m) if it is replaced often".into())
            }
            StreamError::AlreadyLogged { .. } => {
                Some("the store was restored or edited; take another kafka.group or another log".into())
            }
            StreamError::LogGap { .. } => {
                Some("log_keep is shorter than the stream was down; take another kafka.group to begin anew".into())
            }
            StreamError::Overlapping { .. } => {
                Some("nothing: the partition is read again from where the log ends".into())
            }
            StreamError::Stale { .. } => Some("nothing: the partition goes on there".into()),
            StreamError::Listen { .. } => Some("choose another address with `http:`".into()),
            StreamError::Stopped { .. } => None,
            StreamError::NoSection { section, .. } => {
                Some(format!("add `{section}:`; docs/guide/windows.md shows one"))
            }
            StreamError::Read { .. } => Some("check the path".into()),
            StreamError::Feature { hint, .. } => Some((*hint).into()),
            StreamError::Setting { allowed, .. } => Some((*allowed).into()),
            StreamError::EventValue { what, .. } => {
                Some(format!("mend whoever sends the {what}; the event was ignored"))
            }
            StreamError::Damaged { .. } => Some("restore the store, or drop the state and replay the events".into()),
            StreamError::OtherDefinition { .. } => Some(
                "windows cannot grow backwards: go back to the old definition, or drop the states and replay".into(),
            ),
        }
    }
}
