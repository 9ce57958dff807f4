//! Where reading a partition begins, from what the store, the group and the topic say. Plain numbers.

use crate::config::{Delivery, KafkaConfig, Missing, Start};
use crate::error::StreamError;
use crate::ledger::Position;
use crate::partitions::Held;

/// What is known of a partition when it is given to a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// The store's position.
    pub position: Position,
    /// The group's offset in Kafka.
    pub committed: Option<i64>,
    /// The oldest event, and the end.
    pub watermarks: (i64, i64),
}

/// Where a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begin {
    pub held: Held,
    /// The first event to be read.
    pub read_from: i64,
    /// The position is not in the store yet.
    pub is_new: bool,
}

/// Decides where a partition begins.
pub(super) fn begin(config: &KafkaConfig, known: &Known) -> Result<Begin, StreamError> {
    let (low, high) = known.watermarks;
    let partition = known.position.partition_id.0;
    let topic = || config.events.clone();
    let is_new = known.position.next_offset.is_none();
    let fallback = match config.start {
        Start::Earliest => low,
        Start::Latest => high,
    };
    let next = known.position.next_offset.or(known.committed).unwrap_or(fallback);
    if next > high {
        return Err(StreamError::TopicEndsEarlier { topic: topic(), partition, end: high, next });
    }
    let send_from = match (config.delivery, is_new) {
        (Delivery::ExactlyOnce, false) => {
            known.committed.into_iter().chain(known.position.sent_offset).max().unwrap_or(next).min(next)
        }
        _ => next,
    };
    if low > send_from && config.missing == Missing::Error {
        return Err(StreamError::EventsGone { topic: topic(), partition, next: send_from, oldest: low });
    }
    let (next, send_from) = (next.max(low), send_from.max(low));
    let anchor = known.position.last_offset.zip(known.position.last_mark).filter(|(offset, _)| *offset >= low);
    let read_from = anchor.map_or(send_from, |(offset, _)| offset.min(send_from));
    let held = Held { epoch: known.position.epoch, logged_before: next, send_from, anchor };
    Ok(Begin { held, read_from, is_new })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StreamConfig;
    use crate::ledger::Partition;

    fn config(more: &str) -> KafkaConfig {
        let text = format!("model: m\nkafka: {{brokers: b, events: e, dead_letters: d{more}}}\n");
        StreamConfig::from_yaml(&text, "s").unwrap().kafka
    }

    fn known(next: Option<i64>, sent: Option<i64>, committed: Option<i64>, watermarks: (i64, i64)) -> Known {
        let last = next.map(|next| next - 1);
        let position = Position {
            partition_id: Partition(3),
            epoch: 9,
            next_offset: next,
            last_offset: last,
            last_mark: last.map(|_| 77),
            sent_offset: sent,
        };
        Known { position, committed, watermarks }
    }

    #[test]
    fn the_store_knows_best_and_its_last_event_is_looked_at_again() {
        let found = begin(&config(""), &known(Some(100), None, Some(40), (0, 120))).unwrap();
        assert_eq!((found.read_from, found.held.logged_before, found.held.send_from), (99, 100, 100));
        assert_eq!(found.held.anchor, Some((99, 77)));
        // The last event is gone by now: nothing to be compared.
        let found = begin(&config(""), &known(Some(100), None, None, (100, 120))).unwrap();
        assert_eq!((found.read_from, found.held.anchor), (100, None));
    }

    #[test]
    fn a_new_group_begins_where_it_is_told() {
        let start = |more: &str, committed| begin(&config(more), &known(None, None, committed, (5, 50))).unwrap();
        assert_eq!((start("", None).read_from, start("", None).is_new), (5, true));
        assert_eq!(start(", start: latest", None).read_from, 50);
        assert_eq!(start(", start: latest", Some(7)).read_from, 7);
    }

    #[test]
    fn what_is_logged_and_not_sent_is_read_again() {
        let once = config(", delivery: exactly_once");
        let found = begin(&once, &known(Some(100), Some(60), Some(80), (0, 120))).unwrap();
        assert_eq!((found.read_from, found.held.send_from, found.held.logged_before), (80, 80, 100));
        let found = begin(&once, &known(Some(100), Some(60), None, (0, 120))).unwrap();
        assert_eq!((found.read_from, found.held.send_from), (60, 60));
        // All was sent: only the last event is looked at.
        let found = begin(&once, &known(Some(100), Some(60), Some(100), (0, 120))).unwrap();
        assert_eq!((found.read_from, found.held.send_from), (99, 100));
    }

    #[test]
    fn a_topic_that_was_made_again_or_lost_events_is_an_error_that_names_both() {
        let error = begin(&config(""), &known(Some(100), None, None, (0, 30))).unwrap_err();
        assert!(matches!(error, StreamError::TopicEndsEarlier { partition: 3, end: 30, next: 100, .. }), "{error}");
        let error = begin(&config(""), &known(Some(100), None, None, (110, 130))).unwrap_err();
        assert!(matches!(error, StreamError::EventsGone { next: 100, oldest: 110, .. }), "{error}");
        let found = begin(&config(", missing: skip"), &known(Some(100), None, None, (110, 130))).unwrap();
        assert_eq!((found.read_from, found.held.logged_before), (110, 110));
    }
}
