//! A public e-mail trial with known answers: three arms, three outcomes, 64,000 customers.
//!
//! The file does not come with the product; without it the test says so and passes.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::Folder;

fn data() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let found = ["../shared/data/hillstrom/hillstrom.csv.gz", "data/hillstrom.csv"]
        .map(|path| root.join(path))
        .into_iter()
        .chain(std::env::var_os("IMPACTIQ_HILLSTROM").map(PathBuf::from))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("SKIPPED hillstrom: get it with `impactiq data get hillstrom -o data`");
    }
    found.map(|path| path.canonicalize().unwrap())
}

fn contrast<'a>(train: &'a Value, outcome: &str, arm: &str) -> &'a Value {
    let all = train["contrasts"].as_array().unwrap();
    all.iter().find(|c| c["outcome"] == outcome && c["arm"] == arm).unwrap()
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} of {value}"))
}

#[test]
fn three_outcomes_of_three_arms_in_one_run_with_the_known_answers() {
    let Some(path) = data() else { return };
    let folder = Folder::new();
    let text = include_str!("../../../../configs/hillstrom.yaml");
    folder.write("config.yaml", text.replace("data/hillstrom.csv", &path.display().to_string()));
    let check = folder.run(&["check", "-c", "config.yaml"]).succeeded();
    assert!(check.stdout.contains("No gate failed"), "{}", check.shown());
    let train = folder.json(&["train", "-c", "config.yaml", "-o", "model"]);
    assert_eq!(train["n_rows"], 64_000);
    assert_eq!(train["contrasts"].as_array().unwrap().len(), 6);
    for (arm, known) in [("Mens E-Mail", 7.6590), ("Womens E-Mail", 4.5233)] {
        let visit = contrast(&train, "visit", arm);
        let difference = 100.0 * number(visit, "/estimators/difference_in_means/value");
        let aipw = 100.0 * number(visit, "/estimators/aipw/value");
        assert!((difference - known).abs() < 5e-5, "{arm}: {difference}");
        assert!((aipw - known).abs() < 0.1, "{arm}: {aipw}");
        let error = |name: &str| number(visit, &format!("/estimators/{name}/std_error"));
        assert!(error("aipw") <= error("difference_in_means"), "{arm}");
        for outcome in ["conversion", "spend"] {
            assert!(number(contrast(&train, outcome, arm), "/ate/value") > 0.0, "{outcome} {arm}");
        }
    }
    let evaluate = folder.json(&["evaluate", "-m", "model"]);
    assert_eq!((&evaluate["held_out"], evaluate["n_rows"].as_u64().unwrap()), (&true.into(), 19_200));
    for contrast in evaluate["contrasts"].as_array().unwrap() {
        for name in
            ["qini_counts", "qini_per_capita", "uplift_at_10", "uplift_at_30_by_group", "rate_autoc", "rate_qini"]
        {
            let metric = &contrast["metrics"][name];
            assert!(number(metric, "/lower") < number(metric, "/upper"), "{name} of {contrast}");
        }
    }
    assert!(number(&train, "/seconds/total") < 60.0);
}
