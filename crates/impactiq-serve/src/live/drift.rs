//! How far scored rows have moved from the training rows, column by column.
//!
//! The test is [`impactiq_metrics::drift`]'s; here the model's profile becomes its references, and scored rows
//! its windows. Only counts are kept: memory is bounded and no value stays.

use std::sync::{Mutex, PoisonError};

use impactiq_data::{ColumnView, Table};
use impactiq_metrics::drift::{Cell, DriftMonitor, DriftReport};
use impactiq_score::drift::{cell, monitor, references};
use impactiq_score::profile::Profile;

use crate::live::tick::{ColumnDrift, DriftFigures};

/// Rows that must have come before anything is said.
pub const NEEDED: u64 = 500;
/// Rows of one request that are looked at; more would let one file speak for everybody.
const PER_REQUEST: usize = 1_000;
/// The window of a model.
#[derive(Debug)]
pub struct Drift {
    names: Vec<String>,
    monitor: Mutex<DriftMonitor>,
}

impl Drift {
    /// An empty window beside a profile; `None` when nothing of it can be compared.
    pub fn new(profile: &Profile) -> Option<Drift> {
        let references = references(profile);
        let names = references.iter().map(|reference| reference.name.clone()).collect();
        let monitor = monitor(references)?;
        Some(Drift { names, monitor: Mutex::new(monitor) })
    }

    /// Looks at rows in the model's raw types; rows that are not good stay out.
    pub fn observe(&self, rows: &Table, is_good: impl Fn(usize) -> bool) {
        let n_rows = rows.n_rows();
        let views: Vec<Option<ColumnView<'_>>> = self.names.iter().map(|name| rows.column(name).ok()).collect();
        let mut cells = Vec::with_capacity(views.len());
        let mut monitor = self.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        for row in (0..n_rows).step_by(n_rows.div_ceil(PER_REQUEST).max(1)).filter(|&row| is_good(row)) {
            cells.clear();
            cells.extend(views.iter().map(|view| view.map_or(Cell::Level(None), |view| cell(view, row))));
            // One cell per reference, by construction.
            let _ = monitor.observe(&cells);
        }
    }

    /// How far the columns have moved, the most moved first: in the last whole window, before there is one in the
    /// window that fills.
    pub fn figures(&self) -> DriftFigures {
        let monitor = self.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        let filling;
        let report = match monitor.last() {
            Some(report) => report,
            None => {
                filling = monitor.report();
                &filling
            }
        };
        DriftFigures { n_rows: report.n_rows, needed: NEEDED, columns: columns(report) }
    }
}

fn columns(report: &DriftReport) -> Vec<ColumnDrift> {
    if report.n_rows < NEEDED {
        return Vec::new();
    }
    let mut columns: Vec<ColumnDrift> = report
        .columns
        .iter()
        .map(|column| ColumnDrift { column: column.name.clone(), psi: column.psi, ks: column.ks, alarm: column.alarm })
        .collect();
    columns.sort_by(|a, b| b.alarm.cmp(&a.alarm).then(b.psi.total_cmp(&a.psi)));
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    use impactiq_data::{Column, Field, MISSING_LEVEL, RawType};
    use impactiq_score::drift::WINDOW;

    fn drift() -> Drift {
        let values: Vec<f64> = (0..5000).map(|i| if i % 10 == 0 { f64::NAN } else { f64::from(i % 100) }).collect();
        let codes: Vec<u32> = (0..5000).map(|i| if i % 50 == 0 { MISSING_LEVEL } else { i % 2 }).collect();
        let levels = ["a".to_owned(), "b".to_owned()];
        let x = Field { name: "x".into(), raw_type: RawType::Float64 };
        let city = Field { name: "city".into(), raw_type: RawType::Text };
        let views =
            [(&x, ColumnView::Number(&values)), (&city, ColumnView::Category { codes: &codes, levels: &levels })];
        Drift::new(&Profile::of(&views, &vec![true; 5000])).unwrap()
    }

    fn rows(n: u32, x: impl Fn(u32) -> f64, city: impl Fn(u32) -> u32) -> Table {
        let mut table = Table::new();
        table.push("x", Column::Number((0..n).map(x).collect())).unwrap();
        let levels = ["a", "b", "new"].map(str::to_owned).to_vec();
        table.push("city", Column::Category { codes: (0..n).map(city).collect(), levels }).unwrap();
        table
    }

    fn found(drift: &Drift, column: &str) -> ColumnDrift {
        drift.figures().columns.into_iter().find(|found| found.column == column).unwrap()
    }

    #[test]
    fn rows_like_those_of_training_are_calm_and_others_are_not() {
        let drift = drift();
        let same = rows(
            1000,
            |i| if i % 10 == 0 { f64::NAN } else { f64::from(i % 100) },
            |i| if i % 50 == 0 { MISSING_LEVEL } else { i % 2 },
        );
        drift.observe(&same, |_| true);
        assert!(["x", "city"].iter().all(|column| !found(&drift, column).alarm), "{:?}", drift.figures());
        let moved = rows(1000, |_| 70.0, |i| if i % 2 == 0 { 0 } else { 2 });
        for _ in 0..20 {
            drift.observe(&moved, |_| true);
        }
        assert_eq!(drift.figures().n_rows, WINDOW);
        assert!(["x", "city"].iter().all(|column| found(&drift, column).alarm && found(&drift, column).psi > 0.25));
    }

    #[test]
    fn nothing_is_said_before_enough_rows_came_and_bad_rows_do_not_count() {
        let drift = drift();
        let table = rows(499, |_| f64::NAN, |_| MISSING_LEVEL);
        drift.observe(&table, |_| true);
        drift.observe(&table, |_| false);
        assert_eq!((drift.figures().n_rows, drift.figures().columns.len()), (499, 0));
        drift.observe(&rows(1, |_| 1.0, |_| 0), |_| true);
        assert_eq!(drift.figures().columns.len(), 2);
        assert!(drift.figures().columns.iter().all(|column| column.psi.is_finite()));
        drift.observe(&Table::new(), |_| true);
    }
}
