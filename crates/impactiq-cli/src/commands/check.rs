//! `check`: can this experiment be trusted?

use std::path::Path;

use impactiq_causal::train::check as examine;
use impactiq_causal::{CheckReport, Config};
use impactiq_data::Dataset;
use impactiq_io::fingerprint;
use impactiq_score::{Manifest, write_check};
use serde_json::{Value, json};

use super::context::{Context, refuse_existing, write_text};
use super::load::{in_data, load, read_config, source_of};
use crate::args::CheckArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::chart::{BalanceChart, BalancePoint};
use crate::output::number;
use crate::output::table::{Align, TextTable};

/// Features shown in the text; JSON has all.
const SHOWN_FEATURES: usize = 10;

/// What was found about an experiment.
pub struct Checked {
    /// Gates, balance and warnings.
    pub report: CheckReport,
    /// Rows per arm, the control first.
    pub arms: Vec<(String, u64)>,
    /// The dose, in place of arms.
    pub dose: Option<String>,
    n_rows: u64,
    n_rows_read: u64,
    smd_max: f64,
}

/// Runs the command; a gate that fails leads to exit code 1.
///
/// # Errors
/// A [`crate::exit::Failure`] when the experiment cannot be read.
pub fn run(args: &CheckArgs, context: Context<'_>) -> Outcome<Exit> {
    if let Some(chart) = &args.chart {
        refuse_existing(chart, context)?;
    }
    let config = read_config(&args.config, context.global)?;
    let model =
        args.model.as_deref().map(|path| same_data(path, &config).map(|manifest| (path, manifest))).transpose()?;
    let checked = check(&config, &args.config, context)?;
    context.watch.clear();
    if let Some((path, manifest)) = &model {
        checked.keep(path, manifest, context);
    }
    if let Some(chart) = &args.chart {
        write_text(chart, &checked.chart()?)?;
    }
    for warning in &checked.report.warnings {
        context.output.warning(&warning.to_string());
    }
    context.output.result(&checked.json(), || checked.text(&args.config))?;
    Ok(if checked.report.passed { Exit::Done } else { Exit::GateFailed })
}

/// The manifest of a model that was trained on the data of a configuration; checks of other rows
/// would say nothing about it.
fn same_data(path: &Path, config: &Config) -> Outcome<Manifest> {
    let manifest = Manifest::read(path)?;
    let source = source_of(config)?;
    let differs = |what: &str| {
        let message = format!("the model was trained on other {what} than this configuration speaks of");
        Err(Failure::new(message, "give the model that was trained with it, or leave out -m").at(path.display()))
    };
    if source.filter != manifest.data.filter {
        return differs("rows (`data.where`)");
    }
    if fingerprint(&source)? != manifest.data.fingerprint {
        return differs("data");
    }
    Ok(manifest)
}

/// Examines the experiment that a configuration speaks of.
///
/// # Errors
/// A [`crate::exit::Failure`] when it cannot be read.
pub fn check(config: &Config, place: &Path, context: Context<'_>) -> Outcome<Checked> {
    let run = load(config, place, context.watch)?;
    let report =
        examine(&run.checked, &run.dataset, context.watch).map_err(|error| in_data(error, &run.source, &run.loaded))?;
    context.watch.check()?;
    Ok(Checked {
        report,
        arms: arms(&run.dataset),
        dose: run.dataset.dose.as_ref().map(|dose| dose.name.clone()),
        n_rows: run.dataset.n_rows() as u64,
        n_rows_read: run.loaded.n_rows_read,
        smd_max: config.gates.smd_max,
    })
}

fn arms(data: &Dataset) -> Vec<(String, u64)> {
    let counts = data.treatment.counts().into_iter().map(|n| n as u64);
    data.treatment.arms.labels().iter().cloned().zip(counts).collect()
}

impl Checked {
    /// Leaves the result with a model of the same data. What cannot be written is told and
    /// costs nothing else.
    pub fn keep(&self, path: &Path, manifest: &Manifest, context: Context<'_>) {
        let mut result = self.json();
        result["model"] = json!({"id": manifest.id});
        result["smd_max"] = json!(self.smd_max);
        if let Err(error) = write_check(path, &result) {
            context.output.note(&format!("note: the results were not left with the model: {error}"));
        }
    }

