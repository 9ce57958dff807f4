//! One uplift tree of a model with the names that go with it.

use impactiq_trees::{NodeSummary, UpliftTree};

use super::numbers::digits;
use super::rules;
use crate::learners::EffectModel;
use crate::model::CausalModel;

/// One tree of a model with the names that go with it.
pub(super) struct Portrait<'a> {
    pub outcome: &'a str,
    pub tree: &'a UpliftTree,
    /// Labels of the tree's arms, the control first.
    pub arms: Vec<&'a str>,
    /// By node: the condition that leads to it; the root's says that it is all rows.
    pub conditions: Vec<String>,
}

/// Every uplift tree of a model; none for other learners.
pub(super) fn portraits(model: &CausalModel) -> Vec<Portrait<'_>> {
    let labels = model.arms().labels();
    let mut all = Vec::new();
    for outcome in model.outcomes() {
        let EffectModel::UpliftTree(own) = &outcome.effect else { continue };
        for (index, tree) in own.trees.iter().enumerate() {
            let arms = match own.trees.len() {
                1 => labels.iter().map(String::as_str).collect(),
                _ => vec![labels[0].as_str(), labels[index + 1].as_str()],
            };
            let conditions = rules::conditions(tree.tree(), model.features(), model.bins());
            all.push(Portrait { outcome: &outcome.name, tree, arms, conditions });
        }
    }
    all
}

/// What a tree's numbers are of.
pub(super) fn provenance(tree: &UpliftTree) -> &'static str {
    match tree.honest() {
        true => "Rows, means and standard errors are of rows that did not choose the splits.",
        false => {
            "The rows that chose the splits also fill the leaves: differences between leaves are exaggerated, \
             standard errors too small (learner.honest: true mends both)."
        }
    }
}

/// An effect with its sign and, where it can be told, its standard error.
pub(super) fn effect(node: &NodeSummary<'_>, arm: usize) -> String {
    let value = node.effect(arm);
    let sign = if value < 0.0 { "−" } else { "+" };
    let error = node.error(arm).map_or("unknown".into(), |error| digits(error, 2));
    format!("{sign}{} (se {error})", digits(value.abs(), 3))
}
