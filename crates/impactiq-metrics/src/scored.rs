//! Scored rows: one contrast on evaluation rows, and the same rows sorted by score once.
//!
//! Every ranking metric walks the sorted rows in one linear pass. Rows of equal score form a
//! group; metrics that average ties look at group ends only, peers' metrics that don't see
//! rows in scikit-uplift's order (a stable ascending sort, reversed).

use rayon::prelude::*;

use crate::error::{MetricsError, all_finite, good_weights, same_length};
use crate::radix::ascending;

/// How rows came into their arm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Assignment<'a> {
    /// By lot, with one probability for all rows.
    Constant,
    /// By lot, with a known probability per row: n values in (0, 1).
    PerRow(&'a [f64]),
    /// Not by lot.
    Observational,
    /// No arms that could be compared, and why: the treatment is an amount, or was chosen.
    NoArms(&'static str),
}

/// Rows of one contrast: the arm's rows (treated) and the control's, each with a score.
#[derive(Clone, Copy, Debug)]
pub struct Scored<'a> {
    /// Predicted effect or any other priority, n finite values; high means "treat first".
    pub score: &'a [f64],
    /// 1 for a row of the arm, 0 for a row of the control; 0 for all rows without arms.
    pub treated: &'a [u8],
    /// Outcome, n finite values.
    pub outcome: &'a [f64],
    /// Sampling weights, n values from 0 up.
    pub weights: Option<&'a [f64]>,
    /// Cluster of each row.
    pub clusters: Option<&'a [u32]>,
    /// A stable number per row, so that half-samples don't depend on the rows' order; the
    /// position serves where it is absent.
    pub row_ids: Option<&'a [u64]>,
    /// How rows came into their arm.
    pub assignment: Assignment<'a>,
    /// Doubly robust scores Γ of the effect, n finite values.
    pub gamma: Option<&'a [f64]>,
}

/// Weighted sums of some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Weight of the treated rows (their number without weights).
    pub treated: f64,
    /// Weighted outcome sum of the treated rows.
    pub outcome_treated: f64,
    /// Weight of the control rows.
    pub control: f64,
    /// Weighted outcome sum of the control rows.
    pub outcome_control: f64,
    /// Weighted sum of the doubly robust scores; 0 without them.
    pub gamma: f64,
}

impl Sums {
    /// Weight of all rows.
    #[inline]
    pub fn weight(&self) -> f64 {
        self.treated + self.control
    }

    /// Adds other rows.
    #[inline]
    pub fn add(&mut self, other: &Sums) {
        self.add_scaled(other, 1.0);
    }

    /// Adds a share of other rows.
    #[inline]
    pub fn add_scaled(&mut self, other: &Sums, share: f64) {
        self.treated += share * other.treated;
        self.outcome_treated += share * other.outcome_treated;
        self.control += share * other.control;
        self.outcome_control += share * other.outcome_control;
        self.gamma += share * other.gamma;
    }

    /// Radcliffe's incremental outcomes Y_t − Y_c · N_t / N_c; the second term is 0 while
    /// there is no control row.
    #[inline]
    pub fn radcliffe(&self) -> f64 {
        self.outcome_treated
            - if self.control > 0.0 { self.outcome_control * (self.treated / self.control) } else { 0.0 }
    }

    /// Difference in means; the term of an empty arm is 0.
    #[inline]
    pub fn uplift(&self) -> f64 {
        let mean = |sum: f64, weight: f64| if weight > 0.0 { sum / weight } else { 0.0 };
        mean(self.outcome_treated, self.treated) - mean(self.outcome_control, self.control)
    }

    /// Cumulative gain: the difference in means times the rows' weight.
    #[inline]
    pub fn gain(&self) -> f64 {
        self.uplift() * self.weight()
    }
}

/// Scored rows in descending order of score, checked.
#[derive(Clone, Debug)]
pub struct Sorted<'a> {
    rows: Scored<'a>,
    /// Row numbers, best score first.
    order: Vec<u32>,
    treated: Vec<u8>,
    outcome: Vec<f64>,
    weights: Option<Vec<f64>>,
    gamma: Option<Vec<f64>>,
    /// First position of each group of equal scores, then n.
    starts: Vec<u32>,
    total: Sums,
}

