//! The doors: CSV, Parquet and NDJSON, SQL features and model directories.
