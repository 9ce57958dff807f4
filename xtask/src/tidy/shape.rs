//! The shape of a file: its header, its length, its functions' lengths, its name.

use super::Finding;
use super::source::{Source, is_whole, matching_brace};

/// Lines of a file without its tests, blank lines and documentation comments: what has to be
/// kept in mind. Documenting a long list of errors must not cost a file its place.
const FILE_LINES: usize = 400;
/// Lines of a file with its tests.
const FILE_LINES_WITH_TESTS: usize = 700;
/// Lines of code (blank lines and comments don't count) of a function.
const FUNCTION_LINES: usize = 60;

const EMPTY_NAMES: [&str; 7] = ["utils", "helpers", "common", "misc", "types", "manager", "handler"];

/// Every rule about shape.
pub fn check(source: &Source, findings: &mut Vec<Finding>) {
    header(source, findings);
    name(source, findings);
    length(source, findings);
    functions(source, findings);
}

fn header(source: &Source, findings: &mut Vec<Finding>) {
    if !source.text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| line.starts_with("//!")) {
        findings.push(Finding::new(
            source,
            1,
            "header",
            "the file does not start with a //! comment",
            "say what lives here and what must not",
        ));
    }
}

fn name(source: &Source, findings: &mut Vec<Finding>) {
    let parts = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
    // Cargo fixes how tests share code: tests/common/mod.rs is not a test of its own.
    let in_tests = source.path.contains("/tests/");
    for part in parts.filter(|part| EMPTY_NAMES.contains(part) && !(in_tests && *part == "common")) {
        findings.push(Finding::new(
            source,
            1,
            "name",
            &format!("'{part}' says nothing about what is inside"),
            "name the file after the one thing it holds",
        ));
    }
}

fn length(source: &Source, findings: &mut Vec<Finding>) {
    let all = source.is_test.len();
    let documents = |line: &str| line.is_empty() || line.starts_with("///") || line.starts_with("//!");
    let lines = source.text.lines().zip(&source.is_test);
    let own = lines.filter(|(line, test)| !**test && !documents(line.trim())).count();
    let (found, limit, what) = if all > FILE_LINES_WITH_TESTS {
        (all, FILE_LINES_WITH_TESTS, "lines with tests")
    } else if own > FILE_LINES {
        (own, FILE_LINES, "lines without tests, blank lines and documentation")
    } else {
        return;
    };
    findings.push(Finding::new(
        source,
        1,
        "length",
        &format!("{found} {what}, {limit} at most"),
        "a file is read in one sitting: split it by what its parts are about",
    ));
}

fn functions(source: &Source, findings: &mut Vec<Finding>) {
    for start in source.words("fn") {
        let Some(open) = body(&source.code, start) else { continue };
        let Some(end) = matching_brace(&source.code, open) else { continue };
        let lines = source.code[start..end].lines().filter(|line| !line.trim().is_empty()).count();
        if lines > FUNCTION_LINES {
            let name: String =
                source.code[start + 2..].trim_start().chars().take_while(|c| super::source::is_word(*c)).collect();
            findings.push(Finding::new(
                source,
                source.line_at(start),
                "function",
                &format!("'{name}' has {lines} lines of code, {FUNCTION_LINES} at most"),
                "a function does one thing that its name says",
            ));
        }
    }
}

/// The brace that opens a function's body; `None` for a declaration or a function pointer.
fn body(code: &str, start: usize) -> Option<usize> {
    let mut depth = 0i32;
    for (offset, byte) in code.as_bytes()[start..].iter().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' if depth == 0 => return None,
            b')' | b']' => depth -= 1,
            b';' | b',' | b'=' if depth == 0 && !is_generic(code, start, start + offset) => return None,
            b'{' if depth == 0 => return Some(start + offset),
            _ => {}
        }
    }
    None
}

/// Commas and equal signs inside `<…>` or a where clause don't end a signature.
fn is_generic(code: &str, start: usize, at: usize) -> bool {
    let signature = &code[start..at];
    let opened = signature.matches('<').count();
    let closed = signature.matches('>').count() - signature.matches("->").count();
    let in_where = signature.match_indices("where").any(|(position, _)| is_whole(signature, position, 5));
    code.as_bytes()[at] != b';' && (opened > closed || in_where)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(&Source::new(path, text), &mut findings);
        findings.into_iter().map(|f| format!("{}:{}", f.rule, f.line)).collect()
    }

    #[test]
    fn a_tidy_file_has_no_findings() {
        assert!(
            rules("crates/impactiq-data/src/a.rs", "//! Rows.\nfn a<T: Into<u8>, U>(t: T) -> u8 { 0 }\n").is_empty()
        );
    }

    #[test]
    fn a_missing_header_is_found() {
        assert_eq!(rules("crates/impactiq-data/src/a.rs", "// Rows.\nfn a() {}\n"), ["header:1"]);
    }

    #[test]
    fn empty_names_are_found_in_files_and_folders() {
        assert_eq!(rules("crates/impactiq-data/src/utils.rs", "//! x\n"), ["name:1"]);
        assert_eq!(rules("crates/impactiq-data/src/helpers/a.rs", "//! x\n"), ["name:1"]);
        assert!(rules("crates/impactiq-cli/tests/common/mod.rs", "//! x\n").is_empty());
    }

    #[test]
    fn long_files_are_found_and_tests_are_counted_apart() {
        let long = format!("//! x\n{}", "/// why\nconst A: u8 = 0;\n".repeat(401).replacen("/// why\n", "", 200));
        assert_eq!(rules("crates/impactiq-data/src/a.rs", &long), ["length:1"]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "const A: u8 = 0;\n".repeat(350));
        let mixed = format!("//! x\n{}{tests}", "const A: u8 = 0;\n".repeat(300));
        assert!(rules("crates/impactiq-data/src/a.rs", &mixed).is_empty());
        assert_eq!(rules("crates/impactiq-data/src/a.rs", &format!("{mixed}{}", "\n".repeat(60))), ["length:1"]);
    }

    #[test]
    fn long_functions_are_found_without_their_comments() {
        let body =
            |n: usize| format!("//! x\nfn short() {{}}\nfn long(\n    a: u8,\n) {{\n{}}}\n", "    a();\n".repeat(n));
        assert!(rules("crates/impactiq-data/src/a.rs", &body(56)).is_empty());
        assert_eq!(rules("crates/impactiq-data/src/a.rs", &body(57)), ["function:3"]);
        let commented = format!("//! x\nfn f() {{\n{}}}\n", "    // why\n\n".repeat(80));
        assert!(rules("crates/impactiq-data/src/a.rs", &commented).is_empty());
        let pointer =
            format!("//! x\nstruct A {{ f: fn(u8) -> u8, b: u8 }}\nconst X: [u8; 70] = [\n{}];\n", "0,\n".repeat(70));
        assert!(rules("crates/impactiq-data/src/a.rs", &pointer).is_empty());
    }
}
