//! A pseudo-experiment: rows of observational data drawn so that, given features, every arm was as
//! likely as any other, as if a trial with equal arms had been run on the comparable rows.
//!
//! A row of arm a with features x is kept with probability minₖ pₖ(x) / pₐ(x): among those kept each arm
//! has the same density, minₖ pₖ(x), of features. This is the unit-level form of matching weights (Li &
//! Greene 2013). What was not measured stays as it was.

use impactiq_data::{Assignment, Dataset, Seed, Watch};
use impactiq_metrics::Estimate;
use impactiq_metrics::averages::{Sample, difference_in_means};
use serde::{Deserialize, Serialize};

use crate::config::CheckedConfig;
use crate::error::CausalError;
use crate::health::{self, BalanceRow};
use crate::nuisance::{self, OutOfFold};
use crate::overlap::{self, ArmOverlap};

/// The seed's child of the draw.
const DRAW: u64 = 1 << 42;

/// Learned probabilities count as at least this.
const LEAST: f64 = 1e-9;

/// What was drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PseudoExperiment {
    /// Numbers of the rows kept, among those of the data set.
    #[serde(skip)]
    pub rows: Vec<u32>,
    /// Rows of every arm before and after, the control first.
    pub arms: Vec<DrawnArm>,
    /// The probability of every arm among the rows kept, given features.
    pub probability: f64,
    /// Overlap of each arm with the control before the draw.
    pub overlap: Vec<ArmOverlap>,
    /// Every feature before and after, the largest difference that is left first.
    pub balance: Vec<DrawnBalance>,
    /// Differences in mean outcomes, arm minus control, before and after.
    pub effects: Vec<DrawnEffect>,
}

/// Rows of one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrawnArm {
    /// The arm.
    pub arm: String,
    /// Its rows.
    pub n_rows: u64,
    /// Those drawn.
    pub n_drawn: u64,
}

/// One feature in standard deviations, arm against control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrawnBalance {
    /// The feature, and its level where one differs most.
    pub feature: String,
    /// The arm.
    pub arm: String,
    /// Standardised mean difference as the rows were.
    pub smd_before: f64,
    /// The same among the rows drawn.
    pub smd_after: f64,
    /// p-value of the latter after Bonferroni.
    pub p_after: f64,
}

/// One outcome and arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrawnEffect {
    /// The outcome.
    pub outcome: String,
    /// The arm.
    pub arm: String,
    /// Difference in means as the rows were: confounded.
    pub before: Estimate,
    /// Among the rows drawn: the effect on comparable people, if nothing that matters was left out. The
    /// probabilities are taken as known.
    pub after: Estimate,
}

/// Draws a pseudo-experiment from observational data.
///
/// # Errors
/// [`CausalError::BadSetting`] for a randomised assignment, [`CausalError::NotWithDose`],
/// [`CausalError::TooFewRows`] for an arm of which nothing is left, and what nuisances find.
pub fn pseudo_experiment(
    config: &CheckedConfig,
    data: &Dataset,
    watch: &dyn Watch,
) -> Result<PseudoExperiment, CausalError> {
    if let Some(dose) = &data.dose {
        return Err(CausalError::NotWithDose { key: "a pseudo-experiment".into(), dose: dose.name.clone() });
    }
    if data.assignment != Assignment::Observational {
        let allowed = "the data are from a trial already; a pseudo-experiment is drawn from observational data";
        return Err(CausalError::setting("assignment.kind", "randomised", allowed));
    }
    watch.progress("nuisance", 0, 1);
    let settings = config.config();
    let propensity = nuisance::fit_propensity(data, &config.folds(data)?, &settings.nuisance, config.seed(), watch)?.0;
    let overlap = overlap::measure(data, &propensity, settings.gates.overlap_min);
    let rows = drawn(data, &propensity, config.seed().child(DRAW));
    let part = data.subset(&rows);
    let counts = data.treatment.counts().into_iter().zip(part.treatment.counts());
    let arms: Vec<DrawnArm> = data
        .treatment
        .arms
        .labels()
        .iter()
        .zip(counts)
        .map(|(arm, (all, kept))| DrawnArm { arm: arm.clone(), n_rows: all as u64, n_drawn: kept as u64 })
        .collect();
    if let Some(empty) = arms.iter().find(|arm| arm.n_drawn < 2) {
        let what = format!("what is comparable of arm '{}'", empty.arm);
        return Err(CausalError::TooFewRows { what, found: empty.n_drawn as usize, needed: 2 });
    }
    watch.progress("averages", 0, 1);
    Ok(PseudoExperiment {
        rows,
        probability: 1.0 / arms.len() as f64,
        arms,
        overlap,
        balance: balance(&health::balance(data)?, &health::balance(&part)?),
        effects: effects(data, &part),
    })
}

/// Rows that the hash of their number keeps.
fn drawn(data: &Dataset, propensity: &[OutOfFold], seed: Seed) -> Vec<u32> {
    let keeps = |&row: &u32| {
        let i = row as usize;
        let p = |arm: usize| propensity[arm].get(i).max(LEAST);
        let least = (0..propensity.len()).map(p).fold(f64::INFINITY, f64::min);
        seed.uniform(data.row_ids[i]) < least / p(usize::from(data.treatment.codes[i]))
    };
    (0..data.n_rows() as u32).filter(keeps).collect()
}

fn balance(before: &[BalanceRow], after: &[BalanceRow]) -> Vec<DrawnBalance> {
    let mut rows: Vec<DrawnBalance> = after
        .iter()
        .map(|row| {
            let same = before.iter().find(|other| other.feature == row.feature && other.arm == row.arm);
            DrawnBalance {
                feature: row.label(),
                arm: row.arm.clone(),
                smd_before: same.map_or(0.0, |other| other.smd),
                smd_after: row.smd,
                p_after: row.p_bonferroni,
            }
        })
        .collect();
    rows.sort_by(|a, b| b.smd_after.abs().total_cmp(&a.smd_after.abs()));
    rows
}

fn effects(data: &Dataset, part: &Dataset) -> Vec<DrawnEffect> {
    let difference = |data: &Dataset, outcome: usize, arm: usize| {
        difference_in_means(&Sample {
            outcome: &data.outcomes[outcome].values,
            arm: &data.treatment.codes,
            contrast: arm as u8,
            weights: data.weights.as_deref(),
            clusters: data.clusters.as_deref(),
        })
    };
    let labels = data.treatment.arms.labels();
    let pairs = (0..data.outcomes.len()).flat_map(|outcome| (1..labels.len()).map(move |arm| (outcome, arm)));
    pairs
        .map(|(outcome, arm)| DrawnEffect {
            outcome: data.outcomes[outcome].name.clone(),
            arm: labels[arm].clone(),
            before: difference(data, outcome, arm),
            after: difference(part, outcome, arm),
        })
        .collect()
}
