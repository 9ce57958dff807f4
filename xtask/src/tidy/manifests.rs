//! Which crate may depend on which: floors, Arrow's ceiling, and one place for versions.

use super::Finding;
use super::rooms::{HOUSE, MAY_KNOW_ARROW};

/// A dependency line of a manifest.
struct Dependency {
    line: usize,
    name: String,
    from_workspace: bool,
}

/// Checks one crate's Cargo.toml.
pub fn check(crate_name: &str, path: &str, text: &str, findings: &mut Vec<Finding>) {
    let Some(floor) = HOUSE.iter().find(|floor| floor.name == crate_name) else {
        if crate_name != "xtask" {
            findings.push(Finding::at(
                path,
                1,
                "floor",
                "the crate has no floor",
                "give it one in xtask/src/tidy/rooms.rs",
            ));
        }
        return;
    };
    for Dependency { line, name, from_workspace } in dependencies(text) {
        if name.starts_with("impactiq") && !floor.below.contains(&name.as_str()) {
            let allowed = if floor.below.is_empty() { "no crate of the house".into() } else { floor.below.join(", ") };
            let what = format!("{crate_name} depends on {name}");
            findings.push(Finding::at(path, line, "floor", &what, &format!("it may depend on {allowed}")));
        }
        let is_arrow = ["arrow", "parquet", "datafusion"]
            .iter()
            .any(|word| name == *word || name.starts_with(&format!("{word}-")));
        if is_arrow && !MAY_KNOW_ARROW.contains(&crate_name) {
            let what = format!("{crate_name} depends on {name}");
            let why = "below io nobody knows Arrow, in tests neither: their edit-test cycle stays seconds";
            findings.push(Finding::at(path, line, "arrow", &what, why));
        }
        if !from_workspace {
            let what = format!("{name} has a version or features of its own");
            let why =
                "versions and features stand in the root Cargo.toml only, so that every command builds one of each";
            findings.push(Finding::at(path, line, "workspace", &what, why));
        }
    }
}

fn dependencies(text: &str) -> Vec<Dependency> {
    let mut found = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(section) = line.strip_prefix('[').and_then(|s| s.strip_suffix(']')) {
            let name = section.rsplit_once("dependencies.").map(|(_, name)| name.trim_matches('"').to_owned());
            inside = section.ends_with("dependencies") && !section.starts_with("workspace");
            // `[dependencies.name]` spreads one dependency over lines: refused, one line each reads better.
            found.extend(name.map(|name| Dependency { line: number + 1, name, from_workspace: false }));
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside) {
            let dotted = key.trim().strip_suffix(".workspace");
            let name = dotted.unwrap_or(key.trim()).trim_matches('"').to_owned();
            let plain = value.replace(' ', "");
            let from_workspace = (dotted.is_some() || plain.contains("workspace=true")) && !plain.contains("features=");
            found.push(Dependency { line: number + 1, name, from_workspace });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(crate_name: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(crate_name, "Cargo.toml", text, &mut findings);
        findings.into_iter().map(|f| format!("{}:{}", f.rule, f.line)).collect()
    }

    #[test]
    fn floors_hold_for_every_kind_of_dependency() {
        assert!(rules("impactiq-trees", "[dependencies]\nimpactiq-data.workspace = true\n").is_empty());
        assert_eq!(rules("impactiq-trees", "[dependencies]\nimpactiq-metrics.workspace = true\n"), ["floor:2"]);
        assert_eq!(rules("impactiq-data", "[dev-dependencies]\nimpactiq-io = { workspace = true }\n"), ["floor:2"]);
        assert_eq!(rules("impactiq-attic", "[dependencies]\n"), ["floor:1"]);
    }

    #[test]
    fn arrow_is_not_seen_below_io() {
        assert_eq!(rules("impactiq-causal", "[dev-dependencies]\nparquet.workspace = true\n"), ["arrow:2"]);
        assert_eq!(rules("impactiq-metrics", "[dependencies]\ndatafusion-expr.workspace = true\n"), ["arrow:2"]);
        assert!(rules("impactiq-io", "[dependencies]\narrow.workspace = true\n").is_empty());
    }

    #[test]
    fn versions_and_features_stand_in_the_root_manifest_only() {
        assert_eq!(rules("impactiq-data", "[dependencies]\nserde = \"1\"\n"), ["workspace:2"]);
        let features = "[dependencies]\nserde = { workspace = true, features = [\"rc\"] }\n";
        assert_eq!(rules("impactiq-data", features), ["workspace:2"]);
        assert_eq!(rules("impactiq-data", "[dependencies.serde]\nversion = \"1\"\n"), ["workspace:1"]);
        assert!(
            rules("impactiq-data", "[package]\nversion = \"1\"\n[dependencies]\nserde.workspace = true # why\n")
                .is_empty()
        );
    }
}
