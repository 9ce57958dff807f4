//! Prediction with intervals: many rows, and one at a time.

use anyhow::Result;
use serde_json::Value;

use super::ECONML;
use super::elsewhere::{GRF_ROWS_PER_SECOND, GRF_SINGLE_MS, MARK};
use crate::bench::contest::{Contest, Job};
use crate::bench::record::number;
use crate::bench::table::{Goal, decimals, judge, print, row, thousands};

const PART: &str = "answering";
const ROWS: u64 = 100_000;
const TREES: u64 = 2000;

/// EconML's trees have four times the nodes and cost twenty times the seconds: fewer of them.
const PEER_TREES: u64 = 200;

/// Measures and prints.
pub(super) fn run(bench: &mut Contest) -> Result<()> {
    let settings = [("rows", ROWS), ("trees", TREES), ("min-arm-rows", 5), ("single-rows", 1000), ("threads", 1)];
    let ours = bench.ours("forest_bench", job(&settings, 1))?;
    let settings = [("rows", ROWS), ("trees", PEER_TREES), ("leaf", 5), ("answers", 20_000), ("singles", 200)];
    let theirs = bench.theirs(&ECONML, job(&settings, 1))?;
    let scale = TREES as f64 / PEER_TREES as f64;
    let peer = theirs.get("peer").and_then(Value::as_str).unwrap_or("EconML");
    let header = ["library", "trees", "nodes per tree", "rows/s with intervals", "one row p50 ms", "one row p99 ms"];
    let trees = thousands(TREES as f64);
    let line = |who: &str, trees: &str, figures: &Value, speed: &str| {
        let nodes = thousands(number(figures, "nodes_per_tree"));
        let [p50, p99] =
            ["p50", "p99"].map(|name| decimals(number(figures, &format!("single_row_{name}_us")) / 1000.0));
        row([who, trees, &nodes, speed, &p50, &p99])
    };
    let their_speed = number(&theirs, "interval_rows_per_s");
    let scaled = format!("{}; at {trees} trees ≈ {}", thousands(their_speed), thousands(their_speed / scale));
    let (least, most) = GRF_ROWS_PER_SECOND;
    let (soon, late) = GRF_SINGLE_MS;
    print(
        &format!("Prediction, forest grown on {} rows, one thread", thousands(ROWS as f64)),
        &[
            row(header),
            line("ImpactIQ", &trees, &ours, &thousands(number(&ours, "predict_with_variance_rows_per_s"))),
            line(peer, &thousands(PEER_TREES as f64), &theirs, &scaled),
            row([
                &format!("grf 2.6.1 on 10,000 rows ({MARK})"),
                &trees,
                "142 – 333",
                &format!("{} – {}", decimals(least), decimals(most)),
                &format!("{} – {} (through R)", decimals(soon), decimals(late)),
                "–",
            ]),
        ],
    );
    judge(&[
        Goal {
            what: "rows per second with intervals".into(),
            found: number(&ours, "predict_with_variance_rows_per_s"),
            wanted: 20_000.0,
            at_least: true,
        },
        Goal {
            what: "one row with its interval, p99 in ms".into(),
            found: number(&ours, "single_row_p99_us") / 1000.0,
            wanted: 1.0,
            at_least: false,
        },
    ]);
    Ok(())
}

fn job<'a>(settings: &'a [(&'a str, u64)], repeats: u64) -> Job<'a> {
    Job { part: PART, word: None, settings, repeats, figure: "growing_cpu_s" }
}
