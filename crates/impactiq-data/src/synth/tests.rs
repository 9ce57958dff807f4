//! What the generators promise: documented moments, prefixes, thread independence, and a
//! truth that the data bears out.

use super::*;
use crate::column::Column;

fn numbers<'a>(table: &'a Table, name: &str) -> &'a [f64] {
    table.column(name).unwrap().numbers().unwrap()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn make(kind: SynthKind, n_rows: usize, seed: u64) -> Synth {
    generate(kind, &SynthOptions::default(), n_rows, Seed::new(seed)).unwrap()
}

/// In ten groups of rows by true effect, the mean of an unbiased per-row signal of the effect
/// (given the *true* propensity) is within 4.5 standard errors of the mean true effect.
fn assert_truth_is_borne_out(name: &str, tau: &[f64], signal: &[f64]) {
    let mut order: Vec<usize> = (0..tau.len()).collect();
    order.sort_by(|&a, &b| tau[a].total_cmp(&tau[b]).then(a.cmp(&b)));
    for (decile, rows) in order.chunks(tau.len() / 10).filter(|rows| rows.len() > 1).enumerate() {
        let n = rows.len() as f64;
        let differences: Vec<f64> = rows.iter().map(|&i| signal[i] - tau[i]).collect();
        let centre = mean(&differences);
        let variance = differences.iter().map(|d| (d - centre).powi(2)).sum::<f64>() / (n - 1.0);
        let z = centre / (variance / n).sqrt();
        assert!(z.abs() < 4.5, "{name}, decile {decile}: z = {z:.2}, off by {centre:.6}");
    }
}

/// The inverse-probability signal y (t − e) / (e (1 − e)), of which the mean given x is τ(x).
fn weighted(outcome: &[f64], treated: &[f64], propensity: impl Fn(usize) -> f64) -> Vec<f64> {
    (0..outcome.len())
        .map(|i| {
            let e = propensity(i);
            outcome[i] * (treated[i] - e) / (e * (1.0 - e))
        })
        .collect()
}

#[test]
fn criteo_has_the_documented_moments() {
    let made = make(SynthKind::Criteo, 2_000_000, 1);
    let rate = |name| mean(numbers(&made.table, name));
    let within = |what: &str, found: f64, wanted: f64, tolerance: f64| {
        assert!((found - wanted).abs() < tolerance, "{what}: {found} where {wanted} was expected");
    };
    within("treatment", rate("treatment"), 0.850, 0.001);
    within("visit", rate("visit"), 0.0471, 0.0006);
    within("conversion", rate("conversion"), 0.0029, 0.00015);
    within("exposure", rate("exposure"), 0.0308, 0.0005);
    let tau = numbers(&made.truth, "tau");
    let centre = mean(tau);
    within("mean tau", centre, 0.0101, 0.00005);
    let spread = (tau.iter().map(|t| (t - centre).powi(2)).sum::<f64>() / tau.len() as f64).sqrt();
    within("sd of tau", spread, 0.0145, 0.0002);
    assert!(tau.iter().any(|&t| t < -0.002), "some rows must be harmed");
    // Ties and exact 32-bit values, as in the public file.
    let f9 = numbers(&made.table, "f9");
    within("f9 at its mode", f9.iter().filter(|&&v| v == f64::from(13.19f32)).count() as f64 / 2e6, 0.6736, 0.002);
    for i in 0..12 {
        assert!(numbers(&made.table, &format!("f{i}")).iter().all(|&v| f64::from(v as f32) == v));
    }
}

#[test]
fn criteo_features_have_the_correlations_of_their_common_factors() {
    let made = make(SynthKind::Criteo, 300_000, 4);
    let (a, b) = (numbers(&made.table, "f0"), numbers(&made.table, "f2"));
    let ranks = |v: &[f64]| {
        let mut order: Vec<usize> = (0..v.len()).collect();
        order.sort_by(|&i, &j| v[i].total_cmp(&v[j]));
        let mut ranks = vec![0.0; v.len()];
        order.iter().enumerate().for_each(|(rank, &i)| ranks[i] = rank as f64);
        ranks
    };
    let (ra, rb) = (ranks(a), ranks(b));
    let (ma, mb) = (mean(&ra), mean(&rb));
    let cov: f64 = ra.iter().zip(&rb).map(|(x, y)| (x - ma) * (y - mb)).sum();
    let var = |r: &[f64], m: f64| r.iter().map(|x| (x - m).powi(2)).sum::<f64>();
    let spearman = cov / (var(&ra, ma) * var(&rb, mb)).sqrt();
    // Latent correlation 0.6·0.5 − 0.1·0.3 = 0.27; for normals Spearman's is 6/π asin(ρ/2) = 0.2586.
    assert!((spearman - 0.2586).abs() < 0.008, "{spearman}");
}