impl<'a> Scored<'a> {
    /// Rows without weights, clusters, numbers or doubly robust scores, assigned by lot.
    pub fn new(score: &'a [f64], treated: &'a [u8], outcome: &'a [f64]) -> Self {
        Scored {
            score,
            treated,
            outcome,
            weights: None,
            clusters: None,
            row_ids: None,
            assignment: Assignment::Constant,
            gamma: None,
        }
    }

    /// Checks the rows and sorts them once.
    ///
    /// # Errors
    /// [`MetricsError::NoRows`]; [`MetricsError::Length`]; [`MetricsError::BadValue`] for a
    /// score, outcome or doubly robust score that isn't finite, a negative weight, a
    /// treatment that isn't 0 or 1, a probability outside (0, 1).
    pub fn sort(&self) -> Result<Sorted<'a>, MetricsError> {
        self.check()?;
        let (keys, ascending_rows) = ascending(self.score);
        let n = keys.len();
        let mut starts: Vec<u32> = vec![0];
        for place in 1..n {
            if keys[n - 1 - place] != keys[n - place] {
                starts.push(place as u32);
            }
        }
        starts.push(n as u32);
        drop(keys);
        let order: Vec<u32> = ascending_rows.into_par_iter().rev().collect();
        let gather = |values: &[f64]| -> Vec<f64> { order.par_iter().map(|&row| values[row as usize]).collect() };
        let mut sorted = Sorted {
            rows: *self,
            treated: order.par_iter().map(|&row| self.treated[row as usize]).collect(),
            outcome: gather(self.outcome),
            weights: self.weights.map(gather),
            gamma: self.gamma.map(gather),
            order,
            starts,
            total: Sums::default(),
        };
        let mut total = Sums::default();
        sorted.for_each_group(|group, _| total.add(group));
        if total.weight() <= 0.0 {
            return Err(MetricsError::NoRows { what: "rows of positive weight" });
        }
        sorted.total = total;
        Ok(sorted)
    }

    fn check(&self) -> Result<(), MetricsError> {
        let n = self.score.len();
        if n == 0 {
            return Err(MetricsError::NoRows { what: "score" });
        }
        if n >= u32::MAX as usize {
            return Err(MetricsError::BadSetting {
                what: "number of rows",
                value: n.to_string(),
                allowed: "at most 4,294,967,294 rows can be ranked at once",
            });
        }
        same_length("treated", n, self.treated.len())?;
        same_length("outcome", n, self.outcome.len())?;
        all_finite("score", self.score)?;
        all_finite("outcome", self.outcome)?;
        if let Some(row) = self.treated.iter().position(|&t| t > 1) {
            let value = f64::from(self.treated[row]);
            return Err(MetricsError::BadValue { what: "treated", row, value, allowed: "it must be 0 or 1" });
        }
        if let Some(weights) = self.weights {
            good_weights(weights, n)?;
        }
        if let Some(clusters) = self.clusters {
            same_length("cluster", n, clusters.len())?;
        }
        if let Some(row_ids) = self.row_ids {
            same_length("row id", n, row_ids.len())?;
        }
        if let Some(gamma) = self.gamma {
            same_length("doubly robust score", n, gamma.len())?;
            all_finite("doubly robust score", gamma)?;
        }
        let Assignment::PerRow(p) = self.assignment else { return Ok(()) };
        same_length("assignment probability", n, p.len())?;
        match p.iter().position(|p| !(*p > 0.0 && *p < 1.0)) {
            None => Ok(()),
            Some(row) => Err(MetricsError::BadValue {
                what: "assignment probability",
                row,
                value: p[row],
                allowed: "it must lie between 0 and 1",
            }),
        }
    }

    /// Why arms cannot be compared by their raw sums, if so.
    pub fn raw_refusal(&self) -> Option<&'static str> {
        match self.assignment {
            Assignment::NoArms(reason) => Some(reason),
            Assignment::Observational => {
                Some("raw arm differences are biased in observational data; use the doubly robust metrics")
            }
            Assignment::PerRow(p) if p.iter().any(|q| *q != p[0]) => Some(
                "raw arm differences are biased where the assignment probability varies; use the doubly robust metrics",
            ),
            _ => None,
        }
    }
}

