//! The durable score log under kill -9: what was acknowledged is there, once, as it was answered.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Folder;
use crate::serve::{Serving, ask_at};

/// Kills of a run; IMPACTIQ_TEST_KILLS asks for more.
const KILLS: u64 = 5;
/// Clients at a time.
const CLIENTS: u64 = 4;
/// Rows of a request.
const ROWS: u64 = 3;

/// A request that got its answer before the server was killed.
struct Acknowledged {
    request_id: String,
    scores: Value,
}

#[test]
fn every_acknowledged_score_outlives_kill_9_and_none_is_there_twice() {
    let kills = std::env::var("IMPACTIQ_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let folder = Folder::with_model();
    let start = || Serving::start(&folder, &["-m", "model", "--log", "scores.sqlite", "--log-durable"]);
    let mut acknowledged = Vec::new();
    let mut unanswered: Vec<u64> = Vec::new();
    for kill in 0..kills {
        let mut serving = start();
        let (answered, lost) = under_load(&mut serving, kill, &unanswered);
        acknowledged.extend(answered);
        unanswered = lost;
    }
    // Clients retry what was cut off until it is answered.
    let serving = start();
    for number in unanswered {
        acknowledged.push(send(&serving.url(), number).expect("nobody kills this server"));
    }
    assert!(acknowledged.len() as u64 > kills * CLIENTS, "only {} answers", acknowledged.len());
    for asked in &acknowledged {
        let page = body(&serving.ask("GET", &format!("/v1/scores?request_id={}", asked.request_id), "")).unwrap();
        let mut logged: Vec<(u64, Value)> = page["scores"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| (row["row"].as_u64().unwrap(), row["scores"].clone()))
            .collect();
        logged.sort_by_key(|(row, _)| *row);
        let expected: Vec<(u64, Value)> = (0..).zip(asked.scores.as_array().unwrap().iter().cloned()).collect();
        assert_eq!(logged, expected, "{}", asked.request_id);
    }
    println!("{kills} kills, {} acknowledged requests", acknowledged.len());
    serving.terminate().succeeded();
}

/// Clients ask without a pause, first again what got no answer before; then the server is killed.
fn under_load(serving: &mut Serving, kill: u64, retries: &[u64]) -> (Vec<Acknowledged>, Vec<u64>) {
    let (answered, lost) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let stop = AtomicBool::new(false);
    let url = serving.url();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mine = retries.iter().copied().filter(move |number| number % CLIENTS == client);
            let fresh = (0..).map(move |at| (kill * 1_000_000 + at) * CLIENTS + client);
            let (answered, lost, stop, url) = (&answered, &lost, &stop, &url);
            scope.spawn(move || {
                for number in mine.chain(fresh) {
                    if stop.load(Ordering::Relaxed) {
                        // A retry that was never sent is retried later.
                        if retries.contains(&number) {
                            lost.lock().unwrap().push(number);
                            continue;
                        }
                        return;
                    }
                    match send(url, number) {
                        Some(answer) => answered.lock().unwrap().push(answer),
                        None => lost.lock().unwrap().push(number),
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(150 + 70 * (kill % 5)));
        serving.kill();
        stop.store(true, Ordering::Relaxed);
    });
    (answered.into_inner().unwrap(), lost.into_inner().unwrap())
}

/// Sends request `number`, the same bytes each time; nothing when the answer was cut off.
fn send(url: &str, number: u64) -> Option<Acknowledged> {
    let request_id = format!("r{number}");
    let row = |at: u64| json!({"id": format!("c{number}-{at}"), "x": (number * ROWS + at) as f64 % 97.0 / 97.0, "city": "Oulu"});
    let asked = json!({"rows": (0..ROWS).map(row).collect::<Vec<_>>(), "request_id": request_id});
    let answer = body(&ask_at(url, "POST", "/v1/score", &asked.to_string()).ok()?)?;
    Some(Acknowledged { request_id, scores: answer["scores"].clone() })
}

/// The body of a whole answer with status 200.
fn body(answer: &str) -> Option<Value> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| serde_json::from_str(body).ok())?
}
