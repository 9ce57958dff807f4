//! What can go wrong at the doors, as values with fields.
//!
//! `Display` says what and where in lower case (row, column, value, file, line);
//! [`IoError::hint`] says what to do next. Nothing here reads or writes.

use std::fmt;
use std::path::{Path, PathBuf};

use impactiq_data::DataError;
use impactiq_data::error::shorten;
use thiserror::Error;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Row over all files of the source, counted from 1 without headers.
    pub row: Option<u64>,
    /// Row within its file, counted from 1 without the header.
    pub row_in_file: Option<u64>,
    /// Line in the file, counted from 1; text formats only.
    pub line: Option<u64>,
    /// The column.
    pub column: Option<String>,
}

impl Place {
    /// A line of a file.
    pub fn line(path: &Path, line: u64) -> Box<Place> {
        Box::new(Place { path: path.to_owned(), line: Some(line), ..Place::default() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(row) = self.row {
            parts.push(format!("row {row}"));
        }
        if let Some(column) = &self.column {
            parts.push(format!("column '{column}'"));
        }
        let file = self.path.display();
        match (self.line, self.row_in_file) {
            (Some(line), _) => parts.push(format!("line {line} of {file}")),
            (None, Some(row)) if self.row.is_some_and(|all| all != row) => parts.push(format!("row {row} of {file}")),
            _ => parts.push(format!("file {file}")),
        }
        f.write_str(&parts.join(", "))
    }
}

/// A bad cell of a batch: a value, never a failed batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("row {}, column '{column}': {}{reason}", row + 1, quoted(.value))]
pub struct RowError {
    /// Row in the batch, counted from 0.
    pub row: u64,
    /// The column.
    pub column: String,
    /// The offending value as a person would read it; empty when there is none.
    pub value: String,
    /// What is wrong with it, e.g. "is not a number".
    pub reason: String,
}

fn quoted(value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("'{value}' ") }
}

impl RowError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self.reason.as_str() {
            "is infinite" => "send a finite number, or leave the value out".into(),
            _ => format!("send '{}' in the type the model was trained with", self.column),
        })
    }
}

/// Why an expression may not stand in a row feature or filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Its value differs from run to run or from time to time.
    Volatile,
    /// It summarises many rows.
    Aggregate,
    /// It looks at neighbouring rows.
    Window,
    /// It asks another table.
    Subquery,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Volatile => "gives another value on every run",
            Refused::Aggregate => "is an aggregate over many rows",
            Refused::Window => "is a window over other rows",
            Refused::Subquery => "is a subquery",
        })
    }
}

