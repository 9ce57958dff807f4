//! The data and the kinds of trees that laws are stated for.

use impactiq_data::{BinColumns, FeatureKind, Seed, Silent};
use impactiq_trees::{
    BoostConfig, BoostTask, EffectTask, Forest, ForestConfig, InstrumentTask, MeanTask, ObjectiveKind, boost,
    grow_effect_forest, grow_instrument_forest, grow_mean_forest,
};

/// What trees learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Boosted means.
    Newton,
    /// A causal forest of one contrast: arms 2 and 3 against 0 and 1.
    OneContrast,
    /// A causal forest of three contrasts.
    ThreeContrasts,
    /// An instrumental forest.
    Instrument,
    /// A regression forest.
    Mean,
}

pub const ALL: [Kind; 5] = [Kind::Newton, Kind::OneContrast, Kind::ThreeContrasts, Kind::Instrument, Kind::Mean];

impl Kind {
    pub fn is_effect(self) -> bool {
        !matches!(self, Kind::Newton | Kind::Mean)
    }
}

/// Columns of codes.
#[derive(Clone)]
pub struct Columns {
    pub codes: Vec<Vec<u8>>,
    pub kinds: Vec<FeatureKind>,
}

impl BinColumns for Columns {
    fn n_rows(&self) -> usize {
        self.codes[0].len()
    }
    fn n_features(&self) -> usize {
        self.codes.len()
    }
    fn kind(&self, feature: usize) -> FeatureKind {
        self.kinds[feature]
    }
    fn n_codes(&self, feature: usize) -> usize {
        self.codes[feature].iter().filter(|&&code| code != u8::MAX).max().map_or(1, |&code| usize::from(code) + 1)
    }
    fn codes(&self, feature: usize) -> &[u8] {
        &self.codes[feature]
    }
}

/// Four arms, an encouragement, an outcome in multiples of 1/16; a feature with missing values and a
/// category among four.
#[derive(Clone)]
pub struct Trial {
    pub x: Columns,
    pub outcome: Vec<f64>,
    pub arm: Vec<u8>,
    pub encouraged: Vec<u8>,
    pub takes: Vec<u8>,
    pub weights: Option<Vec<f64>>,
    pub ids: Vec<u64>,
    /// Minimums by count as small as they go.
    pub loose: bool,
}

impl Trial {
    pub fn new(seed: u64) -> Self {
        let n = 1200u64;
        let seed = Seed::new(seed);
        let draw = |stream: u64, below: u64| -> Vec<u8> {
            (0..n).map(|row| seed.child(stream).below(row, below) as u8).collect()
        };
        let mut codes = vec![draw(0, 80), draw(1, 80), draw(2, 80), draw(3, 6)];
        (0..n as usize).filter(|row| row % 11 == 0).for_each(|row| codes[2][row] = u8::MAX);
        let kinds = vec![FeatureKind::Ordered, FeatureKind::Ordered, FeatureKind::Ordered, FeatureKind::Category];
        let (arm, encouraged, nature, noise) = (draw(4, 4), draw(5, 2), draw(6, 10), draw(7, 32));
        let takes: Vec<u8> = (0..n as usize).map(|row| if nature[row] < 7 { encouraged[row] } else { 1 }).collect();
        let outcome = (0..n as usize)
            .map(|row| {
                let upper = f64::from(u8::from(codes[0][row] >= 40));
                let effect = f64::from(arm[row]) * upper + 2.0 * f64::from(takes[row]) * upper;
                let level = f64::from(codes[1][row] / 16) / 2.0 + f64::from(u8::from(codes[3][row] == 2));
                effect + level + f64::from(noise[row]) / 16.0 - 1.0
            })
            .collect();
        let x = Columns { codes, kinds };
        Trial { x, outcome, arm, encouraged, takes, weights: None, ids: (0..n).collect(), loose: false }
    }

    pub fn n(&self) -> usize {
        self.outcome.len()
    }

