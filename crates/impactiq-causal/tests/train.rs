//! From a config and rows to a model, a report and an evaluation: what users rely on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use impactiq_causal::train::STAGES;
use impactiq_causal::{CausalError, CheckedConfig, Config, Trained, Warning, check, evaluate, evaluate_scores, train};
use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{Column, Dataset, Seed, Silent, Table, Watch};

fn generated(kind: SynthKind, n: usize, seed: u64) -> (Table, Table) {
    let made = generate(kind, &SynthOptions::default(), n, Seed::new(seed)).unwrap();
    (made.table, made.truth)
}

fn dataset(yaml: &str, table: Table) -> (CheckedConfig, Dataset) {
    let config = Config::from_yaml(yaml, "c.yaml", &[]).unwrap().check(table.names()).unwrap();
    let n = table.n_rows() as u64;
    let data = config.dataset(table, (0..n).collect()).unwrap();
    (config, data)
}

const CRITEO: &str = "data: {path: x}\n\
    roles: {treatment: treatment, control: 0, outcome: [visit, conversion], post_treatment: exposure}\n\
    assignment: {probability: 0.85}\nnuisance: {n_trees: 30}\n";

const CONTINUOUS: &str = "data: {path: x}\nroles: {treatment: treatment, control: 0, outcome: y}\n\
    nuisance: {n_trees: 60}\n";

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn a_trial_gives_averages_a_model_and_the_agreed_json() {
    let (table, truth) = generated(SynthKind::Criteo, 60_000, 1);
    let (config, data) = dataset(CRITEO, table);
    let Trained { model, report } = train(&config, &data, &Silent).unwrap();
    assert_eq!((report.n_rows, report.contrasts.len()), (60_000, 2));
    // Every stratum is rounded for itself: two arms by two rare outcomes.
    assert!(report.n_holdout.abs_diff(18_000) <= 3, "{}", report.n_holdout);
    let visit = &report.contrasts[0];
    let tau = mean(truth.column("tau").unwrap().numbers().unwrap());
    let value = visit.ate.value().unwrap();
    assert!((value - tau).abs() < 4.0 * visit.ate.std_error().unwrap(), "{value} is far from {tau}");
    // Adjustment must not widen the interval of a trial.
    let plain = visit.estimators.difference_in_means.std_error().unwrap();
    assert!(visit.estimators.aipw.std_error().unwrap() < plain && visit.estimators.lin.std_error().unwrap() < plain);
    let n_treated = report.arms.0[1].1 as f64;
    assert!((visit.incremental.value().unwrap() - n_treated * value).abs() < 1e-6);

    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["arms"].as_object().unwrap().keys().collect::<Vec<_>>(), ["0", "1"]);
    let contrast = &json["contrasts"][1];
    assert_eq!((&contrast["outcome"], &contrast["arm"]), (&"conversion".into(), &"1".into()));
    for key in ["ate", "relative_lift"] {
        for part in ["value", "std_error", "lower", "upper", "n"] {
            assert!(contrast[key][part].is_number(), "{key}.{part}");
        }
    }
    for name in ["difference_in_means", "lin", "aipw", "ipw", "tmle"] {
        assert!(contrast["estimators"][name]["value"].is_number(), "{name}");
    }
    assert!(json["nuisance"]["outcomes"][0]["arms"][0]["value"].is_number());
    assert_eq!(serde_json::from_value::<impactiq_causal::TrainReport>(json).unwrap(), report);

    let held: Vec<u32> = config.holdout(&data).unwrap().iter().zip(0..).filter(|(h, _)| **h).map(|(_, r)| r).collect();
    let report = evaluate(&model, &data, &held, &config, &Silent).unwrap();
    assert_eq!((report.n_rows, report.contrasts.len()), (18_001, 2));
    let metrics = &report.contrasts[0].evaluation.metrics;
    for name in ["qini_counts", "qini_per_capita", "uplift_at_10", "rate_autoc", "rate_qini", "qini_sklift"] {
        assert!(metrics.get(name).is_some_and(|m| m.value().is_some()), "{name}");
    }
    assert!(metrics.get("rate_autoc").unwrap().std_error().is_some());
}

