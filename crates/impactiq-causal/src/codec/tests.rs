//! Round trips, and everything that must not decode.

use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{Seed, Silent};
use proptest::prelude::*;

use super::*;
use crate::{Config, train};

/// A small model of three arms, a category and missing values, and the table it came from.
fn trained(learner: &str) -> (CausalModel, impactiq_data::Table) {
    trained_on("outcome: [y, converted]", learner)
}

fn trained_on(outcomes: &str, learner: &str) -> (CausalModel, impactiq_data::Table) {
    let made = generate(SynthKind::MultiArm, &SynthOptions::default(), 3000, Seed::new(1)).unwrap();
    let control = SynthKind::MultiArm.probabilities(&SynthOptions::default()).unwrap()[0].0.clone();
    let yaml = format!(
        "data: {{path: x.csv}}\nroles: {{treatment: treatment, control: {control}, {outcomes}}}\n\
         nuisance: {{kind: least_squares}}\nlearner: {learner}\n"
    );
    let config = Config::from_yaml(&yaml, "c.yaml", &[]).unwrap().check(made.table.names()).unwrap();
    let data = config.dataset(made.table.clone(), (0..3000).collect()).unwrap();
    (train(&config, &data, &Silent).unwrap().model, made.table)
}

const FOREST: &str = "{kind: causal_forest, n_trees: 8, min_arm_rows: 20}";
const FOREST_WITH_LINES: &str = "{kind: causal_forest, n_trees: 8, min_arm_rows: 20, linear_part: true}";
const UPLIFT_FOREST: &str = "{kind: uplift_forest, n_trees: 8, min_arm_rows: 20, criterion: interaction}";
const UPLIFT_TREE: &str = "{kind: uplift_tree, min_arm_rows: 20, criterion: ddp}";

fn all_learners() -> Vec<(CausalModel, impactiq_data::Table)> {
    [
        "{kind: t, n_trees: 5}",
        "{kind: s, n_trees: 5}",
        "{kind: t, base: ridge}",
        "{kind: t, base: forest, n_trees: 6}",
        "{kind: s, base: forest, n_trees: 6}",
        "{kind: s, base: least_squares}",
        FOREST,
        FOREST_WITH_LINES,
        "{kind: x, n_trees: 5}",
        "{kind: x, base: ridge}",
        "{kind: r, n_trees: 5}",
        "{kind: dr, n_trees: 5}",
        "{kind: nonparam_dml, base: least_squares}",
        "{kind: transformed_outcome, n_trees: 5}",
        "{kind: linear_dml}",
        "{kind: linear_dr, covariance: hc3}",
        UPLIFT_FOREST,
        UPLIFT_TREE,
        "{kind: s, n_trees: 5, recalibrate: linear}",
        "{kind: r, n_trees: 5, recalibrate: isotonic}",
        "{kind: auto, n_trees: 5, trials: 6}",
        "{kind: forest_dr, n_trees: 8}",
    ]
    .map(trained)
    .into_iter()
    // A class transformation is for 0/1 outcomes alone.
    .chain([trained_on("outcome: converted, post_treatment: y", "{kind: class_transformation, n_trees: 5}")])
    .collect()
}

#[test]
fn a_decoded_model_answers_with_the_same_bits() {
    for (model, table) in all_learners() {
        let (description, bytes) = encode(&model).unwrap();
        // The description survives as text: that is how it is stored.
        let text = serde_json::to_string(&description).unwrap();
        let again = decode(&serde_json::from_str(&text).unwrap(), &bytes).unwrap();
        assert_eq!(again, model);
        let binned = model.encode(&table).unwrap();
        let (a, b) = (model.predict(&binned, &table).unwrap(), again.predict(&binned, &table).unwrap());
        assert_eq!(a, b);
        assert_eq!(encode(&again).unwrap(), (description, bytes));
        for predictions in a {
            if predictions.mean.is_empty() {
                let with_intervals = matches!(
                    model.learner(),
                    LearnerKind::CausalForest | LearnerKind::ForestDr | LearnerKind::LinearDml | LearnerKind::LinearDr
                );
                let n_intervals = if with_intervals { 2 } else { 0 };
                assert!(predictions.cate.iter().flatten().all(|effect| effect.is_finite()));
                assert_eq!((predictions.lower.len(), predictions.upper.len()), (n_intervals, n_intervals));
                continue;
            }
            for (k, cate) in predictions.cate.iter().enumerate() {
                for (row, cate) in cate.iter().enumerate() {
                    assert_eq!(predictions.mean[k + 1][row] - predictions.mean[0][row], *cate);
                }
            }
        }
    }
}

