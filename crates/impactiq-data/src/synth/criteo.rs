//! A randomised advertising trial in the shape of Criteo's public uplift data.
//!
//! Twelve skewed, heavily tied features with a common cause (a Gaussian copula with two
//! factors), 85 % treated, a rare outcome `visit` and a very rare one, `conversion`. It
//! is *not* Criteo's data: only the column names, ties and base rates are alike. In the
//! second variant the treatment works through `exposure` alone, the way an auction must
//! be won before an advertisement can do anything. What must not live here: file formats.

use super::draw::{Draw, sigmoid, single};
use super::layout::ColumnSpec;

/// The probability of treatment, by design.
pub(super) const PROBABILITY: f64 = 0.85;

/// Which way the treatment acts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// On everyone treated.
    Direct,
    /// On the exposed among the treated only.
    ThroughExposure,
}

/// Loadings of the twelve latent features on the two common factors.
const LOADINGS: [[f64; 2]; 12] = [
    [0.6, 0.1],
    [0.2, 0.5],
    [0.5, -0.3],
    [0.1, 0.7],
    [0.4, 0.2],
    [-0.3, 0.4],
    [0.7, 0.0],
    [0.1, 0.3],
    [-0.5, 0.2],
    [0.3, 0.6],
    [0.2, -0.2],
    [0.4, -0.5],
];

/// Columns of the data: f0…f11, treatment, conversion, visit, exposure.
pub(super) fn columns() -> Vec<ColumnSpec> {
    let mut specs: Vec<ColumnSpec> = (0..12).map(|i| ColumnSpec::single(format!("f{i}"))).collect();
    specs.extend(["treatment", "conversion", "visit", "exposure"].map(ColumnSpec::integer));
    specs
}

/// Columns of the truth: the effect on the probability of a visit and of a conversion.
pub(super) fn truth_columns() -> Vec<ColumnSpec> {
    vec![ColumnSpec::double("tau"), ColumnSpec::double("tau_conversion")]
}

/// Draws one row.
pub(super) fn row(path: Path, draw: &mut Draw, data: &mut [f64], truth: &mut [f64]) {
    let features = features(draw);
    data[..12].copy_from_slice(&features);
    let laws = Laws::new(path, &features);
    let treated = draw.coin(PROBABILITY);
    // The number of draws never depends on their results: rows stay aligned between the variants.
    let (u_visit, u_conversion, u_exposure) = (draw.uniform(), draw.uniform(), draw.uniform());
    let (exposed, visited) = match path {
        Path::Direct => {
            let visited = u_visit < if treated { laws.visit_treated } else { laws.visit_control };
            (treated && u_exposure < 0.024 + 0.25 * f64::from(visited), visited)
        }
        Path::ThroughExposure => {
            let exposed = treated && u_exposure < laws.exposure;
            (exposed, u_visit < if exposed { laws.visit_treated } else { laws.visit_control })
        }
    };
    let acted_on = if path == Path::Direct { treated } else { exposed };
    let converted = visited && u_conversion < laws.conversion(acted_on);
    data[12] = f64::from(treated);
    data[13] = f64::from(converted);
    data[14] = f64::from(visited);
    data[15] = f64::from(exposed);
    truth[0] = laws.tau();
    truth[1] = laws.tau_conversion();
}

