//! Progress, stop and time budget, seen from inside a computation.
//!
//! Long work calls [`Watch::progress`] now and then and asks [`Watch::should_stop`]
//! at points where stopping leaves something usable or nothing at all. Clocks, bars
//! and signals live with whoever implements the trait, never here.

/// Somebody who watches a long computation.
pub trait Watch: Sync {
    /// Says that `done` of `total` units of `stage` are finished.
    fn progress(&self, stage: &str, done: u64, total: u64) {
        let _ = (stage, done, total);
    }

    /// True once the work should end: the user interrupted it or its time is used up.
    fn should_stop(&self) -> bool {
        false
    }

    /// True once a search should make do with what it has: the time for trying is used up, that
    /// for finishing is not.
    fn should_hurry(&self) -> bool {
        false
    }

    /// Seconds since some beginning, for searches with a budget of their own; `None` where there is
    /// no clock.
    fn seconds(&self) -> Option<f64> {
        None
    }
}

/// Nobody watches; the work runs to its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Watch for Silent {}
