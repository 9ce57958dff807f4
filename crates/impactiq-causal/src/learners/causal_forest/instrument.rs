//! The instrumental forest of one outcome: honest trees on residuals of outcome, treatment and
//! instrument (Athey, Tibshirani & Wager 2019, section 7).

use impactiq_data::{Seed, Watch};
use impactiq_trees::{ForestConfig, InstrumentTask as TreesTask, grow_instrument_forest};

use super::choose::{Trial, Tries, by_unit, choose_leaves, sample, small_forests};
use super::model::{ForestModel, ForestReport, grown, is_stumps};
use crate::base::{Hurried, Inputs, Quiet};
use crate::error::CausalError;
use crate::learners::config::LearnerConfig;
use crate::learners::task::InstrumentTask;

impl ForestModel {
    /// The forest of the effect by way of an instrument.
    pub(in crate::learners) fn fit_instrument(
        config: &LearnerConfig,
        inputs: &Inputs<'_>,
        task: &InstrumentTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<(Self, Vec<ForestReport>), CausalError> {
        let n = task.treatment.len();
        let (mut y, mut t, mut z) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let (mut outcome, mut moved) = (0.0, 0.0);
        for &row in task.rows {
            let i = row as usize;
            y[i] = task.target[i] - task.outcome_mean.get(i);
            t[i] = task.treatment[i] - task.treatment_mean.get(i);
            z[i] = task.instrument[i] - task.instrument_mean.get(i);
            let weight = task.weights.map_or(1.0, |w| w[i]);
            outcome += weight * z[i] * y[i];
            moved += weight * z[i] * t[i];
        }
        let average = outcome / moved;
        if !average.is_finite() {
            let what = format!("what the instrument '{}' does to the treatment outside the hold-out", task.name);
            return Err(CausalError::NoVariation { what });
        }
        let encouraged = encouraged(task);
        let asked = config.forest();
        let rows = sample(task.rows, task.row_ids, seed);
        let of_trees = TreesTask {
            rows: &rows,
            outcome: &y,
            treatment: &t,
            instrument: &z,
            encouraged: encouraged.as_deref(),
            weights: task.weights,
            // The sampling ids are clusters where there are any.
            clusters: None,
            row_ids: task.row_ids,
        };
        let quiet = Quiet(watch);
        let trying = Trying { inputs, task: of_trees, direction: moved.signum(), watch: &quiet };
        let (settings, candidates) = match config.min_arm_rows {
            Some(size) => (trying.with_leaf(&asked, size), Vec::new()),
            None => choose_leaves(&asked, &trying, (&[average], smallest_side(task, encouraged.as_deref())), seed)?,
        };
        let whole = TreesTask { rows: task.rows, ..of_trees };
        let forest = grow_instrument_forest(&inputs.columns(), &whole, &settings, seed, &Hurried::new(watch))?;
        if watch.should_stop() {
            return Err(CausalError::Stopped);
        }
        let report = ForestReport {
            constant: is_stumps(&forest),
            ..ForestReport::chosen((task.outcome, vec![task.treatment_name.to_owned()]), &settings, candidates)
        };
        let report = grown(&forest, settings.n_trees, report);
        let (forests, average, lines) = (vec![forest], vec![average], vec![Vec::new()]);
        Ok((ForestModel { forests, average, shrinkage: vec![1.0], lines }, vec![report]))
    }
}

/// Small forests by way of an instrument and the loss that judges them.
struct Trying<'a> {
    inputs: &'a Inputs<'a>,
    task: TreesTask<'a>,
    /// The sign of Cov(Z, T): the loss is convex where the instrument moves the treatment so.
    direction: f64,
    watch: &'a dyn Watch,
}

impl Tries for Trying<'_> {
    fn with_leaf(&self, asked: &ForestConfig, size: u32) -> ForestConfig {
        match self.task.encouraged {
            Some(_) => ForestConfig { min_arm_rows: size, ..asked.clone() },
            None => ForestConfig { min_arm_rows: size, min_leaf_rows: size, ..asked.clone() },
        }
    }

    fn watch(&self) -> &dyn Watch {
        self.watch
    }

    /// E[z̃t̃ τ² − 2 z̃ỹ τ], least at τ(x) = E[z̃ỹ | x] / E[z̃t̃ | x]: the R-loss where z is t, less what no τ
    /// changes. The squared residual itself is no loss here: it is least for the effect as treated.
    fn try_out(&self, config: &ForestConfig, _: &[f64], seed: Seed) -> Result<Trial, CausalError> {
        let columns = self.inputs.columns();
        let task = &self.task;
        let grow = |config: &ForestConfig, seed| Ok(grow_instrument_forest(&columns, task, config, seed, self.watch)?);
        let key = |row: u32| task.row_ids[row as usize];
        let forests = small_forests(config, seed, self.watch, grow)?;
        let [one, two] =
            forests.map(|forest| forest.predict_out_of_bag(&columns, task.rows, &key, false).values.swap_remove(0));
        let mut parts = vec![f64::NAN; task.rows.len()];
        let (mut loss, mut total) = (0.0, 0.0);
        for (i, &row) in task.rows.iter().enumerate() {
            let row = row as usize;
            let weight = task.weights.map_or(1.0, |weights| weights[row]);
            let (a, b) = (one[i], two[i]);
            if weight == 0.0 || a.is_nan() || b.is_nan() {
                continue;
            }
            let z = self.direction * task.instrument[row];
            parts[i] = weight * z * (task.treatment[row] * a * b - task.outcome[row] * (a + b));
            loss += parts[i];
            total += weight;
        }
        let loss = if total > 0.0 { loss / total } else { f64::INFINITY };
        Ok(Trial { loss, slope: 1.0, parts: by_unit(task.rows, task.row_ids, parts) })
    }
}

/// Rows on the smaller side of a 0/1 instrument; all rows of another.
fn smallest_side(task: &InstrumentTask<'_>, encouraged: Option<&[u8]>) -> u32 {
    let n = task.rows.len();
    let on = encouraged.map_or(n, |on| task.rows.iter().filter(|&&row| on[row as usize] == 1).count());
    let side = if encouraged.is_some() { on.min(n - on) } else { n };
    u32::try_from(side).unwrap_or(u32::MAX)
}

/// 1 where the instrument is, for an instrument of zeros and ones.
fn encouraged(task: &InstrumentTask<'_>) -> Option<Vec<u8>> {
    let zero_one = task.rows.iter().all(|&row| matches!(task.instrument[row as usize], 0.0 | 1.0));
    zero_one.then(|| task.instrument.iter().map(|&z| u8::from(z == 1.0)).collect())
}
