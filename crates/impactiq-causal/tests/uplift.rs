//! Uplift forests and trees through the one door.

use impactiq_causal::{CausalError, CausalModel, Config, Predictions, codec, train, uplift_tree_svg, uplift_tree_text};
use impactiq_data::dataset::number_table;
use impactiq_data::{Seed, Silent, Table, Watch};

const N: usize = 8000;

fn uniform(stream: u64) -> Vec<f64> {
    (0..N as u64).map(|row| Seed::new(stream).uniform(row)).collect()
}

/// x2 alone decides who reacts; x1 moves the outcome, and the probability of the arm where it is
/// asked to. `n_arms` arms; arm k adds .1 k where x2 > ½.
fn rows(n_arms: u64, confounded: bool) -> Table {
    let (x1, x2, noise, draw) = (uniform(1), uniform(2), uniform(3), uniform(4));
    let p = |i: usize| if !confounded || x1[i] < 0.5 { 0.3 } else { 0.8 };
    let arm: Vec<f64> = match confounded {
        true => (0..N).map(|i| f64::from(u8::from(draw[i] < p(i)))).collect(),
        false => (0..N as u64).map(|row| Seed::new(4).below(row, n_arms) as f64).collect(),
    };
    let effect = |i: usize| if x2[i] > 0.5 { 0.1 * arm[i] } else { 0.0 };
    let y: Vec<f64> = (0..N).map(|i| 5.0 + 3.0 * x1[i] + effect(i) + 0.2 * noise[i]).collect();
    let b: Vec<f64> = (0..N).map(|i| f64::from(u8::from(noise[i] < 0.3 + effect(i)))).collect();
    let p = (0..N).map(p).collect();
    let columns = [("x1", x1), ("x2", x2), ("t", arm), ("p", p), ("y", y), ("b", b)];
    number_table(columns.map(|(name, values)| (name.to_owned(), values)).into()).unwrap()
}

fn fit(yaml: &str, table: &Table, watch: &dyn Watch) -> Result<CausalModel, CausalError> {
    let nuisance = if yaml.contains("nuisance:") { "" } else { "nuisance: {kind: least_squares}\n" };
    let yaml = format!("data: {{path: x}}\n{nuisance}{yaml}");
    let config = Config::from_yaml(&yaml, "c.yaml", &[])?.check(table.names())?;
    let data = config.dataset(table.clone(), (0..N as u64).collect())?;
    Ok(train(&config, &data, watch)?.model)
}

fn answer(model: &CausalModel, table: &Table) -> Predictions {
    model.predict(&model.encode(table).unwrap(), table).unwrap().remove(0)
}

fn roles(outcome: &str) -> String {
    format!("roles: {{treatment: t, control: 0, outcome: {outcome}, features: [x1, x2]}}\n")
}

#[test]
fn means_and_effects_belong_together_and_find_who_reacts() {
    let table = rows(3, false);
    for outcome in ["y", "b"] {
        for learner in [
            "{kind: uplift_forest}",
            "{kind: uplift_forest, criterion: interaction, honest: true}",
            "{kind: uplift_tree}",
        ] {
            let model = fit(&format!("{}learner: {learner}\n", roles(outcome)), &table, &Silent).unwrap();
            let found = answer(&model, &table);
            assert!(found.lower.is_empty() && found.upper.is_empty());
            let (mut inside, mut outside, mut n_inside) = (0.0, 0.0, 0.0);
            for row in 0..N {
                for k in 0..2 {
                    assert_eq!(found.mean[k + 1][row] - found.mean[0][row], found.cate[k][row]);
                }
                let reacts = f64::from(u8::from(table_value(&table, "x2", row) > 0.5));
                inside += reacts * found.cate[1][row];
                outside += (1.0 - reacts) * found.cate[1][row];
                n_inside += reacts;
            }
            let gap = inside / n_inside - outside / (N as f64 - n_inside);
            // One tree of half the rows is moved by chance differences in x1 as well.
            assert!(gap > 0.05 && gap < 0.3, "{learner} on {outcome}: {gap}");
        }
    }
}

fn table_value(table: &Table, name: &str, row: usize) -> f64 {
    match table.column(name).unwrap() {
        impactiq_data::ColumnView::Number(values) => values[row],
        impactiq_data::ColumnView::Category { .. } => panic!("{name} is no number"),
    }
}

