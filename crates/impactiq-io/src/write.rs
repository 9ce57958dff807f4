//! Writing: files that are whole or not there at all, and batches as CSV, NDJSON or Parquet.
//!
//! Everything goes to a hidden file in the target's own folder first, is flushed to disk and
//! then renamed. What is dropped before that, by an error or an interruption, is removed.

use std::fs::{File, Permissions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int64Type, Schema as ArrowSchema, SchemaRef,
    TimestampMicrosecondType,
};
use impactiq_data::RawType;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as ParquetCompression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use rayon::prelude::*;
use tempfile::NamedTempFile;

use crate::cast::{cast_array, infinite_rows, raw_type};
use crate::error::IoError;
use crate::read::source::{Compression, Format, format_of};
use crate::value::{date_text, timestamp_text};

/// Rows of a Parquet row group: enough to compress well, few enough that readers can
/// decode several at once.
const GROUP_ROWS: usize = 1 << 18;

/// Rows that are made into text at once.
const TEXT_ROWS: usize = 1 << 13;

/// A file that appears under its name only when it is complete.
pub(crate) struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
    overwrite: bool,
}

impl NewFile {
    pub fn create(path: &Path, overwrite: bool) -> Result<Self, IoError> {
        let exists = path.symlink_metadata().is_ok();
        if exists && (!overwrite || path.is_dir()) {
            return Err(IoError::Exists { path: path.to_owned() });
        }
        // A link keeps pointing where it points: its target is what is replaced.
        let path = if exists { path.canonicalize().unwrap_or_else(|_| path.to_owned()) } else { path.to_owned() };
        let folder = folder_of(&path)?;
        let file =
            hidden().permissions(readable()).tempfile_in(folder).map_err(|source| IoError::write(&path, source))?;
        Ok(NewFile { file, path, overwrite })
    }

    /// Flushes everything to disk and gives the file its name.
    pub fn finish(self) -> Result<(), IoError> {
        let NewFile { file, path, overwrite } = self;
        file.as_file().sync_all().map_err(|source| IoError::write(&path, source))?;
        let named = if overwrite { file.persist(&path) } else { file.persist_noclobber(&path) };
        match named {
            Ok(_) => sync_folder(&path),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Err(IoError::Exists { path }),
            Err(error) => Err(IoError::write(&path, error.error)),
        }
    }
}

/// A builder of hidden names beside a target.
pub(crate) fn hidden() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".impactiq-").suffix(".partial");
    builder
}

/// The permissions that a plain new file would get (less the process's mask).
fn readable() -> Permissions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        Permissions::from_mode(0o666)
    }
    #[cfg(not(unix))]
    {
        std::env::temp_dir().metadata().map(|metadata| metadata.permissions()).expect("the folder exists")
    }
}

/// The folder of a path, which must be there.
pub(crate) fn folder_of(path: &Path) -> Result<PathBuf, IoError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    if folder.is_dir() { Ok(folder) } else { Err(IoError::MissingFolder { path: folder }) }
}

