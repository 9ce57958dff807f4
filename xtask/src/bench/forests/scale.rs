//! How the cost of a tree grows with the rows.

use anyhow::Result;

use crate::bench::contest::{Contest, Job};
use crate::bench::record::number;
use crate::bench::table::{Goal, decimals, judge, print, row, thousands};

const PART: &str = "scale";
const ROWS: [u64; 5] = [100_000, 300_000, 1_000_000, 3_000_000, 13_979_592];
const TREES: u64 = 10;

/// By how much the cost per n log n may grow from the fewest rows to the most.
const WANTED: f64 = 2.0;

/// Measures up to `largest` rows and prints.
pub(super) fn run(bench: &mut Contest, largest: u64) -> Result<()> {
    let header = [
        "rows, rows of every arm per leaf",
        "nodes per tree",
        "CPU ms per tree",
        "ns per row",
        "ns per row and log₂ n",
    ];
    let (mut rows, mut goals) = (vec![row(header)], Vec::new());
    for leaf in [5, 100] {
        let mut costs = Vec::new();
        for n in ROWS.into_iter().filter(|&n| n <= largest) {
            let settings = [("rows", n), ("trees", TREES), ("min-arm-rows", leaf), ("threads", 1)];
            let repeats = if n <= 1_000_000 { 3 } else { 1 };
            let figures = bench.ours("forest_bench", job(&settings, repeats))?;
            let ms = number(&figures, "cpu_ms_per_tree");
            let per_row = ms * 1e6 / n as f64;
            let per_level = per_row / (n as f64).log2();
            rows.push(row([
                &format!("{}, leaf {leaf}", thousands(n as f64)),
                &thousands(number(&figures, "nodes_per_tree")),
                &decimals(ms),
                &decimals(per_row),
                &decimals(per_level),
            ]));
            costs.push(per_level);
        }
        if let [first, .., last] = costs.as_slice() {
            let what = format!("leaf {leaf}: cost per row and log₂ n, most rows over fewest");
            goals.push(Goal { what, found: last / first, wanted: WANTED, at_least: false });
        }
    }
    print(&format!("Growing {TREES} trees, one thread"), &rows);
    judge(&goals);
    Ok(())
}

fn job<'a>(settings: &'a [(&'a str, u64)], repeats: u64) -> Job<'a> {
    Job { part: PART, word: None, settings, repeats, figure: "growing_cpu_s" }
}
