//! Confidence sequences for a running mean: exact for bounded observations, asymptotic for others.
//!
//! What is covered is the *running* mean of the conditional means, Σ E[X_i | past] / n. Where
//! the mean stays put that is the mean; where it moves, it is the average so far. Intervals are
//! therefore not intersected over time, which would be right for a constant mean only.

use serde::{Deserialize, Serialize};

use super::bets;
use crate::error::MetricsError;
use crate::estimate::Estimate;

const NO_ROWS: &str = "no rows have been observed yet";

/// Rows that the burn-in's second rule does not ask.
const SETTLING: u64 = 20;

/// When the asymptotic sequence may begin to speak.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BurnIn {
    /// Rows at least.
    pub n_rows: u64,
    /// (Σx²)² / Σx⁴ at least: how many equally large rows would vary as these do. A thousand rows
    /// of which five bought something count as about five. The first twenty are not asked: a
    /// level that is still being learnt makes them large.
    pub n_effective: f64,
}

impl Default for BurnIn {
    fn default() -> Self {
        BurnIn { n_rows: 500, n_effective: 25.0 }
    }
}

/// The state of a confidence sequence: sums of what was observed, O(1) for any number of rows.
///
/// ```
/// use impactiq_metrics::confidence_sequence::ConfidenceSequence;
/// let mut sequence = ConfidenceSequence::bounded(0.0, 1.0).unwrap();
/// for row in 0..2_000 {
///     sequence.observe(f64::from(row % 2)).unwrap();
/// }
/// let exact = sequence.exact(0.05);
/// assert_eq!(exact.value(), Some(0.5));
/// assert!(exact.lower().unwrap() > 0.45 && exact.upper().unwrap() < 0.55);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceSequence {
    /// Where observations may lie; `None`: anywhere, and there is no exact interval.
    range: Option<[f64; 2]>,
    /// Where the mean may lie.
    feasible: Option<[f64; 2]>,
    n: u64,
    mean: f64,
    /// Σ(x − mean)².
    squares: f64,
    /// Σ(x − prediction)², the prediction made from the rows before.
    surprise: f64,
    /// Σx² and Σx⁴, for the burn-in.
    second: f64,
    fourth: f64,
}

impl ConfidenceSequence {
    /// For observations in [lower, upper].
    ///
    /// # Errors
    /// [`MetricsError::BadSetting`] for ends that aren't finite or in order.
    pub fn bounded(lower: f64, upper: f64) -> Result<Self, MetricsError> {
        Self::within([lower, upper], [lower, upper])
    }

    /// For observations in `range` whose mean is known to lie in `feasible`, a part of it: the
    /// terms of inverse-probability weighting are much larger than any effect can be.
    ///
    /// # Errors
    /// [`MetricsError::BadSetting`] for ends that aren't finite or in order.
    pub fn within(range: [f64; 2], feasible: [f64; 2]) -> Result<Self, MetricsError> {
        let in_order = |ends: [f64; 2]| ends.iter().all(|end| end.is_finite()) && ends[0] < ends[1];
        if !in_order(range) || !in_order(feasible) || feasible[0] < range[0] || feasible[1] > range[1] {
            return Err(MetricsError::BadSetting {
                what: "range of a confidence sequence",
                value: format!("{range:?}, of its mean {feasible:?}"),
                allowed: "give finite ends in order, the mean's within the observations'",
            });
        }
        Ok(ConfidenceSequence { range: Some(range), feasible: Some(feasible), ..Self::unbounded() })
    }

    /// For observations of any size: asymptotic intervals only.
    pub fn unbounded() -> Self {
        ConfidenceSequence {
            range: None,
            feasible: None,
            n: 0,
            mean: 0.0,
            squares: 0.0,
            surprise: 0.0,
            second: 0.0,
            fourth: 0.0,
        }
    }

    /// Rows observed.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Mean of the rows observed; 0 before the first.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`MetricsError::BadValue`] for a number that isn't finite or lies outside the range; the
    /// state is then as it was.
    pub fn observe(&mut self, value: f64) -> Result<(), MetricsError> {
        let [lower, upper] = self.range.unwrap_or([f64::MIN, f64::MAX]);
        if !(lower..=upper).contains(&value) {
            return Err(MetricsError::BadValue {
                what: "observation",
                row: usize::try_from(self.n).unwrap_or(usize::MAX),
                value,
                allowed: "it must be finite and lie within the stated range",
            });
        }
        self.surprise += (value - self.prediction()).powi(2);
        self.n += 1;
        let gap = value - self.mean;
        self.mean += gap / self.n as f64;
        self.squares += gap * (value - self.mean);
        if self.n > SETTLING {
            let square = value * value;
            self.second += square;
            self.fourth += square * square;
        }
        Ok(())
    }

