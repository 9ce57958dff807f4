//! What the training rows looked like, column by column: the summary that forms, warnings and
//! drift are made of.
//!
//! Only summaries are kept. A category is published when [`MIN_LEVEL_ROWS`] rows stand behind
//! it; rarer ones are told together. Rows that were held out have no part in it. What must not
//! live here: anything about outcomes or treatments, and rows.

use std::collections::BTreeMap;

use impactiq_data::{ColumnView, Field, MISSING_LEVEL, RawType, Seed, Stream};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The file of a model directory that holds the profile.
pub const PROFILE_FILE: &str = "profile.json";
/// Rows that must stand behind a category for it to be published.
pub const MIN_LEVEL_ROWS: u64 = 50;
/// Categories published at most.
pub const MAX_LEVELS: usize = 50;
/// Values that quantiles are taken from: right to about a tenth of a per cent.
const SAMPLE: u64 = 1 << 18;

/// The raw columns a row must bring, as they were in the training rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Training rows summarised.
    pub n_rows: u64,
    /// Columns in the schema's order; one that was always missing is left out.
    pub columns: Vec<ColumnProfile>,
}

/// A column's summary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ColumnProfile {
    /// Numbers and truth values.
    Number(NumberProfile),
    /// Days (since 1970-01-01) and moments (microseconds since then), in those units.
    Time(NumberProfile),
    /// Categories.
    Category(CategoryProfile),
}

/// A column of numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberProfile {
    /// The column.
    pub name: String,
    /// True when every value is a whole number.
    pub whole: bool,
    /// Share of the rows without a value.
    pub missing: f64,
    /// Smallest value.
    pub lower: f64,
    /// Largest value.
    pub upper: f64,
    /// The median, which is a value of the column.
    pub typical: f64,
    /// Share of the values and the value below or at which they lie: 1 %, 5 %, … 95 %, 99 %.
    pub quantiles: Vec<(f64, f64)>,
    /// The distinct quantiles, each with the share of the values up to it (ties included, so a
    /// value that many rows have gets all of them): what drift is measured between.
    pub edges: Vec<(f64, f64)>,
}

/// A column of categories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryProfile {
    /// The column.
    pub name: String,
    /// Share of the rows without a value.
    pub missing: f64,
    /// The most frequent category; `None` when none is frequent enough to be published.
    pub typical: Option<String>,
    /// Categories, the most frequent first.
    pub levels: Vec<LevelShare>,
    /// Share of the rows with any other category.
    pub other: f64,
}

/// A category and its share of the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LevelShare {
    /// The category.
    pub value: String,
    /// Its share of all rows, those without a value included.
    pub share: f64,
}

impl ColumnProfile {
    /// The column's name.
    pub fn name(&self) -> &str {
        match self {
            ColumnProfile::Number(column) | ColumnProfile::Time(column) => &column.name,
            ColumnProfile::Category(column) => &column.name,
        }
    }

    /// Share of the rows without a value.
    pub fn missing(&self) -> f64 {
        match self {
            ColumnProfile::Number(column) | ColumnProfile::Time(column) => column.missing,
            ColumnProfile::Category(column) => column.missing,
        }
    }
}

