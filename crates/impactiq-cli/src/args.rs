//! What can be typed: commands, flags and the environment variables behind them.
//!
//! A flag beats its environment variable, which beats the configuration file, which
//! beats the default.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Style, Styles};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::exit::Failure;

const STYLES: Styles = Styles::styled()
    .header(Style::new().bold())
    .usage(Style::new().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Green.on_default());

/// Who bought because of you: uplift models from a randomised trial, with the evidence.
#[derive(Debug, Parser)]
#[command(name = "impactiq", version, styles = STYLES, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Start with `impactiq demo`, or with your own file: `impactiq init DATA`.\n\
    Exit codes: 0 done, 1 a gate failed, 2 error, 130 interrupted.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// How results are written to stdout.
    #[arg(long, global = true, value_enum, default_value_t, env = "IMPACTIQ_FORMAT", hide_env = true)]
    pub format: Format,
    /// Set a key of the configuration, e.g. `--set learner.n_trees=200` (repeatable).
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Threads to compute with (default: all). Results do not depend on it.
    #[arg(long, global = true, value_name = "N", env = "IMPACTIQ_THREADS", hide_env = true)]
    pub threads: Option<u16>,
    /// Seed of folds, hold-out, samples and generators.
    #[arg(long, global = true, value_name = "SEED", env = "IMPACTIQ_SEED", hide_env = true)]
    pub seed: Option<u64>,
    /// Replace an output that exists.
    #[arg(long, global = true, env = "IMPACTIQ_OVERWRITE", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub overwrite: bool,
    /// Be done within this many seconds: after three quarters of them forests stop growing and learners are no
    /// longer compared; used up before there is a model, nothing is written.
    #[arg(long, global = true, value_name = "SECONDS", env = "IMPACTIQ_TIME_LIMIT", hide_env = true)]
    pub time_limit: Option<f64>,
    /// Say less: no progress, no notes (errors are still written).
    #[arg(short, long, global = true, action = ArgAction::SetTrue, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: every step and its seconds.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables to read.
    #[default]
    Text,
    /// One JSON document to process.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at a data file, guess what its columns are and write a commented configuration.
    Init(InitArgs),
    /// Check an experiment's health: arms, balance, overlap, columns known only after treatment.
    Check(CheckArgs),
    /// Train a model and print the average effects.
    Train(TrainArgs),
    /// Measure how well a model (or any score column) ranks people it has not seen.
    Evaluate(EvaluateArgs),
    /// Score a data file of any size.
    Score(ScoreArgs),
    /// Answer over HTTP, with a dashboard.
    Serve(ServeArgs),
    /// Score events from Kafka.
    Stream(StreamArgs),
    /// Make an API key for the server.
    Key(KeyArgs),
    /// Compute windowed features of users over a file of events.
    Windows(WindowsArgs),
    /// Draw rows of observational data as if a trial had been run on the comparable ones.
    PseudoExperiment(PseudoExperimentArgs),
    /// Generate data whose true effects are known.
    Synth(SynthArgs),
    /// List or download public data sets.
    Data(DataArgs),
    /// Take the five-minute tour on a real and a generated trial.
    Demo(DemoArgs),
    /// Write the completions of a shell to stdout.
    Completions(CompletionsArgs),
    /// Write a page of the reference to stdout.
    #[command(hide = true)]
    Reference(ReferenceArgs),
}

/// `init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// A CSV (.gz, .zst), Parquet or NDJSON file, a glob or a directory.
    pub data: String,
    /// The configuration to write; it is never replaced.
    #[arg(short, long, value_name = "FILE", default_value = "config.yaml")]
    pub output: PathBuf,
    /// The treatment column, when the guess would be wrong.
    #[arg(long, value_name = "COLUMN")]
    pub treatment: Option<String>,
    /// The control's value in the treatment column.
    #[arg(long, value_name = "VALUE", requires = "treatment")]
    pub control: Option<String>,
    /// The outcome column, when the guess would be wrong (repeatable).
    #[arg(long, value_name = "COLUMN")]
    pub outcome: Vec<String>,
}

