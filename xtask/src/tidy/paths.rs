//! Paths in Rust text: `use` trees and paths in expressions, without a compiler.
//!
//! Only `crate::`, `self::`, `super::` and the names of child modules are followed; what
//! comes from other crates is the manifests' business.

use super::source::{Source, is_whole, is_word};

/// A path that names something of the same crate.
#[derive(Debug, PartialEq)]
pub struct Reference {
    /// Segments as written, e.g. ["super", "a", "A"].
    pub path: Vec<String>,
    /// The name it gets here: the last segment, or the one behind `as`.
    pub name: String,
    /// True in a `pub use`: handed on, not used here.
    pub exported: bool,
    /// Byte position.
    pub at: usize,
}

/// Every reference of a file outside its tests.
pub fn references(source: &Source, children: &[&str]) -> Vec<Reference> {
    let mut found = Vec::new();
    let starts = ["crate", "self", "super"].iter().chain(children);
    for start in starts {
        for at in source.words(start) {
            let behind = &source.code[at + start.len()..];
            if !behind.starts_with("::") || source.code[..at].trim_end().ends_with("::") {
                continue;
            }
            let exported = in_public_use(&source.code[..at]);
            for mut path in tree(&source.code[at..]) {
                let alias = path.iter().position(|segment| segment == "as");
                let name = path.last().cloned().unwrap_or_default();
                if let Some(position) = alias {
                    path.truncate(position);
                }
                found.push(Reference { path, name, exported, at });
            }
        }
    }
    found
}

/// True when the statement that a position lies in is a `pub use` (or `pub(…) use`).
fn in_public_use(before: &str) -> bool {
    let statement = before.rsplit([';', '}']).next().unwrap_or_default();
    // `use {a::X, b::Y}`: braces that are open belong to the same statement.
    let statement = statement.trim_start_matches(|c: char| c.is_whitespace());
    let uses = statement.match_indices("use").filter(|(at, _)| is_whole(statement, *at, 3)).map(|(at, _)| at).last();
    uses.is_some_and(|at| {
        let head = statement[..at].trim_end();
        head.ends_with("pub") || (head.ends_with(')') && head.contains("pub("))
    })
}

/// The paths of a use tree (or the one path of an expression) that starts here:
/// `a::{b::C, d}` gives a::b::C and a::d; `C as D` keeps `as` and `D` as segments.
pub fn tree(text: &str) -> Vec<Vec<String>> {
    let mut rest = text;
    parse(&mut rest)
}

fn parse(rest: &mut &str) -> Vec<Vec<String>> {
    let mut path = Vec::new();
    loop {
        *rest = rest.trim_start();
        if let Some(inside) = rest.strip_prefix('{') {
            *rest = inside;
            return group(rest).into_iter().map(|tail| [path.clone(), tail].concat()).collect();
        }
        if let Some(behind) = rest.strip_prefix('*') {
            *rest = behind;
            return vec![path];
        }
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if length == 0 {
            return vec![path];
        }
        path.push(rest[..length].to_owned());
        *rest = &rest[length..];
        let behind = rest.trim_start();
        if let Some(alias) = behind.strip_prefix("as ") {
            let alias = alias.trim_start();
            let length = alias.find(|c| !is_word(c)).unwrap_or(alias.len());
            path.extend(["as".to_owned(), alias[..length].to_owned()]);
            *rest = &alias[length..];
            return vec![path];
        }
        match behind.strip_prefix("::") {
            Some(next) if !next.starts_with('<') => *rest = next,
            _ => return vec![path],
        }
    }
}

fn group(rest: &mut &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    loop {
        *rest = rest.trim_start();
        if rest.is_empty() {
            return paths;
        }
        if let Some(behind) = rest.strip_prefix('}') {
            *rest = behind;
            return paths;
        }
        if let Some(behind) = rest.strip_prefix(',') {
            *rest = behind;
            continue;
        }
        let before = rest.len();
        paths.extend(parse(rest));
        if rest.len() == before {
            // Not a use tree after all (a block, say): nothing more to read.
            return paths;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(paths: Vec<Vec<String>>) -> Vec<String> {
        paths.into_iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn use_trees_are_read() {
        assert_eq!(
            joined(tree("crate::a::{b::C, d::*, e as f, self};")),
            ["crate::a::b::C", "crate::a::d", "crate::a::e::as::f", "crate::a::self"]
        );
        assert_eq!(joined(tree("crate::a::f::<u8>(1)")), ["crate::a::f"]);
        assert_eq!(joined(tree("crate::a { x: 1 }")), ["crate::a"]);
    }

    #[test]
    fn references_know_names_and_whether_they_are_handed_on() {
        let text = "pub use child::{A, B as C};\npub(crate) use self::child::D;\nuse child::E;\nfn f() { child::g(); x.child::<u8>() }\n";
        let source = Source::new("crates/impactiq-data/src/a.rs", text);
        let mut found: Vec<(String, bool)> =
            references(&source, &["child"]).into_iter().map(|r| (r.name, r.exported)).collect();
        found.sort();
        let wanted = [("A", true), ("C", true), ("D", true), ("E", false), ("g", false)];
        // `.child::<u8>()` is a method: a path of one segment with nothing behind it.
        let found: Vec<(&str, bool)> =
            found.iter().map(|(n, e)| (n.as_str(), *e)).filter(|(n, _)| *n != "child").collect();
        assert_eq!(found, wanted);
    }
}
