//! Events of the topic between two times, read to their end without being a member of anything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use impactiq_data::Watch;
use impactiq_io::IoError;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{PATIENCE, Quiet, reader, told};
use super::probe::Cluster;
use crate::config::KafkaConfig;
use crate::error::StreamError;
use crate::incoming::{Incoming, Place};

/// How long the broker may say nothing before the end has come.
const SILENCE: Duration = Duration::from_secs(60);

/// Times between which events are wanted, in milliseconds since 1970 as the broker has them; none: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub from: Option<i64>,
    /// The one behind the last.
    pub to: Option<i64>,
}

/// Reads a span of every partition.
pub struct SpanReader {
    client: BaseConsumer<Quiet>,
    /// The offset behind the last wanted event of partitions that are not read to their end.
    ends: BTreeMap<i32, i64>,
    /// The first wanted event of each partition.
    begins: BTreeMap<i32, i64>,
    n_read: u64,
    /// Offsets to be read; some of them may be no events.
    n_all: u64,
}

impl SpanReader {
    /// A reader of what the topic holds now. `with_history`: what came before the span is read as well.
    ///
    /// # Errors
    /// As [`Cluster::connect`] and [`Cluster::partitions`].
    pub fn open(config: &KafkaConfig, span: Span, with_history: bool) -> Result<SpanReader, StreamError> {
        let cluster = Cluster::connect(config)?;
        let topic = &config.events;
        let mut oldest = BTreeMap::new();
        let mut ends = BTreeMap::new();
        for partition in cluster.partitions(topic)? {
            let (low, high) = cluster.watermarks(topic, partition)?;
            oldest.insert(partition, low);
            ends.insert(partition, high);
        }
        let begins = match span.from {
            Some(from) => at(&cluster, topic, from, &ends)?,
            None => oldest.clone(),
        };
        if let Some(to) = span.to {
            ends = at(&cluster, topic, to, &ends)?;
        }
        let client: BaseConsumer<Quiet> = reader(config)
            .set("enable.partition.eof", "true")
            .create_with_context(Quiet::default())
            .map_err(|error| told("making a client", &error))?;
        let first = if with_history { &oldest } else { &begins };
        ends.retain(|partition, end| begins[partition] < *end);
        let mut list = TopicPartitionList::new();
        for partition in ends.keys() {
            list.add_partition_offset(topic, *partition, Offset::Offset(first[partition]))
                .map_err(|error| told("choosing where to begin", &error))?;
        }
        client.assign(&list).map_err(|error| told("choosing partitions", &error))?;
        let n_all = ends.iter().map(|(partition, end)| end.abs_diff(first[partition])).sum();
        Ok(SpanReader { client, ends, begins, n_read: 0, n_all })
    }

    /// True for events inside the span; others are history.
    pub fn is_wanted(&self, place: Place) -> bool {
        self.begins.get(&place.partition).is_some_and(|begin| place.offset >= *begin)
    }

    /// The next events, at most so many; none at the end.
    ///
    /// # Errors
    /// [`IoError::Interrupted`] where the watch says to stop; [`StreamError::Kafka`] for what cannot pass, and for a broker that says nothing for a minute.
    pub fn events(&mut self, most: usize, watch: &dyn Watch) -> Result<Option<Incoming>, StreamError> {
        let mut events = Incoming::default();
        let mut heard = Instant::now();
        while events.len() < most && !self.ends.is_empty() {
            if watch.should_stop() {
                return Err(IoError::Interrupted.into());
            }
            match self.client.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let place = Place { partition: message.partition(), offset: message.offset(), epoch: 0 };
                    let Some(end) = self.ends.get(&place.partition).copied() else { continue };
                    if place.offset < end {
                        events.push(
                            place,
                            message.timestamp().to_millis().unwrap_or(0),
                            message.key(),
                            message.payload(),
                        );
                    }
                    if place.offset + 1 >= end {
                        self.ends.remove(&place.partition);
                    }
                }
                // What stands between the last event and the end are marks of transactions.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    heard = Instant::now();
                    self.ends.remove(&partition);
                }
                Some(Err(error)) => {
                    let error = told("reading events", &error);
                    if !error.is_passing() {
                        return Err(error);
                    }
                }
                None => {}
            }
            if heard.elapsed() > SILENCE {
                let detail = format!("nothing came for {} seconds", SILENCE.as_secs());
                return Err(StreamError::Kafka { doing: "reading events", detail, passing: false });
            }
        }
        self.n_read += events.len() as u64;
        watch.progress("replay", self.n_read, self.n_all.max(self.n_read));
        Ok((!events.is_empty()).then_some(events))
    }
}

/// The first event at or behind a time, in every partition; its end where there is none.
fn at(
    cluster: &Cluster,
    topic: &str,
    millis: i64,
    ends: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, i64>, StreamError> {
    let doing = "looking for a time";
    let mut list = TopicPartitionList::new();
    for partition in ends.keys() {
        list.add_partition_offset(topic, *partition, Offset::Offset(millis)).map_err(|error| told(doing, &error))?;
    }
    let found = cluster.client.offsets_for_times(list, PATIENCE).map_err(|error| told(doing, &error))?;
    let mut places = BTreeMap::new();
    for element in found.elements() {
        element.error().map_err(|error| told(doing, &error))?;
        let end = ends.get(&element.partition()).copied().unwrap_or(0);
        let offset = match element.offset() {
            Offset::Offset(offset) => offset.min(end),
            _ => end,
        };
        places.insert(element.partition(), offset);
    }
    Ok(places)
}
