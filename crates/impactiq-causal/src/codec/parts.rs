//! One learner as its parts, base models or a forest, and back.

use impactiq_trees::{BoostArrays, BoostModel, ObjectiveKind};
use serde::{Deserialize, Serialize};

use super::arrays::{Reader, Writer};
use super::external::{self, ExternalHeader};
use super::forests::{self, ForestHeader};
use super::linear::{self, LinearHeader};
use super::uplift::{self, UpliftHeader};
use crate::base::{BaseModel, MeanForest};
use crate::error::CausalError;
use crate::learners::{DirectModel, EffectModel, LearnerKind, SModel, ScoreForests, TModel, XContrast, XModel};
use crate::linear::{Design, DesignColumn, LinearModel, Link};

/// What one learner is made of.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parts {
    pub learner: LearnerKind,
    pub models: Vec<BaseHeader>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forest: Option<ForestHeader>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear: Option<LinearHeader>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplift: Option<UpliftHeader>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub(super) enum BaseHeader {
    Constant { value: f64 },
    Boosted { objective: ObjectiveKind, n_features: usize, layout: u32 },
    External(ExternalHeader),
    Forest { n_features: usize, mean: f64, shape: forests::MeanHeader },
    Linear { link: Link, design: Vec<DesignColumn> },
}

/// What models must fit.
pub(super) struct Shape<'a> {
    pub names: &'a [&'a str],
    /// Arms; a dose counts as two, for its one effect.
    pub n_arms: usize,
    pub with_arm: bool,
}

impl Shape<'_> {
    /// A design of these features.
    fn design(&self, columns: Vec<DesignColumn>) -> Result<Design, String> {
        let known = |name: &str| self.names.contains(&name) || (self.with_arm && name == crate::linear::ARM);
        match columns.iter().find(|column| !known(column.name())) {
            Some(column) => Err(format!("'{}' is no feature", column.name())),
            None => Design::from_columns(columns),
        }
    }

    /// Features of a base model.
    fn n_features(&self) -> usize {
        self.names.len() + usize::from(self.with_arm)
    }
}

/// Base models a learner is made of; `None` for what is no learner of its own.
fn n_models(learner: LearnerKind, n_arms: usize) -> Option<usize> {
    Some(match learner {
        LearnerKind::S => 1,
        LearnerKind::T => n_arms,
        LearnerKind::CausalForest
        | LearnerKind::InstrumentalForest
        | LearnerKind::ForestDr
        | LearnerKind::UpliftForest
        | LearnerKind::UpliftTree
        | LearnerKind::LinearDml
        | LearnerKind::LinearDr
        | LearnerKind::IntentToTreatDriv => 0,
        LearnerKind::X => 3 * (n_arms - 1),
        LearnerKind::R
        | LearnerKind::Dr
        | LearnerKind::NonparamDml
        | LearnerKind::TransformedOutcome
        | LearnerKind::ClassTransformation => n_arms - 1,
        LearnerKind::Auto => return None,
    })
}

/// Whether a learner has just the arrays that its kind has.
fn check_arrays(parts: &Parts, prefix: &str) -> Result<(), CausalError> {
    let is_forest =
        matches!(parts.learner, LearnerKind::CausalForest | LearnerKind::InstrumentalForest | LearnerKind::ForestDr);
    if parts.forest.is_some() != is_forest {
        return Err(CausalError::corrupt(prefix, "forests and the kind of learner do not go together"));
    }
    if parts.linear.is_some() != parts.learner.is_linear() {
        return Err(CausalError::corrupt(prefix, "linear effects and the kind of learner do not go together"));
    }
    if parts.uplift.is_some() != matches!(parts.learner, LearnerKind::UpliftForest | LearnerKind::UpliftTree) {
        return Err(CausalError::corrupt(prefix, "uplift trees and the kind of learner do not go together"));
    }
    Ok(())
}

/// # Errors
/// [`CausalError::Corrupt`] for parts that do not make the learner.
pub(super) fn read_parts(
    parts: Parts,
    prefix: &str,
    shape: &Shape<'_>,
    reader: &mut Reader<'_>,
) -> Result<EffectModel, CausalError> {
    let learner = parts.learner;
    let expected =
        n_models(learner, shape.n_arms).ok_or_else(|| CausalError::corrupt(prefix, "auto without a blend"))?;
    if parts.models.len() != expected {
        let problem = format!("{} models where {expected} were expected", parts.models.len());
        return Err(CausalError::corrupt(prefix, problem));
    }
    check_arrays(&parts, prefix)?;
    if let Some(header) = parts.uplift {
        return uplift::read(learner, header, prefix, (shape.names.len(), shape.n_arms), reader);
    }
    if let Some(header) = parts.linear {
        let sizes = (shape.names, shape.n_arms - 1);
        return Ok(EffectModel::Linear(learner, linear::read(header, prefix, sizes, reader)?));
    }
    if let Some(forest) = parts.forest {
        let sizes = (shape.names, shape.n_arms - 1);
        return Ok(match learner {
            LearnerKind::ForestDr => {
                EffectModel::ForestDr(ScoreForests(forests::read_means(forest, prefix, sizes, reader)?))
            }
            LearnerKind::InstrumentalForest => {
                EffectModel::InstrumentalForest(forests::read_instrument(forest, prefix, sizes, reader)?)
            }
            _ => EffectModel::CausalForest(forests::read(forest, prefix, sizes, reader)?),
        });
    }
    let shape = &Shape { with_arm: learner == LearnerKind::S, ..*shape };
    let mut models = parts
        .models
        .into_iter()
        .enumerate()
        .map(|(part, base)| read_base(base, &model_prefix(prefix, part), shape, reader))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(match learner {
        LearnerKind::S => EffectModel::S(SModel { model: models.remove(0) }),
        LearnerKind::X => EffectModel::X(XModel { contrasts: x_contrasts(models) }),
        LearnerKind::R
        | LearnerKind::Dr
        | LearnerKind::NonparamDml
        | LearnerKind::TransformedOutcome
        | LearnerKind::ClassTransformation => EffectModel::Direct(DirectModel { kind: learner, models }),
        // Kinds with arrays of their own have been answered above.
        _ => EffectModel::T(TModel { models }),
    })
}

