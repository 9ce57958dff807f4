//! Scores sent at least once: in order, each acknowledged by all replicas before its batch is committed.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};

use super::client::{Deliveries, Topics, producer, told};
use crate::config::StreamConfig;
use crate::error::StreamError;
use crate::flow::{Sink, Stop};
use crate::processor::Processed;

/// How long to wait at a time.
const A_WHILE: Duration = Duration::from_millis(100);

/// The sending end.
pub struct PlainSink {
    config: StreamConfig,
    topics: Topics,
    producer: BaseProducer<Deliveries>,
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
            producer: make(config)?,
            config: config.clone(),
            stop: Arc::clone(stop),
        })
    }

    fn try_deliver(&mut self, batch: &Processed, without: &[i32]) -> Result<(), StreamError> {
        let producer = &self.producer;
        self.topics.send(batch, without, |mut record| {
            loop {
                match producer.send(record) {
                    Ok(()) => return Ok(()),
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                        record = back;
                        producer.poll(A_WHILE);
                    }
                    Err((error, _)) => return Err(told("sending scores", &error)),
                }
            }
        })?;
        while producer.in_flight_count() > 0 {
            // A flush that ran out of time is no failure: messages have a time limit of their own.
            if let Err(error) = producer.flush(A_WHILE)
                && self.stop.has_run_out()
            {
                return Err(told("sending scores", &error));
            }
        }
        producer.context().check()
    }
}

impl Sink for PlainSink {
    fn deliver(&mut self, batch: &Processed, without: &[i32]) -> Result<(), StreamError> {
        let done = self.try_deliver(batch, without);
        if done.is_err() && self.producer.client().fatal_error().is_some() {
            self.producer = make(&self.config)?;
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

fn make(config: &StreamConfig) -> Result<BaseProducer<Deliveries>, StreamError> {
    producer(&config.kafka).create_with_context(Deliveries::default()).map_err(|error| told("making a client", &error))
}
