//! How answers leave: HTTP, live figures, the dashboard.
//!
//! Nothing is learned or measured here: scores come from `impactiq-score`, records go to
//! `impactiq-store`. Nothing is printed either; what there is to say goes through `tracing`.

// A file uses only files above it: error, settings, keys, live, registry, metrics, pressure, desk, assets,
// http, connection, server, stream_pages.
pub mod assets;
mod connection;
mod desk;
pub mod error;
pub mod http;
pub mod keys;
pub mod live;
mod metrics;
mod pressure;
pub mod registry;
pub mod server;
pub mod settings;
pub mod stream_pages;

pub use error::ServeError;
pub use keys::{NewKey, Role};
pub use server::{Running, Server};
pub use settings::{Asked, AskedLookup, Settings};
pub use stream_pages::StreamPages;
