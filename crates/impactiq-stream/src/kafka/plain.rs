//! Scores sent at least once: in order, each acknowledged by all replicas before its batch is committed.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;

use super::client::{Topics, told};
use super::sender::{Sender, hand_over, make};
use crate::config::StreamConfig;
use crate::error::StreamError;
use crate::flow::{Sink, Stop};
use crate::processor::Processed;

/// How long to wait for deliveries at a time.
const A_WHILE: Duration = Duration::from_millis(100);

/// How long a client tries to deliver a message before another client does.
const OWN: [(&str, &str); 1] = [("message.timeout.ms", "60000")];

/// The sending end.
pub struct PlainSink {
    config: StreamConfig,
    topics: Topics,
    sender: Sender,
    stop: Arc<Stop>,
}

impl PlainSink {
    /// A sender.
    ///
    /// # Errors
    /// [`StreamError::Kafka`] for properties that librdkafka does not take.
    pub fn new(config: &StreamConfig, stop: &Arc<Stop>) -> Result<Self, StreamError> {
        Ok(PlainSink {
            topics: topics(config),
            sender: make(&config.kafka, &OWN)?,
            config: config.clone(),
            stop: Arc::clone(stop),
        })
    }

    fn try_deliver(&mut self, group: &[Processed], without: &[i32]) -> Result<(), StreamError> {
        let sender = &self.sender;
        self.topics.send(group, without, |record| hand_over(sender, record))?;
        while !sender.context().wait(A_WHILE) {
            // Messages have a time limit of their own; this one is that of whoever stops the program.
            if self.stop.has_run_out() {
                let error = KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut);
                return Err(told("sending scores", &error));
            }
        }
        sender.context().check()
    }
}

impl Sink for PlainSink {
    fn deliver(&mut self, group: &[Processed], without: &[i32]) -> Result<(), StreamError> {
        let done = self.try_deliver(group, without);
        // Another client begins afresh. One that was sending while a broker left was seen to deliver nothing ever after,
        // beside others that did; nothing of ours is under way in it any more.
        if done.is_err() {
            self.sender = make(&self.config.kafka, &OWN)?;
        }
        done
    }
}

pub(super) fn topics(config: &StreamConfig) -> Topics {
    Topics {
        events: config.kafka.events.clone(),
        scores: config.kafka.scores.clone(),
        dead_letters: config.dead_letters().map(str::to_owned),
    }
}
