//! Nothing of a request's content reaches the server's own log.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::client::{post, send};
use crate::house::House;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Kept {
    type Writer = Kept;
    fn make_writer(&'a self) -> Kept {
        self.clone()
    }
}

#[test]
fn no_value_no_key_and_no_body_is_ever_written_down() {
    let kept = Kept::default();
    let lines = tracing_subscriber::fmt().with_writer(kept.clone()).with_max_level(tracing::Level::TRACE).finish();
    // One thread, so that everything it says is caught.
    tracing::subscriber::with_default(lines, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::new();
            let (path, keys) = house.keys();
            let running = house.serve_with(|settings| settings.keys = Some(path)).await;
            let at = running.address();
            let key = format!("Bearer {}", keys[2]);
            let headers = [("authorization", key.as_str()), ("content-type", "application/json")];
            let secret = json!({"rows": [{"x1": 31_337.25, "region": "marker-region", "id": "marker-id"}]});
            send(at, "POST", "/v1/score", &headers, secret.to_string()).await.good();
            send(at, "POST", "/v1/simulate", &headers, secret.to_string()).await.good();
            send(at, "POST", "/v1/score", &headers, "{\"rows\": marker-broken").await;
            send(at, "POST", "/v1/score?model=marker-model", &headers, secret.to_string()).await;
            send(at, "POST", "/v1/models/marker-name/promote", &headers, "").await;
            send(at, "GET", "/v1/scores?id=marker-id", &headers, "").await.good();
            send(at, "GET", "/marker-path?key=marker-query", &headers, "").await;
            send(at, "GET", "/v1/models", &[("authorization", "Bearer marker-key")], "").await;
            post(at, "/v1/score", &secret).await;
            send(at, "POST", "/v1/models/two/promote", &headers, "").await.good();
            running.stop().await;
            let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
            assert!(text.contains("a model was promoted") && text.contains("/v1/score"), "{text}");
            for marker in ["marker", "31337", keys[2].as_str(), &keys[2][3..20]] {
                let line = text.lines().find(|line| line.contains(marker));
                assert_eq!(line, None, "{marker}");
            }
        });
    });
}
