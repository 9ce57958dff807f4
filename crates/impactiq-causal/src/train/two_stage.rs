//! Wald's ratio and two-stage least squares as a config asks for them.

use impactiq_data::Dataset;
use impactiq_metrics::Estimate;
use impactiq_metrics::least_squares::{Penalty, Regression};
use impactiq_metrics::robust::Covariance;
use serde::{Deserialize, Serialize};

use crate::config::CheckedConfig;
use crate::effect::numbers;
use crate::error::CausalError;
use crate::health::Warning;
use crate::instrument::{Chosen, WEAK_F, instrumented, plain_wald};
use crate::iv::{Instrumented, Test, Wald, two_stage_least_squares, wald};

/// What an instrument tells of one outcome by unregularised linear fits on all kept rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwoStageReport {
    /// The outcome.
    pub outcome: String,
    /// The arm compared with the control, or the dose.
    pub treatment: String,
    /// The instrument's column.
    pub instrument: String,
    /// How errors were estimated.
    pub covariance: Covariance,
    /// Wald's ratio: no features.
    pub wald: Wald,
    /// Features and controls in both stages; left out where `instruments.adjust` is false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adjusted: Option<Adjusted>,
}

/// Two-stage least squares with features and controls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adjusted {
    /// Columns beside treatment and instrument: numbers, and indicators of levels.
    pub n_columns: u64,
    /// The effect, the reduced form, the first stage and the Anderson–Rubin set.
    #[serde(flatten)]
    pub wald: Wald,
    /// Ordinary least squares on the same columns: what the instrument corrects.
    pub least_squares: Estimate,
    /// Wu–Hausman test that the two differ by chance.
    pub wu_hausman: Option<Test>,
}

/// Treatment and instrument of the data.
pub(crate) fn chosen(config: &CheckedConfig, data: &Dataset) -> Result<Chosen, CausalError> {
    Chosen::of(data, config.roles().instrument.as_deref().unwrap_or_default(), config.offer_probability())
}

/// The report of every outcome.
///
/// # Errors
/// [`CausalError::NoVariation`] naming treatment or instrument, [`CausalError::BadSetting`] for three
/// arms or more, [`CausalError::Metrics`] for too few rows or clusters.
pub(super) fn reports(config: &CheckedConfig, data: &Dataset) -> Result<Vec<TwoStageReport>, CausalError> {
    if data.instrument.is_none() {
        return Ok(Vec::new());
    }
    let chosen = chosen(config, data)?;
    let settings = &config.config().instruments;
    let covariance = settings.covariance.unwrap_or_else(|| Covariance::robust(data.clusters.as_deref()));
    let columns = if settings.adjust { numbers(data, data.raw.names())? } else { Vec::new() };
    let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let one = |outcome: usize| -> Result<TwoStageReport, CausalError> {
        Ok(TwoStageReport {
            outcome: data.outcomes[outcome].name.clone(),
            treatment: chosen.name.clone(),
            instrument: chosen.instrument_name.clone(),
            covariance,
            wald: named(plain_wald(data, &chosen, outcome, covariance), &chosen)?,
            adjusted: match settings.adjust {
                false => None,
                true => Some(named(adjusted(data, &chosen, (outcome, &columns), covariance), &chosen)?),
            },
        })
    };
    (0..data.outcomes.len()).map(one).collect()
}

/// A warning where the instrument pulls weakly.
pub(super) fn weak(reports: &[TwoStageReport]) -> Option<Warning> {
    let report = reports.first()?;
    let first_stage = report.adjusted.as_ref().map_or(&report.wald, |adjusted| &adjusted.wald).first_stage;
    let f = first_stage.f.statistic;
    (f < WEAK_F).then(|| Warning::WeakInstrument { instrument: report.instrument.clone(), f })
}

/// An error about "the instrument" with the column's name.
fn named<T>(result: Result<T, CausalError>, chosen: &Chosen) -> Result<T, CausalError> {
    result.map_err(|error| match error {
        CausalError::NoVariation { what } if what == "the instrument" => {
            CausalError::NoVariation { what: format!("the instrument '{}'", chosen.instrument_name) }
        }
        CausalError::NoVariation { what } if what == "the treatment" => {
            CausalError::NoVariation { what: format!("the treatment '{}'", chosen.name) }
        }
        other => other,
    })
}

/// The fits with columns beside treatment and instrument.
fn adjusted(
    data: &Dataset,
    chosen: &Chosen,
    (outcome, exogenous): (usize, &[&[f64]]),
    covariance: Covariance,
) -> Result<Adjusted, CausalError> {
    let outcome = &data.outcomes[outcome].values;
    let (treatment, instrument): ([&[f64]; 1], [&[f64]; 1]) = ([&chosen.treatment], [&chosen.instrument]);
    let rows = Instrumented { exogenous, ..instrumented(data, outcome, &treatment, &instrument) };
    let columns: Vec<&[f64]> = exogenous.iter().copied().chain([chosen.treatment.as_slice()]).collect();
    let regression = Regression {
        columns: &columns,
        outcome,
        weights: data.weights.as_deref(),
        clusters: data.clusters.as_deref(),
        intercept: true,
    };
    let unit: Vec<f64> = (0..=columns.len()).map(|j| f64::from(u8::from(j == columns.len()))).collect();
    let least_squares = regression.contrast(&regression.fit(Penalty::None)?, &unit, covariance)?;
    let wu_hausman = two_stage_least_squares(&rows, covariance)?.wu_hausman;
    Ok(Adjusted { n_columns: exogenous.len() as u64, wald: wald(&rows, covariance)?, least_squares, wu_hausman })
}
