//! Held-out evaluation: from a model (or anybody's scores) and rows to metrics with intervals.
//!
//! A model directory holds no training rows, so nuisances of the doubly robust scores are
//! cross-fitted afresh: on the evaluation rows alone, or on all rows of the data where the
//! evaluation rows are few. The metrics themselves live one floor down.

mod asked;
mod dose;
mod instrument;

use std::borrow::Cow;

use impactiq_data::{Assignment, Dataset, Watch};
use impactiq_metrics::report;
use impactiq_metrics::{Assignment as Lot, Scored};

use crate::config::{CheckedConfig, ScoreKind};
use crate::error::CausalError;
use crate::model::CausalModel;
use crate::nuisance::{self, NuisanceReport, OutOfFold};
use crate::overlap;
use crate::train::run_nuisances;
pub use asked::{ContrastEvaluation, EvaluateReport, Scores};
use asked::{FEW_ROWS, is_whole, options};

/// Evaluates a model's effects on some rows of a data set.
///
/// # Errors
/// [`CausalError::Mismatch`] when the data's arms or outcomes are not the model's,
/// [`CausalError::TooFewRows`], [`CausalError::Metrics`], [`CausalError::Stopped`].
pub fn evaluate(
    model: &CausalModel,
    data: &Dataset,
    rows: &[u32],
    config: &CheckedConfig,
    watch: &dyn Watch,
) -> Result<EvaluateReport, CausalError> {
    let names: Vec<&str> = data.outcomes.iter().map(|outcome| outcome.name.as_str()).collect();
    let known: Vec<&str> = model.outcomes().iter().map(|outcome| outcome.name.as_str()).collect();
    if names != known {
        let problem = format!("outcomes {} where the model knows {}", names.join(", "), known.join(", "));
        return Err(CausalError::Mismatch { problem });
    }
    let dose = data.dose.as_ref().map(|dose| dose.name.as_str());
    if dose != model.dose() {
        let words = |dose: Option<&str>| dose.map_or("arms".to_owned(), |dose| format!("the dose '{dose}'"));
        return Err(CausalError::Mismatch {
            problem: format!("{} where the model knows {}", words(dose), words(model.dose())),
        });
    }
    if data.treatment.arms != *model.arms() {
        let (found, known) = (data.treatment.arms.labels().join(", "), model.arms().labels().join(", "));
        return Err(CausalError::Mismatch { problem: format!("arms {found} where the model knows {known}") });
    }
    let predictions = if is_whole(data, rows) {
        model.predict_effects(&model.encode(&data.raw)?, &data.raw)?
    } else {
        let part = data.raw.subset(rows);
        model.predict_effects(&model.encode(&part)?, &part)?
    };
    let scores = predictions.into_iter().map(|p| p.cate).collect();
    evaluate_scores(scores, data, rows, config, watch)
}

