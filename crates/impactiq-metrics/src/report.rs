//! The whole evaluation of a ranking: every metric by its name, curves with bands, deciles;
//! and the paired comparison of two rankings of the same rows.
//!
//! Names and definitions are a contract (docs/methods/metrics.md). A metric that doesn't apply
//! is undefined with its reason, never left out.

use std::borrow::Cow;

use impactiq_data::Seed;
use serde::{Deserialize, Serialize};

use crate::curve::{Blocks, CurveKind, CurvePoint, points};
use crate::error::MetricsError;
use crate::estimate::{Estimate, NO_HETEROGENEITY, Z_95};
use crate::half_samples::{Draw, HalfSamples, MAX_BLOCKS, Mark};
use crate::named::{Metrics, k_name};
use crate::robust::DenseClusters;
use crate::scored::{Scored, Sorted, Sums};
use crate::sklift::{self, Strategy, Top};
use crate::slice::{Cut, NO_GAMMA, Shares, Side, SliceMean, dense_clusters, difference, gamma_mean};
use crate::{area, causalml, rate};

/// What is asked of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluateOptions {
    /// Shares K of the ranking for uplift@K and TOC, each in (0, 1).
    pub k: Vec<f64>,
    /// Half-sample draws; below 2, ranking metrics have no intervals.
    pub bootstrap: usize,
    /// Seed of the draws.
    pub seed: Seed,
    /// Points per curve, at most.
    pub n_curve_points: usize,
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        EvaluateOptions { k: vec![0.1, 0.2, 0.3], bootstrap: 200, seed: Seed::new(0), n_curve_points: 100 }
    }
}

/// Everything that can be said of a ranking on held-out rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Metrics by name, in a fixed order.
    pub metrics: Metrics,
    /// Curves; one that doesn't apply has no points.
    pub curves: Curves,
    /// The ranking in ten parts of equal weight, best first.
    pub deciles: Vec<Decile>,
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

/// A metric: its value on all rows or why it has none, and its value on a draw.
struct Entry {
    name: String,
    point: Result<f64, Cow<'static, str>>,
    on_draw: Box<dyn Fn(&Draw) -> f64>,
    /// An estimate with an analytic error, used instead where there is one.
    analytic: Option<Estimate>,
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
    for entry in ranking.entries(options) {
        let estimate = match (&entry.point, entry.analytic) {
            (Err(reason), _) => Estimate::undefined(reason.clone()),
            (Ok(_), Some(analytic)) => analytic,
            (Ok(value), None) => ranking.interval(*value, halves.std_error(&entry.on_draw), &halves, n),
        };
        metrics.push(entry.name, estimate);
    }
    let curves = ranking.curves(&halves);
    let deciles = ranking.deciles();
    Ok(Evaluation { metrics, curves, deciles })
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

/// A sorted ranking with what every metric needs of it.
struct Ranking<'a> {
    sorted: Sorted<'a>,
    dense: Option<DenseClusters>,
    blocks: Blocks,
    cumulative: Vec<Sums>,
    grid: Vec<usize>,
    marks: Marks,
    /// Why no ranking metric is defined, if so.
    flat: Option<&'static str>,
    /// Why raw arm differences are not defined, if so.
    raw: Option<&'static str>,
}

/// Where draws keep their sums, by purpose.
struct Marks {
    all: Vec<Mark>,
    /// Per K: both arms, treated, control.
    top: usize,
    /// Per K in scikit-uplift's rounding: both, treated, control; then 500 rows; then 9 bins.
    sklift: usize,
    /// Curve points.
    grid: usize,
}

const N_BINS: usize = 10;
const FEW_ROWS: usize = 500;

