//! The API: the only place that knows its JSON.

// A file uses only files above it: problem, auth, extract, text, answer, score, infer, invocations,
// simulate, target, models, reports, log, live, stream, health, docs, router.
pub mod problem;

pub(crate) mod auth;
pub(crate) mod extract;
pub(crate) mod text;

pub(crate) mod answer;
pub(crate) mod health;
pub(crate) mod infer;
pub(crate) mod invocations;
pub(crate) mod live;
pub(crate) mod log;
pub(crate) mod models;
pub(crate) mod reports;
pub(crate) mod score;
pub(crate) mod simulate;
pub(crate) mod stream;
pub(crate) mod target;

pub mod docs;
pub(crate) mod router;
