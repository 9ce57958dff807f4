//! Runs the binary in a folder of its own and keeps what it printed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A temporary folder that commands run in.
pub struct Folder {
    folder: TempDir,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Folder {
    /// An empty folder.
    pub fn new() -> Self {
        Folder { folder: tempfile::tempdir().unwrap() }
    }

    /// A folder with a sound trial and its configuration.
    pub fn with_trial() -> Self {
        let folder = Folder::new();
        folder.write("trial.csv", trial(400));
        folder.write("config.yaml", config(""));
        folder
    }

    /// A folder with a trained model of the sound trial.
    pub fn with_model() -> Self {
        let folder = Folder::with_trial();
        folder.run(&["train", "-c", "config.yaml", "-o", "model"]).succeeded();
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Names of everything in the folder, sorted, hidden files too.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// A command that is ready to run here, without anything from outside.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_impactiq"));
        command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("IMPACTIQ_")) {
            command.env_remove(name);
        }
        command.env("CI", "true").env("NO_COLOR", "1").env("COLUMNS", "100");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// Runs with `--format json` and reads the result.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["--format", "json"]);
        let ran = self.run(&all).succeeded();
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Runs a command that must be refused: exit code 2, every one of `named` is on stderr,
    /// a hint is there, nothing panicked, stdout is empty and no file came, went or changed.
    /// The text is compared with its snapshot.
    #[track_caller]
    pub fn refused(&self, name: &str, arguments: &[&str], named: &[&str]) {
        let before = self.state();
        let ran = self.run(arguments);
        let shown = ran.shown();
        assert_eq!(ran.code, 2, "{name}: {shown}");
        for part in named {
            assert!(ran.stderr.contains(part), "{name}: '{part}' is not named in\n{shown}");
        }
        assert!(ran.stderr.contains("hint: "), "{name}: no hint in\n{shown}");
        assert!(!ran.stderr.contains("panicked") && !ran.stderr.contains("internal error"), "{name}: {shown}");
        assert_eq!(ran.stdout, "", "{name}");
        assert_eq!(self.state(), before, "{name}: something was written");
        snapshot(name, &shown);
    }

    /// Every file below the folder with its content.
    fn state(&self) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(folder: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    into.push((path.clone(), Vec::new()));
                    walk(&path, into);
                } else {
                    into.push((path.clone(), fs::read(&path).unwrap_or_default()));
                }
            }
        }
        let mut all = Vec::new();
        walk(self.folder.path(), &mut all);
        all.sort();
        all
    }
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.shown());
        self
    }

    pub fn shown(&self) -> String {
        format!("exit code {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// Compares with the committed snapshot; what differs from run to run is masked.
#[track_caller]
pub fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("snapshots");
    settings.add_filter(r"\b[0-9a-f]{64}\b", "[sha256]");
    settings.add_filter(r"\b[0-9a-f]{16}\b", "[id]");
    settings.add_filter(r"\d+ min \d+ s\b|\b\d+\.\d+ s\b", "[time]");
    settings.add_filter(r"\b[\d.]+ (MiB|GiB)\b", "[memory]");
    settings.add_filter(r"\b[\d,]+ rows a second", "[speed]");
    settings.add_filter(r"/tmp/\.tmp\w+", "[folder]");
    settings.bind(|| insta::assert_snapshot!(name.to_owned(), text));
}

/// A sound trial of n rows: two features, two arms, an effect that grows with x.
pub fn trial(n: u64) -> String {
    let mut text = String::from("id,x,city,t,y\n");
    for row in 0..n {
        text.push_str(&line(row));
    }
    text
}

/// A row of the trial.
pub fn line(row: u64) -> String {
    // Fixed bits for each row: a generator of the tests' own, so that snapshots stay.
    let draw = |salt: u64| {
        let mut z = (row + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt.wrapping_mul(0xD1B5_4A32_D192_ED03);
        z = (z ^ (z >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 29)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 32)) % 10_000) as f64 / 10_000.0
    };
    let x = draw(1);
    let city = ["Turku", "Oulu", "Espoo"][(draw(2) * 3.0) as usize];
    // The 22nd stream happens to leave x and every city alike between the arms.
    let t = u8::from(draw(22) < 0.5);
    let y = u8::from(draw(4) < 0.2 + 0.1 * x + 0.4 * x * f64::from(t));
    format!("c{row},{x},{city},{t},{y}\n")
}

/// The trial's configuration with further lines.
pub fn config(more: &str) -> String {
    format!(
        "data:\n  path: trial.csv\nroles:\n  treatment: t\n  control: 0\n  outcome: y\n  id: id\n\
         nuisance: {{ kind: logistic, folds: 3 }}\nlearner: {{ kind: t, base: logistic }}\n\
         evaluate: {{ bootstrap: 50 }}\n{more}"
    )
}
