//! Everything a request needs, in one place: models, keys, log, figures, limits.
//!
//! What a request does with it is the business of `http`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use impactiq_store::{Lookup, LookupSettings, ScoreLog};
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::error::ServeError;
use crate::keys::Keys;
use crate::live::tick::{DriftFigures, LatencyFigures, Live, LogFigures, ModelName, Second, Tick, moment};
use crate::metrics::Metrics;
use crate::pressure::Pressure;
use crate::registry::{LoadedModel, Registry};
use crate::settings::Limits;

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    Starting = 0,
    Ready = 1,
    Draining = 2,
}

/// What a server holds.
pub(crate) struct Desk {
    pub registry: Registry,
    pub keys: Option<Keys>,
    pub log: Option<ScoreLog>,
    pub lookup: Option<LookupSettings>,
    /// Where a scorer of events tells of itself.
    pub stream: Option<SocketAddr>,
    pub live: Live,
    pub metrics: Metrics,
    pub gate: Gate,
    pub pressure: Pressure,
    /// Bytes of large bodies that are held now.
    pub held: Arc<AtomicUsize>,
    pub limits: Limits,
    pub started_at: OffsetDateTime,
    /// The newest tick as text; nobody's connection makes it anew.
    pub tick: watch::Sender<Arc<str>>,
    /// Cancelled when the server stops: streams end then.
    pub stopping: CancellationToken,
    stage: AtomicU8,
    /// Random per start, so that names of requests never come twice.
    id_start: u64,
    id_count: AtomicU64,
}

/// The parts a desk is put together from.
pub(crate) struct Parts {
    pub registry: Registry,
    pub keys: Option<Keys>,
    pub log: Option<ScoreLog>,
    pub lookup: Option<LookupSettings>,
    pub stream: Option<SocketAddr>,
    pub limits: Limits,
    /// Random: names of requests begin with it.
    pub id_start: u64,
}

impl Desk {
    pub fn new(parts: Parts) -> Desk {
        Desk {
            registry: parts.registry,
            keys: parts.keys,
            log: parts.log,
            lookup: parts.lookup,
            stream: parts.stream,
            live: Live::new(),
            metrics: Metrics::new(),
            pressure: Pressure::default(),
            held: Arc::default(),
            gate: Gate::new(parts.limits.concurrency, parts.limits.queue),
            limits: parts.limits,
            started_at: OffsetDateTime::now_utc(),
            tick: watch::Sender::new(Arc::from("")),
            stopping: CancellationToken::new(),
            stage: AtomicU8::new(Stage::Starting as u8),
            id_start: parts.id_start,
            id_count: AtomicU64::new(0),
        }
    }

    /// A name for a request that brought none. Names ascend, which is how the log's index likes them.
    pub fn next_id(&self) -> String {
        format!("{:016x}-{:08x}", self.id_start, self.id_count.fetch_add(1, Ordering::Relaxed))
    }

    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Ready,
            _ => Stage::Draining,
        }
    }

    pub fn enter(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
    }

    /// True when nothing is answered before it is safely in the log.
    pub fn log_is_durable(&self) -> bool {
        self.log.as_ref().is_some_and(ScoreLog::is_durable)
    }

    /// Gives a model its look-up table, where there is one.
    ///
    /// # Errors
    /// [`ServeError::Store`] for a table that cannot be read or does not fit the model.
    pub async fn lend(&self, model: &LoadedModel) -> Result<(), ServeError> {
        if let Some(settings) = &self.lookup {
            model.lend(Lookup::load(settings.clone(), model.scorer.schema()).await?);
        }
        Ok(())
    }

    /// How the score log does.
    pub fn log_figures(&self) -> Option<LogFigures> {
        let state = self.log.as_ref()?.state();
        Some(LogFigures { queued: state.queued, written: state.written, lost: state.lost })
    }

    /// Makes the tick of a second and hands it to everybody who listens.
    pub fn publish(&self, second: Second) {
        let shelf = self.registry.shelf();
        let active = shelf.active();
        let percentiles = second.percentiles;
        let tick = Tick {
            time: moment(OffsetDateTime::now_utc()),
            uptime_seconds: self.live.uptime().as_secs_f64(),
            model: Some(ModelName { name: active.name.clone(), id: active.id().to_owned() }),
            requests_per_second: second.requests,
            rows_per_second: second.rows,
            errors_per_second: second.errors,
            latency_ms: LatencyFigures { p50: percentiles.p50, p95: percentiles.p95, p99: percentiles.p99 },
            in_flight: self.live.in_flight.load(Ordering::Relaxed),
            log: self.log_figures(),
            drift: active.drift.as_ref().map_or_else(DriftFigures::default, |drift| drift.figures()),
            last: self.live.last(),
        };
        // Plain structs of finite numbers always become text.
        let text = serde_json::to_string(&tick).unwrap_or_default();
        self.tick.send_replace(Arc::from(text));
    }
}

/// So many requests are scored at once, so many may wait, and the rest is sent away at once.
#[derive(Debug)]
pub(crate) struct Gate {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
}

/// Waiting longer than this is worse for everybody than coming again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

impl Gate {
    fn new(concurrency: usize, queue: usize) -> Self {
        let permits = Arc::new(Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS)));
        Gate { permits, waiting: AtomicUsize::new(0), queue }
    }

    /// A turn, or `None` when too many wait already. Requests wait in the order they came.
    pub async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        let _place = Place::take(&self.waiting, self.queue)?;
        let turn = Arc::clone(&self.permits).acquire_owned();
        tokio::time::timeout(LONGEST_WAIT, turn).await.ok()?.ok()
    }
}

/// A place in the queue, given back also when a client hangs up while it waits.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, queue: usize) -> Option<Place<'a>> {
        if waiting.fetch_add(1, Ordering::AcqRel) >= queue {
            waiting.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Place(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_queue_is_short_and_a_place_comes_back() {
        let none_waits = Gate::new(1, 0);
        let first = none_waits.enter().await.unwrap();
        assert!(none_waits.enter().await.is_none());
        drop(first);
        assert!(none_waits.enter().await.is_some());

        let one_waits = Gate::new(1, 1);
        let first = one_waits.enter().await.unwrap();
        let (second, third, ()) = tokio::join!(one_waits.enter(), one_waits.enter(), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert!(second.is_some() && third.is_none(), "one waited for its turn, one was sent away");
        assert_eq!(one_waits.waiting.load(Ordering::Relaxed), 0);
    }
}
