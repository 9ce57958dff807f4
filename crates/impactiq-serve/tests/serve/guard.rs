//! Who may do what: roles, keys, hosts and origins.

use impactiq_serve::http::docs::description;
use impactiq_serve::{ServeError, Server};
use serde_json::json;

use crate::client::{Line, get, post, send};
use crate::house::{House, rows};

/// Routes and the weakest role that may use them; `None`: anybody.
fn matrix() -> Vec<(&'static str, &'static str, Option<usize>)> {
    vec![
        ("get", "/health/live", None),
        ("get", "/health/ready", None),
        ("get", "/ping", None),
        ("get", "/version", None),
        ("get", "/v2", None),
        ("get", "/v2/health/live", None),
        ("get", "/v2/health/ready", None),
        ("post", "/v1/score", Some(0)),
        ("post", "/v1/simulate", Some(0)),
        ("post", "/invocations", Some(0)),
        ("get", "/v1/server", Some(0)),
        ("get", "/v2/models/{name}", Some(0)),
        ("get", "/v2/models/{name}/ready", Some(0)),
        ("post", "/v2/models/{name}/infer", Some(0)),
        ("get", "/v2/models/{name}/versions/{version}", Some(0)),
        ("get", "/v2/models/{name}/versions/{version}/ready", Some(0)),
        ("post", "/v2/models/{name}/versions/{version}/infer", Some(0)),
        ("post", "/v1/target", Some(1)),
        ("post", "/v1/target/list", Some(1)),
        ("get", "/v1/models", Some(1)),
        ("get", "/v1/models/{name}", Some(1)),
        ("get", "/v1/reports", Some(1)),
        ("get", "/v1/scores", Some(1)),
        ("get", "/v1/live", Some(1)),
        ("get", "/v1/stream", Some(1)),
        ("get", "/metrics", Some(1)),
        ("post", "/v1/models/{name}/promote", Some(2)),
        ("post", "/v1/models/rollback", Some(2)),
        ("post", "/v1/models/refresh", Some(2)),
    ]
}

#[tokio::test]
async fn every_route_of_the_description_lets_in_exactly_its_roles() {
    let described = serde_json::to_value(description()).unwrap();
    let mut routes: Vec<(String, String)> = Vec::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        for method in methods
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| ["get", "post", "put", "delete", "patch"].contains(&key.as_str()))
        {
            routes.push((method.clone(), path.clone()));
        }
    }
    let matrix = matrix();
    assert_eq!(routes.len(), matrix.len(), "a route is missing here or in the description: {routes:?}");

    let house = House::new();
    let (path, keys) = house.keys();
    let running = house.serve_with(|settings| settings.keys = Some(path)).await;
    for (method, path) in routes {
        let (.., wanted) =
            matrix.iter().find(|(m, p, _)| *m == method && *p == path).unwrap_or_else(|| panic!("{method} {path}"));
        let place = path.replace("{name}", "two").replace("{version}", &house.scorer("two").manifest().id);
        for (role, key) in [None, Some(&keys[0]), Some(&keys[1]), Some(&keys[2])].into_iter().enumerate() {
            if place == "/v1/live" && role >= 2 {
                continue; // a stream: its end would be waited for
            }
            let value = key.map(|key| format!("Bearer {key}"));
            let headers: Vec<(&str, &str)> = value.iter().map(|value| ("authorization", value.as_str())).collect();
            let answer = send(running.address(), &method.to_uppercase(), &place, &headers, "").await;
            let status = answer.status.as_u16();
            match wanted {
                Some(_) if role == 0 => {
                    assert_eq!((status, answer.code().as_str()), (401, "no_key"), "{method} {path}")
                }
                Some(least) if role - 1 < *least => {
                    assert_eq!((status, answer.code().as_str()), (403, "forbidden"), "{method} {path} as {role}")
                }
                _ => assert!(status != 401 && status != 403, "{method} {path} as {role}: {status}"),
            }
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn a_key_is_asked_for_in_the_words_of_http_and_pages_say_so_themselves() {
    let house = House::new();
    let (path, keys) = house.keys();
    let running = house.serve_with(|settings| settings.keys = Some(path)).await;
    let at = running.address();
    let refused = get(at, "/v1/models").await;
    assert!(refused.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    for wrong in ["Bearer iq_wrong", "Basic aXE6", "iq_"] {
        assert_eq!(send(at, "GET", "/v1/models", &[("authorization", wrong)], "").await.code(), "no_key");
    }
    send(at, "GET", "/v1/models", &[("x-api-key", &keys[1])], "").await.good();
    let server = send(at, "GET", "/v1/server", &[("x-api-key", &keys[1])], "").await.good().json();
    assert_eq!((server["auth"].as_bool(), server["role"].as_str()), (Some(true), Some("read")));
    for open in ["/", "/docs/", "/openapi.json"] {
        get(at, open).await.good();
    }
    running.stop().await;
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_to_wait() {
    let house = House::new();
    let (path, keys) = house.keys();
    let running = house
        .serve_with(|settings| {
            settings.keys = Some(path);
            settings.limits.requests_per_second = Some(3);
        })
        .await;
    let mut line = Line::open(running.address()).await;
    let mut codes = Vec::new();
    for _ in 0..8 {
        codes.push(line.send("GET", "/v1/server", &[("x-api-key", &keys[0])], "").await.status.as_u16());
    }
    assert!(codes[..3].iter().all(|&code| code == 200) && codes.contains(&429), "{codes:?}");
    let other = line.send("GET", "/v1/server", &[("x-api-key", &keys[2])], "").await;
    assert_eq!(other.status, 200, "each key has an allowance of its own");
    running.stop().await;
}

#[tokio::test]
async fn a_rebound_name_and_a_foreign_page_are_refused() {
    let house = House::new();
    let running = house.serve().await;
    let at = running.address();
    let host = at.to_string();
    for name in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:80"] {
        for path in ["/", "/v1/models", "/v1/scores"] {
            assert_eq!(send(at, "GET", path, &[("host", name)], "").await.code(), "wrong_origin", "{name} {path}");
        }
    }
    send(at, "GET", "/v1/models", &[("host", "localhost:1")], "").await.good();
    let body = json!({"rows": rows(1)}).to_string();
    let json_type = ("content-type", "application/json");
    for foreign in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let answer = send(at, "POST", "/v1/score", &[json_type, foreign], body.clone()).await;
        assert_eq!(answer.code(), "wrong_origin", "{foreign:?}");
        let answer = send(at, "POST", "/v1/models/two/promote", &[foreign], "").await;
        assert_eq!(answer.code(), "wrong_origin");
    }
    let own = format!("http://{host}");
    send(at, "POST", "/v1/score", &[json_type, ("origin", &own), ("sec-fetch-site", "same-origin")], body).await.good();
    let answer = post(at, "/v1/score", &json!({"rows": rows(1)})).await.good();
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    running.stop().await;
}

#[tokio::test]
async fn without_keys_nobody_else_can_reach_the_server() {
    let house = House::new();
    let mut settings = house.asked().settle().unwrap();
    settings.listen = "0.0.0.0:0".parse().unwrap();
    let error = Server::start(settings).await.err().unwrap();
    assert!(matches!(error, ServeError::Unprotected { .. }), "{error}");
}
