//! Trees in words and pictures, on models as they are trained.

use impactiq_data::synth::{SynthKind, SynthOptions, generate};
use impactiq_data::{Column, Seed, Silent, Table};

use super::numbers::{count, digits};
use super::*;
use crate::{CausalModel, Config, train};

/// Rows that can be told apart: members of 'gold' & above 50 react.
fn table(n: usize) -> Table {
    let seed = Seed::new(3);
    let levels: Vec<String> = ["bronze", "silver", "gold", "<vip> & friends"].map(String::from).into();
    let tier: Vec<u32> = (0..n as u64).map(|row| seed.child(1).below(row, 4) as u32).collect();
    let age: Vec<f64> = (0..n as u64).map(|row| 20.0 + seed.child(2).below(row, 60) as f64).collect();
    let arm: Vec<f64> = (0..n as u64).map(|row| (seed.child(4).hash(row) & 1) as f64).collect();
    let reacts = |row: usize| tier[row] >= 2 && age[row] > 50.0;
    let bought = (0..n)
        .map(|row| 0.2 + if reacts(row) { 0.4 * arm[row] } else { 0.0 })
        .enumerate()
        .map(|(row, p)| f64::from(u8::from(seed.child(5).uniform(row as u64) < p)))
        .collect();
    let mut table = Table::new();
    let tier = tier.into_iter().map(|code| code as _).collect();
    table.push("tier", Column::Category { codes: tier, levels }).unwrap();
    for (name, values) in [("age", age), ("mail", arm), ("bought", bought)] {
        table.push(name, Column::Number(values)).unwrap();
    }
    table
}

fn model(learner: &str, table: Table) -> CausalModel {
    let yaml = format!(
        "data: {{path: x.csv}}\nroles: {{treatment: mail, control: 0, outcome: bought}}\n\
         assignment: {{probability: 0.5}}\nnuisance: {{kind: least_squares}}\nlearner: {learner}\n"
    );
    let config = Config::from_yaml(&yaml, "c.yaml", &[]).unwrap().check(table.names()).unwrap();
    let n = table.n_rows() as u64;
    let data = config.dataset(table, (0..n).collect()).unwrap();
    train(&config, &data, &Silent).unwrap().model
}

#[test]
fn a_tree_is_told_in_the_datas_own_words() {
    let text = uplift_tree_text(&model("{kind: uplift_tree, max_depth: 2}", table(20_000))).unwrap();
    assert!(text.starts_with("Uplift tree of 'bought': '1' against '0'\nall rows · "), "{text}");
    assert!(
        text.contains("├─ tier = ") || text.contains("├─ tier in {") || text.contains("├─ age ≤ 50.5 · "),
        "{text}"
    );
    assert!(text.contains("age ≤ 50.5") && text.contains("age > 50.5"), "{text}");
    assert!(text.contains("<vip> & friends"), "{text}");
    assert!(text.ends_with("rows that did not choose the splits.\n"), "{text}");
    // A line per node, one for the title and one below: numbers add up in every line.
    let node_lines: Vec<&str> = text.lines().filter(|line| line.contains(" rows (")).collect();
    assert!(node_lines.len() == 7 || node_lines.len() == 5, "{text}");
    for line in node_lines {
        let number = |text: &str| text.replace(',', "").parse::<u64>().unwrap();
        let total = number(line.split(" · ").nth(1).unwrap().split(' ').next().unwrap());
        let of_arms: Vec<u64> = line
            .split(" (")
            .nth(1)
            .unwrap()
            .split("; ")
            .map(|arm| number(arm.split(": ").nth(1).unwrap().split(' ').next().unwrap()))
            .collect();
        assert_eq!(of_arms.iter().sum::<u64>(), total, "{line}");
    }
    let adaptive = model("{kind: uplift_tree, honest: false, criterion: ddp}", table(5_000));
    assert!(uplift_tree_text(&adaptive).unwrap().contains("standard errors too small"));
}

#[test]
fn a_picture_is_whole_and_holds_no_markup_of_the_data() {
    let svg = uplift_tree_svg(&model("{kind: uplift_tree, max_depth: 2}", table(20_000))).unwrap();
    assert!(svg.starts_with("<svg xmlns") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("&lt;vip&gt; &amp; friends") && !svg.contains("<vip>"));
    for tag in ["svg", "g", "text", "title"] {
        let opened = svg.matches(&format!("<{tag} ")).count() + svg.matches(&format!("<{tag}>")).count();
        assert_eq!(opened, svg.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

#[test]
fn many_arms_and_outcomes_have_a_tree_each() {
    let made = generate(SynthKind::MultiArm, &SynthOptions::default(), 4000, Seed::new(1)).unwrap();
    let control = SynthKind::MultiArm.probabilities(&SynthOptions::default()).unwrap()[0].0.clone();
    let yaml = format!(
        "data: {{path: x.csv}}\nroles: {{treatment: treatment, control: {control}, outcome: [y, converted]}}\n\
         nuisance: {{kind: least_squares}}\nlearner: {{kind: uplift_tree, max_depth: 2, min_arm_rows: 30}}\n"
    );
    let config = Config::from_yaml(&yaml, "c.yaml", &[]).unwrap().check(made.table.names()).unwrap();
    let data = config.dataset(made.table, (0..4000).collect()).unwrap();
    let model = train(&config, &data, &Silent).unwrap().model;
    let text = uplift_tree_text(&model).unwrap();
    assert_eq!(text.matches("Uplift tree of ").count(), 2);
    assert!(
        model.arms().labels()[1..]
            .iter()
            .all(|arm| text.contains(&format!("uplift {arm} ")) || text.contains(&format!("; {arm} ")))
    );
    assert!(uplift_tree_svg(&model).unwrap().contains("Uplift on 'converted'"));
}

#[test]
fn other_learners_have_no_tree_to_show() {
    let forest = model("{kind: uplift_forest, n_trees: 3}", table(2_000));
    assert_eq!((uplift_tree_text(&forest), uplift_tree_svg(&forest)), (None, None));
}

#[test]
fn numbers_keep_their_significant_digits() {
    for (value, wanted) in
        [(0.0, "0"), (0.047_123, "0.0471"), (1_234_567.0, "1234567"), (35.5, "35.5"), (2e-12, "2.00e-12")]
    {
        assert_eq!(digits(value, 3), wanted);
    }
    assert_eq!(digits(-0.5, 2), "-0.50");
    assert_eq!((count(0), count(999), count(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
}