impl<'a> Ranking<'a> {
    fn new(scored: &Scored<'a>, options: &EvaluateOptions) -> Result<Self, MetricsError> {
        if let Some(k) = options.k.iter().find(|k| !(**k > 0.0 && **k < 1.0)) {
            return Err(MetricsError::BadSetting {
                what: "evaluate.k",
                value: k.to_string(),
                allowed: "every k must lie between 0 and 1",
            });
        }
        let sorted = scored.sort()?;
        let dense = dense_clusters(&sorted);
        let blocks = Blocks::new(&sorted, MAX_BLOCKS);
        let cumulative = blocks.cumulative(&sorted);
        let grid = blocks.grid(&cumulative, options.n_curve_points);
        let marks = Marks::new(&sorted, &cumulative, &grid, &options.k);
        let flat = sorted.is_constant().then_some(NO_HETEROGENEITY);
        let raw = match (sorted.total().treated > 0.0, sorted.total().control > 0.0) {
            (false, _) => Some("no treated rows"),
            (_, false) => Some("no control rows"),
            _ => scored.raw_refusal(),
        };
        Ok(Ranking { sorted, dense, blocks, cumulative, grid, marks, flat, raw })
    }

    fn halves(&self, options: &EvaluateOptions) -> HalfSamples {
        let n_draws = if options.bootstrap < 2 || self.flat.is_some() { 0 } else { options.bootstrap };
        HalfSamples::draw(&self.sorted, &self.blocks, &self.marks.all, n_draws, options.seed)
    }

    fn interval(&self, value: f64, std_error: f64, halves: &HalfSamples, n: u64) -> Estimate {
        match self.dense {
            Some(_) => Estimate::with_t(value, std_error, halves.n_units as f64 - 1.0, n),
            None => Estimate::new(value, std_error, n),
        }
    }

    /// Every metric in the order of the contract.
    fn entries(&self, options: &EvaluateOptions) -> Vec<Entry> {
        let mut entries = Vec::new();
        self.area_entries(&mut entries);
        self.top_entries(&mut entries, &options.k);
        self.rate_entries(&mut entries, &options.k);
        self.sklift_entries(&mut entries, &options.k);
        self.causalml_entries(&mut entries);
        entries
    }

