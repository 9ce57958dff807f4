//! A dataset: everything a learner sees of the rows, checked and binned once.

mod subset;

use rayon::prelude::*;

use crate::bin_columns::{BinColumns, FeatureKind};
use crate::bins::{FeatureBins, MAX_CODES, SampledRows};
use crate::column::{Column, ColumnView, MISSING_LEVEL, number_text};
use crate::dose::{Dose, is_zero_one};
use crate::error::DataError;
use crate::roles::Roles;
use crate::seed::{Seed, Stream};
use crate::table::Table;
use crate::treatment::{Arms, Treatment};

/// Bin codes of the features in memory, with how they were made.
#[derive(Clone, Debug, PartialEq)]
pub struct BinnedFeatures {
    names: Vec<String>,
    bins: Vec<FeatureBins>,
    codes: Vec<Vec<u8>>,
    n_rows: usize,
    n_other: Vec<u64>,
}

impl BinnedFeatures {
    /// Learns bins from the named columns of a table and encodes them.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`].
    pub fn learn(table: &Table, names: &[String], seed: Seed, max_codes: usize) -> Result<Self, DataError> {
        let views = names.iter().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
        let seed = seed.stream(Stream::Sketch);
        let sampled = SampledRows::new(seed, table.n_rows());
        let bins: Vec<FeatureBins> =
            views.par_iter().map(|&view| FeatureBins::learn_sampled(view, &sampled, max_codes)).collect();
        Self::encode_views(names, &bins, &views)
    }

    /// Encodes the named columns of a table with bins that exist already.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`].
    pub fn encode(table: &Table, names: &[String], bins: &[FeatureBins]) -> Result<Self, DataError> {
        let views = names.iter().map(|name| table.column(name)).collect::<Result<Vec<_>, _>>()?;
        Self::encode_views(names, bins, &views)
    }

    fn encode_views(names: &[String], bins: &[FeatureBins], views: &[ColumnView<'_>]) -> Result<Self, DataError> {
        let n_rows = views.first().map_or(0, ColumnView::len);
        let encoded: Vec<(Vec<u8>, u64)> = views
            .par_iter()
            .zip(bins)
            .map(|(&view, bins)| {
                let mut codes = vec![0; n_rows];
                let n_other = bins.encode(view, &mut codes);
                (codes, n_other)
            })
            .collect();
        let (codes, n_other) = encoded.into_iter().unzip();
        Ok(BinnedFeatures { names: names.to_vec(), bins: bins.to_vec(), codes, n_rows, n_other })
    }

    /// The same features for some rows, in the order given.
    ///
    /// # Panics
    /// When a row does not exist (a bug of the caller).
    pub fn subset(&self, rows: &[u32]) -> Self {
        let codes = self.codes.par_iter().map(|codes| rows.iter().map(|&row| codes[row as usize]).collect()).collect();
        BinnedFeatures {
            names: self.names.clone(),
            bins: self.bins.clone(),
            codes,
            n_rows: rows.len(),
            n_other: self.n_other.clone(),
        }
    }

    /// Feature names in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How each feature is encoded.
    pub fn bins(&self) -> &[FeatureBins] {
        &self.bins
    }

    /// Per feature: rows whose level has no code of its own.
    pub fn n_other(&self) -> &[u64] {
        &self.n_other
    }
}

impl BinColumns for BinnedFeatures {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn n_features(&self) -> usize {
        self.codes.len()
    }

    fn kind(&self, feature: usize) -> FeatureKind {
        self.bins[feature].kind()
    }

    fn n_codes(&self, feature: usize) -> usize {
        self.bins[feature].n_codes()
    }

    fn codes(&self, feature: usize) -> &[u8] {
        &self.codes[feature]
    }
}

/// Parts of a dose's range that folds and hold-outs balance.
const DOSE_STRATA: usize = 4;

/// Rows that both parts of a stratum must have for a rare outcome to divide it.
pub const MIN_STRATUM_ROWS: usize = 10;

/// What kind of numbers an outcome is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Only 0 and 1.
    Binary,
    /// Whole numbers from 0 up.
    Count,
    /// Anything else.
    Continuous,
}

/// An outcome: a number per row, none missing, not all equal.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Column name.
    pub name: String,
    /// Kind of numbers.
    pub kind: OutcomeKind,
    /// A value per row.
    pub values: Vec<f64>,
}