#[test]
fn the_truth_as_a_score_ranks_better_than_its_opposite() {
    let (table, truth) = generated(SynthKind::NieWagerB, 6_000, 2);
    let yaml = format!("{CONTINUOUS}assignment: {{probability: 0.5}}\n");
    let tau = truth.column("tau").unwrap().numbers().unwrap().to_vec();
    for scores in ["aipw", "ipw"] {
        let (config, data) = dataset(&format!("{yaml}evaluate: {{scores: {scores}}}\n"), table.clone());
        let rows: Vec<u32> = (0..6_000).collect();
        let autoc = |score: Vec<f64>| {
            let report = evaluate_scores(vec![vec![score]], &data, &rows, &config, &Silent).unwrap();
            report.contrasts[0].evaluation.metrics.get("rate_autoc").unwrap().clone()
        };
        let (good, bad) = (autoc(tau.clone()), autoc(tau.iter().map(|t| -t).collect()));
        assert!(good.lower().unwrap() > 0.0 && bad.upper().unwrap() < 0.0, "{scores}: {good:?} {bad:?}");
    }
}

#[test]
fn nothing_of_a_held_out_row_reaches_the_learner() {
    let (table, _) = generated(SynthKind::NieWagerB, 2_000, 8);
    let learners = [
        "s, base: boosted",
        "t, base: boosted",
        "s, base: ridge",
        "t, base: ridge",
        "causal_forest, n_trees: 8",
        "x, n_trees: 8",
        "r, n_trees: 8",
        "dr, n_trees: 8",
        "nonparam_dml, base: ridge",
        "transformed_outcome, base: ridge",
    ];
    for learner in learners {
        let yaml = format!("{CONTINUOUS}learner: {{kind: {learner}}}\n");
        let (config, mut data) = dataset(&yaml, table.clone());
        let held_out = config.holdout(&data).unwrap();
        let model = train(&config, &data, &Silent).unwrap().model;
        for (value, held) in data.outcomes[0].values.iter_mut().zip(&held_out) {
            *value += if *held { 1000.0 } else { 0.0 };
        }
        assert_eq!(train(&config, &data, &Silent).unwrap().model, model, "{learner}");
        let learned_from = held_out.iter().position(|held| !held).unwrap();
        data.outcomes[0].values[learned_from] += 1000.0;
        assert_ne!(train(&config, &data, &Silent).unwrap().model, model, "{learner}");
    }
}

#[test]
fn few_evaluation_rows_borrow_the_nuisances_of_all_rows() {
    let (table, truth) = generated(SynthKind::NieWagerB, 6_000, 3);
    let (config, data) = dataset(CONTINUOUS, table);
    let tau = truth.column("tau").unwrap().numbers().unwrap();
    let rows: Vec<u32> = (0..40).map(|i| i * 100).collect();
    let score = rows.iter().map(|&row| tau[row as usize]).collect();
    let report = evaluate_scores(vec![vec![score]], &data, &rows, &config, &Silent).unwrap();
    // 40 rows alone would leave about 20 per arm; the report shows what the models learned from.
    assert!(report.nuisance.unwrap().outcomes[0].arms[0].loss.n > 2_000);
}

