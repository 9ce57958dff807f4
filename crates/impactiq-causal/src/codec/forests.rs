//! Causal forests as arrays and back, and the shapes of trees, which boosted models share.

use impactiq_trees::sample::Bags;
use impactiq_trees::{Forest, ForestArrays, ForestKind, TreeArrays};
use serde::{Deserialize, Serialize};

use super::arrays::{Reader, Writer};
use crate::error::CausalError;
use crate::learners::{ForestModel, LinearPart, MAX_JOINT};
use crate::linear::{Design, DesignColumn};

/// The forests of one outcome.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForestHeader {
    /// Average effect per contrast.
    average: Vec<f64>,
    forests: Vec<Part>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    n_contrasts: usize,
    shrinkage: f64,
    trees_per_bag: usize,
    fraction: f64,
    split_fraction: f64,
    layout: u32,
    /// Forests of means: what leaves are deviations from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    centre: Option<f64>,
    /// One per contrast, or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lines: Vec<LineHeader>,
}

/// The linear part of one contrast; its numbers stand among the arrays.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineHeader {
    design: Vec<DesignColumn>,
    range: [f64; 2],
}

fn name(prefix: &str, index: usize) -> String {
    format!("{prefix}.forest{index}")
}

pub(super) fn write(model: &ForestModel, prefix: &str, writer: &mut Writer) -> ForestHeader {
    let forests = model.forests.iter().zip(&model.shrinkage).zip(&model.lines).enumerate();
    let parts = forests.map(|(index, ((forest, &shrinkage), lines))| {
        let prefix = name(prefix, index);
        let (Bags { trees_per_bag, fraction, split_fraction }, layout) = write_forest(forest, &prefix, writer);
        let n_contrasts = forest.kind().n_values();
        let centre = centre_of(forest);
        let lines = lines.iter().enumerate();
        let lines = lines.map(|(k, line)| write_line(line, &line_name(&prefix, k), writer)).collect();
        Part { n_contrasts, shrinkage, trees_per_bag, fraction, split_fraction, layout, centre, lines }
    });
    ForestHeader { forests: parts.collect(), average: model.average.clone() }
}

fn line_name(prefix: &str, contrast: usize) -> String {
    format!("{prefix}.line{contrast}")
}

fn write_line(line: &LinearPart, prefix: &str, writer: &mut Writer) -> LineHeader {
    writer.f64(prefix, "coefficients", &line.coefficients);
    writer.f64(prefix, "covariance", &line.covariance);
    LineHeader { design: line.design.columns().to_vec(), range: line.range }
}

fn read_line(
    header: LineHeader,
    prefix: &str,
    names: &[&str],
    reader: &mut Reader<'_>,
) -> Result<LinearPart, CausalError> {
    let corrupt = |problem: String| CausalError::corrupt(prefix, problem);
    if let Some(column) = header.design.iter().find(|column| !names.contains(&column.name())) {
        return Err(corrupt(format!("'{}' is no feature", column.name())));
    }
    let design = Design::from_columns(header.design).map_err(corrupt)?;
    let (coefficients, covariance) = (reader.f64(prefix, "coefficients")?, reader.f64(prefix, "covariance")?);
    let width = design.width();
    let [smallest, largest] = header.range;
    let finite = coefficients.iter().chain(&covariance).chain(&header.range).all(|value| value.is_finite());
    if coefficients.len() != width || covariance.len() != width * (width + 1) / 2 || !finite || smallest > largest {
        let problem = format!("{} coefficients for {width} columns, from {smallest} to {largest}", coefficients.len());
        return Err(corrupt(problem));
    }
    Ok(LinearPart { design, coefficients, covariance, range: header.range })
}

