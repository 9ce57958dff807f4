//! What an evaluation found: as JSON, as text, as charts.

use std::path::{Path, PathBuf};

use impactiq_causal::EvaluateReport;
use impactiq_causal::evaluate::ContrastEvaluation;
use impactiq_score::write_evaluation;
use serde_json::{Map, Value, json};

use super::{charts, tables};
use crate::commands::context::{Context, refuse_existing, write_text};
use crate::commands::gate::{Condition, Measured, Verdict};
use crate::exit::{Failure, Outcome};
use crate::output::number::{self, Unit};

/// What was evaluated, and what came out.
pub struct Evaluated {
    /// Metrics, curves and deciles by contrast.
    pub report: EvaluateReport,
    /// Where the scores came from: a model's id, or a column.
    pub scores: ScoresFrom,
    /// The data as the user named it.
    pub data: String,
    /// True when these rows were kept from the model.
    pub held_out: bool,
    /// Rows that the model was trained on.
    pub n_trained_on: u64,
    /// Units of the outcomes, in order.
    pub units: Vec<(String, Unit)>,
    /// True when effects are per unit of a dose.
    pub dose: bool,
}

/// Where scores came from.
pub enum ScoresFrom {
    /// A model directory.
    Model {
        /// The model's id.
        id: String,
        /// Its path.
        path: PathBuf,
    },
    /// A column of the data.
    Column(String),
}

impl Evaluated {
    /// The unit of an outcome's effects.
    pub fn unit(&self, outcome: &str) -> Unit {
        self.units.iter().find(|(name, _)| name == outcome).map_or(Unit::Plain, |(_, unit)| *unit)
    }

    /// The contrast's treatment: `arm email`, `dose tinc`.
    pub fn what(&self, contrast: &ContrastEvaluation) -> String {
        format!("{} {}", if self.dose { "dose" } else { "arm" }, contrast.arm)
    }

