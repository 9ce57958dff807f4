//! Derived row features: the same SQL expressions in train, score, serve and stream.
//!
//! A feature may use raw columns and features above it. Results are held in the Arrow type
//! of their raw type, with NaN as missing, like any other column.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema};
use impactiq_data::{DataError, Field, RawType, Schema};
use serde::{Deserialize, Serialize};

use crate::cast::{arrow_field, arrow_type, batch_of, cast_array, finite, raw_type};
use crate::error::{IoError, RowError};
use crate::session::{Expression, Session};

/// A feature that is computed from its row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derived {
    /// Name of the new column.
    pub name: String,
    /// SQL over raw columns and features above this one.
    pub sql: String,
}

#[derive(Clone, Debug)]
struct Feature {
    field: Field,
    expression: Expression,
}

/// Derived features that are known to be valid for a schema.
///
/// ```
/// use impactiq_data::{Field, RawType, Schema};
/// use impactiq_io::{Derived, RowFeatures, json_rows_to_batch, to_table};
///
/// let schema = Schema::new(vec![Field { name: "f0".into(), raw_type: RawType::Float64 }])?;
/// let features = RowFeatures::compile(&[Derived { name: "twice".into(), sql: "f0 * 2".into() }], &schema)?;
/// let (batch, _) = json_rows_to_batch(&[serde_json::json!({"f0": 1.5})], &schema)?;
/// let table = to_table(&features.apply(&batch)?, &["twice".into()])?;
/// assert_eq!(table.column("twice")?.numbers(), Some(&[3.0][..]));
/// # Ok::<(), impactiq_io::IoError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RowFeatures {
    features: Vec<Feature>,
}

impl RowFeatures {
    /// Compiles features in order against the raw columns.
    ///
    /// # Errors
    /// [`IoError::Sql`], [`IoError::SqlColumn`] and [`IoError::SqlFunction`] with the closest
    /// name, [`IoError::SqlRefused`] for volatile functions, aggregates, windows and
    /// subqueries, [`IoError::SqlType`], [`DataError::DuplicateColumn`].
    pub fn compile(derived: &[Derived], schema: &Schema) -> Result<Self, IoError> {
        let mut columns: Vec<ArrowField> = schema.fields().iter().map(arrow_field).collect();
        let session = Session::new();
        let mut features = Vec::with_capacity(derived.len());
        for Derived { name, sql } in derived {
            if columns.iter().any(|field| field.name() == name) {
                return Err(DataError::DuplicateColumn { column: name.clone() }.into());
            }
            let expression = session.compile(&format!("feature '{name}'"), sql, &columns)?;
            let raw = raw_type(&expression.data_type).ok_or_else(|| IoError::SqlType {
                what: expression.what.clone(),
                sql: sql.clone(),
                found: expression.data_type.to_string(),
                expected: "a number, text, a truth value or a time",
            })?;
            let field = Field { name: name.clone(), raw_type: raw };
            columns.push(arrow_field(&field));
            features.push(Feature { field, expression });
        }
        Ok(RowFeatures { features })
    }

    /// True without features.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// Names and types of the features, in order.
    pub fn fields(&self) -> Vec<Field> {
        self.features.iter().map(|feature| feature.field.clone()).collect()
    }

    /// Raw columns that the features read, each once, in order of first use.
    pub fn inputs(&self) -> Vec<String> {
        let mut inputs: Vec<String> = Vec::new();
        for feature in &self.features {
            for column in &feature.expression.columns {
                if !inputs.contains(column) && !self.features.iter().any(|f| f.field.name == *column) {
                    inputs.push(column.clone());
                }
            }
        }
        inputs
    }

    /// Only the named features and those they need.
    pub fn select(&self, names: &[String]) -> RowFeatures {
        let mut needed: Vec<bool> = self.features.iter().map(|f| names.contains(&f.field.name)).collect();
        for index in (0..self.features.len()).rev() {
            if needed[index] {
                for column in &self.features[index].expression.columns {
                    if let Some(above) = self.features[..index].iter().position(|f| f.field.name == *column) {
                        needed[above] = true;
                    }
                }
            }
        }
        let kept = self.features.iter().zip(&needed).filter(|&(_, &needed)| needed);
        RowFeatures { features: kept.map(|(feature, _)| feature.clone()).collect() }
    }

    /// Adds the features to a batch whose raw columns are cast to the schema.
    ///
    /// Infinite results stay: whoever turns the column into numbers refuses them with their row.
    ///
    /// # Errors
    /// [`IoError::SqlRow`] with the row of the batch, counted from 1;
    /// [`DataError::MissingColumn`], [`DataError::TypeMismatch`].
    pub fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch, IoError> {
        self.features.iter().try_fold(batch.clone(), |batch, feature| {
            let values = feature.expression.evaluate(&batch)?;
            let array = feature.held(&values).array;
            Ok(with_column(&batch, &feature.field, array))
        })
    }

