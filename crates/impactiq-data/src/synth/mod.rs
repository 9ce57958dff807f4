//! Known-truth generators: data whose effect is known row by row.
//!
//! A generator gives two tables, the data and the truth; the truth never stands in the
//! data. Rows come in blocks of [`BLOCK_ROWS`], each with a seed of its own, so the first
//! rows of a long file are those of a short one, blocks can be made in any order on any
//! number of threads, and a file of any size can be streamed. What must not live here:
//! files (the doors write them).
//!
//! ```
//! use impactiq_data::Seed;
//! use impactiq_data::synth::{SynthKind, SynthOptions, generate};
//! let made = generate(SynthKind::Criteo, &SynthOptions::default(), 1000, Seed::new(1))?;
//! assert_eq!(made.table.n_rows(), 1000);
//! assert!(made.truth.column("tau").is_ok() && made.table.column("tau").is_err());
//! # Ok::<(), impactiq_data::DataError>(())
//! ```

// A file uses only files above it: options, draw, layout, criteo, continuous, trials, mod.
mod continuous;
mod criteo;
mod draw;
mod layout;
mod options;
mod trials;

use std::str::FromStr;

use rayon::prelude::*;

pub use options::SynthOptions;

use crate::error::{DataError, closest_name};
use crate::schema::Schema;
use crate::seed::{Seed, Stream};
use crate::table::Table;
use continuous::Design;
use draw::Draw;
use layout::{ColumnSpec, Sheet};

/// Rows of a block. A block is the unit of work and of streaming.
pub const BLOCK_ROWS: usize = 1 << 16;

/// What the generators are, for the reference pages.
pub const DESCRIPTION: &str = "Known-truth data: trials whose effect is known for every row, to check an estimator \
against. The data and the truth are two separate tables. The first rows of a long file are those of a short one with \
the same seed. Nothing here is a copy of anyone's data.";

/// A generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SynthKind {
    /// Advertising trial in the shape of Criteo's data.
    Criteo,
    /// The same, where only exposed rows are affected.
    CriteoExposure,
    /// Nie & Wager (2021), setup A.
    NieWagerA,
    /// Nie & Wager (2021), setup B.
    NieWagerB,
    /// Nie & Wager (2021), setup C.
    NieWagerC,
    /// Nie & Wager (2021), setup D.
    NieWagerD,
    /// Wager & Athey (2018), equation 27.
    WagerAthey1,
    /// Wager & Athey (2018), equation 28.
    WagerAthey2,
    /// Several arms, a category, missing values.
    MultiArm,
    /// A continuous treatment.
    Dose,
    /// Whole clusters are treated.
    Clustered,
    /// Encouraged by chance, treated by choice.
    Instrument,
}

impl SynthKind {
    /// Every generator, in the order of the documentation.
    pub const ALL: [SynthKind; 12] = [
        SynthKind::Criteo,
        SynthKind::CriteoExposure,
        SynthKind::NieWagerA,
        SynthKind::NieWagerB,
        SynthKind::NieWagerC,
        SynthKind::NieWagerD,
        SynthKind::WagerAthey1,
        SynthKind::WagerAthey2,
        SynthKind::MultiArm,
        SynthKind::Dose,
        SynthKind::Clustered,
        SynthKind::Instrument,
    ];