    /// The value of a metric on raw arm sums, unless refused.
    fn raw_point(&self, value: impl FnOnce() -> sklift::Answer) -> Result<f64, Cow<'static, str>> {
        match self.flat.or(self.raw) {
            Some(reason) => Err(reason.into()),
            None => value().map_err(Cow::Borrowed),
        }
    }

    fn area_entries(&self, entries: &mut Vec<Entry>) {
        let weight = self.sorted.total().weight();
        entries.push(Entry::new("qini_counts", self.raw_point(|| Ok(area::qini_counts(&self.sorted))), move |d| {
            qini_on_draw(d, weight)
        }));
        entries.push(Entry::new("qini_per_capita", self.raw_point(|| Ok(area::qini_per_capita(&self.sorted))), |d| {
            (d.gain / d.total.weight() - 0.5 * d.total.gain()) / d.total.weight()
        }));
    }

    fn top_entries(&self, entries: &mut Vec<Entry>, k: &[f64]) {
        let everything = Cut { group: 0, share: 0.0 };
        let top = |fraction: f64, side| self.sorted.between(everything, self.sorted.cuts(&[fraction], side)[0]);
        for (index, &fraction) in k.iter().enumerate() {
            let [both, treated, control] = [0, 1, 2].map(|i| self.marks.top + 3 * index + i);
            let shares = top(fraction, Side::Both);
            let estimate = difference(&self.sorted, &shares, &shares, self.dense.as_ref()).0;
            let name = k_name("uplift_at_", fraction);
            entries.push(self.analytic(name.clone(), estimate, true, move |d| both_arms(&d.marks[both])));
            let (t, c) = (top(fraction, Side::Treated), top(fraction, Side::Control));
            let estimate = difference(&self.sorted, &t, &c, self.dense.as_ref()).0;
            let by_group = move |d: &Draw| by_arm(&d.marks[treated], &d.marks[control]);
            entries.push(self.analytic(format!("{name}_by_group"), estimate, true, by_group));
            let estimate = gamma_mean(&self.sorted, &shares, self.dense.as_ref());
            let mean = move |d: &Draw| d.marks[both].gamma / d.marks[both].weight();
            entries.push(self.analytic(format!("{name}_aipw"), estimate, false, mean));
        }
    }

    fn analytic(&self, name: String, estimate: Estimate, raw: bool, on_draw: impl Fn(&Draw) -> f64 + 'static) -> Entry {
        let refused = self.flat.or(if raw { self.raw } else { None }).map(Cow::Borrowed);
        let point = match (refused, estimate.value()) {
            (Some(reason), _) => Err(reason),
            (None, Some(value)) => Ok(value),
            (None, None) => Err(estimate.reason().unwrap_or_default().to_owned().into()),
        };
        Entry { name, point, on_draw: Box::new(on_draw), analytic: Some(estimate) }
    }

    fn rate_entries(&self, entries: &mut Vec<Entry>, k: &[f64]) {
        let refusal = self.flat.or((!self.sorted.has_gamma()).then_some(NO_GAMMA));
        let rate = if refusal.is_some() { None } else { rate::rate(&self.sorted) };
        let point = |value: Option<f64>| value.ok_or(Cow::Borrowed(refusal.unwrap_or(NO_GAMMA)));
        let mean = |s: &Sums| s.gamma / s.weight();
        entries.push(Entry::new("rate_autoc", point(rate.map(|r| r.autoc)), move |d| {
            d.mean_gamma / d.total.weight() - mean(&d.total)
        }));
        entries.push(Entry::new("rate_qini", point(rate.map(|r| r.qini)), move |d| {
            d.sum_gamma / d.total.weight().powi(2) - 0.5 * mean(&d.total)
        }));
        for (index, &fraction) in k.iter().enumerate() {
            let value = rate.and_then(|_| rate::toc(&self.sorted, &[fraction])).map(|toc| toc[0]);
            let mark = self.marks.top + 3 * index;
            entries.push(Entry::new(k_name("toc_at_", fraction), point(value), move |d| {
                mean(&d.marks[mark]) - mean(&d.total)
            }));
        }
    }

    fn sklift_entries(&self, entries: &mut Vec<Entry>, k: &[f64]) {
        let refusal = sklift::refusal(&self.sorted);
        let point = |value: &dyn Fn() -> sklift::Answer| self.raw_point(|| refusal.map_or_else(value, Err));
        for (name, negative) in [("qini_sklift", true), ("qini_sklift_no_negative", false)] {
            let value = point(&|| sklift::qini_auc_score(&self.sorted, negative));
            entries.push(Entry::new(name, value, move |d| {
                let perfect = sklift::perfect_qini_curve(&d.total, negative);
                sklift::share_of_perfect(d.radcliffe, &perfect).unwrap_or(f64::NAN)
            }));
        }
        entries.push(Entry::new("auuc_sklift", point(&|| sklift::uplift_auc_score(&self.sorted)), |d| {
            sklift::share_of_perfect(d.gain, &sklift::perfect_uplift_curve(&d.total)).unwrap_or(f64::NAN)
        }));
        for (index, &fraction) in k.iter().enumerate() {
            let [both, treated, control] = [0, 1, 2].map(|i| self.marks.sklift + 3 * index + i);
            let at = |strategy| point(&|| sklift::uplift_at_k(&self.sorted, strategy, Top::Share(fraction)));
            let name = k_name("uplift_at_", fraction);
            entries
                .push(Entry::new(format!("{name}_sklift"), at(Strategy::Overall), move |d| both_arms(&d.marks[both])));
            entries.push(Entry::new(format!("{name}_by_group_sklift"), at(Strategy::ByGroup), move |d| {
                by_arm(&d.marks[treated], &d.marks[control])
            }));
        }
        let few = self.marks.sklift + 3 * k.len();
        let value = point(&|| sklift::uplift_at_k(&self.sorted, Strategy::Overall, Top::Rows(FEW_ROWS)));
        entries.push(Entry::new("uplift_at_500_rows_sklift", value, move |d| both_arms(&d.marks[few])));
        let value =
            point(&|| sklift::weighted_average_uplift(&self.sorted, Strategy::Overall, N_BINS).map(|(value, _)| value));
        entries.push(Entry::new("weighted_average_uplift_sklift", value, move |d| {
            weighted_average(&d.marks[few + 1..few + N_BINS], &d.total)
        }));
    }

    fn causalml_entries(&self, entries: &mut Vec<Entry>) {
        let weight = self.sorted.total().weight();
        let refusal = causalml::refusal(&self.sorted).or(self.flat).or(self.raw);
        let scores = if refusal.is_none() { Some(causalml::scores(&self.sorted)) } else { None };
        let everything: Shares = vec![(0..self.sorted.n(), 1.0)];
        let overall = difference(&self.sorted, &everything, &everything, self.dense.as_ref()).0;
        let clear = overall.z().is_some_and(|z| z.abs() >= 2.0);
        let value = |f: &dyn Fn(causalml::Scores) -> f64, normalized: bool| match (self.flat.or(refusal), scores) {
            (Some(reason), _) => Err(Cow::Borrowed(reason)),
            (None, Some(_)) if normalized && !clear => Err(Cow::Borrowed(
                "the overall effect is within two standard errors of zero: dividing by it says nothing",
            )),
            (None, scores) => scores.map(f).ok_or(Cow::Borrowed("not computed")),
        };
        entries.push(Entry::new("qini_causalml", value(&|s| s.qini, false), move |d| qini_on_draw(d, weight)));
        entries.push(Entry::new("qini_causalml_normalized", value(&|s| s.qini / s.qini_end.abs(), true), |d| {
            (d.radcliffe / d.total.weight() - 0.5 * d.total.radcliffe()) / d.total.radcliffe().abs()
        }));
        entries.push(Entry::new("auuc_causalml", value(&|s| s.auuc, false), move |d| {
            d.gain / d.total.weight() * (weight / d.total.weight())
        }));
        entries.push(Entry::new("auuc_causalml_normalized", value(&|s| s.auuc / s.gain_end.abs(), true), |d| {
            d.gain / d.total.weight() / d.total.gain().abs()
        }));
    }

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

