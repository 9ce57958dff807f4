//! The doors from outside: what goes in and out of files, through the public API only.

mod errors;
mod files;
mod hostile;
mod keys;
mod rows;
mod same_bits;
