//! Follows scores and outcomes for live uplift: one member of the group does, the others take over when it
//! falls silent. It joins no group: its positions are saved with its state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::Handle;

use super::client::{PATIENCE, Quiet, reader, told};
use crate::config::StreamConfig;
use crate::error::StreamError;
use crate::flow::{Stop, pause};
use crate::follow::{Follow, LiveView};
use crate::ledger::Ledger;
use crate::model::ModelWatch;

/// A member that was not seen for so long does not watch any more.
const SILENCE: Duration = Duration::from_secs(30);
/// How often the one who watches is seen, and others look.
const SEEN_EVERY: Duration = Duration::from_secs(5);
/// Messages that are taken at a time.
const AT_ONCE: usize = 5_000;

/// Watches until it is told to stop.
pub struct Follower {
    /// The configuration.
    pub config: Arc<StreamConfig>,
    /// The model in use: its ranking is the promise.
    pub models: Arc<ModelWatch>,
    /// The store.
    pub ledger: Ledger,
    /// The run-time that asks it.
    pub handle: Handle,
    /// When to stop.
    pub stop: Arc<Stop>,
    /// Where reports are left.
    pub view: Arc<LiveView>,
}

/// Messages by topic and partition, and where each partition ends.
struct Feed {
    client: BaseConsumer<Quiet>,
    scores: String,
    outcomes: String,
    partitions: Vec<i32>,
}

impl Follower {
    /// Watches; whatever fails is tried again.
    pub fn run(&self) {
        while !self.stop.is_asked() {
            if let Err(error) = self.watch() {
                tracing::warn!(%error, "live uplift is behind; it is tried again");
            }
            self.rest(SEEN_EVERY);
        }
    }

    fn rest(&self, patience: Duration) {
        let until = Instant::now() + patience;
        while Instant::now() < until && !self.stop.is_asked() {
            pause(&self.stop, Duration::from_millis(100));
        }
    }

    /// Watches for as long as it is this member's turn.
    fn watch(&self) -> Result<(), StreamError> {
        let Some(lease) = self.handle.block_on(self.ledger.watch_live(SILENCE))? else {
            // Somebody else does: what it saw last is shown here too.
            if let Some(bytes) = self.handle.block_on(self.ledger.live_state())? {
                self.view.put(Follow::from_bytes(&self.config, &bytes)?.report());
            }
            return Ok(());
        };
        let mut follow = match &lease.state {
            Some(bytes) => Follow::from_bytes(&self.config, bytes)?,
            None => Follow::new(&self.config)?,
        };
        let feed = Feed::open(&self.config, &follow)?;
        let (mut seen_at, mut saved_at, mut save_every) = (Instant::now(), Instant::now(), SEEN_EVERY);
        let mut is_saved = true;
        while !self.stop.is_asked() {
            self.know_model(&mut follow)?;
            let n = feed.take(&mut follow)?;
            is_saved &= n == 0;
            if seen_at.elapsed() < SEEN_EVERY / 5 {
                continue;
            }
            if feed.is_at_end(&follow)? && follow.advance()? > 0 {
                is_saved = false;
            }
            self.view.put(follow.report());
            seen_at = Instant::now();
            let is_due = saved_at.elapsed() >= save_every;
            if is_due {
                let began = Instant::now();
                let bytes = if is_saved { None } else { Some(follow.to_bytes()?) };
                if !self.handle.block_on(self.ledger.save_live(lease.epoch, bytes.as_deref()))? {
                    return Ok(());
                }
                // A large state is saved less often: it may cost a twentieth of the time.
                (saved_at, is_saved) = (Instant::now(), true);
                save_every = SEEN_EVERY.max(began.elapsed() * 20).min(SILENCE / 2);
            }
        }
        let bytes = follow.to_bytes()?;
        self.handle.block_on(self.ledger.save_live(lease.epoch, Some(&bytes)))?;
        Ok(())
    }

    fn know_model(&self, follow: &mut Follow) -> Result<(), StreamError> {
        let model = self.models.current();
        if follow.knows(model.id()) {
            return Ok(());
        }
        follow.add_model(&model)
    }
}

impl Feed {
    fn open(config: &StreamConfig, follow: &Follow) -> Result<Self, StreamError> {
        let kafka = &config.kafka;
        let (scores, outcomes) = match (&kafka.scores, &kafka.outcomes) {
            (Some(scores), Some(outcomes)) => (scores.clone(), outcomes.clone()),
            _ => return Err(StreamError::Stopped { what: "live uplift" }),
        };
        let client: BaseConsumer<Quiet> =
            reader(kafka).create_with_context(Quiet::default()).map_err(|error| told("making a client", &error))?;
        let mut list = TopicPartitionList::new();
        let mut partitions = Vec::new();
        for topic in [&scores, &outcomes] {
            let doing = "asking for a topic";
            let metadata = client.fetch_metadata(Some(topic), PATIENCE).map_err(|error| told(doing, &error))?;
            for partition in metadata.topics().iter().flat_map(|found| found.partitions()) {
                let partition = partition.id();
                let (low, high) =
                    client.fetch_watermarks(topic, partition, PATIENCE).map_err(|error| told(doing, &error))?;
                // What was deleted before it was followed is not there any more; a topic that was made again begins anew.
                let next = follow.next(topic, partition).filter(|next| *next <= high).unwrap_or(low).max(low);
                list.add_partition_offset(topic, partition, Offset::Offset(next))
                    .map_err(|error| told(doing, &error))?;
                if topic == &outcomes {
                    partitions.push(partition);
                }
            }
        }
        client.assign(&list).map_err(|error| told("choosing partitions", &error))?;
        Ok(Feed { client, scores, outcomes, partitions })
    }

    /// Takes what is there, at most for some hundred milliseconds; gives the number of messages.
    fn take(&self, follow: &mut Follow) -> Result<usize, StreamError> {
        let (mut scores, mut outcomes): (Vec<Vec<u8>>, Vec<Vec<u8>>) = Default::default();
        let mut next: BTreeMap<(bool, i32), i64> = BTreeMap::new();
        let mut wait = Duration::from_millis(200);
        while scores.len() + outcomes.len() < AT_ONCE {
            match self.client.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    let is_outcome = message.topic() == self.outcomes;
                    let value = message.payload().unwrap_or_default().to_vec();
                    if is_outcome {
                        outcomes.push(value)
                    } else {
                        scores.push(value)
                    }
                    next.insert((is_outcome, message.partition()), message.offset() + 1);
                    wait = Duration::ZERO;
                }
                Some(Err(error)) => {
                    let error = told("following scores", &error);
                    if !error.is_passing() {
                        return Err(error);
                    }
                }
            }
        }
        follow.scores(&scores.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        follow.outcomes(&outcomes.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
        for ((is_outcome, partition), offset) in next {
            follow.read_to(if is_outcome { &self.outcomes } else { &self.scores }, partition, offset);
        }
        Ok(scores.len() + outcomes.len())
    }

    /// True where every outcome that there is was read.
    fn is_at_end(&self, follow: &Follow) -> Result<bool, StreamError> {
        for partition in &self.partitions {
            let (low, high) = self
                .client
                .fetch_watermarks(&self.outcomes, *partition, PATIENCE)
                .map_err(|error| told("asking where outcomes end", &error))?;
            // A marker of a transaction may stand behind the last outcome.
            if follow.next(&self.outcomes, *partition).unwrap_or(low) + 1 < high {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
