//! The tables that some runs have and others don't: instruments, double machine learning, linear
//! effects, what was chosen on held-out rows, balance after weighting.

use impactiq_causal::effect::TrimmedAverages;
use impactiq_causal::health::WeightedBalance;
use impactiq_causal::iv::{ConfidenceSet, SetShape};
use impactiq_causal::learners::{ChoiceReport, LinearReport};
use impactiq_causal::overlap::Trim;
use impactiq_causal::train::{DmlReport, TwoStageReport};
use impactiq_metrics::Estimate;

use super::estimates::estimates_table;
use crate::output::number::{self, Unit};
use crate::output::table::{Align, TextTable};

/// Features of the balance table in the text; JSON has all.
const SHOWN_FEATURES: usize = 10;

/// Terms of a linear effect in the text; JSON has all.
const SHOWN_TERMS: usize = 40;

/// What an instrument tells of one outcome by linear fits.
pub(super) fn two_stage(report: &TwoStageReport, unit: Unit) -> String {
    let mut text = format!(
        "\nEffect of {} on {}, by way of {}: linear fits on all kept rows ({} errors)\n",
        report.treatment,
        report.outcome,
        report.instrument,
        report.covariance.name()
    );
    let answer = report.adjusted.as_ref().map_or(&report.wald, |adjusted| &adjusted.wald);
    let names = report.adjusted.as_ref().map(|adjusted| {
        let columns = number::count(adjusted.n_columns);
        [format!("two-stage least squares, {columns} columns"), "least squares, the same columns".to_owned()]
    });
    let mut rows: Vec<(&str, &Estimate, Unit)> = Vec::new();
    if let (Some(adjusted), Some([two_stage, ordinary])) = (&report.adjusted, &names) {
        rows.push((two_stage, &adjusted.wald.effect, unit));
        rows.push((ordinary, &adjusted.least_squares, unit));
    }
    rows.push(("Wald ratio", &report.wald.effect, unit));
    rows.push(("instrument on outcome", &answer.reduced_form, unit));
    rows.push(("instrument on treatment", &answer.compliance, Unit::Plain));
    text.push_str(&estimates_table(rows).render(2));
    text.push_str(&format!(
        "  First-stage F {:.1}, partial R² {:.2} % · Anderson-Rubin 95 % set: {}\n",
        answer.first_stage.f.statistic,
        100.0 * answer.first_stage.partial_r2,
        confidence_set(&answer.anderson_rubin, unit)
    ));
    if let Some(test) = report.adjusted.as_ref().and_then(|adjusted| adjusted.wu_hausman) {
        text.push_str(&format!(
            "  Two-stage and least squares differ by chance with p = {} (Wu-Hausman)\n",
            number::p_value(test.p_value)
        ));
    }
    text
}

fn confidence_set(set: &ConfidenceSet, unit: Unit) -> String {
    match set.shape {
        SetShape::Empty => return "empty: no effect fits the data".to_owned(),
        SetShape::Everything => return "everything: the data do not bound the effect".to_owned(),
        _ => {}
    }
    let end = |bound: Option<f64>, open: &str| bound.map_or_else(|| open.to_owned(), |value| unit.bare(value));
    let pieces: Vec<String> =
        set.intervals.iter().map(|i| format!("{} … {}", end(i.lower, "−∞"), end(i.upper, "∞"))).collect();
    pieces.join(" and ")
}

/// The double machine learning answers of one outcome.
pub(super) fn dml(reports: &[&DmlReport], unit: Unit) -> String {
    let Some(first) = reports.first() else { return String::new() };
    let repetitions = match first.fit.repetitions.len() {
        1 => String::new(),
        n => format!(", median of {n} repetitions"),
    };
    let mut text = format!(
        "\nDouble machine learning of {} ({} folds{repetitions})\n",
        first.outcome,
        number::count(first.n_folds)
    );
    let mut table = TextTable::new(&[
        ("model", Align::Left),
        ("arm", Align::Left),
        ("estimate", Align::Right),
        ("std. error", Align::Right),
        ("n", Align::Right),
        ("95 % interval", Align::Left),
        ("", Align::Left),
    ]);
    for report in reports {
        let estimate = &report.fit.estimate;
        let clipped = match (report.design, report.fit.n_clipped) {
            (true, _) => "by design".to_owned(),
            (false, 0) => String::new(),
            (false, n) => format!("{} clipped", number::count(n)),
        };
        table.row([
            report.model.name().to_owned(),
            report.arm.clone(),
            number::value(estimate, unit),
            number::std_error(estimate, unit),
            number::count(report.n_rows),
            number::interval(estimate, unit),
            clipped,
        ]);
    }
    text.push_str(&table.render(2));
    text
}

