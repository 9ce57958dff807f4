//! One Rust file, read so that rules can look at it without being fooled: comments and
//! the insides of strings are blanked, and the lines of tests are marked.
//!
//! No rule lives here. Columns and line numbers of the blanked text equal the original's.

use std::ops::Range;

/// A Rust source file of the workspace.
pub struct Source {
    /// Path from the workspace's root, with forward slashes.
    pub path: String,
    /// The text as it stands.
    pub text: String,
    /// The text with comments and the insides of strings turned into blanks.
    pub code: String,
    /// Per line: true inside `#[cfg(test)]` items, everywhere in files of tests.
    pub is_test: Vec<bool>,
    /// Modules that exist in tests only (`#[cfg(test)] mod name;`).
    pub test_modules: Vec<String>,
}

impl Source {
    /// Reads a text that stands at a path.
    pub fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let n_lines = text.lines().count();
        let mut source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            is_test: vec![false; n_lines],
            test_modules: vec![],
        };
        if is_test_path(path) {
            source.mark_as_test();
        } else {
            source.mark_test_items();
        }
        source
    }

    /// Marks every line as a test's.
    pub fn mark_as_test(&mut self) {
        self.is_test.fill(true);
    }

    /// The crate's folder name, for files under `crates/`.
    pub fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// The path below the crate's `src`, if the file is there.
    pub fn below_src(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("crates/")?;
        rest.split_once('/')?.1.strip_prefix("src/")
    }

    /// Line of a byte position, counted from 1.
    pub fn line_at(&self, position: usize) -> usize {
        self.code[..position].matches('\n').count() + 1
    }

    /// True when the byte position lies in a test.
    pub fn in_test(&self, position: usize) -> bool {
        self.is_test.get(self.line_at(position) - 1).copied().unwrap_or(false)
    }

    /// Positions of a word in the code (whole identifiers only), tests left out.
    pub fn words(&self, word: &str) -> Vec<usize> {
        let hits = self.code.match_indices(word).map(|(at, _)| at);
        hits.filter(|&at| is_whole(&self.code, at, word.len()) && !self.in_test(at)).collect()
    }

    fn mark_test_items(&mut self) {
        for attribute in ["#[cfg(test)]", "#[cfg(all(test", "#[cfg(any(test"] {
            let starts: Vec<usize> = self.code.match_indices(attribute).map(|(at, _)| at).collect();
            for start in starts {
                let end = self.item_end(start);
                let (first, last) = (self.line_at(start), self.line_at(end));
                self.is_test[first - 1..last.min(self.code.lines().count())].fill(true);
                let item = &self.code[start..end];
                let declared = item.rsplit_once("mod ").map(|(_, name)| name.trim().trim_end_matches(';').trim());
                if let Some(name) = declared.filter(|name| !item.contains('{') && name.chars().all(is_word)) {
                    self.test_modules.push(name.to_owned());
                }
            }
        }
    }

    /// Where the item that follows an attribute ends.
    fn item_end(&self, start: usize) -> usize {
        let bytes = self.code.as_bytes();
        let after = start + self.code[start..].find(']').unwrap_or(0);
        for (offset, byte) in bytes[after..].iter().enumerate() {
            match byte {
                b';' => return after + offset + 1,
                b'{' => return matching_brace(&self.code, after + offset).unwrap_or(bytes.len()),
                _ => {}
            }
        }
        bytes.len()
    }
}

