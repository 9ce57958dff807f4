//! A small model, stores of their own, and flows over them. Nothing is asserted here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use impactiq_store::{Page, Query, StoredScore};
use impactiq_stream::StreamConfig;
use impactiq_stream::flow::Flow;
use impactiq_stream::ledger::{Ledger, StreamName};
use impactiq_stream::memory::{Fault, MemoryEvent, MemorySink, MemorySource, Sent};
use impactiq_stream::partitions::Partitions;
use impactiq_stream::service::{self, Service};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;

#[path = "../../../impactiq-score/tests/trial/mod.rs"]
mod trial;
use trial::Trial;

/// Trains a model of the multi-arm trial on features x1, x2 and region; another outcome makes another model.
pub fn write_model(path: &Path, outcome: &str) {
    Trial::learn(outcome).write(path, None, true);
}

/// The address of a store: a file in the folder, or a database of its own on the server.
pub fn stores(folder: &Path) -> Vec<String> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut all = vec![folder.join(format!("stream-{number}.db")).display().to_string()];
    let Ok(server) = std::env::var("IMPACTIQ_TEST_POSTGRES") else {
        eprintln!("NOT TESTED: PostgreSQL; run `.ci/postgres cargo test --release -p impactiq-stream`");
        return all;
    };
    let name = format!("stream_{}_{number}", std::process::id());
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(&server).await.unwrap();
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    });
    all.push(format!("{}/{name}", server.rsplit_once('/').unwrap().0));
    all
}

/// A model in a folder, and a run-time.
pub struct House {
    pub folder: TempDir,
    pub model: PathBuf,
    pub runtime: Runtime,
}

impl House {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        write_model(&model, "y");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        House { folder, model, runtime }
    }

    pub fn stores(&self) -> Vec<String> {
        stores(self.folder.path())
    }

    /// A configuration with this store; `kafka` and `more` are added to it.
    pub fn config(&self, store: &str, kafka: &str, more: &str) -> StreamConfig {
        let text = format!(
            "model: {}\nlog: '{store}'\nkafka: {{brokers: 'b:1', events: events, scores: scores, dead_letters: dead{kafka}}}\n{more}",
            self.model.display()
        );
        StreamConfig::from_yaml(&text, "stream.yaml").unwrap()
    }

    pub fn open(&self, config: &StreamConfig) -> Opened {
        let service = Service::open(config, self.runtime.handle(), &service::stop(config)).unwrap();
        let name = StreamName { cluster: "c".into(), topic: "events".into(), group: config.kafka.group.clone() };
        let ledger = service.ledger(&name).unwrap();
        Opened { service, ledger, handle: self.runtime.handle().clone() }
    }
}

/// A stream over memory.
pub struct Opened {
    pub service: Service,
    pub ledger: Ledger,
    pub handle: tokio::runtime::Handle,
}

impl Opened {
    /// Takes partitions and runs over events to their end, or to its failure.
    pub fn run(&self, events: Vec<MemoryEvent>, fault: Option<Fault>) -> (Result<(), String>, Sent) {
        let mut partitions: Vec<i32> = events.iter().map(|event| event.partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let positions = self.handle.block_on(self.ledger.take(&partitions)).unwrap();
        self.run_at(events, fault, &positions)
    }

    /// The same at positions that were taken before.
    pub fn run_at(
        &self,
        events: Vec<MemoryEvent>,
        fault: Option<Fault>,
        positions: &[impactiq_stream::ledger::Position],
    ) -> (Result<(), String>, Sent) {
        let partitions = Arc::new(Partitions::default());
        let source = MemorySource::new(MemorySource::list(events), positions, &partitions);
        let (sink, sent) = MemorySink::new(fault);
        let flow = Flow {
            source: Box::new(source),
            sink: Box::new(sink),
            processor: self.service.processor(&self.ledger).unwrap(),
            ledger: self.ledger.clone(),
            handle: self.handle.clone(),
            partitions,
            figures: Arc::clone(&self.service.figures),
            stop: Arc::clone(&self.service.stop),
            topic: "events".into(),
            settings: self.service.settings(),
        };
        (flow.run().map_err(|error| error.to_string()), sent)
    }

    /// Every row of the log, oldest first.
    pub fn log(&self) -> Vec<StoredScore> {
        let mut rows = Vec::new();
        let mut after = None;
        loop {
            let query = Query { limit: 1_000, after, ..Query::default() };
            let Page { rows: page, next } = self.handle.block_on(self.service.log.query(&query)).unwrap();
            rows.extend(page);
            after = next;
            if after.is_none() {
                rows.sort_by_key(place);
                return rows;
            }
        }
    }
}

/// Partition and offset of a row of the log.
pub fn place(row: &StoredScore) -> (i32, i64) {
    let name = row.request_id.as_deref().unwrap();
    let mut parts = name.rsplit('/');
    let first: i64 = parts.next().unwrap().parse().unwrap();
    let partition: i32 = parts.next().unwrap().parse().unwrap();
    (partition, first + i64::from(row.row.row))
}

/// The n-th event.
pub fn row(n: u64) -> Value {
    let region = ["north", "south", "west"][(n % 3) as usize];
    json!({"id": format!("e{n}"), "time": format!("2026-03-01T12:{:02}:{:02}Z", n / 60 % 60, n % 60), "user": format!("u{}", n % 7),
        "kind": if n.is_multiple_of(4) { "buy" } else { "view" }, "x1": n as f64 / 7.0 - 2.0, "x2": 0.1 * (n % 9) as f64, "region": region})
}

pub fn event(partition: i32, value: Vec<u8>) -> MemoryEvent {
    MemoryEvent { partition, timestamp: 1_770_000_000_000, key: Some(b"k".to_vec()), value: Some(value) }
}

/// Events 0 … n over two partitions.
pub fn events(n: u64) -> Vec<MemoryEvent> {
    (0..n).map(|n| event((n % 2) as i32, row(n).to_string().into_bytes())).collect()
}
