//! Which arms share a forest, and the rows as a forest sees them.

use std::borrow::Cow;

use impactiq_trees::forest::uplift::config::MAX_ARMS;
use impactiq_trees::{UpliftConfig, UpliftTask};

use super::config::resolve;
use crate::error::CausalError;
use crate::learners::config::LearnerConfig;
use crate::learners::task::LearnerTask;

/// Forests that so many arms need: one for all of them, or with more than eight one for each arm
/// and the control.
pub fn n_groups(n_arms: usize) -> usize {
    if n_arms <= MAX_ARMS { 1 } else { n_arms - 1 }
}

/// The rows of one forest.
pub(super) struct Group<'a> {
    rows: Cow<'a, [u32]>,
    arms: Cow<'a, [u8]>,
    n_arms: usize,
}

impl<'a> Group<'a> {
    /// The `index`-th group of a task.
    pub fn new(task: &LearnerTask<'a>, index: usize) -> Self {
        let n_arms = task.arms.len();
        if n_groups(n_arms) == 1 {
            return Group { rows: Cow::Borrowed(task.rows), arms: Cow::Borrowed(task.codes), n_arms };
        }
        let own = index as u8 + 1;
        let of_pair = |&row: &u32| [0, own].contains(&task.codes[row as usize]);
        let rows: Vec<u32> = task.rows.iter().copied().filter(of_pair).collect();
        let arms: Vec<u8> = task.codes.iter().map(|&code| u8::from(code == own)).collect();
        Group { rows: Cow::Owned(rows), arms: Cow::Owned(arms), n_arms: 2 }
    }

    pub fn task<'b>(&'b self, task: &LearnerTask<'b>, weights: Option<&'b [f64]>) -> UpliftTask<'b> {
        UpliftTask {
            rows: &self.rows,
            outcome: task.target,
            arms: &self.arms,
            n_arms: self.n_arms,
            weights,
            // The sampling ids are clusters where there are any.
            keys: task.row_ids,
        }
    }
}

/// What is asked for, given the outcome.
///
/// # Errors
/// [`CausalError::BadSetting`] for a criterion that compares distributions of another outcome;
/// [`CausalError::TooFewRows`] for an arm without rows.
pub(super) fn settings(config: &LearnerConfig, task: &LearnerTask<'_>) -> Result<UpliftConfig, CausalError> {
    for arm in 0..task.arms.len() {
        task.arm_rows(arm)?;
    }
    let outcomes = || task.rows.iter().map(|&row| task.target[row as usize]);
    let share = outcomes().all(|y| y == 0.0 || y == 1.0).then(|| {
        let rate = outcomes().sum::<f64>() / task.rows.len() as f64;
        rate.min(1.0 - rate)
    });
    let resolved = resolve(config, share);
    if resolved.criterion.needs_binary() && share.is_none() {
        let allowed = format!(
            "it compares 0/1 outcomes, which '{}' is not: euclidean, ddp, interaction and cts take any",
            task.outcome
        );
        return Err(CausalError::setting("learner.criterion", resolved.criterion.name(), allowed));
    }
    Ok(resolved)
}

/// Weights that make the arms of a leaf comparable: the row's own, times the share of its arm over
/// the row's probability of it where that differs between rows (Hájek's estimator in
/// every leaf). `None` when all are one.
pub(super) fn weights<'a>(task: &LearnerTask<'a>) -> Option<Cow<'a, [f64]>> {
    let varying = task.nuisances.filter(|nuisances| nuisances.propensity.iter().any(|p| p.constant().is_none()));
    let Some(nuisances) = varying else { return task.weights.map(Cow::Borrowed) };
    let own = |row: u32| task.weights.map_or(1.0, |weights| weights[row as usize]);
    let mut of_arm = vec![0.0; task.arms.len()];
    task.rows.iter().for_each(|&row| of_arm[usize::from(task.codes[row as usize])] += own(row));
    let total: f64 = of_arm.iter().sum();
    // Rows that do not learn are never looked at.
    let mut weights = vec![0.0; task.codes.len()];
    for &row in task.rows {
        let arm = usize::from(task.codes[row as usize]);
        weights[row as usize] = own(row) * of_arm[arm] / total / nuisances.propensity[arm].get(row as usize);
    }
    Some(Cow::Owned(weights))
}