/// # Errors
/// [`CausalError::Corrupt`] for forests that do not fit the contrasts or features, and for
/// arrays that are no forest.
pub(super) fn read(
    header: ForestHeader,
    prefix: &str,
    sizes: (&[&str], usize),
    reader: &mut Reader<'_>,
) -> Result<ForestModel, CausalError> {
    let n_contrasts = sizes.1;
    let (n_forests, each) = if n_contrasts <= MAX_JOINT { (1, n_contrasts) } else { (n_contrasts, 1) };
    read_forests(header, prefix, (sizes, n_forests), reader, |part| match part.centre {
        None if part.n_contrasts == each => Some(ForestKind::Effect { n_contrasts: each }),
        _ => None,
    })
}

/// Forests of means, one per contrast.
///
/// # Errors
/// As [`read`].
pub(super) fn read_means(
    header: ForestHeader,
    prefix: &str,
    sizes: (&[&str], usize),
    reader: &mut Reader<'_>,
) -> Result<ForestModel, CausalError> {
    read_forests(header, prefix, (sizes, sizes.1), reader, |part| match part.centre {
        Some(centre) if part.n_contrasts == 1 && centre.is_finite() => Some(ForestKind::Mean { centre }),
        _ => None,
    })
}

/// The forest of one instrument.
///
/// # Errors
/// As [`read`].
pub(super) fn read_instrument(
    header: ForestHeader,
    prefix: &str,
    sizes: (&[&str], usize),
    reader: &mut Reader<'_>,
) -> Result<ForestModel, CausalError> {
    if sizes.1 != 1 {
        return Err(CausalError::corrupt(prefix, format!("one instrument for {} contrasts", sizes.1)));
    }
    read_forests(header, prefix, (sizes, 1), reader, |part| match part.centre {
        None if part.n_contrasts == 1 => Some(ForestKind::Instrument),
        _ => None,
    })
}

/// `kind_of` says what a forest answers, or that it can't be one of these.
fn read_forests(
    header: ForestHeader,
    prefix: &str,
    ((names, n_contrasts), n_forests): ((&[&str], usize), usize),
    reader: &mut Reader<'_>,
    kind_of: impl Fn(&Part) -> Option<ForestKind>,
) -> Result<ForestModel, CausalError> {
    let corrupt = |problem: String| CausalError::corrupt(prefix, problem);
    let n_features = names.len();
    if header.average.len() != n_contrasts || header.average.iter().any(|effect| !effect.is_finite()) {
        return Err(corrupt(format!("{} average effects for {n_contrasts} contrasts", header.average.len())));
    }
    if header.forests.len() != n_forests {
        return Err(corrupt(format!("{} forests where {n_forests} were expected", header.forests.len())));
    }
    let mut model =
        ForestModel { forests: Vec::new(), average: header.average, shrinkage: Vec::new(), lines: Vec::new() };
    for (index, part) in header.forests.into_iter().enumerate() {
        let prefix = name(prefix, index);
        let kind = kind_of(&part).filter(|_| (0.0..=1.0).contains(&part.shrinkage));
        let Some(kind) = kind else {
            let problem = format!("{} contrasts, {} of the deviations", part.n_contrasts, part.shrinkage);
            return Err(CausalError::corrupt(prefix, problem));
        };
        if ![0, part.n_contrasts].contains(&part.lines.len()) {
            let problem = format!("{} linear parts of {} effects", part.lines.len(), part.n_contrasts);
            return Err(CausalError::corrupt(prefix, problem));
        }
        let lines = (part.lines.into_iter().enumerate())
            .map(|(k, line)| read_line(line, &line_name(&prefix, k), names, reader))
            .collect::<Result<Vec<_>, _>>()?;
        let Part { trees_per_bag, fraction, split_fraction, layout, .. } = part;
        let bags = Bags { trees_per_bag, fraction, split_fraction };
        let forest = read_forest((n_features, kind), bags, layout, &prefix, reader)?;
        model.forests.push(forest);
        model.shrinkage.push(part.shrinkage);
        model.lines.push(lines);
    }
    Ok(model)
}

