//! Chooses the leaf sizes, whether a linear part comes first, and how far to shrink, by the
//! out-of-bag R-loss of small forests.
//!
//! The R-loss is E[(ỹ − Σ t̃ₖ τₖ(x))²] of centred outcomes and treatments (Nie & Wager 2021). A small
//! forest is noisy in a way that a large one is not, and noise would speak for large leaves: so
//! two small forests are grown per leaf size, and the loss is the mean product of their
//! residuals, whose expectation holds no noise of having few trees.
//!
//! One effect for everybody is a candidate too, and the one that needs no evidence. Others are
//! compared by what they gain over it less standard errors of that gain: small leaves are
//! noisy, and among many noisy losses the lowest is mostly luck. Sizes that the data can't tell
//! from the best one take turns in the forest, so that little hangs on luck.

use impactiq_data::{Seed, Stream, Watch};
use impactiq_trees::{Forest, ForestConfig};
use serde::{Deserialize, Serialize};

use super::ground::Ground;
use super::linear_part::Line;
use crate::error::CausalError;
use crate::learners::config::LearnerConfig;

/// Rows of every arm per leaf that are tried, from many to few; too many for the data are left out.
const LADDER: [u32; 12] = [20_000, 6_000, 2_000, 500, 200, 100, 50, 20, 10, 5, 2, 1];

/// Trees of each of the two forests of a leaf size.
const SMALL: usize = 32;

/// Leaf sizes in a row that may be worse than the best one before the search ends.
const PATIENCE: usize = 2;

/// Standard errors that are taken off the gain of a leaf size before sizes are compared: there are
/// a dozen of them, and the noisiest would win by luck.
const CAUTION: f64 = 2.0;

/// Standard errors by which a leaf size must be worse than the best to be told from it.
const APART: f64 = 2.0;

/// Larger and smaller leaf sizes that may take turns with the best. More of the smaller ones: an
/// interval knows the noise of its forest but not the bias of its leaves, so leaves had better be
/// smaller than the squared error alone would have them (undersmoothing), and caution speaks for
/// large ones.
const NEAR: (usize, usize) = (2, 3);

/// Rows that small forests grow from at most: more would cost as much as the forest itself, and
/// the best leaf size changes slowly with rows.
const MAX_ROWS: usize = 1_000_000;

/// Where the small forests' seeds start, away from those of other purposes.
const SEEDS: u64 = 1 << 32;

/// A leaf size that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Splitting rows of every arm per leaf at least; `null`: no trees, one effect for everybody
    /// or the line alone.
    pub min_arm_rows: Option<u32>,
    /// Whether a linear part came first.
    #[serde(default)]
    pub linear: bool,
    /// Out-of-bag R-loss.
    pub r_loss: f64,
}

/// What small forests are tried on: rows, and a loss that judges effects.
pub(super) trait Tries {
    /// Settings with leaves of at least `size` splitting rows of every arm; of `size` rows where there are no
    /// arms.
    fn with_leaf(&self, asked: &ForestConfig, size: u32) -> ForestConfig;

    /// The loss of small forests, `average` the average effects of their contrasts.
    fn try_out(&self, config: &ForestConfig, average: &[f64], seed: Seed) -> Result<Trial, CausalError>;

    /// Whoever may end the trying.
    fn watch(&self) -> &dyn Watch;

    /// Settings whose bags take leaf sizes in turn; all the `best` where there are none.
    fn with_leaves(&self, asked: &ForestConfig, best: u32, sizes: &[u32]) -> ForestConfig {
        let leaf_turns = sizes.iter().flat_map(|&size| self.with_leaf(asked, size).leaf_sizes()).collect();
        ForestConfig { leaf_turns, ..self.with_leaf(asked, best) }
    }
}

/// What was chosen.
pub(super) struct Choice {
    pub config: ForestConfig,
    pub candidates: Vec<Candidate>,
    pub linear: bool,
    pub shrinkage: f64,
}

