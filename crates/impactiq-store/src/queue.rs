//! What waits to be written: a bounded queue in memory, its names, and those who wait for an answer.
//!
//! Putting something in never waits for the database. What was taken out counts until it is
//! settled, so the bound holds for everything that is not written yet.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use crate::entry::{LoggedRequest, Recorded};
use crate::error::StoreError;

/// The answer a durable caller waits for.
pub(crate) type Answer = Result<Recorded, StoreError>;

/// A request that waits.
pub(crate) struct Waiting {
    pub request: Arc<LoggedRequest>,
    /// Somebody waits for the commit.
    pub reply: Option<oneshot::Sender<Answer>>,
}

/// Why a request was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    Full { queued: usize },
    Closed,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Rows waiting or being written.
    n_rows: usize,
    /// Rows waiting.
    n_waiting_rows: usize,
    /// How many of the waiting have somebody who waits for them.
    n_replies: usize,
    /// Requests that wait or are being written, by name.
    names: HashMap<String, Arc<LoggedRequest>>,
    closing: bool,
}

/// The queue.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Something arrived, or the queue closes.
    arrived: Notify,
    limit: usize,
    batch_rows: usize,
}

impl Queue {
    pub fn new(limit: usize, batch_rows: usize) -> Self {
        Queue { state: Mutex::default(), arrived: Notify::new(), limit, batch_rows }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything in it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request in. One that is larger than the whole queue is taken when nothing else waits.
    pub fn put(&self, request: Arc<LoggedRequest>, reply: Option<oneshot::Sender<Answer>>) -> Result<(), Rejected> {
        let weight = request.weight();
        {
            let mut state = self.state();
            if state.closing {
                return Err(Rejected::Closed);
            }
            if state.n_rows > 0 && state.n_rows + weight > self.limit {
                return Err(Rejected::Full { queued: state.n_rows });
            }
            state.n_rows += weight;
            state.n_waiting_rows += weight;
            state.n_replies += usize::from(reply.is_some());
            if let Some(name) = &request.request_id
                && !state.names.contains_key(name)
            {
                state.names.insert(name.clone(), Arc::clone(&request));
            }
            state.waiting.push_back(Waiting { request, reply });
        }
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes the next batch; `None` when the queue is closed and empty.
    ///
    /// Where nobody waits for an answer, it gathers for `wait`, or until a batch is full.
    pub async fn take(&self, wait: Duration) -> Option<Vec<Waiting>> {
        let mut gather_until = None;
        loop {
            {
                let mut state = self.state();
                let enough = state.closing || state.n_replies > 0 || state.n_waiting_rows >= self.batch_rows;
                let gathered = gather_until.is_some_and(|until| tokio::time::Instant::now() >= until);
                if !state.waiting.is_empty() && (enough || gathered || wait.is_zero()) {
                    return Some(self.next_batch(&mut state));
                }
                if state.waiting.is_empty() && state.closing {
                    return None;
                }
                if !state.waiting.is_empty() && gather_until.is_none() {
                    gather_until = Some(tokio::time::Instant::now() + wait);
                }
            }
            match gather_until {
                None => self.arrived.notified().await,
                Some(until) => {
                    let _ = tokio::time::timeout_at(until, self.arrived.notified()).await;
                }
            }
        }
    }

    fn next_batch(&self, state: &mut State) -> Vec<Waiting> {
        let mut batch = Vec::new();
        let mut n_rows = 0;
        while let Some(next) = state.waiting.front() {
            let weight = next.request.weight();
            if !batch.is_empty() && n_rows + weight > self.batch_rows {
                break;
            }
            n_rows += weight;
            batch.extend(state.waiting.pop_front());
        }
        state.n_waiting_rows -= n_rows;
        state.n_replies -= batch.iter().filter(|waiting| waiting.reply.is_some()).count();
        batch
    }

    /// Forgets a request that is written, lost or refused.
    pub fn settle(&self, request: &Arc<LoggedRequest>) {
        let mut state = self.state();
        state.n_rows -= request.weight();
        if let Some(name) = &request.request_id
            && state.names.get(name).is_some_and(|first| Arc::ptr_eq(first, request))
        {
            state.names.remove(name);
        }
    }

    /// A request that is not written yet, by name.
    pub fn find(&self, request_id: &str) -> Option<Arc<LoggedRequest>> {
        self.state().names.get(request_id).map(Arc::clone)
    }

    /// Rows that are not written yet.
    pub fn n_rows(&self) -> usize {
        self.state().n_rows
    }

    /// Takes nothing more; what waits can still be taken out.
    pub fn close(&self) {
        self.state().closing = true;
        self.arrived.notify_one();
    }

    /// True once [`Queue::close`] was called.
    pub fn is_closing(&self) -> bool {
        self.state().closing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Door, LoggedRow};

    fn request(name: &str, n_rows: u32) -> Arc<LoggedRequest> {
        let row = |row| LoggedRow { row, id: None, scores: "{}".into(), error: false };
        Arc::new(LoggedRequest {
            request_id: Some(name.into()),
            body_sha256: None,
            received_at: 0,
            model_name: "m".into(),
            model_id: "1".into(),
            door: Door::Score,
            rows: (0..n_rows).map(row).collect(),
        })
    }

    #[tokio::test]
    async fn rows_count_until_they_are_settled() {
        let queue = Queue::new(10, 4);
        for name in ["a", "b", "c"] {
            queue.put(request(name, 3), None).unwrap();
        }
        assert_eq!(queue.put(request("d", 2), None), Err(Rejected::Full { queued: 9 }));
        let batch = queue.take(Duration::ZERO).await.unwrap();
        assert_eq!(batch.len(), 1, "two of them are more than a batch");
        assert_eq!(queue.n_rows(), 9);
        assert!(queue.find("a").is_some());
        queue.settle(&batch[0].request);
        assert_eq!(queue.n_rows(), 6);
        assert!(queue.find("a").is_none());
        queue.put(request("d", 2), None).unwrap();
    }

    #[tokio::test]
    async fn a_closed_queue_gives_out_what_it_has_and_takes_nothing() {
        let queue = Queue::new(10, 4);
        queue.put(request("a", 1), None).unwrap();
        queue.close();
        assert_eq!(queue.put(request("b", 1), None), Err(Rejected::Closed));
        assert_eq!(queue.take(Duration::from_secs(60)).await.unwrap().len(), 1);
        assert!(queue.take(Duration::from_secs(60)).await.is_none());
    }

    #[tokio::test]
    async fn a_request_larger_than_the_queue_is_taken_when_nothing_else_waits() {
        let queue = Queue::new(10, 4);
        queue.put(request("large", 50), None).unwrap();
        assert_eq!(queue.put(request("b", 1), None), Err(Rejected::Full { queued: 50 }));
        assert_eq!(queue.take(Duration::ZERO).await.unwrap()[0].request.rows.len(), 50);
    }
}
