//! The scorers that are compared: how each is started, loaded through the example `stream_load`, and stopped.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::super::cells::fingerprint;
use super::super::options::Options;
use super::super::peers::{Environment, argument, python, run};
use super::super::serve::Trained;
use super::broker;
use crate::workspace;

/// A scorer under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `impactiq stream`, log and position committed after the scores.
    AtLeastOnce,
    /// The same with Kafka transactions.
    ExactlyOnce,
    /// confluent-kafka and LightGBM in Python.
    Confluent,
}

impl Side {
    /// Everyone, ours first.
    pub fn all() -> [Side; 3] {
        [Side::AtLeastOnce, Side::ExactlyOnce, Side::Confluent]
    }

    /// Whether it is this project's.
    pub fn is_ours(self) -> bool {
        self != Side::Confluent
    }

    /// For tables.
    pub fn label(self) -> &'static str {
        match self {
            Side::AtLeastOnce => "ImpactIQ",
            Side::ExactlyOnce => "ImpactIQ, exactly once",
            Side::Confluent => "confluent-kafka + LightGBM",
        }
    }

    /// For cells: with the versions that count.
    pub fn name(self) -> Result<String> {
        let version = |package| Environment::Stream.version(package);
        Ok(match self {
            Side::Confluent => format!("{}, {}", version("confluent-kafka")?, version("lightgbm")?),
            ours => ours.label().to_owned(),
        })
    }

    /// Tells whether what is measured is the same program.
    pub fn fingerprint(self, house: &House) -> Result<String> {
        match self {
            Side::Confluent => fingerprint(&workspace::root()?.join("bench/peers/stream_confluent.py")),
            _ => fingerprint(&house.trained.binary),
        }
    }

    /// Starts it on topics of its own.
    pub fn start(self, house: &House) -> Result<Scorer> {
        static RUN: AtomicU64 = AtomicU64::new(0);
        let number = RUN.fetch_add(1, Ordering::Relaxed);
        let label = format!("{}-{number}", std::process::id());
        let names = ["events", "scores", "dead-letters"].map(|name| format!("{name}-{label}"));
        let partitions = house.partitions.to_string();
        let joined = names.join(",");
        let words = ["topics", "--brokers", &house.brokers, "--partitions", &partitions, "--names", &joined];
        run(&house.load, &words.map(str::to_owned))?;
        let folder = house.trained.folder.join("stream");
        std::fs::create_dir_all(&folder)?;
        let mut command = match self {
            Side::Confluent => {
                let mut command = Command::new(python(Environment::Stream)?);
                command.arg(workspace::root()?.join("bench/peers/stream_confluent.py")).arg(&house.trained.folder);
                command.args(["--brokers", &house.brokers, "--group", &format!("peer-{label}")]);
                command.args(["--events", &names[0], "--scores", &names[1], "--batch", &house.batch.to_string()]);
                command
            }
            ours => {
                let config = folder.join(format!("{label}.yaml"));
                std::fs::write(&config, ours.config(house, &names, &label))?;
                let mut command = Command::new(&house.trained.binary);
                command.args(["stream", "-c"]).arg(config);
                command
            }
        };
        let log = folder.join(format!("{label}.log"));
        let output = std::fs::File::create(&log)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).current_dir(&folder).spawn();
        let child = child.with_context(|| format!("cannot start {command:?}"))?;
        Ok(Scorer { child, log, names, first: AtomicU64::new(0) })
    }

    fn config(self, house: &House, names: &[String; 3], label: &str) -> String {
        let [events, scores, dead_letters] = names;
        let delivery = if self == Side::ExactlyOnce { "exactly_once" } else { "at_least_once" };
        format!(
            "\
model: {}
kafka:
  brokers: {}
  group: bench-{label}
  events: {events}
  scores: {scores}
  dead_letters: {dead_letters}
  delivery: {delivery}
  batch_rows: {}
event: {{ id: id, time: time, time_unit: us, max_bytes: 4000 }}
log: sqlite:{label}.sqlite
",
            argument(&house.trained.folder.join("model")),
            house.brokers,
            house.batch,
        )
    }
}

/// What all sides share.
pub struct House {
    /// The models, ours and the peer's, and where they are.
    pub trained: Trained,
    /// The load generator.
    load: PathBuf,
    brokers: String,
    batch: u64,
    partitions: u64,
}

impl House {
    /// Trains both models and builds what sends the load.
    pub fn build(options: &Options) -> Result<Self> {
        Ok(House {
            brokers: broker()?,
            load: super::super::peers::built("impactiq-stream", "stream_load")?,
            trained: Trained::build(options.number("rows"), options.number("trees"), options.number("leaves"))?,
            batch: options.number("batch"),
            partitions: options.number("partitions"),
        })
    }
}

/// What is sent to a scorer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// For so long, after warming up.
    pub seconds: f64,
    /// So many a second; none: as many as are answered.
    pub rate: Option<f64>,
    /// Percent of events that cannot be scored.
    pub poison: f64,
    /// Seconds between looks at the process; 0: none.
    pub sample: f64,
}

/// A running scorer; killed when dropped.
pub struct Scorer {
    child: Child,
    log: PathBuf,
    names: [String; 3],
    /// Number of the next load's first event.
    first: AtomicU64,
}

impl Scorer {
    /// Loads it; the figures.
    pub fn load(&self, house: &House, load: &Load) -> Result<Value> {
        let [events, scores, dead_letters] = &self.names;
        // Numbers of loads must not meet; none of them sends a billion.
        let first = self.first.fetch_add(1_000_000_000, Ordering::Relaxed);
        let mut words = vec!["run".to_owned()];
        let mut push = |name: &str, value: String| words.extend([format!("--{name}"), value]);
        push("brokers", house.brokers.clone());
        push("events", events.clone());
        push("scores", scores.clone());
        push("rows", argument(&house.trained.folder.join("rows.ndjson")));
        push("process", self.child.id().to_string());
        push("seconds", load.seconds.to_string());
        push("first", first.to_string());
        if let Some(rate) = load.rate {
            push("rate", format!("{rate:.0}"));
        }
        if load.poison > 0.0 {
            push("dead-letters", dead_letters.clone());
            push("poison", load.poison.to_string());
        }
        if load.sample > 0.0 {
            push("sample", load.sample.to_string());
        }
        run(&house.load, &words).with_context(|| {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let last: Vec<&str> = text.lines().rev().take(5).collect();
            format!("the scorer's last words: {}", last.into_iter().rev().collect::<Vec<_>>().join("\n"))
        })
    }

    /// Asks it to end and waits.
    pub fn end(mut self) -> Result<()> {
        workspace::run(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(40) {
            if let Some(status) = self.child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("the scorer ended with {status}: see {}", self.log.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the scorer did not end within 40 s of SIGTERM")
    }
}

impl Drop for Scorer {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
