//! The Anderson–Rubin (1949) confidence set: all effects β at which the instruments explain
//! nothing of Y − βD. Its level holds however weakly they pull; the price is that it may be
//! unbounded, in two pieces, everything, or empty, and then says so.

use std::f64::consts::{FRAC_PI_2, PI};

use faer::Mat;
use serde::{Deserialize, Serialize};

use super::first_stage::quadratic_form;

/// Points at which the statistic is looked at before its crossings are bisected.
const GRID: usize = 2_048;

/// One piece of a confidence set; a bound that is not there is infinite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub lower: Option<f64>,
    /// Upper end.
    pub upper: Option<f64>,
}

/// What a confidence set looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetShape {
    /// One interval with two ends.
    Bounded,
    /// Intervals of which some have no end: the data do not bound the effect.
    Unbounded,
    /// Several bounded intervals.
    Disjoint,
    /// Every effect fits the data.
    Everything,
    /// No effect fits the data: the instruments contradict each other.
    Empty,
}

/// A 95 % confidence set in ascending order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceSet {
    /// What it looks like.
    pub shape: SetShape,
    /// Its pieces.
    pub intervals: Vec<Interval>,
}

impl ConfidenceSet {
    /// True when an effect lies in the set.
    pub fn contains(&self, effect: f64) -> bool {
        self.intervals.iter().any(|i| i.lower.is_none_or(|l| l <= effect) && i.upper.is_none_or(|u| effect <= u))
    }

    fn of(intervals: Vec<Interval>) -> Self {
        let open = |i: &Interval| i.lower.is_none() || i.upper.is_none();
        let shape = match intervals.as_slice() {
            [] => SetShape::Empty,
            [Interval { lower: None, upper: None }] => SetShape::Everything,
            several if several.iter().any(open) => SetShape::Unbounded,
            [_] => SetShape::Bounded,
            _ => SetShape::Disjoint,
        };
        ConfidenceSet { shape, intervals }
    }
}

/// Coefficients of q instruments in the regressions of outcome and treatment on the same
/// columns, with their covariances.
pub(super) struct ReducedForms {
    pub outcome: Vec<f64>,
    pub treatment: Vec<f64>,
    pub outcome_variance: Mat<f64>,
    pub treatment_variance: Mat<f64>,
    /// Between outcome (rows) and treatment (columns).
    pub covariance: Mat<f64>,
    /// The statistic's 95 % quantile, q times that of F.
    pub critical: f64,
}

impl ReducedForms {
    /// The statistic less its critical value at β = scale · tan(angle): smooth and of period π.
    fn excess(&self, angle: f64, scale: f64) -> f64 {
        let (s, c) = angle.sin_cos();
        let s = s * scale;
        let g: Vec<f64> = self.outcome.iter().zip(&self.treatment).map(|(y, d)| c * y - s * d).collect();
        let v = Mat::from_fn(g.len(), g.len(), |i, j| {
            let cross = self.covariance[(i, j)] + self.covariance[(j, i)];
            c * c * self.outcome_variance[(i, j)] - c * s * cross + s * s * self.treatment_variance[(i, j)]
        });
        quadratic_form(&g, &v) - self.critical
    }

    /// The set of effects whose statistic is at most critical.
    pub fn confidence_set(&self) -> ConfidenceSet {
        let trace = |m: &Mat<f64>| (0..m.nrows()).map(|i| m[(i, i)]).sum::<f64>();
        let scale = (trace(&self.outcome_variance) / trace(&self.treatment_variance)).sqrt();
        if !(scale.is_finite() && scale > 0.0) {
            return ConfidenceSet::of(Vec::new());
        }
        let excess = |angle: f64| self.excess(angle, scale);
        let step = PI / GRID as f64;
        let mut angles: Vec<f64> = (0..=GRID).map(|i| -FRAC_PI_2 + i as f64 * step).collect();
        // A very precise set may lie between two points of the grid: look at the minima too.
        for i in 0..GRID {
            let (a, b, c) = (angles[i] - step, angles[i], angles[i] + step);
            if excess(b) <= excess(a) && excess(b) <= excess(c) {
                let minimum = golden(&excess, a, c);
                if (-FRAC_PI_2..FRAC_PI_2).contains(&minimum) {
                    angles.push(minimum);
                }
            }
        }
        angles.sort_unstable_by(f64::total_cmp);
        let mut intervals: Vec<Interval> = Vec::new();
        let mut open = (excess(angles[0]) <= 0.0).then_some(None);
        for pair in angles.windows(2) {
            let (before, after) = (excess(pair[0]) <= 0.0, excess(pair[1]) <= 0.0);
            if before == after {
                continue;
            }
            let crossing = scale * bisect(&excess, pair[0], pair[1]).tan();
            if after {
                open = Some(Some(crossing));
            } else if let Some(lower) = open.take() {
                intervals.push(Interval { lower, upper: Some(crossing) });
            }
        }
        if let Some(lower) = open {
            intervals.push(Interval { lower, upper: None });
        }
        ConfidenceSet::of(intervals)
    }
}

