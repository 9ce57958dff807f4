//! What stands in the log: a request with its rows, and what the log says when it is given one.
//! Plain values; nothing is stored here.

use serde::{Deserialize, Serialize};

/// Through which door a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Door {
    /// `POST /v1/score`.
    Score,
    /// The Open Inference Protocol, `/v2/models/…/infer`.
    Infer,
    /// MLflow's `/invocations`.
    Invocations,
    /// `POST /v1/target/list`.
    Target,
    /// Kafka.
    Stream,
}

impl Door {
    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Door::Score => "score",
            Door::Infer => "infer",
            Door::Invocations => "invocations",
            Door::Target => "target",
            Door::Stream => "stream",
        }
    }
}

/// A request and what was answered. Features are not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRequest {
    /// The caller's name for the request; a second one of this name is not written.
    pub request_id: Option<String>,
    /// SHA-256 of the body, to tell a retry from another request under the same name.
    pub body_sha256: Option<[u8; 32]>,
    /// When it came, in microseconds since 1970-01-01T00:00:00Z.
    pub received_at: i64,
    /// The model's name.
    pub model_name: String,
    /// The model's identifier (its hash).
    pub model_id: String,
    /// The door.
    pub door: Door,
    /// The rows in order; their numbers differ.
    pub rows: Vec<LoggedRow>,
}

/// A row and its scores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRow {
    /// Number of the row in its request, from 0.
    pub row: u32,
    /// The caller's identifier of the row.
    pub id: Option<String>,
    /// The JSON object exactly as it was answered.
    pub scores: String,
    /// True when the object tells an error instead of scores.
    pub error: bool,
}

impl LoggedRequest {
    /// Room it takes in the queue, in rows: an empty request takes one as well.
    pub fn weight(&self) -> usize {
        self.rows.len().max(1)
    }

    /// What a retry of this request is told.
    pub fn seen(&self) -> Seen {
        Seen {
            rows: self.rows.clone(),
            model_name: self.model_name.clone(),
            model_id: self.model_id.clone(),
            received_at: self.received_at,
            body_sha256: self.body_sha256,
        }
    }
}

/// What the log has under a request's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The rows that were logged first, in order.
    pub rows: Vec<LoggedRow>,
    /// The model that answered.
    pub model_name: String,
    /// Its identifier.
    pub model_id: String,
    /// When the first request came, in microseconds since 1970-01-01T00:00:00Z.
    pub received_at: i64,
    /// The first body's SHA-256, where it is known.
    pub body_sha256: Option<[u8; 32]>,
}

impl Seen {
    /// True when the bodies are known to differ: another request under the same name.
    pub fn conflicts_with(&self, body_sha256: Option<&[u8; 32]>) -> bool {
        matches!((&self.body_sha256, body_sha256), (Some(first), Some(second)) if first != second)
    }
}

/// What became of a request that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is written (durable: on the disk).
    Written,
    /// A request of this name was written before; answer what it was answered.
    Seen(Seen),
    /// Another request of this name was written before.
    Conflict,
}

/// What became of a request that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It waits to be written.
    Queued,
    /// The queue is full: its rows are counted as lost.
    Full,
}
