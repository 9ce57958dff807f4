//! What leaves the program: results on stdout, messages and bars on stderr, charts and
//! reports as text of their formats.
//!
//! Nothing here reads data or decides anything; commands hand over finished values.

use std::io::{self, IsTerminal, Write};

use owo_colors::OwoColorize;
use serde_json::{Value, json};

use crate::args::{Format, Global};
use crate::exit::{Exit, Failure};

pub mod chart;
pub mod number;
pub mod progress;
pub mod report;
pub mod table;

/// Writes results and messages the way the user asked for.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: Format,
    quiet: bool,
    verbose: bool,
    colour: bool,
}

impl Output {
    /// Output for these flags; colours only on a terminal and without `NO_COLOR`.
    pub fn new(global: &Global) -> Self {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Output { format: global.format, quiet: global.quiet, verbose: global.verbose > 0, colour }
    }

    /// True when results are wanted as JSON.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// True when details were asked for.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// True when bars may be drawn.
    pub fn shows_progress(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Writes a result to stdout: `value` as JSON, or the text.
    ///
    /// # Errors
    /// When stdout cannot be written. A reader that has gone away (a closed pipe) is fine.
    pub fn result(&self, value: &Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let written = if self.is_json() { serde_json::to_string_pretty(value).unwrap_or_default() } else { text() };
        self.stdout(&written)
    }

    /// Writes text to stdout, with a line end.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn stdout(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.trim_end_matches('\n').as_bytes()).and_then(|()| stdout.write_all(b"\n"));
        match written.and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
                format!("the result cannot be written: {error}"),
                "is the disk full, or stdout closed?",
            )
            .at("stdout")),
            _ => Ok(()),
        }
    }

    /// A message about the work on stderr, unless quiet.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.stderr(text);
        }
    }

    /// A message only for those who asked for more.
    pub fn detail(&self, text: &str) {
        if self.verbose {
            self.stderr(text);
        }
    }

    /// A warning on stderr, also when quiet.
    pub fn warning(&self, text: &str) {
        let mark = if self.colour { "warning:".yellow().bold().to_string() } else { "warning:".into() };
        self.stderr(&format!("{mark} {text}"));
    }

    /// A failure on stderr: what, where, what next.
    pub fn failure(&self, failure: &Failure) {
        if self.is_json() {
            let value = json!({"error": {
                "message": failure.message, "place": failure.place, "hint": failure.hint,
                "exit_code": if failure.exit == Exit::Interrupted { 130 } else { 2 },
            }});
            self.stderr(&value.to_string());
            return;
        }
        let mark = |text: &str| {
            if self.colour { text.red().bold().to_string() } else { text.to_owned() }
        };
        let name = if failure.exit == Exit::Interrupted { "stopped:" } else { "error:" };
        self.stderr(&format!("{} {}", mark(name), failure.message));
        if let Some(place) = &failure.place {
            self.stderr(&format!("  in: {place}"));
        }
        if let Some(hint) = &failure.hint {
            let mark = if self.colour { "hint:".cyan().bold().to_string() } else { "hint:".into() };
            self.stderr(&format!("  {mark} {hint}"));
        }
    }

    /// A heading of a longer text on stdout or stderr, plain where colours aren't wanted.
    pub fn heading(&self, text: &str) -> String {
        if self.colour && io::stdout().is_terminal() { text.bold().to_string() } else { text.to_owned() }
    }

    fn stderr(&self, text: &str) {
        // Nobody is left to tell if stderr is gone.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}
