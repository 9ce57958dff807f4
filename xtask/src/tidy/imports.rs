//! One-way imports inside a crate: rooms in order, and no circle between its files.
//!
//! Paths (`crate::`, `super::`, `self::` and the names of child modules) are followed to
//! the file that defines what they name, through re-exports. Re-exporting is not
//! importing: `pub use child::Thing` in a mod.rs makes no circle.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::paths::{Reference, references};
use super::rooms::{Floor, HOUSE, METRICS_FROM_DATA};
use super::source::Source;

/// A file as a module of its crate.
struct Module<'a> {
    source: &'a Source,
    /// Names from the crate's root, e.g. ["read", "csv"]; empty for the root file.
    path: Vec<String>,
    /// What the file re-exports: name → path from the crate's root.
    reexports: BTreeMap<String, Vec<String>>,
    /// Private references: path from the crate's root, and the position they stand at.
    imports: Vec<(Vec<String>, usize)>,
}

/// Checks every crate of the house.
pub fn check(sources: &[Source], findings: &mut Vec<Finding>) {
    for floor in &HOUSE {
        let files: Vec<&Source> = sources
            .iter()
            .filter(|s| s.crate_name() == Some(floor.name) && s.below_src().is_some() && s.is_test.contains(&false))
            .collect();
        check_crate(floor, &files, findings);
    }
    for source in sources.iter().filter(|s| s.crate_name() == Some("impactiq-metrics")) {
        metrics_from_data(source, findings);
    }
}

fn check_crate(floor: &Floor, files: &[&Source], findings: &mut Vec<Finding>) {
    let names: BTreeSet<Vec<String>> = files.iter().map(|s| module_path(s)).collect();
    let modules: Vec<Module<'_>> = files.iter().map(|source| module(source, &names)).collect();
    let index: BTreeMap<&[String], usize> = modules.iter().enumerate().map(|(i, m)| (m.path.as_slice(), i)).collect();
    let mut edges: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for (from, module) in modules.iter().enumerate() {
        if module.path.first().is_some_and(|room| !floor.rooms.contains(&room.as_str())) {
            findings.push(Finding::new(
                module.source,
                1,
                "room",
                &format!("'{}' has no place among the rooms of {}", module.path[0], floor.name),
                "give it one in xtask/src/tidy/rooms.rs: it may import the rooms before it",
            ));
        }
        for (path, at) in &module.imports {
            if let Some(to) = resolve(path, &modules, &index, 0).filter(|to| *to != from) {
                edges.entry((from, to)).or_insert(*at);
            }
        }
    }
    order(floor, &modules, &edges, findings);
    circles(&modules, &edges, findings);
}

fn module_path(source: &Source) -> Vec<String> {
    let below = source.below_src().unwrap_or_default().trim_end_matches(".rs");
    let mut path: Vec<String> = below.split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|name| matches!(name.as_str(), "mod" | "lib" | "main")) {
        path.pop();
    }
    path
}

fn module<'a>(source: &'a Source, names: &BTreeSet<Vec<String>>) -> Module<'a> {
    let path = module_path(source);
    let children: Vec<&str> = names
        .iter()
        .filter(|name| name.len() == path.len() + 1 && name.starts_with(&path))
        .map(|name| name[path.len()].as_str())
        .collect();
    let (mut reexports, mut imports) = (BTreeMap::new(), Vec::new());
    for Reference { path: written, name, exported, at } in references(source, &children) {
        let Some(absolute) = absolute(&written, &path) else { continue };
        if exported {
            reexports.insert(name, absolute);
        } else {
            imports.push((absolute, at));
        }
    }
    Module { source, path, reexports, imports }
}

/// A path as written, from the crate's root.
fn absolute(written: &[String], here: &[String]) -> Option<Vec<String>> {
    let mut base = here.to_vec();
    let mut rest = written;
    match rest.first().map(String::as_str) {
        Some("crate") => {
            base.clear();
            rest = &rest[1..];
        }
        Some("self") => rest = &rest[1..],
        _ => {}
    }
    while rest.first().is_some_and(|segment| segment == "super") {
        base.pop()?;
        rest = &rest[1..];
    }
    base.extend_from_slice(rest);
    Some(base)
}

