//! What a request may cost, and what clients that misbehave get.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Line, get, post, raw, send};
use crate::house::{House, rows};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[tokio::test]
async fn too_large_too_many_too_deep_and_broken_bodies_each_have_their_answer() {
    let house = House::new();
    let running = house
        .serve_with(|settings| {
            settings.limits.max_body_bytes = 10_000;
            settings.limits.max_rows = 20;
        })
        .await;
    let at = running.address();
    let large = " ".repeat(10_001);
    for path in ["/v1/score", "/invocations", "/v1/simulate", "/v1/target", "/v2/models/one/infer"] {
        let answer = send(at, "POST", path, &JSON, large.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (413, "body_too_large"), "{path}");
        let answer = send(at, "POST", path, &JSON, "[".repeat(5000)).await;
        assert_eq!(answer.code(), "too_deep", "{path}");
        for broken in ["", "{", "nul", "{\"rows\": [}", "{\"rows\": [1e999]}", "\u{feff}{}", "{\"rowz\": []}"] {
            let answer = send(at, "POST", path, &JSON, broken).await;
            assert_eq!(answer.status.as_u16(), 400, "{path} {broken}");
            answer.code();
        }
    }
    let told = format!("POST /v1/score HTTP/1.1\r\nhost: {at}\r\ncontent-length: 99999999999\r\n\r\n");
    assert!(raw(at, told.as_bytes()).await.starts_with("HTTP/1.1 413"), "before a byte of the body came");
    let chunk = format!("3000\r\n{}\r\n", "x".repeat(0x3000));
    let chunked = format!("POST /v1/score HTTP/1.1\r\nhost: {at}\r\ntransfer-encoding: chunked\r\n\r\n{chunk}");
    assert!(raw(at, chunked.as_bytes()).await.starts_with("HTTP/1.1 413"), "while it comes");

    let many = json!({"rows": rows(21)});
    assert_eq!(post(at, "/v1/score", &many).await.code(), "too_many_rows");
    assert_eq!(post(at, "/invocations", &json!({"instances": rows(21)})).await.code(), "too_many_rows");
    let shape = json!({"inputs": [{"name": "x1", "shape": [1_000_000_000u64], "datatype": "FP64", "data": [1]}]});
    assert_eq!(post(at, "/v2/models/one/infer", &shape).await.code(), "too_many_rows");
    let html = send(at, "POST", "/v1/score", &[("content-type", "text/html")], "<p>").await;
    assert_eq!((html.status.as_u16(), html.code().as_str()), (415, "unknown_content"));
    let packed = send(at, "POST", "/v1/score", &[("content-encoding", "gzip")], "x").await;
    assert_eq!(packed.code(), "unknown_content");
    assert_eq!(post(at, "/v1/score?model=three", &json!({"rows": []})).await.code(), "unknown_model");
    assert_eq!(post(at, "/v1/score?modle=one", &json!({"rows": []})).await.code(), "bad_parameter");
    assert_eq!(send(at, "DELETE", "/v1/score", &[], "").await.code(), "wrong_method");
    assert_eq!(post(at, "/v1/score", &json!({"rows": []})).await.good().json()["scores"], json!([]));
    running.stop().await;
}

#[tokio::test]
async fn an_arrow_stream_that_lies_about_its_lengths_is_an_error_and_no_more() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let arrow = [("content-type", "application/vnd.apache.arrow.stream")];
    let mut bodies: Vec<Vec<u8>> = vec![Vec::new(), vec![0xff; 64], b"ARROW1".to_vec()];
    bodies.push([&[0xff, 0xff, 0xff, 0xff][..], &i32::MAX.to_le_bytes(), &[0; 32]].concat());
    for body in bodies {
        let answer = send(at, "POST", "/v1/score", &arrow, body).await;
        assert_eq!(answer.status.as_u16(), 400, "{}", answer.text());
    }
    get(at, "/health/ready").await.good();
    running.stop().await;
}

#[tokio::test]
async fn a_head_or_body_that_trickles_in_is_cut_off_and_others_are_served_meanwhile() {
    let house = House::new();
    let running = house.serve_with(|settings| settings.limits.read_timeout = Duration::from_millis(300)).await;
    let at = running.address();
    let mut slow_head = TcpStream::connect(at).await.unwrap();
    slow_head.write_all(b"POST /v1/score HTTP/1.1\r\nhost: ").await.unwrap();
    let head = format!("POST /v1/score HTTP/1.1\r\nhost: {at}\r\ncontent-length: 1000\r\n\r\n{{");
    let slow_body = tokio::spawn(async move { raw(at, head.as_bytes()).await });
    post(at, "/v1/score", &json!({"rows": rows(1)})).await.good();
    let mut rest = Vec::new();
    // Closed or reset: either way it is over.
    let _ = slow_head.read_to_end(&mut rest).await;
    let answer = slow_body.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("slow_body"), "{answer}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_house_sends_away_and_says_when_to_come_again() {
    let house = House::new();
    let running = house
        .serve_with(|settings| {
            settings.limits.concurrency = 1;
            settings.limits.queue = 0;
        })
        .await;
    let at = running.address();
    let long = json!({"rows": rows(40_000)});
    let mut asked = Vec::new();
    for _ in 0..8 {
        let body = long.clone();
        asked.push(tokio::spawn(async move { post(at, "/v1/score", &body).await }));
    }
    let mut codes = Vec::new();
    for answer in asked {
        let answer = answer.await.unwrap();
        if answer.status == 503 {
            assert_eq!((answer.code().as_str(), answer.headers["retry-after"].to_str().unwrap()), ("busy", "2"));
        }
        codes.push(answer.status.as_u16());
    }
    assert!(codes.contains(&200) && codes.iter().all(|code| [200, 503].contains(code)), "{codes:?}");
    post(at, "/v1/score", &json!({"rows": rows(1)})).await.good();
    running.stop().await;
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_given_up() {
    let house = House::new();
    let running = house.serve_with(|settings| settings.limits.timeout = Duration::from_micros(1)).await;
    let answer = post(running.address(), "/v1/score", &json!({"rows": rows(20_000)})).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "too_slow"));
    running.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let house = House::new();
    let running = house.serve_with(|settings| settings.limits.max_connections = 1).await;
    let at = running.address();
    let mut first = Line::open(at).await;
    first.send("GET", "/health/live", &[], "").await.good();
    let waiting = tokio::spawn(async move { get(at, "/health/live").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    drop(first);
    waiting.await.unwrap().good();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_answers_what_is_in_flight_and_takes_nothing_new() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let body = json!({"rows": rows(1)}).to_string();
    let mut stream = TcpStream::connect(at).await.unwrap();
    let head = format!(
        "POST /v1/score HTTP/1.1\r\nhost: {at}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body.as_bytes()[..10]).await.unwrap();
    let mut follower = TcpStream::connect(at).await.unwrap();
    follower.write_all(format!("GET /v1/live HTTP/1.1\r\nhost: {at}\r\n\r\n").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stopping = tokio::spawn(running.stop());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!stopping.is_finished(), "a request is still coming in");
    assert!(TcpStream::connect(at).await.is_err(), "nobody new is let in");
    stream.write_all(&body.as_bytes()[10..]).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    stopping.await.unwrap();
    let mut rest = Vec::new();
    let _ = follower.read_to_end(&mut rest).await;
}
