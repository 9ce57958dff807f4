//! The one door: from a checked config and a dataset to a model and its report.
//!
//! Guard, then cross-fitted nuisances and averages on every kept row, then the learner on
//! the rows outside the hold-out. Stages are named to the watch as in [`STAGES`].

use std::fmt;

use impactiq_data::{Assignment, BinColumns, Dataset, Stream, Watch};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::Inputs;
use crate::config::CheckedConfig;
use crate::effect::{self, ContrastAverages};
use crate::error::CausalError;
use crate::health::{self, BalanceRow};
use crate::learners::{LearnerTask, fit_effect};
use crate::model::{CausalModel, OutcomeModel};
use crate::nuisance::{self, NuisanceReport, Nuisances};
use crate::overlap::{self, ArmOverlap};

/// The stages a watch hears of, in order.
pub const STAGES: [&str; 4] = ["guard", "nuisance", "averages", "learner"];

/// Rows of an arm below which intervals should be read with care.
const FEW_ROWS: usize = 100;
/// Events (or non-events) of a 0/1 outcome in an arm below which the same holds.
const FEW_EVENTS: usize = 20;
/// Clusters below which the same holds.
const FEW_CLUSTERS: usize = 20;

/// A trained model and what was learned on the way.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The model.
    pub model: CausalModel,
    /// The report, as `train` prints it.
    pub report: TrainReport,
}

/// What `train` prints; the door adds model, seconds and memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// Rows kept.
    pub n_rows: u64,
    /// Rows held out from the learner.
    pub n_holdout: u64,
    /// Rows per arm, the control first.
    pub arms: ArmCounts,
    /// Average effects per outcome and arm, over all kept rows.
    pub contrasts: Vec<ContrastAverages>,
    /// How well the nuisances fit, out of fold.
    pub nuisance: NuisanceReport,
    /// Overlap of each arm with the control.
    pub overlap: Vec<ArmOverlap>,
    /// What to keep in mind.
    pub warnings: Vec<Warning>,
}

/// Rows per arm in the arms' order; JSON: `{"0": 150, "1": 850}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArmCounts(pub Vec<(String, u64)>);

impl Serialize for ArmCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (arm, n) in &self.0 {
            map.serialize_entry(arm, n)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for ArmCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counts;
        impl<'de> Visitor<'de> for Counts {
            type Value = ArmCounts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table {arm: rows}")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ArmCounts, A::Error> {
                let mut counts = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    counts.push(entry);
                }
                Ok(ArmCounts(counts))
            }
        }
        deserializer.deserialize_map(Counts)
    }
}

/// Something that does not stop a run but should be known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Warning {
    /// The data are not from a randomised trial.
    Observational,
    /// No probability was declared, and the arms' shares differ along a feature.
    SharesDiffer {
        /// The feature.
        feature: String,
        /// The arm.
        arm: String,
        /// Standardised difference.
        smd: f64,
        /// p-value after Bonferroni.
        p: f64,
    },
    /// An arm has few rows.
    FewRows {
        /// The arm.
        arm: String,
        /// Its rows.
        n: u64,
    },
    /// A 0/1 outcome has few events or few non-events in an arm.
    FewEvents {
        /// The outcome.
        outcome: String,
        /// The arm.
        arm: String,
        /// The smaller number of the two.
        n: u64,
    },
    /// There are few clusters.
    FewClusters {
        /// How many.
        n: u64,
    },
    /// Learned probabilities were cut at the overlap limit.
    CutPropensity {
        /// The arm.
        arm: String,
        /// Share of rows cut.
        share: f64,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Observational => f.write_str(
                "observational data: estimates are causal only if every common cause of treatment and outcome is a \
                 feature or a control; in 663 advertising experiments double machine learning still overstated the \
                 median lift about threefold (Gordon, Moakler & Zettelmeyer 2023)",
            ),
            Warning::SharesDiffer { feature, arm, smd, p } => write!(
                f,
                "no assignment.probability is declared and the share of arm '{arm}' differs along '{feature}' \
                 (standardised difference {smd:.3}, p = {p:.1e} after Bonferroni): if assignment was stratified, declare it"
            ),
            Warning::FewRows { arm, n } => write!(f, "arm '{arm}' has only {n} rows: read intervals with care"),
            Warning::FewEvents { outcome, arm, n } => {
                write!(f, "outcome '{outcome}' has only {n} rows of its rarer value in arm '{arm}'")
            }
            Warning::FewClusters { n } => write!(f, "only {n} clusters: read intervals with care"),
            Warning::CutPropensity { arm, share } => write!(
                f,
                "for {:.2} % of the rows the probability of arm '{arm}' or of the control was cut at gates.overlap_min",
                share * 100.0
            ),
        }
    }
}

