//! What training, evaluation and health checks found, kept beside the model they speak of.
//!
//! `MODEL/reports/evaluation.json` and `check.json` are written after the model and are no
//! part of it: its id and its list of files don't change, and scoring never looks at them. A
//! report that is damaged, or that speaks of another model, is missing with a reason; it never
//! keeps a model from answering.

use std::fs;
use std::path::{Path, PathBuf};

use impactiq_causal::Warning;
use impactiq_io::{ModelDirectory, write_file};
use impactiq_metrics::Estimate;
use impactiq_metrics::report::Decile;
use impactiq_metrics::targeting::Targeting;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ScoreError;
use crate::manifest::Manifest;
use crate::profile::{PROFILE_FILE, Profile};
use crate::saved::CARD_FILE;

/// The folder of a model directory that reports are kept in.
pub const REPORTS_FOLDER: &str = "reports";
/// The held-out results.
pub const EVALUATION_FILE: &str = "evaluation.json";
/// The health checks.
pub const CHECK_FILE: &str = "check.json";
/// A report is text about a model; what is larger than this is none.
const MAX_REPORT_BYTES: u64 = 64 << 20;

/// Everything that is known of a model beside its arrays.
#[derive(Clone, Debug)]
pub struct Reports {
    /// What training found, as the manifest keeps it.
    pub training: Value,
    /// What training said should be kept in mind, in sentences.
    pub warnings: Vec<String>,
    /// The evaluation as it was written.
    pub evaluation: Option<Value>,
    /// The numbers of the evaluation that answers are made of; only where it was made on rows
    /// that were kept from the model.
    pub held_out: Option<HeldOut>,
    /// The health checks as they were written.
    pub check: Option<Value>,
    /// What the training rows looked like.
    pub profile: Option<Profile>,
    /// The model card in Markdown.
    pub card: String,
    /// Reports that are there but cannot be used.
    pub problems: Vec<ReportProblem>,
}

/// A report that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportProblem {
    /// The file, from the model directory.
    pub file: String,
    /// What is wrong with it.
    pub detail: String,
    /// What to do about it.
    pub hint: String,
}

/// What an evaluation measured on rows that were kept from the model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct HeldOut {
    /// Rows evaluated.
    pub n_rows: u64,
    /// Per outcome and arm.
    pub contrasts: Vec<HeldOutContrast>,
}

/// The effect of one arm on one outcome, measured on rows that were kept from the model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct HeldOutContrast {
    /// The outcome.
    pub outcome: String,
    /// The arm, or the dose.
    pub arm: String,
    /// Tenths of the ranking, best first; none where every score is equal.
    #[serde(default)]
    pub deciles: Vec<Decile>,
    /// What treating the best share brings.
    #[serde(default)]
    pub targeting: Option<Targeting>,
}

/// The part of the held-out ranking that a score falls into, with its measured effect.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldOutGroup {
    /// 1 for the best part.
    pub decile: u32,
    /// Number of parts.
    pub of: u32,
    /// Measured effect, doubly robust.
    pub effect: Estimate,
    /// Difference in means.
    pub uplift: Estimate,
    /// Scores of the part are at least this; `None` for the last part, which has no end.
    pub score_from: Option<f64>,
    /// Scores of the part are below this; `None` for the best part.
    pub score_to: Option<f64>,
}

impl HeldOut {
    /// What was measured of an arm's effect on an outcome.
    pub fn contrast(&self, outcome: &str, arm: &str) -> Option<&HeldOutContrast> {
        self.contrasts.iter().find(|contrast| contrast.outcome == outcome && contrast.arm == arm)
    }
}

impl HeldOutContrast {
    /// The part of the held-out ranking that a score falls into; `None` where the evaluation
    /// has no parts or does not tell where they end.
    pub fn group(&self, score: f64) -> Option<HeldOutGroup> {
        let of = self.deciles.len();
        let ends = (1..of).map(|part| self.threshold(part as f64 / of as f64)).collect::<Option<Vec<f64>>>()?;
        let part = ends.iter().position(|&end| score >= end).unwrap_or(of.checked_sub(1)?);
        let decile = &self.deciles[part];
        Some(HeldOutGroup {
            decile: decile.decile,
            of: of as u32,
            effect: decile.effect.clone(),
            uplift: decile.uplift.clone(),
            score_from: ends.get(part).copied(),
            score_to: part.checked_sub(1).map(|above| ends[above]),
        })
    }

    fn threshold(&self, fraction: f64) -> Option<f64> {
        let points = &self.targeting.as_ref()?.points;
        points.iter().find(|point| (point.fraction - fraction).abs() < 1e-9)?.threshold
    }
}

impl Reports {
    /// Reads everything that is kept beside a model.
    ///
    /// # Errors
    /// [`ScoreError::Io`] and [`ScoreError::Manifest`] when the directory is no model; reports
    /// that cannot be used are values in [`Reports::problems`].
    pub fn read(path: &Path) -> Result<Self, ScoreError> {
        let directory = ModelDirectory::open(path)?;
        let manifest = Manifest::of(&directory)?;
        Ok(Reports::beside(&directory, &manifest))
    }

