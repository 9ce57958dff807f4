//! Settings chosen by held-out loss: which are tried, and what each is worth on rows it did not see.
//!
//! A candidate is judged inside the rows it is given and nowhere else, so a nuisance that tunes is as
//! out-of-fold as one that does not. What must not live here: folds of a run, effects.

use impactiq_data::{Seed, Watch};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::defaults::{Place, Target};
use super::settings::{BaseKind, BaseSettings};
use super::{BaseLearner, FitTask, Inputs};
use crate::error::CausalError;

/// Rows that are enough to compare settings.
const ENOUGH_ROWS: usize = 100_000;

/// Rows up to which every row is held out once; above, a third of them is enough.
const FEW_ROWS: usize = 20_000;

/// The child of a training part's seed that deals its rows for trials.
pub const TRIALS: u64 = u64::MAX;

/// Parts the rows are dealt into.
const N_PARTS: usize = 3;

/// Settings to compare, the user's own first: only keys that were left out differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidates {
    /// As a config writes them.
    pub settings: Vec<BaseSettings>,
    /// The learners they make.
    pub learners: Vec<BaseLearner>,
    /// What may be spent.
    pub budget: Budget,
}

impl Candidates {
    /// Candidates for a place and a target.
    pub fn new(own: &BaseSettings, kind: BaseKind, place: Place, target: Target, budget: Budget) -> Self {
        let settings = candidates(own, kind, default_leaf(kind, place, target), budget.trials as usize);
        let learners = settings.iter().map(|settings| settings.learner(kind, place, target)).collect();
        Candidates { settings, learners, budget }
    }
}

/// Rows per leaf where nobody wrote any.
pub fn default_leaf(kind: BaseKind, place: Place, target: Target) -> u32 {
    match BaseSettings::default().learner(kind, place, target) {
        BaseLearner::Boosted { config, .. } | BaseLearner::External { config, .. } => config.min_leaf_rows,
        BaseLearner::Forest { config } => config.min_leaf_rows,
        _ => 1,
    }
}

/// Up to `n` different settings: the user's, then some that do well on many data sets, then random ones.
pub fn candidates(own: &BaseSettings, kind: BaseKind, leaf: u32, n: usize) -> Vec<BaseSettings> {
    let mut all = vec![*own];
    // A fixed seed: the list is part of the method, not of the run.
    for index in 0..20 * n as u64 {
        if all.len() >= n {
            break;
        }
        let drawn = match kind {
            BaseKind::Forest => forest(index, leaf),
            _ => boosted(index, leaf),
        };
        let candidate = drawn.under(own);
        if !all.contains(&candidate) {
            all.push(candidate);
        }
    }
    all
}

/// Trees, step, leaves, l2, leaf sizes of the default one, share of features.
const BOOSTED: [(u32, f64, u32, f64, u32, f64); 7] = [
    (300, 0.05, 31, 1.0, 1, 1.0),
    (200, 0.1, 4, 1.0, 1, 1.0),
    (300, 0.05, 16, 10.0, 2, 0.7),
    (300, 0.1, 2, 1.0, 1, 1.0),
    (300, 0.05, 8, 100.0, 4, 0.5),
    (300, 0.05, 64, 10.0, 4, 0.7),
    (600, 0.03, 8, 10.0, 1, 0.5),
];

/// Trees, leaf sizes of the default one, share of rows.
const FORESTS: [(u32, u32, f64); 5] = [(300, 4, 0.5), (300, 2, 0.5), (300, 8, 0.7), (300, 1, 0.7), (300, 16, 0.5)];

fn boosted(index: u64, leaf: u32) -> BaseSettings {
    let fixed = BOOSTED.get(index as usize).copied();
    let (n_trees, learning_rate, n_leaves, l2, leaves, features) = fixed.unwrap_or_else(|| {
        let draw = |of: u64, values: [f64; 6]| values[(uniform(index, of) * 6.0) as usize];
        let rate = draw(0, [0.02, 0.03, 0.05, 0.07, 0.1, 0.2]);
        (
            ((20.0 / rate) as u32).clamp(100, 600),
            rate,
            draw(1, [2.0, 4.0, 8.0, 16.0, 31.0, 64.0]) as u32,
            draw(2, [0.1, 1.0, 3.0, 10.0, 30.0, 100.0]),
            draw(3, [1.0, 1.0, 2.0, 4.0, 8.0, 16.0]) as u32,
            draw(4, [0.3, 0.5, 0.6, 0.7, 0.85, 1.0]),
        )
    });
    BaseSettings {
        n_trees: Some(n_trees),
        learning_rate: Some(learning_rate),
        n_leaves: Some(n_leaves),
        l2: Some(l2),
        min_leaf_rows: Some(leaf.saturating_mul(leaves)),
        feature_fraction: Some(features),
        ..BaseSettings::default()
    }
}