#[test]
fn confounding_is_removed_and_said_aloud() {
    // Nie-Wager C: a constant effect of 1, treatment depends on features.
    let (table, _) = generated(SynthKind::NieWagerC, 20_000, 4);
    let (config, data) = dataset(&format!("{CONTINUOUS}assignment: {{kind: observational}}\n"), table);
    let report = train(&config, &data, &Silent).unwrap().report;
    let estimators = &report.contrasts[0].estimators;
    let aipw = &estimators.aipw;
    assert!((aipw.value().unwrap() - 1.0).abs() < 4.0 * aipw.std_error().unwrap(), "{aipw:?}");
    let raw = &estimators.difference_in_means;
    assert!((raw.value().unwrap() - 1.0).abs() > 4.0 * raw.std_error().unwrap(), "{raw:?}");
    assert!(report.warnings.contains(&Warning::Observational));
    // Weighting takes most of the differences away that confound.
    let love = &report.weighted_balance;
    let worst = |pick: &dyn Fn(&impactiq_causal::health::WeightedBalance) -> f64| {
        love.iter().map(|row| pick(row).abs()).fold(0.0, f64::max)
    };
    assert!(love.len() >= 5 && worst(&|row| row.smd) > 0.4, "{love:?}");
    assert!(worst(&|row| row.smd_ipw) < 0.15 && worst(&|row| row.smd_overlap) < 0.1, "{love:?}");
    // Chosen treatments: the effect on the treated is a question of its own.
    let targets = serde_json::to_value(&report.contrasts[0].estimands).unwrap();
    let names: Vec<&str> = targets.as_array().unwrap().iter().map(|t| t["estimand"].as_str().unwrap()).collect();
    assert_eq!(names, ["att", "atc", "overlap"]);
    assert!(targets[0]["aipw"]["std_error"].is_number() && targets[1]["tmle"]["n"].is_number());
    assert!(targets[2]["tmle"]["reason"].is_string());
    assert_eq!(report.nuisance.propensity, "learned");
    let loss = &report.nuisance.propensity_losses[0].loss;
    assert!(loss.value < loss.constant);
}

#[test]
fn arms_without_overlap_are_refused_where_assignment_is_learned() {
    let (mut table, _) = generated(SynthKind::NieWagerB, 4_000, 5);
    let Column::Number(x) = table.take("x1").unwrap() else { unreachable!() };
    table.take("treatment").unwrap();
    table.push("treatment", Column::Number(x.iter().map(|x| f64::from(u8::from(*x > 0.0))).collect())).unwrap();
    table.push("x1", Column::Number(x)).unwrap();
    let (config, data) = dataset(&format!("{CONTINUOUS}assignment: {{kind: observational}}\n"), table);
    let err = train(&config, &data, &Silent).unwrap_err();
    assert!(matches!(err, CausalError::NoOverlap { .. }), "{err}");
    assert!(!check(&config, &data, &Silent).unwrap().passed);
}

#[test]
fn declared_probabilities_per_row_take_out_their_confounding() {
    // Treatment is likelier where x1 is high, by a known probability.
    let (mut table, truth) = generated(SynthKind::NieWagerB, 20_000, 6);
    let x1 = table.column("x1").unwrap().numbers().unwrap().to_vec();
    let (mu, tau): (Vec<f64>, Vec<f64>) = {
        let tau = truth.column("tau").unwrap().numbers().unwrap();
        (x1.iter().map(|x| 2.0 * x).collect(), tau.to_vec())
    };
    let p: Vec<f64> = x1.iter().map(|x| if *x > 0.0 { 0.8 } else { 0.3 }).collect();
    let t: Vec<f64> = p.iter().zip(0u64..).map(|(p, i)| f64::from(u8::from(Seed::new(8).uniform(i) < *p))).collect();
    let y = (0..20_000).map(|i| mu[i] + t[i] * tau[i] + Seed::new(9).uniform(i as u64)).collect();
    table.take("treatment").unwrap();
    table.take("y").unwrap();
    for (name, values) in [("treatment", t), ("y", y), ("p", p)] {
        table.push(name, Column::Number(values)).unwrap();
    }
    let yaml = format!("{CONTINUOUS}assignment: {{probability: p}}\n");
    let (config, data) = dataset(&yaml, table.clone());
    let report = train(&config, &data, &Silent).unwrap().report;
    let wanted = mean(&tau);
    let estimators = &report.contrasts[0].estimators;
    for (name, e) in
        [("difference", &estimators.difference_in_means), ("lin", &estimators.lin), ("aipw", &estimators.aipw)]
    {
        let error = (e.value().unwrap() - wanted).abs();
        assert!(error < 4.0 * e.std_error().unwrap() + 0.02, "{name}: {e:?} for {wanted}");
    }
    // The same trial without its declaration looks broken, and the guard says so.
    table.take("p").unwrap();
    let (config, data) = dataset(CONTINUOUS, table);
    let err = train(&config, &data, &Silent).unwrap_err();
    assert!(err.hint().unwrap().contains("assignment.probability per row"), "{err}");
}

