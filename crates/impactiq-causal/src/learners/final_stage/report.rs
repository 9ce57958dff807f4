//! The table of coefficients: names and units of the raw columns, each coefficient with its
//! error, its own interval and one that holds jointly with all others of its arm.

use impactiq_data::Seed;
use impactiq_metrics::Estimate;
use impactiq_metrics::robust::Covariance;
use serde::{Deserialize, Serialize};

use super::interactions::{InteractionReport, product_name};
use super::model::{LinearContrast, width};
use crate::linear::{Design, DesignColumn};

/// Draws behind the joint critical value: its error is below 1 %.
const DRAWS: u64 = 40_000;

/// One coefficient of an effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// `(constant)`, a number's name, `name = level`, `name is missing`.
    pub name: String,
    /// What the effect gains per unit of the feature; of the constant: the effect where all
    /// numbers are 0 and all categories their reference.
    pub estimate: Estimate,
    /// Lower end of an interval that holds together with those of the arm's other terms.
    pub joint_lower: Option<f64>,
    /// Its upper end.
    pub joint_upper: Option<f64>,
}

/// The linear effect of one arm on one outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LinearReport {
    /// The outcome.
    pub outcome: String,
    /// The arm, compared with the control.
    pub arm: String,
    /// How the covariance was estimated.
    pub covariance: Covariance,
    /// Rows of the final stage.
    pub n: u64,
    /// Standard errors that joint intervals reach to either side: the 95 % quantile of the
    /// largest |t| among all terms.
    pub joint_width: f64,
    /// Coefficients, in the features' own units; a missing number counts as the mean.
    pub terms: Vec<Term>,
    /// How products of features were chosen, where the config asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interactions: Option<InteractionReport>,
}

/// Names of a design's numbers, and the way back to raw units: slope, and what a coefficient
/// takes from the constant.
pub(super) struct Terms {
    names: Vec<String>,
    scale: Vec<(f64, f64)>,
    /// The last terms: products of two others.
    products: Vec<[usize; 2]>,
}

impl Terms {
    pub fn of(design: &Design) -> Self {
        let mut terms = Terms { names: vec!["(constant)".into()], scale: vec![(1.0, 0.0)], products: Vec::new() };
        for column in design.columns() {
            match column {
                DesignColumn::Number { name, mean, scale, missing } => {
                    terms.push(name.clone(), (1.0 / scale, mean / scale));
                    if *missing {
                        terms.push(format!("{name} is missing"), (1.0, 0.0));
                    }
                }
                DesignColumn::Raw { name } => terms.push(name.clone(), (1.0, 0.0)),
                DesignColumn::Category { name, levels, other, missing, .. } => {
                    levels.iter().for_each(|level| terms.push(format!("{name} = {level}"), (1.0, 0.0)));
                    if *other {
                        terms.push(format!("{name} = (rarer)"), (1.0, 0.0));
                    }
                    if *missing {
                        terms.push(format!("{name} is missing"), (1.0, 0.0));
                    }
                }
            }
        }
        terms
    }

    fn push(&mut self, name: String, scale: (f64, f64)) {
        self.names.push(name);
        self.scale.push(scale);
    }

