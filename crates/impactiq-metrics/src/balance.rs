//! The joint test of balance: can the covariates together tell the arm?

use faer::Mat;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::arms::{Arms, Covariate};
use crate::error::MetricsError;
use crate::least_squares::{factor, solve};
use crate::robust::DenseClusters;
use crate::tails::f_tail;

/// Levels of a category that get an indicator of their own in joint tests.
const MAX_LEVELS: usize = 20;

/// A joint test that no covariate predicts the arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JointBalance {
    /// Wald's statistic over its rank.
    pub f: f64,
    /// Columns tested after dropping constant and collinear ones.
    pub rank: u32,
    /// Second degrees of freedom: rows or clusters minus the rank.
    pub degrees_of_freedom: f64,
    /// The chance of a larger statistic under balance.
    pub p: f64,
}

/// Tests all covariates at once: the covariance of the arm with each, squared by the inverse
/// of their joint (cluster-robust) variance (Hansen & Bowers 2008), referred to F.
///
/// Missing numbers count as the mean and get an indicator; categories get indicators of
/// their most frequent levels.
///
/// # Errors
/// [`MetricsError::Length`], [`MetricsError::NoRows`] for an empty arm,
/// [`MetricsError::TooFewRows`] where there are no more rows (clusters) than columns.
pub fn joint_balance(covariates: &[Covariate<'_>], arms: &Arms<'_>) -> Result<JointBalance, MetricsError> {
    for covariate in covariates {
        arms.check(covariate.len())?;
    }
    let rows: Vec<u32> = (0..arms.arm.len() as u32).filter(|&row| arms.side(row as usize).is_some()).collect();
    let total: f64 = rows.iter().map(|&row| arms.weight(row as usize)).sum();
    let share = rows.iter().map(|&row| arms.weight(row as usize) * arms.indicator(row as usize)).sum::<f64>() / total;
    if !(share > 0.0 && share < 1.0) {
        return Err(MetricsError::NoRows { what: "an arm" });
    }
    let columns: Vec<Encoded<'_>> = covariates.iter().flat_map(|c| arms.encode(*c, &rows, total)).collect();
    let score = |row: usize, out: &mut [f64]| {
        let residual = arms.weight(row) * (arms.indicator(row) - share);
        out.iter_mut().zip(&columns).for_each(|(o, column)| *o += residual * column.value(row));
    };
    let width = columns.len();
    let Some(clusters) = arms.clusters else {
        let chunk = rows.len().div_ceil(16).max(1);
        let parts: Vec<Moments> = rows
            .par_chunks(chunk)
            .map(|rows| {
                let (mut moments, mut buffer) = (Moments::zero(width), vec![0.0; width]);
                for &row in rows {
                    buffer.fill(0.0);
                    score(row as usize, &mut buffer);
                    moments.observe(&buffer);
                }
                moments
            })
            .collect();
        let mut moments = Moments::zero(width);
        parts.iter().for_each(|part| moments.add(part));
        return moments.wald(rows.len());
    };
    let dense = DenseClusters::new(&rows.iter().map(|&row| clusters[row as usize]).collect::<Vec<_>>());
    let mut scores = vec![0.0; width * dense.n];
    for (&row, &g) in rows.iter().zip(&dense.of_row) {
        score(row as usize, &mut scores[g as usize * width..(g as usize + 1) * width]);
    }
    let mut moments = Moments::zero(width);
    scores.chunks_exact(width.max(1)).for_each(|score| moments.observe(score));
    moments.wald(dense.n)
}

/// Sum of scores and of their products (lower triangle).
struct Moments {
    sum: Vec<f64>,
    square: Vec<f64>,
}

impl Moments {
    fn zero(width: usize) -> Self {
        Moments { sum: vec![0.0; width], square: vec![0.0; width * width] }
    }

    fn observe(&mut self, score: &[f64]) {
        let width = score.len();
        for (i, a) in score.iter().enumerate() {
            self.sum[i] += a;
            self.square[i * width..i * width + i + 1].iter_mut().zip(score).for_each(|(s, b)| *s += a * b);
        }
    }

    fn add(&mut self, other: &Moments) {
        self.sum.iter_mut().zip(&other.sum).for_each(|(a, b)| *a += b);
        self.square.iter_mut().zip(&other.square).for_each(|(a, b)| *a += b);
    }

    fn wald(&self, n_units: usize) -> Result<JointBalance, MetricsError> {
        let width = self.sum.len();
        let square = Mat::from_fn(width, width, |i, j| self.square[i.max(j) * width + i.min(j)]);
        let (kept, inverse) = factor(&square, &vec![0.0; width]);
        let rank = kept.len();
        if n_units <= rank + 1 {
            return Err(MetricsError::TooFewRows { what: "joint balance test", found: n_units, needed: rank + 2 });
        }
        let picked: Vec<f64> = kept.iter().map(|&j| self.sum[j]).collect();
        let wald: f64 = solve(&inverse, &picked).iter().zip(&picked).map(|(a, b)| a * b).sum();
        let n = n_units as f64;
        // The scores' own mean inflates their squares: W / (1 − W/n) is Hotelling's statistic.
        let hotelling = wald / (1.0 - (wald / n).min(1.0 - 1e-12)) * (n - 1.0) / n;
        let free = n - rank as f64;
        let f = if rank == 0 { 0.0 } else { hotelling * free / (rank as f64 * (n - 1.0)) };
        Ok(JointBalance { f, rank: rank as u32, degrees_of_freedom: free, p: f_tail(f, rank as f64, free) })
    }
}

/// A complete, centred column made from a covariate, computed row by row.
struct Encoded<'a> {
    source: Source<'a>,
    centre: f64,
    scale: f64,
}

