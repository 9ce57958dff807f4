//! What a process costs, from /proc: CPU seconds, memory, open files. Linux only; elsewhere nothing is known.

use std::fs;

/// A moment of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// User and system seconds so far.
    pub cpu_seconds: f64,
    /// Resident bytes now.
    pub resident: f64,
    /// Resident bytes at the most.
    pub peak: f64,
    /// Open file descriptors.
    pub descriptors: f64,
}

impl Cost {
    /// Of a process, without those it started; zeros where it is not there.
    pub fn of(id: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let fields: Vec<f64> = stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .map(|field| field.parse().unwrap_or(0.0))
            .collect();
        let ticks = |at: usize| fields.get(at).copied().unwrap_or(0.0);
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
        };
        Cost {
            cpu_seconds: (ticks(11) + ticks(12)) / 100.0,
            resident: kilobytes("VmRSS:"),
            peak: kilobytes("VmHWM:"),
            descriptors: fs::read_dir(format!("/proc/{id}/fd")).map_or(0.0, |files| files.count() as f64),
        }
    }
}

/// Slope of a least-squares line, per unit of x.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len().max(1) as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
    let (xy, xx) = points
        .iter()
        .fold((0.0, 0.0), |(xy, xx), point| (xy + (point.0 - x) * (point.1 - y), xx + (point.0 - x).powi(2)));
    if xx > 0.0 { xy / xx } else { 0.0 }
}
