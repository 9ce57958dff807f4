//! From the keys a user wrote to a base learner with every setting, by what it is for.
//!
//! The defaults were measured on known-truth data; docs/methods has the table. Leaves grow as
//! an outcome gets rarer: a leaf of 20 rows of a 0.3 % outcome holds nothing but noise.

use impactiq_trees::{BoostConfig, EarlyStopping, ForestConfig};

use super::external::Library;
use super::settings::{BaseKind, BaseSettings};
use super::{BaseLearner, Loss};
use crate::linear::Shrinkage;

/// Rows up to which an effect's trees are grown again on all rows after early stopping; the
/// gain (3 to 7 % of the error at 1 M rows and below) is not worth twice the time above.
const REFIT_ROWS: usize = 2_000_000;

/// Parts that decide in turn how many trees an effect needs: one of them alone, a fifth of the rows, is mostly
/// noise.
const EFFECT_STOPS: u32 = 5;

/// What a base learner is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A nuisance of an experiment: its errors are averaged out, so it may be light.
    Nuisance,
    /// A nuisance of observational data: what it misses stays in the effect as bias, which no interval knows of.
    Adjustment,
    /// A probability of assignment in observational data.
    Assignment,
    /// One arm's outcome in a T-learner: the errors of two such models add up in an effect.
    OneArm,
    /// The outcome with the arm among the features: splits on the arm must not be rare.
    AllArms,
    /// A pseudo-outcome whose mean is an effect: nearly all of it is noise.
    Effect,
}

impl Place {
    /// A nuisance, where the data is observational or not.
    pub fn nuisance(is_observational: bool) -> Place {
        if is_observational { Place::Adjustment } else { Place::Nuisance }
    }

    fn is_nuisance(self) -> bool {
        matches!(self, Place::Nuisance | Place::Adjustment | Place::Assignment)
    }

    /// Rows set aside stop a model when it predicts best, which is too early where its bias counts for more than its
    /// noise: the noise of two nuisances is averaged out, the product of their biases is not.
    fn stops_early(self) -> bool {
        !matches!(self, Place::Adjustment | Place::Assignment)
    }
}

/// What is known of a target before anything is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// The loss.
    pub loss: Loss,
    /// Rows of the smallest part that is fitted alone.
    pub n_rows: usize,
    /// Mean of the target.
    pub mean: f64,
}

impl BaseSettings {
    /// The base learner of a kind, with defaults where the user wrote nothing.
    pub fn learner(&self, kind: BaseKind, place: Place, target: Target) -> BaseLearner {
        let refit = !place.is_nuisance() && target.n_rows <= REFIT_ROWS;
        let n_stops = if place == Place::Effect { EFFECT_STOPS } else { 1 };
        let external = |library| BaseLearner::External { library, config: self.boosted(place, target), refit, n_stops };
        match kind {
            BaseKind::Boosted => BaseLearner::Boosted { config: self.boosted(place, target), refit, n_stops },
            BaseKind::Lightgbm => external(Library::Lightgbm),
            BaseKind::Xgboost => external(Library::Xgboost),
            BaseKind::Forest => BaseLearner::Forest { config: self.forest(place, target) },
            BaseKind::LeastSquares => BaseLearner::LeastSquares,
            BaseKind::Ridge => BaseLearner::Ridge { penalty: self.penalty.unwrap_or(1.0) },
            BaseKind::Logistic => BaseLearner::Logistic { penalty: self.penalty.unwrap_or(0.0) },
            BaseKind::Lasso => BaseLearner::Shrunken(Shrinkage { l1_share: 1.0, penalty: self.penalty }),
            BaseKind::ElasticNet => BaseLearner::Shrunken(Shrinkage { l1_share: 0.5, penalty: self.penalty }),
        }
    }

    /// The base learner of probabilities of a treatment: logistic where the outcome's is linear.
    pub fn propensity_learner(&self, kind: BaseKind, place: Place, target: Target) -> BaseLearner {
        match kind {
            BaseKind::LeastSquares => BaseLearner::Logistic { penalty: 0.0 },
            BaseKind::Ridge => BaseLearner::Logistic { penalty: self.penalty.unwrap_or(1.0) },
            // A squared-loss penalty means nothing to a logistic one: it is chosen by itself.
            BaseKind::Lasso | BaseKind::ElasticNet => BaseLearner::LogisticChosen,
            kind => self.learner(kind, place, target),
        }
    }

