//! What-if answers have the bits of scores, show what the model saw and warn beyond its support.

use impactiq_score::profile::ColumnProfile;
use impactiq_score::simulate::{RowAnswer, Simulated, Unsupported};
use impactiq_score::{Reports, ScoreError, Sweep};
use serde_json::{Value, json};

use crate::house::{folder, person, scorer};

struct House {
    folder: tempfile::TempDir,
    reports: Reports,
}

impl House {
    fn new() -> Self {
        let folder = folder();
        let reports = Reports::read(&folder.path().join("model")).unwrap();
        House { folder, reports }
    }

    fn one(&self, row: Value) -> Simulated {
        let answer = scorer(&self.folder)
            .simulate(&[row], None, self.reports.profile.as_ref(), self.reports.held_out.as_ref())
            .unwrap();
        match answer.rows.into_iter().next().unwrap() {
            RowAnswer::Simulated(simulated) => *simulated,
            RowAnswer::Refused { error } => panic!("{error:?}"),
        }
    }

    fn warned(&self, column: &str, value: Value) -> Vec<(Unsupported, String)> {
        let mut row = person();
        row[column] = value;
        self.one(row).warnings.into_iter().map(|warning| (warning.kind, warning.message)).collect()
    }
}

#[test]
fn an_effect_has_the_bits_of_its_score() {
    let house = House::new();
    let scorer = scorer(&house.folder);
    let rows: Vec<Value> = (0..50)
        .map(|i| json!({"age": 20 + i, "x": 0.3 + 0.01 * f64::from(i), "city": "Oulu", "day": "2026-03-02"}))
        .collect();
    let scores = scorer.score_json(&rows).unwrap();
    let answers = scorer.simulate(&rows, None, None, None).unwrap();
    for (score, answer) in scores.iter().zip(&answers.rows) {
        let RowAnswer::Simulated(answer) = answer else { panic!("{answer:?}") };
        let outcome = &answer.outcomes[0];
        assert_eq!(score["cate"].as_f64().unwrap().to_bits(), outcome.contrasts[0].uplift.to_bits());
        assert_eq!(score["mean_1"].as_f64(), outcome.arms[1].mean);
        assert_eq!(score["best_arm"].as_str(), outcome.best_arm.as_deref());
        assert!(answer.warnings.is_empty() && outcome.contrasts[0].group.is_none());
    }
}

#[test]
fn a_row_is_shown_as_the_model_saw_it() {
    let answer = House::new().one(json!({"age": "40", "x": 0.1, "city": "Turku", "day": "2026-03-10", "more": 1}));
    let x = f64::from(0.1f32);
    assert_eq!(Value::from(answer.input), json!({"age": 40, "x": x, "city": "Turku", "day": "2026-03-10"}));
    assert_eq!(answer.derived.len(), 1);
    assert!((answer.derived["age_x"].as_f64().unwrap() - 40.0 * x).abs() < 1e-6);
}

#[test]
fn the_json_has_the_agreed_shape() {
    let house = House::new();
    let sweep = Sweep { feature: "age".into(), values: Some(vec![json!(30), json!("old")]), ..Sweep::default() };
    let rows = [person(), json!({"age": "x", "x": 1, "city": null, "day": null})];
    let held_out = house.reports.held_out.as_ref();
    let answer = scorer(&house.folder).simulate(&rows, Some(&sweep), house.reports.profile.as_ref(), held_out).unwrap();
    let value = serde_json::to_value(&answer).unwrap();
    let outcome = &value["rows"][0]["outcomes"][0];
    assert_eq!((&outcome["outcome"], &outcome["arms"][0]["arm"]), (&"y".into(), &"0".into()));
    let contrast = &outcome["contrasts"][0];
    for key in ["arm", "uplift", "lower", "upper", "group"] {
        assert!(contrast.get(key).is_some(), "{key} of {contrast}");
    }
    for key in ["decile", "of", "effect", "uplift", "score_from", "score_to"] {
        assert!(contrast["group"].get(key).is_some(), "{key} of {contrast}");
    }
    let error = &value["rows"][1]["error"];
    assert_eq!((&error["column"], &error["value"]), (&"age".into(), &"x".into()));
    assert!(error["message"].is_string());
    let points = &value["sweep"]["points"];
    assert_eq!((&value["sweep"]["feature"], &points[0]["value"]), (&"age".into(), &30.into()));
    assert!(points[0]["outcomes"][0]["contrasts"][0]["uplift"].is_number() && points[0].get("error").is_none());
    assert_eq!((&points[1]["value"], &points[1]["error"]["column"]), (&"old".into(), &"age".into()));
}

