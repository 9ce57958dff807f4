//! Laws every ranking metric keeps, on random rows; and brute-force twins on small ones.

use impactiq_data::Seed;
use impactiq_metrics::averages::mean_score;
use impactiq_metrics::report::{EvaluateOptions, Evaluation, compare, evaluate};
use impactiq_metrics::scored::{Assignment, Scored};
use impactiq_metrics::targeting::{Targeting, targeting};
use proptest::prelude::*;

#[derive(Clone, Debug)]
struct Rows {
    score: Vec<f64>,
    treated: Vec<u8>,
    outcome: Vec<f64>,
    gamma: Vec<f64>,
    ids: Vec<u64>,
}

impl Rows {
    fn scored(&self) -> Scored<'_> {
        Scored {
            gamma: Some(&self.gamma),
            row_ids: Some(&self.ids),
            ..Scored::new(&self.score, &self.treated, &self.outcome)
        }
    }

    fn pick(&self, rows: &[usize]) -> Rows {
        let numbers = |v: &[f64]| rows.iter().map(|&r| v[r]).collect::<Vec<f64>>();
        Rows {
            score: numbers(&self.score),
            treated: rows.iter().map(|&r| self.treated[r]).collect(),
            outcome: numbers(&self.outcome),
            gamma: numbers(&self.gamma),
            ids: rows.iter().map(|&r| self.ids[r]).collect(),
        }
    }
}

/// Few or many distinct scores, binary or real outcomes.
fn rows(binary: bool) -> impl Strategy<Value = Rows> {
    (2usize..60, 1i32..30).prop_flat_map(move |(n, levels)| {
        let outcome = if binary {
            prop::collection::vec((0..2i32).prop_map(f64::from), n).boxed()
        } else {
            prop::collection::vec((-50..50i32).prop_map(|v| f64::from(v) / 8.0), n).boxed()
        };
        (
            prop::collection::vec((0..levels).prop_map(|v| f64::from(v) / 4.0 - 1.0), n),
            prop::collection::vec(0u8..2, n),
            outcome,
            prop::collection::vec((-40..40i32).prop_map(|v| f64::from(v) / 16.0), n),
        )
            .prop_map(|(score, treated, outcome, gamma)| {
                let ids = (0..score.len() as u64).map(|i| 7 * i + 3).collect();
                Rows { score, treated, outcome, gamma, ids }
            })
    })
}

fn options(bootstrap: usize) -> EvaluateOptions {
    EvaluateOptions { bootstrap, seed: Seed::new(3), ..EvaluateOptions::default() }
}

fn run(scored: &Scored<'_>, bootstrap: usize) -> Evaluation {
    evaluate(scored, &options(bootstrap)).unwrap()
}

/// Every value of `a` times `factor(name)` is the value of `b`; both undefined together.
fn assert_related(a: &Evaluation, b: &Evaluation, factor: impl Fn(&str) -> Option<f64>) {
    for (name, x) in a.metrics.iter() {
        let Some(factor) = factor(name) else { continue };
        let y = b.metrics.get(name).unwrap();
        match (x.value(), y.value()) {
            (Some(x), Some(y)) => {
                assert!((x * factor - y).abs() < 1e-9 * (1.0 + y.abs()), "{name}: {x} · {factor} ≠ {y}")
            }
            (None, None) => {}
            _ => panic!("{name}: {x:?} against {y:?}"),
        }
    }
}

