//! What-if: rows in; their cast input, derived features, outcome under each arm and effect out,
//! with what was measured of people who score alike, and warnings where training saw nobody like it.
//!
//! Everything goes through the one scorer in one batch, the points of a sweep too, so an effect
//! here has the bits of [`Scorer::score_json`]. What must not live here: files and HTTP.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;
use impactiq_data::{Field, RawType, Table};
use impactiq_io::{RowError, json_value, raw_text, to_table};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::ScoreError;
use crate::profile::{CategoryProfile, ColumnProfile, NumberProfile, Profile};
use crate::reports::{HeldOut, HeldOutGroup};
use crate::rows::Rows;
use crate::scorer::Scorer;
use crate::scores::{ScoreValue, Scored};

/// Points of a sweep, at most.
pub const MAX_SWEEP_POINTS: usize = 200;

/// One feature of one row moved, everything else kept: `{"row", "feature", "from", "to",
/// "steps"}` or `{"row", "feature", "values"}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// Which of the rows, counted from 0.
    #[serde(default)]
    pub row: usize,
    /// The raw column that is moved.
    pub feature: String,
    /// First value of a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// Last value of a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
    /// Points of the range, both ends among them; whole-number columns skip what falls together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Values instead of a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<Value>>,
}

/// The answer; whoever serves it adds the model's name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Simulation {
    /// One answer per row.
    pub rows: Vec<RowAnswer>,
    /// The sweep, where one was asked for.
    pub sweep: Option<SweepAnswer>,
}

/// What a row got.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RowAnswer {
    /// An answer.
    Simulated(Box<Simulated>),
    /// None, and why.
    Refused {
        /// What is wrong with the row.
        error: RowProblem,
    },
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowProblem {
    /// The column.
    pub column: Option<String>,
    /// The value as a person would read it.
    pub value: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A row that was answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Simulated {
    /// The raw columns with the values they have in the model's types.
    pub input: Map<String, Value>,
    /// The derived features.
    pub derived: Map<String, Value>,
    /// Per outcome: each arm's mean and effect.
    pub outcomes: Vec<SimulatedOutcome>,
    /// Where training saw nobody like this.
    pub warnings: Vec<OutOfSupport>,
}

/// What the model expects of one outcome.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SimulatedOutcome {
    /// The outcome.
    pub outcome: String,
    /// The mean under each arm, the control first; none with a dose.
    pub arms: Vec<ArmMean>,
    /// The arm with the largest mean or effect; `None` with a dose.
    pub best_arm: Option<String>,
    /// The effect of each arm, compared with the control, or of one unit of the dose.
    pub contrasts: Vec<SimulatedContrast>,
}

/// The mean of an outcome under an arm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmMean {
    /// The arm.
    pub arm: String,
    /// The mean; `None` where the learner knows effects alone.
    pub mean: Option<f64>,
}

/// The effect of one arm.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SimulatedContrast {
    /// The arm, or the dose.
    pub arm: String,
    /// The effect: the number that scoring gives.
    pub uplift: f64,
    /// Lower end of the interval of the learner's own estimate, where it has one.
    pub lower: Option<f64>,
    /// Upper end.
    pub upper: Option<f64>,
    /// What was measured of the held-out rows that score alike.
    pub group: Option<HeldOutGroup>,
}

/// A value that training rows give no support for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutOfSupport {
    /// The raw column.
    pub column: String,
    /// What is unusual.
    pub kind: Unsupported,
    /// The same in a sentence.
    pub message: String,
}

/// Ways in which a value can lack support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsupported {
    /// A number below or above all training rows'.
    OutOfRange,
    /// A category that no training row had, or too few to be told by name.
    UnseenCategory,
    /// No value, where every training row had one.
    Missing,
}

/// A sweep's answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepAnswer {
    /// The column that was moved.
    pub feature: String,
    /// One point per value, in order.
    pub points: Vec<SweepPoint>,
}

