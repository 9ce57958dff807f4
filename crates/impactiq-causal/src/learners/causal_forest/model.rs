//! The forest of one outcome: how its parts fit together, what it reports and what it answers.

use impactiq_data::{DataError, Seed, Watch};
use impactiq_metrics::Estimate;
use impactiq_metrics::calibration::CalibrationTest;
use impactiq_metrics::estimate::Z_95;
use impactiq_trees::{Forest, ForestConfig};
use serde::{Deserialize, Serialize};

use super::answers::{self, ForestAverages, ForestCalibration};
use super::centre::{self, Centred};
use super::choose::{self, Candidate, Tries};
use super::ground::Ground;
use super::linear_part::{Line, LinearPart};
use super::rows::{self, ContrastRows, Group};
use crate::base::Inputs;
use crate::error::CausalError;
use crate::learners::config::LearnerConfig;
use crate::learners::task::{DoseTask, Effects, LearnerNuisances, LearnerTask};

/// Contrasts one forest can hold; with more, every contrast has a forest of its own.
pub const MAX_JOINT: usize = 4;

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
    /// By forest: the linear part of each of its contrasts, which its trees complete; empty
    /// where there is none.
    pub lines: Vec<Vec<LinearPart>>,
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
    /// Trees the config asked for; more than `n_trees` where growing was stopped.
    #[serde(default)]
    pub n_trees_asked: u64,
    /// Splitting rows of every arm per leaf at least; of a dose, splitting rows per leaf. The best
    /// where several take turns.
    pub min_arm_rows: u32,
    /// What bags take in turn for `min_arm_rows`: the best, and what the data can't tell from it.
    #[serde(default)]
    pub leaf_sizes: Vec<u32>,
    /// `config`, or `r_loss`: by the out-of-bag R-loss of small forests, one effect for
    /// everybody unless another is better by more than a standard error.
    pub chosen_by: String,
    /// Whether the effect begins with a linear part.
    #[serde(default)]
    pub linear: bool,
    /// The leaf sizes that were tried, with their losses; empty when the config gave one.
    pub candidates: Vec<Candidate>,
    /// True when the forest's answer is one effect for everybody: no leaf size beat that, or no tree
    /// could split.
    pub constant: bool,
    /// The share of the deviations from the average effect that is reported; 1 is all of them.
    pub shrinkage: f64,
    /// Leaves per tree, on average.
    pub mean_leaves: f64,
    /// Average effects by arm, from out-of-bag effects; of a million rows at most.
    #[serde(default)]
    pub averages: Vec<ForestAverages>,
    /// Whether mean and differences of the out-of-bag effects are right, by arm.
    #[serde(default)]
    pub calibration: Vec<ForestCalibration>,
}

