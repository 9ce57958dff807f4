//! The functions an expression may call, and the names of those it may not.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_expr::{ScalarUDF, Volatility};
use impactiq_data::error::closest_name;

use crate::error::{IoError, Refused};

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

/// Functions of the values of one row.
pub(super) struct Functions {
    by_name: BTreeMap<String, Arc<ScalarUDF>>,
}

impl Functions {
    pub fn new() -> Self {
        let mut by_name = BTreeMap::new();
        for function in datafusion_functions::all_default_functions() {
            for alias in function.aliases() {
                by_name.insert(alias.to_lowercase(), Arc::clone(&function));
            }
            by_name.insert(function.name().to_lowercase(), function);
        }
        Functions { by_name }
    }

    /// A function by name, in any case; `part` is the call as it stands in the expression.
    pub fn find(&self, what: &str, name: &str, part: &str) -> Result<Arc<ScalarUDF>, IoError> {
        let name = name.to_lowercase();
        let refused = |refused| IoError::SqlRefused { what: what.to_owned(), part: format!("`{part}`"), refused };
        match self.by_name.get(&name) {
            Some(function) if is_steady(function) => Ok(Arc::clone(function)),
            Some(_) => Err(refused(Refused::Volatile)),
            None if WINDOWS.contains(&name.as_str()) => Err(refused(Refused::Window)),
            None if AGGREGATES.contains(&name.as_str()) => Err(refused(Refused::Aggregate)),
            None => {
                let known: Vec<String> = self.by_name.keys().cloned().collect();
                let closest = closest_name(&name, &known).map(str::to_owned);
                Err(IoError::SqlFunction { what: what.to_owned(), function: name, closest })
            }
        }
    }
}

/// The same result on every run. The `to_timestamp` family is marked as changing only because
/// a session could set another time zone; here there is none.
fn is_steady(function: &ScalarUDF) -> bool {
    function.signature().volatility == Volatility::Immutable || function.name().starts_with("to_timestamp")
}