impl Outcome {
    /// True for a binary outcome whose mean is below 5 % or above 95 %.
    fn is_rare(&self) -> bool {
        let mean = self.values.iter().sum::<f64>() / self.values.len().max(1) as f64;
        self.kind == OutcomeKind::Binary && !(0.05..=0.95).contains(&mean)
    }
}

/// How rows came to their arms.
#[derive(Clone, Debug, PartialEq)]
pub enum Assignment {
    /// Randomised with one known probability per arm (by code, summing to 1).
    PerArm(Vec<f64>),
    /// Randomised with known probabilities per row: one vector of n per arm.
    PerRow(Vec<Vec<f64>>),
    /// Randomised with unknown, constant probabilities: the arms' shares are used.
    Shares,
    /// Not randomised: propensities are learned out-of-fold.
    Observational,
}

/// Everything a learner sees of the rows. All vectors have n entries in row order.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The number of each row in its source, counted from 0 before any filter: the key of
    /// every membership hash.
    pub row_ids: Vec<u64>,
    /// Features, binned; columns after `n_modifiers` are controls (nuisances only).
    pub features: BinnedFeatures,
    /// How many of the features may modify the effect; the rest are controls.
    pub n_modifiers: usize,
    /// The features' raw columns, for linear stages and balance.
    pub raw: Table,
    /// Outcomes.
    pub outcomes: Vec<Outcome>,
    /// Arms. With a dose there are none, neither labels nor codes: code that is about arms finds
    /// nothing to loop over, and an index into them is a panic rather than a wrong number.
    pub treatment: Treatment,
    /// The dose, in place of arms.
    pub dose: Option<Dose>,
    /// How rows came to their arms.
    pub assignment: Assignment,
    /// Row weights, positive and finite.
    pub weights: Option<Vec<f64>>,
    /// Cluster code per row; a row without a value is a cluster of its own.
    pub clusters: Option<Vec<u32>>,
    /// Fixed fold value per row.
    pub fixed_folds: Option<Vec<u32>>,
    /// The instrument.
    pub instrument: Option<Vec<f64>>,
}

/// What [`DatasetBuilder`] needs beyond the table.
#[derive(Clone, Debug)]
pub struct DatasetBuilder<'a> {
    /// Resolved roles.
    pub roles: &'a Roles,
    /// The number of each table row in its source, counted from 0.
    pub row_ids: Vec<u64>,
    /// The declared assignment. `PerRow` is not expected here: it is read from
    /// `roles.probability` (the probability of the treated arm; two arms only).
    pub assignment: Assignment,
    /// Value codes per feature, 2 to 255.
    pub max_codes: usize,
    /// Seed of the sketches.
    pub seed: Seed,
}

impl<'a> DatasetBuilder<'a> {
    /// A builder with default bins.
    pub fn new(roles: &'a Roles, row_ids: Vec<u64>, seed: Seed) -> Self {
        DatasetBuilder { roles, row_ids, assignment: Assignment::Shares, max_codes: MAX_CODES, seed }
    }

    /// The dose without arms, or the arms without a dose.
    fn exposure(&self, table: &Table) -> Result<(Option<Dose>, Treatment), DataError> {
        let (roles, at) = (self.roles, |row: usize| self.row_ids[row] + 1);
        let Some(name) = &roles.dose else {
            let column = table.column(&roles.treatment)?;
            return Ok((None, Treatment::from_column(&roles.treatment, column, &roles.control, at)?));
        };
        let values = checked(name, "dose", table.column(name)?, &at, "doses must be finite", |_| true)?;
        Ok((Some(Dose::new(name, values)?), Treatment { arms: Arms::new(Vec::new()), codes: Vec::new() }))
    }