#[test]
fn exposure_variant_affects_exposed_rows_only_and_at_the_documented_rates() {
    let made = make(SynthKind::CriteoExposure, 1_000_000, 2);
    let (treatment, exposure) = (numbers(&made.table, "treatment"), numbers(&made.table, "exposure"));
    let treated = treatment.iter().sum::<f64>();
    let share = exposure.iter().sum::<f64>() / treated;
    assert!((share - 0.036).abs() < 0.001, "exposed share of the treated: {share}");
    assert!(treatment.iter().zip(exposure).all(|(t, e)| *e <= *t));
    let ate = mean(numbers(&made.truth, "tau"));
    assert!((0.008..0.014).contains(&ate), "{ate}");
}

#[test]
fn short_files_are_prefixes_of_long_ones_for_every_generator() {
    let (short, long) = (1000, BLOCK_ROWS + 500);
    for kind in SynthKind::ALL {
        let (a, b) = (make(kind, short, 9), make(kind, long, 9));
        let mut keep = vec![false; long];
        keep[..short].fill(true);
        let cut = |mut table: Table| {
            table.filter(&keep);
            format!("{table:?}")
        };
        // Compared as text: NaN stands for missing and equals nothing.
        assert_eq!(format!("{:?}", a.table), cut(b.table), "{kind}");
        assert_eq!(format!("{:?}", a.truth), cut(b.truth), "{kind}");
    }
}

#[test]
fn blocks_alone_equal_the_whole_on_any_number_of_threads() {
    let n_rows = 2 * BLOCK_ROWS + 77;
    for kind in SynthKind::ALL {
        let plan = SynthPlan::new(kind, &SynthOptions::default(), n_rows as u64, Seed::new(3)).unwrap();
        assert_eq!(plan.n_blocks(), 3);
        let text = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| format!("{:?}", plan.all().unwrap().table))
        };
        let whole = text(1);
        assert_eq!(whole, text(3), "{kind}");
        let last = plan.block(2).unwrap();
        assert_eq!(last.table.n_rows(), 77);
        let mut keep = vec![false; n_rows];
        keep[2 * BLOCK_ROWS..].fill(true);
        let mut tail = plan.all().unwrap().table;
        tail.filter(&keep);
        assert_eq!(format!("{tail:?}"), format!("{:?}", last.table), "{kind}");
        let endless = generate_block(kind, &SynthOptions::default(), 1, Seed::new(3)).unwrap();
        assert_eq!(format!("{:?}", endless.table), format!("{:?}", plan.block(1).unwrap().table), "{kind}");
    }
}

#[test]
fn seeds_and_generators_give_different_rows() {
    let first = |kind, seed| numbers(&make(kind, 1, seed).table, "x1")[0];
    let mut seen = vec![first(SynthKind::NieWagerB, 1), first(SynthKind::NieWagerB, 2)];
    seen.extend([first(SynthKind::NieWagerC, 1), first(SynthKind::NieWagerD, 1), first(SynthKind::Dose, 1)]);
    seen.sort_by(f64::total_cmp);
    assert!(seen.windows(2).all(|pair| pair[0] != pair[1]), "{seen:?}");
}

#[test]
fn truth_of_the_criteo_shaped_trials_is_borne_out_by_the_data() {
    for kind in [SynthKind::Criteo, SynthKind::CriteoExposure] {
        let made = make(kind, 2_000_000, 5);
        let treated = numbers(&made.table, "treatment");
        for (outcome, truth) in [("visit", "tau"), ("conversion", "tau_conversion")] {
            let signal = weighted(numbers(&made.table, outcome), treated, |_| 0.85);
            assert_truth_is_borne_out(&format!("{kind} {outcome}"), numbers(&made.truth, truth), &signal);
        }
    }
}

