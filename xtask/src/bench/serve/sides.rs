//! The servers that are compared: how each is started and asked.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::cells::fingerprint;
use super::super::peers::{Environment, argument, lasting, python, script, words};
use super::load::request;
use super::server::Server;
use crate::workspace;

/// Points of a what-if's curve.
const SWEEP: usize = 50;

/// A server under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `impactiq serve`, its score log written behind the answers or before them.
    Ours {
        /// Whether an answer waits for the log's commit.
        durable: bool,
    },
    /// LightGBM behind FastAPI and uvicorn.
    FastApi,
    /// LightGBM behind `mlflow models serve`.
    Mlflow,
}

/// What a side is asked.
pub struct Bodies {
    /// Requests of one row each.
    pub single: Vec<Vec<u8>>,
    /// A request of a thousand rows in JSON.
    pub batch: Option<Vec<u8>>,
    /// The same in Arrow.
    pub arrow: Option<Vec<u8>>,
    /// One person and a curve through a feature's range.
    pub what_if: Option<Vec<u8>>,
}

/// The models and rows that all sides share.
pub struct House {
    /// Where models and rows are.
    pub folder: PathBuf,
    /// Ours.
    pub binary: PathBuf,
    /// Trees of an arm's model.
    pub trees: u64,
    /// Leaves of a tree.
    pub leaves: u64,
    rows: Vec<Value>,
    arrow: Vec<u8>,
}

impl House {
    /// Makes the trial and trains both T-learners, once.
    pub fn build(rows: u64, trees: u64, leaves: u64) -> Result<Self> {
        let folder = lasting(&format!("serve-{rows}-{trees}-{leaves}"))?;
        let binary = workspace::binary()?;
        std::fs::write(folder.join("config.yaml"), config(trees, leaves))?;
        let ours = |text: &str| {
            let words = text.split(' ').chain(["--quiet", "--overwrite"]);
            workspace::run(Command::new(&binary).args(words).current_dir(&folder).stdout(std::process::Stdio::null()))
        };
        ours(&format!("synth criteo -n {rows} -o trial.parquet"))?;
        ours("train -c config.yaml -o model")?;
        ours("evaluate -m model")?;
        let theirs = [argument(&folder.join("trial.parquet")), argument(&folder)];
        let settings = words(&[("trees", trees), ("leaves", leaves)]);
        script(Environment::Serve, "serve_models.py", &[theirs.to_vec(), settings].concat())?;
        let text = std::fs::read_to_string(folder.join("rows.ndjson"))?;
        let rows = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let arrow = std::fs::read(folder.join("batch.arrows"))?;
        Ok(House { folder, binary, trees, leaves, rows, arrow })
    }
}

fn config(trees: u64, leaves: u64) -> String {
    format!(
        "\
data: {{ path: trial.parquet }}
roles:
  treatment: treatment
  control: 0
  outcome: visit
  features: [\"f*\"]
  post_treatment: [exposure, conversion]
assignment: {{ kind: randomised, probability: 0.85 }}
nuisance: {{ kind: least_squares }}
learner: {{ kind: t, n_trees: {trees}, n_leaves: {leaves}, learning_rate: 0.05, min_leaf_rows: 20, early_stopping: false }}
"
    )
}

impl Side {
    /// Everyone, ours first.
    pub fn all() -> [Side; 4] {
        [Side::Ours { durable: false }, Side::Ours { durable: true }, Side::FastApi, Side::Mlflow]
    }

    /// Whether it is this project's.
    pub fn is_ours(self) -> bool {
        matches!(self, Side::Ours { .. })
    }

    /// For tables.
    pub fn label(self) -> &'static str {
        match self {
            Side::Ours { durable: false } => "ImpactIQ",
            Side::Ours { durable: true } => "ImpactIQ, durable log",
            Side::FastApi => "FastAPI + LightGBM",
            Side::Mlflow => "mlflow models serve + LightGBM",
        }
    }

    /// For cells: with the version that counts.
    pub fn name(self, _house: &House) -> Result<String> {
        let version = |package| Environment::Serve.version(package);
        Ok(match self {
            Side::Ours { .. } => self.label().to_owned(),
            Side::FastApi => format!("{}, {}", version("fastapi")?, version("lightgbm")?),
            Side::Mlflow => format!("{}, {}", version("mlflow")?, version("lightgbm")?),
        })
    }

    /// Tells whether what is measured is the same program.
    pub fn fingerprint(self, house: &House) -> Result<String> {
        let peers = workspace::root()?.join("bench/peers");
        match self {
            Side::Ours { .. } => fingerprint(&house.binary),
            Side::FastApi => fingerprint(&peers.join("serve_fastapi.py")),
            Side::Mlflow => fingerprint(&peers.join("serve_models.py")),
        }
    }

    /// Starts it; a score log of ours is a new file each time.
    pub fn start(self, house: &House) -> Result<Server> {
        let folder = argument(&house.folder);
        let own = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        match self {
            Side::Ours { durable } => {
                let log = house.folder.join("log");
                if log.exists() {
                    std::fs::remove_dir_all(&log)?;
                }
                std::fs::create_dir_all(&log)?;
                let mut words = own("serve --listen 127.0.0.1:PORT");
                words.extend(["-m".into(), argument(&house.folder.join("model"))]);
                words.extend(["--log".into(), argument(&log.join("scores.sqlite"))]);
                words.extend(durable.then(|| "--log-durable".to_owned()));
                Server::start(&house.binary, &words, &[], "/health/ready")
            }
            Side::FastApi => {
                let python = python(Environment::Serve)?;
                let mut words = own("-m uvicorn serve_fastapi:app --port PORT --no-access-log --app-dir");
                words.push(argument(&workspace::root()?.join("bench/peers")));
                Server::start(&python, &words, &[("MODELS", folder)], "/ready")
            }
            Side::Mlflow => {
                let python = python(Environment::Serve)?;
                let bin = python.parent().context("python has no folder")?.to_owned();
                let mut words = own("models serve --env-manager local --workers 1 --host 127.0.0.1 --port PORT -m");
                words.push(argument(&house.folder.join("mlflow")));
                Server::start(&bin.join("mlflow"), &words, &[("PATH", path_with(&bin))], "/ping")
            }
        }
    }

    /// What it is asked, in its own terms.
    pub fn bodies(self, house: &House) -> Result<Bodies> {
        let (path, key) = match self {
            Side::Ours { .. } => ("/v1/score", "rows"),
            Side::FastApi => ("/score", "rows"),
            Side::Mlflow => ("/invocations", "dataframe_records"),
        };
        let post =
            |rows: &[Value]| request("POST", path, "application/json", json!({ key: rows }).to_string().as_bytes());
        let ours = self.is_ours();
        Ok(Bodies {
            single: house.rows.chunks(1).map(post).collect(),
            batch: Some(post(&house.rows)),
            arrow: ours.then(|| request("POST", path, "application/vnd.apache.arrow.stream", &house.arrow)),
            what_if: ours.then(|| what_if(&house.rows[0])),
        })
    }
}

fn what_if(row: &Value) -> Vec<u8> {
    let sweep = json!({ "row": 0, "feature": "f0", "from": 12.6, "to": 26.7, "steps": SWEEP });
    request("POST", "/v1/simulate", "application/json", json!({ "rows": [row], "sweep": sweep }).to_string().as_bytes())
}

/// MLflow starts uvicorn by its name.
fn path_with(bin: &Path) -> String {
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default())
}