    /// The name to type.
    pub const fn name(self) -> &'static str {
        match self {
            SynthKind::Criteo => "criteo",
            SynthKind::CriteoExposure => "criteo-exposure",
            SynthKind::NieWagerA => "nie-wager-a",
            SynthKind::NieWagerB => "nie-wager-b",
            SynthKind::NieWagerC => "nie-wager-c",
            SynthKind::NieWagerD => "nie-wager-d",
            SynthKind::WagerAthey1 => "wager-athey-1",
            SynthKind::WagerAthey2 => "wager-athey-2",
            SynthKind::MultiArm => "multi-arm",
            SynthKind::Dose => "dose",
            SynthKind::Clustered => "clustered",
            SynthKind::Instrument => "instrument",
        }
    }

    /// The names to type, in the order of [`SynthKind::ALL`].
    pub fn names() -> Vec<&'static str> {
        SynthKind::ALL.iter().map(|kind| kind.name()).collect()
    }

    /// One sentence on what the data looks like.
    pub const fn describe(self) -> &'static str {
        match self {
            SynthKind::Criteo => {
                "randomised advertising trial in the shape of Criteo's data: 85 % treated, 12 heavily tied features, \
                 visits 4.7 %, conversions 0.29 %, an effect of about +1.0 pp that differs from row to row"
            }
            SynthKind::CriteoExposure => {
                "the same trial, where the treatment works through exposure only: 3.6 % of the treated are exposed, \
                 and nobody else is affected"
            }
            SynthKind::NieWagerA => "Nie & Wager (2021) A: confounded, difficult nuisances, an easy effect",
            SynthKind::NieWagerB => "Nie & Wager (2021) B: a randomised trial with a smooth effect",
            SynthKind::NieWagerC => "Nie & Wager (2021) C: confounded, with a constant effect of 1",
            SynthKind::NieWagerD => "Nie & Wager (2021) D: confounded, unrelated treated and control outcomes",
            SynthKind::WagerAthey1 => "Wager & Athey (2018) 1: confounded, with no effect at all",
            SynthKind::WagerAthey2 => {
                "Wager & Athey (2018) 2: a randomised trial with an effect that is a product of ramps"
            }
            SynthKind::MultiArm => {
                "a control and several arms with unequal probabilities, a category and missing values; \
                 outcomes y and converted"
            }
            SynthKind::Dose => {
                "a continuous treatment: the outcome is linear in the dose, with a slope that differs by row"
            }
            SynthKind::Instrument => {
                "half of the rows are encouraged by chance, but a hidden trait decides who is treated: an instrument for \
                 an effect that differs by row"
            }
            SynthKind::Clustered => {
                "whole clusters are treated: half of 100 clusters, with a random effect of each cluster"
            }
        }
    }

    /// The probability of treatment where it is the same for every row, by design: per arm for
    /// the multi-arm trial (the control first), otherwise of control and treated.
    pub fn probabilities(self, options: &SynthOptions) -> Option<Vec<(String, f64)>> {
        let binary = |p: f64| Some(vec![("0".to_owned(), 1.0 - p), ("1".to_owned(), p)]);
        match self {
            SynthKind::Criteo | SynthKind::CriteoExposure => binary(criteo::PROBABILITY),
            SynthKind::NieWagerB | SynthKind::WagerAthey2 => binary(0.5),
            SynthKind::Clustered => binary((options.n_clusters / 2) as f64 / options.n_clusters as f64),
            SynthKind::MultiArm => {
                let names = trials::arm_names(options.n_arms);
                Some(names.into_iter().zip(trials::arm_probabilities(options.n_arms)).collect())
            }
            _ => None,
        }
    }

    fn columns(self, options: &SynthOptions) -> (Vec<ColumnSpec>, Vec<ColumnSpec>) {
        match self {
            SynthKind::Criteo | SynthKind::CriteoExposure => (criteo::columns(), criteo::truth_columns()),
            SynthKind::MultiArm => (trials::arms_columns(options), trials::arms_truth(options)),
            SynthKind::Dose => (trials::dose_columns(), trials::dose_truth()),
            SynthKind::Clustered => (trials::clustered_columns(), trials::clustered_truth()),
            SynthKind::Instrument => (trials::instrument_columns(), trials::instrument_truth()),
            _ => (continuous::columns(options), continuous::truth_columns()),
        }
    }

    /// The design of those that share one shape.
    fn design(self) -> Option<Design> {
        Some(match self {
            SynthKind::NieWagerA => Design::NieWagerA,
            SynthKind::NieWagerB => Design::NieWagerB,
            SynthKind::NieWagerC => Design::NieWagerC,
            SynthKind::NieWagerD => Design::NieWagerD,
            SynthKind::WagerAthey1 => Design::WagerAthey1,
            SynthKind::WagerAthey2 => Design::WagerAthey2,
            _ => return None,
        })
    }
}

impl FromStr for SynthKind {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let wanted = text.to_lowercase().replace('_', "-");
        SynthKind::ALL.into_iter().find(|kind| kind.name() == wanted).ok_or_else(|| {
            let names: Vec<String> = SynthKind::names().into_iter().map(str::to_owned).collect();
            let closest = closest_name(&wanted, &names).map(str::to_owned);
            DataError::UnknownName { what: "generator", name: text.to_owned(), closest, available: names }
        })
    }
}

impl std::fmt::Display for SynthKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Generated rows and what is true of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Synth {
    /// The data: features, treatment, outcomes.
    pub table: Table,
    /// The truth, row by row beside the data: effects, and what else a design knows.
    pub truth: Table,
    /// Types of the data's columns in a file. Columns of 0 and 1 are `Integer`.
    pub schema: Schema,
    /// Types of the truth's columns in a file.
    pub truth_schema: Schema,
}

/// A file to be generated, block by block.
pub struct SynthPlan {
    kind: SynthKind,
    options: SynthOptions,
    n_rows: u64,
    seed: Seed,
    clusters: Vec<trials::Cluster>,
}