#[test]
fn shares_that_differ_by_a_little_are_a_warning() {
    let n = 40_000;
    let (mut table, _) = generated(SynthKind::NieWagerB, n, 7);
    let x1 = table.column("x1").unwrap().numbers().unwrap().to_vec();
    // Enough for a p-value of 1e-4 or so, too little for the guard.
    let t = (0..n).map(|i| f64::from(u8::from(Seed::new(1).uniform(i as u64) < 0.5 + 0.0085 * x1[i]))).collect();
    table.take("treatment").unwrap();
    table.push("treatment", Column::Number(t)).unwrap();
    let (config, data) = dataset(CONTINUOUS, table);
    let warnings = train(&config, &data, &Silent).unwrap().report.warnings;
    assert!(
        warnings.iter().any(|w| matches!(w, Warning::SharesDiffer { feature, .. } if feature == "x1")),
        "{warnings:?}"
    );
}

#[test]
fn a_feature_known_only_after_treatment_stops_training() {
    let (table, _) = generated(SynthKind::Criteo, 30_000, 1);
    let yaml = CRITEO.replace("post_treatment: exposure", "features: ['f*', exposure]");
    let (config, data) = dataset(&yaml, table);
    let err = train(&config, &data, &Silent).unwrap_err();
    assert!(err.to_string().contains("post-treatment or broken randomisation"), "{err}");
    let report = check(&config, &data, &Silent).unwrap();
    assert!(!report.passed && !report.gates.iter().find(|g| g.name == "post_treatment").unwrap().passed);
}

#[test]
fn logistic_models_refuse_other_outcomes_by_key() {
    let (table, _) = generated(SynthKind::NieWagerB, 500, 1);
    for (key, section) in
        [("nuisance.kind", "nuisance: {kind: logistic}"), ("learner.base", "learner: {base: logistic}")]
    {
        let yaml = format!("{}{section}\n", CONTINUOUS.replace("nuisance: {n_trees: 60}\n", ""));
        let (config, data) = dataset(&yaml, table.clone());
        let err = train(&config, &data, &Silent).unwrap_err();
        assert_eq!(err, CausalError::NotBinary { key, column: "y".into() });
    }
}

#[test]
fn an_arm_that_is_too_small_for_the_folds_is_named() {
    let (mut table, _) = generated(SynthKind::NieWagerB, 300, 1);
    table.take("treatment").unwrap();
    table.push("treatment", Column::Number((0..300).map(|i| f64::from(u8::from(i < 2))).collect())).unwrap();
    let (config, data) = dataset(CONTINUOUS, table);
    let err = train(&config, &data, &Silent).unwrap_err();
    let CausalError::TooFewRows { what, .. } = &err else { panic!("{err}") };
    assert!(what.contains("arm '1'"), "{what}");
}

#[test]
fn an_event_that_never_happens_in_one_arm_is_predicted_as_never() {
    let (mut table, _) = generated(SynthKind::NieWagerB, 1_000, 1);
    let t = table.column("treatment").unwrap().numbers().unwrap().to_vec();
    table.take("y").unwrap();
    table
        .push("y", Column::Number(t.iter().zip(0..).map(|(t, i)| t * f64::from(u8::from(i % 3 == 0))).collect()))
        .unwrap();
    let (config, data) = dataset(CONTINUOUS, table.clone());
    let Trained { model, report } = train(&config, &data, &Silent).unwrap();
    let predictions = model.predict(&model.encode(&table).unwrap(), &table).unwrap();
    assert!(predictions[0].mean[0].iter().all(|mean| *mean == 0.0));
    assert!(report.contrasts[0].relative_lift.reason().is_some());
    assert!(report.warnings.iter().any(|w| matches!(w, Warning::FewEvents { n: 0, .. })));
}

