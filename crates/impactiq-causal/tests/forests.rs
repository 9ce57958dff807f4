//! What can be asked of a causal forest beside its effects, and what stopping, continuing and
//! merging promise.

#[path = "../examples/null_behaviour/permuted.rs"]
mod permuted;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use impactiq_causal::learners::{
    ContrastRows, Whom, best_linear_projection, calibration_test, effect_scores, forest_average, forest_averages,
};
use impactiq_causal::{
    CausalError, CheckedConfig, Config, Warning, continue_training, forest_rows, merge_forests, train,
};
use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{Dataset, Seed, Silent, Table, Watch};

fn generated(kind: SynthKind, n: usize, seed: u64) -> (Table, Vec<f64>) {
    let made = generate(kind, &SynthOptions::default(), n, Seed::new(seed)).unwrap();
    let tau = made.truth.column("tau").ok().and_then(|column| column.numbers()).unwrap_or_default().to_vec();
    (made.table, tau)
}

fn dataset(roles: &str, rest: &str, table: Table) -> (CheckedConfig, Dataset) {
    let yaml = format!(
        "data: {{path: x}}\nroles: {{treatment: treatment, {roles}}}\nnuisance: {{kind: least_squares}}\n\
         split: {{holdout: 0}}\n{rest}\n"
    );
    let config = Config::from_yaml(&yaml, "c.yaml", &[]).unwrap().check(table.names()).unwrap();
    let n = table.n_rows() as u64;
    let data = config.dataset(table, (0..n).collect()).unwrap();
    (config, data)
}

const Y: &str = "control: 0, outcome: y";

fn within(estimate: &impactiq_metrics::Estimate, wanted: f64, errors: f64) {
    let (value, error) = (estimate.value().unwrap(), estimate.std_error().unwrap());
    assert!((value - wanted).abs() < errors * error, "{value} ± {error} for {wanted}");
}

/// Says stop when asked for the second time while a learner grows.
#[derive(Default)]
struct StopsEarly {
    learning: AtomicBool,
    asked: AtomicUsize,
}

impl Watch for StopsEarly {
    fn progress(&self, stage: &str, _: u64, _: u64) {
        if stage == "learner" {
            self.learning.store(true, Ordering::Relaxed);
        }
    }

    fn should_stop(&self) -> bool {
        self.learning.load(Ordering::Relaxed) && self.asked.fetch_add(1, Ordering::Relaxed) > 0
    }
}

#[test]
fn a_stopped_forest_is_usable_says_so_and_continues_to_the_bytes_of_one_never_stopped() {
    let (table, _) = generated(SynthKind::NieWagerB, 1_500, 1);
    for part in ["false", "true"] {
        let learner = format!("learner: {{kind: causal_forest, n_trees: 600, min_arm_rows: 20, linear_part: {part}}}");
        let (config, data) = dataset(Y, &learner, table.clone());
        let whole = train(&config, &data, &Silent).unwrap();
        let stopped = train(&config, &data, &StopsEarly::default()).unwrap();
        let forest = &stopped.report.forests[0];
        assert!(forest.n_trees > 0 && forest.n_trees < 600 && forest.n_trees_asked == 600, "{}", forest.n_trees);
        let warned =
            |warnings: &[Warning]| warnings.iter().any(|w| matches!(w, Warning::SmallerForest { asked: 600, .. }));
        assert!(warned(&stopped.report.warnings) && !warned(&whole.report.warnings));
        let answer = stopped.model.predict(&stopped.model.encode(&table).unwrap(), &table).unwrap();
        assert!(answer[0].cate[0].iter().all(|effect| effect.is_finite()));
        let mut other = data.clone();
        other.outcomes[0].values[7] += 1.0;
        let refused = continue_training(&config, &other, stopped.clone(), &Silent).unwrap_err();
        assert!(matches!(refused, CausalError::OtherTraining { .. }), "{refused}");
        let continued = continue_training(&config, &data, stopped, &Silent).unwrap();
        assert_eq!((continued.model, continued.report), (whole.model, whole.report));
    }
}

