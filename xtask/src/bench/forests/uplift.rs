//! Growing uplift forests by the Kullback-Leibler criterion, beside CausalML's.

use anyhow::Result;
use serde_json::Value;

use super::CAUSALML;
use crate::bench::contest::{Contest, Job};
use crate::bench::record::number;
use crate::bench::table::{Goal, decimals, digits, judge, print, row, thousands};

const PART: &str = "uplift";

/// Rows, trees, depth; CausalML's default leaf.
const SIZES: [(u64, u64, u64); 2] = [(100_000, 100, 8), (1_000_000, 10, 3)];
const LEAF: u64 = 100;

/// Their bootstrap draws as many rows as there are, 63 % of them distinct; ours draws without
/// repetition.
const SAMPLE_PERCENT: u64 = 63;
const TEST_ROWS: u64 = 20_000;
const WANTED: f64 = 50.0;

/// Measures and prints.
pub(super) fn run(bench: &mut Contest) -> Result<()> {
    let header = ["rows, trees × depth", "library", "nodes per tree", "CPU s, binning included", "RMSE", "corr."];
    // Binning is a step of its own only on our side.
    let cost = |figures: &Value| {
        number(figures, "growing_cpu_s") + figures.get("binning_cpu_s").and_then(Value::as_f64).unwrap_or(0.0)
    };
    let (mut rows, mut goals) = (vec![row(header)], Vec::new());
    for (n, trees, depth) in SIZES {
        let draw = [("sample-percent", SAMPLE_PERCENT), ("test-rows", TEST_ROWS), ("threads", 1)];
        let tree = [("trees", trees), ("depth", depth), ("min-leaf-rows", LEAF)];
        let settings = [[("rows", n)].as_slice(), &tree, &draw].concat();
        let ours = bench.ours("uplift_bench", job(&settings, 3))?;
        let settings = [("rows", n), ("trees", trees), ("depth", depth), ("leaf", LEAF)];
        let theirs = bench.theirs(&CAUSALML, job(&settings, 1))?;
        let label = format!("{}, {trees} × {depth}", thousands(n as f64));
        let peer = theirs.get("peer").and_then(Value::as_str).unwrap_or("CausalML");
        for (who, figures) in [("ImpactIQ", &ours), (peer, &theirs)] {
            let nodes = thousands(number(figures, "nodes_per_tree"));
            let seconds = decimals(cost(figures));
            let (rmse, correlation) = (digits(figures, "rmse", 4), digits(figures, "correlation", 2));
            rows.push(row([&label, who, &nodes, &seconds, &rmse, &correlation]));
        }
        let what = format!("{label}: {peer}'s CPU over ours");
        goals.push(Goal { what, found: cost(&theirs) / cost(&ours), wanted: WANTED, at_least: true });
        let what = format!("{label}: our RMSE over {peer}'s");
        let found = number(&ours, "rmse") / number(&theirs, "rmse");
        goals.push(Goal { what, found, wanted: 1.0, at_least: false });
    }
    print(&format!("Uplift forests, KL, leaves of {LEAF} rows, one thread"), &rows);
    judge(&goals);
    Ok(())
}

fn job<'a>(settings: &'a [(&'a str, u64)], repeats: u64) -> Job<'a> {
    Job { part: PART, word: None, settings, repeats, figure: "growing_cpu_s" }
}
