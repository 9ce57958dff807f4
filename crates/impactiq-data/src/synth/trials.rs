//! Trials beyond one arm against one control: several arms, a dose, whole clusters.
//!
//! Each shows what the other designs don't have: a category and missing values (arms), a
//! continuous treatment whose mean depends on the features (dose), and outcomes that
//! depend on one another within a cluster that is treated as a whole (clustered).

use super::draw::{Draw, sigmoid, single};
use super::layout::{ColumnSpec, numbered};
use super::options::SynthOptions;
use crate::seed::Seed;

/// Names of the arms: control, arm_1, arm_2, …
pub(super) fn arm_names(n_arms: usize) -> Vec<String> {
    (0..n_arms).map(|k| if k == 0 { "control".to_owned() } else { format!("arm_{k}") }).collect()
}

/// Assignment probabilities by arm: 5 : 3 : 2 : 1 : 1 …, scaled to add up to one.
pub(super) fn arm_probabilities(n_arms: usize) -> Vec<f64> {
    let weight = |k: usize| [5.0, 3.0, 2.0].get(k).copied().unwrap_or(1.0);
    let total: f64 = (0..n_arms).map(weight).sum();
    (0..n_arms).map(|k| weight(k) / total).collect()
}

const REGIONS: [&str; 5] = ["north", "south", "east", "west", "islands"];
/// How the effect of an arm differs by region; a missing region has an effect of its own.
const REGION_EFFECT: [f64; 5] = [0.4, -0.2, 0.0, 0.2, -0.6];

/// Data columns of the multi-arm trial.
pub(super) fn arms_columns(options: &SynthOptions) -> Vec<ColumnSpec> {
    let mut specs = numbered(4);
    specs.push(ColumnSpec::category("region", REGIONS.map(str::to_owned).into()));
    specs.push(ColumnSpec::category("treatment", arm_names(options.n_arms)));
    specs.push(ColumnSpec::single("y"));
    specs.push(ColumnSpec::integer("converted"));
    specs
}

/// Truth columns of the multi-arm trial: mu0, then per arm tau, then per arm tau_converted.
pub(super) fn arms_truth(options: &SynthOptions) -> Vec<ColumnSpec> {
    let arms = arm_names(options.n_arms);
    let mut specs = vec![ColumnSpec::double("mu0")];
    specs.extend(arms[1..].iter().map(|arm| ColumnSpec::double(format!("tau_{arm}"))));
    specs.extend(arms[1..].iter().map(|arm| ColumnSpec::double(format!("tau_converted_{arm}"))));
    specs
}

/// Draws one row of the multi-arm trial. Truth is a function of what is *observed*: a
/// missing value acts through being missing.
pub(super) fn arms_row(options: &SynthOptions, draw: &mut Draw, data: &mut [f64], truth: &mut [f64]) {
    for value in &mut data[..4] {
        *value = single(draw.normal());
    }
    let region = draw.below(REGIONS.len());
    let (x2_missing, region_missing) = (draw.coin(0.10), draw.coin(0.05));
    if x2_missing {
        data[1] = f64::NAN;
    }
    let x2 = if x2_missing { -0.5 } else { data[1] };
    data[4] = if region_missing { f64::NAN } else { region as f64 };
    let by_region = if region_missing { 0.1 } else { REGION_EFFECT[region] };
    let (x1, x3) = (data[0], data[2]);

    let mu0 = 1.0 + 0.8 * x1 + 0.5 * x2 + 0.3 * x3 * x3;
    // Arm k prefers rows of another kind: the best arm differs from row to row.
    let effect = |k: usize| match k {
        0 => 0.0,
        k if k % 2 == 1 => 0.5 + 0.4 * x1 + by_region + 0.05 * k as f64,
        k => 0.3 - 0.4 * x1 + 0.5 * f64::from(x3 > 0.0) + 0.2 * x2 - 0.02 * k as f64,
    };
    let converts = |k: usize| sigmoid(-2.0 + 0.4 * x1 + 0.3 * x2 + 0.4 * effect(k));

    let probabilities = arm_probabilities(options.n_arms);
    let u = draw.uniform();
    let mut edge = 0.0;
    let arm = probabilities[..options.n_arms - 1].iter().take_while(|p| {
        edge += **p;
        u >= edge
    });
    let arm = arm.count();
    data[5] = arm as f64;
    data[6] = mu0 + effect(arm) + options.noise * draw.normal();
    data[7] = f64::from(draw.coin(converts(arm)));
    let n = options.n_arms - 1;
    truth[0] = mu0;
    for k in 1..=n {
        truth[k] = effect(k);
        truth[n + k] = converts(k) - converts(0);
    }
}

/// Data columns of the dose design.
pub(super) fn dose_columns() -> Vec<ColumnSpec> {
    let mut specs = numbered(6);
    specs.push(ColumnSpec::single("dose"));
    specs.push(ColumnSpec::single("y"));
    specs
}

/// Truth columns of the dose design: the effect of one more unit of dose, the mean dose given
/// the features, and the mean outcome at dose 0.
pub(super) fn dose_truth() -> Vec<ColumnSpec> {
    ["tau", "dose_mean", "mu0"].map(ColumnSpec::double).into()
}

