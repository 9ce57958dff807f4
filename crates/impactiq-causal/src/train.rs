//! The one door: from a checked config and a dataset to a model and its report.
//!
//! Guard, then cross-fitted nuisances and averages on every kept row, then the learner on
//! the rows outside the hold-out. Stages are named to the watch as in [`STAGES`].

mod dml;
mod dose;
mod instrument;
mod outcomes;
mod pseudo;
mod report;
mod two_stage;

use impactiq_data::{Assignment, Dataset, Seed, Watch};

use crate::base::Inputs;
use crate::config::CheckedConfig;
use crate::effect;
use crate::error::CausalError;
use crate::health::{self, CheckReport};
use crate::learners::{LearnerNuisances, LearnerTask, fit_effect};
use crate::nuisance::{self, Nuisances, OutOfFold};
use crate::overlap::{self, ArmOverlap};
pub use dml::DmlReport;
use outcomes::{Learned, Outcomes, learning_rows};
pub use pseudo::{DrawnArm, DrawnBalance, DrawnEffect, PseudoExperiment, pseudo_experiment};
pub(crate) use report::smaller;
pub use report::{ArmCounts, DoseSummary, TrainReport, Trained};
pub use two_stage::{Adjusted, TwoStageReport};

/// The stages a watch hears of, in order; `dml` only where the config names models.
pub const STAGES: [&str; 5] = ["guard", "nuisance", "averages", "dml", "learner"];

/// Trains a model: guard → nuisances and averages on all rows → learner outside the hold-out.
///
/// Same config, data and seed give the same bytes on any number of threads.
///
/// # Errors
/// [`CausalError::PostTreatment`] from the guard, [`CausalError::NoOverlap`],
/// [`CausalError::TooFewRows`], [`CausalError::NotBinary`], [`CausalError::Stopped`].
pub fn train(config: &CheckedConfig, data: &Dataset, watch: &dyn Watch) -> Result<Trained, CausalError> {
    if config.config().learner.kind.needs_instrument() {
        return instrument::train(config, data, watch);
    }
    if let Some(dose) = &data.dose {
        return dose::train(config, data, dose, watch);
    }
    watch.progress("guard", 0, 1);
    let balance = health::guard(data)?;
    watch.progress("guard", 1, 1);
    let (nuisances, overlap) = run_nuisances(config, data, watch)?;
    watch.progress("averages", 0, 1);
    let contrasts = effect::averages(data, &nuisances, &config.asked())?;
    watch.progress("averages", 1, 1);
    let two_stage = two_stage::reports(config, data)?;
    let dml = dml::estimate(config, data, watch)?;
    let report_nuisance = nuisances.report.clone();
    let weighted_balance = match data.assignment {
        Assignment::Observational => {
            health::weighted_balance(data, &nuisances.propensity, config.config().averages.trim)?
        }
        _ => Vec::new(),
    };
    let side = LearnerSide::new(config, data, nuisances, watch)?;
    let n_holdout = (data.n_rows() - side.rows.len()) as u64;
    let Learned { model, forests, linear, choices, tuning } = side.outcomes.learn(watch, |outcome| {
        let (task, seed) = side.task(outcome);
        fit_effect(&config.config().learner, &side.inputs(), &task, seed, watch)
    })?;
    let mut warnings = health::warnings(data, &balance, &overlap);
    warnings.extend(two_stage::weak(&two_stage));
    warnings.extend(smaller(&forests));
    let report = TrainReport {
        n_rows: data.n_rows() as u64,
        n_holdout,
        arms: ArmCounts::of(&data.treatment),
        dose: None,
        instruments: Vec::new(),
        contrasts,
        nuisance: report_nuisance,
        warnings,
        overlap,
        weighted_balance,
        two_stage,
        dml,
        forests,
        linear,
        choices,
        tuning,
    };
    Ok(Trained { model, report })
}

/// Whether the probability of an arm differs between rows.
fn varies(nuisances: &Nuisances) -> bool {
    nuisances.propensity.iter().any(|p| p.constant().is_none())
}

pub(crate) use dose::dose_nuisances;
pub(crate) use instrument::instrument_nuisances;
pub(crate) use two_stage::chosen;

/// Nuisances of all rows with overlap assessed and learned probabilities cut.
pub(crate) fn run_nuisances(
    config: &CheckedConfig,
    data: &Dataset,
    watch: &dyn Watch,
) -> Result<(Nuisances, Vec<ArmOverlap>), CausalError> {
    let folds = config.folds(data)?;
    let settings = config.config();
    let mut nuisances = nuisance::fit_nuisances(data, &folds, &settings.nuisance, config.seed(), watch)?;
    let (propensity, overlap) = overlap::assess(data, nuisances.propensity, settings.gates.overlap_min)?;
    nuisances.propensity = propensity;
    Ok((nuisances, overlap))
}

