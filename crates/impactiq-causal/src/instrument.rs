//! Effects by way of an instrument: the average over everybody's conditional effect, two-stage
//! least squares on residuals, Wald's ratio, and how strongly the instrument pulls.
//!
//! With residuals Ỹ, T̃, Z̃ the effect at x is Cov(Y, Z | x) / Cov(T, Z | x): for a 0/1 instrument and
//! monotone choices that of the compliers at x (Imbens & Angrist 1994; Athey, Tibshirani & Wager 2019,
//! section 7). What must not live here: how forests grow, how nuisances are fitted.

use impactiq_data::Dataset;
use impactiq_data::dose::is_zero_one;
use impactiq_metrics::Estimate;
use impactiq_metrics::robust::Covariance;
use serde::{Deserialize, Serialize};

use crate::dml::{ScoreRows, mean_of_scores};
use crate::effect::ContrastAverages;
use crate::error::CausalError;
use crate::iv::{ConfidenceSet, FirstStage, Instrumented, Wald, wald};
use crate::nuisance::{Encouragement, InstrumentNuisances, OutOfFold};

/// Why estimators that compare arms have no value.
pub const NOT_ASSIGNED: &str = "the treatment was chosen, not assigned: its effect comes by way of the instrument";

/// Below this first-stage F the interval of a two-stage estimate is not to be trusted.
pub const WEAK_F: f64 = 10.0;

/// Treatment and instrument as columns of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The arm compared with the control, or the dose.
    pub name: String,
    /// 0/1, or the dose.
    pub treatment: Vec<f64>,
    /// The instrument's column.
    pub instrument_name: String,
    /// The instrument.
    pub instrument: Vec<f64>,
    /// The probability that it is 1, where that is declared.
    pub design: Option<f64>,
}

impl Chosen {
    /// Treatment and instrument of a data set.
    ///
    /// # Errors
    /// [`CausalError::MissingRole`] without an instrument, [`CausalError::BadSetting`] for three
    /// arms or more (one instrument tells one effect) or a probability of an instrument that is not 0/1.
    pub fn of(data: &Dataset, instrument_name: &str, design: Option<f64>) -> Result<Self, CausalError> {
        let Some(instrument) = &data.instrument else {
            return Err(CausalError::MissingRole { role: "instrument", needed_by: "estimates by instrument" });
        };
        let arms = &data.treatment.arms;
        let (name, treatment) = match &data.dose {
            Some(dose) => (dose.name.clone(), dose.values.clone()),
            None if arms.len() == 2 => {
                (arms.labels()[1].clone(), data.treatment.codes.iter().map(|&code| f64::from(code)).collect())
            }
            None => {
                let allowed =
                    "one instrument tells the effect of one arm: keep two arms with data.where, or name a dose";
                return Err(CausalError::setting("the number of arms", arms.len(), allowed));
            }
        };
        if design.is_some() && !is_zero_one(instrument) {
            let allowed = "only an instrument of 0 and 1 has a probability: leave assignment.probability out";
            return Err(CausalError::setting("roles.instrument", instrument_name, allowed));
        }
        let instrument = instrument.clone();
        Ok(Chosen { name, treatment, instrument_name: instrument_name.to_owned(), instrument, design })
    }

    /// The same as nuisances want it.
    pub fn encouragement(&self) -> Encouragement<'_> {
        Encouragement {
            treatment_name: &self.name,
            treatment: &self.treatment,
            instrument_name: &self.instrument_name,
            instrument: &self.instrument,
            design: self.design,
        }
    }
}

/// What an instrument tells about one outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstrumentReport {
    /// The outcome.
    pub outcome: String,
    /// The instrument's column.
    pub instrument: String,
    /// F of the instrument and its partial R², once features are accounted for.
    pub first_stage: FirstStage,
    /// Effect of one unit of the instrument on the treatment (compliance).
    pub compliance: Estimate,
    /// Effect of one unit of the instrument on the outcome (intention to treat).
    pub intention_to_treat: Estimate,
    /// Average over everybody of the conditional effect: the answer.
    pub average_late: Estimate,
    /// Two-stage least squares on residuals: people weigh by how far they are moved.
    pub two_stage: Estimate,
    /// Wald's ratio without features.
    pub wald: Estimate,
    /// Effects of the two-stage kind that fit the data, however weak the instrument.
    pub anderson_rubin: ConfidenceSet,
}

/// Outcome, treatment and instrument less their expectations, n each.
#[derive(Clone, Debug, PartialEq)]
pub struct InstrumentResiduals {
    /// Ỹ.
    pub outcome: Vec<f64>,
    /// T̃.
    pub treatment: Vec<f64>,
    /// Z̃.
    pub instrument: Vec<f64>,
}