/// Makes a rename last: on most systems the folder has to be flushed too.
pub(crate) fn sync_folder(path: &Path) -> Result<(), IoError> {
    let folder = folder_of(path)?;
    match File::open(&folder).and_then(|opened| opened.sync_all()) {
        // Some file systems cannot flush folders; the file itself is safe by then.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a small file whole or not at all, replacing one that exists.
///
/// # Errors
/// [`IoError::MissingFolder`], [`IoError::NotWritable`], [`IoError::DiskFull`], [`IoError::Write`].
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), IoError> {
    let path = path.as_ref();
    let mut new = NewFile::create(path, true)?;
    new.file.write_all(bytes).map_err(|source| IoError::write(path, source))?;
    new.finish()
}

/// Text on its way to a file, packed or not.
enum Packed {
    Plain(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl Packed {
    fn new(file: File, compression: Compression) -> std::io::Result<Self> {
        let buffered = BufWriter::with_capacity(1 << 18, file);
        Ok(match compression {
            Compression::None => Packed::Plain(buffered),
            Compression::Gzip => Packed::Gzip(flate2::write::GzEncoder::new(buffered, flate2::Compression::new(6))),
            Compression::Zstd => Packed::Zstd(zstd::stream::write::Encoder::new(buffered, 3)?),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Packed::Plain(inner) => inner.write_all(bytes),
            Packed::Gzip(inner) => inner.write_all(bytes),
            Packed::Zstd(inner) => inner.write_all(bytes),
        }
    }

    fn finish(self) -> std::io::Result<()> {
        match self {
            Packed::Plain(mut inner) => inner.flush(),
            Packed::Gzip(inner) => inner.finish()?.flush(),
            Packed::Zstd(inner) => inner.finish()?.flush(),
        }
    }
}

enum Encoder {
    Csv { out: Packed, delimiter: u8 },
    Ndjson { out: Packed },
    Parquet(Box<ArrowWriter<File>>),
}

/// Writes batches to a CSV, NDJSON (each also `.gz` or `.zst`) or Parquet file, told by the
/// path's ending. The file appears when [`Writer::finish`] succeeds and not before.
///
/// Floats are written so that they read back to the same bits; missing values are empty
/// fields (CSV) or `null` (NDJSON); dates and moments are ISO 8601 in UTC.
pub struct Writer {
    new: NewFile,
    path: PathBuf,
    schema: SchemaRef,
    encoder: Encoder,
}

impl Writer {
    /// Begins a file.
    ///
    /// # Errors
    /// [`IoError::UnknownFormat`], [`IoError::Exists`] unless `overwrite`,
    /// [`IoError::MissingFolder`], [`IoError::NotWritable`], [`IoError::DiskFull`],
    /// [`IoError::CannotWrite`] for a column that the format can't hold.
    pub fn create(path: impl AsRef<Path>, schema: &SchemaRef, overwrite: bool) -> Result<Self, IoError> {
        let path = path.as_ref();
        let (format, compression) = format_of(path).ok_or_else(|| IoError::UnknownFormat { path: path.to_owned() })?;
        if format != Format::Parquet {
            for field in schema.fields() {
                if raw_type(field.data_type()).is_none() {
                    let (column, found) = (field.name().clone(), field.data_type().to_string());
                    return Err(IoError::CannotWrite { column, found, format: format.name() });
                }
            }
        }
        let new = NewFile::create(path, overwrite)?;
        let failed = |source| IoError::write(path, source);
        let file = new.file.reopen().map_err(failed)?;
        let mut encoder = match format {
            Format::Csv => {
                let is_tab = path.to_string_lossy().to_lowercase().contains(".tsv");
                Encoder::Csv {
                    out: Packed::new(file, compression).map_err(failed)?,
                    delimiter: if is_tab { b'\t' } else { b',' },
                }
            }
            Format::Ndjson => Encoder::Ndjson { out: Packed::new(file, compression).map_err(failed)? },
            Format::Parquet => Encoder::Parquet(Box::new(parquet_writer(path, file, schema)?)),
        };
        if let Encoder::Csv { out, delimiter } = &mut encoder {
            out.write_all(&csv_header(schema, *delimiter)).map_err(failed)?;
        }
        Ok(Writer { new, path: path.to_owned(), schema: Arc::clone(schema), encoder })
    }

    /// Adds rows. Their columns must be those of the schema, in order.
    ///
    /// # Errors
    /// [`IoError::CannotWrite`] for infinite values and other columns,
    /// [`IoError::DiskFull`], [`IoError::Write`].
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), IoError> {
        let names = |schema: &ArrowSchema| schema.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
        if names(&batch.schema()) != names(&self.schema) {
            return Err(IoError::CannotWrite {
                column: names(&batch.schema()).join(", "),
                found: "not among the columns that were announced".into(),
                format: "the file",
            });
        }
        let failed = |source| IoError::write(&self.path, source);
        match &mut self.encoder {
            Encoder::Parquet(writer) => writer.write(batch).map_err(|e| parquet_error(&self.path, e)),
            Encoder::Csv { out, delimiter } => {
                let columns = TextColumn::of(batch, "CSV")?;
                in_order(batch.num_rows(), |row, text| csv_row(&columns, row, *delimiter, text))
                    .iter()
                    .try_for_each(|text| out.write_all(text))
                    .map_err(failed)
            }
            Encoder::Ndjson { out } => {
                let columns = TextColumn::of(batch, "NDJSON")?;
                in_order(batch.num_rows(), |row, text| ndjson_row(&columns, row, text))
                    .iter()
                    .try_for_each(|text| out.write_all(text))
                    .map_err(failed)
            }
        }
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// [`IoError::DiskFull`], [`IoError::Write`], [`IoError::Exists`] when another file took
    /// the name meanwhile.
    pub fn finish(self) -> Result<(), IoError> {
        let Writer { new, path, encoder, .. } = self;
        match encoder {
            Encoder::Csv { out, .. } | Encoder::Ndjson { out } => {
                out.finish().map_err(|source| IoError::write(&path, source))?;
            }
            Encoder::Parquet(writer) => {
                writer.close().map_err(|error| parquet_error(&path, error))?;
            }
        }
        new.finish()
    }
}

fn parquet_writer(path: &Path, file: File, schema: &SchemaRef) -> Result<ArrowWriter<File>, IoError> {
    let level = ZstdLevel::try_new(3).unwrap_or_default();
    let properties = WriterProperties::builder()
        .set_compression(ParquetCompression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build();
    ArrowWriter::try_new(file, Arc::clone(schema), Some(properties)).map_err(|error| parquet_error(path, error))
}

/// What the Parquet writer says, with the system's reason where there is one.
fn parquet_error(path: &Path, error: ParquetError) -> IoError {
    let source = match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(source) => *source,
            Err(inner) => std::io::Error::other(inner),
        },
        other => std::io::Error::other(other),
    };
    IoError::write(path, source)
}

/// Makes rows into text on all threads, in pieces that are put back in order.
fn in_order(n_rows: usize, row: impl Fn(usize, &mut Vec<u8>) + Sync) -> Vec<Vec<u8>> {
    (0..n_rows.div_ceil(TEXT_ROWS))
        .into_par_iter()
        .map(|piece| {
            let mut text = Vec::with_capacity(TEXT_ROWS * 32);
            (piece * TEXT_ROWS..n_rows.min((piece + 1) * TEXT_ROWS)).for_each(|index| row(index, &mut text));
            text
        })
        .collect()
}

/// A column that knows how to write its cells.
struct TextColumn {
    key: Vec<u8>,
    array: ArrayRef,
}

impl TextColumn {
    fn of(batch: &RecordBatch, format: &'static str) -> Result<Vec<Self>, IoError> {
        let schema = batch.schema();
        let columns = schema.fields().iter().zip(batch.columns());
        columns
            .map(|(field, array)| {
                let cannot = |found: String| IoError::CannotWrite { column: field.name().clone(), found, format };
                let raw = raw_type(array.data_type()).ok_or_else(|| cannot(array.data_type().to_string()))?;
                let built = cast_array(array, raw)
                    .filter(|built| built.bad.is_empty())
                    .or_else(|| cast_array(array, RawType::Text))
                    .ok_or_else(|| cannot(array.data_type().to_string()))?;
                if !infinite_rows(&built.array).is_empty() {
                    return Err(cannot("infinite in some rows".into()));
                }
                let mut key = Vec::new();
                json_text(field.name(), &mut key);
                key.push(b':');
                Ok(TextColumn { key, array: built.array })
            })
            .collect()
    }

    /// Writes a cell; `text` writes text, quoted as the format wants it; false when missing.
    fn cell(&self, row: usize, quote_times: bool, out: &mut Vec<u8>, text: impl Fn(&str, &mut Vec<u8>)) -> bool {
        fn at<T: ArrowPrimitiveType>(array: &ArrayRef, row: usize) -> T::Native {
            let array: &PrimitiveArray<T> = array.as_primitive();
            array.value(row)
        }
        if self.array.is_null(row) {
            return false;
        }
        let time = |value: String, out: &mut Vec<u8>| {
            if quote_times { text(&value, out) } else { out.extend_from_slice(value.as_bytes()) }
        };
        // Writing to a vector cannot fail.
        let _ = match self.array.data_type() {
            DataType::Boolean => write!(out, "{}", self.array.as_boolean().value(row)),
            DataType::Int64 => write!(out, "{}", at::<Int64Type>(&self.array, row)),
            DataType::Float32 => write!(out, "{:?}", at::<Float32Type>(&self.array, row)),
            DataType::Float64 => write!(out, "{:?}", at::<Float64Type>(&self.array, row)),
            DataType::Date32 => {
                time(date_text(at::<Date32Type>(&self.array, row)), out);
                Ok(())
            }
            DataType::Timestamp(..) => {
                time(timestamp_text(at::<TimestampMicrosecondType>(&self.array, row)), out);
                Ok(())
            }
            _ => {
                text(self.array.as_string::<i32>().value(row), out);
                Ok(())
            }
        };
        true
    }
}

fn csv_header(schema: &SchemaRef, delimiter: u8) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, field) in schema.fields().iter().enumerate() {
        if index > 0 {
            out.push(delimiter);
        }
        csv_text(field.name(), delimiter, &mut out);
    }
    out.push(b'\n');
    out
}

fn csv_row(columns: &[TextColumn], row: usize, delimiter: u8, out: &mut Vec<u8>) {
    let start = out.len();
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            out.push(delimiter);
        }
        column.cell(row, false, out, |text, out| csv_text(text, delimiter, out));
    }
    // A missing value alone on its line would be a blank line.
    if out.len() == start {
        out.extend_from_slice(b"\"\"");
    }
    out.push(b'\n');
}