/// `check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration.
    #[arg(short, long, value_name = "FILE", env = "IMPACTIQ_CONFIG", hide_env = true)]
    pub config: PathBuf,
    /// Also draw the balance of the arms to this SVG file.
    #[arg(long, value_name = "FILE")]
    pub chart: Option<PathBuf>,
    /// Leave the results with this model, which must be of the same data: the dashboard shows them.
    #[arg(short, long, value_name = "DIR")]
    pub model: Option<PathBuf>,
}

/// `train`
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// The configuration.
    #[arg(short, long, value_name = "FILE", env = "IMPACTIQ_CONFIG", hide_env = true)]
    pub config: PathBuf,
    /// The model directory to write.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
}

/// `evaluate`
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// A model directory.
    #[arg(short, long, value_name = "DIR", required_unless_present = "config", conflicts_with = "config")]
    pub model: Option<PathBuf>,
    /// A configuration, to evaluate scores that stand in a column (with --score).
    #[arg(short, long, value_name = "FILE", requires = "score")]
    pub config: Option<PathBuf>,
    /// Data to evaluate on (default: the model's hold-out, or the configuration's data).
    #[arg(short, long, value_name = "DATA")]
    pub data: Option<String>,
    /// The column that holds another model's scores.
    #[arg(long, value_name = "COLUMN", requires = "config")]
    pub score: Option<String>,
    /// Write a report with tables and charts to this HTML file.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write the charts (SVG) into this directory.
    #[arg(long, value_name = "DIR")]
    pub charts: Option<PathBuf>,
    /// Exit with 1 when this holds, e.g. "rate_autoc.lower <= 0" or "visit/1: uplift_at_10 < 0.02" (repeatable).
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<String>,
    /// Leave the results with the model, also those on other data (with -d); results on the hold-out are
    /// left there anyway, for the dashboard.
    #[arg(long, requires = "model", conflicts_with = "no_keep")]
    pub keep: bool,
    /// Leave nothing with the model.
    #[arg(long)]
    pub no_keep: bool,
}

/// `score`
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// A model directory.
    #[arg(short, long, value_name = "DIR", env = "IMPACTIQ_MODEL", hide_env = true)]
    pub model: PathBuf,
    /// Data to score: a file, a glob or a directory.
    #[arg(short, long, value_name = "DATA")]
    pub data: String,
    /// The file to write: .csv, .csv.gz, .csv.zst, .parquet or .ndjson.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Columns to pass through to the output (default: the id columns of the configuration).
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub keep: Vec<String>,
    /// Stop at the first row that cannot be scored instead of writing it with an empty score.
    #[arg(long)]
    pub strict: bool,
}

