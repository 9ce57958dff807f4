//! What a rule found: where, what and why.

use std::fmt;

use super::source::Source;

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path from the workspace's root.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// The rule's name.
    pub rule: &'static str,
    what: String,
    why: String,
}

impl Finding {
    /// A finding in a Rust file.
    pub fn new(source: &Source, line: usize, rule: &'static str, what: &str, why: &str) -> Self {
        Finding::at(&source.path, line, rule, what, why)
    }

    /// A finding in any file.
    pub fn at(file: &str, line: usize, rule: &'static str, what: &str, why: &str) -> Self {
        Finding { file: file.to_owned(), line, rule, what: what.to_owned(), why: why.to_owned() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}\n    {}", self.file, self.line, self.rule, self.what, self.why)
    }
}
