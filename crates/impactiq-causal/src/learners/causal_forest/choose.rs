//! Chooses the leaf size, and how far to shrink, by the out-of-bag R-loss of small forests.
//!
//! The R-loss is E[(ỹ − Σ t̃ₖ τₖ(x))²] of centred outcomes and treatments (Nie & Wager 2021). A small
//! forest is noisy in a way that a large one is not, and noise would speak for large leaves: so
//! two small forests are grown per leaf size, and the loss is the mean product of their
//! residuals, whose expectation holds no noise of having few trees.
//!
//! One effect for everybody is a candidate too, and the one that needs no evidence: another
//! takes its place only when it is better by more than one standard error of the difference.

use impactiq_data::Seed;
use impactiq_trees::{Forest, ForestConfig};
use serde::{Deserialize, Serialize};

use super::ground::Ground;
use crate::error::CausalError;
use crate::learners::config::LearnerConfig;

/// Rows of every arm per leaf that are tried, from many to few; too many for the data are left out.
const LADDER: [u32; 10] = [20_000, 6_000, 2_000, 600, 200, 100, 50, 20, 5, 2];

/// Trees of each of the two forests of a leaf size.
const SMALL: usize = 24;

/// Leaf sizes in a row that may be worse than the best one before the search ends.
const PATIENCE: usize = 2;

/// Where the small forests' seeds start, away from those of other purposes.
const SEEDS: u64 = 1 << 32;

/// A leaf size that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Splitting rows of every arm per leaf at least; `null` is one effect for everybody.
    pub min_arm_rows: Option<u32>,
    /// Out-of-bag R-loss.
    pub r_loss: f64,
}

/// What was chosen.
pub(super) struct Choice {
    pub config: ForestConfig,
    pub candidates: Vec<Candidate>,
    pub constant: bool,
    pub shrinkage: f64,
}

/// The settings of the final forest. `average` are the average effects of its contrasts.
pub(super) fn choose(
    config: &LearnerConfig,
    ground: &Ground<'_>,
    average: &[f64],
    seed: Seed,
) -> Result<Choice, CausalError> {
    let asked = config.forest();
    let shrink = config.shrink.unwrap_or(false);
    let seed = seed.child(SEEDS);
    if let Some(size) = config.min_arm_rows {
        let asked = ground.with_leaf(&asked, size);
        let shrinkage = if shrink { ground.try_out(&asked, average, seed)?.slope } else { 1.0 };
        return Ok(Choice { config: asked, candidates: Vec::new(), constant: false, shrinkage });
    }
    let smallest = ground.smallest_arm();
    // A node must hold two leaves' worth of splitting rows.
    let share = asked.sample_fraction * if asked.honest { asked.split_fraction } else { 1.0 };
    let most = f64::from(smallest) * share / 2.0;
    // Leaves as large as the arm: no split, one effect for everybody.
    let sizes = std::iter::once(smallest.max(1)).chain(LADDER.into_iter().filter(|&size| f64::from(size) <= most));
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut constant: Option<Trial> = None;
    let mut best: Option<(u32, Trial)> = None;
    let mut worse = 0;
    for size in sizes {
        let small = ground.with_leaf(&asked, size);
        let trial = ground.try_out(&small, average, seed)?;
        let of_arms = constant.is_some().then_some(size);
        candidates.push(Candidate { min_arm_rows: of_arms, r_loss: trial.loss });
        if constant.is_none() {
            constant = Some(trial);
        } else if best.as_ref().is_none_or(|(_, best)| trial.loss < best.loss) {
            (best, worse) = (Some((size, trial)), 0);
        } else {
            worse += 1;
        }
        if worse > PATIENCE {
            break;
        }
    }
    let better = best.filter(|(_, best)| constant.as_ref().is_none_or(|constant| best.beats(constant)));
    let constant = better.is_none();
    let (min_arm_rows, slope) = better.map_or((smallest.max(1), 1.0), |(size, trial)| (size, trial.slope));
    let shrinkage = if shrink { slope } else { 1.0 };
    Ok(Choice { config: ground.with_leaf(&asked, min_arm_rows), candidates, constant, shrinkage })
}

