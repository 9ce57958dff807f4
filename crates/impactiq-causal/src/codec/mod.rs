//! A model as JSON and arrays of numbers, and back. Only this file knows bytes.
//!
//! Names, bins and shapes are JSON; trees and coefficients are safetensors (numbers only, no
//! code). Decoding trusts nothing: lengths, ranges, duplicate names and left-over arrays are
//! checked, and hostile input gives [`CausalError::Corrupt`], never a panic.

mod arrays;
mod blends;
mod external;
mod forests;
mod linear;
mod parts;
mod uplift;

use impactiq_data::{Arms, FeatureBins, OutcomeKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::CausalError;
use crate::learners::{EffectModel, LearnerKind};
use crate::model::{CausalModel, OutcomeModel};
use arrays::{Reader, Writer};
use blends::BlendHeader;
use forests::ForestHeader;
use linear::LinearHeader;
use parts::{BaseHeader, Parts, Shape, read_parts, write_parts};
use uplift::UpliftHeader;

/// The format written here; older ones keep loading.
pub const FORMAT: u64 = 1;

/// Arms, features and outcomes a model can have at most.
const MAX_NAMES: usize = 100_000;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u64,
    learner: LearnerKind,
    arms: Arms,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dose: Option<String>,
    features: Vec<FeatureHeader>,
    outcomes: Vec<OutcomeHeader>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureHeader {
    name: String,
    bins: FeatureBins,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutcomeHeader {
    name: String,
    kind: OutcomeKind,
    models: Vec<BaseHeader>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forest: Option<ForestHeader>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    linear: Option<LinearHeader>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uplift: Option<UpliftHeader>,
    /// Learners whose answers become one; then there is nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blend: Option<BlendHeader>,
}

/// Encodes a model: its description, and the bytes of its arrays (safetensors).
///
/// # Errors
/// [`CausalError::NotFinite`] when the arrays can't be written (a bug).
pub fn encode(model: &CausalModel) -> Result<(Value, Vec<u8>), CausalError> {
    let mut writer = Writer::default();
    let outcomes = model.outcomes.iter().enumerate().map(|(index, outcome)| {
        let prefix = format!("outcome{index}");
        let (name, kind) = (outcome.name.clone(), outcome.kind);
        if let EffectModel::Blended(blended) = &outcome.effect {
            let blend = Some(blends::write(blended, &prefix, &mut writer));
            return OutcomeHeader { name, kind, models: Vec::new(), forest: None, linear: None, uplift: None, blend };
        }
        let Parts { models, forest, linear, uplift, .. } = write_parts(&outcome.effect, &prefix, &mut writer);
        OutcomeHeader { name, kind, models, forest, linear, uplift, blend: None }
    });
    let header = Header {
        format: FORMAT,
        learner: model.learner(),
        arms: model.arms.clone(),
        dose: model.dose.clone(),
        outcomes: outcomes.collect(),
        features: model
            .features
            .iter()
            .zip(&model.bins)
            .map(|(name, bins)| FeatureHeader { name: name.clone(), bins: bins.clone() })
            .collect(),
    };
    let value = serde_json::to_value(header).map_err(|error| unwritable(&error.to_string()))?;
    Ok((value, writer.finish().map_err(|error| unwritable(&error))?))
}

fn unwritable(problem: &str) -> CausalError {
    CausalError::NotFinite { what: format!("the model's description ({problem})") }
}

/// Decodes a model from its description and the bytes of its arrays.
///
/// # Errors
/// [`CausalError::FutureFormat`] for a later format, [`CausalError::Corrupt`] naming the array
/// or key for everything else that is not a model.
pub fn decode(description: &Value, bytes: &[u8]) -> Result<CausalModel, CausalError> {
    let format = description.get("format").and_then(Value::as_u64).unwrap_or_default();
    if format > FORMAT {
        return Err(CausalError::FutureFormat { found: format, supported: FORMAT });
    }
    let header = Header::deserialize(description)
        .map_err(|error| CausalError::corrupt("the model's description", error.to_string()))?;
    if header.format != FORMAT {
        return Err(CausalError::corrupt("format", format!("{} is no format", header.format)));
    }
    check_names(&header)?;
    let mut reader = Reader::new(bytes)?;
    let mut outcomes = Vec::with_capacity(header.outcomes.len());
    let names: Vec<&str> = header.features.iter().map(|f| f.name.as_str()).collect();
    let n_arms = header.arms.len().max(if header.dose.is_some() { 2 } else { 0 });
    let (learner, shape) = (header.learner, Shape { names: &names, n_arms, with_arm: false });
    let bad = |outcome: &str| CausalError::corrupt(format!("outcome '{outcome}'"), "a blend and another learner");
    for (index, outcome) in header.outcomes.into_iter().enumerate() {
        let prefix = format!("outcome{index}");
        let OutcomeHeader { name, kind, models, forest, linear, uplift, blend } = outcome;
        let alone = models.is_empty() && forest.is_none() && linear.is_none() && uplift.is_none();
        let effect = match blend {
            Some(_) if !alone => return Err(bad(&name)),
            Some(blend) => blends::read(blend, (learner, &prefix), &shape, &mut reader)?,
            None => read_parts(Parts { learner, models, forest, linear, uplift }, &prefix, &shape, &mut reader)?,
        };
        outcomes.push(OutcomeModel { name, kind, effect });
    }
    reader.finish()?;
    let (features, bins) = header.features.into_iter().map(|f| (f.name, f.bins)).unzip();
    Ok(CausalModel::new(header.arms, features, bins, outcomes).of_dose(header.dose))
}

fn check_names(header: &Header) -> Result<(), CausalError> {
    let arms: Vec<&str> = header.arms.labels().iter().map(String::as_str).collect();
    let features: Vec<&str> = header.features.iter().map(|f| f.name.as_str()).collect();
    let outcomes: Vec<&str> = header.outcomes.iter().map(|o| o.name.as_str()).collect();
    if header.dose.is_some() && !header.learner.takes_doses() {
        let problem = format!("the learner '{}' is of arms", header.learner.name());
        return Err(CausalError::corrupt("dose", problem));
    }
    // A dose has no arms at all.
    let (least, most) = if header.dose.is_some() { (0, 0) } else { (2, impactiq_data::treatment::MAX_ARMS) };
    for (what, mut names, least, most) in
        [("arms", arms, least, most), ("features", features, 1, MAX_NAMES), ("outcomes", outcomes, 1, MAX_NAMES)]
    {
        if !(least..=most).contains(&names.len()) {
            return Err(CausalError::corrupt(what, format!("{} of them", names.len())));
        }
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(CausalError::corrupt(what, format!("'{}' stands twice", pair[0])));
        }
    }
    for feature in &header.features {
        check_bins(&feature.bins)
            .map_err(|problem| CausalError::corrupt(format!("feature '{}'", feature.name), problem))?;
    }
    Ok(())
}

fn check_bins(bins: &FeatureBins) -> Result<(), String> {
    match bins {
        FeatureBins::Number { cuts } => {
            if cuts.len() > 254 {
                return Err(format!("{} cuts", cuts.len()));
            }
            if cuts.iter().any(|cut| !cut.is_finite()) || cuts.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err("cuts are not finite and increasing".into());
            }
        }
        FeatureBins::Category { levels, .. } => {
            if levels.len() > impactiq_data::bins::MAX_LEVELS {
                return Err(format!("{} levels", levels.len()));
            }
            let mut names: Vec<&String> = levels.iter().collect();
            names.sort_unstable();
            if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(format!("level '{}' stands twice", pair[0]));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