/// Evaluates anybody's scores on some rows of a data set.
///
/// # Errors
/// [`CausalError::TooFewRows`] without rows in an arm, [`CausalError::Metrics`] for scores that
/// are not finite, [`CausalError::Stopped`].
pub fn evaluate_scores(
    scores: Scores,
    data: &Dataset,
    rows: &[u32],
    config: &CheckedConfig,
    watch: &dyn Watch,
) -> Result<EvaluateReport, CausalError> {
    if config.config().learner.kind.needs_instrument() {
        return instrument::evaluate_scores(scores, data, rows, config, watch);
    }
    if let Some(dose) = &data.dose {
        return dose::evaluate_scores(scores, data, dose, rows, config, watch);
    }
    // A second copy of 14 M rows would be two gigabytes.
    let part = if is_whole(data, rows) { Cow::Borrowed(data) } else { Cow::Owned(data.subset(rows)) };
    for (arm, &n) in part.treatment.counts().iter().enumerate() {
        if n == 0 {
            let what = format!("arm '{}' among the rows to evaluate", part.treatment.arms.labels()[arm]);
            return Err(CausalError::TooFewRows { what, found: 0, needed: 1 });
        }
    }
    let nuisances = Nuisances::of(data, rows, &part, config, watch)?;
    let options = options(config);
    let n_contrasts = part.treatment.arms.n_contrasts();
    let total = (part.outcomes.len() * n_contrasts) as u64;
    let mut contrasts = Vec::new();
    for (outcome, scores) in scores.into_iter().enumerate() {
        for (contrast, scores) in scores.into_iter().enumerate() {
            watch.progress("evaluate", contrasts.len() as u64, total);
            if watch.should_stop() {
                return Err(CausalError::Stopped);
            }
            let pair = Pair::new(&part, outcome, contrast + 1, &scores, &nuisances);
            contrasts.push(ContrastEvaluation {
                outcome: part.outcomes[outcome].name.clone(),
                arm: part.treatment.arms.labels()[contrast + 1].clone(),
                evaluation: report::evaluate(&pair.scored(&part.assignment), &options)?,
            });
        }
    }
    watch.progress("evaluate", total, total);
    Ok(EvaluateReport { n_rows: rows.len() as u64, nuisance: nuisances.report, contrasts })
}

/// Nuisances of the evaluation rows; no means for ipw scores.
struct Nuisances {
    means: Option<Vec<Vec<OutOfFold>>>,
    propensity: Vec<OutOfFold>,
    report: Option<NuisanceReport>,
}

impl Nuisances {
    fn of(
        data: &Dataset,
        rows: &[u32],
        part: &Dataset,
        config: &CheckedConfig,
        watch: &dyn Watch,
    ) -> Result<Self, CausalError> {
        let ipw = config.config().evaluate.scores == ScoreKind::Ipw;
        if let (true, Some(propensity)) = (ipw, nuisance::declared_propensity(part)) {
            return Ok(Nuisances { means: None, propensity, report: None });
        }
        let all = rows.len() < FEW_ROWS && data.n_rows() > rows.len();
        let source = if all { data } else { part };
        let take = |values: OutOfFold| if all { values.subset(rows) } else { values };
        if ipw {
            let folds = config.folds(source)?;
            let settings = config.config();
            let (propensity, _) = nuisance::fit_propensity(source, &folds, &settings.nuisance, config.seed(), watch)?;
            let (propensity, _) = overlap::assess(source, propensity, settings.gates.overlap_min)?;
            return Ok(Nuisances { means: None, propensity: propensity.into_iter().map(take).collect(), report: None });
        }
        let (fitted, _) = run_nuisances(config, source, watch)?;
        let means = fitted.means.into_iter().map(|arms| arms.into_iter().map(take).collect()).collect();
        let propensity = fitted.propensity.into_iter().map(take).collect();
        Ok(Nuisances { means: Some(means), propensity, report: Some(fitted.report) })
    }
}

/// The rows of one arm and the control.
struct Pair {
    score: Vec<f64>,
    treated: Vec<u8>,
    outcome: Vec<f64>,
    weights: Option<Vec<f64>>,
    clusters: Option<Vec<u32>>,
    row_ids: Vec<u64>,
    p: Vec<f64>,
    gamma: Vec<f64>,
}

