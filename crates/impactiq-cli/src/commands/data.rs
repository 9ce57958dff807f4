//! `data list` and `data get`: public data sets by name, with checksums.

use impactiq_io::{DATASETS, PublicDataset, fetch_dataset, find_dataset};
use serde_json::json;

use super::context::Context;
use crate::args::{DataAction, DataArgs};
use crate::exit::{Exit, Outcome};
use crate::output::number;

/// Runs the command.
///
/// # Errors
/// A [`Failure`] for an unknown name, a failed download or a wrong checksum.
pub fn run(args: &DataArgs, context: Context<'_>) -> Outcome<Exit> {
    match &args.action {
        DataAction::List => {
            let value = serde_json::to_value(DATASETS).unwrap_or_default();
            context.output.result(&json!({ "datasets": value }), list)?;
        }
        DataAction::Get { name, output } => {
            let dataset = find_dataset(name)?;
            let fetched = fetch_dataset(name, output, context.global.overwrite, context.watch)?;
            context.watch.clear();
            if !fetched.verified {
                context.output.warning(&format!(
                    "no published checksum is known for '{name}'; the file's sha256 is {}",
                    fetched.sha256
                ));
            }
            let value = json!({
                "name": name,
                "path": fetched.path.display().to_string(),
                "sha256": fetched.sha256,
                "verified": fetched.verified,
                "was_there": fetched.was_there,
            });
            context.output.result(&value, || got(dataset, &fetched.path.display().to_string(), fetched.was_there))?;
        }
    }
    Ok(Exit::Done)
}

fn list() -> String {
    let mut text = String::new();
    for dataset in DATASETS {
        let size = dataset.n_bytes.map_or_else(|| "size unknown".to_owned(), number::bytes);
        text.push_str(&format!(
            "{}\n  {}\n  {} rows, {size}; {}\n  {}\n",
            dataset.name,
            dataset.title,
            number::count(dataset.n_rows),
            dataset.licence,
            dataset.roles
        ));
    }
    text.push_str("Next: impactiq data get NAME\n");
    text
}

fn got(dataset: &PublicDataset, path: &str, was_there: bool) -> String {
    let what = if was_there { "was there already" } else { "downloaded" };
    format!(
        "{path} {what}: {}\nTerms: {}\nRoles: {}\nNext: impactiq init {path}\n",
        dataset.title, dataset.licence, dataset.roles
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Failure;

    #[test]
    fn the_list_names_every_data_set_and_its_terms() {
        let text = list();
        for dataset in DATASETS {
            assert!(text.contains(dataset.name) && text.contains(dataset.licence));
        }
        let failure = Failure::from(find_dataset("hilstrom").unwrap_err());
        assert_eq!(failure.hint.unwrap(), "did you mean 'hillstrom'?");
    }
}
