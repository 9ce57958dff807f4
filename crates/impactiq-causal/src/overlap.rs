//! Overlap: how many rows could have been in either arm, and what is done about the others.

use std::borrow::Cow;
use std::fmt;

use impactiq_data::{Assignment, Dataset};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::CausalError;
use crate::nuisance::OutOfFold;

/// Above this share of rows without overlap nothing is estimated.
const MAX_SHARE: f64 = 0.5;

/// Overlap of one arm with the control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmOverlap {
    /// The arm.
    pub arm: String,
    /// Smallest probability of the arm or of the control over all rows.
    pub smallest: f64,
    /// Share of rows where either probability is below the limit.
    pub share_outside: f64,
}

/// Which rows an average over the comparable ones keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trim {
    /// Rows whose probability of the arm, of arm or control, lies within [limit, 1 − limit].
    At(f64),
    /// The same at the limit of least variance (Crump, Hotz, Imbens & Mitnik 2009).
    Crump,
}

impl Serialize for Trim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Trim::At(limit) => serializer.serialize_f64(*limit),
            Trim::Crump => serializer.serialize_str("crump"),
        }
    }
}

impl<'de> Deserialize<'de> for Trim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TrimVisitor)
    }
}

struct TrimVisitor;

impl Visitor<'_> for TrimVisitor {
    type Value = Trim;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a probability or 'crump'")
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Trim, E> {
        Ok(Trim::At(v))
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Trim, E> {
        Ok(Trim::At(v as f64))
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Trim, E> {
        Ok(Trim::At(v as f64))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Trim, E> {
        match v {
            "crump" => Ok(Trim::Crump),
            _ => Err(E::invalid_value(de::Unexpected::Str(v), &self)),
        }
    }
}

impl JsonSchema for Trim {
    fn schema_name() -> Cow<'static, str> {
        "Trim".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5 },
            { "const": "crump" }
        ] })
    }
}

impl Trim {
    /// The limit α for the probabilities e of the rows: what was asked for, or Crump's, the least α
    /// with 1/(α(1 − α)) ≤ 2·E[1/(e(1 − e)) | α ≤ e ≤ 1 − α]; 0 where leaving nobody out has least
    /// variance.
    pub fn limit(self, probabilities: &[f64], weights: Option<&[f64]>) -> f64 {
        match self {
            Trim::At(limit) => limit,
            Trim::Crump => crump(probabilities, weights),
        }
    }
}

/// Theorem 1 of Crump et al. (2009): rows are kept from the most balanced on, as long as the next
/// row's 1/(e(1 − e)) is at most twice the mean of those kept.
fn crump(probabilities: &[f64], weights: Option<&[f64]>) -> f64 {
    let mut order: Vec<(f64, f64)> = probabilities
        .iter()
        .enumerate()
        .map(|(row, &e)| (1.0 / (e * (1.0 - e)).max(f64::MIN_POSITIVE), weights.map_or(1.0, |w| w[row])))
        .filter(|(_, weight)| *weight > 0.0)
        .collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut total, mut sum, mut last) = (0.0, 0.0, 4.0);
    let mut all = true;
    for &(cost, weight) in &order {
        // At the candidate's own cost γ the rule reads γ ≤ 2·mean of the costs up to γ.
        if cost > 2.0 * (sum + weight * cost) / (total + weight) {
            all = false;
            break;
        }
        (total, sum, last) = (total + weight, sum + weight * cost, cost);
    }
    if all {
        return 0.0;
    }
    // The cut lies between the last cost kept and the first left out, at γ = 2·mean.
    let gamma = (2.0 * sum / total).max(last).max(4.0);
    0.5 - (0.25 - 1.0 / gamma).max(0.0).sqrt()
}

/// Measures each arm's overlap with the control.
pub fn measure(data: &Dataset, propensity: &[OutOfFold], limit: f64) -> Vec<ArmOverlap> {
    let (labels, n) = (data.treatment.arms.labels(), data.n_rows());
    (1..labels.len())
        .map(|arm| {
            let pair = |row: usize| propensity[arm].get(row).min(propensity[0].get(row));
            let (mut smallest, mut n_outside) = (f64::INFINITY, 0u64);
            for row in 0..n {
                let p = pair(row);
                smallest = smallest.min(p);
                n_outside += u64::from(p < limit);
            }
            ArmOverlap { arm: labels[arm].clone(), smallest, share_outside: n_outside as f64 / n as f64 }
        })
        .collect()
}

/// Measures overlap and cuts learned probabilities at `limit` (never declared ones: those
/// are known, however small).
///
/// # Errors
/// [`CausalError::NoOverlap`] when more than half of the rows of observational data lie outside.
pub fn assess(
    data: &Dataset,
    propensity: Vec<OutOfFold>,
    limit: f64,
) -> Result<(Vec<OutOfFold>, Vec<ArmOverlap>), CausalError> {
    let report = measure(data, &propensity, limit);
    if data.assignment != Assignment::Observational {
        return Ok((propensity, report));
    }
    if let Some(worst) = report.iter().find(|overlap| overlap.share_outside > MAX_SHARE) {
        let (arm, control) = (worst.arm.clone(), data.treatment.arms.control().to_owned());
        return Err(CausalError::NoOverlap { arm, control, share: worst.share_outside, limit });
    }
    let floor = limit.max(1e-6);
    let cut = propensity.into_iter().map(|p| p.map(|v| v.clamp(floor, 1.0 - floor)));
    Ok((cut.collect(), report))
}
