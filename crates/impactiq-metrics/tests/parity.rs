//! Parity with the peers' own functions, to 1e-9, on the real Hillstrom trial and on the
//! vectors of their unit tests. The expected numbers in `parity/` come from the peers; no
//! command of ours rewrites them.

use std::io::Read;
use std::path::PathBuf;

use impactiq_metrics::area::qini_coefficient;
use impactiq_metrics::curve::{CurveKind, full_curve};
use impactiq_metrics::report::{EvaluateOptions, evaluate};
use impactiq_metrics::scored::Scored;
use impactiq_metrics::sklift::{self, Strategy, Top};
use impactiq_metrics::{causalml, rate};
use serde_json::Value;

const TOLERANCE: f64 = 1e-9;

fn close(what: &str, ours: f64, expected: f64) {
    let slack = TOLERANCE * expected.abs().max(1.0);
    assert!((ours - expected).abs() <= slack, "{what}: ours {ours}, theirs {expected}");
}

fn golden(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn arms(value: &Value) -> Vec<u8> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u8).collect()
}

/// Splits a line at the commas outside quotes.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    for character in line.trim_end().chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => cells.last_mut().unwrap().push(other),
        }
    }
    cells
}

/// The Hillstrom trial, from a folder of public data sets beside the repository.
struct Hillstrom {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Hillstrom {
    fn read() -> Option<Self> {
        let folder = std::env::var_os("IMPACTIQ_DATA")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
        let path = folder.join("hillstrom/hillstrom.csv.gz");
        let Ok(file) = std::fs::File::open(&path) else {
            eprintln!("SKIPPED: {} is not there; parity on Hillstrom was NOT checked", path.display());
            return None;
        };
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
        let mut lines = text.lines();
        let columns = cells(lines.next().unwrap());
        let rows: Vec<Vec<String>> = lines.map(cells).collect();
        assert_eq!(rows.len(), 64_000);
        Some(Hillstrom { columns, rows })
    }

    /// Score, treatment and outcome of one contrast, in file order.
    fn contrast(&self, case: &Value) -> (Vec<f64>, Vec<u8>, Vec<f64>) {
        let at = |name: &str| self.columns.iter().position(|c| c == name).unwrap();
        let arm = case["arm"].as_str().unwrap();
        let segment = at("segment");
        let rows: Vec<&Vec<String>> =
            self.rows.iter().filter(|r| r[segment] == arm || r[segment] == "No E-Mail").collect();
        let number = |name: &str| -> Vec<f64> { rows.iter().map(|r| r[at(name)].parse().unwrap()).collect() };
        let score = match case["score"].as_str().unwrap() {
            "history" => number("history"),
            "neg_recency" => number("recency").into_iter().map(|r| -r).collect(),
            "womens_minus_mens_plus_history" => {
                let gap = number("womens").into_iter().zip(number("mens")).map(|(w, m)| w - m);
                gap.zip(number("history")).map(|(gap, h)| gap + h / 1e4).collect()
            }
            other => panic!("unknown score {other}"),
        };
        let treated = rows.iter().map(|r| u8::from(r[segment] == arm)).collect();
        (score, treated, number(case["outcome"].as_str().unwrap()))
    }
}

/// Ranks from 0: equal scores in the order of rows, so that nothing is tied.
fn untied(score: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..score.len()).collect();
    order.sort_by(|&a, &b| score[a].total_cmp(&score[b]));
    let mut rank = vec![0.0; score.len()];
    order.iter().enumerate().for_each(|(place, &row)| rank[row] = place as f64);
    rank
}

fn options() -> EvaluateOptions {
    EvaluateOptions { k: vec![0.1, 0.2, 0.3, 0.5], bootstrap: 0, ..EvaluateOptions::default() }
}

#[test]
fn scikit_uplift_on_hillstrom() {
    let Some(data) = Hillstrom::read() else { return };
    let file = golden("sklift_hillstrom.json");
    for case in file["cases"].as_array().unwrap() {
        let what = format!("{} {} {}", case["arm"], case["outcome"], case["score"]);
        let (score, treated, outcome) = data.contrast(case);
        assert_eq!(score.len() as u64, case["n"].as_u64().unwrap());
        let scored = Scored::new(&score, &treated, &outcome);
        let evaluation = evaluate(&scored, &options()).unwrap();
        for (name, expected) in case["metrics"].as_object().unwrap() {
            let ours = evaluation.metrics.get(name).unwrap_or_else(|| panic!("no metric {name}"));
            close(&format!("{what} {name}"), ours.value().unwrap(), expected.as_f64().unwrap());
        }
        let sorted = scored.sort().unwrap();
        let weighted = sklift::weighted_average_uplift(&sorted, Strategy::ByGroup, 10).unwrap().0;
        close(&what, weighted, case["weighted_average_uplift_by_group"].as_f64().unwrap());
        check_percentiles(&what, &sklift::percentiles(&sorted, Strategy::Overall, 10), &case["percentiles_overall"]);
        check_percentiles(&what, &sklift::percentiles(&sorted, Strategy::ByGroup, 10), &case["percentiles_by_group"]);
        check_curve(&what, &sklift::qini_curve(&sorted), &case["qini_curve"]);
        check_curve(&what, &sklift::uplift_curve(&sorted), &case["uplift_curve"]);
        let perfect = sklift::perfect_qini_curve(sorted.total(), true);
        for (ours, theirs) in perfect.iter().zip(case["perfect_qini_curve"].as_array().unwrap()) {
            let theirs = numbers(theirs);
            close(&what, ours.0, theirs[0]);
            close(&what, ours.1, theirs[1]);
        }
        let perfect = sklift::perfect_uplift_curve(sorted.total());
        assert_eq!(perfect.len() as u64, case["perfect_uplift_curve"]["n_points"].as_u64().unwrap());
        close(&what, perfect.last().unwrap().1, numbers(&case["perfect_uplift_curve"]["last"])[1]);
    }
}

