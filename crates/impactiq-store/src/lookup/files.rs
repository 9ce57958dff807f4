//! Look-up tables from CSV, Parquet and NDJSON, and how a changed file is noticed.

use std::path::PathBuf;

use impactiq_data::Schema;
use impactiq_io::{Batches, IoError, PassThrough, RowError, Source, cast, read_schema};

use crate::error::StoreError;
use crate::file_stamp::FileStamp;
use crate::lookup::table::{Table, TableBuilder, key_schema};

/// The stamp of every file of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<(PathBuf, Option<FileStamp>)>);

impl Stamp {
    /// As the files are now.
    pub fn now(files: &[PathBuf]) -> Self {
        Stamp(files.iter().map(|path| (path.clone(), FileStamp::of(path))).collect())
    }

    /// As the same files are now.
    pub fn again(&self) -> Self {
        Stamp(self.0.iter().map(|(path, _)| (path.clone(), FileStamp::of(path))).collect())
    }
}

/// Reads the columns of a model that a source has, by key. The stamp is of before the reading, so that a
/// change during it is noticed after it.
pub(super) fn read(path: &str, key: &str, model: &Schema) -> Result<(Table, Stamp), StoreError> {
    // The key is text whatever it looks like: 007 is not 7.
    let source = Source { paths: vec![path.to_owned()], types: Some(key_schema(key)?), ..Source::default() };
    let raw = read_schema(&source)?;
    let stamp = Stamp::now(&raw.files);
    let names: Vec<String> = raw.schema.names().into_iter().chain(raw.unsupported.into_iter().map(|c| c.0)).collect();
    let columns = wanted(path, key, model, &names)?;

    let batches = Batches::open(&source, &columns, &PassThrough::Only(vec![key.to_owned()]))?;
    let mut table = TableBuilder::new(path.to_owned(), key.to_owned(), columns.clone());
    for batch in batches {
        let batch = batch?;
        if let Some(error) = batch.errors.into_iter().next() {
            let row = batch.row_ids.get(error.row as usize).copied().unwrap_or(error.row);
            return Err(StoreError::BadCell { source_name: path.to_owned(), error: RowError { row, ..error } });
        }
        let (keys, _) = cast(&batch.rows, &key_schema(key)?)?;
        let (rows, _) = cast(&batch.rows, &columns)?;
        table.push(keys.column(0), rows)?;
    }
    Ok((table.finish()?, stamp))
}

/// The columns of the model, without the key, that stand among `names`.
pub(super) fn wanted(source_name: &str, key: &str, model: &Schema, names: &[String]) -> Result<Schema, StoreError> {
    let shared: Vec<String> = model.names().into_iter().filter(|name| name != key && names.contains(name)).collect();
    if shared.is_empty() {
        return Err(StoreError::NothingToLookUp {
            source_name: source_name.to_owned(),
            key: key.to_owned(),
            needed: model.names(),
        });
    }
    Ok(model.project(&shared).map_err(IoError::from)?)
}
