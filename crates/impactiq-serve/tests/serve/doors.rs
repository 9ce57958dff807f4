//! Every door gives the same bits, those of the scorer.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::Float64Type;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde_json::{Value, json};

use crate::client::{get, post, send};
use crate::house::{House, csv, rows};

fn arrow(rows: &[Value]) -> Vec<u8> {
    let numbers =
        |name: &str| -> ArrayRef { Arc::new(rows.iter().map(|row| row[name].as_f64()).collect::<Float64Array>()) };
    let texts =
        |name: &str| -> ArrayRef { Arc::new(rows.iter().map(|row| row[name].as_str()).collect::<StringArray>()) };
    let batch = RecordBatch::try_from_iter([
        ("region", texts("region")),
        ("x2", numbers("x2")),
        ("x1", numbers("x1")),
        ("id", texts("id")),
    ])
    .unwrap();
    let mut out = Cursor::new(Vec::new());
    let mut writer = StreamWriter::try_new(&mut out, batch.schema_ref()).unwrap();
    let half = rows.len() / 2;
    writer.write(&batch.slice(0, half)).unwrap();
    writer.write(&batch.slice(half, rows.len() - half)).unwrap();
    writer.finish().unwrap();
    drop(writer);
    out.into_inner()
}

/// The bits of a column in JSON answers.
fn bits(answers: &[Value], column: &str) -> Vec<u64> {
    answers.iter().map(|answer| answer[column].as_f64().unwrap().to_bits()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_rows_get_the_same_bits_at_every_door() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let rows = rows(10_000);
    let scorer = house.scorer("one");
    let wanted = scorer.score_json(&rows).unwrap();
    let columns: Vec<String> = scorer.columns().iter().map(|column| column.name.clone()).collect();
    let numeric: Vec<&String> =
        columns.iter().filter(|name| name.starts_with("cate_arm") || name.starts_with("mean")).collect();
    assert!(numeric.len() >= 5, "{columns:?}");

    let json_answer = post(at, "/v1/score", &json!({"rows": rows})).await.good().json();
    assert_eq!(json_answer["scores"].as_array().unwrap(), &wanted);
    assert_eq!(json_answer["model"], json!({"name": "one", "id": scorer.manifest().id}));

    let invoked = post(at, "/invocations", &json!({"dataframe_records": rows})).await.good().json();
    assert_eq!(invoked["predictions"].as_array().unwrap(), &wanted);
    let invoked = send(at, "POST", "/invocations", &[("content-type", "text/csv")], csv(&rows)).await.good().json();
    assert_eq!(invoked["predictions"].as_array().unwrap(), &wanted);

    let arrow_type = [("content-type", "application/vnd.apache.arrow.stream")];
    let answer = send(at, "POST", "/v1/score", &arrow_type, arrow(&rows)).await.good();
    let batches: Vec<RecordBatch> =
        StreamReader::try_new(Cursor::new(answer.body), None).unwrap().map(Result::unwrap).collect();
    let batch = &batches[0];
    for name in &numeric {
        let values = batch.column_by_name(name).unwrap().as_primitive::<Float64Type>();
        let found: Vec<u64> = (0..values.len()).map(|row| values.value(row).to_bits()).collect();
        assert_eq!(found, bits(&wanted, name), "{name} of Arrow");
    }
    assert_eq!(batch.column_by_name("score_error").unwrap().null_count(), rows.len());

    let answer = send(at, "POST", "/v1/score", &[("content-type", "text/csv")], csv(&rows)).await.good().text();
    let lines: Vec<Vec<&str>> = answer.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[0][..4], ["id", "x1", "x2", "region"]);
    for name in &numeric {
        let place = lines[0].iter().position(|cell| cell == name).unwrap();
        let found: Vec<u64> = lines[1..].iter().map(|line| line[place].parse::<f64>().unwrap().to_bits()).collect();
        assert_eq!(found, bits(&wanted, name), "{name} of CSV");
    }

    let tensor = |name: &str, datatype: &str| json!({"name": name, "shape": [rows.len()], "datatype": datatype, "data": rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>()});
    let asked = json!({"inputs": [tensor("x1", "FP64"), tensor("x2", "FP64"), tensor("region", "BYTES")]});
    let inferred = post(at, "/v2/models/one/infer", &asked).await.good().json();
    for name in &numeric {
        let output = inferred["outputs"].as_array().unwrap().iter().find(|output| output["name"] == **name).unwrap();
        let found: Vec<u64> =
            output["data"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap().to_bits()).collect();
        assert_eq!(found, bits(&wanted, name), "{name} of tensors");
    }
    running.stop().await;
}

