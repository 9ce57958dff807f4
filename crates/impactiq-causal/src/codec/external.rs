//! Trees that another library grew, as arrays and back: numbers only, checked like our own.

use serde::{Deserialize, Serialize};

use super::arrays::{Reader, Writer};
use crate::base::{BaseModel, ExternalModel, Library, Missing, RawNode, RawTrees};
use crate::error::CausalError;
use crate::linear::{Design, DesignColumn, Link};

/// What is no array.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExternalHeader {
    library: Library,
    link: Link,
    /// Numbers and sums are rounded to 32 bits.
    single: bool,
    design: Vec<DesignColumn>,
}

pub(super) fn write(model: &ExternalModel, prefix: &str, writer: &mut Writer) -> ExternalHeader {
    let trees = &model.trees;
    let of_nodes = |pick: &dyn Fn(&RawNode) -> u32| -> Vec<u32> { trees.nodes().iter().map(pick).collect() };
    writer.f64(prefix, "start", &[trees.start]);
    writer.u32(prefix, "roots", trees.roots());
    writer.u32(prefix, "features", &of_nodes(&|node| node.feature));
    writer.u32(prefix, "left", &of_nodes(&|node| node.left));
    writer.u32(prefix, "right", &of_nodes(&|node| node.right));
    writer.f64(prefix, "values", &trees.nodes().iter().map(|node| node.value).collect::<Vec<_>>());
    writer.u8(prefix, "missing", &trees.nodes().iter().map(|node| node.missing as u8).collect::<Vec<_>>());
    ExternalHeader {
        library: model.library,
        link: model.link,
        single: trees.single,
        design: model.design.columns().to_vec(),
    }
}

/// # Errors
/// [`CausalError::Corrupt`] for columns that are no features, arrays of different lengths, and trees
/// whose ways do not end.
pub(super) fn read(
    header: ExternalHeader,
    prefix: &str,
    design_of: impl Fn(Vec<DesignColumn>) -> Result<Design, String>,
    reader: &mut Reader<'_>,
) -> Result<BaseModel, CausalError> {
    let corrupt = |problem: String| CausalError::corrupt(prefix, problem);
    let design = design_of(header.design).map_err(&corrupt)?;
    let start = reader.f64(prefix, "start")?;
    let [start] = start.as_slice() else { return Err(corrupt(format!("{} starts", start.len()))) };
    let roots = reader.u32(prefix, "roots")?;
    let (features, left, right) =
        (reader.u32(prefix, "features")?, reader.u32(prefix, "left")?, reader.u32(prefix, "right")?);
    let (values, missing) = (reader.f64(prefix, "values")?, reader.u8(prefix, "missing")?);
    let n = features.len();
    if [left.len(), right.len(), values.len(), missing.len()] != [n; 4] {
        return Err(corrupt(format!("{n} nodes, but {} values", values.len())));
    }
    let nodes = (0..n)
        .map(|at| {
            let missing = match missing[at] {
                0 => Missing::Right,
                1 => Missing::Left,
                2 => Missing::Zero,
                other => return Err(format!("rows without a value go to {other}")),
            };
            let (feature, value, left, right) = (features[at], values[at], left[at], right[at]);
            Ok(RawNode { feature, value, left, right, missing })
        })
        .collect::<Result<Vec<_>, String>>()
        .map_err(&corrupt)?;
    // The design's first number is the intercept, which trees don't see.
    let trees = RawTrees::from_parts((*start, header.single), design.width() - 1, roots, nodes).map_err(&corrupt)?;
    Ok(BaseModel::External(Box::new(ExternalModel { library: header.library, design, link: header.link, trees })))
}
