//! Scores sent exactly once: batches and the group's offset behind them are one Kafka transaction.
//!
//! One transactional id per member, not per partition: a member that lost a partition is fenced by the group's
//! generation, which goes with the offsets, and one id per partition would cost a producer each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{PATIENCE, Topics, list, told};
use super::member::Membership;
use super::plain::topics;
use super::sender::{Sender, hand_over, make};
use super::source::KafkaSource;
use crate::config::StreamConfig;
use crate::error::StreamError;
use crate::flow::{Sink, Stop, ends_of};
use crate::incoming::Place;
use crate::processor::Processed;

/// A transaction that nobody ends is ended by the broker; until then readers of committed scores wait.
const TRANSACTION_MS: &str = "20000";

/// How long a client is asked for the same thing; three times what a transaction may take.
const LONGEST_CALL: Duration = Duration::from_secs(60);

/// The sending end.
pub struct TransactionSink {
    config: StreamConfig,
    topics: Topics,
    id: String,
    consumer: Arc<BaseConsumer<Membership>>,
    producer: Option<Sender>,
    /// One whose beginning takes long: it is asked again, never replaced while it may still succeed.
    beginning: Option<Sender>,
    /// The last transaction may or may not have been committed.
    is_uncertain: bool,
    stop: Arc<Stop>,
}

impl TransactionSink {
    /// A sender; `member` names it, so that one that comes back ends its own hanging transaction.
    pub fn new(config: &StreamConfig, source: &KafkaSource, member: &str, stop: &Arc<Stop>) -> Self {
        TransactionSink {
            topics: topics(config),
            id: format!("{}-{member}", config.kafka.group),
            config: config.clone(),
            consumer: source.consumer(),
            producer: None,
            beginning: None,
            is_uncertain: false,
            stop: Arc::clone(stop),
        }
    }

    /// A sender that may begin transactions. librdkafka asks to repeat a beginning that takes long on the same client;
    /// another one under the same id would be in its way.
    fn begin(&mut self) -> Result<Sender, StreamError> {
        let made = match self.beginning.take() {
            Some(made) => made,
            None => {
                make(&self.config.kafka, &[("transaction.timeout.ms", TRANSACTION_MS), ("transactional.id", &self.id)])?
            }
        };
        match made.init_transactions(PATIENCE) {
            Ok(()) => Ok(made),
            Err(error) => {
                let may_repeat = matches!(&error, KafkaError::Transaction(error) if error.is_retriable());
                if may_repeat {
                    self.beginning = Some(made);
                } else {
                    retire(made);
                }
                let detail = error.to_string();
                Err(StreamError::Kafka { doing: "beginning transactions", detail, passing: true })
            }
        }
    }

    /// Another sender takes over; whether the last transaction was committed is to be found out.
    fn replace(&mut self) {
        if let Some(producer) = self.producer.take() {
            retire(producer);
        }
        self.is_uncertain = true;
    }

    /// Partitions whose positions behind the batches are committed already.
    fn settled(&self, ends: &[(i32, i64, i64)]) -> Result<Vec<i32>, StreamError> {
        let topic = &self.config.kafka.events;
        let list = list(topic, ends.iter().map(|end| end.0));
        let doing = "asking for the group's offsets";
        let found = self.consumer.committed_offsets(list, PATIENCE).map_err(|error| told(doing, &error))?;
        let mut offsets = BTreeMap::new();
        for element in found.elements() {
            element.error().map_err(|error| told(doing, &error))?;
            offsets.insert(element.partition(), element.offset().to_raw().unwrap_or(-1));
        }
        let is_settled = |end: &&(i32, i64, i64)| offsets.get(&end.0).is_some_and(|offset| *offset >= end.2);
        Ok(ends.iter().filter(is_settled).map(|end| end.0).collect())
    }

    fn try_deliver(&mut self, group: &[Processed], without: &[i32]) -> Result<(), StreamError> {
        if self.producer.is_none() {
            self.producer = Some(self.begin()?);
        }
        let ends = ends_of(group);
        let mut without = without.to_vec();
        if self.is_uncertain {
            without.extend(self.settled(&ends)?);
        }
        self.is_uncertain = false;
        // The generation first, then the look at what is ours: if a partition goes away in between, its next
        // owner has another generation, and this one is refused.
        let generation = self.consumer.group_metadata().ok_or(StreamError::Stopped { what: "the group" })?;
        let mut list = TopicPartitionList::new();
        for (partition, epoch, next) in ends.iter().filter(|end| !without.contains(&end.0)) {
            let place = Place { partition: *partition, offset: 0, epoch: *epoch };
            if !self.consumer.context().member.partitions.holds(place) {
                let detail = format!("partition {partition} was given back in the meantime");
                return Err(StreamError::Kafka { doing: "sending scores", detail, passing: true });
            }
            list.add_partition_offset(&self.config.kafka.events, *partition, Offset::Offset(*next))
                .map_err(|error| told("sending scores", &error))?;
        }
        let Some(producer) = self.producer.as_ref().filter(|_| list.count() > 0) else { return Ok(()) };
        producer.begin_transaction().map_err(|error| told("beginning a transaction", &error))?;
        let sent = self.topics.send(group, &without, |record| hand_over(producer, record));
        let done = sent.and_then(|()| {
            self.again("sending offsets", || producer.send_offsets_to_transaction(&list, &generation, PATIENCE))?;
            self.again("committing a transaction", || producer.commit_transaction(PATIENCE))
        });
        match done {
            Ok(()) => {
                // Failures of a transaction that was committed were those of attempts before.
                let _ = producer.context().check();
                Ok(())
            }
            Err(error) => {
                self.abort();
                Err(error)
            }
        }
    }

    /// Repeats what may be repeated, but not for ever on the same client: another one under the same id ends the transaction,
    /// and the group's offsets say whether it was committed.
    fn again(
        &self,
        doing: &'static str,
        mut attempt: impl FnMut() -> Result<(), KafkaError>,
    ) -> Result<(), StreamError> {
        let began = Instant::now();
        loop {
            let error = match attempt() {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let may_repeat = began.elapsed() < LONGEST_CALL
                && match &error {
                    KafkaError::Transaction(error) => error.is_retriable(),
                    KafkaError::Flush(_) => true,
                    _ => false,
                };
            if !may_repeat || self.stop.has_run_out() {
                // Whatever happened: the same scores may be tried again, in another transaction.
                return Err(StreamError::Kafka { doing, detail: error.to_string(), passing: true });
            }
        }
    }

    fn abort(&mut self) {
        let Some(producer) = &self.producer else { return };
        let is_fatal = producer.client().fatal_error().is_some();
        let aborted = if is_fatal {
            Err(StreamError::Stopped { what: "the sender" })
        } else {
            self.again("ending a transaction", || producer.abort_transaction(PATIENCE))
        };
        let _ = producer.context().check();
        if let Err(error) = aborted {
            tracing::warn!(%error, "a transaction could not be ended; a new sender takes over");
            self.replace();
        }
    }
}

/// Ends a sender on a thread of its own: one that has failed may take long to go.
fn retire(producer: Sender) {
    // Without a thread it is ended here.
    let _ = std::thread::Builder::new().name("old sender".into()).spawn(move || drop(producer));
}

impl Sink for TransactionSink {
    fn deliver(&mut self, group: &[Processed], without: &[i32]) -> Result<(), StreamError> {
        let done = self.try_deliver(group, without);
        if done.is_err() && self.producer.as_ref().is_some_and(|producer| producer.client().fatal_error().is_some()) {
            self.replace();
        }
        done
    }
}