#[test]
fn several_arms_give_a_column_each_and_the_best_arm() {
    let (table, truth) = generated(SynthKind::MultiArm, 12_000, 1);
    let yaml = "data: {path: x}\nroles: {treatment: treatment, control: control, outcome: y, post_treatment: converted}\n\
        nuisance: {n_trees: 40}\n";
    let (config, data) = dataset(yaml, table.clone());
    let Trained { model, report } = train(&config, &data, &Silent).unwrap();
    assert_eq!(report.contrasts.iter().map(|c| c.arm.as_str()).collect::<Vec<_>>(), ["arm_1", "arm_2"]);
    for (contrast, wanted) in report.contrasts.iter().zip([0.517, 0.5]) {
        let (value, error) = (contrast.ate.value().unwrap(), contrast.ate.std_error().unwrap());
        assert!((value - wanted).abs() < 4.0 * error, "{} is {value}, not {wanted}", contrast.arm);
    }
    let predictions = model.predict(&model.encode(&table).unwrap(), &table).unwrap().remove(0);
    let best = predictions.best_arm();
    let effect = |arm: u8, row: usize| match arm {
        0 => 0.0,
        arm => truth.column(&format!("tau_arm_{arm}")).unwrap().numbers().unwrap()[row],
    };
    let chosen: f64 = (0..12_000).map(|row| effect(best[row], row)).sum();
    let always: f64 = (0..12_000).map(|row| effect(1, row)).sum();
    assert!(chosen > 1.3 * always, "choosing by row {chosen} against one arm for all {always}");
}

#[derive(Default)]
struct Recorder {
    stages: Mutex<Vec<String>>,
    calls: AtomicU64,
    stop_after: Option<u64>,
}

impl Watch for Recorder {
    fn progress(&self, stage: &str, done: u64, total: u64) {
        assert!(done <= total, "{stage}: {done} of {total}");
        let mut stages = self.stages.lock().unwrap();
        if stages.last().map(String::as_str) != Some(stage) {
            stages.push(stage.to_owned());
        }
    }

    fn should_stop(&self) -> bool {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        self.stop_after.is_some_and(|limit| calls >= limit)
    }
}

#[test]
fn a_watch_hears_the_stages_in_order_and_can_stop_them() {
    let (table, _) = generated(SynthKind::NieWagerB, 1_000, 1);
    let (config, data) = dataset(CONTINUOUS, table);
    let watch = Recorder::default();
    train(&config, &data, &watch).unwrap();
    // Double machine learning was not asked for.
    let expected: Vec<&str> = STAGES.into_iter().filter(|stage| *stage != "dml").collect();
    assert_eq!(*watch.stages.lock().unwrap(), expected);
    let asked = watch.calls.load(Ordering::Relaxed);
    for stop_after in [0, asked / 2, asked - 2] {
        let watch = Recorder { stop_after: Some(stop_after), ..Recorder::default() };
        assert_eq!(train(&config, &data, &watch).unwrap_err(), CausalError::Stopped);
    }
}

#[test]
fn row_level_effects_beat_the_average_for_everybody() {
    let (table, _) = generated(SynthKind::NieWagerB, 4_000, 1);
    let (fresh, truth) = generated(SynthKind::NieWagerB, 20_000, 2);
    let tau = truth.column("tau").unwrap().numbers().unwrap();
    let spread = mean(&tau.iter().map(|t| (t - mean(tau)).powi(2)).collect::<Vec<_>>()).sqrt();
    for kind in ["s", "t", "causal_forest, n_trees: 60"] {
        let (config, data) = dataset(&format!("{CONTINUOUS}learner: {{kind: {kind}}}\n"), table.clone());
        let model = train(&config, &data, &Silent).unwrap().model;
        let cate = model.predict(&model.encode(&fresh).unwrap(), &fresh).unwrap().remove(0).cate.remove(0);
        let error = mean(&cate.iter().zip(tau).map(|(c, t)| (c - t).powi(2)).collect::<Vec<_>>()).sqrt();
        assert!(error < 0.5 * spread, "{kind}: {error} against {spread}");
    }
}

