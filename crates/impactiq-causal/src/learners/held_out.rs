//! What a learner says of rows it did not see, and what that is worth: effects by fold, and the
//! residuals whose R-loss judges them.
//!
//! The nuisances are those of the run, cross-fitted once and shared by all candidates: a
//! candidate's pseudo-outcomes know a held-out row only through nuisance models, a second-order
//! trace that is the same for every candidate. What must not live here: choices.

use impactiq_data::{BinColumns, DataError, FeatureKind, Table};
use impactiq_metrics::Estimate;

use super::config::LearnerConfig;
use super::pseudo::Pair;
use super::task::LearnerTask;
use crate::base::{BaseModel, Inputs};
use crate::error::CausalError;

/// Held-out rows that are enough: beyond them not all folds are held out in turn.
const ENOUGH_ROWS: usize = 400_000;

/// Rows of a task by the fold that holds them out.
pub(super) struct HeldOut {
    /// Rows, fold after fold.
    pub rows: Vec<u32>,
    /// Rows up to the end of each fold.
    pub ends: Vec<usize>,
}

impl HeldOut {
    /// The held-out rows of a task: all of its rows, or where they are many those of the first
    /// folds, two at least.
    ///
    /// # Errors
    /// [`CausalError::Mismatch`] when the task has no folds (a bug).
    pub fn new(task: &LearnerTask<'_>) -> Result<Self, CausalError> {
        let Some(nuisances) = task.nuisances.filter(|nuisances| !nuisances.folds.is_empty()) else {
            return Err(CausalError::Mismatch { problem: "a choice of learners without folds".into() });
        };
        let fold = |row: u32| usize::from(nuisances.folds[row as usize]);
        let n_folds = task.rows.iter().map(|&row| fold(row) + 1).max().unwrap_or_default();
        let enough = (ENOUGH_ROWS * n_folds).div_ceil(task.rows.len().max(1));
        let mut by_fold: Vec<Vec<u32>> = vec![Vec::new(); n_folds];
        task.rows.iter().for_each(|&row| by_fold[fold(row)].push(row));
        by_fold.truncate(enough.max(2));
        let mut ends = Vec::with_capacity(by_fold.len());
        let mut rows = Vec::new();
        for of_fold in by_fold {
            rows.extend(of_fold);
            ends.push(rows.len());
        }
        Ok(HeldOut { rows, ends })
    }

    /// The folds held out in turn.
    pub fn n_folds(&self) -> usize {
        self.ends.len()
    }

    /// The rows of one fold.
    pub fn of_fold(&self, fold: usize) -> &[u32] {
        let first = if fold == 0 { 0 } else { self.ends[fold - 1] };
        &self.rows[first..self.ends[fold]]
    }
}

/// Learns from some rows and answers for others: effects by contrast.
pub(super) type Ask<'a> = dyn Fn(&LearnerConfig, &[u32], &[u32], u64) -> Result<Vec<Vec<f64>>, CausalError> + 'a;

/// Effects by contrast for every held-out row, from a learner that did not see its fold.
pub(super) fn held_out_effects(
    candidate: &LearnerConfig,
    task: &LearnerTask<'_>,
    held: &HeldOut,
    ask: &Ask<'_>,
) -> Result<Vec<Vec<f64>>, CausalError> {
    let mut effects = vec![vec![0.0; held.rows.len()]; task.arms.n_contrasts()];
    let mut out = vec![false; task.target.len()];
    for fold in 0..held.n_folds() {
        let rows = held.of_fold(fold);
        rows.iter().for_each(|&row| out[row as usize] = true);
        let training: Vec<u32> = task.rows.iter().copied().filter(|&row| !out[row as usize]).collect();
        rows.iter().for_each(|&row| out[row as usize] = false);
        let first = held.ends[fold] - rows.len();
        for (effects, of_fold) in effects.iter_mut().zip(ask(candidate, &training, rows, fold as u64)?) {
            effects[first..held.ends[fold]].copy_from_slice(&of_fold);
        }
    }
    Ok(effects)
}

/// Some rows of inputs as inputs of their own.
pub(super) struct Part<'a> {
    whole: &'a dyn BinColumns,
    codes: Vec<Vec<u8>>,
    n_rows: usize,
    raw: Table,
    names: &'a [String],
}

