//! What a request is told when it cannot be answered: RFC 9457, one code per kind of mistake.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use impactiq_data::DataError;
use impactiq_io::IoError;
use impactiq_score::ScoreError;
use impactiq_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::ServeError;

/// Seconds after which a request that was sent away may come again.
const COME_AGAIN: u32 = 2;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident, $title:literal;)+) => {
        /// The kinds of mistakes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl Code {
            /// All of them.
            pub const ALL: &[Code] = &[$(Code::$name,)+];

            /// The word programs look for.
            pub fn text(self) -> &'static str {
                match self { $(Code::$name => $text,)+ }
            }

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                match self { $(Code::$name => StatusCode::$status,)+ }
            }

            /// The kind in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)+ }
            }
        }
    };
}

codes! {
    /// A body that is no JSON.
    BadJson = "bad_json", BAD_REQUEST, "The body is not the JSON that is expected";
    /// JSON within JSON within JSON.
    TooDeep = "too_deep", BAD_REQUEST, "The body is nested too deeply";
    /// A CSV or Arrow body that cannot be read, or lacks a column.
    BadRows = "bad_rows", BAD_REQUEST, "The rows cannot be read";
    /// A tensor of another type or shape than is understood.
    BadTensor = "bad_tensor", BAD_REQUEST, "The tensors do not make rows";
    /// A query parameter, header or key of the body that cannot be meant.
    BadParameter = "bad_parameter", BAD_REQUEST, "A parameter cannot be used";
    /// No key, or one that is not known.
    NoKey = "no_key", UNAUTHORIZED, "A key is needed";
    /// A key of a role that may not do this.
    Forbidden = "forbidden", FORBIDDEN, "The key may not do this";
    /// A host name or origin that is not this server's.
    WrongOrigin = "wrong_origin", FORBIDDEN, "The request comes from somewhere else";
    /// No such address.
    NotFound = "not_found", NOT_FOUND, "There is nothing at this address";
    /// No such model.
    UnknownModel = "unknown_model", NOT_FOUND, "There is no such model";
    /// A report that nobody made yet.
    NoReport = "no_report", NOT_FOUND, "The report was not made yet";
    /// The server keeps no score log.
    NoLog = "no_log", NOT_FOUND, "There is no score log";
    /// The server was told of no stream of events.
    NoStream = "no_stream", NOT_FOUND, "There is no stream";
    /// Another method.
    WrongMethod = "wrong_method", METHOD_NOT_ALLOWED, "The address knows another method";
    /// A body that did not come in time.
    SlowBody = "slow_body", REQUEST_TIMEOUT, "The body did not come in time";
    /// A request id that was used for another body.
    IdTaken = "request_id_taken", CONFLICT, "The request id was used for another request";
    /// Nothing to go back to.
    NothingBefore = "nothing_before", CONFLICT, "There is no model to go back to";
    /// A body of too many bytes.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// Too many rows.
    TooManyRows = "too_many_rows", PAYLOAD_TOO_LARGE, "There are too many rows";
    /// A content type that is not understood.
    UnknownContent = "unknown_content", UNSUPPORTED_MEDIA_TYPE, "The content type is not understood";
    /// A key that asked too often.
    TooOften = "too_often", TOO_MANY_REQUESTS, "The key asks too often";
    /// Too much to do.
    Busy = "busy", SERVICE_UNAVAILABLE, "The server has too much to do";
    /// The answer took too long.
    TooSlow = "too_slow", SERVICE_UNAVAILABLE, "The answer took too long";
    /// The score log cannot be written or read.
    LogUnavailable = "log_unavailable", SERVICE_UNAVAILABLE, "The score log cannot be reached";
    /// The scorer of events does not answer.
    StreamAway = "stream_away", SERVICE_UNAVAILABLE, "The stream does not answer";
    /// A mistake of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, "A mistake of the server";
}

/// Why a request cannot be answered.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The kind.
    pub code: Code,
    /// What exactly.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A problem as JSON (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemBody {
    /// A name for the kind that never changes.
    #[serde(rename = "type")]
    #[schema(example = "urn:impactiq:problem:unknown_model")]
    pub kind: String,
    /// The kind in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The word programs look for.
    pub code: String,
    /// What exactly.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem with its hint.
    pub fn new(code: Code, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Problem { code, detail: detail.into(), hint: Some(hint.into()) }
    }

    /// Something that should not happen; what it was stands in the log of the server.
    pub fn internal(what: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %what, "a request failed for a reason of the server's own");
        Problem::new(Code::Internal, "the request could not be answered", "try again; if it stays, report it")
    }

    /// Too much to do.
    pub fn busy() -> Self {
        Problem::new(
            Code::Busy,
            "too many requests wait already",
            format!("come again in {COME_AGAIN} seconds, or send more rows in fewer requests"),
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let status = self.code.status();
        let body = ProblemBody {
            kind: format!("urn:impactiq:problem:{}", self.code.text()),
            title: self.code.title().to_owned(),
            status: status.as_u16(),
            code: self.code.text().to_owned(),
            detail: self.detail,
            hint: self.hint,
        };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"impactiq\""));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from(COME_AGAIN));
            }
            _ => {}
        }
        response
    }
}

impl From<ServeError> for Problem {
    fn from(error: ServeError) -> Self {
        let code = match &error {
            ServeError::UnknownModel { .. } => Code::UnknownModel,
            ServeError::NothingBefore => Code::NothingBefore,
            ServeError::Store(_) => Code::LogUnavailable,
            other => return Problem::internal(other),
        };
        Problem { code, detail: error.to_string(), hint: error.hint() }
    }
}

impl From<IoError> for Problem {
    fn from(error: IoError) -> Self {
        Problem { code: Code::BadRows, detail: error.to_string(), hint: error.hint() }
    }
}

impl From<ScoreError> for Problem {
    fn from(error: ScoreError) -> Self {
        match error {
            ScoreError::Io(error) => error.into(),
            ScoreError::Data(error @ (DataError::MissingColumn { .. } | DataError::TypeMismatch { .. })) => {
                Problem { code: Code::BadRows, detail: error.to_string(), hint: error.hint() }
            }
            ScoreError::ColumnTwice { .. } => {
                Problem { code: Code::BadRows, detail: error.to_string(), hint: error.hint() }
            }
            other => Problem::internal(&other),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        // The address of the log is nobody's business: only the server's log has the reason.
        tracing::error!(error = %error, "the score log failed a request");
        Problem::new(
            Code::LogUnavailable,
            "the score log cannot be reached, and this server answers only what it can write down",
            "send the same request again, with the same request_id",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_told_apart_by_their_words() {
        let mut words: Vec<&str> = Code::ALL.iter().map(|code| code.text()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
    }

    #[test]
    fn a_problem_says_when_to_come_again_and_what_key_to_bring() {
        let busy = Problem::busy().into_response();
        assert_eq!((busy.status().as_u16(), busy.headers()[RETRY_AFTER].to_str().unwrap()), (503, "2"));
        assert_eq!(busy.headers()[CONTENT_TYPE], "application/problem+json");
        let no_key = Problem::new(Code::NoKey, "d", "h").into_response();
        assert!(no_key.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer"));
    }
}
