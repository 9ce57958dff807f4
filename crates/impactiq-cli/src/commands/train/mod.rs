//! `train`: guard, averages, learner, model directory.

use std::path::Path;

use impactiq_causal::Config;
use impactiq_causal::train::{TrainReport, train as learn};
use impactiq_data::{DataError, OutcomeKind};
use impactiq_io::RowFeatures;
use impactiq_score::saved::{NewModel, raw_columns};
use impactiq_score::{Manifest, Profile, SavedData};
use serde_json::{Map, Value, json};

use super::context::{Context, refuse_existing};
use super::load::{Run, load_with_inputs, read_config};
use crate::args::TrainArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::memory::peak_rss_bytes;
use crate::output::number::Unit;

mod estimates;
mod sections;
mod text;

/// What a training run leaves behind.
pub struct TrainedModel {
    /// What the model directory says.
    pub manifest: Manifest,
    /// What training found.
    pub report: TrainReport,
    /// Units of the outcomes, in order.
    pub units: Vec<(String, Unit)>,
    seconds: Vec<(String, f64)>,
    total: f64,
}

/// Runs the command.
///
/// # Errors
/// A [`Failure`]; nothing is written then.
pub fn run(args: &TrainArgs, context: Context<'_>) -> Outcome<Exit> {
    let config = read_config(&args.config, context.global)?;
    refuse_existing(&args.output, context)?;
    let trained = train(&config, &args.config, &args.output, context)?;
    context.watch.clear();
    for warning in &trained.report.warnings {
        context.output.warning(&warning.to_string());
    }
    let json = trained.json(&args.output);
    context.output.result(&json, || trained.text(&args.output))?;
    Ok(Exit::Done)
}

/// Trains by a configuration and writes the model directory.
///
/// # Errors
/// A [`Failure`]; nothing is written then.
pub fn train(config: &Config, place: &Path, output: &Path, context: Context<'_>) -> Outcome<TrainedModel> {
    let started = context.watch.elapsed();
    context.watch.restart_stages();
    context.watch.stage("read");
    let run = load_with_inputs(config, place, context.watch)?;
    let trained = learn(&run.checked, &run.dataset, context.watch)
        .map_err(|error| super::load::in_data(error, &run.source, &run.loaded))?;
    // A model that is there is written, however late.
    context.watch.check_interrupted()?;
    context.watch.stage("write");
    let features = RowFeatures::compile(&run.source.derived, &run.loaded.schema)?;
    let report = trained.report;
    let columns = raw_columns(&trained.model, &run.source.derived, &features.inputs());
    let profile = profile_of(&run, &columns)?;
    let manifest = NewModel {
        model: &trained.model,
        schema: &run.loaded.schema,
        derived_inputs: features.inputs(),
        derived: run.source.derived.clone(),
        roles: run.checked.roles(),
        config: run.checked.config(),
        data: saved_data(&run, &report),
        training: serde_json::to_value(&report).map_err(|e| internal(&e))?,
        profile: Some(profile),
    }
    .write(output, context.global.overwrite)?;
    let units = run.dataset.outcomes.iter().map(|o| (o.name.clone(), unit_of(o.kind))).collect();
    let total = context.watch.elapsed() - started;
    Ok(TrainedModel { manifest, report, units, seconds: context.watch.stage_seconds(), total })
}

/// Effects on 0/1 outcomes are shown in percentage points.
pub fn unit_of(kind: OutcomeKind) -> Unit {
    if kind == OutcomeKind::Binary { Unit::Points } else { Unit::Plain }
}

/// What the rows that the learner saw looked like.
fn profile_of(run: &Run, columns: &[String]) -> Outcome<Profile> {
    let held_out = run.checked.holdout(&run.dataset)?;
    let used: Vec<bool> = held_out.into_iter().map(|held_out| !held_out).collect();
    let views = columns.iter().map(|name| -> Result<_, DataError> {
        let view = run.dataset.raw.column(name).or_else(|_| run.beside.column(name))?;
        Ok((run.loaded.schema.field(name)?, view))
    });
    Ok(Profile::of(&views.collect::<Result<Vec<_>, _>>()?, &used))
}

fn saved_data(run: &Run, report: &TrainReport) -> SavedData {
    SavedData {
        paths: run.source.paths.clone(),
        filter: run.source.filter.clone(),
        fingerprint: run.loaded.fingerprint.clone(),
        n_rows_read: run.loaded.n_rows_read,
        n_rows: report.n_rows,
        n_holdout: report.n_holdout,
    }
}

fn internal(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("internal error: {error}"), "please report this")
}

impl TrainedModel {
    fn spent(&self, names: &[&str]) -> f64 {
        self.seconds
            .iter()
            .filter(|(name, _)| names.contains(&name.as_str()))
            .fold(0.0, |sum, (_, seconds)| sum + seconds)
    }

    /// The result as the JSON contract says.
    pub fn json(&self, output: &Path) -> Value {
        let mut result = Map::new();
        result.insert("model".into(), json!({"id": self.manifest.id, "path": output.display().to_string()}));
        if let Ok(Value::Object(report)) = serde_json::to_value(&self.report) {
            result.extend(report);
        }
        let warnings: Vec<String> = self.report.warnings.iter().map(ToString::to_string).collect();
        result.insert("warnings".into(), json!(warnings));
        result.insert(
            "seconds".into(),
            json!({
                "read": self.spent(&["read"]),
                "guard": self.spent(&["guard"]),
                "nuisance": self.spent(&["nuisance"]),
                "averages": self.spent(&["averages"]),
                "dml": self.spent(&["dml"]),
                "learner": self.spent(&["learner"]),
                "write": self.spent(&["write"]),
                "total": self.total,
            }),
        );
        result.insert("peak_rss_bytes".into(), json!(peak_rss_bytes()));
        Value::Object(result)
    }

    /// The unit of an outcome's effects.
    pub fn unit(&self, outcome: &str) -> Unit {
        self.units.iter().find(|(name, _)| name == outcome).map_or(Unit::Plain, |(_, unit)| *unit)
    }
}
