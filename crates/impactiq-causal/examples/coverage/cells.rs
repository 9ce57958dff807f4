//! The cells of the coverage study: a generator with a known average effect, a config with a
//! declared probability, and what one replication says. Shared by the example that fills
//! docs/methods/coverage.md and by the small version among the tests.

use impactiq_causal::effect::{Asked, averages};
use impactiq_causal::nuisance::fit_nuisances;
use impactiq_causal::{CausalError, CheckedConfig, Config};
use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{Seed, Silent};
use impactiq_metrics::Estimate;

/// A design whose intervals are put to the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nie & Wager (2021) B: 2,000 rows, half treated, heterogeneous effects.
    NieWagerB,
    /// Criteo-shaped visits: 100,000 rows, 85 % treated, 4.7 % events.
    Criteo,
    /// Three arms with unequal probabilities, a category and missing values: 2,000 rows.
    ThreeArms,
    /// 100 clusters, half of them treated as a whole: 2,000 rows.
    Clusters,
}

impl Cell {
    pub const ALL: [Cell; 4] = [Cell::NieWagerB, Cell::Criteo, Cell::ThreeArms, Cell::Clusters];

    pub fn name(self) -> &'static str {
        match self {
            Cell::NieWagerB => "nie-wager-b",
            Cell::Criteo => "criteo-visits",
            Cell::ThreeArms => "three-arms",
            Cell::Clusters => "clusters",
        }
    }

    pub fn n_rows(self) -> usize {
        if self == Cell::Criteo { 100_000 } else { 2_000 }
    }

    /// Replications of the whole study: 2,000 of the large cell, more where they are cheap.
    pub fn n_replications(self) -> u64 {
        if self == Cell::Criteo { 2_000 } else { 6_000 }
    }

    fn kind(self) -> SynthKind {
        match self {
            Cell::NieWagerB => SynthKind::NieWagerB,
            Cell::Criteo => SynthKind::Criteo,
            Cell::ThreeArms => SynthKind::MultiArm,
            Cell::Clusters => SynthKind::Clustered,
        }
    }

    /// The average effect of each arm in the population the rows are drawn from.
    pub fn truth(self) -> Result<Vec<f64>, CausalError> {
        Ok(match self {
            // E[x1 + ln(1 + e^x2)], both standard normal, by the midpoint rule.
            Cell::NieWagerB => {
                let step = 1e-3;
                let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
                let at = |i: i32| (f64::from(i) + 0.5) * step;
                vec![(-10_000..10_000).map(|i| density(at(i)) * at(i).exp().ln_1p() * step).sum()]
            }
            // The effect has no closed form: the mean over 4 M rows, right to 7e-6.
            Cell::Criteo => {
                let (mut sum, mut n) = (0.0, 0.0);
                for part in 0..8 {
                    let made = generate(self.kind(), &SynthOptions::default(), 500_000, Seed::new(9_000_000 + part))?;
                    let tau = made.truth.column("tau")?.numbers().unwrap_or_default();
                    sum += tau.iter().sum::<f64>();
                    n += tau.len() as f64;
                }
                vec![sum / n]
            }
            // 0.55 + E[region] and 0.3 + 0.25 − 0.01 + 0.2·E[x2], from the generator's formulas.
            Cell::ThreeArms => vec![0.55 + 0.95 * -0.04 + 0.05 * 0.1, 0.3 + 0.25 - 0.04 + 0.2 * 0.1 * -0.5],
            Cell::Clusters => vec![0.5],
        })
    }

    fn config(self, columns: &[String]) -> Result<CheckedConfig, CausalError> {
        let light = "nuisance: {kind: boosted, n_trees: 40, n_leaves: 8}";
        let yaml = match self {
            Cell::NieWagerB => format!(
                "data: {{path: x}}\nroles: {{treatment: treatment, control: 0, outcome: y}}\n\
                 assignment: {{probability: 0.5}}\n{light}\n"
            ),
            Cell::Criteo => {
                "data: {path: x}\nroles: {treatment: treatment, control: 0, outcome: visit, features: ['f*']}\n\
                 assignment: {probability: 0.85}\nnuisance: {kind: least_squares}\n"
                    .into()
            }
            Cell::ThreeArms => format!(
                "data: {{path: x}}\nroles: {{treatment: treatment, control: control, outcome: y, post_treatment: converted}}\n\
                 assignment: {{probability: {{control: 0.5, arm_1: 0.3, arm_2: 0.2}}}}\n{light}\n"
            ),
            Cell::Clusters => format!(
                "data: {{path: x}}\nroles: {{treatment: treatment, control: 0, outcome: y, cluster: cluster}}\n\
                 assignment: {{probability: 0.5}}\n{light}\n"
            ),
        };
        Config::from_yaml(&yaml, self.name(), &[])?.check(columns)
    }
}

