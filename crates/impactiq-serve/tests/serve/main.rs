//! The server from outside: real models, a real port, plain HTTP.

mod client;
mod doors;
mod guard;
mod house;
mod limits;
mod log;
mod models;
mod overload;
mod pages;
mod quiet;
mod stream;
