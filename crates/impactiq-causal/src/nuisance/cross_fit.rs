//! The one loop over folds: fit without a fold, predict the fold.

use impactiq_data::{Folds, Seed, Watch};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::out_of_fold::OutOfFold;
use crate::base::{BaseLearner, Candidates, FitTask, Inputs, Loss, TRIALS, TuneReport};
use crate::error::CausalError;

/// Rows below which folds are fitted side by side; above, one after another, so that only
/// one fit's working memory is held.
const PARALLEL_ROWS: usize = 500_000;

/// Rows a fit needs at least.
const MIN_ROWS: usize = 2;

/// One nuisance: a target, the rows it is learned from, and what learns it.
#[derive(Clone, Copy)]
pub struct NuisanceTask<'a> {
    /// The base learner.
    pub learner: &'a BaseLearner,
    /// Learners to choose from, in every training part anew; then `learner` is not asked.
    pub candidates: Option<&'a Candidates>,
    /// The target of every row.
    pub target: &'a [f64],
    /// The weight of every row.
    pub weights: Option<&'a [f64]>,
    /// What sampling keeps together: a row number, or a cluster.
    pub row_ids: &'a [u64],
    /// The loss.
    pub loss: Loss,
    /// Learn only from rows of this arm (codes, code); predictions are for every row.
    pub only_arm: Option<(&'a [u8], u8)>,
    /// What this is, for messages: "outcome 'visit' of arm '1'".
    pub what: &'a str,
}

/// Out-of-fold predictions and how well they fit.
#[derive(Clone, Debug, PartialEq)]
pub struct CrossFitted {
    /// A prediction for every row from the model that did not see its fold.
    pub predictions: OutOfFold,
    /// Loss on the rows of the task.
    pub loss: NuisanceLoss,
    /// What was tried, where there was a choice.
    pub tuned: Option<TuneReport>,
}

/// Out-of-fold loss beside that of the best constant (in-sample mean).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NuisanceLoss {
    /// `mean_squared_error` or `log_loss`.
    pub loss: String,
    /// Weighted mean loss of the out-of-fold predictions.
    pub value: f64,
    /// Weighted mean loss of the mean of the target.
    pub constant: f64,
    /// Rows.
    pub n: u64,
}

impl NuisanceTask<'_> {
    fn takes(&self, row: usize) -> bool {
        self.only_arm.is_none_or(|(codes, code)| codes[row] == code)
    }

    fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[row])
    }

    /// The task of a training part.
    fn fit<'a>(&'a self, rows: &'a [u32]) -> FitTask<'a> {
        FitTask { rows, target: self.target, weights: self.weights, row_ids: self.row_ids, loss: self.loss }
    }

    fn training_rows(&self, folds: &Folds, fold: u8) -> Result<Vec<u32>, CausalError> {
        let of_row = folds.of_row();
        let rows: Vec<u32> = (0..of_row.len() as u32)
            .filter(|&row| of_row[row as usize] != fold && self.takes(row as usize) && self.weight(row as usize) > 0.0)
            .collect();
        if rows.len() < MIN_ROWS {
            return Err(CausalError::TooFewRows {
                what: format!("the training part of {} without fold {}", self.what, fold + 1),
                found: rows.len(),
                needed: MIN_ROWS,
            });
        }
        Ok(rows)
    }
}

