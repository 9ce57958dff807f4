//! Which model answers: promoting, rolling back, reading again, remembering.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::client::{Line, get, post};
use crate::house::{House, copy, rows, write_model};

#[tokio::test]
async fn models_are_described_as_the_dashboard_reads_them() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let list = get(at, "/v1/models").await.good().json();
    assert_eq!((list["active"].as_str(), &list["previous"]), (Some("one"), &Value::Null));
    let one = &list["models"][0];
    for key in [
        "id",
        "impactiq_version",
        "learner",
        "loaded_at",
        "outcomes",
        "arms",
        "schema",
        "derived",
        "features",
        "score_columns",
        "data",
        "targets",
    ] {
        assert!(!one[key].is_null(), "{key}");
    }
    assert_eq!(one["outcomes"], json!([{"name": "y", "kind": "continuous"}]));
    assert_eq!(one["schema"][0], json!({"name": "x1", "type": "float32"}));
    assert_eq!(one["reports"], json!({"training": true, "evaluation": true, "check": false, "profile": true}));
    assert_eq!(one["targets"][0], json!({"outcome": "y", "arm": "arm_1"}));
    let detail = get(at, "/v1/models/two").await.good().json();
    assert!(detail["card"].as_str().unwrap().starts_with("# Uplift model") && detail["config"].is_object());
    let reports = get(at, "/v1/reports?model=two").await.good().json();
    assert_eq!((reports["units"]["converted"].as_str(), &reports["evaluation"]), (Some("share"), &Value::Null));
    assert_eq!(reports["profile"]["columns"].as_array().unwrap().len(), 3);
    assert!(reports["training"]["contrasts"].is_array());
    let wrong = get(at, "/v1/models/twoo").await;
    assert_eq!(wrong.json()["hint"], "did you mean 'two'?");
    running.stop().await;
}

#[tokio::test]
async fn a_report_made_while_the_server_runs_is_seen() {
    let house = House::new();
    let report = house.path("one/reports/evaluation.json");
    let text = std::fs::read(&report).unwrap();
    std::fs::remove_file(&report).unwrap();
    let running = house.serve().await;
    let at = running.address();
    assert!(get(at, "/v1/reports").await.good().json()["evaluation"].is_null());
    std::fs::write(&report, text).unwrap();
    assert!(get(at, "/v1/reports").await.good().json()["evaluation"].is_object());
    std::fs::write(&report, "{").unwrap();
    let reports = get(at, "/v1/reports").await.good().json();
    assert!(reports["evaluation"].is_null() && reports["problems"][0]["detail"].is_string(), "{reports}");
    running.stop().await;
}

#[tokio::test]
async fn the_active_model_is_remembered_across_restarts() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    assert_eq!(post(at, "/v1/models/rollback", &json!({})).await.code(), "nothing_before");
    let promoted = post(at, "/v1/models/two/promote", &json!({})).await.good().json();
    assert_eq!(promoted, json!({"active": "two", "previous": "one"}));
    running.stop().await;
    let running = house.serve().await;
    let at = running.address();
    let list = get(at, "/v1/models").await.good().json();
    assert_eq!((list["active"].as_str(), list["previous"].as_str()), (Some("two"), Some("one")));
    assert_eq!(post(at, "/v1/score", &json!({"rows": rows(1)})).await.good().json()["model"]["name"], "two");
    assert_eq!(post(at, "/v1/models/rollback", &json!({})).await.good().json()["active"], "one");
    running.stop().await;
    std::fs::write(house.path("scores.active.json"), "{broken").unwrap();
    let running = house.serve().await;
    assert_eq!(get(running.address(), "/v1/models").await.good().json()["active"], "one");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_swapped_under_load_without_a_failed_request() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let some = rows(3);
    let wanted = Arc::new(["one", "two"].map(|name| house.scorer(name).score_json(&some).unwrap()));
    let body = json!({"rows": some}).to_string();
    let over = Arc::new(AtomicBool::new(false));
    let mut askers = Vec::new();
    for _ in 0..4 {
        let (over, wanted, body) = (Arc::clone(&over), Arc::clone(&wanted), body.clone());
        askers.push(tokio::spawn(async move {
            let mut line = Line::open(at).await;
            let mut seen = [0u32; 2];
            while !over.load(Ordering::Relaxed) {
                let answer =
                    line.send("POST", "/v1/score", &[("content-type", "application/json")], body.clone()).await;
                let answer = answer.good().json();
                let model = usize::from(answer["model"]["name"] == "two");
                // Never the scores of one model under the name of the other.
                assert_eq!(answer["scores"].as_array().unwrap(), &wanted[model]);
                seen[model] += 1;
            }
            seen
        }));
    }
    for _ in 0..20 {
        for name in ["two", "one"] {
            post(at, &format!("/v1/models/{name}/promote"), &json!({})).await.good();
            post(at, "/v1/models/refresh", &json!({})).await.good();
        }
    }
    over.store(true, Ordering::Relaxed);
    let mut seen = [0; 2];
    for asker in askers {
        let of_one = asker.await.unwrap();
        seen[0] += of_one[0];
        seen[1] += of_one[1];
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_new_version_is_read_on_demand_and_a_broken_one_is_refused() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let refresh = async || post(at, "/v1/models/refresh", &json!({})).await.good().json();
    assert_eq!(refresh().await, json!({"loaded": [], "unchanged": ["one", "two"], "failed": []}));
    let before = post(at, "/v1/score", &json!({"rows": rows(1)})).await.good().json();
    let kept = house.path("kept");
    copy(&house.path("one"), &kept);
    std::fs::write(house.path("one/model.safetensors"), "broken").unwrap();
    let found = refresh().await;
    assert_eq!((&found["failed"][0]["name"], &found["loaded"]), (&json!("one"), &json!([])));
    assert_eq!(post(at, "/v1/score", &json!({"rows": rows(1)})).await.good().json()["scores"], before["scores"]);
    std::fs::remove_dir_all(house.path("one")).unwrap();
    write_model(&house.path("one"), "converted", false);
    assert_eq!(refresh().await["loaded"], json!(["one"]));
    let after = post(at, "/v1/score", &json!({"rows": rows(1)})).await.good().json();
    assert_ne!(after["model"]["id"], before["model"]["id"]);
    let described = get(at, "/v1/models").await.good().json();
    assert_eq!(described["active"], "one");
    running.stop().await;
}

#[tokio::test]
async fn a_server_does_not_start_with_a_broken_model() {
    let house = House::new();
    std::fs::write(house.path("two/manifest.json"), "{}").unwrap();
    let error = impactiq_serve::Server::start(house.asked().settle().unwrap()).await.err().unwrap();
    assert!(error.to_string().contains("'two'"), "{error}");
}