#[test]
fn truth_of_the_continuous_designs_is_borne_out_by_the_data() {
    use SynthKind::*;
    for kind in [NieWagerA, NieWagerB, NieWagerC, NieWagerD, WagerAthey1, WagerAthey2, Clustered] {
        // Many clusters: a common effect of 100 clusters would not average out in this test.
        let options = SynthOptions { n_clusters: 100_000, ..SynthOptions::default() };
        let made = generate(kind, &options, 500_000, Seed::new(6)).unwrap();
        let (e, tau) = (numbers(&made.truth, "propensity"), numbers(&made.truth, "tau"));
        let (mu0, mu1) = (numbers(&made.truth, "mu0"), numbers(&made.truth, "mu1"));
        assert!((0..e.len()).all(|i| (mu1[i] - mu0[i] - tau[i]).abs() < 1e-12 && e[i] > 0.0 && e[i] < 1.0));
        let (y, treated) = (numbers(&made.table, "y"), numbers(&made.table, "treatment"));
        // Doubly robust signal with the true surfaces: unbiased only if mu and e are both those of the data.
        let residual: Vec<f64> = (0..y.len()).map(|i| y[i] - if treated[i] == 1.0 { mu1[i] } else { mu0[i] }).collect();
        let correction = weighted(&residual, treated, |i| e[i]);
        let signal: Vec<f64> = correction.iter().zip(tau).map(|(c, t)| c + t).collect();
        assert_truth_is_borne_out(kind.name(), tau, &signal);
        let excess: Vec<f64> = treated.iter().zip(e).map(|(t, e)| t - e).collect();
        assert_truth_is_borne_out(&format!("{kind} propensity"), &vec![0.0; e.len()], &excess);
        let inverse = weighted(y, treated, |i| e[i]);
        // Clip of the tails: inverse weights of D reach thousands, and a z-test needs a variance.
        let kept: Vec<usize> = (0..e.len()).filter(|&i| e[i] > 0.02 && e[i] < 0.98).collect();
        let pick = |values: &[f64]| kept.iter().map(|&i| values[i]).collect::<Vec<f64>>();
        assert_truth_is_borne_out(&format!("{kind} by weighting"), &pick(tau), &pick(&inverse));
    }
}

#[test]
fn truth_of_the_multi_arm_trial_is_borne_out_for_every_arm_and_outcome() {
    let options = SynthOptions { n_arms: 5, ..SynthOptions::default() };
    let made = generate(SynthKind::MultiArm, &options, 600_000, Seed::new(7)).unwrap();
    let probabilities = SynthKind::MultiArm.probabilities(&options).unwrap();
    assert!((probabilities.iter().map(|p| p.1).sum::<f64>() - 1.0).abs() < 1e-12);
    let Column::Category { codes, levels } = &made.table.columns()[5] else { panic!("treatment is a category") };
    for (k, (arm, p)) in probabilities.iter().enumerate() {
        assert_eq!(&levels[k], arm);
        let share = codes.iter().filter(|&&c| c == k as u32).count() as f64 / codes.len() as f64;
        assert!((share - p).abs() < 0.003, "{arm}: {share} against {p}");
    }
    let p0 = probabilities[0].1;
    for (k, (arm, p)) in probabilities.iter().enumerate().skip(1) {
        for (outcome, truth) in [("y", format!("tau_{arm}")), ("converted", format!("tau_converted_{arm}"))] {
            let y = numbers(&made.table, outcome);
            let weight = |i: usize| match codes[i] {
                0 => -1.0 / p0,
                code if code == k as u32 => 1.0 / p,
                _ => 0.0,
            };
            let signal: Vec<f64> = (0..y.len()).map(|i| y[i] * weight(i)).collect();
            assert_truth_is_borne_out(&truth, numbers(&made.truth, &truth), &signal);
        }
    }
    let missing = |name: &str| {
        let column = made.table.column(name).unwrap();
        (0..column.len()).filter(|&i| column.is_missing(i)).count() as f64 / column.len() as f64
    };
    assert!((missing("x2") - 0.10).abs() < 0.003 && (missing("region") - 0.05).abs() < 0.003);
}

