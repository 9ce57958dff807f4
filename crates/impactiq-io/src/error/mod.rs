//! What can go wrong at the doors, as values with fields.
//!
//! `Display` says what and where in lower case (row, column, value, file, line);
//! [`IoError::hint`] says what to do next. Nothing here reads or writes.

use std::path::{Path, PathBuf};

use impactiq_data::DataError;
use impactiq_data::error::shorten;
use thiserror::Error;

mod hint;
mod place;

pub use place::{Place, Refused, RowError};

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
    /// A thread that reads ended before the data did.
    #[error("internal error: {what} stopped before the end of the data")]
    ReaderStopped {
        /// The thread's work.
        what: &'static str,
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
            && let Some(row) = place.row
        {
            place.row = Some(row + before);
            place.row_in_file = Some(row + before_in_file);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_stay_small_enough_to_return() {
        assert!(size_of::<IoError>() <= 128, "{}", size_of::<IoError>());
    }
}