fn bisect(f: &impl Fn(f64) -> f64, mut a: f64, mut b: f64) -> f64 {
    let inside = f(a) <= 0.0;
    for _ in 0..80 {
        let middle = 0.5 * (a + b);
        if (f(middle) <= 0.0) == inside { a = middle } else { b = middle }
    }
    0.5 * (a + b)
}

fn golden(f: &impl Fn(f64) -> f64, mut a: f64, mut b: f64) -> f64 {
    const RATIO: f64 = 0.618_033_988_749_894_9;
    for _ in 0..60 {
        let (c, d) = (b - RATIO * (b - a), a + RATIO * (b - a));
        if f(c) < f(d) { b = d } else { a = c }
    }
    0.5 * (a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One instrument: coefficients y, d with variances vy, vd and covariance c.
    fn one(y: f64, d: f64, (vy, vd, c): (f64, f64, f64)) -> ConfidenceSet {
        let cell = |v: f64| Mat::from_fn(1, 1, |_, _| v);
        ReducedForms {
            outcome: vec![y],
            treatment: vec![d],
            outcome_variance: cell(vy),
            treatment_variance: cell(vd),
            covariance: cell(c),
            critical: 3.84,
        }
        .confidence_set()
    }

    #[test]
    fn a_strong_instrument_gives_the_roots_of_the_quadratic() {
        let set = one(6.0, 3.0, (0.25, 0.04, 0.02));
        // (6 − 3β)² = 3.84 (0.25 − 0.04 β + 0.04 β²).
        let (a, b, c) = (9.0 - 3.84 * 0.04, -36.0 + 3.84 * 0.04, 36.0 - 3.84 * 0.25);
        let root = f64::sqrt(b * b - 4.0 * a * c);
        let [Interval { lower: Some(lower), upper: Some(upper) }] = set.intervals[..] else { panic!("{set:?}") };
        assert!((lower - (-b - root) / (2.0 * a)).abs() < 1e-9 && (upper - (-b + root) / (2.0 * a)).abs() < 1e-9);
        assert_eq!(set.shape, SetShape::Bounded);
        assert!(set.contains(2.0) && !set.contains(2.6));
    }

    #[test]
    fn an_extremely_precise_set_is_not_missed() {
        let set = one(2e6, 1e6, (1.0, 1.0, 0.0));
        assert_eq!(set.shape, SetShape::Bounded);
        assert!(set.contains(2.0) && !set.contains(2.0001));
    }

    #[test]
    fn weak_instruments_give_open_sets_that_say_so() {
        // First stage t = 1, reduced form t = 10: the effect is large, of unknown size and sign.
        let set = one(10.0, 1.0, (1.0, 1.0, 0.0));
        assert_eq!((set.shape, set.intervals.len()), (SetShape::Unbounded, 2));
        assert!(!set.contains(0.0) && set.contains(1e9) && set.contains(-1e9));
        let set = one(0.1, 0.1, (1.0, 1.0, 0.0));
        assert_eq!((set.shape, set.intervals.len()), (SetShape::Everything, 1));
    }

    #[test]
    fn instruments_that_contradict_each_other_leave_nothing() {
        let identity = || Mat::<f64>::identity(2, 2);
        let set = ReducedForms {
            outcome: vec![10.0, -10.0],
            treatment: vec![10.0, 10.0],
            outcome_variance: identity(),
            treatment_variance: identity(),
            covariance: Mat::zeros(2, 2),
            critical: 5.99,
        }
        .confidence_set();
        assert_eq!((set.shape, set.contains(0.0)), (SetShape::Empty, false));
    }
}
