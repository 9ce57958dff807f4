//! Arms: which treatment each row received, the control first.

use serde::{Deserialize, Serialize};

use crate::column::{ColumnView, MISSING_LEVEL, number_text};
use crate::error::DataError;

/// The most arms one experiment can have, control included.
pub const MAX_ARMS: usize = 64;

/// The arms of an experiment by code; code 0 is the control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Arms {
    labels: Vec<String>,
}

impl Arms {
    /// Arms with the control first.
    pub fn new(labels: Vec<String>) -> Self {
        Arms { labels }
    }

    /// Labels by code; the first is the control.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The control's label.
    pub fn control(&self) -> &str {
        &self.labels[0]
    }

    /// Number of arms, control included.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never true for arms that came from data.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of contrasts against the control.
    pub fn n_contrasts(&self) -> usize {
        self.labels.len().saturating_sub(1)
    }

    /// The code of a label.
    pub fn code(&self, label: &str) -> Option<u8> {
        self.labels.iter().position(|l| l == label).map(|code| code as u8)
    }
}

/// The arm of every row.
#[derive(Clone, Debug, PartialEq)]
pub struct Treatment {
    /// The arms.
    pub arms: Arms,
    /// Arm code per row; 0 is the control.
    pub codes: Vec<u8>,
}

impl Treatment {
    /// Reads arms from a column.
    ///
    /// The arms after the control are in natural order: numbers by value, text by name.
    ///
    /// # Errors
    /// Missing values, a single arm, a control that doesn't occur, or more than
    /// [`MAX_ARMS`] distinct values. Row numbers in errors come from `row_number`.
    pub fn from_column(
        name: &str,
        column: ColumnView<'_>,
        control: &str,
        row_number: impl Fn(usize) -> u64,
    ) -> Result<Self, DataError> {
        let missing: Vec<usize> = (0..column.len()).filter(|&row| column.is_missing(row)).collect();
        if let Some(&first) = missing.first() {
            return Err(DataError::MissingValues {
                column: name.to_owned(),
                role: "treatment",
                n_missing: missing.len(),
                first_row: row_number(first),
            });
        }
        if column.is_empty() {
            return Err(DataError::NoRows { after: None });
        }
        let (mut labels, codes) = match column {
            ColumnView::Number(values) => number_arms(name, values)?,
            ColumnView::Category { codes, levels } => category_arms(name, codes, levels)?,
        };
        if labels.len() == 1 {
            return Err(DataError::Constant { column: name.to_owned(), role: "treatment", value: labels.remove(0) });
        }
        let control_text = control.trim().parse::<f64>().map_or_else(|_| control.to_owned(), number_text);
        let Some(control_code) = labels.iter().position(|l| l == control || *l == control_text) else {
            return Err(DataError::UnknownControl {
                column: name.to_owned(),
                control: control.to_owned(),
                found: labels,
            });
        };
        // Move the control to the front; the others keep their order.
        let control_label = labels.remove(control_code);
        labels.insert(0, control_label);
        let map: Vec<u8> = (0..labels.len())
            .map(|code| match code.cmp(&control_code) {
                std::cmp::Ordering::Less => code as u8 + 1,
                std::cmp::Ordering::Equal => 0,
                std::cmp::Ordering::Greater => code as u8,
            })
            .collect();
        let codes = codes.into_iter().map(|code| map[code as usize]).collect();
        Ok(Treatment { arms: Arms::new(labels), codes })
    }

    /// Rows per arm.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.arms.len()];
        for &code in &self.codes {
            counts[code as usize] += 1;
        }
        counts
    }
}

fn number_arms(name: &str, values: &[f64]) -> Result<(Vec<String>, Vec<u8>), DataError> {
    let mut distinct: Vec<f64> = Vec::new();
    for &value in values {
        if !distinct.contains(&value) {
            distinct.push(value);
            if distinct.len() > MAX_ARMS {
                return Err(too_many(name, values.iter().map(|v| v.to_bits()).collect()));
            }
        }
    }
    distinct.sort_by(f64::total_cmp);
    let codes = values.iter().map(|value| distinct.iter().position(|d| d == value).unwrap_or_default() as u8).collect();
    Ok((distinct.into_iter().map(number_text).collect(), codes))
}

fn category_arms(name: &str, codes: &[u32], levels: &[String]) -> Result<(Vec<String>, Vec<u8>), DataError> {
    let mut used = vec![false; levels.len()];
    codes.iter().filter(|&&code| code != MISSING_LEVEL).for_each(|&code| used[code as usize] = true);
    let mut order: Vec<usize> = (0..levels.len()).filter(|&i| used[i]).collect();
    if order.len() > MAX_ARMS {
        return Err(DataError::TooManyArms { column: name.to_owned(), n_values: order.len(), limit: MAX_ARMS });
    }
    order.sort_by(|&a, &b| levels[a].cmp(&levels[b]));
    let mut map = vec![0u8; levels.len()];
    for (code, &level) in order.iter().enumerate() {
        map[level] = code as u8;
    }
    let codes = codes.iter().map(|&code| map[code as usize]).collect();
    Ok((order.into_iter().map(|i| levels[i].clone()).collect(), codes))
}

fn too_many(name: &str, mut bits: Vec<u64>) -> DataError {
    bits.sort_unstable();
    bits.dedup();
    DataError::TooManyArms { column: name.to_owned(), n_values: bits.len(), limit: MAX_ARMS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_comes_first_and_the_rest_keeps_its_order() {
        let levels = ["b".to_string(), "none".into(), "a".into()];
        let column = ColumnView::Category { codes: &[0, 1, 2, 1], levels: &levels };
        let treatment = Treatment::from_column("segment", column, "none", |r| r as u64).unwrap();
        assert_eq!(treatment.arms.labels(), ["none", "a", "b"]);
        assert_eq!(treatment.codes, [2, 0, 1, 0]);
        assert_eq!(treatment.counts(), [2, 1, 1]);
    }

    #[test]
    fn numbers_are_arms_by_their_text() {
        let treatment = Treatment::from_column("t", ColumnView::Number(&[1.0, 0.0, 2.0]), "0.0", |r| r as u64).unwrap();
        assert_eq!(treatment.arms.labels(), ["0", "1", "2"]);
    }

    #[test]
    fn one_arm_missing_values_and_unknown_control_are_errors() {
        let err = |values: &[f64], control: &str| {
            Treatment::from_column("t", ColumnView::Number(values), control, |r| r as u64 + 1).unwrap_err()
        };
        assert!(matches!(err(&[1.0, 1.0], "0"), DataError::Constant { .. }));
        assert!(matches!(err(&[1.0, f64::NAN], "0"), DataError::MissingValues { first_row: 2, .. }));
        assert!(matches!(err(&[1.0, 2.0], "0"), DataError::UnknownControl { .. }));
        let many: Vec<f64> = (0..1000).map(f64::from).collect();
        assert!(matches!(err(&many, "0"), DataError::TooManyArms { n_values: 1000, .. }));
    }
}
