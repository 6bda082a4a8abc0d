//! What the edge itself answers when it refuses or fails: RFC 9457 problem details.

use http::StatusCode;

/// A refusal or failure, as a client is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The stable name; `type` is `/problems/NAME`.
    pub name: &'static str,
    /// The HTTP status.
    pub status: StatusCode,
    /// A short sentence, the same for every occurrence.
    pub title: &'static str,
    /// What happened this time. Never names a backend, a file or a version.
    pub detail: String,
}

/// The media type of a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

impl Problem {
    /// A problem with its own words.
    pub fn new(
        name: &'static str,
        status: StatusCode,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self { name, status, title, detail: detail.into() }
    }

    /// The body, JSON text.
    pub fn body(&self, request_id: &str) -> String {
        serde_json::json!({
            "type": format!("/problems/{}", self.name),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "request_id": request_id,
        })
        .to_string()
    }

    /// 400: the request can't be understood safely.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new("bad-request", StatusCode::BAD_REQUEST, "The request is malformed", detail)
    }

    /// 404: nothing is there.
    pub fn not_found() -> Self {
        Self::new("not-found", StatusCode::NOT_FOUND, "Nothing is here", "no page has this address")
    }

    /// 405: the address is right, the method isn't.
    pub fn method_not_allowed() -> Self {
        Self::new(
            "method-not-allowed",
            StatusCode::METHOD_NOT_ALLOWED,
            "The method is not allowed",
            "this address does not take this method",
        )
    }

    /// 421: the request is for a name that this gateway doesn't answer for.
    pub fn misdirected() -> Self {
        Self::new(
            "unknown-host",
            StatusCode::MISDIRECTED_REQUEST,
            "The host is not known here",
            "this gateway does not answer for the requested host",
        )
    }

    /// 502: a server of ours answered badly or not in time.
    pub fn bad_gateway() -> Self {
        Self::new(
            "bad-gateway",
            StatusCode::BAD_GATEWAY,
            "The service did not answer",
            "the service broke off before it had answered; the request may have taken effect",
        )
    }

    /// 503: no server of ours can take the request now.
    pub fn unavailable() -> Self {
        Self::new(
            "unavailable",
            StatusCode::SERVICE_UNAVAILABLE,
            "The service is not available",
            "no server can take the request right now; try again in a moment",
        )
    }

    /// The problem for a bare status, where the edge has nothing closer to say.
    pub fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::METHOD_NOT_ALLOWED => Self::method_not_allowed(),
            StatusCode::BAD_GATEWAY => Self::bad_gateway(),
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable(),
            status if status.is_client_error() => Self::new(
                "bad-request",
                status,
                status.canonical_reason().unwrap_or("The request was refused"),
                "the request can't be served as it was sent",
            ),
            _ => Self::new(
                "internal-error",
                StatusCode::INTERNAL_SERVER_ERROR,
                "The gateway failed",
                "something went wrong here; the request id helps us find it",
            ),
        }
    }
}