    /// With products of them.
    pub fn with_products(mut self, products: &[[usize; 2]]) -> Self {
        for product in products {
            self.names.push(product_name(&self.names, *product));
        }
        self.products = products.to_vec();
        self
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Row i of the matrix that takes the design's coefficients to raw units.
    fn raw(&self, i: usize) -> Vec<f64> {
        let n = self.scale.len();
        let mut row = vec![0.0; self.names.len()];
        match i {
            0 => (0..n).for_each(|j| row[j] = if j == 0 { 1.0 } else { -self.scale[j].1 }),
            _ if i < n => row[i] = self.scale[i].0,
            _ => {
                let [a, b] = self.products[i - n];
                row[i] = self.scale[a].0 * self.scale[b].0;
            }
        }
        // (a x − c)(b y − d) = ab xy − ad x − bc y + cd: a product takes from its factors and the constant.
        for (at, [a, b]) in self.products.iter().enumerate() {
            let ((slope_a, mean_a), (slope_b, mean_b)) = (self.scale[*a], self.scale[*b]);
            row[n + at] = match i {
                0 => mean_a * mean_b,
                _ if i == *a => -slope_a * mean_b,
                _ if i == *b => -slope_b * mean_a,
                _ => continue,
            };
        }
        row
    }

    pub fn report(
        &self,
        (outcome, arm): (&str, &str),
        contrast: &LinearContrast,
        (kind, n): (Covariance, u64),
        seed: Seed,
    ) -> LinearReport {
        let k = self.names.len();
        let rows: Vec<Vec<f64>> = (0..k).map(|i| self.raw(i)).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let half: Vec<Vec<f64>> =
            rows.iter().map(|r| (0..k).map(|j| dot(&contrast.covariance[j * k..(j + 1) * k], r)).collect()).collect();
        let covariance: Vec<f64> = (0..k * k).map(|c| dot(&rows[c / k], &half[c % k])).collect();
        let normal = sup_t(&covariance, k, seed);
        // With few clusters the t quantile is wider: scale as for one term.
        let joint_width = normal * width(contrast.freedom) / width(f64::INFINITY);
        let term = |i: usize| {
            let (value, error) = (dot(&rows[i], &contrast.coefficients), covariance[i * k + i].max(0.0).sqrt());
            let bound = |side: f64| Some(value + side * joint_width * error).filter(|v| v.is_finite());
            Term {
                name: self.names[i].clone(),
                estimate: Estimate::with_t(value, error, contrast.freedom, n),
                joint_lower: bound(-1.0),
                joint_upper: bound(1.0),
            }
        };
        LinearReport {
            outcome: outcome.to_owned(),
            arm: arm.to_owned(),
            covariance: kind,
            n,
            joint_width,
            terms: (0..k).map(term).collect(),
            interactions: None,
        }
    }
}

/// The 95 % quantile of max |Zⱼ| for normal Z with this covariance's correlations (sup-t;
/// Montiel Olea & Plagborg-Møller 2019), by seeded draws.
fn sup_t(covariance: &[f64], k: usize, seed: Seed) -> f64 {
    let deviation: Vec<f64> = (0..k).map(|i| covariance[i * k + i].max(0.0).sqrt()).collect();
    let correlation = |i: usize, j: usize| {
        let scale = deviation[i] * deviation[j];
        if scale > 0.0 { covariance[i * k + j] / scale } else { f64::from(u8::from(i == j)) }
    };
    let mut factor = vec![0.0; k * k];
    for i in 0..k {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|c| factor[i * k + c] * factor[j * k + c]).sum();
            let left = correlation(i, j) - sum;
            factor[i * k + j] = match i == j {
                true => left.max(0.0).sqrt(),
                false if factor[j * k + j] > 1e-8 => left / factor[j * k + j],
                false => 0.0,
            };
        }
    }
    let mut largest: Vec<f64> = (0..DRAWS)
        .map(|draw| {
            let seed = seed.child(draw);
            let z: Vec<f64> = (0..k as u64).map(|j| normal(seed, j)).collect();
            (0..k).map(|i| (0..=i).map(|j| factor[i * k + j] * z[j]).sum::<f64>().abs()).fold(0.0, f64::max)
        })
        .collect();
    let place = (0.95 * DRAWS as f64).ceil() as usize - 1;
    // One term alone has the normal quantile; draws may only widen it.
    largest.select_nth_unstable_by(place, f64::total_cmp).1.max(width(f64::INFINITY))
}

/// A standard normal number for a key (Box & Muller 1958).
fn normal(seed: Seed, key: u64) -> f64 {
    let (u, v) = (1.0 - seed.uniform(2 * key), seed.uniform(2 * key + 1));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joint_widths_are_those_of_tables() {
        let identity = |k: usize| -> Vec<f64> { (0..k * k).map(|c| f64::from(u8::from(c % (k + 1) == 0))).collect() };
        let alone = sup_t(&identity(1), 1, Seed::new(1));
        assert!((alone - 1.96).abs() < 0.03, "{alone}");
        // Ten independent terms: the (1 + 0.95^(1/10))/2 quantile.
        let ten = sup_t(&identity(10), 10, Seed::new(1));
        assert!((ten - 2.799).abs() < 0.03, "{ten}");
        // Terms that are one and the same cost nothing.
        let same = sup_t(&[4.0; 9], 3, Seed::new(1));
        assert!((same - 1.96).abs() < 0.03, "{same}");
    }
}
