//! All routes behind one door: names and origins are checked, requests are named, counted and
//! written down, answers get their headers.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, Method, Response};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use futures_util::FutureExt;
use hyper::body::Incoming;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_swagger_ui::SwaggerUi;

use crate::assets;
use crate::desk::Desk;
use crate::http::auth::{access, admit, check_origin, guard};
use crate::http::docs::api;
use crate::http::problem::{Code, Problem};
use crate::http::score::{REQUEST_ID, score};
use crate::metrics::Door;

/// Nothing comes from elsewhere. Charts write styles of their own, so those are allowed inline;
/// scripts never are.
const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data: blob:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Every route of the server.
pub(crate) fn router(desk: Arc<Desk>) -> Router {
    let (routes, description) = api().split_for_parts();
    routes
        .merge(SwaggerUi::new("/docs").url("/openapi.json", description))
        .route_layer(from_fn_with_state(Arc::clone(&desk), guard))
        .method_not_allowed_fallback(wrong_method)
        .fallback(page)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(&desk), outer))
        .with_state(desk)
}

async fn wrong_method(request: Request) -> Problem {
    Problem::new(
        Code::WrongMethod,
        format!("{} is not known here", request.method()),
        "the methods of every address are at /docs",
    )
}

/// A file of the dashboard, or nothing.
async fn page(request: Request) -> Response<Body> {
    let nothing = || {
        let problem = Problem::new(Code::NotFound, "there is nothing at this address", "all addresses are at /docs");
        problem.into_response()
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return nothing();
    }
    let Some(asset) = assets::find(request.uri().path().trim_start_matches('/')) else { return nothing() };
    let body = match asset.bytes {
        std::borrow::Cow::Borrowed(bytes) => Body::from(bytes),
        std::borrow::Cow::Owned(bytes) => Body::from(bytes),
    };
    let mut response = Response::new(body);
    let caching = if asset.is_hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    response
}

/// A panic is our bug: the request is told so, the server goes on, and what was said about it
/// stays out of the answer.
fn panicked(_: Box<dyn Any + Send>) -> Response<Body> {
    Problem::internal(&"a handler panicked").into_response()
}

/// Counts a request as in flight until it is answered or its client is gone.
struct InFlight<'a>(&'a Desk);

impl<'a> InFlight<'a> {
    fn begin(desk: &'a Desk) -> Self {
        desk.live.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(desk)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.live.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Lets a request in, or turns it away before anything is done for it.
pub(crate) async fn enter(desk: Arc<Desk>, router: Router, request: hyper::Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    let door = Door::of(path);
    if door.is_work() && desk.pressure.turns_away() {
        return turned_away(&desk, door, request.headers());
    }
    let is_score = path == SCORE && request.method() == Method::POST;
    let request = request.map(Body::new);
    if is_score {
        return scored(desk, request).await;
    }
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The address that is asked a thousand times for every other one.
const SCORE: &str = "/v1/score";

/// `/v1/score` without the router, which would cost more than a row: the same guard, the same handler.
async fn scored(desk: Arc<Desk>, request: Request) -> Response<Body> {
    let held = &desk;
    passage(held, request, Some(SCORE), |request| async move {
        match admit(held, access(SCORE), request.headers()) {
            Ok(_) => match AssertUnwindSafe(score(State(Arc::clone(held)), request)).catch_unwind().await {
                Ok(answer) => answer.into_response(),
                Err(panic) => panicked(panic),
            },
            Err(problem) => problem.into_response(),
        }
    })
    .await
}

/// What a request is told that comes when there is too much to do.
fn turned_away(desk: &Desk, door: Door, headers: &HeaderMap) -> Response<Body> {
    let problem = Problem::busy();
    let status = problem.code.status().as_u16();
    let mut response = problem.into_response();
    dress(response.headers_mut(), request_id(desk, headers), door, false);
    desk.metrics.answered(door, status, Duration::ZERO);
    if door.is_scoring() {
        desk.live.turned_away();
    }
    response
}

/// What happens to every request of the router.
async fn outer(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response<Body> {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    passage(&desk, request, route, |request| next.run(request)).await
}

/// What happens to every request.
async fn passage<F: Future<Output = Response<Body>>>(
    desk: &Desk,
    mut request: Request,
    route: Option<&str>,
    inner: impl FnOnce(Request) -> F,
) -> Response<Body> {
    let began = Instant::now();
    let _in_flight = InFlight::begin(desk);
    let id = request_id(desk, request.headers());
    request.headers_mut().insert(HeaderName::from_static(REQUEST_ID), id.clone());
    let method = request.method().clone();
    let path = request.uri().path();
    let door = Door::of(path);
    let is_docs = path.starts_with("/docs");
    let mut response = match check_origin(desk, &method, request.headers()) {
        Ok(()) => inner(request).await,
        Err(problem) => problem.into_response(),
    };
    let status = response.status();
    let took = began.elapsed();
    dress(response.headers_mut(), id.clone(), door, is_docs);
    desk.metrics.answered(door, status.as_u16(), took);
    if door.is_scoring() {
        desk.live.answered(took, status.is_client_error() || status.is_server_error());
    }
    // The route and not the address: what a caller put there is nobody's business.
    let route = route.unwrap_or("page");
    let request_id = id.to_str().unwrap_or_default();
    let (status, micros) = (status.as_u16(), took.as_micros() as u64);
    if response.status().is_server_error() {
        tracing::warn!(%method, route, status, micros, request_id, "answered with an error");
    } else {
        tracing::debug!(%method, route, status, micros, request_id, "answered");
    }
    response
}

/// The caller's name for the request, where it is a plain one, else one of the server's own.
fn request_id(desk: &Desk, headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|value| {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        (1..=128).contains(&value.len()) && value.as_bytes().iter().all(plain)
    });
    given.cloned().unwrap_or_else(|| {
        // Hexadecimal digits and a dash always make a header.
        HeaderValue::try_from(desk.next_id()).unwrap_or_else(|_| HeaderValue::from_static("request"))
    })
}

/// The headers of every answer.
fn dress(headers: &mut HeaderMap, id: HeaderValue, door: Door, is_docs: bool) {
    headers.insert(HeaderName::from_static(REQUEST_ID), id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if door.is_scoring() {
        // Programs ask here, and these bytes would be a tenth of a small answer.
        return;
    }
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if !is_docs && !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
