//! Small models, trained once, and servers on free ports. Nothing is asserted here.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use impactiq_causal::evaluate;
use impactiq_data::Silent;
use impactiq_score::{Profile, Scorer};
use impactiq_serve::{Asked, Running, Server, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "../../../impactiq-score/tests/trial/mod.rs"]
mod trial;
use trial::{N_ROWS, Trial};

/// A folder with two models, `one` and `two`, of several arms, a category and 32-bit numbers.
pub struct House {
    pub folder: TempDir,
}

/// Trains a model of the multi-arm trial; that of `y` gets an evaluation.
pub fn write_model(path: &Path, outcome: &str, overwrite: bool) {
    let trial = Trial::learn(outcome);
    let made = &trial.made;
    let fields: Vec<_> = ["x1", "x2", "region"].map(|name| made.schema.field(name).unwrap().clone()).to_vec();
    let views: Vec<_> = fields.iter().map(|field| (field, made.table.column(&field.name).unwrap())).collect();
    let profile = Profile::of(&views, &vec![true; N_ROWS as usize]);
    let manifest = trial.write(path, Some(profile), overwrite);
    if outcome != "y" {
        return;
    }
    let Trial { checked, dataset, trained, .. } = &trial;
    let held_out = checked.holdout(dataset).unwrap();
    let kept: Vec<u32> = (0..N_ROWS as u32).filter(|&row| held_out[row as usize]).collect();
    let report = evaluate(&trained.model, dataset, &kept, checked, &Silent).unwrap();
    let mut value = serde_json::to_value(&report).unwrap();
    value["model"] = json!({"id": manifest.id});
    value["held_out"] = json!(true);
    impactiq_score::write_evaluation(path, &value).unwrap();
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

impl House {
    pub fn new() -> House {
        static TRAINED: OnceLock<TempDir> = OnceLock::new();
        let trained = TRAINED.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            write_model(&folder.path().join("one"), "y", false);
            write_model(&folder.path().join("two"), "converted", false);
            folder
        });
        let folder = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            copy(&trained.path().join(name), &folder.path().join(name));
        }
        House { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Both models, a log beside them, a free port.
    pub fn asked(&self) -> Asked {
        Asked {
            models: Some(["one", "two"].map(|name| format!("{name}={}", self.path(name).display())).to_vec()),
            listen: Some("127.0.0.1:0".into()),
            log: Some(self.path("scores.sqlite").display().to_string()),
            ..Asked::default()
        }
    }

    pub async fn serve(&self) -> Running {
        self.serve_with(|_| {}).await
    }

    pub async fn serve_with(&self, change: impl FnOnce(&mut Settings)) -> Running {
        let mut settings = self.asked().settle().unwrap();
        change(&mut settings);
        Server::start(settings).await.unwrap()
    }

    pub fn scorer(&self, name: &str) -> Scorer {
        Scorer::open(&self.path(name)).unwrap()
    }

    /// A server of these models' keys, one per role: `score`, `read`, `admin`.
    pub fn keys(&self) -> (PathBuf, [String; 3]) {
        use impactiq_serve::{NewKey, Role};
        let made = Role::ALL.map(|role| NewKey::make(role.name(), role).unwrap());
        let path = self.path("keys");
        std::fs::write(&path, made.iter().map(|key| format!("{}\n", key.line)).collect::<String>()).unwrap();
        (path, made.map(|key| key.key))
    }
}

/// Rows like those of the trial, with gaps, and a name each.
pub fn rows(n: usize) -> Vec<Value> {
    let regions = ["north", "south", "islands", "nowhere"];
    (0..n)
        .map(|i| {
            let x1 = (i as f64 * 0.618_033_988_749_895).fract() * 6.0 - 3.0;
            let x2 = if i % 17 == 3 { Value::Null } else { json!((i % 1000) as f64 / 333.0 - 1.0) };
            json!({"id": format!("r{i}"), "x1": x1, "x2": x2, "region": regions[i % 4]})
        })
        .collect()
}

/// Rows as CSV.
pub fn csv(rows: &[Value]) -> String {
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut text = "id,x1,x2,region\n".to_owned();
    for row in rows {
        let cells: Vec<String> = ["id", "x1", "x2", "region"].iter().map(|name| cell(&row[*name])).collect();
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}
