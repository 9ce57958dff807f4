//! scikit-uplift's metrics, by its own definitions (version 0.5.1), for comparison with
//! numbers published elsewhere.
//!
//! Its order of ties (stable ascending sort, reversed) shows in everything that cuts by rows;
//! its curves use distinct scores only. Outcomes must be 0 or 1 and rows have no weights.
//! Where it would raise an error or give NaN, the answer here is a reason.

use crate::scored::{Sorted, Sums};

/// A value, or why scikit-uplift has none.
pub type Answer = Result<f64, &'static str>;

/// How a top share is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The best rows of both arms together.
    Overall,
    /// The best rows of each arm by itself.
    ByGroup,
}

/// How much of the ranking is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Top {
    /// A share between 0 and 1, rounded down to rows.
    Share(f64),
    /// A number of rows.
    Rows(usize),
}

/// One row of the table of percentiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentile {
    /// Treated rows.
    pub n_treatment: usize,
    /// Control rows.
    pub n_control: usize,
    /// Share of treated rows with outcome 1; NaN without such rows, as in scikit-uplift.
    pub response_rate_treatment: f64,
    /// Share of control rows with outcome 1; NaN without such rows.
    pub response_rate_control: f64,
    /// Binomial standard deviation of the treated rate.
    pub std_treatment: f64,
    /// Binomial standard deviation of the control rate.
    pub std_control: f64,
}

impl Percentile {
    /// Difference of the rates.
    pub fn uplift(&self) -> f64 {
        self.response_rate_treatment - self.response_rate_control
    }

    /// Standard deviation of the difference.
    pub fn std_uplift(&self) -> f64 {
        self.std_treatment.hypot(self.std_control)
    }
}