/// The file that defines what a path names.
fn resolve(path: &[String], modules: &[Module<'_>], index: &BTreeMap<&[String], usize>, depth: usize) -> Option<usize> {
    // The longest prefix that is a module.
    let length = (0..=path.len()).rev().find(|&length| index.contains_key(&path[..length]))?;
    let found = *index.get(&path[..length])?;
    match path.get(length).and_then(|name| modules[found].reexports.get(name)) {
        // Eight re-exports of a re-export are a circle of their own.
        Some(target) if depth < 8 => resolve(target, modules, index, depth + 1),
        _ => Some(found),
    }
}

fn order(floor: &Floor, modules: &[Module<'_>], edges: &BTreeMap<(usize, usize), usize>, findings: &mut Vec<Finding>) {
    let place = |module: &Module<'_>| match module.path.first() {
        None => Some(floor.rooms.len()),
        Some(room) => floor.rooms.iter().position(|r| r == room),
    };
    for (&(from, to), &at) in edges {
        let (Some(above), Some(below)) = (place(&modules[to]), place(&modules[from])) else { continue };
        if above > below {
            let target = if modules[to].path.is_empty() { "the root file".into() } else { modules[to].path.join("::") };
            findings.push(Finding::new(
                modules[from].source,
                modules[from].source.line_at(at),
                "rooms",
                &format!("'{}' imports '{target}', which comes after it", modules[from].path.join("::")),
                &format!("the rooms of {} are, from the ground up: {}", floor.name, floor.rooms.join(" · ")),
            ));
        }
    }
}

/// One finding per knot of files that reach one another, with its shortest circle.
fn circles(modules: &[Module<'_>], edges: &BTreeMap<(usize, usize), usize>, findings: &mut Vec<Finding>) {
    let name = |m: usize| if modules[m].path.is_empty() { "(root)".into() } else { modules[m].path.join("::") };
    let mut told: BTreeSet<usize> = BTreeSet::new();
    for file in 0..modules.len() {
        if told.contains(&file) {
            continue;
        }
        let reaches = |from, to| way_back(from, to, edges).is_some();
        let knot: Vec<usize> =
            (0..modules.len()).filter(|&m| m == file || (reaches(file, m) && reaches(m, file))).collect();
        told.extend(&knot);
        let ways = knot.iter().flat_map(|&from| {
            let next = edges.range((from, 0)..=(from, usize::MAX)).map(|(&(_, to), _)| to);
            next.filter_map(move |to| way_back(to, from, edges).map(|way| (from, way)))
        });
        let Some((from, way)) = ways.min_by_key(|(_, way)| way.len()) else { continue };
        let circle = way.iter().map(|&m| name(m)).collect::<Vec<_>>().join(" → ");
        let others = if knot.len() > way.len() {
            format!(" (and {} more files hang together this way)", knot.len() - way.len())
        } else {
            String::new()
        };
        findings.push(Finding::new(
            modules[from].source,
            modules[from].source.line_at(edges[&(from, way[0])]),
            "circle",
            &format!("{} → {circle}{others}", name(from)),
            "files that import one another are one file: move what both need above them",
        ));
    }
}

/// The shortest way from one file to another along imports, both ends included.
fn way_back(from: usize, to: usize, edges: &BTreeMap<(usize, usize), usize>) -> Option<Vec<usize>> {
    let mut ways = vec![vec![from]];
    let mut seen = BTreeSet::from([from]);
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = *way.last()?;
            if last == to {
                return Some(way);
            }
            for (&(_, next), _) in edges.range((last, 0)..=(last, usize::MAX)) {
                if seen.insert(next) {
                    let mut extended = way.clone();
                    extended.push(next);
                    longer.push(extended);
                }
            }
        }
        ways = longer;
    }
    None
}

