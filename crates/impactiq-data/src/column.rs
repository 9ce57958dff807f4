//! One column of raw values: numbers, or categories by level.
//!
//! Numbers are `f64` with NaN for missing: every integer that a marketer counts and
//! every `f32` fits exactly. Infinite values never get here (the doors refuse them).
//! Identifiers stay with the door that read them; they are not columns of a [`crate::Table`].

/// The level code of a missing category.
pub const MISSING_LEVEL: u32 = u32::MAX;

/// An owned column.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Numbers; NaN is missing.
    Number(Vec<f64>),
    /// Categories: a code per row into `levels`; [`MISSING_LEVEL`] is missing.
    Category {
        /// One code per row.
        codes: Vec<u32>,
        /// Distinct values, in order of first appearance.
        levels: Vec<String>,
    },
}

/// A borrowed column, or a borrowed part of one.
#[derive(Clone, Copy, Debug)]
pub enum ColumnView<'a> {
    /// Numbers; NaN is missing.
    Number(&'a [f64]),
    /// Categories: a code per row into `levels`; [`MISSING_LEVEL`] is missing.
    Category {
        /// One code per row.
        codes: &'a [u32],
        /// Distinct values.
        levels: &'a [String],
    },
}

impl Column {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Borrows the whole column.
    pub fn view(&self) -> ColumnView<'_> {
        match self {
            Column::Number(values) => ColumnView::Number(values),
            Column::Category { codes, levels } => ColumnView::Category { codes, levels },
        }
    }

    /// The values of some rows, in the order given; levels stay.
    ///
    /// # Panics
    /// When a row does not exist (a bug of the caller).
    pub fn subset(&self, rows: &[u32]) -> Column {
        match self {
            Column::Number(values) => Column::Number(rows.iter().map(|&row| values[row as usize]).collect()),
            Column::Category { codes, levels } => Column::Category {
                codes: rows.iter().map(|&row| codes[row as usize]).collect(),
                levels: levels.clone(),
            },
        }
    }

    /// Keeps the rows whose flag is true.
    pub fn filter(&mut self, keep: &[bool]) {
        fn retain<T: Copy>(values: &mut Vec<T>, keep: &[bool]) {
            let mut row = 0;
            values.retain(|_| {
                row += 1;
                keep[row - 1]
            });
        }
        match self {
            Column::Number(values) => retain(values, keep),
            Column::Category { codes, .. } => retain(codes, keep),
        }
    }
}

impl<'a> ColumnView<'a> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            ColumnView::Number(values) => values.len(),
            ColumnView::Category { codes, .. } => codes.len(),
        }
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers, if this is a number column.
    pub fn numbers(&self) -> Option<&'a [f64]> {
        match self {
            ColumnView::Number(values) => Some(values),
            ColumnView::Category { .. } => None,
        }
    }

    /// True where the row has no value.
    pub fn is_missing(&self, row: usize) -> bool {
        match self {
            ColumnView::Number(values) => values[row].is_nan(),
            ColumnView::Category { codes, .. } => codes[row] == MISSING_LEVEL,
        }
    }

    /// The value of a row as a person would write it; `None` when missing.
    pub fn text(&self, row: usize) -> Option<String> {
        if self.is_missing(row) {
            return None;
        }
        Some(match self {
            ColumnView::Number(values) => number_text(values[row]),
            ColumnView::Category { codes, levels } => levels[codes[row] as usize].clone(),
        })
    }
}

/// Writes a number the way a person would: whole numbers without a decimal point.
///
/// ```
/// assert_eq!(impactiq_data::column::number_text(1.0), "1");
/// assert_eq!(impactiq_data::column::number_text(0.25), "0.25");
/// ```
pub fn number_text(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e15 { format!("{}", value as i64) } else { format!("{value}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_keeps_order_and_text_tells_missing() {
        let mut column = Column::Category { codes: vec![0, MISSING_LEVEL, 1, 0], levels: vec!["a".into(), "b".into()] };
        column.filter(&[true, true, true, false]);
        assert_eq!(column.len(), 3);
        assert_eq!(column.view().text(0).as_deref(), Some("a"));
        assert_eq!(column.view().text(1), None);
        assert_eq!(column.view().text(2).as_deref(), Some("b"));
        assert_eq!(Column::Number(vec![f64::NAN, 2.0]).view().text(1).as_deref(), Some("2"));
    }
}
