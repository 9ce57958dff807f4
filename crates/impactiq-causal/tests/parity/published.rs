//! Published answers on real data, with the rule of each analysis fixed beforehand.

use impactiq_causal::base::{BaseKind, BaseLearner, BaseSettings, Loss, Place, Target};
use impactiq_causal::dml::{
    CLIP, DmlEstimand, DmlEstimate, DmlLearner, DmlLearners, DmlModel, DmlRows, PartialScore, estimate,
};
use impactiq_data::folds::Split;
use impactiq_data::{Folds, Seed, Silent};
use impactiq_metrics::binary_response::BinaryLink;
use impactiq_metrics::least_squares::{Penalty, Regression};
use impactiq_metrics::parametric::{ParametricMethod, ParametricRows, potential_means};
use impactiq_metrics::robust::Covariance;

use super::rows::Frame;

const REPETITIONS: u64 = 11;

/// Boosted trees at the product's defaults for nuisances.
fn boosted(target: &[f64], loss: Loss) -> DmlLearner {
    let mean = target.iter().sum::<f64>() / target.len() as f64;
    let target = Target { loss, n_rows: target.len(), mean };
    DmlLearner::fixed(BaseSettings::default().learner(BaseKind::Boosted, Place::Nuisance, target), loss)
}

fn repeated(row_ids: &[u64], strata: &[u32]) -> Vec<Folds> {
    let split = Split { row_ids, strata: Some(strata), clusters: None };
    (0..REPETITIONS).map(|r| Folds::assign(split, 5, Seed::new(100 + r)).unwrap()).collect()
}

/// The median of eleven splits of boosted nuisances.
fn answer(frame: &Frame, x: &[&str], [y, d, z]: [&str; 3], model: DmlModel) -> DmlEstimate {
    let features = frame.features(x);
    let (outcome, treatment) = (frame.column(y), frame.column(d));
    let instrument = (!z.is_empty()).then(|| frame.column(z));
    let rows = DmlRows {
        inputs: features.inputs(),
        outcome,
        treatment,
        instrument,
        weights: None,
        clusters: None,
        row_ids: &features.row_ids,
        design: None,
    };
    let learners = DmlLearners {
        outcome: boosted(outcome, Loss::Squared),
        treatment: boosted(treatment, Loss::Logistic),
        instrument: boosted(instrument.unwrap_or(treatment), Loss::Logistic),
    };
    let strata: Vec<u32> = instrument.unwrap_or(treatment).iter().map(|&v| v as u32).collect();
    estimate(model, &rows, &learners, &repeated(&features.row_ids, &strata), (CLIP, Seed::new(1)), &Silent).unwrap()
}

#[test]
fn pensions_raise_wealth_by_what_was_published() {
    let Some(frame) = Frame::read("pension_401k/pension.csv.gz") else { return };
    let x = ["age", "inc", "educ", "fsize", "marr", "twoearn", "db", "pira", "hown"];
    for (name, columns, model, published) in [
        ("plr", ["net_tfa", "e401", ""], DmlModel::Plr(PartialScore::PartiallingOut), 8_914.0),
        ("irm", ["net_tfa", "e401", ""], DmlModel::Irm(DmlEstimand::Ate), 8_309.0),
        ("iivm", ["net_tfa", "p401", "e401"], DmlModel::Iivm, 12_038.0),
    ] {
        let ours = answer(&frame, &x, columns, model).estimate;
        let (value, error) = (ours.value().unwrap(), ours.std_error().unwrap());
        println!("{name}: {value:.0} ({error:.0}), published {published}");
        assert!((value - published).abs() < error, "{name}: {value} ({error}), published {published}");
    }
}

#[test]
fn training_of_the_disadvantaged_pays_what_the_experiment_found() {
    // The rule, fixed beforehand: the treated of the trial beside each control file; one boosted
    // out-of-fold propensity, rows above .9 dropped; then the effect on the treated by irm.
    let Some(trial) = Frame::read("lalonde/nsw_dw.csv.gz") else { return };
    let treated = trial.keep(|row| trial.column("treat")[row] == 1.0);
    let x = ["age", "education", "black", "hispanic", "married", "nodegree", "re74", "re75"];
    for file in ["psid_controls2", "psid_controls3", "cps_controls2", "cps_controls3"] {
        let frame = treated.stack(&Frame::read(&format!("lalonde/{file}.csv.gz")).unwrap());
        let p = propensity(&frame, &x, "treat");
        let kept = frame.keep(|row| p[row] <= 0.9);
        let ours = answer(&kept, &x, ["re78", "treat", ""], DmlModel::Irm(DmlEstimand::Atte)).estimate;
        let columns: Vec<&[f64]> = x.iter().chain(&["treat"]).map(|name| kept.column(name)).collect();
        let regression = Regression {
            columns: &columns,
            outcome: kept.column("re78"),
            weights: None,
            clusters: None,
            intercept: true,
        };
        let fit = regression.fit(Penalty::None).unwrap();
        let unit: Vec<f64> = (0..=columns.len()).map(|j| f64::from(u8::from(j == columns.len()))).collect();
        let ols = regression.contrast(&fit, &unit, Covariance::Hc1).unwrap();
        println!(
            "{file}: {} of {} rows, att {:.0} ({:.0}), OLS {:.0} ({:.0})",
            kept.n_rows(),
            frame.n_rows(),
            ours.value().unwrap(),
            ours.std_error().unwrap(),
            ols.value().unwrap(),
            ols.std_error().unwrap()
        );
        let (lower, upper) = (ours.lower().unwrap(), ours.upper().unwrap());
        assert!(lower < 1_794.0 && 1_794.0 < upper, "{file}: [{lower}, {upper}]");
    }
}

