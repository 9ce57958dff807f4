//! Average effects per outcome and arm, over every kept row: difference in means, Lin's
//! regression adjustment, AIPW, IPW and TMLE, with relative lift and incremental outcomes; on
//! the treated, the controls and the overlap where that is another number.
//!
//! The formulas live in metrics; here stand the choices: which weights make a plain difference
//! fair when probabilities differ by row, which covariates Lin adjusts for, which
//! nuisances enter the scores.

mod asked;

use std::borrow::Cow;

use impactiq_data::{Assignment, ColumnView, DataError, Dataset};
use impactiq_metrics::Estimate;
use impactiq_metrics::averages::{
    ArmNuisances, RelativeMethod, Sample, aipw_mean_scores, difference_in_means, lin, score_lift,
};
use impactiq_metrics::estimands::{Comparison, Estimand, aipw, ipw, tmle};
use serde::{Deserialize, Serialize};

pub(crate) use asked::numbers;
pub use asked::{Asked, RatioAverage, TrimmedAverages, WinsorisedAverages, comparable};

use crate::linear::{Design, DesignColumn, MAX_INDICATORS, Source};
use crate::nuisance::{Nuisances, OutOfFold};

/// Numbers that the indicator columns of all categories together may take in memory: 1 GiB.
const MAX_INDICATOR_CELLS: usize = 1 << 27;

/// The estimators of one average effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimators {
    /// Mean outcome of the arm minus that of the control, rows weighted by the inverse of their
    /// declared probability where it differs by row. For observational data a raw difference.
    pub difference_in_means: Estimate,
    /// Lin (2013): regression on raw features within each arm.
    pub lin: Estimate,
    /// Augmented inverse-probability weighting with cross-fitted nuisances.
    pub aipw: Estimate,
    /// Normalised inverse-probability weighting (Hajek): no outcome model.
    #[serde(default = "not_computed")]
    pub ipw: Estimate,
    /// Targeted learning on the same nuisances: never leaves the outcome's range.
    #[serde(default = "not_computed")]
    pub tmle: Estimate,
    /// Of a dose: the partially linear effect of one unit (residual on residual), cross-fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partially_linear: Option<Estimate>,
    /// CUPED: the difference in means less what columns from before the trial explain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuped: Option<Estimate>,
}

fn not_computed() -> Estimate {
    Estimate::undefined("the report is older than this estimator")
}

/// The effect averaged over a group other than everybody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetAverages {
    /// The group: `att` rows in the arm, `atc` rows in control, `overlap` where both are likely.
    pub estimand: Estimand,
    /// Doubly robust: the answer.
    pub aipw: Estimate,
    /// Normalised inverse-probability weighting.
    pub ipw: Estimate,
    /// Targeted learning.
    pub tmle: Estimate,
}

/// The average effect of one arm on one outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContrastAverages {
    /// The outcome.
    pub outcome: String,
    /// The arm, compared with the control.
    pub arm: String,
    /// The answer: AIPW.
    pub ate: Estimate,
    /// All estimators.
    pub estimators: Estimators,
    /// Effects on the arm's rows, the control's and the overlap, where probabilities differ by
    /// row; empty where they don't, and every group is a random part of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub estimands: Vec<TargetAverages>,
    /// The same over comparable rows alone, where the config asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trimmed: Option<TrimmedAverages>,
    /// The effect on the outcome cut at quantiles, where the config asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winsorised: Option<WinsorisedAverages>,
    /// The effect on the outcome per unit of another, where the config asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<RatioAverage>,
    /// The effect as a share of the control mean (AIPW).
    pub relative_lift: Estimate,
    /// How the interval of `relative_lift` was made.
    pub relative_lift_method: Option<RelativeMethod>,
    /// The effect times the number (weight) of rows in the arm (AIPW).
    pub incremental: Estimate,
    /// Mean outcome under control (AIPW).
    pub control_mean: Estimate,
    /// Mean outcome under the arm (AIPW).
    pub treated_mean: Estimate,
}

