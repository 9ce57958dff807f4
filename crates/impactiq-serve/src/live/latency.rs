//! How long answers took lately: a histogram of each of the last ten seconds, without locks
//! where requests write.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Buckets grow by a tenth from a hundredth of a millisecond: 180 of them reach five minutes.
const N_BUCKETS: usize = 180;
const FIRST: f64 = 1e-5;
const GROWTH: f64 = 1.1;
const SECONDS: usize = 10;

/// The current second, shared with those who write.
#[derive(Debug)]
pub(crate) struct LatencyNow(Vec<AtomicU32>);

impl LatencyNow {
    pub fn new() -> Self {
        LatencyNow((0..N_BUCKETS).map(|_| AtomicU32::new(0)).collect())
    }

    /// Counts one answer.
    pub fn observe(&self, took: Duration) {
        let steps = (took.as_secs_f64() / FIRST).max(1.0).ln() / GROWTH.ln();
        self.0[(steps as usize).min(N_BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    fn take(&self) -> [u32; N_BUCKETS] {
        std::array::from_fn(|index| self.0[index].swap(0, Ordering::Relaxed))
    }
}

/// The last ten seconds.
#[derive(Debug, Default)]
pub(crate) struct LatencyWindow {
    seconds: Vec<[u32; N_BUCKETS]>,
    next: usize,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Percentiles {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

impl LatencyWindow {
    /// Ends a second and tells the percentiles of the last ten.
    pub fn turn(&mut self, now: &LatencyNow) -> Percentiles {
        let second = now.take();
        if self.seconds.len() < SECONDS {
            self.seconds.push(second);
        } else {
            self.seconds[self.next] = second;
        }
        self.next = (self.next + 1) % SECONDS;
        let sums: [u64; N_BUCKETS] =
            std::array::from_fn(|bucket| self.seconds.iter().map(|second| u64::from(second[bucket])).sum());
        let total: u64 = sums.iter().sum();
        let percentile = |share: f64| {
            let wanted = (total as f64 * share).ceil() as u64;
            let mut seen = 0;
            let bucket = sums.iter().position(|&count| {
                seen += count;
                seen >= wanted
            });
            // The middle of the bucket: at most a twentieth off.
            bucket.filter(|_| total > 0).map(|bucket| 1e3 * FIRST * GROWTH.powf(bucket as f64 + 0.5))
        };
        Percentiles { p50: percentile(0.5), p95: percentile(0.95), p99: percentile(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_tenth_and_forget_after_ten_seconds() {
        let now = LatencyNow::new();
        let mut window = LatencyWindow::default();
        assert_eq!(window.turn(&now), Percentiles::default());
        for millisecond in 1..=100 {
            now.observe(Duration::from_millis(millisecond));
        }
        now.observe(Duration::ZERO);
        now.observe(Duration::from_secs(9_999));
        let close = |found: Option<f64>, wanted: f64| (found.unwrap() / wanted - 1.0).abs() < 0.1;
        let found = window.turn(&now);
        assert!(close(found.p50, 50.0) && close(found.p95, 96.0) && close(found.p99, 100.0), "{found:?}");
        for _ in 0..SECONDS - 1 {
            assert!(window.turn(&now).p50.is_some());
        }
        assert_eq!(window.turn(&now), Percentiles::default());
    }
}