impl Profile {
    /// Summarises columns over the rows whose flag is true; the same rows give the same
    /// profile on any number of threads.
    ///
    /// # Panics
    /// When a column has another number of rows than there are flags (a bug of the caller).
    pub fn of(columns: &[(&Field, ColumnView<'_>)], used: &[bool]) -> Self {
        let n_rows = used.iter().filter(|&&used| used).count() as u64;
        let columns = columns
            .par_iter()
            .filter_map(|(field, view)| match view {
                ColumnView::Number(values) => of_numbers(field, values, used, n_rows),
                ColumnView::Category { codes, levels } => of_categories(field, codes, levels, used, n_rows),
            })
            .collect();
        Profile { n_rows, columns }
    }

    /// A column by name.
    pub fn column(&self, name: &str) -> Option<&ColumnProfile> {
        self.columns.iter().find(|column| column.name() == name)
    }
}

fn of_numbers(field: &Field, values: &[f64], used: &[bool], n_rows: u64) -> Option<ColumnProfile> {
    assert_eq!(values.len(), used.len(), "one flag per row");
    let seed = Seed::new(0).stream(Stream::Sketch);
    let threshold = if n_rows <= SAMPLE { u64::MAX } else { (SAMPLE as f64 / n_rows as f64 * u64::MAX as f64) as u64 };
    let (mut lower, mut upper, mut whole, mut n_values) = (f64::INFINITY, f64::NEG_INFINITY, true, 0u64);
    let mut sample = Vec::new();
    for (row, &value) in values.iter().enumerate() {
        if !used[row] || value.is_nan() {
            continue;
        }
        n_values += 1;
        lower = lower.min(value);
        upper = upper.max(value);
        whole &= value == value.trunc();
        if threshold == u64::MAX || seed.hash(row as u64) <= threshold {
            sample.push(value);
        }
    }
    if n_values == 0 {
        return None;
    }
    if sample.is_empty() {
        // Hardly any row has a value and chance took none of them.
        sample = vec![lower, upper];
    }
    sample.sort_unstable_by(f64::total_cmp);
    let quantiles: Vec<(f64, f64)> = shares().map(|share| (share, at(&sample, share))).collect();
    let profile = NumberProfile {
        name: field.name.clone(),
        whole,
        missing: share_of(n_rows - n_values, n_rows),
        lower,
        upper,
        typical: at(&sample, 0.5),
        edges: edges(&sample, &quantiles),
        quantiles,
    };
    Some(match field.raw_type {
        RawType::Date | RawType::Timestamp => ColumnProfile::Time(profile),
        _ => ColumnProfile::Number(profile),
    })
}

/// 1 %, 5 %, 10 % … 95 %, 99 %.
fn shares() -> impl Iterator<Item = f64> {
    std::iter::once(1).chain((1..20).map(|step| step * 5)).chain(std::iter::once(99)).map(|p| f64::from(p) / 100.0)
}

/// The smallest value with at least this share of the sorted values up to it.
fn at(sorted: &[f64], share: f64) -> f64 {
    // A hair less, so that 0.05 · 100 asks for the fifth value and not for the sixth.
    let rank = (share * sorted.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    sorted[rank.min(sorted.len()) - 1]
}

fn edges(sorted: &[f64], quantiles: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut edges: Vec<(f64, f64)> = Vec::with_capacity(quantiles.len());
    for &(_, value) in quantiles {
        if edges.last().is_none_or(|&(last, _)| last < value) {
            let up_to = sorted.partition_point(|&other| other <= value);
            edges.push((value, up_to as f64 / sorted.len() as f64));
        }
    }
    edges
}

fn of_categories(field: &Field, codes: &[u32], levels: &[String], used: &[bool], n_rows: u64) -> Option<ColumnProfile> {
    assert_eq!(codes.len(), used.len(), "one flag per row");
    let mut counts = vec![0u64; levels.len()];
    let mut n_missing = 0;
    for (&code, _) in codes.iter().zip(used).filter(|&(_, &used)| used) {
        if code == MISSING_LEVEL { n_missing += 1 } else { counts[code as usize] += 1 }
    }
    if n_missing == n_rows {
        return None;
    }
    // Levels may stand twice under different codes; by name they are one.
    let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
    for (level, &n) in levels.iter().zip(&counts).filter(|&(_, &n)| n > 0) {
        *by_name.entry(level).or_default() += n;
    }
    let mut frequent: Vec<(&str, u64)> = by_name.into_iter().filter(|&(_, n)| n >= MIN_LEVEL_ROWS).collect();
    frequent.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    frequent.truncate(MAX_LEVELS);
    let told: u64 = frequent.iter().map(|&(_, n)| n).sum();
    Some(ColumnProfile::Category(CategoryProfile {
        name: field.name.clone(),
        missing: share_of(n_missing, n_rows),
        typical: frequent.first().map(|&(value, _)| value.to_owned()),
        levels: frequent
            .iter()
            .map(|&(value, n)| LevelShare { value: value.to_owned(), share: share_of(n, n_rows) })
            .collect(),
        other: share_of(n_rows - n_missing - told, n_rows),
    }))
}

fn share_of(n: u64, of: u64) -> f64 {
    n as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(name: &str, raw_type: RawType) -> Field {
        Field { name: name.into(), raw_type }
    }

    fn of(field: &Field, view: ColumnView<'_>, used: &[bool]) -> ColumnProfile {
        Profile::of(&[(field, view)], used).columns.remove(0)
    }

    #[test]
    fn numbers_are_told_by_their_range_and_quantiles() {
        let values: Vec<f64> = (1..=100).map(f64::from).chain([f64::NAN; 25]).collect();
        let ColumnProfile::Number(column) =
            of(&field("x", RawType::Integer), ColumnView::Number(&values), &[true; 125])
        else {
            panic!("numbers")
        };
        assert_eq!((column.lower, column.upper, column.typical, column.whole), (1.0, 100.0, 50.0, true));
        assert_eq!(column.missing, 0.2);
        assert_eq!(column.quantiles.len(), 21);
        assert_eq!(
            (column.quantiles[0], column.quantiles[1], column.quantiles[20]),
            ((0.01, 1.0), (0.05, 5.0), (0.99, 99.0))
        );
        assert_eq!(column.edges[1], (5.0, 0.05));
    }

    #[test]
    fn a_value_that_many_rows_have_is_one_edge_with_all_of_its_rows() {
        let values: Vec<f64> = (0..1000).map(|row| if row < 930 { 0.0 } else { 1.0 }).collect();
        let ColumnProfile::Number(column) =
            of(&field("x", RawType::Boolean), ColumnView::Number(&values), &vec![true; 1000])
        else {
            panic!("numbers")
        };
        assert_eq!(column.edges, [(0.0, 0.93), (1.0, 1.0)]);
    }

    #[test]
    fn rows_that_were_held_out_leave_no_trace() {
        let values = [1.0, 2.0, 1e9, 3.0];
        let ColumnProfile::Number(column) =
            of(&field("x", RawType::Float64), ColumnView::Number(&values), &[true, true, false, true])
        else {
            panic!("numbers")
        };
        assert_eq!((column.upper, column.missing), (3.0, 0.0));
    }

    #[test]
    fn rare_categories_are_told_together_and_never_by_name() {
        let levels: Vec<String> = ["often", "rare", "sometimes"].map(String::from).to_vec();
        let codes: Vec<u32> =
            [vec![0; 100], vec![1; 49], vec![2; 50], vec![MISSING_LEVEL; 1]].into_iter().flatten().collect();
        let view = ColumnView::Category { codes: &codes, levels: &levels };
        let ColumnProfile::Category(column) = of(&field("c", RawType::Text), view, &[true; 200]) else {
            panic!("categories")
        };
        let told: Vec<(&str, f64)> = column.levels.iter().map(|l| (l.value.as_str(), l.share)).collect();
        assert_eq!(told, [("often", 0.5), ("sometimes", 0.25)]);
        assert_eq!((column.other, column.missing, column.typical.as_deref()), (0.245, 0.005, Some("often")));
        let text = serde_json::to_string(&column).unwrap();
        assert!(!text.contains("rare"), "{text}");
    }

    #[test]
    fn columns_that_were_always_missing_are_left_out_and_days_are_no_numbers() {
        let (none, days) = ([f64::NAN; 3], [0.0, 1.0, 2.0]);
        let fields = [field("none", RawType::Float64), field("day", RawType::Date)];
        let columns = [(&fields[0], ColumnView::Number(&none)), (&fields[1], ColumnView::Number(&days))];
        let profile = Profile::of(&columns, &[true; 3]);
        assert!(profile.column("none").is_none());
        let text = serde_json::to_string(&profile).unwrap();
        assert!(text.starts_with(r#"{"n_rows":3,"columns":[{"kind":"time","name":"day","whole":true"#), "{text}");
        assert_eq!(serde_json::from_str::<Profile>(&text).unwrap(), profile);
    }

    #[test]
    fn a_sample_of_many_rows_keeps_the_range_and_nearly_the_quantiles() {
        let n = 600_000;
        let values: Vec<f64> = (0..n).map(|row| f64::from(row) / f64::from(n)).collect();
        let ColumnProfile::Number(column) =
            of(&field("x", RawType::Float64), ColumnView::Number(&values), &vec![true; n as usize])
        else {
            panic!("numbers")
        };
        assert_eq!((column.lower, column.upper), (0.0, values[n as usize - 1]));
        assert!(column.quantiles.iter().all(|&(share, value)| (share - value).abs() < 0.005));
    }
}
