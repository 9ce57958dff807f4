//! intent_to_treat_driv: the effect of taking what was offered by chance, linear in the features
//! (Syrgkanis et al. 2019, section 4). Its scores are made in `iv::compliance`.

use impactiq_data::{Seed, Watch};

use super::model::LinearStage;
use super::report::{LinearReport, Terms};
use super::solve::Solve;
use crate::base::{Inputs, TuneReport};
use crate::error::CausalError;
use crate::iv::{DrivSettings, Offered, driv_scores};
use crate::learners::config::LearnerConfig;
use crate::learners::task::OfferTask;
use crate::linear::{Design, MAX_INDICATORS, Source};

/// The covariance of offer and take-up is kept above this share of its average: scores divide by it.
const LEAST_COVARIANCE: f64 = 0.1;

/// And above this, whatever the average.
const FLOOR: f64 = 1e-4;

impl LinearStage {
    /// Learns the linear effect of taking the treatment; `inputs` name the effect modifiers.
    ///
    /// # Errors
    /// [`CausalError::NoVariation`] for an offer or take-up that does not vary or an offer that moves
    /// nobody, [`CausalError::Collinear`], [`CausalError::TooFewRows`], and what nuisances find.
    pub(in crate::learners) fn fit_offer(
        config: &LearnerConfig,
        inputs: &Inputs<'_>,
        task: &OfferTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<(LinearStage, Vec<LinearReport>, Vec<TuneReport>), CausalError> {
        let n = task.target.len();
        let rows: Vec<u32> = (0..n as u32).collect();
        let source = Source::new(inputs.raw);
        let design = Design::learn(&source, inputs.names, &rows, task.weights, MAX_INDICATORS)?;
        let terms = Terms::of(&design);
        let mut numbers = vec![0.0; design.width() * n];
        design.bind(&source)?.fill(&rows, &mut numbers);
        let modifiers: Vec<&[f64]> = numbers.chunks_exact(n).skip(1).collect();
        let solve = Solve {
            design: &design,
            products: &[],
            source: &source,
            names: terms.names(),
            weights: task.weights,
            clusters: task.clusters,
            label: task.treatment_name,
        };
        let kind = solve.covariance(config)?;
        let offered = Offered {
            inputs: task.inputs,
            modifiers: &modifiers,
            outcome: task.target,
            taken: task.taken,
            offered: task.offered,
            probability: task.probability,
            row_ids: task.row_ids,
            weights: task.weights,
            clusters: task.clusters,
        };
        let settings = DrivSettings {
            outcome: task.outcome_learner.clone(),
            taken: task.taken_learner.clone(),
            clip: clip(task)?,
            covariance: kind,
        };
        let found = driv_scores(&offered, &settings, task.folds, seed, watch)?;
        let (contrast, n_used) = solve.fit(&(rows, found.scores, None), kind)?;
        let report = terms.report((task.outcome, task.treatment_name), &contrast, (kind, n_used), seed.child(u64::MAX));
        Ok((LinearStage { design, products: Vec::new(), contrasts: vec![contrast] }, vec![report], found.tuning))
    }
}

/// How close to 0 the covariance of offer and take-up may come.
fn clip(task: &OfferTask<'_>) -> Result<f64, CausalError> {
    let share = |offered: f64| -> f64 {
        let rows = || (0..task.target.len()).filter(|&row| task.offered[row] == offered);
        let weight = |row: usize| task.weights.map_or(1.0, |w| w[row]);
        rows().map(|row| weight(row) * task.taken[row]).sum::<f64>() / rows().map(weight).sum::<f64>()
    };
    let compliance = share(1.0) - share(0.0);
    if compliance == 0.0 || !compliance.is_finite() {
        let what = format!("what the instrument '{}' does to the treatment", task.name);
        return Err(CausalError::NoVariation { what });
    }
    let average = task.probability * (1.0 - task.probability) * compliance.abs();
    Ok((LEAST_COVARIANCE * average).max(FLOOR))
}
