//! A dose: a treatment that is an amount, such as a discount, a price or an incentive.
//!
//! Rows with a dose belong to no arm; effects are per unit of the dose. What must not live here:
//! anything about arms.

use crate::column::number_text;
use crate::error::DataError;

/// The dose of every row.
#[derive(Clone, Debug, PartialEq)]
pub struct Dose {
    /// Column name.
    pub name: String,
    /// n finite values, not all equal and not merely 0 and 1.
    pub values: Vec<f64>,
}

impl Dose {
    /// Takes a dose from its checked numbers.
    ///
    /// # Errors
    /// [`DataError::Constant`] for one value, [`DataError::BinaryDose`] for only 0 and 1.
    pub fn new(name: &str, values: Vec<f64>) -> Result<Self, DataError> {
        let first = values.first().copied().unwrap_or_default();
        if values.iter().all(|&value| value == first) {
            return Err(DataError::Constant { column: name.to_owned(), role: "dose", value: number_text(first) });
        }
        if is_zero_one(&values) {
            return Err(DataError::BinaryDose { column: name.to_owned() });
        }
        Ok(Dose { name: name.to_owned(), values })
    }

    /// The doses of some rows, in the order given.
    ///
    /// # Panics
    /// When a row does not exist (a bug of the caller).
    pub fn subset(&self, rows: &[u32]) -> Self {
        Dose { name: self.name.clone(), values: rows.iter().map(|&row| self.values[row as usize]).collect() }
    }

    /// The weighted mean.
    pub fn mean(&self, weights: Option<&[f64]>) -> f64 {
        weighted_mean(&self.values, weights)
    }

    /// Strata of about equal size by amount, at most `n`; equal doses share one.
    pub fn strata(&self, n: usize) -> Vec<u32> {
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut cuts: Vec<f64> = (1..n).map(|k| sorted[k * sorted.len() / n]).filter(|cut| *cut > sorted[0]).collect();
        cuts.dedup();
        self.values.iter().map(|value| cuts.partition_point(|cut| cut <= value) as u32).collect()
    }
}

/// Whether all numbers are 0 or 1.
pub fn is_zero_one(values: &[f64]) -> bool {
    values.iter().all(|&value| value == 0.0 || value == 1.0)
}

/// The mean of some numbers, n of them, by the rows' weights where there are any.
pub fn weighted_mean(values: &[f64], weights: Option<&[f64]>) -> f64 {
    let weight = |row: usize| weights.map_or(1.0, |w| w[row]);
    let total: f64 = (0..values.len()).map(weight).sum();
    values.iter().enumerate().map(|(row, value)| weight(row) * value).sum::<f64>() / total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_and_merely_binary_doses_are_refused() {
        assert!(matches!(Dose::new("d", vec![2.0; 3]).unwrap_err(), DataError::Constant { role: "dose", .. }));
        let error = Dose::new("d", vec![0.0, 1.0, 1.0]).unwrap_err();
        assert!(error.hint().unwrap().contains("treatment: d, control: 0"), "{:?}", error.hint());
        assert!(Dose::new("d", vec![0.0, 1.0, 0.5]).is_ok());
    }

    #[test]
    fn strata_keep_equal_doses_together() {
        let dose = Dose::new("d", vec![0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(dose.strata(4), [0, 0, 0, 0, 1, 1, 2, 2]);
        assert_eq!(dose.mean(None), 1.25);
        assert_eq!(dose.mean(Some(&[0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0])), 0.5);
    }
}