/// Trains a model: guard → nuisances and averages on all rows → learner outside the hold-out.
///
/// Same config, data and seed give the same bytes on any number of threads.
///
/// # Errors
/// [`CausalError::PostTreatment`] from the guard, [`CausalError::NoOverlap`],
/// [`CausalError::TooFewRows`], [`CausalError::NotBinary`], [`CausalError::Stopped`].
pub fn train(config: &CheckedConfig, data: &Dataset, watch: &dyn Watch) -> Result<Trained, CausalError> {
    watch.progress("guard", 0, 1);
    let balance = health::guard(data)?;
    watch.progress("guard", 1, 1);
    let (nuisances, overlap) = run_nuisances(config, data, watch)?;
    watch.progress("averages", 0, 1);
    let contrasts = effect::averages(data, &nuisances);
    watch.progress("averages", 1, 1);
    let report_nuisance = nuisances.report.clone();
    drop(nuisances);
    let held_out = config.holdout(data)?;
    let model = learn(config, data, &held_out, watch)?;
    let counts = data.treatment.counts();
    let arms = data.treatment.arms.labels().iter().cloned().zip(counts.iter().map(|&n| n as u64)).collect();
    let report = TrainReport {
        n_rows: data.n_rows() as u64,
        n_holdout: held_out.iter().filter(|&&held| held).count() as u64,
        arms: ArmCounts(arms),
        contrasts,
        nuisance: report_nuisance,
        warnings: warnings(data, &balance, &overlap),
        overlap,
    };
    Ok(Trained { model, report })
}

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

fn learn(
    config: &CheckedConfig,
    data: &Dataset,
    held_out: &[bool],
    watch: &dyn Watch,
) -> Result<CausalModel, CausalError> {
    let rows: Vec<u32> = (0..data.n_rows() as u32).filter(|&row| !held_out[row as usize]).collect();
    let features = data.features.names()[..data.n_modifiers].to_vec();
    let inputs = Inputs { binned: &data.features, raw: &data.raw, names: &features, arm: None };
    let ids = nuisance::sampling_ids(data);
    let seed = config.seed().stream(Stream::Learner);
    let total = data.outcomes.len() as u64;
    let mut outcomes = Vec::with_capacity(data.outcomes.len());
    for (index, outcome) in data.outcomes.iter().enumerate() {
        watch.progress("learner", index as u64, total);
        let task = LearnerTask {
            rows: &rows,
            codes: &data.treatment.codes,
            arms: &data.treatment.arms,
            outcome: &outcome.name,
            kind: outcome.kind,
            target: &outcome.values,
            weights: data.weights.as_deref(),
            row_ids: &ids,
        };
        let effect = fit_effect(&config.config().learner, &inputs, &task, seed.child(index as u64), watch)?;
        outcomes.push(OutcomeModel { name: outcome.name.clone(), kind: outcome.kind, effect });
    }
    watch.progress("learner", total, total);
    let bins = data.features.bins()[..data.n_modifiers].to_vec();
    debug_assert_eq!(data.features.n_features(), data.raw.names().len());
    Ok(CausalModel::new(data.treatment.arms.clone(), features, bins, outcomes))
}

fn warnings(data: &Dataset, balance: &[BalanceRow], overlap: &[ArmOverlap]) -> Vec<Warning> {
    let mut all = Vec::new();
    if data.assignment == Assignment::Observational {
        all.push(Warning::Observational);
        all.extend(
            overlap
                .iter()
                .filter(|o| o.share_outside > 0.0)
                .map(|o| Warning::CutPropensity { arm: o.arm.clone(), share: o.share_outside }),
        );
    }
    if data.assignment == Assignment::Shares {
        // What the guard let pass and chance alone would not explain.
        all.extend(balance.iter().filter(|row| row.p_bonferroni < 1e-3).map(|row| Warning::SharesDiffer {
            feature: row.feature.clone(),
            arm: row.arm.clone(),
            smd: row.smd,
            p: row.p_bonferroni,
        }));
    }
    let labels = data.treatment.arms.labels();
    for (arm, &n) in data.treatment.counts().iter().enumerate() {
        if n < FEW_ROWS {
            all.push(Warning::FewRows { arm: labels[arm].clone(), n: n as u64 });
        }
        for outcome in data.outcomes.iter().filter(|o| o.kind == impactiq_data::OutcomeKind::Binary) {
            let events = (outcome.values.iter().zip(&data.treatment.codes))
                .filter(|(y, code)| usize::from(**code) == arm && **y > 0.5)
                .count();
            let rarer = events.min(n - events);
            if n >= FEW_ROWS && rarer < FEW_EVENTS {
                let (outcome, arm) = (outcome.name.clone(), labels[arm].clone());
                all.push(Warning::FewEvents { outcome, arm, n: rarer as u64 });
            }
        }
    }
    if let Some(clusters) = &data.clusters {
        let mut distinct = clusters.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() < FEW_CLUSTERS {
            all.push(Warning::FewClusters { n: distinct.len() as u64 });
        }
    }
    all
}
