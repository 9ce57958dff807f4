//! The thread that reads, and the flow as a whole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, channel, sync_channel};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::commit::{Committing, Ends, GROUP};
use super::score::Scoring;
use super::{Failed, Sink, Source, Stop, Taken};
use crate::config::Delivery;
use crate::error::StreamError;
use crate::figures::Figures;
use crate::incoming::Incoming;
use crate::ledger::Ledger;
use crate::partitions::Partitions;
use crate::processor::Processor;

/// How long reading waits when there is nothing to do.
const IDLE: Duration = Duration::from_millis(50);
/// How long it waits while a batch cannot be handed on.
const BUSY: Duration = Duration::from_millis(5);

/// Sizes and times of a flow.
#[derive(Clone, Copy, Debug)]
pub struct FlowSettings {
    /// Most events of a batch.
    pub batch_rows: usize,
    /// How long a batch waits for more.
    pub linger: Duration,
    /// Events read and not yet done.
    pub in_flight_rows: usize,
    /// What is done first.
    pub delivery: Delivery,
}

/// Everything a flow is put together from.
pub struct Flow {
    /// Where events come from.
    pub source: Box<dyn Source>,
    /// Where scores go.
    pub sink: Box<dyn Sink>,
    /// What happens in between.
    pub processor: Processor,
    /// The store.
    pub ledger: Ledger,
    /// The run-time that asks the store.
    pub handle: Handle,
    /// The partitions of this member, shared with the source.
    pub partitions: Arc<Partitions>,
    /// Counters.
    pub figures: Arc<Figures>,
    /// When to stop.
    pub stop: Arc<Stop>,
    /// The topic, for messages.
    pub topic: String,
    /// Sizes and times.
    pub settings: FlowSettings,
}

impl Flow {
    /// Runs until it is told to stop or the source ends; returns when everything under way is done. Not to be called on
    /// a thread of the run-time.
    ///
    /// # Errors
    /// What cannot pass. What was read and not committed will be read again.
    pub fn run(self) -> Result<(), StreamError> {
        self.stop.begin();
        let (to_score, from_source) = sync_channel(1);
        // Where batches are sent together, they may wait for each other.
        let waiting = if self.settings.delivery == Delivery::ExactlyOnce { GROUP } else { 2 };
        let (to_commit, from_score) = sync_channel(waiting);
        let (to_source, from_commit) = channel();
        let committed = self.processor.committed();
        let failed = Failed::default();
        let scoring = Scoring {
            processor: self.processor,
            ledger: &self.ledger,
            handle: &self.handle,
            partitions: &self.partitions,
            figures: &self.figures,
            stop: &self.stop,
            topic: &self.topic,
            sends_again: self.settings.delivery == Delivery::ExactlyOnce,
        };
        let committing = Committing {
            sink: self.sink,
            ledger: &self.ledger,
            handle: &self.handle,
            partitions: &self.partitions,
            figures: &self.figures,
            stop: &self.stop,
            delivery: self.settings.delivery,
            committed: &committed,
            sent: Default::default(),
        };
        let mut reading = Reading {
            source: self.source,
            partitions: &self.partitions,
            stop: &self.stop,
            settings: self.settings,
            ready: VecDeque::new(),
            gathering: Incoming::default(),
            since: Instant::now(),
            is_held: false,
        };
        let failed = &failed;
        std::thread::scope(|scope| {
            let scoring = scope.spawn(move || {
                let done = scoring.run(&from_source, &to_commit);
                done.inspect_err(|_| failed.set())
            });
            let committing = scope.spawn(move || {
                let done = committing.run(&from_score, &to_source);
                done.inspect_err(|_| failed.set())
            });
            let read = reading.run(to_score, &from_commit, failed);
            let scored = scoring.join().unwrap_or(Err(StreamError::Stopped { what: "scoring" }));
            // What waits in the channels is done; the last positions are told.
            let committed = committing.join().unwrap_or(Err(StreamError::Stopped { what: "committing" }));
            reading.tell(&from_commit)?;
            committed.and(scored).and(read)
        })
    }
}

struct Reading<'a> {
    source: Box<dyn Source>,
    partitions: &'a Partitions,
    stop: &'a Stop,
    settings: FlowSettings,
    /// Batches that wait to be handed on.
    ready: VecDeque<Incoming>,
    gathering: Incoming,
    /// When gathering began.
    since: Instant,
    is_held: bool,
}

impl Reading<'_> {
    fn run(
        &mut self,
        to_score: SyncSender<Incoming>,
        from_commit: &Receiver<Ends>,
        failed: &Failed,
    ) -> Result<(), StreamError> {
        let mut at_end = false;
        while !failed.is_set() && !self.stop.is_asked() {
            self.tell(from_commit)?;
            self.keep_bound()?;
            if !at_end {
                let most = self.settings.batch_rows.saturating_sub(self.gathering.len());
                let was_empty = self.gathering.is_empty();
                let patience = self.patience();
                let taken = self.source.take(&mut self.gathering, most, patience)?;
                if was_empty {
                    self.since = Instant::now();
                }
                at_end = taken == Taken::End;
            }
            self.gather(at_end);
            if !self.hand_on(&to_score) {
                break;
            }
            if at_end {
                if self.ready.is_empty() {
                    break;
                }
                std::thread::sleep(BUSY);
            }
        }
        Ok(())
    }

    /// Tells the source what is done.
    fn tell(&mut self, from_commit: &Receiver<Ends>) -> Result<(), StreamError> {
        loop {
            match from_commit.try_recv() {
                Ok(ends) => self.source.finished(&ends)?,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Stops the flow of events where too many are under way, until half of them are done.
    fn keep_bound(&mut self) -> Result<(), StreamError> {
        let waiting: usize = self.ready.iter().map(Incoming::len).sum();
        let n = waiting + self.gathering.len() + self.partitions.under_way();
        let limit = self.settings.in_flight_rows;
        let hold = if self.is_held { n > limit / 2 } else { n >= limit };
        // Told again while it lasts: partitions that came in between flow otherwise.
        if hold || self.is_held {
            self.source.hold(hold)?;
        }
        self.is_held = hold;
        Ok(())
    }

    fn patience(&self) -> Duration {
        if !self.ready.is_empty() {
            BUSY
        } else if self.gathering.is_empty() {
            IDLE
        } else {
            self.settings.linger.saturating_sub(self.since.elapsed()).max(Duration::from_millis(1))
        }
    }

    fn gather(&mut self, at_end: bool) {
        let is_full = self.gathering.len() >= self.settings.batch_rows;
        // While a batch waits anyway, the next one may grow.
        let is_due = self.ready.is_empty() && self.since.elapsed() >= self.settings.linger;
        if !self.gathering.is_empty() && (is_full || is_due || at_end) {
            self.ready.push_back(std::mem::take(&mut self.gathering));
        }
    }

    /// Hands batches on while there is room; false where nobody takes them any more.
    fn hand_on(&mut self, to_score: &SyncSender<Incoming>) -> bool {
        while let Some(mut batch) = self.ready.pop_front() {
            // Partitions that went away since: somebody else reads those events.
            batch.retain(|place| self.partitions.holds(place));
            if batch.is_empty() {
                continue;
            }
            self.partitions.begin(&batch);
            match to_score.try_send(batch) {
                Ok(()) => {}
                Err(TrySendError::Full(batch)) => {
                    self.partitions.done(&batch);
                    self.ready.push_front(batch);
                    return true;
                }
                Err(TrySendError::Disconnected(_)) => return false,
            }
        }
        true
    }
}
