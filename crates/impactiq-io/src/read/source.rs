//! Where rows come from: paths, globs and folders, resolved to files of one format.

use std::path::{Path, PathBuf};

use impactiq_data::Schema;
use serde::{Deserialize, Serialize};

use crate::error::IoError;
use crate::features::Derived;

/// Rows in files, and how to look at them.
///
/// ```
/// use impactiq_io::Source;
/// let source = Source { paths: vec!["data/*.parquet".into()], filter: Some("f0 > 0".into()), ..Source::default() };
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Files, globs or folders; all files are sorted by path and read one after the other.
    pub paths: Vec<String>,
    /// SQL over raw columns and derived features; rows for which it is false or NULL are
    /// left out.
    pub filter: Option<String>,
    /// Delimiter of CSV; `None`: one of `,` `;` tab `|`, told from the first lines.
    pub delimiter: Option<u8>,
    /// Features computed from each row.
    pub derived: Vec<Derived>,
    /// Types of some columns, where they must not be guessed: values that don't fit are
    /// then errors, and text stays text (identifiers such as `007`).
    pub types: Option<Schema>,
    /// Columns whose values only tell things apart (clusters): whole numbers that `f64` cannot
    /// hold exactly are read as text, so that two of them never become one.
    pub keys: Vec<String>,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Delimited text with a header.
    Csv,
    /// One JSON object per line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// The name used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Format::Csv => "CSV",
            Format::Ndjson => "NDJSON",
            Format::Parquet => "Parquet",
        }
    }
}

/// How a text file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// Tells format and packing by a path's ending.
pub fn format_of(path: &Path) -> Option<(Format, Compression)> {
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    let (stem, compression) = match name.rsplit_once('.') {
        Some((stem, "gz" | "gzip")) => (stem, Compression::Gzip),
        Some((stem, "zst" | "zstd")) => (stem, Compression::Zstd),
        _ => (name.as_str(), Compression::None),
    };
    let format = match stem.rsplit_once('.')?.1 {
        "csv" | "tsv" | "tab" | "psv" | "txt" => Format::Csv,
        "ndjson" | "jsonl" => Format::Ndjson,
        "parquet" | "pq" if compression == Compression::None => Format::Parquet,
        _ => return None,
    };
    Some((format, compression))
}

/// One file of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataFile {
    pub path: PathBuf,
    pub format: Format,
    pub compression: Compression,
    pub n_bytes: u64,
}

impl DataFile {
    /// The format in words, for damaged files.
    pub fn packing(&self) -> &'static str {
        match self.compression {
            Compression::None => self.format.name(),
            Compression::Gzip => "gzip",
            Compression::Zstd => "Zstandard",
        }
    }
}

/// The files of a source, each once, sorted by path, all of one format.
pub(crate) fn resolve(paths: &[String]) -> Result<Vec<DataFile>, IoError> {
    let mut files: Vec<DataFile> = Vec::new();
    for path in paths {
        let found = expand(path)?;
        if found.is_empty() {
            return Err(IoError::NoFiles { path: path.clone() });
        }
        files.extend(found);
    }
    if files.is_empty() {
        return Err(IoError::NoFiles { path: String::new() });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup_by(|a, b| a.path == b.path);
    if let Some(other) = files.iter().find(|file| file.format != files[0].format) {
        return Err(IoError::MixedFormats {
            first: files[0].path.clone(),
            first_format: files[0].format.name(),
            second: other.path.clone(),
            second_format: other.format.name(),
        });
    }
    match files.iter().find(|file| file.n_bytes == 0) {
        Some(empty) => Err(IoError::EmptyFile { path: empty.path.clone() }),
        None => Ok(files),
    }
}

fn expand(text: &str) -> Result<Vec<DataFile>, IoError> {
    let path = Path::new(text);
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let mut files = Vec::new();
            walk(path, &mut files)?;
            return Ok(files);
        }
        Ok(metadata) => return Ok(vec![named(path, metadata.len())?]),
        Err(source) if !text.contains(['*', '?', '[']) => {
            return Err(IoError::Open { path: path.to_owned(), source });
        }
        Err(_) => {}
    }
    let matches = glob::glob(text).map_err(|_| IoError::NoFiles { path: text.to_owned() })?;
    let mut files = Vec::new();
    for found in matches {
        let found = found.map_err(|e| IoError::Open { path: e.path().to_owned(), source: e.into() })?;
        let metadata = std::fs::metadata(&found).map_err(|source| IoError::Open { path: found.clone(), source })?;
        if metadata.is_dir() {
            walk(&found, &mut files)?;
        } else {
            files.push(named(&found, metadata.len())?);
        }
    }
    Ok(files)
}

