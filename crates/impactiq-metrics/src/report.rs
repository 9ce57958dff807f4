//! The whole evaluation of a ranking: every metric by its name, curves with bands, deciles;
//! and the paired comparison of two rankings of the same rows.
//!
//! Names and definitions are a contract (docs/methods/metrics.md). A metric that doesn't apply
//! is undefined with its reason, never left out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::curve::{CurveKind, CurvePoint, points};
use crate::error::MetricsError;
use crate::estimate::{Estimate, Z_95};
use crate::half_samples::HalfSamples;
use crate::named::Metrics;
pub use crate::ranking::EvaluateOptions;
use crate::ranking::{Entry, N_BINS, Ranking};
use crate::scored::Scored;
use crate::slice::{NO_GAMMA, Shares, Side, SliceMean, difference, gamma_mean};
use crate::targeting::{Targeting, targeting};

/// Everything that can be said of a ranking on held-out rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Metrics by name, in a fixed order.
    pub metrics: Metrics,
    /// Curves; one that doesn't apply has no points.
    pub curves: Curves,
    /// The ranking in ten parts of equal weight, best first.
    pub deciles: Vec<Decile>,
    /// What treating the best share brings, share by share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targeting: Option<Targeting>,
    /// Metrics on half-samples, spread as widely as their standard errors say. Half-samples are
    /// drawn by seed and row number, so two rankings of the same rows have paired draws: the
    /// standard deviation of their differences is the error of the difference. Metrics of this
    /// house that are defined on every draw.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub draws: BTreeMap<String, Vec<f64>>,
}

impl Evaluation {
    /// The same without what only other programs read: targeting and draws.
    pub fn without_details(&self) -> Self {
        Evaluation {
            metrics: self.metrics.clone(),
            curves: self.curves.clone(),
            deciles: self.deciles.clone(),
            targeting: None,
            draws: BTreeMap::new(),
        }
    }
}

/// The curves of a ranking with pointwise 95 % bands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// Incremental outcomes among the best rows (Radcliffe), in counts.
    pub qini: Vec<CurvePoint>,
    /// Difference in means among the best rows times their share.
    pub gain: Vec<CurvePoint>,
    /// Difference in means among the best rows.
    pub uplift: Vec<CurvePoint>,
    /// Mean doubly robust score among the best rows minus its overall mean.
    pub toc: Vec<CurvePoint>,
}

/// A tenth of the ranking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decile {
    /// 1 for the best tenth.
    pub decile: u32,
    /// Mean score of the tenth.
    pub mean_score: f64,
    /// Weight of treated rows (their number without weights; a fraction where ties are shared).
    pub n_treated: f64,
    /// Weight of control rows.
    pub n_control: f64,
    /// Mean outcome of treated rows.
    pub mean_treated: Option<f64>,
    /// Mean outcome of control rows.
    pub mean_control: Option<f64>,
    /// Difference in means.
    pub uplift: Estimate,
    /// Mean doubly robust score.
    pub effect: Estimate,
}

/// Evaluates a ranking.
///
/// # Errors
/// As [`Scored::sort`], and [`MetricsError::BadSetting`] for a K outside (0, 1).
///
/// ```
/// use impactiq_metrics::{Scored, report::{EvaluateOptions, evaluate}};
/// let score = [0.9, 0.8, 0.7, 0.4, 0.3, 0.2, 0.1, 0.05];
/// let scored = Scored::new(&score, &[1, 0, 1, 0, 1, 0, 1, 0], &[1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
/// let evaluation = evaluate(&scored, &EvaluateOptions::default()).unwrap();
/// assert!(evaluation.metrics.get("qini_per_capita").unwrap().value().unwrap() > 0.0);
/// assert_eq!(evaluation.metrics.get("rate_autoc").unwrap().reason(), Some("no doubly robust scores were given"));
/// ```
pub fn evaluate(scored: &Scored<'_>, options: &EvaluateOptions) -> Result<Evaluation, MetricsError> {
    let ranking = Ranking::new(scored, options)?;
    let halves = ranking.halves(options);
    let n = ranking.sorted.n() as u64;
    let mut metrics = Metrics::default();
    let mut draws = BTreeMap::new();
    for entry in ranking.entries(options) {
        if let Some(values) = draws_of(&entry, &halves) {
            draws.insert(entry.name.clone(), values);
        }
        let estimate = match (&entry.point, entry.analytic) {
            (Err(reason), _) => Estimate::undefined(reason.clone()),
            (Ok(_), Some(analytic)) => analytic,
            (Ok(value), None) => ranking.interval(*value, halves.std_error(&entry.on_draw), &halves, n),
        };
        metrics.push(entry.name, estimate);
    }
    let curves = ranking.curves(&halves);
    let deciles = ranking.deciles();
    Ok(Evaluation { metrics, curves, deciles, targeting: Some(targeting(&ranking.sorted)), draws })
}

