//! Estimators that a config asks for beside the run's averages: double machine learning, two-stage
//! least squares, offers that are not always taken, trimming, CUPED, cut outcomes and ratios. Each
//! against a known truth, or against the formula it must be.

use impactiq_causal::dml::DmlKind;
use impactiq_causal::overlap::Trim;
use impactiq_causal::train::pseudo_experiment;
use impactiq_causal::{CausalError, CheckedConfig, Config, Trained, check, codec, train};
use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{Column, Dataset, Seed, Silent, Table};
use impactiq_metrics::Estimate;

fn prepared(table: &Table, text: &str) -> Result<(CheckedConfig, Dataset), CausalError> {
    let config = Config::from_yaml(&format!("data: {{path: x.csv}}\n{text}\n"), "c.yaml", &[])?;
    let config = config.check(table.names())?;
    let data = config.dataset(table.clone(), (0..table.n_rows() as u64).collect())?;
    Ok((config, data))
}

fn run(table: &Table, text: &str) -> Result<Trained, CausalError> {
    let (config, data) = prepared(table, text)?;
    train(&config, &data, &Silent)
}

fn uniform(stream: u64, n: usize) -> Vec<f64> {
    (0..n as u64).map(|i| Seed::new(11).child(stream).uniform(i)).collect()
}

/// Treated more often where x is large, y moved by 2 x and, when treated, by 1.
fn confounded(n: usize, arms: u64) -> Table {
    let (x, draw, noise) = (uniform(1, n), uniform(2, n), uniform(3, n));
    let t: Vec<f64> =
        (0..n).map(|i| if draw[i] < 0.1 + 0.8 * x[i] { 1.0 + (i as u64 % (arms - 1)) as f64 } else { 0.0 }).collect();
    let y = (0..n).map(|i| 2.0 * x[i] + t[i] + noise[i]).collect();
    let mut table = Table::new();
    table.push("x", Column::Number(x)).unwrap();
    table.push("t", Column::Number(t)).unwrap();
    table.push("y", Column::Number(y)).unwrap();
    table
}

const OBSERVATIONAL: &str = "roles: {treatment: t, control: 0, outcome: y, features: [x]}\n\
     assignment: {kind: observational}\nnuisance: {kind: least_squares}\nlearner: {kind: s, base: least_squares}\n";

fn holds(estimate: &Estimate, truth: f64) -> bool {
    let (value, error) = (estimate.value().unwrap(), estimate.std_error().unwrap());
    error > 0.0 && (value - truth).abs() < 3.5 * error
}

#[test]
fn double_machine_learning_finds_the_effect_for_every_arm_and_model() {
    let table = confounded(3_000, 3);
    let text = format!("{OBSERVATIONAL}dml: {{models: [plr, plr_iv_type, irm, irm_atte], repetitions: 3}}");
    let report = run(&table, &text).unwrap().report;
    let found: Vec<(&str, &str)> = report.dml.iter().map(|r| (r.arm.as_str(), r.model.name())).collect();
    let models = ["plr", "plr_iv_type", "irm", "irm_atte"];
    let wanted: Vec<(&str, &str)> = ["1", "2"].iter().flat_map(|arm| models.map(|model| (*arm, model))).collect();
    assert_eq!(found, wanted);
    for of in &report.dml {
        // Arm k is worth k.
        assert!(holds(&of.fit.estimate, of.arm.parse().unwrap()), "{of:?}");
        assert_eq!((of.fit.repetitions.len(), of.n_folds, of.design), (3, 5, false));
        assert!(of.n_rows < 3_000 && of.fit.nuisances.iter().any(|loss| loss.name == "ml_m"), "{of:?}");
    }
    // Other folds in every repetition.
    let values: Vec<f64> = report.dml[0].fit.repetitions.iter().map(|r| r.value().unwrap()).collect();
    assert!(values[0] != values[1] && values[1] != values[2], "{values:?}");
    assert_eq!(run(&table, &text).unwrap().report, report, "the same twice");
}

