//! The client that sends. It answers its own events on a thread, so that whoever waits for deliveries sleeps until the
//! last one came: polling for them by the clock costs either a core or most of a batch's time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::client::{Rarely, log, producer, told};
use crate::config::KafkaConfig;
use crate::error::StreamError;

/// How long to wait where the client's queue is full.
const A_MOMENT: Duration = Duration::from_millis(5);

/// A client that sends.
pub(super) type Sender = ThreadedProducer<Deliveries>;

/// What became of messages.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    tally: Mutex<Tally>,
    is_settled: Condvar,
    news: Rarely,
}

#[derive(Debug, Default)]
struct Tally {
    /// Handed over and neither delivered nor given up.
    under_way: u64,
    failed: u64,
    last: Option<KafkaError>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.news.tell(&error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.settle(result.as_ref().err().map(|(error, _)| error));
    }
}

impl Deliveries {
    /// Waits until nothing is under way; false when that took longer.
    pub fn wait(&self, at_most: Duration) -> bool {
        let waiting = |tally: &mut Tally| tally.under_way > 0;
        let waited = self.is_settled.wait_timeout_while(self.tally(), at_most, waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0.under_way == 0
    }

    /// The failures since the last look, as an error.
    pub fn check(&self) -> Result<(), StreamError> {
        let mut tally = self.tally();
        let n = std::mem::take(&mut tally.failed);
        match tally.last.take() {
            Some(error) if n > 0 => Err(told("sending scores", &error)),
            _ => Ok(()),
        }
    }

    fn begin(&self) {
        self.tally().under_way += 1;
    }

    fn settle(&self, failure: Option<&KafkaError>) {
        let mut tally = self.tally();
        tally.under_way = tally.under_way.saturating_sub(1);
        if let Some(error) = failure {
            tally.failed += 1;
            tally.last = Some(error.clone());
        }
        if tally.under_way == 0 {
            self.is_settled.notify_all();
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new client that sends, with the sink's own properties.
pub(super) fn make(config: &KafkaConfig, own: &[(&str, &str)]) -> Result<Sender, StreamError> {
    producer(config, own).create_with_context(Deliveries::default()).map_err(|error| told("making a client", &error))
}

/// Hands a message over, waiting while the client's queue is full.
pub(super) fn hand_over(sender: &Sender, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), StreamError> {
    loop {
        sender.context().begin();
        let Err((error, back)) = sender.send(record) else { return Ok(()) };
        sender.context().settle(None);
        if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
            return Err(told("sending scores", &error));
        }
        record = back;
        std::thread::sleep(A_MOMENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_woken_by_the_last_delivery_and_told_of_failures_once() {
        let deliveries = Deliveries::default();
        assert!(deliveries.wait(Duration::ZERO), "nothing is under way");
        (0..3).for_each(|_| deliveries.begin());
        assert!(!deliveries.wait(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let error = KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
                deliveries.settle(None);
                deliveries.settle(Some(&error));
                deliveries.settle(None);
            });
            assert!(deliveries.wait(Duration::from_secs(60)));
        });
        assert!(deliveries.check().is_err());
        assert!(deliveries.check().is_ok());
    }
}