impl ContrastAverages {
    /// The averages where no arms can be compared, for the `reason` given: only `ate` is known.
    pub(crate) fn without_arms(outcome: &str, treatment: &str, ate: Estimate, reason: &'static str) -> Self {
        let none = || Estimate::undefined(reason);
        ContrastAverages {
            outcome: outcome.to_owned(),
            arm: treatment.to_owned(),
            ate,
            estimators: Estimators {
                difference_in_means: none(),
                lin: none(),
                aipw: none(),
                ipw: none(),
                tmle: none(),
                partially_linear: None,
                cuped: None,
            },
            estimands: Vec::new(),
            trimmed: None,
            winsorised: None,
            ratio: None,
            relative_lift: none(),
            relative_lift_method: None,
            incremental: none(),
            control_mean: none(),
            treated_mean: none(),
        }
    }
}

/// Columns that Lin's estimator adjusts for: raw numbers (missing as NaN) and indicators of the
/// most frequent levels of categories. All features and controls take part, but for categories
/// when there are so many rows that their indicators would not fit in memory: leaving a covariate
/// out costs precision, never validity.
pub struct Covariates<'a> {
    columns: Vec<Cow<'a, [f64]>>,
}

impl<'a> Covariates<'a> {
    /// The covariates of a data set.
    pub fn of(data: &'a Dataset) -> Self {
        let n = data.n_rows();
        let n_categories =
            data.raw.columns().iter().filter(|column| matches!(column.view(), ColumnView::Category { .. })).count();
        // A category has two more columns at most: rarer levels, and missing ones.
        let each = MAX_INDICATOR_CELLS / n.max(1) / n_categories.max(1);
        let limit = each.saturating_sub(2).min(MAX_INDICATORS);
        let rows: Vec<u32> = (0..n as u32).collect();
        let source = Source::new(&data.raw);
        let mut columns: Vec<Cow<'a, [f64]>> = Vec::new();
        for (name, column) in data.raw.names().iter().zip(data.raw.columns()) {
            match column.view() {
                ColumnView::Number(values) => columns.push(Cow::Borrowed(values)),
                ColumnView::Category { .. } if limit == 0 => {}
                ColumnView::Category { .. } => {
                    let names = std::slice::from_ref(name);
                    // The column was just seen: learning and binding can't miss it.
                    let Ok(design) = Design::learn(&source, names, &rows, data.weights.as_deref(), limit) else {
                        continue;
                    };
                    let Ok(bound) = design.bind(&source) else { continue };
                    let width = design.columns().iter().map(DesignColumn::width).sum::<usize>();
                    let mut filled = vec![0.0; (width + 1) * n];
                    bound.fill(&rows, &mut filled);
                    columns.extend(filled.chunks_exact(n).skip(1).map(|column| Cow::Owned(column.to_vec())));
                }
            }
        }
        Covariates { columns }
    }

    fn slices(&self) -> Vec<&[f64]> {
        self.columns.iter().map(AsRef::as_ref).collect()
    }
}

/// Doubly robust scores of one arm's mean, n of them (Robins, Rotnitzky & Zhao 1994).
pub fn mean_scores(data: &Dataset, outcome: usize, arm: usize, mean: &OutOfFold, p: &OutOfFold) -> Vec<f64> {
    let outcome = &data.outcomes[outcome].values;
    aipw_mean_scores(outcome, &data.treatment.codes, arm as u8, &mean.to_vec(), &p.to_vec())
}

/// Weights that make arms comparable without a model: the sampling weight, over the row's
/// own probability of its arm where the design varies it by row.
pub(crate) fn design_weights(data: &Dataset) -> Option<Cow<'_, [f64]>> {
    let weights = data.weights.as_deref();
    match &data.assignment {
        Assignment::PerRow(p) => Some(Cow::Owned(
            (0..data.n_rows())
                .map(|row| weights.map_or(1.0, |w| w[row]) / p[data.treatment.codes[row] as usize][row])
                .collect(),
        )),
        _ => weights.map(Cow::Borrowed),
    }
}