#[test]
fn a_declared_probability_is_never_learned_by_double_machine_learning() {
    let made = generate(SynthKind::NieWagerB, &SynthOptions::default(), 2_000, Seed::new(3)).unwrap();
    let text = "roles: {treatment: treatment, control: 0, outcome: y, features: [\"x*\"]}\n\
         assignment: {probability: 0.5}\nnuisance: {kind: least_squares}\nlearner: {kind: s, base: least_squares}\n\
         dml: {models: [plr, irm]}";
    let report = run(&made.table, text).unwrap().report;
    for of in &report.dml {
        assert!(of.design && of.fit.n_clipped == 0, "{of:?}");
        assert!(of.fit.nuisances.iter().all(|loss| loss.name != "ml_m"), "{of:?}");
    }
    // irm on the run's own folds with the run's probability is the run's AIPW.
    let (irm, aipw) = (&report.dml[1].fit.estimate, &report.contrasts[0].ate);
    assert_eq!(report.dml[1].model, DmlKind::Irm);
    assert!((irm.value().unwrap() - aipw.value().unwrap()).abs() < 1e-9, "{irm:?} {aipw:?}");
    assert!((irm.std_error().unwrap() / aipw.std_error().unwrap() - 1.0).abs() < 1e-3);
}

const OFFER: &str = "roles: {treatment: treatment, control: 0, instrument: encouraged, outcome: y, features: [\"x*\"]}\n\
     nuisance: {kind: least_squares}\n";

fn offer(n: usize, seed: u64) -> (Table, f64) {
    let made = generate(SynthKind::Instrument, &SynthOptions::default(), n, Seed::new(seed)).unwrap();
    let tau = made.truth.column("tau").unwrap().numbers().unwrap().to_vec();
    (made.table, tau.iter().sum::<f64>() / n as f64)
}

#[test]
fn an_instrument_is_judged_whatever_the_learner() {
    let (table, _) = offer(16_000, 5);
    let observational = "assignment: {kind: observational}\nlearner: {kind: t, base: least_squares}\n\
         dml: {models: [pliv, iivm]}\n";
    let report = run(&table, &format!("{OFFER}{observational}")).unwrap().report;
    let found = &report.two_stage[0];
    assert!(found.wald.first_stage.f.statistic > 500.0 && found.wald.anderson_rubin.contains(1.2), "{found:?}");
    let adjusted = found.adjusted.as_ref().unwrap();
    assert!(adjusted.wald.effect.std_error().unwrap() < found.wald.effect.std_error().unwrap(), "{found:?}");
    // The hidden trait pushes those who choose the treatment: least squares is far off and the test says so.
    assert!(adjusted.wu_hausman.unwrap().p_value < 0.01, "{adjusted:?}");
    assert_eq!(report.dml.len(), 2);
    let (config, data) = prepared(&table, &format!("{OFFER}{observational}")).unwrap();
    let gates = check(&config, &data, &Silent).unwrap().gates;
    assert!(gates.iter().any(|gate| gate.name == "first_stage" && gate.passed), "{gates:?}");
    let plain = run(&table, &format!("{OFFER}{observational}instruments: {{adjust: false}}\n")).unwrap().report;
    assert!(plain.two_stage[0].adjusted.is_none() && plain.two_stage[0].wald == found.wald);
}

#[test]
fn what_was_offered_by_chance_is_worth_what_it_is_to_those_who_take_it() {
    let (mut within, text) =
        (0, format!("{OFFER}assignment: {{probability: 0.5}}\nlearner: {{kind: intent_to_treat_driv}}\n"));
    for seed in [1, 2, 3] {
        let (table, truth) = offer(6_000, seed);
        let trained = run(&table, &text).unwrap();
        let table_of = &trained.report.linear[0];
        assert_eq!((table_of.arm.as_str(), table_of.n), ("1", trained.report.n_rows - trained.report.n_holdout));
        let (config, data) = prepared(&table, &text).unwrap();
        let encoded = trained.model.encode(&data.raw).unwrap();
        let effects = trained.model.predict_effects(&encoded, &data.raw).unwrap();
        let mean = effects[0].cate[0].iter().sum::<f64>() / data.n_rows() as f64;
        let error = trained.report.instruments[0].average_late.std_error().unwrap();
        within += u32::from((mean - truth).abs() < 2.0 * error);
        assert_eq!(trained.report.nuisance.propensity, "declared");
        // What is saved answers to the bit.
        let (description, bytes) = codec::encode(&trained.model).unwrap();
        let again = codec::decode(&description, &bytes).unwrap();
        let same = again.predict_effects(&encoded, &data.raw).unwrap();
        assert_eq!(same[0].cate, effects[0].cate);
        let rows: Vec<u32> = (0..data.n_rows() as u32).collect();
        let held = impactiq_causal::evaluate(&again, &data, &rows, &config, &Silent).unwrap();
        assert!(held.contrasts[0].evaluation.metrics.get("rate_autoc").is_some());
    }
    assert!(within >= 2, "{within} of 3");
}

