//! Designs with a binary treatment and a continuous outcome that the literature measures itself on.
//!
//! Setups A to D: Nie & Wager (2021), "Quasi-oracle estimation of heterogeneous treatment
//! effects", section 6.1. Wager & Athey (2018), "Estimation and inference of heterogeneous
//! treatment effects using random forests": equation 27 (confounded, no effect) and
//! equation 28 (randomised, smooth effect). The outcome is b(x) + (t − ½) τ(x) + noise
//! throughout. What must not live here: designs with other treatments or outcomes.

use std::f64::consts::PI;

use super::draw::{Draw, sigmoid, single, softplus};
use super::layout::{ColumnSpec, numbered};
use super::options::SynthOptions;

/// The design.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Design {
    NieWagerA,
    NieWagerB,
    NieWagerC,
    NieWagerD,
    WagerAthey1,
    WagerAthey2,
}

/// Columns of the data: x1…, treatment, y.
pub(super) fn columns(options: &SynthOptions) -> Vec<ColumnSpec> {
    let mut specs = numbered(options.n_features);
    specs.push(ColumnSpec::integer("treatment"));
    specs.push(ColumnSpec::single("y"));
    specs
}

/// Columns of the truth: tau, propensity, mu0, mu1.
pub(super) fn truth_columns() -> Vec<ColumnSpec> {
    ["tau", "propensity", "mu0", "mu1"].map(ColumnSpec::double).into()
}

/// Draws one row.
pub(super) fn row(design: Design, options: &SynthOptions, draw: &mut Draw, data: &mut [f64], truth: &mut [f64]) {
    let (x, rest) = data.split_at_mut(options.n_features);
    let on_the_unit_cube = matches!(design, Design::NieWagerA | Design::WagerAthey1 | Design::WagerAthey2);
    for value in x.iter_mut() {
        *value = single(if on_the_unit_cube { draw.uniform() } else { draw.normal() });
    }
    let (propensity, middle, tau) = surfaces(design, x);
    let treated = draw.coin(propensity);
    let (mu0, mu1) = (middle - 0.5 * tau, middle + 0.5 * tau);
    rest[0] = f64::from(treated);
    rest[1] = if treated { mu1 } else { mu0 } + options.noise * draw.normal();
    truth.copy_from_slice(&[tau, propensity, mu0, mu1]);
}

/// Propensity e(x), the middle of the two outcome surfaces b(x), and the effect τ(x).
fn surfaces(design: Design, x: &[f64]) -> (f64, f64, f64) {
    match design {
        // Hard nuisances, an easy effect.
        Design::NieWagerA => {
            let wave = (PI * x[0] * x[1]).sin();
            let middle = wave + 2.0 * (x[2] - 0.5).powi(2) + x[3] + 0.5 * x[4];
            (wave.clamp(0.1, 0.9), middle, (x[0] + x[1]) / 2.0)
        }
        // A randomised trial.
        Design::NieWagerB => {
            let middle = 0f64.max(x[0] + x[1]).max(x[2]) + 0f64.max(x[3] + x[4]);
            (0.5, middle, x[0] + softplus(x[1]))
        }
        // Confounded, with a constant effect.
        Design::NieWagerC => (sigmoid(-(x[1] + x[2])), 2.0 * softplus(x[0] + x[1] + x[2]), 1.0),
        // Treated and control surfaces that have nothing in common.
        Design::NieWagerD => {
            let treated = 0f64.max(x[0] + x[1] + x[2]);
            let control = 0f64.max(x[3] + x[4]);
            (1.0 / (1.0 + (-x[0]).exp() + (-x[1]).exp()), (treated + control) / 2.0, treated - control)
        }
        // The propensity is ¼ (1 + the density of Beta(2, 4)), 20 x (1 − x)³.
        Design::WagerAthey1 => (0.25 * (1.0 + 20.0 * x[2] * (1.0 - x[2]).powi(3)), 2.0 * x[2] - 1.0, 0.0),
        Design::WagerAthey2 => {
            let ramp = |v: f64| 1.0 + sigmoid(20.0 * (v - 1.0 / 3.0));
            (0.5, 0.0, ramp(x[0]) * ramp(x[1]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surfaces_agree_with_numbers_worked_by_hand() {
        let close = |found: (f64, f64, f64), wanted: (f64, f64, f64)| {
            for (a, b) in [(found.0, wanted.0), (found.1, wanted.1), (found.2, wanted.2)] {
                assert!((a - b).abs() < 1e-12, "{found:?} {wanted:?}");
            }
        };
        // sin(π/4) = √½ : inside [0.1, 0.9].
        let root = 0.5f64.sqrt();
        close(surfaces(Design::NieWagerA, &[0.5, 0.5, 1.0, 0.25, 0.5, 0.0]), (root, root + 0.5 + 0.25 + 0.25, 0.5));
        // The clip: sin(0) = 0 → 0.1.
        close(surfaces(Design::NieWagerA, &[0.0, 0.5, 0.5, 0.0, 0.0, 0.0]), (0.1, 0.0, 0.25));
        close(surfaces(Design::NieWagerB, &[1.0, 0.0, 3.0, -1.0, 0.5, 0.0]), (0.5, 3.0, 1.0 + 2f64.ln()));
        close(surfaces(Design::NieWagerC, &[0.0, 1.0, -1.0, 0.0, 0.0, 0.0]), (0.5, 2.0 * 2f64.ln(), 1.0));
        close(surfaces(Design::NieWagerD, &[0.0, 0.0, 2.0, 1.0, 0.5, 0.0]), (1.0 / 3.0, 1.75, 0.5));
        close(surfaces(Design::WagerAthey1, &[0.0, 0.0, 0.5, 0.0, 0.0, 0.0]), (0.25 * 2.25, 0.0, 0.0));
        let third = 1.0 / 3.0;
        close(surfaces(Design::WagerAthey2, &[third, third, 0.0, 0.0, 0.0, 0.0]), (0.5, 0.0, 2.25));
    }
}
