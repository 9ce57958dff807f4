//! Grows uplift trees: draws rows, fills tiles, grows, fills leaves with the arms' means.
//!
//! Trees are independent, so they grow in parallel and the forest does not depend on the number
//! of threads. Codes and contributions of all rows are laid out once; each tree copies its own
//! into a tile.

use impactiq_data::{BinColumns, Seed, Stream, Watch};
use rayon::prelude::*;

use crate::criterion::arms::{ArmForm, ArmSums, Counted, Moments};
use crate::criterion::summarise;
use crate::criterion::uplift::Uplift;
use crate::error::{TreesError, check_length};
use crate::forest::uplift::config::{MAX_ARMS, UpliftConfig};
use crate::forest::uplift::model::UpliftForest;
use crate::grow::{GrowConfig, Grower};
use crate::histogram::Layout;
use crate::matrix::{CodeMatrix, features};
use crate::sample::Bags;
use crate::tile::{Part, Store, Tile};
use crate::tree::Tree;

/// What to learn from which rows; vectors are indexed by row of the features.
#[derive(Clone, Copy, Debug)]
pub struct UpliftTask<'a> {
    /// The rows to learn from.
    pub rows: &'a [u32],
    /// The outcome of every row.
    pub outcome: &'a [f64],
    /// The arm of every row, 0 the control.
    pub arms: &'a [u8],
    /// Number of arms, 2 to [`MAX_ARMS`].
    pub n_arms: usize,
    /// The weight of every row; rows of weight 0 are left out.
    pub weights: Option<&'a [f64]>,
    /// What sampling keeps together: a stable row number, or the row's cluster.
    pub keys: &'a [u64],
}

/// A task whose rows have been looked at.
pub(super) struct CheckedTask<'a> {
    pub task: UpliftTask<'a>,
    /// Rows with a positive weight.
    pub rows: Vec<u32>,
    /// Whether every outcome is 0 or 1.
    pub binary: bool,
    /// Mean outcome of all rows, and by arm.
    pub mean: f64,
    pub arm_means: Vec<f64>,
    /// One over the outcome's standard deviation, and over the mean weight: numbers of size 1
    /// suit f32 sums. 1 for 0/1 outcomes.
    outcome_scale: f64,
    weight_scale: f64,
}

impl<'a> CheckedTask<'a> {
    pub fn new(task: UpliftTask<'a>, config: &UpliftConfig, n: usize) -> Result<Self, TreesError> {
        let setting = |key, value: String, allowed| Err(TreesError::BadSetting { key, value, allowed });
        if !(2..=MAX_ARMS).contains(&task.n_arms) {
            return setting(
                "n_arms",
                task.n_arms.to_string(),
                "it must be between 2 and 8: grow one forest per contrast",
            );
        }
        let rows = task.checked_rows(n)?;
        let outcomes = || rows.iter().map(|&row| task.outcome[row as usize]);
        let binary = outcomes().all(|y| y == 0.0 || y == 1.0);
        if config.criterion.needs_binary() && !binary {
            let (value, allowed) =
                (config.criterion.name(), "it compares 0/1 outcomes; choose euclidean or interaction");
            return setting("criterion", value.into(), allowed);
        }
        let weight_of = |row: u32| task.weights.map_or(1.0, |weights| weights[row as usize]);
        let mut sums = vec![[0.0; 2]; task.n_arms];
        for &row in &rows {
            let [weight, sum] = &mut sums[usize::from(task.arms[row as usize])];
            *weight += weight_of(row);
            *sum += weight_of(row) * task.outcome[row as usize];
        }
        if let Some(arm) = sums.iter().position(|sums| sums[0] == 0.0) {
            return Err(TreesError::EmptyArm { arm });
        }
        let arm_means = sums.iter().map(|[weight, sum]| sum / weight).collect();
        let weight: f64 = sums.iter().map(|sums| sums[0]).sum();
        let mean = sums.iter().map(|sums| sums[1]).sum::<f64>() / weight;
        let spread = rows.iter().map(|&row| weight_of(row) * (task.outcome[row as usize] - mean).powi(2)).sum::<f64>();
        let deviation = (spread / weight).sqrt();
        let outcome_scale = if binary || deviation == 0.0 { 1.0 } else { 1.0 / deviation };
        let weight_scale = rows.len() as f64 / weight;
        Ok(CheckedTask { task, rows, binary, mean, arm_means, outcome_scale, weight_scale })
    }

    pub fn weight(&self, row: u32) -> f64 {
        self.task.weights.map_or(1.0, |weights| weights[row as usize])
    }

    fn row<const A: usize, F: ArmForm<A>>(&self, row: u32) -> F::Row {
        let i = row as usize;
        // Rates must stay rates; other outcomes are brought near 0.
        let centre = if self.binary { 0.0 } else { self.mean };
        F::row(
            self.task.arms[i],
            (self.task.outcome[i] - centre) * self.outcome_scale,
            self.weight(row) * self.weight_scale,
        )
    }
}

