//! What can be done with a trained causal forest later: ask for its rows (averages over chosen
//! people, projections, calibration), grow the trees it lacks, add another forest's trees.

use impactiq_data::{Dataset, Watch};

use crate::config::CheckedConfig;
use crate::error::CausalError;
use crate::health::Warning;
use crate::learners::{ContrastRows, EffectModel};
use crate::model::CausalModel;
use crate::train::{LearnerSide, Trained, run_nuisances, smaller};

/// By outcome and contrast: the rows a causal forest learned from, with its out-of-bag effect and
/// the out-of-fold nuisances of each. Config and data are those of its training; nuisances are
/// fitted again.
///
/// # Errors
/// [`CausalError::OtherTraining`] for a model of another kind or other outcomes, and what
/// nuisances find.
pub fn forest_rows(
    config: &CheckedConfig,
    data: &Dataset,
    model: &CausalModel,
    watch: &dyn Watch,
) -> Result<Vec<Vec<ContrastRows>>, CausalError> {
    check(data, model)?;
    let (nuisances, _) = run_nuisances(config, data, watch)?;
    let side = LearnerSide::new(config, data, nuisances, watch)?;
    let of_outcome = |(index, outcome): (usize, &crate::model::OutcomeModel)| {
        let EffectModel::CausalForest(forest) = &outcome.effect else { return Err(other("the kind of learner")) };
        let (task, seed) = side.task(index);
        forest.contrast_rows(&side.inputs(), &task, seed)
    };
    model.outcomes().iter().enumerate().map(of_outcome).collect()
}

/// Grows the trees that a stopped forest lacks of `learner.n_trees`, which may also be more than
/// before. With config and data of its training, the model has the bytes of one that was never
/// stopped.
///
/// # Errors
/// [`CausalError::OtherTraining`] when config or data are not those of the training,
/// [`CausalError::Stopped`] when stopped before nuisances are there.
pub fn continue_training(
    config: &CheckedConfig,
    data: &Dataset,
    trained: Trained,
    watch: &dyn Watch,
) -> Result<Trained, CausalError> {
    let Trained { mut model, mut report } = trained;
    check(data, &model)?;
    let (nuisances, _) = run_nuisances(config, data, watch)?;
    let side = LearnerSide::new(config, data, nuisances, watch)?;
    let mut reports = Vec::with_capacity(report.forests.len());
    for (index, outcome) in model.outcomes.iter_mut().enumerate() {
        let EffectModel::CausalForest(forest) = &outcome.effect else { return Err(other("the kind of learner")) };
        let (task, seed) = side.task(index);
        let known: Vec<_> = report.forests.iter().filter(|forest| forest.outcome == outcome.name).cloned().collect();
        let learner = &config.config().learner;
        let (forest, grown) = forest.clone().go_on(learner, (&side.inputs(), &task, seed), &known, watch)?;
        outcome.effect = EffectModel::CausalForest(forest);
        reports.extend(grown);
    }
    report.warnings.retain(|warning| !matches!(warning, Warning::SmallerForest { .. }));
    report.warnings.extend(smaller(&reports));
    report.forests = reports;
    Ok(Trained { model, report })
}

/// One model with the trees of two causal forests that were grown on the same data with different
/// seeds, on two machines, say. Averages and linear parts are averaged by number of trees.
///
/// # Errors
/// [`CausalError::OtherTraining`] when arms, features, bins, outcomes or settings differ, or when
/// trees are shared.
pub fn merge_forests(first: CausalModel, second: CausalModel) -> Result<CausalModel, CausalError> {
    let names = |model: &CausalModel| model.outcomes.iter().map(|outcome| outcome.name.clone()).collect::<Vec<_>>();
    let same = [
        ("the arms", first.arms == second.arms),
        ("the dose", first.dose == second.dose),
        ("the features", first.features == second.features),
        ("the bins of the features", first.bins == second.bins),
        ("the outcomes", names(&first) == names(&second)),
    ];
    if let Some((what, _)) = same.iter().find(|(_, same)| !same) {
        return Err(other(what));
    }
    let CausalModel { arms, features, bins, outcomes, dose } = first;
    let merged = outcomes.into_iter().zip(second.outcomes).map(|(mut a, b)| match (a.effect, b.effect) {
        (EffectModel::CausalForest(one), EffectModel::CausalForest(two)) => {
            a.effect = EffectModel::CausalForest(one.merge(two)?);
            Ok(a)
        }
        _ => Err(other("the kind of learner")),
    });
    let outcomes = merged.collect::<Result<Vec<_>, CausalError>>()?;
    Ok(CausalModel::new(arms, features, bins, outcomes).of_dose(dose))
}

fn other(differs: &str) -> CausalError {
    CausalError::OtherTraining { differs: differs.to_owned() }
}

fn check(data: &Dataset, model: &CausalModel) -> Result<(), CausalError> {
    if data.dose.is_some() {
        return Err(other("that doses have no arms"));
    }
    let same = data.outcomes.iter().map(|outcome| &outcome.name).eq(model.outcomes().iter().map(|o| &o.name));
    if !same {
        return Err(other("the outcomes"));
    }
    let p = model.features().len();
    let features = data.features.names().len() >= p
        && data.features.names()[..p] == *model.features()
        && data.features.bins()[..p] == *model.bins();
    if !features {
        return Err(other("the features or their bins"));
    }
    if data.treatment.arms == *model.arms() { Ok(()) } else { Err(other("the arms")) }
}