/// Coverage is measured, not promised: a forest's interval is that of its own, smoothed estimate.
#[test]
fn a_causal_forest_knows_a_known_effect_and_how_well() {
    let (table, _) = generated(SynthKind::NieWagerA, 10_000, 3);
    let (fresh, truth) = generated(SynthKind::NieWagerA, 4_000, 4);
    let tau = truth.column("tau").unwrap().numbers().unwrap();
    let yaml = "data: {path: x}\nroles: {treatment: treatment, control: 0, outcome: y}\n\
                assignment: {kind: observational}\nlearner: {kind: causal_forest, n_trees: 200}\n";
    let (config, data) = dataset(yaml, table);
    let Trained { model, report } = train(&config, &data, &Silent).unwrap();
    let predicted = model.predict(&model.encode(&fresh).unwrap(), &fresh).unwrap().remove(0);
    let cate = &predicted.cate[0];
    let error = mean(&cate.iter().zip(tau).map(|(c, t)| (c - t).powi(2)).collect::<Vec<_>>()).sqrt();
    assert!(error < 0.19, "{error}");
    let covered = (0..tau.len()).filter(|&i| predicted.lower[0][i] <= tau[i] && tau[i] <= predicted.upper[0][i]);
    let share = covered.count() as f64 / tau.len() as f64;
    assert!((0.75..=1.0).contains(&share), "{share}");
    // The effect is the middle of its interval; without intervals it is the same effect.
    for (i, c) in cate.iter().enumerate() {
        assert!((0.5 * (predicted.lower[0][i] + predicted.upper[0][i]) - c).abs() < 1e-9);
    }
    let plain = model.predict_effects(&model.encode(&fresh).unwrap(), &fresh).unwrap().remove(0);
    assert_eq!((&plain.cate, plain.lower.len(), plain.mean.len()), (&predicted.cate, 0, 0));
    let forest = &report.forests[0];
    assert_eq!((forest.chosen_by.as_str(), forest.n_trees, forest.shrinkage), ("r_loss", 200, 1.0));
    // What was chosen is one of the candidates: a leaf size, or no trees at all.
    let size = (forest.mean_leaves > 1.0).then_some(forest.min_arm_rows);
    let chosen = forest.candidates.iter().find(|c| (c.min_arm_rows, c.linear) == (size, forest.linear)).unwrap();
    // Caution may pass the least loss by, never what one effect for everybody has.
    let stumps = forest.candidates.iter().find(|c| c.min_arm_rows.is_none() && !c.linear).unwrap();
    assert!(chosen.r_loss <= stumps.r_loss, "{forest:?}");
    // Sizes that take turns with it were tried too, and the best comes first.
    let tried = |size: &u32| forest.candidates.iter().any(|c| c.min_arm_rows == Some(*size));
    assert_eq!(forest.leaf_sizes.first(), Some(&forest.min_arm_rows));
    assert!(forest.mean_leaves == 1.0 || forest.leaf_sizes.iter().all(tried), "{forest:?}");
}

#[test]
fn where_the_effect_is_the_same_for_everybody_a_forest_says_so() {
    let n = 4_000u64;
    let column = |stream: u64| -> Vec<f64> { (0..n).map(|row| Seed::new(stream).uniform(row)).collect() };
    let (x, z, noise) = (column(1), column(2), column(3));
    let t: Vec<f64> = column(4).iter().map(|u| f64::from(u8::from(*u < 0.5))).collect();
    let y: Vec<f64> = (0..n as usize).map(|i| 2.0 * x[i] + t[i] + noise[i]).collect();
    let columns = [("x", x), ("z", z), ("t", t), ("y", y)].map(|(name, v)| (name.to_owned(), v));
    let table = impactiq_data::dataset::number_table(columns.to_vec()).unwrap();
    let yaml = "data: {path: x}\nroles: {treatment: t, control: 0, outcome: y}\nsplit: {holdout: 0}\n\
                learner: {kind: causal_forest, n_trees: 60}\n";
    let (config, data) = dataset(yaml, table.clone());
    let Trained { model, report } = train(&config, &data, &Silent).unwrap();
    assert!(report.forests[0].constant, "{:?}", report.forests);
    let cate = model.predict(&model.encode(&table).unwrap(), &table).unwrap().remove(0).cate.remove(0);
    assert!(cate.iter().all(|c| c == &cate[0]) && (cate[0] - 1.0).abs() < 0.15, "{}", cate[0]);
}