impl UpliftTask<'_> {
    /// The rows that take part, checked.
    fn checked_rows(&self, n: usize) -> Result<Vec<u32>, TreesError> {
        check_length("outcome", n, self.outcome.len())?;
        check_length("arms", n, self.arms.len())?;
        check_length("keys", n, self.keys.len())?;
        self.weights.map_or(Ok(()), |weights| check_length("weights", n, weights.len()))?;
        let mut rows = Vec::with_capacity(self.rows.len());
        for &row in self.rows {
            let i = row as usize;
            if i >= n {
                return Err(TreesError::RowOutOfRange { row, n_rows: n });
            }
            let bad = |what, value, allowed| Err(TreesError::BadValue { what, value, row: i, allowed });
            let (outcome, arm) = (self.outcome[i], self.arms[i]);
            let weight = self.weights.map_or(1.0, |weights| weights[i]);
            if !(0.0..1e30).contains(&weight) {
                return bad("weight", weight, "it must be finite and not negative");
            }
            if outcome.is_nan() || outcome.abs() > 1e100 {
                return bad("outcome", outcome, "it must be a number of at most 1e100");
            }
            if usize::from(arm) >= self.n_arms {
                return bad("arm", f64::from(arm), "it must be below the number of arms");
            }
            if weight > 0.0 {
                rows.push(row);
            }
        }
        if rows.is_empty() { Err(TreesError::NoRows) } else { Ok(rows) }
    }
}

/// What is done once the sizes are known at compile time.
pub(super) trait WithGround {
    type Answer;
    fn run<const A: usize, F: ArmForm<A>>(self, ground: &Ground<'_, A, F>) -> Self::Answer;
}

/// Lays the rows out in the form and for the number of arms that fit, and runs `then` on it.
pub(super) fn with_ground<W: WithGround>(
    x: &dyn BinColumns,
    task: &CheckedTask<'_>,
    config: &UpliftConfig,
    then: W,
) -> Result<W::Answer, TreesError> {
    let layout = Layout::new(features(x)?);
    let counted = task.binary && task.task.weights.is_none();
    Ok(match (counted, task.task.n_arms) {
        (true, 2) => then.run(&Ground::<2, Counted<1>>::new(x, task, config, layout)),
        (true, 3..=4) => then.run(&Ground::<4, Counted<2>>::new(x, task, config, layout)),
        (true, _) => then.run(&Ground::<8, Counted<4>>::new(x, task, config, layout)),
        (false, 2) => then.run(&Ground::<2, Moments>::new(x, task, config, layout)),
        (false, 3..=4) => then.run(&Ground::<4, Moments>::new(x, task, config, layout)),
        (false, _) => then.run(&Ground::<8, Moments>::new(x, task, config, layout)),
    })
}

/// What all trees grow from.
pub(super) struct Ground<'a, const A: usize, F: ArmForm<A>> {
    pub task: &'a CheckedTask<'a>,
    layout: Layout,
    store: Store<F::Row>,
    keys: Vec<u64>,
    criterion: Uplift<A, F>,
    grow_config: GrowConfig,
    bags: Bags,
}

/// Memory a thread reuses from tree to tree.
pub(super) struct Workbench<const A: usize, F: ArmForm<A>> {
    tile: Tile<F::Row>,
    grower: Grower<Uplift<A, F>>,
}

/// A grown tree with what its leaves were filled from.
pub(super) struct Planted {
    /// The shape, without leaves that lack an arm.
    pub tree: Tree,
    /// Means by leaf and arm.
    pub means: Vec<f64>,
    /// Positions, among the task's rows, of the rows that fill leaves.
    pub filling: Vec<u32>,
}

impl<'a, const A: usize, F: ArmForm<A>> Ground<'a, A, F> {
    fn new(x: &dyn BinColumns, task: &'a CheckedTask<'a>, config: &UpliftConfig, layout: Layout) -> Self {
        let rows = &task.rows;
        Ground {
            store: Store::new(CodeMatrix::gather(x, rows), rows.par_iter().map(|&row| task.row::<A, F>(row)).collect()),
            keys: rows.iter().map(|&row| task.task.keys[row as usize]).collect(),
            criterion: Uplift::new(config.rules(task.binary)),
            grow_config: config.growth(layout.n_features()),
            bags: config.bags(),
            layout,
            task,
        }
    }

    pub fn workbench(&self) -> Workbench<A, F> {
        let honest = self.bags.split_fraction < 1.0;
        let tile = if honest { Tile::honest(Part::empty(), Part::empty()) } else { Tile::adaptive(Part::empty()) };
        Workbench { tile, grower: Grower::new(self.layout.clone()) }
    }

