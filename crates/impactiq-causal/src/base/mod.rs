//! Base learners: what predicts an outcome or a propensity from features.
//!
//! A closed set behind one door: [`BaseLearner::fit`] gives a [`BaseModel`], whatever the
//! model is made of. `settings` are the keys a user writes. What must not live here: folds,
//! arms' contrasts, anything that knows why a prediction is wanted.

mod budget;
mod defaults;
mod external;
mod forest;
pub mod settings;
mod tune;

use std::sync::atomic::{AtomicBool, Ordering};

use impactiq_data::{BinColumns, DataError, FeatureKind, Seed, Table, Watch};
use impactiq_trees::{BoostConfig, BoostModel, BoostTask, ForestConfig, ObjectiveKind, boost};

use crate::error::CausalError;
use crate::linear::{self, Design, FitRows, LinearModel, MAX_INDICATORS, Shrinkage, Source};
pub use budget::{Budget, Tune};
pub use defaults::{Place, Target};
pub use external::{ExternalModel, LEAF, Library, Missing, RawNode, RawTrees};
pub use forest::MeanForest;
pub use settings::{BaseKind, BaseSettings};
pub use tune::{Candidates, Choice, Clock, TRIALS, Trials, Tried, TuneReport, candidates, default_leaf, smallest};

/// The loss a base learner minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Squared error: predictions are means.
    Squared,
    /// Logistic loss: targets lie in [0, 1], predictions are probabilities.
    Logistic,
}

impl Loss {
    /// The loss of a prediction.
    pub fn of(self, prediction: f64, target: f64) -> f64 {
        match self {
            Loss::Squared => (target - prediction).powi(2),
            Loss::Logistic => {
                // Linear probability models may leave (0, 1).
                let p = prediction.clamp(1e-12, 1.0 - 1e-12);
                -(target * p.ln() + (1.0 - target) * (1.0 - p).ln())
            }
        }
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Loss::Squared => "mean_squared_error",
            Loss::Logistic => "log_loss",
        }
    }
}

/// A base learner with all its settings.
#[derive(Clone, Debug, PartialEq)]
pub enum BaseLearner {
    /// Gradient boosted trees.
    Boosted {
        /// Settings of the trees.
        config: BoostConfig,
        /// After early stopping, grow the number of trees it found on all rows: the rows kept
        /// apart to find it would be missed most where rows are few.
        refit: bool,
        /// Parts of the rows that decide in turn when to stop; the mean of their answers is
        /// taken when there is a refit. One is enough where a target is not mostly noise.
        n_stops: u32,
    },
    /// Gradient boosted trees of another library, behind a cargo feature.
    External {
        /// Which library.
        library: Library,
        /// Settings of the trees; they are given to the library under its own names.
        config: BoostConfig,
        /// As for [`BaseLearner::Boosted`].
        refit: bool,
        /// As for [`BaseLearner::Boosted`].
        n_stops: u32,
    },
    /// Bagged trees, whatever the loss: means of 0/1 targets are probabilities.
    Forest {
        /// Settings of the trees.
        config: ForestConfig,
    },
    /// Ordinary least squares, whatever the loss.
    LeastSquares,
    /// Least squares with a penalty on the squared coefficients, whatever the loss.
    Ridge {
        /// λ in λ/2·Σb², for standardised columns.
        penalty: f64,
    },
    /// Logistic regression: needs the logistic loss.
    Logistic {
        /// λ in λ/2·Σb², for standardised columns; 0 is maximum likelihood.
        penalty: f64,
    },
    /// Lasso or elastic net, whatever the loss.
    Shrunken(Shrinkage),
    /// Logistic regression whose penalty is chosen by cross-validation.
    LogisticChosen,
}

/// The arm as one more feature.
#[derive(Clone, Copy, Debug)]
pub struct ArmFeature<'a> {
    /// Arm code per row.
    pub codes: &'a [u8],
    /// Labels by code.
    pub labels: &'a [String],
}

