//! Events of the topic between two times, read to their end without being a member of anything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use impactiq_data::Watch;
use impactiq_io::IoError;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{PATIENCE, Quiet, list, reader, told};
use super::probe::Cluster;
use super::source::give_up_or_go_on;
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

impl Span {
    /// True for a time inside.
    pub fn holds(&self, millis: i64) -> bool {
        self.from.is_none_or(|from| from <= millis) && self.to.is_none_or(|to| millis < to)
    }
}

/// Reads every partition from the first event of a span to its present end: producers' clocks differ, so events of the span may
/// stand behind later ones.
pub struct SpanReader {
    client: BaseConsumer<Quiet>,
    topic: String,
    /// The ends of partitions that are not read to them yet.
    ends: BTreeMap<i32, i64>,
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
        let first = match span.from.filter(|_| !with_history) {
            Some(from) => at(&cluster, topic, from, &ends)?,
            None => oldest,
        };
        let client: BaseConsumer<Quiet> = reader(config)
            .set("enable.partition.eof", "true")
            .create_with_context(Quiet::default())
            .map_err(|error| told("making a client", &error))?;
        ends.retain(|partition, end| first[partition] < *end);
        let mut list = TopicPartitionList::new();
        for partition in ends.keys() {
            list.add_partition_offset(topic, *partition, Offset::Offset(first[partition]))
                .map_err(|error| told("choosing where to begin", &error))?;
        }
        client.assign(&list).map_err(|error| told("choosing partitions", &error))?;
        let n_all = ends.iter().map(|(partition, end)| end.abs_diff(first[partition])).sum();
        Ok(SpanReader { client, topic: topic.clone(), ends, n_read: 0, n_all })
    }

    /// The next events, at most so many; none at the end.
    ///
    /// # Errors
    /// [`IoError::Interrupted`] where the watch says to stop; [`StreamError::Kafka`] for what cannot pass, and for a broker that says nothing for a minute.
    pub fn events(&mut self, most: usize, watch: &dyn Watch) -> Result<Option<Incoming>, StreamError> {
        let mut events = Incoming::default();
        let (mut heard, mut last) = (Instant::now(), None);
        while events.len() < most && !self.ends.is_empty() {
            if watch.should_stop() {
                return Err(IoError::Interrupted.into());
            }
            match self.client.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let place = Place { partition: message.partition(), offset: message.offset(), epoch: 0 };
                    let Some(end) = self.ends.get(&place.partition).copied() else { continue };
                    heard = Instant::now();
                    if place.offset < end {
                        let timestamp = message.timestamp().to_millis().unwrap_or(0);
                        events.push(place, timestamp, message.key(), message.payload());
                    }
                    if place.offset + 1 >= end {
                        self.leave(place.partition)?;
                    }
                }
                // What stands between the last event and the end are marks of transactions.
                Some(Err(KafkaError::PartitionEOF(partition))) => self.leave(partition)?,
                Some(Err(error)) => {
                    give_up_or_go_on(&error, &self.client.context().0)?;
                    last = Some(error.to_string());
                }
                None => {}
            }
            if heard.elapsed() > SILENCE {
                let why = last.map_or_else(String::new, |last| format!("; the last thing was: {last}"));
                let detail = format!("nothing came for {} seconds{why}", SILENCE.as_secs());
                return Err(StreamError::Kafka { doing: "reading events", detail, passing: false });
            }
        }
        self.n_read += events.len() as u64;
        watch.progress("replay", self.n_read, self.n_all.max(self.n_read));
        Ok((!events.is_empty()).then_some(events))
    }

    /// A partition is read to its end: what comes into it from now on is not asked for.
    fn leave(&mut self, partition: i32) -> Result<(), StreamError> {
        if self.ends.remove(&partition).is_none() {
            return Ok(());
        }
        let paused = self.client.pause(&list(&self.topic, [partition].into_iter()));
        paused.map_err(|error| told("leaving a partition", &error))
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
