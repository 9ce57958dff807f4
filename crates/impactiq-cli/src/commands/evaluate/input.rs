//! What is evaluated: a model on its hold-out or on other data, or a column of scores.

use std::path::Path;

use impactiq_causal::{CausalError, Config, evaluate, evaluate_scores};
use impactiq_data::{ColumnView, DataError, Dataset, Schema};
use impactiq_io::{IoError, Loaded, Source, fingerprint, read, read_schema};
use impactiq_score::Manifest;

use super::evaluated::{Evaluated, ScoresFrom};
use crate::commands::context::Context;
use crate::commands::load::{Run, build, check, config_failure, in_data, read_config, source_of};
use crate::commands::train::unit_of;
use crate::exit::{Failure, Outcome};

/// A model on the rows that were kept from it, or on other data.
pub fn by_model(path: &Path, data: Option<&str>, context: Context<'_>) -> Outcome<Evaluated> {
    let (manifest, model) = Manifest::open(path)?;
    let config = with_overrides(&manifest, context)?;
    let mut source = source_of(&config)?;
    if let Some(data) = data {
        source.paths = vec![data.to_owned()];
        source.types = Some(with_given(&manifest, source.types.take())?);
    }
    let same = is_training_data(&source, &manifest, data.is_none())?;
    let schema = read_schema(&source)?.schema;
    let checked = config.check(&schema.names()).map_err(|error| at_data(error, &source))?;
    let loaded = read(&source, &checked.columns(), context.watch)?;
    let run = build(checked, source, loaded)?;
    let held_out = if same { run.checked.holdout(&run.dataset)? } else { vec![false; run.dataset.n_rows()] };
    let rows: Vec<u32> = match data {
        // The default: only rows the model has not seen.
        None => (0..run.dataset.n_rows() as u32).filter(|&row| held_out[row as usize]).collect(),
        Some(_) => (0..run.dataset.n_rows() as u32).collect(),
    };
    if rows.is_empty() {
        return Err(Failure::new(
            "no rows were kept from this model: it was trained with split.holdout: 0",
            "evaluate it on other data with -d DATA, or train with a hold-out",
        )
        .at(path.display()));
    }
    let n_trained_on = if same { rows.iter().filter(|&&row| !held_out[row as usize]).count() as u64 } else { 0 };
    let report = evaluate(&model, &run.dataset, &rows, &run.checked, context.watch)
        .map_err(|error| in_data(error, &run.source, &run.loaded))?;
    context.watch.check()?;
    Ok(Evaluated {
        report,
        scores: ScoresFrom::Model { id: manifest.id, path: path.to_owned() },
        data: run.source.paths.join(", "),
        held_out: n_trained_on == 0,
        n_trained_on,
        units: units(&run.dataset),
        dose: run.dataset.dose.is_some(),
    })
}

/// The model's raw schema, and the types its configuration gives to other columns.
fn with_given(manifest: &Manifest, given: Option<Schema>) -> Result<Schema, DataError> {
    let mut fields = manifest.schema.fields().to_vec();
    for field in given.iter().flat_map(Schema::fields) {
        if !fields.iter().any(|known| known.name == field.name) {
            fields.push(field.clone());
        }
    }
    Schema::new(fields)
}

/// The model's configuration with overrides. Which rows were held out was decided when the
/// model was trained, so nothing that decides it can be changed.
fn with_overrides(manifest: &Manifest, context: Context<'_>) -> Outcome<Config> {
    let may_change =
        |(key, _): &(String, String)| ["evaluate", "nuisance", "gates"].contains(&key.split('.').next().unwrap_or(""));
    let flags = context.global.overrides(None)?;
    if let Some((key, _)) = flags.iter().find(|entry| !may_change(entry)) {
        return Err(Failure::new(
            format!("{key} was fixed when the model was trained"),
            "only evaluate.*, nuisance.* and gates.* can be set here; train again to change the rest",
        )
        .at("--set"));
    }
    if context.global.seed.is_some() {
        context.output.note("note: --seed is ignored here: the hold-out is the one the model was trained with");
    }
    // What the environment sets for training has no bearing on a finished model.
    let environment = std::env::var("IMPACTIQ_SET").ok();
    let mut overrides = context.global.overrides(environment.as_deref())?;
    overrides.retain(may_change);
    if overrides.is_empty() {
        return Ok(manifest.config.clone());
    }
    Ok(Config::from_yaml(&manifest.config.to_yaml()?, "the model's configuration", &overrides)?)
}