fn metrics_from_data(source: &Source, findings: &mut Vec<Finding>) {
    for at in source.words("impactiq_data") {
        let rest = source.code[at..].strip_prefix("impactiq_data::").unwrap_or_default();
        let names: Vec<String> =
            super::paths::tree(rest).into_iter().filter_map(|path| path.first().cloned()).collect();
        for name in names.iter().filter(|name| !METRICS_FROM_DATA.contains(&name.as_str())) {
            findings.push(Finding::new(
                source,
                source.line_at(at),
                "floor",
                &format!("metrics takes '{name}' from data"),
                "metrics are pure numbers: slices in, estimates out; only seed and watch come from data",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Floor = Floor { name: "impactiq-data", below: &[], rooms: &["error", "seed", "folder"] };

    fn rules(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> =
            files.iter().map(|(p, t)| Source::new(&format!("crates/impactiq-data/src/{p}"), t)).collect();
        let mut findings = Vec::new();
        check_crate(&FLOOR, &sources.iter().collect::<Vec<_>>(), &mut findings);
        findings.into_iter().map(|f| format!("{} {}:{}", f.rule, f.file.rsplit('/').next().unwrap(), f.line)).collect()
    }

    #[test]
    fn imports_from_rooms_above_are_fine() {
        let files = [
            ("lib.rs", "pub mod error;\npub mod seed;\npub use seed::Seed;"),
            ("error.rs", "pub struct E;"),
            ("seed.rs", "use crate::error::E;\npub struct Seed;"),
        ];
        assert!(rules(&files).is_empty());
    }

    #[test]
    fn an_import_from_a_later_room_is_found_through_use_groups_paths_and_reexports() {
        for text in [
            "use crate::seed::Seed;",
            "use crate::{\n    seed::{Seed, Stream},\n};",
            "fn a() { crate::seed::b() }",
            "use crate::Seed;",
            "use super::seed::Seed;",
        ] {
            let files = [("lib.rs", "pub use seed::Seed;"), ("error.rs", text), ("seed.rs", "pub struct Seed;")];
            assert_eq!(rules(&files), ["rooms error.rs:1"], "{text}");
        }
        let test = "#[cfg(test)]\nmod tests {\n    use crate::seed::Seed;\n}";
        assert!(rules(&[("lib.rs", ""), ("error.rs", test), ("seed.rs", "")]).is_empty());
    }

    #[test]
    fn a_file_without_a_room_is_found() {
        assert_eq!(rules(&[("lib.rs", ""), ("attic.rs", "")]), ["room attic.rs:1"]);
    }

    #[test]
    fn circles_are_found_once_and_reexports_make_none() {
        let circle = [
            ("lib.rs", ""),
            ("folder/mod.rs", "mod a;\nuse a::A;\npub struct M;"),
            ("folder/a.rs", "use super::M;\npub struct A;"),
        ];
        assert_eq!(rules(&circle).len(), 1, "{:?}", rules(&circle));
        assert!(rules(&circle)[0].starts_with("circle "));
        let siblings = [
            ("lib.rs", ""),
            ("folder/mod.rs", "mod a;\nmod b;\npub use a::A;"),
            ("folder/a.rs", "pub struct A;"),
            ("folder/b.rs", "use super::A;\nuse super::a::f;"),
        ];
        assert!(rules(&siblings).is_empty(), "{:?}", rules(&siblings));
    }

    #[test]
    fn metrics_takes_only_seed_and_watch_from_data() {
        let found = |text: &str| {
            let mut findings = Vec::new();
            metrics_from_data(&Source::new("crates/impactiq-metrics/src/a.rs", text), &mut findings);
            findings.len()
        };
        assert_eq!(found("use impactiq_data::{Seed, Stream};\nuse impactiq_data::watch::Watch;"), 0);
        assert_eq!(found("use impactiq_data::{Seed, Dataset};"), 1);
        assert_eq!(found("fn a(t: &impactiq_data::table::Table) {}"), 1);
    }
}
