//! The thread that commits: scores are sent and written, in the order that the delivery asks for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use impactiq_store::unix_micros;
use tokio::runtime::Handle;

use super::{Sink, Stop, ends_of};
use crate::config::Delivery;
use crate::error::StreamError;
use crate::figures::Figures;
use crate::incoming::Place;
use crate::ledger::{Ledger, Written};
use crate::partitions::Partitions;
use crate::processor::Processed;

pub(super) type Ends = Vec<(i32, i64, i64)>;

/// Most batches that are sent in one transaction. A transaction takes about a tenth of a second whatever is in it, so what has
/// been scored in the meantime goes with the next one.
pub(super) const GROUP: usize = 8;
/// Batches join a transaction until it holds so many bytes: one that is too large for its time would be tried for ever.
const GROUP_BYTES: usize = 16 << 20;

pub(super) struct Committing<'a> {
    pub sink: Box<dyn Sink>,
    pub ledger: &'a Ledger,
    pub handle: &'a Handle,
    pub partitions: &'a Partitions,
    pub figures: &'a Figures,
    pub stop: &'a Stop,
    pub delivery: Delivery,
    pub committed: &'a AtomicU64,
    /// Positions before which everything was sent (exactly once).
    pub sent: BTreeMap<i32, i64>,
}

impl Committing<'_> {
    pub fn run(mut self, from: &Receiver<Processed>, done: &Sender<Ends>) -> Result<(), StreamError> {
        let mut next = None;
        while let Some(first) = next.take().or_else(|| from.recv().ok()) {
            let mut group = vec![first];
            if self.delivery == Delivery::ExactlyOnce {
                next = gather(&mut group, from);
            }
            let lost = match self.delivery {
                Delivery::AtLeastOnce => {
                    let gone = self.deliver(&group, &[])?;
                    self.write(&mut group, &gone)?
                }
                Delivery::ExactlyOnce => {
                    let lost = self.write(&mut group, &[])?;
                    let gone = self.deliver(&group, &lost)?;
                    let ends = group.iter().flat_map(|batch| &batch.ends);
                    self.sent.extend(ends.filter(|end| !gone.contains(&end.0)).map(|end| (end.0, end.2)));
                    gone
                }
            };
            for mut batch in group {
                self.committed.store(batch.batch, Ordering::Release);
                self.count(&batch, &lost);
                self.partitions.done(&batch.incoming);
                batch.ends.retain(|end| !lost.contains(&end.0));
                // Nobody listens any more when the flow ends; then nothing is to be told.
                let _ = done.send(batch.ends);
            }
        }
        Ok(())
    }

    /// Sends until it works; gives the partitions that were left out because somebody else has them by now.
    fn deliver(&mut self, group: &[Processed], without: &[i32]) -> Result<Vec<i32>, StreamError> {
        let ends = ends_of(group);
        let mut n_failures = 0;
        loop {
            let gone: Vec<i32> = ends
                .iter()
                .filter(|(partition, epoch, _)| {
                    let place = Place { partition: *partition, offset: 0, epoch: *epoch };
                    without.contains(partition) || !self.partitions.holds(place)
                })
                .map(|end| end.0)
                .collect();
            if gone.len() == ends.len() {
                return Ok(gone);
            }
            match self.sink.deliver(group, &gone) {
                Ok(()) => return Ok(gone),
                Err(error) if error.is_passing() && !self.stop.has_run_out() => {
                    self.stop.wait(&error, &mut n_failures, self.figures);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the batches one after the other; gives the partitions that somebody else has by now.
    fn write(&mut self, group: &mut [Processed], gone: &[i32]) -> Result<Vec<i32>, StreamError> {
        group.iter_mut().try_fold(gone.to_vec(), |lost, batch| self.write_one(batch, lost))
    }

    /// Writes until it works; adds the partitions that somebody else has by now to those that are lost.
    fn write_one(&mut self, batch: &mut Processed, mut lost: Vec<i32>) -> Result<Vec<i32>, StreamError> {
        batch.shares.retain(|share| !lost.contains(&share.partition));
        if self.delivery == Delivery::ExactlyOnce {
            batch.shares.iter_mut().for_each(|share| share.sent = self.sent.get(&share.partition).copied());
        }
        if batch.shares.is_empty() {
            return Ok(lost);
        }
        let fates = self.stop.insist(self.handle, self.figures, || self.ledger.commit(&batch.shares))?;
        for (share, fate) in batch.shares.iter().zip(fates) {
            let error = match fate {
                Written::Now | Written::Before => continue,
                Written::Stale => StreamError::Stale { partition: share.partition, epoch: share.epoch },
                Written::Overlapping => StreamError::Overlapping { partition: share.partition, offset: share.first },
            };
            tracing::warn!(%error, "its events are left to whoever takes the partition next");
            self.figures.stale();
            self.partitions.lost(share.partition, share.epoch);
            lost.push(share.partition);
        }
        Ok(lost)
    }

    fn count(&self, batch: &Processed, lost: &[i32]) {
        if !batch.before.is_empty() {
            return;
        }
        let now = unix_micros() / 1_000;
        let mut scored = 0;
        let mut codes = Vec::new();
        for (row, dead) in batch.dead.iter().enumerate() {
            if lost.contains(&batch.incoming.place(row).partition) {
                continue;
            }
            match dead {
                None => scored += 1,
                Some(dead) => codes.push(dead.code.clone().into_owned()),
            }
            self.figures.took(u64::try_from(now - batch.incoming.timestamp(row)).unwrap_or(0));
        }
        self.figures.committed(scored, codes.into_iter());
    }
}

/// Adds batches that wait already; gives one back that does not belong to them.
fn gather(group: &mut Vec<Processed>, from: &Receiver<Processed>) -> Option<Processed> {
    while group.len() < GROUP && group.iter().map(Processed::n_bytes).sum::<usize>() < GROUP_BYTES {
        let batch = from.try_recv().ok()?;
        // A partition that was lost and taken again has another epoch: what was read under the old one is void.
        let is_other = |end: &(i32, i64, i64)| batch.ends.iter().any(|one| one.0 == end.0 && one.1 != end.1);
        if ends_of(group).iter().any(is_other) {
            return Some(batch);
        }
        group.push(batch);
    }
    None
}
