//! Configurations of clients, their errors in our words, and what they have to say.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::config::KafkaConfig;
use crate::error::StreamError;
use crate::flow::rows_without;
use crate::processor::Processed;

/// How long a question to the broker may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A dead letter longer than this is cut: with its headers it would be longer than what a broker takes by default,
/// and one event must not keep all others from going on.
const LONGEST: usize = 950_000;

/// A name no other member has: the one that was given, or a random one.
pub fn member_name(config: &KafkaConfig) -> String {
    config.member.clone().unwrap_or_else(|| {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        format!("{:x}-{:x}", nanos, std::process::id())
    })
}

fn base(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.brokers).set("client.id", "impactiq").set_log_level(RDKafkaLogLevel::Info);
    client
}

/// Ours first, then the user's, which never hold one of those that guarantees rest on.
fn with_properties(mut client: ClientConfig, config: &KafkaConfig) -> ClientConfig {
    config.properties.iter().for_each(|(key, value)| {
        client.set(key, value);
    });
    client
}

/// A reader that is no member of any group.
pub(super) fn reader(config: &KafkaConfig) -> ClientConfig {
    let mut client = base(config);
    client
        .set("group.id", format!("{}-looks-on", config.group))
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false");
    with_properties(client, config)
}

/// A member of the group.
pub(super) fn consumer(config: &KafkaConfig) -> ClientConfig {
    let session = config.session_timeout.0.as_millis();
    let mut client = base(config);
    client
        .set("group.id", &config.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("isolation.level", "read_committed")
        .set("allow.auto.create.topics", "false")
        .set("session.timeout.ms", session.to_string())
        .set("heartbeat.interval.ms", (session / 5).clamp(100, 3_000).to_string())
        .set("max.poll.interval.ms", session.max(300_000).to_string())
        .set("statistics.interval.ms", "2000")
        // What waits in the client is memory that no bound of ours sees.
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "20");
    with_properties(client, config)
}

/// A sender; every score arrives in order and once per attempt. `own` are the sink's properties, below the user's.
pub(super) fn producer(config: &KafkaConfig, own: &[(&str, &str)]) -> ClientConfig {
    let mut client = base(config);
    own.iter().for_each(|(key, value)| {
        client.set(*key, *value);
    });
    client
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "2")
        // Scores repeat their keys, so they shrink well, and broker and disk share the machine with others.
        .set("compression.type", "lz4")
        .set("message.max.bytes", "1048576")
        .set("allow.auto.create.topics", "false");
    with_properties(client, config)
}

/// What Kafka says, in our words.
pub(super) fn told(doing: &'static str, error: &KafkaError) -> StreamError {
    let passing = match error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_) => false,
        KafkaError::MessageConsumptionFatal(_) => false,
        _ => !matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                    | RDKafkaErrorCode::GroupAuthorizationFailed
                    | RDKafkaErrorCode::ClusterAuthorizationFailed
                    | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
                    | RDKafkaErrorCode::SaslAuthenticationFailed
                    | RDKafkaErrorCode::InvalidSessionTimeout
                    | RDKafkaErrorCode::MessageSizeTooLarge
            )
        ),
    };
    StreamError::Kafka { doing, detail: error.to_string(), passing }
}

/// Writes what librdkafka says into the events of this program.
pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
            // A broker that is away is told of by the client's error, and every second here.
            if facility == "FAIL" || facility == "ERROR" {
                tracing::debug!(facility, "{message}");
            } else {
                tracing::warn!(facility, "{message}");
            }
        }
        RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice => tracing::info!(facility, "{message}"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => tracing::debug!(facility, "{message}"),
    }
}

/// Lets the same kind of news through every ten seconds only.
#[derive(Debug, Default)]
pub(super) struct Rarely(Mutex<Option<Instant>>);

impl Rarely {
    /// True where it may be told.
    pub fn may_tell(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| last.elapsed() >= Duration::from_secs(10));
        if may {
            *last = Some(Instant::now());
        }
        may
    }

    /// Tells what a client says went wrong; it tries again by itself.
    pub fn tell(&self, error: &KafkaError, reason: &str) {
        if self.may_tell() {
            tracing::info!(%error, reason, "Kafka");
        }
    }
}

/// Says nothing but what is written down.
#[derive(Debug, Default)]
pub(super) struct Quiet(pub Rarely);

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.tell(&error, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Quiet {}

/// Some partitions of a topic.
pub(super) fn list(topic: &str, partitions: impl Iterator<Item = i32>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, partition);
    }
    list
}

/// Where scores and dead letters go, and where events came from.
#[derive(Clone, Debug)]
pub(super) struct Topics {
    pub events: String,
    pub scores: Option<String>,
    pub dead_letters: Option<String>,
}

impl Topics {
    /// Sends the messages of batches, without those of some partitions, through `send`.
    pub fn send(
        &self,
        group: &[Processed],
        without: &[i32],
        mut send: impl FnMut(BaseRecord<'_, [u8], [u8]>) -> Result<(), StreamError>,
    ) -> Result<(), StreamError> {
        for (batch, row) in rows_without(group, without) {
            let key = batch.incoming.key(row);
            let (topic, value, headers) = match (&batch.dead[row], &self.scores, &self.dead_letters) {
                (None, Some(topic), _) => (topic, Some(batch.messages.get(row)), None),
                (Some(_), _, Some(topic)) => {
                    let value = batch.incoming.value(row).map(|value| &value[..value.len().min(LONGEST)]);
                    (topic, value, Some(self.headers(batch, row)))
                }
                _ => continue,
            };
            let mut record = BaseRecord::to(topic);
            record.key = key;
            record.payload = value;
            record.headers = headers;
            send(record)?;
        }
        Ok(())
    }

    fn headers(&self, batch: &Processed, row: usize) -> OwnedHeaders {
        let place = batch.incoming.place(row);
        let (partition, offset) = (place.partition.to_string(), place.offset.to_string());
        let (code, message) =
            batch.dead[row].as_ref().map_or(("unknown", ""), |dead| (dead.code.as_ref(), dead.message.as_str()));
        let pairs = [
            ("impactiq-reason", code),
            ("impactiq-message", message),
            ("impactiq-topic", self.events.as_str()),
            ("impactiq-partition", partition.as_str()),
            ("impactiq-offset", offset.as_str()),
            ("impactiq-model", batch.model_of(row)),
        ];
        let headers = pairs.iter().fold(OwnedHeaders::new_with_capacity(pairs.len() + 1), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(*value) })
        });
        match batch.incoming.value(row).map(<[u8]>::len).filter(|n| *n > LONGEST) {
            Some(n) => headers.insert(Header { key: "impactiq-cut", value: Some(&n.to_string()) }),
            None => headers,
        }
    }
}
