//! The HTML report of an evaluation.

use super::evaluated::Evaluated;
use super::{charts, tables};
use crate::exit::Outcome;
use crate::output::report::Report;

/// The report as one HTML document.
///
/// # Errors
/// When a chart cannot be drawn.
pub fn html(evaluated: &Evaluated) -> Outcome<String> {
    let mut report = Report::new("Uplift evaluation", &evaluated.lead());
    if evaluated.n_trained_on > 0 {
        report.paragraph("Warning: the model was trained on some of these rows; the metrics flatter it.");
    }
    for contrast in &evaluated.report.contrasts {
        let unit = evaluated.unit(&contrast.outcome);
        report.heading(&format!("{} · {}", contrast.outcome, evaluated.what(contrast)));
        report.paragraph(&charts::verdict(&contrast.evaluation));
        for (_, svg) in charts::charts(&evaluated.subject(contrast), &contrast.evaluation)? {
            report.chart(&svg);
        }
        match tables::shared_reason(&contrast.evaluation.metrics) {
            Some(reason) => report.paragraph(&format!("No metric has a value: {reason}.")),
            None => report.table(&tables::metrics(&contrast.evaluation.metrics, unit)),
        }
        if !contrast.evaluation.deciles.is_empty() {
            report.table(&tables::deciles(&contrast.evaluation.deciles, unit));
        }
    }
    if let Some(nuisance) = &evaluated.report.nuisance {
        report.heading("How the numbers were made");
        report.paragraph(&format!(
            "Doubly robust scores come from outcome models that never saw the row they predict ({} folds); \
             probabilities of the arms are {}. Intervals hold with 95 % confidence.",
            nuisance.n_folds, nuisance.propensity
        ));
    }
    Ok(report.html())
}