impl ForestModel {
    pub(in crate::learners) fn fit(
        config: &LearnerConfig,
        inputs: &Inputs<'_>,
        task: &LearnerTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<(Self, Vec<ForestReport>), CausalError> {
        let nuisances = nuisances(task)?;
        for arm in 0..task.arms.len() {
            task.arm_rows(arm)?;
        }
        let average = centre::average_effects(task, nuisances);
        let mut model = ForestModel { forests: Vec::new(), average, shrinkage: Vec::new(), lines: Vec::new() };
        let mut reports = Vec::new();
        for (index, arms) in groups(task.arms.n_contrasts()).iter().enumerate() {
            let centred = Centred::new(task, nuisances, arms);
            let average: Vec<f64> = arms.iter().map(|&arm| model.average[arm - 1]).collect();
            let ground = Ground::of(inputs, task, &centred, watch);
            let group = Group { ground, task, nuisances, arms, average: &average, constant: false };
            let (forest, line, report) = group.fit(config, seed.child(index as u64))?;
            model.shrinkage.push(report.shrinkage);
            model.forests.push(forest);
            model.lines.push(line.map_or_else(Vec::new, |line| line.parts));
            reports.push(report);
        }
        Ok((model, reports))
    }

    /// The model with the trees it lacks of what the config asks for. Reports, task and seed are
    /// those of its training.
    pub(crate) fn go_on(
        mut self,
        config: &LearnerConfig,
        (inputs, task, seed): (&Inputs<'_>, &LearnerTask<'_>, Seed),
        reports: &[ForestReport],
        watch: &dyn Watch,
    ) -> Result<(Self, Vec<ForestReport>), CausalError> {
        let nuisances = nuisances(task)?;
        let groups = groups(task.arms.n_contrasts());
        if reports.len() != groups.len() || self.forests.len() != groups.len() {
            return Err(CausalError::OtherTraining { differs: "the number of forests".into() });
        }
        // The averages are a fingerprint of rows, nuisances and config.
        if centre::average_effects(task, nuisances) != self.average {
            return Err(CausalError::OtherTraining { differs: "the average effect of its rows".into() });
        }
        let mut grown = Vec::with_capacity(groups.len());
        for (index, (arms, forest)) in groups.iter().zip(std::mem::take(&mut self.forests)).enumerate() {
            let centred = Centred::new(task, nuisances, arms);
            let average: Vec<f64> = arms.iter().map(|&arm| self.average[arm - 1]).collect();
            let ground = Ground::of(inputs, task, &centred, watch);
            let (report, seed) = (&reports[index], seed.child(index as u64));
            let line = if report.linear { rows::line(&ground, task, (nuisances, arms), seed)? } else { None };
            if line.as_ref().map_or(&[][..], |line| &line.parts) != self.lines[index] {
                return Err(CausalError::OtherTraining { differs: "the linear part".into() });
            }
            let ground = Ground { line: line.as_ref(), ..ground };
            let asked = ground.with_leaves(&config.forest(), report.min_arm_rows, &report.leaf_sizes);
            let forest = ground.grow_at_last(Some(forest), &asked, seed)?;
            let group = Group { ground, task, nuisances, arms, average: &average, constant: report.constant };
            grown.push(group.report(&forest, asked.n_trees, seed, report.clone()));
            self.forests.push(forest);
        }
        Ok((self, grown))
    }

    /// One model with the trees of both; what is no tree is averaged by their number.
    pub(crate) fn merge(self, other: ForestModel) -> Result<Self, CausalError> {
        let differs = |what: &str| Err(CausalError::OtherTraining { differs: what.to_owned() });
        if self.forests.len() != other.forests.len() || self.average.len() != other.average.len() {
            return differs("the number of effects");
        }
        let trees = |model: &ForestModel| model.forests.iter().map(Forest::n_trees).sum::<usize>() as f64;
        let share = trees(&other) / (trees(&self) + trees(&other)).max(1.0);
        let mix = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + share * (b - a)).collect::<Vec<f64>>();
        let mut lines = Vec::with_capacity(self.lines.len());
        for (a, b) in self.lines.iter().zip(&other.lines) {
            let same = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.design == b.design);
            if !same {
                return differs("the linear part");
            }
            lines.push(a.iter().zip(b).map(|(a, b)| a.mix(b, share)).collect());
        }
        let mut forests = Vec::with_capacity(self.forests.len());
        for (a, b) in self.forests.into_iter().zip(other.forests) {
            let seeds = a.to_arrays().bag_seeds;
            if b.to_arrays().bag_seeds.iter().any(|seed| seeds.contains(seed)) {
                return differs("nothing: they share trees, as forests of one seed do");
            }
            forests.push(a.merge(b)?);
        }
        let average = mix(&self.average, &other.average);
        Ok(ForestModel { forests, average, shrinkage: mix(&self.shrinkage, &other.shrinkage), lines })
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
        let (weights, row_ids) = (task.weights, task.row_ids);
        let rows = &centred.rows;
        let ground = Ground { inputs, weights, row_ids, clusters: None, centred: &centred, line: None, rows, watch };
        let what = (task.outcome, vec![task.name.to_owned()]);
        let (forest, report) = grow(config, &ground, None, &[average], (seed.child(0), what))?;
        let n_asked = config.forest().n_trees;
        let report = grown(&forest, n_asked, report);
        let (average, shrinkage) = (vec![average], vec![report.shrinkage]);
        Ok((ForestModel { forests: vec![forest], average, shrinkage, lines: vec![Vec::new()] }, vec![report]))
    }

    /// Effects for every row of the inputs, with 95 % normal intervals around the forest's own
    /// estimate when asked for. Shrunken effects have none: the interval would belong to
    /// another number than the one beside it.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`] when a raw column of a linear part is not there.
    pub(in crate::learners) fn effects(&self, inputs: &Inputs<'_>, intervals: bool) -> Result<Effects, DataError> {
        let mut effects = Effects::default();
        for ((forest, &share), lines) in self.forests.iter().zip(&self.shrinkage).zip(&self.lines) {
            let spread = intervals && share == 1.0;
            let answer = forest.predict(&inputs.columns(), None, spread);
            let n = inputs.n_rows();
            let mut variances = answer.variances.unwrap_or_default();
            for (k, mut cate) in answer.values.into_iter().enumerate() {
                let average = self.average[effects.cate.len()];
                if let Some(line) = lines.get(k) {
                    let (line, of_line) = line.predict(inputs, spread)?;
                    cate.iter_mut().zip(line).for_each(|(effect, line)| *effect += line);
                    if let Some(variances) = variances.get_mut(k) {
                        variances.iter_mut().zip(of_line).for_each(|(variance, line)| *variance += line);
                    }
                }
                let half = |row: usize| variances.get(k).map_or(f64::NAN, |variance| Z_95 * variance[row].sqrt());
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
        Ok(effects)
    }

    /// Whether answers need the raw columns.
    pub fn needs_raw(&self) -> bool {
        self.lines.iter().any(|lines| !lines.is_empty())
    }

    /// Each feature's share of what all splits gained, adding up to 1 (all 0 without splits). It
    /// says what trees looked at: a linear part stands outside.
    pub fn importance(&self) -> Vec<f64> {
        let mut shares = vec![0.0; self.forests.first().map_or(0, Forest::n_features)];
        for forest in &self.forests {
            let gain = forest.feature_gain();
            let total: f64 = gain.iter().sum();
            if total > 0.0 {
                shares.iter_mut().zip(&gain).for_each(|(share, gain)| *share += gain / total);
            }
        }
        let total: f64 = shares.iter().sum();
        if total > 0.0 {
            shares.iter_mut().for_each(|share| *share /= total);
        }
        shares
    }

    /// The rows the model learned from, by contrast, with what it says of each out of bag. Task
    /// and seed are those it was fitted with.
    pub(crate) fn contrast_rows(
        &self,
        inputs: &Inputs<'_>,
        task: &LearnerTask<'_>,
        seed: Seed,
    ) -> Result<Vec<ContrastRows>, CausalError> {
        let nuisances = nuisances(task)?;
        let mut all = Vec::new();
        for (index, arms) in groups(task.arms.n_contrasts()).iter().enumerate() {
            let centred = Centred::new(task, nuisances, arms);
            let seed = seed.child(index as u64);
            let plain = Ground::of(inputs, task, &centred, &impactiq_data::Silent);
            let line =
                if self.lines[index].is_empty() { None } else { rows::line(&plain, task, (nuisances, arms), seed)? };
            let average: Vec<f64> = arms.iter().map(|&arm| self.average[arm - 1]).collect();
            let constant = line.is_none() && is_stumps(&self.forests[index]);
            let ground = Ground { line: line.as_ref(), ..plain };
            let group = Group { ground, task, nuisances, arms, average: &average, constant };
            all.extend(group.rows(&self.forests[index], seed));
        }
        Ok(all)
    }
}

/// The contrasts of each forest, as codes of arms.
fn groups(n_contrasts: usize) -> Vec<Vec<usize>> {
    if n_contrasts <= MAX_JOINT {
        vec![(1..=n_contrasts).collect()]
    } else {
        (1..=n_contrasts).map(|arm| vec![arm]).collect()
    }
}

fn nuisances<'a>(task: &LearnerTask<'a>) -> Result<&'a LearnerNuisances, CausalError> {
    // Only a caller inside this crate could forget them.
    task.nuisances.ok_or_else(|| CausalError::Mismatch { problem: "a causal forest without centring nuisances".into() })
}

