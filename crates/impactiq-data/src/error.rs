//! What can be wrong with data, as values with fields.
//!
//! `Display` says what and where in lower case; [`DataError::hint`] says what to do next.

use thiserror::Error;

/// Something about the data or its roles that the user can mend.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum DataError {
    /// A named column is not there.
    #[error("column '{column}' does not exist")]
    MissingColumn {
        /// The name asked for.
        column: String,
        /// The most similar existing name, if one is similar enough.
        closest: Option<String>,
        /// Every existing name.
        available: Vec<String>,
    },
    /// A name stands twice.
    #[error("column '{column}' stands more than once")]
    DuplicateColumn {
        /// The repeated name.
        column: String,
    },
    /// A column has another length than its table.
    #[error("'{what}' has {found} rows where {expected} were expected")]
    Length {
        /// What was measured.
        what: String,
        /// Rows expected.
        expected: usize,
        /// Rows found.
        found: usize,
    },
    /// No rows are left.
    #[error("no rows{}", .after.as_ref().map(|a| format!(" are left after {a}")).unwrap_or_default())]
    NoRows {
        /// What removed them, when something did.
        after: Option<String>,
    },
    /// A value is missing where none may be.
    #[error("column '{column}' ({role}) has {n_missing} missing value{}, the first in row {first_row}", if *.n_missing == 1 { "" } else { "s" })]
    MissingValues {
        /// The column.
        column: String,
        /// Its role.
        role: &'static str,
        /// How many.
        n_missing: usize,
        /// First row, counted from 1 without the header.
        first_row: u64,
    },
    /// A column holds text where numbers are needed.
    #[error("column '{column}' ({role}) holds text such as '{value}' (row {row}) where numbers are needed")]
    NotANumber {
        /// The column.
        column: String,
        /// Its role.
        role: &'static str,
        /// An offending value.
        value: String,
        /// Its row, counted from 1 without the header.
        row: u64,
    },
    /// A value is outside what its role allows.
    #[error("column '{column}' ({role}) has the value {value} in row {row}; {allowed}")]
    BadValue {
        /// The column.
        column: String,
        /// Its role.
        role: &'static str,
        /// The value as text.
        value: String,
        /// Its row, counted from 1 without the header.
        row: u64,
        /// What would be allowed.
        allowed: String,
    },
    /// A column has one value only.
    #[error("column '{column}' ({role}) has only the value '{value}'")]
    Constant {
        /// The column.
        column: String,
        /// Its role.
        role: &'static str,
        /// Its single value.
        value: String,
    },
    /// The control is not among the treatment's values.
    #[error("control '{control}' is not a value of the treatment column '{column}'")]
    UnknownControl {
        /// The treatment column.
        column: String,
        /// The control asked for.
        control: String,
        /// Values found.
        found: Vec<String>,
    },
    /// Too many distinct treatment values to be arms.
    #[error("treatment column '{column}' has {n_values} distinct values; at most {limit} arms are possible")]
    TooManyArms {
        /// The treatment column.
        column: String,
        /// Distinct values.
        n_values: usize,
        /// The limit.
        limit: usize,
    },
    /// A dose that is a treatment of two arms.
    #[error("column '{column}' (dose) has only the values 0 and 1, which are two arms rather than amounts")]
    BinaryDose {
        /// The column.
        column: String,
    },
    /// A column has two roles that exclude each other.
    #[error("column '{column}' cannot be both {first} and {second}")]
    RoleConflict {
        /// The column.
        column: String,
        /// One role.
        first: &'static str,
        /// The other role.
        second: &'static str,
    },
    /// A glob of the features matches nothing.
    #[error("feature pattern '{pattern}' matches no column")]
    EmptyPattern {
        /// The pattern.
        pattern: String,
    },
    /// Nothing is left to learn from.
    #[error("no feature columns are left after taking out the columns with other roles")]
    NoFeatures,
    /// An arm (or stratum, or fold) has too few rows.
    #[error("{what} has {found} rows; at least {needed} are needed")]
    TooFewRows {
        /// What is too small.
        what: String,
        /// Rows found.
        found: usize,
        /// Rows needed.
        needed: usize,
    },
    /// A name that must be one of a list isn't.
    #[error("there is no {what} named '{name}'")]
    UnknownName {
        /// What is being named.
        what: &'static str,
        /// The name asked for.
        name: String,
        /// The most similar existing name, if one is similar enough.
        closest: Option<String>,
        /// Every existing name.
        available: Vec<String>,
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
    /// Something that must agree with the model's schema doesn't.
    #[error("column '{column}' is {found} where the model was trained with {expected}")]
    TypeMismatch {
        /// The column.
        column: String,
        /// Type at training.
        expected: String,
        /// Type now.
        found: String,
    },
}

