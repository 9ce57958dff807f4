//! Grows an uplift tree on generated rows and prints it.
//!
//! `cargo run --release -p impactiq-causal --example uplift_tree -- text|svg KIND N SEED [key=value …]`
//! (`svg … > tree.svg` for the picture). KIND is a design of `impactiq synth`.

use std::process::ExitCode;

use impactiq_causal::{Config, train, uplift_tree_svg, uplift_tree_text};
use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{DataError, Seed, Silent};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(tree) => {
            print!("{tree}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, String> {
    let [form, kind, n, seed, settings @ ..] = arguments else {
        return Err("usage: text|svg KIND N SEED [key=value …]".into());
    };
    let kind: SynthKind = kind.parse().map_err(|e: DataError| e.to_string())?;
    let n: usize = n.parse().map_err(|_| format!("'{n}' is no number of rows"))?;
    let seed: u64 = seed.parse().map_err(|_| format!("'{seed}' is no seed"))?;
    let options = SynthOptions::default();
    let made = generate(kind, &options, n, Seed::new(seed)).map_err(|e| e.to_string())?;
    let control = kind.probabilities(&options).map_or("0".into(), |arms| arms[0].0.clone());
    let outcome = if made.table.column("visit").is_ok() { "visit" } else { "y" };
    let after = if outcome == "visit" { ", post_treatment: [exposure, conversion]" } else { "" };
    let yaml = format!(
        "data: {{path: generated}}\nroles: {{treatment: treatment, control: '{control}', outcome: {outcome}{after}}}\n\
         nuisance: {{kind: least_squares}}\nlearner: {{kind: uplift_tree}}\n"
    );
    let overrides = settings
        .iter()
        .map(|setting| setting.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())))
        .collect::<Option<Vec<_>>>()
        .ok_or("settings are written key=value")?;
    let config = Config::from_yaml(&yaml, "generated", &overrides).map_err(|e| e.to_string())?;
    let config = config.check(made.table.names()).map_err(|e| e.to_string())?;
    let data = config.dataset(made.table, (0..n as u64).collect()).map_err(|e| e.to_string())?;
    let model = train(&config, &data, &Silent).map_err(|e| e.to_string())?.model;
    let tree = if form == "svg" { uplift_tree_svg(&model) } else { uplift_tree_text(&model) };
    tree.ok_or("learner.kind must stay uplift_tree".into())
}
