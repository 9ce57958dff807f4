//! The doors: CSV, Parquet and NDJSON, SQL features and model directories.
//!
//! Everything that comes in is cast to typed columns here, in row order, and everything
//! that goes out is written atomically. Below this crate nobody sees Arrow or SQL.

// A file uses only files above it: error, value, cast, session, features, json, json_rows, json_texts, read
// (background, source, blocks, csv, memory, parquet, fingerprint, inspect, scan, load, stream), write,
// artifact, datasets.
pub mod artifact;
pub mod cast;
pub mod datasets;
pub mod error;
pub mod features;
pub mod json;
pub mod json_rows;
pub mod json_texts;
pub mod read;
mod session;
mod value;
pub mod write;

pub use artifact::ModelDirectory;
pub use cast::{arrow_schema, arrow_type, cast, raw_type, to_table};
pub use datasets::{DATASETS, Fetched, PublicDataset, fetch_dataset, find_dataset};
pub use error::{IoError, Place, Refused, RowError};
pub use features::{Derived, RowFeatures};
pub use json::{json_rows_to_batch, json_value, raw_text};
pub use json_rows::{JsonRows, RowReader, RowsSeed};
pub use json_texts::{BadText, JsonTexts, Slip, TextFault};
pub use read::fingerprint::fingerprint;
pub use read::inspect::{RawSchema, read_schema};
pub use read::load::{FileRows, Loaded, Location, read};
pub use read::memory::CsvRows;
pub use read::source::{Compression, Format, Source, format_of};
pub use read::stream::{Batch, Batches, PassThrough};
pub use value::moment;
pub use write::{Writer, write_file};