    fn forest(&self, place: Place, target: Target) -> ForestConfig {
        let n_trees = if place.is_nuisance() { 200 } else { 500 };
        ForestConfig {
            n_trees: self.n_trees.map_or(n_trees, |n| n as usize),
            // No variances are asked of a base learner, so every tree draws for itself.
            trees_per_bag: 1,
            sample_fraction: self.row_fraction.unwrap_or(0.5),
            honest: false,
            min_leaf_rows: self.min_leaf_rows.unwrap_or_else(|| min_leaf_rows(place, target)),
            max_depth: self.max_depth,
            ..ForestConfig::default()
        }
    }

    fn boosted(&self, place: Place, target: Target) -> BoostConfig {
        let (n_trees, learning_rate, n_leaves, l2, feature_fraction) = match place {
            Place::Nuisance | Place::Adjustment => (100, 0.1, 8, 1.0, 1.0),
            Place::Assignment => (assignment_trees(target.n_rows), 0.1, 8, 1.0, 1.0),
            Place::OneArm => (300, 0.05, 4, 100.0, 0.5),
            Place::AllArms => (300, 0.05, 8, 10.0, 1.0),
            Place::Effect => (300, 0.05, 4, 100.0, 0.5),
        };
        let stopping = EarlyStopping { fraction: 0.2, patience: 20 };
        let defaults = BoostConfig::default();
        BoostConfig {
            n_trees: self.n_trees.map_or(n_trees, |n| n as usize),
            learning_rate: self.learning_rate.unwrap_or(learning_rate),
            n_leaves: self.n_leaves.map_or(n_leaves, |n| n as usize),
            max_depth: self.max_depth,
            min_leaf_rows: self.min_leaf_rows.unwrap_or_else(|| min_leaf_rows(place, target)),
            l2: self.l2.unwrap_or(l2),
            row_fraction: self.row_fraction.unwrap_or(1.0),
            feature_fraction: self.feature_fraction.unwrap_or(feature_fraction),
            early_stopping: self.early_stopping.unwrap_or(place.stops_early()).then_some(stopping),
            ..defaults
        }
    }
}

/// Trees of a probability of assignment. Nothing stops them, and a few hundred rows would be learned by heart: weights are
/// one over these probabilities.
fn assignment_trees(n_rows: usize) -> usize {
    (n_rows / 16).clamp(25, 100)
}

/// Rows per leaf: enough events, and not more than a fiftieth of the part.
fn min_leaf_rows(place: Place, target: Target) -> u32 {
    let rare = match target.loss {
        Loss::Squared => 1.0,
        Loss::Logistic => (2.0 * target.mean.min(1.0 - target.mean)).max(1e-6),
    };
    let events = match (place, target.loss) {
        (Place::Nuisance | Place::Adjustment | Place::Assignment, _) => 20.0,
        (Place::Effect, Loss::Logistic) => 200.0,
        (Place::OneArm | Place::AllArms | Place::Effect, _) => 50.0,
    };
    let most = (target.n_rows as f64 / 50.0).max(5.0);
    (events / rare).min(most).max(5.0).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boosted(settings: BaseSettings, place: Place, n_rows: usize) -> BoostConfig {
        settings.boosted(place, Target { loss: Loss::Logistic, n_rows, mean: 0.5 })
    }

    #[test]
    fn only_where_bias_would_stay_nothing_stops_a_nuisance_early() {
        let stops = |place| boosted(BaseSettings::default(), place, 1_000).early_stopping.is_some();
        assert!(stops(Place::Nuisance) && stops(Place::Effect) && stops(Place::OneArm));
        assert!(!stops(Place::Adjustment) && !stops(Place::Assignment));
        let asked = BaseSettings { early_stopping: Some(true), ..BaseSettings::default() };
        assert!(boosted(asked, Place::Assignment, 1_000).early_stopping.is_some(), "who asks for it gets it");
    }

    #[test]
    fn a_probability_gets_trees_by_its_rows() {
        let trees = |n_rows| boosted(BaseSettings::default(), Place::Assignment, n_rows).n_trees;
        assert_eq!([trees(100), trees(480), trees(10_000)], [25, 30, 100]);
        let asked = BaseSettings { n_trees: Some(7), ..BaseSettings::default() };
        assert_eq!(boosted(asked, Place::Assignment, 10_000).n_trees, 7);
    }
}
