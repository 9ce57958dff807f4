//! `init`: looks at a file, guesses roles, writes a commented configuration that `check`
//! accepts.

use impactiq_causal::Config;
use impactiq_data::error::{closest_name, shorten};
use impactiq_io::{Source, read_schema};
use serde_json::json;

use super::context::{Context, write_text};
use crate::args::InitArgs;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::number::count;

mod guess;
mod profile;
pub mod yaml;

use guess::{ColumnProfile, Guess, Told, guess};

/// Runs the command.
///
/// # Errors
/// A [`Failure`] when the file cannot be read, when treatment or outcome cannot be guessed,
/// or when the configuration exists: it is somebody's work and never replaced.
pub fn run(args: &InitArgs, context: Context<'_>) -> Outcome<Exit> {
    if args.output.symlink_metadata().is_ok() {
        return Err(Failure::new(
            format!("{} exists already", args.output.display()),
            "choose another name with -o; `init` never replaces a configuration",
        ));
    }
    let source = Source { paths: vec![args.data.clone()], ..Source::default() };
    let schema = read_schema(&source)?.schema;
    let (columns, n_rows) = profile::profile(&source, &schema)?;
    let told = told(args, &columns)?;
    let guess = guess(&columns, &told);
    complete(&guess, &args.data)?;
    let text = yaml::write(&args.data, &guess, n_rows, &schema.names());
    // The promise is a configuration that `check` accepts: what is written is read back.
    let config = Config::from_yaml(&text, &args.output.display().to_string(), &[])?;
    config.check(&schema.names())?;
    write_text(&args.output, &text)?;
    let value = json!({
        "config": args.output.display().to_string(),
        "n_rows_seen": n_rows,
        "treatment": guess.treatment.as_ref().map(|(name, _)| name),
        "dose": guess.dose,
        "control": guess.control,
        "outcomes": names(&guess.outcomes),
        "id": names(&guess.ids),
        "post_treatment": names(&guess.post_treatment),
        "cluster": guess.cluster,
    });
    context.output.result(&value, || summary(args, &guess, n_rows, schema.fields().len()))?;
    Ok(Exit::Done)
}

fn told(args: &InitArgs, columns: &[ColumnProfile]) -> Outcome<Told> {
    let names: Vec<String> = columns.iter().map(|c| c.name.clone()).collect();
    for name in args.treatment.iter().chain(&args.outcome) {
        if !names.contains(name) {
            let hint = match closest_name(name, &names) {
                Some(closest) => format!("did you mean '{closest}'?"),
                None => format!("the columns are: {}", shorten(&names, 20)),
            };
            return Err(Failure::new(format!("column '{name}' does not exist"), hint).at(&args.data));
        }
    }
    Ok(Told { treatment: args.treatment.clone(), control: args.control.clone(), outcomes: args.outcome.clone() })
}

fn complete(guess: &Guess, data: &str) -> Outcome<()> {
    if guess.treatment.is_none() {
        let hint = if guess.candidates.is_empty() {
            "name it: --treatment COLUMN".to_owned()
        } else {
            format!("name it: --treatment COLUMN; columns with few values are: {}", shorten(&guess.candidates, 12))
        };
        return Err(Failure::new("no column looks like the treatment", hint).at(data));
    }
    if !guess.dose && (guess.arms.len() < 2 || guess.control.is_none()) {
        let name = guess.treatment.as_ref().map_or("", |(name, _)| name.as_str());
        return Err(Failure::new(
            format!("the treatment column '{name}' does not have a few distinct values"),
            "name the column that says which arm a row is in: --treatment COLUMN",
        )
        .at(data));
    }
    if let Some(control) = guess.control.as_ref().filter(|control| !guess.arms.iter().any(|(v, _)| v == *control)) {
        let values: Vec<String> = guess.arms.iter().map(|(value, _)| value.clone()).collect();
        return Err(Failure::new(
            format!("the control '{control}' is not a value of the treatment column"),
            format!("its values are: {}", shorten(&values, 12)),
        )
        .at(data));
    }
    if guess.outcomes.is_empty() {
        return Err(Failure::new(
            "no column looks like an outcome",
            "name it: --outcome COLUMN, e.g. the column that says who bought",
        )
        .at(data));
    }
    Ok(())
}

fn names(list: &[(String, String)]) -> Vec<&str> {
    list.iter().map(|(name, _)| name.as_str()).collect()
}

fn summary(args: &InitArgs, guess: &Guess, n_rows: u64, n_columns: usize) -> String {
    let (treatment, why) = guess.treatment.clone().unwrap_or_default();
    let control = guess.control.clone().unwrap_or_default();
    let arms: Vec<&str> = guess.arms.iter().map(|(value, _)| value.as_str()).collect();
    let what = if guess.dose {
        format!("dose       {treatment} ({why}): effects will be per unit of it")
    } else {
        format!("treatment  {treatment} ({why}): {}; control {control}", arms.join(", "))
    };
    let mut text = format!("Looked at {} rows and {n_columns} columns of {}\n  {what}\n", count(n_rows), args.data);
    let mut list = |name: &str, columns: &[(String, String)]| {
        for (column, why) in columns {
            text.push_str(&format!("  {name:<9}  {column} ({why})\n"));
        }
    };
    list("outcome", &guess.outcomes);
    list("id", &guess.ids);
    list("after", &guess.post_treatment);
    if let Some(cluster) = &guess.cluster {
        text.push_str(&format!("  cluster?   {cluster} (left commented out)\n"));
    }
    text.push_str(&format!(
        "Wrote {}. Read it: the roles are guesses from names and values.\nNext: impactiq check -c {}\n",
        args.output.display(),
        args.output.display()
    ));
    text
}
