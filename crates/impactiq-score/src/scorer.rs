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

use arrow::array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use impactiq_causal::model::CausalModel;
use impactiq_data::{Schema, Table};
use impactiq_io::{JsonRows, RowError, RowFeatures, to_table};
use serde_json::{Map, Value, json};

use crate::error::ScoreError;
use crate::features::prepare;
use crate::manifest::Manifest;
use crate::rows::{RawRows, RowErrors, Rows};
use crate::scores::{ScoreColumn, ScoreValue, Scored, ScoredRows};

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
        self.score_rows(Rows::from_batch(batch, &self.manifest.schema, known)?)
    }

    /// Scores JSON rows, `{"column": value, …}` each; other keys are left out, absent ones
    /// are missing values. Per row `{"cate": …}` or `{"error": {"column", "value", "message"}}`.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn score_json(&self, rows: &[Value]) -> Result<Vec<Value>, ScoreError> {
        let scored = self.score_rows(Rows::from_json(rows, &self.manifest.schema)?)?;
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

    /// JSON rows in the model's raw types: as a plain table, unless features are derived from them, which needs
    /// Arrow.
    ///
    /// # Errors
    /// As [`JsonRows::to_table`]. A bad cell is a value in the errors.
    pub fn typed(&self, rows: JsonRows<'_, '_>) -> Result<(RawRows, Vec<RowError>), ScoreError> {
        if self.derived.is_empty() {
            let (table, errors) = rows.to_table()?;
            return Ok((RawRows::Table(table), errors));
        }
        let (batch, errors) = rows.to_batch();
        Ok((RawRows::Batch(batch), errors))
    }

    /// Scores typed rows of which some are known to be bad; beside the scores, the raw columns as numbers and
    /// categories.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn answer(&self, rows: RawRows, known: Vec<RowError>) -> Result<(ScoredRows, Table), ScoreError> {
        match rows {
            RawRows::Table(table) => {
                let scored = self.predicted(&table, table.n_rows(), RowErrors::default().and(known))?;
                Ok((scored, table))
            }
            RawRows::Batch(batch) => {
                let rows = Rows::from_batch(&batch, &self.manifest.schema, known)?;
                let n_rows = rows.batch.num_rows();
                let mut wanted = self.manifest.schema.names();
                let derived = self.model.features().iter().filter(|name| !wanted.contains(name));
                wanted.extend(derived.cloned().collect::<Vec<_>>());
                let (batch, errors) = prepare(rows, &self.derived)?;
                let raw = to_table(&batch, &wanted)?;
                Ok((self.predicted(&raw, n_rows, errors)?, raw))
            }
        }
    }

    /// Scores as Arrow columns.
    ///
    /// # Errors
    /// None at present: the columns have the schema's types and one value per row.
    pub fn columns_of(&self, scored: ScoredRows) -> Result<Scored, ScoreError> {
        let n_rows = scored.n_rows();
        let mut valid = vec![true; n_rows];
        scored.errors().iter().for_each(|error| valid[error.row as usize] = false);
        let arrays = self.columns.iter().map(|column| self.array(column, &scored, &valid)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .map_err(|e| ScoreError::Manifest { path: Default::default(), detail: e.to_string() })?;
        Ok(Scored { batch, errors: scored.into_errors() })
    }

    fn score_rows(&self, rows: Rows) -> Result<Scored, ScoreError> {
        Ok(self.answer_with_rows(rows)?.0)
    }

    /// The scores, and the rows as the model saw them: cast raw columns, then derived features.
    pub(crate) fn answer_with_rows(&self, rows: Rows) -> Result<(Scored, RecordBatch), ScoreError> {
        let n_rows = rows.batch.num_rows();
        let (batch, errors) = prepare(rows, &self.derived)?;
        let raw = to_table(&batch, self.model.features())?;
        Ok((self.columns_of(self.predicted(&raw, n_rows, errors)?)?, batch))
    }

    fn predicted(&self, raw: &Table, n_rows: usize, errors: RowErrors) -> Result<ScoredRows, ScoreError> {
        let predictions = self.model.predict_table(raw)?;
        Ok(ScoredRows::new(predictions, n_rows, errors.into_vec(), self.manifest.roles.dose.is_none()))
    }

    fn array(&self, column: &ScoreColumn, scored: &ScoredRows, valid: &[bool]) -> ArrayRef {
        let rows = valid.iter().enumerate();
        if column.value == ScoreValue::BestArm {
            let label = |row| scored.best_arm(column, row).map(|arm| self.manifest.arms[arm].as_str());
            return Arc::new(rows.map(|(row, &valid)| if valid { label(row) } else { None }).collect::<StringArray>());
        }
        let number = |row| scored.number(column, row);
        Arc::new(rows.map(|(row, &valid)| if valid { number(row) } else { None }).collect::<Float64Array>())
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