/// Something that went wrong while reading or writing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IoError {
    /// Something about the data or its columns.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A bad cell of a batch in memory.
    #[error(transparent)]
    Row(#[from] RowError),
    /// A path cannot be opened.
    #[error("{} cannot be opened: {source}", .path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Reading broke off.
    #[error("{} cannot be read: {source}", .path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A path, glob or directory holds no data file.
    #[error("'{path}' matches no data file")]
    NoFiles {
        /// As the user wrote it.
        path: String,
    },
    /// The format cannot be told.
    #[error("the format of {} is not known", .path.display())]
    UnknownFormat {
        /// The path.
        path: PathBuf,
    },
    /// Files of several formats in one source.
    #[error("{} is {first_format} but {} is {second_format}", .first.display(), .second.display())]
    MixedFormats {
        /// One file.
        first: PathBuf,
        /// Its format.
        first_format: &'static str,
        /// Another file.
        second: PathBuf,
        /// Its format.
        second_format: &'static str,
    },
    /// A file without any content.
    #[error("{} is empty", .path.display())]
    EmptyFile {
        /// The path.
        path: PathBuf,
    },
    /// A header but no rows.
    #[error("{} has a header but no rows", .path.display())]
    NoRows {
        /// The (first) file.
        path: PathBuf,
    },
    /// Nothing passed the filter.
    #[error("no rows are left of {n_read} after where: {filter}")]
    NoRowsLeft {
        /// The filter.
        filter: String,
        /// Rows before it.
        n_read: u64,
    },
    /// A column name stands twice in a header.
    #[error("column '{column}' stands more than once in the header of {}", .path.display())]
    DuplicateHeader {
        /// The path.
        path: PathBuf,
        /// The repeated name.
        column: String,
    },
    /// The header is one column that holds another delimiter.
    #[error("{} has one column '{header}' when split at '{delimiter}'", .path.display())]
    WrongDelimiter {
        /// The path.
        path: PathBuf,
        /// The delimiter used.
        delimiter: char,
        /// The delimiter that the header holds.
        found: char,
        /// The header.
        header: String,
    },
    /// A row with too few or too many fields.
    #[error("{place}: {found} fields where the header has {expected}")]
    RaggedRow {
        /// Where.
        place: Box<Place>,
        /// Columns of the header.
        expected: usize,
        /// Fields found.
        found: usize,
    },
    /// Bytes that are not UTF-8.
    #[error("{place}: '{value}' is not UTF-8")]
    BadUtf8 {
        /// Where.
        place: Box<Place>,
        /// The field, with the bad bytes replaced.
        value: String,
    },
    /// A quoted field that never ends.
    #[error("{place}: a quoted field opens here and never closes")]
    UnclosedQuote {
        /// Where it opens.
        place: Box<Place>,
    },
    /// Text right after a closing quote.
    #[error("{place}: '{value}' follows a closing quote where a delimiter or the end of the line was expected")]
    BadQuote {
        /// Where.
        place: Box<Place>,
        /// What follows.
        value: String,
    },
    /// A row longer than is plausible.
    #[error("{place}: a row of more than {limit} bytes")]
    RowTooLong {
        /// Where it starts.
        place: Box<Place>,
        /// The limit.
        limit: usize,
    },
    /// A line that is not a JSON object of plain values.
    #[error("{place}: {detail}")]
    BadJson {
        /// Where.
        place: Box<Place>,
        /// What is wrong.
        detail: String,
    },
    /// A file that ends in the middle.
    #[error("{} ends in the middle ({format})", .path.display())]
    Truncated {
        /// The path.
        path: PathBuf,
        /// Its format.
        format: &'static str,
    },
    /// A file that is not what its name says, or is damaged.
    #[error("{} is not readable {format}: {detail}", .path.display())]
    Corrupt {
        /// The path.
        path: PathBuf,
        /// The format expected.
        format: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// Files of one source with different columns.
    #[error("{} does not have the columns of {}: {}", .path.display(), .first.display(), difference(.missing, .extra))]
    ColumnsDiffer {
        /// The file that differs.
        path: PathBuf,
        /// The first file.
        first: PathBuf,
        /// Columns it lacks.
        missing: Vec<String>,
        /// Columns it has in addition.
        extra: Vec<String>,
    },
    /// Files of one source with different types of one column.
    #[error("column '{column}' is {found} in {} but {expected} in {}", .path.display(), .first.display())]
    TypesDiffer {
        /// The column.
        column: String,
        /// The file that differs.
        path: PathBuf,
        /// Its type there.
        found: String,
        /// The first file.
        first: PathBuf,
        /// Its type there.
        expected: String,
    },
    /// A value that does not fit the column's type.
    #[error("{place}: '{value}' {reason}")]
    BadValue {
        /// Where.
        place: Box<Place>,
        /// The value.
        value: String,
        /// What is wrong, e.g. "is not a number".
        reason: String,
    },
    /// An infinite value where numbers must be finite.
    #[error("{place}: the value is infinite ({value})")]
    InfiniteValue {
        /// Where.
        place: Box<Place>,
        /// The value.
        value: String,
        /// True when an expression made it.
        derived: bool,
    },
    /// A wanted column of a type that is neither number nor category.
    #[error("column '{column}' of {} is {found}, which is neither a number nor text", .path.display())]
    UnsupportedType {
        /// The column.
        column: String,
        /// The file.
        path: PathBuf,
        /// Its type.
        found: String,
    },
    /// SQL that cannot be read.
    #[error("{what}: `{sql}` is not a valid expression: {detail}")]
    Sql {
        /// "where" or the feature's name.
        what: String,
        /// The expression.
        sql: String,
        /// What is wrong.
        detail: String,
    },
    /// An unknown column in SQL.
    #[error("{what}: column '{column}' does not exist")]
    SqlColumn {
        /// "where" or the feature's name.
        what: String,
        /// The name asked for.
        column: String,
        /// The most similar name.
        closest: Option<String>,
        /// Every name.
        available: Vec<String>,
        /// True when it stands in double quotes.
        quoted: bool,
    },
    /// An unknown function in SQL.
    #[error("{what}: function '{function}' does not exist")]
    SqlFunction {
        /// "where" or the feature's name.
        what: String,
        /// The name asked for.
        function: String,
        /// The most similar name.
        closest: Option<String>,
    },
    /// SQL that looks beyond the row, or changes from run to run.
    #[error("{what}: {part} {refused}")]
    SqlRefused {
        /// "where" or the feature's name.
        what: String,
        /// The offending part.
        part: String,
        /// Why it may not stand there.
        refused: Refused,
    },
    /// An expression of an unusable type.
    #[error("{what}: `{sql}` gives {found}; {expected} is needed")]
    SqlType {
        /// "where" or the feature's name.
        what: String,
        /// The expression.
        sql: String,
        /// Type found.
        found: String,
        /// Type needed.
        expected: &'static str,
    },
    /// An expression that failed on a row.
    #[error("{what}, {place}: {detail}")]
    SqlRow {
        /// "where" or the feature's name.
        what: String,
        /// Where.
        place: Box<Place>,
        /// What went wrong.
        detail: String,
    },
    /// The output is there already.
    #[error("{} exists already", .path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The folder of an output is not there.
    #[error("the folder {} does not exist", .path.display())]
    MissingFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The folder or file may not be written.
    #[error("{} cannot be written: permission denied", .path.display())]
    NotWritable {
        /// The path.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("{} cannot be written: the disk is full", .path.display())]
    DiskFull {
        /// The path.
        path: PathBuf,
    },
    /// Writing failed in another way.
    #[error("{} cannot be written: {source}", .path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A column that the output format cannot hold.
    #[error("column '{column}' is {found}, which {format} cannot hold")]
    CannotWrite {
        /// The column.
        column: String,
        /// Its type or value.
        found: String,
        /// The format.
        format: &'static str,
    },
    /// Something else stands where a model directory should.
    #[error("{} is not a model directory: {detail}", .path.display())]
    NotAModel {
        /// The path.
        path: PathBuf,
        /// What is missing.
        detail: String,
    },
    /// A model directory of a later version.
    #[error("the model {} has format version {found}; this program reads up to version {supported}", .path.display())]
    FutureVersion {
        /// The directory.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The highest version that can be read.
        supported: u64,
    },
    /// A manifest that cannot be read.
    #[error("{} is damaged: {detail}", .path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A file of a model directory that is not there.
    #[error("the model {} has no file '{file}'", .path.display())]
    ModelFile {
        /// The directory.
        path: PathBuf,
        /// The file.
        file: String,
    },
    /// A file of a model directory that has changed.
    #[error("'{file}' of the model {} is not what was saved: {detail}", .path.display())]
    ModelFileChanged {
        /// The directory.
        path: PathBuf,
        /// The file.
        file: String,
        /// Sizes or checksums.
        detail: String,
    },
    /// A file name that would leave the model directory.
    #[error("'{file}' is not a plain file name")]
    BadFileName {
        /// The name.
        file: String,
    },
    /// Data that is not what it was.
    #[error("the data in {} changed since the model was trained", .paths.join(", "))]
    DataChanged {
        /// The paths as the user wrote them.
        paths: Vec<String>,
    },
    /// A public data set that is not known.
    #[error("there is no data set '{name}'")]
    UnknownDataset {
        /// The name asked for.
        name: String,
        /// The most similar name.
        closest: Option<String>,
        /// Every name.
        available: Vec<String>,
    },
    /// A download that did not come through.
    #[error("{url} cannot be downloaded: {detail}")]
    Download {
        /// The address.
        url: String,
        /// Why.
        detail: String,
    },
    /// A download with other content than published.
    #[error("{url} gave other data than expected (sha256 {found}, expected {expected})")]
    DownloadChecksum {
        /// The address.
        url: String,
        /// Checksum found.
        found: String,
        /// Checksum expected.
        expected: String,
    },
    /// The user or a time budget stopped the work.
    #[error("interrupted")]
    Interrupted,
}

fn difference(missing: &[String], extra: &[String]) -> String {
    let mut parts = Vec::new();
    if !missing.is_empty() {
        parts.push(format!("it lacks {}", shorten(missing, 8)));
    }
    if !extra.is_empty() {
        parts.push(format!("it adds {}", shorten(extra, 8)));
    }
    parts.join(" and ")
}

impl IoError {
    /// A failed read, told apart by what the system said.
    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        IoError::Read { path: path.to_owned(), source }
    }

    /// A failed write, told apart by what the system said.
    pub(crate) fn write(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => IoError::DiskFull { path },
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                IoError::NotWritable { path }
            }
            _ => IoError::Write { path, source },
        }
    }

    /// Moves the error from a row of a piece to the row of the whole: `before` rows stand
    /// before the piece in the source, `before_in_file` in its file.
    pub(crate) fn moved(mut self, before: u64, before_in_file: u64) -> Self {
        if let IoError::RaggedRow { place, .. }
        | IoError::BadValue { place, .. }
        | IoError::InfiniteValue { place, .. }
        | IoError::SqlRow { place, .. } = &mut self
        {
            if let Some(row) = place.row {
                place.row = Some(row + before);
                place.row_in_file = Some(row + before_in_file);
            }
        }
        self
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            IoError::Data(error) => return error.hint(),
            IoError::Row(error) => return error.hint(),
            _ => {}
        }
        self.input_hint().or_else(|| self.sql_hint()).or_else(|| self.output_hint())
    }

    fn input_hint(&self) -> Option<String> {
        Some(match self {
            IoError::Open { .. } | IoError::NoFiles { .. } => {
                "check the path; data files end in .csv, .tsv, .ndjson, .jsonl (each also .gz or .zst) or .parquet"
                    .into()
            }
            IoError::UnknownFormat { .. } => {
                "rename it to end in .csv, .tsv, .ndjson, .jsonl (each also .gz or .zst) or .parquet".into()
            }
            IoError::MixedFormats { .. } => "read files of one format at a time".into(),
            IoError::EmptyFile { .. } | IoError::NoRows { .. } => "bring a file with a header and rows".into(),
            IoError::NoRowsLeft { .. } => "loosen the `where` filter; NULL counts as false".into(),
            IoError::DuplicateHeader { .. } => "give every column a name of its own".into(),
            IoError::WrongDelimiter { found, .. } => format!("set `data.delimiter: {:?}`", found.to_string()),
            IoError::RaggedRow { .. } => {
                "put fields that hold the delimiter in double quotes, or check the delimiter".into()
            }
            IoError::BadUtf8 { .. } => "save the file as UTF-8, e.g. `iconv -f latin1 -t utf-8`".into(),
            IoError::UnclosedQuote { .. } => "close the quote; write a quote inside a quoted field twice".into(),
            IoError::BadQuote { .. } => "write a quote inside a quoted field twice".into(),
            IoError::RowTooLong { .. } => "is a quote left open, or is this another format?".into(),
            IoError::BadJson { .. } => "write one flat JSON object per line".into(),
            IoError::Truncated { .. } => "copy or download the file again".into(),
            IoError::Corrupt { .. } => "copy the file again, or check that its ending names its format".into(),
            IoError::ColumnsDiffer { .. } => "files of one source need the same columns".into(),
            IoError::TypesDiffer { .. } => "write the column with one type in every file".into(),
            IoError::BadValue { .. } => "mend the value; an empty field counts as missing".into(),
            IoError::InfiniteValue { derived: true, .. } => {
                "divide by NULLIF(x, 0) so that a division by zero is missing".into()
            }
            IoError::InfiniteValue { place, .. } => match &place.column {
                Some(column) => {
                    format!("mend the value, leave it empty, or filter it out, e.g. `where: \"abs({column}) < 1e300\"`")
                }
                None => "mend the value or leave it empty".into(),
            },
            IoError::UnsupportedType { .. } => "leave the column out, or write it as a number or text".into(),
            IoError::DataChanged { .. } => "train again, or evaluate on a file of its own with -d".into(),
            IoError::UnknownDataset { closest: Some(name), .. } => format!("did you mean '{name}'?"),
            IoError::UnknownDataset { available, .. } => format!("the data sets are: {}", shorten(available, 20)),
            IoError::Download { .. } => {
                "check the network and try again; what has arrived is kept and continued".into()
            }
            IoError::DownloadChecksum { .. } => "the publisher may have changed the file; nothing was kept".into(),
            _ => return None,
        })
    }

    fn sql_hint(&self) -> Option<String> {
        Some(match self {
            IoError::Sql { .. } => {
                "write an SQL expression over one row, e.g. `f0 * f1` or `age >= 18 AND channel = 'Web'`".into()
            }
            IoError::SqlColumn { closest: Some(name), .. } => format!("did you mean '{name}'?"),
            IoError::SqlColumn { quoted: true, column, .. } => {
                format!("double quotes name columns; text stands in single quotes: '{column}'")
            }
            IoError::SqlColumn { available, .. } => {
                format!("the columns are: {}; a feature may use features above it", shorten(available, 20))
            }
            IoError::SqlFunction { closest: Some(name), .. } => format!("did you mean '{name}'?"),
            IoError::SqlFunction { .. } => "use SQL functions of numbers, text, dates and conditions".into(),
            IoError::SqlRefused { refused: Refused::Volatile, .. } => {
                "a score must not depend on when it is computed: pass the moment in as a column".into()
            }
            IoError::SqlRefused { .. } => {
                "a row feature sees its own row only: compute the summary beforehand and join it in".into()
            }
            IoError::SqlType { expected, .. } => format!("change the expression so that it gives {expected}"),
            IoError::SqlRow { .. } => "guard the expression, e.g. with NULLIF(x, 0) or TRY_CAST".into(),
            _ => return None,
        })
    }

    fn output_hint(&self) -> Option<String> {
        Some(match self {
            IoError::Exists { .. } => "add --overwrite to replace it, or choose another name".into(),
            IoError::MissingFolder { path } => format!("create it: mkdir -p {}", path.display()),
            IoError::NotWritable { .. } => "choose a place you may write to".into(),
            IoError::DiskFull { .. } => "free some space or choose another disk; nothing was left behind".into(),
            IoError::CannotWrite { .. } => "leave the column out or write Parquet".into(),
            IoError::NotAModel { .. } => "give the folder that `impactiq train -o` wrote".into(),
            IoError::FutureVersion { .. } => "install a newer impactiq, or train the model again".into(),
            IoError::Manifest { .. } | IoError::ModelFile { .. } | IoError::ModelFileChanged { .. } => {
                "copy the model directory again, or train the model again".into()
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_row_column_file_and_line() {
        let mut place = Place {
            path: "a.csv".into(),
            row: Some(11),
            row_in_file: Some(11),
            line: Some(12),
            column: Some("age".into()),
        };
        assert_eq!(place.to_string(), "row 11, column 'age', line 12 of a.csv");
        place.line = None;
        assert_eq!(place.to_string(), "row 11, column 'age', file a.csv");
        place.row = Some(111);
        assert_eq!(place.to_string(), "row 111, column 'age', row 11 of a.csv");
    }

    #[test]
    fn errors_stay_small_enough_to_return() {
        assert!(size_of::<IoError>() <= 128, "{}", size_of::<IoError>());
    }
}
