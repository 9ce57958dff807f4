//! Some rows of a data set, as a data set.

use super::{Assignment, Dataset, Outcome};
use crate::treatment::Treatment;

impl Dataset {
    /// The same data for some rows, in the order given; arms and bins stay.
    ///
    /// # Panics
    /// When a row does not exist (a bug of the caller).
    pub fn subset(&self, rows: &[u32]) -> Dataset {
        fn pick<T: Copy>(values: &[T], rows: &[u32]) -> Vec<T> {
            rows.iter().map(|&row| values[row as usize]).collect()
        }
        let pick_some = |values: &Option<Vec<f64>>| values.as_ref().map(|values| pick(values, rows));
        let codes_some = |values: &Option<Vec<u32>>| values.as_ref().map(|values| pick(values, rows));
        // Rows with a dose have no codes.
        let codes = if self.dose.is_some() { Vec::new() } else { pick(&self.treatment.codes, rows) };
        Dataset {
            row_ids: pick(&self.row_ids, rows),
            features: self.features.subset(rows),
            n_modifiers: self.n_modifiers,
            raw: self.raw.subset(rows),
            outcomes: self
                .outcomes
                .iter()
                .map(|o| Outcome { name: o.name.clone(), kind: o.kind, values: pick(&o.values, rows) })
                .collect(),
            treatment: Treatment { arms: self.treatment.arms.clone(), codes },
            dose: self.dose.as_ref().map(|dose| dose.subset(rows)),
            assignment: match &self.assignment {
                Assignment::PerRow(p) => Assignment::PerRow(p.iter().map(|p| pick(p, rows)).collect()),
                other => other.clone(),
            },
            weights: pick_some(&self.weights),
            clusters: codes_some(&self.clusters),
            fixed_folds: codes_some(&self.fixed_folds),
            instrument: pick_some(&self.instrument),
        }
    }
}
