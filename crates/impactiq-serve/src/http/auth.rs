//! Who may come in: the role each route wants, keys in headers, and names this server goes by.
//!
//! A route that is not in the table wants `admin`; a test walks the API's description, so that
//! none is forgotten.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Response};
use axum::middleware::Next;
use axum::response::IntoResponse;

use crate::desk::Desk;
use crate::http::problem::{Code, Problem};
use crate::keys::{Caller, Role};

/// Where a key may stand beside `Authorization: Bearer`.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// What a route wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: health, pages without data, the API's description.
    Open,
    /// A key of this role, or a stronger one.
    Key(Role),
}

/// Routes and what they want, as the router knows them.
pub(crate) const ACCESS: &[(&str, Access)] = &[
    ("/health/live", Access::Open),
    ("/health/ready", Access::Open),
    ("/ping", Access::Open),
    ("/version", Access::Open),
    ("/v2", Access::Open),
    ("/v2/health/live", Access::Open),
    ("/v2/health/ready", Access::Open),
    ("/openapi.json", Access::Open),
    ("/docs", Access::Open),
    ("/docs/", Access::Open),
    ("/docs/{*rest}", Access::Open),
    ("/v1/server", Access::Key(Role::Score)),
    ("/v1/score", Access::Key(Role::Score)),
    ("/v1/simulate", Access::Key(Role::Score)),
    ("/invocations", Access::Key(Role::Score)),
    ("/v2/models/{name}", Access::Key(Role::Score)),
    ("/v2/models/{name}/ready", Access::Key(Role::Score)),
    ("/v2/models/{name}/infer", Access::Key(Role::Score)),
    ("/v2/models/{name}/versions/{version}", Access::Key(Role::Score)),
    ("/v2/models/{name}/versions/{version}/ready", Access::Key(Role::Score)),
    ("/v2/models/{name}/versions/{version}/infer", Access::Key(Role::Score)),
    ("/v1/models", Access::Key(Role::Read)),
    ("/v1/models/{name}", Access::Key(Role::Read)),
    ("/v1/reports", Access::Key(Role::Read)),
    ("/v1/target", Access::Key(Role::Read)),
    ("/v1/target/list", Access::Key(Role::Read)),
    ("/v1/scores", Access::Key(Role::Read)),
    ("/v1/live", Access::Key(Role::Read)),
    ("/v1/stream", Access::Key(Role::Read)),
    ("/metrics", Access::Key(Role::Read)),
    ("/v1/models/{name}/promote", Access::Key(Role::Admin)),
    ("/v1/models/rollback", Access::Key(Role::Admin)),
    ("/v1/models/refresh", Access::Key(Role::Admin)),
];

/// What a route wants.
pub(crate) fn access(route: &str) -> Access {
    let found = ACCESS.iter().find(|(known, _)| *known == route);
    found.map_or(Access::Key(Role::Admin), |(_, access)| *access)
}

/// Lets a request through to its route, or tells it what is missing.
pub(crate) async fn guard(State(desk): State<Arc<Desk>>, mut request: Request, next: Next) -> Response<Body> {
    let wanted =
        request.extensions().get::<MatchedPath>().map_or(Access::Key(Role::Admin), |path| access(path.as_str()));
    match admit(&desk, wanted, request.headers()) {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
        }
        Ok(None) => {}
        Err(problem) => return problem.into_response(),
    }
    next.run(request).await
}

/// The caller where keys are asked for.
///
/// # Errors
/// [`Code::NoKey`], [`Code::Forbidden`], [`Code::TooOften`].
pub(crate) fn admit(desk: &Desk, wanted: Access, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    let (Some(keys), Access::Key(role)) = (&desk.keys, wanted) else { return Ok(None) };
    let Some(key) = key_of(headers) else {
        return Err(Problem::new(
            Code::NoKey,
            "this server answers only with a key",
            "send it as `Authorization: Bearer KEY` or `X-API-Key: KEY`",
        ));
    };
    let Some(caller) = keys.find(key) else {
        return Err(Problem::new(Code::NoKey, "the key is not known", "ask whoever runs this server for a key"));
    };
    if caller.role < role {
        return Err(Problem::new(
            Code::Forbidden,
            format!("this needs the role '{role}', and the key has '{}'", caller.role),
            "use a key of that role",
        ));
    }
    if let Some(per_second) = desk.limits.requests_per_second
        && !keys.take(caller, per_second, Instant::now())
    {
        return Err(Problem::new(
            Code::TooOften,
            format!("this key may ask {per_second} times a second"),
            "wait, or send more rows in fewer requests",
        ));
    }
    Ok(Some(caller))
}

fn key_of(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| key.trim());
    }
    headers.get(KEY_HEADER)?.to_str().ok().map(str::trim)
}

/// Refuses requests that a page of somewhere else makes a browser send.
///
/// Without keys the only protection is that nobody but this machine can connect, and a page of
/// somewhere else whose name was rebound to 127.0.0.1 still says its own name as host. A
/// foreign origin may not send anything that is not a plain look, with or without keys.
///
/// # Errors
/// [`Code::WrongOrigin`].
pub(crate) fn check_origin(desk: &Desk, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    if desk.keys.is_none() && !host.is_some_and(is_loopback) {
        return Err(Problem::new(
            Code::WrongOrigin,
            "without keys this server goes by the names localhost, 127.0.0.1 and [::1] only",
            "use one of these names, or start the server with keys",
        ));
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or("null"));
    let foreign = matches!(site, Some("cross-site" | "same-site"))
        || origin.is_some_and(|origin| {
            let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            rest.is_none() || rest != host
        });
    if foreign {
        return Err(Problem::new(
            Code::WrongOrigin,
            "a page of another origin may not send requests to this server",
            "send the request from a program, or from the server's own pages",
        ));
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["localhost", "LOCALHOST:8501", "127.0.0.1", "127.0.0.1:80", "[::1]:8501", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["evil.com", "127.0.0.1.evil.com", "localhost.evil.com", "", "10.0.0.1", "user@evil.com", "0.0.0.0"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_route_nobody_thought_of_wants_the_strongest_role() {
        assert_eq!(access("/v1/new"), Access::Key(Role::Admin));
        assert_eq!(access("/v1/score"), Access::Key(Role::Score));
    }

    #[test]
    fn a_key_comes_in_one_of_two_headers() {
        let headers = |name: &'static str, value: &str| {
            HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
        };
        assert_eq!(key_of(&headers("authorization", "bearer iq_1")), Some("iq_1"));
        assert_eq!(key_of(&headers("x-api-key", "iq_2")), Some("iq_2"));
        assert_eq!(key_of(&headers("authorization", "Basic abc")), None);
        assert_eq!(key_of(&HeaderMap::new()), None);
    }
}
