//! Double machine learning of one number: partially linear (plr, pliv) and interactive
//! (irm, iivm) models with cross-fitted nuisances (Chernozhukov et al. 2018).
//!
//! `score` solves scores that are linear in the effect, `task` says what is asked, `models` says which nuisances and which
//! score each model has, this file fits and repeats. The models and their names are DoubleML's,
//! and with the same folds and deterministic nuisances so are the numbers. What must not live
//! here: effects that differ by row (learners), roles and configs.

mod models;
mod score;
mod task;

use impactiq_data::{Folds, Seed, Watch};

use crate::error::CausalError;

pub use score::{LinearScore, ScoreRows, mean_of_scores, median_of, spread};
pub(crate) use task::varies;
pub use task::{
    CLIP, DmlEstimand, DmlEstimate, DmlKind, DmlLearner, DmlLearners, DmlModel, DmlRows, NamedLoss, PartialScore,
};

/// Fits a model once per entry of `folds` (repeated cross-fitting) and takes the median.
/// Probabilities learned in irm and iivm are clipped to [`clip`, 1 − `clip`].
///
/// # Errors
/// [`CausalError::Metrics`] for values that are not finite or, in interactive models, not 0/1;
/// [`CausalError::MissingRole`] for pliv and iivm without an instrument;
/// [`CausalError::NoVariation`] for a treatment or instrument that does not vary;
/// [`CausalError::BadSetting`] without folds or for a clip outside [0, 0.5); what nuisances find.
pub fn estimate(
    model: DmlModel,
    rows: &DmlRows<'_>,
    learners: &DmlLearners,
    folds: &[Folds],
    (clip, seed): (f64, Seed),
    watch: &dyn Watch,
) -> Result<DmlEstimate, CausalError> {
    if folds.is_empty() {
        return Err(CausalError::setting("the number of repetitions", 0, "it must be at least 1"));
    }
    if !(0.0..0.5).contains(&clip) {
        return Err(CausalError::setting("the limit of probabilities", clip, "it must be at least 0 and below 0.5"));
    }
    rows.check(model)?;
    let mut repetitions = Vec::with_capacity(folds.len());
    let (mut nuisances, mut n_clipped, mut tuning) = (Vec::new(), 0, Vec::new());
    for (index, folds) in folds.iter().enumerate() {
        watch.progress("dml", index as u64, folds.n_folds() as u64);
        let fit = models::Fit { rows, learners, folds, seed: seed.child(index as u64), watch, clip };
        let fitted = fit.score(model)?;
        repetitions.push(fitted.score.solve(rows.score_rows())?);
        if index == 0 {
            (nuisances, n_clipped, tuning) = (fitted.losses, fitted.n_clipped, fitted.tuning);
        }
    }
    Ok(DmlEstimate { estimate: median_of(&repetitions), repetitions, nuisances, n_clipped, tuning })
}
