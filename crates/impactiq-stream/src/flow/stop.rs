//! Telling a flow to stop: nothing more is read then, and what is under way gets some time.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::pause;
use crate::error::StreamError;
use crate::figures::Figures;
use crate::ledger::patience;

/// Whether, and since when, a flow is to stop.
#[derive(Debug)]
pub struct Stop {
    asked: Mutex<Option<Instant>>,
    drain: Duration,
    /// Before the flow begins nothing is under way, and nothing is waited for.
    has_begun: AtomicBool,
}

impl Stop {
    /// Not yet; once asked, what is under way gets `drain`.
    pub fn new(drain: Duration) -> Self {
        Stop { asked: Mutex::default(), drain, has_begun: AtomicBool::new(false) }
    }

    /// The flow begins: there will be something under way.
    pub(crate) fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
    }

    /// True while events flow.
    pub fn is_running(&self) -> bool {
        self.has_begun.load(Ordering::Acquire) && !self.is_asked()
    }

    /// Nothing more is read from now on.
    pub fn ask(&self) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
    }

    /// True from then on.
    pub fn is_asked(&self) -> bool {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// True when what is under way has had its time.
    pub fn has_run_out(&self) -> bool {
        let drain = if self.has_begun.load(Ordering::Acquire) { self.drain } else { Duration::ZERO };
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|since| since.elapsed() >= drain)
    }

    /// Does something until it works, as long as failures may pass and there is time.
    pub(crate) fn insist<T, F: Future<Output = Result<T, StreamError>>>(
        &self,
        handle: &Handle,
        figures: &Figures,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, StreamError> {
        let mut n_failures = 0;
        loop {
            match handle.block_on(attempt()) {
                Err(error) if error.is_passing() && !self.has_run_out() => {
                    self.wait(&error, &mut n_failures, figures);
                }
                done => return done,
            }
        }
    }

    /// Says that something failed, and waits a while.
    pub(crate) fn wait(&self, error: &StreamError, n_failures: &mut u32, figures: &Figures) {
        figures.failed(&error.to_string());
        // The first, and then about every half a minute.
        if n_failures.is_multiple_of(8) {
            tracing::warn!(%error, "it is tried again until it works");
        }
        // Any number that differs between members and attempts.
        let random = Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id()).wrapping_mul(7_919);
        pause(self, patience(*n_failures, random.wrapping_add(u64::from(*n_failures) * 331)));
        *n_failures += 1;
    }
}