#[test]
fn weights_of_an_offer_count_rows_twice_as_two_rows_would() {
    let (table, _) = offer(1_200, 9);
    let rows: Vec<u32> = (0..1_200).chain(0..400).collect();
    let fold = |row: u32| f64::from(row % 3);
    let mut twice = table.subset(&rows);
    twice.push("fold", Column::Number(rows.iter().map(|&row| fold(row)).collect())).unwrap();
    let mut weighted = table.clone();
    weighted.push("fold", Column::Number((0..1_200).map(fold).collect())).unwrap();
    weighted.push("w", Column::Number((0..1_200).map(|i| if i < 400 { 2.0 } else { 1.0 }).collect())).unwrap();
    let coefficients = |table: &Table, weight: &str| -> Vec<f64> {
        let roles = format!(
            "roles: {{treatment: treatment, control: 0, instrument: encouraged, outcome: y, features: [x1, x2], fold: fold{weight}}}"
        );
        let text = format!(
            "{roles}\nassignment: {{probability: 0.5}}\nnuisance: {{kind: least_squares}}\n\
             split: {{holdout: 0}}\nlearner: {{kind: intent_to_treat_driv}}\n"
        );
        let report = run(table, &text).unwrap().report;
        report.linear[0].terms.iter().map(|term| term.estimate.value().unwrap()).collect()
    };
    for (a, b) in coefficients(&twice, "").iter().zip(coefficients(&weighted, ", weight: w")) {
        // Logistic regressions of take-up stop at their tolerance.
        assert!((a - b).abs() < 1e-5 * a.abs().max(1.0), "{a} {b}");
    }
}

#[test]
fn trimming_leaves_out_whom_it_says_and_balances_the_rest() {
    let table = confounded(4_000, 2);
    let report = run(&table, &format!("{OBSERVATIONAL}averages: {{trim: 0.2}}")).unwrap().report;
    let trimmed = report.contrasts[0].trimmed.as_ref().unwrap();
    assert_eq!((trimmed.rule, trimmed.limit), (Trim::At(0.2), 0.2));
    assert_eq!(trimmed.n_kept + trimmed.n_left_out, 4_000);
    assert_eq!(trimmed.n_left_out_arm + trimmed.n_left_out_control, trimmed.n_left_out);
    // Probabilities run evenly from 0.1 to 0.9: a quarter lies outside [0.2, 0.8], a few more by a logit.
    assert!((0.2..0.4).contains(&(trimmed.n_left_out as f64 / 4_000.0)), "{trimmed:?}");
    assert!(holds(&trimmed.aipw, 1.0) && trimmed.aipw.n() == Some(trimmed.n_kept), "{trimmed:?}");
    for row in &report.weighted_balance {
        assert!(row.smd_trimmed.unwrap().abs() < 0.1 && row.smd.abs() > 0.5, "{row:?}");
    }
    let without = run(&table, OBSERVATIONAL).unwrap().report;
    assert!(without.contrasts[0].trimmed.is_none() && without.weighted_balance[0].smd_trimmed.is_none());
}

#[test]
fn a_pseudo_experiment_has_arms_alike_and_the_effect_of_the_comparable() {
    let table = confounded(6_000, 3);
    let (config, data) = prepared(&table, OBSERVATIONAL).unwrap();
    let drawn = pseudo_experiment(&config, &data, &Silent).unwrap();
    assert_eq!(drawn.arms.len(), 3);
    let (least, most) = (drawn.arms.iter().map(|a| a.n_drawn).min(), drawn.arms.iter().map(|a| a.n_drawn).max());
    // Every arm is as likely as any other among rows kept.
    assert!(most.unwrap() as f64 / (least.unwrap() as f64) < 1.25, "{:?}", drawn.arms);
    assert!(drawn.arms.iter().all(|arm| arm.n_drawn < arm.n_rows) && drawn.rows.len() > 1_000);
    for row in &drawn.balance {
        assert!(row.smd_before.abs() > 0.5 && row.smd_after.abs() < 0.12, "{row:?}");
    }
    for effect in &drawn.effects {
        let truth: f64 = effect.arm.parse().unwrap();
        assert!(holds(&effect.after, truth) && !holds(&effect.before, truth), "{effect:?}");
    }
    assert_eq!(pseudo_experiment(&config, &data, &Silent).unwrap(), drawn, "the same twice");
    let randomised = OBSERVATIONAL.replace("kind: observational", "kind: randomised");
    let (config, data) = prepared(&table, &randomised).unwrap();
    assert!(matches!(pseudo_experiment(&config, &data, &Silent), Err(CausalError::BadSetting { .. })));
}