/// `serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A model directory, or NAME=DIR (repeatable); the first one answers requests that name none.
    #[arg(short, long, value_name = "[NAME=]DIR", env = "IMPACTIQ_MODEL", hide_env = true)]
    pub model: Vec<String>,
    /// The address to listen on (default: 127.0.0.1:8501). Beyond this machine it takes --keys.
    #[arg(long, value_name = "ADDRESS", env = "IMPACTIQ_LISTEN", hide_env = true)]
    pub listen: Option<String>,
    /// The file of API keys; `impactiq key` makes its lines. Without it only this machine can ask.
    #[arg(long, value_name = "FILE", env = "IMPACTIQ_KEYS", hide_env = true)]
    pub keys: Option<PathBuf>,
    /// The score log: a SQLite file, postgres://…, or none (default: impactiq-scores.sqlite).
    #[arg(long, value_name = "FILE|URL", env = "IMPACTIQ_LOG", hide_env = true)]
    pub log: Option<String>,
    /// Answer only when the scores are safely in the log.
    #[arg(long, env = "IMPACTIQ_LOG_DURABLE", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub log_durable: bool,
    /// How long scores are kept, e.g. 90d (default: for ever).
    #[arg(long, value_name = "TIME", env = "IMPACTIQ_LOG_KEEP", hide_env = true)]
    pub log_keep: Option<String>,
    /// Where the active model is remembered, or none (default: beside the log).
    #[arg(long, value_name = "FILE", env = "IMPACTIQ_STATE", hide_env = true)]
    pub state: Option<String>,
    /// A file of columns that requests may leave out (CSV, Parquet, NDJSON).
    #[arg(long, value_name = "FILE", env = "IMPACTIQ_LOOKUP", hide_env = true)]
    pub lookup: Option<PathBuf>,
    /// The column by which they are found.
    #[arg(long, value_name = "COLUMN", env = "IMPACTIQ_LOOKUP_KEY", hide_env = true)]
    pub lookup_key: Option<String>,
    /// How often the file is read again even if it looks the same, e.g. 10m.
    #[arg(long, value_name = "TIME", env = "IMPACTIQ_LOOKUP_REFRESH", hide_env = true)]
    pub lookup_refresh: Option<String>,
    /// Where an `impactiq stream` tells of itself (its `http`), to be shown on the Live page, e.g. 127.0.0.1:9102.
    #[arg(long, value_name = "ADDRESS", env = "IMPACTIQ_STREAM", hide_env = true)]
    pub stream: Option<String>,
    /// Bytes a request may have (default: 67108864).
    #[arg(long, value_name = "BYTES", env = "IMPACTIQ_MAX_BODY", hide_env = true)]
    pub max_body: Option<usize>,
    /// Rows a request may have (default: 200000).
    #[arg(long, value_name = "N", env = "IMPACTIQ_MAX_ROWS", hide_env = true)]
    pub max_rows: Option<usize>,
    /// Seconds an answer may take (default: 30).
    #[arg(long, value_name = "SECONDS", env = "IMPACTIQ_TIMEOUT", hide_env = true)]
    pub timeout: Option<f64>,
    /// Requests above 64 rows that are scored at once (default: twice the cores).
    #[arg(long, value_name = "N", env = "IMPACTIQ_CONCURRENCY", hide_env = true)]
    pub concurrency: Option<usize>,
    /// How many of those may wait for their turn; more are sent away with 503 (default: four times the cores).
    #[arg(long, value_name = "N", env = "IMPACTIQ_QUEUE", hide_env = true)]
    pub queue: Option<usize>,
    /// Open connections (default: 4096).
    #[arg(long, value_name = "N", env = "IMPACTIQ_MAX_CONNECTIONS", hide_env = true)]
    pub max_connections: Option<usize>,
    /// Requests a second of one key; more are sent away with 429 (default: no limit).
    #[arg(long, value_name = "N", env = "IMPACTIQ_REQUESTS_PER_SECOND", hide_env = true)]
    pub requests_per_second: Option<u32>,
    /// A YAML file with these settings, `_` for `-`; flags and environment beat it.
    #[arg(long, value_name = "FILE", env = "IMPACTIQ_SETTINGS", hide_env = true)]
    pub settings: Option<PathBuf>,
    /// How events are written to stderr.
    #[arg(long, value_enum, default_value_t, env = "IMPACTIQ_LOG_FORMAT", hide_env = true)]
    pub log_format: LogFormat,
    /// Open the dashboard in a browser.
    #[arg(long)]
    pub open: bool,
}

/// `stream`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct StreamArgs {
    /// What else is wanted than scoring.
    #[command(subcommand)]
    pub part: Option<StreamPart>,
    /// The stream's configuration.
    #[arg(short, long, value_name = "FILE", env = "IMPACTIQ_STREAM_CONFIG", hide_env = true, required = true)]
    pub config: Option<PathBuf>,
    /// Score this many events and write nothing anywhere.
    #[arg(long, value_name = "N")]
    pub dry_run: Option<usize>,
    /// Take the events of a dry run from a file, one JSON object a line, instead of the topic.
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    pub from_file: Option<PathBuf>,
    /// How events are written to stderr.
    #[arg(long, value_enum, default_value_t, env = "IMPACTIQ_LOG_FORMAT", hide_env = true)]
    pub log_format: LogFormat,
}

