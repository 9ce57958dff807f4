//! From raw columns to numbers: standardised numbers with a missing indicator, one-hot
//! categories with capped levels. The recipe is recorded and replayed at prediction.

use std::collections::HashMap;

use impactiq_data::column::{ColumnView, MISSING_LEVEL, number_text};
use impactiq_data::{DataError, Table};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Levels of a category that get an indicator by default; the rest share one.
pub const MAX_INDICATORS: usize = 32;

/// Rows whose design numbers are held at once.
pub(super) const BLOCK: usize = 1024;

/// How one raw column becomes numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum DesignColumn {
    /// `(value − mean) / scale`, 0 where missing, and perhaps an indicator of missing.
    Number {
        /// Column name.
        name: String,
        /// Weighted mean of the training rows.
        mean: f64,
        /// Weighted standard deviation of the training rows; 1 for a constant.
        scale: f64,
        /// True when training rows were missing: adds a 0/1 column.
        missing: bool,
    },
    /// The value itself, NaN where missing: for trees, which ask whether it is at most a threshold.
    Raw {
        /// Column name.
        name: String,
    },
    /// One 0/1 column per level but the most frequent one.
    Category {
        /// Column name.
        name: String,
        /// The most frequent level: all its indicators are 0.
        reference: String,
        /// Levels with an indicator, most frequent first.
        levels: Vec<String>,
        /// True when rarer levels were seen: adds a 0/1 column that unseen levels share.
        other: bool,
        /// True when training rows were missing: adds a 0/1 column.
        missing: bool,
    },
}

impl DesignColumn {
    /// The raw column's name.
    pub fn name(&self) -> &str {
        match self {
            DesignColumn::Number { name, .. } | DesignColumn::Raw { name } | DesignColumn::Category { name, .. } => {
                name
            }
        }
    }

    /// How many numbers it becomes.
    pub fn width(&self) -> usize {
        match self {
            DesignColumn::Number { missing, .. } => 1 + usize::from(*missing),
            DesignColumn::Raw { .. } => 1,
            DesignColumn::Category { levels, other, missing, .. } => {
                levels.len() + usize::from(*other) + usize::from(*missing)
            }
        }
    }
}

/// The name under which the arm stands among features; no column of a file is called so.
pub const ARM: &str = "(arm)";

/// Where raw columns come from: a table, and perhaps the arm as one more category.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    table: &'a Table,
    arm: Option<(Vec<u32>, &'a [String])>,
}

impl<'a> Source<'a> {
    /// The columns of a table.
    pub fn new(table: &'a Table) -> Self {
        Source { table, arm: None }
    }

    /// The columns of a table and, under the name [`ARM`], arm codes with their labels.
    pub fn with_arm(table: &'a Table, codes: &[u8], labels: &'a [String]) -> Self {
        Source { table, arm: Some((codes.iter().map(|&code| u32::from(code)).collect(), labels)) }
    }

    /// A column by name.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`].
    pub fn column(&self, name: &str) -> Result<ColumnView<'_>, DataError> {
        match &self.arm {
            Some((codes, levels)) if name == ARM => Ok(ColumnView::Category { codes, levels }),
            _ => self.table.column(name),
        }
    }
}

/// The recipe of a design matrix: an intercept, then each column's numbers in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Design {
    columns: Vec<DesignColumn>,
}

impl Design {
    /// Learns the recipe from `rows` of the named columns; `weights` are indexed by row of
    /// the source.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`].
    pub fn learn(
        source: &Source<'_>,
        names: &[String],
        rows: &[u32],
        weights: Option<&[f64]>,
        max_indicators: usize,
    ) -> Result<Self, DataError> {
        let number = |name: &str, values: &[f64]| learn_number(name, values, rows, weights);
        Design::learned(source, names, (rows, weights), max_indicators, number)
    }

    /// As [`Design::learn`], but numbers stay as they are, missing ones too.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`].
    pub fn learn_raw(
        source: &Source<'_>,
        names: &[String],
        rows: &[u32],
        weights: Option<&[f64]>,
        max_indicators: usize,
    ) -> Result<Self, DataError> {
        let number = |name: &str, _: &[f64]| DesignColumn::Raw { name: name.to_owned() };
        Design::learned(source, names, (rows, weights), max_indicators, number)
    }

    fn learned(
        source: &Source<'_>,
        names: &[String],
        (rows, weights): (&[u32], Option<&[f64]>),
        max_indicators: usize,
        number: impl Fn(&str, &[f64]) -> DesignColumn,
    ) -> Result<Self, DataError> {
        let learn = |name: &String| {
            Ok(match source.column(name)? {
                ColumnView::Number(values) => number(name, values),
                ColumnView::Category { codes, levels } => {
                    learn_category(name, (codes, levels), rows, weights, max_indicators)
                }
            })
        };
        Ok(Design { columns: names.iter().map(learn).collect::<Result<_, DataError>>()? })
    }