/// A file that was named outright: its first bytes may tell what its ending doesn't.
fn named(path: &Path, n_bytes: u64) -> Result<DataFile, IoError> {
    use std::io::Read;
    if let Some((format, compression)) = format_of(path) {
        return Ok(DataFile { path: path.to_owned(), format, compression, n_bytes });
    }
    let mut magic = [0u8; 4];
    let open = std::fs::File::open(path).map_err(|source| IoError::Open { path: path.to_owned(), source });
    match open?.read_exact(&mut magic) {
        Ok(()) if &magic == b"PAR1" => {
            let (format, compression) = (Format::Parquet, Compression::None);
            Ok(DataFile { path: path.to_owned(), format, compression, n_bytes })
        }
        _ => Err(IoError::UnknownFormat { path: path.to_owned() }),
    }
}

/// All data files below a folder; hidden ones and those that begin with `_` are left out.
fn walk(folder: &Path, files: &mut Vec<DataFile>) -> Result<(), IoError> {
    let failed = |source| IoError::Open { path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        let metadata = std::fs::metadata(&path).map_err(|source| IoError::Open { path: path.clone(), source })?;
        if metadata.is_dir() {
            walk(&path, files)?;
        } else if let Some((format, compression)) = format_of(&path) {
            files.push(DataFile { path, format, compression, n_bytes: metadata.len() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_tell_format_and_packing() {
        let of = |name: &str| format_of(Path::new(name));
        assert_eq!(of("a/b.CSV.GZ"), Some((Format::Csv, Compression::Gzip)));
        assert_eq!(of("b.jsonl.zst"), Some((Format::Ndjson, Compression::Zstd)));
        assert_eq!(of("b.parquet"), Some((Format::Parquet, Compression::None)));
        assert_eq!(of("b.parquet.gz"), None);
        assert_eq!(of("b.xlsx"), None);
        assert_eq!(of("csv"), None);
    }

    #[test]
    fn files_are_sorted_and_stand_once() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.csv", "a.csv", "_skip.csv", "note.md"] {
            std::fs::write(dir.path().join(name), "x\n1\n").unwrap();
        }
        let root = dir.path().to_string_lossy().into_owned();
        let names = |paths: &[String]| {
            let files = resolve(paths)?;
            Ok::<_, IoError>(
                files.iter().map(|f| f.path.file_name().unwrap().to_string_lossy().into_owned()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(names(std::slice::from_ref(&root)).unwrap(), ["a.csv", "b.csv"]);
        assert_eq!(names(&[format!("{root}/b.csv"), format!("{root}/[ab].csv")]).unwrap(), ["a.csv", "b.csv"]);
        assert!(matches!(names(&[format!("{root}/*.parquet")]).unwrap_err(), IoError::NoFiles { .. }));
        assert!(matches!(names(&[format!("{root}/no.csv")]).unwrap_err(), IoError::Open { .. }));
        std::fs::write(dir.path().join("c.ndjson"), "{}").unwrap();
        let error = names(&[root]).unwrap_err();
        assert!(error.to_string().contains("is CSV but"), "{error}");
    }
}