    /// The same for a directory and a manifest that were read before.
    pub fn beside(directory: &ModelDirectory, manifest: &Manifest) -> Self {
        let mut problems = Vec::new();
        let mut told = |file: String, found: Result<Option<Value>, Unusable>| {
            found.unwrap_or_else(|unusable| {
                problems.push(ReportProblem { file, detail: unusable.detail, hint: unusable.hint.into() });
                None
            })
        };
        let folder = directory.path().join(REPORTS_FOLDER);
        let in_folder = |file: &str| format!("{REPORTS_FOLDER}/{file}");
        let found = read_report(&folder.join(EVALUATION_FILE), &manifest.id, EVALUATE_AGAIN);
        let parsed = found.and_then(|value| match value {
            None => Ok(None),
            Some(value) => Ok(Some((held_out_of(&value)?, value))),
        });
        let (held_out, found) = match parsed {
            Ok(Some((held_out, value))) => (held_out, Ok(Some(value))),
            Ok(None) => (None, Ok(None)),
            Err(unusable) => (None, Err(unusable)),
        };
        let evaluation = told(in_folder(EVALUATION_FILE), found);
        let check = told(in_folder(CHECK_FILE), read_report(&folder.join(CHECK_FILE), &manifest.id, CHECK_AGAIN));
        let profile = match read_profile(directory) {
            Ok(profile) => profile,
            Err(detail) => {
                problems.push(ReportProblem { file: PROFILE_FILE.into(), detail, hint: TRAIN_AGAIN.into() });
                None
            }
        };
        Reports {
            training: manifest.training.clone(),
            warnings: warnings_of(&manifest.training),
            evaluation,
            held_out,
            check,
            profile,
            card: directory
                .file(CARD_FILE)
                .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned()),
            problems,
        }
    }
}

/// Leaves an evaluation with the model it is of, replacing an earlier one, and gives its path.
///
/// # Errors
/// [`ScoreError::Io`] when the model directory cannot be written to.
pub fn write_evaluation(model: &Path, report: &Value) -> Result<PathBuf, ScoreError> {
    write_report(model, EVALUATION_FILE, report)
}

/// Leaves health checks with the model whose data they are of, and gives their path. The report
/// must name the model: `{"model": {"id": …}, …}`.
///
/// # Errors
/// As [`write_evaluation`].
pub fn write_check(model: &Path, report: &Value) -> Result<PathBuf, ScoreError> {
    write_report(model, CHECK_FILE, report)
}

fn write_report(model: &Path, file: &str, report: &Value) -> Result<PathBuf, ScoreError> {
    let folder = model.join(REPORTS_FOLDER);
    let path = folder.join(file);
    let failed = |source| ScoreError::Report { path: path.clone(), source };
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let mut text = serde_json::to_vec_pretty(report).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    write_file(&path, &text)?;
    Ok(path)
}

const EVALUATE_AGAIN: &str = "run `impactiq evaluate -m MODEL` again";
const CHECK_AGAIN: &str = "run `impactiq check -c CONFIG -m MODEL` again";
const TRAIN_AGAIN: &str = "copy the model directory again, or train the model again";

/// Why a report that is there cannot be used.
struct Unusable {
    detail: String,
    hint: &'static str,
}

fn read_report(path: &Path, id: &str, hint: &'static str) -> Result<Option<Value>, Unusable> {
    let unusable = |detail: String| Unusable { detail, hint };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(format!("it cannot be read: {error}"))),
    };
    if !metadata.is_file() || metadata.len() > MAX_REPORT_BYTES {
        return Err(unusable(format!("it is no report: {} bytes", metadata.len())));
    }
    let text = fs::read(path).map_err(|error| unusable(format!("it cannot be read: {error}")))?;
    let value: Value = serde_json::from_slice(&text).map_err(|error| unusable(format!("it is damaged: {error}")))?;
    match value.pointer("/model/id").and_then(Value::as_str) {
        Some(of) if of == id => Ok(Some(value)),
        Some(of) => Err(unusable(format!("it speaks of the model {of}, and this one is {id}"))),
        None => Err(unusable("it does not say which model it speaks of".into())),
    }
}

fn held_out_of(evaluation: &Value) -> Result<Option<HeldOut>, Unusable> {
    let held_out: HeldOut = parsed(evaluation)?;
    let is_held_out = evaluation.get("held_out").and_then(Value::as_bool).unwrap_or(false);
    Ok(is_held_out.then_some(held_out))
}

fn parsed<T: DeserializeOwned>(value: &Value) -> Result<T, Unusable> {
    T::deserialize(value).map_err(|error| Unusable { detail: format!("it is damaged: {error}"), hint: EVALUATE_AGAIN })
}

fn read_profile(directory: &ModelDirectory) -> Result<Option<Profile>, String> {
    // Models of earlier versions have none.
    if !directory.file_names().contains(&PROFILE_FILE) {
        return Ok(None);
    }
    let bytes = directory.file(PROFILE_FILE).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("it is damaged: {error}"))
}

fn warnings_of(training: &Value) -> Vec<String> {
    let list = training.get("warnings").and_then(Value::as_array);
    // A warning that only a later version knows is left out: there are no words for it here.
    list.into_iter().flatten().filter_map(|w| Warning::deserialize(w).ok()).map(|w| w.to_string()).collect()
}
