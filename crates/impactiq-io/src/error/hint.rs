//! What to do about each error: the line after "hint:".

use impactiq_data::error::shorten;

use super::{IoError, Refused};

impl IoError {
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
            IoError::ReaderStopped { .. } => "this is a fault of the program: please report it with the file".into(),
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