/// Draws one row of the dose design: the outcome is linear in the dose, with a slope that depends on x.
pub(super) fn dose_row(options: &SynthOptions, draw: &mut Draw, data: &mut [f64], truth: &mut [f64]) {
    for value in &mut data[..6] {
        *value = single(draw.normal());
    }
    let x = &data[..6];
    let tau = 0.5 + 0.5 * x[0] + 0.5 * f64::from(x[1] > 0.0);
    let mu0 = x[0] + 0.5 * x[2] * x[2] + x[3].tanh();
    let dose_mean = 1.0 + 0.6 * x[3].tanh() + 0.4 * x[4];
    let dose = single(dose_mean + 0.8 * draw.normal());
    data[6] = dose;
    data[7] = mu0 + tau * dose + options.noise * draw.normal();
    truth.copy_from_slice(&[tau, dose_mean, mu0]);
}

/// Data columns of the instrument design.
pub(super) fn instrument_columns() -> Vec<ColumnSpec> {
    let mut specs = numbered(6);
    specs.extend(["encouraged", "treatment"].map(ColumnSpec::integer));
    specs.push(ColumnSpec::single("y"));
    specs
}

/// Truth columns of the instrument design: the effect of the treatment on those whom the
/// encouragement moves, and the probability of being moved.
pub(super) fn instrument_truth() -> Vec<ColumnSpec> {
    ["tau", "compliance"].map(ColumnSpec::double).into()
}

/// Draws one row of the instrument design: half of the rows are encouraged by chance; who is
/// treated depends on a hidden trait that also moves the outcome.
pub(super) fn instrument_row(options: &SynthOptions, draw: &mut Draw, data: &mut [f64], truth: &mut [f64]) {
    for value in &mut data[..6] {
        *value = single(draw.normal());
    }
    let x = &data[..6];
    let tau = 1.0 + x[0] + 0.5 * f64::from(x[1] > 0.0);
    let compliance = 0.35 + 0.3 * sigmoid(x[2]);
    let always = 0.15 * sigmoid(x[3]);
    let hidden = draw.normal();
    let encouraged = draw.coin(0.5);
    // Those who take it anyway are those with a large hidden trait.
    let place = draw.uniform();
    let takes_anyway = place < always + 0.1 * f64::from(hidden > 0.5);
    let treated = takes_anyway || (encouraged && place < always + 0.1 * f64::from(hidden > 0.5) + compliance);
    let base = 0.5 * x[0] + 0.5 * x[3] + hidden;
    data[6] = f64::from(encouraged);
    data[7] = f64::from(treated);
    data[8] = base + tau * f64::from(treated) + options.noise * draw.normal();
    truth.copy_from_slice(&[tau, compliance]);
}

/// What is common to the rows of a cluster.
pub(super) struct Cluster {
    treated: bool,
    /// A feature of the cluster (say, the wealth of a region).
    setting: f64,
    /// What no feature explains: the reason why errors must be clustered.
    effect: f64,
}

/// The clusters of a trial. Exactly half of them (rounded down) are treated.
pub(super) fn clusters(options: &SynthOptions, seed: Seed) -> Vec<Cluster> {
    let lottery = seed.child(0);
    let mut order: Vec<usize> = (0..options.n_clusters).collect();
    order.sort_by_key(|&c| (lottery.hash(c as u64), c));
    let mut treated = vec![false; options.n_clusters];
    order[..options.n_clusters / 2].iter().for_each(|&c| treated[c] = true);
    let traits = seed.child(1);
    let describe = |(c, treated): (usize, bool)| {
        let mut draw = Draw::new(traits.child(c as u64));
        Cluster { treated, setting: single(draw.normal()), effect: 0.5 * draw.normal() }
    };
    treated.into_iter().enumerate().map(describe).collect()
}

/// Data columns of the clustered trial.
pub(super) fn clustered_columns() -> Vec<ColumnSpec> {
    let mut specs = numbered(4);
    specs.push(ColumnSpec::single("setting"));
    specs.extend(["cluster", "treatment"].map(ColumnSpec::integer));
    specs.push(ColumnSpec::single("y"));
    specs
}

/// Truth columns of the clustered trial; mu0 and mu1 are means over clusters given the features.
pub(super) fn clustered_truth() -> Vec<ColumnSpec> {
    ["tau", "propensity", "mu0", "mu1"].map(ColumnSpec::double).into()
}

/// Draws one row of the clustered trial.
pub(super) fn clustered_row(
    options: &SynthOptions,
    clusters: &[Cluster],
    draw: &mut Draw,
    data: &mut [f64],
    truth: &mut [f64],
) {
    for value in &mut data[..4] {
        *value = single(draw.normal());
    }
    let index = draw.below(clusters.len());
    let cluster = &clusters[index];
    let tau = 0.5 + 0.5 * data[0];
    let mu0 = 1.0 + 0.8 * data[0] + 0.5 * data[1] + 0.6 * cluster.setting;
    data[4] = cluster.setting;
    data[5] = index as f64;
    data[6] = f64::from(cluster.treated);
    data[7] = mu0 + tau * data[6] + cluster.effect + options.noise * draw.normal();
    let share = (clusters.len() / 2) as f64 / clusters.len() as f64;
    truth.copy_from_slice(&[tau, share, mu0, mu0 + tau]);
}
