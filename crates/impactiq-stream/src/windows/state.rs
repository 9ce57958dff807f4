//! What is remembered of a user, and what an event looks back on.
//!
//! The events themselves are kept, not sums by bucket: windows are exact to the microsecond,
//! and nothing is ever subtracted, so a restart in between cannot change a bit of a sum. A user has
//! some tens of events in a week; the cap bounds those who have more.

use std::collections::VecDeque;

use super::events::{EventRef, NO_KEY};
use super::plan::{Reads, WindowPlan};

/// The state of one user. Made and read by one [`WindowPlan`] only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowState {
    /// Time of the newest event, whatever its kind.
    pub(super) newest: Option<i64>,
    /// As many as the plan has, once there was an event.
    pub(super) tracks: Vec<Track>,
}

/// Events of one kind, by time and, where that is equal, arrival.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Track {
    pub times: VecDeque<i64>,
    /// Per column.
    pub numbers: Vec<VecDeque<f64>>,
    /// Per column.
    pub keys: Vec<VecDeque<u64>>,
    /// Time of the newest event that was let go: recency looks back without end.
    pub gone: Option<i64>,
    /// Time of the newest event that the cap took: windows that reach so far back are not known.
    pub taken: Option<i64>,
}

/// How an event came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// At or after the user's newest event.
    InOrder,
    /// Behind it, but within `late`: counted, and its features are those of its own time.
    Late,
    /// Too far behind: not counted, and its features are missing.
    TooLate,
}

impl WindowState {
    /// Nothing known.
    pub fn new() -> Self {
        WindowState::default()
    }

    /// True before the first event.
    pub fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// Events kept.
    pub fn n_events(&self) -> usize {
        self.tracks.iter().map(|track| track.times.len()).sum()
    }

    /// Takes an event: writes its features (one per feature of the plan, NaN for missing), then
    /// remembers it.
    ///
    /// # Panics
    /// When `features` has another length than the plan has features (a bug of the caller).
    pub fn advance(&mut self, plan: &WindowPlan, event: EventRef<'_>, features: &mut [f64]) -> Arrival {
        assert_eq!(features.len(), plan.features.len(), "one place per feature");
        if self.tracks.len() != plan.tracks.len() {
            self.tracks = plan.tracks.iter().map(|track| Track::new(track.numbers.len(), track.keys.len())).collect();
        }
        let newest = self.newest.map_or(event.time, |newest| newest.max(event.time));
        let late = plan.config().late.micros();
        if event.time < newest.saturating_sub(late) {
            features.fill(f64::NAN);
            return Arrival::TooLate;
        }
        for (feature, into) in plan.features.iter().zip(features) {
            *into = self.tracks[feature.track].read(feature.reads, event.time);
        }
        let in_order = self.newest.is_none_or(|before| event.time >= before);
        self.newest = Some(newest);
        for (track, kept) in plan.tracks.iter().zip(&mut self.tracks) {
            if track.kind.is_none_or(|kind| kind == event.kind) {
                kept.add(
                    event.time,
                    track.numbers.iter().map(|c| event.numbers[*c]),
                    track.keys.iter().map(|c| event.keys[*c]),
                );
            }
            let horizon = newest.saturating_sub(track.reach).saturating_sub(late);
            kept.let_go(horizon, plan.config().max_events as usize);
        }
        if in_order { Arrival::InOrder } else { Arrival::Late }
    }
}

impl Track {
    pub fn new(n_numbers: usize, n_keys: usize) -> Self {
        Track { numbers: vec![VecDeque::new(); n_numbers], keys: vec![VecDeque::new(); n_keys], ..Track::default() }
    }

    /// What a feature is at a time, from the events that came before.
    fn read(&self, reads: Reads, time: i64) -> f64 {
        // Events of the same time came earlier and count.
        let end = self.times.partition_point(|&other| other <= time);
        let window = |over: i64| {
            let start = time.saturating_sub(over);
            let is_known = self.taken.is_none_or(|taken| taken <= start);
            is_known.then(|| self.times.partition_point(|&other| other <= start)..end)
        };
        let found = match reads {
            Reads::Count { over } => window(over).map(|places| places.len() as f64),
            Reads::Sum { column, over } => window(over)
                .map(|places| self.numbers[column].range(places).filter(|value| !value.is_nan()).sum::<f64>()),
            Reads::Distinct { column, over } => window(over).map(|places| {
                let mut keys: Vec<u64> =
                    self.keys[column].range(places).copied().filter(|key| *key != NO_KEY).collect();
                keys.sort_unstable();
                keys.dedup();
                keys.len() as f64
            }),
            Reads::Recency => {
                let kept = end.checked_sub(1).map(|place| self.times[place]);
                // What was let go after a late event's time is not its past.
                kept.max(self.gone.filter(|gone| *gone <= time)).map(|last| (time - last) as f64 / 1e6)
            }
        };
        // `0.0 +`: the sum of no numbers is −0 in Rust.
        found.map_or(f64::NAN, |value| 0.0 + value)
    }

    fn add(&mut self, time: i64, numbers: impl Iterator<Item = f64>, keys: impl Iterator<Item = u64>) {
        let place = self.times.partition_point(|&other| other <= time);
        self.times.insert(place, time);
        self.numbers.iter_mut().zip(numbers).for_each(|(column, value)| column.insert(place, value));
        self.keys.iter_mut().zip(keys).for_each(|(column, key)| column.insert(place, key));
    }

    /// Drops events at or before the horizon, which no window can reach any more, and the oldest
    /// beyond the cap.
    fn let_go(&mut self, horizon: i64, cap: usize) {
        let expired = self.times.partition_point(|&other| other <= horizon);
        let beyond = self.times.len().saturating_sub(cap);
        let n = expired.max(beyond);
        if n == 0 {
            return;
        }
        let last = self.times[n - 1];
        self.gone = self.gone.max(Some(last));
        if beyond > expired {
            self.taken = self.taken.max(Some(last));
        }
        self.times.drain(..n);
        self.numbers.iter_mut().for_each(|column| drop(column.drain(..n)));
        self.keys.iter_mut().for_each(|column| drop(column.drain(..n)));
        if self.times.capacity() > 64 && self.times.capacity() > 4 * self.times.len() {
            self.times.shrink_to(2 * self.times.len());
            self.numbers.iter_mut().for_each(|column| column.shrink_to(2 * column.len()));
            self.keys.iter_mut().for_each(|column| column.shrink_to(2 * column.len()));
        }
    }
}
