//! The peers' virtual environment, and our own examples beside it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::measure;
use crate::workspace;

/// An environment of pinned peers: packages that can live together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// LightGBM, EconML, scikit-uplift.
    Main,
    /// CausalML.
    Causalml,
    /// LightGBM behind FastAPI and MLflow.
    Serve,
    /// LightGBM behind confluent-kafka.
    Stream,
}

impl Environment {
    fn requirements(self) -> Result<PathBuf> {
        let file = match self {
            Environment::Main => "requirements.txt",
            Environment::Causalml => "requirements-causalml.txt",
            Environment::Serve => "requirements-serve.txt",
            Environment::Stream => "requirements-stream.txt",
        };
        Ok(workspace::root()?.join("bench/peers").join(file))
    }

    fn folder(self) -> Result<PathBuf> {
        let name = match self {
            Environment::Main => "peers",
            Environment::Causalml => "peers-causalml",
            Environment::Serve => "peers-serve",
            Environment::Stream => "peers-stream",
        };
        Ok(workspace::target()?.join(name))
    }

    /// The version that is pinned, for the key of a cell: a word that changes when it does.
    pub fn version(self, package: &str) -> Result<String> {
        let path = self.requirements()?;
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        pinned(&text, package).with_context(|| format!("{package} is not pinned in {}", path.display()))
    }
}

fn pinned(requirements: &str, package: &str) -> Option<String> {
    let line = requirements.lines().find_map(|line| line.trim().strip_prefix(package)?.strip_prefix("=="))?;
    Some(format!("{package} {line}"))
}

/// Python of an environment; made at first use.
pub fn python(environment: Environment) -> Result<PathBuf> {
    let requirements = environment.requirements()?;
    let wanted = std::fs::read_to_string(&requirements)?;
    let folder = environment.folder()?;
    let python = folder.join("bin/python");
    let stamp = folder.join("requirements.txt");
    if std::fs::read_to_string(&stamp).ok().as_deref() == Some(wanted.as_str()) {
        return Ok(python);
    }
    eprintln!("installing the peers into {} (once)", folder.display());
    workspace::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))
        .context("the peers are Python packages: python3 with its venv module is needed")?;
    workspace::run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements))?;
    std::fs::write(stamp, wanted)?;
    Ok(python)
}

/// Runs a peer's script, which prints one JSON object.
pub fn script(environment: Environment, name: &str, words: &[String]) -> Result<Value> {
    let path = workspace::root()?.join("bench/peers").join(name);
    let mut command = Command::new(python(environment)?);
    // The peers' warnings about one another's futures are not our news.
    command.args(["-W", "ignore"]).arg(path).args(words);
    json(&measure::run(&mut command)?.stdout)
}

/// Builds and runs an example of one of our crates, which prints one JSON object.
pub fn example(package: &str, name: &str, words: &[String]) -> Result<Value> {
    run(&built(package, name)?, words)
}

/// Builds an example and says where it is; `XTASK_EXAMPLES` names a folder of examples that
/// are built already.
pub fn built(package: &str, name: &str) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os("XTASK_EXAMPLES") {
        return Ok(PathBuf::from(folder).join(name));
    }
    // Beside the binary's crate: alone, a package's dependencies have other features and are all built once more.
    let packages = ["--package", "impactiq-cli", "--package", package];
    let build = ["build", "--quiet", "--release", "--locked", "--example", name];
    workspace::run(workspace::cargo().args(build).args(packages).current_dir(workspace::root()?))?;
    Ok(workspace::target()?.join("release/examples").join(name))
}

/// Runs a program that prints one JSON object.
pub fn run(program: &Path, words: &[String]) -> Result<Value> {
    json(&measure::run(Command::new(program).args(words))?.stdout)
}

/// A folder for rows that both sides read; emptied of what an earlier run left.
pub fn scratch(bench: &str) -> Result<PathBuf> {
    let folder = workspace::target()?.join("bench").join(bench);
    if folder.is_dir() {
        std::fs::remove_dir_all(&folder)?;
    }
    lasting(bench)
}

/// A folder for what a stopped run goes on with.
pub fn lasting(bench: &str) -> Result<PathBuf> {
    let folder = workspace::target()?.join("bench").join(bench);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// `--key value` words.
pub fn words<V: ToString>(pairs: &[(&str, V)]) -> Vec<String> {
    pairs.iter().flat_map(|(key, value)| [format!("--{key}"), value.to_string()]).collect()
}

/// A path as an argument.
pub fn argument(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn json(text: &str) -> Result<Value> {
    match text.lines().last().map(serde_json::from_str) {
        Some(Ok(value)) => Ok(value),
        _ => bail!("one line of JSON was expected, not: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_versions_are_read_whole() {
        let text = "# peers\neconml-extra==9\neconml==0.17.0\nnumpy==2.4.6\n";
        assert_eq!(pinned(text, "econml").as_deref(), Some("econml 0.17.0"));
        assert_eq!(pinned(text, "causalml"), None);
        for (environment, package) in [(Environment::Main, "econml"), (Environment::Causalml, "causalml")] {
            assert!(environment.version(package).unwrap().starts_with(package));
        }
    }

    #[test]
    fn pairs_become_words() {
        assert_eq!(words(&[("rows", 10), ("leaf", 5)]), ["--rows", "10", "--leaf", "5"]);
    }
}
