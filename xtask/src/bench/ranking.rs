//! All our ranking metrics' point values, and scikit-uplift's two area scores.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::options::Options;
use super::peers::{Environment, argument, example, scratch, script};
use super::record::{before, keep, number, print};

/// Runs both; fails when the values that both compute don't agree.
pub fn run(options: &Options) -> Result<()> {
    let [rows, threads] = ["rows", "threads"].map(|name| options.number(name));
    let folder = scratch("ranking")?;
    let machine = before();
    let prefix = argument(&folder.join("rows"));
    let words = ["--rows".into(), rows.to_string(), "--threads".into(), threads.to_string()];
    let words = [words.as_slice(), &["--export".into(), prefix.clone()]].concat();
    let ours = example("impactiq-metrics", "ranking_bench", &words)?;
    let theirs = script(Environment::Main, "sklift_ranking.py", &[prefix, rows.to_string()])?;
    std::fs::remove_dir_all(&folder)?;

    let peer = theirs.get("peer").and_then(Value::as_str).unwrap_or("peer");
    let row = |name: &str, who: &Value, what: String| {
        let value = |key: &str| format!("{:.12}", number(who, key));
        vec![name.to_owned(), what, format!("{:.2}", number(who, "cpu_s")), value("qini_sklift"), value("auuc_sklift")]
    };
    println!("{rows} rows, {threads} thread(s), CPU seconds without reading the rows");
    print(&[
        ["", "metrics", "CPU s", "qini_sklift", "auuc_sklift"].map(str::to_owned).to_vec(),
        row("ImpactIQ", &ours, format!("{} and curves", number(&ours, "metrics"))),
        row(peer, &theirs, "2".into()),
    ]);
    let ratio = number(&ours, "cpu_s") / number(&theirs, "cpu_s");
    println!("ImpactIQ takes {ratio:.2} of the CPU of {peer}");
    for key in ["qini_sklift", "auuc_sklift"] {
        let difference = (number(&ours, key) - number(&theirs, key)).abs();
        if difference.is_nan() || difference > 1e-9 {
            bail!("{key} differs by {difference:e}");
        }
    }
    keep("metrics", machine, json!({ "ours": ours, "peer": theirs, "cpu_ratio": ratio }))
}