    /// A recipe from its columns, checked.
    ///
    /// # Errors
    /// The problem in words: a repeated column, or numbers that are not finite.
    pub fn from_columns(columns: Vec<DesignColumn>) -> Result<Self, String> {
        let mut names: Vec<&str> = columns.iter().map(DesignColumn::name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("column '{}' stands twice", pair[0]));
        }
        for column in &columns {
            if let DesignColumn::Number { name, mean, scale, .. } = column
                && !(mean.is_finite() && scale.is_finite() && *scale > 0.0)
            {
                return Err(format!("column '{name}' has the mean {mean} and the scale {scale}"));
            }
        }
        Ok(Design { columns })
    }

    /// Whether a row without a value can come out as NaN, which sums of products cannot stand.
    pub fn keeps_missing(&self) -> bool {
        self.columns.iter().any(|column| matches!(column, DesignColumn::Raw { .. }))
    }

    /// The recipe's columns.
    pub fn columns(&self) -> &[DesignColumn] {
        &self.columns
    }

    /// Numbers per row, the intercept included.
    pub fn width(&self) -> usize {
        1 + self.columns.iter().map(DesignColumn::width).sum::<usize>()
    }

    /// Ties the recipe to the columns of a source.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`].
    pub fn bind<'a>(&'a self, source: &'a Source<'a>) -> Result<BoundDesign<'a>, DataError> {
        let parts = self
            .columns
            .iter()
            .map(|column| {
                let view = source.column(column.name())?;
                Ok(bind_column(column, view))
            })
            .collect::<Result<_, DataError>>()?;
        Ok(BoundDesign { parts, width: self.width() })
    }
}

fn weight(weights: Option<&[f64]>, row: u32) -> f64 {
    weights.map_or(1.0, |w| w[row as usize])
}

fn learn_number(name: &str, values: &[f64], rows: &[u32], weights: Option<&[f64]>) -> DesignColumn {
    let (mut total, mut sum, mut missing) = (0.0, 0.0, false);
    for &row in rows {
        let value = values[row as usize];
        if value.is_nan() {
            missing = true;
        } else {
            let w = weight(weights, row);
            total += w;
            sum += w * value;
        }
    }
    let mean = if total > 0.0 { sum / total } else { 0.0 };
    let mut squares = 0.0;
    for &row in rows {
        let value = values[row as usize];
        if !value.is_nan() {
            squares += weight(weights, row) * (value - mean) * (value - mean);
        }
    }
    let sd = if total > 0.0 { (squares / total).sqrt() } else { 0.0 };
    // A constant column keeps scale 1: rounding noise must not be blown up to size one.
    let scale = if sd > 1e-12 * mean.abs().max(1e-300) && sd.is_finite() { sd } else { 1.0 };
    DesignColumn::Number { name: name.to_owned(), mean, scale, missing }
}

fn learn_category(
    name: &str,
    (codes, levels): (&[u32], &[String]),
    rows: &[u32],
    weights: Option<&[f64]>,
    max_indicators: usize,
) -> DesignColumn {
    let mut totals = vec![0.0; levels.len()];
    let mut missing = false;
    for &row in rows {
        match codes[row as usize] {
            MISSING_LEVEL => missing = true,
            code => totals[code as usize] += weight(weights, row),
        }
    }
    let mut order: Vec<usize> = (0..levels.len()).filter(|&level| totals[level] > 0.0).collect();
    order.sort_by(|&a, &b| totals[b].total_cmp(&totals[a]).then_with(|| levels[a].cmp(&levels[b])));
    let mut kept = order.iter().map(|&level| levels[level].clone());
    let reference = kept.next().unwrap_or_default();
    let levels: Vec<String> = kept.by_ref().take(max_indicators).collect();
    DesignColumn::Category { name: name.to_owned(), reference, levels, other: kept.next().is_some(), missing }
}

/// A recipe tied to a table's columns.
pub struct BoundDesign<'a> {
    parts: Vec<Part<'a>>,
    width: usize,
}

enum Part<'a> {
    Number {
        values: &'a [f64],
        mean: f64,
        scale: f64,
        missing: bool,
    },
    Raw {
        values: &'a [f64],
    },
    /// Text given where raw numbers were learned.
    RawParsed {
        codes: &'a [u32],
        values: Vec<f64>,
    },
    /// `slot[code]` is the indicator of a level; the last one is for missing; `NONE`: all 0.
    Category {
        codes: &'a [u32],
        slot: Vec<u32>,
        width: usize,
    },
    /// Text given where numbers were learned: parsed once per level.
    Parsed {
        codes: &'a [u32],
        values: Vec<f64>,
        mean: f64,
        scale: f64,
        missing: bool,
    },
    /// Numbers given where names were learned.
    Named {
        values: &'a [f64],
        by_name: HashMap<&'a str, u32>,
        unseen: u32,
        absent: u32,
        width: usize,
    },
}