fn peers_order(name: &str) -> bool {
    // Cuts by rows inside a tied group follow scikit-uplift's order.
    name.ends_with("_sklift") && (name.contains("uplift_at") || name.contains("weighted"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_is_ever_nan_and_undefined_has_a_reason(rows in rows(false), clustered in any::<bool>()) {
        let clusters: Vec<u32> = rows.ids.iter().map(|id| (id % 5) as u32).collect();
        let scored = Scored { clusters: clustered.then_some(&clusters[..]), ..rows.scored() };
        let evaluation = run(&scored, 20);
        for (name, estimate) in evaluation.metrics.iter() {
            prop_assert!(estimate.value().is_some_and(f64::is_finite) || estimate.reason().is_some_and(|r| !r.is_empty()), "{}", name);
            prop_assert!(estimate.std_error().is_none_or(f64::is_finite));
        }
        let text = serde_json::to_string(&evaluation).unwrap();
        prop_assert!(!text.contains("NaN") && !text.contains("mean_score\":null"));
        let back: Evaluation = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(back.metrics.names(), evaluation.metrics.names());
        prop_assert_eq!(evaluation.metrics.get("rate_autoc").unwrap().value().is_none(), rows.score.iter().all(|s| *s == rows.score[0]));
    }

    #[test]
    fn treating_everybody_brings_the_average_effect_and_beats_nobody(
        rows in rows(false), clustered in any::<bool>(), weighted in any::<bool>()
    ) {
        let clusters: Vec<u32> = rows.ids.iter().map(|id| (id % 5) as u32).collect();
        let weights: Vec<f64> = rows.ids.iter().map(|id| 0.5 + (id % 4) as f64).collect();
        let scored = Scored {
            clusters: clustered.then_some(&clusters[..]),
            weights: weighted.then_some(&weights[..]),
            ..rows.scored()
        };
        let found = targeting(&scored.sort().unwrap());
        let everybody = &found.points[100];
        let average = mean_score(&rows.gamma, scored.weights, scored.clusters);
        let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-9 * (1.0 + b.abs()),
            (a, b) => a == b,
        };
        prop_assert!(close(everybody.incremental.value(), average.value()));
        prop_assert!(close(everybody.incremental.std_error(), average.std_error()));
        prop_assert!(close(everybody.incremental.lower(), average.lower()));
        prop_assert!(close(everybody.over_random.value(), Some(0.0)));
        prop_assert!(found.points.windows(2).all(|p| p[0].n_targeted <= p[1].n_targeted + 1e-9));
        let text = serde_json::to_string(&found).unwrap();
        prop_assert_eq!(serde_json::from_str::<Targeting>(&text).unwrap(), found);
    }

    #[test]
    fn draws_of_two_rankings_of_the_same_rows_are_paired(rows in rows(false)) {
        let evaluation = run(&rows.scored(), 30);
        let again = run(&rows.scored(), 30);
        prop_assert_eq!(&evaluation.draws, &again.draws);
        for (name, draws) in &evaluation.draws {
            let estimate = evaluation.metrics.get(name).unwrap();
            prop_assert_eq!(draws.len(), 30);
            let mean = draws.iter().sum::<f64>() / 30.0;
            prop_assert!((mean - estimate.value().unwrap()).abs() < 1e-9 * (1.0 + mean.abs()), "{}", name);
        }
        // Where the error comes from the draws, their spread is the error.
        if let (Some(draws), Some(error)) =
            (evaluation.draws.get("rate_autoc"), evaluation.metrics.get("rate_autoc").unwrap().std_error())
        {
            let mean = draws.iter().sum::<f64>() / 30.0;
            let spread = (draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 29.0).sqrt();
            prop_assert!((spread - error).abs() < 1e-9 * (1.0 + error));
        }
    }

    #[test]
    fn row_order_does_not_matter(rows in rows(false), seed in any::<u64>()) {
        let mut order: Vec<usize> = (0..rows.score.len()).collect();
        order.sort_by_key(|&r| Seed::new(seed).hash(r as u64));
        let shuffled = rows.pick(&order);
        let (a, b) = (run(&rows.scored(), 10), run(&shuffled.scored(), 10));
        assert_related(&a, &b, |name| (!peers_order(name)).then_some(1.0));
        for (name, x) in a.metrics.iter().filter(|(name, _)| !peers_order(name)) {
            let (x, y) = (x.std_error(), b.metrics.get(name).unwrap().std_error());
            prop_assert!(x.is_some() == y.is_some(), "{name}");
            if let (Some(x), Some(y)) = (x, y) {
                prop_assert!((x - y).abs() < 1e-9 * (1.0 + x), "{} {} {}", name, x, y);
            }
        }
    }

    #[test]
    fn swapping_the_arms_flips_differences(rows in rows(false)) {
        let swapped = Rows { treated: rows.treated.iter().map(|t| 1 - t).collect(), gamma: rows.gamma.iter().map(|g| -g).collect(), ..rows.clone() };
        let names = ["qini_per_capita", "uplift_at_10", "uplift_at_20_by_group", "uplift_at_30_aipw", "rate_autoc", "rate_qini", "toc_at_10"];
        assert_related(&run(&rows.scored(), 0), &run(&swapped.scored(), 0), |name| names.contains(&name).then_some(-1.0));
    }

    #[test]
    fn outcome_scale_scales_and_score_shape_does_not_matter(rows in rows(false)) {
        let scaled = Rows {
            outcome: rows.outcome.iter().map(|y| 3.0 * y).collect(),
            gamma: rows.gamma.iter().map(|g| 3.0 * g).collect(),
            score: rows.score.iter().map(|s| (s * 2.0).exp()).collect(),
            ..rows.clone()
        };
        assert_related(&run(&rows.scored(), 0), &run(&scaled.scored(), 0), |name| {
            (!name.contains("sklift")).then_some(if name.ends_with("normalized") { 1.0 } else { 3.0 })
        });
    }

    #[test]
    fn an_outcome_shift_leaves_differences_of_present_arms_alone(rows in rows(false)) {
        let shifted = Rows { outcome: rows.outcome.iter().map(|y| y + 5.0).collect(), ..rows.clone() };
        let (a, b) = (run(&rows.scored(), 0), run(&shifted.scored(), 0));
        assert_related(&a, &b, |name| (name.starts_with("uplift_at") && !name.contains("sklift") || name.starts_with("rate") || name.starts_with("toc")).then_some(1.0));
    }

    #[test]
    fn a_row_of_weight_two_is_a_row_written_twice(rows in rows(false)) {
        let n = rows.score.len();
        let weights: Vec<f64> = (0..n).map(|r| f64::from(1 + (r % 2) as u8)).collect();
        let twice: Vec<usize> = (0..n).flat_map(|r| std::iter::repeat_n(r, 1 + r % 2)).collect();
        let repeated = rows.pick(&twice);
        let weighted = Scored { weights: Some(&weights), ..rows.scored() };
        // AUTOC and RATE-QINI sum over rows, as grf does, so they differ by the order of 1/n.
        assert_related(&run(&weighted, 0), &run(&Scored { row_ids: None, ..repeated.scored() }, 0), |name| {
            (name.starts_with("qini_counts") || name.starts_with("qini_per") || name.starts_with("toc")
                || (name.starts_with("uplift_at") && !name.contains("sklift"))).then_some(1.0)
        });
    }

    #[test]
    fn curves_and_areas_agree_with_brute_force(rows in rows(true)) {
        let evaluation = run(&rows.scored(), 0);
        let brute = Brute::new(&rows);
        for (name, expected) in brute.metrics() {
            let ours = evaluation.metrics.get(name).unwrap();
            match (ours.value(), expected) {
                (Some(a), Some(b)) => prop_assert!((a - b).abs() < 1e-9, "{} {} {}", name, a, b),
                (None, _) => {}
                (Some(a), None) => prop_assert!(false, "{} is {} where brute force has nothing", name, a),
            }
        }
    }

    #[test]
    fn a_ranking_compared_with_itself_differs_by_nothing(rows in rows(true)) {
        let differences = compare(&rows.scored(), &rows.scored(), &options(10)).unwrap();
        for (name, estimate) in differences.iter() {
            prop_assert!(estimate.value().is_none_or(|v| v == 0.0), "{}", name);
            prop_assert!(estimate.std_error().is_none_or(|v| v == 0.0), "{}", name);
        }
    }
}

/// Slow and obvious: thresholds one by one, rows filtered each time.
struct Brute<'a> {
    rows: &'a Rows,
    thresholds: Vec<f64>,
}