/// A metric on every draw, about its value on all rows; `None` for other libraries' metrics and
/// those that a draw leaves undefined.
fn draws_of(entry: &Entry, halves: &HalfSamples) -> Option<Vec<f64>> {
    let foreign = ["sklift", "causalml"].iter().any(|library| entry.name.contains(library));
    let value = *entry.point.as_ref().ok().filter(|_| !foreign && !halves.draws.is_empty())?;
    let raw: Vec<f64> = halves.draws.iter().map(&entry.on_draw).collect();
    if raw.iter().any(|draw| !draw.is_finite()) {
        return None;
    }
    let mean = raw.iter().sum::<f64>() / raw.len() as f64;
    Some(raw.into_iter().map(|draw| value + (draw - mean) * halves.correction).collect())
}

/// Differences `first` − `second` of two rankings of the same rows, metric by metric; both see
/// the same half-samples, so errors are those of the *paired* difference.
///
/// # Errors
/// As [`evaluate`]; [`MetricsError::Length`] for other numbers of rows;
/// [`MetricsError::BadValue`] where the rows' treatments or outcomes differ.
pub fn compare(first: &Scored<'_>, second: &Scored<'_>, options: &EvaluateOptions) -> Result<Metrics, MetricsError> {
    crate::error::same_length("second ranking", first.score.len(), second.score.len())?;
    let differs =
        |row: &usize| first.treated[*row] != second.treated[*row] || first.outcome[*row] != second.outcome[*row];
    let (a, b) = (Ranking::new(first, options)?, Ranking::new(second, options)?);
    if let Some(row) = (0..first.score.len()).find(differs) {
        let value = second.outcome[row];
        let allowed = "two rankings are compared on the same rows in the same order";
        return Err(MetricsError::BadValue { what: "second ranking", row, value, allowed });
    }
    let (halves_a, halves_b) = (a.halves(options), b.halves(options));
    let n = a.sorted.n() as u64;
    let mut metrics = Metrics::default();
    for (x, y) in a.entries(options).into_iter().zip(b.entries(options)) {
        let estimate = match (x.point, y.point) {
            (Err(reason), _) | (_, Err(reason)) => Estimate::undefined(reason),
            (Ok(value_x), Ok(value_y)) => {
                let pairs = halves_a.draws.iter().zip(&halves_b.draws);
                let gaps: Vec<f64> = pairs.map(|(p, q)| (x.on_draw)(p) - (y.on_draw)(q)).collect();
                a.interval(value_x - value_y, halves_a.spread(&gaps), &halves_a, n)
            }
        };
        metrics.push(x.name, estimate);
    }
    Ok(metrics)
}

impl Ranking<'_> {
    fn curves(&self, halves: &HalfSamples) -> Curves {
        let scale = self.sorted.total().weight();
        let curve = |kind: CurveKind, reason: Option<&str>| {
            if reason.is_some() {
                return Vec::new();
            }
            let mut curve = points(kind, &self.cumulative, &self.grid);
            let skip = usize::from(kind.has_origin());
            // Points without a value were left out, so each is matched by its fraction.
            let mut next = skip;
            for (index, &block) in self.grid.iter().enumerate() {
                let fraction = self.cumulative[block].weight() / scale;
                if curve.get(next).is_none_or(|point| point.fraction != fraction) {
                    continue;
                }
                let std_error = halves.std_error(|d| {
                    let grow = if kind == CurveKind::Qini { scale / d.total.weight() } else { 1.0 };
                    kind.value(&d.marks[self.marks.grid + index], &d.total) * grow
                });
                let point = &mut curve[next];
                if std_error.is_finite() {
                    point.lower = Some(point.value - Z_95 * std_error);
                    point.upper = Some(point.value + Z_95 * std_error);
                }
                next += 1;
            }
            curve
        };
        let raw = self.flat.or(self.raw);
        Curves {
            qini: curve(CurveKind::Qini, raw),
            gain: curve(CurveKind::Gain, raw),
            uplift: curve(CurveKind::Uplift, raw),
            toc: curve(CurveKind::Toc, self.flat.or((!self.sorted.has_gamma()).then_some(NO_GAMMA))),
        }
    }

    fn deciles(&self) -> Vec<Decile> {
        if self.flat.is_some() {
            return Vec::new();
        }
        let fractions: Vec<f64> = (0..=N_BINS).map(|i| i as f64 / N_BINS as f64).collect();
        let cuts = self.sorted.cuts(&fractions, Side::Both);
        let pairs = cuts.windows(2).enumerate();
        pairs.map(|(i, pair)| self.decile(i as u32 + 1, &self.sorted.between(pair[0], pair[1]))).collect()
    }

    fn decile(&self, decile: u32, shares: &Shares) -> Decile {
        let dense = self.dense.as_ref();
        let score = |place: usize| Some(self.sorted.rows().score[self.sorted.order()[place] as usize]);
        let (uplift, t, c) = difference(&self.sorted, shares, shares, dense);
        let mean = |slice: &SliceMean| (slice.n > 0).then_some(slice.mean);
        Decile {
            decile,
            mean_score: SliceMean::of(&self.sorted, shares, score).mean,
            n_treated: t.weight,
            n_control: c.weight,
            mean_treated: mean(&t),
            mean_control: mean(&c),
            uplift: self.raw.map_or(uplift, Estimate::undefined),
            effect: gamma_mean(&self.sorted, shares, dense),
        }
    }
}
