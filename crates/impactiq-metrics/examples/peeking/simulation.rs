//! Streams of events under a targeting policy, looked at after every one: how often an interval
//! ever excludes the truth. Shared by the example that prints the table and by a small test.

use impactiq_data::Seed;
use impactiq_metrics::Estimate;
use impactiq_metrics::confidence_sequence::{BurnIn, EffectConfig, EffectSequence};
use rayon::prelude::*;
use statrs::function::beta::checked_beta_reg;

/// The chance an interval may take of ever being wrong.
pub const ALPHA: f64 = 0.05;
/// A 95 % interval for one look begins to be looked at from this event on.
const NAIVE_FROM: u64 = 500;

/// How events come about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Design {
    /// One in ten buys.
    Binary,
    /// One in a hundred buys.
    Rare,
    /// One in ten spends up to 100, most of them little.
    Spend,
    /// The effect fades to nothing; the truth is its average so far.
    Fading,
    /// The policy learns: it treats with 0.9 where treatment has looked better so far.
    Learning,
    /// Nothing happens to anybody: no effect.
    Null,
    /// Spend without an upper limit (log-normal): asymptotic only.
    Unbounded,
}

pub const DESIGNS: [Design; 7] =
    [Design::Binary, Design::Rare, Design::Spend, Design::Fading, Design::Learning, Design::Null, Design::Unbounded];

impl Design {
    pub fn name(self) -> &'static str {
        match self {
            Design::Binary => "binary, 10 %",
            Design::Rare => "binary, 1 %",
            Design::Spend => "spend in [0, 100]",
            Design::Fading => "binary, fading effect",
            Design::Learning => "binary, learning policy",
            Design::Null => "binary, no effect",
            Design::Unbounded => "log-normal spend",
        }
    }

    pub fn n_events(self) -> u64 {
        if self == Design::Rare { 20_000 } else { 5_000 }
    }

    fn range(self) -> Option<[f64; 2]> {
        match self {
            Design::Spend => Some([0.0, 100.0]),
            Design::Unbounded => None,
            _ => Some([0.0, 1.0]),
        }
    }

    /// The outcome of an event with a score, and of the same event treated.
    fn outcome(self, score: f64, treated: bool, age: f64, draws: [f64; 2]) -> f64 {
        let treated = f64::from(u8::from(treated));
        let buys = |rate: f64| f64::from(u8::from(draws[0] < rate));
        match self {
            Design::Binary | Design::Learning => buys(0.05 + 0.1 * score + treated * (0.1 * score - 0.02)),
            Design::Rare => buys(0.005 + 0.01 * score + treated * 0.01 * score),
            Design::Spend => buys(0.1 + treated * 0.05 * score) * 100.0 * draws[1].powi(4),
            Design::Fading => buys(0.1 + treated * 0.2 * score * (1.0 - age)),
            Design::Null => buys(0.05 + 0.1 * score),
            Design::Unbounded => {
                // Log-normal by Box and Muller.
                let normal = (-2.0 * (1.0 - draws[0]).ln()).sqrt() * (std::f64::consts::TAU * draws[1]).cos();
                (0.5 * normal).exp() * (1.0 + treated * 0.2 * score)
            }
        }
    }

    /// The average effect over the first `n` events; scores are uniform.
    fn truth(self, n: u64) -> f64 {
        match self {
            Design::Binary | Design::Learning => 0.03,
            Design::Rare => 0.005,
            Design::Spend => 20.0 * 0.05 * 0.5,
            Design::Fading => 0.1 * (1.0 - (n as f64 - 1.0) / (2.0 * self.n_events() as f64)),
            Design::Null => 0.0,
            Design::Unbounded => 0.125f64.exp() * 0.1,
        }
    }
}

/// What one stream, or the sum of many, showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// Streams in which the exact interval ever excluded the truth; the asymptotic; a fixed one.
    pub ever: [u64; 3],
    /// Events after which the asymptotic interval spoke.
    pub spoke: u64,
    /// Sum of the widths after the last event, in the same order.
    pub width: [f64; 3],
}

/// One stream.
pub fn stream(design: Design, seed: u64, burn_in: BurnIn) -> Found {
    let range = design.range();
    let config = EffectConfig { outcome_range: range, probability_min: 0.1, burn_in, ..EffectConfig::default() };
    let mut live = EffectSequence::new(config).expect("good settings");
    let seed = Seed::new(seed).child(design as u64);
    let draw = |what: u64, event: u64| seed.child(what).uniform(event);
    let mut by_arm = [[0.0; 2]; 2];
    let mut found = Found::default();
    for event in 0..design.n_events() {
        let score = draw(1, event);
        let probability = match design {
            Design::Learning => learnt(&by_arm),
            _ if score < 1.0 / 3.0 => 0.1,
            _ if score < 2.0 / 3.0 => 0.5,
            _ => 0.9,
        };
        let treated = draw(2, event) < probability;
        let age = event as f64 / design.n_events() as f64;
        let outcome = design.outcome(score, treated, age, [draw(3, event), draw(4, event)]);
        by_arm[usize::from(treated)][0] += outcome;
        by_arm[usize::from(treated)][1] += 1.0;
        live.observe(treated, probability, outcome).expect("a good event");
        let truth = design.truth(event + 1);
        let misses = |interval: &Estimate| match (interval.lower(), interval.upper()) {
            (Some(lower), Some(upper)) => u64::from(truth < lower || truth > upper),
            _ => 0,
        };
        found.ever[0] |= u64::from(live.exact_excludes(truth, ALPHA));
        let asymptotic = live.asymptotic(ALPHA);
        found.ever[1] |= misses(&asymptotic);
        found.spoke += u64::from(asymptotic.value().is_some());
        if live.n() >= NAIVE_FROM {
            found.ever[2] |= misses(&live.single_look());
        }
    }
    let width = |interval: Estimate| interval.upper().zip(interval.lower()).map_or(f64::NAN, |(u, l)| u - l);
    found.width = [width(live.exact(ALPHA)), width(live.asymptotic(ALPHA)), width(live.single_look())];
    found
}

fn learnt(by_arm: &[[f64; 2]; 2]) -> f64 {
    let mean = |arm: usize| by_arm[arm][0] / by_arm[arm][1].max(1.0);
    if by_arm[0][1] < 20.0 || by_arm[1][1] < 20.0 {
        0.5
    } else if mean(1) > mean(0) {
        0.9
    } else {
        0.1
    }
}

/// Streams with seeds 0 to `n` − 1, added up in order.
pub fn streams(design: Design, n: u64, burn_in: BurnIn) -> Found {
    let all: Vec<Found> = (0..n).into_par_iter().map(|seed| stream(design, seed, burn_in)).collect();
    all.iter().fold(Found::default(), |mut sum, one| {
        for place in 0..3 {
            sum.ever[place] += one.ever[place];
            sum.width[place] += one.width[place];
        }
        sum.spoke += one.spoke;
        sum
    })
}

/// The 99 % upper bound of a share (Clopper & Pearson 1934).
pub fn upper_bound(hits: u64, n: u64) -> f64 {
    if hits >= n {
        return 1.0;
    }
    let (mut low, mut high) = (hits as f64 / n as f64, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        // The chance of at most `hits` of n.
        let chance = checked_beta_reg((n - hits) as f64, hits as f64 + 1.0, 1.0 - middle).unwrap_or(0.0);
        if chance > 0.01 { low = middle } else { high = middle }
    }
    high
}
