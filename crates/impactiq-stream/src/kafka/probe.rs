//! Questions to a cluster before anybody joins a group: its id, its topics, some of its events.

use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{PATIENCE, Quiet, reader, told};
use crate::config::{KafkaConfig, Start};
use crate::error::StreamError;
use crate::incoming::{Incoming, Place};

/// A cluster that answers.
pub struct Cluster {
    pub(super) client: BaseConsumer<Quiet>,
    /// Its own id.
    pub id: String,
    brokers: String,
}

impl Cluster {
    /// Asks a cluster for its id.
    ///
    /// # Errors
    /// [`StreamError::Kafka`]; passing where nobody answers.
    pub fn connect(config: &KafkaConfig) -> Result<Cluster, StreamError> {
        let client: BaseConsumer<Quiet> =
            reader(config).create_with_context(Quiet::default()).map_err(|error| told("making a client", &error))?;
        // Metadata first: the reason why nobody answers is in its error.
        client.fetch_metadata(Some(&config.events), PATIENCE).map_err(|error| told("connecting", &error))?;
        let id = client.client().fetch_cluster_id(PATIENCE).ok_or_else(|| StreamError::Kafka {
            doing: "asking for the cluster's id",
            detail: "no answer".into(),
            passing: true,
        })?;
        Ok(Cluster { client, id, brokers: config.brokers.clone() })
    }

    /// The number of partitions of a topic.
    ///
    /// # Errors
    /// [`StreamError::NoTopic`], and as [`Cluster::connect`].
    pub fn partitions(&self, topic: &str) -> Result<Vec<i32>, StreamError> {
        let doing = "asking for a topic";
        let metadata = self.client.fetch_metadata(Some(topic), PATIENCE).map_err(|error| told(doing, &error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let missing = || StreamError::NoTopic { topic: topic.to_owned(), brokers: self.brokers.clone() };
        let found = found.filter(|found| !found.partitions().is_empty()).ok_or_else(missing)?;
        Ok(found.partitions().iter().map(|partition| partition.id()).collect())
    }

    /// The oldest event and the end of a partition.
    ///
    /// # Errors
    /// As [`Cluster::connect`].
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), StreamError> {
        self.client
            .fetch_watermarks(topic, partition, PATIENCE)
            .map_err(|error| told("asking where a partition ends", &error))
    }
}

/// Reads some events without being a member of anything: the oldest, or with `start: latest` the next ones. Waits
/// for `patience` at most when there are no more.
///
/// # Errors
/// As [`Cluster::connect`] and [`Cluster::partitions`].
pub fn read_some(config: &KafkaConfig, n: usize, patience: Duration) -> Result<Incoming, StreamError> {
    let cluster = Cluster::connect(config)?;
    let mut list = TopicPartitionList::new();
    for partition in cluster.partitions(&config.events)? {
        let (low, high) = cluster.watermarks(&config.events, partition)?;
        let from = if config.start == Start::Earliest { low } else { high };
        list.add_partition_offset(&config.events, partition, Offset::Offset(from))
            .map_err(|error| told("choosing where to begin", &error))?;
    }
    cluster.client.assign(&list).map_err(|error| told("choosing partitions", &error))?;
    let mut events = Incoming::default();
    let mut until = Instant::now() + patience;
    while events.len() < n && Instant::now() < until {
        match cluster.client.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let place = Place { partition: message.partition(), offset: message.offset(), epoch: 0 };
                let timestamp = message.timestamp().to_millis().unwrap_or(0);
                events.push(place, timestamp, message.key(), message.payload());
                until = Instant::now() + patience;
            }
            Some(Err(error)) => {
                let error = told("reading events", &error);
                if !error.is_passing() {
                    return Err(error);
                }
            }
            None => {}
        }
    }
    Ok(events)
}
