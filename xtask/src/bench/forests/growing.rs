//! Growing causal forests: EconML's at equal trees, rows per tree and smallest leaf, and grf's
//! published shape.

use anyhow::Result;
use serde_json::Value;

use super::ECONML;
use super::elsewhere::{GRF, MARK};
use crate::bench::contest::{Contest, Job};
use crate::bench::record::number;
use crate::bench::table::{
    Goal, JOB_TREES, decimals, difference, digits, job_cpu, job_seconds, judge, print, row, thousands,
};

const PART: &str = "growing";

/// EconML's forests draw 45 % of the rows per tree by default; ours do the same here.
const SAMPLE_PERCENT: u64 = 45;

/// How many trees each side grows at a number of rows, how often where they are few, and the
/// ratio that is asked for.
struct Size {
    rows: u64,
    ours: u64,
    theirs: u64,
    repeats: u64,
    wanted: f64,
    wanted_of_grf: f64,
}

const SIZES: [Size; 2] = [
    Size { rows: 100_000, ours: 500, theirs: 20, repeats: 3, wanted: 25.0, wanted_of_grf: 20.0 },
    Size { rows: 1_000_000, ours: 100, theirs: 4, repeats: 1, wanted: 40.0, wanted_of_grf: 30.0 },
];

/// Rows per leaf of the half that splits.
const LEAVES: [u64; 2] = [5, 100];

/// Measures and prints.
pub(super) fn run(bench: &mut Contest) -> Result<()> {
    let (mut rows, mut goals) = (vec![header()], Vec::new());
    for size in &SIZES {
        for leaf in LEAVES {
            of_econml(bench, size, leaf, &mut rows, &mut goals)?;
        }
    }
    print("Growing, one thread, as EconML counts leaves (rows per leaf)", &rows);
    judge(&goals);
    let (mut rows, mut goals) = (vec![header()], Vec::new());
    for size in &SIZES {
        for leaf in LEAVES {
            of_grf(bench, size, leaf, &mut rows, &mut goals)?;
        }
    }
    print("Growing, one thread, as the product counts leaves (rows of every arm per leaf)", &rows);
    judge(&goals);
    Ok(())
}

fn header() -> Vec<String> {
    let seconds = format!("CPU s per {JOB_TREES} trees");
    row([
        "rows, smallest leaf",
        "library",
        "trees grown",
        "nodes per tree",
        "CPU ms per tree",
        &seconds,
        "RMSE",
        "corr.",
    ])
}

fn line(label: &str, who: &str, figures: &Value) -> Vec<String> {
    row([
        label,
        who,
        &thousands(number(figures, "trees")),
        &thousands(number(figures, "nodes_per_tree")),
        &decimals(number(figures, "cpu_ms_per_tree")),
        &job_seconds(figures),
        &digits(figures, "rmse", 4),
        &digits(figures, "correlation", 2),
    ])
}

fn of_econml(
    bench: &mut Contest,
    size: &Size,
    leaf: u64,
    rows: &mut Vec<Vec<String>>,
    goals: &mut Vec<Goal>,
) -> Result<()> {
    let settings = |trees| {
        let leaf = [("min-leaf-rows", leaf), ("min-arm-rows", 1)];
        [[("rows", size.rows), ("trees", trees)], leaf, [("sample-percent", SAMPLE_PERCENT), ("threads", 1)]].concat()
    };
    let whole = bench.ours("forest_bench", job(&settings(size.ours), 1))?;
    let equal = bench.ours("forest_bench", job(&settings(size.theirs), size.repeats))?;
    let theirs = [("rows", size.rows), ("trees", size.theirs), ("leaf", leaf)];
    let theirs = bench.theirs(&ECONML, job(&theirs, size.repeats))?;
    let label = format!("{}, leaf {leaf}", thousands(size.rows as f64));
    let peer = theirs.get("peer").and_then(Value::as_str).unwrap_or("EconML");
    rows.push(line(&label, "ImpactIQ", &whole));
    rows.push(line(&label, "ImpactIQ, as few trees", &equal));
    rows.push(line(&label, peer, &theirs));
    let nodes = difference(number(&equal, "nodes_per_tree"), number(&theirs, "nodes_per_tree"));
    goals.push(Goal {
        what: format!("{label}: {peer}'s CPU over ours, ours with {nodes} nodes"),
        found: job_cpu(&theirs) / job_cpu(&whole),
        wanted: size.wanted,
        at_least: true,
    });
    goals.push(Goal {
        what: format!("{label}: our RMSE over {peer}'s, {} trees each", size.theirs),
        found: number(&equal, "rmse") / number(&theirs, "rmse"),
        wanted: 1.0,
        at_least: false,
    });
    Ok(())
}

fn of_grf(
    bench: &mut Contest,
    size: &Size,
    leaf: u64,
    rows: &mut Vec<Vec<String>>,
    goals: &mut Vec<Goal>,
) -> Result<()> {
    let settings = [("rows", size.rows), ("trees", size.ours), ("min-arm-rows", leaf), ("threads", 1)];
    let ours = bench.ours("forest_bench", job(&settings, 1))?;
    let label = format!("{}, leaf {leaf} per arm", thousands(size.rows as f64));
    rows.push(line(&label, "ImpactIQ", &ours));
    let Some(grf) = GRF.iter().find(|grf| grf.rows == size.rows && grf.leaf == leaf) else { return Ok(()) };
    let (least, most) = grf.ms_per_tree;
    let range = |factor: f64| match least == most {
        true => decimals(least * factor),
        false => format!("{} – {}", decimals(least * factor), decimals(most * factor)),
    };
    let nodes = thousands(grf.nodes_per_tree);
    let seconds = range(JOB_TREES as f64 / 1000.0);
    let who = format!("grf 2.6.1 ({MARK})");
    rows.push(row([&label, &who, "20 – 500", &nodes, &range(1.0), &seconds, "–", "–"]));
    let nodes = difference(number(&ours, "nodes_per_tree"), grf.nodes_per_tree);
    goals.push(Goal {
        what: format!("{label}: grf's least CPU ({MARK}) over ours, ours with {nodes} nodes"),
        found: least * JOB_TREES as f64 / 1000.0 / job_cpu(&ours),
        wanted: size.wanted_of_grf,
        at_least: true,
    });
    Ok(())
}

fn job<'a>(settings: &'a [(&'a str, u64)], repeats: u64) -> Job<'a> {
    Job { part: PART, word: None, settings, repeats, figure: "growing_cpu_s" }
}
