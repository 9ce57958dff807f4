//! The forest of one outcome: how its parts fit together, what it reports and what it answers.

use impactiq_data::{Seed, Watch};
use impactiq_trees::Forest;
use serde::{Deserialize, Serialize};

use super::centre::{self, Centred};
use super::choose::{self, Candidate};
use super::ground::Ground;
use crate::base::Inputs;
use crate::error::CausalError;
use crate::learners::config::LearnerConfig;
use crate::learners::task::{DoseTask, Effects, LearnerTask};

/// Contrasts one forest can hold; with more, every contrast has a forest of its own.
pub const MAX_JOINT: usize = 4;

/// Half the width of an interval in standard errors.
const Z: f64 = 1.959_963_984_540_054;

/// A causal forest of all contrasts.
#[derive(Clone, Debug, PartialEq)]
pub struct ForestModel {
    /// One forest of up to [`MAX_JOINT`] contrasts, or one forest per contrast.
    pub forests: Vec<Forest>,
    /// Average effect per contrast among the learner's rows (doubly robust): the answer
    /// where no tree can give one, and what is shrunk toward.
    pub average: Vec<f64>,
    /// By forest: the share of its deviations from the average that is reported, 1 unless
    /// shrinkage was asked for.
    pub shrinkage: Vec<f64>,
}

/// What was chosen while a forest was learned, as `train` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForestReport {
    /// The outcome.
    pub outcome: String,
    /// The arms whose effects the forest holds, or the dose.
    pub arms: Vec<String>,
    /// Trees.
    pub n_trees: u64,
    /// Splitting rows of every arm per leaf at least; of a dose, splitting rows per leaf.
    pub min_arm_rows: u32,
    /// `config`, or `r_loss`: the smallest out-of-bag R-loss of small forests, one effect for
    /// everybody unless another is better by more than a standard error.
    pub chosen_by: String,
    /// The leaf sizes that were tried, with their losses; empty when the config gave one.
    pub candidates: Vec<Candidate>,
    /// True when no leaf size beat one effect for everybody: the forest's answer is that.
    pub constant: bool,
    /// The share of the deviations from the average effect that is reported; 1 is all of them.
    pub shrinkage: f64,
    /// Leaves per tree, on average.
    pub mean_leaves: f64,
}

impl ForestModel {
    pub(in crate::learners) fn fit(
        config: &LearnerConfig,
        inputs: &Inputs<'_>,
        task: &LearnerTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<(Self, Vec<ForestReport>), CausalError> {
        let Some(centring) = task.nuisances else {
            // Only a caller inside this crate could forget them.
            return Err(CausalError::Mismatch { problem: "a causal forest without centring nuisances".into() });
        };
        for arm in 0..task.arms.len() {
            task.arm_rows(arm)?;
        }
        let n_contrasts = task.arms.n_contrasts();
        let average = centre::average_effects(task, centring);
        let groups: Vec<Vec<usize>> = if n_contrasts <= MAX_JOINT {
            vec![(1..=n_contrasts).collect()]
        } else {
            (1..=n_contrasts).map(|arm| vec![arm]).collect()
        };
        let (mut forests, mut shrinkage, mut reports) = (Vec::new(), Vec::new(), Vec::new());
        for (index, arms) in groups.iter().enumerate() {
            let centred = Centred::new(task, centring, arms);
            let of_group: Vec<f64> = arms.iter().map(|&arm| average[arm - 1]).collect();
            let ground = Ground { inputs, weights: task.weights, row_ids: task.row_ids, centred: &centred, watch };
            let labels = arms.iter().map(|&arm| task.arms.labels()[arm].clone()).collect();
            let (forest, report) = grow(config, &ground, &of_group, seed.child(index as u64), (task.outcome, labels))?;
            shrinkage.push(report.shrinkage);
            reports.push(report);
            forests.push(forest);
        }
        Ok((ForestModel { forests, average, shrinkage }, reports))
    }

    /// The forest of one unit of a dose.
    pub(in crate::learners) fn fit_dose(
        config: &LearnerConfig,
        inputs: &Inputs<'_>,
        task: &DoseTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<(Self, Vec<ForestReport>), CausalError> {
        let centred = Centred::of_dose(task);
        let average = centre::average_of_dose(task, &centred);
        if !average.is_finite() {
            return Err(CausalError::NoVariation { what: format!("the dose '{}' outside the hold-out", task.name) });
        }
        let ground = Ground { inputs, weights: task.weights, row_ids: task.row_ids, centred: &centred, watch };
        let what = (task.outcome, vec![task.name.to_owned()]);
        let (forest, report) = grow(config, &ground, &[average], seed.child(0), what)?;
        let model = ForestModel { forests: vec![forest], average: vec![average], shrinkage: vec![report.shrinkage] };
        Ok((model, vec![report]))
    }

    /// Effects for every row of the inputs, with 95 % normal intervals around the forest's own
    /// estimate when asked for. Shrunken effects have none: the interval would belong to
    /// another number than the one beside it.
    pub(in crate::learners) fn effects(&self, inputs: &Inputs<'_>, intervals: bool) -> Effects {
        let mut effects = Effects::default();
        for (forest, &share) in self.forests.iter().zip(&self.shrinkage) {
            let answer = forest.predict(&inputs.columns(), None, intervals && share == 1.0);
            let n = inputs.n_rows();
            let variances = answer.variances.unwrap_or_default();
            for (k, mut cate) in answer.values.into_iter().enumerate() {
                let average = self.average[effects.cate.len()];
                let half = |row: usize| variances.get(k).map_or(f64::NAN, |variance| Z * variance[row].sqrt());
                if intervals {
                    effects.lower.push((0..n).map(|row| cate[row] - half(row)).collect());
                    effects.upper.push((0..n).map(|row| cate[row] + half(row)).collect());
                }
                for effect in &mut cate {
                    *effect = match *effect {
                        unknown if unknown.is_nan() => average,
                        own if share == 1.0 => own,
                        own => average + share * (own - average),
                    };
                }
                effects.cate.push(cate);
            }
        }
        effects
    }
}

/// Chooses settings, grows the forest, and says what was chosen.
fn grow(
    config: &LearnerConfig,
    ground: &Ground<'_>,
    average: &[f64],
    seed: Seed,
    (outcome, arms): (&str, Vec<String>),
) -> Result<(Forest, ForestReport), CausalError> {
    let choice = choose::choose(config, ground, average, seed)?;
    let forest = ground.grow(&choice.config, seed)?;
    let n_leaves: usize = forest.trees().iter().map(impactiq_trees::Tree::n_leaves).sum();
    let report = ForestReport {
        outcome: outcome.to_owned(),
        arms,
        n_trees: forest.n_trees() as u64,
        min_arm_rows: choice.config.min_arm_rows,
        chosen_by: if choice.candidates.is_empty() { "config".into() } else { "r_loss".into() },
        constant: choice.constant,
        candidates: choice.candidates,
        shrinkage: choice.shrinkage,
        mean_leaves: n_leaves as f64 / forest.n_trees().max(1) as f64,
    };
    Ok((forest, report))
}