/// The settings of the final forest. `average` are the average effects of its contrasts, `line` the
/// linear part where there can be one.
pub(super) fn choose(
    config: &LearnerConfig,
    ground: &Ground<'_>,
    line: Option<&Line>,
    average: &[f64],
    seed: Seed,
) -> Result<Choice, CausalError> {
    let asked = config.forest();
    let shrink = config.shrink.unwrap_or(false);
    let seed = seed.child(SEEDS);
    let sample = sample(ground.rows, ground.row_ids, seed);
    let plain = Ground { rows: &sample, ..*ground };
    let lined = line.map(|line| Ground { line: Some(line), ..plain });
    if let Some(size) = config.min_arm_rows {
        let ground = lined.unwrap_or(plain);
        let asked = ground.with_leaf(&asked, size);
        let shrinkage = if shrink { ground.try_out(&asked, average, seed)?.slope } else { 1.0 };
        let linear = line.is_some();
        return Ok(Choice { config: asked, candidates: Vec::new(), linear, shrinkage });
    }
    let mut search = Search::new(&asked, average, seed, plain.smallest_arm());
    let constant = search.stumps(&plain, false)?;
    let mut found = None;
    if let Some(lined) = &lined {
        let alone = search.stumps(lined, true)?;
        // A line that is no better than one number has nothing to give the trees.
        if config.linear_part == Some(true) || alone.cautious_gain(&constant) > 0.0 {
            found = Some(search.leaves(lined, &constant, Some(alone))?);
        }
    }
    let found = match found {
        Some(line) if config.linear_part == Some(true) => line,
        line => {
            let trees = search.leaves(&plain, &constant, None)?;
            let better = |line: &Found| line.trial.cautious_gain(&constant) > trees.trial.cautious_gain(&constant);
            line.filter(better).unwrap_or(trees)
        }
    };
    let shrinkage = if shrink && !found.sizes.is_empty() { found.trial.slope } else { 1.0 };
    let best = found.sizes.first().copied().unwrap_or(search.smallest.max(1));
    let config = plain.with_leaves(&asked, best, &found.sizes);
    Ok(Choice { candidates: search.candidates, linear: found.linear, config, shrinkage })
}

/// Leaf sizes without a line; `smallest` are the rows of the smallest arm. One effect for everybody where no size is
/// better.
pub(super) fn choose_leaves(
    asked: &ForestConfig,
    ground: &dyn Tries,
    (average, smallest): (&[f64], u32),
    seed: Seed,
) -> Result<(ForestConfig, Vec<Candidate>), CausalError> {
    let mut search = Search::new(asked, average, seed.child(SEEDS), smallest);
    let constant = search.stumps(ground, false)?;
    let found = search.leaves(ground, &constant, None)?;
    let best = found.sizes.first().copied().unwrap_or(smallest.max(1));
    Ok((ground.with_leaves(asked, best, &found.sizes), search.candidates))
}

/// The rows that small forests grow from: all, or a sample by hash (of clusters, where there are any).
pub(super) fn sample(rows: &[u32], row_ids: &[u64], seed: Seed) -> Vec<u32> {
    let n = rows.len();
    if n <= MAX_ROWS {
        return rows.to_vec();
    }
    let (seed, share) = (seed.stream(Stream::Validation), MAX_ROWS as f64 / n as f64);
    let drawn = |row: &u32| seed.uniform(row_ids[*row as usize]) < share;
    rows.iter().copied().filter(drawn).collect()
}

/// Two small forests of some settings, grown by `grow` from seeds of their own.
pub(super) fn small_forests(
    config: &ForestConfig,
    seed: Seed,
    watch: &dyn Watch,
    grow: impl Fn(&ForestConfig, Seed) -> Result<Forest, CausalError>,
) -> Result<[Forest; 2], CausalError> {
    let trees_per_bag = config.trees_per_bag.min(2);
    let small = ForestConfig { n_trees: SMALL, trees_per_bag, ..config.clone() };
    let forests = [grow(&small, seed.child(0))?, grow(&small, seed.child(1))?];
    if watch.should_stop() {
        // Forests cut short must not choose.
        return Err(CausalError::Stopped);
    }
    Ok(forests)
}

/// The leaf sizes tried so far, and what trials have in common.
struct Search<'a> {
    asked: &'a ForestConfig,
    average: &'a [f64],
    seed: Seed,
    smallest: u32,
    candidates: Vec<Candidate>,
}

/// The best of a search: leaf sizes, the best first, or no trees.
struct Found {
    sizes: Vec<u32>,
    linear: bool,
    trial: Trial,
}

impl<'a> Search<'a> {
    fn new(asked: &'a ForestConfig, average: &'a [f64], seed: Seed, smallest: u32) -> Self {
        Search { asked, average, seed, smallest, candidates: Vec::new() }
    }

    fn tried(&mut self, min_arm_rows: Option<u32>, linear: bool, trial: &Trial) {
        self.candidates.push(Candidate { min_arm_rows, linear, r_loss: trial.loss });
    }

    /// Trees that cannot split: one effect for everybody, or the line alone.
    fn stumps(&mut self, ground: &dyn Tries, linear: bool) -> Result<Trial, CausalError> {
        let stumps = ground.with_leaf(self.asked, self.smallest.max(1));
        let trial = ground.try_out(&stumps, self.average, self.seed)?;
        self.tried(None, linear, &trial);
        Ok(trial)
    }