#[test]
fn averages_projection_and_calibration_find_what_is_known() {
    // τ = x1 + log(1 + exp(x2)) in a randomised trial.
    let (table, tau) = generated(SynthKind::NieWagerB, 6_000, 2);
    let x1 = table.column("x1").unwrap().numbers().unwrap().to_vec();
    let (config, data) = dataset(Y, "learner: {kind: causal_forest, n_trees: 100, min_arm_rows: 10}", table);
    let trained = train(&config, &data, &Silent).unwrap();
    let rows = forest_rows(&config, &data, &trained.model, &Silent).unwrap().remove(0).remove(0);
    let report = &trained.report.forests[0];
    assert_eq!(report.averages, [forest_averages(&rows)]);
    assert_eq!(report.calibration[0].test, calibration_test(&rows).unwrap());
    let mean = tau.iter().sum::<f64>() / tau.len() as f64;
    for whom in [Whom::All, Whom::Treated, Whom::Control, Whom::Overlap] {
        within(&forest_average(&rows, whom), mean, 3.5);
    }
    let projection = best_linear_projection(&rows, &[("x1", &x1), ("again", &x1)]).unwrap();
    within(&projection[1].estimate, 1.0, 3.5);
    assert!(projection[2].estimate.reason().unwrap().contains("combination"));
    let test = calibration_test(&rows).unwrap();
    within(&test.mean_prediction, 1.0, 3.5);
    let slope = test.differential_prediction.value().unwrap();
    assert!((0.8..1.4).contains(&slope) && test.p_differential.unwrap() < 1e-6, "{slope}");
    // Twice the effect has half the slope, and no effect differences have none.
    let double = ContrastRows { effect: rows.effect.iter().map(|effect| 2.0 * effect).collect(), ..rows.clone() };
    let half = calibration_test(&double).unwrap().differential_prediction.value().unwrap();
    assert!((half - slope / 2.0).abs() < 1e-9);
    let flat = ContrastRows { effect: vec![0.1 + 0.2; rows.effect.len()], ..rows };
    let test = calibration_test(&flat).unwrap();
    assert!(test.differential_prediction.reason().unwrap().starts_with("no heterogeneity predicted"));
    assert_eq!((test.p_differential, test.p_differential_two_sided), (None, None));
}

#[test]
fn the_treated_and_the_control_have_averages_of_their_own() {
    // Nie-Wager A: the chance of treatment depends on features that move the effect.
    let (table, tau) = generated(SynthKind::NieWagerA, 12_000, 3);
    let learner = "nuisance: {n_trees: 60}\nassignment: {kind: observational}\nlearner: {kind: causal_forest, n_trees: 60, min_arm_rows: 20}";
    let yaml = format!("data: {{path: x}}\nroles: {{treatment: treatment, {Y}}}\nsplit: {{holdout: 0}}\n{learner}\n");
    let config = Config::from_yaml(&yaml, "c.yaml", &[]).unwrap().check(table.names()).unwrap();
    let data = config.dataset(table, (0..12_000).collect()).unwrap();
    let trained = train(&config, &data, &Silent).unwrap();
    let averages = &trained.report.forests[0].averages[0];
    let of = |arm: Option<u8>| {
        let (mut sum, mut n) = (0.0, 0.0);
        for (tau, &code) in tau.iter().zip(&data.treatment.codes) {
            if arm.is_none_or(|arm| arm == code) {
                sum += tau;
                n += 1.0;
            }
        }
        sum / n
    };
    let (all, treated, control) = (of(None), of(Some(1)), of(Some(0)));
    assert!(treated - control > 0.05, "{treated} {control}");
    within(&averages.all, all, 3.5);
    within(&averages.treated, treated, 3.5);
    within(&averages.control, control, 3.5);
    assert!(averages.treated.value() > averages.control.value());
}

#[test]
fn effect_scores_match_hand_computed_ones() {
    // τ̂ = 2, m = 1, p = ½ each: μ̂₀ = 0, μ̂₁ = 2. Scores: 2 + (3 − 2)/½, 2 − (1 − 0)/½, and 2 for
    // the row of another arm.
    let rows = ContrastRows {
        arm: "a".into(),
        rows: vec![0, 1, 2],
        received: vec![1, 0, 2],
        outcome: vec![3.0, 1.0, 9.0],
        outcome_hat: vec![1.0; 3],
        p_arm: vec![0.5; 3],
        p_control: vec![0.5; 3],
        effect: vec![2.0; 3],
        weights: None,
        clusters: None,
    };
    assert_eq!(effect_scores(&rows), [4.0, 0.0, 2.0]);
    // Treated: (3 − 0) − (1 − 0) over one treated row.
    assert_eq!(forest_average(&rows, Whom::Treated).value(), Some(2.0));
    // Control: (3 − 2) − (1 − 2) over one control row.
    assert_eq!(forest_average(&rows, Whom::Control).value(), Some(2.0));
    // Overlap: residuals (2, ½) and (0, −½): 1 / ½.
    assert_eq!(forest_average(&rows, Whom::Overlap).value(), Some(2.0));
}

