//! A CSV text in memory, as a request brings it: its own columns as text, and the model's
//! columns cast like those of a file. No path is opened here.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema};
use impactiq_data::{DataError, Schema};

use crate::cast::{arrow_schema, batch_of, build, finite};
use crate::error::{IoError, RowError};
use crate::read::csv::{Fields, Layout, bad_utf8, fields, header};
use crate::value::Cell;

/// Rows of a CSV text.
#[derive(Clone, Debug)]
pub struct CsvRows {
    /// Every column as the text has it.
    pub texts: RecordBatch,
    /// The model's columns, cast to its schema.
    pub rows: RecordBatch,
    /// Cells of the model's columns that don't fit (null in `rows`), in order of row.
    pub errors: Vec<RowError>,
    /// What separates the fields.
    pub delimiter: u8,
}

impl CsvRows {
    /// Reads a text whose first line names its columns; `name` is what messages call it.
    ///
    /// Columns of the schema that the text lacks are missing values when `may_lack` says so.
    ///
    /// # Errors
    /// [`IoError::EmptyFile`], [`IoError::RaggedRow`], [`IoError::BadUtf8`] and what else can be
    /// wrong with CSV; [`DataError::MissingColumn`].
    pub fn parse(
        bytes: &[u8],
        schema: &Schema,
        name: &str,
        may_lack: impl Fn(&str) -> bool,
    ) -> Result<CsvRows, IoError> {
        let path = Path::new(name);
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let (names, delimiter) = header(path, bytes, None)?;
        let slots: Vec<Option<usize>> = (0..names.len()).map(Some).collect();
        let layout = Layout { path, delimiter, columns: &names, slots: &slots };
        let text = std::str::from_utf8(bytes).map_err(|error| bad_utf8(bytes, error.valid_up_to(), &layout, 1))?;
        let cut = fields(bytes, &layout, 1, true)?;
        let mut errors = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        for field in schema.fields() {
            let built = match names.iter().position(|name| *name == field.name) {
                Some(slot) => build(field.raw_type, cut.n_rows(), cut.cells(text, slot)),
                None if may_lack(&field.name) => {
                    build(field.raw_type, cut.n_rows(), std::iter::repeat_n(Cell::Missing, cut.n_rows()))
                }
                None => return Err(DataError::missing_column(&field.name, &names).into()),
            };
            columns.push(finite(field, built, &mut errors));
        }
        errors.sort_by_key(|error| error.row);
        let rows = batch_of(arrow_schema(schema), columns, cut.n_rows());
        Ok(CsvRows { texts: texts(&cut, text, &names), rows, errors, delimiter })
    }
}

fn texts(cut: &Fields, text: &str, names: &[String]) -> RecordBatch {
    let columns: Vec<ArrayRef> = (0..names.len())
        .map(|slot| {
            let cells = cut.cells(text, slot).map(|cell| match cell {
                Cell::Text(text) => text,
                _ => "",
            });
            Arc::new(StringArray::from_iter_values(cells)) as ArrayRef
        })
        .collect();
    let fields: Vec<ArrowField> = names.iter().map(|name| ArrowField::new(name, DataType::Utf8, false)).collect();
    batch_of(ArrowSchema::new(fields), columns, cut.n_rows())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Float32Type;
    use impactiq_data::{Field, RawType};

    fn schema() -> Schema {
        let field = |name: &str, raw_type| Field { name: name.into(), raw_type };
        Schema::new(vec![field("x", RawType::Float32), field("city", RawType::Text)]).unwrap()
    }

    #[test]
    fn a_body_keeps_its_own_columns_and_gets_the_bits_of_a_file() {
        let body = b"\xEF\xBB\xBFid;city;x\n007;\"a;b\";0.1\n8;;much\n9;c;inf\n";
        let read = CsvRows::parse(body, &schema(), "the body", |_| false).unwrap();
        assert_eq!((read.texts.num_columns(), read.delimiter), (3, b';'));
        assert_eq!(read.texts.column(0).as_string::<i32>().value(0), "007");
        let x = read.rows.column(0).as_primitive::<Float32Type>();
        assert_eq!(x.value(0).to_bits(), 0.1f32.to_bits());
        assert!(x.is_null(1) && x.is_null(2) && read.rows.column(1).is_null(1));
        assert_eq!(read.errors.iter().map(|e| (e.row, e.column.as_str())).collect::<Vec<_>>(), [(1, "x"), (2, "x")]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let parse = |body: &[u8]| CsvRows::parse(body, &schema(), "the body", |_| false).map(|_| ()).unwrap_err();
        assert!(matches!(parse(b""), IoError::EmptyFile { .. }));
        assert!(matches!(parse(b"x,city\n1\n"), IoError::RaggedRow { .. }));
        assert!(parse(b"x,city\n1,\xFF\n").to_string().contains("line 2"));
        assert!(matches!(parse(b"x,town\n1,a\n"), IoError::Data(DataError::MissingColumn { .. })));
        assert!(CsvRows::parse(b"x\n1\n", &schema(), "the body", |name| name == "city").is_ok());
    }
}