/// A regression forest beside its arrays.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MeanHeader {
    centre: f64,
    trees_per_bag: usize,
    fraction: f64,
    split_fraction: f64,
    layout: u32,
}

pub(super) fn write_mean(forest: &Forest, prefix: &str, writer: &mut Writer) -> MeanHeader {
    let (Bags { trees_per_bag, fraction, split_fraction }, layout) = write_forest(forest, prefix, writer);
    // Other kinds are never a base learner.
    let centre = centre_of(forest).unwrap_or_default();
    MeanHeader { centre, trees_per_bag, fraction, split_fraction, layout }
}

pub(super) fn read_mean(
    header: &MeanHeader,
    n_features: usize,
    prefix: &str,
    reader: &mut Reader<'_>,
) -> Result<Forest, CausalError> {
    let MeanHeader { centre, trees_per_bag, fraction, split_fraction, layout } = *header;
    let bags = Bags { trees_per_bag, fraction, split_fraction };
    read_forest((n_features, ForestKind::Mean { centre }), bags, layout, prefix, reader)
}

/// What a forest of means takes its leaves' deviations from.
fn centre_of(forest: &Forest) -> Option<f64> {
    match forest.kind() {
        ForestKind::Mean { centre } => Some(centre),
        _ => None,
    }
}

/// The arrays of a forest; how its trees drew rows and the layout of their shapes are for the header.
fn write_forest(forest: &Forest, prefix: &str, writer: &mut Writer) -> (Bags, u32) {
    let arrays = forest.to_arrays();
    write_shapes(&arrays.trees, prefix, writer);
    writer.u64(prefix, "bag_seeds", &arrays.bag_seeds);
    writer.f32(prefix, "moments", &arrays.moments);
    (arrays.bags, arrays.trees.version)
}

fn read_forest(
    (n_features, kind): (usize, ForestKind),
    bags: Bags,
    layout: u32,
    prefix: &str,
    reader: &mut Reader<'_>,
) -> Result<Forest, CausalError> {
    let bag_seeds = reader.u64(prefix, "bag_seeds")?;
    let trees = read_shapes(layout, prefix, reader)?;
    let moments = reader.f32(prefix, "moments")?;
    let arrays = ForestArrays { n_features, kind, bags, bag_seeds, trees, moments };
    Forest::from_arrays(&arrays).map_err(|error| CausalError::corrupt(prefix, error.to_string()))
}

/// The shapes of trees, of a boosted model or a forest.
pub(super) fn write_shapes(trees: &TreeArrays, prefix: &str, writer: &mut Writer) {
    writer.u32(prefix, "n_nodes", &trees.n_nodes);
    writer.u32(prefix, "n_sets", &trees.n_sets);
    writer.u32(prefix, "feature", &trees.feature);
    writer.u32(prefix, "left", &trees.left);
    writer.u32(prefix, "right", &trees.right);
    writer.u32(prefix, "set", &trees.set);
    writer.u8(prefix, "code", &trees.code);
    writer.u8(prefix, "flags", &trees.flags);
    writer.f64(prefix, "gain", &trees.gain);
    writer.u64(prefix, "sets", &trees.sets);
}

pub(super) fn read_shapes(layout: u32, prefix: &str, reader: &mut Reader<'_>) -> Result<TreeArrays, CausalError> {
    Ok(TreeArrays {
        version: layout,
        n_nodes: reader.u32(prefix, "n_nodes")?,
        n_sets: reader.u32(prefix, "n_sets")?,
        feature: reader.u32(prefix, "feature")?,
        left: reader.u32(prefix, "left")?,
        right: reader.u32(prefix, "right")?,
        set: reader.u32(prefix, "set")?,
        code: reader.u8(prefix, "code")?,
        flags: reader.u8(prefix, "flags")?,
        gain: reader.f64(prefix, "gain")?,
        sets: reader.u64(prefix, "sets")?,
    })
}
