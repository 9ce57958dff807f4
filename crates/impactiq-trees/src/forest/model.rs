//! A grown forest: shapes, leaf moments and which rows its bags have seen.

use impactiq_data::Seed;

use crate::error::{TreesError, check_length};
use crate::forest::kind::ForestKind;
use crate::sample::Bags;
use crate::tree::arrays::TreeArrays;
use crate::tree::walk::Walkers;
use crate::tree::{Tree, first_leaves};

/// An honest forest of effects or of means.
///
/// A leaf holds f32 weighted means of its rows' moments, so that every tree has one vote (a row of
/// weight 2 is two rows), trees are averaged as moments and the answer is one regression on the
/// averages (Athey, Tibshirani and Wager 2019). No row is
/// in the model: which rows a bag has seen is computed from its seed.
#[derive(Clone, Debug)]
pub struct Forest {
    pub(super) n_features: usize,
    pub(super) kind: ForestKind,
    pub(super) bags: Bags,
    pub(super) bag_seeds: Vec<Seed>,
    pub(super) trees: Vec<Tree>,
    /// By tree: where its leaves' moments start in `moments`, counted in leaves.
    pub(super) first_leaf: Vec<usize>,
    pub(super) moments: Vec<f32>,
    /// The trees laid out for walking; `None` where they cannot be.
    walkers: Option<Walkers>,
}

impl PartialEq for Forest {
    fn eq(&self, other: &Self) -> bool {
        (self.n_features, self.kind, self.bags) == (other.n_features, other.kind, other.bags)
            && self.bag_seeds == other.bag_seeds
            && self.trees == other.trees
            && self.moments == other.moments
    }
}

/// A forest as plain arrays.
#[derive(Clone, Debug, PartialEq)]
pub struct ForestArrays {
    /// Features the forest was grown on.
    pub n_features: usize,
    /// What it answers.
    pub kind: ForestKind,
    /// How trees drew their rows.
    pub bags: Bags,
    /// The seed of each bag.
    pub bag_seeds: Vec<u64>,
    /// The trees' shapes, bag after bag.
    pub trees: TreeArrays,
    /// [`ForestKind::n_moments`] numbers per leaf, tree after tree.
    pub moments: Vec<f32>,
}

impl Forest {
    pub(super) fn assemble(
        (n_features, kind): (usize, ForestKind),
        bags: Bags,
        bag_seeds: Vec<Seed>,
        trees: Vec<Tree>,
        moments: Vec<f32>,
    ) -> Self {
        let first_leaf = first_leaves(&trees);
        let walkers = Walkers::new(&trees, n_features);
        Forest { n_features, kind, bags, bag_seeds, trees, first_leaf, moments, walkers }
    }

    /// Number of trees.
    pub fn n_trees(&self) -> usize {
        self.trees.len()
    }

    /// Number of bags.
    pub fn n_bags(&self) -> usize {
        self.bag_seeds.len()
    }

    /// What the forest answers.
    pub fn kind(&self) -> ForestKind {
        self.kind
    }

    /// Number of features p.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// The trees' shapes.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// The trees laid out for walking.
    pub(super) fn walkers(&self) -> Option<&Walkers> {
        self.walkers.as_ref()
    }

    /// One forest with the trees of both, as if grown together.
    ///
    /// # Errors
    /// [`TreesError::FeatureCount`] or [`TreesError::BadSetting`] when they were grown on
    /// other features, for other answers or in other kinds of bags.
    pub fn merge(self, other: Forest) -> Result<Forest, TreesError> {
        self.check_same_kind(&other)?;
        let (mut bag_seeds, mut trees, mut moments) = (self.bag_seeds, self.trees, self.moments);
        bag_seeds.extend(other.bag_seeds);
        trees.extend(other.trees);
        moments.extend(other.moments);
        Ok(Self::assemble((self.n_features, self.kind), self.bags, bag_seeds, trees, moments))
    }

    pub(super) fn check_same_kind(&self, other: &Forest) -> Result<(), TreesError> {
        if self.n_features != other.n_features {
            return Err(TreesError::FeatureCount { expected: self.n_features, found: other.n_features });
        }
        if self.kind != other.kind {
            let allowed = "forests of different kinds cannot be merged";
            return Err(TreesError::BadSetting { key: "kind", value: format!("{:?}", other.kind), allowed });
        }
        if self.bags != other.bags {
            let allowed = "forests whose trees draw rows differently cannot be merged";
            return Err(TreesError::BadSetting { key: "sample_fraction", value: format!("{:?}", other.bags), allowed });
        }
        Ok(())
    }

    /// The forest as plain arrays.
    pub fn to_arrays(&self) -> ForestArrays {
        ForestArrays {
            n_features: self.n_features,
            kind: self.kind,
            bags: self.bags,
            bag_seeds: self.bag_seeds.iter().map(|seed| seed.value()).collect(),
            trees: TreeArrays::from_trees(&self.trees),
            moments: self.moments.clone(),
        }
    }

    /// The forest of plain arrays, which may come from anywhere.
    ///
    /// # Errors
    /// [`TreesError::Layout`], [`TreesError::Length`], [`TreesError::BadArrays`],
    /// [`TreesError::BadSetting`], [`TreesError::BadValue`] when a moment is not finite.
    pub fn from_arrays(arrays: &ForestArrays) -> Result<Self, TreesError> {
        let setting = |key, value: String, allowed| Err(TreesError::BadSetting { key, value, allowed });
        if arrays.n_features == 0 {
            return Err(TreesError::NoFeatures);
        }
        if !arrays.kind.is_valid() {
            return setting("kind", format!("{:?}", arrays.kind), "contrasts are 1 to 4, numbers finite");
        }
        let Bags { trees_per_bag, fraction, split_fraction } = arrays.bags;
        let share = |x: f64| x > 0.0 && x <= 1.0;
        if !((1..=64).contains(&trees_per_bag) && share(fraction) && share(split_fraction)) {
            return setting("bags", format!("{:?}", arrays.bags), "shares lie in (0, 1], trees per bag in 1 to 64");
        }
        let trees = arrays.trees.to_trees(arrays.n_features)?;
        check_length("trees", arrays.bag_seeds.len().saturating_mul(trees_per_bag), trees.len())?;
        let n_leaves: usize = trees.iter().map(Tree::n_leaves).sum();
        check_length("moments", n_leaves.saturating_mul(arrays.kind.n_moments()), arrays.moments.len())?;
        if let Some(row) = arrays.moments.iter().position(|moment| !moment.is_finite()) {
            let value = f64::from(arrays.moments[row]);
            return Err(TreesError::BadValue { what: "leaf moment", value, row, allowed: "it must be finite" });
        }
        let bag_seeds = arrays.bag_seeds.iter().map(|&seed| Seed::new(seed)).collect();
        let shape = (arrays.n_features, arrays.kind);
        Ok(Self::assemble(shape, arrays.bags, bag_seeds, trees, arrays.moments.clone()))
    }
}
