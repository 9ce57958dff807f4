//! A member of the group: what happens when partitions are given and taken away.
//!
//! Both happen on the thread that reads. Given: the store's epoch is raised and reading begins where the store
//! says. Taken away: what is under way gets half of the session's time, then the right has passed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use tokio::runtime::Handle;

use super::client::{self, PATIENCE, Rarely, told};
use super::position::{Begin, Known, begin};
use crate::config::KafkaConfig;
use crate::error::StreamError;
use crate::figures::Figures;
use crate::flow::Stop;
use crate::ledger::Ledger;
use crate::partitions::Partitions;

/// What a member knows and shares.
pub struct Member {
    /// Broker, group and topics.
    pub config: KafkaConfig,
    /// The store.
    pub ledger: Ledger,
    /// The run-time that asks it.
    pub handle: Handle,
    /// The partitions of this member.
    pub partitions: Arc<Partitions>,
    /// Counters.
    pub figures: Arc<Figures>,
    /// When to stop.
    pub stop: Arc<Stop>,
}

/// A member as librdkafka sees it.
pub(super) struct Membership {
    pub member: Member,
    /// What cannot pass, found while partitions were given.
    failure: Mutex<Option<StreamError>>,
    /// Positions before which all is done.
    done: Mutex<BTreeMap<i32, i64>>,
    pub news: Rarely,
}

impl Membership {
    pub fn new(member: Member) -> Self {
        Membership { member, failure: Mutex::default(), done: Mutex::default(), news: Rarely::default() }
    }

    /// The failure, once.
    pub fn check(&self) -> Result<(), StreamError> {
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    pub fn is_done(&self, partition: i32, next: i64) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, next);
    }

    /// Takes partitions and begins to read them where the store says.
    pub fn assign(&self, consumer: &BaseConsumer<Self>, list: &mut TopicPartitionList) -> Result<(), StreamError> {
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        if partitions.is_empty() {
            return consumer.incremental_assign(list).map_err(|error| told("taking partitions", &error));
        }
        let Member { config, ledger, handle, figures, stop, .. } = &self.member;
        let positions = stop.insist(handle, figures, || ledger.take(&partitions))?;
        if consumer.assignment_lost() {
            // The store kept us waiting for so long that somebody else has them by now.
            return consumer.incremental_assign(list).map_err(|error| told("taking partitions", &error));
        }
        let committed = stop.insist(handle, figures, || async { committed(consumer, &config.events, &partitions) })?;
        for position in positions {
            let partition = position.partition_id.0;
            let watermarks = stop.insist(handle, figures, || async {
                consumer
                    .fetch_watermarks(&config.events, partition, PATIENCE)
                    .map_err(|error| told("asking where a partition ends", &error))
            })?;
            let known = Known { position, committed: committed.get(&partition).copied(), watermarks };
            let Begin { held, read_from, is_new } = begin(config, &known)?;
            if is_new {
                let next = held.logged_before;
                match stop.insist(handle, figures, || ledger.start_at(partition, held.epoch, next)) {
                    // Somebody else was given it in this moment.
                    Err(StreamError::Stale { .. }) => continue,
                    done => done?,
                }
            }
            list.set_partition_offset(&config.events, partition, Offset::Offset(read_from))
                .map_err(|error| told("choosing where to begin", &error))?;
            self.is_done(partition, held.logged_before);
            self.member.partitions.give(partition, held);
            tracing::info!(partition, epoch = held.epoch, next = held.logged_before, read_from, "partition taken");
        }
        consumer.incremental_assign(list).map_err(|error| told("taking partitions", &error))?;
        // A partition that was held back when it went away is held back still: librdkafka remembers.
        consumer.resume(list).map_err(|error| told("letting partitions flow", &error))
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        // A member that was thought dead has lost them already; somebody else may be at work.
        let is_lost = consumer.assignment_lost();
        let half = self.member.config.session_timeout.0 / 2;
        let deadline = if is_lost { Instant::now() } else { Instant::now() + half };
        let drained = self.member.partitions.let_go(&partitions, deadline);
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.retain(|partition, _| !partitions.contains(partition));
        drop(done);
        tracing::info!(?partitions, is_lost, drained, "partitions given back");
        if let Err(error) = consumer.incremental_unassign(list) {
            tracing::warn!(%error, "partitions could not be given back");
        }
    }
}

/// The group's offsets.
fn committed(
    consumer: &BaseConsumer<Membership>,
    topic: &str,
    partitions: &[i32],
) -> Result<BTreeMap<i32, i64>, StreamError> {
    let list = client::list(topic, partitions.iter().copied());
    let doing = "asking for the group's offsets";
    let found = consumer.committed_offsets(list, PATIENCE).map_err(|error| told(doing, &error))?;
    let mut offsets = BTreeMap::new();
    for element in found.elements() {
        element.error().map_err(|error| told(doing, &error))?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(element.partition(), offset);
        }
    }
    Ok(offsets)
}

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        client::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.news.tell(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.member.config.events) else { return };
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let lag = done.iter().filter_map(|(partition, next)| {
            let end = topic.partitions.get(partition)?.hi_offset;
            (end >= 0).then(|| (*partition, (end - next).max(0)))
        });
        self.member.figures.set_lag(lag.collect());
    }
}

impl ConsumerContext for Membership {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            if let Err(error) = self.assign(consumer, list) {
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        } else {
            self.revoke(consumer, list);
        }
    }
}