/// What a base learner sees of the rows: the first `names.len()` features, as bin codes
/// and as raw columns, and perhaps the arm after them.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Bin codes; features after the first `names.len()` are not looked at.
    pub binned: &'a dyn BinColumns,
    /// Raw columns by name.
    pub raw: &'a Table,
    /// Names of the features used, in the order of `binned`.
    pub names: &'a [String],
    /// The arm as the last feature.
    pub arm: Option<ArmFeature<'a>>,
}

/// What to learn; vectors are indexed by row of the inputs.
#[derive(Clone, Copy)]
pub struct FitTask<'a> {
    /// Rows to learn from.
    pub rows: &'a [u32],
    /// The target of every row.
    pub target: &'a [f64],
    /// The weight of every row.
    pub weights: Option<&'a [f64]>,
    /// What sampling keeps together: a row number, or a cluster.
    pub row_ids: &'a [u64],
    /// The loss.
    pub loss: Loss,
}

/// A fitted base learner.
#[derive(Clone, Debug, PartialEq)]
pub enum BaseModel {
    /// The same answer for every row: the target had one value.
    Constant(f64),
    /// Boosted trees.
    Boosted(BoostModel),
    /// Boosted trees of another library.
    External(Box<ExternalModel>),
    /// Bagged trees.
    Forest(Box<MeanForest>),
    /// A linear or logistic model.
    Linear(LinearModel),
}

impl<'a> Inputs<'a> {
    /// The same inputs with the arm as the last feature.
    pub fn with_arm(self, codes: &'a [u8], labels: &'a [String]) -> Self {
        Inputs { arm: Some(ArmFeature { codes, labels }), ..self }
    }

    /// Number of rows n.
    pub fn n_rows(&self) -> usize {
        self.binned.n_rows()
    }

    pub(crate) fn columns(&self) -> Columns<'a> {
        Columns { inner: self.binned, n_features: self.names.len(), arm: self.arm }
    }

    fn source(&self) -> Source<'a> {
        match self.arm {
            None => Source::new(self.raw),
            Some(arm) => Source::with_arm(self.raw, arm.codes, arm.labels),
        }
    }
}

/// The first features of some columns, and perhaps the arm.
pub(crate) struct Columns<'a> {
    inner: &'a dyn BinColumns,
    n_features: usize,
    arm: Option<ArmFeature<'a>>,
}

impl BinColumns for Columns<'_> {
    fn n_rows(&self) -> usize {
        self.inner.n_rows()
    }

    fn n_features(&self) -> usize {
        self.n_features + usize::from(self.arm.is_some())
    }

    fn kind(&self, feature: usize) -> FeatureKind {
        if feature == self.n_features { FeatureKind::Category } else { self.inner.kind(feature) }
    }

    fn n_codes(&self, feature: usize) -> usize {
        match self.arm {
            Some(arm) if feature == self.n_features => arm.labels.len(),
            _ => self.inner.n_codes(feature),
        }
    }

    fn codes(&self, feature: usize) -> &[u8] {
        match self.arm {
            Some(arm) if feature == self.n_features => arm.codes,
            _ => self.inner.codes(feature),
        }
    }
}

/// Passes on the wish to stop, not the progress: the caller counts in its own units.
pub(crate) struct Quiet<'a>(pub(crate) &'a dyn Watch);

impl Watch for Quiet<'_> {
    fn should_stop(&self) -> bool {
        self.0.should_stop()
    }

    fn seconds(&self) -> Option<f64> {
        self.0.seconds()
    }
}

/// Stops trees that are still growing when the time for trying is used up, once there are some: a
/// smaller forest that is finished is worth more than a whole one that is not.
pub(crate) struct Hurried<'a> {
    watch: &'a dyn Watch,
    asked: AtomicBool,
}

impl<'a> Hurried<'a> {
    pub(crate) fn new(watch: &'a dyn Watch) -> Self {
        Hurried { watch, asked: AtomicBool::new(false) }
    }
}

