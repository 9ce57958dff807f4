//! Whether there is more to do than can be done: how long work waits for its turn, and how many requests are turned
//! away for it.
//!
//! Requests that wait in their connections are not seen by anybody. But whatever waits makes everything wait, so a
//! task that does nothing is put in line behind them, and the time until its turn is how long a request waits before it
//! is looked at. A single stall is no queue, so the smallest delay of a while counts (the idea of CoDel, Nichols and
//! Jacobson 2012), and the share that is turned away follows it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Between looks at the line while requests come.
const PULSE: Duration = Duration::from_millis(5);
/// The same while none come.
const QUIET_PULSE: Duration = Duration::from_millis(100);
/// Looks that make a while.
const LOOKS: u32 = 10;
/// A while in which everything was later than this has a queue.
const LATE: Duration = Duration::from_millis(4);
/// Shares are counted in so many parts.
const WHOLE: u32 = 1 << 16;
/// Some are let in whatever happens: a server that answers nobody would never learn that it could.
const MOST: f64 = 0.95;

/// What requests ask before anything is done for them.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    /// Share of the requests to turn away.
    share: AtomicU32,
    /// Adds the share up, request by request: whoever makes it whole is turned away.
    sum: AtomicU32,
    asked: AtomicBool,
}

impl Pressure {
    /// True when this request is to come again later.
    pub fn turns_away(&self) -> bool {
        if !self.asked.load(Ordering::Relaxed) {
            self.asked.store(true, Ordering::Relaxed);
        }
        let share = self.share.load(Ordering::Relaxed);
        if share == 0 {
            return false;
        }
        let before = self.sum.fetch_add(share, Ordering::Relaxed);
        before / WHOLE != before.wrapping_add(share) / WHOLE
    }

    fn set(&self, share: f64) {
        self.share.store((share * f64::from(WHOLE)) as u32, Ordering::Relaxed);
    }
}

/// Follows the delays of the server.
#[derive(Debug)]
pub(crate) struct Governor {
    share: f64,
    looks: u32,
    least: Duration,
}

impl Governor {
    pub fn new() -> Self {
        Governor { share: 0.0, looks: 0, least: Duration::MAX }
    }

    /// Takes one more delay into account; the share after it.
    pub fn observe(&mut self, late: Duration) -> f64 {
        self.least = self.least.min(late);
        self.looks += 1;
        if self.looks == LOOKS {
            // A queue twice as long as it may be asks for a quarter more to go; without one, a tenth of those come back.
            let over = self.least.as_secs_f64() / LATE.as_secs_f64() - 1.0;
            let step = if over > 0.0 { (0.25 * over).min(0.25) } else { -0.1 };
            self.share = (self.share + step).clamp(0.0, MOST);
            (self.looks, self.least) = (0, Duration::MAX);
        }
        self.share
    }
}

/// How long a task waits for its turn now.
async fn wait_in_line() -> Duration {
    let began = Instant::now();
    let probe = tokio::spawn(async move { began.elapsed() });
    // The newest task of a worker may go before all others; this one takes that place from the probe.
    drop(tokio::spawn(async {}));
    // A probe cannot panic, and is aborted only when everything is.
    probe.await.unwrap_or_default()
}

/// Looks at the line for as long as it is polled.
pub(crate) async fn watch(pressure: &Pressure) {
    let mut governor = Governor::new();
    loop {
        let is_quiet = !pressure.asked.swap(false, Ordering::Relaxed) && governor.share == 0.0;
        tokio::time::sleep(if is_quiet { QUIET_PULSE } else { PULSE }).await;
        pressure.set(governor.observe(wait_in_line().await));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(governor: &mut Governor, delays: impl IntoIterator<Item = u64>) -> f64 {
        delays.into_iter().map(|ms| governor.observe(Duration::from_millis(ms))).last().unwrap()
    }

    #[test]
    fn a_stall_turns_nobody_away_and_a_queue_does_until_it_is_gone() {
        let mut governor = Governor::new();
        assert_eq!(after(&mut governor, [200, 0, 30, 90, 0, 1, 5, 60, 70, 80]), 0.0, "one look was in time");
        let queued = after(&mut governor, [12; 10]);
        assert!(queued > 0.0);
        let longer = after(&mut governor, [40; 100]);
        assert!(longer > queued && longer <= MOST, "some are always let in: {longer}");
        assert_eq!(after(&mut governor, [0; 100]), 0.0);
    }

    #[test]
    fn the_share_asked_for_is_turned_away() {
        let pressure = Pressure::default();
        assert!(!pressure.turns_away());
        for share in [0.25, 0.5, 0.9] {
            pressure.set(share);
            let away = (0..10_000).filter(|_| pressure.turns_away()).count() as f64;
            assert!((away / 10_000.0 - share).abs() < 0.001, "{share}: {away}");
        }
        pressure.set(0.0);
        assert!(!(0..100).any(|_| pressure.turns_away()));
    }
}