#[tokio::test]
async fn one_row_at_a_time_gets_the_bits_of_the_batch() {
    let house = House::new();
    let running = house.serve().await;
    let rows = rows(40);
    let wanted = house.scorer("two").score_json(&rows).unwrap();
    for (row, wanted) in rows.iter().zip(&wanted) {
        let answer = post(running.address(), "/v1/score?model=two", &json!({"rows": [row]})).await.good().json();
        assert_eq!(&answer["scores"][0], wanted);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_bad_row_is_told_in_its_place_at_every_door() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let mut some = rows(3);
    some[1]["x1"] = json!("much");
    let scores = post(at, "/v1/score", &json!({"rows": some})).await.good().json()["scores"].clone();
    assert_eq!(scores[1]["error"]["column"], "x1");
    assert!(
        scores[1]["error"]["hint"].is_string()
            && scores[0]["best_arm"].is_string()
            && scores[2]["best_arm"].is_string()
    );
    let answer = send(at, "POST", "/v1/score", &[("content-type", "text/csv")], csv(&some)).await.good().text();
    let lines: Vec<&str> = answer.lines().collect();
    assert!(lines[2].ends_with("x1: 'much' is not a number"), "{}", lines[2]);
    assert!(lines[1].ends_with(',') && lines[3].ends_with(','));
    let again = send(at, "POST", "/v1/score", &[("content-type", "text/csv")], answer).await;
    assert_eq!(again.code(), "bad_rows", "a file that has scores already would have each column twice");
    running.stop().await;
}

#[tokio::test]
async fn the_open_inference_protocol_describes_its_models() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let id = house.scorer("one").manifest().id.clone();
    let about = get(at, "/v2/models/one").await.good().json();
    assert_eq!((about["name"].as_str(), about["versions"][0].as_str()), (Some("one"), Some(id.as_str())));
    assert_eq!(about["inputs"][0], json!({"name": "x1", "datatype": "FP32", "shape": [-1]}));
    for path in [
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/two/ready",
        &format!("/v2/models/one/versions/{id}/ready"),
        "/ping",
        "/version",
    ] {
        get(at, path).await.good();
    }
    assert_eq!(get(at, "/v2/models/one/versions/0").await.code(), "unknown_model");
    let asked = json!({"id": "a", "inputs": [{"name": "x1", "shape": [1, 1], "datatype": "FP32", "data": [[0.5]]}],
                       "outputs": [{"name": "best_arm"}]});
    let answer = post(at, &format!("/v2/models/one/versions/{id}/infer"), &asked).await.good().json();
    assert_eq!((answer["id"].as_str(), answer["outputs"].as_array().unwrap().len()), (Some("a"), 1));
    running.stop().await;
}

#[tokio::test]
async fn what_if_has_the_bits_of_scoring_and_warns_outside_of_the_trial() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let mut some = rows(2);
    some[1]["x1"] = json!(1e6);
    let scores = post(at, "/v1/score", &json!({"rows": some})).await.good().json();
    let asked = json!({"rows": some, "sweep": {"row": 0, "feature": "x1", "from": -1, "to": 1, "steps": 5}});
    let answer = post(at, "/v1/simulate", &asked).await.good().json();
    for row in 0..2 {
        let contrast = &answer["rows"][row]["outcomes"][0]["contrasts"][0];
        let column = format!("cate_{}", contrast["arm"].as_str().unwrap());
        assert_eq!(contrast["uplift"], scores["scores"][row][&column]);
    }
    assert_eq!(answer["rows"][1]["warnings"][0]["column"], "x1");
    assert_eq!(answer["sweep"]["points"].as_array().unwrap().len(), 5);
    let wrong = json!({"rows": some, "sweep": {"row": 0, "feature": "x9", "from": 0, "to": 1, "steps": 5}});
    assert_eq!(post(at, "/v1/simulate", &wrong).await.code(), "bad_parameter");
    running.stop().await;
}