impl<'a> Sorted<'a> {
    /// Number of rows.
    pub fn n(&self) -> usize {
        self.order.len()
    }

    /// Number of distinct scores.
    pub fn n_groups(&self) -> usize {
        self.starts.len() - 1
    }

    /// True where every row has the same score.
    pub fn is_constant(&self) -> bool {
        self.n_groups() == 1
    }

    /// The rows as they came.
    pub fn rows(&self) -> &Scored<'a> {
        &self.rows
    }

    /// Row numbers, best score first.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// First position of each group of equal scores, then n.
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// Sums over all rows.
    pub fn total(&self) -> &Sums {
        &self.total
    }

    /// True where doubly robust scores were given.
    pub fn has_gamma(&self) -> bool {
        self.gamma.is_some()
    }

    /// 1 for a treated row, by position.
    #[inline]
    pub(crate) fn treated(&self, place: usize) -> bool {
        self.treated[place] == 1
    }

    /// Outcome by position.
    #[inline]
    pub(crate) fn outcome(&self, place: usize) -> f64 {
        self.outcome[place]
    }

    /// Weight by position.
    #[inline]
    pub(crate) fn weight(&self, place: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |w| w[place])
    }

    /// Doubly robust score by position; 0 without them.
    #[inline]
    pub(crate) fn gamma(&self, place: usize) -> f64 {
        self.gamma.as_ref().map_or(0.0, |g| g[place])
    }

    /// Sums of the rows at some positions.
    #[inline]
    pub(crate) fn sums(&self, places: std::ops::Range<usize>) -> Sums {
        let mut sums = Sums::default();
        for place in places {
            let (weight, outcome) = (self.weight(place), self.outcome[place]);
            if self.treated[place] == 1 {
                sums.treated += weight;
                sums.outcome_treated += weight * outcome;
            } else {
                sums.control += weight;
                sums.outcome_control += weight * outcome;
            }
            sums.gamma += weight * self.gamma(place);
        }
        sums
    }

    /// Walks the groups of equal scores, best first: the group's sums and its positions.
    #[inline]
    pub(crate) fn for_each_group(&self, mut visit: impl FnMut(&Sums, std::ops::Range<usize>)) {
        for pair in self.starts.windows(2) {
            let places = pair[0] as usize..pair[1] as usize;
            visit(&self.sums(places.clone()), places);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_stand_in_reverse_order_and_form_one_group() {
        let score = [1.0, 3.0, 1.0, 3.0, -0.0, 0.0];
        let sorted = Scored::new(&score, &[1, 0, 0, 1, 1, 0], &[1.0; 6]).sort().unwrap();
        assert_eq!(sorted.order(), &[3, 1, 2, 0, 5, 4]);
        assert_eq!(sorted.starts(), &[0, 2, 4, 6]);
        assert_eq!(sorted.total().treated, 3.0);
    }

    #[test]
    fn bad_rows_are_named() {
        let error = |scored: Scored<'_>| scored.sort().unwrap_err().to_string();
        assert_eq!(error(Scored::new(&[], &[], &[])), "'score' has no rows");
        assert!(error(Scored::new(&[1.0, f64::NAN], &[0, 1], &[0.0, 1.0])).contains("row 1"));
        assert!(error(Scored::new(&[1.0, 2.0], &[0, 2], &[0.0, 1.0])).contains("must be 0 or 1"));
        let scored = Scored::new(&[1.0, 2.0], &[0, 1], &[0.0, 1.0]);
        assert!(error(Scored { weights: Some(&[0.0, 0.0]), ..scored }).contains("positive weight"));
        assert!(error(Scored { assignment: Assignment::PerRow(&[0.5, 1.0]), ..scored }).contains("between 0 and 1"));
        assert_eq!(Scored { assignment: Assignment::PerRow(&[0.5, 0.5]), ..scored }.raw_refusal(), None);
    }
}
