//! Our boosted trees and LightGBM: same rows, same number of trees and leaves, same threads.

use anyhow::Result;
use serde_json::{Value, json};

use super::options::Options;
use super::peers::{Environment, argument, example, scratch, script, words};
use super::record::{before, keep, number, print};

const TEST_ROWS: u64 = 500_000;

/// Runs both and prints CPU seconds side by side.
pub fn run(options: &Options) -> Result<()> {
    let [rows, trees, leaves, threads] = ["rows", "trees", "leaves", "threads"].map(|name| options.number(name));
    let folder = scratch("boosting")?;
    let machine = before();
    let prefix = argument(&folder.join("rows"));
    let mut ours =
        words(&[("rows", rows), ("test-rows", TEST_ROWS), ("trees", trees), ("leaves", leaves), ("threads", threads)]);
    ours.extend(["--export".into(), prefix.clone()]);
    let ours = example("impactiq-trees", "boosting_bench", &ours)?;
    let mut theirs = vec![prefix];
    theirs.extend([rows, TEST_ROWS, trees, leaves, threads].map(|v| v.to_string()));
    let theirs = script(Environment::Main, "lightgbm_binary.py", &theirs)?;
    std::fs::remove_dir_all(&folder)?;

    let cost = |who: &Value| number(who, "binning_cpu_s") + number(who, "training_cpu_s");
    let row = |name: &str, who: &Value| {
        let cell = |key: &str, digits: usize| format!("{:.digits$}", number(who, key));
        let (trees, leaves) = (cell("trees", 0), cell("leaves", 0));
        let seconds = [cell("binning_cpu_s", 2), cell("training_cpu_s", 2), format!("{:.2}", cost(who))];
        let accuracy = [cell("auc", 5), cell("log_loss", 6), cell("predict_cpu_s", 2)];
        [vec![name.to_owned(), trees, leaves], seconds.to_vec(), accuracy.to_vec()].concat()
    };
    let header = ["", "trees", "leaves", "binning s", "boosting s", "both s", "AUC", "log loss", "predict s"];
    println!("{rows} rows, {threads} thread(s), CPU seconds; accuracy and prediction on {TEST_ROWS} other rows");
    let peer = theirs.get("peer").and_then(Value::as_str).unwrap_or("peer");
    print(&[header.map(str::to_owned).to_vec(), row("ImpactIQ", &ours), row(peer, &theirs)]);
    let ratio = cost(&ours) / cost(&theirs);
    println!("ImpactIQ takes {ratio:.2} of the CPU of {peer}");
    keep("boosting", machine, json!({ "ours": ours, "peer": theirs, "cpu_ratio": ratio }))
}
