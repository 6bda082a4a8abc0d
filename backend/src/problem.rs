//! Errors as clients see them: RFC 9457 problem documents.
//!
//! Which error to use where:
//! - A service has its own `thiserror` enum in the domain's words; its `http.rs` turns each into one of the
//!   constructors below. The name (`slot-taken`) is stable, clients rely on it; the detail is for people.
//! - What the client can't change (a database that fails) is [`Problem::internal`]: the cause is logged here, once,
//!   and the client gets 500 without it.
//! - What will pass by itself (Redis is gone, the database is busy) is [`Problem::unavailable`]: 503 with `Retry-After`.
//! - Malformed requests never reach a service: [`crate::extract`] answers them.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::{database, request_id};

/// The media type of a problem document.
pub const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// One error response.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    name: &'static str,
    detail: Cow<'static, str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// A problem's document: what is in the body of the response, and in a socket's `error` frame.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

impl Problem {
    /// A problem of this status; `name` becomes `/problems/NAME`.
    pub fn new(status: StatusCode, name: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, name, detail: detail.into(), headers: Vec::new() }
    }

    /// 400: the request can't be read.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", detail)
    }

    /// 401 with the challenge that RFC 6750 asks for.
    pub fn unauthorized(name: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, name, detail)
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403: known, and not allowed.
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404: there is no such thing, or it is none of the caller's business.
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// 409: the state of things doesn't allow it now.
    pub fn conflict(name: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, name, detail)
    }

    /// 422: well formed, and not acceptable.
    pub fn unprocessable(name: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, name, detail)
    }

    /// 500: logs the cause; the client learns only that it happened.
    pub fn internal(cause: &dyn Display) -> Self {
        tracing::error!(request_id = request_id::current(), %cause, "request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side.")
    }

    /// 503: logs the cause; the client may try again after `retry_after`.
    pub fn unavailable(cause: &dyn Display, retry_after: Duration) -> Self {
        tracing::warn!(request_id = request_id::current(), %cause, "request refused for now");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not possible right now; try again soon.")
            .with_retry_after(retry_after)
    }

    /// The same problem with `Retry-After`, in whole seconds and at least one.
    #[must_use]
    pub fn with_retry_after(self, after: Duration) -> Self {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// The same problem with a response header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.retain(|(existing, _)| *existing != name);
        self.headers.push((name, value));
        self
    }

    /// The response's status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The document that describes the problem.
    pub fn document(&self) -> Document {
        Document {
            kind: format!("/problems/{}", self.name),
            title: title(self.name),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            request_id: request_id::current(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.document()).expect("plain strings serialise");
        let mut response = (self.status, body).into_response();
        response.headers_mut().extend(self.headers);
        response.headers_mut().insert(header::CONTENT_TYPE, MEDIA_TYPE);
        response
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if database::is_transient(&error) {
            Self::unavailable(&error, Duration::from_secs(1))
        } else if database::holds_unstorable_text(&error) {
            Self::bad_request("A text holds a NUL character.")
        } else {
            Self::internal(&error)
        }
    }
}

impl From<crate::redis::RedisError> for Problem {
    fn from(error: crate::redis::RedisError) -> Self {
        Self::unavailable(&error, Duration::from_secs(1))
    }
}

/// `slot-taken` reads "Slot taken".
fn title(name: &str) -> String {
    let mut title = name.replace('-', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_a_document_of_rfc_9457() {
        let problem = Problem::conflict("slot-taken", "Somebody was faster.");
        let json = serde_json::to_value(problem.document()).expect("serialises");
        assert_eq!(
            json,
            serde_json::json!({"type": "/problems/slot-taken", "title": "Slot taken", "status": 409,
                "detail": "Somebody was faster."})
        );
    }

    #[test]
    fn a_database_that_is_busy_says_try_again_and_one_that_fails_does_not() {
        for (error, status) in [
            (sqlx::Error::PoolTimedOut, 503),
            (sqlx::Error::PoolClosed, 503),
            (sqlx::Error::RowNotFound, 500),
        ] {
            let problem = Problem::from(error);
            assert_eq!(problem.status(), status);
            assert_eq!(problem.headers.iter().any(|(name, _)| name == header::RETRY_AFTER), status == 503);
        }
    }

    #[test]
    fn retry_after_is_whole_seconds_rounded_up() {
        for (millis, expected) in [(0, "1"), (300, "1"), (1000, "1"), (1001, "2")] {
            let problem = Problem::not_found("x").with_retry_after(Duration::from_millis(millis));
            assert_eq!(problem.headers, [(header::RETRY_AFTER, HeaderValue::from_static(expected))]);
        }
    }
}
