//! The scorer: rows in, effects out, the same bits at every door.
//!
//! # Columns
//! With one outcome and one arm beside control: `cate`, `cate_lower`, `cate_upper`, then
//! `mean_<arm>` for every arm (control included), then `best_arm`. With several arms the
//! first three carry the arm: `cate_<arm>`, `cate_lower_<arm>`, `cate_upper_<arm>`. With
//! several outcomes every column is prefixed by its outcome: `visit_cate`,
//! `visit_mean_<arm>`, `visit_best_arm`. `cate_lower` and `cate_upper` are null where the
//! learner has no valid row interval; a causal forest's is that of its own estimate. The means
//! are null where the learner knows effects alone (a causal forest). `best_arm` is the arm with
//! the largest mean, or effect, the control's being 0; ties go to control. Of a dose, `cate` is the
//! effect of one unit more; there are no means and no best arm.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use impactiq_causal::model::{CausalModel, Predictions};
use impactiq_data::Schema;
use impactiq_io::{RowError, RowFeatures};
use serde_json::{Map, Value, json};

use crate::error::ScoreError;
use crate::features::prepare;
use crate::manifest::Manifest;
use crate::rows::Rows;

/// What a score column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreValue {
    /// The effect of a contrast (arm code minus one).
    Cate(usize),
    /// Lower end of the 95 % interval of the learner's own estimate.
    Lower(usize),
    /// Upper end.
    Upper(usize),
    /// The outcome's mean under an arm, by code.
    Mean(usize),
    /// The arm with the largest mean.
    BestArm,
}

/// A column of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreColumn {
    /// Its name.
    pub name: String,
    /// Which outcome it speaks of, by position.
    pub outcome: usize,
    /// What it holds.
    pub value: ScoreValue,
}

/// Scores of some rows.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The score columns, one row per row given; null in rows with an error.
    pub batch: RecordBatch,
    /// Rows that could not be scored, in order, at most one error each.
    pub errors: Vec<RowError>,
}

/// A model that is ready to answer.
#[derive(Debug)]
pub struct Scorer {
    manifest: Manifest,
    model: CausalModel,
    derived: RowFeatures,
    columns: Vec<ScoreColumn>,
    schema: Arc<ArrowSchema>,
}

impl Scorer {
    /// Opens a model directory.
    ///
    /// # Errors
    /// As [`Manifest::open`]; [`ScoreError::ColumnTwice`] when arm and outcome names clash.
    pub fn open(path: &Path) -> Result<Self, ScoreError> {
        let (manifest, model) = Manifest::open(path)?;
        Scorer::new(manifest, model)
    }

