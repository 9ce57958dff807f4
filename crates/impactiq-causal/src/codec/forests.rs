//! Causal forests as arrays and back, and the shapes of trees, which boosted models share.

use impactiq_trees::sample::Bags;
use impactiq_trees::{Forest, ForestArrays, ForestKind, TreeArrays};
use serde::{Deserialize, Serialize};

use super::arrays::{Reader, Writer};
use crate::error::CausalError;
use crate::learners::{ForestModel, MAX_JOINT};

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
}

fn name(prefix: &str, index: usize) -> String {
    format!("{prefix}.forest{index}")
}

pub(super) fn write(model: &ForestModel, prefix: &str, writer: &mut Writer) -> ForestHeader {
    let parts = model.forests.iter().zip(&model.shrinkage).enumerate().map(|(index, (forest, &shrinkage))| {
        let arrays = forest.to_arrays();
        let prefix = name(prefix, index);
        write_shapes(&arrays.trees, &prefix, writer);
        writer.u64(&prefix, "bag_seeds", &arrays.bag_seeds);
        writer.f32(&prefix, "moments", &arrays.moments);
        let Bags { trees_per_bag, fraction, split_fraction } = arrays.bags;
        let layout = arrays.trees.version;
        let n_contrasts = arrays.kind.n_values();
        let centre = match arrays.kind {
            ForestKind::Mean { centre } => Some(centre),
            _ => None,
        };
        Part { n_contrasts, shrinkage, trees_per_bag, fraction, split_fraction, layout, centre }
    });
    ForestHeader { forests: parts.collect(), average: model.average.clone() }
}

/// # Errors
/// [`CausalError::Corrupt`] for forests that do not fit the contrasts or features, and for
/// arrays that are no forest.
pub(super) fn read(
    header: ForestHeader,
    prefix: &str,
    sizes: (usize, usize),
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
    sizes: (usize, usize),
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
    sizes: (usize, usize),
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
    ((n_features, n_contrasts), n_forests): ((usize, usize), usize),
    reader: &mut Reader<'_>,
    kind_of: impl Fn(&Part) -> Option<ForestKind>,
) -> Result<ForestModel, CausalError> {
    let corrupt = |problem: String| CausalError::corrupt(prefix, problem);
    if header.average.len() != n_contrasts || header.average.iter().any(|effect| !effect.is_finite()) {
        return Err(corrupt(format!("{} average effects for {n_contrasts} contrasts", header.average.len())));
    }
    if header.forests.len() != n_forests {
        return Err(corrupt(format!("{} forests where {n_forests} were expected", header.forests.len())));
    }
    let (mut forests, mut shrinkage) = (Vec::with_capacity(n_forests), Vec::with_capacity(n_forests));
    for (index, part) in header.forests.into_iter().enumerate() {
        let prefix = name(prefix, index);
        let kind = kind_of(&part).filter(|_| (0.0..=1.0).contains(&part.shrinkage));
        let Some(kind) = kind else {
            let problem = format!("{} contrasts, {} of the deviations", part.n_contrasts, part.shrinkage);
            return Err(CausalError::corrupt(prefix, problem));
        };
        let arrays = ForestArrays {
            n_features,
            kind,
            bags: Bags {
                trees_per_bag: part.trees_per_bag,
                fraction: part.fraction,
                split_fraction: part.split_fraction,
            },
            bag_seeds: reader.u64(&prefix, "bag_seeds")?,
            trees: read_shapes(part.layout, &prefix, reader)?,
            moments: reader.f32(&prefix, "moments")?,
        };
        let forest = Forest::from_arrays(&arrays).map_err(|error| CausalError::corrupt(prefix, error.to_string()))?;
        forests.push(forest);
        shrinkage.push(part.shrinkage);
    }
    Ok(ForestModel { forests, average: header.average, shrinkage })
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
    let arrays = forest.to_arrays();
    write_shapes(&arrays.trees, prefix, writer);
    writer.u64(prefix, "bag_seeds", &arrays.bag_seeds);
    writer.f32(prefix, "moments", &arrays.moments);
    let Bags { trees_per_bag, fraction, split_fraction } = arrays.bags;
    // Other kinds are never a base learner.
    let centre = if let ForestKind::Mean { centre } = arrays.kind { centre } else { 0.0 };
    MeanHeader { centre, trees_per_bag, fraction, split_fraction, layout: arrays.trees.version }
}

pub(super) fn read_mean(
    header: &MeanHeader,
    n_features: usize,
    prefix: &str,
    reader: &mut Reader<'_>,
) -> Result<Forest, CausalError> {
    let MeanHeader { centre, trees_per_bag, fraction, split_fraction, layout } = *header;
    let arrays = ForestArrays {
        n_features,
        kind: ForestKind::Mean { centre },
        bags: Bags { trees_per_bag, fraction, split_fraction },
        bag_seeds: reader.u64(prefix, "bag_seeds")?,
        trees: read_shapes(layout, prefix, reader)?,
        moments: reader.f32(prefix, "moments")?,
    };
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