    /// Checks every role and bins the features. The table's feature columns move into
    /// [`Dataset::raw`].
    ///
    /// # Errors
    /// Any [`DataError`] about a missing, constant, textual or out-of-range column.
    pub fn build(self, mut table: Table) -> Result<Dataset, DataError> {
        let roles = self.roles;
        let n = table.n_rows();
        if n == 0 {
            return Err(DataError::NoRows { after: None });
        }
        if self.row_ids.len() != n {
            return Err(DataError::Length { what: "row numbers".into(), expected: n, found: self.row_ids.len() });
        }
        let at = |row: usize| self.row_ids[row] + 1;
        let (dose, treatment) = self.exposure(&table)?;
        let outcomes =
            roles.outcomes.iter().map(|name| outcome(name, table.column(name)?, &at)).collect::<Result<Vec<_>, _>>()?;
        let weights = match &roles.weight {
            None => None,
            Some(name) => {
                Some(checked(name, "weight", table.column(name)?, &at, "weights must be positive", |w| w > 0.0)?)
            }
        };
        let instrument = match &roles.instrument {
            None => None,
            Some(name) => Some(instrument(name, table.column(name)?, &at)?),
        };
        let clusters = roles.cluster.as_ref().map(|name| Ok(clusters_of(table.column(name)?)));
        let fixed_folds = roles.fold.as_ref().map(|name| codes_of(name, "fold", table.column(name)?, &at));
        let assignment = match &roles.probability {
            None => self.assignment,
            Some(name) => per_row(name, table.column(name)?, &treatment.arms, &at)?,
        };
        if let Assignment::PerArm(probabilities) = &assignment {
            check_per_arm(probabilities, &treatment.arms)?;
        }
        let names: Vec<String> = roles.features.iter().chain(&roles.controls).cloned().collect();
        let features = BinnedFeatures::learn(&table, &names, self.seed, self.max_codes)?;
        let mut raw = Table::new();
        for name in &names {
            raw.push(name.clone(), table.take(name)?)?;
        }
        Ok(Dataset {
            features,
            n_modifiers: roles.features.len(),
            raw,
            outcomes,
            treatment,
            dose,
            assignment,
            weights,
            clusters: clusters.transpose()?,
            fixed_folds: fixed_folds.transpose()?,
            instrument,
            row_ids: self.row_ids,
        })
    }
}

impl Dataset {
    /// Number of rows n.
    pub fn n_rows(&self) -> usize {
        self.row_ids.len()
    }

    /// An outcome by name.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`].
    pub fn outcome(&self, name: &str) -> Result<&Outcome, DataError> {
        self.outcomes.iter().find(|o| o.name == name).ok_or_else(|| {
            DataError::missing_column(name, &self.outcomes.iter().map(|o| o.name.clone()).collect::<Vec<_>>())
        })
    }

    /// Strata that folds and hold-outs balance: the arm (or the quarter of the dose), crossed with every rare binary outcome
    /// (mean below 5 % or above 95 %) in order, wherever both parts of a stratum then have
    /// [`MIN_STRATUM_ROWS`] rows: a handful of rows is dealt out no better alone than with others.
    pub fn strata(&self) -> Vec<u32> {
        let mut strata: Vec<u32> = match &self.dose {
            Some(dose) => dose.strata(DOSE_STRATA),
            None => self.treatment.codes.iter().map(|&code| u32::from(code)).collect(),
        };
        let mut n_strata = strata.iter().max().map_or(0, |&last| last as usize + 1);
        for outcome in self.outcomes.iter().filter(|outcome| outcome.is_rare()) {
            let mut counts = vec![[0usize; 2]; n_strata];
            for (&stratum, &value) in strata.iter().zip(&outcome.values) {
                counts[stratum as usize][usize::from(value > 0.5)] += 1;
            }
            // Events of a stratum that is divided become a stratum of their own.
            let mut of_events: Vec<Option<u32>> = vec![None; n_strata];
            for (counts, events) in counts.iter().zip(&mut of_events) {
                if counts.iter().all(|&n| n >= MIN_STRATUM_ROWS) {
                    *events = Some(n_strata as u32);
                    n_strata += 1;
                }
            }
            for (stratum, &value) in strata.iter_mut().zip(&outcome.values) {
                if let Some(events) = of_events[*stratum as usize].filter(|_| value > 0.5) {
                    *stratum = events;
                }
            }
        }
        strata
    }
}

fn numbers<'t>(
    name: &str,
    role: &'static str,
    column: ColumnView<'t>,
    at: &impl Fn(usize) -> u64,
) -> Result<&'t [f64], DataError> {
    let values = match column {
        ColumnView::Number(values) => values,
        ColumnView::Category { codes, levels } => {
            // One word makes a column of numbers a column of text: the word is what must be named.
            let is_word = |code: &u32| levels.get(*code as usize).is_some_and(|level| level.parse::<f64>().is_err());
            let row = codes.iter().position(is_word).unwrap_or_default();
            let value = levels.get(codes[row] as usize).cloned().unwrap_or_default();
            return Err(DataError::NotANumber { column: name.to_owned(), role, value, row: at(row) });
        }
    };
    let mut missing = values.iter().enumerate().filter(|(_, value)| value.is_nan());
    if let Some((first, _)) = missing.next() {
        return Err(DataError::MissingValues {
            column: name.to_owned(),
            role,
            n_missing: 1 + missing.count(),
            first_row: at(first),
        });
    }
    Ok(values)
}

