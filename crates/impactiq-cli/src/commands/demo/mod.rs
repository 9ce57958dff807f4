//! `demo`: the five-minute tour on a real and on a generated trial.
//!
//! Every step is the command that a user would type, run in this process; what it found is
//! said in plain words, and the same results lie in the folder for a closer look.

use std::fs;
use std::path::{Path, PathBuf};

use impactiq_data::Seed;
use impactiq_data::synth::{SynthKind, SynthOptions, SynthPlan};
use serde_json::{Value, json};

use super::context::{Context, write_text};
use super::evaluate::evaluated::Evaluated;
use super::load::read_config;
use super::{check, evaluate, init, score, synth, train};
use crate::args::{DemoArgs, EvaluateArgs, Global, ScoreArgs};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::number;

mod dashboard;
mod words;

/// The seed of the generated trial.
const TRIAL_SEED: u64 = 1;

/// Marks a folder that a tour may empty.
const MARKER: &str = ".impactiq-demo";

/// The folder of a trial's model.
pub(super) const MODEL: &str = "model";

/// A trial of the tour.
pub(super) struct Trial {
    /// Its folder.
    pub key: &'static str,
    heading: &'static str,
    /// What it is about.
    story: &'static str,
    /// The name of its file.
    pub data: &'static str,
    config: &'static str,
    /// The path in the configuration that is replaced by the tour's own.
    config_path: &'static str,
    words: words::Words,
}

const THORNTON: Trial = Trial {
    key: "thornton",
    heading: "1. A real trial: money for collecting an HIV test result",
    story: "Malawi, 2004: people who were tested for HIV drew a voucher by lot, worth something or nothing, paid when \
            they came to collect their result (Thornton 2008). An incentive and a response: a campaign like any other.",
    data: "thornton_hiv.csv.gz",
    config: include_str!("../../../../../configs/thornton.yaml"),
    config_path: "data/thornton_hiv.csv.gz",
    words: words::Words { offered: "offered money", acted: "came to collect their result" },
};

/// The generated trial.
pub(super) const CRITEO: Trial = Trial {
    key: "criteo",
    heading: "2. A generated trial in the shape of Criteo's advertising data",
    story: "85 % of the people could be shown advertisements, 15 % could not, by lot. The effect of every single person \
            is known, because the trial is generated: the answers can be checked against the truth.",
    data: "trial.parquet",
    config: include_str!("../../../../../configs/config.yaml"),
    config_path: "data/criteo.parquet",
    words: words::Words { offered: "who could be shown advertisements", acted: "visited the shop" },
};

const THORNTON_DATA: &[u8] = include_bytes!("../../../../../data/thornton_hiv.csv.gz");

/// Runs the command.
///
/// # Errors
/// A [`Failure`]; what this tour wrote is taken away then.
pub fn run(args: &DemoArgs, context: Context<'_>) -> Outcome<Exit> {
    prepare(&args.output)?;
    let toured = tour(args, context);
    context.watch.clear();
    if toured.is_err() {
        for trial in [&THORNTON, &CRITEO] {
            // The failure is what matters; a folder that cannot be removed stays marked as ours.
            let _ = fs::remove_dir_all(args.output.join(trial.key));
        }
    }
    toured?;
    // What the tour made stays from here on, whatever becomes of the server.
    let places = [&CRITEO, &THORNTON].map(|trial| (trial.key, args.output.join(trial.key).join(MODEL)));
    let models = places.each_ref().map(|(name, path)| (*name, path.as_path()));
    if dashboard::is_watched(context) {
        dashboard::show(&models, context)?;
    } else {
        let answered = dashboard::try_out(&models)?;
        if !context.output.is_json() {
            context.output.stdout(&format!("\n{answered}"))?;
        }
    }
    Ok(Exit::Done)
}

fn tour(args: &DemoArgs, context: Context<'_>) -> Outcome<()> {
    let say = |text: &str| if context.output.is_json() { Ok(()) } else { context.output.stdout(text) };
    say("The ImpactIQ tour: who acts because of you? Two trials, four steps each.")?;
    let mut trials = Vec::new();
    for trial in [&THORNTON, &CRITEO] {
        let folder = args.output.join(trial.key);
        fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
        let data = folder.join(trial.data);
        let truth = if trial.key == CRITEO.key {
            let seed = Seed::new(context.global.seed.unwrap_or(TRIAL_SEED));
            let plan = SynthPlan::new(SynthKind::Criteo, &SynthOptions::default(), args.rows, seed)?;
            Some(synth::write(&plan, &data, context)?)
        } else {
            impactiq_io::write_file(&data, THORNTON_DATA)?;
            None
        };
        trials.push(walk(trial, &folder, &data, truth.as_deref(), context, &say)?);
    }
    let folder = args.output.display();
    say(&format!(
        "\nEverything is in {folder}: open {folder}/thornton/report.html and the charts beside it.\n\
         Next, with your own trial:\n  impactiq init YOUR_DATA.csv\n  impactiq check -c config.yaml\n  \
         impactiq train -c config.yaml -o model\n  impactiq evaluate -m model --report report.html\n  \
         impactiq serve -m model\n\
         Know the truth beforehand? impactiq synth --list"
    ))?;
    if context.output.is_json() {
        context.output.result(&json!({"folder": args.output.display().to_string(), "trials": trials}), String::new)?;
    }
    Ok(())
}