impl DataError {
    /// A missing column with the closest of the available names.
    pub fn missing_column(column: &str, available: &[String]) -> Self {
        DataError::MissingColumn {
            column: column.to_owned(),
            closest: closest_name(column, available).map(str::to_owned),
            available: available.to_vec(),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            DataError::MissingColumn { closest: Some(name), .. } => format!("did you mean '{name}'?"),
            DataError::MissingColumn { available, .. } => {
                format!("the columns are: {}", shorten(available, 20))
            }
            DataError::UnknownName { closest: Some(name), .. } => format!("did you mean '{name}'?"),
            DataError::UnknownName { available, .. } => format!("choose one of: {}", shorten(available, 20)),
            DataError::DuplicateColumn { .. } => "give every column a name of its own".into(),
            DataError::NoRows { .. } => "check the path and the `where` filter".into(),
            DataError::MissingValues { column, role, .. } => {
                format!("remove those rows, e.g. with `where: \"{column} IS NOT NULL\"`, or mend the {role} column")
            }
            DataError::NotANumber { role: "outcome", .. } => "recode it, e.g. as 0/1".into(),
            DataError::NotANumber { .. } => "recode the column as numbers".into(),
            DataError::Constant { role: "treatment", .. } => {
                "an effect needs at least two arms: check the `where` filter and the treatment column".into()
            }
            DataError::Constant { role: "outcome", .. } => {
                "there is nothing to learn from a constant: check the outcome column and the `where` filter".into()
            }
            DataError::Constant { role: "dose", .. } => {
                "an effect per unit needs doses that differ: check the `where` filter and the dose column".into()
            }
            DataError::Constant { role: "instrument", .. } => {
                "an instrument must move the treatment: check the `where` filter and `roles.instrument`".into()
            }
            DataError::BinaryDose { column } => format!("write `roles: {{treatment: {column}, control: 0}}`"),
            DataError::UnknownControl { found, .. } => {
                format!("set `roles.control` to one of: {}", shorten(found, 20))
            }
            DataError::TooManyArms { .. } => {
                "if it is an amount, write `roles: {dose: …}` instead of treatment and control; else choose a column that \
                 names the arm"
                    .into()
            }
            DataError::RoleConflict { column, first, second } => {
                format!("take '{column}' out of {first} or out of {second}")
            }
            DataError::EmptyPattern { .. } => "check `roles.features`".into(),
            DataError::NoFeatures => "name feature columns in `roles.features`".into(),
            DataError::TooFewRows { .. } => "bring more rows, or merge small arms or clusters".into(),
            DataError::TypeMismatch { .. } => "bring the column in the type it had at training".into(),
            _ => return None,
        })
    }
}

/// The most similar of some names, if it is similar enough to be a slip of the finger.
///
/// ```
/// let names = ["treatment".to_string(), "visit".to_string()];
/// assert_eq!(impactiq_data::error::closest_name("treatmnt", &names), Some("treatment"));
/// assert_eq!(impactiq_data::error::closest_name("revenue", &names), None);
/// ```
pub fn closest_name<'a>(wanted: &str, names: &'a [String]) -> Option<&'a str> {
    let wanted_lower = wanted.to_lowercase();
    let (score, name) = names
        .iter()
        .map(|name| (strsim::jaro_winkler(&wanted_lower, &name.to_lowercase()), name))
        .max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score >= 0.82).then_some(name.as_str())
}

/// Joins names, cut after `limit` of them.
pub fn shorten(names: &[String], limit: usize) -> String {
    let mut text = names.iter().take(limit).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > limit {
        text.push_str(&format!(", … ({} more)", names.len() - limit));
    }
    text
}
