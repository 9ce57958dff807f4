//! Every metric of a ranking by its name: its value on all rows, or the reason why it has
//! none, and how it is computed on a half-sample.

use std::borrow::Cow;

use impactiq_data::Seed;

use crate::curve::Blocks;
use crate::error::MetricsError;
use crate::estimate::{Estimate, NO_HETEROGENEITY};
use crate::half_samples::{Draw, HalfSamples, MAX_BLOCKS, Mark};
use crate::named::k_name;
use crate::robust::DenseClusters;
use crate::scored::{Assignment, Scored, Sorted, Sums};
use crate::sklift::{self, Strategy, Top};
use crate::slice::{Cut, NO_GAMMA, Shares, Side, dense_clusters, difference, gamma_mean};
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

/// A metric: its value on all rows or why it has none, and its value on a draw.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) point: Result<f64, Cow<'static, str>>,
    pub(crate) on_draw: Box<dyn Fn(&Draw) -> f64>,
    /// An estimate with an analytic error, used instead where there is one.
    pub(crate) analytic: Option<Estimate>,
}

/// A sorted ranking with what every metric needs of it.
pub(crate) struct Ranking<'a> {
    pub(crate) sorted: Sorted<'a>,
    pub(crate) dense: Option<DenseClusters>,
    pub(crate) blocks: Blocks,
    pub(crate) cumulative: Vec<Sums>,
    pub(crate) grid: Vec<usize>,
    pub(crate) marks: Marks,
    /// Why no ranking metric is defined, if so.
    pub(crate) flat: Option<&'static str>,
    /// Why raw arm differences are not defined, if so.
    pub(crate) raw: Option<&'static str>,
}

/// Where draws keep their sums, by purpose.
pub(crate) struct Marks {
    all: Vec<Mark>,
    /// Per K: both arms, treated, control.
    top: usize,
    /// Per K in scikit-uplift's rounding: both, treated, control; then 500 rows; then 9 bins.
    sklift: usize,
    /// Curve points.
    pub(crate) grid: usize,
}

pub(crate) const N_BINS: usize = 10;
const FEW_ROWS: usize = 500;

impl<'a> Ranking<'a> {
    pub(crate) fn new(scored: &Scored<'a>, options: &EvaluateOptions) -> Result<Self, MetricsError> {
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
            _ if matches!(scored.assignment, Assignment::NoArms(_)) => scored.raw_refusal(),
            (false, _) => Some("no treated rows"),
            (_, false) => Some("no control rows"),
            _ => scored.raw_refusal(),
        };
        Ok(Ranking { sorted, dense, blocks, cumulative, grid, marks, flat, raw })
    }

    pub(crate) fn halves(&self, options: &EvaluateOptions) -> HalfSamples {
        let n_draws = if options.bootstrap < 2 || self.flat.is_some() { 0 } else { options.bootstrap };
        HalfSamples::draw(&self.sorted, &self.blocks, &self.marks.all, n_draws, options.seed)
    }

    pub(crate) fn interval(&self, value: f64, std_error: f64, halves: &HalfSamples, n: u64) -> Estimate {
        match self.dense {
            Some(_) => Estimate::with_t(value, std_error, halves.n_units as f64 - 1.0, n),
            None => Estimate::new(value, std_error, n),
        }
    }

    /// Every metric in the order of the contract.
    pub(crate) fn entries(&self, options: &EvaluateOptions) -> Vec<Entry> {
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
        let no_arms = self.raw.filter(|_| matches!(self.sorted.rows().assignment, Assignment::NoArms(_)));
        let refusal = no_arms.or(causalml::refusal(&self.sorted)).or(self.flat).or(self.raw);
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