/// Three models per contrast, in the order of [`EffectModel::models`].
fn x_contrasts(models: Vec<BaseModel>) -> Vec<XContrast> {
    let mut models = models.into_iter();
    let mut contrasts = Vec::new();
    while let (Some(of_control), Some(of_arm), Some(share)) = (models.next(), models.next(), models.next()) {
        contrasts.push(XContrast { of_control, of_arm, share });
    }
    contrasts
}

fn read_base(
    header: BaseHeader,
    prefix: &str,
    shape: &Shape<'_>,
    reader: &mut Reader<'_>,
) -> Result<BaseModel, CausalError> {
    match header {
        BaseHeader::Constant { value } if value.is_finite() => Ok(BaseModel::Constant(value)),
        BaseHeader::Constant { .. } => Err(CausalError::corrupt(prefix, "its constant is not a number")),
        BaseHeader::Linear { link, design } => {
            let design = shape.design(design).map_err(|problem| CausalError::corrupt(prefix, problem))?;
            if design.keeps_missing() {
                return Err(CausalError::corrupt(prefix, "a line through columns that may have no value"));
            }
            let coefficients = reader.f64(prefix, "coefficients")?;
            if coefficients.len() != design.width() || coefficients.iter().any(|b| !b.is_finite()) {
                let problem = format!("{} coefficients for {} columns", coefficients.len(), design.width());
                return Err(CausalError::corrupt(prefix, problem));
            }
            Ok(BaseModel::Linear(LinearModel { design, coefficients, link }))
        }
        BaseHeader::External(header) => external::read(header, prefix, |design| shape.design(design), reader),
        BaseHeader::Forest { n_features, mean, shape: trees } => {
            if n_features != shape.n_features() || !mean.is_finite() {
                let problem = format!("a forest of mean {mean} on {n_features} features of {}", shape.n_features());
                return Err(CausalError::corrupt(prefix, problem));
            }
            let forest = forests::read_mean(&trees, n_features, prefix, reader)?;
            Ok(BaseModel::Forest(Box::new(MeanForest { forest, mean })))
        }
        BaseHeader::Boosted { objective, n_features, layout } => {
            if n_features != shape.n_features() {
                let problem = format!("trees on {n_features} features where there are {}", shape.n_features());
                return Err(CausalError::corrupt(prefix, problem));
            }
            let arrays = read_trees(objective, n_features, layout, prefix, reader)?;
            let model =
                BoostModel::from_arrays(&arrays).map_err(|error| CausalError::corrupt(prefix, error.to_string()))?;
            Ok(BaseModel::Boosted(model))
        }
    }
}

fn read_trees(
    objective: ObjectiveKind,
    n_features: usize,
    layout: u32,
    prefix: &str,
    reader: &mut Reader<'_>,
) -> Result<BoostArrays, CausalError> {
    let start = reader.f64(prefix, "start")?;
    let [start] = start.as_slice() else {
        return Err(CausalError::corrupt(prefix, format!("{} starts", start.len())));
    };
    Ok(BoostArrays {
        objective,
        n_features,
        start: *start,
        values: reader.f64(prefix, "values")?,
        trees: forests::read_shapes(layout, prefix, reader)?,
    })
}

/// Writes a learner that is no blend.
pub(super) fn write_parts(effect: &EffectModel, prefix: &str, writer: &mut Writer) -> Parts {
    let models = effect.models().into_iter().enumerate();
    let models = models.map(|(part, base)| write_base(base, &model_prefix(prefix, part), writer)).collect();
    let forest = match effect {
        EffectModel::CausalForest(model)
        | EffectModel::InstrumentalForest(model)
        | EffectModel::ForestDr(ScoreForests(model)) => Some(forests::write(model, prefix, writer)),
        _ => None,
    };
    let linear = match effect {
        EffectModel::Linear(_, model) => Some(linear::write(model, prefix, writer)),
        _ => None,
    };
    let uplift = uplift::write(effect, prefix, writer);
    Parts { learner: effect.kind(), models, forest, linear, uplift }
}

fn model_prefix(prefix: &str, part: usize) -> String {
    format!("{prefix}.model{part}")
}

fn write_base(model: &BaseModel, prefix: &str, writer: &mut Writer) -> BaseHeader {
    match model {
        BaseModel::Constant(value) => BaseHeader::Constant { value: *value },
        BaseModel::Forest(model) => BaseHeader::Forest {
            n_features: model.forest.n_features(),
            mean: model.mean,
            shape: forests::write_mean(&model.forest, prefix, writer),
        },
        BaseModel::Linear(model) => {
            writer.f64(prefix, "coefficients", &model.coefficients);
            BaseHeader::Linear { link: model.link, design: model.design.columns().to_vec() }
        }
        BaseModel::External(model) => BaseHeader::External(external::write(model, prefix, writer)),
        BaseModel::Boosted(model) => {
            let arrays = model.to_arrays();
            let trees = &arrays.trees;
            writer.f64(prefix, "start", &[arrays.start]);
            writer.f64(prefix, "values", &arrays.values);
            forests::write_shapes(trees, prefix, writer);
            BaseHeader::Boosted { objective: arrays.objective, n_features: arrays.n_features, layout: trees.version }
        }
    }
}