#[test]
fn shrunken_effects_lie_between_the_forests_own_and_the_average_and_have_no_interval() {
    let (table, _) = generated(SynthKind::NieWagerA, 2_000, 6);
    let run = |shrink: bool| {
        let yaml = format!(
            "data: {{path: x}}\nroles: {{treatment: treatment, control: 0, outcome: y}}\n\
             assignment: {{kind: observational}}\nsplit: {{holdout: 0}}\n\
             learner: {{kind: causal_forest, n_trees: 40, min_arm_rows: 5, shrink: {shrink}}}\n"
        );
        let (config, data) = dataset(&yaml, table.clone());
        let Trained { model, report } = train(&config, &data, &Silent).unwrap();
        let predicted = model.predict(&model.encode(&table).unwrap(), &table).unwrap().remove(0);
        (predicted, report.forests[0].shrinkage)
    };
    let ((own, all), (shrunk, share)) = (run(false), run(true));
    assert!(all == 1.0 && (0.0..1.0).contains(&share), "{share}");
    assert!(own.lower[0].iter().all(|l| l.is_finite()) && shrunk.lower[0].iter().all(|l| l.is_nan()));
    let spread = |cate: &[f64]| cate.iter().map(|c| (c - mean(cate)).abs()).fold(0.0, f64::max);
    assert!((spread(&shrunk.cate[0]) - share * spread(&own.cate[0])).abs() < 1e-9);
}

#[test]
fn more_arms_than_a_forest_holds_have_a_forest_each_and_clusters_and_weights_serve() {
    // Six arms of known effects 0, 1, …, 5, rows in clusters of four.
    let n = 3_000usize;
    let column = |stream: u64| -> Vec<f64> { (0..n as u64).map(|row| Seed::new(stream).uniform(row)).collect() };
    let (x, noise) = (column(1), column(2));
    let t: Vec<f64> = column(3).iter().map(|u| (u * 6.0).floor()).collect();
    let y: Vec<f64> = (0..n).map(|i| x[i] + t[i] + noise[i]).collect();
    let g: Vec<f64> = (0..n).map(|i| (i / 4) as f64).collect();
    let w: Vec<f64> = column(4).iter().map(|u| 0.5 + u).collect();
    let columns = [("x", x), ("t", t), ("y", y), ("g", g), ("w", w)].map(|(name, v)| (name.to_owned(), v));
    let table = impactiq_data::dataset::number_table(columns.to_vec()).unwrap();
    let yaml = "data: {path: x}\nroles: {treatment: t, control: 0, outcome: y, cluster: g, weight: w}\n\
                nuisance: {kind: least_squares}\nlearner: {kind: causal_forest, n_trees: 20}\n";
    let (config, data) = dataset(yaml, table.clone());
    let Trained { model, report } = train(&config, &data, &Silent).unwrap();
    assert_eq!(report.forests.len(), 5);
    let predicted = model.predict(&model.encode(&table).unwrap(), &table).unwrap().remove(0);
    for (k, cate) in predicted.cate.iter().enumerate() {
        assert!((mean(cate) - (k as f64 + 1.0)).abs() < 0.1, "{k}: {}", mean(cate));
    }
    assert!(predicted.best_arm().iter().all(|&arm| arm == 5));
    assert_eq!(report.forests[2].arms, ["3"]);
}
