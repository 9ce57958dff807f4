//! What a stream has done since it started, as counters that its parts move and anybody may read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use impactiq_metrics::drift::DriftReport;
use serde::Serialize;

/// Upper ends of the latency classes, in milliseconds; the last class has none.
pub const LATENCY_MS: [u64; 14] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 15_000, 60_000];

/// The counters.
#[derive(Debug, Default)]
pub struct Figures {
    scored: AtomicU64,
    again: AtomicU64,
    batches: AtomicU64,
    failures: AtomicU64,
    stale: AtomicU64,
    scoring_micros: AtomicU64,
    users: AtomicU64,
    latency: [AtomicU64; LATENCY_MS.len() + 1],
    latency_total_ms: AtomicU64,
    dead: Mutex<BTreeMap<String, u64>>,
    lag: Mutex<BTreeMap<i32, i64>>,
    last_failure: Mutex<Option<String>>,
    drift: Mutex<Option<DriftReport>>,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FiguresNow {
    /// Events that got scores.
    pub scored: u64,
    /// Events that got none, by reason.
    pub dead: BTreeMap<String, u64>,
    /// Scores that were sent again from the log.
    pub sent_again: u64,
    /// Batches committed.
    pub batches: u64,
    /// Attempts on broker or store that failed and were repeated.
    pub failures: u64,
    /// The last of them, in words.
    pub last_failure: Option<String>,
    /// Partitions that somebody else turned out to have.
    pub stale: u64,
    /// Seconds spent on decoding, windows and scoring.
    pub scoring_seconds: f64,
    /// Users whose windows are in memory.
    pub users_in_memory: u64,
    /// Events by time from the broker's timestamp to the commit: classes of [`LATENCY_MS`], then the rest.
    pub latency: Vec<u64>,
    /// Mean of it in milliseconds.
    pub latency_mean_ms: Option<f64>,
    /// Events not yet committed, by partition.
    pub lag: BTreeMap<i32, i64>,
    /// The last whole window of events beside the training rows; none before, or without a profile.
    pub drift: Option<DriftReport>,
}

impl Figures {
    /// A batch is committed.
    pub fn committed(&self, scored: u64, codes: impl Iterator<Item = String>) {
        self.scored.fetch_add(scored, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        let mut dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        codes.for_each(|code| *dead.entry(code).or_default() += 1);
    }

    /// Scores were sent again from the log.
    pub fn sent_again(&self, n: u64) {
        self.again.fetch_add(n, Ordering::Relaxed);
    }

    /// How long after the broker had it an event was committed.
    pub fn took(&self, millis: u64) {
        let class = LATENCY_MS.partition_point(|end| *end < millis);
        self.latency[class].fetch_add(1, Ordering::Relaxed);
        self.latency_total_ms.fetch_add(millis, Ordering::Relaxed);
    }

    /// A batch was scored.
    pub fn worked(&self, took: Duration, n_users: usize) {
        self.scoring_micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        self.users.store(n_users as u64, Ordering::Relaxed);
    }

    /// A window of events beside the training rows; the same one again changes nothing.
    pub fn drifted(&self, report: Option<&DriftReport>) {
        let mut last = self.drift.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = match (report, &*last) {
            (Some(new), Some(old)) => new.window != old.window,
            (new, old) => new.is_some() != old.is_some(),
        };
        if is_new {
            *last = report.cloned();
        }
    }

    /// Something failed and will be tried again.
    pub fn failed(&self, problem: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem.to_owned());
    }

    /// A partition turned out to be somebody else's.
    pub fn stale(&self) {
        self.stale.fetch_add(1, Ordering::Relaxed);
    }

    /// Events not yet committed, by partition; others are left out.
    pub fn set_lag(&self, lag: BTreeMap<i32, i64>) {
        *self.lag.lock().unwrap_or_else(PoisonError::into_inner) = lag;
    }

    /// The counters now.
    pub fn now(&self) -> FiguresNow {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let latency: Vec<u64> = self.latency.iter().map(load).collect();
        let n: u64 = latency.iter().sum();
        FiguresNow {
            scored: load(&self.scored),
            dead: self.dead.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            sent_again: load(&self.again),
            batches: load(&self.batches),
            failures: load(&self.failures),
            last_failure: self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            stale: load(&self.stale),
            scoring_seconds: load(&self.scoring_micros) as f64 / 1e6,
            users_in_memory: load(&self.users),
            latency_mean_ms: (n > 0).then(|| load(&self.latency_total_ms) as f64 / n as f64),
            latency,
            lag: self.lag.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            drift: self.drift.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl FiguresNow {
    /// Dead letters of all kinds.
    pub fn n_dead(&self) -> u64 {
        self.dead.values().sum()
    }

    /// The end of the latency class in which this share of the events was done, in milliseconds; `None` without events
    /// or beyond the last end.
    pub fn latency_below_ms(&self, share: f64) -> Option<u64> {
        let n: u64 = self.latency.iter().sum();
        let wanted = (share * n as f64).ceil() as u64;
        let mut seen = 0;
        let class = self.latency.iter().position(|count| {
            seen += count;
            n > 0 && seen >= wanted
        })?;
        LATENCY_MS.get(class).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told() {
        let figures = Figures::default();
        figures.committed(3, ["not_json".to_owned(), "not_json".to_owned()].into_iter());
        (0..99).for_each(|_| figures.took(4));
        figures.took(900);
        let now = figures.now();
        assert_eq!((now.scored, now.n_dead(), now.batches), (3, 2, 1));
        assert_eq!((now.latency_below_ms(0.5), now.latency_below_ms(0.999)), (Some(5), Some(1_000)));
        assert_eq!(Figures::default().now().latency_below_ms(0.5), None);
    }
}
