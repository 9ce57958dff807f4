//! Reading: files to tables, schemas and streams of batches, always in row order.

pub(crate) mod background;
pub(crate) mod source;

pub(crate) mod blocks;
pub(crate) mod csv;
pub(crate) mod memory;
pub(crate) mod parquet;

pub(crate) mod fingerprint;
pub(crate) mod inspect;

pub(crate) mod scan;

pub(crate) mod load;
pub(crate) mod stream;