const NONE: u32 = u32::MAX;

fn parsed(levels: &[String]) -> Vec<f64> {
    levels.iter().map(|text| text.trim().parse().unwrap_or(f64::NAN)).collect()
}

fn bind_column<'a>(column: &'a DesignColumn, view: ColumnView<'a>) -> Part<'a> {
    match (column, view) {
        (DesignColumn::Number { mean, scale, missing, .. }, ColumnView::Number(values)) => {
            Part::Number { values, mean: *mean, scale: *scale, missing: *missing }
        }
        (DesignColumn::Number { mean, scale, missing, .. }, ColumnView::Category { codes, levels }) => {
            Part::Parsed { codes, values: parsed(levels), mean: *mean, scale: *scale, missing: *missing }
        }
        (DesignColumn::Raw { .. }, ColumnView::Number(values)) => Part::Raw { values },
        (DesignColumn::Raw { .. }, ColumnView::Category { codes, levels }) => {
            Part::RawParsed { codes, values: parsed(levels) }
        }
        (DesignColumn::Category { reference, levels, other, missing, .. }, view) => {
            let mut by_name: HashMap<&str, u32> =
                levels.iter().enumerate().map(|(slot, name)| (name.as_str(), slot as u32)).collect();
            by_name.insert(reference, NONE);
            let unseen = if *other { levels.len() as u32 } else { NONE };
            let absent = if *missing { (levels.len() + usize::from(*other)) as u32 } else { unseen };
            let width = column.width();
            match view {
                ColumnView::Category { codes, levels: seen } => {
                    let mut slot: Vec<u32> =
                        seen.iter().map(|name| *by_name.get(name.as_str()).unwrap_or(&unseen)).collect();
                    slot.push(absent);
                    Part::Category { codes, slot, width }
                }
                ColumnView::Number(values) => Part::Named { values, by_name, unseen, absent, width },
            }
        }
    }
}

impl BoundDesign<'_> {
    /// Numbers per row, the intercept included.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Writes the numbers of some rows, column by column: `out[j * rows.len() + i]`.
    ///
    /// # Panics
    /// When `out` is shorter than `width × rows.len()` (a bug of the caller).
    pub fn fill(&self, rows: &[u32], out: &mut [f64]) {
        let n = rows.len();
        out[..n].fill(1.0);
        let mut at = n;
        for part in &self.parts {
            at += part.fill(rows, &mut out[at..]);
        }
    }

    /// Answers for all rows (`out.len()` of them), or for those at `rows`, block by block:
    /// `answer(x, out)` sees the numbers of a block as [`BoundDesign::fill`] writes them.
    pub fn answer(&self, rows: Option<&[u32]>, out: &mut [f64], answer: impl Fn(&[f64], &mut [f64]) + Sync) {
        out.par_chunks_mut(BLOCK).enumerate().for_each(|(block, out)| {
            let range = block * BLOCK..block * BLOCK + out.len();
            let all: Vec<u32>;
            let rows = match rows {
                Some(rows) => &rows[range],
                None => {
                    all = range.map(|row| row as u32).collect();
                    &all
                }
            };
            let mut x = vec![0.0; self.width * rows.len()];
            self.fill(rows, &mut x);
            answer(&x, out);
        });
    }
}

impl Part<'_> {
    fn fill(&self, rows: &[u32], out: &mut [f64]) -> usize {
        let n = rows.len();
        match self {
            Part::Number { values, mean, scale, missing } => {
                standardise(rows, |row| values[row], (*mean, *scale, *missing), out)
            }
            Part::Raw { values } => copied(rows, |row| values[row], out),
            Part::RawParsed { codes, values } => {
                copied(rows, |row| values.get(codes[row] as usize).copied().unwrap_or(f64::NAN), out)
            }
            Part::Parsed { codes, values, mean, scale, missing } => standardise(
                rows,
                |row| values.get(codes[row] as usize).copied().unwrap_or(f64::NAN),
                (*mean, *scale, *missing),
                out,
            ),
            Part::Category { codes, slot, width } => {
                let last = slot.len() - 1;
                indicate(rows, |row| slot[(codes[row] as usize).min(last)], &mut out[..width * n])
            }
            Part::Named { values, by_name, unseen, absent, width } => indicate(
                rows,
                |row| match values[row] {
                    value if value.is_nan() => *absent,
                    value => *by_name.get(number_text(value).as_str()).unwrap_or(unseen),
                },
                &mut out[..width * n],
            ),
        }
    }
}