#[tokio::test]
async fn the_list_holds_whom_to_treat_best_first() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let some = rows(50);
    let scores = house.scorer("one").score_json(&some).unwrap();
    let mut wanted: Vec<(f64, String)> = scores
        .iter()
        .zip(&some)
        .map(|(score, row)| (score["cate_arm_1"].as_f64().unwrap(), row["id"].as_str().unwrap().to_owned()))
        .collect();
    wanted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let csv_type = [("content-type", "text/csv")];
    let list = send(at, "POST", "/v1/target/list?fraction=0.2&arm=arm_1", &csv_type, csv(&some)).await.good().text();
    let found: Vec<&str> = list.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(found, wanted[..10].iter().map(|(_, id)| id.as_str()).collect::<Vec<_>>());
    assert!(list.lines().next().unwrap().ends_with(",score"));
    let cut = wanted[4].0;
    let all = send(at, "POST", &format!("/v1/target/list?threshold={cut:?}&arm=arm_1&all=true"), &csv_type, csv(&some))
        .await
        .good()
        .text();
    assert_eq!(all.lines().count(), 51);
    // Rows of one score are treated together.
    let n_wanted = wanted.iter().filter(|(score, _)| *score >= cut).count();
    assert_eq!(all.lines().filter(|line| line.ends_with(",1,")).count(), n_wanted);
    for path in [
        "/v1/target/list",
        "/v1/target/list?fraction=2",
        "/v1/target/list?fraction=0.1&threshold=0",
        "/v1/target/list?fraction=0.1&arm=no",
    ] {
        assert_eq!(send(at, "POST", path, &csv_type, csv(&some)).await.code(), "bad_parameter", "{path}");
    }
    running.stop().await;
}

#[tokio::test]
async fn profit_is_the_evaluation_at_the_prices_asked_for() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let evaluation = get(at, "/v1/reports?model=one").await.good().json()["evaluation"].clone();
    let measured =
        evaluation["contrasts"].as_array().unwrap().iter().find(|c| c["arm"] == "arm_2").unwrap()["targeting"].clone();
    let asked = json!({"arm": "arm_2", "value_per_outcome": 12.0, "cost_per_treatment": 0.25, "population": 1000.0, "fraction": 0.4});
    let answer = post(at, "/v1/target", &asked).await.good().json();
    let point = &answer["chosen"];
    let incremental = measured["points"][40]["incremental"]["value"].as_f64().unwrap();
    let profit = point["profit"]["value"].as_f64().unwrap();
    assert!((profit - (12.0 * 1000.0 * incremental - 0.25 * 400.0)).abs() < 1e-6, "{profit}");
    assert_eq!((point["n_targeted"].as_f64(), point["cost"].as_f64()), (Some(400.0), Some(100.0)));
    let within = json!({"arm": "arm_2", "value_per_outcome": 12.0, "cost_per_treatment": 0.25, "population": 1000.0, "budget": 50.0});
    let within = post(at, "/v1/target", &within).await.good().json();
    assert!(within["chosen"]["cost"].as_f64().unwrap() <= 50.0);
    assert_eq!(within["best"], answer["best"]);
    assert_eq!(answer["treat_everyone"]["fraction"], 1.0);
    assert!(!answer["caveats"].as_array().unwrap().is_empty());
    assert_eq!(post(at, "/v1/target?model=two", &asked).await.code(), "no_report");
    for (key, value) in [
        ("value_per_outcome", json!(null)),
        ("cost_per_treatment", json!(-1)),
        ("population", json!(0)),
        ("fraction", json!(1.5)),
    ] {
        let mut wrong = asked.clone();
        wrong[key] = value;
        assert_eq!(post(at, "/v1/target", &wrong).await.status.as_u16(), 400, "{key}");
    }
    running.stop().await;
}