fn checked(
    name: &str,
    role: &'static str,
    column: ColumnView<'_>,
    at: &impl Fn(usize) -> u64,
    allowed: &str,
    valid: impl Fn(f64) -> bool,
) -> Result<Vec<f64>, DataError> {
    let values = numbers(name, role, column, at)?;
    match values.iter().position(|&value| !value.is_finite() || !valid(value)) {
        None => Ok(values.to_vec()),
        Some(row) => Err(DataError::BadValue {
            column: name.to_owned(),
            role,
            value: number_text(values[row]),
            row: at(row),
            allowed: allowed.to_owned(),
        }),
    }
}

fn instrument(name: &str, column: ColumnView<'_>, at: &impl Fn(usize) -> u64) -> Result<Vec<f64>, DataError> {
    let values = checked(name, "instrument", column, at, "it must be finite", |_| true)?;
    let first = values[0];
    if values.iter().all(|&value| value == first) {
        return Err(DataError::Constant { column: name.to_owned(), role: "instrument", value: number_text(first) });
    }
    Ok(values)
}

fn outcome(name: &str, column: ColumnView<'_>, at: &impl Fn(usize) -> u64) -> Result<Outcome, DataError> {
    let values = checked(name, "outcome", column, at, "outcomes must be finite", |_| true)?;
    let first = values[0];
    if values.iter().all(|&value| value == first) {
        return Err(DataError::Constant { column: name.to_owned(), role: "outcome", value: number_text(first) });
    }
    let kind = if is_zero_one(&values) {
        OutcomeKind::Binary
    } else if values.iter().all(|&value| value >= 0.0 && value.fract() == 0.0) {
        OutcomeKind::Count
    } else {
        OutcomeKind::Continuous
    };
    Ok(Outcome { name: name.to_owned(), kind, values })
}

/// Turns any column into codes of its distinct values, in order of value or name.
fn codes_of(
    name: &str,
    role: &'static str,
    column: ColumnView<'_>,
    at: &impl Fn(usize) -> u64,
) -> Result<Vec<u32>, DataError> {
    let n_missing = (0..column.len()).filter(|&row| column.is_missing(row)).count();
    if n_missing > 0 {
        let first = (0..column.len()).find(|&row| column.is_missing(row)).unwrap_or_default();
        return Err(DataError::MissingValues { column: name.to_owned(), role, n_missing, first_row: at(first) });
    }
    Ok(ranks(column).0)
}

/// Cluster codes. A row that belongs to no cluster (a customer without a household) is a
/// cluster of its own: it is independent of all others, and dropping it would bias the rest.
fn clusters_of(column: ColumnView<'_>) -> Vec<u32> {
    let (mut codes, mut next) = ranks(column);
    for code in codes.iter_mut().filter(|code| **code == MISSING_LEVEL) {
        *code = next;
        next += 1;
    }
    codes
}

/// The rank of each row's value among the distinct values, [`MISSING_LEVEL`] where there is
/// none, and the number of distinct values.
fn ranks(column: ColumnView<'_>) -> (Vec<u32>, u32) {
    match column {
        ColumnView::Number(values) => {
            // Adding 0 makes one value of 0 and −0.
            let mut distinct: Vec<f64> =
                values.iter().filter(|value| !value.is_nan()).map(|value| value + 0.0).collect();
            distinct.sort_unstable_by(f64::total_cmp);
            distinct.dedup();
            let rank = |value: &f64| {
                distinct.binary_search_by(|d| d.total_cmp(&(value + 0.0))).map_or(MISSING_LEVEL, |r| r as u32)
            };
            (values.iter().map(rank).collect(), distinct.len() as u32)
        }
        ColumnView::Category { codes, levels } => {
            let mut order: Vec<usize> = (0..levels.len()).collect();
            order.sort_by(|&a, &b| levels[a].cmp(&levels[b]));
            let mut rank = vec![0u32; levels.len()];
            order.iter().enumerate().for_each(|(r, &level)| rank[level] = r as u32);
            let of = |&code: &u32| if code == MISSING_LEVEL { MISSING_LEVEL } else { rank[code as usize] };
            (codes.iter().map(of).collect(), levels.len() as u32)
        }
    }
}

