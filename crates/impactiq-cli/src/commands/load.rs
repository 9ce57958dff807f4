//! From a configuration file to checked rows in memory: what `check`, `train` and
//! `evaluate` start with.

use std::collections::BTreeMap;
use std::path::Path;

use impactiq_causal::config::{ColumnType, DataConfig};
use impactiq_causal::{CausalError, CheckedConfig, Config};
use impactiq_data::{DataError, Dataset, Field, RawType, Schema, Table, Watch};
use impactiq_io::{Derived, IoError, Loaded, RowFeatures, Source, read, read_schema};

use crate::args::Global;
use crate::exit::{Failure, Outcome};

/// A configuration with the rows it speaks of.
pub struct Run {
    /// The configuration, checked against the data's columns.
    pub checked: CheckedConfig,
    /// Where the rows come from.
    pub source: Source,
    /// What was read, with the table moved into the dataset.
    pub loaded: Loaded,
    /// The rows.
    pub dataset: Dataset,
    /// Raw columns that derived features read and that are nothing else in this run; only where
    /// they were asked for.
    pub beside: Table,
}

/// Reads a configuration file with the overrides of environment and flags.
///
/// # Errors
/// A [`Failure`] naming the file, and its line and column where the YAML is wrong.
pub fn read_config(path: &Path, global: &Global) -> Outcome<Config> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => "`impactiq init DATA` writes a configuration to start from",
            std::io::ErrorKind::InvalidData => "save the file as UTF-8",
            _ => "check the path",
        };
        Failure::new(format!("the configuration cannot be read: {error}"), hint).at(path.display())
    })?;
    let overrides = overrides(global)?;
    Config::from_yaml(&text, &path.display().to_string(), &overrides).map_err(|error| config_failure(error, path))
}

/// `--seed` is a setting like others, stronger than `--set`.
fn overrides(global: &Global) -> Outcome<Vec<(String, String)>> {
    let environment = std::env::var("IMPACTIQ_SET").ok();
    let mut overrides = global.overrides(environment.as_deref())?;
    overrides.extend(global.seed.map(|seed| ("split.seed".to_owned(), seed.to_string())));
    Ok(overrides)
}

/// An error of the configuration; YAML errors name the file themselves.
pub fn config_failure(error: CausalError, path: &Path) -> Failure {
    let names_its_place =
        matches!(error, CausalError::Yaml { .. } | CausalError::UnknownKey { .. } | CausalError::Override { .. });
    let failure = Failure::from(error);
    if names_its_place { failure } else { failure.at(path.display()) }
}

/// The source that a configuration speaks of.
///
/// # Errors
/// A [`Failure`] for a delimiter that isn't one byte.
pub fn source_of(config: &Config) -> Outcome<Source> {
    let DataConfig { path, filter, delimiter, types } = &config.data;
    let delimiter = match delimiter.as_deref().map(str::as_bytes) {
        None => None,
        Some([byte]) => Some(*byte),
        Some(_) => return Err(Failure::new("data.delimiter must be one character", "e.g. delimiter: \";\"")),
    };
    let derived = config.features.0.iter().map(|(name, sql)| Derived { name: name.clone(), sql: sql.clone() });
    Ok(Source {
        paths: path.0.clone(),
        filter: filter.clone(),
        delimiter,
        derived: derived.collect(),
        types: given_types(types)?,
        keys: config.roles.cluster.iter().cloned().collect(),
    })
}

/// Types that are given instead of being guessed.
fn given_types(types: &BTreeMap<String, ColumnType>) -> Outcome<Option<Schema>> {
    if types.is_empty() {
        return Ok(None);
    }
    let field = |(name, given): (&String, &ColumnType)| Field {
        name: name.clone(),
        raw_type: match given {
            ColumnType::Text => RawType::Text,
            ColumnType::Number => RawType::Float64,
        },
    };
    Ok(Some(Schema::new(types.iter().map(field).collect())?))
}

