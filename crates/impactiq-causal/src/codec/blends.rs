//! Learners whose answers become one: the learners one after another, weights beside them.

use serde::{Deserialize, Serialize};

use super::arrays::{Reader, Writer};
use super::parts::{Parts, Shape, read_parts, write_parts};
use crate::error::CausalError;
use crate::learners::{Blend, BlendedModel, Curve, EffectModel, LearnerKind};

/// Learners a blend can have at most.
const MAX_MEMBERS: usize = 100;

/// The blend of one outcome.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlendHeader {
    members: Vec<Parts>,
    contrasts: Vec<ContrastHeader>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContrastHeader {
    intercept: f64,
    weights: Vec<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    curve: Option<CurveHeader>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CurveHeader {
    at: Vec<f64>,
    value: Vec<f64>,
}

fn name(prefix: &str, member: usize) -> String {
    format!("{prefix}.member{member}")
}

pub(super) fn write(model: &BlendedModel, prefix: &str, writer: &mut Writer) -> BlendHeader {
    let members = model.members.iter().enumerate();
    let members = members.map(|(index, member)| write_parts(member, &name(prefix, index), writer)).collect();
    let contrasts = model.blends.iter().map(|blend| ContrastHeader {
        intercept: blend.intercept,
        weights: blend.weights.clone(),
        curve: blend.curve.as_ref().map(|c| CurveHeader { at: c.at.clone(), value: c.value.clone() }),
    });
    BlendHeader { members, contrasts: contrasts.collect() }
}

/// # Errors
/// [`CausalError::Corrupt`] for weights that fit neither members nor contrasts, for numbers that are
/// none, and for members that are no learners.
pub(super) fn read(
    header: BlendHeader,
    (learner, prefix): (LearnerKind, &str),
    shape: &Shape<'_>,
    reader: &mut Reader<'_>,
) -> Result<EffectModel, CausalError> {
    let corrupt = |problem: String| CausalError::corrupt(prefix, problem);
    if header.contrasts.len() + 1 != shape.n_arms {
        return Err(corrupt(format!("{} blends for {} arms", header.contrasts.len(), shape.n_arms)));
    }
    let n = header.members.len();
    if n > MAX_MEMBERS {
        return Err(corrupt(format!("{n} members")));
    }
    // Only auto mixes kinds.
    let kinds = || header.members.iter().map(|member| member.learner);
    if learner != LearnerKind::Auto && (n > 1 || kinds().any(|kind| kind != learner)) {
        return Err(corrupt("members of another kind".into()));
    }
    let mut blends = Vec::with_capacity(header.contrasts.len());
    for contrast in header.contrasts {
        let weighs = |weight: &f64| weight.is_finite() && *weight >= 0.0;
        if contrast.weights.len() != n || !contrast.weights.iter().all(weighs) || !contrast.intercept.is_finite() {
            return Err(corrupt(format!("weights {:?} of {n} members", contrast.weights)));
        }
        let curve = contrast.curve.map(curve).transpose().map_err(&corrupt)?;
        blends.push(Blend { intercept: contrast.intercept, weights: contrast.weights, curve });
    }
    let members = header.members.into_iter().enumerate();
    let members = members
        .map(|(index, parts)| read_parts(parts, &name(prefix, index), shape, reader))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(EffectModel::Blended(BlendedModel { kind: learner, members, blends }))
}

fn curve(header: CurveHeader) -> Result<Curve, String> {
    let CurveHeader { at, value } = header;
    let finite = at.iter().chain(&value).all(|number| number.is_finite());
    let rises = at.windows(2).all(|pair| pair[0] < pair[1]) && value.windows(2).all(|pair| pair[0] <= pair[1]);
    if at.is_empty() || at.len() != value.len() || !finite || !rises {
        return Err(format!("a curve of {} and {} points that does not rise", at.len(), value.len()));
    }
    Ok(Curve { at, value })
}
