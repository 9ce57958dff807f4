//! The tour's last stop: its models in the dashboard. On a terminal the server stays until Ctrl-C;
//! in a script it is started, asked one question of each kind, and stopped.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use impactiq_score::{ColumnProfile, Reports, Scorer};
use impactiq_serve::{Asked, Running, ServeError, Server, Settings};
use serde_json::{Map, Value, json};

use crate::commands::context::{Context, local_agent};
use crate::commands::serve::{runtime, until_stopped};
use crate::exit::{Failure, Outcome};

/// The address that the guide speaks of.
const LISTEN: &str = "127.0.0.1:8501";
/// Any port that is free.
const ANY_PORT: &str = "127.0.0.1:0";
/// A loopback server that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A model of the tour: its name and its directory.
pub type Named<'a> = (&'a str, &'a Path);

/// True where somebody looks at the terminal and can open a browser.
pub fn is_watched(context: Context<'_>) -> bool {
    !context.output.is_json() && std::io::stdout().is_terminal() && std::env::var_os("CI").is_none()
}

/// Serves the models until Ctrl-C.
///
/// # Errors
/// A [`Failure`] when no server can be started.
pub fn show(models: &[Named<'_>], context: Context<'_>) -> Outcome<()> {
    runtime()?.block_on(async {
        let running = match Server::start(settings(models, LISTEN)?).await {
            // Somebody else has the port, perhaps an earlier tour.
            Err(ServeError::Listen { .. }) => Server::start(settings(models, ANY_PORT)?).await?,
            started => started?,
        };
        context
            .output
            .stdout(&format!("\nThe dashboard of both models is at {} (Ctrl-C ends the tour).", running.url()))?;
        until_stopped(context).await;
        running.stop().await;
        Ok::<_, Failure>(())
    })
}

/// Starts the server on a free port, asks it what the dashboard and a program would ask, and
/// stops it; gives one line that says so.
///
/// # Errors
/// A [`Failure`] when an answer is not what it should be.
pub fn try_out(models: &[Named<'_>]) -> Outcome<String> {
    let runtime = runtime()?;
    let running = runtime.block_on(async { Ok::<_, Failure>(Server::start(settings(models, ANY_PORT)?).await?) })?;
    let asked = Visitor::of(&running).ask_everything(models);
    runtime.block_on(running.stop());
    asked?;
    let names: Vec<String> = models.iter().map(|(name, path)| format!("-m {name}={}", path.display())).collect();
    Ok(format!("The dashboard and the API answer. Open them: impactiq serve {}", names.join(" ")))
}

/// The tour keeps no log: nothing of it should be found elsewhere.
fn settings(models: &[Named<'_>], listen: &str) -> Outcome<Settings> {
    let models = models.iter().map(|(name, path)| format!("{name}={}", path.display())).collect();
    let asked = Asked {
        models: Some(models),
        listen: Some(listen.into()),
        log: Some("none".into()),
        state: Some("none".into()),
        ..Asked::default()
    };
    Ok(asked.settle()?)
}

/// Asks a server on this machine.
struct Visitor {
    url: String,
    agent: ureq::Agent,
}

impl Visitor {
    fn of(running: &Running) -> Self {
        Visitor { url: running.url(), agent: local_agent(PATIENCE) }
    }

    fn ask_everything(&self, models: &[Named<'_>]) -> Outcome<()> {
        self.text("/health/ready", None)?;
        let page = self.text("/", None)?;
        self.expect("/", page.contains("<html"), "no page")?;
        let listed = self.json("/v1/models", None)?;
        let n_listed = listed["models"].as_array().map_or(0, Vec::len);
        self.expect("/v1/models", n_listed == models.len(), &format!("{n_listed} models"))?;
        for (name, path) in models {
            let address = format!("/v1/reports?model={name}");
            let reports = self.json(&address, None)?;
            let whole = ["training", "evaluation", "check", "profile"].iter().all(|part| reports[part].is_object());
            self.expect(&address, whole, "a report is missing")?;
            self.score_one(name, path)?;
        }
        Ok(())
    }

    /// The typical person has the same effect here as by the scorer itself, to the bit.
    fn score_one(&self, name: &str, path: &Path) -> Outcome<()> {
        let row = typical(&Reports::read(path)?);
        let wanted = Scorer::open(path)?.score_json(std::slice::from_ref(&row))?;
        let address = format!("/v1/score?model={name}");
        let answer = self.json(&address, Some(json!({"rows": [row]})))?;
        let same = wanted[0].as_object().is_some_and(|wanted| {
            wanted.iter().all(|(column, value)| {
                let found = &answer["scores"][0][column];
                // 1 and 1.0 are one number, but two JSON values.
                found == value || (value.is_number() && found.as_f64() == value.as_f64())
            })
        });
        self.expect(&address, same, "another score than `impactiq score` gives")
    }

    fn json(&self, path: &str, body: Option<Value>) -> Outcome<Value> {
        let text = self.text(path, body)?;
        serde_json::from_str(&text).map_err(|error| self.failed(path, &error.to_string()))
    }

    fn text(&self, path: &str, body: Option<Value>) -> Outcome<String> {
        let address = format!("{}{path}", self.url);
        let answered = match body {
            None => self.agent.get(&address).call(),
            Some(body) => self.agent.post(&address).header("content-type", "application/json").send(body.to_string()),
        };
        let mut answer = answered.map_err(|error| self.failed(path, &error.to_string()))?;
        answer.body_mut().read_to_string().map_err(|error| self.failed(path, &error.to_string()))
    }

    fn expect(&self, path: &str, holds: bool, found: &str) -> Outcome<()> {
        if holds { Ok(()) } else { Err(self.failed(path, found)) }
    }

    fn failed(&self, path: &str, found: &str) -> Failure {
        let message = format!("the tour's server did not answer {path} as it should: {found}");
        Failure::new(message, "try it by hand: impactiq serve -m MODEL").at(&self.url)
    }
}

/// The person in the middle of the training rows.
fn typical(reports: &Reports) -> Value {
    let columns = reports.profile.iter().flat_map(|profile| &profile.columns);
    let entry = |column: &ColumnProfile| {
        let value = match column {
            ColumnProfile::Number(column) => json!(column.typical),
            ColumnProfile::Category(column) => json!(column.typical),
            ColumnProfile::Time(_) => Value::Null,
        };
        (column.name().to_owned(), value)
    };
    Value::Object(columns.map(entry).collect::<Map<_, _>>())
}
