//! What a round is played with: a model trained by the real binary on events of the same kind, and the
//! configuration of its members.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use impactiq_data::Seed;

use crate::events::{Event, WINDOWS};
use crate::kafka_topics::Failure;

/// Events the model is trained on.
const TRAINING_EVENTS: u64 = 6000;
/// Numbers of events that no round reaches.
const TRAINING_FROM: u64 = 1 << 25;

const TRAINING: &str = "\
data: { path: features.parquet }
roles:
  treatment: arm
  control: control
  outcome: bought
  features: [kind, amount, city, trait_a, trait_b, views_1h, spend_1d, cities_1d, since_view]
assignment: { kind: randomised, probability: 0.5 }
nuisance: { kind: least_squares }
learner: { kind: t, n_trees: 40, n_leaves: 15, min_leaf_rows: 20, early_stopping: false }
";

/// Trains the model into the folder, unless it is there; says where it is.
pub fn model(binary: &Path, folder: &Path, n_users: u64) -> Result<PathBuf, Failure> {
    let model = folder.join("model");
    if model.join("manifest.json").is_file() {
        return Ok(model);
    }
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("windows.yaml"), WINDOWS)?;
    std::fs::write(folder.join("training.yaml"), TRAINING)?;
    write_events(&folder.join("events.ndjson"), n_users)?;
    let commands = [
        "windows -c windows.yaml -d events.ndjson -o features.parquet --overwrite --quiet",
        "train -c training.yaml -o model --overwrite --quiet",
    ];
    for words in commands {
        let ran = Command::new(binary).args(words.split(' ')).current_dir(folder).stdout(Stdio::null()).status()?;
        if !ran.success() {
            return Err(format!("`impactiq {words}` in {} ended with {ran}", folder.display()).into());
        }
    }
    Ok(model)
}

fn write_events(path: &Path, n_users: u64) -> Result<(), Failure> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let chance = Seed::new(3);
    for number in TRAINING_FROM..TRAINING_FROM + TRAINING_EVENTS {
        let event = Event::at(1, number, n_users);
        let lift = if event.is_treated() { 0.1 + 0.2 * event.traits[0] } else { 0.0 };
        let bought = chance.uniform(number) < 0.2 + lift + if event.kind == "cart" { 0.2 } else { 0.0 };
        let mut row = event.row();
        row.insert("bought".into(), u8::from(bought).into());
        writeln!(file, "{}", serde_json::Value::Object(row))?;
    }
    file.flush()?;
    Ok(())
}

/// Names of a round's topics, and its group.
pub struct Names {
    /// Topic of events.
    pub events: String,
    /// Topic of scores.
    pub scores: String,
    /// Topic of dead letters.
    pub dead_letters: String,
    /// Consumer group.
    pub group: String,
}

impl Names {
    /// Names that no other round has.
    pub fn of(round: &str) -> Self {
        Names {
            events: format!("events-{round}"),
            scores: format!("scores-{round}"),
            dead_letters: format!("dead-letters-{round}"),
            group: format!("proof-{round}"),
        }
    }
}

/// The members' configuration: batches and sessions are short, so that a kill meets work in every stage.
pub fn config(model: &Path, brokers: &str, names: &Names, delivery: &str, store: &str) -> String {
    format!(
        "\
model: {}
kafka:
  brokers: {brokers}
  group: {}
  events: {}
  scores: {}
  dead_letters: {}
  delivery: {delivery}
  batch_rows: 200
  linger: 5ms
  in_flight_rows: 2000
  session_timeout: 1500ms
event: {{ id: id, time: time, time_unit: us, arm: arm, probability: assignment_probability }}
log: \"{store}\"
windows_users: 50
{WINDOWS}",
        model.display(),
        names.group,
        names.events,
        names.scores,
        names.dead_letters,
    )
}
