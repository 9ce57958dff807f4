//! SQL over one row: parses, checks, types and runs a single expression.
//!
//! Only DataFusion's expression crates are used, never its engine or its SQL planner: an
//! expression here is a function of the values of its row, so that train, score, serve and
//! stream can run the same one on any batch. What looks beyond the row, or changes from run
//! to run, is refused.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::{Column, DFSchema, DFSchemaRef, DataFusionError};
use datafusion_expr::Expr;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::sqlparser::ast::Expr as SqlExpr;
use datafusion_expr::sqlparser::dialect::GenericDialect;
use datafusion_expr::sqlparser::parser::{Parser, ParserError};
use datafusion_expr::sqlparser::tokenizer::Token;
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use self::functions::Functions;
use self::lower::Lower;
use crate::error::{IoError, Place};

mod functions;
mod lower;

/// Longer expressions are refused: nobody writes them, and parsing them recurses.
const MAX_SQL_BYTES: usize = 10_000;

/// An expression that is known to be valid for some columns.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    /// "where", or the name of the feature: for errors.
    pub what: String,
    /// Columns it reads, in the order of the schema it was compiled against.
    pub columns: Vec<String>,
    pub data_type: DataType,
    input: Arc<Schema>,
    physical: Arc<dyn PhysicalExpr>,
}

/// Compiles expressions against columns.
pub(crate) struct Session {
    functions: Functions,
}

impl Session {
    pub fn new() -> Self {
        Session { functions: Functions::new() }
    }

    /// Compiles one expression over the given columns.
    pub fn compile(&self, what: &str, sql: &str, columns: &[Field]) -> Result<Expression, IoError> {
        let fail = |detail: String| IoError::Sql { what: what.to_owned(), sql: sql.to_owned(), detail };
        let schema = df_schema(columns.to_vec()).map_err(|e| fail(told(&e)))?;
        let parsed = parse(sql).map_err(fail)?;
        let lowered = Lower { what, sql, columns, functions: &self.functions }.expression(&parsed)?;
        let expr = guarded(|| simplify(lowered, &schema)).map_err(|e| fail(told(&e)))?;

        let used = expr.column_refs();
        let is_used = |field: &&Field| used.contains(&Column::new_unqualified(field.name()));
        let used: Vec<Field> = columns.iter().filter(is_used).cloned().collect();
        let build = || {
            let schema = df_schema(used.clone())?;
            let physical =
                create_physical_expr(&expr, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
            Ok((physical.data_type(schema.as_arrow())?, physical))
        };
        let (data_type, physical) = guarded(build).map_err(|e| fail(told(&e)))?;
        Ok(Expression {
            what: what.to_owned(),
            columns: used.iter().map(|field| field.name().clone()).collect(),
            data_type,
            input: Arc::new(Schema::new(used)),
            physical,
        })
    }
}

/// Reads one whole expression; says what is wrong with the text.
fn parse(sql: &str) -> Result<SqlExpr, String> {
    if sql.len() > MAX_SQL_BYTES {
        return Err(format!("it is longer than {MAX_SQL_BYTES} bytes"));
    }
    let mut parser = Parser::new(&GenericDialect {}).try_with_sql(sql).map_err(|e| parse_detail(&e))?;
    if parser.peek_token_ref().token == Token::EOF {
        return Err("it is empty".into());
    }
    let parsed = parser.parse_expr().map_err(|e| parse_detail(&e))?;
    match &parser.peek_token_ref().token {
        Token::EOF => Ok(parsed),
        rest => Err(format!("'{rest}' stands after its end")),
    }
}

fn df_schema(fields: Vec<Field>) -> datafusion_common::Result<DFSchemaRef> {
    Ok(Arc::new(DFSchema::try_from(Schema::new(fields))?))
}

/// Types are made to fit first; simplification then folds constants and replaces functions
/// (COALESCE, NVL) that can only run in their simplified form.
fn simplify(expr: Expr, schema: &DFSchemaRef) -> datafusion_common::Result<Expr> {
    let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_schema(Arc::clone(schema)).build());
    let expr = simplifier.coerce(expr, schema)?;
    let expr = simplifier.simplify(expr)?;
    simplifier.coerce(expr, schema)
}