    /// What a contrast's charts speak of.
    pub fn subject<'a>(&self, contrast: &'a ContrastEvaluation) -> charts::Subject<'a> {
        charts::Subject {
            outcome: &contrast.outcome,
            what: self.what(contrast),
            unit: self.unit(&contrast.outcome),
            n_rows: self.report.n_rows,
            held_out: self.held_out,
        }
    }

    /// Tests conditions on every contrast they speak of.
    ///
    /// # Errors
    /// A [`Failure`] for a metric or contrast that does not exist.
    pub fn test(&self, conditions: &[Condition]) -> Outcome<Vec<Verdict>> {
        let measured: Vec<Measured<'_>> = self
            .report
            .contrasts
            .iter()
            .map(|contrast| Measured {
                outcome: &contrast.outcome,
                arm: &contrast.arm,
                metrics: contrast.evaluation.metrics.iter().collect(),
            })
            .collect();
        let tested: Vec<Vec<Verdict>> = conditions.iter().map(|c| c.test(&measured)).collect::<Outcome<_>>()?;
        Ok(tested.into_iter().flatten().collect())
    }

    /// Writes every chart as an SVG file of its own; the folder is made if need be.
    ///
    /// # Errors
    /// A [`Failure`] when a file exists or cannot be written.
    pub fn write_charts(&self, folder: &Path, context: Context<'_>) -> Outcome<Vec<PathBuf>> {
        let mut files = Vec::new();
        for contrast in &self.report.contrasts {
            for (name, svg) in charts::charts(&self.subject(contrast), &contrast.evaluation)? {
                let stem = format!("{}_{}_{name}", contrast.outcome, contrast.arm);
                files.push((folder.join(format!("{}.svg", file_name(&stem))), svg));
            }
        }
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::new(format!("the folder cannot be made: {error}"), "choose a place you may write to")
                .at(folder.display())
        })?;
        for (path, _) in &files {
            refuse_existing(path, context)?;
        }
        files
            .into_iter()
            .map(|(path, svg)| {
                write_text(&path, &svg)?;
                Ok(path)
            })
            .collect()
    }

    /// Leaves the result with its model, with what the dashboard computes from: whom to target
    /// for any price, and the draws by which two models are compared. What cannot be written is
    /// told and costs nothing else.
    pub fn keep(&self, context: Context<'_>) {
        let ScoresFrom::Model { id, path } = &self.scores else { return };
        let mut result = Map::new();
        result.insert("model".into(), json!({"id": id}));
        self.add_report(&self.report, &mut result);
        if let Err(error) = write_evaluation(path, &Value::Object(result)) {
            context.output.note(&format!("note: the results were not left with the model: {error}"));
        }
    }

    fn add_report(&self, report: &EvaluateReport, result: &mut Map<String, Value>) {
        result.insert("data".into(), json!(self.data));
        result.insert("held_out".into(), json!(self.held_out));
        result.insert("n_trained_on".into(), json!(self.n_trained_on));
        if let Ok(Value::Object(report)) = serde_json::to_value(report) {
            result.extend(report);
        }
    }

    /// The result as the JSON contract says.
    pub fn json(&self, verdicts: &[Verdict]) -> Value {
        let mut result = Map::new();
        match &self.scores {
            ScoresFrom::Model { id, path } => {
                result.insert("model".into(), json!({"id": id, "path": path.display().to_string()}))
            }
            ScoresFrom::Column(column) => result.insert("score_column".into(), json!(column)),
        };
        let mut report = self.report.clone();
        for contrast in &mut report.contrasts {
            contrast.evaluation = contrast.evaluation.without_details();
        }
        self.add_report(&report, &mut result);
        let gates = verdicts
            .iter()
            .map(|v| json!({"condition": v.condition, "contrast": v.contrast, "found": v.found, "passed": !v.failed}));
        result.insert("gates".into(), gates.collect());
        result.insert("passed".into(), json!(!verdicts.iter().any(|verdict| verdict.failed)));
        Value::Object(result)
    }

    /// What the rows are, in a sentence.
    pub fn lead(&self) -> String {
        let scores = match &self.scores {
            ScoresFrom::Model { id, .. } => format!("model {id}"),
            ScoresFrom::Column(column) => format!("scores in column '{column}'"),
        };
        let rows = number::count(self.report.n_rows);
        let kept = if self.held_out { "held-out rows" } else { "rows" };
        format!("Evaluated {scores} on {rows} {kept} of {}", self.data)
    }

    /// The result as text.
    pub fn text(&self, verdicts: &[Verdict]) -> String {
        let mut text = self.lead() + "\n";
        for contrast in &self.report.contrasts {
            let unit = self.unit(&contrast.outcome);
            text.push_str(&format!("\n{} · {}\n", contrast.outcome, self.what(contrast)));
            text.push_str(&format!("  {}\n", charts::verdict(&contrast.evaluation)));
            match tables::shared_reason(&contrast.evaluation.metrics) {
                Some(reason) => text.push_str(&format!("  No metric has a value: {reason}.\n")),
                None => {
                    text.push('\n');
                    text.push_str(&tables::metrics(&contrast.evaluation.metrics, unit).render(2));
                }
            }
            if !contrast.evaluation.deciles.is_empty() {
                text.push_str("\n  Measured effect by score, best tenth first\n");
                text.push_str(&tables::deciles(&contrast.evaluation.deciles, unit).render(2));
            }
        }
        if !verdicts.is_empty() {
            text.push('\n');
        }
        for verdict in verdicts {
            let mark = if verdict.failed { "FAILED" } else { "passed" };
            text.push_str(&format!(
                "{mark}  fail if {} ({}: {})\n",
                verdict.condition, verdict.contrast, verdict.found
            ));
        }
        if let ScoresFrom::Model { path, .. } = &self.scores {
            text.push_str(&format!("\nNext: impactiq score -m {} -d DATA -o scores.csv\n", path.display()));
        }
        text
    }
}

/// A name that every file system takes.
fn file_name(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() || matches!(c, '_' | '-' | '.') { c } else { '-' }).collect()
}
