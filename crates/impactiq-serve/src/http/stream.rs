//! `GET /v1/stream`: what a scorer of events (`impactiq stream`) tells of itself, passed on, so that one dashboard shows both.
//!
//! The scorer answers on this machine only and knows no keys; whoever asks here has shown one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::desk::Desk;
use crate::http::problem::{Code, Problem, ProblemBody};

/// A page asks every few seconds: an answer that takes longer is of no use.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a report; a hundred models with their tenths have a tenth of it.
const LARGEST: usize = 4 << 20;

/// What the stream of events tells.
///
/// Member, model, figures, the last drift window, live uplift and alarms of the `impactiq stream` that this server was told of
/// (`--stream ADDRESS`).
#[utoipa::path(get, path = "/v1/stream", tag = "server", responses(
    (status = 200, description = "The stream's report", body = serde_json::Value),
    (status = 404, description = "This server was told of no stream", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "The stream does not answer", body = ProblemBody, content_type = "application/problem+json")
))]
pub(crate) async fn stream(State(desk): State<Arc<Desk>>) -> Result<Response<Body>, Problem> {
    let Some(address) = desk.stream else {
        return Err(Problem::new(
            Code::NoStream,
            "this server was told of no stream",
            "start it with `--stream 127.0.0.1:9102`, the address that the stream's configuration has under `http`",
        ));
    };
    let away = |detail: String| {
        Problem::new(
            Code::StreamAway,
            format!("the stream at {address} does not answer: {detail}"),
            "see whether `impactiq stream` runs, and with this address under `http`",
        )
    };
    let report = match tokio::time::timeout(PATIENCE, ask(address)).await {
        Ok(answered) => answered.map_err(away)?,
        Err(_) => return Err(away(format!("nothing came within {} seconds", PATIENCE.as_secs()))),
    };
    let mut response = Response::new(Body::from(report));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Asks for the report; why there is none, in words.
async fn ask(address: SocketAddr) -> Result<Bytes, String> {
    let socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http1::handshake::<_, Empty<Bytes>>(TokioIo::new(socket)).await.map_err(|error| error.to_string())?;
    // Ends with the answer: nothing else is asked on it.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let request = Request::get("/v1/stream").header(header::HOST, address.to_string()).body(Empty::new());
    let answer = sender.send_request(request.map_err(|error| error.to_string())?).await;
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status() != StatusCode::OK {
        return Err(format!("it answered {}", answer.status()));
    }
    let body = Limited::new(answer.into_body(), LARGEST).collect().await.map_err(|error| error.to_string())?.to_bytes();
    // Whatever else listens there is not shown as a stream.
    serde_json::from_slice::<serde::de::IgnoredAny>(&body).map_err(|_| "what it answered is no report".to_owned())?;
    Ok(body)
}