/// Out-of-fold probabilities of a boosted model.
fn propensity(frame: &Frame, x: &[&str], treatment: &str) -> Vec<f64> {
    use impactiq_causal::nuisance::{NuisanceTask, cross_fit};
    let features = frame.features(x);
    let target = frame.column(treatment);
    let learner: BaseLearner = boosted(target, Loss::Logistic).base;
    let task = NuisanceTask {
        learner: &learner,
        candidates: None,
        target,
        weights: None,
        row_ids: &features.row_ids,
        loss: Loss::Logistic,
        only_arm: None,
        what: "the treatment",
    };
    let strata: Vec<u32> = target.iter().map(|&v| v as u32).collect();
    let folds = &repeated(&features.row_ids, &strata)[0];
    cross_fit(&task, &features.inputs(), folds, Seed::new(2), &Silent).unwrap().predictions.to_vec()
}

/// The confounders of "What If" (Hernán & Robins, chapter 12): squares, and indicators of levels.
fn nhefs() -> Option<(Frame, Vec<String>)> {
    let all = Frame::read("nhefs/nhefs_causaldata.csv.gz")?;
    let mut frame = all.keep(|row| all.column("wt82_71")[row].is_finite());
    let mut names: Vec<String> = ["sex", "race"].map(String::from).to_vec();
    for name in ["age", "smokeintensity", "smokeyrs", "wt71"] {
        let square = frame.column(name).iter().map(|v| v * v).collect();
        frame.push(&format!("{name}2"), square);
        names.extend([name.to_owned(), format!("{name}2")]);
    }
    for name in ["education", "exercise", "active"] {
        let mut levels: Vec<i64> = frame.column(name).iter().map(|&v| v as i64).collect();
        levels.sort_unstable();
        levels.dedup();
        for level in &levels[1..] {
            let column = frame.column(name).iter().map(|&v| f64::from(u8::from(v as i64 == *level))).collect();
            frame.push(&format!("{name}{level}"), column);
            names.push(format!("{name}{level}"));
        }
    }
    Some((frame, names))
}

#[test]
fn quitting_adds_the_weight_of_the_textbook() {
    let Some((frame, names)) = nhefs() else { return };
    assert_eq!(frame.n_rows(), 1566);
    let columns: Vec<&[f64]> = names.iter().map(|name| frame.column(name)).collect();
    let rows = ParametricRows {
        outcome: frame.column("wt82_71"),
        treatment: frame.column("qsmk"),
        outcome_columns: &columns,
        treatment_columns: &columns,
        link: BinaryLink::Logit,
        clusters: None,
    };
    let ipw = potential_means(&rows, ParametricMethod::Ipw).unwrap().ate;
    // The book's outcome model: one regression, quitting times cigarettes its only interaction.
    let (quit, smoked) = (frame.column("qsmk"), frame.column("smokeintensity"));
    let product: Vec<f64> = quit.iter().zip(smoked).map(|(q, s)| q * s).collect();
    let mut all = columns.clone();
    all.extend([quit, product.as_slice()]);
    let regression =
        Regression { columns: &all, outcome: rows.outcome, weights: None, clusters: None, intercept: true };
    let fit = regression.fit(Penalty::None).unwrap();
    let k = all.len();
    let standardised =
        fit.coefficients[k - 2] + fit.coefficients[k - 1] * smoked.iter().sum::<f64>() / smoked.len() as f64;
    println!("ipw {ipw:?}\nstandardised {standardised}");
    // What If: 3.4 (2.4, 4.5) by weighting, 3.5 by standardisation.
    assert_eq!((10.0 * ipw.value().unwrap()).round(), 34.0);
    assert!((ipw.lower().unwrap() - 2.4).abs() < 0.15 && (ipw.upper().unwrap() - 4.5).abs() < 0.15);
    assert_eq!((10.0 * standardised).round(), 35.0);
    // Regressions in both groups, with stacked errors, agree with both.
    let separate = potential_means(&rows, ParametricMethod::RegressionAdjustment).unwrap().ate;
    assert!((separate.value().unwrap() - standardised).abs() < 0.1);
    let x = ["sex", "race", "age", "education", "smokeintensity", "smokeyrs", "exercise", "active", "wt71"];
    let boosted = answer(&frame, &x, ["wt82_71", "qsmk", ""], DmlModel::Irm(DmlEstimand::Ate)).estimate;
    println!("boosted {boosted:?}");
    assert!(boosted.lower().unwrap() < 3.44 && 3.44 < boosted.upper().unwrap(), "{boosted:?}");
}
