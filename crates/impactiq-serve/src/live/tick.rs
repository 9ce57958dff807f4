//! Counters that requests move, and what they amount to second by second.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use crate::live::latency::{LatencyNow, LatencyWindow};

/// Scores shown as the last ones.
const SHOWN: usize = 20;

/// What requests move.
#[derive(Debug)]
pub(crate) struct Live {
    started: Instant,
    pub in_flight: AtomicI64,
    requests: AtomicU64,
    rows: AtomicU64,
    errors: AtomicU64,
    latency: LatencyNow,
    last: Mutex<VecDeque<Recent>>,
}

/// A score that was just given; it becomes text only when somebody looks.
#[derive(Debug)]
pub(crate) struct Recent {
    pub at: OffsetDateTime,
    pub id: Option<String>,
    /// Names of the effects.
    pub names: Arc<[String]>,
    pub effects: Vec<Option<f64>>,
    pub model: Arc<str>,
}

impl Recent {
    fn shown(&self) -> LiveScore {
        let effects = self.names.iter().zip(&self.effects);
        LiveScore {
            time: moment(self.at),
            id: self.id.clone(),
            cate: effects.map(|(name, effect)| (name.clone(), Value::from(*effect))).collect(),
            model: (*self.model).to_owned(),
        }
    }
}

/// A score as the live page shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LiveScore {
    /// When.
    pub time: String,
    /// The row's id, where it brought one.
    pub id: Option<String>,
    /// The effects, by `outcome/arm`.
    #[schema(value_type = Object)]
    pub cate: Map<String, Value>,
    /// The model that answered.
    pub model: String,
}

/// Percentiles of the last ten seconds, in milliseconds.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LatencyFigures {
    /// Half of the answers came faster.
    pub p50: Option<f64>,
    /// 95 of 100 came faster.
    pub p95: Option<f64>,
    /// 99 of 100 came faster.
    pub p99: Option<f64>,
}

/// A model by name and id.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelName {
    /// The name requests use.
    pub name: String,
    /// The id of its content.
    pub id: String,
}

/// How the score log does.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LogFigures {
    /// Rows that wait.
    pub queued: u64,
    /// Rows written since the start.
    pub written: u64,
    /// Rows that could not be written.
    pub lost: u64,
}

/// How far a column has moved.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ColumnDrift {
    /// The column.
    pub column: String,
    /// Population stability index: 0 is no drift at all.
    pub psi: f64,
    /// Kolmogorov-Smirnov distance; null for categories.
    pub ks: Option<f64>,
    /// Too far for chance, given how many rows were seen, and far enough to matter.
    pub alarm: bool,
}

/// Drift of the active model's columns.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct DriftFigures {
    /// Rows that were looked at.
    pub n_rows: u64,
    /// Rows that are needed before anything is said.
    pub needed: u64,
    /// Columns, the most moved first; empty before `needed`.
    pub columns: Vec<ColumnDrift>,
}

/// The figures of one second.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Tick {
    /// When.
    pub time: String,
    /// Seconds since the server started.
    pub uptime_seconds: f64,
    /// The active model.
    pub model: Option<ModelName>,
    /// Scoring requests a second.
    pub requests_per_second: f64,
    /// Rows a second.
    pub rows_per_second: f64,
    /// Scoring requests a second that were refused or failed.
    pub errors_per_second: f64,
    /// How long answers took.
    pub latency_ms: LatencyFigures,
    /// Requests being answered.
    pub in_flight: i64,
    /// The score log; null without one.
    pub log: Option<LogFigures>,
    /// Drift.
    pub drift: DriftFigures,
    /// The last scores, the newest first.
    pub last: Vec<LiveScore>,
}

/// Rates and latency of a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Second {
    pub requests: f64,
    pub rows: f64,
    pub errors: f64,
    pub percentiles: crate::live::latency::Percentiles,
}

/// What was counted when the last second ended.
#[derive(Debug)]
pub(crate) struct Turn {
    at: Instant,
    requests: u64,
    rows: u64,
    errors: u64,
    window: LatencyWindow,
}

impl Turn {
    pub fn begin() -> Self {
        Turn { at: Instant::now(), requests: 0, rows: 0, errors: 0, window: LatencyWindow::default() }
    }
}

impl Live {
    pub fn new() -> Self {
        Live {
            started: Instant::now(),
            in_flight: AtomicI64::new(0),
            requests: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            latency: LatencyNow::new(),
            last: Mutex::new(VecDeque::with_capacity(SHOWN)),
        }
    }

    /// Counts an answer of a scoring door.
    pub fn answered(&self, took: Duration, failed: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
        self.latency.observe(took);
    }

    /// Counts a scoring request that was not let in; its time says nothing about answers.
    pub fn turned_away(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub fn scored(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Remembers a score, unless somebody else is about to: it is only a show. `made` is
    /// called when it will be kept.
    pub fn show(&self, made: impl FnOnce() -> Recent) {
        if let Ok(mut last) = self.last.try_lock() {
            let score = made();
            if last.len() == SHOWN {
                last.pop_back();
            }
            last.push_front(score);
        }
    }

    pub fn last(&self) -> Vec<LiveScore> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Recent::shown).collect()
    }

    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Ends a second.
    pub fn turn(&self, turn: &mut Turn) -> Second {
        let now = Instant::now();
        let seconds = now.duration_since(turn.at).as_secs_f64().max(1e-3);
        let rate = |counter: &AtomicU64, before: &mut u64| {
            let count = counter.load(Ordering::Relaxed);
            let rate = (count - *before) as f64 / seconds;
            *before = count;
            rate
        };
        let requests = rate(&self.requests, &mut turn.requests);
        let rows = rate(&self.rows, &mut turn.rows);
        let errors = rate(&self.errors, &mut turn.errors);
        turn.at = now;
        Second { requests, rows, errors, percentiles: turn.window.turn(&self.latency) }
    }
}

/// A moment as text, in UTC to the millisecond.
pub(crate) fn moment(time: OffsetDateTime) -> String {
    let time = time.replace_millisecond(time.millisecond()).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_since_the_last_turn() {
        let live = Live::new();
        let mut turn = Turn::begin();
        live.answered(Duration::from_millis(2), false);
        live.answered(Duration::from_millis(2), true);
        live.scored(10);
        let first = live.turn(&mut turn);
        assert!(first.rows > first.requests && first.requests > first.errors && first.errors > 0.0);
        assert!(first.percentiles.p50.is_some());
        let second = live.turn(&mut turn);
        assert_eq!((second.requests, second.rows, second.errors), (0.0, 0.0, 0.0));
    }

    #[test]
    fn only_the_last_scores_are_shown() {
        let live = Live::new();
        for n in 0..50 {
            live.show(|| Recent {
                at: OffsetDateTime::UNIX_EPOCH,
                id: Some(n.to_string()),
                names: Arc::new(["visit/1".to_owned()]),
                effects: vec![Some(0.5)],
                model: "m".into(),
            });
        }
        assert_eq!(live.last()[0].cate["visit/1"], 0.5);
        let ids: Vec<String> = live.last().into_iter().filter_map(|score| score.id).collect();
        assert_eq!((ids.len(), ids[0].as_str()), (SHOWN, "49"));
        assert!(moment(OffsetDateTime::UNIX_EPOCH).starts_with("1970-01-01T00:00:00"));
    }
}