/// Small forests of one leaf size.
struct Trial {
    /// Out-of-bag R-loss.
    loss: f64,
    /// The slope of the outcomes on what is predicted beyond the average, between 0 and 1.
    slope: f64,
    /// Each row's part in the loss; NaN for rows without one.
    rows: Vec<f64>,
}

impl Trial {
    /// Better by more than one standard error of the paired difference (rows taken as
    /// independent).
    fn beats(&self, other: &Trial) -> bool {
        let gains = || other.rows.iter().zip(&self.rows).map(|(a, b)| a - b).filter(|gain| !gain.is_nan());
        let n = gains().count() as f64;
        let mean = gains().sum::<f64>() / n;
        let variance = gains().map(|gain| (gain - mean).powi(2)).sum::<f64>() / (n - 1.0);
        mean > (variance / n).sqrt()
    }
}

impl Ground<'_> {
    /// Settings with leaves of at least `size` splitting rows of every arm; with a dose, of
    /// `size` rows.
    fn with_leaf(&self, asked: &ForestConfig, size: u32) -> ForestConfig {
        match self.centred.arms {
            Some(_) => ForestConfig { min_arm_rows: size, ..asked.clone() },
            None => ForestConfig { min_arm_rows: size, min_leaf_rows: size, ..asked.clone() },
        }
    }

    /// Rows of the smallest arm; of a dose, all rows.
    fn smallest_arm(&self) -> u32 {
        let Some(arms) = &self.centred.arms else { return self.centred.rows.len() as u32 };
        let mut counts = vec![0u32; self.centred.treatments.len() + 1];
        self.centred.rows.iter().for_each(|&row| counts[usize::from(arms[row as usize])] += 1);
        counts.into_iter().min().unwrap_or_default()
    }

    fn try_out(&self, config: &ForestConfig, average: &[f64], seed: Seed) -> Result<Trial, CausalError> {
        let trees_per_bag = config.trees_per_bag.min(2);
        let small = ForestConfig { n_trees: SMALL, trees_per_bag, ..config.clone() };
        let one = self.out_of_bag(&self.grow(&small, seed.child(0))?);
        let two = self.out_of_bag(&self.grow(&small, seed.child(1))?);
        let centred = self.centred;
        let mut rows = vec![f64::NAN; centred.rows.len()];
        let (mut loss, mut total, mut along, mut square) = (0.0, 0.0, 0.0, 0.0);
        for (i, &row) in centred.rows.iter().enumerate() {
            let row = row as usize;
            let weight = self.weights.map_or(1.0, |weights| weights[row]);
            let part = |value: &dyn Fn(usize) -> f64| -> f64 {
                centred.treatments.iter().enumerate().map(|(k, t)| t[row] * value(k)).sum()
            };
            let (a, b) = (part(&|k| one[k][i]), part(&|k| two[k][i]));
            if weight == 0.0 || a.is_nan() || b.is_nan() {
                continue;
            }
            let y = centred.outcome[row];
            rows[i] = weight * (y - a) * (y - b);
            loss += rows[i];
            total += weight;
            let constant = part(&|k| average[k]);
            along += weight * (y - constant) * (0.5 * (a + b) - constant);
            square += weight * (a - constant) * (b - constant);
        }
        let slope = if square > 0.0 { (along / square).clamp(0.0, 1.0) } else { 0.0 };
        Ok(Trial { loss: if total > 0.0 { loss / total } else { f64::INFINITY }, slope, rows })
    }

    fn out_of_bag(&self, forest: &Forest) -> Vec<Vec<f64>> {
        let key = |row: u32| self.row_ids[row as usize];
        forest.predict_out_of_bag(&self.inputs.columns(), &self.centred.rows, &key, false).values
    }
}