    /// The tree of a seed.
    pub fn plant(&self, bench: &mut Workbench<A, F>, bag: Seed) -> Planted {
        let drawn: Vec<u32> =
            (0..self.keys.len() as u32).filter(|&at| self.bags.holds(bag, self.keys[at as usize])).collect();
        let (split, estimate) = self.bags.tree_rows(bag, 0, &drawn, |at| self.keys[at as usize]);
        bench.tile.split.refill(&self.store, &split);
        if let Some(part) = &mut bench.tile.estimate {
            part.refill(&self.store, &estimate);
        }
        let all: Vec<u32> = (0..self.layout.n_features() as u32).collect();
        let seed = bag.stream(Stream::Learner);
        let grown = bench.grower.grow(&mut bench.tile, &self.criterion, &self.grow_config, &all, seed);
        let honest = bench.tile.estimate.is_some();
        let filling = if honest { estimate } else { split };
        let part = bench.tile.estimate.as_ref().unwrap_or(&bench.tile.split);
        let leaves: Vec<Vec<Option<f64>>> = grown
            .leaves
            .iter()
            .map(|leaf| {
                let range = if honest { leaf.estimate.clone() } else { leaf.split.clone() };
                let rows = part.order()[range.clone()].iter().map(|&at| self.task.rows[filling[at as usize] as usize]);
                if F::EXACT {
                    let sums = if honest { summarise(&self.criterion, part.node_rows(range)) } else { leaf.stats };
                    (0..self.task.task.n_arms)
                        .map(|arm| (sums.arm_rows(arm) > 0).then(|| sums.arm_sum(arm) / sums.arm_weight(arm)))
                        .collect()
                } else {
                    self.means_of(rows)
                }
            })
            .collect();
        let keep: Vec<bool> = leaves.iter().map(|means| means.iter().all(Option::is_some)).collect();
        match grown.tree.prune(&keep) {
            Some((tree, old)) => {
                let means = old.iter().flat_map(|&leaf| leaves[leaf as usize].iter().flatten().copied()).collect();
                Planted { tree, means, filling }
            }
            // No leaf has rows of every arm: the tree says what holds for everybody.
            None => Planted { tree: Tree::stump(), means: self.task.arm_means.clone(), filling },
        }
    }

    /// Means by arm from the outcomes themselves, in f64.
    fn means_of(&self, rows: impl Iterator<Item = u32>) -> Vec<Option<f64>> {
        let task = &self.task.task;
        let mut sums = vec![[0.0; 2]; task.n_arms];
        for row in rows {
            let weight = self.task.weight(row);
            let [total, sum] = &mut sums[usize::from(task.arms[row as usize])];
            *total += weight;
            *sum += weight * (task.outcome[row as usize] - self.task.mean);
        }
        sums.iter().map(|[weight, sum]| (*weight > 0.0).then(|| self.task.mean + sum / weight)).collect()
    }
}

/// Grows an uplift forest.
///
/// When the watch says stop, the trees finished so far are the forest. To continue one, grow
/// with another seed and [`UpliftForest::merge`].
///
/// # Errors
/// [`TreesError::BadSetting`] for a setting out of range, or a criterion that needs 0/1 outcomes
/// where there are others; [`TreesError::Length`], [`TreesError::RowOutOfRange`],
/// [`TreesError::NoRows`], [`TreesError::NoFeatures`], [`TreesError::EmptyArm`] and
/// [`TreesError::BadValue`] for a task that cannot be; [`TreesError::Stopped`] when stopped before
/// the first tree.
pub fn grow_uplift_forest(
    x: &dyn BinColumns,
    task: &UpliftTask<'_>,
    config: &UpliftConfig,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<UpliftForest, TreesError> {
    config.check()?;
    let checked = CheckedTask::new(*task, config, x.n_rows())?;
    let (trees, means) = with_ground(x, &checked, config, GrowMany { n_trees: config.n_trees, seed, watch })??;
    let tree_seeds = (0..trees.len()).map(|tree| Bags::seed(seed, tree as u64)).collect();
    Ok(UpliftForest::assemble((x.n_features(), task.n_arms), config.bags(), tree_seeds, trees, means))
}

/// Trees in batches, with a look at the watch between them.
struct GrowMany<'w> {
    n_trees: usize,
    seed: Seed,
    watch: &'w dyn Watch,
}

impl WithGround for GrowMany<'_> {
    type Answer = Result<(Vec<Tree>, Vec<f64>), TreesError>;

    fn run<const A: usize, F: ArmForm<A>>(self, ground: &Ground<'_, A, F>) -> Self::Answer {
        let batch = 4 * rayon::current_num_threads();
        let (mut trees, mut means) = (Vec::with_capacity(self.n_trees), Vec::new());
        while trees.len() < self.n_trees {
            if self.watch.should_stop() {
                if trees.is_empty() {
                    return Err(TreesError::Stopped);
                }
                break;
            }
            let numbers: Vec<u64> = (trees.len()..self.n_trees.min(trees.len() + batch)).map(|n| n as u64).collect();
            let grown: Vec<Planted> = numbers
                .par_iter()
                .map_init(|| ground.workbench(), |bench, &tree| ground.plant(bench, Bags::seed(self.seed, tree)))
                .collect();
            for planted in grown {
                trees.push(planted.tree);
                means.extend(planted.means);
            }
            self.watch.progress("growing trees", trees.len() as u64, self.n_trees as u64);
        }
        Ok((trees, means))
    }
}
