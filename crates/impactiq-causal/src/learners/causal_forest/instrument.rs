//! The instrumental forest of one outcome: honest trees on residuals of outcome, treatment and
//! instrument (Athey, Tibshirani & Wager 2019, section 7).

use impactiq_data::{Seed, Watch};
use impactiq_trees::{ForestConfig, InstrumentTask as TreesTask, grow_instrument_forest};

use super::model::{ForestModel, ForestReport, grown};
use crate::base::{Hurried, Inputs};
use crate::error::CausalError;
use crate::learners::config::LearnerConfig;
use crate::learners::task::InstrumentTask;

/// Splitting rows per leaf, on either side of a 0/1 instrument, unless the config says: effects by way of an
/// instrument are noisier than others by the square of the compliance.
const LEAF_ROWS: u32 = 50;

/// At least this many leaves' worth of splitting rows must fit into a tree.
const LEAVES: u32 = 8;

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
        let settings = forest_config(config, task.rows.len(), encouraged.is_some());
        let of_trees = TreesTask {
            rows: task.rows,
            outcome: &y,
            treatment: &t,
            instrument: &z,
            encouraged: encouraged.as_deref(),
            weights: task.weights,
            // The sampling ids are clusters where there are any.
            clusters: None,
            row_ids: task.row_ids,
        };
        let forest = grow_instrument_forest(&inputs.columns(), &of_trees, &settings, seed, &Hurried::new(watch))?;
        if watch.should_stop() {
            return Err(CausalError::Stopped);
        }
        let report = ForestReport {
            outcome: task.outcome.to_owned(),
            arms: vec![task.treatment_name.to_owned()],
            n_trees: 0,
            n_trees_asked: 0,
            min_arm_rows: settings.min_arm_rows,
            leaf_sizes: vec![settings.min_arm_rows],
            chosen_by: if config.min_arm_rows.is_some() { "config".into() } else { "default".into() },
            linear: false,
            candidates: Vec::new(),
            constant: false,
            shrinkage: 1.0,
            mean_leaves: 0.0,
            averages: Vec::new(),
            calibration: Vec::new(),
        };
        let report = grown(&forest, settings.n_trees, report);
        let (forests, average, lines) = (vec![forest], vec![average], vec![Vec::new()]);
        Ok((ForestModel { forests, average, shrinkage: vec![1.0], lines }, vec![report]))
    }
}

/// 1 where the instrument is, for an instrument of zeros and ones.
fn encouraged(task: &InstrumentTask<'_>) -> Option<Vec<u8>> {
    let zero_one = task.rows.iter().all(|&row| matches!(task.instrument[row as usize], 0.0 | 1.0));
    zero_one.then(|| task.instrument.iter().map(|&z| u8::from(z == 1.0)).collect())
}

fn forest_config(config: &LearnerConfig, n_rows: usize, zero_one: bool) -> ForestConfig {
    let asked = config.forest();
    let share = asked.sample_fraction * if asked.honest { asked.split_fraction } else { 1.0 };
    let most = (n_rows as f64 * share / f64::from(LEAVES)) as u32;
    let size = config.min_arm_rows.unwrap_or(LEAF_ROWS.min(most).max(1));
    let min_leaf_rows = if zero_one { asked.min_leaf_rows } else { size };
    ForestConfig { min_arm_rows: size, min_leaf_rows, ..asked }
}
