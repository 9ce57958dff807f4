//! Topics of a test broker: made, written with the offsets noted, read to their end. Shared by the
//! examples that prove and measure the stream; what the messages mean is theirs.

#![allow(dead_code, reason = "each example uses its part")]

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Headers};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};

/// What goes wrong in an example.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How long a broker that is being restarted is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Settings of every client.
pub fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("reconnect.backoff.max.ms", "500");
    config
}

/// Makes topics of so many partitions.
pub async fn create(brokers: &str, names: &[&str], n_partitions: i32) -> Result<(), Failure> {
    let admin: AdminClient<DefaultClientContext> = client(brokers).create()?;
    let topics: Vec<NewTopic<'_>> =
        names.iter().map(|name| NewTopic::new(name, n_partitions, TopicReplication::Fixed(1))).collect();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
    for made in admin.create_topics(&topics, &options).await? {
        match made {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(format!("topic '{name}' was not made: {code}").into()),
        }
    }
    // A topic is there before its partitions have leaders, and questions about them fail until then.
    let asking: BaseConsumer = client(brokers).create()?;
    let began = Instant::now();
    for (name, partition) in names.iter().flat_map(|name| (0..n_partitions).map(move |partition| (*name, partition))) {
        while let Err(error) = asking.fetch_watermarks(name, partition, PATIENCE) {
            if began.elapsed() > PATIENCE {
                return Err(error.into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

/// Where a message was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The writer's number of it.
    pub number: u64,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// Keeps where messages went.
#[derive(Clone, Default)]
pub struct Places {
    placed: Arc<Mutex<(Vec<Placed>, Option<String>)>>,
}

impl ClientContext for Places {
    // A broker that is killed on purpose is no news.
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Places {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) => placed.0.push(Placed {
                number: number as u64,
                partition: message.partition(),
                offset: message.offset(),
            }),
            Err((error, _)) => {
                placed.1.get_or_insert(format!("message {number} was not delivered: {error}"));
            }
        }
    }
}

/// A writer that puts every message once and knows where.
pub struct Writer {
    producer: ThreadedProducer<Places>,
    places: Places,
    topic: String,
}

impl Writer {
    /// A writer to a topic.
    pub fn new(brokers: &str, topic: &str) -> Result<Self, Failure> {
        let places = Places::default();
        let mut config = client(brokers);
        config.set("enable.idempotence", "true").set("linger.ms", "5").set("message.timeout.ms", "600000");
        config.set("queue.buffering.max.messages", "1000000").set("compression.type", "lz4");
        // With several requests under way, a broker that is killed leaves gaps in their numbers, and librdkafka then sends
        // messages again that are there already.
        config.set("max.in.flight.requests.per.connection", "1");
        Ok(Writer { producer: config.create_with_context(places.clone())?, places, topic: topic.to_owned() })
    }

    /// Puts a message; waits where too many are on their way.
    pub fn put(&self, number: u64, partition: i32, key: &str, value: &[u8]) -> Result<(), Failure> {
        let mut record = BaseRecord::with_opaque_to(&self.topic, number as usize).partition(partition).key(key);
        record = record.payload(value);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Messages that the broker has.
    pub fn n_placed(&self) -> usize {
        self.places.placed.lock().unwrap_or_else(PoisonError::into_inner).0.len()
    }

    /// Waits for the broker to have them all; where they went, in the order of their numbers.
    pub fn finish(self) -> Result<Vec<Placed>, Failure> {
        self.producer.flush(Duration::from_secs(600))?;
        let mut placed = self.places.placed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = placed.1.take() {
            return Err(failure.into());
        }
        let mut all = std::mem::take(&mut placed.0);
        all.sort_by_key(|one| one.number);
        Ok(all)
    }
}

/// Reads a topic from its beginning to its present end; says how many messages there were.
///
/// `committed` hides what belongs to transactions that were given up; one that is still open is
/// waited for, because what stands behind it is hidden until the broker ends it.
pub fn read_all(
    brokers: &str,
    topic: &str,
    committed: bool,
    visit: &mut dyn FnMut(&BorrowedMessage<'_>) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let reader = |isolation: &str| -> Result<BaseConsumer, Failure> {
        let mut config = client(brokers);
        config.set("group.id", "stream-example-reader").set("enable.auto.commit", "false");
        config.set("isolation.level", isolation).set("enable.partition.eof", "true");
        Ok(config.create()?)
    };
    let consumer = reader(if committed { "read_committed" } else { "read_uncommitted" })?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let partitions: Vec<i32> =
        metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id()).collect();
    if committed {
        let plain = reader("read_uncommitted")?;
        for &partition in &partitions {
            wait_for_open_transactions(&consumer, &plain, topic, partition)?;
        }
    }
    let mut list = TopicPartitionList::new();
    for &partition in &partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut n_messages = 0;
    let mut n_ended = 0;
    let mut quiet = Instant::now();
    while n_ended < partitions.len() {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                visit(&message)?;
                n_messages += 1;
                quiet = Instant::now();
            }
            Some(Err(KafkaError::PartitionEOF(_))) => n_ended += 1,
            Some(Err(_)) | None if quiet.elapsed() < PATIENCE => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err(format!("'{topic}' has no end: nothing came for {} s", PATIENCE.as_secs()).into()),
        }
    }
    Ok(n_messages)
}

fn wait_for_open_transactions(
    committed: &BaseConsumer,
    plain: &BaseConsumer,
    topic: &str,
    partition: i32,
) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        let (_, stable) = committed.fetch_watermarks(topic, partition, PATIENCE)?;
        let (_, end) = plain.fetch_watermarks(topic, partition, PATIENCE)?;
        if stable >= end {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("a transaction in '{topic}' {partition} stays open ({stable} of {end})").into());
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// A header of a message as text.
pub fn header(message: &BorrowedMessage<'_>, name: &str) -> Option<String> {
    let found = message.headers()?.iter().find(|header| header.key == name)?;
    found.value.map(|value| String::from_utf8_lossy(value).into_owned())
}

/// The value of `--name` among the words of a command line.
pub fn word<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument.strip_prefix("--") == Some(name))?;
    arguments.get(at + 1).map(String::as_str)
}

/// The same as a number.
pub fn number<N: std::str::FromStr>(arguments: &[String], name: &str, default: N) -> Result<N, Failure> {
    match word(arguments, name) {
        None => Ok(default),
        Some(text) => {
            text.replace('_', "").parse().map_err(|_| format!("--{name} needs a number, not '{text}'").into())
        }
    }
}