    /// The state of both parts' rows together. Each part predicted from its own rows only, which
    /// is all that the exact interval asks of a prediction.
    ///
    /// # Errors
    /// [`MetricsError::BadSetting`] for parts with different ranges.
    pub fn merged(&self, other: &Self) -> Result<Self, MetricsError> {
        if self.range != other.range || self.feasible != other.feasible {
            return Err(MetricsError::BadSetting {
                what: "range of a confidence sequence to add",
                value: format!("{:?}", other.range),
                allowed: "only states with the same range can be added",
            });
        }
        let n = self.n + other.n;
        if n == 0 {
            return Ok(*self);
        }
        let (gap, share) = (other.mean - self.mean, other.n as f64 / n as f64);
        Ok(ConfidenceSequence {
            n,
            mean: self.mean + gap * share,
            squares: self.squares + other.squares + gap * gap * share * self.n as f64,
            surprise: self.surprise + other.surprise,
            second: self.second + other.second,
            fourth: self.fourth + other.fourth,
            ..*self
        })
    }

    /// The exact sequence at level 1 − alpha: valid from the first row on, for any distribution
    /// within the range, over all looks at once.
    ///
    /// An empirical-Bernstein sequence (Howard, Ramdas, McAuliffe & Sekhon 2021, Theorem 4) over a
    /// discrete mixture of bets: mean ± c·u(V/c²)/n, V = Σ(x − prediction)², c the largest
    /// distance of a row from a prediction. Waudby-Smith & Ramdas (2024) choose one bet per row
    /// instead (the predictable plug-in); a mixture's state can be added, alpha can be chosen later,
    /// and a moving mean is covered as it stands rather than weighted by bets.
    pub fn exact(&self, alpha: f64) -> Estimate {
        let Some((scale, feasible)) = self.scale() else {
            return Estimate::undefined("the outcome has no stated range; use the asymptotic interval");
        };
        if let Some(refusal) = self.refusal(alpha) {
            return refusal;
        }
        let n = self.n as f64;
        let width = scale * bets::boundary(self.surprise / (scale * scale), alpha / 2.0) / n;
        let cut = |end: f64| end.clamp(feasible[0], feasible[1]);
        let (lower, upper) = (cut(self.mean - width), cut(self.mean + width));
        Estimate::with_bounds(cut(self.mean), self.surprise.sqrt() / n, lower, upper, self.n)
    }

    /// True where [`ConfidenceSequence::exact`] would not contain `mean`, without solving for
    /// its ends; false before the first row.
    pub fn exact_excludes(&self, mean: f64, alpha: f64) -> bool {
        let Some((scale, _)) = self.scale() else { return false };
        let v = self.surprise / (scale * scale);
        let s = self.n as f64 * (self.mean - mean).abs() / scale;
        self.n > 0 && bets::is_beyond(s, v, alpha / 2.0)
    }

    /// The asymptotic sequence at level 1 − alpha, narrowest at about `tuned_for` rows; undefined
    /// during the burn-in.
    ///
    /// mean ± σ̂·√(2(nρ² + 1)/(n²ρ²) · ln(√(nρ² + 1)/α)), ρ² = (−2 ln α + ln(−2 ln α) + 1)/`tuned_for`
    /// (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, the Gaussian mixture and its tuning): the
    /// width a Gaussian walk would need, to which the sums are coupled.
    pub fn asymptotic(&self, alpha: f64, tuned_for: f64, burn_in: &BurnIn) -> Estimate {
        if let Some(refusal) = self.refusal(alpha) {
            return refusal;
        }
        if !(tuned_for.is_finite() && tuned_for > 0.0) {
            return Estimate::undefined("the number of rows to tune for must be positive");
        }
        if self.n < burn_in.n_rows {
            return Estimate::undefined(format!("burn-in: {} of {} rows", self.n, burn_in.n_rows));
        }
        let effective = if self.fourth > 0.0 { self.second * self.second / self.fourth } else { 0.0 };
        if effective < burn_in.n_effective {
            let (found, needed) = (effective.floor(), burn_in.n_effective);
            return Estimate::undefined(format!("burn-in: {found} of {needed} effective rows; the outcome is rare"));
        }
        let n = self.n as f64;
        let log = -2.0 * alpha.ln();
        // For alpha above 0.6 the inner logarithm turns negative; such levels get its plain part.
        let rho_squared = (log + log.ln().max(0.0) + 1.0) / tuned_for;
        let grown = n * rho_squared + 1.0;
        let deviation = (self.squares / n).sqrt();
        let width = deviation * (2.0 * grown / (n * n * rho_squared) * (grown.sqrt() / alpha).ln()).sqrt();
        Estimate::with_bounds(self.mean, deviation / n.sqrt(), self.mean - width, self.mean + width, self.n)
    }

    /// The interval of one look at 95 %, value ± 1.96 · SE: for the planned end, not for watching.
    pub fn single_look(&self) -> Estimate {
        if self.n < 2 {
            return Estimate::undefined("fewer than two rows have been observed");
        }
        let n = self.n as f64;
        Estimate::new(self.mean, (self.squares / (n - 1.0) / n).sqrt(), self.n)
    }