impl<'a> Brute<'a> {
    fn new(rows: &'a Rows) -> Self {
        let mut thresholds = rows.score.clone();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
        Brute { rows, thresholds }
    }

    fn above(&self, threshold: f64) -> Vec<usize> {
        (0..self.rows.score.len()).filter(|&r| self.rows.score[r] >= threshold).collect()
    }

    fn sum(&self, rows: &[usize], arm: u8) -> (f64, f64) {
        let of_arm: Vec<usize> = rows.iter().copied().filter(|&r| self.rows.treated[r] == arm).collect();
        (of_arm.len() as f64, of_arm.iter().map(|&r| self.rows.outcome[r]).sum())
    }

    fn area(&self, value: impl Fn(&[usize]) -> f64) -> (f64, f64) {
        let (mut x, mut y, mut area) = (0.0, 0.0, 0.0);
        for &threshold in &self.thresholds {
            let rows = self.above(threshold);
            let here = value(&rows);
            area += (rows.len() as f64 - x) * (y + here) / 2.0;
            (x, y) = (rows.len() as f64, here);
        }
        (area, y)
    }

    fn metrics(&self) -> Vec<(&'static str, Option<f64>)> {
        let n = self.rows.score.len() as f64;
        let mean = |sum: f64, count: f64| if count > 0.0 { sum / count } else { 0.0 };
        let counts = |rows: &[usize]| {
            let ((nt, yt), (nc, yc)) = (self.sum(rows, 1), self.sum(rows, 0));
            yt - if nc > 0.0 { yc * nt / nc } else { 0.0 }
        };
        let gain = |rows: &[usize]| {
            let ((nt, yt), (nc, yc)) = (self.sum(rows, 1), self.sum(rows, 0));
            (mean(yt, nt) - mean(yc, nc)) * rows.len() as f64
        };
        let all: Vec<usize> = (0..self.rows.score.len()).collect();
        let both = self.sum(&all, 1).0 > 0.0 && self.sum(&all, 0).0 > 0.0;
        let raw = |value: f64| both.then_some(value);
        let (qini, qini_end) = self.area(counts);
        let (gained, gain_end) = self.area(gain);
        // TOC at every row, tied rows sharing their group's mean.
        let total: f64 = self.rows.gamma.iter().sum();
        let (mut autoc, mut rate_qini, mut seen, mut sum) = (0.0, 0.0, 0.0, 0.0);
        for &threshold in &self.thresholds {
            let group: Vec<usize> = all.iter().copied().filter(|&r| self.rows.score[r] == threshold).collect();
            let mean = group.iter().map(|&r| self.rows.gamma[r]).sum::<f64>() / group.len() as f64;
            for _ in &group {
                (seen, sum) = (seen + 1.0, sum + mean);
                let toc = sum / seen - total / n;
                autoc += toc / n;
                rate_qini += seen / n * toc / n;
            }
        }
        vec![
            ("qini_counts", raw(qini / n - qini_end / 2.0)),
            ("qini_per_capita", raw(gained / n / n - gain_end / n / 2.0)),
            ("rate_autoc", Some(autoc)),
            ("rate_qini", Some(rate_qini)),
        ]
    }
}

