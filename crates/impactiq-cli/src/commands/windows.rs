//! `windows`: the features of a stream's users, computed over a file of events for training.

use impactiq_io::Source;
use impactiq_stream::windows::{FileFeatures, WindowPlan, WindowsConfig, write_features};
use serde_json::json;

use super::context::{Context, refuse_existing};
use crate::args::WindowsArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::memory::peak_rss_bytes;
use crate::output::number;

/// Runs the command.
///
/// # Errors
/// A [`Failure`]; nothing is written then.
pub fn run(args: &WindowsArgs, context: Context<'_>) -> Outcome<Exit> {
    refuse_existing(&args.output, context)?;
    if !context.global.set.is_empty() {
        let message = "`--set` changes a training configuration, and `windows` reads none";
        return Err(Failure::new(message, format!("edit {} instead", args.config.display())).at("--set"));
    }
    let config = WindowsConfig::read(&args.config)?;
    let plan = WindowPlan::new(&config).map_err(|error| Failure::from(error).at(args.config.display()))?;
    let source = Source { paths: vec![args.data.clone()], ..Source::default() };
    let started = context.watch.elapsed();
    let found = write_features(&source, &plan, &args.output, context.global.overwrite, context.watch)
        .map_err(|error| Failure::from(error).at(&args.data))?;
    context.watch.check()?;
    let seconds = context.watch.elapsed() - started;
    context.watch.clear();
    if found.n_without > 0 {
        let message = format!("rows that are no events, without features: {}", number::count(found.n_without));
        context.output.warning(&match &found.first_problem {
            Some(problem) => format!("{message}; e.g. {problem}"),
            None => format!("{message}; they have no user or no time"),
        });
    }
    let n_rows = found.columns.first().map_or(0, Vec::len) as u64;
    let result = json!({
        "output": args.output.display().to_string(),
        "features": found.names,
        "n_rows": n_rows,
        "n_users": found.n_users,
        "n_without": found.n_without,
        "seconds": {"total": seconds},
        "peak_rss_bytes": peak_rss_bytes(),
    });
    context.output.result(&result, || text(&found, n_rows, seconds, args))?;
    Ok(Exit::Done)
}

fn text(found: &FileFeatures, n_rows: u64, seconds: f64, args: &WindowsArgs) -> String {
    format!(
        "Looked back from {} events of {} users in {} ({} events a second, peak memory {})\nWrote {} with {}\n",
        number::count(n_rows - found.n_without),
        number::count(found.n_users as u64),
        number::seconds(seconds),
        number::thousands(n_rows as f64 / seconds.max(1e-9)),
        number::bytes(peak_rss_bytes()),
        args.output.display(),
        found.names.join(", "),
    )
}
