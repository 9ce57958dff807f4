//! Which partitions this member has, under which right, and how much of each is under way. Shared by whoever reads,
//! processes and commits; what Kafka or the store says about them is not known here.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::incoming::{Incoming, Place};

/// A partition of this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The right.
    pub epoch: i64,
    /// Events before this one are logged.
    pub logged_before: i64,
    /// Of those, the scores from this one on are to be sent again.
    pub send_from: i64,
    /// The last logged event and its mark, to be found again.
    pub anchor: Option<(i64, i64)>,
}

#[derive(Debug)]
struct Entry {
    held: Held,
    /// Events handed on and not yet done.
    under_way: usize,
}

/// All partitions of this member.
#[derive(Debug, Default)]
pub struct Partitions {
    entries: Mutex<BTreeMap<i32, Entry>>,
    changed: Condvar,
}

impl Partitions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This member has a partition from now on.
    pub fn give(&self, partition: i32, held: Held) {
        self.lock().insert(partition, Entry { held, under_way: 0 });
    }

    /// True while the right holds under which an event was read.
    pub fn holds(&self, place: Place) -> bool {
        self.get(place).is_some()
    }

    /// The partition of an event, while the right holds under which it was read.
    pub fn get(&self, place: Place) -> Option<Held> {
        self.lock().get(&place.partition).map(|entry| entry.held).filter(|held| held.epoch == place.epoch)
    }

    /// The epoch of a partition.
    pub fn epoch(&self, partition: i32) -> Option<i64> {
        self.lock().get(&partition).map(|entry| entry.held.epoch)
    }

    /// The partitions.
    pub fn list(&self) -> Vec<i32> {
        self.lock().keys().copied().collect()
    }

    /// Events are handed on.
    pub fn begin(&self, events: &Incoming) {
        self.count(events, |under_way, n| under_way + n);
    }

    /// They are done with, written or not.
    pub fn done(&self, events: &Incoming) {
        self.count(events, usize::saturating_sub);
        self.changed.notify_all();
    }

    fn count(&self, events: &Incoming, change: impl Fn(usize, usize) -> usize) {
        // Events of a partition come in runs; a batch is counted often while it waits.
        let mut runs: Vec<((i32, i64), usize)> = Vec::new();
        for place in (0..events.len()).map(|row| events.place(row)) {
            let right = (place.partition, place.epoch);
            match runs.last_mut() {
                Some((last, n)) if *last == right => *n += 1,
                _ => runs.push((right, 1)),
            }
        }
        let mut entries = self.lock();
        for ((partition, epoch), n) in runs {
            if let Some(entry) = entries.get_mut(&partition).filter(|entry| entry.held.epoch == epoch) {
                entry.under_way = change(entry.under_way, n);
            }
        }
    }

    /// Events under way.
    pub fn under_way(&self) -> usize {
        self.lock().values().map(|entry| entry.under_way).sum()
    }

    /// Lets partitions go: waits until nothing of them is under way, or until the deadline; what is not done by
    /// then will find that the right has passed. True where all was done.
    pub fn let_go(&self, partitions: &[i32], deadline: Instant) -> bool {
        let mut entries = self.lock();
        loop {
            let left: usize = partitions.iter().filter_map(|p| entries.get(p)).map(|entry| entry.under_way).sum();
            let patience = deadline.saturating_duration_since(Instant::now());
            if left == 0 || patience.is_zero() {
                entries.retain(|partition, _| !partitions.contains(partition));
                return left == 0;
            }
            entries = self.changed.wait_timeout(entries, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A right has passed: somebody else has the partition.
    pub fn lost(&self, partition: i32, epoch: i64) {
        let mut entries = self.lock();
        if entries.get(&partition).is_some_and(|entry| entry.held.epoch == epoch) {
            entries.remove(&partition);
        }
        drop(entries);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn events(epoch: i64) -> Incoming {
        let mut incoming = Incoming::default();
        (0..3).for_each(|offset| incoming.push(Place { partition: 1, offset, epoch }, 0, None, None));
        incoming
    }

    #[test]
    fn what_is_under_way_is_waited_for_and_no_longer_than_the_deadline() {
        let partitions = Partitions::default();
        partitions.give(1, Held { epoch: 7, logged_before: 0, send_from: 0, anchor: None });
        partitions.begin(&events(7));
        partitions.begin(&events(6));
        assert_eq!(partitions.under_way(), 3);
        std::thread::scope(|scope| {
            scope.spawn(|| partitions.done(&events(7)));
            assert!(partitions.let_go(&[1, 9], Instant::now() + Duration::from_secs(60)));
        });
        assert!(!partitions.holds(Place { partition: 1, offset: 0, epoch: 7 }));
        partitions.give(1, Held { epoch: 8, logged_before: 0, send_from: 0, anchor: None });
        partitions.begin(&events(8));
        assert!(!partitions.let_go(&[1], Instant::now()));
        partitions.done(&events(8));
        assert_eq!((partitions.under_way(), partitions.list().len()), (0, 0));
    }

    #[test]
    fn only_the_right_that_passed_is_lost() {
        let partitions = Partitions::default();
        partitions.give(1, Held { epoch: 8, logged_before: 0, send_from: 0, anchor: None });
        partitions.lost(1, 7);
        assert_eq!(partitions.epoch(1), Some(8));
        partitions.lost(1, 8);
        assert_eq!(partitions.epoch(1), None);
    }
}