enum Source<'a> {
    Filled(&'a [f64], f64),
    MissingNumber(&'a [f64]),
    Level(&'a [u32], u32),
}

impl Encoded<'_> {
    fn raw(&self, row: usize) -> f64 {
        match self.source {
            Source::Filled(values, mean) => {
                if values[row].is_nan() {
                    mean
                } else {
                    values[row]
                }
            }
            Source::MissingNumber(values) => f64::from(u8::from(values[row].is_nan())),
            Source::Level(codes, level) => f64::from(u8::from(codes[row] == level)),
        }
    }

    fn value(&self, row: usize) -> f64 {
        (self.raw(row) - self.centre) * self.scale
    }
}

impl Arms<'_> {
    /// Complete, centred columns of a covariate over some rows of known total weight.
    fn encode<'a>(&self, covariate: Covariate<'a>, rows: &[u32], total: f64) -> Vec<Encoded<'a>> {
        let mean = |value: &dyn Fn(usize) -> f64| {
            rows.iter().map(|&r| self.weight(r as usize) * value(r as usize)).sum::<f64>()
        };
        let sources: Vec<Source<'a>> = match covariate {
            Covariate::Number(values) => {
                let missing = mean(&|r| f64::from(u8::from(values[r].is_nan())));
                let sum = mean(&|r| if values[r].is_nan() { 0.0 } else { values[r] });
                let filled = Source::Filled(values, sum / (total - missing).max(1e-300));
                std::iter::once(filled).chain((missing > 0.0).then_some(Source::MissingNumber(values))).collect()
            }
            Covariate::Category(codes) => {
                let table = self.level_table(codes);
                let mut levels: Vec<(u32, f64)> = table.iter().map(|(&l, w)| (l, w[0] + w[1])).collect();
                levels.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                levels.iter().take(MAX_LEVELS).map(|&(level, _)| Source::Level(codes, level)).collect()
            }
        };
        let encode = |source| {
            let raw = Encoded { source, centre: 0.0, scale: 1.0 };
            let centre = mean(&|r| raw.raw(r)) / total;
            let spread = rows.iter().fold(0.0f64, |m, &r| m.max((raw.raw(r as usize) - centre).abs()));
            // A constant column must be exactly 0, not rounding noise.
            let scale = if spread > 1e-12 * centre.abs() { 1.0 / spread } else { 0.0 };
            Encoded { centre, scale, ..raw }
        };
        sources.into_iter().map(encode).collect()
    }
}