    /// The rows at `order`, which may repeat, with their ids.
    pub fn reordered(&self, order: &[usize]) -> Self {
        fn take<T: Copy>(from: &[T], order: &[usize]) -> Vec<T> {
            order.iter().map(|&row| from[row]).collect()
        }
        Trial {
            x: Columns {
                codes: self.x.codes.iter().map(|codes| take(codes, order)).collect(),
                kinds: self.x.kinds.clone(),
            },
            outcome: take(&self.outcome, order),
            arm: take(&self.arm, order),
            encouraged: take(&self.encouraged, order),
            takes: take(&self.takes, order),
            weights: self.weights.as_ref().map(|weights| take(weights, order)),
            ids: take(&self.ids, order),
            loose: self.loose,
        }
    }

    fn config(&self) -> ForestConfig {
        let (min_leaf_rows, min_arm_rows) = if self.loose { (1, 1) } else { (30, 10) };
        let max_depth = self.loose.then_some(4);
        ForestConfig { n_trees: 20, min_leaf_rows, min_arm_rows, max_depth, ..ForestConfig::default() }
    }

    /// The answers for all rows, a vector per value.
    pub fn answers(&self, kind: Kind) -> Vec<Vec<f64>> {
        let rows: Vec<u32> = (0..self.n() as u32).collect();
        let forest = match kind {
            Kind::Newton => return vec![self.boosted(&rows)],
            Kind::OneContrast => {
                let treated: Vec<u8> = self.arm.iter().map(|arm| u8::from(*arm >= 2)).collect();
                self.effects::<1, 8>(&rows, &treated, 0.5)
            }
            Kind::ThreeContrasts => self.effects::<3, 20>(&rows, &self.arm, 0.25),
            Kind::Instrument => self.instrumental(&rows),
            Kind::Mean => {
                let task = MeanTask {
                    rows: &rows,
                    target: &self.outcome,
                    weights: self.weights.as_deref(),
                    clusters: None,
                    row_ids: &self.ids,
                };
                grow_mean_forest(&self.x, &task, &self.config(), Seed::new(1), &Silent).unwrap()
            }
        };
        forest.predict(&self.x, None, false).values
    }

    fn effects<const K: usize, const L: usize>(&self, rows: &[u32], arms: &[u8], share: f64) -> Forest {
        let contrasts: [Vec<f64>; K] = std::array::from_fn(|k| {
            arms.iter().map(|&arm| f64::from(u8::from(usize::from(arm) == k + 1)) - share).collect()
        });
        let task = EffectTask {
            rows,
            outcome: &self.outcome,
            contrasts: std::array::from_fn(|k| &contrasts[k][..]),
            arms: Some(arms),
            weights: self.weights.as_deref(),
            clusters: None,
            row_ids: &self.ids,
        };
        grow_effect_forest::<K, L>(&self.x, &task, &self.config(), Seed::new(1), &Silent).unwrap()
    }

    fn instrumental(&self, rows: &[u32]) -> Forest {
        let centred = |on: &[u8]| -> Vec<f64> { on.iter().map(|&on| f64::from(on) - 0.5).collect() };
        let (treatment, instrument) = (centred(&self.takes), centred(&self.encouraged));
        let task = InstrumentTask {
            rows,
            outcome: &self.outcome,
            treatment: &treatment,
            instrument: &instrument,
            encouraged: Some(&self.encouraged),
            weights: self.weights.as_deref(),
            clusters: None,
            row_ids: &self.ids,
        };
        grow_instrument_forest(&self.x, &task, &self.config(), Seed::new(1), &Silent).unwrap()
    }

    fn boosted(&self, rows: &[u32]) -> Vec<f64> {
        let task = BoostTask {
            rows,
            target: &self.outcome,
            weights: self.weights.as_deref(),
            row_ids: &self.ids,
            objective: ObjectiveKind::Squared,
        };
        let min_leaf_rows = if self.loose { 1 } else { 20 };
        // Categories are drawn to their node's mean by rows, not by weight, unless asked not to.
        let category_smoothing = if self.loose { 0.0 } else { 10.0 };
        let max_depth = self.loose.then_some(4);
        let config = BoostConfig {
            n_trees: 10,
            learning_rate: 0.5,
            l2: 0.0,
            min_leaf_rows,
            category_smoothing,
            max_depth,
            ..BoostConfig::default()
        };
        let model = boost(&self.x, &task, &config, Seed::new(1), &Silent).unwrap();
        let mut out = vec![0.0; self.n()];
        model.predict(&self.x, None, &mut out);
        out
    }
}