    /// Adds the features to a batch; rows that fail or give infinite values are null and told.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`], [`DataError::TypeMismatch`].
    pub fn apply_rows(&self, batch: &RecordBatch) -> Result<(RecordBatch, Vec<RowError>), IoError> {
        let mut errors = Vec::new();
        let mut batch = batch.clone();
        for feature in &self.features {
            let (values, failures) = feature.expression.evaluate_rows(&batch)?;
            errors.extend(failures.into_iter().map(|(row, reason)| RowError {
                row: row as u64,
                column: feature.field.name.clone(),
                value: String::new(),
                reason,
            }));
            let array = finite(&feature.field, feature.held(&values), &mut errors);
            batch = with_column(&batch, &feature.field, array);
        }
        errors.sort_by_key(|error| error.row);
        Ok((batch, errors))
    }
}

impl Feature {
    /// The values in the Arrow type of the feature's raw type.
    fn held(&self, values: &ArrayRef) -> crate::cast::Built {
        cast_array(values, self.field.raw_type).unwrap_or_else(|| crate::cast::Built {
            array: arrow::array::new_null_array(&arrow_type(self.field.raw_type), values.len()),
            bad: Vec::new(),
        })
    }
}

fn with_column(batch: &RecordBatch, field: &Field, array: ArrayRef) -> RecordBatch {
    let schema = batch.schema();
    let mut fields: Vec<Arc<ArrowField>> = schema.fields().iter().cloned().collect();
    let mut columns = batch.columns().to_vec();
    fields.push(Arc::new(arrow_field(field)));
    columns.push(array);
    batch_of(ArrowSchema::new(fields), columns, batch.num_rows())
}

/// A filter over raw columns and derived features.
///
/// # Errors
/// As [`RowFeatures::compile`]; [`IoError::SqlType`] when it is not true or false.
pub(crate) fn compile_filter(sql: &str, schema: &Schema, features: &RowFeatures) -> Result<Expression, IoError> {
    let columns: Vec<ArrowField> = schema.fields().iter().chain(&features.fields()).map(arrow_field).collect();
    let expression = Session::new().compile("where", sql, &columns)?;
    if expression.data_type != DataType::Boolean {
        return Err(IoError::SqlType {
            what: "where".into(),
            sql: sql.to_owned(),
            found: raw_type(&expression.data_type).map_or_else(
                || expression.data_type.to_string(),
                |raw: RawType| crate::cast::type_name(raw).to_owned(),
            ),
            expected: "a condition that is true or false",
        });
    }
    Ok(expression)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Float64Array, Int64Array};
    use arrow::datatypes::Float64Type;

    fn schema() -> Schema {
        Schema::new(vec![
            Field { name: "a".into(), raw_type: RawType::Integer },
            Field { name: "b".into(), raw_type: RawType::Float64 },
        ])
        .unwrap()
    }

    fn derived(pairs: &[(&str, &str)]) -> Vec<Derived> {
        pairs.iter().map(|(name, sql)| Derived { name: (*name).into(), sql: (*sql).into() }).collect()
    }

    fn batch() -> RecordBatch {
        RecordBatch::try_from_iter([
            ("a", Arc::new(Int64Array::from(vec![1, 0, 3])) as ArrayRef),
            ("b", Arc::new(Float64Array::from(vec![0.5, 1.0, 2.0])) as ArrayRef),
        ])
        .unwrap()
    }

    #[test]
    fn a_feature_may_use_features_above_it_only() {
        let features =
            RowFeatures::compile(&derived(&[("c", "a * b"), ("d", "c + b"), ("e", "a")]), &schema()).unwrap();
        assert_eq!(features.inputs(), ["a", "b"]);
        let applied = features.apply(&batch()).unwrap();
        let d = applied.column_by_name("d").unwrap().as_primitive::<Float64Type>().values().to_vec();
        assert_eq!(d, [1.0, 1.0, 8.0]);
        let selected = features.select(&["d".into()]);
        assert_eq!(selected.fields().iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["c", "d"]);
        assert!(matches!(
            RowFeatures::compile(&derived(&[("d", "c + 1"), ("c", "a")]), &schema()).unwrap_err(),
            IoError::SqlColumn { .. }
        ));
        assert!(matches!(
            RowFeatures::compile(&derived(&[("a", "b")]), &schema()).unwrap_err(),
            IoError::Data(DataError::DuplicateColumn { .. })
        ));
    }

    #[test]
    fn bad_rows_of_a_feature_are_values() {
        let features = RowFeatures::compile(&derived(&[("q", "6 % a"), ("r", "b / (b - 1.0)")]), &schema()).unwrap();
        let (applied, errors) = features.apply_rows(&batch()).unwrap();
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert_eq!((errors[0].row, errors[0].column.as_str()), (1, "q"));
        assert_eq!((errors[1].row, errors[1].reason.as_str()), (1, "is infinite"));
        assert!(applied.column_by_name("r").unwrap().is_null(1));
        assert!(matches!(features.apply(&batch()).unwrap_err(), IoError::SqlRow { .. }));
    }

    #[test]
    fn a_filter_must_be_a_condition() {
        let none = RowFeatures::default();
        assert!(compile_filter("a > 0 AND b < 2", &schema(), &none).is_ok());
        let error = compile_filter("a + 1", &schema(), &none).unwrap_err();
        assert_eq!(
            error.to_string(),
            "where: `a + 1` gives whole numbers; a condition that is true or false is needed"
        );
    }
}
