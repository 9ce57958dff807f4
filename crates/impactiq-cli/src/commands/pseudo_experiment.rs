//! `pseudo-experiment`: observational rows drawn as if a trial had been run on the comparable ones,
//! written as they are in the source.

use std::path::Path;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use impactiq_causal::config::Config;
use impactiq_causal::health::Warning;
use impactiq_causal::train::{PseudoExperiment, pseudo_experiment};
use impactiq_data::Schema;
use impactiq_io::{Batches, PassThrough, Source, Writer};
use serde_json::json;

use super::context::{Context, refuse_existing};
use super::load::{in_data, load, read_config};
use super::train::unit_of;
use crate::args::PseudoExperimentArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::number::{self, Unit};
use crate::output::table::{Align, TextTable};

/// Features shown in the text; JSON has all.
const SHOWN_FEATURES: usize = 10;

/// Runs the command.
///
/// # Errors
/// A [`Failure`]; nothing is written then.
pub fn run(args: &PseudoExperimentArgs, context: Context<'_>) -> Outcome<Exit> {
    refuse_existing(&args.output, context)?;
    let config = read_config(&args.config, context.global)?;
    let run = load(&config, &args.config, context.watch)?;
    let found = pseudo_experiment(&run.checked, &run.dataset, context.watch)
        .map_err(|error| in_data(error, &run.source, &run.loaded))?;
    let row_ids: Vec<u64> = found.rows.iter().map(|&row| run.dataset.row_ids[row as usize]).collect();
    write(&run.source, &row_ids, &args.output, context)?;
    context.watch.clear();
    context.output.warning(&Warning::Observational.to_string());
    let units: Vec<Unit> = run.dataset.outcomes.iter().map(|outcome| unit_of(outcome.kind)).collect();
    let mut result = serde_json::to_value(&found).unwrap_or_default();
    result["output"] = json!(args.output.display().to_string());
    result["n_rows"] = json!(row_ids.len());
    context.output.result(&result, || text(&found, &config, &units, args))?;
    Ok(Exit::Done)
}

/// Copies rows by their number in the source.
fn write(source: &Source, row_ids: &[u64], output: &Path, context: Context<'_>) -> Outcome<()> {
    let source = Source { derived: Vec::new(), ..source.clone() };
    let batches = Batches::open(&source, &Schema::new(Vec::new())?, &PassThrough::All)?;
    let mut writer = Writer::create(output, &batches.schema(), context.global.overwrite)?;
    let mut left = row_ids;
    for batch in batches {
        context.watch.check()?;
        let batch = batch?;
        let kept: BooleanArray = batch
            .row_ids
            .iter()
            .map(|id| {
                let take = left.first() == Some(id);
                if take {
                    left = &left[1..];
                }
                Some(take)
            })
            .collect();
        let rows = filter_record_batch(&batch.rows, &kept)
            .map_err(|error| Failure::new(format!("internal error: {error}"), "please report this"))?;
        if rows.num_rows() > 0 {
            writer.write(&rows)?;
        }
    }
    context.watch.check()?;
    Ok(writer.finish()?)
}

fn text(found: &PseudoExperiment, config: &Config, units: &[Unit], args: &PseudoExperimentArgs) -> String {
    let arms: Vec<String> = found
        .arms
        .iter()
        .map(|arm| format!("{}: {} of {}", arm.arm, number::count(arm.n_drawn), number::count(arm.n_rows)))
        .collect();
    let mut text = format!(
        "Drew {} rows into {}\nArms (control first): {}\n",
        number::count(found.rows.len()),
        args.output.display(),
        arms.join(" · ")
    );
    text.push_str("\nDifference in means, arm minus control\n");
    text.push_str(&effects(found, units).render(2));
    text.push_str(&format!(
        "\nDifferences between arms before and after, in standard deviations ({} of {})\n",
        found.balance.len().min(SHOWN_FEATURES),
        found.balance.len()
    ));
    text.push_str(&balance(found).render(2));
    text.push_str(&format!("\nNext: impactiq check -c {} {}\n", args.config.display(), settings(found, config, args)));
    text
}

/// The settings that make a config one of the pseudo-experiment.
fn settings(found: &PseudoExperiment, config: &Config, args: &PseudoExperimentArgs) -> String {
    let probability = match found.arms.as_slice() {
        [_, _] => "0.5".to_owned(),
        arms => {
            let share = |arm: &str| format!("\"{arm}\": {:.6}", found.probability);
            let others: Vec<String> = arms.iter().skip(1).map(|arm| share(&arm.arm)).collect();
            format!("{{{}}}", others.join(", "))
        }
    };
    // A seed of its own folds: the draw came from the other one.
    format!(
        "--set data.path={} \\\n  --set 'assignment={{kind: randomised, probability: {probability}}}' --seed {}",
        args.output.display(),
        config.split.seed.wrapping_add(1)
    )
}

fn effects(found: &PseudoExperiment, units: &[Unit]) -> TextTable {
    let mut table = TextTable::new(&[
        ("outcome", Align::Left),
        ("arm", Align::Left),
        ("as they were", Align::Right),
        ("drawn", Align::Right),
        ("std. error", Align::Right),
        ("95 % interval", Align::Left),
    ]);
    let per_outcome = (found.effects.len() / units.len().max(1)).max(1);
    for (index, effect) in found.effects.iter().enumerate() {
        let unit = units.get(index / per_outcome).copied().unwrap_or(Unit::Plain);
        table.row([
            effect.outcome.clone(),
            effect.arm.clone(),
            number::value(&effect.before, unit),
            number::value(&effect.after, unit),
            number::std_error(&effect.after, unit),
            number::interval(&effect.after, unit),
        ]);
    }
    table
}

fn balance(found: &PseudoExperiment) -> TextTable {
    let mut table = TextTable::new(&[
        ("feature", Align::Left),
        ("arm", Align::Left),
        ("as they were", Align::Right),
        ("drawn", Align::Right),
        ("p (Bonferroni)", Align::Right),
    ]);
    for row in found.balance.iter().take(SHOWN_FEATURES) {
        let (feature, arm) = (row.feature.clone(), row.arm.clone());
        table.row([
            feature,
            arm,
            number::standardised(row.smd_before),
            number::standardised(row.smd_after),
            number::p_value(row.p_after),
        ]);
    }
    table
}