/// Whether the source is the data of the training; when it must be and isn't, an error.
fn is_training_data(source: &Source, manifest: &Manifest, must_be: bool) -> Outcome<bool> {
    let found = fingerprint(source).map_err(|error| {
        let failure = Failure::from(error);
        if must_be {
            let hint = "the model was trained on it; run from the same folder, or give data with -d DATA";
            Failure { hint: Some(hint.into()), ..failure }
        } else {
            failure
        }
    })?;
    let same = found == manifest.data.fingerprint;
    if must_be && !same {
        return Err(IoError::DataChanged { paths: source.paths.clone() }.into());
    }
    Ok(same)
}

/// A column of scores that any program may have written.
pub fn by_column(path: &Path, data: Option<&str>, column: &str, context: Context<'_>) -> Outcome<Evaluated> {
    let mut config = read_config(path, context.global)?;
    if let Some(data) = data {
        config.data.path.0 = vec![data.to_owned()];
    }
    // A score must never be a feature of the models that judge it.
    let mut ids = config.roles.id.take().unwrap_or_default();
    if !ids.0.iter().any(|name| name == column) {
        ids.0.push(column.to_owned());
    }
    config.roles.id = Some(ids);
    let (checked, source) = check(&config, path)?;
    let mut columns = checked.columns();
    columns.push(column.to_owned());
    let mut loaded = read(&source, &columns, context.watch)?;
    let scores = take_scores(&mut loaded, column).map_err(|error| in_data(error.into(), &source, &loaded))?;
    let run: Run = build(checked, source, loaded)?;
    let data = &run.dataset;
    let rows: Vec<u32> = (0..data.n_rows() as u32).collect();
    let n_contrasts = if data.dose.is_some() { 1 } else { data.treatment.arms.n_contrasts() };
    let per_outcome = vec![scores; n_contrasts];
    let report = evaluate_scores(vec![per_outcome; data.outcomes.len()], data, &rows, &run.checked, context.watch)
        .map_err(|error| in_data(error, &run.source, &run.loaded))?;
    context.watch.check()?;
    Ok(Evaluated {
        report,
        scores: ScoresFrom::Column(column.to_owned()),
        data: run.source.paths.join(", "),
        held_out: false,
        n_trained_on: 0,
        units: units(&run.dataset),
        dose: run.dataset.dose.is_some(),
    })
}

fn take_scores(loaded: &mut Loaded, column: &str) -> Result<Vec<f64>, DataError> {
    let at = |row: usize| loaded.row_ids[row] + 1;
    let values = match loaded.table.column(column)? {
        ColumnView::Number(values) => values.to_vec(),
        view @ ColumnView::Category { .. } => {
            let is_text = |row: &usize| view.text(*row).is_some_and(|text| text.parse::<f64>().is_err());
            let row = (0..view.len()).find(is_text).unwrap_or_default();
            let value = view.text(row).unwrap_or_default();
            return Err(DataError::NotANumber { column: column.to_owned(), role: "score", value, row: at(row) });
        }
    };
    let mut missing = values.iter().enumerate().filter(|(_, value)| value.is_nan());
    if let Some((first, _)) = missing.next() {
        let n_missing = 1 + missing.count();
        let column = column.to_owned();
        return Err(DataError::MissingValues { column, role: "score", n_missing, first_row: at(first) });
    }
    loaded.table.take(column)?;
    Ok(values)
}

fn units(data: &Dataset) -> Vec<(String, crate::output::number::Unit)> {
    data.outcomes.iter().map(|outcome| (outcome.name.clone(), unit_of(outcome.kind))).collect()
}

fn at_data(error: CausalError, source: &Source) -> Failure {
    config_failure(error, Path::new(&source.paths.join(", ")))
}
