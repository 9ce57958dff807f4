//! What `train` prints: averages, what was chosen, how the nuisances fit, what to type next.

use std::path::Path;

use impactiq_causal::base::{BaseSettings, TuneReport};
use impactiq_causal::effect::{ContrastAverages, WinsorisedAverages};
use impactiq_causal::instrument::InstrumentReport;
use impactiq_causal::learners::ForestReport;
use impactiq_causal::train::TrainReport;
use impactiq_metrics::estimands::Estimand;

use super::estimates::estimates_table;
use super::{TrainedModel, sections};
use crate::memory::peak_rss_bytes;
use crate::output::number::{self, Unit};
use crate::output::table::{Align, TextTable};

impl TrainedModel {
    /// The result as text.
    pub fn text(&self, output: &Path) -> String {
        let report = &self.report;
        let data = &self.manifest.data;
        let treatment = treatment(report);
        let mut text = format!(
            "Model {} in {}\nRows: {} of {} kept, {} of them held out for evaluation\n{treatment}\n",
            self.manifest.id,
            output.display(),
            number::count(data.n_rows),
            number::count(data.n_rows_read),
            number::count(data.n_holdout),
        );
        report.contrasts.iter().for_each(|contrast| text.push_str(&self.averages(contrast)));
        text.push_str(&sections::weighted_balance(&report.weighted_balance));
        for found in &report.two_stage {
            text.push_str(&sections::two_stage(found, self.unit(&found.outcome)));
        }
        for (outcome, unit) in &self.units {
            let of_outcome: Vec<_> = report.dml.iter().filter(|found| found.outcome == *outcome).collect();
            text.push_str(&sections::dml(&of_outcome, *unit));
        }
        report.choices.iter().for_each(|choice| text.push_str(&sections::choice(choice)));
        let learner = self.manifest.config.learner.kind.name();
        for found in &report.linear {
            text.push_str(&sections::linear(found, learner, self.unit(&found.outcome)));
        }
        text.push_str(&chosen(report));
        text.push_str("\nOut-of-fold fit of the nuisance models\n");
        text.push_str(&self.fit_table().render(2));
        text.push_str(&self.seconds_line());
        let next = if data.n_holdout > 0 {
            format!("impactiq evaluate -m {}", output.display())
        } else {
            format!("impactiq score -m {} -d DATA -o scores.csv", output.display())
        };
        text.push_str(&format!("Next: {next}\n"));
        text
    }

    /// The averages of one contrast under their heading.
    fn averages(&self, contrast: &ContrastAverages) -> String {
        let report = &self.report;
        let unit = self.unit(&contrast.outcome);
        if let Some(found) = report.instruments.iter().find(|found| found.outcome == contrast.outcome) {
            return format!(
                "\nEffect of {} on {}, by way of {} (first-stage F {:.1})\n{}",
                contrast.arm,
                contrast.outcome,
                found.instrument,
                found.first_stage.f.statistic,
                instrument_table(found, unit).render(2)
            );
        }
        let heading = match &report.dose {
            Some(dose) => format!("\nEffect of one unit more of {} on {}\n", dose.column, contrast.outcome),
            None => format!(
                "\nEffect of {} against {} on {}\n",
                contrast.arm,
                self.manifest.arms.first().map_or("control", String::as_str),
                contrast.outcome
            ),
        };
        let left_out = contrast.trimmed.as_ref().map(sections::left_out).unwrap_or_default();
        format!("{heading}{}{left_out}", averages_table(contrast, unit).render(2))
    }

    fn seconds_line(&self) -> String {
        let dml = match self.spent(&["dml"]) {
            0.0 => String::new(),
            seconds => format!(" · dml {}", number::seconds(seconds)),
        };
        format!(
            "\nSeconds: read {} · guard {} · nuisances {} · averages {}{dml}\n         learner {} · total {}; peak memory {}\n",
            number::seconds(self.spent(&["read"])),
            number::seconds(self.spent(&["guard"])),
            number::seconds(self.spent(&["nuisance"])),
            number::seconds(self.spent(&["averages"])),
            number::seconds(self.spent(&["learner"])),
            number::seconds(self.total),
            number::bytes(peak_rss_bytes()),
        )
    }

