//! `reference`: pages made from the program itself, for docs/reference.

use impactiq_causal::Config;
use impactiq_serve::http::problem::Code;

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
        ReferencePage::Errors => errors_page(),
        ReferencePage::Schema => serde_json::to_string_pretty(&Config::json_schema()).unwrap_or_default(),
    };
    context.output.stdout(&page)?;
    Ok(Exit::Done)
}

/// Exit codes, and what the server says in their place.
fn errors_page() -> String {
    let mut page = ERRORS.to_owned();
    page.push_str(SERVER_ERRORS);
    for code in Code::ALL {
        page.push_str(&format!("| `{}` | {} | {} |\n", code.text(), code.status().as_u16(), code.title()));
    }
    page
}

const SERVER_ERRORS: &str = "
## Of the server

A request that cannot be answered gets `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, and of our
own `code` and `hint`. Programs look at `code`. Answers 429 and 503 say in `Retry-After` when to come again.

| code | status | meaning |
|---|---:|---|
";

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