#[test]
fn refusals_name_their_reason() {
    let rows = Rows {
        score: vec![3.0, 2.0, 1.0, 0.0],
        treated: vec![1, 0, 1, 0],
        outcome: vec![1.0, 0.0, 0.5, 1.0],
        gamma: vec![2.0, 0.0, 1.0, -1.0],
        ids: vec![0, 1, 2, 3],
    };
    let reason =
        |evaluation: &Evaluation, name: &str| evaluation.metrics.get(name).unwrap().reason().map(str::to_owned);
    let varying = run(&Scored { assignment: Assignment::PerRow(&[0.5, 0.4, 0.5, 0.5]), ..rows.scored() }, 0);
    let observed = run(&Scored { assignment: Assignment::Observational, ..rows.scored() }, 0);
    for name in ["qini_counts", "qini_per_capita", "uplift_at_10", "auuc_causalml", "qini_sklift"] {
        assert!(reason(&varying, name).unwrap().contains("varies"), "{name}");
        assert!(reason(&observed, name).unwrap().contains("observational"), "{name}");
    }
    assert!(varying.metrics.get("rate_autoc").unwrap().value().is_some());
    assert!(varying.curves.qini.is_empty() && !varying.curves.toc.is_empty());
    let real = run(&rows.scored(), 0);
    assert!(reason(&real, "qini_sklift").unwrap().contains("0 or 1"));
    assert!(real.metrics.get("qini_causalml").unwrap().value().is_some());
    assert!(reason(&real, "qini_causalml_normalized").unwrap().contains("two standard errors"));
    let one_arm = run(&Scored { treated: &[1; 4], ..rows.scored() }, 0);
    assert_eq!(reason(&one_arm, "qini_counts").as_deref(), Some("no control rows"));
    let flat = run(&Scored { score: &[1.0; 4], ..rows.scored() }, 20);
    assert!(flat.metrics.iter().all(|(_, e)| e.reason().is_some_and(|r| r.contains("no heterogeneity"))));
    assert!(flat.deciles.is_empty() && flat.curves.toc.is_empty());
    let none = evaluate(&rows.scored(), &EvaluateOptions { k: vec![1.0], ..options(0) });
    assert!(none.unwrap_err().to_string().contains("evaluate.k"));
}

