//! Scored events that wait for their outcome, and outcomes that came before their event.
//!
//! An event's window is [its time, its time + window]; an outcome in it may arrive until
//! `grace` after it closed. The first outcome of an id is the one that counts. Ids of closed
//! events are remembered for another window, to tell late outcomes from unknown ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// An event that was scored and assigned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredEvent {
    /// Tells events apart; outcomes name it.
    pub id: String,
    /// When, in microseconds since 1970.
    pub time: i64,
    /// The model that scored it.
    pub model: String,
    /// Its score: the predicted effect.
    pub score: f64,
    /// In the arm, or in control?
    pub treated: bool,
    /// How likely it was to be treated.
    pub assignment_probability: f64,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The event's id.
    pub id: String,
    /// The outcome.
    pub value: f64,
    /// When, in microseconds since 1970.
    pub time: i64,
}

/// What happened to events and outcomes on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinCounts {
    /// Events that came.
    pub n_events: u64,
    /// Events with an id that was there before: ignored.
    pub n_duplicate_events: u64,
    /// Events ignored because too many were waiting.
    pub n_events_without_room: u64,
    /// Events whose window has closed: they are in the estimates.
    pub n_closed: u64,
    /// Closed events with an outcome.
    pub n_with_outcome: u64,
    /// Outcomes that came.
    pub n_outcomes: u64,
    /// Outcomes of an event that had one: ignored.
    pub n_duplicate_outcomes: u64,
    /// Outcomes outside their event's window, or after it closed: ignored.
    pub n_late_outcomes: u64,
    /// Outcomes from before their event: ignored.
    pub n_early_outcomes: u64,
    /// Outcomes whose event never came: ignored.
    pub n_unknown_outcomes: u64,
}

/// An event whose window has closed, with its outcome if there was one.
pub(super) type Closed = (ScoredEvent, Option<f64>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Waiting {
    event: ScoredEvent,
    outcome: Option<f64>,
}

/// The join. Ordered maps, so that the same history gives the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Join {
    window: i64,
    grace: i64,
    most_waiting: usize,
    waiting: BTreeMap<String, Waiting>,
    /// (time it closes, id).
    closing: BTreeSet<(i64, String)>,
    /// Outcomes without an event so far, with the time they are forgotten.
    orphans: BTreeMap<String, (i64, Outcome)>,
    /// Ids of closed events, with the time they are forgotten.
    closed: BTreeMap<String, i64>,
    /// (time, id) of both. An orphan whose event came leaves its entry behind, which then means
    /// nothing: only an entry with the right time counts.
    forgetting: BTreeSet<(i64, String)>,
    /// The latest time that was told.
    now: i64,
    pub counts: JoinCounts,
}

impl Join {
    pub fn new(window: i64, grace: i64, most_waiting: usize) -> Self {
        Join {
            window,
            grace,
            most_waiting,
            waiting: BTreeMap::new(),
            closing: BTreeSet::new(),
            orphans: BTreeMap::new(),
            closed: BTreeMap::new(),
            forgetting: BTreeSet::new(),
            now: i64::MIN,
            counts: JoinCounts::default(),
        }
    }

    /// Events that wait.
    pub fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes an event; false where it is ignored.
    pub fn event(&mut self, event: ScoredEvent) -> bool {
        self.counts.n_events += 1;
        if self.waiting.contains_key(&event.id) || self.closed.contains_key(&event.id) {
            self.counts.n_duplicate_events += 1;
            return false;
        }
        // Whether there is room does not depend on the outcome, so nothing is biased.
        if self.waiting.len() >= self.most_waiting {
            self.counts.n_events_without_room += 1;
            return false;
        }
        let closes = event.time.saturating_add(self.window).saturating_add(self.grace);
        let id = event.id.clone();
        self.closing.insert((closes, id.clone()));
        self.waiting.insert(id.clone(), Waiting { event, outcome: None });
        if let Some((_, outcome)) = self.orphans.remove(&id) {
            self.join(outcome);
        }
        true
    }

    /// Takes an outcome.
    pub fn outcome(&mut self, outcome: Outcome) {
        self.counts.n_outcomes += 1;
        if self.waiting.contains_key(&outcome.id) {
            self.join(outcome);
        } else if self.closed.contains_key(&outcome.id) {
            self.counts.n_late_outcomes += 1;
        } else if self.orphans.contains_key(&outcome.id) {
            self.counts.n_duplicate_outcomes += 1;
        } else if self.orphans.len() >= self.most_waiting {
            self.counts.n_unknown_outcomes += 1;
        } else {
            let forget = outcome.time.max(self.now).saturating_add(self.window).saturating_add(self.grace);
            self.forgetting.insert((forget, outcome.id.clone()));
            self.orphans.insert(outcome.id.clone(), (forget, outcome));
        }
    }