impl Group<'_> {
    /// Chooses, grows and tests the forest of a group.
    fn fit(&self, config: &LearnerConfig, seed: Seed) -> Result<(Forest, Option<Line>, ForestReport), CausalError> {
        let ground = self.ground;
        // A given leaf size means the forest of the literature, unless a line is asked for.
        let wanted = config.linear_part.unwrap_or(config.min_arm_rows.is_none());
        let pair = (self.nuisances, self.arms);
        let line = if wanted { rows::line(&ground, self.task, pair, seed)? } else { None };
        let labels = self.task.arms.labels();
        let what = (self.task.outcome, self.arms.iter().map(|&arm| labels[arm].clone()).collect());
        let (forest, report) = grow(config, &ground, line.as_ref(), self.average, (seed, what))?;
        let line = line.filter(|_| report.linear);
        let ground = Ground { line: line.as_ref(), ..ground };
        let group = Group { ground, constant: report.constant, ..*self };
        let report = group.report(&forest, config.forest().n_trees, seed, report);
        Ok((forest, line, report))
    }

    /// The report with what follows from the forest as it has grown.
    fn report(&self, forest: &Forest, n_asked: usize, seed: Seed, report: ForestReport) -> ForestReport {
        let rows = self.rows(forest, seed);
        ForestReport {
            averages: rows.iter().map(answers::forest_averages).collect(),
            calibration: rows.iter().map(calibration).collect(),
            ..grown(forest, n_asked, report)
        }
    }
}