    /// What the next row is expected to be, from the rows so far.
    fn prediction(&self) -> f64 {
        match self.feasible {
            None => self.mean,
            // Before the first row: the feasible mean closest to 0.
            Some([lower, upper]) => self.mean.clamp(lower, upper),
        }
    }

    /// The largest distance of a row from a prediction, and where the mean may lie.
    fn scale(&self) -> Option<(f64, [f64; 2])> {
        let (range, feasible) = (self.range?, self.feasible?);
        Some(((range[1] - feasible[0]).max(feasible[1] - range[0]), feasible))
    }

    fn refusal(&self, alpha: f64) -> Option<Estimate> {
        if !(alpha > 0.0 && alpha < 1.0) {
            return Some(Estimate::undefined("alpha must lie between 0 and 1"));
        }
        (self.n == 0).then(|| Estimate::undefined(NO_ROWS))
    }
}

#[cfg(test)]
mod tests {
    use impactiq_data::Seed;

    use super::*;

    fn filled(values: &[f64]) -> ConfidenceSequence {
        let mut sequence = ConfidenceSequence::bounded(0.0, 1.0).unwrap();
        values.iter().for_each(|value| sequence.observe(*value).unwrap());
        sequence
    }

    #[test]
    fn it_answers_from_row_one_and_says_why_it_cannot_before() {
        let empty = ConfidenceSequence::bounded(0.0, 1.0).unwrap();
        assert_eq!(empty.exact(0.05).reason(), Some(NO_ROWS));
        let one = filled(&[1.0]).exact(0.05);
        assert_eq!((one.lower(), one.upper(), one.n()), (Some(0.0), Some(1.0), Some(1)));
        assert!(one.std_error().is_some());
        let early = filled(&[0.5; 20]).asymptotic(0.05, 1e4, &BurnIn::default());
        assert_eq!(early.reason(), Some("burn-in: 20 of 500 rows"));
        let rare: Vec<f64> = (0..5_000).map(|row| f64::from(u8::from(row % 1_000 == 0))).collect();
        assert!(filled(&rare).asymptotic(0.05, 1e4, &BurnIn::default()).reason().unwrap().contains("4 of 25"));
        assert!(filled(&[0.5]).exact(1.5).reason().is_some());
        assert!(ConfidenceSequence::unbounded().exact(0.05).reason().unwrap().contains("range"));
    }

    #[test]
    fn the_asymptotic_width_is_the_papers() {
        let values: Vec<f64> = (0..1_000).map(|row| f64::from(row % 2)).collect();
        let found = filled(&values).asymptotic(0.05, 1_000.0, &BurnIn::default());
        // ρ² = (5.9914645 + ln 5.9914645 + 1)/1000 = 0.0087817; σ̂ = 0.5.
        let grown: f64 = 1.0 + 8.781_80;
        let expected = 0.5 * (2.0 * grown / (1e3 * 8.781_80) * (grown.sqrt() / 0.05f64).ln()).sqrt();
        assert!((found.upper().unwrap() - 0.5 - expected).abs() < 1e-6, "{found:?} {expected}");
    }

    #[test]
    fn parts_add_up_and_states_come_back_from_text() {
        let values: Vec<f64> = (0..500).map(|row| Seed::new(5).uniform(row)).collect();
        let (whole, first, second) = (filled(&values), filled(&values[..200]), filled(&values[200..]));
        let merged = first.merged(&second).unwrap();
        assert_eq!(merged.n(), whole.n());
        assert!((merged.mean() - whole.mean()).abs() < 1e-12);
        assert!((merged.squares - whole.squares).abs() < 1e-9);
        // Predictions of the second part started anew, so the exact width may differ a little.
        assert!((merged.exact(0.05).upper().unwrap() / whole.exact(0.05).upper().unwrap() - 1.0).abs() < 0.01);
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<ConfidenceSequence>(&text).unwrap(), whole);
        let other = ConfidenceSequence::bounded(0.0, 2.0).unwrap();
        assert!(whole.merged(&other).is_err());
    }

    #[test]
    fn excluding_is_the_same_as_lying_outside_the_interval() {
        let mut sequence = ConfidenceSequence::bounded(0.0, 1.0).unwrap();
        for row in 0..3_000 {
            sequence.observe(Seed::new(9).uniform(row).powi(3)).unwrap();
            let interval = sequence.exact(0.05);
            for mean in [0.05, 0.2, 0.25, 0.3, 0.4, 0.9] {
                let outside = mean < interval.lower().unwrap() || mean > interval.upper().unwrap();
                assert_eq!(sequence.exact_excludes(mean, 0.05), outside, "row {row}, {mean}");
            }
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused_and_leaves_no_trace() {
        let mut sequence = filled(&[0.25]);
        let before = sequence;
        for value in [1.5, -0.1, f64::NAN, f64::INFINITY] {
            assert!(sequence.observe(value).unwrap_err().to_string().contains("row 1"));
        }
        assert_eq!(sequence, before);
        assert!(ConfidenceSequence::unbounded().observe(f64::INFINITY).is_err());
        assert!(ConfidenceSequence::bounded(1.0, 1.0).is_err());
    }
}