    /// Puts an outcome beside its event, which is waiting.
    fn join(&mut self, outcome: Outcome) {
        let Some(waiting) = self.waiting.get_mut(&outcome.id) else { return };
        let age = outcome.time.saturating_sub(waiting.event.time);
        if age < 0 {
            self.counts.n_early_outcomes += 1;
        } else if age > self.window {
            self.counts.n_late_outcomes += 1;
        } else if waiting.outcome.is_some() {
            self.counts.n_duplicate_outcomes += 1;
        } else {
            waiting.outcome = Some(outcome.value);
        }
    }

    /// Tells the time; gives the events that closed by then, by the time they closed and id.
    pub fn advance(&mut self, now: i64) -> Vec<Closed> {
        self.now = self.now.max(now);
        let mut closed = Vec::new();
        while self.closing.first().is_some_and(|(closes, _)| *closes <= self.now) {
            let Some((closes, id)) = self.closing.pop_first() else { break };
            let Some(waiting) = self.waiting.remove(&id) else { continue };
            let forget = closes.saturating_add(self.window).saturating_add(self.grace);
            self.forgetting.insert((forget, id.clone()));
            self.closed.insert(id, forget);
            self.counts.n_closed += 1;
            self.counts.n_with_outcome += u64::from(waiting.outcome.is_some());
            closed.push((waiting.event, waiting.outcome));
        }
        while self.forgetting.first().is_some_and(|(forget, _)| *forget <= self.now) {
            let Some((forget, id)) = self.forgetting.pop_first() else { break };
            if self.orphans.get(&id).is_some_and(|orphan| orphan.0 == forget) {
                self.orphans.remove(&id);
                self.counts.n_unknown_outcomes += 1;
            }
            if self.closed.get(&id) == Some(&forget) {
                self.closed.remove(&id);
            }
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, time: i64) -> ScoredEvent {
        let model = "m".to_owned();
        ScoredEvent { id: id.into(), time, model, score: 0.1, treated: true, assignment_probability: 0.5 }
    }

    fn outcome(id: &str, time: i64) -> Outcome {
        Outcome { id: id.into(), value: 1.0, time }
    }

    #[test]
    fn an_event_counts_once_its_window_has_closed_with_its_first_outcome() {
        let mut join = Join::new(100, 10, 1_000);
        assert!(join.event(event("a", 0)) && join.event(event("b", 5)));
        join.outcome(Outcome { value: 7.0, ..outcome("a", 50) });
        join.outcome(Outcome { value: 8.0, ..outcome("a", 60) });
        assert!(join.advance(109).is_empty());
        let closed = join.advance(110);
        assert_eq!(closed, [(event("a", 0), Some(7.0))]);
        assert_eq!(join.advance(115), [(event("b", 5), None)]);
        assert_eq!((join.counts.n_closed, join.counts.n_with_outcome, join.counts.n_duplicate_outcomes), (2, 1, 1));
    }

    #[test]
    fn what_comes_late_early_twice_or_for_nobody_is_counted_and_ignored() {
        let mut join = Join::new(100, 10, 1_000);
        join.event(event("a", 50));
        assert!(!join.event(event("a", 60)));
        join.outcome(outcome("a", 49));
        join.outcome(outcome("a", 151));
        assert_eq!(join.advance(160).len(), 1);
        join.outcome(outcome("a", 100));
        assert!(!join.event(event("a", 200)));
        join.outcome(outcome("nobody", 160));
        assert_eq!(join.counts.n_unknown_outcomes, 0);
        join.advance(1_000);
        let counts = join.counts;
        assert_eq!((counts.n_early_outcomes, counts.n_late_outcomes, counts.n_unknown_outcomes), (1, 2, 1));
        assert_eq!((counts.n_duplicate_events, counts.n_outcomes, counts.n_with_outcome), (2, 4, 0));
        assert_eq!((join.n_waiting(), join.orphans.len(), join.closed.len(), join.forgetting.len()), (0, 0, 0, 0));
    }

    #[test]
    fn an_outcome_may_come_before_its_event_and_leaves_nothing_behind() {
        let mut join = Join::new(100, 10, 1_000);
        join.outcome(outcome("a", 20));
        join.event(event("a", 10));
        assert_eq!(join.advance(120), [(event("a", 10), Some(1.0))]);
        // The orphan would have been forgotten at 130; the closed id stays until 230.
        join.advance(150);
        assert!(!join.event(event("a", 10)));
        join.advance(230);
        assert!(join.closed.is_empty() && join.forgetting.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let mut join = Join::new(100, 10, 2);
        assert!(join.event(event("a", 0)) && join.event(event("b", 0)) && !join.event(event("c", 0)));
        (0..5).for_each(|id| join.outcome(outcome(&format!("x{id}"), 0)));
        assert_eq!((join.orphans.len(), join.counts.n_events_without_room, join.counts.n_unknown_outcomes), (2, 1, 3));
    }
}
