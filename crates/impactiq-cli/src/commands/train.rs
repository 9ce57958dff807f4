//! `train`: guard, averages, learner, model directory.

use std::path::Path;

use impactiq_causal::Config;
use impactiq_causal::effect::ContrastAverages;
use impactiq_causal::train::{TrainReport, train as learn};
use impactiq_data::OutcomeKind;
use impactiq_io::RowFeatures;
use impactiq_score::saved::NewModel;
use impactiq_score::{Manifest, SavedData};
use serde_json::{Map, Value, json};

use super::context::{Context, refuse_existing};
use super::load::{Run, load, read_config};
use crate::args::TrainArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::memory::peak_rss_bytes;
use crate::output::number::{self, Unit};
use crate::output::table::{Align, TextTable};

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
    let run = load(config, place, context.watch)?;
    let trained = learn(&run.checked, &run.dataset, context.watch)
        .map_err(|error| super::load::in_data(error, &run.source, &run.loaded))?;
    context.watch.check()?;
    context.watch.stage("write");
    let features = RowFeatures::compile(&run.source.derived, &run.loaded.schema)?;
    let report = trained.report;
    let manifest = NewModel {
        model: &trained.model,
        schema: &run.loaded.schema,
        derived_inputs: features.inputs(),
        derived: run.source.derived.clone(),
        roles: run.checked.roles(),
        config: run.checked.config(),
        data: saved_data(&run, &report),
        training: serde_json::to_value(&report).map_err(|e| internal(&e))?,
    }
    .write(output, context.global.overwrite)?;
    let units = run.dataset.outcomes.iter().map(|o| (o.name.clone(), unit_of(o.kind))).collect();
    let total = context.watch.elapsed() - started;
    Ok(TrainedModel { manifest, report, units, seconds: context.watch.seconds(), total })
}

/// Effects on 0/1 outcomes are shown in percentage points.
pub fn unit_of(kind: OutcomeKind) -> Unit {
    if kind == OutcomeKind::Binary { Unit::Points } else { Unit::Plain }
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
        self.seconds.iter().filter(|(name, _)| names.contains(&name.as_str())).map(|(_, seconds)| seconds).sum()
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
                "learner": self.spent(&["learner"]),
                "write": self.spent(&["write"]),
                "total": self.total,
            }),
        );
        result.insert("peak_rss_bytes".into(), json!(peak_rss_bytes()));
        Value::Object(result)
    }

    /// The result as text.
    pub fn text(&self, output: &Path) -> String {
        let report = &self.report;
        let data = &self.manifest.data;
        let arms: Vec<String> = report.arms.0.iter().map(|(arm, n)| format!("{arm}: {}", number::count(*n))).collect();
        let mut text = format!(
            "Model {} in {}\nRows: {} of {} kept, {} of them held out for evaluation\nArms (control first): {}\n",
            self.manifest.id,
            output.display(),
            number::count(data.n_rows),
            number::count(data.n_rows_read),
            number::count(data.n_holdout),
            arms.join(" · "),
        );
        for contrast in &report.contrasts {
            let unit = self.unit(&contrast.outcome);
            text.push_str(&format!(
                "\nEffect of {} against {} on {}\n",
                contrast.arm,
                self.manifest.arms.first().map_or("control", String::as_str),
                contrast.outcome
            ));
            text.push_str(&averages_table(contrast, unit).render(2));
        }
        text.push_str("\nOut-of-fold fit of the nuisance models\n");
        text.push_str(&self.fit_table().render(2));
        text.push_str(&format!(
            "\nSeconds: read {} · guard {} · nuisances {} · averages {} · learner {} · total {}; peak memory {}\n",
            number::seconds(self.spent(&["read"])),
            number::seconds(self.spent(&["guard"])),
            number::seconds(self.spent(&["nuisance"])),
            number::seconds(self.spent(&["averages"])),
            number::seconds(self.spent(&["learner"])),
            number::seconds(self.total),
            number::bytes(peak_rss_bytes()),
        ));
        let next = if data.n_holdout > 0 {
            format!("impactiq evaluate -m {}", output.display())
        } else {
            format!("impactiq score -m {} -d DATA -o scores.csv", output.display())
        };
        text.push_str(&format!("Next: {next}\n"));
        text
    }

    fn fit_table(&self) -> TextTable {
        let mut table = TextTable::new(&[
            ("outcome", Align::Left),
            ("arm", Align::Left),
            ("loss", Align::Left),
            ("model", Align::Right),
            ("constant", Align::Right),
            ("better by", Align::Right),
        ]);
        let nuisance = &self.report.nuisance;
        let of_outcomes =
            nuisance.outcomes.iter().flat_map(|o| o.arms.iter().map(move |arm| (o.outcome.as_str(), arm)));
        let of_arms = nuisance.propensity_losses.iter().map(|arm| ("(probability of the arm)", arm));
        for (name, arm) in of_outcomes.chain(of_arms) {
            let loss = &arm.loss;
            table.row([
                name.to_owned(),
                arm.arm.clone(),
                loss.loss.replace('_', " "),
                format!("{:.5}", loss.value),
                format!("{:.5}", loss.constant),
                format!("{:.1} %", (1.0 - loss.value / loss.constant) * 100.0),
            ]);
        }
        table
    }

    /// The unit of an outcome's effects.
    pub fn unit(&self, outcome: &str) -> Unit {
        self.units.iter().find(|(name, _)| name == outcome).map_or(Unit::Plain, |(_, unit)| *unit)
    }
}

/// The estimators of one contrast with intervals, then lift and incremental outcomes.
pub fn averages_table(contrast: &ContrastAverages, unit: Unit) -> TextTable {
    let mut table = TextTable::new(&[
        ("", Align::Left),
        ("estimate", Align::Right),
        ("std. error", Align::Right),
        ("n", Align::Right),
        ("95 % interval", Align::Left),
    ]);
    let estimators = &contrast.estimators;
    let rows = [
        ("AIPW (the answer)", &estimators.aipw, unit),
        ("difference in means", &estimators.difference_in_means, unit),
        ("Lin regression", &estimators.lin, unit),
        ("relative lift", &contrast.relative_lift, Unit::Percent),
        ("incremental outcomes", &contrast.incremental, Unit::Count),
    ];
    for (name, estimate, unit) in rows {
        table.row([
            name.to_owned(),
            number::value(estimate, unit),
            number::std_error(estimate, unit),
            estimate.n().map_or_else(String::new, number::count),
            number::interval(estimate, unit),
        ]);
    }
    table
}