#[test]
fn probabilities_that_differ_by_row_are_undone_in_every_leaf() {
    let table = rows(2, true);
    // A tree without splits: the average effect is .05, and x1 stands between.
    let learner = "learner: {kind: uplift_tree, min_gain: 1e9, honest: false}\nsplit: {holdout: 0}\n";
    let effect = |assignment: &str| {
        let model = fit(&format!("{}{assignment}{learner}", roles("y")), &table, &Silent).unwrap();
        answer(&model, &table).cate[0][0]
    };
    let mean_of = |arm: f64| {
        let of_arm: Vec<f64> = (0..N)
            .filter(|&row| table_value(&table, "t", row) == arm)
            .map(|row| table_value(&table, "y", row))
            .collect();
        of_arm.iter().sum::<f64>() / of_arm.len() as f64
    };
    let raw = mean_of(1.0) - mean_of(0.0);
    assert!(raw > 0.5, "{raw}");
    let declared = effect("assignment: {probability: p}\n");
    assert!((declared - 0.05).abs() < 0.1, "{declared}");
    let learned = effect("assignment: {kind: observational}\nnuisance: {kind: boosted, n_trees: 30}\n");
    assert!((learned - 0.05).abs() < 0.15, "{learned}");
}

#[test]
fn many_arms_have_a_forest_or_tree_each() {
    let table = rows(10, false);
    for kind in ["uplift_forest", "uplift_tree"] {
        let yaml = format!("{}learner: {{kind: {kind}, min_arm_rows: 20, max_depth: 2}}\n", roles("y"));
        let model = fit(&yaml, &table, &Silent).unwrap();
        let found = answer(&model, &table);
        assert_eq!((found.cate.len(), found.mean.len()), (9, 10));
        assert!((0..N).all(|row| found.mean[9][row] - found.mean[0][row] == found.cate[8][row]));
        let mean = found.cate[8].iter().sum::<f64>() / N as f64;
        assert!((mean - 0.45).abs() < 0.15, "{mean}");
        let (description, bytes) = codec::encode(&model).unwrap();
        assert_eq!(codec::decode(&description, &bytes).unwrap(), model);
        let trees = uplift_tree_text(&model).map_or(0, |text| text.matches("Uplift tree of 'y'").count());
        assert_eq!(trees, if kind == "uplift_tree" { 9 } else { 0 });
        assert_eq!(uplift_tree_svg(&model).is_some(), kind == "uplift_tree");
    }
}

#[test]
fn what_cannot_be_learned_is_said() {
    let table = rows(2, false);
    let error = |text: &str| fit(text, &table, &Silent).unwrap_err();
    let kl = error(&format!("{}learner: {{kind: uplift_forest, criterion: kl}}\n", roles("y")));
    assert!(matches!(&kl, CausalError::BadSetting { key, .. } if key == "learner.criterion"), "{kl}");
    assert!(kl.to_string().contains("which 'y' is not"), "{kl}");
    for (text, key) in [
        ("{kind: uplift_tree, n_trees: 5}", "learner.n_trees"),
        ("{kind: uplift_tree, sample_fraction: 0.5}", "learner.sample_fraction"),
        ("{kind: uplift_forest, alpha: 0.1}", "learner.alpha"),
        ("{kind: uplift_forest, learning_rate: 0.1}", "learner.learning_rate"),
        ("{kind: t, criterion: kl}", "learner.criterion"),
    ] {
        let err = error(&format!("{}learner: {text}\n", roles("b")));
        assert!(matches!(&err, CausalError::UselessSetting { key: found, .. } if found == key), "{err}");
    }
    let range = error(&format!("{}learner: {{kind: uplift_forest, sample_fraction: 1.5}}\n", roles("b")));
    assert!(matches!(&range, CausalError::BadSetting { key, .. } if key == "learner.sample_fraction"), "{range}");
}

/// Says stop once the learner has begun.
struct StopAtLearner(std::sync::atomic::AtomicBool);

impl Watch for StopAtLearner {
    fn progress(&self, stage: &str, _: u64, _: u64) {
        if stage == "learner" {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn should_stop(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[test]
fn a_forest_that_was_stopped_does_not_pass_for_a_whole_one() {
    let table = rows(2, false);
    for kind in ["uplift_forest", "uplift_tree"] {
        let watch = StopAtLearner(false.into());
        let yaml = format!("{}learner: {{kind: {kind}}}\n", roles("b"));
        assert_eq!(fit(&yaml, &table, &watch).unwrap_err(), CausalError::Stopped);
    }
}