/// One value of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepPoint {
    /// The value, as the model's type holds it.
    pub value: Value,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<Vec<SimulatedOutcome>>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<RowProblem>,
}

impl From<&RowError> for RowProblem {
    fn from(error: &RowError) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        RowProblem {
            column: some(&error.column),
            value: some(&error.value),
            message: error.reason.clone(),
            hint: error.hint(),
        }
    }
}

impl Scorer {
    /// Answers rows as [`Scorer::score_json`] does, with all that leads to the effect: input,
    /// derived features, arms. A sweep moves one feature of one row.
    ///
    /// # Errors
    /// [`ScoreError::Sweep`] for a sweep that cannot be made, [`ScoreError::Data`] for one of a
    /// column that the model does not know. A bad row is a value.
    pub fn simulate(
        &self,
        rows: &[Value],
        sweep: Option<&Sweep>,
        profile: Option<&Profile>,
        evaluation: Option<&HeldOut>,
    ) -> Result<Simulation, ScoreError> {
        let moved = sweep.map(|sweep| self.sweep_rows(rows, sweep, profile)).transpose()?;
        let all: Vec<Value> = rows.iter().cloned().chain(moved.iter().flatten().map(|m| m.row.clone())).collect();
        let (scored, batch) = self.answer_with_rows(Rows::from_json(&all, self.schema())?)?;
        let answers = Answers {
            scorer: self,
            raw: to_table(&batch, &self.schema().names())?,
            errors: errors_by_row(&scored, all.len()),
            scored,
            batch,
            profile,
            evaluation,
        };
        let points = |moved: Vec<Moved>| {
            let points = moved.into_iter().enumerate();
            points.map(|(index, moved)| answers.point(rows.len() + index, &moved.feature, moved.value)).collect()
        };
        Ok(Simulation {
            rows: (0..rows.len()).map(|row| answers.row(row)).collect(),
            sweep: sweep
                .zip(moved)
                .map(|(sweep, moved)| SweepAnswer { feature: sweep.feature.clone(), points: points(moved) }),
        })
    }

    fn sweep_rows(&self, rows: &[Value], sweep: &Sweep, profile: Option<&Profile>) -> Result<Vec<Moved>, ScoreError> {
        let field = self.schema().field(&sweep.feature)?;
        let Some(row) = rows.get(sweep.row) else {
            let detail = format!("there is no row {} among {}", sweep.row, rows.len());
            return Err(refused(detail, "rows are counted from 0"));
        };
        let whole = match profile.and_then(|profile| profile.column(&field.name)) {
            Some(ColumnProfile::Number(column)) => column.whole || field.raw_type == RawType::Integer,
            _ => field.raw_type == RawType::Integer,
        };
        let values = sweep.points(field, whole)?;
        let moved = values.into_iter().map(|value| {
            let mut row = row.clone();
            if let Value::Object(columns) = &mut row {
                columns.insert(field.name.clone(), value.clone());
            }
            Moved { row, feature: field.name.clone(), value }
        });
        Ok(moved.collect())
    }
}

/// A row of a sweep.
struct Moved {
    row: Value,
    feature: String,
    value: Value,
}

fn refused(detail: impl Into<String>, hint: impl Into<String>) -> ScoreError {
    ScoreError::Sweep { detail: detail.into(), hint: hint.into() }
}

impl Sweep {
    fn points(&self, field: &Field, whole: bool) -> Result<Vec<Value>, ScoreError> {
        let shape = "give from, to and steps, or values";
        match (self.from, self.to, self.steps, &self.values) {
            (None, None, None, Some(values)) if values.is_empty() => Err(refused("it has no values", shape)),
            (None, None, None, Some(values)) if values.len() > MAX_SWEEP_POINTS => {
                Err(refused(format!("{} values are too many", values.len()), format!("at most {MAX_SWEEP_POINTS}")))
            }
            (None, None, None, Some(values)) => Ok(values.clone()),
            (Some(from), Some(to), Some(steps), None) => {
                if !matches!(field.raw_type, RawType::Integer | RawType::Float32 | RawType::Float64) {
                    let detail = format!("'{}' is no column of numbers", field.name);
                    return Err(refused(detail, "give the values to go through"));
                }
                if !(2..=MAX_SWEEP_POINTS).contains(&steps) {
                    return Err(refused(format!("{steps} steps"), format!("2 to {MAX_SWEEP_POINTS} steps")));
                }
                range(from, to, steps, whole)
            }
            _ => Err(refused("it is neither a range nor a list of values", shape)),
        }
    }
}