/// All average effects of a data set: per outcome, per arm but the control, and what else is asked.
///
/// # Errors
/// [`DataError::MissingColumn`] for a CUPED column that is no feature and no control.
pub fn averages(data: &Dataset, nuisances: &Nuisances, asked: &Asked<'_>) -> Result<Vec<ContrastAverages>, DataError> {
    let before = if asked.cuped.is_empty() { Vec::new() } else { numbers(data, asked.cuped)? };
    let (covariates, design) = (Covariates::of(data), design_weights(data));
    let p = &nuisances.propensity;
    let of_arms = |trim| p[1..].iter().map(|arm| comparable(trim, arm, &p[0], data.weights.as_deref())).collect();
    let kept = asked.trim.map(of_arms).unwrap_or_default();
    let shared = Shared { data, nuisances, covariates, design, asked, before, kept };
    let mut all = Vec::with_capacity(data.outcomes.len() * data.treatment.arms.n_contrasts());
    for (outcome, means) in nuisances.means.iter().enumerate() {
        let control = mean_scores(data, outcome, 0, &means[0], &nuisances.propensity[0]);
        for (arm, (mean, p)) in means.iter().zip(&nuisances.propensity).enumerate().skip(1) {
            let treated = mean_scores(data, outcome, arm, mean, p);
            all.push(shared.contrast(outcome, arm, &treated, &control));
        }
    }
    Ok(all)
}

/// What all contrasts of a data set have in common.
struct Shared<'a> {
    data: &'a Dataset,
    nuisances: &'a Nuisances,
    covariates: Covariates<'a>,
    design: Option<Cow<'a, [f64]>>,
    asked: &'a Asked<'a>,
    /// Columns of CUPED.
    before: Vec<Vec<f64>>,
    /// Which rows are comparable, and the limit, by contrast; empty where nothing is trimmed.
    kept: Vec<(f64, Vec<bool>)>,
}

impl Shared<'_> {
    /// One contrast, from the scores of the arm's and of the control's mean.
    fn contrast(&self, outcome: usize, arm: usize, treated: &[f64], control: &[f64]) -> ContrastAverages {
        let data = self.data;
        let (weights, clusters) = (data.weights.as_deref(), data.clusters.as_deref());
        let codes = &data.treatment.codes;
        let sample = Sample {
            outcome: &data.outcomes[outcome].values,
            arm: codes,
            contrast: arm as u8,
            weights: self.design.as_deref(),
            clusters,
        };
        let (means, propensity) = (&self.nuisances.means[outcome], &self.nuisances.propensity);
        let values = [&means[arm], &means[0], &propensity[arm], &propensity[0]].map(OutOfFold::values);
        let comparison = Comparison {
            sample: Sample { weights, ..sample },
            nuisances: ArmNuisances {
                mean_treated: &values[0],
                mean_control: &values[1],
                p_treated: &values[2],
                p_control: &values[3],
            },
        };
        let alike = propensity[arm].constant().is_some() && propensity[0].constant().is_some();
        let targets = if alike { &[][..] } else { &[Estimand::Att, Estimand::Atc, Estimand::Overlap] };
        let trimmed = self.asked.trim.zip(self.kept.get(arm - 1));
        let trimmed = trimmed.map(|(trim, (limit, kept))| asked::trimmed(&comparison, (trim, *limit), kept));
        let slices = self.covariates.slices();
        let in_arm = (0..data.n_rows()).filter(|&row| usize::from(codes[row]) == arm);
        let n_treated = in_arm.map(|row| weights.map_or(1.0, |w| w[row])).sum();
        let lift = score_lift(treated, control, weights, clusters, n_treated);
        ContrastAverages {
            outcome: data.outcomes[outcome].name.clone(),
            arm: data.treatment.arms.labels()[arm].clone(),
            ate: lift.ate.clone(),
            estimators: Estimators {
                difference_in_means: difference_in_means(&sample),
                lin: lin(&sample, &slices),
                aipw: lift.ate,
                ipw: ipw(&comparison, Estimand::Ate),
                tmle: tmle(&comparison, Estimand::Ate),
                partially_linear: None,
                cuped: asked::adjusted(&sample, &self.before),
            },
            trimmed,
            winsorised: asked::cut(&sample, data.outcomes[outcome].kind, self.asked, &slices),
            ratio: asked::ratio(data, &sample, outcome, self.asked),
            estimands: targets.iter().map(|&estimand| target(&comparison, estimand)).collect(),
            relative_lift: lift.relative,
            relative_lift_method: lift.relative_method,
            incremental: lift.incremental,
            control_mean: lift.control_mean,
            treated_mean: lift.treated_mean,
        }
    }
}

/// The average over one group.
fn target(comparison: &Comparison<'_>, estimand: Estimand) -> TargetAverages {
    TargetAverages {
        estimand,
        aipw: aipw(comparison, estimand),
        ipw: ipw(comparison, estimand),
        tmle: tmle(comparison, estimand),
    }
}