impl Watch for Hurried<'_> {
    /// Growing asks before every batch of trees; before the first there is nothing to keep.
    fn should_stop(&self) -> bool {
        let has_trees = self.asked.swap(true, Ordering::Relaxed);
        self.watch.should_stop() || has_trees && self.watch.should_hurry()
    }
}

impl BaseLearner {
    /// The kind, as the config writes it.
    pub fn kind(&self) -> BaseKind {
        match self {
            BaseLearner::Boosted { .. } => BaseKind::Boosted,
            BaseLearner::External { library: Library::Lightgbm, .. } => BaseKind::Lightgbm,
            BaseLearner::External { library: Library::Xgboost, .. } => BaseKind::Xgboost,
            BaseLearner::Forest { .. } => BaseKind::Forest,
            BaseLearner::LeastSquares => BaseKind::LeastSquares,
            BaseLearner::Ridge { .. } => BaseKind::Ridge,
            BaseLearner::Logistic { .. } | BaseLearner::LogisticChosen => BaseKind::Logistic,
            BaseLearner::Shrunken(shrinkage) if shrinkage.l1_share == 1.0 => BaseKind::Lasso,
            BaseLearner::Shrunken(_) => BaseKind::ElasticNet,
        }
    }

    /// Learns from some rows. A target with one value gives that value for every row.
    ///
    /// # Errors
    /// [`CausalError::TooFewRows`] without rows, [`CausalError::Trees`],
    /// [`CausalError::Data`], [`CausalError::Stopped`].
    pub fn fit(
        &self,
        inputs: &Inputs<'_>,
        task: &FitTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<BaseModel, CausalError> {
        let Some(&first) = task.rows.first() else {
            return Err(CausalError::TooFewRows { what: "a base learner's training part".into(), found: 0, needed: 1 });
        };
        let first = task.target[first as usize];
        if task.rows.iter().all(|&row| task.target[row as usize] == first) {
            return Ok(BaseModel::Constant(first));
        }
        let model = match self {
            BaseLearner::Boosted { config, refit, n_stops } => {
                let n_stops = if *refit { (*n_stops).max(1) } else { 0 };
                BaseModel::Boosted(fit_boosted((config, n_stops), inputs, task, seed, watch)?)
            }
            BaseLearner::External { library, config, refit, n_stops } => {
                let grow =
                    |config: &BoostConfig, seed| ExternalModel::fit((*library, config), inputs, task, seed, watch);
                let n_stops = if *refit { (*n_stops).max(1) } else { 0 };
                let model = stop_then_refit((config, n_stops), seed, watch, grow, ExternalModel::n_trees)?;
                BaseModel::External(Box::new(model))
            }
            BaseLearner::Forest { config } => {
                BaseModel::Forest(Box::new(MeanForest::fit(config, inputs, task, seed, watch)?))
            }
            BaseLearner::LeastSquares => fit_linear(inputs, task, Linear::Squares(0.0), seed)?,
            BaseLearner::Ridge { penalty } => fit_linear(inputs, task, Linear::Squares(*penalty), seed)?,
            BaseLearner::Logistic { penalty } => fit_linear(inputs, task, Linear::Logistic(*penalty), seed)?,
            BaseLearner::Shrunken(shrinkage) => fit_linear(inputs, task, Linear::Shrunken(*shrinkage), seed)?,
            BaseLearner::LogisticChosen => fit_linear(inputs, task, Linear::LogisticChosen, seed)?,
        };
        if watch.should_stop() { Err(CausalError::Stopped) } else { Ok(model) }
    }
}

fn fit_boosted(
    (config, n_stops): (&BoostConfig, u32),
    inputs: &Inputs<'_>,
    task: &FitTask<'_>,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<BoostModel, CausalError> {
    let objective = match task.loss {
        Loss::Squared => ObjectiveKind::Squared,
        Loss::Logistic => ObjectiveKind::Logistic,
    };
    let boosting =
        BoostTask { rows: task.rows, target: task.target, weights: task.weights, row_ids: task.row_ids, objective };
    let grow = |config: &BoostConfig, seed: Seed| {
        boost(&inputs.columns(), &boosting, config, seed, &Quiet(watch)).map_err(CausalError::from)
    };
    stop_then_refit((config, n_stops), seed, watch, grow, BoostModel::n_trees)
}

/// Grows trees until rows set aside say stop; with `n_stops` above 0, grows the number they find, the
/// mean of so many answers, again on all rows.
fn stop_then_refit<M>(
    (config, n_stops): (&BoostConfig, u32),
    seed: Seed,
    watch: &dyn Watch,
    grow: impl Fn(&BoostConfig, Seed) -> Result<M, CausalError>,
    n_trees_of: impl Fn(&M) -> usize,
) -> Result<M, CausalError> {
    let model = grow(config, seed)?;
    if n_stops == 0 || config.early_stopping.is_none() || watch.should_stop() {
        return Ok(model);
    }
    let mut n_trees = n_trees_of(&model);
    for stop in 1..n_stops {
        n_trees += n_trees_of(&grow(config, seed.child(u64::from(stop) << 32))?);
    }
    let n_trees = (n_trees as f64 / f64::from(n_stops)).round() as usize;
    if n_trees == 0 {
        // The constant of all rows: a tree that may not split is none.
        return grow(
            &BoostConfig { n_trees: 1, min_leaf_rows: u32::MAX, early_stopping: None, ..config.clone() },
            seed,
        );
    }
    grow(&BoostConfig { n_trees, early_stopping: None, ..config.clone() }, seed)
}

enum Linear {
    Squares(f64),
    Logistic(f64),
    Shrunken(Shrinkage),
    LogisticChosen,
}

fn fit_linear(inputs: &Inputs<'_>, task: &FitTask<'_>, kind: Linear, seed: Seed) -> Result<BaseModel, CausalError> {
    let source = inputs.source();
    let mut names = inputs.names.to_vec();
    names.extend(inputs.arm.map(|_| linear::ARM.to_owned()));
    let fit = FitRows { rows: task.rows, target: task.target, weights: task.weights };
    let design = Design::learn(&source, &names, task.rows, task.weights, MAX_INDICATORS)?;
    let model = match kind {
        Linear::Squares(penalty) => linear::fit_least_squares(design, &source, fit, penalty)?,
        Linear::Logistic(penalty) => linear::fit_logistic(design, &source, fit, penalty)?,
        Linear::Shrunken(shrinkage) => linear::fit_shrunken(design, &source, fit, shrinkage, (task.row_ids, seed))?,
        Linear::LogisticChosen => linear::fit_logistic_chosen(design, &source, fit, (task.row_ids, seed))?,
    };
    if model.coefficients.iter().any(|b| !b.is_finite()) {
        return Err(CausalError::NotFinite { what: "a linear model".into() });
    }
    Ok(BaseModel::Linear(model))
}

impl BaseModel {
    /// Whether answers need the raw columns beside the codes.
    pub fn needs_raw(&self) -> bool {
        matches!(self, BaseModel::Linear(_) | BaseModel::External(_))
    }

    /// Predicts means for all rows, or for those at `rows`; `out` has one entry for each.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`] when a raw column that the model asks for is not there.
    ///
    /// # Panics
    /// When the inputs have another number of features than at training (a bug of the caller).
    pub fn predict(&self, inputs: &Inputs<'_>, rows: Option<&[u32]>, out: &mut [f64]) -> Result<(), DataError> {
        match self {
            BaseModel::Constant(value) => out.fill(*value),
            BaseModel::Boosted(model) => model.predict(&inputs.columns(), rows, out),
            BaseModel::External(model) => model.predict(inputs, rows, out)?,
            BaseModel::Forest(model) => model.predict(inputs, rows, out)?,
            BaseModel::Linear(model) => model.predict(&inputs.source(), rows, out)?,
        }
        Ok(())
    }
}