    /// A scorer of a model in memory.
    ///
    /// # Errors
    /// [`ScoreError::Io`] for derived features that do not compile,
    /// [`ScoreError::ColumnTwice`].
    pub fn new(manifest: Manifest, model: CausalModel) -> Result<Self, ScoreError> {
        let derived = RowFeatures::compile(&manifest.derived, &manifest.schema)?;
        let columns = columns_of(&manifest);
        let mut names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ScoreError::ColumnTwice { column: pair[0].to_owned() });
        }
        let field = |column: &ScoreColumn| {
            let kind = if column.value == ScoreValue::BestArm { DataType::Utf8 } else { DataType::Float64 };
            Field::new(&column.name, kind, true)
        };
        let schema = Arc::new(ArrowSchema::new(columns.iter().map(field).collect::<Vec<_>>()));
        Ok(Scorer { manifest, model, derived, columns, schema })
    }

    /// What the model directory says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The model.
    pub fn model(&self) -> &CausalModel {
        &self.model
    }

    /// Raw columns a row must bring, with their types.
    pub fn schema(&self) -> &Schema {
        &self.manifest.schema
    }

    /// The columns of every answer, in order.
    pub fn columns(&self) -> &[ScoreColumn] {
        &self.columns
    }

    /// The Arrow schema of [`Scored::batch`].
    pub fn score_schema(&self) -> &Arc<ArrowSchema> {
        &self.schema
    }

    /// Scores the rows of a batch that has at least the columns of [`Scorer::schema`].
    ///
    /// # Errors
    /// [`ScoreError::Io`] for a missing column or one of an unusable type. A bad cell is a
    /// value in [`Scored::errors`].
    pub fn score(&self, batch: &RecordBatch) -> Result<Scored, ScoreError> {
        self.score_with(batch, Vec::new())
    }

    /// The same for rows of which some are known to be bad: whoever cast them before tells.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn score_with(&self, batch: &RecordBatch, known: Vec<RowError>) -> Result<Scored, ScoreError> {
        self.answer(Rows::from_batch(batch, &self.manifest.schema, known)?)
    }

    /// Scores JSON rows, `{"column": value, …}` each; other keys are left out, absent ones
    /// are missing values. Per row `{"cate": …}` or `{"error": {"column", "value", "message"}}`.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn score_json(&self, rows: &[Value]) -> Result<Vec<Value>, ScoreError> {
        let scored = self.answer(Rows::from_json(rows, &self.manifest.schema)?)?;
        let mut errors = scored.errors.into_iter().peekable();
        let columns: Vec<(&str, JsonColumn<'_>)> = self
            .columns
            .iter()
            .zip(scored.batch.columns())
            .map(|(column, array)| (column.name.as_str(), JsonColumn::of(array)))
            .collect();
        Ok((0..rows.len())
            .map(|row| match errors.next_if(|error| error.row == row as u64) {
                Some(error) => json!({"error": {
                    "column": error.column, "value": error.value, "message": error.reason, "hint": error.hint(),
                }}),
                None => {
                    let entries = columns.iter().map(|(name, column)| ((*name).to_owned(), column.value(row)));
                    Value::Object(entries.collect::<Map<_, _>>())
                }
            })
            .collect())
    }

    fn answer(&self, rows: Rows) -> Result<Scored, ScoreError> {
        Ok(self.answer_with_rows(rows)?.0)
    }

    /// The scores, and the rows as the model saw them: cast raw columns, then derived features.
    pub(crate) fn answer_with_rows(&self, rows: Rows) -> Result<(Scored, RecordBatch), ScoreError> {
        let n_rows = rows.batch.num_rows();
        let prepared = prepare(rows, &self.derived, &self.model)?;
        let predictions = self.model.predict(&prepared.binned, &prepared.raw)?;
        let errors = prepared.errors.into_vec();
        let mut valid = vec![true; n_rows];
        errors.iter().for_each(|error| valid[error.row as usize] = false);
        let arrays = self.columns.iter().map(|column| self.array(column, &predictions, &valid)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|e| ScoreError::Manifest { path: Default::default(), detail: e.to_string() })?;
        Ok((Scored { batch, errors }, prepared.batch))
    }

    fn array(&self, column: &ScoreColumn, predictions: &[Predictions], valid: &[bool]) -> ArrayRef {
        let predicted = &predictions[column.outcome];
        let numbers = |values: &[f64]| -> ArrayRef {
            let kept = values.iter().zip(valid).map(|(&value, &valid)| valid.then_some(value));
            Arc::new(kept.collect::<Float64Array>())
        };
        // Not every learner knows means or intervals, and not for every row.
        let known = |all: &[Vec<f64>], index: usize| -> ArrayRef {
            let Some(values) = all.get(index) else { return new_null_array(&DataType::Float64, valid.len()) };
            let kept = values.iter().zip(valid).map(|(&value, &valid)| (valid && value.is_finite()).then_some(value));
            Arc::new(kept.collect::<Float64Array>())
        };
        match column.value {
            ScoreValue::Cate(contrast) => numbers(&predicted.cate[contrast]),
            ScoreValue::Mean(arm) => known(&predicted.mean, arm),
            ScoreValue::Lower(contrast) => known(&predicted.lower, contrast),
            ScoreValue::Upper(contrast) => known(&predicted.upper, contrast),
            ScoreValue::BestArm => {
                let best = predicted.best_arm();
                let labels = &self.manifest.arms;
                let kept = best.iter().zip(valid).map(|(&arm, &valid)| valid.then(|| labels[arm as usize].as_str()));
                Arc::new(kept.collect::<StringArray>())
            }
        }
    }
}

fn columns_of(manifest: &Manifest) -> Vec<ScoreColumn> {
    let has_dose = manifest.roles.dose.is_some();
    let n_contrasts = if has_dose { 1 } else { manifest.arms.len().saturating_sub(1) };
    let mut columns = Vec::new();
    for (outcome, saved) in manifest.outcomes.iter().enumerate() {
        let prefix = if manifest.outcomes.len() == 1 { String::new() } else { format!("{}_", saved.name) };
        let mut push =
            |name: String, value| columns.push(ScoreColumn { name: format!("{prefix}{name}"), outcome, value });
        for contrast in 0..n_contrasts {
            let suffix = if n_contrasts == 1 { String::new() } else { format!("_{}", manifest.arms[contrast + 1]) };
            push(format!("cate{suffix}"), ScoreValue::Cate(contrast));
            push(format!("cate_lower{suffix}"), ScoreValue::Lower(contrast));
            push(format!("cate_upper{suffix}"), ScoreValue::Upper(contrast));
        }
        for (arm, label) in manifest.arms.iter().enumerate() {
            push(format!("mean_{label}"), ScoreValue::Mean(arm));
        }
        // A dose has neither arms with means nor a best one: `cate` is per unit of it.
        if !has_dose {
            push("best_arm".into(), ScoreValue::BestArm);
        }
    }
    columns
}

/// A score column as JSON values.
enum JsonColumn<'a> {
    Numbers(&'a Float64Array),
    Texts(&'a StringArray),
}

impl<'a> JsonColumn<'a> {
    fn of(array: &'a ArrayRef) -> Self {
        use arrow::array::AsArray;
        match array.data_type() {
            DataType::Utf8 => JsonColumn::Texts(array.as_string()),
            _ => JsonColumn::Numbers(array.as_primitive()),
        }
    }

    fn value(&self, row: usize) -> Value {
        use arrow::array::Array;
        match self {
            JsonColumn::Numbers(array) if array.is_valid(row) => array.value(row).into(),
            JsonColumn::Texts(array) if array.is_valid(row) => array.value(row).into(),
            _ => Value::Null,
        }
    }
}
