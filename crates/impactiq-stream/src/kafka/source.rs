//! Events of the group's topic, as a member of the group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{Rarely, consumer, list, told};
use super::member::{Member, Membership};
use crate::config::Delivery;
use crate::error::StreamError;
use crate::flow::{Source, Taken};
use crate::incoming::{Incoming, Place};

/// How often it is looked whether all that is ours is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The reading end of a member.
pub struct KafkaSource {
    consumer: Arc<BaseConsumer<Membership>>,
    /// Partitions that are held back, with the right under which they are.
    held: BTreeMap<i32, i64>,
    /// Partitions of the group's assignment whose right has passed, and since when.
    orphans: BTreeMap<i32, Instant>,
    looked: Instant,
}

impl KafkaSource {
    /// Joins the group.
    ///
    /// # Errors
    /// [`StreamError::Kafka`] for properties that librdkafka does not take.
    pub fn join(member: Member) -> Result<Self, StreamError> {
        let topic = member.config.events.clone();
        let config = consumer(&member.config);
        let consumer: BaseConsumer<Membership> =
            config.create_with_context(Membership::new(member)).map_err(|error| told("making a client", &error))?;
        consumer.subscribe(&[&topic]).map_err(|error| told("joining the group", &error))?;
        let (held, orphans) = (BTreeMap::new(), BTreeMap::new());
        Ok(KafkaSource { consumer: Arc::new(consumer), held, orphans, looked: Instant::now() })
    }

    pub(super) fn consumer(&self) -> Arc<BaseConsumer<Membership>> {
        Arc::clone(&self.consumer)
    }

    fn member(&self) -> &Member {
        &self.consumer.context().member
    }

    /// A member that woke up late may have raised the epoch of a partition that the group gave to us. Once its session
    /// must be over, the partition is taken again.
    fn reclaim(&mut self) -> Result<(), StreamError> {
        if self.looked.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        self.looked = Instant::now();
        let assigned = self.consumer.assignment().map_err(|error| told("looking at what is ours", &error))?;
        let ours = self.member().partitions.list();
        let orphans: Vec<i32> =
            assigned.elements().iter().map(|found| found.partition()).filter(|p| !ours.contains(p)).collect();
        self.orphans.retain(|partition, _| orphans.contains(partition));
        for partition in orphans {
            self.orphans.entry(partition).or_insert(self.looked);
        }
        let patience = self.member().config.session_timeout.0 + LOOK_EVERY;
        let due: Vec<i32> = self
            .orphans
            .iter()
            .filter(|(_, since)| since.elapsed() > patience)
            .map(|(partition, _)| *partition)
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        tracing::warn!(partitions = ?due, "partitions of this member were somebody else's; they are taken again");
        self.orphans.retain(|partition, _| !due.contains(partition));
        let mut list = self.list(due.into_iter());
        self.consumer.incremental_unassign(&list).map_err(|error| told("taking partitions again", &error))?;
        self.consumer.context().assign(&self.consumer, &mut list)
    }

    fn list(&self, partitions: impl Iterator<Item = i32>) -> TopicPartitionList {
        list(&self.member().config.events, partitions)
    }
}

impl Source for KafkaSource {
    fn take(&mut self, into: &mut Incoming, most: usize, wait: Duration) -> Result<Taken, StreamError> {
        self.reclaim()?;
        let until = Instant::now() + wait;
        let before = into.len();
        // Asked even when nothing may be taken: the group hears from us through this. Then all partitions are held
        // back, but for what was under way when they were; a few events more do no harm.
        loop {
            let is_first = into.len() == before;
            let patience =
                if is_first { whole_millis(until.saturating_duration_since(Instant::now())) } else { Duration::ZERO };
            let message = self.consumer.poll(patience);
            self.consumer.context().check()?;
            match message {
                Some(Ok(message)) => {
                    let partition = message.partition();
                    if let Some(epoch) = self.member().partitions.epoch(partition) {
                        let place = Place { partition, offset: message.offset(), epoch };
                        let timestamp = message.timestamp().to_millis().unwrap_or(0);
                        into.push(place, timestamp, message.key(), message.payload());
                    }
                }
                Some(Err(error)) => give_up_or_go_on(&error, &self.consumer.context().news)?,
                None if is_first && Instant::now() < until => {}
                None => return Ok(Taken::Some),
            }
            if into.len() >= before + most && (most > 0 || Instant::now() >= until) {
                return Ok(Taken::Some);
            }
        }
    }

    fn hold(&mut self, hold: bool) -> Result<(), StreamError> {
        let partitions = &self.member().partitions;
        let ours: BTreeMap<i32, i64> =
            partitions.list().into_iter().filter_map(|p| Some((p, partitions.epoch(p)?))).collect();
        self.held.retain(|partition, epoch| ours.get(partition) == Some(epoch));
        if hold {
            let more: Vec<i32> = ours.keys().copied().filter(|p| !self.held.contains_key(p)).collect();
            if !more.is_empty() {
                let paused = self.consumer.pause(&self.list(more.into_iter()));
                paused.map_err(|error| told("holding partitions back", &error))?;
            }
            self.held = ours;
        } else if !self.held.is_empty() {
            let resumed = self.consumer.resume(&self.list(self.held.keys().copied()));
            resumed.map_err(|error| told("letting partitions flow", &error))?;
            self.held.clear();
        }
        Ok(())
    }

    fn finished(&mut self, ends: &[(i32, i64, i64)]) -> Result<(), StreamError> {
        let member = self.member();
        let mut list = TopicPartitionList::new();
        for (partition, epoch, next) in ends {
            if member.partitions.epoch(*partition) == Some(*epoch) {
                self.consumer.context().is_done(*partition, *next);
                list.add_partition_offset(&member.config.events, *partition, Offset::Offset(*next))
                    .map_err(|error| told("committing offsets", &error))?;
            }
        }
        // With transactions the offset is in them. Otherwise it is told for whoever watches the group: what counts
        // is the store's.
        if list.count() > 0
            && member.config.delivery == Delivery::AtLeastOnce
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "the group's offsets could not be told");
        }
        Ok(())
    }
}

/// The client waits whole milliseconds and asks again and again for what is left of one.
fn whole_millis(patience: Duration) -> Duration {
    Duration::from_millis(u64::try_from(patience.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

/// What passes is waited out by librdkafka itself.
pub(super) fn give_up_or_go_on(error: &KafkaError, news: &Rarely) -> Result<(), StreamError> {
    let failure = told("reading events", error);
    let is_gone = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset);
    if is_gone || !failure.is_passing() {
        let detail = if is_gone {
            format!("{error}: the events to be read next are not there any more")
        } else {
            error.to_string()
        };
        return Err(StreamError::Kafka { doing: "reading events", detail, passing: false });
    }
    news.tell(error, "reading events");
    Ok(())
}
