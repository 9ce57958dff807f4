//! The flow: one thread reads, one scores, one commits; bounded, in order, never losing what it has read.
//!
//! What is read and where scores go hides behind [`Source`] and [`Sink`]. Every failure that may pass is
//! waited out; everything else ends the flow with its error.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::StreamError;
use crate::incoming::Incoming;
use crate::processor::Processed;

mod commit;
mod read;
mod score;
mod stop;

pub use read::{Flow, FlowSettings};
pub use score::StoredStates;
pub use stop::Stop;

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// There may be more.
    Some,
    /// There is nothing more, and never will be.
    End,
}

/// Where events come from. It gives and takes partitions while it is asked for events.
pub trait Source: Send {
    /// Waits up to `wait` for events and adds at most `most` of them.
    ///
    /// # Errors
    /// What cannot pass: a topic that was made again, events that are gone, a broker that refuses for good.
    fn take(&mut self, into: &mut Incoming, most: usize, wait: Duration) -> Result<Taken, StreamError>;

    /// Stops or resumes the flow of events; asking for them goes on.
    ///
    /// # Errors
    /// As [`Source::take`].
    fn hold(&mut self, hold: bool) -> Result<(), StreamError>;

    /// Everything before these positions (partition, epoch, offset) is done.
    ///
    /// # Errors
    /// As [`Source::take`].
    fn finished(&mut self, ends: &[(i32, i64, i64)]) -> Result<(), StreamError>;
}

/// Where scores and dead letters go.
pub trait Sink: Send {
    /// Sends batches in their order, as one, without the events of some partitions, and waits until all of it has arrived. No
    /// partition has two epochs in them.
    ///
    /// # Errors
    /// A failure that passes is tried again with all of them.
    fn deliver(&mut self, group: &[Processed], without: &[i32]) -> Result<(), StreamError>;
}

/// The rows of batches in their order, without those of some partitions.
pub(crate) fn rows_without<'a>(
    group: &'a [Processed],
    without: &'a [i32],
) -> impl Iterator<Item = (&'a Processed, usize)> {
    let rows = group.iter().flat_map(|batch| (0..batch.incoming.len()).map(move |row| (batch, row)));
    rows.filter(|(batch, row)| !without.contains(&batch.incoming.place(*row).partition))
}

/// The positions behind batches, each partition's once.
pub(crate) fn ends_of(group: &[Processed]) -> Vec<(i32, i64, i64)> {
    let last: BTreeMap<i32, (i64, i64)> = group
        .iter()
        .flat_map(|batch| &batch.ends)
        .map(|(partition, epoch, next)| (*partition, (*epoch, *next)))
        .collect();
    last.into_iter().map(|(partition, (epoch, next))| (partition, epoch, next)).collect()
}

/// Waits, unless told to stop.
pub(crate) fn pause(stop: &Stop, patience: Duration) {
    let until = Instant::now() + patience;
    while Instant::now() < until && !stop.has_run_out() {
        std::thread::sleep(Duration::from_millis(10).min(until.saturating_duration_since(Instant::now())));
    }
}

/// Set when a part of the flow has failed.
#[derive(Debug, Default)]
pub(crate) struct Failed(AtomicBool);

impl Failed {
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