impl<'a> Part<'a> {
    /// Copies the codes of the rows, and their raw columns where a linear learner or model will ask.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`].
    pub fn new(inputs: &Inputs<'a>, rows: &[u32], (linear, models): (bool, &[&BaseModel])) -> Result<Self, DataError> {
        let pick = |feature: usize| {
            let codes = inputs.binned.codes(feature);
            rows.iter().map(|&row| codes[row as usize]).collect()
        };
        let linear = linear || models.iter().any(|model| model.needs_raw());
        let raw = if linear { inputs.raw.subset(rows) } else { Table::new() };
        let codes = (0..inputs.names.len()).map(pick).collect();
        Ok(Part { whole: inputs.binned, codes, n_rows: rows.len(), raw, names: inputs.names })
    }

    pub fn inputs(&self) -> Inputs<'_> {
        Inputs { binned: self, raw: &self.raw, names: self.names, arm: None }
    }
}

impl BinColumns for Part<'_> {
    fn n_rows(&self) -> usize {
        self.n_rows
    }

    fn n_features(&self) -> usize {
        self.codes.len()
    }

    fn kind(&self, feature: usize) -> FeatureKind {
        self.whole.kind(feature)
    }

    fn n_codes(&self, feature: usize) -> usize {
        self.whole.n_codes(feature)
    }

    fn codes(&self, feature: usize) -> &[u8] {
        &self.codes[feature]
    }
}

/// The residuals of one contrast's held-out rows: those of its arm and of the control.
pub(super) struct Residuals {
    /// Places among the held-out rows.
    pub places: Vec<u32>,
    /// y − m(x).
    pub y: Vec<f64>,
    /// Treated less its probability.
    pub t: Vec<f64>,
    /// Row weights.
    pub w: Vec<f64>,
    /// What sampling keeps together.
    ids: Vec<u64>,
    /// The fold of each.
    pub fold: Vec<u8>,
}

impl Residuals {
    /// The residuals of an arm; rows of weight 0 take no part.
    ///
    /// # Errors
    /// As [`Pair::new`].
    pub fn new(task: &LearnerTask<'_>, held: &HeldOut, arm: usize) -> Result<Self, CausalError> {
        let pair = Pair::new(task, arm)?;
        let mut made = Residuals { places: vec![], y: vec![], t: vec![], w: vec![], ids: vec![], fold: vec![] };
        for (place, &row) in held.rows.iter().enumerate() {
            let row = row as usize;
            if (task.codes[row] != 0 && !pair.treated(row)) || pair.weight(row) == 0.0 {
                continue;
            }
            let (y, t) = pair.residuals(row, pair.mean(row));
            made.places.push(place as u32);
            made.y.push(y);
            made.t.push(t);
            made.w.push(pair.weight(row));
            made.ids.push(task.row_ids[row]);
            made.fold.push(held.ends.iter().filter(|&&end| end <= place).count() as u8);
        }
        Ok(made)
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.y.len()
    }

    /// The variance of outcomes around their means.
    pub fn noise(&self) -> f64 {
        self.loss(&|_| 0.0)
    }

    /// Mean R-loss of effects, one for each row here.
    pub fn loss(&self, effect: &dyn Fn(usize) -> f64) -> f64 {
        let (mut loss, mut total) = (0.0, 0.0);
        for i in 0..self.len() {
            loss += self.w[i] * (self.y[i] - self.t[i] * effect(i)).powi(2);
            total += self.w[i];
        }
        loss / total
    }

    /// How much smaller the mean R-loss of `better` is than that of `than`, with the standard
    /// error of the paired difference; clusters count as one.
    pub fn gain(&self, better: &dyn Fn(usize) -> f64, than: &dyn Fn(usize) -> f64) -> Estimate {
        let loss = |i: usize, effect: f64| (self.y[i] - self.t[i] * effect).powi(2);
        let mut parts: Vec<(u64, f64, f64)> = (0..self.len())
            .map(|i| (self.ids[i], self.w[i] * (loss(i, than(i)) - loss(i, better(i))), self.w[i]))
            .collect();
        parts.sort_by_key(|part| part.0);
        let total: f64 = parts.iter().map(|part| part.2).sum();
        let mean = parts.iter().map(|part| part.1).sum::<f64>() / total;
        let (mut squares, mut n_groups) = (0.0, 0u64);
        for group in parts.chunk_by(|a, b| a.0 == b.0) {
            let deviation: f64 = group.iter().map(|part| part.1 - part.2 * mean).sum();
            squares += deviation * deviation;
            n_groups += 1;
        }
        if n_groups < 2 {
            return Estimate::undefined("fewer than two held-out rows or clusters");
        }
        let groups = n_groups as f64;
        Estimate::new(mean, (squares * groups / (groups - 1.0)).sqrt() / total, self.len() as u64)
    }
}