#[test]
fn errors_by_cluster_of_averages_and_of_double_machine_learning_agree_for_clusters_of_one_size() {
    use impactiq_causal::dml::{ScoreRows, mean_of_scores};
    use impactiq_metrics::averages::mean_score;

    let scores = uniform(20, 60);
    let of_size = |size: u32| -> Vec<u32> { (0..60).map(|row| row / size).collect() };
    for size in [2, 5, 10] {
        let clusters = of_size(size);
        let ours = mean_of_scores(&scores, ScoreRows { weights: None, clusters: Some(&clusters) }).unwrap();
        let cr2 = mean_score(&scores, None, Some(&clusters));
        assert!((ours.value().unwrap() - cr2.value().unwrap()).abs() < 1e-12);
        // G/(G − 1) is the leverage correction of equal clusters, and their degrees of freedom are G − 1.
        assert!((ours.std_error().unwrap() / cr2.std_error().unwrap() - 1.0).abs() < 1e-9, "{size}");
        assert!((ours.upper().unwrap() / cr2.upper().unwrap() - 1.0).abs() < 1e-9, "{size}");
    }
    let uneven: Vec<u32> = (0..60).map(|row| if row < 30 { 0 } else { row }).collect();
    let ours = mean_of_scores(&scores, ScoreRows { weights: None, clusters: Some(&uneven) }).unwrap();
    assert!(ours.std_error() < mean_score(&scores, None, Some(&uneven)).std_error());
}

#[test]
fn crumps_limit_is_the_root_of_its_equation() {
    let spread: Vec<f64> = (1..1_000).map(|i| f64::from(i) / 1_000.0).collect();
    let limit = Trim::Crump.limit(&spread, None);
    let cost = |e: f64| 1.0 / (e * (1.0 - e));
    let kept: Vec<f64> = spread.iter().map(|&e| cost(e)).filter(|&c| c <= cost(limit)).collect();
    let mean = kept.iter().sum::<f64>() / kept.len() as f64;
    assert!((cost(limit) / (2.0 * mean) - 1.0).abs() < 1e-9, "{limit}");
    // Near 0.1, the rule of thumb of the paper, for evenly spread probabilities.
    assert!((limit - 0.1).abs() < 0.02, "{limit}");
    assert_eq!(Trim::Crump.limit(&[0.4, 0.5, 0.6], None), 0.0);
    let twice = Trim::Crump.limit(&[0.5, 0.5, 0.01], Some(&[1.0, 1.0, 0.0]));
    assert_eq!(twice, 0.0);
}

/// A trial: y is mostly what was known before, spent grows with visits.
fn trial(n: usize) -> Table {
    let (before, draw, noise) = (uniform(5, n), uniform(6, n), uniform(7, n));
    let t: Vec<f64> = draw.iter().map(|&d| f64::from(u8::from(d < 0.5))).collect();
    let visits: Vec<f64> = (0..n).map(|i| 1.0 + (4.0 * noise[i]).floor()).collect();
    let mut spent: Vec<f64> = (0..n).map(|i| visits[i] * (2.0 + 0.5 * t[i]) + 9.0 * before[i]).collect();
    spent[0] = 50_000.0;
    let mut table = Table::new();
    for (name, values) in [("before", before), ("t", t), ("visits", visits), ("spent", spent)] {
        table.push(name, Column::Number(values)).unwrap();
    }
    table
}

const TRIAL: &str = "roles: {treatment: t, control: 0, outcome: [spent, visits], features: [before]}\n\
     nuisance: {kind: least_squares}\nlearner: {kind: s, base: least_squares}\n";