impl SynthPlan {
    /// A plan for `n_rows` rows.
    ///
    /// # Errors
    /// [`DataError::BadSetting`] for options outside their limits or no rows.
    pub fn new(kind: SynthKind, options: &SynthOptions, n_rows: u64, seed: Seed) -> Result<Self, DataError> {
        options.check()?;
        if n_rows == 0 {
            return Err(DataError::BadSetting {
                what: "number of rows",
                value: "0".into(),
                allowed: "it must be 1 or more",
            });
        }
        // Generators draw from streams of their own: no two of them share a latent value.
        let seed = seed.stream(Stream::Synth).child(kind as u64);
        let clusters =
            if kind == SynthKind::Clustered { trials::clusters(options, seed.child(u64::MAX)) } else { Vec::new() };
        Ok(SynthPlan { kind, options: options.clone(), n_rows, seed, clusters })
    }

    /// Number of blocks; each but the last has [`BLOCK_ROWS`] rows.
    pub fn n_blocks(&self) -> u64 {
        self.n_rows.div_ceil(BLOCK_ROWS as u64)
    }

    /// Makes one block, counted from 0. Blocks may be made in any order and in parallel.
    ///
    /// # Errors
    /// [`DataError::BadSetting`] for a block beyond the last.
    pub fn block(&self, block: u64) -> Result<Synth, DataError> {
        let (data, truth) = self.sheets(block)?;
        finish(data, truth)
    }

    /// Makes every block in parallel and joins them in order.
    ///
    /// # Errors
    /// As [`SynthPlan::block`].
    pub fn all(&self) -> Result<Synth, DataError> {
        let blocks: Vec<(Sheet, Sheet)> =
            (0..self.n_blocks()).into_par_iter().map(|block| self.sheets(block)).collect::<Result<_, _>>()?;
        let (data_specs, truth_specs) = self.kind.columns(&self.options);
        let n_rows = self.n_rows as usize;
        let (mut data, mut truth) = (Sheet::new(data_specs, n_rows), Sheet::new(truth_specs, n_rows));
        for (block_data, block_truth) in blocks {
            data.append(block_data);
            truth.append(block_truth);
        }
        finish(data, truth)
    }

    fn sheets(&self, block: u64) -> Result<(Sheet, Sheet), DataError> {
        let first_row = block.saturating_mul(BLOCK_ROWS as u64);
        if first_row >= self.n_rows {
            return Err(DataError::BadSetting {
                what: "block",
                value: block.to_string(),
                allowed: "it must be below the number of blocks",
            });
        }
        let n_rows = (self.n_rows - first_row).min(BLOCK_ROWS as u64) as usize;
        let (data_specs, truth_specs) = self.kind.columns(&self.options);
        let (mut data, mut truth) = (Sheet::new(data_specs, n_rows), Sheet::new(truth_specs, n_rows));
        let mut draw = Draw::new(self.seed.child(block));
        for _ in 0..n_rows {
            self.row(&mut draw, &mut data.row, &mut truth.row);
            data.file();
            truth.file();
        }
        Ok((data, truth))
    }

    fn row(&self, draw: &mut Draw, data: &mut [f64], truth: &mut [f64]) {
        let options = &self.options;
        match self.kind {
            SynthKind::Criteo => criteo::row(criteo::Path::Direct, draw, data, truth),
            SynthKind::CriteoExposure => criteo::row(criteo::Path::ThroughExposure, draw, data, truth),
            SynthKind::MultiArm => trials::arms_row(options, draw, data, truth),
            SynthKind::Dose => trials::dose_row(options, draw, data, truth),
            SynthKind::Instrument => trials::instrument_row(options, draw, data, truth),
            SynthKind::Clustered => trials::clustered_row(options, &self.clusters, draw, data, truth),
            kind => {
                if let Some(design) = kind.design() {
                    continuous::row(design, options, draw, data, truth);
                }
            }
        }
    }
}

fn finish(data: Sheet, truth: Sheet) -> Result<Synth, DataError> {
    let ((table, schema), (truth, truth_schema)) = (data.finish()?, truth.finish()?);
    Ok(Synth { table, truth, schema, truth_schema })
}

/// Makes `n_rows` rows in memory.
///
/// # Errors
/// [`DataError::BadSetting`] for options outside their limits or no rows.
pub fn generate(kind: SynthKind, options: &SynthOptions, n_rows: usize, seed: Seed) -> Result<Synth, DataError> {
    SynthPlan::new(kind, options, n_rows as u64, seed)?.all()
}

/// Makes one full block of [`BLOCK_ROWS`] rows of an endless file.
///
/// # Errors
/// [`DataError::BadSetting`] for options outside their limits.
pub fn generate_block(kind: SynthKind, options: &SynthOptions, block: u64, seed: Seed) -> Result<Synth, DataError> {
    let n_rows = block.saturating_add(1).saturating_mul(BLOCK_ROWS as u64);
    SynthPlan::new(kind, options, n_rows, seed)?.block(block)
}

#[cfg(test)]
mod tests;
