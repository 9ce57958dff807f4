//! Predictions that no row's own outcome had a hand in.

use std::borrow::Cow;

use impactiq_data::Assignment;

/// One number per row from a model that did not see the row, or known by design.
///
/// There is no public constructor: the type is the proof. It comes from
/// [`super::cross_fit`] or, for probabilities fixed by the design, from
/// [`OutOfFold::designed`].
#[derive(Clone, Debug, PartialEq)]
pub struct OutOfFold {
    values: Values,
}

#[derive(Clone, Debug, PartialEq)]
enum Values {
    /// 14 M equal probabilities need no memory.
    Same {
        value: f64,
        n: usize,
    },
    PerRow(Vec<f64>),
}

impl OutOfFold {
    pub(super) fn per_row(values: Vec<f64>) -> Self {
        OutOfFold { values: Values::PerRow(values) }
    }

    /// One number known without any model, for all rows.
    pub(crate) fn same(value: f64, n: usize) -> Self {
        OutOfFold { values: Values::Same { value, n } }
    }

    /// The probability of an arm that the design declares; `None` where it declares none.
    pub fn designed(assignment: &Assignment, arm: usize, n: usize) -> Option<Self> {
        match assignment {
            Assignment::PerArm(p) => p.get(arm).map(|&p| OutOfFold::same(p, n)),
            Assignment::PerRow(p) => p.get(arm).map(|p| OutOfFold::per_row(p.clone())),
            Assignment::Shares | Assignment::Observational => None,
        }
    }

    /// Number of rows n.
    pub fn n_rows(&self) -> usize {
        match &self.values {
            Values::Same { n, .. } => *n,
            Values::PerRow(values) => values.len(),
        }
    }

    /// The value of a row.
    #[inline]
    pub fn get(&self, row: usize) -> f64 {
        match &self.values {
            Values::Same { value, .. } => *value,
            Values::PerRow(values) => values[row],
        }
    }

    /// The one value of all rows, where there is one by design.
    pub fn constant(&self) -> Option<f64> {
        match self.values {
            Values::Same { value, .. } => Some(value),
            Values::PerRow(_) => None,
        }
    }

    /// All values, n of them, borrowed where they are stored.
    pub fn values(&self) -> Cow<'_, [f64]> {
        match &self.values {
            Values::Same { value, n } => Cow::Owned(vec![*value; *n]),
            Values::PerRow(values) => Cow::Borrowed(values),
        }
    }

    /// All values, n of them.
    pub fn to_vec(&self) -> Vec<f64> {
        self.values().into_owned()
    }

    /// What these leave of some numbers, n of them.
    pub fn residuals(&self, values: &[f64]) -> Vec<f64> {
        values.iter().enumerate().map(|(row, value)| value - self.get(row)).collect()
    }

    /// The values of some rows, in the order given.
    pub(crate) fn subset(&self, rows: &[u32]) -> Self {
        match &self.values {
            Values::Same { value, .. } => OutOfFold::same(*value, rows.len()),
            Values::PerRow(values) => OutOfFold::per_row(rows.iter().map(|&row| values[row as usize]).collect()),
        }
    }

    /// The inverse of [`OutOfFold::subset`]: values of `rows` at their places among n rows; the
    /// other rows, of which nothing is known, have NaN.
    pub(crate) fn spread(&self, rows: &[u32], n: usize) -> Self {
        match &self.values {
            Values::Same { value, .. } => OutOfFold::same(*value, n),
            Values::PerRow(values) => {
                let mut all = vec![f64::NAN; n];
                rows.iter().zip(values).for_each(|(&row, &value)| all[row as usize] = value);
                OutOfFold::per_row(all)
            }
        }
    }

    /// This probability as a share of it and another: p / (p + q).
    pub(crate) fn share_with(&self, other: &Self) -> Self {
        match (self.constant(), other.constant()) {
            (Some(p), Some(q)) => OutOfFold::same(p / (p + q), self.n_rows()),
            _ => OutOfFold::per_row(
                (0..self.n_rows()).map(|row| self.get(row) / (self.get(row) + other.get(row))).collect(),
            ),
        }
    }

    /// The same rows with every value moved by a function of the value alone.
    pub(crate) fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        match &self.values {
            Values::Same { value, n } => OutOfFold::same(f(*value), *n),
            Values::PerRow(values) => OutOfFold::per_row(values.iter().map(|&v| f(v)).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn designs_give_probabilities_and_shares_do_not() {
        let per_arm = OutOfFold::designed(&Assignment::PerArm(vec![0.2, 0.8]), 1, 3).unwrap();
        assert_eq!((per_arm.constant(), per_arm.to_vec()), (Some(0.8), vec![0.8; 3]));
        let per_row = Assignment::PerRow(vec![vec![0.9, 0.5], vec![0.1, 0.5]]);
        assert_eq!(OutOfFold::designed(&per_row, 1, 2).unwrap().to_vec(), [0.1, 0.5]);
        assert!(OutOfFold::designed(&Assignment::Shares, 1, 2).is_none());
        assert!(OutOfFold::designed(&Assignment::Observational, 1, 2).is_none());
    }
}