/// Equal steps, both ends exact; whole numbers are rounded and each stands once.
fn range(from: f64, to: f64, steps: usize, whole: bool) -> Result<Vec<Value>, ScoreError> {
    let last = steps - 1;
    let at = |step: usize| match step {
        0 => from,
        step if step == last => to,
        // Two products instead of a difference: the ends of f64 have no difference.
        step => from * (1.0 - step as f64 / last as f64) + to * (step as f64 / last as f64),
    };
    let mut values: Vec<f64> = (0..steps).map(at).map(|value| if whole { value.round() } else { value }).collect();
    values.dedup();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(refused("its ends are not finite numbers", "give finite numbers"));
    }
    Ok(values.into_iter().map(Value::from).collect())
}

/// At most one error per row, by row.
fn errors_by_row(scored: &Scored, n_rows: usize) -> Vec<Option<RowProblem>> {
    let mut errors = vec![None; n_rows];
    for error in &scored.errors {
        errors[error.row as usize] = Some(RowProblem::from(error));
    }
    errors
}

/// Scored rows with everything an answer is made of.
struct Answers<'a> {
    scorer: &'a Scorer,
    /// Score columns.
    scored: Scored,
    /// Raw columns, then derived features.
    batch: RecordBatch,
    /// Raw columns as numbers and categories.
    raw: Table,
    errors: Vec<Option<RowProblem>>,
    profile: Option<&'a Profile>,
    evaluation: Option<&'a HeldOut>,
}

