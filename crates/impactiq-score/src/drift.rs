//! What scored rows are compared with to see whether they drift: a model's profile as references of
//! `impactiq_metrics::drift`, and cells of rows as it reads them.
//!
//! Server and stream watch with the same windows. What must not live here: which rows are looked at.

use impactiq_data::{ColumnView, MISSING_LEVEL};
use impactiq_metrics::drift::{Cell, DriftConfig, DriftMonitor, Reference};

use crate::profile::{ColumnProfile, Profile};

/// Rows of a window.
pub const WINDOW: u64 = 10_000;
/// Chance of an alarm in a window that did not drift: one in a million windows. A busy server fills one every
/// second, which makes one false alarm in some ten days.
const FALSE_ALARMS: f64 = 1e-6;

/// Columns that can be compared; one whose summary says too little is left out.
pub fn references(profile: &Profile) -> Vec<Reference> {
    let of = |column: &ColumnProfile| match column {
        ColumnProfile::Number(column) | ColumnProfile::Time(column) => {
            Reference::numbers(column.name.as_str(), &column.edges, column.missing, profile.n_rows)
        }
        ColumnProfile::Category(column) => {
            let levels: Vec<(String, f64)> =
                column.levels.iter().map(|level| (level.value.clone(), level.share)).collect();
            Reference::categories(column.name.as_str(), &levels, column.other, column.missing, profile.n_rows)
        }
    };
    profile.columns.iter().filter_map(|column| of(column).ok()).collect()
}

/// An empty window beside its references; `None` where there is nothing to compare.
pub fn monitor(references: Vec<Reference>) -> Option<DriftMonitor> {
    let config = DriftConfig { window_rows: WINDOW, false_alarms: FALSE_ALARMS, ..DriftConfig::default() };
    if references.is_empty() { None } else { DriftMonitor::new(config, references).ok() }
}

/// A row's cell in a column.
pub fn cell<'a>(view: ColumnView<'a>, row: usize) -> Cell<'a> {
    match view {
        ColumnView::Number(values) => Cell::Number(values[row]),
        ColumnView::Category { codes, levels } => {
            let code = codes[row];
            Cell::Level(if code == MISSING_LEVEL { None } else { levels.get(code as usize).map(String::as_str) })
        }
    }
}