/// Reads the rows of a configuration and checks every role.
///
/// # Errors
/// A [`Failure`] naming file, row, column and value.
pub fn load(config: &Config, place: &Path, watch: &dyn Watch) -> Outcome<Run> {
    let (checked, source) = check(config, place)?;
    let loaded = read(&source, &checked.columns(), watch).map_err(|error| in_config(error, place))?;
    build(checked, source, loaded)
}

/// The same, with the raw columns that derived features read: [`Run::beside`].
///
/// # Errors
/// As [`load`].
pub fn load_with_inputs(config: &Config, place: &Path, watch: &dyn Watch) -> Outcome<Run> {
    let (checked, source) = check(config, place)?;
    let asked = checked.columns();
    let mut columns = asked.clone();
    if !source.derived.is_empty() {
        // What is wrong with an expression is told by reading, with its place.
        let schema = read_schema(&source).map_err(|error| in_config(error, place))?.schema;
        let inputs = RowFeatures::compile(&source.derived, &schema).map(|all| all.select(&asked).inputs());
        columns.extend(inputs.unwrap_or_default().into_iter().filter(|name| !asked.contains(name)));
    }
    let mut loaded = read(&source, &columns, watch).map_err(|error| in_config(error, place))?;
    let mut beside = Table::new();
    for name in &columns[asked.len()..] {
        beside.push(name.clone(), loaded.table.take(name)?)?;
    }
    Ok(Run { beside, ..build(checked, source, loaded)? })
}

/// Checks settings and roles against the columns that exist.
///
/// # Errors
/// A [`Failure`] naming the configuration and the column.
pub fn check(config: &Config, place: &Path) -> Outcome<(CheckedConfig, Source)> {
    config.check_settings().map_err(|error| config_failure(error, place))?;
    let source = source_of(config).map_err(|failure| failure.at(place.display()))?;
    let schema = read_schema(&source).map_err(|error| in_config(error, place))?.schema;
    let checked = config.check(&schema.names()).map_err(|error| config_failure(error, place))?;
    Ok((checked, source))
}

/// Builds the dataset from a loaded table.
///
/// # Errors
/// A [`Failure`] naming file, row, column and value.
pub fn build(checked: CheckedConfig, source: Source, mut loaded: Loaded) -> Outcome<Run> {
    let table = std::mem::take(&mut loaded.table);
    let row_ids = std::mem::take(&mut loaded.row_ids);
    match checked.dataset(table, row_ids) {
        Ok(dataset) => Ok(Run { checked, source, loaded, dataset, beside: Table::new() }),
        Err(error) => Err(in_data(error, &source, &loaded)),
    }
}

/// Errors that speak of SQL or a column belong to the configuration; the others name a file.
fn in_config(error: IoError, place: &Path) -> Failure {
    let by_config = matches!(
        error,
        IoError::Data(_)
            | IoError::NoFiles { .. }
            | IoError::NoRowsLeft { .. }
            | IoError::Sql { .. }
            | IoError::SqlColumn { .. }
            | IoError::SqlFunction { .. }
            | IoError::SqlRefused { .. }
            | IoError::SqlType { .. }
    );
    let failure = Failure::from(error);
    if by_config { failure.at(place.display()) } else { failure }
}

/// An error about the rows, with the file and line of the row it names.
pub fn in_data(error: CausalError, source: &Source, loaded: &Loaded) -> Failure {
    let row = match &error {
        CausalError::Data(DataError::MissingValues { first_row, .. }) => Some(*first_row),
        CausalError::Data(DataError::NotANumber { row, .. } | DataError::BadValue { row, .. }) => Some(*row),
        _ => None,
    };
    let failure = Failure::from(error);
    match row.and_then(|row| loaded.locate(row.saturating_sub(1))) {
        None => failure.at(source.paths.join(", ")),
        Some(location) => {
            let file = location.path.display();
            match location.line {
                Some(line) => failure.at(format!("{file}, line {line}")),
                None => failure.at(format!("{file}, row {}", location.row)),
            }
        }
    }
}