fn per_row(
    name: &str,
    column: ColumnView<'_>,
    arms: &Arms,
    at: &impl Fn(usize) -> u64,
) -> Result<Assignment, DataError> {
    if arms.len() != 2 {
        return Err(DataError::BadSetting {
            what: "assignment.probability",
            value: format!("the column '{name}'"),
            allowed: "a probability column serves two arms; give a table {arm: p} for more",
        });
    }
    let treated =
        checked(name, "assignment.probability", column, at, "probabilities must lie strictly between 0 and 1", |p| {
            p > 0.0 && p < 1.0
        })?;
    Ok(Assignment::PerRow(vec![treated.iter().map(|p| 1.0 - p).collect(), treated]))
}

fn check_per_arm(probabilities: &[f64], arms: &Arms) -> Result<(), DataError> {
    let sum: f64 = probabilities.iter().sum();
    let valid = probabilities.len() == arms.len()
        && probabilities.iter().all(|&p| p > 0.0 && p < 1.0)
        && (sum - 1.0).abs() < 1e-6;
    if valid {
        return Ok(());
    }
    Err(DataError::BadSetting {
        what: "assignment.probability",
        value: format!("{probabilities:?} for the arms {}", arms.labels().join(", ")),
        allowed: "there must be one probability per arm, each between 0 and 1, summing to 1",
    })
}