#[test]
fn the_ends_of_a_32_bit_range_are_inside_it() {
    let house = House::new();
    let profile = house.reports.profile.as_ref().unwrap();
    let Some(ColumnProfile::Number(x)) = profile.column("x") else { panic!("x") };
    assert_eq!(x.lower, f64::from(0.1f32), "the profile keeps the value as 32 bits hold it");
    // Typed as anybody would type it, as the profile writes it, and through its upper end.
    for value in [json!(0.1), json!(x.lower), json!(x.upper), json!("0.1")] {
        assert_eq!(house.warned("x", value), []);
    }
    let found = house.warned("x", json!(0.09));
    assert_eq!(found[0].0, Unsupported::OutOfRange);
    assert!(found[0].1.starts_with("x is 0.09, below everything in the training rows (0.1 to "), "{}", found[0].1);
}

#[test]
fn values_without_support_are_told_one_by_one() {
    let house = House::new();
    let kinds = |column, value| house.warned(column, value).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    assert_eq!(kinds("age", json!(500)), [Unsupported::OutOfRange]);
    assert_eq!(kinds("age", Value::Null), [Unsupported::Missing]);
    assert_eq!(kinds("day", json!("2027-01-01")), [Unsupported::OutOfRange]);
    assert!(house.warned("day", json!("2027-01-01"))[0].1.contains("2027-01-01, above"));
    // Inari has too few rows to be told by name.
    assert_eq!(kinds("city", json!("Inari")), [Unsupported::UnseenCategory]);
    assert!(house.warned("city", json!("Inari"))[0].1.contains("few training rows had"));
    assert_eq!(kinds("city", json!("Oulu")), []);
}

#[test]
fn the_group_of_a_score_is_the_tenth_it_falls_into() {
    let house = House::new();
    let contrast = &house.reports.held_out.as_ref().unwrap().contrasts[0];
    for (index, decile) in contrast.deciles.iter().enumerate() {
        let group = contrast.group(decile.mean_score).unwrap();
        assert_eq!((group.decile, group.of), (index as u32 + 1, 10));
        assert_eq!(group.effect, decile.effect);
        assert!(group.score_from.is_none_or(|from| from <= decile.mean_score));
        assert!(group.score_to.is_none_or(|to| decile.mean_score <= to));
    }
    assert_eq!(contrast.group(f64::MAX).unwrap().score_to, None);
    assert_eq!(contrast.group(f64::MIN).unwrap().score_from, None);
}

#[test]
fn a_sweep_moves_one_feature_and_keeps_the_rest() {
    let house = House::new();
    let scorer = scorer(&house.folder);
    let sweep = Sweep { feature: "x".into(), from: Some(0.1), to: Some(1.1), steps: Some(11), ..Sweep::default() };
    let answer = scorer.simulate(&[person()], Some(&sweep), None, None).unwrap().sweep.unwrap();
    assert_eq!(answer.points.len(), 11);
    for point in &answer.points {
        let mut row = person();
        row["x"] = point.value.clone();
        let wanted = scorer.score_json(&[row]).unwrap()[0]["cate"].as_f64().unwrap();
        assert_eq!(point.outcomes.as_ref().unwrap()[0].contrasts[0].uplift.to_bits(), wanted.to_bits());
    }
    assert_eq!(answer.points[10].value, json!(f64::from(1.1f32)));
}

#[test]
fn a_sweep_of_whole_numbers_stays_whole() {
    let house = House::new();
    let sweep = Sweep { feature: "age".into(), from: Some(20.0), to: Some(23.0), steps: Some(61), ..Sweep::default() };
    let answer = scorer(&house.folder).simulate(&[person()], Some(&sweep), None, None).unwrap().sweep.unwrap();
    let values: Vec<&Value> = answer.points.iter().map(|point| &point.value).collect();
    assert_eq!(values, [20, 21, 22, 23]);
}

#[test]
fn a_sweep_that_cannot_be_made_says_why() {
    let house = House::new();
    let scorer = scorer(&house.folder);
    let error = |sweep: Value| {
        let sweep: Sweep = serde_json::from_value(sweep).unwrap();
        let error = scorer.simulate(&[person()], Some(&sweep), None, None).unwrap_err();
        assert!(error.hint().is_some(), "{error}");
        error
    };
    let typo = error(json!({"feature": "agee", "values": [1]}));
    assert!(matches!(typo, ScoreError::Data(_)) && typo.hint().unwrap().contains("age"), "{typo:?}");
    for sweep in [
        json!({"feature": "age"}),
        json!({"feature": "age", "values": []}),
        json!({"feature": "age", "from": 1, "to": 2, "steps": 201}),
        json!({"feature": "age", "from": 1, "to": 2, "steps": 1}),
        json!({"feature": "age", "from": 1, "to": 2, "steps": 3, "values": [1]}),
        json!({"feature": "city", "from": 1, "to": 2, "steps": 3}),
        json!({"row": 1, "feature": "age", "values": [1]}),
    ] {
        assert!(matches!(error(sweep.clone()), ScoreError::Sweep { .. }), "{sweep}");
    }
}