fn check_percentiles(what: &str, ours: &[sklift::Percentile], theirs: &Value) {
    let rows = theirs["rows"].as_array().unwrap();
    assert_eq!(ours.len(), rows.len());
    for (ours, theirs) in ours.iter().zip(rows) {
        let mine = [
            ours.n_treatment as f64,
            ours.n_control as f64,
            ours.response_rate_treatment,
            ours.response_rate_control,
            ours.uplift(),
            ours.std_treatment,
            ours.std_control,
            ours.std_uplift(),
        ];
        mine.iter().zip(numbers(theirs)).for_each(|(a, b)| close(what, *a, b));
    }
}

fn check_curve(what: &str, ours: &[(f64, f64)], theirs: &Value) {
    assert_eq!(ours.len() as u64, theirs["n_points"].as_u64().unwrap(), "{what}");
    for (j, point) in theirs["at_21_even_indices"].as_array().unwrap().iter().enumerate() {
        let index = ((ours.len() - 1) as f64 * j as f64 / 20.0) as usize;
        let point = numbers(point);
        close(what, ours[index].0, point[0]);
        close(what, ours[index].1, point[1]);
    }
}

#[test]
fn causalml_on_hillstrom() {
    let Some(data) = Hillstrom::read() else { return };
    let file = golden("causalml_hillstrom.json");
    for case in file["cases"].as_array().unwrap() {
        let what = format!("{} {} {}", case["arm"], case["outcome"], case["score"]);
        let (score, treated, outcome) = data.contrast(case);
        let score = untied(&score);
        let scored = Scored::new(&score, &treated, &outcome);
        let evaluation = evaluate(&scored, &options()).unwrap();
        for (name, expected) in case["metrics"].as_object().unwrap() {
            let ours = evaluation.metrics.get(name).unwrap_or_else(|| panic!("no metric {name}"));
            close(&format!("{what} {name}"), ours.value().unwrap(), expected.as_f64().unwrap());
        }
        let sorted = scored.sort().unwrap();
        let scores = causalml::scores(&sorted);
        close(&format!("{what} autoc"), scores.rate_autoc, case["rate_autoc"].as_f64().unwrap());
        close(&format!("{what} rate qini"), scores.rate_qini, case["rate_qini"].as_f64().unwrap());
        let curves = causalml::curves(&sorted);
        let (lift, gain, qini) = (numbers(&case["cumlift"]), numbers(&case["cumgain"]), numbers(&case["qini"]));
        for (j, index) in numbers(&case["index"]).into_iter().enumerate() {
            let row = index as usize;
            close(&format!("{what} lift"), curves.lift[row], lift[j]);
            close(&format!("{what} gain"), curves.gain[row], gain[j]);
            close(&format!("{what} qini curve"), curves.qini[row], qini[j]);
        }
    }
}

#[test]
fn scikit_uplift_unit_tests() {
    let file = golden("peer_unit_tests.json");
    let cases = file["scikit-uplift"]["cases"].as_array().unwrap();
    for case in &cases[..2] {
        let (y, t) = (numbers(&case["y"]), arms(&case["treatment"]));
        let score = numbers(&case["uplift"]);
        let sorted = Scored::new(&score, &t, &y).sort().unwrap();
        close("auuc", sklift::uplift_auc_score(&sorted).unwrap(), case["uplift_auc_score"].as_f64().unwrap());
        close("qini", sklift::qini_auc_score(&sorted, true).unwrap(), case["qini_auc_score"].as_f64().unwrap());
    }
    let case = &cases[2];
    let (y, t) = (numbers(&case["y"]), arms(&case["treatment"]));
    let sorted = Scored::new(&[1.0; 3], &t, &y).sort().unwrap();
    let check = |name: &str, ours: Vec<(f64, f64)>| {
        let (x, v) = (numbers(&case[name][0]), numbers(&case[name][1]));
        assert_eq!(ours.len(), x.len(), "{name}");
        ours.iter().zip(x.iter().zip(v)).for_each(|(o, (x, v))| {
            close(name, o.0, *x);
            close(name, o.1, v);
        });
    };
    check("uplift_curve", sklift::uplift_curve(&sorted));
    check("qini_curve", sklift::qini_curve(&sorted));
    check("perfect_uplift_curve", sklift::perfect_uplift_curve(sorted.total()));
    check("perfect_qini_curve", sklift::perfect_qini_curve(sorted.total(), true));
    let at_1 = sklift::uplift_at_k(&sorted, Strategy::ByGroup, Top::Rows(1)).unwrap();
    close("uplift_at_k", at_1, case["uplift_at_k_by_group_k1"].as_f64().unwrap());
    let one_bin = sklift::weighted_average_uplift(&sorted, Strategy::Overall, 1).unwrap().0;
    close("weighted average", one_bin, case["weighted_average_uplift_bins1"].as_f64().unwrap());
    let bin = sklift::percentiles(&sorted, Strategy::Overall, 1)[0];
    let row = numbers(&case["uplift_by_percentile_bins1[n_t,n_c,rr_t,rr_c,uplift,std_t,std_c,std_u]"]);
    let ours =
        [bin.response_rate_treatment, bin.response_rate_control, bin.uplift(), bin.std_treatment, bin.std_control];
    ours.iter().zip(&row[2..]).for_each(|(a, b)| assert!((a - b).abs() < 1e-6));
    assert_eq!((bin.n_treatment as f64, bin.n_control as f64), (row[0], row[1]));
    let rate = numbers(&case["response_rate_treatment[rate,variance,n]"]);
    close("variance", bin.std_treatment.powi(2), rate[1]);
}