    /// The result as the JSON contract says.
    pub fn json(&self) -> Value {
        let report = serde_json::to_value(&self.report).unwrap_or_default();
        let warnings: Vec<String> = self.report.warnings.iter().map(ToString::to_string).collect();
        let arms: serde_json::Map<String, Value> = self.arms.iter().map(|(arm, n)| (arm.clone(), json!(n))).collect();
        json!({
            "n_rows": self.n_rows,
            "arms": arms,
            "dose": self.dose,
            "gates": report["gates"],
            "balance": report["balance"],
            "warnings": warnings,
            "passed": self.report.passed,
        })
    }

    /// The result as text.
    pub fn text(&self, config: &Path) -> String {
        let arms: Vec<String> = self.arms.iter().map(|(arm, n)| format!("{arm}: {}", number::count(*n))).collect();
        let treatment = match &self.dose {
            Some(dose) => format!("Dose: {dose}"),
            None => format!("Arms (control first): {}", arms.join(" · ")),
        };
        let mut text = format!(
            "Rows: {} of {} kept\n{treatment}\n\n",
            number::count(self.n_rows),
            number::count(self.n_rows_read),
        );
        for gate in &self.report.gates {
            let mark = match (gate.passed, gate.value) {
                (false, _) => "FAILED",
                (true, None) => "–",
                (true, Some(_)) if gate.limit.is_none() => "info",
                (true, Some(_)) => "passed",
            };
            text.push_str(&format!("{mark:<7} {:<15} {}\n", gate.name.replace('_', " "), gate.detail));
        }
        let sides = if self.dose.is_some() { "high and low doses" } else { "the arms" };
        text.push_str(&format!("\nLargest differences between {sides} (of {})\n", self.report.balance.len()));
        text.push_str(&self.balance_table().render(2));
        if self.report.passed {
            text.push_str(&format!("\nNo gate failed.\nNext: impactiq train -c {} -o model\n", config.display()));
        } else {
            text.push_str("\nA gate failed: find out why before you believe any effect.\n");
        }
        text
    }

    fn balance_table(&self) -> TextTable {
        let mut table = TextTable::new(&[
            ("feature", Align::Left),
            ("arm", Align::Left),
            ("std. difference", Align::Right),
            ("p (Bonferroni)", Align::Right),
        ]);
        let mut rows: Vec<_> = self.report.balance.iter().collect();
        rows.sort_by(|a, b| b.smd.abs().total_cmp(&a.smd.abs()));
        for row in rows.into_iter().take(SHOWN_FEATURES) {
            let difference = format!("{:+.4}", row.smd).replace('-', "−");
            table.row([row.label(), row.arm.clone(), difference, number::p_value(row.p_bonferroni)]);
        }
        table
    }

    /// The love plot of the arms' differences.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn chart(&self) -> Outcome<String> {
        let balance = &self.report.balance;
        let several = self.arms.len() > 2;
        let worst = balance.iter().max_by(|a, b| a.smd.abs().total_cmp(&b.smd.abs()));
        let n_beyond = balance.iter().filter(|row| row.smd.abs() > self.smd_max).count();
        let title = match (worst, n_beyond) {
            (Some(worst), 0) if self.dose.is_some() => {
                format!("High and low doses are alike: no feature differs by more than {:.3}", worst.smd.abs())
            }
            (Some(worst), 0) => {
                format!("The arms are alike: no feature differs by more than {:.3}", worst.smd.abs())
            }
            (Some(worst), 1) => format!("One feature differs between the arms: {}", worst.label()),
            (Some(worst), n) => format!("{n} features differ between the arms, most of all {}", worst.label()),
            (None, _) => "There are no features to compare".to_owned(),
        };
        let name = |row: &impactiq_causal::health::BalanceRow| {
            if several { format!("{} ({})", row.label(), row.arm) } else { row.label() }
        };
        BalanceChart {
            title,
            subtitle: format!(
                "Standardised differences of {} features between {}, {} people; the limit is {}",
                balance.len(),
                if self.dose.is_some() { "high and low doses" } else { "arm and control" },
                number::count(self.n_rows),
                self.smd_max
            ),
            points: balance.iter().map(|row| BalancePoint { name: name(row), smd: row.smd }).collect(),
            limit: self.smd_max,
        }
        .svg()
    }
}
