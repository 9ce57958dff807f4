//! `reference`: pages made from the program itself, for docs/reference.

use impactiq_causal::Config;

use super::context::Context;
use crate::args::{ReferenceArgs, ReferencePage};
use crate::exit::{Exit, Outcome};

mod cli;
mod config;
mod http;

/// Runs the command.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &ReferenceArgs, context: Context<'_>) -> Outcome<Exit> {
    let page = match args.page {
        ReferencePage::Config => config::page(&Config::json_schema()),
        ReferencePage::Cli => cli::page(),
        ReferencePage::Http => {
            http::page(&serde_json::to_value(impactiq_serve::http::docs::description()).unwrap_or_default())
        }
        ReferencePage::Errors => ERRORS.to_owned(),
        ReferencePage::Schema => serde_json::to_string_pretty(&Config::json_schema()).unwrap_or_default(),
    };
    context.output.stdout(&page)?;
    Ok(Exit::Done)
}

const ERRORS: &str = "\
# Exit codes and errors

| code | meaning |
|---:|---|
| 0 | done |
| 1 | the command ran, but a gate failed: `check` found a problem, or a `--fail-if` condition holds |
| 2 | usage, configuration, input or internal error; nothing was written |
| 130 | interrupted (Ctrl-C); nothing was written |

An error is written to stderr as

```text
error: what is wrong, with column, row and value
  in: the file, its line or row, or the configuration
  hint: what to type next
```

With `--format json` it is one line of JSON:

```json
{\"error\": {\"message\": \"…\", \"place\": \"…\", \"hint\": \"…\", \"exit_code\": 2}}
```

Rows are counted from 1 without the header, lines from 1 with it. Warnings start with `warning:` and do not change
the exit code. Results go to stdout, everything else to stderr.
";
