//! Words that no file of the repository may hold: paths of somebody's machine.

use super::Finding;

/// Files that are read: text that people write.
const READ: [&str; 14] =
    ["rs", "toml", "md", "yaml", "yml", "py", "sh", "json", "txt", "html", "css", "js", "ts", "svelte"];

/// True for files whose words are checked.
pub fn is_read(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => READ.contains(&ending),
        _ => matches!(name, "Makefile" | "run" | "LICENSE" | ".gitignore"),
    }
}

/// Checks every line of a text.
pub fn check(path: &str, text: &str, findings: &mut Vec<Finding>) {
    // Spelt in pieces, so that this file passes its own check.
    let forbidden = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tm", "p/brief"), concat!("/ho", "me/")];
    for (number, line) in text.lines().enumerate() {
        let mut add = |what: String, why: &str| findings.push(Finding::at(path, number + 1, "words", &what, why));
        for word in forbidden.iter().filter(|word| line.contains(**word)) {
            add(format!("'{word}' is a path of one machine"), "write paths relative to the repository, or ~ and $HOME");
        }
        let shared = concat!("../sha", "red/");
        for (at, _) in line.match_indices(shared) {
            let folder = &line[at + shared.len()..];
            if !folder.starts_with("data") && !folder.starts_with("parity") {
                add(
                    format!("'{shared}…' is outside the repository"),
                    "only the optional data and parity folders are known",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        let mut findings = Vec::new();
        check("a.md", text, &mut findings);
        findings.len()
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        assert_eq!(found(concat!("see /ro", "ot/.cache\nand /wo", "rk/main\n")), 2);
        assert_eq!(found(concat!("../sha", "red/design/a.md and ../sha", "red/data/a.csv, ../sha", "red/parity\n")), 1);
        assert_eq!(found("$HOME/.cache and ../other/data\n"), 0);
    }

    #[test]
    fn text_that_people_write_is_read_and_data_is_not() {
        assert!(is_read("Makefile") && is_read("crates/a/src/lib.rs") && is_read(".ci/run") && is_read("docs/a.md"));
        assert!(!is_read("data/a.csv.gz") && !is_read("Cargo.lock"));
    }
}