    fn fit_table(&self) -> TextTable {
        let mut table = TextTable::new(&[
            ("outcome", Align::Left),
            ("arm", Align::Left),
            ("loss", Align::Left),
            ("model", Align::Right),
            ("constant", Align::Right),
            ("better by", Align::Right),
        ]);
        let nuisance = &self.report.nuisance;
        let of_treatment = if !self.report.instruments.is_empty() {
            "(treatment, instrument)"
        } else if self.report.dose.is_some() {
            "(mean of the dose)"
        } else {
            "(probability of the arm)"
        };
        let of_outcomes =
            nuisance.outcomes.iter().flat_map(|o| o.arms.iter().map(move |arm| (o.outcome.as_str(), arm)));
        let of_arms = nuisance.propensity_losses.iter().map(|arm| (of_treatment, arm));
        for (name, arm) in of_outcomes.chain(of_arms) {
            let loss = &arm.loss;
            table.row([
                name.to_owned(),
                arm.arm.clone(),
                loss.loss.replace('_', " "),
                loss_text(loss.value),
                loss_text(loss.constant),
                format!("{:.1} %", (1.0 - loss.value / loss.constant) * 100.0),
            ]);
        }
        table
    }
}

/// What training chose for the user: forests' leaves, settings of trees.
fn chosen(report: &TrainReport) -> String {
    let mut text = String::new();
    if !report.forests.is_empty() {
        text.push_str("\nWhat each forest chose, by the out-of-bag loss of small forests or from the config\n");
        text.push_str(&forests_table(&report.forests).render(2));
    }
    let tuning: Vec<&TuneReport> = report.nuisance.tuning.iter().chain(&report.tuning).collect();
    if !tuning.is_empty() {
        text.push_str("\nSettings chosen by the loss on rows held out inside the training rows\n");
        text.push_str(&tuning_table(&tuning).render(2));
    }
    text
}

/// What was tried for each model, and what most folds took.
fn tuning_table(tuning: &[&TuneReport]) -> TextTable {
    let mut table = TextTable::new(&[
        ("model", Align::Left),
        ("trials", Align::Right),
        ("loss", Align::Left),
        ("as configured", Align::Right),
        ("chosen", Align::Right),
        ("settings", Align::Left),
    ]);
    for report in tuning {
        // Of equal ones the first: max_by_key takes the last.
        let Some(most) = report.tried.iter().rev().max_by_key(|tried| tried.n_taken) else { continue };
        let n_fits: u64 = report.tried.iter().map(|tried| tried.n_taken).sum();
        let of_folds = if n_fits > 1 { format!(" ({} of {n_fits} folds)", most.n_taken) } else { String::new() };
        let loss = |loss: Option<f64>| loss.map_or_else(|| "–".to_owned(), |loss| format!("{loss:.5}"));
        table.row([
            report.what.clone(),
            format!("{}{}", report.trials, if report.hurried { ", then out of time" } else { "" }),
            report.loss.replace('_', " "),
            loss(report.tried.first().and_then(|own| own.loss)),
            loss(most.loss),
            format!("{}{of_folds}", settings_text(&most.settings)),
        ]);
    }
    table
}

/// Settings as a config writes them.
fn settings_text(settings: &BaseSettings) -> String {
    let keys = serde_json::to_value(settings).ok();
    let keys = keys.as_ref().and_then(serde_json::Value::as_object).filter(|keys| !keys.is_empty());
    match keys {
        None => "as configured".to_owned(),
        Some(keys) => keys.iter().map(|(key, value)| format!("{key}: {value}")).collect::<Vec<_>>().join(", "),
    }
}

