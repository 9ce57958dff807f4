//! Parquet files: what they hold, and their row groups decoded one by one.
//!
//! Row groups are decoded on any thread and put back in order by whoever asks for them.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::statistics::Statistics;

use crate::error::IoError;
use crate::read::source::DataFile;

/// Rows per decoded batch.
pub(crate) const BATCH_ROWS: usize = 1 << 16;

/// What a Parquet file says about itself.
#[derive(Clone, Debug)]
pub(crate) struct ParquetFile {
    metadata: ArrowReaderMetadata,
}

impl ParquetFile {
    pub fn open(file: &DataFile) -> Result<Self, IoError> {
        let opened = File::open(&file.path).map_err(|source| IoError::Open { path: file.path.clone(), source })?;
        let metadata = guarded(file, || ArrowReaderMetadata::load(&opened, ArrowReaderOptions::new()))?;
        Ok(ParquetFile { metadata })
    }

    /// Columns with their Arrow types.
    pub fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    pub fn n_groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    pub fn n_rows(&self) -> u64 {
        (0..self.n_groups()).map(|group| self.group_rows(group)).sum()
    }

    pub fn group_rows(&self, group: usize) -> u64 {
        u64::try_from(self.metadata.metadata().row_group(group).num_rows()).unwrap_or(0)
    }

    /// True when the file's statistics tell that a column of unsigned 64-bit numbers fits signed ones.
    pub fn fits_signed(&self, column: &str) -> bool {
        let metadata = self.metadata.metadata();
        let leaves = metadata.file_metadata().schema_descr();
        let Some(leaf) = (0..leaves.num_columns()).find(|&i| leaves.column(i).path().string() == column) else {
            return false;
        };
        metadata.row_groups().iter().all(|group| match group.column(leaf).statistics() {
            // Old files order these numbers as signed ones: when neither end has its sign bit set,
            // all fit in either order.
            Some(Statistics::Int64(numbers)) => {
                let fits = |end: Option<&i64>| end.is_some_and(|&end| end >= 0);
                let all_missing = numbers.null_count_opt() == u64::try_from(group.num_rows()).ok();
                all_missing || (fits(numbers.min_opt()) && fits(numbers.max_opt()))
            }
            _ => false,
        })
    }

    /// Decodes some columns of some row groups and hands each batch on; stops at an error.
    pub fn decode(
        &self,
        file: &DataFile,
        groups: Vec<usize>,
        columns: &[String],
        mut each: impl FnMut(RecordBatch) -> Result<bool, IoError>,
    ) -> Result<(), IoError> {
        let opened = File::open(&file.path).map_err(|source| IoError::Open { path: file.path.clone(), source })?;
        let roots: Vec<usize> = columns.iter().filter_map(|name| self.schema().index_of(name).ok()).collect();
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), roots);
        let mut reader = guarded(file, || {
            ParquetRecordBatchReaderBuilder::new_with_metadata(opened, self.metadata.clone())
                .with_row_groups(groups)
                .with_projection(mask)
                .with_batch_size(BATCH_ROWS)
                .build()
        })?;
        loop {
            let next = guarded(file, || reader.next().transpose().map_err(ParquetError::from))?;
            match next {
                None => return Ok(()),
                Some(batch) => {
                    if !each(batch)? {
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn corrupt(file: &DataFile, detail: &str) -> IoError {
    IoError::Corrupt { path: file.path.clone(), format: "Parquet", detail: detail.to_owned() }
}

/// Runs the decoder so that whatever a damaged file makes it do is an error.
fn guarded<T>(file: &DataFile, run: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, IoError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ParquetError::EOF(_) | ParquetError::NeedMoreData(_) | ParquetError::NeedMoreDataRange(_))) => {
            Err(IoError::Truncated { path: file.path.clone(), format: "Parquet" })
        }
        Ok(Err(error)) => Err(damaged(file, &error)),
        Err(_) => Err(corrupt(file, "its pages are damaged")),
    }
}

/// A file without its footer was cut off, if it began as Parquet.
fn damaged(file: &DataFile, error: &ParquetError) -> IoError {
    use std::io::{Read, Seek, SeekFrom};
    let ends = || -> std::io::Result<([u8; 4], [u8; 4])> {
        let mut opened = File::open(&file.path)?;
        let (mut first, mut last) = ([0; 4], [0; 4]);
        opened.read_exact(&mut first)?;
        opened.seek(SeekFrom::End(-4))?;
        opened.read_exact(&mut last)?;
        Ok((first, last))
    };
    if matches!(ends(), Ok((first, last)) if &first == b"PAR1" && &last != b"PAR1") {
        return IoError::Truncated { path: file.path.clone(), format: "Parquet" };
    }
    let text = error.to_string();
    let text = text.split_once(": ").map_or(text.as_str(), |(_, detail)| detail);
    corrupt(file, text)
}

/// Shares what was read of a file's footer.
pub(crate) type SharedParquet = Arc<ParquetFile>;