#[test]
fn h2o_and_causalml_curves_of_ten_rows() {
    let file = golden("peer_unit_tests.json");
    let cases = file["h2o-3"]["cases"].as_array().unwrap();
    for case in cases {
        let (score, y, t) = (numbers(&case["pred"]), numbers(&case["y"]), arms(&case["treatment"]));
        let sorted = Scored::new(&score, &t, &y).sort().unwrap();
        let curves = causalml::curves(&sorted);
        // Their own numbers are rounded to five digits and checked to 0.01.
        let check = |name: &str, ours: &[f64]| {
            if let Some(theirs) = case.get(name) {
                numbers(theirs).iter().zip(ours).for_each(|(b, a)| assert!((a - b).abs() < 1e-4, "{name} {a} {b}"));
            }
        };
        check("qini", &curves.qini[1..]);
        check("lift", &curves.lift[1..]);
        check("gain", &curves.gain[1..]);
        let end = curves.gain[10].abs();
        if end > 0.0 {
            check("gain_normalized", &curves.gain[1..].iter().map(|g| g / end).collect::<Vec<_>>());
        }
        // Where both arms are there our own curves agree with theirs.
        let mut order: Vec<usize> = (0..10).collect();
        order.sort_by(|&a, &b| score[b].total_cmp(&score[a]));
        let both = |row: usize| [0, 1].iter().all(|a| order[..row].iter().any(|&i| t[i] == *a));
        for (row, point) in full_curve(&sorted, CurveKind::Qini).iter().enumerate().filter(|(row, _)| both(*row)) {
            close("qini curve", point.value, curves.qini[row]);
        }
    }
}

#[test]
fn upliftml_and_pylift_areas() {
    let file = golden("peer_unit_tests.json");
    let case = &file["upliftml"]["cases"][0];
    let ours = qini_coefficient(&numbers(&case["fraction"]), &numbers(&case["ate"]));
    close("upliftml", ours, case["qini_coefficient"].as_f64().unwrap());
    // At p = 1/2 pylift's cumulative gain is our per-capita gain.
    let case = &file["pylift"]["cases"][0];
    let (score, y, t) = (numbers(&case["prediction"]), numbers(&case["outcome"]), arms(&case["treatment"]));
    let evaluation = evaluate(&Scored::new(&score, &t, &y), &options()).unwrap();
    let ours = evaluation.metrics.get("qini_per_capita").unwrap().value().unwrap();
    close("pylift Q_cgains", ours, case["expect"]["Q_cgains"].as_f64().unwrap());
}

#[test]
fn grf_rate_with_two_tied_groups() {
    // The scores are the arm itself, so the TOC is fixed by the gap of the two groups' means,
    // and that by its first value: the rest of grf's curve and its AUTOC must follow.
    let file = golden("peer_unit_tests.json");
    let arm = arms(&file["grf"]["treatment"]);
    let toc = numbers(&file["grf"]["toc"]);
    let n = arm.len() as f64;
    let n_low = arm.iter().filter(|&&a| a == 0).count() as f64;
    let gamma: Vec<f64> = arm.iter().map(|&a| f64::from(a) * toc[0] * n / n_low).collect();
    let score: Vec<f64> = arm.iter().map(|&a| f64::from(a)).collect();
    let outcome = vec![0.0; arm.len()];
    let sorted = Scored { gamma: Some(&gamma), ..Scored::new(&score, &arm, &outcome) }.sort().unwrap();
    let fractions: Vec<f64> = (1..=10).map(|i| f64::from(i) / 10.0).collect();
    for (ours, theirs) in rate::toc(&sorted, &fractions).unwrap().iter().zip(&toc) {
        close("toc", *ours, *theirs);
    }
    close("autoc", rate::rate(&sorted).unwrap().autoc, file["grf"]["rate_estimate"].as_f64().unwrap());
}
