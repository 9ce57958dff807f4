//! The tables of an evaluated contrast.

use impactiq_metrics::named::Metrics;
use impactiq_metrics::report::Decile;

use crate::output::number::{self, Unit};
use crate::output::table::{Align, TextTable};

/// Every metric with its interval.
pub fn metrics(metrics: &Metrics, unit: Unit) -> TextTable {
    let mut table = TextTable::new(&[
        ("metric", Align::Left),
        ("value", Align::Right),
        ("n", Align::Right),
        ("95 % interval", Align::Left),
    ]);
    for (name, estimate) in metrics.iter() {
        let unit = unit_of(name, unit);
        table.row([
            name.to_owned(),
            number::value(estimate, unit),
            estimate.n().map_or_else(String::new, number::count),
            number::interval(estimate, unit),
        ]);
    }
    table
}

/// Why no metric has a value, when all give the same reason: one sentence then says it.
pub fn shared_reason(metrics: &Metrics) -> Option<&str> {
    let mut reasons = metrics.iter().map(|(_, estimate)| estimate.reason());
    let first = reasons.next()??;
    reasons.all(|reason| reason == Some(first)).then_some(first)
}

/// Effects are shown in the outcome's unit, shares of an ideal and counts as they are.
fn unit_of(metric: &str, unit: Unit) -> Unit {
    let effects = ["average_effect", "uplift_at", "toc_at", "rate_", "qini_per_capita", "weighted_average_uplift"];
    if effects.iter().any(|start| metric.starts_with(start)) { unit } else { Unit::Plain }
}

/// The deciles with their measured effects.
pub fn deciles(deciles: &[Decile], unit: Unit) -> TextTable {
    // Of a dose nobody is treated or control.
    if deciles.iter().all(|decile| decile.n_treated == 0.0) {
        return deciles_of_dose(deciles, unit);
    }
    let mut table = TextTable::new(&[
        ("tenth", Align::Right),
        ("mean score", Align::Right),
        ("treated", Align::Right),
        ("control", Align::Right),
        ("difference in means", Align::Right),
        ("95 % interval", Align::Left),
        ("doubly robust", Align::Right),
        ("95 % interval", Align::Left),
    ]);
    for decile in deciles {
        table.row([
            decile.decile.to_string(),
            unit.text(decile.mean_score),
            number::thousands(decile.n_treated),
            number::thousands(decile.n_control),
            number::value(&decile.uplift, unit),
            number::interval(&decile.uplift, unit),
            number::value(&decile.effect, unit),
            number::interval(&decile.effect, unit),
        ]);
    }
    table
}

fn deciles_of_dose(deciles: &[Decile], unit: Unit) -> TextTable {
    let mut table = TextTable::new(&[
        ("tenth", Align::Right),
        ("mean score", Align::Right),
        ("rows", Align::Right),
        ("doubly robust", Align::Right),
        ("95 % interval", Align::Left),
    ]);
    for decile in deciles {
        table.row([
            decile.decile.to_string(),
            unit.text(decile.mean_score),
            number::thousands(decile.n_control),
            number::value(&decile.effect, unit),
            number::interval(&decile.effect, unit),
        ]);
    }
    table
}
