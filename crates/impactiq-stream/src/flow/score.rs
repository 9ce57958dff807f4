//! The thread that scores: it tells events that are logged already from new ones, and hands batches on.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Instant;

use tokio::runtime::Handle;

use super::Stop;
use crate::error::StreamError;
use crate::figures::Figures;
use crate::incoming::{Incoming, Place};
use crate::ledger::Ledger;
use crate::partitions::{Held, Partitions};
use crate::processor::{Processed, Processor};
use crate::users::{StoredUser, UserStates};

/// Users' states in the store, read until it works.
pub struct StoredStates {
    /// The store.
    pub ledger: Ledger,
    /// Where it is asked.
    pub handle: Handle,
    /// When to give up.
    pub stop: Arc<Stop>,
    /// Failures are counted here.
    pub figures: Arc<Figures>,
}

impl UserStates for StoredStates {
    fn load(&self, users: &[&[u8]]) -> Result<Vec<StoredUser>, StreamError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        self.stop.insist(&self.handle, &self.figures, || self.ledger.users(users))
    }
}

pub(super) struct Scoring<'a> {
    pub processor: Processor,
    pub ledger: &'a Ledger,
    pub handle: &'a Handle,
    pub partitions: &'a Partitions,
    pub figures: &'a Figures,
    pub stop: &'a Stop,
    /// The topic, for messages.
    pub topic: &'a str,
    /// Scores that are logged and not sent are sent again.
    pub sends_again: bool,
}

impl Scoring<'_> {
    pub fn run(mut self, from: &Receiver<Incoming>, to: &SyncSender<Processed>) -> Result<(), StreamError> {
        while let Ok(events) = from.recv() {
            let (again, fresh) = self.sort(events)?;
            for events in again {
                let done = self.send_again(events)?;
                if to.send(done).is_err() {
                    return Ok(());
                }
            }
            if fresh.is_empty() {
                continue;
            }
            let began = Instant::now();
            let done = self.processor.process(fresh)?;
            self.figures.worked(began.elapsed(), self.processor.n_users());
            self.figures.drifted(self.processor.drift());
            if to.send(done).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Events to be sent again, by partition, and new ones; everything else is done with.
    fn sort(&self, mut events: Incoming) -> Result<(Vec<Incoming>, Incoming), StreamError> {
        let held = |place: Place| self.partitions.get(place);
        let all_new = (0..events.len()).all(|row| {
            let place = events.place(row);
            held(place).is_some_and(|held| place.offset >= held.logged_before)
        });
        if all_new {
            return Ok((Vec::new(), events));
        }
        for row in 0..events.len() {
            let place = events.place(row);
            if let Some(Held { anchor: Some((offset, mark)), .. }) = held(place)
                && offset == place.offset
                && mark != events.mark(row)
            {
                return Err(StreamError::OtherEvent {
                    topic: self.topic.to_owned(),
                    partition: place.partition,
                    offset,
                });
            }
        }
        let is_fresh = |place: Place| held(place).is_some_and(|held| place.offset >= held.logged_before);
        let is_again = |place: Place| {
            let sends = |held: Held| place.offset < held.logged_before && place.offset >= held.send_from;
            self.sends_again && held(place).is_some_and(sends)
        };
        let mut rest = events.clone();
        rest.retain(|place| !is_fresh(place) && !is_again(place));
        self.partitions.done(&rest);
        let mut again = Vec::new();
        for partition in self.partitions.list() {
            let mut part = events.clone();
            part.retain(|place| place.partition == partition && is_again(place));
            if !part.is_empty() {
                again.push(part);
            }
        }
        events.retain(is_fresh);
        Ok((again, events))
    }

    fn send_again(&mut self, events: Incoming) -> Result<Processed, StreamError> {
        let (first, last) = (events.place(0), events.place(events.len() - 1));
        let logged = self
            .stop
            .insist(self.handle, self.figures, || self.ledger.logged(first.partition, first.offset, last.offset + 1))?;
        self.figures.sent_again(events.len() as u64);
        self.processor.again(events, &logged)
    }
}
