//! More than can be done, and clients that hold on to what they do not need: the rest is turned away, memory is
//! bounded, nobody is stuck for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{Line, get, post, raw};
use crate::house::{House, rows};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[tokio::test]
async fn a_server_that_is_late_turns_scores_away_until_it_is_not() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let body = json!({"rows": rows(1)}).to_string();
    let mut line = Line::open(at).await;
    line.send("POST", "/v1/score", &JSON, body.clone()).await.good();

    // The server shares this thread, so whoever holds it makes the server late.
    let is_busy = Arc::new(AtomicBool::new(true));
    let holding = Arc::clone(&is_busy);
    let holder = tokio::spawn(async move {
        while holding.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(30));
            tokio::task::yield_now().await;
        }
    });
    let refused = loop {
        let answer = line.send("POST", "/v1/score", &JSON, body.clone()).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "busy"));
    assert!(refused.headers.contains_key("retry-after") && refused.headers.contains_key("x-request-id"));
    // Whoever asks how the server does is told.
    line.send("GET", "/health/ready", &[], "").await.good();

    is_busy.store(false, Ordering::Relaxed);
    holder.await.unwrap();
    let mut good_in_a_row = 0;
    while good_in_a_row < 50 {
        let answer = line.send("POST", "/v1/score", &JSON, body.clone()).await;
        good_in_a_row = if answer.status == 200 { good_in_a_row + 1 } else { 0 };
    }
    let metrics = get(at, "/metrics").await.good().text();
    assert!(metrics.contains("impactiq_requests_total{door=\"score\",status=\"503\"}"), "{metrics}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_reads_the_answer_loses_the_connection() {
    let house = House::new();
    let running = house
        .serve_with(|settings| {
            settings.limits.max_connections = 1;
            settings.limits.timeout = Duration::from_secs(4);
        })
        .await;
    let at = running.address();
    // Ten megabytes of answers that the system's buffers do not hold.
    let body = json!({"rows": rows(60_000)}).to_string();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(at).await.unwrap();
    let head = format!(
        "POST /v1/score HTTP/1.1\r\nhost: {at}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    // There is one place, so this one is let in when the other's connection is given up.
    get(at, "/health/live").await.good();
    drop(stream);
    running.stop().await;
}

#[tokio::test]
async fn large_bodies_together_have_a_limit_and_their_room_comes_back() {
    let house = House::new();
    let running = house.serve_with(|settings| settings.limits.max_body_bytes = 200_000).await;
    let at = running.address();
    let head = format!("POST /v1/score HTTP/1.1\r\nhost: {at}\r\ncontent-length: 190000\r\n\r\n");
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[b' '; 189_000]).await.unwrap();
        waiting.push(stream);
    }
    let late = [head.as_bytes(), &[b' '; 189_000]].concat();
    // The four may still be on their way when this one is looked at.
    loop {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(&late).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        if answer.starts_with("HTTP/1.1 503") {
            assert!(answer.contains("\"busy\"") && answer.contains("retry-after"), "{answer}");
            break;
        }
    }
    drop(waiting);
    loop {
        let blank = [
            format!("POST /v1/score HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\ncontent-length: 190000\r\n\r\n")
                .as_bytes(),
            &[b' '; 190_000],
        ]
        .concat();
        let answer = raw(at, &blank).await;
        if !answer.starts_with("HTTP/1.1 503") {
            assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
            break;
        }
    }
    post(at, "/v1/score", &json!({"rows": rows(1)})).await.good();
    running.stop().await;
}