#[test]
fn one_thread_and_many_give_the_same_bytes() {
    let n = 60_000u64;
    let u = |stream: u64, i: u64| Seed::new(stream).uniform(i);
    let score: Vec<f64> = (0..n).map(|i| u(1, i)).collect();
    let treated: Vec<u8> = (0..n).map(|i| u8::from(u(2, i) < 0.5)).collect();
    let outcome: Vec<f64> = (0..n).map(|i| u(3, i) + score[i as usize]).collect();
    let scored = Scored { gamma: Some(&outcome), ..Scored::new(&score, &treated, &outcome) };
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| serde_json::to_string(&run(&scored, 70)).unwrap())
    };
    assert_eq!(on(1), on(3));
}

#[test]
fn half_sample_intervals_cover_the_truth_and_pairs_are_tighter() {
    // Effect 0.3·s, s uniform: gain's Qini per capita is ∫ (q·E[τ | top q] − q·ATE) = 0.3/12.
    let n = 2_000usize;
    let (mut hits, mut autoc_hits) = ([0.0f64; 2], 0.0);
    let replications = 300;
    for replication in 0..replications {
        let seed = Seed::new(77).child(replication);
        let u = |stream: u64, i: usize| seed.child(stream).uniform(i as u64);
        let score: Vec<f64> = (0..n).map(|i| u(1, i)).collect();
        let treated: Vec<u8> = (0..n).map(|i| u8::from(u(2, i) < 0.5)).collect();
        let outcome: Vec<f64> = (0..n).map(|i| u(3, i) + f64::from(treated[i]) * 0.3 * score[i]).collect();
        let gamma: Vec<f64> = (0..n)
            .map(|i| {
                0.3 * score[i]
                    + (outcome[i] - 0.5 - f64::from(treated[i]) * 0.3 * score[i])
                        * if treated[i] == 1 { 2.0 } else { -2.0 }
            })
            .collect();
        let scored = Scored { gamma: Some(&gamma), ..Scored::new(&score, &treated, &outcome) };
        let evaluation = run(&scored, 100);
        let covers = |name: &str, truth: f64| {
            let e = evaluation.metrics.get(name).unwrap();
            f64::from(u8::from(e.lower().unwrap() <= truth && truth <= e.upper().unwrap()))
        };
        hits[0] += covers("qini_per_capita", 0.3 / 12.0);
        hits[1] += covers("rate_qini", 0.3 / 12.0);
        // AUTOC: ∫ 0.3·(1 − q/2 − 1/2) dq = 0.3/4.
        autoc_hits += covers("rate_autoc", 0.3 / 4.0);
    }
    let share = |hits: f64| hits / replications as f64;
    println!("coverage {:.3} {:.3} {:.3}", share(hits[0]), share(hits[1]), share(autoc_hits));
    for coverage in [share(hits[0]), share(hits[1]), share(autoc_hits)] {
        assert!((0.91..=0.985).contains(&coverage), "{coverage}");
    }
}

#[test]
fn paired_differences_are_tighter_than_unpaired_ones() {
    let n = 5_000usize;
    let u = |stream: u64, i: usize| Seed::new(stream).uniform(i as u64);
    let score: Vec<f64> = (0..n).map(|i| u(1, i)).collect();
    let close: Vec<f64> = (0..n).map(|i| score[i] + 0.05 * u(9, i)).collect();
    let treated: Vec<u8> = (0..n).map(|i| u8::from(u(2, i) < 0.5)).collect();
    let outcome: Vec<f64> = (0..n).map(|i| u(3, i) + f64::from(treated[i]) * 0.3 * score[i]).collect();
    let gamma: Vec<f64> = (0..n).map(|i| 4.0 * (outcome[i] - 0.5) * (f64::from(treated[i]) - 0.5)).collect();
    let a = Scored { gamma: Some(&gamma), ..Scored::new(&score, &treated, &outcome) };
    let b = Scored { score: &close, ..a };
    let differences = compare(&a, &b, &options(200)).unwrap();
    let (first, second) = (run(&a, 200), run(&b, 200));
    for name in ["qini_per_capita", "rate_autoc", "rate_qini", "uplift_at_20", "auuc_causalml"] {
        let se = |e: &impactiq_metrics::Estimate| e.std_error().unwrap();
        let gap = differences.get(name).unwrap();
        let (x, y) = (first.metrics.get(name).unwrap(), second.metrics.get(name).unwrap());
        assert!((gap.value().unwrap() - (x.value().unwrap() - y.value().unwrap())).abs() < 1e-9);
        assert!(se(gap) < 0.7 * se(x).hypot(se(y)), "{name}");
    }
    assert!(compare(&a, &Scored { outcome: &gamma, ..b }, &options(0)).is_err());
}
