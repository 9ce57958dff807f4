//! Columns watched window by window: counts only, a verdict at the end of each window.

use serde::{Deserialize, Serialize};

use super::reference::Reference;
use crate::error::{MetricsError, same_length};

/// When drift is worth an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriftConfig {
    /// Rows of a window.
    pub window_rows: u64,
    /// Chance that a window without drift gives any alarm, all columns and both tests together
    /// (Bonferroni).
    pub false_alarms: f64,
    /// No alarm below this stability index, however sure the difference.
    pub psi_min: f64,
    /// No alarm below this Kolmogorov-Smirnov distance.
    pub ks_min: f64,
}

impl Default for DriftConfig {
    fn default() -> Self {
        DriftConfig { window_rows: 2_000, false_alarms: 0.001, psi_min: 0.02, ks_min: 0.05 }
    }
}

/// One cell of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// A number; NaN is missing.
    Number(f64),
    /// A category, `None` when missing.
    Level(Option<&'a str>),
}

/// What a window showed of one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnDrift {
    /// The column.
    pub name: String,
    /// Population stability index.
    pub psi: f64,
    /// Chance of a larger one without drift.
    pub psi_p: f64,
    /// Kolmogorov-Smirnov distance; none for categories.
    pub ks: Option<f64>,
    /// Chance of a larger one without drift.
    pub ks_p: Option<f64>,
    /// Sure and large enough to tell somebody.
    pub alarm: bool,
}

/// What a window showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// Number of the window, from 0.
    pub window: u64,
    /// Rows of it.
    pub n_rows: u64,
    /// Columns in the references' order.
    pub columns: Vec<ColumnDrift>,
}

impl DriftReport {
    /// True where any column gives an alarm.
    pub fn alarm(&self) -> bool {
        self.columns.iter().any(|column| column.alarm)
    }
}

/// The state: counts of the window that is filling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftMonitor {
    config: DriftConfig,
    references: Vec<Reference>,
    counts: Vec<Vec<u64>>,
    n_rows: u64,
    window: u64,
    last: Option<DriftReport>,
}

impl DriftMonitor {
    /// An empty first window beside the training rows.
    ///
    /// # Errors
    /// [`MetricsError::BadSetting`] for a window below 200 rows (the chi-square behind the index is
    /// not to be trusted there) or a chance outside (0, 1).
    pub fn new(config: DriftConfig, references: Vec<Reference>) -> Result<Self, MetricsError> {
        let bad = |what, value: String, allowed| Err(MetricsError::BadSetting { what, value, allowed });
        if config.window_rows < 200 {
            return bad("window_rows", config.window_rows.to_string(), "a window needs at least 200 rows");
        }
        if !(config.false_alarms > 0.0 && config.false_alarms < 1.0) {
            return bad("false_alarms", config.false_alarms.to_string(), "it must lie between 0 and 1");
        }
        let counts = references.iter().map(|reference| vec![0; reference.n_bins()]).collect();
        Ok(DriftMonitor { config, references, counts, n_rows: 0, window: 0, last: None })
    }

    /// Adds a row, one cell per reference; the report of the window it completes.
    ///
    /// # Errors
    /// [`MetricsError::Length`] for another number of cells.
    pub fn observe(&mut self, row: &[Cell<'_>]) -> Result<Option<&DriftReport>, MetricsError> {
        same_length("cells of a row", self.references.len(), row.len())?;
        for ((reference, counts), cell) in self.references.iter().zip(&mut self.counts).zip(row) {
            let bin = match *cell {
                Cell::Number(value) => reference.bin_of_number(value),
                Cell::Level(value) => reference.bin_of_level(value),
            };
            counts[bin] += 1;
        }
        self.n_rows += 1;
        if self.n_rows < self.config.window_rows {
            return Ok(None);
        }
        self.last = Some(self.report());
        self.counts.iter_mut().for_each(|counts| counts.fill(0));
        self.n_rows = 0;
        self.window += 1;
        Ok(self.last.as_ref())
    }

    /// The last complete window.
    pub fn last(&self) -> Option<&DriftReport> {
        self.last.as_ref()
    }

    /// The window that is filling, as far as it is; with few rows nothing is sure.
    pub fn report(&self) -> DriftReport {
        let n_tests: usize = self.references.iter().map(|reference| 1 + usize::from(reference.is_number())).sum();
        let limit = self.config.false_alarms / n_tests.max(1) as f64;
        let columns = self.references.iter().zip(&self.counts).map(|(reference, counts)| {
            let (psi, psi_p) = reference.stability(counts);
            let distance = reference.distance(counts);
            let (ks, ks_p) = (distance.map(|found| found.0), distance.map(|found| found.1));
            let by_index = psi_p < limit && psi >= self.config.psi_min;
            let by_distance = distance.is_some_and(|(ks, p)| p < limit && ks >= self.config.ks_min);
            ColumnDrift { name: reference.name.clone(), psi, psi_p, ks, ks_p, alarm: by_index || by_distance }
        });
        DriftReport { window: self.window, n_rows: self.n_rows, columns: columns.collect() }
    }
}

#[cfg(test)]
mod tests {
    use impactiq_data::Seed;

    use super::*;

    fn monitor(window_rows: u64) -> DriftMonitor {
        let training: Vec<f64> = (0..50_000).map(|row| Seed::new(1).uniform(row)).collect();
        let levels = [("a".to_owned(), 0.5), ("b".to_owned(), 0.5)];
        let references = vec![
            Reference::of_values("x", &training).unwrap(),
            Reference::categories("c", &levels, 0.0, 0.0, 50_000).unwrap(),
        ];
        DriftMonitor::new(DriftConfig { window_rows, ..DriftConfig::default() }, references).unwrap()
    }

    #[test]
    fn windows_without_drift_are_quiet_and_a_shift_is_told_by_name() {
        let mut monitor = monitor(500);
        let mut alarms = 0;
        for row in 0..100_000u64 {
            let x = Seed::new(2).uniform(row);
            let level = if Seed::new(3).uniform(row) < 0.5 { "a" } else { "b" };
            let report = monitor.observe(&[Cell::Number(x), Cell::Level(Some(level))]).unwrap();
            alarms += u32::from(report.is_some_and(DriftReport::alarm));
        }
        assert!(alarms <= 2, "{alarms} of 200 windows");
        let mut found = None;
        for row in 0..500u64 {
            let x = Seed::new(4).uniform(row);
            found = monitor.observe(&[Cell::Number(x), Cell::Level(Some("new"))]).unwrap().cloned();
        }
        let found = found.unwrap();
        assert_eq!(found.columns.iter().map(|column| column.alarm).collect::<Vec<_>>(), [false, true], "{found:?}");
        assert_eq!(monitor.last(), Some(&found));
    }

    #[test]
    fn the_state_comes_back_from_text_and_rows_must_fit() {
        let mut monitor = monitor(200);
        monitor.observe(&[Cell::Number(0.5), Cell::Level(None)]).unwrap();
        let text = serde_json::to_string(&monitor).unwrap();
        assert_eq!(serde_json::from_str::<DriftMonitor>(&text).unwrap(), monitor);
        assert!(monitor.observe(&[Cell::Number(0.5)]).is_err());
        assert!(DriftMonitor::new(DriftConfig { window_rows: 10, ..DriftConfig::default() }, vec![]).is_err());
    }
}