/// The coefficients of a linear effect.
pub(super) fn linear(report: &LinearReport, learner: &str, unit: Unit) -> String {
    let mut text = format!(
        "\nLinear effect of {} on {} ({learner}, {} errors, {} rows)\n",
        report.arm,
        report.outcome,
        report.covariance.name(),
        number::count(report.n)
    );
    let mut table = TextTable::new(&[
        ("effect gains per unit of", Align::Left),
        ("coefficient", Align::Right),
        ("std. error", Align::Right),
        ("95 % interval", Align::Left),
        ("jointly with the others", Align::Left),
    ]);
    for term in report.terms.iter().take(SHOWN_TERMS) {
        let joint = match (term.joint_lower, term.joint_upper) {
            (Some(lower), Some(upper)) => format!("{} … {}", unit.bare(lower), unit.bare(upper)),
            _ => "–".to_owned(),
        };
        table.row([
            shortened(&term.name),
            number::value(&term.estimate, unit),
            number::std_error(&term.estimate, unit),
            number::interval(&term.estimate, unit),
            joint,
        ]);
    }
    text.push_str(&table.render(2));
    if report.terms.len() > SHOWN_TERMS {
        text.push_str(&format!("  and {} more, in --format json\n", report.terms.len() - SHOWN_TERMS));
    }
    text
}

/// What was chosen on held-out rows of one outcome.
pub(super) fn choice(report: &ChoiceReport) -> String {
    let what = match report.method.as_str() {
        "auto" => format!("Learners of {} compared", report.outcome),
        method => format!("Level of {} set ({method})", report.outcome),
    };
    let mut text = format!(
        "\n{what} on {} held-out rows, {} folds{}\n",
        number::count(report.n_rows),
        report.n_folds,
        if report.hurried { ", cut short by the time limit" } else { "" }
    );
    let mut table = TextTable::new(&[
        ("arm", Align::Left),
        ("learner", Align::Left),
        ("made of", Align::Left),
        ("R-loss", Align::Right),
        ("below one effect by", Align::Right),
        ("std. error", Align::Right),
        ("weight", Align::Right),
    ]);
    let gain = |gain: &Estimate| {
        let text = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| format!("{v:.2e}").replace('-', "−"));
        [text(gain.value()), text(gain.std_error())]
    };
    for contrast in &report.contrasts {
        for candidate in &contrast.candidates {
            let [value, error] = gain(&candidate.gain);
            let weight = if candidate.weight == 0.0 { "–".to_owned() } else { format!("{:.2}", candidate.weight) };
            let row = [contrast.arm.clone(), candidate.learner.clone(), candidate.base.clone()];
            table.row(row.into_iter().chain([format!("{:.5}", candidate.r_loss), value, error, weight]));
        }
        let [value, error] = gain(&contrast.gain);
        let answer = if contrast.constant { "one effect for everybody" } else { "the blend" };
        let loss = if contrast.constant { contrast.r_loss_constant } else { contrast.r_loss };
        let row = [contrast.arm.clone(), format!("→ {answer}"), String::new(), format!("{loss:.5}")];
        table.row(row.into_iter().chain(if contrast.constant {
            [String::new(), String::new()]
        } else {
            [value, error]
        }));
    }
    text.push_str(&table.render(2));
    text
}

/// Differences between arms as they are and after weighting, the worst first.
pub(super) fn weighted_balance(rows: &[WeightedBalance]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let trimmed = rows.iter().any(|row| row.smd_trimmed.is_some());
    let mut columns = vec![
        ("feature", Align::Left),
        ("arm", Align::Left),
        ("as they are", Align::Right),
        ("inverse probability", Align::Right),
        ("overlap", Align::Right),
    ];
    if trimmed {
        columns.push(("trimmed", Align::Right));
    }
    let mut table = TextTable::new(&columns);
    for row in rows.iter().take(SHOWN_FEATURES) {
        let cells = [
            shortened(&row.feature),
            row.arm.clone(),
            number::standardised(row.smd),
            number::standardised(row.smd_ipw),
            number::standardised(row.smd_overlap),
        ];
        table.row(cells.into_iter().chain(row.smd_trimmed.map(number::standardised)));
    }
    format!(
        "\nDifferences between arms before and after weighting, in standard deviations ({} of {})\n{}",
        rows.len().min(SHOWN_FEATURES),
        rows.len(),
        table.render(2)
    )
}

/// Who was left out, in a line.
pub(super) fn left_out(trimmed: &TrimmedAverages) -> String {
    let rule = if trimmed.rule == Trim::Crump { " (the limit of least variance)" } else { "" };
    if trimmed.limit == 0.0 {
        return "  Trimming leaves nobody out: that has least variance here\n".to_owned();
    }
    format!(
        "  Trimmed to probabilities within {:.3} and {:.3}{rule}:\n  {} of {} rows left out, {} of the arm and {} of the control\n",
        trimmed.limit,
        1.0 - trimmed.limit,
        number::count(trimmed.n_left_out),
        number::count(trimmed.n_left_out + trimmed.n_kept),
        number::count(trimmed.n_left_out_arm),
        number::count(trimmed.n_left_out_control)
    )
}

/// A name that leaves room for the numbers beside it.
fn shortened(name: &str) -> String {
    const MOST: usize = 28;
    if name.chars().count() <= MOST {
        return name.to_owned();
    }
    name.chars().take(MOST - 1).chain(['…']).collect()
}
