//! Splits in words: raw cut values and names of categories, from the bins.

use impactiq_data::{FeatureBins, MISSING_CODE};
use impactiq_trees::{Rule, Tree};

use super::numbers::digits;

/// Names of categories written out at most.
const MAX_NAMES: usize = 5;

/// By node: the condition under which a row of its parent comes to it.
pub(super) fn conditions(tree: &Tree, features: &[String], bins: &[FeatureBins]) -> Vec<String> {
    let mut conditions = vec![String::from("all rows"); tree.nodes().len()];
    for node in tree.nodes().iter().filter(|node| !node.is_leaf()) {
        let feature = node.feature as usize;
        let [left, right] = sides(&features[feature], &bins[feature], &tree.rule(node));
        conditions[node.left as usize] = left;
        conditions[node.right as usize] = right;
    }
    conditions
}

/// What sends a row left, and what right.
fn sides(name: &str, bins: &FeatureBins, rule: &Rule) -> [String; 2] {
    let missing_left = rule.goes_left(MISSING_CODE);
    let [left, right] = match (bins, rule) {
        (FeatureBins::Number { cuts }, Rule::AtMost { code, .. }) => match cuts.get(usize::from(*code)) {
            Some(cut) => [format!("{name} ≤ {}", plain(*cut)), format!("{name} > {}", plain(*cut))],
            // Every value goes left: the split is on missing alone.
            None => return [format!("{name} is known"), format!("{name} is missing")],
        },
        (FeatureBins::Category { levels, other_seen }, _) => {
            let mut names: Vec<(String, bool)> =
                levels.iter().enumerate().map(|(code, level)| (level.clone(), rule.goes_left(code as u8))).collect();
            if *other_seen {
                names.push(("any other".into(), rule.goes_left(levels.len() as u8)));
            }
            [true, false].map(|side| among(name, &names, side))
        }
        // A set of codes of a number: no grower makes one, but a file may hold it.
        (FeatureBins::Number { cuts }, Rule::In { .. }) => {
            let names: Vec<(String, bool)> =
                (0..=cuts.len()).map(|code| (format!("bin {code}"), rule.goes_left(code as u8))).collect();
            [true, false].map(|side| among(name, &names, side))
        }
    };
    match missing_left {
        true => [format!("{left} or missing"), right],
        false => [left, format!("{right} or missing")],
    }
}

/// A cut value to six digits, without zeros at its end.
fn plain(cut: f64) -> String {
    let text = digits(cut, 6);
    if text.contains('.') && !text.contains('e') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

/// The categories of a side, by those of the other where that is shorter.
fn among(name: &str, names: &[(String, bool)], side: bool) -> String {
    let of = |side: bool| -> Vec<&str> { names.iter().filter(|n| n.1 == side).map(|n| n.0.as_str()).collect() };
    let (own, other) = (of(side), of(!side));
    let (verb, shown) = if own.len() > MAX_NAMES && other.len() < own.len() { ("not in", other) } else { ("in", own) };
    match shown.as_slice() {
        [] => format!("{name} is none of its categories"),
        [one] if verb == "in" => format!("{name} = {one}"),
        [one] => format!("{name} ≠ {one}"),
        many if many.len() <= MAX_NAMES => format!("{name} {verb} {{{}}}", many.join(", ")),
        many => format!("{name} {verb} {{{}, … {} more}}", many[..MAX_NAMES].join(", "), many.len() - MAX_NAMES),
    }
}