impl Entry {
    fn new(
        name: impl Into<String>,
        point: Result<f64, Cow<'static, str>>,
        on_draw: impl Fn(&Draw) -> f64 + 'static,
    ) -> Self {
        Entry { name: name.into(), point, on_draw: Box::new(on_draw), analytic: None }
    }
}

impl Marks {
    fn new(sorted: &Sorted<'_>, cumulative: &[Sums], grid: &[usize], k: &[f64]) -> Self {
        let sides: [fn(&Sums) -> f64; 3] = [Sums::weight, |s| s.treated, |s| s.control];
        let total = sorted.total();
        let mut all = Vec::new();
        for &fraction in k {
            all.extend(sides.map(|side| Mark::at(cumulative, fraction, side)));
        }
        let sklift = all.len();
        for &fraction in k {
            // Rounded down to rows, as scikit-uplift does.
            let rounded = |n: f64| if n > 0.0 { (n * fraction).floor() / n } else { 0.0 };
            all.extend(sides.map(|side| Mark::at(cumulative, rounded(side(total)), side)));
        }
        let n = sorted.n();
        all.push(Mark::at(cumulative, FEW_ROWS.min(n) as f64 / n as f64, Sums::weight));
        all.extend((1..N_BINS).map(|bin| Mark::at(cumulative, bin as f64 / N_BINS as f64, Sums::weight)));
        let first = all.len();
        all.extend(grid.iter().map(|&block| Mark::after(block)));
        Marks { all, top: 0, sklift, grid: first }
    }
}

/// The Qini in counts of a draw, grown to the size of the whole.
fn qini_on_draw(draw: &Draw, weight: f64) -> f64 {
    let own = draw.total.weight();
    (draw.radcliffe / own - 0.5 * draw.total.radcliffe()) * (weight / own)
}

/// The difference in means, NaN without rows of both arms.
fn both_arms(sums: &Sums) -> f64 {
    sums.outcome_treated / sums.treated - sums.outcome_control / sums.control
}

fn by_arm(treated: &Sums, control: &Sums) -> f64 {
    treated.outcome_treated / treated.treated - control.outcome_control / control.control
}

/// Uplift of the bins between marks weighted by their treated rows.
fn weighted_average(ends: &[Sums], total: &Sums) -> f64 {
    let (mut before, mut sum, mut weight) = (Sums::default(), 0.0, 0.0);
    for end in ends.iter().chain(std::iter::once(total)) {
        let mut bin = *end;
        bin.add_scaled(&before, -1.0);
        sum += bin.treated * both_arms(&bin);
        weight += bin.treated;
        before = *end;
    }
    sum / weight
}