#[test]
fn truth_of_the_dose_design_is_borne_out_by_the_data() {
    let made = make(SynthKind::Dose, 500_000, 8);
    let (dose, y) = (numbers(&made.table, "dose"), numbers(&made.table, "y"));
    let (tau, centre) = (numbers(&made.truth, "tau"), numbers(&made.truth, "dose_mean"));
    let mu0 = numbers(&made.truth, "mu0");
    // (d − E[d|x]) (y − E[y|x]) / Var(d|x) has mean τ(x).
    let signal: Vec<f64> =
        (0..y.len()).map(|i| (dose[i] - centre[i]) * (y[i] - mu0[i] - tau[i] * centre[i]) / 0.64).collect();
    assert_truth_is_borne_out("dose", tau, &signal);
    let baseline: Vec<f64> = (0..y.len()).map(|i| y[i] - tau[i] * dose[i] - mu0[i]).collect();
    assert_truth_is_borne_out("baseline", &vec![0.0; y.len()], &baseline);
}

#[test]
fn clusters_are_treated_as_a_whole_half_of_them_and_share_an_effect() {
    let made = make(SynthKind::Clustered, 50_000, 3);
    let (cluster, treated) = (numbers(&made.table, "cluster"), numbers(&made.table, "treatment"));
    let (mu0, mu1) = (numbers(&made.truth, "mu0"), numbers(&made.truth, "mu1"));
    let y = numbers(&made.table, "y");
    let mut by_cluster = vec![(0.0, 0.0, 0.0); 100];
    for i in 0..y.len() {
        let entry = &mut by_cluster[cluster[i] as usize];
        entry.0 += 1.0;
        entry.1 += treated[i];
        entry.2 += y[i] - if treated[i] == 1.0 { mu1[i] } else { mu0[i] };
    }
    assert!(by_cluster.iter().all(|(n, t, _)| *n > 0.0 && (*t == 0.0 || t == n)));
    assert_eq!(by_cluster.iter().filter(|(_, t, _)| *t > 0.0).count(), 50);
    // Means of 500 residuals with standard deviation 1 would spread by 0.045; the clusters' own effect is 0.5.
    let spread = (by_cluster.iter().map(|(n, _, r)| (r / n).powi(2)).sum::<f64>() / 100.0).sqrt();
    assert!((0.38..0.62).contains(&spread), "{spread}");
}

#[test]
fn tables_and_schemas_agree_and_the_truth_never_stands_in_the_data() {
    for kind in SynthKind::ALL {
        let made = make(kind, 50, 1);
        assert_eq!(made.table.names(), made.schema.names().as_slice(), "{kind}");
        assert_eq!(made.truth.names(), made.truth_schema.names().as_slice(), "{kind}");
        assert_eq!((made.table.n_rows(), made.truth.n_rows()), (50, 50));
        let leaks = |name: &String| ["tau", "mu", "propensity", "dose_mean"].iter().any(|t| name.starts_with(t));
        assert!(!made.table.names().iter().any(leaks), "{kind}");
        assert!(!kind.describe().is_empty());
    }
    let names = make(SynthKind::Criteo, 1, 1).table.names().join(",");
    assert_eq!(names, "f0,f1,f2,f3,f4,f5,f6,f7,f8,f9,f10,f11,treatment,conversion,visit,exposure");
}

#[test]
fn names_are_read_back_and_a_slip_of_the_finger_gets_a_suggestion() {
    for kind in SynthKind::ALL {
        assert_eq!(kind.name().parse::<SynthKind>().unwrap(), kind);
        assert_eq!(kind.name().to_uppercase().replace('-', "_").parse::<SynthKind>().unwrap(), kind);
    }
    let error = "critoe".parse::<SynthKind>().unwrap_err();
    assert_eq!(error.to_string(), "there is no generator named 'critoe'");
    assert_eq!(error.hint().as_deref(), Some("did you mean 'criteo'?"));
}

#[test]
fn impossible_requests_are_errors() {
    let options = SynthOptions::default();
    assert!(generate(SynthKind::Criteo, &options, 0, Seed::new(1)).is_err());
    let plan = SynthPlan::new(SynthKind::Criteo, &options, 10, Seed::new(1)).unwrap();
    assert!(plan.block(1).is_err() && plan.block(u64::MAX).is_err());
    let no_arms = SynthOptions { n_arms: 0, ..options };
    assert!(generate(SynthKind::MultiArm, &no_arms, 10, Seed::new(1)).is_err());
}
