//! How far events and their scores have moved from the rows of the training. The test is `impactiq_metrics::drift`'s;
//! here a model's profile and held-out ranking become its references, and events its windows.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use impactiq_data::ColumnView;
use impactiq_io::to_table;
use impactiq_metrics::drift::{Cell, DriftMonitor, DriftReport, Reference};
use impactiq_score::drift::{cell, monitor, references};
use serde_json::Value;

use crate::model::StreamModel;

/// Events of a batch that are looked at.
const PER_BATCH: usize = 500;

/// The window of a model.
#[derive(Debug)]
pub(crate) struct Drift {
    model: String,
    /// Raw columns, in the references' order; the score, where there is one, comes last.
    names: Vec<String>,
    has_score: bool,
    monitor: DriftMonitor,
}

impl Drift {
    /// An empty window; `None` where nothing of the model can be compared.
    pub fn of(model: &StreamModel) -> Option<Drift> {
        let reports = model.reports.as_ref()?;
        let columns = reports.profile.as_ref().map(references).unwrap_or_default();
        let names: Vec<String> = columns.iter().map(|reference| reference.name.clone()).collect();
        let score = model
            .effect
            .map(|place| model.scorer.columns()[place].name.clone())
            .zip(reports.evaluation.as_ref())
            .and_then(|(name, evaluation)| score_reference(&name, evaluation));
        let has_score = score.is_some();
        let monitor = monitor(columns.into_iter().chain(score).collect())?;
        Some(Drift { model: model.id().to_owned(), names, has_score, monitor })
    }

    /// True for the model whose window it is.
    pub fn is_of(&self, model: &StreamModel) -> bool {
        self.model == model.id()
    }

    /// Looks at some events of a batch.
    pub fn observe(&mut self, rows: &RecordBatch, scores: &RecordBatch, effect: Option<usize>, is_good: &[bool]) {
        let n_rows = rows.num_rows().min(PER_BATCH);
        // A batch that was scored has these columns; a table that cannot be made is one batch that is not looked at.
        let Ok(table) = to_table(&rows.slice(0, n_rows), &self.names) else { return };
        let views: Vec<Option<ColumnView<'_>>> = self.names.iter().map(|name| table.column(name).ok()).collect();
        let score = effect.and_then(|place| scores.column(place).as_primitive_opt::<Float64Type>());
        let mut cells = Vec::with_capacity(views.len() + 1);
        for row in (0..n_rows).filter(|row| is_good[*row]) {
            cells.clear();
            cells.extend(views.iter().map(|view| view.map_or(Cell::Level(None), |view| cell(view, row))));
            if self.has_score {
                let value = score.filter(|score| score.is_valid(row)).map_or(f64::NAN, |score| score.value(row));
                cells.push(Cell::Number(value));
            }
            // One cell per reference, by construction.
            let _ = self.monitor.observe(&cells);
        }
    }

    /// The last whole window.
    pub fn last(&self) -> Option<&DriftReport> {
        self.monitor.last()
    }
}

/// The score as the held-out rows had it: the ranking says above which score each share of them lies.
fn score_reference(name: &str, evaluation: &Value) -> Option<Reference> {
    let contrast = evaluation["contrasts"].as_array()?.first()?;
    let n_rows = evaluation["n_rows"].as_u64()?;
    let points = contrast["targeting"]["points"].as_array()?;
    let mut edges: Vec<(f64, f64)> = points
        .iter()
        .filter_map(|point| Some((point["threshold"].as_f64()?, 1.0 - point["fraction"].as_f64()?)))
        .filter(|(threshold, share)| threshold.is_finite() && *share > 0.0)
        .collect();
    edges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    edges.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            first.1 = first.1.max(later.1);
        }
        same
    });
    Reference::numbers(name, &edges, 0.0, n_rows).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_held_out_ranking_is_a_reference_of_scores() {
        let points: Vec<Value> = (0..=10)
            .map(|i| json!({"fraction": f64::from(i) / 10.0, "threshold": 1.0 - f64::from(i) / 10.0}))
            .collect();
        let report = json!({"n_rows": 5000, "contrasts": [{"targeting": {"points": points}}]});
        let reference = score_reference("cate", &report).unwrap();
        assert!(reference.is_number() && reference.n_bins() >= 9);
        let mut counts = vec![0; reference.n_bins()];
        (0..2_000).for_each(|i| counts[reference.bin_of_number((f64::from(i) + 0.5) / 2_000.0)] += 1);
        assert!(reference.stability(&counts).0 < 0.02);
        assert!(score_reference("cate", &json!({})).is_none());
    }
}
