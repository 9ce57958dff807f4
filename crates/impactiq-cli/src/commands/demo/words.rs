//! What the tour's steps found, in plain words.

use std::path::Path;

use impactiq_data::Silent;
use impactiq_io::{Source, read};
use impactiq_metrics::Estimate;

use crate::commands::check::Checked;
use crate::commands::evaluate::charts;
use crate::commands::evaluate::evaluated::Evaluated;
use crate::commands::train::TrainedModel;
use crate::exit::Outcome;
use crate::output::number::{self, Unit};

/// How a trial's treatment and outcome are spoken of.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// "offered money"
    pub offered: &'static str,
    /// "came to collect their result"
    pub acted: &'static str,
}

const WIDTH: usize = 100;

/// A step's line: its name and the command.
pub fn step(name: &str, command: &str) -> String {
    format!("\n  {name}\n  $ {command}")
}

/// Text in lines of a readable width, indented.
pub fn wrap(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// What `check` found.
pub fn checked(checked: &Checked) -> String {
    let arms: Vec<String> = checked.arms.iter().map(|(arm, n)| format!("{} in arm {arm}", number::count(*n))).collect();
    let worst = checked.report.balance.iter().map(|row| row.smd.abs()).fold(0.0, f64::max);
    let failed: Vec<String> = checked
        .report
        .gates
        .iter()
        .filter(|gate| !gate.passed)
        .map(|gate| format!("{} ({})", gate.name.replace('_', " "), gate.detail))
        .collect();
    if failed.is_empty() {
        return wrap(&format!(
            "The trial looks sound: {}; before the treatment no feature differs between them by more than {worst:.3} \
             standard deviations, and nothing the treatment moved is used as a feature.",
            arms.join(", ")
        ));
    }
    let chance = checked.report.gates.iter().any(|gate| gate.name == "joint_balance" && gate.passed);
    let reading = if chance {
        "All features together do not tell the arms apart better than chance would, so we go on; the adjusted \
         estimates take the difference into account. In a trial of your own, look before you do."
    } else {
        "In a trial of your own, find out why before you go on."
    };
    wrap(&format!("{}. This gate fails: {}. {reading}", arms.join(", "), failed.join("; ")))
}

impl Words {
    /// What `train` found, and where the truth is known, how close it came.
    ///
    /// # Errors
    /// When the truth cannot be read.
    pub fn trained(&self, trained: &TrainedModel, truth: Option<&Path>) -> Outcome<String> {
        let Some(contrast) = trained.report.contrasts.first() else { return Ok(String::new()) };
        let mut text = self.sentence(&contrast.ate, &contrast.control_mean);
        if let (Some(extra), Some(lower), Some(upper)) =
            (contrast.incremental.value(), contrast.incremental.lower(), contrast.incremental.upper())
        {
            text.push_str(&format!(
                " In this trial that makes {} people (between {} and {}) who would not have acted otherwise.",
                number::thousands(extra),
                number::thousands(lower),
                number::thousands(upper)
            ));
        }
        if let Some(truth) = truth {
            let source = Source { paths: vec![truth.display().to_string()], ..Source::default() };
            let loaded = read(&source, &["tau".to_owned()], &Silent)?;
            let tau = loaded.table.column("tau")?.numbers().unwrap_or_default().to_vec();
            let mean = tau.iter().sum::<f64>() / tau.len().max(1) as f64;
            let inside = contrast.ate.lower().zip(contrast.ate.upper()).is_some_and(|(a, b)| (a..=b).contains(&mean));
            text.push_str(&format!(
                " The truth, known here: {}, which the interval {}.",
                Unit::Points.text(mean),
                if inside { "contains" } else { "misses (one in twenty does)" }
            ));
        }
        Ok(wrap(&text))
    }

    /// "Out of 1,000 people offered …, about 450 more …"
    fn sentence(&self, effect: &Estimate, control: &Estimate) -> String {
        let (Some(value), Some(lower), Some(upper)) = (effect.value(), effect.lower(), effect.upper()) else {
            return format!("The effect cannot be told: {}.", effect.reason().unwrap_or("no interval"));
        };
        let thousand = |share: f64| number::thousands((share * 1000.0).abs());
        let anyway = control
            .value()
            .map_or_else(String::new, |mean| format!(" Without it, {} of 1,000 do so anyway.", thousand(mean)));
        if lower <= 0.0 && upper >= 0.0 {
            return format!(
                "Out of 1,000 people {}, between {} fewer and {} more {}: no clear effect.{anyway}",
                self.offered,
                thousand(lower),
                thousand(upper),
                self.acted
            );
        }
        let direction = if value > 0.0 { "more" } else { "fewer" };
        let (least, most) = if value > 0.0 { (lower, upper) } else { (upper, lower) };
        format!(
            "Out of 1,000 people {}, about {} {direction} {} because of it (between {} and {}).{anyway}",
            self.offered,
            thousand(value),
            self.acted,
            thousand(least),
            thousand(most)
        )
    }
}

/// What `evaluate` found.
pub fn evaluated(evaluated: &Evaluated) -> String {
    let mut text = String::new();
    for contrast in &evaluated.report.contrasts {
        let unit = evaluated.unit(&contrast.outcome);
        text.push_str(&charts::verdict(&contrast.evaluation));
        let measured = |index: usize| contrast.evaluation.deciles.get(index).map(|decile| &decile.effect);
        let last = contrast.evaluation.deciles.len().saturating_sub(1);
        if let (Some(best), Some(worst)) = (measured(0), measured(last)) {
            text.push_str(&format!(
                " On {} people it never saw, the tenth ranked highest gains {} (interval {}), the tenth ranked lowest \
                 {} ({}). ",
                number::count(evaluated.report.n_rows),
                number::value(best, unit),
                number::interval(best, unit),
                number::value(worst, unit),
                number::interval(worst, unit)
            ));
        }
    }
    wrap(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Words = Words { offered: "offered money", acted: "came" };

    #[test]
    fn effects_are_told_per_thousand_with_their_direction() {
        let control = Estimate::point(0.339, 600);
        let up = WORDS.sentence(&Estimate::with_bounds(0.451, 0.02, 0.41, 0.49, 2834), &control);
        assert_eq!(
            up,
            "Out of 1,000 people offered money, about 451 more came because of it (between 410 and 490). Without it, \
             339 of 1,000 do so anyway."
        );
        let down = WORDS.sentence(&Estimate::with_bounds(-0.05, 0.01, -0.07, -0.03, 100), &control);
        assert!(down.contains("about 50 fewer") && down.contains("(between 30 and 70)"), "{down}");
        let none = WORDS.sentence(&Estimate::with_bounds(0.01, 0.01, -0.01, 0.03, 100), &control);
        assert!(none.contains("between 10 fewer and 30 more") && none.contains("no clear effect"), "{none}");
    }
}