    /// The leaf sizes that may be best, unless no trees are better: one effect for everybody, or
    /// the line where there is one.
    fn leaves(&mut self, ground: &dyn Tries, constant: &Trial, line: Option<Trial>) -> Result<Found, CausalError> {
        // A node must hold two leaves' worth of splitting rows.
        let share = self.asked.sample_fraction * if self.asked.honest { self.asked.split_fraction } else { 1.0 };
        let most = f64::from(self.smallest) * share / 2.0;
        let linear = line.is_some();
        let mut trials: Vec<(u32, Trial)> = Vec::new();
        let mut worse = 0;
        let mut smallest = f64::INFINITY;
        for size in LADDER.into_iter().filter(|&size| f64::from(size) <= most) {
            let small = ground.with_leaf(self.asked, size);
            let trial = ground.try_out(&small, self.average, self.seed)?;
            self.tried(Some(size), linear, &trial);
            worse = if trial.loss < smallest { 0 } else { worse + 1 };
            smallest = smallest.min(trial.loss);
            trials.push((size, trial));
            if worse > PATIENCE || ground.watch().should_hurry() {
                break;
            }
        }
        let gains: Vec<Gain> = trials.iter().map(|(_, trial)| trial.gain_over(constant)).collect();
        // One effect for everybody needs no evidence. A line does: trees stand by to mend it.
        let better = |index: usize| match &line {
            Some(line) => trials[index].1.loss < line.loss,
            None => smooth(&gains, index).less(1.0) > 0.0,
        };
        let Some(best) = most_gained(&gains).filter(|&index| better(index)) else {
            return Ok(Found { sizes: Vec::new(), linear, trial: line.unwrap_or_else(|| constant.clone()) });
        };
        let worse = |&index: &usize| trials[best].1.gain_over(&trials[index].1).less(APART) > 0.0;
        let finer: Vec<usize> = (best + 1..trials.len()).take(NEAR.1).take_while(|index| !worse(index)).collect();
        let coarser: Vec<usize> = (0..best).rev().take(NEAR.0).take_while(|index| !worse(index)).collect();
        let sizes = in_turn(best, &finer, &coarser).into_iter().map(|index| trials[index].0).collect();
        Ok(Found { sizes, linear, trial: trials.swap_remove(best).1 })
    }
}

/// The best, then its neighbours from near to far: a forest that is stopped early keeps what is near.
fn in_turn(best: usize, finer: &[usize], coarser: &[usize]) -> Vec<usize> {
    let pairs = (0..finer.len().max(coarser.len())).flat_map(|i| [finer.get(i), coarser.get(i)]);
    std::iter::once(best).chain(pairs.flatten().copied()).collect()
}

/// The size that gains most for certain.
fn most_gained(gains: &[Gain]) -> Option<usize> {
    let certain = |index| smooth(gains, index).less(CAUTION);
    (0..gains.len()).max_by(|&a, &b| certain(a).total_cmp(&certain(b)).then(b.cmp(&a)))
}

/// A size's gain averaged with its neighbours': between sizes side by side the losses of small
/// forests differ by chance, and hardly otherwise.
fn smooth(gains: &[Gain], index: usize) -> Gain {
    let mean = |index: usize| gains[index.min(gains.len() - 1)].mean;
    let mean = 0.25 * (mean(index.saturating_sub(1)) + 2.0 * mean(index) + mean(index + 1));
    Gain { mean, ..gains[index] }
}

/// How much better one candidate is than another.
#[derive(Clone, Copy)]
struct Gain {
    mean: f64,
    error: f64,
}

impl Gain {
    /// What is left after some standard errors are taken off.
    fn less(self, errors: f64) -> f64 {
        self.mean - errors * self.error
    }
}

/// Small forests of one leaf size.
#[derive(Clone)]
pub(super) struct Trial {
    /// Out-of-bag loss.
    pub loss: f64,
    /// The slope of the outcomes on what is predicted beyond the average, between 0 and 1.
    pub slope: f64,
    /// Each row's part in the loss, those of a cluster added up; NaN for rows without one.
    pub parts: Vec<f64>,
}

impl Trial {
    /// The gain over another candidate less one standard error.
    fn cautious_gain(&self, over: &Trial) -> f64 {
        self.gain_over(over).less(1.0)
    }