/// Files that hold nothing but tests, benches or examples.
fn is_test_path(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    parts.iter().any(|part| matches!(*part, "tests" | "benches" | "examples" | "tests.rs"))
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// True when the `len` bytes at `at` are not part of a longer identifier.
pub fn is_whole(code: &str, at: usize, len: usize) -> bool {
    let before = code[..at].chars().next_back();
    let after = code[at + len..].chars().next();
    !before.is_some_and(is_word) && !after.is_some_and(is_word)
}

/// The position just behind the brace that closes the one at `open`.
pub fn matching_brace(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (offset, byte) in code.as_bytes()[open..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(open + offset + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Blanks comments and the insides of strings and character literals, byte for byte.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (inside, end) = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_comment(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment(bytes, at),
            b'"' => string(bytes, at),
            b'r' if !at.checked_sub(1).is_some_and(|before| is_word_byte(bytes[before]) && bytes[before] != b'b') => {
                raw_string(bytes, at)
            }
            b'\'' => character(bytes, at),
            _ => (at..at, at + 1),
        };
        out[inside].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn line_comment(bytes: &[u8], at: usize) -> (Range<usize>, usize) {
    let end = bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |n| at + n);
    (at..end, end)
}

fn block_comment(bytes: &[u8], at: usize) -> (Range<usize>, usize) {
    let (mut depth, mut position) = (0usize, at);
    while position < bytes.len() {
        if bytes[position..].starts_with(b"/*") {
            depth += 1;
            position += 2;
        } else if bytes[position..].starts_with(b"*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                break;
            }
        } else {
            position += 1;
        }
    }
    (at..position, position)
}

fn string(bytes: &[u8], at: usize) -> (Range<usize>, usize) {
    let mut position = at + 1;
    while position < bytes.len() && bytes[position] != b'"' {
        position += if bytes[position] == b'\\' { 2 } else { 1 };
    }
    let end = position.min(bytes.len());
    (at + 1..end, (end + 1).min(bytes.len()))
}

/// `r"…"` and `r#"…"#`; anything else that starts with r is left alone.
fn raw_string(bytes: &[u8], at: usize) -> (Range<usize>, usize) {
    let hashes = bytes[at + 1..].iter().take_while(|&&b| b == b'#').count();
    if bytes.get(at + 1 + hashes) != Some(&b'"') {
        return (at..at, at + 1);
    }
    let start = at + 2 + hashes;
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let length = bytes[start..].windows(close.len()).position(|w| w == close).unwrap_or(bytes.len() - start);
    (start..start + length, (start + length + close.len()).min(bytes.len()))
}

/// A character literal, or a lifetime, which is left alone.
fn character(bytes: &[u8], at: usize) -> (Range<usize>, usize) {
    if bytes.get(at + 1) == Some(&b'\\') {
        let end = bytes[at + 3..].iter().position(|&b| b == b'\'').map_or(bytes.len(), |n| at + 3 + n);
        return (at + 1..end, (end + 1).min(bytes.len()));
    }
    // A character has up to four bytes; a lifetime has no closing quote that near without a word in between.
    let width = match bytes.get(at + 1) {
        Some(b) if *b < 0x80 => 1,
        Some(b) if *b < 0xE0 => 2,
        Some(b) if *b < 0xF0 => 3,
        Some(_) => 4,
        None => return (at..at, at + 1),
    };
    if bytes.get(at + 1 + width) == Some(&b'\'') { (at + 1..at + 1 + width, at + 2 + width) } else { (at..at, at + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blanked_and_positions_kept() {
        let text =
            "let a = \"fn { unsafe\"; // unsafe\nlet b = '{'; /* { /* nested */ } */ let c: &'a str = r#\"}\"}\"#;\n";
        let code = blank(text);
        assert_eq!(code.len(), text.len());
        assert_eq!(code.matches('{').count() + code.matches('}').count(), 0);
        assert!(!code.contains("unsafe") && code.contains("let c: &'a str"));
        assert_eq!(code.matches('\n').count(), 2);
    }

    #[test]
    fn escaped_quotes_do_not_end_a_string() {
        let code = blank(r#"f("a\"b{", '\'', '\u{1F600}', 'é', b'{'); unsafe"#);
        assert!(!code.contains('{') && code.ends_with("unsafe"), "{code}");
    }

    #[test]
    fn lines_of_test_items_are_marked_and_others_not() {
        let text =
            "fn a() {}\n#[cfg(test)]\nuse x;\nfn b() {}\n#[cfg(test)]\nmod tests {\n    fn c() {}\n}\nfn d() {}\n";
        let source = Source::new("crates/impactiq-data/src/a.rs", text);
        assert_eq!(source.is_test, [false, true, true, false, true, true, true, true, false]);
        let declared = Source::new("crates/impactiq-data/src/a.rs", "fn a() {}\n#[cfg(test)]\nmod laws;\n");
        assert_eq!(declared.test_modules, ["laws"]);
        assert!(Source::new("crates/impactiq-data/tests/x.rs", "fn a() {}\n").is_test[0]);
    }
}
