//! Features of a user over windows of time: one definition for training files and the stream.
//!
//! A feature of an event at time t looks at the user's events that arrived before it and lie in
//! (t − over, t]. The event itself is not among them: what it brings stands in its own columns.
//! Events of the same time count in the order they arrived.

mod batch;
mod bytes;
mod config;
mod events;
mod plan;
mod span;
mod state;

pub use batch::{FileFeatures, features_of_file, write_features};
pub(crate) use config::located;
pub use config::{FeatureConfig, TimeUnit, WindowsConfig};
pub use events::{EventRef, Events};
pub use plan::WindowPlan;
pub use span::Span;
pub use state::{Arrival, WindowState};
