//! An uplift tree as indented text.

use std::fmt::Write;

use super::numbers::{count, digits};
use super::portrait::{Portrait, effect, portraits, provenance};
use crate::model::CausalModel;

/// The uplift trees of a model as text: a line per node with the condition that leads to it, its
/// rows and mean outcome by arm, and the uplift of every arm with its standard error. `None` for
/// models of other learners.
pub fn uplift_tree_text(model: &CausalModel) -> Option<String> {
    let trees: Vec<String> = portraits(model).iter().map(one).collect();
    (!trees.is_empty()).then(|| trees.join("\n"))
}

fn one(portrait: &Portrait<'_>) -> String {
    let mut out = format!(
        "Uplift tree of '{}': {} against '{}'\n",
        portrait.outcome,
        portrait.arms[1..].iter().map(|arm| format!("'{arm}'")).collect::<Vec<_>>().join(", "),
        portrait.arms[0],
    );
    branch(portrait, 0, "", "", &mut out);
    let _ = writeln!(out, "{}", provenance(portrait.tree));
    out
}

/// A node after `lead`, and its children after `indent`.
fn branch(portrait: &Portrait<'_>, at: usize, lead: &str, indent: &str, out: &mut String) {
    let node = portrait.tree.node(at);
    let arms: Vec<String> = (0..portrait.arms.len())
        .map(|arm| format!("{}: {} at {}", portrait.arms[arm], count(node.rows[arm]), digits(node.means[arm], 4)))
        .collect();
    let several = portrait.arms.len() > 2;
    let effects: Vec<String> = (1..portrait.arms.len())
        .map(|arm| {
            let of = if several { format!("{} ", portrait.arms[arm]) } else { String::new() };
            format!("{of}{}", effect(&node, arm))
        })
        .collect();
    let n: u64 = node.rows.iter().sum();
    let _ = writeln!(
        out,
        "{lead}{} · {} rows ({}) · uplift {}",
        portrait.conditions[at],
        count(n),
        arms.join("; "),
        effects.join("; "),
    );
    let shape = portrait.tree.tree().nodes()[at];
    if !shape.is_leaf() {
        branch(portrait, shape.left as usize, &format!("{indent}├─ "), &format!("{indent}│  "), out);
        branch(portrait, shape.right as usize, &format!("{indent}└─ "), &format!("{indent}   "), out);
    }
}
