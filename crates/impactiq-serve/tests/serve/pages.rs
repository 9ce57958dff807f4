//! Pages, description, figures: what people and monitors look at.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{get, post, raw};
use crate::house::{House, rows};

#[tokio::test]
async fn no_address_leaves_the_dashboard() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let page = get(at, "/").await.good();
    assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
    assert_eq!(page.headers["cache-control"], "no-cache");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.split(';').any(|part| part.contains("script-src") && part.contains("unsafe")));
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    for path in [
        "/../Cargo.toml",
        "/..%2fCargo.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/assets/../../../../etc/passwd",
        "/assets/..%5c..%5cCargo.toml",
        "//etc/passwd",
        "/index.html%00.js",
        "/nothing",
        "/docs/../../etc/passwd",
        "/docs/..%2f..%2fCargo.toml",
    ] {
        let answer =
            raw(at, format!("GET {path} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
        assert!(!answer.contains("root:") && !answer.contains("[package]"), "{path}");
    }
    for name in ["..", "..%2f..%2fone", "one%2f..%2ftwo", "%00"] {
        assert_eq!(get(at, &format!("/v1/models/{name}")).await.status.as_u16(), 404, "{name}");
    }
    running.stop().await;
}

#[tokio::test]
async fn the_description_covers_the_api_and_is_read_without_a_network() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let described = get(at, "/openapi.json").await.good().json();
    assert!(described["openapi"].as_str().unwrap().starts_with("3."));
    for path in described["paths"].as_object().unwrap().values() {
        for operation in path.as_object().unwrap().values().filter(|value| value.is_object()) {
            assert!(operation["summary"].is_string(), "{operation}");
        }
    }
    // Every schema that is referred to is there.
    let text = described.to_string();
    for name in text.split("#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(described["components"]["schemas"][name].is_object(), "{name}");
    }
    let page = get(at, "/docs/").await.good().text();
    assert!(page.contains("swagger-ui") && !page.contains("http://") && !page.contains("https://"), "{page}");
    get(at, "/docs/swagger-ui-bundle.js").await.good();
    running.stop().await;
}

#[tokio::test]
async fn requests_carry_a_name_that_the_caller_may_choose() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let mine = crate::client::send(at, "GET", "/v1/server", &[("x-request-id", "abc-1")], "").await.good();
    assert_eq!(mine.headers["x-request-id"], "abc-1");
    let first = get(at, "/v1/server").await.good().headers["x-request-id"].clone();
    assert_ne!(first, get(at, "/v1/server").await.good().headers["x-request-id"]);
    let wild = crate::client::send(at, "GET", "/v1/server", &[("x-request-id", "a b<script>")], "").await.good();
    assert_ne!(wild.headers["x-request-id"], "a b<script>");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticks_tell_rates_latency_drift_and_the_last_scores() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(format!("GET /v1/live HTTP/1.1\r\nhost: {at}\r\n\r\n").as_bytes()).await.unwrap();
    post(at, "/v1/score", &json!({"rows": rows(600)})).await.good();
    post(at, "/v1/score", &json!({"rows": "x"})).await;
    let mut text = String::new();
    let mut buffer = [0; 65536];
    let tick = loop {
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        let ticks =
            text.split("data: ").skip(1).filter_map(|rest| serde_json::from_str::<Value>(rest.lines().next()?).ok());
        if let Some(tick) = ticks.into_iter().find(|tick| tick["rows_per_second"].as_f64() > Some(0.0)) {
            break tick;
        }
    };
    assert!(text.contains("event: tick"));
    assert!(tick["requests_per_second"].as_f64() > tick["errors_per_second"].as_f64(), "{tick}");
    assert!(tick["latency_ms"]["p99"].as_f64() > Some(0.0));
    assert_eq!((tick["drift"]["n_rows"].as_u64(), tick["drift"]["needed"].as_u64()), (Some(600), Some(500)));
    assert_eq!(tick["drift"]["columns"].as_array().unwrap().len(), 3);
    let last = &tick["last"][0];
    assert_eq!((last["id"].as_str(), last["model"].as_str()), (Some("r0"), Some("one")));
    assert!(last["cate"]["y/arm_1"].is_number() && tick["log"]["lost"] == 0);
    let metrics = get(at, "/metrics").await.good().text();
    assert!(metrics.contains("impactiq_rows_total{door=\"score\"} 600") && metrics.ends_with("# EOF\n"), "{metrics}");
    running.stop().await;
}
