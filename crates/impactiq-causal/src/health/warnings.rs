//! What does not stop a run but should be known, as values.

use std::fmt;

use impactiq_data::{Assignment, Column, Dataset, OutcomeKind};
use serde::{Deserialize, Serialize};

use super::balance::BalanceRow;
use crate::overlap::ArmOverlap;

/// Rows of an arm below which intervals should be read with care.
const FEW_ROWS: usize = 100;
/// Events (or non-events) of a 0/1 outcome in an arm below which the same holds.
const FEW_EVENTS: usize = 20;
/// Clusters below which the same holds.
const FEW_CLUSTERS: usize = 20;

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
    /// An instrument hardly moves the treatment.
    WeakInstrument {
        /// The instrument.
        instrument: String,
        /// F of the first stage.
        f: f64,
    },
    /// Features leave little of a dose unexplained.
    LittleDose {
        /// The dose.
        dose: String,
        /// Share of its variance that they leave.
        share: f64,
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
    /// A feature is read as a category because a few of its values are no numbers.
    TextAmongNumbers {
        /// The feature.
        feature: String,
        /// A value that is no number.
        value: String,
    },
    /// A forest was stopped before it had all its trees.
    SmallerForest {
        /// The outcome.
        outcome: String,
        /// Its trees.
        n_trees: u64,
        /// Trees asked for.
        asked: u64,
    },
    /// A feature has one value only.
    ConstantFeature {
        /// The feature.
        feature: String,
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
            Warning::WeakInstrument { instrument, f: statistic } => write!(
                f,
                "the instrument '{instrument}' is weak (first-stage F {statistic:.1}, below 10): trust its \
                 Anderson-Rubin set, not the intervals of the estimates"
            ),
            Warning::LittleDose { dose, share } => write!(
                f,
                "features leave only {:.1} % of the variance of '{dose}' unexplained: its effect stands on few rows",
                share * 100.0
            ),
            Warning::FewClusters { n } => write!(f, "only {n} clusters: read intervals with care"),
            Warning::CutPropensity { arm, share } => write!(
                f,
                "for {:.2} % of the rows the probability of arm '{arm}' or of the control was cut at gates.overlap_min",
                share * 100.0
            ),
            Warning::TextAmongNumbers { feature, value } => write!(
                f,
                "feature '{feature}' holds '{value}' among numbers and is therefore a category, not a quantity: \
                 if '{value}' means missing, leave the field empty"
            ),
            Warning::SmallerForest { outcome, n_trees, asked } => write!(
                f,
                "growing was stopped: the forest of '{outcome}' has {n_trees} of {asked} trees, so its effects and \
                 intervals are rougher than asked for"
            ),
            Warning::ConstantFeature { feature } => {
                write!(f, "feature '{feature}' has one value only: it can tell nobody from anybody")
            }
        }
    }
}

/// What should be kept in mind about the data, from their balance table and overlap.
pub fn warnings(data: &Dataset, balance: &[BalanceRow], overlap: &[ArmOverlap]) -> Vec<Warning> {
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
            feature: row.label(),
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
        for outcome in data.outcomes.iter().filter(|o| o.kind == OutcomeKind::Binary) {
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
    for (name, column) in data.raw.names().iter().zip(data.raw.columns()) {
        let feature = name.clone();
        if let Some(value) = text_among_numbers(column) {
            all.push(Warning::TextAmongNumbers { feature, value: value.to_owned() });
        } else if is_constant(column) {
            all.push(Warning::ConstantFeature { feature });
        }
    }
    all
}

/// A level that is no number where nine in ten of the others are.
fn text_among_numbers(column: &Column) -> Option<&str> {
    let Column::Category { levels, .. } = column else { return None };
    let is_number = |level: &&String| level.trim().parse::<f64>().is_ok();
    let n_numbers = levels.iter().filter(is_number).count();
    let odd = levels.iter().find(|level| !is_number(level))?;
    (n_numbers * 10 >= levels.len() * 9 && n_numbers >= 10).then_some(odd.as_str())
}

/// True when every row has the same value, or none.
fn is_constant(column: &Column) -> bool {
    match column {
        Column::Number(values) => values.windows(2).all(|w| w[0] == w[1] || (w[0].is_nan() && w[1].is_nan())),
        Column::Category { codes, .. } => codes.windows(2).all(|w| w[0] == w[1]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn category(levels: Vec<String>) -> Column {
        Column::Category { codes: (0..levels.len() as u32).collect(), levels }
    }

    #[test]
    fn one_question_mark_among_numbers_is_named() {
        let mut levels: Vec<String> = (0..50).map(|i| i.to_string()).collect();
        levels.push("?".into());
        assert_eq!(text_among_numbers(&category(levels.clone())), Some("?"));
        levels.truncate(50);
        assert_eq!(text_among_numbers(&category(levels)), None);
        assert_eq!(text_among_numbers(&category(vec!["1".into(), "web".into()])), None);
    }

    #[test]
    fn a_column_of_one_value_or_of_none_is_constant() {
        assert!(is_constant(&Column::Number(vec![f64::NAN; 3])));
        assert!(is_constant(&Column::Number(vec![2.0; 3])));
        assert!(!is_constant(&Column::Number(vec![2.0, f64::NAN])));
    }
}
