//! `impactiq serve` and `impactiq key`: the server until it is told to stop, and keys for it.
//!
//! Settings come from flags, environment and file; everything else is `impactiq-serve`'s.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use impactiq_serve::{Asked, AskedLookup, NewKey, Running, Server};
use serde_json::json;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;

use crate::args::{KeyArgs, LogFormat, ServeArgs};
use crate::commands::Context;
use crate::exit::{Exit, Failure, Outcome};

/// How often it is looked whether the server should stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Serves models until Ctrl-C or SIGTERM; then everything in flight is answered first.
///
/// # Errors
/// Settings, models, keys, log or address that cannot be used.
pub fn run(args: &ServeArgs, context: Context<'_>) -> Outcome<Exit> {
    let flags = asked(args);
    let settings = match &args.settings {
        Some(path) => flags.over(Asked::read(path)?),
        None => flags,
    }
    .settle()?;
    write_events(args.log_format, context)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        let running = Server::start(settings).await?;
        tell(&running, context)?;
        if args.open {
            open_browser(&running.url(), context);
        }
        until_stopped(context).await;
        running.stop().await;
        Ok(Exit::Done)
    })
}

/// Makes a key, which is shown this once.
///
/// # Errors
/// A name or role that is not possible.
pub fn key(args: &KeyArgs, context: Context<'_>) -> Outcome<Exit> {
    let role: impactiq_serve::Role = args.role.into();
    let made = NewKey::make(&args.name, role)?;
    let value = json!({"name": args.name, "role": role.name(), "key": made.key, "line": made.line});
    context.output.result(&value, || made.line.clone())?;
    if !context.output.is_json() {
        // On stderr, so that `>> keys` keeps the line and the terminal shows the key.
        context.output.warning(&format!("this key is shown once and kept nowhere: {}", made.key));
    }
    Ok(Exit::Done)
}

/// The run-time that serves.
pub fn runtime() -> Outcome<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        Failure::new(
            format!("the server's threads cannot be started: {error}"),
            "check the limits of the system (ulimit -u)",
        )
    })
}

/// Waits for Ctrl-C or SIGTERM.
pub async fn until_stopped(context: Context<'_>) {
    while !context.watch.is_interrupted() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn asked(args: &ServeArgs) -> Asked {
    let path_text = |path: &PathBuf| path.display().to_string();
    Asked {
        models: (!args.model.is_empty()).then(|| args.model.clone()),
        listen: args.listen.clone(),
        keys: args.keys.clone(),
        log: args.log.clone(),
        log_durable: args.log_durable.then_some(true),
        log_keep: args.log_keep.clone(),
        state: args.state.clone(),
        lookup: AskedLookup {
            file: args.lookup.as_ref().map(path_text),
            sql: None,
            key: args.lookup_key.clone(),
            refresh: args.lookup_refresh.clone(),
        },
        stream: args.stream.clone(),
        max_body: args.max_body,
        max_rows: args.max_rows,
        timeout: args.timeout,
        concurrency: args.concurrency,
        queue: args.queue,
        max_connections: args.max_connections,
        requests_per_second: args.requests_per_second,
    }
}

fn tell(running: &Running, context: Context<'_>) -> Outcome<()> {
    let (url, models) = (running.url(), running.models());
    let value = json!({"url": url, "models": models, "dashboard": impactiq_serve::assets::has_dashboard()});
    context.output.result(&value, || {
        format!("Serving {} at {url} (the API is described at {url}/docs; Ctrl-C stops)", models.join(", "))
    })
}

/// Writes a server's events to stderr: for people on a terminal, else a JSON object a line.
pub(super) fn write_events(format: LogFormat, context: Context<'_>) -> Outcome<()> {
    let level = if context.output.is_verbose() {
        LevelFilter::DEBUG
    } else if context.global.quiet {
        LevelFilter::WARN
    } else {
        LevelFilter::INFO
    };
    let ours = ["impactiq_serve", "impactiq_store", "impactiq_stream"].map(|target| (target, level));
    let targets = Targets::new().with_default(LevelFilter::WARN).with_targets(ours);
    let is_terminal = std::io::stderr().is_terminal();
    let is_json = match format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let lines = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level);
    let set = if is_json {
        let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
        tracing::subscriber::set_global_default(lines.finish().with(targets))
    } else {
        let lines = lines.compact().with_ansi(is_terminal && std::env::var_os("NO_COLOR").is_none()).with_target(false);
        tracing::subscriber::set_global_default(lines.finish().with(targets))
    };
    set.map_err(|error| Failure::new(format!("events cannot be written: {error}"), "please report this"))
}

/// Opens the dashboard where there is a browser; where not, the address was told already.
fn open_browser(url: &str, context: Context<'_>) {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = Command::new(program).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    if quiet.is_err() {
        context.output.note(&format!("No browser could be opened; the address is {url}"));
    }
}