/// Why scikit-uplift's metrics don't apply, if so.
pub fn refusal(sorted: &Sorted<'_>) -> Option<&'static str> {
    if sorted.rows().weights.is_some() {
        return Some("scikit-uplift's metrics have no sampling weights");
    }
    if sorted.rows().outcome.iter().any(|&y| y != 0.0 && y != 1.0) {
        return Some("scikit-uplift's metrics need outcomes that are 0 or 1");
    }
    let total = sorted.total();
    if total.treated == 0.0 {
        return Some("no treated rows");
    }
    (total.control == 0.0).then_some("no control rows")
}

/// Points (rows, value) of a curve with its origin.
pub type Points = Vec<(f64, f64)>;

fn curve(sorted: &Sorted<'_>, value: impl Fn(&Sums) -> f64) -> Points {
    let mut points = vec![(0.0, 0.0)];
    let mut above = Sums::default();
    sorted.for_each_group(|group, _| {
        above.add(group);
        points.push((above.weight(), value(&above)));
    });
    points
}

/// `uplift_curve`: (Y_t/N_t − Y_c/N_c) · rows at each distinct score.
pub fn uplift_curve(sorted: &Sorted<'_>) -> Points {
    curve(sorted, Sums::gain)
}

/// `qini_curve`: Y_t − Y_c · N_t/N_c at each distinct score.
pub fn qini_curve(sorted: &Sorted<'_>) -> Points {
    curve(sorted, Sums::radcliffe)
}

/// The curve of rows ranked in whole classes: (treated, treated responders, control, control
/// responders) per class, best first.
fn curve_of_classes(classes: &[Sums], value: impl Fn(&Sums) -> f64) -> Points {
    let mut points = vec![(0.0, 0.0)];
    let mut above = Sums::default();
    for class in classes.iter().filter(|class| class.weight() > 0.0) {
        above.add(class);
        points.push((above.weight(), value(&above)));
    }
    points
}

fn treated(n: f64, respond: bool) -> Sums {
    Sums { treated: n, outcome_treated: if respond { n } else { 0.0 }, ..Sums::default() }
}

fn control(n: f64, respond: bool) -> Sums {
    Sums { control: n, outcome_control: if respond { n } else { 0.0 }, ..Sums::default() }
}

/// `perfect_uplift_curve` from the sums of all rows.
pub fn perfect_uplift_curve(total: &Sums) -> Points {
    let responders = treated(total.outcome_treated, true);
    let others = treated(total.treated - total.outcome_treated, false);
    let control_responders = control(total.outcome_control, true);
    let control_others = control(total.control - total.outcome_control, false);
    let last = if control_responders.control > others.treated {
        [control_responders, others]
    } else {
        [others, control_responders]
    };
    curve_of_classes(&[responders, control_others, last[0], last[1]], Sums::gain)
}

/// `perfect_qini_curve(negative_effect=…)` from the sums of all rows.
pub fn perfect_qini_curve(total: &Sums, negative_effect: bool) -> Points {
    if !negative_effect {
        let ends = total.outcome_treated - total.treated * total.outcome_control / total.control;
        return vec![(0.0, 0.0), (ends, ends), (total.weight(), ends)];
    }
    let mut middle = treated(total.treated - total.outcome_treated, false);
    middle.control = total.control - total.outcome_control;
    let classes = [treated(total.outcome_treated, true), middle, control(total.outcome_control, true)];
    curve_of_classes(&classes, Sums::radcliffe)
}

fn area(points: &[(f64, f64)]) -> f64 {
    points.windows(2).map(|p| (p[1].0 - p[0].0) * (p[0].1 + p[1].1) * 0.5).sum()
}

/// (area − line) / (perfect − line), the line drawn to the perfect curve's end.
pub(crate) fn share_of_perfect(area_actual: f64, perfect: &[(f64, f64)]) -> Answer {
    if perfect.windows(2).any(|p| p[1].0 < p[0].0) {
        return Err("scikit-uplift's perfect curve runs backwards: the effect is negative");
    }
    let (width, height) = perfect.last().copied().unwrap_or_default();
    let line = 0.5 * width * height;
    let range = area(perfect) - line;
    let ratio = (area_actual - line) / range;
    if ratio.is_finite() { Ok(ratio) } else { Err("no ranking of these rows is better than chance") }
}

/// `uplift_auc_score`.
///
/// # Errors
/// The reason why it is undefined.
pub fn uplift_auc_score(sorted: &Sorted<'_>) -> Answer {
    refused(sorted)?;
    let (area, _) = crate::area::area_and_end(sorted, Sums::gain);
    share_of_perfect(area, &perfect_uplift_curve(sorted.total()))
}

/// `qini_auc_score(negative_effect=…)`.
///
/// # Errors
/// The reason why it is undefined.
pub fn qini_auc_score(sorted: &Sorted<'_>, negative_effect: bool) -> Answer {
    refused(sorted)?;
    let (area, _) = crate::area::area_and_end(sorted, Sums::radcliffe);
    share_of_perfect(area, &perfect_qini_curve(sorted.total(), negative_effect))
}

fn refused(sorted: &Sorted<'_>) -> Result<(), &'static str> {
    refusal(sorted).map_or(Ok(()), Err)
}

/// `uplift_at_k`.
///
/// # Errors
/// The reason why it is undefined: an arm without rows in the top, or k out of range.
pub fn uplift_at_k(sorted: &Sorted<'_>, strategy: Strategy, top: Top) -> Answer {
    refused(sorted)?;
    let out_of_range = match top {
        Top::Share(share) => !(share > 0.0 && share < 1.0),
        Top::Rows(rows) => rows == 0 || rows >= sorted.n(),
    };
    if out_of_range {
        return Err("k must leave some rows in and some out");
    }
    let size = |n: usize| match top {
        Top::Share(share) => (n as f64 * share) as usize,
        Top::Rows(rows) => rows,
    };
    let (mut left_treated, mut left_control) = match strategy {
        Strategy::Overall => (usize::MAX, usize::MAX),
        Strategy::ByGroup => (size(sorted.total().treated as usize), size(sorted.total().control as usize)),
    };
    let too_many = |left: usize, n: f64| strategy == Strategy::ByGroup && left > n as usize;
    if too_many(left_treated, sorted.total().treated) || too_many(left_control, sorted.total().control) {
        return Err("k is more than an arm has rows");
    }
    let last = if strategy == Strategy::Overall { size(sorted.n()) } else { sorted.n() };
    let mut sums = Sums::default();
    for place in 0..last {
        let left = if sorted.treated(place) { &mut left_treated } else { &mut left_control };
        if *left > 0 {
            *left -= 1;
            sums.add(&sorted.sums(place..place + 1));
        }
        if left_treated == 0 && left_control == 0 {
            break;
        }
    }
    if sums.treated == 0.0 || sums.control == 0.0 {
        return Err("an arm has no rows in the top");
    }
    Ok(sums.uplift())
}

/// `uplift_by_percentile` without its total row: the ranking in `bins` parts of equal size.
pub fn percentiles(sorted: &Sorted<'_>, strategy: Strategy, bins: usize) -> Vec<Percentile> {
    let mut sums = vec![Sums::default(); bins];
    match strategy {
        Strategy::Overall => {
            let mut start = 0;
            for (bin, sums) in sums.iter_mut().enumerate() {
                let end = start + part_size(sorted.n(), bins, bin);
                *sums = sorted.sums(start..end);
                start = end;
            }
        }
        Strategy::ByGroup => {
            for wanted in [true, false] {
                let n = if wanted { sorted.total().treated } else { sorted.total().control } as usize;
                let (mut bin, mut left) = (0, part_size(n, bins, 0));
                for place in (0..sorted.n()).filter(|&place| sorted.treated(place) == wanted) {
                    while left == 0 && bin + 1 < bins {
                        bin += 1;
                        left = part_size(n, bins, bin);
                    }
                    sums[bin].add(&sorted.sums(place..place + 1));
                    left -= 1;
                }
            }
        }
    }
    sums.into_iter().map(percentile).collect()
}

/// Rows of part `part` when n rows are dealt into parts, the first ones larger by one.
fn part_size(n: usize, parts: usize, part: usize) -> usize {
    n / parts + usize::from(part < n % parts)
}

fn percentile(sums: Sums) -> Percentile {
    let rate_t = sums.outcome_treated / sums.treated;
    let rate_c = sums.outcome_control / sums.control;
    Percentile {
        n_treatment: sums.treated as usize,
        n_control: sums.control as usize,
        response_rate_treatment: rate_t,
        response_rate_control: rate_c,
        std_treatment: (rate_t * (1.0 - rate_t) / sums.treated).sqrt(),
        std_control: (rate_c * (1.0 - rate_c) / sums.control).sqrt(),
    }
}

/// `weighted_average_uplift`: the bins' uplifts weighted by their treated rows; with the
/// standard deviation that binomial bins imply.
///
/// # Errors
/// The reason why it is undefined: a bin without one of the arms.
pub fn weighted_average_uplift(
    sorted: &Sorted<'_>,
    strategy: Strategy,
    bins: usize,
) -> Result<(f64, f64), &'static str> {
    refused(sorted)?;
    if bins == 0 || bins >= sorted.n() {
        return Err("there must be fewer bins than rows");
    }
    let (mut sum, mut variance, mut n) = (0.0, 0.0, 0.0);
    for bin in percentiles(sorted, strategy, bins) {
        if bin.n_treatment == 0 || bin.n_control == 0 {
            return Err("a bin has no rows of an arm");
        }
        let weight = bin.n_treatment as f64;
        n += weight;
        sum += weight * bin.uplift();
        variance += (weight * bin.std_uplift()).powi(2);
    }
    Ok((sum / n, variance.sqrt() / n))
}