#[test]
fn damaged_descriptions_are_named() {
    let (model, _) = trained("{kind: t, n_trees: 3}");
    let (description, bytes) = encode(&model).unwrap();
    let change = |pointer: &str, value: Value| {
        let mut changed = description.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        decode(&changed, &bytes).unwrap_err()
    };
    assert_eq!(change("/format", 2.into()), CausalError::FutureFormat { found: 2, supported: 1 });
    assert!(matches!(change("/format", 0.into()), CausalError::Corrupt { .. }));
    assert!(matches!(change("/learner", "x9".into()), CausalError::Corrupt { .. }));
    assert!(matches!(change("/arms", serde_json::json!(["a"])), CausalError::Corrupt { .. }));
    let twice = description.pointer("/features/1/name").unwrap().clone();
    assert!(change("/features/0/name", twice).to_string().contains("stands twice"));
    assert!(matches!(change("/outcomes/0/models", serde_json::json!([])), CausalError::Corrupt { .. }));
    assert!(matches!(change("/outcomes/0/models/0/n_features", 99.into()), CausalError::Corrupt { .. }));
    let number = (0..).find(|i| description.pointer(&format!("/features/{i}/bins/cuts")).is_some()).unwrap();
    let falling = serde_json::json!([2.0, 1.0]);
    assert!(change(&format!("/features/{number}/bins/cuts"), falling).to_string().contains("increasing"));
    assert!(matches!(decode(&Value::Null, &bytes).unwrap_err(), CausalError::Corrupt { .. }));
}

#[test]
fn arrays_that_stand_twice_are_missing_or_belong_to_nothing_are_refused() {
    let (model, _) = trained("{kind: t, base: ridge}");
    let (description, bytes) = encode(&model).unwrap();
    // A second entry of the same name, made by renaming one of equal length.
    let mut text = bytes.clone();
    let (a, b) = (b"outcome0.model0.coefficients", b"outcome0.model1.coefficients");
    let at = text.windows(a.len()).position(|w| w == a).unwrap();
    text[at..at + a.len()].copy_from_slice(b);
    assert!(matches!(decode(&description, &text).unwrap_err(), CausalError::Corrupt { .. }));
    assert!(decode(&description, &bytes[..bytes.len() - 1]).is_err());
    assert!(decode(&description, &[]).is_err());
    let mut fewer = description.clone();
    fewer["outcomes"].as_array_mut().unwrap().pop();
    assert!(decode(&fewer, &bytes).unwrap_err().to_string().contains("belongs to nothing"));
}

#[test]
fn forests_that_do_not_fit_their_model_are_refused() {
    let (model, table) = trained(FOREST);
    let (description, bytes) = encode(&model).unwrap();
    let change = |pointer: &str, value: Value| {
        let mut changed = description.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        decode(&changed, &bytes).unwrap_err()
    };
    let part = "/outcomes/0/forest/forests/0";
    for (pointer, value) in [
        (format!("{part}/n_contrasts"), 3.into()),
        (format!("{part}/n_contrasts"), 0.into()),
        (format!("{part}/trees_per_bag"), 3.into()),
        (format!("{part}/trees_per_bag"), 0.into()),
        (format!("{part}/fraction"), 2.0.into()),
        (format!("{part}/shrinkage"), 1.5.into()),
        (format!("{part}/layout"), 99.into()),
        ("/outcomes/0/forest/average".into(), serde_json::json!([0.1])),
        ("/outcomes/0/forest/forests".into(), serde_json::json!([])),
        ("/outcomes/0/forest".into(), Value::Null),
        ("/learner".into(), "t".into()),
    ] {
        assert!(matches!(change(&pointer, value), CausalError::Corrupt { .. }), "{pointer}");
    }
    any_byte_may_lie(&description, &bytes, &table);
}

/// Every byte after the header may lie; a model that decodes answers all the same.
fn any_byte_may_lie(description: &Value, bytes: &[u8], table: &impactiq_data::Table) {
    for at in (2_000..bytes.len()).step_by(bytes.len() / 97) {
        let mut changed = bytes.to_vec();
        changed[at] ^= 0x5a;
        if let Ok(model) = decode(description, &changed) {
            model.predict(&model.encode(table).unwrap(), table).unwrap();
        }
    }
}

