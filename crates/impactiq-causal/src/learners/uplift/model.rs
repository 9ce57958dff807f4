//! Uplift forests and trees of one outcome: how they are learned and what they answer.

use impactiq_data::{Seed, Watch};
use impactiq_trees::{
    TreesError, UpliftConfig, UpliftForest, UpliftTask, UpliftTree, grow_uplift_forest, grow_uplift_tree,
};

use super::groups::{Group, n_groups, settings, weights};
use crate::base::{Inputs, Quiet};
use crate::error::CausalError;
use crate::learners::config::LearnerConfig;
use crate::learners::task::LearnerTask;

/// An uplift forest of all arms.
#[derive(Clone, Debug, PartialEq)]
pub struct UpliftForestModel {
    /// One forest of up to eight arms, or one forest per arm with the control.
    pub forests: Vec<UpliftForest>,
}

/// An uplift tree of all arms.
#[derive(Clone, Debug, PartialEq)]
pub struct UpliftTreeModel {
    /// One tree of up to eight arms, or one tree per arm with the control.
    pub trees: Vec<UpliftTree>,
}

impl UpliftForestModel {
    pub(in crate::learners) fn fit(
        config: &LearnerConfig,
        inputs: &Inputs<'_>,
        task: &LearnerTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<Self, CausalError> {
        let forests = of_groups(config, task, seed, |of_group, settings, seed| {
            grow_uplift_forest(&inputs.columns(), of_group, settings, seed, &Quiet(watch))
        })?;
        // A smaller forest than was asked for must not pass for the whole.
        if watch.should_stop() { Err(CausalError::Stopped) } else { Ok(UpliftForestModel { forests }) }
    }

    /// Mean outcomes by arm, for every row of the inputs.
    pub(in crate::learners) fn means(&self, inputs: &Inputs<'_>) -> Vec<Vec<f64>> {
        joined(self.forests.iter().map(|forest| forest.predict(&inputs.columns(), None)).collect())
    }
}

impl UpliftTreeModel {
    pub(in crate::learners) fn fit(
        config: &LearnerConfig,
        inputs: &Inputs<'_>,
        task: &LearnerTask<'_>,
        seed: Seed,
        watch: &dyn Watch,
    ) -> Result<Self, CausalError> {
        let trees = of_groups(config, task, seed, |of_group, settings, seed| {
            grow_uplift_tree(&inputs.columns(), of_group, settings, seed, &Quiet(watch))
        })?;
        Ok(UpliftTreeModel { trees })
    }

    /// Mean outcomes by arm, for every row of the inputs.
    pub(in crate::learners) fn means(&self, inputs: &Inputs<'_>) -> Vec<Vec<f64>> {
        joined(self.trees.iter().map(|tree| tree.predict(&inputs.columns(), None)).collect())
    }
}

/// What `grow` makes of each group of arms.
fn of_groups<T>(
    config: &LearnerConfig,
    task: &LearnerTask<'_>,
    seed: Seed,
    grow: impl Fn(&UpliftTask<'_>, &UpliftConfig, Seed) -> Result<T, TreesError>,
) -> Result<Vec<T>, CausalError> {
    let (settings, weights) = (settings(config, task)?, weights(task));
    let of_group = |index: usize| {
        let group = Group::new(task, index);
        Ok(grow(&group.task(task, weights.as_deref()), &settings, seed.child(index as u64))?)
    };
    (0..n_groups(task.arms.len())).map(of_group).collect()
}

/// Means by arm from the means of each group. Where every arm has a forest with the control, the
/// control's mean is that of all its forests, and an arm's is the control's plus its own effect.
fn joined(mut groups: Vec<Vec<Vec<f64>>>) -> Vec<Vec<f64>> {
    if groups.len() == 1 {
        return groups.remove(0);
    }
    let n = groups[0][0].len();
    let control: Vec<f64> =
        (0..n).map(|row| groups.iter().map(|means| means[0][row]).sum::<f64>() / groups.len() as f64).collect();
    let arm = |means: &Vec<Vec<f64>>| (0..n).map(|row| control[row] + (means[1][row] - means[0][row])).collect();
    let treated: Vec<Vec<f64>> = groups.iter().map(arm).collect();
    std::iter::once(control).chain(treated).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forests_per_arm_share_one_control() {
        let groups = vec![vec![vec![0.2, 0.5], vec![0.3, 0.5]], vec![vec![0.4, 0.1], vec![0.2, 0.3]]];
        let means = joined(groups);
        let wanted = [[0.3, 0.3], [0.4, 0.3], [0.1, 0.5]];
        for (means, wanted) in means.iter().zip(wanted) {
            assert!(means.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-12));
        }
    }
}