    /// How much better, with the standard error of the paired difference. Rows are taken as
    /// independent, or clusters where there are any.
    fn gain_over(&self, other: &Trial) -> Gain {
        let gains = || other.parts.iter().zip(&self.parts).map(|(a, b)| a - b).filter(|gain| !gain.is_nan());
        let n = gains().count() as f64;
        let mean = gains().sum::<f64>() / n;
        let variance = gains().map(|gain| (gain - mean).powi(2)).sum::<f64>() / (n - 1.0);
        match (variance / n).sqrt() {
            error if error.is_finite() => Gain { mean, error },
            _ => Gain { mean: 0.0, error: 0.0 },
        }
    }
}

impl Tries for Ground<'_> {
    fn with_leaf(&self, asked: &ForestConfig, size: u32) -> ForestConfig {
        match self.centred.arms {
            Some(_) => ForestConfig { min_arm_rows: size, ..asked.clone() },
            None => ForestConfig { min_arm_rows: size, min_leaf_rows: size, ..asked.clone() },
        }
    }

    fn watch(&self) -> &dyn Watch {
        self.watch
    }

    fn try_out(&self, config: &ForestConfig, average: &[f64], seed: Seed) -> Result<Trial, CausalError> {
        let forests = small_forests(config, seed, self.watch, |config, seed| self.grow(config, seed))?;
        let [one, two] = forests.map(|forest| self.out_of_bag(&forest, self.rows));
        let centred = self.centred;
        let mut parts = vec![f64::NAN; self.rows.len()];
        let (mut loss, mut total, mut along, mut square) = (0.0, 0.0, 0.0, 0.0);
        for (i, &row) in self.rows.iter().enumerate() {
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
            parts[i] = weight * (y - a) * (y - b);
            loss += parts[i];
            total += weight;
            let constant = part(&|k| average[k]);
            along += weight * (y - constant) * (0.5 * (a + b) - constant);
            square += weight * (a - constant) * (b - constant);
        }
        let slope = if square > 0.0 { (along / square).clamp(0.0, 1.0) } else { 0.0 };
        let loss = if total > 0.0 { loss / total } else { f64::INFINITY };
        let parts = if self.clusters.is_some() { by_unit(self.rows, self.row_ids, parts) } else { parts };
        Ok(Trial { loss, slope, parts })
    }
}

impl Ground<'_> {
    /// Rows of the smallest arm; of a dose, all rows.
    fn smallest_arm(&self) -> u32 {
        u32::try_from(self.centred.smallest_arm()).unwrap_or(u32::MAX)
    }
}

/// One number per row or cluster, in the order of their identifiers. The same rows are NaN in every trial of a seed, so
/// sums of two trials are comparable.
pub(super) fn by_unit(rows: &[u32], row_ids: &[u64], parts: Vec<f64>) -> Vec<f64> {
    let mut keyed: Vec<(u64, f64)> = rows.iter().map(|&row| row_ids[row as usize]).zip(parts).collect();
    // Stable, so that sums do not depend on anything but the rows' order.
    keyed.sort_by_key(|pair| pair.0);
    let sum = |unit: &[(u64, f64)]| {
        let known = || unit.iter().map(|pair| pair.1).filter(|part| !part.is_nan());
        known().next().map_or(f64::NAN, |_| known().sum())
    };
    keyed.chunk_by(|a, b| a.0 == b.0).map(sum).collect()
}

#[cfg(test)]
mod tests {
    use super::{Gain, in_turn, most_gained};

    fn gains(values: &[(f64, f64)]) -> Vec<Gain> {
        values.iter().map(|&(mean, error)| Gain { mean, error }).collect()
    }

    #[test]
    fn a_lone_peak_does_not_win_over_a_hill() {
        let alike = |means: &[f64]| gains(&means.iter().map(|&mean| (mean, 1.0)).collect::<Vec<_>>());
        assert_eq!(most_gained(&alike(&[0.0, 5.0, 5.5, 5.0, 1.0, 5.6, 1.0])), Some(2));
        assert_eq!(most_gained(&alike(&[3.0, 2.0, 1.0])), Some(0));
        assert_eq!(most_gained(&alike(&[1.0, 2.0, 3.0])), Some(2));
        assert_eq!(most_gained(&[]), None);
    }

    #[test]
    fn a_forest_begins_with_the_best_leaf_and_what_is_near() {
        assert_eq!(in_turn(3, &[4], &[2, 1, 0]), [3, 4, 2, 1, 0]);
        assert_eq!(in_turn(0, &[], &[]), [0]);
    }

    #[test]
    fn a_larger_gain_that_is_uncertain_does_not_win() {
        assert_eq!(most_gained(&gains(&[(2.0, 0.5), (2.6, 0.6), (2.8, 2.0), (3.2, 4.0)])), Some(1));
    }
}
