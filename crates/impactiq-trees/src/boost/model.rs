//! A boosted model: predictions and its form as plain arrays.

use impactiq_data::BinColumns;

use crate::boost::objective::ObjectiveKind;
use crate::boost::ready::Ready;
use crate::error::TreesError;
use crate::tree::arrays::{TreeArrays, leaves_of};
use crate::tree::route::add_leaf_values;
use crate::tree::{Leaves, Tree};

/// Boosted trees. Leaf values are f64 and already hold the learning rate.
#[derive(Clone, Debug, PartialEq)]
pub struct BoostModel {
    pub(super) objective: ObjectiveKind,
    pub(super) n_features: usize,
    pub(super) start: f64,
    pub(super) trees: Vec<Tree>,
    pub(super) values: Vec<Leaves<f64>>,
    pub(super) ready: Ready,
}

/// A boosted model as plain arrays.
#[derive(Clone, Debug, PartialEq)]
pub struct BoostArrays {
    /// The objective.
    pub objective: ObjectiveKind,
    /// Features the model was grown on.
    pub n_features: usize,
    /// The raw score before the first tree.
    pub start: f64,
    /// The trees' shapes.
    pub trees: TreeArrays,
    /// Leaf values, tree after tree.
    pub values: Vec<f64>,
}

impl BoostModel {
    /// Predicts on the mean scale (a probability for logistic loss) for all rows, or for
    /// those at `rows`.
    ///
    /// # Panics
    /// When `out` does not have one entry per row, a row does not exist, or `x` does not
    /// have [`BoostModel::n_features`] features (a bug of the caller: features are checked
    /// against the schema before they become codes).
    pub fn predict(&self, x: &dyn BinColumns, rows: Option<&[u32]>, out: &mut [f64]) {
        self.predict_raw(x, rows, out);
        let objective = self.objective.objective();
        out.iter_mut().for_each(|value| *value = objective.mean(*value));
    }

    /// Predicts raw scores (log-odds for logistic loss) for all rows, or for those at `rows`.
    ///
    /// # Panics
    /// As [`BoostModel::predict`].
    pub fn predict_raw(&self, x: &dyn BinColumns, rows: Option<&[u32]>, out: &mut [f64]) {
        assert_eq!(x.n_features(), self.n_features, "features of the model");
        out.fill(self.start);
        if !self.ready.add_leaf_values((&self.trees, &self.values), x, rows, out) {
            add_leaf_values(&self.trees, &self.values, x, rows, out);
        }
    }

    /// The objective it was trained for.
    pub fn objective(&self) -> ObjectiveKind {
        self.objective
    }

    /// Number of trees.
    pub fn n_trees(&self) -> usize {
        self.trees.len()
    }

    /// Number of features p.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// The raw score before the first tree.
    pub fn start(&self) -> f64 {
        self.start
    }

    /// The trees' shapes.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// The trees' leaf values.
    pub fn values(&self) -> &[Leaves<f64>] {
        &self.values
    }

    /// The model as plain arrays.
    pub fn to_arrays(&self) -> BoostArrays {
        BoostArrays {
            objective: self.objective,
            n_features: self.n_features,
            start: self.start,
            trees: TreeArrays::from_trees(&self.trees),
            values: self.values.iter().flat_map(|leaves| leaves.0.iter().copied()).collect(),
        }
    }

    /// The model of plain arrays, which may come from anywhere.
    ///
    /// # Errors
    /// [`TreesError::Layout`], [`TreesError::Length`], [`TreesError::BadArrays`],
    /// [`TreesError::BadValue`] when a leaf value or the start is not finite.
    pub fn from_arrays(arrays: &BoostArrays) -> Result<Self, TreesError> {
        if arrays.n_features == 0 {
            return Err(TreesError::NoFeatures);
        }
        let finite = |what, value: f64, row| {
            if value.is_finite() {
                return Ok(());
            }
            Err(TreesError::BadValue { what, value, row, allowed: "it must be a finite number" })
        };
        finite("start", arrays.start, 0)?;
        for (i, &value) in arrays.values.iter().enumerate() {
            finite("leaf value", value, i)?;
        }
        let trees = arrays.trees.to_trees(arrays.n_features)?;
        let values = leaves_of(&trees, &arrays.values)?;
        Ok(BoostModel {
            objective: arrays.objective,
            n_features: arrays.n_features,
            start: arrays.start,
            trees,
            values,
            ready: Ready::default(),
        })
    }
}
