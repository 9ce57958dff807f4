//! Row-level error of learners on ACIC 2016 and IHDP, beside peers'.
//!
//! ```text
//! cargo run --release -p impactiq-causal --example pehe -- run OUT [key=value …]
//! cargo run --release -p impactiq-causal --example pehe -- compare OUT PEER
//! ```
//!
//! `run` adds a line `set replication learner sqrt_pehe` per data set to OUT and skips those that stand
//! there; settings go over the defaults (`learner.kind=t`; without, the causal forest). PEER is what
//! bench/peers/econml_pehe.py or meta_pehe.py wrote; `compare` prints the mean of the paired ratios, ours over
//! theirs, for learners of the same name (`t` and `econml_t`; the forest beside EconML's forests).

#[path = "../tests/shared_data/mod.rs"]
mod shared_data;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use impactiq_causal::{Config, train};
use impactiq_data::{Column, Silent, Table};

/// Replications of IHDP in the data folder.
const IHDP: u32 = 30;
/// Simulations of ACIC 2016 in the data folder.
const ACIC: u32 = 6;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["run", out, settings @ ..] => run(out, settings),
        ["compare", ours, theirs] => compare(ours, theirs),
        _ => Err("usage: pehe run OUT [key=value …] | pehe compare OUT PEER".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Features, treatment, outcome and true effect.
struct Task {
    table: Table,
    tau: Vec<f64>,
}

fn numbers(table: &Table, name: &str) -> Result<Vec<f64>, String> {
    let column = table.column(name).map_err(|e| e.to_string())?;
    column.numbers().map(<[f64]>::to_vec).ok_or_else(|| format!("'{name}' holds no numbers"))
}

fn task(mut table: Table, treatment: Vec<f64>, outcome: Vec<f64>, tau: Vec<f64>) -> Result<Task, String> {
    table.push("treatment", Column::Number(treatment)).map_err(|e| e.to_string())?;
    table.push("y", Column::Number(outcome)).map_err(|e| e.to_string())?;
    Ok(Task { table, tau })
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn acic(k: u32) -> Result<Task, String> {
    let missing = || "there is no ACIC 2016".to_owned();
    let table = shared_data::table("acic2016/x.csv.gz").ok_or_else(missing)?;
    let truth = shared_data::table(&format!("acic2016/zymu_{k}.csv.gz")).ok_or_else(missing)?;
    let (z, y0, y1) = (numbers(&truth, "z")?, numbers(&truth, "y0")?, numbers(&truth, "y1")?);
    let y = z.iter().zip(y0.iter().zip(&y1)).map(|(z, (y0, y1))| if *z == 1.0 { *y1 } else { *y0 }).collect();
    task(table, z, y, difference(&numbers(&truth, "mu1")?, &numbers(&truth, "mu0")?))
}

fn ihdp(all: &Table, replication: u32) -> Result<Task, String> {
    let mut rows = all.clone();
    let keep: Vec<bool> = numbers(all, "rep")?.iter().map(|rep| *rep == f64::from(replication)).collect();
    rows.filter(&keep);
    let tau = difference(&numbers(&rows, "mu1")?, &numbers(&rows, "mu0")?);
    let (treatment, outcome) = (numbers(&rows, "treatment")?, numbers(&rows, "y_factual")?);
    let mut table = Table::new();
    for j in 1..=25 {
        let name = format!("x{j}");
        table.push(name.clone(), Column::Number(numbers(&rows, &name)?)).map_err(|e| e.to_string())?;
    }
    task(table, treatment, outcome, tau)
}

fn error_of(task: Task, seed: u32, settings: &[&str]) -> Result<f64, String> {
    let mut keys: Vec<(String, String)> = [
        ("data.path", "a file"),
        ("roles.treatment", "treatment"),
        ("roles.control", "0"),
        ("roles.outcome", "y"),
        ("assignment.kind", "observational"),
        ("split.holdout", "0"),
        ("learner.kind", "causal_forest"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    keys.push(("split.seed".into(), seed.to_string()));
    keys.extend(settings.iter().filter_map(|s| s.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())));
    let Task { table, tau } = task;
    let config = Config::from_yaml("", "none", &keys).map_err(|e| e.to_string())?;
    let config = config.check(table.names()).map_err(|e| e.to_string())?;
    let data = config.dataset(table, (0..tau.len() as u64).collect()).map_err(|e| e.to_string())?;
    let model = train(&config, &data, &Silent).map_err(|e| e.to_string())?.model;
    let answer = model.predict_effects(&data.features, &data.raw).map_err(|e| e.to_string())?;
    let squares: f64 = answer[0].cate[0].iter().zip(&tau).map(|(cate, tau)| (cate - tau).powi(2)).sum();
    Ok((squares / tau.len() as f64).sqrt())
}

fn run(out: &str, settings: &[&str]) -> Result<(), String> {
    let done = if std::path::Path::new(out).exists() { read(out)? } else { BTreeMap::new() };
    let learner = label(settings);
    let all = shared_data::table("ihdp/ihdp_npci_1_30.csv.gz").ok_or("there is no IHDP")?;
    let sets = (1..=ACIC).map(|k| ("acic", k)).chain((1..=IHDP).map(|k| ("ihdp", k)));
    for (set, k) in sets {
        if done.contains_key(&(set.to_owned(), k, learner.clone())) {
            continue;
        }
        let task = if set == "acic" { acic(k)? } else { ihdp(&all, k)? };
        let error = error_of(task, k, settings)?;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(out).map_err(|e| e.to_string())?;
        writeln!(file, "{set} {k} {learner} {error:.6}").map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// The learner's kind, and the other settings.
fn label(settings: &[&str]) -> String {
    let kind = settings.iter().find_map(|setting| setting.strip_prefix("learner.kind=")).unwrap_or("causal_forest");
    let others = settings.iter().filter(|setting| !setting.starts_with("learner.kind="));
    std::iter::once(kind).chain(others.copied()).collect::<Vec<_>>().join(",")
}

/// Whether a peer's learner is what ours is called.
fn is_counterpart(ours: &str, peer: &str) -> bool {
    match ours.split(',').next() {
        Some("causal_forest") => peer.starts_with("CausalForest"),
        Some(kind) => peer.split_once('_').is_some_and(|(_, name)| name == kind),
        None => false,
    }
}

/// Errors by set, replication and learner.
type Errors = BTreeMap<(String, u32, String), f64>;

fn line_of(line: &str) -> Option<((String, u32, String), f64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [set, k, learner, error] = words.as_slice() else { return None };
    Some((((*set).to_owned(), k.parse().ok()?, (*learner).to_owned()), error.parse().ok()?))
}

fn read(file: &str) -> Result<Errors, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    text.lines().map(|line| line_of(line).ok_or_else(|| format!("{file}: '{line}' is no line of a run"))).collect()
}

fn compare(ours: &str, theirs: &str) -> Result<(), String> {
    let (ours, theirs) = (read(ours)?, read(theirs)?);
    let learners = |errors: &Errors| {
        let mut names: Vec<String> = errors.keys().map(|key| key.2.clone()).collect();
        names.sort();
        names.dedup();
        names
    };
    println!(
        "| set | ours | peer | n | mean √PEHE, ours | peer | mean paired ratio | ours lower in |\n|---|---|---|--:|--:|--:|--:|--:|"
    );
    for set in ["acic", "ihdp"] {
        let pairs_of = |one: String| learners(&theirs).into_iter().map(move |two| (one.clone(), two));
        let learners = learners(&ours).into_iter().flat_map(pairs_of);
        for (one, two) in learners.filter(|(one, two)| is_counterpart(one, two)) {
            let pairs: Vec<(f64, f64)> = (ours.iter())
                .filter(|(key, _)| key.0 == set && key.2 == one)
                .filter_map(|(key, error)| Some((*error, *theirs.get(&(key.0.clone(), key.1, two.clone()))?)))
                .collect();
            let n = pairs.len() as f64;
            let mean = |f: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(f).sum::<f64>() / n;
            println!(
                "| {set} | {one} | {two} | {n} | {:.3} | {:.3} | {:.3} | {} |",
                mean(&|pair| pair.0),
                mean(&|pair| pair.1),
                mean(&|pair| pair.0 / pair.1),
                pairs.iter().filter(|pair| pair.0 < pair.1).count(),
            );
        }
    }
    Ok(())
}
