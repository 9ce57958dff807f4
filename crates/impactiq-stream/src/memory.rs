//! A source and a sink in memory: a generator, a file of events or a test, with a crash wherever one is wanted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::StreamError;
use crate::flow::{Sink, Source, Taken, rows_without};
use crate::incoming::{Incoming, Place};
use crate::ledger::Position;
use crate::partitions::{Held, Partitions};
use crate::processor::Processed;

/// An event in memory: partition, key and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryEvent {
    /// The partition; its place there is the next one.
    pub partition: i32,
    /// When it came, in milliseconds since 1970.
    pub timestamp: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
}

/// Where generated events come from.
pub type Generator = Box<dyn FnMut() -> Option<MemoryEvent> + Send>;

/// Events of a generator. What is logged already is not given again.
pub struct MemorySource {
    generator: Generator,
    partitions: Arc<Partitions>,
    offsets: BTreeMap<i32, i64>,
    is_held: bool,
    finished: Arc<Mutex<BTreeMap<i32, i64>>>,
}

impl MemorySource {
    /// A source whose partitions were taken at these positions; the generator begins with the first event of each.
    pub fn new(generator: Generator, positions: &[Position], partitions: &Arc<Partitions>) -> Self {
        for position in positions {
            let logged_before = position.next_offset.unwrap_or(0);
            let held = Held {
                epoch: position.epoch,
                logged_before,
                send_from: position.sent_offset.unwrap_or(logged_before),
                anchor: position.last_offset.zip(position.last_mark),
            };
            partitions.give(position.partition_id.0, held);
        }
        MemorySource {
            generator,
            partitions: Arc::clone(partitions),
            offsets: BTreeMap::new(),
            is_held: false,
            finished: Arc::default(),
        }
    }

    /// Events from a list.
    pub fn list(events: Vec<MemoryEvent>) -> Generator {
        let mut events = events.into_iter();
        Box::new(move || events.next())
    }

    /// Where it is told what is done: the next offset by partition.
    pub fn finished_offsets(&self) -> Arc<Mutex<BTreeMap<i32, i64>>> {
        Arc::clone(&self.finished)
    }
}

impl Source for MemorySource {
    fn take(&mut self, into: &mut Incoming, most: usize, wait: Duration) -> Result<Taken, StreamError> {
        if self.is_held || most == 0 {
            std::thread::sleep(wait);
            return Ok(Taken::Some);
        }
        for _ in 0..most {
            let Some(event) = (self.generator)() else { return Ok(Taken::End) };
            let offset = self.offsets.entry(event.partition).or_default();
            let place = |epoch| Place { partition: event.partition, offset: *offset, epoch };
            // A partition that was lost: nothing of it is ours.
            if let Some(epoch) = self.partitions.epoch(event.partition) {
                into.push(place(epoch), event.timestamp, event.key.as_deref(), event.value.as_deref());
            }
            *offset += 1;
        }
        Ok(Taken::Some)
    }

    fn hold(&mut self, hold: bool) -> Result<(), StreamError> {
        self.is_held = hold;
        Ok(())
    }

    fn finished(&mut self, ends: &[(i32, i64, i64)]) -> Result<(), StreamError> {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        finished.extend(ends.iter().map(|(partition, _, next)| (*partition, *next)));
        Ok(())
    }
}

/// A message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// The partition of its event.
    pub partition: i32,
    /// Its event's offset.
    pub offset: i64,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value: scores, or the event as it came.
    pub value: Vec<u8>,
    /// The reason, for a dead letter.
    pub dead: Option<crate::encode::Dead>,
}

/// What was sent, shared with whoever looks.
pub type Sent = Arc<Mutex<Vec<SentMessage>>>;

/// Decides before every delivery whether it fails, by its number from 1.
pub type Fault = Box<dyn FnMut(u64) -> Option<StreamError> + Send>;

/// Keeps what is sent.
pub struct MemorySink {
    sent: Sent,
    fault: Option<Fault>,
    n_deliveries: u64,
}

impl MemorySink {
    /// An empty one; everything sent is in the list that comes back with it.
    pub fn new(fault: Option<Fault>) -> (Self, Sent) {
        let sent = Sent::default();
        (MemorySink { sent: Arc::clone(&sent), fault, n_deliveries: 0 }, sent)
    }
}

impl Sink for MemorySink {
    fn deliver(&mut self, group: &[Processed], without: &[i32]) -> Result<(), StreamError> {
        self.n_deliveries += 1;
        if let Some(error) = self.fault.as_mut().and_then(|fault| fault(self.n_deliveries)) {
            return Err(error);
        }
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        for (batch, row) in rows_without(group, without) {
            let place = batch.incoming.place(row);
            let value = match &batch.dead[row] {
                Some(_) => batch.incoming.value(row).unwrap_or_default(),
                None => batch.messages.get(row),
            };
            sent.push(SentMessage {
                partition: place.partition,
                offset: place.offset,
                key: batch.incoming.key(row).map(<[u8]>::to_vec),
                value: value.to_vec(),
                dead: batch.dead[row].clone(),
            });
        }
        Ok(())
    }
}

/// Keeps nothing: for a stream without an output.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSink;

impl Sink for NoSink {
    fn deliver(&mut self, _: &[Processed], _: &[i32]) -> Result<(), StreamError> {
        Ok(())
    }
}