/// A table of raw feature columns from a dataset-like source, for tests and generators.
pub fn number_table(columns: Vec<(String, Vec<f64>)>) -> Result<Table, DataError> {
    let mut table = Table::new();
    for (name, values) in columns {
        table.push(name, Column::Number(values))?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::RolesSpec;

    fn table(t: Vec<f64>, y: Vec<f64>) -> Table {
        let n = t.len();
        number_table(vec![("x".into(), (0..n).map(|i| i as f64).collect()), ("t".into(), t), ("y".into(), y)]).unwrap()
    }

    fn build(table: Table) -> Result<Dataset, DataError> {
        let spec = RolesSpec {
            treatment: "t".into(),
            control: "0".into(),
            outcomes: vec!["y".into()],
            ..RolesSpec::default()
        };
        let roles = spec.resolve(table.names(), &[])?;
        let ids = (0..table.n_rows() as u64).collect();
        DatasetBuilder::new(&roles, ids, Seed::new(1)).build(table)
    }

    #[test]
    fn a_dataset_is_checked_and_binned() {
        let data = build(table(vec![0., 1., 0., 1.], vec![0., 1., 1., 0.])).unwrap();
        assert_eq!(data.outcomes[0].kind, OutcomeKind::Binary);
        assert_eq!(data.features.codes(0), [0, 1, 2, 3]);
        assert_eq!(data.treatment.codes, [0, 1, 0, 1]);
    }

    #[test]
    fn rows_without_a_cluster_are_clusters_of_their_own() {
        let numbers = ColumnView::Number(&[7.0, f64::NAN, 3.0, 7.0, f64::NAN, -0.0, 0.0]);
        assert_eq!(clusters_of(numbers), [2, 3, 1, 2, 4, 0, 0]);
        let levels = ["b".to_owned(), "a".to_owned()];
        let category = ColumnView::Category { codes: &[0, MISSING_LEVEL, 1, 0], levels: &levels };
        assert_eq!(clusters_of(category), [1, 2, 0, 1]);
        let missing = ColumnView::Number(&[1.0, f64::NAN]);
        let err = codes_of("f", "fold", missing, &|row| row as u64 + 1).unwrap_err();
        assert!(matches!(err, DataError::MissingValues { role: "fold", first_row: 2, n_missing: 1, .. }), "{err}");
    }

    #[test]
    fn a_subset_keeps_arms_and_bins_and_the_order_asked_for() {
        let data = build(table(vec![0., 1., 0., 1.], vec![0., 1., 1., 0.])).unwrap();
        let part = data.subset(&[3, 0]);
        assert_eq!((part.row_ids.as_slice(), part.treatment.codes.as_slice()), (&[3, 0][..], &[1, 0][..]));
        assert_eq!((part.features.codes(0), part.features.bins()), (&[3, 0][..], data.features.bins()));
        assert_eq!(part.raw.column("x").unwrap().numbers(), Some(&[3.0, 0.0][..]));
        assert_eq!(part.subset(&[1]), data.subset(&[0]));
    }

    #[test]
    fn a_dose_stands_in_place_of_arms() {
        let build = |dose: Vec<f64>| {
            let y = dose.iter().map(|d| 2.0 * d).collect();
            let table = number_table(vec![("x".into(), dose.clone()), ("d".into(), dose), ("y".into(), y)]).unwrap();
            let spec = RolesSpec { dose: Some("d".into()), outcomes: vec!["y".into()], ..RolesSpec::default() };
            let roles = spec.resolve(table.names(), &[])?;
            assert_eq!(roles.features, ["x"]);
            let ids = (0..table.n_rows() as u64).collect();
            DatasetBuilder::new(&roles, ids, Seed::new(1)).build(table)
        };
        let data = build(vec![0.0, 5.0, 1.0, 2.0]).unwrap();
        assert_eq!((data.treatment.arms.len(), data.treatment.codes.len()), (0, 0));
        assert_eq!(data.subset(&[3, 1]).dose.unwrap().values, [2.0, 5.0]);
        assert_eq!(data.strata(), [0, 3, 1, 2]);
        let error = build(vec![0.0, f64::NAN, 1.0]).unwrap_err();
        assert!(matches!(error, DataError::MissingValues { role: "dose", first_row: 2, .. }), "{error}");
        assert!(matches!(build(vec![1.0, 0.0]).unwrap_err(), DataError::BinaryDose { .. }));
    }

    #[test]
    fn every_rare_outcome_is_balanced_where_its_cells_are_large_enough() {
        let n = 20_000;
        let column = |f: &dyn Fn(usize) -> bool| (0..n).map(|i| f64::from(u8::from(f(i)))).collect::<Vec<f64>>();
        // Visits in 4 % of the rows, conversions in a quarter of the visits, and an event too rare
        // to be divided by arm.
        let (visit, buy) = (|i: usize| i.is_multiple_of(25), |i: usize| i.is_multiple_of(100));
        let table = number_table(vec![
            ("x".into(), (0..n).map(|i| i as f64).collect()),
            ("t".into(), column(&|i| (i / 7) % 2 == 1)),
            ("y".into(), column(&visit)),
            ("z".into(), column(&buy)),
            ("once".into(), column(&|i| i < 12)),
        ])
        .unwrap();
        let outcomes = ["y", "z", "once"].map(String::from).to_vec();
        let spec = RolesSpec { treatment: "t".into(), control: "0".into(), outcomes, ..RolesSpec::default() };
        let roles = spec.resolve(table.names(), &[]).unwrap();
        let data = DatasetBuilder::new(&roles, (0..n as u64).collect(), Seed::new(1)).build(table).unwrap();
        let strata = data.strata();
        assert_eq!(strata.iter().max(), Some(&5), "two arms, visits, conversions");
        let split = crate::folds::Split { row_ids: &data.row_ids, strata: Some(&strata), clusters: None };
        let held = crate::folds::holdout(split, 0.3, Seed::new(3)).unwrap();
        for (outcome, n_events) in [(0, 800.0), (1, 200.0)] {
            let n_held = (0..n).filter(|&i| held[i] && data.outcomes[outcome].values[i] > 0.5).count() as f64;
            assert!((n_held - 0.3 * n_events).abs() <= 2.0, "outcome {outcome}: {n_held} of {n_events}");
        }
    }

    #[test]
    fn bad_outcomes_are_named_with_their_row() {
        let err = build(table(vec![0., 1.], vec![f64::NAN, 1.])).unwrap_err();
        assert!(matches!(err, DataError::MissingValues { role: "outcome", first_row: 1, .. }), "{err}");
        let err = build(table(vec![0., 1.], vec![1., 1.])).unwrap_err();
        assert!(matches!(err, DataError::Constant { role: "outcome", .. }), "{err}");
        let err = build(table(vec![0., 1.], vec![1., f64::INFINITY])).unwrap_err();
        assert!(matches!(err, DataError::BadValue { row: 2, .. }), "{err}");
    }
}