fn forest(index: u64, leaf: u32) -> BaseSettings {
    let (n_trees, leaves, rows) = FORESTS.get(index as usize).copied().unwrap_or_else(|| {
        let draw = |of: u64, values: [f64; 5]| values[(uniform(index, of) * 5.0) as usize];
        (300, draw(0, [1.0, 2.0, 4.0, 8.0, 16.0]) as u32, draw(1, [0.3, 0.4, 0.5, 0.6, 0.8]))
    });
    BaseSettings {
        n_trees: Some(n_trees),
        min_leaf_rows: Some(leaf.saturating_mul(leaves)),
        row_fraction: Some(rows),
        ..BaseSettings::default()
    }
}

fn uniform(index: u64, of: u64) -> f64 {
    Seed::new(0x7475_6e65).child(of).uniform(index)
}

/// Rows of a training part dealt into those that learn and those that judge, once or thrice.
pub struct Trials {
    parts: Vec<(Vec<u32>, Vec<u32>)>,
}

impl Trials {
    /// Deals rows by what sampling keeps together; rows of weight 0 take no part.
    pub fn new(task: &FitTask<'_>, seed: Seed) -> Self {
        let weighs = |row: &u32| task.weights.is_none_or(|weights| weights[*row as usize] > 0.0);
        let share = ENOUGH_ROWS as f64 / task.rows.len().max(1) as f64;
        let (draw, deal) = (seed.child(0), seed.child(1));
        let rows: Vec<u32> = task
            .rows
            .iter()
            .copied()
            .filter(|row| weighs(row) && draw.uniform(task.row_ids[*row as usize]) < share)
            .collect();
        let part = |row: u32| (deal.uniform(task.row_ids[row as usize]) * N_PARTS as f64) as usize;
        let n = if rows.len() <= FEW_ROWS { N_PARTS } else { 1 };
        let parts = (0..n).map(|held| rows.iter().partition(|&&row| part(row) != held)).collect();
        Trials { parts }
    }

    /// The mean loss of a learner on rows it did not see; infinite where there are none to see, or its
    /// answer is no number.
    ///
    /// # Errors
    /// As [`BaseLearner::fit`].
    pub fn loss(
        &self,
        learner: &BaseLearner,
        inputs: &Inputs<'_>,
        task: &FitTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<f64, CausalError> {
        let (mut sum, mut total) = (0.0, 0.0);
        for (place, (training, held)) in self.parts.iter().enumerate() {
            if training.is_empty() || held.is_empty() {
                continue;
            }
            let model =
                learner.fit(inputs, &FitTask { rows: training, ..*task }, seed.child(2 + place as u64), watch)?;
            let mut predictions = vec![0.0; held.len()];
            model.predict(inputs, Some(held), &mut predictions)?;
            for (&row, prediction) in held.iter().zip(predictions) {
                let row = row as usize;
                let weight = task.weights.map_or(1.0, |weights| weights[row]);
                sum += weight * task.loss.of(prediction, task.target[row]);
                total += weight;
            }
        }
        let mean = sum / total;
        Ok(if mean.is_finite() { mean } else { f64::INFINITY })
    }
}

/// What was tried for one target, and what was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuneReport {
    /// The target: "outcome 'visit' of arm '1'".
    pub what: String,
    /// The loss that judged.
    pub loss: String,
    /// Settings tried.
    pub trials: u64,
    /// True when the seconds were used up, or the watch said to hurry, before all were tried.
    pub hurried: bool,
    /// By settings: the first are the config's own.
    pub tried: Vec<Tried>,
}

/// One candidate of a [`TuneReport`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The keys that differ from the config's; none for the config as it stands.
    pub settings: BaseSettings,
    /// Mean held-out loss; none where there was none.
    pub loss: Option<f64>,
    /// Folds that took it, or 1 where there is one fit.
    pub n_taken: u64,
}

impl Tried {
    /// A candidate beside the config's own settings.
    pub fn new(settings: &BaseSettings, own: &BaseSettings, loss: f64, n_taken: u64) -> Self {
        Tried { settings: settings.beyond(own), loss: Some(loss).filter(|loss| loss.is_finite()), n_taken }
    }
}

/// When trying ends: by a budget, and by a watch that hurries.
pub struct Clock<'a> {
    watch: &'a dyn Watch,
    end: Option<f64>,
}

impl<'a> Clock<'a> {
    /// Starts now.
    pub fn start(budget: Budget, watch: &'a dyn Watch) -> Self {
        Clock { watch, end: budget.seconds.zip(watch.seconds()).map(|(seconds, now)| now + seconds) }
    }

    /// Whether no further candidate may be begun.
    pub fn is_over(&self) -> bool {
        self.watch.should_hurry() || self.end.zip(self.watch.seconds()).is_some_and(|(end, now)| now >= end)
    }
}

/// What some training parts choose, each from its own rows alone.
pub struct Choice {
    /// The place of the learner taken, by part.
    pub taken: Vec<usize>,
    /// What was tried.
    pub report: TuneReport,
}