fn csv_text(text: &str, delimiter: u8, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|&byte| byte == delimiter || matches!(byte, b'"' | b'\n' | b'\r')) {
        out.extend_from_slice(bytes);
        return;
    }
    out.push(b'"');
    for &byte in bytes {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

fn ndjson_row(columns: &[TextColumn], row: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&column.key);
        if !column.cell(row, true, out, json_text) {
            out.extend_from_slice(b"null");
        }
    }
    out.extend_from_slice(b"}\n");
}

fn json_text(text: &str, out: &mut Vec<u8>) {
    // Writing text to a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int32Array, StringArray};
    use std::io::ErrorKind;

    fn batch() -> RecordBatch {
        RecordBatch::try_from_iter([
            ("a,b", Arc::new(StringArray::from(vec![Some("x\"y\nz"), None])) as ArrayRef),
            ("n", Arc::new(Int32Array::from(vec![Some(-1), Some(2)])) as ArrayRef),
            ("f", Arc::new(Float64Array::from(vec![1e300, f64::NAN])) as ArrayRef),
        ])
        .unwrap()
    }

    fn left(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.csv");
        let mut writer = Writer::create(&path, &batch().schema(), false).unwrap();
        writer.write(&batch()).unwrap();
        assert!(!path.exists());
        drop(writer);
        assert_eq!(left(dir.path()), Vec::<String>::new());

        let mut writer = Writer::create(&path, &batch().schema(), false).unwrap();
        writer.write(&batch()).unwrap();
        writer.finish().unwrap();
        assert_eq!(left(dir.path()), ["out.csv"]);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "\"a,b\",n,f\n\"x\"\"y\nz\",-1,1e300\n,2,\n");
        assert!(matches!(Writer::create(&path, &batch().schema(), false), Err(IoError::Exists { .. })));
        assert!(Writer::create(&path, &batch().schema(), true).is_ok());
    }

    #[test]
    fn lines_of_json_are_valid() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.ndjson");
        let mut writer = Writer::create(&path, &batch().schema(), false).unwrap();
        writer.write(&batch()).unwrap();
        writer.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"a,b\":\"x\\\"y\\nz\",\"n\":-1,\"f\":1e300}\n{\"a,b\":null,\"n\":2,\"f\":null}\n");
    }

    #[test]
    fn places_that_cannot_be_written_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let create = |name: &str| Writer::create(dir.path().join(name), &batch().schema(), false).err().unwrap();
        assert!(matches!(create("no/out.csv"), IoError::MissingFolder { .. }));
        assert!(matches!(create("out.xlsx"), IoError::UnknownFormat { .. }));
        let path = Path::new("x");
        let of = |kind: ErrorKind| IoError::write(path, kind.into());
        assert!(matches!(of(ErrorKind::StorageFull), IoError::DiskFull { .. }));
        assert!(matches!(of(ErrorKind::PermissionDenied), IoError::NotWritable { .. }));
        let from_parquet = parquet_error(path, ParquetError::from(std::io::Error::from(ErrorKind::StorageFull)));
        assert!(matches!(from_parquet, IoError::DiskFull { .. }), "{from_parquet}");
    }

    #[cfg(unix)]
    #[test]
    fn outputs_have_the_permissions_of_plain_files() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (ours, plain) = (dir.path().join("a.txt"), dir.path().join("b.txt"));
        write_file(&ours, b"x").unwrap();
        std::fs::write(&plain, b"x").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn infinite_values_and_lists_are_refused_in_text() {
        let dir = tempfile::tempdir().unwrap();
        let bad =
            RecordBatch::try_from_iter([("f", Arc::new(Float64Array::from(vec![f64::INFINITY])) as ArrayRef)]).unwrap();
        let mut writer = Writer::create(dir.path().join("a.csv"), &bad.schema(), false).unwrap();
        assert!(matches!(writer.write(&bad).unwrap_err(), IoError::CannotWrite { .. }));
    }
}