/// The four steps on one trial; gives their results as JSON.
fn walk(
    trial: &Trial,
    folder: &Path,
    data: &Path,
    truth: Option<&Path>,
    context: Context<'_>,
    say: &dyn Fn(&str) -> Outcome<()>,
) -> Outcome<Value> {
    say(&format!("\n{}\n{}\n", context.output.heading(trial.heading), words::wrap(trial.story)))?;
    let place = folder.join("config.yaml");
    write_text(&place, &config_text(trial, data))?;
    let config = read_config(&place, context.global)?;
    let paths = Paths::of(folder);

    say(&words::step("check", &format!("impactiq check -c {}", place.display())))?;
    let checked = check::check(&config, &place, context)?;
    write_text(&paths.charts.join("balance.svg"), &checked.chart()?)?;
    context.watch.clear();
    say(&words::checked(&checked))?;

    say(&words::step("train", &format!("impactiq train -c {} -o {}", place.display(), paths.model.display())))?;
    let trained = train::train(&config, &place, &paths.model, context)?;
    context.watch.clear();
    // As `check -m` would: there is a model now that the checks can be left with.
    checked.keep(&paths.model, &trained.manifest, context);
    say(&trial.words.trained(&trained, truth)?)?;

    say(&words::step("evaluate", &format!("impactiq evaluate -m {} --report report.html", paths.model.display())))?;
    let evaluated = judge(&paths, context)?;
    context.watch.clear();
    say(&words::evaluated(&evaluated))?;

    let arguments = paths.score_args(data);
    let command = format!("impactiq score -m {} -d {} -o …/scores.csv", paths.model.display(), data.display());
    say(&words::step("score", &command))?;
    let scoring = score::score(&arguments, context)?;
    context.watch.clear();
    say(&words::wrap(&format!(
        "{} people got a predicted effect each; {} without one. The file has one line per person, in the order of \
         the data.",
        number::count(scoring.n_rows - scoring.n_errors),
        number::count(scoring.n_errors)
    )))?;
    Ok(json!({
        "name": trial.key,
        "config": place.display().to_string(),
        "check": checked.json(),
        "train": trained.json(&paths.model),
        "evaluate": evaluated.json(&[]),
        "score": scoring.json(&arguments),
        "report": paths.report.display().to_string(),
    }))
}

/// Evaluates a model on its hold-out and leaves what was found with it.
pub(super) fn judge(paths: &Paths, context: Context<'_>) -> Outcome<Evaluated> {
    // The model knows its own settings: none of the tour's flags concern them.
    let global = Global { set: Vec::new(), seed: None, ..context.global.clone() };
    let inner = Context { global: &global, ..context };
    let arguments = EvaluateArgs {
        model: Some(paths.model.clone()),
        config: None,
        data: None,
        score: None,
        report: None,
        charts: None,
        fail_if: Vec::new(),
        keep: true,
        no_keep: false,
    };
    let evaluated = evaluate::evaluate(&arguments, inner)?;
    evaluated.keep(inner);
    evaluated.write_charts(&paths.charts, inner)?;
    write_text(&paths.report, &evaluate::report::html(&evaluated)?)?;
    Ok(evaluated)
}

/// What lies where in a trial's folder.
pub(super) struct Paths {
    /// The model directory.
    pub model: PathBuf,
    charts: PathBuf,
    report: PathBuf,
    scores: PathBuf,
}

impl Paths {
    /// The places in a folder.
    pub fn of(folder: &Path) -> Self {
        let charts = folder.join("charts");
        // An existing folder is fine, and one that cannot be made shows when a chart is written.
        let _ = fs::create_dir_all(&charts);
        Paths {
            model: folder.join(MODEL),
            charts,
            report: folder.join("report.html"),
            scores: folder.join("scores.csv"),
        }
    }

    fn score_args(&self, data: &Path) -> ScoreArgs {
        ScoreArgs {
            model: self.model.clone(),
            data: data.display().to_string(),
            output: self.scores.clone(),
            keep: Vec::new(),
            strict: false,
        }
    }
}

/// The example configuration with the tour's own path.
pub(super) fn config_text(trial: &Trial, data: &Path) -> String {
    let path = data.display().to_string();
    let lines = trial.config.lines().map(|line| {
        if line.trim_start().starts_with("path:") {
            line.replace(trial.config_path, &init::yaml::scalar(&path))
        } else {
            line.replace(trial.config_path, &path)
        }
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// Makes the folder, or empties the one of an earlier tour; never anybody else's.
pub(super) fn prepare(folder: &Path) -> Outcome<()> {
    let marker = folder.join(MARKER);
    if folder.symlink_metadata().is_ok() && !marker.is_file() {
        let is_empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
        if !is_empty {
            return Err(Failure::new(
                format!("{} exists and was not made by a tour", folder.display()),
                "choose another folder: impactiq demo --output DIR",
            ));
        }
    }
    for trial in [&THORNTON, &CRITEO] {
        let old = folder.join(trial.key);
        if old.symlink_metadata().is_ok() {
            fs::remove_dir_all(&old).map_err(|error| unwritable(&old, &error))?;
        }
    }
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    write_text(&marker, "`impactiq demo` replaces the folders thornton and criteo beside this file.\n")
}

/// A folder that cannot be written.
pub(super) fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("the folder cannot be written: {error}"), "choose another folder: impactiq demo --output DIR")
        .at(path.display())
}