impl Expression {
    /// The value of every row of a batch.
    ///
    /// Errors name the row of the batch, counted from 1.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, IoError> {
        let input = self.project(batch)?;
        self.run(&input).map_err(|_| self.first_failure(&input))
    }

    /// The value of every row on its own: rows that fail are null and told with their reason.
    pub fn evaluate_rows(&self, batch: &RecordBatch) -> Result<(ArrayRef, Vec<(usize, String)>), IoError> {
        let input = self.project(batch)?;
        if let Ok(array) = self.run(&input) {
            return Ok((array, Vec::new()));
        }
        let mut failures = Vec::new();
        let mut parts = Vec::with_capacity(input.num_rows());
        for row in 0..input.num_rows() {
            parts.push(self.run(&input.slice(row, 1)).unwrap_or_else(|error| {
                failures.push((row, told(&error)));
                arrow::array::new_null_array(&self.data_type, 1)
            }));
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        let array = arrow::compute::concat(&parts).map_err(|e| self.failed(0, e.to_string()))?;
        Ok((array, failures))
    }

    /// The rows for which the expression is true; NULL is false.
    pub fn mask(&self, batch: &RecordBatch) -> Result<BooleanArray, IoError> {
        let array = self.evaluate(batch)?;
        let mask = array.as_boolean();
        Ok(if mask.null_count() == 0 { mask.clone() } else { arrow::compute::prep_null_mask_filter(mask) })
    }

    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch, IoError> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for field in self.input.fields() {
            let array =
                batch.column_by_name(field.name()).ok_or_else(|| crate::cast::missing_column(field.name(), batch))?;
            if array.data_type() != field.data_type() {
                return Err(IoError::Data(impactiq_data::DataError::TypeMismatch {
                    column: field.name().clone(),
                    expected: field.data_type().to_string(),
                    found: array.data_type().to_string(),
                }));
            }
            columns.push(Arc::clone(array));
        }
        Ok(crate::cast::batch_of(self.input.as_ref().clone(), columns, batch.num_rows()))
    }

    fn run(&self, input: &RecordBatch) -> datafusion_common::Result<ArrayRef> {
        guarded(|| self.physical.evaluate(input)?.into_array(input.num_rows()))
    }

    /// Finds the first row that fails by halving.
    fn first_failure(&self, input: &RecordBatch) -> IoError {
        let (mut start, mut len) = (0, input.num_rows());
        while len > 1 {
            let half = len / 2;
            if self.run(&input.slice(start, half)).is_err() {
                len = half;
            } else {
                (start, len) = (start + half, len - half);
            }
        }
        let detail = self.run(&input.slice(start, len)).map_or_else(|e| told(&e), |_| "failed".into());
        self.failed(start, detail)
    }

    fn failed(&self, row: usize, detail: String) -> IoError {
        let row = row as u64 + 1;
        let place = Box::new(Place { row: Some(row), row_in_file: Some(row), ..Place::default() });
        IoError::SqlRow { what: self.what.clone(), place, detail }
    }
}

/// Runs third-party code so that its panics are errors: an odd argument of a function must
/// not take the process down.
fn guarded<T>(run: impl FnOnce() -> datafusion_common::Result<T>) -> datafusion_common::Result<T> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(DataFusionError::Execution("the function cannot handle this value".into())))
}