/// Fits a nuisance once per fold, without the fold, and predicts the fold's rows.
///
/// A target with one value in a training part predicts that value.
///
/// # Errors
/// [`CausalError::TooFewRows`] naming fold and part, and whatever the base learner finds.
pub fn cross_fit(
    task: &NuisanceTask<'_>,
    inputs: &Inputs<'_>,
    folds: &Folds,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<CrossFitted, CausalError> {
    let n = folds.of_row().len();
    let (learners, tuned) = choose(task, inputs, folds, seed, watch)?;
    let one = |fold: usize| -> Result<(Vec<u32>, Vec<f64>), CausalError> {
        let training = task.training_rows(folds, fold as u8)?;
        let model = learners[fold].fit(inputs, &task.fit(&training), seed.child(fold as u64), watch)?;
        let rows: Vec<u32> = (0..n as u32).filter(|&row| usize::from(folds.of_row()[row as usize]) == fold).collect();
        let mut predictions = vec![0.0; rows.len()];
        model.predict(inputs, Some(&rows), &mut predictions)?;
        Ok((rows, predictions))
    };
    let mut values = vec![0.0; n];
    let mut place = |(rows, predictions): (Vec<u32>, Vec<f64>)| {
        rows.iter().zip(predictions).for_each(|(&row, p)| values[row as usize] = p);
    };
    if n <= PARALLEL_ROWS {
        let parts: Vec<_> = (0..folds.n_folds()).into_par_iter().map(one).collect();
        parts.into_iter().try_for_each(|part| part.map(&mut place))?;
    } else {
        (0..folds.n_folds()).try_for_each(|fold| one(fold).map(&mut place))?;
    }
    // Sampling ids may be clusters, so no row can be named here.
    if values.iter().any(|value| !value.is_finite()) {
        return Err(CausalError::NotFinite { what: task.what.to_owned() });
    }
    let loss = out_of_fold_loss(task, &values);
    Ok(CrossFitted { predictions: OutOfFold::per_row(values), loss, tuned })
}

/// The learner of every fold. Where there is a choice it is made inside the fold's training part, so
/// that a row's own outcome has no hand in it; folds try the same candidates in step.
fn choose<'a>(
    task: &NuisanceTask<'a>,
    inputs: &Inputs<'_>,
    folds: &Folds,
    seed: Seed,
    watch: &dyn Watch,
) -> Result<(Vec<&'a BaseLearner>, Option<TuneReport>), CausalError> {
    let n_folds = folds.n_folds();
    let Some(candidates) = task.candidates else { return Ok((vec![task.learner; n_folds], None)) };
    let rows = (0..n_folds)
        .map(|fold| task.training_rows(folds, fold as u8))
        .collect::<Result<Vec<Vec<u32>>, CausalError>>()?;
    let part = |(fold, rows)| (task.fit(rows), seed.child(fold as u64).child(TRIALS));
    let parts: Vec<(FitTask<'_>, Seed)> = rows.iter().map(Vec::as_slice).enumerate().map(part).collect();
    let choice = candidates.choose(task.what, &parts, inputs, watch)?;
    Ok((choice.taken.into_iter().map(|place| &candidates.learners[place]).collect(), Some(choice.report)))
}

fn out_of_fold_loss(task: &NuisanceTask<'_>, predictions: &[f64]) -> NuisanceLoss {
    let rows = || (0..predictions.len()).filter(|&row| task.takes(row));
    let total: f64 = rows().map(|row| task.weight(row)).sum();
    let mean = rows().map(|row| task.weight(row) * task.target[row]).sum::<f64>() / total;
    let average = |prediction: &dyn Fn(usize) -> f64| {
        rows().map(|row| task.weight(row) * task.loss.of(prediction(row), task.target[row])).sum::<f64>() / total
    };
    NuisanceLoss {
        loss: task.loss.name().into(),
        value: average(&|row| predictions[row]),
        constant: average(&|_| mean),
        n: rows().count() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BaseKind, BaseSettings, Budget, Place, Target};
    use impactiq_data::dataset::number_table;
    use impactiq_data::{BinnedFeatures, Silent, Split};

    #[test]
    fn a_rows_own_outcome_never_moves_its_prediction() {
        let n = 400;
        let x: Vec<f64> = (0..n).map(|i| Seed::new(1).uniform(i as u64)).collect();
        let y: Vec<f64> = x.iter().enumerate().map(|(i, x)| 2.0 * x + Seed::new(2).uniform(i as u64)).collect();
        let table = number_table(vec![("x".into(), x)]).unwrap();
        let names = ["x".to_string()];
        let binned = BinnedFeatures::learn(&table, &names, Seed::new(3), 255).unwrap();
        let inputs = Inputs { binned: &binned, raw: &table, names: &names, arm: None };
        let ids: Vec<u64> = (0..n as u64).collect();
        let folds = Folds::assign(Split { row_ids: &ids, ..Split::default() }, 5, Seed::new(4)).unwrap();
        let boosted = BaseLearner::Boosted { config: impactiq_trees::BoostConfig::default(), refit: false, n_stops: 1 };
        let target = Target { loss: Loss::Squared, n_rows: n, mean: 0.0 };
        let budget = Budget { trials: 3, seconds: None };
        let own = BaseSettings { n_trees: Some(20), ..BaseSettings::default() };
        let choice = Candidates::new(&own, BaseKind::Boosted, Place::Nuisance, target, budget);
        for (learner, candidates) in
            [(BaseLearner::LeastSquares, None), (boosted.clone(), None), (boosted, Some(choice))]
        {
            let fit = |target: &[f64]| {
                let task = NuisanceTask {
                    learner: &learner,
                    candidates: candidates.as_ref(),
                    target,
                    weights: None,
                    row_ids: &ids,
                    loss: Loss::Squared,
                    only_arm: None,
                    what: "y",
                };
                cross_fit(&task, &inputs, &folds, Seed::new(5), &Silent).unwrap()
            };
            let before = fit(&y);
            let mut moved = y.clone();
            moved[17] += 1000.0;
            let after = fit(&moved);
            for row in 0..n {
                let same = before.predictions.get(row) == after.predictions.get(row);
                assert_eq!(same, folds.of_row()[row] == folds.of_row()[17], "row {row}");
            }
            assert!(before.loss.value < before.loss.constant);
        }
    }

    #[test]
    fn a_part_that_is_too_small_is_named() {
        let table = number_table(vec![("x".into(), vec![0.0, 1.0, 2.0, 3.0])]).unwrap();
        let names = ["x".to_string()];
        let binned = BinnedFeatures::learn(&table, &names, Seed::new(3), 255).unwrap();
        let inputs = Inputs { binned: &binned, raw: &table, names: &names, arm: None };
        let folds = Folds::fixed(&[0, 0, 1, 1]).unwrap();
        let task = NuisanceTask {
            learner: &BaseLearner::LeastSquares,
            candidates: None,
            target: &[0.0, 1.0, 2.0, 3.0],
            weights: None,
            row_ids: &[0, 1, 2, 3],
            loss: Loss::Squared,
            only_arm: Some((&[0, 1, 1, 1], 0)),
            what: "outcome 'y' of arm '0'",
        };
        let err = cross_fit(&task, &inputs, &folds, Seed::new(5), &Silent).unwrap_err();
        let CausalError::TooFewRows { what, found: 0, .. } = &err else { panic!("{err}") };
        assert!(what.contains("fold 1") && what.contains("arm '0'"), "{what}");
    }
}