impl Candidates {
    /// Compares the candidates inside every training part, all parts in step; `parts` are what is
    /// learned there, each with the seed that deals its rows.
    ///
    /// # Errors
    /// As [`BaseLearner::fit`].
    pub fn choose(
        &self,
        what: &str,
        parts: &[(FitTask<'_>, Seed)],
        inputs: &Inputs<'_>,
        watch: &dyn Watch,
    ) -> Result<Choice, CausalError> {
        let clock = Clock::start(self.budget, watch);
        let trials: Vec<Trials> = parts.iter().map(|(task, seed)| Trials::new(task, *seed)).collect();
        // By candidate, by part.
        let mut losses: Vec<Vec<f64>> = Vec::new();
        for learner in &self.learners {
            if !losses.is_empty() && clock.is_over() {
                break;
            }
            let one = |((task, seed), trials): (&(FitTask<'_>, Seed), &Trials)| {
                trials.loss(learner, inputs, task, *seed, watch)
            };
            let of_parts: Vec<Result<f64, CausalError>> = parts.par_iter().zip(&trials).map(one).collect();
            losses.push(of_parts.into_iter().collect::<Result<_, _>>()?);
        }
        let of_part = |part: usize| losses.iter().map(move |of_parts| of_parts[part]);
        let taken: Vec<usize> = (0..parts.len()).map(|part| smallest(of_part(part))).collect();
        let tried = losses.iter().zip(&self.settings).enumerate().map(|(place, (of_parts, settings))| {
            let mean = of_parts.iter().sum::<f64>() / parts.len().max(1) as f64;
            let n_taken = taken.iter().filter(|&&taken| taken == place).count() as u64;
            Tried::new(settings, &self.settings[0], mean, n_taken)
        });
        let report = TuneReport {
            what: what.to_owned(),
            loss: parts.first().map_or("", |(task, _)| task.loss.name()).to_owned(),
            trials: losses.len() as u64,
            hurried: losses.len() < self.learners.len(),
            tried: tried.collect(),
        };
        Ok(Choice { taken, report })
    }
}

/// The place of the smallest number; the first of equal ones.
pub fn smallest(losses: impl IntoIterator<Item = f64>) -> usize {
    let mut best = (0, f64::INFINITY);
    for (place, loss) in losses.into_iter().enumerate() {
        if loss < best.1 {
            best = (place, loss);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Loss;

    #[test]
    fn candidates_begin_with_the_config_and_differ_only_in_keys_it_leaves_out() {
        let own = BaseSettings { n_leaves: Some(5), learning_rate: Some(0.2), ..BaseSettings::default() };
        for kind in [BaseKind::Boosted, BaseKind::Forest, BaseKind::Lightgbm] {
            let own = if kind == BaseKind::Forest { BaseSettings::default() } else { own };
            let all = candidates(&own, kind, 20, 12);
            assert_eq!((all.len(), all[0]), (12, own), "{kind:?}");
            assert_eq!(candidates(&own, kind, 20, 5), all[..5]);
            for (place, candidate) in all.iter().enumerate() {
                assert_eq!((candidate.n_leaves, candidate.learning_rate), (own.n_leaves, own.learning_rate));
                assert!(!all[..place].contains(candidate));
                // Nothing a user could not have written.
                candidate.check("nuisance", if kind == BaseKind::Forest { kind } else { BaseKind::Boosted }).unwrap();
            }
        }
    }

    #[test]
    fn with_every_key_written_there_is_nothing_to_choose() {
        let own = boosted(0, 20);
        assert_eq!(candidates(&own, BaseKind::Boosted, 20, 8), [own]);
    }

    #[test]
    fn the_first_of_equal_losses_is_taken_and_none_that_is_no_number() {
        assert_eq!(smallest([2.0, 1.0, 1.0]), 1);
        assert_eq!(smallest([f64::INFINITY, f64::INFINITY]), 0);
        assert_eq!(smallest([f64::INFINITY, 3.0]), 1);
    }

    #[test]
    fn rows_are_dealt_by_what_sampling_keeps_together() {
        let n = 300u32;
        let (rows, ids): (Vec<u32>, Vec<u64>) = (0..n).map(|row| (row, u64::from(row / 10))).unzip();
        let target = vec![0.0; n as usize];
        let mut weights = vec![1.0; n as usize];
        weights[7] = 0.0;
        let task =
            FitTask { rows: &rows, target: &target, weights: Some(&weights), row_ids: &ids, loss: Loss::Squared };
        let trials = Trials::new(&task, Seed::new(1));
        assert_eq!(trials.parts.len(), 3);
        let mut held_out = vec![0; n as usize];
        for (training, held) in &trials.parts {
            assert_eq!(training.len() + held.len(), 299);
            assert!(held.iter().all(|&row| training.iter().all(|&other| ids[other as usize] != ids[row as usize])));
            held.iter().for_each(|&row| held_out[row as usize] += 1);
        }
        assert_eq!(held_out.iter().sum::<u32>(), 299);
        assert_eq!(held_out[7], 0);
    }
}