#[test]
fn linear_effects_that_do_not_fit_their_model_are_refused() {
    let (model, _) = trained("{kind: linear_dr}");
    let (description, bytes) = encode(&model).unwrap();
    let change = |pointer: &str, value: Value| {
        let mut changed = description.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        decode(&changed, &bytes).unwrap_err()
    };
    let part = "/outcomes/0/linear";
    for (pointer, value) in [
        (format!("{part}/freedom"), serde_json::json!([null])),
        (format!("{part}/freedom"), serde_json::json!([null, 0.0])),
        (format!("{part}/design"), serde_json::json!([])),
        (format!("{part}/design/0/name"), "stranger".into()),
        (part.into(), Value::Null),
        ("/learner".into(), "t".into()),
    ] {
        assert!(matches!(change(&pointer, value), CausalError::Corrupt { .. }), "{pointer}");
    }
}

#[test]
fn uplift_trees_that_do_not_fit_their_model_are_refused() {
    for learner in [UPLIFT_FOREST, UPLIFT_TREE] {
        let (model, table) = trained(learner);
        let (description, bytes) = encode(&model).unwrap();
        let change = |pointer: &str, value: Value| {
            let mut changed = description.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap()[key] = value;
            decode(&changed, &bytes).unwrap_err()
        };
        let group = "/outcomes/0/uplift/groups/0".to_owned();
        for (pointer, value) in [
            (format!("{group}/n_arms"), 2.into()),
            (format!("{group}/n_arms"), 99.into()),
            (format!("{group}/layout"), 99.into()),
            (format!("{group}/sampling"), serde_json::json!({"fraction": 2.0, "split_fraction": 1.0})),
            (format!("{group}/sampling"), serde_json::json!({"fraction": 1.0, "split_fraction": 0.0})),
            (format!("{group}/unknown"), 1.into()),
            ("/outcomes/0/uplift/groups".into(), serde_json::json!([])),
            ("/outcomes/0/uplift".into(), Value::Null),
            ("/learner".into(), "t".into()),
            ("/learner".into(), "causal_forest".into()),
            ("/learner".into(), if learner == UPLIFT_TREE { "uplift_forest" } else { "uplift_tree" }.into()),
        ] {
            assert!(matches!(change(&pointer, value), CausalError::Corrupt { .. }), "{pointer}");
        }
        any_byte_may_lie(&description, &bytes, &table);
    }
}

#[test]
fn blends_that_do_not_fit_their_members_are_refused() {
    let (model, _) = trained("{kind: s, n_trees: 5, recalibrate: linear}");
    let (description, bytes) = encode(&model).unwrap();
    let change = |pointer: &str, value: Value| {
        let mut changed = description.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        decode(&changed, &bytes).unwrap_err()
    };
    let contrast = "/outcomes/0/blend/contrasts/0";
    for (pointer, value) in [
        (format!("{contrast}/weights"), serde_json::json!([])),
        (format!("{contrast}/weights"), serde_json::json!([-1.0])),
        (format!("{contrast}/intercept"), Value::Null),
        ("/outcomes/0/blend/contrasts".into(), serde_json::json!([])),
        ("/outcomes/0/blend/members".into(), serde_json::json!([])),
        ("/outcomes/0/blend/members/0/learner".into(), "t".into()),
        ("/outcomes/0/blend/members/0/learner".into(), "auto".into()),
        ("/outcomes/0/blend".into(), Value::Null),
        ("/learner".into(), "t".into()),
    ] {
        assert!(matches!(change(&pointer, value), CausalError::Corrupt { .. }), "{pointer}");
    }
    let mut with_curve = description.clone();
    let curve = |at: &[f64], value: &[f64]| serde_json::json!({"at": at, "value": value});
    for (curve, valid) in [
        (curve(&[0.0, 1.0], &[0.5, 0.6]), true),
        (curve(&[1.0, 0.0], &[0.5, 0.6]), false),
        (curve(&[0.0, 1.0], &[0.6, 0.5]), false),
        (curve(&[0.0, 1.0], &[0.6]), false),
        (curve(&[], &[]), false),
    ] {
        with_curve["outcomes"][0]["blend"]["contrasts"][0]["curve"] = curve.clone();
        assert_eq!(decode(&with_curve, &bytes).is_ok(), valid, "{curve}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn hostile_bytes_give_errors_or_a_model_that_can_be_asked(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        thread_local! {
            static MODEL: (Value, Vec<u8>, impactiq_data::Table) = {
                let (model, table) = trained("{kind: t, n_trees: 4}");
                let (description, bytes) = encode(&model).unwrap();
                (description, bytes, table)
            };
        }
        MODEL.with(|(description, bytes, table)| {
            let mut changed = bytes.clone();
            for (at, value) in &flips {
                let at = at.index(changed.len());
                changed[at] = *value;
            }
            if let Ok(model) = decode(description, &changed) {
                let binned = model.encode(table).unwrap();
                model.predict(&binned, table).unwrap();
            }
        });
    }
}
