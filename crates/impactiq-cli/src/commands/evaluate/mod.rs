//! `evaluate`: how well does a model, or any column of scores, rank people?

use super::context::{Context, refuse_existing, write_text};
use super::gate::Condition;
use crate::args::EvaluateArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::number;

pub mod charts;
pub mod evaluated;
mod input;
pub mod report;
mod tables;

use evaluated::Evaluated;

/// Runs the command; a condition of `--fail-if` that holds leads to exit code 1.
///
/// # Errors
/// A [`Failure`] when there is nothing to evaluate.
pub fn run(args: &EvaluateArgs, context: Context<'_>) -> Outcome<Exit> {
    let conditions: Vec<Condition> = args.fail_if.iter().map(|text| Condition::parse(text)).collect::<Outcome<_>>()?;
    for path in args.report.iter() {
        refuse_existing(path, context)?;
    }
    let evaluated = evaluate(args, context)?;
    context.watch.clear();
    if evaluated.n_trained_on > 0 {
        context.output.warning(&format!(
            "the model was trained on {} of these {} rows: the metrics flatter it; leave out -d to evaluate on the rows \
             that were kept from it",
            number::count(evaluated.n_trained_on),
            number::count(evaluated.report.n_rows)
        ));
    }
    let verdicts = evaluated.test(&conditions)?;
    if args.keep || (args.data.is_none() && !args.no_keep) {
        evaluated.keep(context);
    }
    if let Some(folder) = &args.charts {
        evaluated.write_charts(folder, context)?;
    }
    if let Some(path) = &args.report {
        write_text(path, &report::html(&evaluated)?)?;
    }
    context.output.result(&evaluated.json(&verdicts), || evaluated.text(&verdicts))?;
    Ok(if verdicts.iter().any(|verdict| verdict.failed) { Exit::GateFailed } else { Exit::Done })
}

/// Evaluates what the arguments name.
///
/// # Errors
/// A [`Failure`] when the model or the rows cannot be read, or do not fit each other.
pub fn evaluate(args: &EvaluateArgs, context: Context<'_>) -> Outcome<Evaluated> {
    match (&args.model, &args.config, &args.score) {
        (Some(model), _, _) => input::by_model(model, args.data.as_deref(), context),
        (None, Some(config), Some(column)) => input::by_column(config, args.data.as_deref(), column, context),
        _ => Err(Failure::new("nothing to evaluate", "give a model with -m, or -c and --score")),
    }
}
