//! Uplift forests and trees as arrays and back.

use impactiq_trees::sample::Bags;
use impactiq_trees::{UpliftArrays, UpliftForest, UpliftTree, UpliftTreeArrays};
use serde::{Deserialize, Serialize};

use super::arrays::{Reader, Writer};
use super::forests::{read_shapes, write_shapes};
use crate::error::CausalError;
use crate::learners::{EffectModel, LearnerKind, UpliftForestModel, UpliftTreeModel, n_groups};

/// The uplift forests or trees of one outcome, one per group of arms.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpliftHeader {
    groups: Vec<Group>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    n_arms: usize,
    layout: u32,
    /// How a forest's trees drew their rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sampling: Option<Sampling>,
    /// Whether a tree's leaves were filled by rows of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    honest: Option<bool>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sampling {
    fraction: f64,
    split_fraction: f64,
}

fn name(prefix: &str, index: usize) -> String {
    format!("{prefix}.uplift{index}")
}

/// The header of an uplift model; `None` for other learners.
pub(super) fn write(effect: &EffectModel, prefix: &str, writer: &mut Writer) -> Option<UpliftHeader> {
    let groups = match effect {
        EffectModel::UpliftForest(model) => {
            model.forests.iter().enumerate().map(|(i, forest)| write_forest(forest, &name(prefix, i), writer)).collect()
        }
        EffectModel::UpliftTree(model) => {
            model.trees.iter().enumerate().map(|(i, tree)| write_tree(tree, &name(prefix, i), writer)).collect()
        }
        _ => return None,
    };
    Some(UpliftHeader { groups })
}

fn write_forest(forest: &UpliftForest, prefix: &str, writer: &mut Writer) -> Group {
    let arrays = forest.to_arrays();
    write_shapes(&arrays.trees, prefix, writer);
    writer.u64(prefix, "tree_seeds", &arrays.tree_seeds);
    writer.f64(prefix, "means", &arrays.means);
    let Bags { fraction, split_fraction, .. } = arrays.bags;
    let sampling = Some(Sampling { fraction, split_fraction });
    Group { n_arms: arrays.n_arms, layout: arrays.trees.version, sampling, honest: None }
}

fn write_tree(tree: &UpliftTree, prefix: &str, writer: &mut Writer) -> Group {
    let arrays = tree.to_arrays();
    write_shapes(&arrays.trees, prefix, writer);
    writer.u64(prefix, "rows", &arrays.rows);
    writer.f64(prefix, "means", &arrays.means);
    writer.f64(prefix, "errors", &arrays.errors);
    Group { n_arms: arrays.n_arms, layout: arrays.trees.version, sampling: None, honest: Some(arrays.honest) }
}

/// # Errors
/// [`CausalError::Corrupt`] for groups that do not fit the arms or features, and for arrays that
/// are no forest or tree.
pub(super) fn read(
    learner: LearnerKind,
    header: UpliftHeader,
    prefix: &str,
    (n_features, n_arms): (usize, usize),
    reader: &mut Reader<'_>,
) -> Result<EffectModel, CausalError> {
    let n = n_groups(n_arms);
    let each = if n == 1 { n_arms } else { 2 };
    if header.groups.len() != n || header.groups.iter().any(|group| group.n_arms != each) {
        let problem = format!("{} groups of arms for {n_arms} arms", header.groups.len());
        return Err(CausalError::corrupt(prefix, problem));
    }
    let groups = header.groups.into_iter().enumerate().map(|(index, group)| (name(prefix, index), group));
    if learner == LearnerKind::UpliftTree {
        let trees = groups.map(|(prefix, group)| read_tree(&group, &prefix, n_features, reader));
        return Ok(EffectModel::UpliftTree(UpliftTreeModel { trees: trees.collect::<Result<_, _>>()? }));
    }
    let forests = groups.map(|(prefix, group)| read_forest(&group, &prefix, n_features, reader));
    Ok(EffectModel::UpliftForest(UpliftForestModel { forests: forests.collect::<Result<_, _>>()? }))
}

fn read_forest(
    group: &Group,
    prefix: &str,
    n_features: usize,
    reader: &mut Reader<'_>,
) -> Result<UpliftForest, CausalError> {
    let (Some(Sampling { fraction, split_fraction }), None) = (group.sampling, group.honest) else {
        return Err(CausalError::corrupt(prefix, "it is not described as a forest is"));
    };
    let arrays = UpliftArrays {
        n_features,
        n_arms: group.n_arms,
        bags: Bags { trees_per_bag: 1, fraction, split_fraction },
        tree_seeds: reader.u64(prefix, "tree_seeds")?,
        trees: read_shapes(group.layout, prefix, reader)?,
        means: reader.f64(prefix, "means")?,
    };
    UpliftForest::from_arrays(&arrays).map_err(|error| CausalError::corrupt(prefix, error.to_string()))
}

fn read_tree(
    group: &Group,
    prefix: &str,
    n_features: usize,
    reader: &mut Reader<'_>,
) -> Result<UpliftTree, CausalError> {
    let (None, Some(honest)) = (group.sampling, group.honest) else {
        return Err(CausalError::corrupt(prefix, "it is not described as a tree is"));
    };
    let arrays = UpliftTreeArrays {
        n_features,
        n_arms: group.n_arms,
        honest,
        trees: read_shapes(group.layout, prefix, reader)?,
        rows: reader.u64(prefix, "rows")?,
        means: reader.f64(prefix, "means")?,
        errors: reader.f64(prefix, "errors")?,
    };
    UpliftTree::from_arrays(&arrays).map_err(|error| CausalError::corrupt(prefix, error.to_string()))
}