/// What one replication says about one estimator of one arm.
#[derive(Clone, Debug)]
pub struct Record {
    /// `difference_in_means`, `lin` or `aipw`.
    pub estimator: &'static str,
    /// Arm code.
    pub arm: usize,
    /// The estimate.
    pub estimate: Estimate,
}

/// Draws the data of a replication and estimates its average effects.
pub fn replicate(cell: Cell, replication: u64) -> Result<Vec<Record>, CausalError> {
    let n = cell.n_rows();
    let mut made = generate(cell.kind(), &SynthOptions::default(), n, Seed::new(replication))?;
    let config = cell.config(made.table.names())?;
    // Columns without a role only cost time.
    let wanted = config.columns();
    for name in made.table.names().to_vec() {
        if !wanted.contains(&name) {
            made.table.take(&name)?;
        }
    }
    let data = config.dataset(made.table, (0..n as u64).collect())?;
    let seed = Seed::new(replication).child(1);
    let nuisances = fit_nuisances(&data, &config.folds(&data)?, &config.config().nuisance, seed, &Silent)?;
    let mut records = Vec::new();
    for (index, contrast) in averages(&data, &nuisances, &Asked::default()).unwrap().into_iter().enumerate() {
        let estimators = contrast.estimators;
        for (estimator, estimate) in [
            ("difference_in_means", estimators.difference_in_means),
            ("lin", estimators.lin),
            ("aipw", estimators.aipw),
        ] {
            records.push(Record { estimator, arm: index + 1, estimate });
        }
    }
    Ok(records)
}

/// Sums over replications: enough for bias, error ratio and coverage, and addable over parts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    pub n: f64,
    pub error: f64,
    pub error_squared: f64,
    pub variance: f64,
    pub covered: f64,
}

impl Tally {
    /// Adds one estimate; one without an interval covers nothing.
    pub fn observe(&mut self, estimate: &Estimate, truth: f64) {
        let error = estimate.value().unwrap_or(f64::NAN) - truth;
        self.n += 1.0;
        self.error += error;
        self.error_squared += error * error;
        self.variance += estimate.std_error().unwrap_or(f64::NAN).powi(2);
        let covers = |(lower, upper): (f64, f64)| lower <= truth && truth <= upper;
        self.covered += f64::from(u8::from(estimate.lower().zip(estimate.upper()).is_some_and(covers)));
    }

    /// Adds another part.
    pub fn add(&mut self, other: &Tally) {
        self.n += other.n;
        self.error += other.error;
        self.error_squared += other.error_squared;
        self.variance += other.variance;
        self.covered += other.covered;
    }

    /// Mean error.
    pub fn bias(&self) -> f64 {
        self.error / self.n
    }

    /// Root mean stated variance over the standard deviation of the estimates.
    pub fn error_ratio(&self) -> f64 {
        let spread = (self.error_squared / self.n - self.bias().powi(2)) * self.n / (self.n - 1.0);
        (self.variance / self.n / spread).sqrt()
    }

    /// Share of intervals that hold the truth.
    pub fn coverage(&self) -> f64 {
        self.covered / self.n
    }

    /// Its own standard error.
    pub fn coverage_error(&self) -> f64 {
        (self.coverage() * (1.0 - self.coverage()) / self.n).sqrt()
    }
}
