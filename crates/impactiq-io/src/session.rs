//! SQL over one row: parses, checks, types and runs a single expression.
//!
//! Only DataFusion's expression crates are used, never its engine: an expression here is a
//! function of the values of its row, so that train, score, serve and stream can run the
//! same one on any batch. What looks beyond the row, or changes from run to run, is refused.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, TableReference, plan_err};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::planner::{ContextProvider, ExprPlanner};
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableSource, Volatility, WindowUDF};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion_sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::{Expr as SqlExpr, Function, Ident, Query, VisitMut, VisitorMut};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::Parser;
use datafusion_sql::sqlparser::tokenizer::Token;
use impactiq_data::error::closest_name;

use crate::error::{IoError, Place, Refused};

/// Names that summarise rows, told apart from slips of the finger.
const AGGREGATES: &[&str] = &[
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar",
    "covar_pop",
    "covar_samp",
    "first_value",
    "grouping",
    "last_value",
    "max",
    "mean",
    "median",
    "min",
    "nth_value",
    "percentile_cont",
    "quantile_cont",
    "regr_slope",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "string_agg",
    "sum",
    "var",
    "var_pop",
    "var_samp",
    "var_sample",
];

/// Names that look at neighbouring rows.
const WINDOWS: &[&str] = &["cume_dist", "dense_rank", "lag", "lead", "ntile", "percent_rank", "rank", "row_number"];

/// The functions an expression may use, and nothing else: no tables, no variables.
struct Functions {
    options: ConfigOptions,
    scalar: BTreeMap<String, Arc<ScalarUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
}

impl Functions {
    fn new() -> Self {
        let mut scalar = BTreeMap::new();
        for function in datafusion_functions::all_default_functions() {
            for alias in function.aliases() {
                scalar.insert(alias.to_lowercase(), Arc::clone(&function));
            }
            scalar.insert(function.name().to_lowercase(), function);
        }
        let planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
            Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
            Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
        ];
        Functions { options: ConfigOptions::default(), scalar, planners }
    }
}