/// The estimators of one contrast with intervals, then lift and incremental outcomes.
fn averages_table(contrast: &ContrastAverages, unit: Unit) -> TextTable {
    let estimators = &contrast.estimators;
    let rows = [
        ("AIPW (the answer)", &estimators.aipw, unit),
        ("difference in means", &estimators.difference_in_means, unit),
        ("Lin regression", &estimators.lin, unit),
        ("normalised IPW", &estimators.ipw, unit),
        ("targeted learning", &estimators.tmle, unit),
        ("relative lift", &contrast.relative_lift, Unit::Percent),
        ("incremental outcomes", &contrast.incremental, Unit::Count),
    ];
    let of_targets = contrast.estimands.iter().map(|of| (over(of.estimand), &of.aipw, unit));
    let trimmed = contrast.trimmed.iter().map(|of| ("AIPW, trimmed", &of.aipw, unit));
    let cuped = estimators.cuped.iter().map(|of| ("CUPED", of, unit));
    let cut = contrast.winsorised.iter().map(|of| (winsorised_name(of), of));
    let cut: Vec<(String, &WinsorisedAverages)> = cut.collect();
    let ratio: Vec<_> = contrast.ratio.iter().map(|of| (format!("per {}, difference", of.per), of)).collect();
    let of_cut = cut.iter().map(|(name, of)| (name.as_str(), &of.lin, unit));
    let of_ratio = ratio.iter().map(|(name, of)| (name.as_str(), &of.difference, Unit::Plain));
    let all: Vec<_> = match &contrast.estimators.partially_linear {
        Some(effect) => vec![("partially linear", effect, unit)],
        None => rows.into_iter().chain(cuped).chain(of_cut).chain(of_ratio).chain(of_targets).chain(trimmed).collect(),
    };
    estimates_table(all)
}

/// A loss with as many digits as tell two models apart.
fn loss_text(value: f64) -> String {
    if value.abs() >= 1e4 { number::thousands(value) } else { format!("{value:.5}") }
}

fn winsorised_name(of: &WinsorisedAverages) -> String {
    format!("Lin, outcome cut to {} … {}", number::plain(of.lowest), number::plain(of.highest))
}

/// What the treatment is, in a line.
fn treatment(report: &TrainReport) -> String {
    match &report.dose {
        Some(dose) => format!(
            "Dose {}: mean {}, from {} to {}",
            dose.column,
            number::plain(dose.mean),
            number::plain(dose.smallest),
            number::plain(dose.largest)
        ),
        None => {
            let arms = report.arms.0.iter().map(|(arm, n)| format!("{arm}: {}", number::count(*n)));
            format!("Arms (control first): {}", arms.collect::<Vec<_>>().join(" · "))
        }
    }
}

/// Whose average an AIPW estimate is, where it is not everybody's.
fn over(estimand: Estimand) -> &'static str {
    match estimand {
        Estimand::Ate => "AIPW, everybody",
        Estimand::Att => "AIPW, the treated",
        Estimand::Atc => "AIPW, the controls",
        Estimand::Overlap => "AIPW, the overlap",
    }
}

/// What the instrument tells of one outcome.
fn instrument_table(found: &InstrumentReport, unit: Unit) -> TextTable {
    let rows = [
        ("average of the effects (the answer)", &found.average_late, unit),
        ("two-stage, features accounted for", &found.two_stage, unit),
        ("Wald ratio", &found.wald, unit),
        ("instrument on outcome", &found.intention_to_treat, unit),
        ("instrument on treatment", &found.compliance, Unit::Plain),
    ];
    estimates_table(rows)
}

/// The leaf size of each forest, and what it left of the differences between people.
fn forests_table(forests: &[ForestReport]) -> TextTable {
    let mut table = TextTable::new(&[
        ("outcome", Align::Left),
        ("arms", Align::Left),
        ("trees", Align::Right),
        ("leaves per tree", Align::Right),
        ("rows of an arm per leaf", Align::Right),
        ("", Align::Left),
    ]);
    for forest in forests {
        let found = if forest.constant {
            "no forest beat one effect for everybody, so everybody gets that".to_owned()
        } else if forest.shrinkage < 1.0 {
            format!("{:.0} % of the differences from the average are kept", 100.0 * forest.shrinkage)
        } else {
            String::new()
        };
        let (least, most) = (forest.leaf_sizes.iter().min(), forest.leaf_sizes.iter().max());
        let leaf = match least.zip(most) {
            _ if forest.constant => "–".to_owned(),
            Some((&least, &most)) if least < most => {
                format!("{} to {}", number::count(u64::from(least)), number::count(u64::from(most)))
            }
            _ => number::count(u64::from(forest.min_arm_rows)),
        };
        table.row([
            forest.outcome.clone(),
            forest.arms.join(", "),
            number::count(forest.n_trees),
            format!("{:.1}", forest.mean_leaves),
            leaf,
            found,
        ]);
    }
    table
}