/// What a planner or kernel says, without its prefixes and on one line.
fn told(error: &DataFusionError) -> String {
    let root = error.find_root();
    let text = match root {
        DataFusionError::ArrowError(error, _) => error.to_string(),
        other => other.message().into_owned(),
    };
    let text = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    let text = text.trim_end_matches('.').trim();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !chars.as_str().starts_with(char::is_uppercase) => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

fn parse_detail(error: &ParserError) -> String {
    match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => {
            let text = text.trim();
            text.strip_prefix("Expected").map_or_else(|| text.to_owned(), |rest| format!("expected{rest}"))
        }
        ParserError::RecursionLimitExceeded => "it is nested too deeply".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refused;
    use arrow::array::{Float64Array, Int64Array, StringArray};

    fn batch() -> RecordBatch {
        RecordBatch::try_from_iter([
            ("V1", Arc::new(Int64Array::from(vec![Some(1), Some(0), None])) as ArrayRef),
            ("f.x", Arc::new(Float64Array::from(vec![0.5, -1.0, 2.0])) as ArrayRef),
            ("channel", Arc::new(StringArray::from(vec![Some("Web"), None, Some("Phone")])) as ArrayRef),
        ])
        .unwrap()
    }

    fn compile(sql: &str) -> Result<Expression, IoError> {
        let fields: Vec<Field> = batch().schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        Session::new().compile("feature 'x'", sql, &fields)
    }

    #[test]
    fn names_keep_their_case_and_may_hold_dots() {
        let expression = compile("coalesce(V1, 7) * \"f.x\" + f.x").unwrap();
        assert_eq!(expression.columns, ["V1", "f.x"]);
        let values = expression.evaluate(&batch()).unwrap();
        assert_eq!(values.as_primitive::<arrow::datatypes::Float64Type>().values().to_vec(), [1.0, -1.0, 16.0]);
    }

    #[test]
    fn null_is_false_in_a_filter() {
        let mask = compile("V1 > 0").unwrap().mask(&batch()).unwrap();
        assert_eq!(mask.iter().map(Option::unwrap).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn what_looks_beyond_the_row_is_refused() {
        let refused = |sql: &str| match compile(sql).unwrap_err() {
            IoError::SqlRefused { refused, .. } => refused,
            other => panic!("{sql}: {other}"),
        };
        for sql in ["random()", "now()", "V1 + uuid()", "current_date", "CURRENT_TIMESTAMP", "today()"] {
            assert_eq!(refused(sql), Refused::Volatile, "{sql}");
        }
        for sql in ["sum(V1)", "V1 - AVG(V1)", "count(*)"] {
            assert_eq!(refused(sql), Refused::Aggregate, "{sql}");
        }
        for sql in ["row_number() over ()", "sum(V1) over (partition by channel)", "lag(V1)"] {
            assert_eq!(refused(sql), Refused::Window, "{sql}");
        }
        for sql in ["(select 1)", "V1 in (select 1)", "exists (select 1)"] {
            assert_eq!(refused(sql), Refused::Subquery, "{sql}");
        }
    }

    #[test]
    fn slips_of_the_finger_are_answered() {
        let hint = |sql: &str| compile(sql).unwrap_err().hint().unwrap();
        assert_eq!(hint("v1 + 1"), "did you mean 'V1'?");
        assert_eq!(hint("channel = \"Web\""), "double quotes name columns; text stands in single quotes: 'Web'");
        assert_eq!(hint("roundd(f.x)"), "did you mean 'round'?");
        for sql in ["", "V1 +", "V1 V1", "(V1", "V1; V1", "'a"] {
            assert!(matches!(compile(sql).unwrap_err(), IoError::Sql { .. }), "{sql}");
        }
        let deep = format!("{}V1{}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(matches!(compile(&deep).unwrap_err(), IoError::Sql { .. }));
    }

    #[test]
    fn results_are_those_of_sql() {
        let value = |sql: &str| {
            let array = compile(sql).unwrap_or_else(|e| panic!("{sql}: {e}")).evaluate(&batch()).unwrap();
            arrow::util::display::array_value_to_string(&array, 0).unwrap()
        };
        for (sql, expected) in [
            ("7 / 2", "3.5"),
            ("floor(7 / 2)", "3.0"),
            ("-7 % 3", "-1"),
            ("2 + 3 * 4 - -1", "15"),
            ("NULL IS NULL AND NOT FALSE", "true"),
            ("substring('abcdef' from 2 for 3)", "bcd"),
            ("CAST('2026-01-31' AS DATE) + INTERVAL '1 day'", "2026-02-01"),
            ("extract(year from DATE '2026-01-31')", "2026"),
            ("CASE WHEN V1 > 5 THEN 'a' WHEN V1 = 1 THEN 'b' ELSE 'c' END", "b"),
            ("coalesce(NULL, V1, 3)", "1"),
            ("1 BETWEEN 0 AND 2 AND 3 NOT IN (1, 2)", "true"),
            ("9223372036854775808", "9.223372036854776e18"),
            ("TRY_CAST('x' AS INT) IS NULL", "true"),
        ] {
            assert_eq!(value(sql), expected, "{sql}");
        }
    }

    #[test]
    fn long_and_deep_expressions_are_refused() {
        for sql in ["V1 + ".repeat(300) + "V1", "V1 + ".repeat(30_000) + "V1", "NOT ".repeat(2_000) + "TRUE"] {
            assert!(matches!(compile(&sql).unwrap_err(), IoError::Sql { .. }));
        }
        assert!(compile(&("V1 + ".repeat(150) + "V1")).is_ok());
    }

    #[test]
    fn what_a_row_cannot_answer_is_told() {
        for sql in
            ["[1, 2]", "{'a': 1}", "interval '1 bla'", "V1 -> 'x'", "CAST(V1 AS BYTEA)", "$1", "count(DISTINCT V1)"]
        {
            assert!(compile(sql).is_err(), "{sql}");
        }
    }

    #[test]
    fn a_failing_row_is_named() {
        let expression = compile("10 % V1").unwrap();
        let IoError::SqlRow { place, detail, .. } = expression.evaluate(&batch()).unwrap_err() else { panic!() };
        assert_eq!(place.row, Some(2));
        assert_eq!(detail, "divide by zero error");
        let (values, failures) = expression.evaluate_rows(&batch()).unwrap();
        assert_eq!(values.as_primitive::<arrow::datatypes::Int64Type>().value(0), 0);
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].0, 1);
    }

    #[test]
    fn text_functions_and_conditions_work() {
        for sql in [
            "CASE WHEN channel = 'Web' THEN 1 ELSE 0 END",
            "upper(channel) || '!'",
            "length(channel)",
            "substring(channel, 1, 2)",
            "channel LIKE 'W%' AND V1 IS NOT NULL",
            "channel IN ('Web', 'Phone')",
            "V1 BETWEEN 0 AND 1",
            "abs(f.x) + ln(2) + power(V1, 2) + greatest(V1, 3)",
            "CAST(V1 AS DOUBLE) / NULLIF(V1, 0)",
            "TRY_CAST(channel AS INT)",
            "extract(year from to_timestamp(V1))",
            "regexp_like(channel, 'W.b')",
            "channel ILIKE 'w%' OR channel NOT LIKE '%\\_%' ESCAPE '\\'",
            "trim(both ' ' from channel) || ltrim(channel)",
            "position('e' in channel) + strpos(channel, 'b')",
            "ceil(f.x) + floor(f.x) - f.x % 2",
            "V1::DOUBLE / 3",
            "CASE V1 WHEN 1 THEN 'one' WHEN 0 THEN 'none' END",
            "(V1 IS DISTINCT FROM 1) AND (f.x > 0) IS NOT TRUE",
            "DATE '2026-01-31' + INTERVAL '1' MONTH > DATE '2026-02-01'",
            "date_trunc('month', to_timestamp(V1)) < TIMESTAMP '2026-01-31T00:00:00'",
            "channel ~ 'W.b'",
            "-9223372036854775808 < -V1 AND NOT V1 = 0",
            "to_timestamp(V1) > TIMESTAMP '1970-01-01T00:00:00'",
        ] {
            let expression = compile(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
            expression.evaluate(&batch()).unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
    }
}
