//! Growing uplift forests by the Kullback-Leibler criterion, beside CausalML's.

use anyhow::Result;
use serde_json::Value;

use super::table::{Goal, decimals, digits, judge, print, row, thousands};
use super::{Bench, CAUSALML};
use crate::bench::record::number;

const PART: &str = "uplift";

/// Rows, trees, depth; CausalML's default leaf.
const SIZES: [(u64, u64, u64); 2] = [(100_000, 100, 8), (1_000_000, 10, 3)];
const LEAF: u64 = 100;
const WANTED: f64 = 50.0;

/// Measures and prints.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let header = ["rows, trees × depth", "library", "nodes per tree", "growing CPU s", "RMSE", "corr."];
    let (mut rows, mut goals) = (vec![row(header)], Vec::new());
    for (n, trees, depth) in SIZES {
        let settings = [("rows", n), ("trees", trees), ("depth", depth), ("min-leaf-rows", LEAF), ("threads", 1)];
        let ours = bench.ours(PART, "uplift_bench", &settings, 3)?;
        let settings = [("rows", n), ("trees", trees), ("depth", depth), ("leaf", LEAF)];
        let theirs = bench.theirs(PART, &CAUSALML, &settings, 1)?;
        let label = format!("{}, {trees} × {depth}", thousands(n as f64));
        let peer = theirs.get("peer").and_then(Value::as_str).unwrap_or("CausalML");
        for (who, figures) in [("ImpactIQ", &ours), (peer, &theirs)] {
            let nodes = thousands(number(figures, "nodes_per_tree"));
            let seconds = decimals(number(figures, "growing_cpu_s"));
            let (rmse, correlation) = (digits(figures, "rmse", 4), digits(figures, "correlation", 2));
            rows.push(row([&label, who, &nodes, &seconds, &rmse, &correlation]));
        }
        let ratio = |name: &str| number(&theirs, name) / number(&ours, name);
        let what = format!("{label}: {peer}'s CPU over ours");
        goals.push(Goal { what, found: ratio("growing_cpu_s"), wanted: WANTED, at_least: true });
        let what = format!("{label}: our RMSE over {peer}'s");
        goals.push(Goal { what, found: 1.0 / ratio("rmse"), wanted: 1.0, at_least: false });
    }
    print(&format!("Uplift forests, KL, leaves of {LEAF} rows, one thread"), &rows);
    judge(&goals);
    Ok(())
}