#[test]
fn merged_forests_answer_with_the_trees_of_both() {
    let (table, _) = generated(SynthKind::NieWagerB, 1_500, 4);
    let grow = |seed: u64| {
        let learner = format!(
            "split: {{holdout: 0, seed: {seed}}}\nlearner: {{kind: causal_forest, n_trees: 40, min_arm_rows: 10, linear_part: true}}"
        );
        let yaml = format!(
            "data: {{path: x}}\nroles: {{treatment: treatment, {Y}}}\nnuisance: {{kind: least_squares}}\n{learner}\n"
        );
        let config = Config::from_yaml(&yaml, "c.yaml", &[]).unwrap().check(table.names()).unwrap();
        let data = config.dataset(table.clone(), (0..1_500).collect()).unwrap();
        train(&config, &data, &Silent).unwrap().model
    };
    let (one, two) = (grow(1), grow(2));
    let both = merge_forests(one.clone(), two.clone()).unwrap();
    let answer = |model: &impactiq_causal::CausalModel| {
        model.predict(&model.encode(&table).unwrap(), &table).unwrap().remove(0).cate.remove(0)
    };
    let (a, b, ab) = (answer(&one), answer(&two), answer(&both));
    let gap = |x: &[f64]| x.iter().zip(a.iter().zip(&b)).map(|(x, (a, b))| (x - 0.5 * (a + b)).abs()).sum::<f64>();
    assert!(gap(&ab) < 0.2 * gap(&a), "{} {}", gap(&ab), gap(&a));
    let refused = merge_forests(one.clone(), one).unwrap_err();
    assert!(refused.to_string().contains("share trees"), "{refused}");
}

#[test]
fn clusters_widen_the_averages_and_arms_beyond_four_have_forests_of_their_own() {
    let made = generate(SynthKind::Clustered, &SynthOptions::default(), 4_000, Seed::new(5)).unwrap();
    let learner = "learner: {kind: causal_forest, n_trees: 40}";
    let error = |cluster: &str| {
        let roles = format!("{Y}{cluster}");
        let (config, data) = dataset(&roles, learner, made.table.clone());
        let report = train(&config, &data, &Silent).unwrap().report;
        let averages = &report.forests[0].averages[0];
        within(&averages.all, report.contrasts[0].ate.value().unwrap(), 1.0);
        assert!(!report.forests[0].candidates.is_empty());
        averages.all.std_error().unwrap()
    };
    let (with, without) = (error(", cluster: cluster"), error(", features: ['x*']"));
    assert!(with > 1.2 * without, "{with} {without}");
    let options = SynthOptions { n_arms: 6, ..SynthOptions::default() };
    let made = generate(SynthKind::MultiArm, &options, 6_000, Seed::new(6)).unwrap();
    let roles = "control: control, outcome: y, post_treatment: converted";
    let (config, data) = dataset(roles, "learner: {kind: causal_forest, n_trees: 30, min_arm_rows: 20}", made.table);
    let report = train(&config, &data, &Silent).unwrap().report;
    assert_eq!(report.forests.len(), 5);
    for (forest, contrast) in report.forests.iter().zip(&report.contrasts) {
        assert_eq!(forest.averages[0].arm, contrast.arm);
        within(&forest.averages[0].all, contrast.ate.value().unwrap(), 1.0);
        let share = forest.averages[0].all.std_error().unwrap() / contrast.ate.std_error().unwrap();
        assert!((0.8..1.25).contains(&share), "{share}");
    }
}

#[test]
fn tests_on_an_independent_half_find_nothing_where_there_is_nothing() {
    let (table, _) = generated(SynthKind::NieWagerB, 1_200, 7);
    let yaml = format!(
        "data: {{path: x}}\nroles: {{treatment: treatment, {Y}}}\nnuisance: {{kind: least_squares, folds: 2}}\n\
         split: {{holdout: 0}}\nlearner: {{kind: causal_forest, n_trees: 20, min_arm_rows: 10}}\n"
    );
    let found: Vec<_> =
        (0..40).map(|permutation| permuted::p_values(&table, "treatment", &yaml, permutation).unwrap()).collect();
    let rejected = |p: fn(&permuted::PValues) -> Option<f64>| {
        assert!(found.iter().all(|found| p(found).is_some()));
        found.iter().filter(|found| p(found).is_some_and(|p| p < 0.05)).count()
    };
    // Binomial(40, 5 %) exceeds 7 once in 500 times; without permuting, all of them reject.
    for count in [rejected(|p| p.calibration), rejected(|p| p.autoc), rejected(|p| p.qini)] {
        assert!(count <= 7, "{count} of 40");
    }
}
