//! The rows a forest learned from, with what it says of each without having seen it: what
//! averages, projections and calibration tests are made of.

use impactiq_data::{DataError, Seed, Stream};

use super::centre::Centred;
use super::ground::Ground;
use super::linear_part::Line;
use crate::learners::task::{LearnerNuisances, LearnerTask};

/// Rows that statistics about a forest use at most: out-of-bag effects cost as much as scores.
const MAX_ROWS: usize = 1_000_000;

/// One contrast's rows: an arm, the control and, where there are more arms, the others. All
/// vectors have one value per row.
#[derive(Clone, Debug, PartialEq)]
pub struct ContrastRows {
    /// The arm that is compared with the control.
    pub arm: String,
    /// Rows of the learner's inputs.
    pub rows: Vec<u32>,
    /// 1 for the arm, 0 for the control, 2 for any other arm.
    pub received: Vec<u8>,
    /// Outcome.
    pub outcome: Vec<f64>,
    /// Out of fold: the outcome's mean over this arm and the control.
    pub outcome_hat: Vec<f64>,
    /// Probability of the arm, among all arms.
    pub p_arm: Vec<f64>,
    /// Probability of the control.
    pub p_control: Vec<f64>,
    /// Out of bag: the effect; one number for all rows where the forest's answer is that.
    pub effect: Vec<f64>,
    /// Sampling weights.
    pub weights: Option<Vec<f64>>,
    /// Cluster of each row.
    pub clusters: Option<Vec<u32>>,
}

impl ContrastRows {
    /// The arm's share of the two arms' probability.
    pub(super) fn share(&self, i: usize) -> f64 {
        self.p_arm[i] / (self.p_arm[i] + self.p_control[i])
    }

    /// Means under control and under the arm that outcome, share and effect imply.
    pub(super) fn means(&self, i: usize) -> (f64, f64) {
        let control = self.outcome_hat[i] - self.share(i) * self.effect[i];
        (control, control + self.effect[i])
    }

    /// The rows of the arm and the control alone.
    pub(super) fn pair(&self) -> ContrastRows {
        let keep: Vec<usize> = (0..self.received.len()).filter(|&i| self.received[i] < 2).collect();
        let take = |values: &[f64]| keep.iter().map(|&i| values[i]).collect::<Vec<f64>>();
        ContrastRows {
            arm: self.arm.clone(),
            rows: keep.iter().map(|&i| self.rows[i]).collect(),
            received: keep.iter().map(|&i| self.received[i]).collect(),
            outcome: take(&self.outcome),
            outcome_hat: take(&self.outcome_hat),
            p_arm: take(&self.p_arm),
            p_control: take(&self.p_control),
            effect: take(&self.effect),
            weights: self.weights.as_deref().map(take),
            clusters: self.clusters.as_ref().map(|clusters| keep.iter().map(|&i| clusters[i]).collect()),
        }
    }
}

/// What the rows of a group of contrasts need beside its forest.
#[derive(Clone, Copy)]
pub(super) struct Group<'a> {
    pub ground: Ground<'a>,
    pub task: &'a LearnerTask<'a>,
    pub nuisances: &'a LearnerNuisances,
    /// Codes of the arms of the group.
    pub arms: &'a [usize],
    /// Average effect per arm of the group.
    pub average: &'a [f64],
    /// Whether everybody is given the average.
    pub constant: bool,
}

impl Group<'_> {
    /// The rows of every contrast of the group, all the learner's rows or a sample by hash.
    pub fn rows(&self, forest: &impactiq_trees::Forest, seed: Seed) -> Vec<ContrastRows> {
        let task = self.task;
        let sampled = sample(task, seed);
        let effects = if self.constant { Vec::new() } else { self.ground.out_of_bag(forest, &sampled) };
        let take =
            |values: &dyn Fn(usize) -> f64| sampled.iter().map(|&row| values(row as usize)).collect::<Vec<f64>>();
        (self.arms.iter().zip(self.average).enumerate())
            .map(|(k, (&arm, &average))| {
                let p = |arm: usize, row: usize| self.nuisances.propensity[arm].get(row);
                let mean = |arm: usize, row: usize| self.nuisances.means[arm].get(row);
                let both = |row: usize| {
                    let (p, q) = (p(arm, row), p(0, row));
                    (p * mean(arm, row) + q * mean(0, row)) / (p + q)
                };
                let code = |row: &u32| match usize::from(task.codes[*row as usize]) {
                    0 => 0,
                    other if other == arm => 1,
                    _ => 2,
                };
                // Where no bag can answer, the average stands in, as it does for new rows.
                let known = |effect: &f64| if effect.is_nan() { average } else { *effect };
                ContrastRows {
                    arm: task.arms.labels()[arm].clone(),
                    received: sampled.iter().map(code).collect(),
                    outcome: take(&|row| task.target[row]),
                    outcome_hat: take(&both),
                    p_arm: take(&|row| p(arm, row)),
                    p_control: take(&|row| p(0, row)),
                    effect: match effects.get(k) {
                        Some(effects) => effects.iter().map(known).collect(),
                        None => vec![average; sampled.len()],
                    },
                    weights: task.weights.map(|weights| take(&|row| weights[row])),
                    clusters: task.clusters.map(|all| sampled.iter().map(|&row| all[row as usize]).collect()),
                    rows: sampled.clone(),
                }
            })
            .collect()
    }
}

fn sample(task: &LearnerTask<'_>, seed: Seed) -> Vec<u32> {
    if task.rows.len() <= MAX_ROWS {
        return task.rows.to_vec();
    }
    let (seed, share) = (seed.stream(Stream::Validation), MAX_ROWS as f64 / task.rows.len() as f64);
    task.rows.iter().copied().filter(|&row| seed.uniform(task.row_ids[row as usize]) < share).collect()
}

/// The centred rows of each contrast of a group alone: of its arm and the control.
pub(super) fn pairs(task: &LearnerTask<'_>, nuisances: &LearnerNuisances, arms: &[usize]) -> Vec<Centred> {
    arms.iter().map(|&arm| Centred::new(task, nuisances, &[arm])).collect()
}

/// The line of a group, where one can be drawn.
pub(super) fn line(
    ground: &Ground<'_>,
    task: &LearnerTask<'_>,
    (nuisances, arms): (&LearnerNuisances, &[usize]),
    seed: Seed,
) -> Result<Option<Line>, DataError> {
    Line::fit(ground.inputs, task, ground.centred, &pairs(task, nuisances, arms), seed)
}