/// What is asked of a stream by name.
#[derive(Debug, Subcommand)]
pub enum StreamPart {
    /// Watch a stream that runs: figures, dead letters, lag, live uplift, alarms.
    Top(StreamTopArgs),
    /// Score events of the topic once more into a file; nothing else is written.
    Replay(StreamReplayArgs),
}

/// `stream top`
#[derive(Debug, Args)]
pub struct StreamTopArgs {
    /// Where the stream answers: `http` of its configuration.
    #[arg(value_name = "ADDRESS", default_value = "127.0.0.1:9102")]
    pub address: std::net::SocketAddr,
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: u64,
    /// Look once. So it is off a terminal, and for JSON.
    #[arg(long)]
    pub once: bool,
}

/// `stream replay`
#[derive(Debug, Args)]
pub struct StreamReplayArgs {
    /// The stream's configuration.
    #[arg(short, long, value_name = "FILE", env = "IMPACTIQ_STREAM_CONFIG", hide_env = true)]
    pub config: PathBuf,
    /// The file of scores: Parquet, CSV or NDJSON by its ending.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Another model than the configuration's.
    #[arg(short, long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Events from this time on, as the broker has it: `2026-11-01T00:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub from: Option<i64>,
    /// Events before this time.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub to: Option<i64>,
}

/// Milliseconds since 1970 of a moment.
fn moment(text: &str) -> Result<i64, String> {
    impactiq_io::moment(text)
        // Kafka knows no time before 1970, and so no event.
        .map(|micros| micros.div_euclid(1_000).max(0))
        .ok_or_else(|| "a moment looks like 2026-11-01T00:00:00Z, a day like 2026-11-01".to_owned())
}

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people on a terminal, else JSON.
    #[default]
    Auto,
    /// For people.
    Text,
    /// A JSON object a line.
    Json,
}

/// `key`
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// Whose key it is, or what for.
    pub name: String,
    /// What it may do: ask for scores; also look at models, reports and the log; also promote models.
    #[arg(long, value_enum)]
    pub role: KeyRole,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KeyRole {
    /// Ask for scores.
    Score,
    /// Also look at models, reports and the log.
    Read,
    /// Also change which model answers.
    Admin,
}

impl From<KeyRole> for impactiq_serve::Role {
    fn from(role: KeyRole) -> Self {
        match role {
            KeyRole::Score => impactiq_serve::Role::Score,
            KeyRole::Read => impactiq_serve::Role::Read,
            KeyRole::Admin => impactiq_serve::Role::Admin,
        }
    }
}

/// `windows`
#[derive(Debug, Args)]
pub struct WindowsArgs {
    /// The stream's configuration, with a section `windows:`.
    #[arg(short, long, value_name = "FILE", env = "IMPACTIQ_STREAM_CONFIG", hide_env = true)]
    pub config: PathBuf,
    /// Events: a file, a glob or a directory, one row each.
    #[arg(short, long, value_name = "DATA")]
    pub data: String,
    /// The file to write, events with their features: .csv, .csv.gz, .csv.zst, .parquet or .ndjson.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// `pseudo-experiment`
#[derive(Debug, Args)]
pub struct PseudoExperimentArgs {
    /// The configuration, with `assignment: {kind: observational}`.
    #[arg(short, long, value_name = "FILE", env = "IMPACTIQ_CONFIG", hide_env = true)]
    pub config: PathBuf,
    /// The file to write, rows and columns as in the source: .csv, .csv.gz, .csv.zst, .parquet or .ndjson.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

/// `synth`
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct SynthArgs {
    /// The design; `impactiq synth --list` describes them.
    #[arg(required_unless_present = "list")]
    pub kind: Option<String>,
    /// Rows.
    #[arg(short, value_name = "N", default_value_t = 10_000)]
    pub n_rows: u64,
    /// The file to write: .csv, .csv.gz, .csv.zst, .parquet or .ndjson; the truth goes beside it.
    #[arg(short, long, value_name = "FILE", required_unless_present = "list")]
    pub output: Option<PathBuf>,
    /// Features of the Nie-Wager and Wager-Athey designs.
    #[arg(long, value_name = "N", default_value_t = 6)]
    pub n_features: usize,
    /// Standard deviation of the noise in designs with a continuous outcome.
    #[arg(long, value_name = "SD", default_value_t = 1.0)]
    pub noise: f64,
    /// Arms of the multi-arm design, control included.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub n_arms: usize,
    /// Clusters of the clustered design.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub n_clusters: usize,
    /// List the designs instead.
    #[arg(long)]
    pub list: bool,
}

/// `data`
#[derive(Debug, Args)]
pub struct DataArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: DataAction,
}

/// What `data` does.
#[derive(Debug, Subcommand)]
pub enum DataAction {
    /// List the public data sets that are known by name.
    List,
    /// Download one and check its sha256.
    Get {
        /// The data set's name.
        name: String,
        /// The folder to put it in.
        #[arg(short, long, value_name = "DIR", default_value = "data")]
        output: PathBuf,
    },
}

/// `demo`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DemoArgs {
    /// A part of its own instead of the tour.
    #[command(subcommand)]
    pub part: Option<DemoPart>,
    /// The folder to fill; what an earlier tour left there is replaced.
    #[arg(short, long, value_name = "DIR", default_value = "impactiq-demo")]
    pub output: PathBuf,
    /// Rows of the generated trial; with far fewer, an outcome this rare shows no ranking.
    #[arg(long, value_name = "N", default_value_t = 500_000)]
    pub rows: u64,
}