/// Nuisances by outcome that no row outside `rows` had a hand in: the hold-out must stay unseen.
fn learner_nuisances(
    config: &CheckedConfig,
    data: &Dataset,
    rows: &[u32],
    nuisances: Nuisances,
    watch: &dyn Watch,
) -> Result<Vec<LearnerNuisances>, CausalError> {
    let n = data.n_rows();
    let settings = config.config();
    let pooled = |part: &Dataset| match settings.learner.kind.needs_pooled_means() {
        false => Ok(Vec::new()),
        true => nuisance::fit_pooled_means(part, &config.folds(part)?, &settings.nuisance, config.seed(), watch),
    };
    let folds_of = |part: &Dataset| match settings.learner.needs_folds() {
        false => Ok(Vec::new()),
        true => config.folds(part).map(|folds| folds.of_row().to_vec()),
    };
    let (nuisances, pooled, folds) = if rows.len() == n {
        (nuisances, pooled(data)?, folds_of(data)?)
    } else {
        drop(nuisances);
        let part = data.subset(rows);
        let mut folds = vec![u8::MAX; n];
        let of_part = folds_of(&part)?;
        match of_part.is_empty() {
            true => folds.clear(),
            false => rows.iter().zip(of_part).for_each(|(&row, fold)| folds[row as usize] = fold),
        }
        (run_nuisances(config, &part, watch)?.0, pooled(&part)?, folds)
    };
    let spread =
        |of_arms: &[OutOfFold]| -> Vec<OutOfFold> { of_arms.iter().map(|values| values.spread(rows, n)).collect() };
    let propensity = spread(&nuisances.propensity);
    let of_outcome = |(outcome, means): (usize, &Vec<OutOfFold>)| LearnerNuisances {
        means: spread(means),
        propensity: propensity.clone(),
        declared: data.assignment != Assignment::Observational,
        folds: folds.clone(),
        pooled: pooled.get(outcome).map(|of_contrasts| spread(of_contrasts)).unwrap_or_default(),
    };
    Ok(nuisances.means.iter().enumerate().map(of_outcome).collect())
}

/// What effect learners learn from: the rows outside the hold-out, and everything about them.
pub(crate) struct LearnerSide<'a> {
    data: &'a Dataset,
    outcomes: Outcomes<'a>,
    /// Rows outside the hold-out.
    pub rows: Vec<u32>,
    nuisances: Option<Vec<LearnerNuisances>>,
}

impl<'a> LearnerSide<'a> {
    /// `nuisances` are those of all rows; the learner's own are made of them, or fitted again
    /// where rows are held out, if its kind needs any.
    pub fn new(
        config: &CheckedConfig,
        data: &'a Dataset,
        nuisances: Nuisances,
        watch: &dyn Watch,
    ) -> Result<Self, CausalError> {
        let rows = learning_rows(config, data)?;
        let kind = config.config().learner.kind;
        let needed = config.config().learner.needs_nuisances() || kind.needs_propensity() && varies(&nuisances);
        let nuisances = if needed {
            Some(learner_nuisances(config, data, &rows, nuisances, watch)?)
        } else {
            drop(nuisances);
            None
        };
        Ok(LearnerSide { data, outcomes: Outcomes::new(config, data), rows, nuisances })
    }

    pub fn inputs(&self) -> Inputs<'_> {
        self.outcomes.inputs()
    }

    /// The task and the seed of an outcome.
    pub fn task(&self, outcome: usize) -> (LearnerTask<'_>, Seed) {
        let data = self.data;
        let of_outcome = &data.outcomes[outcome];
        let task = LearnerTask {
            rows: &self.rows,
            codes: &data.treatment.codes,
            arms: &data.treatment.arms,
            outcome: &of_outcome.name,
            kind: of_outcome.kind,
            target: &of_outcome.values,
            weights: data.weights.as_deref(),
            row_ids: &self.outcomes.ids,
            clusters: data.clusters.as_deref(),
            nuisances: self.nuisances.as_ref().map(|of_outcomes| &of_outcomes[outcome]),
        };
        (task, self.outcomes.seed(outcome))
    }
}

/// Experiment health without training: every gate with its value and limit. Only
/// observational data need a nuisance for it, the probability of each arm.
///
/// # Errors
/// [`CausalError::Data`] for too few rows to fold, [`CausalError::Stopped`]; a gate that
/// fails is a value, not an error.
pub fn check(config: &CheckedConfig, data: &Dataset, watch: &dyn Watch) -> Result<CheckReport, CausalError> {
    let settings = config.config();
    if settings.learner.kind.needs_instrument() {
        return instrument::check(config, data, watch);
    }
    if let Some(dose) = &data.dose {
        let mean = dose::mean(config, data, dose, watch)?;
        return instrument::with_first_stage(config, data, health::check_dose(data, dose, &mean, &settings.gates)?);
    }
    let propensity = match nuisance::declared_propensity(data) {
        Some(known) => known,
        None => nuisance::fit_propensity(data, &config.folds(data)?, &settings.nuisance, config.seed(), watch)?.0,
    };
    instrument::with_first_stage(config, data, health::check(data, &propensity, &settings.gates)?)
}
