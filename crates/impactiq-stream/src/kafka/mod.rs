//! Kafka, through librdkafka: a member of a consumer group, and the two ways to send scores.
//!
//! Nothing outside this folder knows a client. What an event holds is not known here.

mod client;
mod follower;
mod member;
mod plain;
mod position;
mod probe;
mod sender;
mod source;
mod span;
mod transactions;

pub use client::member_name;
pub use follower::Follower;
pub use member::Member;
pub use plain::PlainSink;
pub use probe::{Cluster, read_some};
pub use source::KafkaSource;
pub use span::{Span, SpanReader};
pub use transactions::TransactionSink;
