//! What is remembered of requests, and requests that are sent twice.

use serde_json::{Value, json};

use crate::client::{get, post, send};
use crate::house::{House, csv, rows};

/// The log's rows of a request once they are there.
async fn logged(at: std::net::SocketAddr, query: &str, n: usize) -> Vec<Value> {
    for _ in 0..200 {
        let page = get(at, &format!("/v1/scores?{query}")).await.good().json();
        let scores = page["scores"].as_array().unwrap().clone();
        if scores.len() >= n {
            return scores;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the log never had {n} rows of {query}");
}

#[tokio::test]
async fn the_log_has_every_row_of_every_door_as_it_was_answered() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let mut some = rows(3);
    some[2]["x1"] = json!("much");
    let answered = post(at, "/v1/score", &json!({"rows": some, "request_id": "first"})).await.good().json();
    assert_eq!(answered["request_id"], "first");
    let mut found = logged(at, "request_id=first", 3).await;
    found.sort_by_key(|row| row["row"].as_u64());
    for (row, logged) in found.iter().enumerate() {
        assert_eq!(logged["scores"], answered["scores"][row]);
        assert_eq!((&logged["id"], &logged["door"]), (&some[row]["id"], &json!("score")));
        assert_eq!(logged["model"], answered["model"]);
    }
    let one = rows(1);
    let key = [("content-type", "text/csv"), ("idempotency-key", "of-csv")];
    send(at, "POST", "/v1/score", &key, csv(&one)).await.good();
    assert_eq!(logged(at, "request_id=of-csv", 1).await[0]["id"], "r0");
    let tensor =
        json!({"id": "of-tensors", "inputs": [{"name": "x1", "shape": [1], "datatype": "FP64", "data": [0.5]}]});
    post(at, "/v2/models/two/infer", &tensor).await.good();
    let found = logged(at, "request_id=of-tensors", 1).await;
    assert_eq!((&found[0]["door"], &found[0]["model"]["name"]), (&json!("infer"), &json!("two")));
    post(at, "/invocations", &json!({"instances": one})).await.good();
    assert!(logged(at, "id=r0", 3).await.iter().any(|row| row["door"] == "invocations"));
    assert_eq!(logged(at, "model=two", 1).await.len(), 1);
    let listed = [("content-type", "text/csv"), ("idempotency-key", "of-list")];
    send(at, "POST", "/v1/target/list?fraction=0.5", &listed, csv(&rows(2))).await.good();
    let found = logged(at, "request_id=of-list", 2).await;
    assert!(found.iter().all(|row| row["door"] == "target" && row["scores"]["cate_low"].is_null()), "{found:?}");
    let page = get(at, "/v1/scores?limit=2").await.good().json();
    let next = page["next"].as_str().unwrap();
    let rest = get(at, &format!("/v1/scores?limit=1000&after={next}")).await.good().json();
    assert_eq!(rest["scores"].as_array().unwrap().len(), 6);
    assert_eq!(get(at, "/v1/scores?from=2999-01-01T00:00:00Z").await.good().json()["scores"], json!([]));
    for wrong in ["limit=0", "limit=5000", "from=yesterday", "after=nonsense", "colour=red"] {
        assert_eq!(get(at, &format!("/v1/scores?{wrong}")).await.code(), "bad_parameter", "{wrong}");
    }
    running.stop().await;
}

#[tokio::test]
async fn a_retry_gets_the_first_answer_even_when_another_model_answers_now() {
    for durable in [true, false] {
        let house = House::new();
        let running = house.serve_with(|settings| settings.log.as_mut().unwrap().durable = durable).await;
        let at = running.address();
        let body = json!({"rows": rows(2), "request_id": "a"});
        let first = post(at, "/v1/score", &body).await.good();
        logged(at, "request_id=a", 2).await;
        post(at, "/v1/models/two/promote", &json!({})).await.good();
        let again = post(at, "/v1/score", &body).await.good();
        assert_eq!((again.text(), again.headers["idempotent-replayed"].to_str().unwrap()), (first.text(), "true"));
        let other = post(at, "/v1/score", &json!({"rows": rows(1), "request_id": "a"})).await;
        assert_eq!((other.status.as_u16(), other.code().as_str()), (409, "request_id_taken"));
        let key = [("content-type", "text/csv"), ("idempotency-key", "b")];
        let first = send(at, "POST", "/v1/score", &key, csv(&rows(2))).await.good();
        logged(at, "request_id=b", 2).await;
        post(at, "/v1/models/one/promote", &json!({})).await.good();
        assert_eq!(send(at, "POST", "/v1/score", &key, csv(&rows(2))).await.good().text(), first.text());
        assert_eq!(logged(at, "limit=100", 4).await.len(), 4, "nothing is logged twice");
        running.stop().await;
    }
}

#[tokio::test]
async fn what_was_answered_before_a_stop_is_in_the_log_after_it() {
    let house = House::new();
    let running = house.serve().await;
    for n in 0..20 {
        post(running.address(), "/v1/score", &json!({"rows": rows(5), "request_id": format!("n{n}")})).await.good();
    }
    running.stop().await;
    let running = house.serve().await;
    let page = get(running.address(), "/v1/scores?limit=1000").await.good().json();
    assert_eq!(page["scores"].as_array().unwrap().len(), 100);
    let server = get(running.address(), "/v1/server").await.good().json();
    assert_eq!(server["log"], json!({"kind": "sqlite", "durable": false}));
    running.stop().await;
}

#[tokio::test]
async fn a_server_without_a_log_says_so() {
    let house = House::new();
    let running = house.serve_with(|settings| settings.log = None).await;
    let at = running.address();
    assert_eq!(get(at, "/v1/scores").await.code(), "no_log");
    post(at, "/v1/score", &json!({"rows": rows(1), "request_id": "a", "durable": true})).await;
    assert_eq!(get(at, "/v1/server").await.good().json()["log"]["kind"], "none");
    running.stop().await;
}

#[tokio::test]
async fn columns_left_out_come_from_the_look_up_table_at_every_door() {
    let house = House::new();
    let all = rows(6);
    std::fs::write(house.path("people.csv"), csv(&all)).unwrap();
    let mut asked = house.asked();
    asked.lookup.file = Some(house.path("people.csv").display().to_string());
    asked.lookup.key = Some("id".into());
    let running = impactiq_serve::Server::start(asked.settle().unwrap()).await.unwrap();
    let at = running.address();
    let wanted = house.scorer("one").score_json(&all).unwrap();
    let ids: Vec<Value> = all.iter().map(|row| json!({"id": row["id"]})).collect();
    let answer = post(at, "/v1/score", &json!({"rows": ids})).await.good().json();
    assert_eq!(answer["scores"].as_array().unwrap(), &wanted);
    let own = json!({"rows": [{"id": "r0", "x1": 2.5}, {"id": "nobody"}]});
    let answer = post(at, "/v1/score", &own).await.good().json();
    assert_ne!(answer["scores"][0], wanted[0], "a value of the request wins");
    assert_eq!(answer["scores"][1]["error"]["value"], "nobody");
    let text =
        format!("id\n{}\nnobody\n", all.iter().map(|row| row["id"].as_str().unwrap()).collect::<Vec<_>>().join("\n"));
    let answer = send(at, "POST", "/v1/score", &[("content-type", "text/csv")], text).await.good().text();
    let lines: Vec<Vec<&str>> = answer.lines().map(|line| line.split(',').collect()).collect();
    let place = lines[0].iter().position(|name| *name == "cate_arm_1").unwrap();
    for (line, wanted) in lines[1..7].iter().zip(&wanted) {
        assert_eq!(line[place].parse::<f64>().unwrap(), wanted["cate_arm_1"].as_f64().unwrap());
    }
    assert!(lines[7].last().unwrap().contains("look-up table"));
    running.stop().await;
}