fn copied(rows: &[u32], value: impl Fn(usize) -> f64, out: &mut [f64]) -> usize {
    out.iter_mut().zip(rows).for_each(|(out, &row)| *out = value(row as usize));
    rows.len()
}

fn standardise(
    rows: &[u32],
    value: impl Fn(usize) -> f64,
    (mean, scale, missing): (f64, f64, bool),
    out: &mut [f64],
) -> usize {
    let n = rows.len();
    let (numbers, rest) = out.split_at_mut(n);
    for (out, &row) in numbers.iter_mut().zip(rows) {
        let value = value(row as usize);
        *out = if value.is_nan() { 0.0 } else { (value - mean) / scale };
    }
    if !missing {
        return n;
    }
    for (out, &row) in rest[..n].iter_mut().zip(rows) {
        *out = f64::from(u8::from(value(row as usize).is_nan()));
    }
    2 * n
}

fn indicate(rows: &[u32], slot: impl Fn(usize) -> u32, out: &mut [f64]) -> usize {
    let n = rows.len();
    out.fill(0.0);
    for (i, &row) in rows.iter().enumerate() {
        let slot = slot(row as usize);
        if slot != NONE {
            out[slot as usize * n + i] = 1.0;
        }
    }
    out.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::Column;

    fn table() -> Table {
        let mut table = Table::new();
        table.push("x", Column::Number(vec![1.0, 3.0, f64::NAN, 5.0])).unwrap();
        let levels = vec!["a".to_string(), "b".into(), "c".into()];
        table.push("g", Column::Category { codes: vec![1, 1, 0, MISSING_LEVEL], levels }).unwrap();
        table
    }

    #[test]
    fn numbers_are_standardised_and_categories_drop_their_most_frequent_level() {
        let table = table();
        let design = Design::learn(&Source::new(&table), &["x".into(), "g".into()], &[0, 1, 2, 3], None, 8).unwrap();
        assert_eq!(design.width(), 5);
        let mut out = vec![0.0; 20];
        design.bind(&Source::new(&table)).unwrap().fill(&[0, 1, 2, 3], &mut out);
        let sd = (8.0f64 / 3.0).sqrt();
        assert_eq!(out[..4], [1.0; 4]);
        for (found, wanted) in out[4..8].iter().zip([-2.0 / sd, 0.0, 0.0, 2.0 / sd]) {
            assert!((found - wanted).abs() < 1e-12);
        }
        assert_eq!(out[8..12], [0.0, 0.0, 1.0, 0.0]);
        assert_eq!(out[12..16], [0.0, 0.0, 1.0, 0.0]);
        assert_eq!(out[16..20], [0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn a_raw_design_keeps_numbers_and_their_gaps() {
        let table = table();
        let names = ["x".to_string(), "g".into()];
        let design = Design::learn_raw(&Source::new(&table), &names, &[0, 1, 2, 3], None, 8).unwrap();
        assert!(design.keeps_missing());
        let mut out = vec![0.0; 4 * design.width()];
        design.bind(&Source::new(&table)).unwrap().fill(&[0, 1, 2, 3], &mut out);
        assert_eq!((out[4], out[5], out[6].is_nan(), out[7]), (1.0, 3.0, true, 5.0));
        assert_eq!(out[8..12], [0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn levels_never_seen_share_the_column_of_rare_levels() {
        let table = table();
        let design = Design::learn(&Source::new(&table), &["g".into()], &[0, 1, 2], None, 0).unwrap();
        let mut later = Table::new();
        let levels = vec!["new".to_string(), "b".into()];
        later.push("g", Column::Category { codes: vec![0, 1, MISSING_LEVEL], levels }).unwrap();
        let mut out = vec![0.0; 6];
        design.bind(&Source::new(&later)).unwrap().fill(&[0, 1, 2], &mut out);
        assert_eq!(out[3..], [1.0, 0.0, 1.0]);
    }

    #[test]
    fn numbers_given_for_names_and_names_for_numbers_are_matched_by_text() {
        let mut learned = Table::new();
        let levels = vec!["1".to_string(), "2".into()];
        learned.push("g", Column::Category { codes: vec![0, 0, 1], levels }).unwrap();
        learned.push("x", Column::Number(vec![0.0, 2.0, 4.0])).unwrap();
        let design = Design::learn(&Source::new(&learned), &["g".into(), "x".into()], &[0, 1, 2], None, 8).unwrap();
        let mut later = Table::new();
        later.push("g", Column::Number(vec![2.0, 1.0])).unwrap();
        later.push("x", Column::Category { codes: vec![0, 0], levels: vec!["2".into()] }).unwrap();
        let mut out = vec![9.0; 6];
        design.bind(&Source::new(&later)).unwrap().fill(&[0, 1], &mut out);
        assert_eq!(out, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    }
}