/// The twelve features of one row, each exactly a 32-bit float.
fn features(draw: &mut Draw) -> [f64; 12] {
    let factors = [draw.normal(), draw.normal()];
    let mut z = [0.0; 12];
    for (value, loading) in z.iter_mut().zip(&LOADINGS) {
        let own = (1.0 - loading[0] * loading[0] - loading[1] * loading[1]).sqrt();
        *value = factors[0] * loading[0] + factors[1] * loading[1] + own * draw.normal();
    }
    // A mass at the mode, then a tail of steps beyond a threshold of the latent value.
    let steps = |z: f64, from: f64, per_unit: f64| if z < from { 0.0 } else { ((z - from) * per_unit).floor() };
    let raw = [
        round_to(12.616 + 14.0 * (1.0 - (-(0.8 * z[0] - 0.6).exp()).exp()), 1e4),
        10.0597 + steps(z[1], 1.6, 12.0) * 0.5,
        round_to(8.2144 + 0.84 * sigmoid(1.5 * z[2]), 1e6),
        4.6799 - steps(z[3], 0.4, 25.0) / 5.0,
        10.2805 + steps(z[4], 1.4, 10.0) / 3.0,
        4.1155 - steps(z[5], 1.5, 8.0) * 0.75,
        (-((1.2 * z[6] + 0.5).exp() * 2.0).floor() / 2.0).max(-31.0),
        4.8338 + steps(z[7], 1.3, 14.0) * 0.4,
        3.9718 - steps(z[8], 0.9, 60.0) / 200.0,
        (13.19 + if z[9] < 0.45 { 0.0 } else { ((1.3 * (z[9] - 0.45)).exp() * 20.0).floor() / 10.0 }).min(75.3),
        5.3004 + steps(z[10], 1.2, 30.0) / 25.0,
        -0.1687 - steps(z[11], 1.8, 40.0) / 50.0,
    ];
    raw.map(single)
}

fn round_to(value: f64, grid: f64) -> f64 {
    (value * grid).round() / grid
}

/// Everything that is fixed once a row's features are known.
struct Laws {
    path: Path,
    /// P(visit) of a row that the treatment doesn't reach.
    visit_control: f64,
    /// P(visit) of a row that the treatment reaches.
    visit_treated: f64,
    /// P(exposed | treated); used by [`Path::ThroughExposure`] only.
    exposure: f64,
    /// P(conversion | visit) of a row that the treatment doesn't reach.
    conversion_control: f64,
}

impl Laws {
    fn new(path: Path, f: &[f64; 12]) -> Self {
        let flag = |condition: bool| f64::from(condition);
        let base = -4.235
            + 0.05 * (f[0] - 12.616)
            + 3.0 * (3.9718 - f[8]).min(0.4)
            + 0.9 * flag(f[3] < 4.67)
            + 0.018 * (f[9] - 13.19).min(30.0)
            - 0.9 * (f[2] - 8.63)
            + 0.5 * flag(f[1] > 10.06)
            - 0.02 * f[6];
        let visit_control = sigmoid(base);
        let (visit_treated, exposure) = match path {
            Path::Direct => {
                // On the logit scale: steps, a smooth part and interactions; negative for some.
                let delta = -0.015 + 0.25 * flag(f[3] < 4.67 && f[9] > 13.2) + 0.45 * sigmoid(4.0 * (f[2] - 8.75))
                    - 0.30 * flag(f[6] < -6.0)
                    + 0.35 * flag(f[4] > 10.3 && f[0] > 18.0)
                    + 0.012 * (f[0] - 17.0);
                (sigmoid(base + delta), 0.0)
            }
            Path::ThroughExposure => {
                let exposure =
                    sigmoid(-3.82 + 0.08 * (f[0] - 17.0) + 0.7 * flag(f[3] < 4.67) + 0.02 * (f[9] - 13.19).min(30.0));
                // A share of those who would have stayed away comes: 12 to 42 %.
                let persuaded = 0.12 + 0.30 * sigmoid(4.0 * (f[2] - 8.63) - 0.8 * flag(f[6] < -6.0));
                (visit_control + (1.0 - visit_control) * persuaded, exposure)
            }
        };
        let conversion_control = 0.035 + 0.034 * sigmoid(0.15 * (f[0] - 18.0));
        Laws { path, visit_control, visit_treated, exposure, conversion_control }
    }

    /// P(conversion | visit), with or without the treatment reaching the row.
    fn conversion(&self, acted_on: bool) -> f64 {
        self.conversion_control + 0.01 * f64::from(acted_on)
    }

    /// The share of treated rows that the treatment reaches.
    fn reached(&self) -> f64 {
        match self.path {
            Path::Direct => 1.0,
            Path::ThroughExposure => self.exposure,
        }
    }

    fn tau(&self) -> f64 {
        self.reached() * (self.visit_treated - self.visit_control)
    }

    /// P(conversion | x, treated) − P(conversion | x, control), where a conversion needs a visit.
    fn tau_conversion(&self) -> f64 {
        let treated = self.visit_treated * self.conversion(true);
        let control = self.visit_control * self.conversion(false);
        self.reached() * (treated - control)
    }
}
