//! A grown uplift forest: shapes, and the arms' mean outcomes in every leaf.

use impactiq_data::Seed;

use crate::error::{TreesError, check_length};
use crate::sample::Bags;
use crate::tree::arrays::TreeArrays;
use crate::tree::walk::Walkers;
use crate::tree::{Tree, first_leaves};

/// An uplift forest of 2 to [`super::config::MAX_ARMS`] arms.
///
/// A leaf holds the mean outcome of each arm; the forest's answer is their mean over trees. No
/// row is in the model: which rows a tree has seen is computed from its seed.
#[derive(Clone, Debug)]
pub struct UpliftForest {
    pub(super) n_features: usize,
    pub(super) n_arms: usize,
    pub(super) bags: Bags,
    pub(super) tree_seeds: Vec<Seed>,
    pub(super) trees: Vec<Tree>,
    /// By tree: where its leaves' means start in `means`, counted in leaves.
    pub(super) first_leaf: Vec<usize>,
    pub(super) means: Vec<f64>,
    /// The trees laid out for walking; `None` where they cannot be.
    pub(super) walkers: Option<Walkers>,
}

impl PartialEq for UpliftForest {
    fn eq(&self, other: &Self) -> bool {
        (self.n_features, self.n_arms, self.bags) == (other.n_features, other.n_arms, other.bags)
            && self.tree_seeds == other.tree_seeds
            && self.trees == other.trees
            && self.means == other.means
    }
}

/// An uplift forest as plain arrays.
#[derive(Clone, Debug, PartialEq)]
pub struct UpliftArrays {
    /// Features the forest was grown on.
    pub n_features: usize,
    /// Arms, the control included.
    pub n_arms: usize,
    /// How trees drew their rows.
    pub bags: Bags,
    /// The seed of each tree.
    pub tree_seeds: Vec<u64>,
    /// The trees' shapes.
    pub trees: TreeArrays,
    /// A mean per leaf and arm, tree after tree, arms within a leaf.
    pub means: Vec<f64>,
}

impl UpliftForest {
    pub(super) fn assemble(
        (n_features, n_arms): (usize, usize),
        bags: Bags,
        tree_seeds: Vec<Seed>,
        trees: Vec<Tree>,
        means: Vec<f64>,
    ) -> Self {
        let first_leaf = first_leaves(&trees);
        let walkers = Walkers::new(&trees, n_features);
        UpliftForest { n_features, n_arms, bags, tree_seeds, trees, first_leaf, means, walkers }
    }

    /// Number of trees.
    pub fn n_trees(&self) -> usize {
        self.trees.len()
    }

    /// Number of arms, the control included.
    pub fn n_arms(&self) -> usize {
        self.n_arms
    }

    /// Number of features p.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// The trees' shapes.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// One forest with the trees of both, as if grown together.
    ///
    /// # Errors
    /// [`TreesError::FeatureCount`] or [`TreesError::BadSetting`] when they were grown on
    /// other features, arms or samples.
    pub fn merge(self, other: UpliftForest) -> Result<UpliftForest, TreesError> {
        if self.n_features != other.n_features {
            return Err(TreesError::FeatureCount { expected: self.n_features, found: other.n_features });
        }
        let refuse = |key, value: String, allowed| Err(TreesError::BadSetting { key, value, allowed });
        if self.n_arms != other.n_arms {
            return refuse("n_arms", other.n_arms.to_string(), "forests of different arms cannot be merged");
        }
        if self.bags != other.bags {
            let allowed = "forests whose trees draw rows differently cannot be merged";
            return refuse("sample_fraction", format!("{:?}", other.bags), allowed);
        }
        let (mut tree_seeds, mut trees, mut means) = (self.tree_seeds, self.trees, self.means);
        tree_seeds.extend(other.tree_seeds);
        trees.extend(other.trees);
        means.extend(other.means);
        Ok(Self::assemble((self.n_features, self.n_arms), self.bags, tree_seeds, trees, means))
    }

    /// The forest as plain arrays.
    pub fn to_arrays(&self) -> UpliftArrays {
        UpliftArrays {
            n_features: self.n_features,
            n_arms: self.n_arms,
            bags: self.bags,
            tree_seeds: self.tree_seeds.iter().map(|seed| seed.value()).collect(),
            trees: TreeArrays::from_trees(&self.trees),
            means: self.means.clone(),
        }
    }

    /// The forest of plain arrays, which may come from anywhere.
    ///
    /// # Errors
    /// [`TreesError::Layout`], [`TreesError::Length`], [`TreesError::BadArrays`],
    /// [`TreesError::BadSetting`], [`TreesError::BadValue`] when a mean is not finite.
    pub fn from_arrays(arrays: &UpliftArrays) -> Result<Self, TreesError> {
        let (trees, n_leaves) = checked_trees(&arrays.trees, arrays.n_features, arrays.n_arms)?;
        let Bags { trees_per_bag, fraction, split_fraction } = arrays.bags;
        let share = |x: f64| x > 0.0 && x <= 1.0;
        if trees_per_bag != 1 || !share(fraction) || !share(split_fraction) {
            let (value, allowed) = (format!("{:?}", arrays.bags), "shares lie in (0, 1], trees draw one by one");
            return Err(TreesError::BadSetting { key: "bags", value, allowed });
        }
        if trees.is_empty() {
            return Err(TreesError::BadSetting { key: "n_trees", value: "0".into(), allowed: "it must be at least 1" });
        }
        check_length("tree_seeds", trees.len(), arrays.tree_seeds.len())?;
        checked_numbers("leaf mean", n_leaves.saturating_mul(arrays.n_arms), &arrays.means)?;
        let tree_seeds = arrays.tree_seeds.iter().map(|&seed| Seed::new(seed)).collect();
        let shape = (arrays.n_features, arrays.n_arms);
        Ok(Self::assemble(shape, arrays.bags, tree_seeds, trees, arrays.means.clone()))
    }
}

/// Trees on `n_features` features and their number of leaves, if that and the arms make sense.
pub(super) fn checked_trees(
    trees: &TreeArrays,
    n_features: usize,
    n_arms: usize,
) -> Result<(Vec<Tree>, usize), TreesError> {
    if n_features == 0 {
        return Err(TreesError::NoFeatures);
    }
    if !(2..=super::config::MAX_ARMS).contains(&n_arms) {
        let (value, allowed) = (n_arms.to_string(), "it must be between 2 and 8");
        return Err(TreesError::BadSetting { key: "n_arms", value, allowed });
    }
    let trees = trees.to_trees(n_features)?;
    let n_leaves = trees.iter().map(Tree::n_leaves).sum();
    Ok((trees, n_leaves))
}

/// That many finite numbers.
pub(super) fn checked_numbers(what: &'static str, n: usize, numbers: &[f64]) -> Result<(), TreesError> {
    check_length(what, n, numbers.len())?;
    match numbers.iter().position(|number| !number.is_finite()) {
        None => Ok(()),
        Some(row) => Err(TreesError::BadValue { what, value: numbers[row], row, allowed: "it must be finite" }),
    }
}
