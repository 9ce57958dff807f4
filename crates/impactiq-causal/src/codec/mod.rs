//! A model as JSON and arrays of numbers, and back. Only this file knows bytes.
//!
//! Names, bins and shapes are JSON; trees and coefficients are safetensors (numbers only, no
//! code). Decoding trusts nothing: lengths, ranges, duplicate names and left-over arrays are
//! checked, and hostile input gives [`CausalError::Corrupt`], never a panic.

mod arrays;
mod forests;
mod linear;
mod uplift;

use impactiq_data::{Arms, FeatureBins, OutcomeKind};
use impactiq_trees::{BoostArrays, BoostModel, ObjectiveKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::{BaseModel, MeanForest};
use crate::error::CausalError;
use crate::learners::{DirectModel, EffectModel, LearnerKind, SModel, TModel, XContrast, XModel};
use crate::linear::{Design, DesignColumn, LinearModel, Link};
use crate::model::{CausalModel, OutcomeModel};
use arrays::{Reader, Writer};
use forests::ForestHeader;
use linear::LinearHeader;
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
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
enum BaseHeader {
    Constant { value: f64 },
    Boosted { objective: ObjectiveKind, n_features: usize, layout: u32 },
    Forest { n_features: usize, mean: f64, shape: forests::MeanHeader },
    Linear { link: Link, design: Vec<DesignColumn> },
}

/// Encodes a model: its description, and the bytes of its arrays (safetensors).
///
/// # Errors
/// [`CausalError::NotFinite`] when the arrays can't be written (a bug).
pub fn encode(model: &CausalModel) -> Result<(Value, Vec<u8>), CausalError> {
    let mut writer = Writer::default();
    let outcomes = model.outcomes.iter().enumerate().map(|(index, outcome)| OutcomeHeader {
        name: outcome.name.clone(),
        kind: outcome.kind,
        models: outcome
            .effect
            .models()
            .into_iter()
            .enumerate()
            .map(|(part, base)| write_base(base, &prefix(index, part), &mut writer))
            .collect(),
        forest: match &outcome.effect {
            EffectModel::CausalForest(model) | EffectModel::InstrumentalForest(model) => {
                Some(forests::write(model, &format!("outcome{index}"), &mut writer))
            }
            _ => None,
        },
        linear: match &outcome.effect {
            EffectModel::Linear(_, model) => Some(linear::write(model, &format!("outcome{index}"), &mut writer)),
            _ => None,
        },
        uplift: uplift::write(&outcome.effect, &format!("outcome{index}"), &mut writer),
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

fn prefix(outcome: usize, part: usize) -> String {
    format!("outcome{outcome}.model{part}")
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
    let shape = Shape {
        names: &names,
        n_arms: header.arms.len().max(if header.dose.is_some() { 2 } else { 0 }),
        with_arm: header.learner == LearnerKind::S,
    };
    for (index, outcome) in header.outcomes.into_iter().enumerate() {
        let (name, kind) = (outcome.name.clone(), outcome.kind);
        let effect = read_effect(header.learner, outcome, index, &shape, &mut reader)?;
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

struct Shape<'a> {
    names: &'a [&'a str],
    /// Arms; a dose counts as two, for its one effect.
    n_arms: usize,
    with_arm: bool,
}

impl Shape<'_> {
    /// Features of a base model.
    fn n_features(&self) -> usize {
        self.names.len() + usize::from(self.with_arm)
    }
}

fn read_effect(
    learner: LearnerKind,
    outcome: OutcomeHeader,
    index: usize,
    shape: &Shape<'_>,
    reader: &mut Reader<'_>,
) -> Result<EffectModel, CausalError> {
    let what = || format!("outcome '{}'", outcome.name);
    let expected = match learner {
        LearnerKind::S => 1,
        LearnerKind::T => shape.n_arms,
        LearnerKind::CausalForest
        | LearnerKind::InstrumentalForest
        | LearnerKind::UpliftForest
        | LearnerKind::UpliftTree
        | LearnerKind::LinearDml
        | LearnerKind::LinearDr => 0,
        LearnerKind::X => 3 * (shape.n_arms - 1),
        LearnerKind::R
        | LearnerKind::Dr
        | LearnerKind::NonparamDml
        | LearnerKind::TransformedOutcome
        | LearnerKind::ClassTransformation => shape.n_arms - 1,
    };
    if outcome.models.len() != expected {
        let problem = format!("{} models where {expected} were expected", outcome.models.len());
        return Err(CausalError::corrupt(what(), problem));
    }
    let is_forest = matches!(learner, LearnerKind::CausalForest | LearnerKind::InstrumentalForest);
    if outcome.forest.is_some() != is_forest {
        return Err(CausalError::corrupt(what(), "forests and the kind of learner do not go together"));
    }
    let is_linear = matches!(learner, LearnerKind::LinearDml | LearnerKind::LinearDr);
    if outcome.linear.is_some() != is_linear {
        return Err(CausalError::corrupt(what(), "linear effects and the kind of learner do not go together"));
    }
    if let Some(header) = outcome.linear {
        let sizes = (shape.names, shape.n_arms - 1);
        return Ok(EffectModel::Linear(learner, linear::read(header, &format!("outcome{index}"), sizes, reader)?));
    }
    if outcome.uplift.is_some() != matches!(learner, LearnerKind::UpliftForest | LearnerKind::UpliftTree) {
        return Err(CausalError::corrupt(what(), "uplift trees and the kind of learner do not go together"));
    }
    if let Some(header) = outcome.uplift {
        let sizes = (shape.names.len(), shape.n_arms);
        return uplift::read(learner, header, &format!("outcome{index}"), sizes, reader);
    }
    if let Some(forest) = outcome.forest {
        let sizes = (shape.names.len(), shape.n_arms - 1);
        let instrumental = learner == LearnerKind::InstrumentalForest;
        let model = forests::read(forest, &format!("outcome{index}"), sizes, instrumental, reader)?;
        return Ok(match instrumental {
            true => EffectModel::InstrumentalForest(model),
            false => EffectModel::CausalForest(model),
        });
    }
    let mut models = outcome
        .models
        .into_iter()
        .enumerate()
        .map(|(part, base)| read_base(base, &prefix(index, part), shape, reader))
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
            let known = |name: &str| shape.names.contains(&name) || (shape.with_arm && name == crate::linear::ARM);
            if let Some(column) = design.iter().find(|column| !known(column.name())) {
                return Err(CausalError::corrupt(prefix, format!("'{}' is no feature", column.name())));
            }
            let design = Design::from_columns(design).map_err(|problem| CausalError::corrupt(prefix, problem))?;
            let coefficients = reader.f64(prefix, "coefficients")?;
            if coefficients.len() != design.width() || coefficients.iter().any(|b| !b.is_finite()) {
                let problem = format!("{} coefficients for {} columns", coefficients.len(), design.width());
                return Err(CausalError::corrupt(prefix, problem));
            }
            Ok(BaseModel::Linear(LinearModel { design, coefficients, link }))
        }
        BaseHeader::Forest { n_features, mean, shape: trees } => {
            if n_features != shape.n_features() || !mean.is_finite() {
                let problem = format!("a forest of mean {mean} on {n_features} features of {}", shape.n_features());
                return Err(CausalError::corrupt(prefix, problem));
            }
            let forest = forests::read_mean(&trees, n_features, prefix, reader)?;
            Ok(BaseModel::Forest(MeanForest { forest, mean }))
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

#[cfg(test)]
mod tests;
