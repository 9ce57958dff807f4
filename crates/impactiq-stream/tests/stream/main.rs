//! The whole stream on a source in memory and a real store, and, where there is a broker, on Kafka.

mod broker;
mod house;
mod memory;
mod poison;
mod windows;