impl ContextProvider for Functions {
    fn get_table_source(&self, name: TableReference) -> datafusion_common::Result<Arc<dyn TableSource>> {
        plan_err!("there is no table '{name}'")
    }
    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.planners
    }
    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalar.get(&name.to_lowercase()).cloned()
    }
    fn get_higher_order_meta(&self, _: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }
    fn get_aggregate_meta(&self, _: &str) -> Option<Arc<AggregateUDF>> {
        None
    }
    fn get_window_meta(&self, _: &str) -> Option<Arc<WindowUDF>> {
        None
    }
    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }
    fn options(&self) -> &ConfigOptions {
        &self.options
    }
    fn udf_names(&self) -> Vec<String> {
        self.scalar.keys().cloned().collect()
    }
    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}

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
        let parsed = self.parse(what, sql, columns)?;
        let schema = df_schema(columns.to_vec()).map_err(|e| fail(told(&e)))?;
        let plan = || {
            let options = ParserOptions {
                enable_ident_normalization: false,
                map_string_types_to_utf8view: false,
                ..ParserOptions::default()
            };
            let planner = SqlToRel::new_with_options(&self.functions, options);
            let expr = planner.sql_to_expr(parsed, &schema, &mut PlannerContext::new())?;
            simplify(expr, &schema)
        };
        let expr = guarded(plan).map_err(|e| fail(told(&e)))?;
        refuse(what, &expr)?;

        let used = expr.column_refs();
        let used: Vec<Field> =
            columns.iter().filter(|field| used.iter().any(|column| column.name == *field.name())).cloned().collect();
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

    fn parse(&self, what: &str, sql: &str, columns: &[Field]) -> Result<SqlExpr, IoError> {
        let fail = |detail: String| IoError::Sql { what: what.to_owned(), sql: sql.to_owned(), detail };
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(sql).map_err(|e| fail(parse_detail(&e)))?;
        if parser.peek_token_ref().token == Token::EOF {
            return Err(fail("it is empty".into()));
        }
        let mut parsed = parser.parse_expr().map_err(|e| fail(parse_detail(&e)))?;
        let rest = parser.peek_token_ref();
        if rest.token != Token::EOF {
            return Err(fail(format!("'{}' stands after its end", rest.token)));
        }
        let mut check = Check { what, functions: &self.functions, columns };
        match VisitMut::visit(&mut parsed, &mut check) {
            ControlFlow::Break(error) => Err(*error),
            ControlFlow::Continue(()) => Ok(parsed),
        }
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

/// A second look at the planned expression, for what the text did not show.
fn refuse(what: &str, expr: &Expr) -> Result<(), IoError> {
    let mut found = None;
    let _ = expr.apply(|node| {
        let refused = match node {
            Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                Some(Refused::Volatile).filter(|_| !is_steady(call.func.name()))
            }
            Expr::AggregateFunction(_) => Some(Refused::Aggregate),
            Expr::WindowFunction(_) => Some(Refused::Window),
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                Some(Refused::Subquery)
            }
            _ => None,
        };
        if let Some(refused) = refused {
            found = Some(IoError::SqlRefused { what: what.to_owned(), part: format!("`{node}`"), refused });
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    found.map_or(Ok(()), Err)
}

/// Functions that are marked as changing only because a session could set another time
/// zone; here there is none.
fn is_steady(function: &str) -> bool {
    function.starts_with("to_timestamp")
}

/// Looks at the text of an expression: names, functions, subqueries.
struct Check<'a> {
    what: &'a str,
    functions: &'a Functions,
    columns: &'a [Field],
}

impl Check<'_> {
    fn column(&self, name: &str, quoted: bool) -> ControlFlow<Box<IoError>> {
        if self.columns.iter().any(|field| field.name() == name) {
            return ControlFlow::Continue(());
        }
        let available: Vec<String> = self.columns.iter().map(|field| field.name().clone()).collect();
        ControlFlow::Break(Box::new(IoError::SqlColumn {
            what: self.what.to_owned(),
            column: name.to_owned(),
            closest: closest_name(name, &available).map(str::to_owned),
            available,
            quoted,
        }))
    }

    fn function(&self, call: &Function) -> ControlFlow<Box<IoError>> {
        let name = call.name.to_string().to_lowercase();
        let refused = |refused| {
            ControlFlow::Break(Box::new(IoError::SqlRefused {
                what: self.what.to_owned(),
                part: format!("`{call}`"),
                refused,
            }))
        };
        if call.over.is_some() || WINDOWS.contains(&name.as_str()) {
            return refused(Refused::Window);
        }
        match self.functions.scalar.get(&name) {
            Some(function) if function.signature().volatility == Volatility::Immutable => ControlFlow::Continue(()),
            Some(function) if is_steady(function.name()) => ControlFlow::Continue(()),
            Some(_) => refused(Refused::Volatile),
            None if AGGREGATES.contains(&name.as_str()) => refused(Refused::Aggregate),
            None => ControlFlow::Break(Box::new(IoError::SqlFunction {
                what: self.what.to_owned(),
                closest: closest_name(&name, &self.functions.udf_names()).map(str::to_owned),
                function: name,
            })),
        }
    }
}

impl VisitorMut for Check<'_> {
    type Break = Box<IoError>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        ControlFlow::Break(Box::new(IoError::SqlRefused {
            what: self.what.to_owned(),
            part: format!("`{query}`"),
            refused: Refused::Subquery,
        }))
    }

    fn pre_visit_expr(&mut self, expr: &mut SqlExpr) -> ControlFlow<Self::Break> {
        match expr {
            SqlExpr::Identifier(name) => self.column(&name.value, name.quote_style.is_some()),
            SqlExpr::CompoundIdentifier(parts) => {
                // There are no tables here, so a dotted name can only be a column with a dot.
                let name = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
                *expr = SqlExpr::Identifier(Ident::with_quote('"', &name));
                self.column(&name, false)
            }
            SqlExpr::Function(call) => self.function(call),
            _ => ControlFlow::Continue(()),
        }
    }
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

fn parse_detail(error: &datafusion_sql::sqlparser::parser::ParserError) -> String {
    use datafusion_sql::sqlparser::parser::ParserError;
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
    fn a_failing_row_is_named() {
        let expression = compile("10 / V1").unwrap();
        let IoError::SqlRow { place, detail, .. } = expression.evaluate(&batch()).unwrap_err() else { panic!() };
        assert_eq!(place.row, Some(2));
        assert_eq!(detail, "divide by zero error");
        let (values, failures) = expression.evaluate_rows(&batch()).unwrap();
        assert_eq!(values.as_primitive::<arrow::datatypes::Int64Type>().value(0), 10);
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
            "to_timestamp(V1) > TIMESTAMP '1970-01-01T00:00:00'",
        ] {
            let expression = compile(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
            expression.evaluate(&batch()).unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
    }
}