#[test]
fn cuped_cut_outcomes_and_ratios_are_their_formulas() {
    use impactiq_metrics::averages::{Sample, difference_in_means};
    use impactiq_metrics::estimands::{cuped, winsorised};
    use impactiq_metrics::pooled::ArmMoments;

    let table = trial(2_000);
    let text = format!("{TRIAL}averages: {{cuped: before, winsorise: 0.99, ratio: {{spent: visits}}}}");
    let (config, data) = prepared(&table, &text).unwrap();
    let report = train(&config, &data, &Silent).unwrap().report;
    let (spent, visits) = (&report.contrasts[0], &report.contrasts[1]);
    let sample = |outcome: &'static str| Sample {
        outcome: table.column(outcome).unwrap().numbers().unwrap(),
        arm: &data.treatment.codes,
        contrast: 1,
        weights: None,
        clusters: None,
    };
    let close = |a: &Estimate, b: &Estimate| {
        assert!((a.value().unwrap() - b.value().unwrap()).abs() < 1e-9, "{a:?} {b:?}");
        assert!((a.std_error().unwrap() / b.std_error().unwrap() - 1.0).abs() < 1e-9, "{a:?} {b:?}");
    };
    let before = table.column("before").unwrap().numbers().unwrap();
    close(visits.estimators.cuped.as_ref().unwrap(), &cuped(&sample("visits"), &[before]));
    let cut = spent.winsorised.as_ref().unwrap();
    let values = winsorised(sample("spent").outcome, 0.0, 0.99);
    close(&cut.difference_in_means, &difference_in_means(&Sample { outcome: &values, ..sample("spent") }));
    assert!(cut.highest < 100.0 && cut.lin.std_error().unwrap() < cut.difference_in_means.std_error().unwrap());
    let mut moments = ArmMoments::new(2);
    for row in 0..2_000 {
        moments.observe(data.treatment.codes[row], sample("spent").outcome[row], sample("visits").outcome[row]);
    }
    let ratio = spent.ratio.as_ref().unwrap();
    assert_eq!(ratio.per, "visits");
    close(&ratio.difference, &moments.ratio_difference(1));
    assert!(visits.ratio.is_none());
}

#[test]
fn what_an_estimator_is_not_for_is_refused_by_key() {
    let table = confounded(300, 2);
    let with = |base: &str, more: &str| run(&table, &format!("{base}{more}")).unwrap_err().to_string();
    let randomised = OBSERVATIONAL.replace("kind: observational", "kind: randomised");
    for (base, more, named) in [
        (OBSERVATIONAL, "dml: {models: [pliv]}", "instrument"),
        (OBSERVATIONAL, "dml: {models: [plr, plr]}", "dml.models is plr"),
        (OBSERVATIONAL, "dml: {models: [plr], repetitions: 0}", "dml.repetitions is 0"),
        (OBSERVATIONAL, "dml: {models: [irm], clip: 0.5}", "dml.clip is 0.5"),
        (OBSERVATIONAL, "instruments: {covariance: hc3}", "instrument"),
        (OBSERVATIONAL, "averages: {trim: 0.5}", "averages.trim is 0.5"),
        (OBSERVATIONAL, "averages: {cuped: x}", "averages.cuped is given"),
        (&randomised, "averages: {trim: crump}", "averages.trim is given"),
        (&randomised, "averages: {cuped: y}", "averages.cuped is y"),
        (&randomised, "averages: {winsorise: [0.9, 0.1]}", "averages.winsorise"),
        (&randomised, "averages: {ratio: {y: z}}", "averages.ratio is z"),
        (&randomised, "averages: {ratio: {y: y}}", "averages.ratio is y"),
    ] {
        let message = with(base, more);
        assert!(message.contains(named), "{more}: {message}");
    }
    let (offered, _) = offer(300, 1);
    let refused = |more: &str| run(&offered, &format!("{OFFER}{more}\n")).unwrap_err().to_string();
    for (more, named) in [
        ("learner: {kind: t}", "learner.kind is t"),
        ("learner: {kind: intent_to_treat_driv}\nassignment: {kind: observational}", "made by chance"),
        ("learner: {kind: intent_to_treat_driv}\naverages: {cuped: x1}", "averages.cuped"),
        ("learner: {kind: instrumental_forest}\nassignment: {probability: {a: 0.5}}", "assignment.probability"),
        ("learner: {kind: instrumental_forest}\ninstruments: {covariance: cr1}", "roles.cluster"),
        ("learner: {kind: intent_to_treat_driv, n_trees: 5}", "learner.n_trees"),
    ] {
        let message = refused(more);
        assert!(message.contains(named), "{more}: {message}");
    }
}
