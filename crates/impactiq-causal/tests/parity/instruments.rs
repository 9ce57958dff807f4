//! Two-stage least squares beside linearmodels 7.1 and Stata, and answers known from papers.

use impactiq_causal::iv::{Instrumented, SetShape, TwoStage, two_stage_least_squares, wald};
use impactiq_metrics::robust::Covariance;
use serde_json::Value;

use super::rows::{Frame, close, peer, text};

const TOLERANCE: f64 = 1e-6;

struct Spec<'a> {
    outcome: &'a str,
    endogenous: &'a [&'a str],
    exogenous: &'a [&'a str],
    instruments: &'a [&'a str],
    weights: Option<&'a [f64]>,
    clusters: Option<&'a [u32]>,
}

impl<'a> Spec<'a> {
    fn new(outcome: &'a str, endogenous: &'a [&'a str], exogenous: &'a [&'a str], instruments: &'a [&'a str]) -> Self {
        Spec { outcome, endogenous, exogenous, instruments, weights: None, clusters: None }
    }
}

fn fit(frame: &Frame, spec: &Spec<'_>, kind: Covariance) -> TwoStage {
    let columns = |names: &[&str]| -> Vec<&[f64]> { names.iter().map(|name| frame.column(name)).collect() };
    let (endogenous, exogenous) = (columns(spec.endogenous), columns(spec.exogenous));
    let instruments = columns(spec.instruments);
    let data = Instrumented {
        outcome: frame.column(spec.outcome),
        endogenous: &endogenous,
        exogenous: &exogenous,
        instruments: &instruments,
        weights: spec.weights,
        clusters: spec.clusters,
    };
    two_stage_least_squares(&data, kind).unwrap()
}

fn codes(frame: &Frame, name: &str) -> Vec<u32> {
    frame.column(name).iter().map(|&v| v as u32).collect()
}

fn agrees(what: &str, ours: &TwoStage, theirs: &Value) {
    let number = |value: &Value| value.as_f64().unwrap();
    let effect = &ours.effects[0];
    close(what, effect.value().unwrap(), number(&theirs["coef"]), TOLERANCE);
    close(&format!("{what}: error"), effect.std_error().unwrap(), number(&theirs["se"]), TOLERANCE);
    assert_eq!(effect.n(), theirs["n"].as_u64());
    let stage = &ours.first_stages[0];
    close(&format!("{what}: F"), stage.f.statistic, number(&theirs["first_stage_partial_f"]), TOLERANCE);
    close(&format!("{what}: R2"), stage.partial_r2, number(&theirs["first_stage_partial_r2"]), TOLERANCE);
    let hausman = ours.wu_hausman.unwrap();
    close(&format!("{what}: Wu-Hausman"), hausman.statistic, number(&theirs["wu_hausman"]["stat"]), TOLERANCE);
    close(&format!("{what}: Wu-Hausman p"), hausman.p_value, number(&theirs["wu_hausman"]["pval"]), TOLERANCE);
    if let Some(sargan) = ours.sargan {
        close(&format!("{what}: Sargan"), sargan.statistic, number(&theirs["sargan"]["stat"]), TOLERANCE);
        close(&format!("{what}: Sargan p"), sargan.p_value, number(&theirs["sargan"]["pval"]), TOLERANCE);
    }
}

const CARD: [&str; 14] = [
    "exper", "expersq", "black", "south", "smsa", "reg661", "reg662", "reg663", "reg664", "reg665", "reg666", "reg667",
    "reg668", "smsa66",
];

#[test]
fn returns_to_schooling_are_those_of_card_and_linearmodels() {
    let Some(theirs) = peer("linearmodels_iv.json") else { return };
    let Some(card) = Frame::read("card_iv/card.csv.gz") else { return };
    let near = Spec::new("lwage", &["educ"], &CARD, &["nearc4"]);
    let both = Spec::new("lwage", &["educ"], &CARD, &["nearc2", "nearc4"]);
    let ours = fit(&card, &near, Covariance::Classical);
    agrees("card nearc4", &ours, &theirs["card nearc4"]);
    // Wooldridge, example 15.4.
    assert!((ours.effects[0].value().unwrap() - 0.1315).abs() < 5e-5);
    agrees("card nearc4 robust", &fit(&card, &near, Covariance::Hc1), &theirs["card nearc4 robust"]);
    let ours = fit(&card, &both, Covariance::Classical);
    agrees("card nearc2+nearc4 2SLS", &ours, &theirs["card nearc2+nearc4 2SLS"]);
    // One instrument of F 13: the honest set is wider than the interval, and lopsided.
    let set = fit(&card, &near, Covariance::Classical).anderson_rubin.unwrap();
    assert_eq!(set.shape, SetShape::Bounded);
    assert!(set.intervals[0].lower.unwrap() > 0.0 && set.intervals[0].upper.unwrap() > 0.25, "{set:?}");
}

#[test]
fn wages_of_women_and_pensions_are_those_of_linearmodels() {
    let Some(theirs) = peer("linearmodels_iv.json") else { return };
    let Some(mroz) = Frame::read("linearmodels_iv/mroz.csv.gz") else { return };
    let working = mroz.keep(|row| mroz.column("inlf")[row] == 1.0);
    let spec = Spec::new("lwage", &["educ"], &["exper", "expersq"], &["motheduc", "fatheduc"]);
    agrees("mroz", &fit(&working, &spec, Covariance::Classical), &theirs["mroz educ|motheduc,fatheduc"]);
    let Some(pension) = Frame::read("pension_401k/pension.csv.gz") else { return };
    let x = ["age", "inc", "educ", "fsize", "marr", "twoearn", "db", "pira", "hown"];
    let spec = Spec::new("net_tfa", &["p401"], &x, &["e401"]);
    agrees("401k", &fit(&pension, &spec, Covariance::Hc0), &theirs["401k 2SLS p401|e401 + X robust"]);
}

/// A section of Stata's output: coefficients by name, variances by pair of names.
struct Stata {
    coefficients: Vec<(String, f64)>,
    variances: Vec<Vec<f64>>,
}

fn stata(text: &str, title: &str) -> Stata {
    let marker = format!("########## !{title}! ##########");
    let body = text.split(&marker).nth(1).unwrap_or_else(|| panic!("no section {title}"));
    let body = body.split("##########").next().unwrap();
    let (head, variance) = body.split_once("********* Variance *************").unwrap();
    let pairs = head.lines().filter_map(|line| {
        let (name, value) = line.trim().split_once('\t')?;
        Some((name.to_owned(), value.parse().ok()?))
    });
    let rows = variance.lines().filter(|line| line.split('\t').count() > 1).skip(1);
    let variances: Vec<Vec<f64>> =
        rows.filter_map(|line| line.split('\t').skip(1).map(|cell| cell.parse().ok()).collect()).collect();
    let width = variances.iter().filter(|row| !row.is_empty()).count();
    let coefficients = pairs.take(width).collect();
    Stata { coefficients, variances }
}

fn agrees_with_stata(what: &str, ours: &TwoStage, names: (&[&str], &[&str]), theirs: &Stata, factor: f64) {
    let all: Vec<&str> = ["_cons"].iter().chain(names.0).chain(names.1).copied().collect();
    let values: Vec<f64> = std::iter::once(&ours.intercept)
        .chain(&ours.exogenous)
        .chain(&ours.effects)
        .map(|e| e.value().unwrap())
        .collect();
    assert_eq!(theirs.coefficients.len(), all.len(), "{what}");
    for (i, (name, value)) in theirs.coefficients.iter().enumerate() {
        let place = all.iter().position(|n| n == name).unwrap();
        close(&format!("{what}: {name}"), values[place], *value, TOLERANCE);
        let variance = theirs.variances[i][i];
        close(&format!("{what}: variance of {name}"), factor * ours.covariance[place][place], variance, 1e-5);
    }
}

#[test]
fn every_two_stage_fit_is_that_of_stata() {
    let Some(results) = text("../parity/linearmodels_stata/stata-iv-simulated-results.txt.gz") else { return };
    let Some(frame) = Frame::read("../parity/linearmodels_stata/simulated_data.csv.gz") else { return };
    // Stata drops rows with missing values.
    let used = ["y_unadjusted", "y_robust", "y_clustered", "x1", "x2", "x3", "x4", "x5", "z1", "z2", "weights"];
    let frame = frame.keep(|row| used.iter().all(|name| frame.column(name)[row].is_finite()));
    let (clusters, weights) = (codes(&frame, "cluster_id"), frame.column("weights").to_vec());
    let mut n_checked = 0;
    for (vce, outcome) in
        [("unadjusted", "y_unadjusted"), ("robust", "y_robust"), ("cluster cluster_id", "y_clustered")]
    {
        for (n_endogenous, n_exogenous, n_instruments) in
            [(1, 0, 1), (1, 0, 2), (2, 0, 2), (1, 3, 1), (1, 3, 2), (2, 3, 2)]
        {
            for weighted in [false, true] {
                for small in [false, true] {
                    let title = format!(
                        "2sls-num_endog_{n_endogenous}-num_exog_{n_exogenous}-num_instr_{n_instruments}-weighted_{}-vce({vce})-{}",
                        if weighted { "True" } else { "False" },
                        if small { "small" } else { "" },
                    );
                    if !results.contains(&format!("!{title}!")) {
                        continue;
                    }
                    let names = (&["x3", "x4", "x5"][..n_exogenous], &["x1", "x2"][..n_endogenous]);
                    let spec = Spec {
                        weights: weighted.then_some(weights.as_slice()),
                        clusters: vce.starts_with("cluster").then_some(clusters.as_slice()),
                        ..Spec::new(outcome, names.1, names.0, &["z1", "z2"][..n_instruments])
                    };
                    let kind = match (vce, small) {
                        ("unadjusted", _) => Covariance::Classical,
                        ("robust", false) => Covariance::Hc0,
                        ("robust", true) => Covariance::Hc1,
                        _ => Covariance::Cr1,
                    };
                    let (n, k) = (frame.n_rows() as f64, (1 + n_exogenous + n_endogenous) as f64);
                    // Stata's large-sample form leaves the degrees of freedom alone.
                    let factor = match (vce, small) {
                        ("unadjusted", false) => (n - k) / n,
                        ("cluster cluster_id", false) => {
                            let mut distinct = clusters.clone();
                            distinct.sort_unstable();
                            distinct.dedup();
                            let g = distinct.len() as f64;
                            (n - k) / (n - 1.0) * (g - 1.0) / g
                        }
                        _ => 1.0,
                    };
                    agrees_with_stata(&title, &fit(&frame, &spec, kind), names, &stata(&results, &title), factor);
                    n_checked += 1;
                }
            }
        }
    }
    assert!(n_checked >= 60, "{n_checked}");
}

#[test]
fn rents_are_those_of_stata() {
    let Some(results) = text("../parity/linearmodels_stata/stata-iv-housing-results.txt.gz") else { return };
    let Some(table) = text("../parity/linearmodels_stata/housing.csv.gz") else { return };
    let Some(mut frame) = Frame::read("../parity/linearmodels_stata/housing.csv.gz") else { return };
    let cell = |place: usize| -> Vec<String> {
        table.lines().skip(1).map(|line| line.split(',').nth(place).unwrap().to_owned()).collect()
    };
    let (divisions, regions) = (cell(2), cell(3));
    let mut levels = regions.clone();
    levels.sort();
    levels.dedup();
    let dummies: Vec<String> = levels[1..].to_vec();
    for level in &dummies {
        frame.push(level, regions.iter().map(|r| f64::from(u8::from(r == level))).collect());
    }
    let mut sorted = divisions.clone();
    sorted.sort();
    sorted.dedup();
    let clusters: Vec<u32> = divisions.iter().map(|d| sorted.binary_search(d).unwrap() as u32).collect();
    let instruments: Vec<&str> = std::iter::once("faminc").chain(dummies.iter().map(String::as_str)).collect();
    for (title, kind) in [
        ("2sls-unadjusted-small", Covariance::Classical),
        ("2sls-robust-small", Covariance::Hc1),
        ("2sls-cluster-small", Covariance::Cr1),
        ("2sls-robust-asymptotic", Covariance::Hc0),
    ] {
        let spec = Spec {
            clusters: title.contains("cluster").then_some(clusters.as_slice()),
            ..Spec::new("rent", &["hsngval"], &["pcturban"], &instruments)
        };
        let ours = fit(&frame, &spec, kind);
        agrees_with_stata(title, &ours, (&["pcturban"], &["hsngval"]), &stata(&results, title), 1.0);
    }
}

#[test]
fn a_third_child_keeps_mothers_from_work_as_angrist_and_evans_found() {
    let Some(mut frame) = Frame::read("angrist_evans/angev80_grf.csv.gz") else { return };
    let more = frame.column("twoa.kidcount").iter().map(|&k| f64::from(u8::from(k > 2.0))).collect();
    frame.push("more", more);
    let columns: [&[f64]; 2] = [frame.column("more"), frame.column("twoa.samesex")];
    let data = Instrumented {
        outcome: frame.column("twoa.workedm"),
        endogenous: &columns[..1],
        exogenous: &[],
        instruments: &columns[1..],
        weights: None,
        clusters: None,
    };
    let ratio = wald(&data, Covariance::Hc1).unwrap();
    // Computed from the file: -0.1301 (0.0263).
    assert!((ratio.effect.value().unwrap() + 0.1301).abs() < 5e-5, "{:?}", ratio.effect);
    assert!((ratio.effect.std_error().unwrap() - 0.0263).abs() < 5e-5, "{:?}", ratio.effect);
    assert!(ratio.first_stage.f.statistic > 1000.0 && ratio.compliance.value().unwrap() > 0.05);
    // A strong instrument: the honest set is the interval, nearly.
    let [set] = &ratio.anderson_rubin.intervals[..] else { panic!("{:?}", ratio.anderson_rubin) };
    assert!((set.lower.unwrap() - ratio.effect.lower().unwrap()).abs() < 1e-3);
    assert!((set.upper.unwrap() - ratio.effect.upper().unwrap()).abs() < 1e-3);
}