impl Answers<'_> {
    fn row(&self, row: usize) -> RowAnswer {
        if let Some(error) = &self.errors[row] {
            return RowAnswer::Refused { error: error.clone() };
        }
        let n_raw = self.scorer.schema().fields().len();
        let mut input: Map<String, Value> = Map::new();
        let mut derived = Map::new();
        for (place, (field, array)) in self.batch.schema().fields().iter().zip(self.batch.columns()).enumerate() {
            let side = if place < n_raw { &mut input } else { &mut derived };
            side.insert(field.name().clone(), json_value(array, row));
        }
        let outcomes = self.outcomes(row);
        RowAnswer::Simulated(Box::new(Simulated { input, derived, outcomes, warnings: self.warnings(row) }))
    }

    fn point(&self, row: usize, feature: &str, value: Value) -> SweepPoint {
        if let Some(error) = &self.errors[row] {
            return SweepPoint { value, outcomes: None, error: Some(error.clone()) };
        }
        let held = self.batch.column_by_name(feature).map_or(Value::Null, |array| json_value(array, row));
        SweepPoint { value: held, outcomes: Some(self.outcomes(row)), error: None }
    }

    fn number(&self, outcome: usize, value: ScoreValue, row: usize) -> Option<f64> {
        let columns = self.scorer.columns();
        let place = columns.iter().position(|column| column.outcome == outcome && column.value == value)?;
        let array = self.scored.batch.column(place).as_primitive_opt::<Float64Type>()?;
        array.is_valid(row).then(|| array.value(row))
    }

    fn best_arm(&self, outcome: usize, row: usize) -> Option<String> {
        let columns = self.scorer.columns();
        let place =
            columns.iter().position(|column| column.outcome == outcome && column.value == ScoreValue::BestArm)?;
        let array = self.scored.batch.column(place).as_string_opt::<i32>()?;
        array.is_valid(row).then(|| array.value(row).to_owned())
    }

    fn outcomes(&self, row: usize) -> Vec<SimulatedOutcome> {
        let manifest = self.scorer.manifest();
        let treated: Vec<&str> = match &manifest.roles.dose {
            Some(dose) => vec![dose.as_str()],
            None => manifest.arms.iter().skip(1).map(String::as_str).collect(),
        };
        let outcome = |(index, name): (usize, &str)| SimulatedOutcome {
            outcome: name.to_owned(),
            arms: (manifest.arms.iter().enumerate())
                .map(|(arm, label)| ArmMean {
                    arm: label.clone(),
                    mean: self.number(index, ScoreValue::Mean(arm), row),
                })
                .collect(),
            best_arm: self.best_arm(index, row),
            contrasts: (treated.iter().enumerate())
                .filter_map(|(contrast, arm)| {
                    let uplift = self.number(index, ScoreValue::Cate(contrast), row)?;
                    let measured = self.evaluation.and_then(|evaluation| evaluation.contrast(name, arm));
                    Some(SimulatedContrast {
                        arm: (*arm).to_owned(),
                        uplift,
                        lower: self.number(index, ScoreValue::Lower(contrast), row),
                        upper: self.number(index, ScoreValue::Upper(contrast), row),
                        group: measured.and_then(|measured| measured.group(uplift)),
                    })
                })
                .collect(),
        };
        manifest.outcomes.iter().map(|saved| saved.name.as_str()).enumerate().map(outcome).collect()
    }

    fn warnings(&self, row: usize) -> Vec<OutOfSupport> {
        let Some(profile) = self.profile else { return Vec::new() };
        let fields = self.scorer.schema().fields().iter();
        fields
            .filter_map(|field| {
                let seen = profile.column(&field.name)?;
                let (kind, message) = self.unsupported(field, seen, row)?;
                Some(OutOfSupport { column: field.name.clone(), kind, message })
            })
            .collect()
    }

    fn unsupported(&self, field: &Field, seen: &ColumnProfile, row: usize) -> Option<(Unsupported, String)> {
        let column = self.raw.column(&field.name).ok()?;
        if column.is_missing(row) {
            let message = format!("{} is missing, and no training row lacked it", field.name);
            return (seen.missing() == 0.0).then_some((Unsupported::Missing, message));
        }
        match seen {
            ColumnProfile::Number(seen) | ColumnProfile::Time(seen) => {
                let message = beyond(field, seen, column.numbers()?[row])?;
                Some((Unsupported::OutOfRange, message))
            }
            ColumnProfile::Category(seen) => {
                let message = unseen(seen, &column.text(row)?)?;
                Some((Unsupported::UnseenCategory, message))
            }
        }
    }
}

/// A number outside the training rows' range, in a sentence.
fn beyond(field: &Field, seen: &NumberProfile, value: f64) -> Option<String> {
    // As the column's type holds them: 0.1 of 32 bits is not below 0.1 of 64.
    let held = |value: f64| if field.raw_type == RawType::Float32 { f64::from(value as f32) } else { value };
    let (value, lower, upper) = (held(value), held(seen.lower), held(seen.upper));
    if (lower..=upper).contains(&value) {
        return None;
    }
    let text = |value: f64| raw_text(field.raw_type, value);
    let side = if value < lower { "below" } else { "above" };
    Some(format!(
        "{} is {}, {side} everything in the training rows ({} to {})",
        field.name,
        text(value),
        text(lower),
        text(upper)
    ))
}

/// A category that is not among those told by name, in a sentence.
fn unseen(seen: &CategoryProfile, value: &str) -> Option<String> {
    if seen.levels.iter().any(|level| level.value == value) {
        return None;
    }
    let name = &seen.name;
    Some(if seen.other == 0.0 {
        format!("{name} is '{value}', which no training row had")
    } else {
        format!("{name} is '{value}', which few training rows had, if any")
    })
}
