//! Outcomes and treatments less their expectations (Robinson 1988), and the average effects.

use crate::learners::task::{DoseTask, LearnerNuisances, LearnerTask};
use crate::nuisance::OutOfFold;

/// What one forest learns from; vectors are indexed by row of the inputs.
pub(super) struct Centred {
    /// Rows of the arms of this forest, the control among them; of a dose, all rows of the task.
    pub rows: Vec<u32>,
    /// 0 for the control, k for the k-th arm of this forest; none with a dose.
    pub arms: Option<Vec<u8>>,
    /// y − m(x), m being the outcome's mean over the arms of this forest.
    pub outcome: Vec<f64>,
    /// Per arm of this forest: whether a row is in it, less its probability; of a dose, the dose
    /// less its mean.
    pub treatments: Vec<Vec<f64>>,
}

impl Centred {
    /// `arms` are codes other than 0. Where they are not all of them, probabilities are those
    /// among the control and these arms.
    pub fn new(task: &LearnerTask<'_>, centring: &LearnerNuisances, arms: &[usize]) -> Self {
        let n = task.codes.len();
        let all = arms.len() + 1 == task.arms.len();
        let mut place = vec![None; task.arms.len()];
        place[0] = Some(0u8);
        arms.iter().enumerate().for_each(|(k, &arm)| place[arm] = Some(k as u8 + 1));
        let rows: Vec<u32> =
            task.rows.iter().copied().filter(|&row| place[usize::from(task.codes[row as usize])].is_some()).collect();
        let mut codes = vec![0; n];
        let mut centred =
            Centred { arms: None, outcome: vec![0.0; n], treatments: vec![vec![0.0; n]; arms.len()], rows: Vec::new() };
        let used: Vec<usize> = std::iter::once(0).chain(arms.iter().copied()).collect();
        for &row in &rows {
            let i = row as usize;
            let p = |arm: usize| centring.propensity[arm].get(i);
            // Shares of the arms that take part; of all arms they sum to one already.
            let total = if all { 1.0 } else { used.iter().map(|&arm| p(arm)).sum() };
            let mean: f64 = used.iter().map(|&arm| p(arm) / total * centring.means[arm].get(i)).sum();
            let own = place[usize::from(task.codes[i])].unwrap_or_default();
            codes[i] = own;
            centred.outcome[i] = task.target[i] - mean;
            for (k, &arm) in arms.iter().enumerate() {
                centred.treatments[k][i] = f64::from(u8::from(usize::from(own) == k + 1)) - p(arm) / total;
            }
        }
        Centred { rows, arms: Some(codes), ..centred }
    }

    /// A dose's one contrast.
    pub fn of_dose(task: &DoseTask<'_>) -> Self {
        let mut centred = Centred {
            rows: task.rows.to_vec(),
            arms: None,
            outcome: vec![0.0; task.dose.len()],
            treatments: vec![vec![0.0; task.dose.len()]],
        };
        for &row in task.rows {
            let i = row as usize;
            centred.outcome[i] = task.target[i] - task.outcome_mean.get(i);
            centred.treatments[0][i] = task.dose[i] - task.dose_mean.get(i);
        }
        centred
    }

    /// Rows of the smallest arm; of a dose, all rows.
    pub fn smallest_arm(&self) -> usize {
        let Some(arms) = &self.arms else { return self.rows.len() };
        let mut counts = vec![0; self.treatments.len() + 1];
        self.rows.iter().for_each(|&row| counts[usize::from(arms[row as usize])] += 1);
        counts.into_iter().min().unwrap_or_default()
    }
}

/// Average effect per contrast over the learner's rows: means of doubly robust scores.
pub(super) fn average_effects(task: &LearnerTask<'_>, centring: &LearnerNuisances) -> Vec<f64> {
    let weight = |row: usize| task.weights.map_or(1.0, |weights| weights[row]);
    let total: f64 = task.rows.iter().map(|&row| weight(row as usize)).sum();
    let score = |arm: usize, row: usize| {
        let value = |nuisance: &OutOfFold| nuisance.get(row);
        let mean = value(&centring.means[arm]);
        let seen = usize::from(task.codes[row]) == arm;
        if seen { mean + (task.target[row] - mean) / value(&centring.propensity[arm]) } else { mean }
    };
    (1..task.arms.len())
        .map(|arm| {
            let sum: f64 = task
                .rows
                .iter()
                .map(|&row| row as usize)
                .map(|row| weight(row) * (score(arm, row) - score(0, row)))
                .sum();
            sum / total
        })
        .collect()
}

/// The partially linear effect of one unit of a dose over the learner's rows.
pub(super) fn average_of_dose(task: &DoseTask<'_>, centred: &Centred) -> f64 {
    let weight = |row: usize| task.weights.map_or(1.0, |weights| weights[row]);
    let sum = |values: &[f64]| -> f64 {
        let rows = centred.rows.iter().map(|&row| row as usize);
        rows.map(|row| weight(row) * centred.treatments[0][row] * values[row]).sum()
    };
    sum(&centred.outcome) / sum(&centred.treatments[0])
}
