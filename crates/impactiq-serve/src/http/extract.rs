//! Reading what a request brings: its body within limits of size, time and depth, its JSON, its
//! query, its content type.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Query, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, Uri};
use bytes::{Bytes, BytesMut};
use futures_util::future::poll_immediate;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed};
use utoipa::IntoParams;

use crate::desk::Desk;
use crate::http::problem::{Code, Problem};
use crate::registry::LoadedModel;

/// Levels of lists and objects in a body; rows need three.
const MAX_DEPTH: usize = 32;
/// Bytes a second that a body must keep up with after its first seconds.
const SLOWEST: f64 = 64.0 * 1024.0;

/// The model a request asks for.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ModelQuery {
    /// The model by its name; left out: the active one.
    pub model: Option<String>,
}

impl ModelQuery {
    pub fn find(&self, desk: &Desk) -> Result<Arc<LoadedModel>, Problem> {
        Ok(Arc::clone(desk.registry.shelf().find(self.model.as_deref())?))
    }
}

/// The query of an address.
pub(crate) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    Query::try_from_uri(uri).map(|Query(query)| query).map_err(|rejection| {
        Problem::new(Code::BadParameter, rejection.body_text(), "the parameters are described at /docs")
    })
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Json,
    Csv,
    Arrow,
}

/// Tells how a body is written; nothing said means JSON.
pub(crate) fn content(headers: &HeaderMap) -> Result<Content, Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Content::Json) };
    let text = value.to_str().unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        // The second is what curl says of `-d` when it is told nothing.
        "application/json" | "application/x-www-form-urlencoded" => Ok(Content::Json),
        "text/csv" | "application/csv" => Ok(Content::Csv),
        "application/vnd.apache.arrow.stream" => Ok(Content::Arrow),
        _ => Err(unknown_content(&kind)),
    }
}

pub(crate) fn unknown_content(kind: &str) -> Problem {
    Problem::new(
        Code::UnknownContent,
        format!("'{kind}' is not understood here"),
        "send application/json, or where rows are sent text/csv or application/vnd.apache.arrow.stream",
    )
}

/// Reads a body, or says why not.
///
/// # Errors
/// [`Code::BodyTooLarge`] before it is read where its length is told, else as soon as it is too
/// long; [`Code::SlowBody`]; [`Code::Busy`] while other large bodies fill the memory there is for them.
pub(crate) async fn body(desk: &Desk, request: Request) -> Result<Bytes, Problem> {
    let limit = desk.limits.max_body_bytes;
    let headers = request.headers();
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(Problem::new(Code::UnknownContent, "packed bodies are not understood", "send the body as it is"));
    }
    let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if told.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let mut body = request.into_body();
    let began = Instant::now();
    let mut held = Held { all: Arc::clone(&desk.held), bytes: 0 };
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let n_read = first.len() + rest.len();
        let may_take = desk.limits.read_timeout + Duration::from_secs_f64(n_read as f64 / SLOWEST);
        let Some(left) = may_take.checked_sub(began.elapsed()) else { return Err(too_slow()) };
        // Most frames are there already, and a clock costs more than looking.
        let next = match poll_immediate(body.frame()).await {
            Some(frame) => Ok(frame),
            None => tokio::time::timeout(left, body.frame()).await,
        };
        let frame = next.map_err(|_| too_slow())?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| {
            Problem::new(Code::BadRows, "the body broke off", "send the request again, with its whole body")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if n_read + data.len() > limit {
            return Err(too_large(limit));
        }
        if n_read + data.len() > SMALL_BODY && !held.grow(n_read + data.len(), BODIES.saturating_mul(limit)) {
            return Err(Problem::busy());
        }
        if first.is_empty() {
            first = data;
        } else {
            // Most bodies are one piece, which is then never copied.
            rest.extend_from_slice(&data);
        }
    }
    let whole = if rest.is_empty() {
        first
    } else {
        let mut whole = BytesMut::with_capacity(first.len() + rest.len());
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&rest);
        whole.freeze()
    };
    Ok(if held.bytes == 0 { whole } else { Bytes::from_owner(HeldBody { bytes: whole, _held: held }) })
}

/// Large bodies hold at most this many times what one of them may have; who comes then is told to come again.
const BODIES: usize = 4;
/// Bodies up to here are not counted: connections have that much anyway.
const SMALL_BODY: usize = 64 << 10;

/// What a body holds of the memory for large ones, given back when it is dropped.
struct Held {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Held {
    fn grow(&mut self, to: usize, limit: usize) -> bool {
        let more = to.saturating_sub(self.bytes);
        self.bytes += more;
        self.all.fetch_add(more, Ordering::AcqRel) + more <= limit
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// A large body with its share of the memory.
struct HeldBody {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for HeldBody {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("a body may have {limit} bytes"),
        "send the rows in several requests, or score the file with `impactiq score`",
    )
}

fn too_slow() -> Problem {
    Problem::new(Code::SlowBody, "the body came too slowly", "send it in one go")
}

/// Refuses more rows than a request may bring.
///
/// # Errors
/// [`Code::TooManyRows`].
pub(crate) fn check_rows(desk: &Desk, n_rows: usize) -> Result<(), Problem> {
    let limit = desk.limits.max_rows;
    if n_rows <= limit {
        return Ok(());
    }
    Err(Problem::new(
        Code::TooManyRows,
        format!("the request has {n_rows} rows, and may have {limit}"),
        "send the rows in several requests, or score the file with `impactiq score`",
    ))
}

/// Reads JSON that is not nested too deeply.
///
/// # Errors
/// [`Code::TooDeep`], [`Code::BadJson`] with line and column.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    json_with(bytes, PhantomData)
}

/// The same for what borrows from the bytes, or must be told what to read.
///
/// # Errors
/// As [`json`].
pub(crate) fn json_with<'a, S: DeserializeSeed<'a>>(bytes: &'a [u8], seed: S) -> Result<S::Value, Problem> {
    if is_too_deep(bytes) {
        return Err(Problem::new(
            Code::TooDeep,
            format!("the body is nested more than {MAX_DEPTH} levels deep"),
            "a row is one flat object",
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = seed.deserialize(&mut deserializer);
    read.and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| Problem::new(Code::BadJson, error.to_string(), "the shapes of all bodies are at /docs"))
}

/// One walk over the bytes, before anything is built from them.
fn is_too_deep(bytes: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for &byte in bytes {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn depth_is_counted_outside_of_texts_only() {
        assert!(!is_too_deep(&[b'['; MAX_DEPTH]));
        assert!(is_too_deep(&[b'['; MAX_DEPTH + 1]));
        let text = format!("{{\"a\": \"{}\\\"{}\"}}", "[".repeat(100), "{".repeat(100));
        assert!(!is_too_deep(text.as_bytes()));
        assert_eq!(json::<Value>(&[b'['; 1_000_000]).unwrap_err().code, Code::TooDeep);
        assert_eq!(json::<Value>(b"{\"a\": NaN}").unwrap_err().code, Code::BadJson);
        assert!(json::<Value>(b"[1] 2").is_err());
    }

    #[test]
    fn content_is_told_by_its_type_without_parameters() {
        let of = |text: &str| content(&HeaderMap::from_iter([(CONTENT_TYPE, text.parse().unwrap())]));
        assert_eq!(of("Text/CSV; charset=utf-8").unwrap(), Content::Csv);
        assert_eq!(of("application/vnd.apache.arrow.stream").unwrap(), Content::Arrow);
        assert_eq!(content(&HeaderMap::new()).unwrap(), Content::Json);
        assert_eq!(of("text/html").unwrap_err().code, Code::UnknownContent);
    }
}