/// Chooses settings, grows the forest, and says what was chosen.
fn grow(
    config: &LearnerConfig,
    ground: &Ground<'_>,
    line: Option<&Line>,
    average: &[f64],
    (seed, (outcome, arms)): (Seed, (&str, Vec<String>)),
) -> Result<(Forest, ForestReport), CausalError> {
    let choice = choose::choose(config, ground, line, average, seed)?;
    let line = line.filter(|_| choice.linear);
    let forest = Ground { line, ..*ground }.grow_at_last(None, &choice.config, seed)?;
    let report = ForestReport {
        linear: line.is_some(),
        constant: line.is_none() && is_stumps(&forest),
        shrinkage: choice.shrinkage,
        ..ForestReport::chosen((outcome, arms), &choice.config, choice.candidates)
    };
    Ok((forest, report))
}

impl ForestReport {
    /// What was chosen, before anything has grown.
    pub(super) fn chosen(
        (outcome, arms): (&str, Vec<String>),
        config: &ForestConfig,
        candidates: Vec<Candidate>,
    ) -> Self {
        ForestReport {
            outcome: outcome.to_owned(),
            arms,
            n_trees: 0,
            n_trees_asked: 0,
            min_arm_rows: config.min_arm_rows,
            leaf_sizes: config.leaf_sizes().iter().map(|leaf| leaf.min_arm_rows).collect(),
            chosen_by: if candidates.is_empty() { "config".into() } else { "r_loss".into() },
            linear: false,
            candidates,
            constant: false,
            shrinkage: 1.0,
            mean_leaves: 0.0,
            averages: Vec::new(),
            calibration: Vec::new(),
        }
    }
}

/// The report with the forest's size.
pub(super) fn grown(forest: &Forest, n_asked: usize, report: ForestReport) -> ForestReport {
    let n_leaves: usize = forest.trees().iter().map(impactiq_trees::Tree::n_leaves).sum();
    ForestReport {
        n_trees: forest.n_trees() as u64,
        n_trees_asked: n_asked as u64,
        mean_leaves: n_leaves as f64 / forest.n_trees().max(1) as f64,
        ..report
    }
}

/// Whether no tree splits.
pub(super) fn is_stumps(forest: &Forest) -> bool {
    forest.trees().iter().all(|tree| tree.n_leaves() == 1)
}

fn calibration(rows: &ContrastRows) -> ForestCalibration {
    let test = answers::calibration_test(rows).unwrap_or_else(|error| CalibrationTest {
        mean_prediction: Estimate::undefined(error.to_string()),
        differential_prediction: Estimate::undefined(error.to_string()),
        p_mean: None,
        p_differential: None,
        p_mean_two_sided: None,
        p_differential_two_sided: None,
    });
    ForestCalibration { arm: rows.arm.clone(), test }
}