impl InstrumentResiduals {
    /// The residuals of one outcome.
    pub fn of(data: &Dataset, chosen: &Chosen, outcome: usize, nuisances: &InstrumentNuisances) -> Self {
        InstrumentResiduals {
            outcome: nuisances.outcome[outcome].residuals(&data.outcomes[outcome].values),
            treatment: nuisances.treatment.residuals(&chosen.treatment),
            instrument: nuisances.instrument.residuals(&chosen.instrument),
        }
    }

    /// Σ Z̃Ỹ / Σ Z̃T̃.
    pub fn ratio(&self, weights: Option<&[f64]>) -> f64 {
        let sum = |values: &[f64]| -> f64 {
            (0..values.len()).map(|i| weights.map_or(1.0, |w| w[i]) * self.instrument[i] * values[i]).sum()
        };
        sum(&self.outcome) / sum(&self.treatment)
    }

    /// Scores of each row's effect, θ + Z̃ (Ỹ − θT̃) / Cov(T, Z | x): their mean given x is the effect at
    /// x for any θ (the compliance-weighted form that grf documents for instrumental forests).
    pub fn scores(&self, theta: f64, covariance: &OutOfFold) -> Vec<f64> {
        let gap = |row: usize| self.outcome[row] - theta * self.treatment[row];
        (0..self.outcome.len()).map(|row| theta + self.instrument[row] * gap(row) / covariance.get(row)).collect()
    }
}

/// What the instrument tells about every outcome, and the same as averages.
///
/// # Errors
/// [`CausalError::NoVariation`] where the instrument moves nobody, [`CausalError::Metrics`] for too
/// few rows or clusters.
pub fn averages(
    data: &Dataset,
    chosen: &Chosen,
    nuisances: &InstrumentNuisances,
) -> Result<(Vec<ContrastAverages>, Vec<InstrumentReport>), CausalError> {
    let reports = (0..data.outcomes.len())
        .map(|outcome| report(data, chosen, outcome, nuisances))
        .collect::<Result<Vec<_>, _>>()?;
    let contrasts = reports.iter().map(|report| {
        ContrastAverages::without_arms(&report.outcome, &chosen.name, report.average_late.clone(), NOT_ASSIGNED)
    });
    Ok((contrasts.collect(), reports))
}

fn report(
    data: &Dataset,
    chosen: &Chosen,
    outcome: usize,
    nuisances: &InstrumentNuisances,
) -> Result<InstrumentReport, CausalError> {
    let residuals = InstrumentResiduals::of(data, chosen, outcome, nuisances);
    let kind = Covariance::robust(data.clusters.as_deref());
    let (t, z) = ([residuals.treatment.as_slice()], [residuals.instrument.as_slice()]);
    let partial = wald(&instrumented(data, &residuals.outcome, &t, &z), kind)?;
    let plain = plain_wald(data, chosen, outcome, kind)?;
    let theta = residuals.ratio(data.weights.as_deref());
    Ok(InstrumentReport {
        outcome: data.outcomes[outcome].name.clone(),
        instrument: chosen.instrument_name.clone(),
        first_stage: partial.first_stage,
        compliance: partial.compliance,
        intention_to_treat: partial.reduced_form,
        average_late: mean_of_scores(&residuals.scores(theta, &nuisances.covariance), ScoreRows::of(data))?,
        two_stage: partial.effect,
        wald: plain.effect,
        anderson_rubin: partial.anderson_rubin,
    })
}

/// F of the instrument on the treatment without features, for `check`.
///
/// # Errors
/// As [`averages`].
pub fn plain_first_stage(data: &Dataset, chosen: &Chosen) -> Result<FirstStage, CausalError> {
    Ok(plain_wald(data, chosen, 0, Covariance::robust(data.clusters.as_deref()))?.first_stage)
}

/// Wald's ratio of an outcome: no features.
///
/// # Errors
/// As [`averages`].
pub fn plain_wald(data: &Dataset, chosen: &Chosen, outcome: usize, kind: Covariance) -> Result<Wald, CausalError> {
    let outcome = &data.outcomes[outcome].values;
    wald(&instrumented(data, outcome, &[&chosen.treatment], &[&chosen.instrument]), kind)
}

/// A regression by instrument on the rows of a data set, without columns beside the two.
pub(crate) fn instrumented<'a>(
    data: &'a Dataset,
    outcome: &'a [f64],
    endogenous: &'a [&'a [f64]],
    instruments: &'a [&'a [f64]],
) -> Instrumented<'a> {
    let (weights, clusters) = (data.weights.as_deref(), data.clusters.as_deref());
    Instrumented { outcome, endogenous, exogenous: &[], instruments, weights, clusters }
}
