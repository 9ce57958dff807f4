//! The charts of an evaluated contrast, each with the finding as its title.

use impactiq_metrics::Estimate;
use impactiq_metrics::curve::CurvePoint as Point;
use impactiq_metrics::report::{Decile, Evaluation};

use crate::exit::Outcome;
use crate::output::chart::{CurveChart, CurvePoint, DecileBar, DecileChart};
use crate::output::number::{self, Unit};

/// What the charts speak of.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// The outcome's column.
    pub outcome: &'a str,
    /// The treatment: `arm email`, `dose tinc`.
    pub what: String,
    /// The unit of the outcome's effects.
    pub unit: Unit,
    /// Rows evaluated.
    pub n_rows: u64,
    /// True for rows that the model has not seen.
    pub held_out: bool,
}

/// A chart's name and its SVG.
pub type Named = (&'static str, String);

/// The charts that the evaluation has numbers for.
///
/// # Errors
/// When a chart cannot be drawn.
pub fn charts(subject: &Subject<'_>, evaluation: &Evaluation) -> Outcome<Vec<Named>> {
    let mut all = Vec::new();
    if evaluation.curves.qini.len() > 1 {
        all.push(("qini", qini(subject, evaluation).svg()?));
    }
    if !evaluation.deciles.is_empty() {
        all.push(("deciles", deciles(subject, evaluation).svg()?));
    }
    if evaluation.curves.toc.len() > 1 {
        all.push(("toc", toc(subject, evaluation).svg()?));
    }
    Ok(all)
}

/// One sentence on whether the ranking is worth something.
pub fn verdict(evaluation: &Evaluation) -> String {
    let metric = |name: &str| evaluation.metrics.get(name).filter(|e| e.value().is_some());
    let Some((name, estimate)) =
        ["rate_autoc", "qini_per_capita"].into_iter().find_map(|name| Some((name, metric(name)?)))
    else {
        return if is_constant(evaluation) {
            "The model gives everybody the same effect, so there is nobody to prefer: treat everyone or no one.".into()
        } else {
            "The ranking cannot be judged on these rows.".into()
        };
    };
    match (estimate.lower(), estimate.upper()) {
        (Some(lower), _) if lower > 0.0 => {
            format!("The ranking finds people with larger effects ({name} is above zero with 95 % confidence).")
        }
        (_, Some(upper)) if upper < 0.0 => {
            format!("The ranking is upside down ({name} is below zero): do not target by these scores.")
        }
        _ => format!(
            "No evidence that the ranking beats treating people at random ({name}'s interval contains zero): \
             treat everyone or no one."
        ),
    }
}

/// Whether every score is the same number.
fn is_constant(evaluation: &Evaluation) -> bool {
    let reason = evaluation.metrics.get("rate_autoc").and_then(Estimate::reason);
    reason == Some(impactiq_metrics::estimate::NO_HETEROGENEITY)
}

fn people(subject: &Subject<'_>) -> String {
    let who = if subject.held_out { "people the model has not seen" } else { "people" };
    format!("{} {who}", number::count(subject.n_rows))
}

fn is_clear(estimate: Option<&Estimate>) -> bool {
    estimate.and_then(Estimate::lower).is_some_and(|lower| lower > 0.0)
}

fn at(points: &[Point], fraction: f64) -> Option<f64> {
    points
        .iter()
        .min_by(|a, b| (a.fraction - fraction).abs().total_cmp(&(b.fraction - fraction).abs()))
        .map(|p| p.value)
}

fn scaled(points: &[Point], scale: f64) -> Vec<CurvePoint> {
    points
        .iter()
        .map(|p| CurvePoint {
            share: p.fraction,
            value: p.value * scale,
            lower: p.lower.map(|v| v * scale),
            upper: p.upper.map(|v| v * scale),
        })
        .collect()
}

fn qini(subject: &Subject<'_>, evaluation: &Evaluation) -> CurveChart {
    let points = &evaluation.curves.qini;
    let end = points.last().map_or(0.0, |p| p.value);
    let clear = is_clear(evaluation.metrics.get("qini_per_capita"));
    let best = at(points, 0.3).map(|v| v / end * 100.0).filter(|share| end > 0.0 && share.is_finite());
    let title = match best {
        Some(share) if clear => {
            format!("Treating the best 30 % of people brings {share:.0} % of the extra {}", subject.outcome)
        }
        _ => format!("Targeting by score is not clearly better than chance for {}", subject.outcome),
    };
    CurveChart {
        title,
        subtitle: format!(
            "Qini curve of {} on {}, with its 95 % band; dashed: random targeting",
            subject.what,
            people(subject)
        ),
        y_label: format!("extra {} among the treated", subject.outcome),
        name: "model".into(),
        points: scaled(points, 1.0),
        straight_to: end,
        straight_name: "random".into(),
    }
}

fn toc(subject: &Subject<'_>, evaluation: &Evaluation) -> CurveChart {
    let unit = subject.unit;
    let top = at(&evaluation.curves.toc, 0.1);
    let title = match top {
        Some(top) if is_clear(evaluation.metrics.get("rate_autoc")) && top > 0.0 => {
            format!("The best tenth gains {} more than the average person", unit.text(top).trim_start_matches('+'))
        }
        _ => "No clear sign that high scores mean larger effects".to_owned(),
    };
    let y_unit = if unit == Unit::Points { ", percentage points" } else { "" };
    CurveChart {
        title,
        subtitle: format!(
            "Targeting operator characteristic of {} on {}, 95 % band, doubly robust scores",
            subject.what,
            people(subject)
        ),
        y_label: format!("effect above average on {}{y_unit}", subject.outcome),
        name: "model".into(),
        points: scaled(&evaluation.curves.toc, unit.scale()),
        straight_to: 0.0,
        straight_name: "no ranking".into(),
    }
}

/// The estimate a decile is shown by: doubly robust where there is one.
fn of_decile(decile: &Decile) -> &Estimate {
    if decile.effect.value().is_some() { &decile.effect } else { &decile.uplift }
}

fn deciles(subject: &Subject<'_>, evaluation: &Evaluation) -> DecileChart {
    let (unit, n) = (subject.unit, evaluation.deciles.len());
    let scale = unit.scale();
    let values: Vec<f64> = evaluation.deciles.iter().filter_map(|d| of_decile(d).value()).collect();
    let average = (values.len() == n && n > 0).then(|| values.iter().sum::<f64>() / n as f64);
    let text = |value: f64| match unit {
        Unit::Points => format!("{} percentage points", number::plain(value * 100.0)),
        _ => number::plain(value),
    };
    let title = match (evaluation.deciles.first().and_then(|d| of_decile(d).value()), average) {
        (Some(best), Some(average)) => {
            format!("The best tenth gains {}, the average person {}", text(best), number::plain(average * scale))
        }
        _ => format!("Effect on {} by score group", subject.outcome),
    };
    let bars = evaluation.deciles.iter().map(|decile| {
        let (from, to) = ((decile.decile - 1) as usize * 100 / n.max(1), decile.decile as usize * 100 / n.max(1));
        let estimate = of_decile(decile);
        DecileBar {
            name: if from == 0 { format!("top {to} %") } else { format!("{from}–{to} %") },
            value: estimate.value().map(|v| v * scale),
            lower: estimate.lower().map(|v| v * scale),
            upper: estimate.upper().map(|v| v * scale),
        }
    });
    let y_unit = if unit == Unit::Points { ", percentage points" } else { "" };
    DecileChart {
        title,
        subtitle: format!(
            "Measured effect of {} on {} by score, {}, with 95 % intervals",
            subject.what,
            subject.outcome,
            people(subject)
        ),
        y_label: format!("effect on {}{y_unit}", subject.outcome),
        bars: bars.collect(),
        average: average.map(|v| v * scale),
    }
}
