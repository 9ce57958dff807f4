//! What can be wrong with the numbers handed to a metric, as values with fields.
//!
//! A statistic that merely cannot be computed (an empty arm, equal scores) is no error: it
//! is an undefined [`crate::Estimate`] with its reason. Errors are for input that no answer
//! should be given to: lengths that disagree, values outside their range.

use thiserror::Error;

/// Something about the input of a metric that the caller can mend.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum MetricsError {
    /// Two inputs that belong together have different lengths.
    #[error("'{what}' has {found} rows where {expected} were expected")]
    Length {
        /// What was measured.
        what: &'static str,
        /// Rows expected.
        expected: usize,
        /// Rows found.
        found: usize,
    },
    /// There is nothing to compute with.
    #[error("'{what}' has no rows")]
    NoRows {
        /// What is empty.
        what: &'static str,
    },
    /// A value is outside what its role allows.
    #[error("'{what}' has the value {value} in row {row}; {allowed}")]
    BadValue {
        /// What holds the value.
        what: &'static str,
        /// Its row, counted from 0.
        row: usize,
        /// The value.
        value: f64,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// A setting is outside its range.
    #[error("{what} is {value}; {allowed}")]
    BadSetting {
        /// The setting's name.
        what: &'static str,
        /// Its value as text.
        value: String,
        /// What would be allowed.
        allowed: &'static str,
    },
    /// A model has as many coefficients as rows, or more.
    #[error("{what} has {found} rows; at least {needed} are needed")]
    TooFewRows {
        /// What is too small.
        what: &'static str,
        /// Rows (or clusters) found.
        found: usize,
        /// Rows (or clusters) needed.
        needed: usize,
    },
}

impl MetricsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            MetricsError::Length { what, expected, .. } => {
                format!("bring exactly {expected} values of '{what}', one per row")
            }
            MetricsError::NoRows { .. } => "check the path, the `where` filter and the hold-out share".into(),
            MetricsError::BadValue { what: "score", .. } => {
                "remove the rows without a finite score, or score them first".into()
            }
            MetricsError::BadValue { what, .. } => format!("mend or remove that row's '{what}'"),
            MetricsError::BadSetting { allowed, .. } => (*allowed).into(),
            MetricsError::TooFewRows { .. } => "bring more rows, or fewer covariates".into(),
        })
    }
}

/// Checks one length against another.
///
/// # Errors
/// [`MetricsError::Length`].
pub(crate) fn same_length(what: &'static str, expected: usize, found: usize) -> Result<(), MetricsError> {
    if expected == found { Ok(()) } else { Err(MetricsError::Length { what, expected, found }) }
}

/// Checks that every value is finite.
///
/// # Errors
/// [`MetricsError::BadValue`] naming the first row that isn't.
pub(crate) fn all_finite(what: &'static str, values: &[f64]) -> Result<(), MetricsError> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(row) => {
            Err(MetricsError::BadValue { what, row, value: values[row], allowed: "it must be a finite number" })
        }
    }
}

/// Checks that weights are finite and not negative.
///
/// # Errors
/// [`MetricsError::BadValue`], [`MetricsError::Length`].
pub(crate) fn good_weights(weights: &[f64], n: usize) -> Result<(), MetricsError> {
    same_length("weight", n, weights.len())?;
    match weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
        None => Ok(()),
        Some(row) => Err(MetricsError::BadValue {
            what: "weight",
            row,
            value: weights[row],
            allowed: "it must be finite and not negative",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_row_and_hints_say_what_to_do() {
        let error = all_finite("score", &[1.0, f64::NAN]).unwrap_err();
        assert_eq!(error.to_string(), "'score' has the value NaN in row 1; it must be a finite number");
        assert!(error.hint().unwrap().contains("finite score"));
        assert!(good_weights(&[1.0, -1.0], 2).is_err());
        assert!(same_length("outcome", 2, 3).unwrap_err().to_string().contains("3 rows where 2"));
    }
}
