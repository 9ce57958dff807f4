//! The planted mistakes: one line each, the kind that a review overlooks.
//!
//! A line must stand exactly once in its file (a test checks it); when the code moves on,
//! move the mistake with it. `first` are the tests to ask first, to save time; if they
//! notice nothing, the crate's whole suite is asked.

/// One planted mistake.
pub struct Mutation {
    /// What the mistake does, in a few words.
    pub name: &'static str,
    /// The crate whose suite must notice.
    pub package: &'static str,
    /// The file, from the workspace's root.
    pub file: &'static str,
    /// What stands there.
    pub find: &'static str,
    /// What stands there instead.
    pub replace: &'static str,
    /// Target and filter of the tests to ask first.
    pub first: (Target, &'static str),
}

/// Where tests are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Target {
    /// Beside the code.
    Lib,
    /// A file of the crate's `tests` folder.
    Test(&'static str),
}

use Target::{Lib, Test};

const DATA: &str = "impactiq-data";
const METRICS: &str = "impactiq-metrics";
const TREES: &str = "impactiq-trees";
const CAUSAL: &str = "impactiq-causal";

/// Every planted mistake.
pub const MUTATIONS: [Mutation; 26] = [
    Mutation {
        name: "the hold-out is what should be learned from",
        package: DATA,
        file: "crates/impactiq-data/src/folds.rs",
        find: "map(|part| part == 0)",
        replace: "map(|part| part != 0)",
        first: (Lib, "folds"),
    },
    Mutation {
        name: "folds split clusters",
        package: DATA,
        file: "crates/impactiq-data/src/folds.rs",
        find: "match split.clusters {",
        replace: "match split.clusters.filter(|_| false) {",
        first: (Lib, "folds"),
    },
    Mutation {
        name: "a value equal to a cut goes to the other side",
        package: DATA,
        file: "crates/impactiq-data/src/bins.rs",
        find: "let below = padded[((*base | (step - 1)) & 255) as usize] < *value;",
        replace: "let below = padded[((*base | (step - 1)) & 255) as usize] <= *value;",
        first: (Lib, "bins"),
    },
    Mutation {
        name: "a generator's truth has the wrong sign",
        package: DATA,
        file: "crates/impactiq-data/src/synth/criteo.rs",
        find: "self.reached() * (self.visit_treated - self.visit_control)",
        replace: "self.reached() * (self.visit_control - self.visit_treated)",
        first: (Lib, "synth::tests::truth_of_the_criteo"),
    },
    Mutation {
        name: "AIPW subtracts the residual",
        package: METRICS,
        file: "crates/impactiq-metrics/src/averages.rs",
        find: "mu + (y - mu) / p",
        replace: "mu - (y - mu) / p",
        first: (Test("averages"), ""),
    },
    Mutation {
        name: "AIPW adds the control's score",
        package: METRICS,
        file: "crates/impactiq-metrics/src/averages.rs",
        find: "treated.iter().zip(control).map(|(t, c)| t - c)",
        replace: "treated.iter().zip(control).map(|(t, c)| t + c)",
        first: (Test("averages"), ""),
    },
    Mutation {
        name: "Neyman's variance is divided by n + 1",
        package: METRICS,
        file: "crates/impactiq-metrics/src/averages.rs",
        find: "s.n as f64 / (s.n as f64 - 1.0)",
        replace: "s.n as f64 / (s.n as f64 + 1.0)",
        first: (Test("averages"), ""),
    },
    Mutation {
        name: "HC2 adds the leverage",
        package: METRICS,
        file: "crates/impactiq-metrics/src/robust.rs",
        find: "let left = 1.0 - weight * leverage;",
        replace: "let left = 1.0 + weight * leverage;",
        first: (Lib, "robust"),
    },
    Mutation {
        name: "the cluster variance is divided by G + 1",
        package: METRICS,
        file: "crates/impactiq-metrics/src/robust.rs",
        find: "many / (many - 1.0) *",
        replace: "many / (many + 1.0) *",
        first: (Lib, "robust"),
    },
    Mutation {
        name: "Fieller's interval adds the covariance",
        package: METRICS,
        file: "crates/impactiq-metrics/src/lift.rs",
        find: "self.treated * self.control - q * q * c)",
        replace: "self.treated * self.control + q * q * c)",
        first: (Lib, "lift"),
    },
    Mutation {
        name: "Qini adds the random order's area",
        package: METRICS,
        file: "crates/impactiq-metrics/src/area.rs",
        find: "area / sorted.total().weight() - 0.5 * end",
        replace: "area / sorted.total().weight() + 0.5 * end",
        first: (Lib, "area"),
    },
    Mutation {
        name: "RATE adds the average effect",
        package: METRICS,
        file: "crates/impactiq-metrics/src/rate.rs",
        find: "let toc = sum / above - ate;",
        replace: "let toc = sum / above + ate;",
        first: (Lib, "rate"),
    },
    Mutation {
        name: "negative scores are sorted backwards",
        package: METRICS,
        file: "crates/impactiq-metrics/src/radix.rs",
        find: "bits ^ (((bits as i64 >> 63) as u64) | (1 << 63))",
        replace: "bits ^ (1 << 63)",
        first: (Lib, "radix"),
    },
    Mutation {
        name: "half-sample errors are corrected the wrong way",
        package: METRICS,
        file: "crates/impactiq-metrics/src/half_samples.rs",
        find: "(half as f64 / (self.n_units - half) as f64).sqrt()",
        replace: "((self.n_units + half) as f64 / half as f64).sqrt()",
        first: (Lib, "half_samples"),
    },
    Mutation {
        name: "a split's gain adds the parent's score",
        package: TREES,
        file: "crates/impactiq-trees/src/criterion/newton.rs",
        find: "let gain = children - node.score;",
        replace: "let gain = children + node.score;",
        first: (Lib, "newton"),
    },
    Mutation {
        name: "leaves step uphill",
        package: TREES,
        file: "crates/impactiq-trees/src/criterion/newton.rs",
        find: "{ -stats.gradient / curvature }",
        replace: "{ stats.gradient / curvature }",
        first: (Lib, "newton"),
    },
    Mutation {
        name: "a sibling's hessian is added instead of taken away",
        package: TREES,
        file: "crates/impactiq-trees/src/criterion/newton.rs",
        find: "self.hessian -= other.hessian;",
        replace: "self.hessian += other.hessian;",
        first: (Lib, "newton"),
    },
    Mutation {
        name: "the logistic gradient is flipped",
        package: TREES,
        file: "crates/impactiq-trees/src/boost/objective.rs",
        find: "gradient[i] = p - target[i];",
        replace: "gradient[i] = target[i] - p;",
        first: (Lib, "objective"),
    },
    Mutation {
        name: "a causal split adds the fitted effect to the residual",
        package: TREES,
        file: "crates/impactiq-trees/src/criterion/effect.rs",
        find: "residual -= part.contrast(k) * self.theta[k];",
        replace: "residual += part.contrast(k) * self.theta[k];",
        first: (Lib, "effect"),
    },
    Mutation {
        name: "missing values take the other branch",
        package: TREES,
        file: "crates/impactiq-trees/src/split.rs",
        find: "                *missing_left\n",
        replace: "                !*missing_left\n",
        first: (Lib, "tree"),
    },
    Mutation {
        name: "nuisances are learned from the fold they predict",
        package: CAUSAL,
        file: "crates/impactiq-causal/src/nuisance/cross_fit.rs",
        find: "of_row[row as usize] != fold &&",
        replace: "(of_row[row as usize] != fold || fold < 255) &&",
        first: (Lib, "cross_fit"),
    },
    Mutation {
        name: "the learner sees the hold-out",
        package: CAUSAL,
        file: "crates/impactiq-causal/src/train/outcomes.rs",
        find: ".filter(|&row| !held_out[row as usize])",
        replace: ".filter(|&row| !held_out[row as usize] || row < u32::MAX)",
        first: (Test("train"), "held_out"),
    },
    Mutation {
        name: "effects are control minus treated",
        package: CAUSAL,
        file: "crates/impactiq-causal/src/learners/mod.rs",
        find: "arm.iter().zip(&mean[0]).map(|(t, c)| t - c)",
        replace: "arm.iter().zip(&mean[0]).map(|(t, c)| c - t)",
        first: (Test("train"), ""),
    },
    Mutation {
        name: "the post-treatment guard looks away",
        package: CAUSAL,
        file: "crates/impactiq-causal/src/health/balance.rs",
        find: "self.p_bonferroni <= GUARD_P && self.smd.abs() > GUARD_SMD",
        replace: "self.p_bonferroni > GUARD_P && self.smd.abs() > GUARD_SMD",
        first: (Lib, "health"),
    },
    Mutation {
        name: "trims by the mean cost of those kept, not by twice that",
        package: CAUSAL,
        file: "crates/impactiq-causal/src/overlap.rs",
        find: "let gamma = (2.0 * sum / total).max(last).max(4.0);",
        replace: "let gamma = (sum / total).max(last).max(4.0);",
        first: (Test("estimators"), "crumps_limit"),
    },
    Mutation {
        name: "draws a pseudo-experiment without looking at the row's own arm",
        package: CAUSAL,
        file: "crates/impactiq-causal/src/train/pseudo.rs",
        find: "< least / p(usize::from(data.treatment.codes[i]))",
        replace: "< least / p(0)",
        first: (Test("estimators"), "a_pseudo_experiment"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn every_mistake_can_be_planted_in_exactly_one_place() {
        let root = workspace::root().unwrap();
        for mutation in &MUTATIONS {
            let text = std::fs::read_to_string(root.join(mutation.file)).unwrap();
            assert_eq!(text.matches(mutation.find).count(), 1, "{}: `{}`", mutation.file, mutation.find);
            assert!(mutation.file.starts_with(&format!("crates/{}/", mutation.package)));
            assert_ne!(mutation.find, mutation.replace);
            if let Test(name) = mutation.first.0 {
                assert!(root.join(format!("crates/{}/tests/{name}.rs", mutation.package)).is_file(), "{name}");
            }
        }
    }
}
