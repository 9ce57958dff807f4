//! A table: named columns of equal length, in memory, free of any file format.

use crate::column::{Column, ColumnView};
use crate::error::DataError;

/// Named columns of equal length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    names: Vec<String>,
    columns: Vec<Column>,
    n_rows: usize,
}

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Table::default()
    }

    /// Adds a column.
    ///
    /// # Errors
    /// [`DataError::DuplicateColumn`] for a name that is taken, [`DataError::Length`]
    /// for a column of another length.
    pub fn push(&mut self, name: impl Into<String>, column: Column) -> Result<(), DataError> {
        let name = name.into();
        if self.names.contains(&name) {
            return Err(DataError::DuplicateColumn { column: name });
        }
        if self.columns.is_empty() {
            self.n_rows = column.len();
        } else if column.len() != self.n_rows {
            return Err(DataError::Length { what: name, expected: self.n_rows, found: column.len() });
        }
        self.names.push(name);
        self.columns.push(column);
        Ok(())
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Column names in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Columns in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Borrows a column by name.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`] with the closest name.
    pub fn column(&self, name: &str) -> Result<ColumnView<'_>, DataError> {
        match self.names.iter().position(|n| n == name) {
            Some(index) => Ok(self.columns[index].view()),
            None => Err(DataError::missing_column(name, &self.names)),
        }
    }

    /// Takes a column out of the table; its memory moves to the caller.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`] with the closest name.
    pub fn take(&mut self, name: &str) -> Result<Column, DataError> {
        match self.names.iter().position(|n| n == name) {
            Some(index) => {
                self.names.remove(index);
                Ok(self.columns.remove(index))
            }
            None => Err(DataError::missing_column(name, &self.names)),
        }
    }

    /// The same columns for some rows, in the order given.
    ///
    /// # Panics
    /// When a row does not exist (a bug of the caller).
    pub fn subset(&self, rows: &[u32]) -> Table {
        let columns = self.columns.iter().map(|column| column.subset(rows)).collect();
        Table { names: self.names.clone(), columns, n_rows: rows.len() }
    }

    /// Keeps the rows whose flag is true.
    pub fn filter(&mut self, keep: &[bool]) {
        for column in &mut self.columns {
            column.filter(keep);
        }
        self.n_rows = keep.iter().filter(|&&k| k).count();
    }
}