/// Parts of the demo that are asked for by name.
#[derive(Debug, Subcommand)]
pub enum DemoPart {
    /// Events through the whole stream, without a broker, and the uplift that comes of it.
    Stream(DemoStreamArgs),
}

/// `demo stream`
#[derive(Debug, Args)]
pub struct DemoStreamArgs {
    /// The folder to fill; what an earlier demo left there is replaced.
    #[arg(short, long, value_name = "DIR", default_value = "impactiq-demo-stream")]
    pub output: PathBuf,
    /// Events.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub events: u64,
    /// Answer here as a stream does (`/v1/stream`, `/metrics`), and go on after the last event until Ctrl-C.
    #[arg(long, value_name = "ADDRESS")]
    pub http: Option<std::net::SocketAddr>,
}

/// `completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `reference`
#[derive(Debug, Args)]
pub struct ReferenceArgs {
    /// The page.
    #[arg(value_enum)]
    pub page: ReferencePage,
}

/// Pages of the reference.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ReferencePage {
    /// Every configuration key.
    Config,
    /// Every command and flag.
    Cli,
    /// Every route of the server.
    Http,
    /// Exit codes and errors.
    Errors,
    /// The configuration's JSON Schema.
    Schema,
}

impl Global {
    /// Configuration overrides in order of precedence, the strongest last: `IMPACTIQ_SET`
    /// (`key=value;key=value`), then `--set`.
    ///
    /// # Errors
    /// A [`Failure`] for an entry without `=` or with an empty key.
    pub fn overrides(&self, environment: Option<&str>) -> Result<Vec<(String, String)>, Failure> {
        let from_environment = environment.unwrap_or_default().split(';').filter(|entry| !entry.trim().is_empty());
        from_environment
            .map(|entry| (entry, "IMPACTIQ_SET"))
            .chain(self.set.iter().map(|entry| (entry.as_str(), "--set")))
            .map(|(entry, place)| match entry.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
                _ => Err(Failure::new(
                    format!("'{entry}' is not a setting"),
                    "write key=value, e.g. `--set learner.n_trees=200`",
                )
                .at(place)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_come_after_the_environment() {
        let cli = Cli::try_parse_from(["impactiq", "check", "-c", "c", "--set", "split.holdout=0.2"]).unwrap();
        let overrides = cli.global.overrides(Some("split.holdout=0.5; nuisance.folds = 3")).unwrap();
        let expected = [("split.holdout", "0.5"), ("nuisance.folds", "3"), ("split.holdout", "0.2")];
        assert_eq!(overrides, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(cli.global.overrides(Some("nonsense")).is_err());
    }
}