impl Pair {
    fn new(data: &Dataset, outcome: usize, arm: usize, scores: &[f64], nuisances: &Nuisances) -> Self {
        let codes = &data.treatment.codes;
        let rows: Vec<usize> =
            (0..data.n_rows()).filter(|&row| usize::from(codes[row]) == arm || codes[row] == 0).collect();
        let y = &data.outcomes[outcome].values;
        let mean = |arm: usize, row: usize| nuisances.means.as_ref().map_or(0.0, |means| means[outcome][arm].get(row));
        // Among the rows of these two arms, the arm's probability is its share of the two.
        let share = |row: usize| {
            let (p, q) = (nuisances.propensity[arm].get(row), nuisances.propensity[0].get(row));
            p / (p + q)
        };
        let gamma = |row: usize| {
            let (treated, control, p) = (mean(arm, row), mean(0, row), share(row));
            let correction = if codes[row] == 0 { -(y[row] - control) / (1.0 - p) } else { (y[row] - treated) / p };
            treated - control + correction
        };
        Pair {
            score: rows.iter().map(|&row| scores[row]).collect(),
            treated: rows.iter().map(|&row| u8::from(codes[row] != 0)).collect(),
            outcome: rows.iter().map(|&row| y[row]).collect(),
            weights: data.weights.as_ref().map(|w| rows.iter().map(|&row| w[row]).collect()),
            clusters: data.clusters.as_ref().map(|c| rows.iter().map(|&row| c[row]).collect()),
            row_ids: rows.iter().map(|&row| data.row_ids[row]).collect(),
            p: rows.iter().map(|&row| share(row)).collect(),
            gamma: rows.iter().map(|&row| gamma(row)).collect(),
        }
    }

    fn scored(&self, assignment: &Assignment) -> Scored<'_> {
        Scored {
            score: &self.score,
            treated: &self.treated,
            outcome: &self.outcome,
            weights: self.weights.as_deref(),
            clusters: self.clusters.as_deref(),
            row_ids: Some(&self.row_ids),
            assignment: match assignment {
                Assignment::PerArm(_) | Assignment::Shares => Lot::Constant,
                Assignment::PerRow(_) => Lot::PerRow(&self.p),
                Assignment::Observational => Lot::Observational,
            },
            gamma: Some(&self.gamma),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impactiq_data::dataset::number_table;
    use impactiq_data::{DatasetBuilder, RolesSpec, Seed};

    #[test]
    fn doubly_robust_scores_match_hand_computed_ones_within_the_pair_of_arms() {
        // Rows: control with y = 1, arm 1 with y = 1, arm 2 with y = 0; shares 0.3, 0.1, 0.6.
        let table = number_table(vec![
            ("x".into(), vec![0.0, 1.0, 2.0]),
            ("t".into(), vec![0.0, 1.0, 2.0]),
            ("y".into(), vec![1.0, 1.0, 0.0]),
        ])
        .unwrap();
        let (treatment, control, outcomes) = ("t".into(), "0".into(), vec!["y".into()]);
        let spec = RolesSpec { treatment, control, outcomes, ..RolesSpec::default() };
        let roles = spec.resolve(table.names(), &[]).unwrap();
        let mut builder = DatasetBuilder::new(&roles, vec![0, 1, 2], Seed::new(1));
        builder.assignment = Assignment::PerArm(vec![0.3, 0.1, 0.6]);
        let data = builder.build(table).unwrap();
        let propensity = nuisance::declared_propensity(&data).unwrap();
        let ipw = Nuisances { means: None, propensity: propensity.clone(), report: None };
        let pair = Pair::new(&data, 0, 1, &[0.0; 3], &ipw);
        // Of the two arms' rows a quarter is treated; the row of arm 2 has no part in it.
        assert_eq!((pair.treated.as_slice(), pair.row_ids.as_slice()), (&[0, 1][..], &[0, 1][..]));
        let close = |found: &[f64], wanted: [f64; 2]| found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < 1e-12);
        assert!(close(&pair.gamma, [-1.0 / 0.75, 1.0 / 0.25]), "{:?}", pair.gamma);
        // Means known by design stand in for fitted ones: 0.2 under control, 0.5 under arm 1.
        let known = |p: f64| OutOfFold::designed(&Assignment::PerArm(vec![p]), 0, 3).unwrap();
        let means = Some(vec![vec![known(0.2), known(0.5), known(0.9)]]);
        let aipw = Nuisances { means, propensity, report: None };
        let pair = Pair::new(&data, 0, 1, &[0.0; 3], &aipw);
        assert!(close(&pair.gamma, [0.3 - 0.8 / 0.75, 0.3 + 0.5 / 0.25]), "{:?}", pair.gamma);
    }
}
